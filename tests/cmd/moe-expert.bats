load helper

@test "help, version and bad options" {
	has_help moe-expert
	refuses_bad_options moe-expert
	refuses 2 'l is missing.*0 to 3' moe-expert </dev/null
	refuses 2 'one layer.*moe-block' moe-expert -l 0- </dev/null
	refuses 2 'no operand' moe-expert -l 0 operand </dev/null
}

@test "terminals, closed and empty input, full output" {
	stream routed
	refuses_terminals "moe-expert -l 0" routed.sts
	never_hangs moe-expert -l 0
	needs_open_output moe-expert -l 0 <routed.sts
}

@test "-o replaces a file only when all is done" {
	stream routed
	head -c 1000 routed.sts >cut
	writes_atomically routed.sts cut moe-expert -l 0
}

@test "the rows behind the experts of every layer are those of the reference" {
	moe-tokenize | moe-patchify "$reader/pics/terminal.png" | moe-encode | moe-embed >at.sts
	for l in 0 1 2 3; do
		moe-attend -l $l <at.sts | moe-route -l $l | moe-expert -l $l >next.sts
		mv next.sts at.sts
		numpy "$frames_py" check at.sts
		agrees at.sts hidden "$reader/cases/terminal.safetensors" $l.expert
	done
	case_of olmoe one prompt | head -c -1 | moe-tokenize -m "$olmoe/model" - | moe-embed -m "$olmoe/model" >at.sts
	for l in 0 1 2 3; do
		moe-attend -m "$olmoe/model" -l $l <at.sts | moe-route -m "$olmoe/model" -l $l | moe-expert -m "$olmoe/model" -l $l >next.sts
		mv next.sts at.sts
		agrees at.sts hidden "$olmoe/cases/one.safetensors" $l.expert
	done
}

@test "what the router added is gone again, the rest of the frame is still there" {
	stream attended
	moe-route -l 0 <attended.sts | moe-expert -l 0 >behind.sts
	shape() { moe-view --json "$1" | jq -c 'select(.kind == "hidden") | [(.tensors | map([.name, .dtype, .shape])), (.meta | del(."moe.crc32", ."moe.at"))]'; }
	same "$(shape behind.sts)" "$(shape attended.sts)"
}

@test "a router of the user's gives expert_id and weight alone" {
	stream routed
	numpy -c '
import sys, frames
for raw in frames.split(sys.stdin.buffer):
    meta, tensors = frames.parse(raw)
    for name in ("router_logit", "choice"):
        tensors.pop(name, None)
    sys.stdout.buffer.write(frames.build(meta, tensors))' <routed.sts | moe-view --seal | moe-expert --no-pg -l 0 >foreign.sts
	moe-expert --no-pg -l 0 <routed.sts >own.sts
	moe-diff -q foreign.sts own.sts
}

@test "--parts: what each expert gave as NumPy computes it, which adds up to hidden bit by bit" {
	qwen=$golden/qwen2moe/model                     # shared experts with a gate
	moe-tokenize -m "$qwen" 'The router sends each token to its experts.' | moe-embed -m "$qwen" >qwen.sts
	stream hidden
	for l in 0 2; do
		for model in "$first" "$qwen"; do
			[ "$model" = "$qwen" ] && from=qwen.sts || from=hidden.sts
			{ [ $l = 0 ] && cat $from || moe-block -m "$model" -l 0-$((l - 1)) <$from; } | moe-attend -m "$model" -l $l | moe-route -m "$model" -l $l >routed.sts
			moe-expert -m "$model" -l $l --parts --no-pg <routed.sts >parts.sts
			moe-expert -m "$model" -l $l --no-pg <routed.sts | moe-view --npy hidden >plain.npy
			moe-view --npy hidden parts.sts | cmp - plain.npy
			numpy "$frames_py" check parts.sts
			numpy - "$model" $l <<-'PY'
				import sys
				import numpy as np
				import inside
				w, config = inside.weights(sys.argv[1])
				layer = sys.argv[2]
				(_, before), = inside.data("routed.sts")
				(_, frame), = inside.data("parts.sts")
				mlp, h = f"model.layers.{layer}.mlp", before["normed"].astype("f8")
				chosen, part = before["expert_id"], frame[layer + ".part"]
				assert (frame[layer + ".residual"] == before["hidden"]).all()
				assert (frame[layer + ".expert_id"] == chosen).all() and (frame[layer + ".weight"] == before["weight"]).all()
				assert part.shape == (*chosen.shape, h.shape[1])
				for e in range(before["router_logit"].shape[1]):
				    row, slot = np.nonzero(chosen == e)
				    want = inside.unit(h[row], w, f"{mlp}.experts.{e}")
				    assert np.abs(part[row, slot] - want).max(initial=0) < 2e-5 * np.abs(part).max()
				if mlp + ".shared_expert.up_proj.weight" in w:
				    want = inside.unit(h, w, mlp + ".shared_expert") / (1 + np.exp(-h @ w[mlp + ".shared_expert_gate.weight"].T))
				    assert np.abs(frame[layer + ".shared"] - want).max() < 2e-5 * np.abs(want).max()
				else:
				    assert layer + ".shared" not in frame
				assert inside.add_up(frame, layer).tobytes() == frame["hidden"].tobytes()
			PY
		done
	done
}

