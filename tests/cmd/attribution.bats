# attribution.bats: moe-stats --attribution: what each part of the model adds to the logit of the answer.
load helper

# attributed LINES: each summand in the JSON LINES is what NumPy makes of the parts in parts.sts for the model in the folder $1, and they add up to the logit of
# the head in logits.sts.
attributed() {
	numpy - "$@" <<-'PY'
		import json
		import sys
		import numpy as np
		import frames
		import inside
		w, config = inside.weights(sys.argv[1])
		name = {"norm": "model.norm.weight", "bias": None, "head": "lm_head.weight", "embed": "model.embed_tokens.weight", "eps": config.get("rms_norm_eps")}
		if "n.bias" in w:                       # of parts.py
		    name = {"norm": "n.weight", "bias": "n.bias", "head": "embed", "embed": "embed", "eps": 1e-5}
		head = w[name["head"]] if name["head"] in w else w[name["embed"]]
		pages = list(inside.data("parts.sts"))
		logits = [row for _, frame in inside.data("logits.sts") for row in frame["logit"].astype("f8")]
		lines = [json.loads(line) for line in open(sys.argv[2])]
		assert len(lines) == len(logits) > 0
		at = 0
		for meta, frame in pages:
		    layers = 1 + max(int(k.split(".")[0]) for k in frame if k.endswith(".residual"))
		    n = len(frame["0.residual"])
		    for i in range(n):
		        line, logit, at = lines[at], logits[at], at + 1
		        x = frame["hidden"][i - n].astype("f8")
		        if name["bias"]:
		            x = x - x.mean()
		        r = 1 / np.sqrt((x * x).mean() + name["eps"])
		        a, b = line["answer"]["id"], line["second"]["id"]
		        u, v = head[a] * w[name["norm"]], head[b] * w[name["norm"]]
		        if name["bias"]:
		            u, v = u - u.mean(), v - v.mean()       # which takes the mean off any vector
		        of = lambda c: (r * (u @ c), r * ((u - v) @ c))
		        want = [("embedding", None, None, w[name["embed"]][frame["token"][i - n]])]
		        before = want[0][3]
		        for layer in range(layers):
		            get = lambda k: frame[f"{layer}.{k}"][i].astype("f8")
		            residual = get("residual")
		            want.append(("attention", layer, None, residual - before))
		            before = residual
		            if f"{layer}.part" in frame:
		                for e, g, c in zip(frame[f"{layer}.expert_id"][i], get("weight"), get("part")):
		                    want.append(("expert", layer, e, g * c))
		                    before = before + g * c
		            if f"{layer}.shared" in frame:
		                want.append(("shared", layer, None, get("shared")))
		                before = before + get("shared")
		        if name["bias"]:
		            want.append(("bias", None, None, None))
		        assert [(p["part"], p.get("layer"), p.get("expert")) for p in line["parts"]] == [k[:3] for k in want]
		        for p, k in zip(line["parts"], want):
		            have = (head[a] @ w[name["bias"]], (head[a] - head[b]) @ w[name["bias"]]) if k[0] == "bias" else of(k[3])
		            assert np.allclose((p["logit"], p["lead"]), have, atol=2e-4), (p, have)
		        assert abs(line["logit"] - logit[a]) < 1e-6 * abs(logit[a]) and abs(line["lead"] - (logit[a] - logit[b])) < 1e-4
		        assert abs(sum(p["logit"] for p in line["parts"]) - logit[a]) < 1e-3
		        assert abs(sum(p["lead"] for p in line["parts"]) - (logit[a] - logit[b])) < 1e-3
	PY
}

# parts MODEL FAMILY PROMPT-OPTIONS...: parts.sts, with the parts of all layers, and logits.sts of the same rows.
parts() {
	local model=$1 family=$2
	shift 2
	moe-tokenize -m "$model" $family "$@" | moe-embed -m "$model" $family | moe-block -m "$model" $family -l 0- --parts=wanted >parts.sts
	moe-decode -m "$model" $family --logits <parts.sts >logits.sts
}

@test "each summand of the logit is what NumPy makes of the parts, and they add up" {
	moe-tokenize | moe-patchify "$demo/price.png" | moe-encode | moe-embed | moe-block -l 0- --parts=wanted >parts.sts
	moe-decode --logits <parts.sts >logits.sts
	moe-stats --attribution --json parts.sts >lines
	attributed "$first" lines
	same "$(jq -c '[.answer.text, .parts[0].part, (.parts | length)]' lines)" '["$","embedding",13]'
	for model in "$olmoe/model" "$golden/qwen2moe/model" "$golden/qwen3moe/model"; do       # plain; shared experts; tied embeddings
		parts "$model" '' --logits all 'def f(x): return'
		moe-stats -m "$model" --attribution --json <parts.sts >lines
		attributed "$model" lines
	done
	mkdir dense                                     # LayerNorm with a bias, a dense layer, a shared expert with a gate
	cp "$olmoe/model/tokenizer.json" dense/
	seq 5 15 >dense/tokens
	numpy "$root/tests/cmd/parts.py" bf16 dense
	parts dense '--family dense/family.json' --logits all 'def f(x): return'
	moe-stats -m dense --family dense/family.json --attribution --json <parts.sts >lines
	attributed dense lines
}