@test "--parts adds up in a dense layer, with packed weights, and where fewer experts were chosen" {
	add_up() {
		numpy -c '
import sys, inside
(_, frame), = inside.data("parts.sts")
assert inside.add_up(frame, sys.argv[1]).tobytes() == frame["hidden"].tobytes()
print(*(f"{k}:{v.shape}" for k, v in sorted(frame.items()) if k.startswith(sys.argv[1] + ".")))' "$1" >shapes
	}
	mkdir dense
	cp "$olmoe/model/tokenizer.json" dense/
	seq 5 15 >dense/tokens
	numpy "$root/tests/cmd/parts.py" bf16 dense
	moe-tokenize -m dense --family dense/family.json 'def f(x): return' | moe-embed -m dense --family dense/family.json >embed.sts
	rows=$(numpy "$frames_py" count hidden <embed.sts)
	moe-block -m dense --family dense/family.json -l 0-1 --parts <embed.sts >parts.sts
	add_up 1
	same "$(<shapes)" "1.residual:($rows, 48) 1.shared:($rows, 48)"
	moe-block -m dense --family dense/family.json -l 0-2 --parts <embed.sts >parts.sts
	add_up 2
	export MOE_MODEL=$golden/gguf/qwen3moe-q8_0.gguf
	moe-tokenize --math fast 'def f(x): return' | moe-embed | moe-block -l 0 --parts >parts.sts
	add_up 0
	export MOE_MODEL=$olmoe/model
	moe-tokenize 'def f(x): return' | moe-embed | moe-attend -l 0 | moe-route -l 0 --top-k 3 | moe-expert -l 0 --parts >parts.sts
	add_up 0
	numpy -c '
import inside
(_, f), = inside.data("parts.sts")
assert (f["0.expert_id"][:, 3] == -1).all() and not f["0.part"][:, 3].any() and f["0.part"][:, 2].any(1).all()'
}

@test "--parts of wanted rows are those rows of all, in a stage and in a block" {
	export MOE_MODEL=$olmoe/model
	for rows in last all none; do
		moe-tokenize --logits $rows 'def f(x): return' | moe-embed >embed.sts
		moe-block -l 0-2 --parts <embed.sts >all.sts
		moe-block -l 0 --parts=wanted <embed.sts | moe-block -l 1 --parts=wanted | moe-attend -l 2 | moe-route -l 2 | moe-expert -l 2 --parts=wanted >wanted.sts
		numpy - $rows <<-'PY'
			import sys
			import inside
			(_, a), = inside.data("all.sts")
			(_, w), = inside.data("wanted.sts")
			n = {"last": 1, "all": len(a["hidden"]), "none": 0}[sys.argv[1]]
			names = [k for k in a if k[1:2] == "."]
			assert len(names) == 3 * 4 and (n or not any(k[1:2] == "." for k in w))
			assert all(len(w[k]) == n and (w[k] == a[k][-n:]).all() for k in names if n)
			assert (a["hidden"] == w["hidden"]).all()
		PY
	done
	refuses 2 'parts=some: expected all, or wanted' moe-expert -l 0 --parts=some <all.sts
}