@test "the three forms say the same, of one answer and of several" {
	ls "$demo"/*.png >list
	moe-tokenize --files-from list | moe-patchify -q --files-from list | moe-encode | moe-embed | moe-block -l 0- --parts=wanted >parts.sts
	moe-stats --attribution --json parts.sts >lines
	moe-stats --attribution --tsv parts.sts >table
	same "$(jq -r .name lines)" "$(<list)"
	same "$(jq -r '.name as $n | .answer.id as $a | .parts[] | [$n, $a, .part, .layer // "", .expert // "", .logit] | @tsv' lines)" \
		"$(tail -n +2 table | cut -f 1,5,7,8,9,11)"
	moe-stats --attribution parts.sts >text
	grep -q "^means over $(wc -l <list) answers$" text
	want=$(jq -s '[.[].parts[] | select(.layer == 3 and .expert == 1)] as $p | ($p | map(.logit) | add)' lines)
	same "$(awk '$1 == 3 && $2 == "expert" && $3 == 1 { print $6 }' text)" "$(awk -v s="$want" -v n="$(wc -l <list)" 'BEGIN { printf "%.3f\n", s / n }')"
	same "$(awk '$1 == 3 && $2 == "expert" && $3 == 1 { print $4 }' text)" "$(jq -s '[.[].parts[] | select(.layer == 3 and .expert == 1)] | length' lines)"
	same "$(awk '$1 == 2 && $2 == "expert" { n += $4 } END { print n }' text)" $((2 * $(wc -l <list)))
	awk '$NF == "%" { logit += $(NF - 3); share += $(NF - 1) } $1 == "all" { all = $2 } END { d = logit - all; s = share - 100; exit !(d * d < 1e-4 && s * s < 1) }' text
}

@test "the ring: a share of every token of the answer; patches and unwanted rows have none" {
	mkfifo loop
	moe-tokenize --generate --loop loop | moe-patchify "$word" | moe-encode | moe-embed | moe-block -l 0- --parts=wanted | tee ring.sts | moe-decode --loop loop >text
	same "$(moe-stats --attribution --json ring.sts | jq -rs 'map(.answer.text) | .[:-1] | join("")')" "$(<text)"
	same "$(moe-stats --attribution --json ring.sts | jq -s 'map(.step)' | jq -c .)" "[0,1,2,3,4,5,6]"
	moe-tokenize --logits all | moe-patchify "$word" | moe-encode | moe-embed | moe-block -l 0- --parts >all.sts
	same "$(moe-stats --attribution --json all.sts | jq .row)" 64
	moe-tokenize --logits none | moe-patchify "$word" | moe-encode | moe-embed | moe-block -l 0- --parts >none.sts
	same "$(moe-stats --attribution --json none.sts)" ""
}

@test "streams without parts, with those of another run, and in the middle are refused" {
	stream hidden
	moe-block -l 0- <hidden.sts >plain.sts
	refuses 2 '0.residual.*--parts' moe-stats --attribution plain.sts
	moe-block -l 0-2 --parts <hidden.sts >middle.sts
	refuses 2 'behind stage "2.expert"' moe-stats --attribution middle.sts
	moe-block -l 3 <middle.sts >some.sts
	refuses 2 '3.residual.*--parts' moe-stats --attribution some.sts
	moe-block -l 3 --parts <middle.sts >whole.sts
	moe-stats --attribution whole.sts | grep -q '^answer "F", second '
	numpy -c '
import sys, numpy as np, frames, inside
for raw in frames.split(open("whole.sts", "rb")):
    meta, tensors = frames.parse(raw)
    if "1.part" in tensors:
        dtype, shape, data = tensors["1.part"]
        tensors["1.part"] = dtype, shape, (100 * np.frombuffer(data, "<f4")).tobytes()
        tensors["3.residual"] = dtype, tensors["3.residual"][1], (9 * np.frombuffer(tensors["3.residual"][2], "<f4")).tobytes()
    sys.stdout.buffer.write(frames.build(meta, tensors))' | moe-view --seal >wrong.sts
	refuses 2 'row 64: its parts add up to .*another run' moe-stats --attribution wrong.sts
	numpy -c '
import sys, frames
for raw in frames.split(open("whole.sts", "rb")):
    meta, tensors = frames.parse(raw)
    if "1.part" in tensors:
        dtype, shape, data = tensors["2.weight"]
        tensors["2.weight"] = dtype, [shape[0], 1], data[:4 * shape[0]]
    sys.stdout.buffer.write(frames.build(meta, tensors))' | moe-view --seal >narrow.sts
	refuses 2 '"2.weight": axis 1 has 1 places, expected 2' moe-stats --attribution narrow.sts
}

@test "what does not go together is refused" {
	stream hidden
	refuses 2 'one stream' moe-stats --attribution hidden.sts hidden.sts
	refuses 2 'tables of their own' moe-stats --attribution --top 3 hidden.sts
	refuses 2 'only --json, --tsv and the model' moe-stats --attribution -l 1 hidden.sts
	refuses 2 'json and --tsv' moe-stats --attribution --json --tsv hidden.sts
	moe-block -l 0- --parts <hidden.sts >parts.sts
	needs_open_output moe-stats --attribution <parts.sts
	writes_atomically parts.sts hidden.sts moe-stats --attribution
}
