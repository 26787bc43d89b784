load helper

@test "help, version and bad options" {
	has_help moe-attend
	refuses_bad_options moe-attend
	refuses 2 'l is missing.*0 to 3' moe-attend </dev/null
	refuses 2 '0 to 3' moe-attend -l 4 </dev/null
	refuses 2 '0 to 3' moe-attend -l x </dev/null
	refuses 2 '0 to 3' moe-attend -l -1 </dev/null
	refuses 2 'one layer.*moe-block' moe-attend -l 0-1 </dev/null
	refuses 2 'no operand' moe-attend -l 0 operand </dev/null
}

@test "terminals, closed and empty input, full output" {
	stream hidden
	refuses_terminals "moe-attend -l 0" hidden.sts
	same "$(on_terminal moe-attend)" "moe-attend: usage: moe-attend [options] -l LAYER (try --help)"
	never_hangs moe-attend -l 0
	needs_open_output moe-attend -l 0 <hidden.sts
}

@test "-o replaces a file only when all is done" {
	stream hidden
	head -c 1000 hidden.sts >cut
	writes_atomically hidden.sts cut moe-attend -l 0
}

@test "the rows behind the attention of every layer are those of the reference" {
	moe-tokenize | moe-patchify "$reader/pics/terminal.png" | moe-encode | moe-embed >at.sts
	for l in 0 1 2 3; do
		moe-attend -l $l <at.sts >attended.sts
		numpy "$frames_py" check attended.sts
		agrees attended.sts hidden "$reader/cases/terminal.safetensors" $l.attend
		same "$(moe-view --json attended.sts | jq -r 'select(.kind == "hidden").meta."moe.at"')" $l.attend
		moe-route -l $l <attended.sts | moe-expert -l $l >at.sts
	done
	case_of olmoe one prompt | head -c -1 | moe-tokenize -m "$olmoe/model" - | moe-embed -m "$olmoe/model" | moe-attend -m "$olmoe/model" -l 0 >attended.sts
	agrees attended.sts hidden "$olmoe/cases/one.safetensors" 0.attend
}

@test "--only-wanted leaves the rows that nobody reads out of the last layer, and the logits as they are" {
	stream hidden
	moe-block -l 0-2 <hidden.sts >before.sts
	moe-attend -l 3 --only-wanted <before.sts >wanted.sts
	same "$(numpy "$frames_py" count hidden <wanted.sts)" 1
	moe-route -l 3 <wanted.sts | moe-expert -l 3 | moe-decode --logits | moe-view --npy logit >some.npy
	moe-block -l 3 <before.sts | moe-decode --logits | moe-view --npy logit >all.npy
	cmp some.npy all.npy
}

@test "stages out of order are refused, and accepted with --any-order" {
	stream hidden
	refuses_stage() {
		local got=0
		"$@" <hidden.sts >/dev/null 2>err || got=$?
		same "$got" 2
		grep -q "^$1: .*\"embed\"" err
	}
	refuses_stage moe-attend -l 1
	moe-attend -l 1 --any-order <hidden.sts | moe-view --check
}

# attended MODEL STREAM LAYER: the frame of STREAM, through moe-attend --attention, has the weights and rows that NumPy computes.
attended() {
	moe-attend -m "$1" -l "$3" --attention --no-pg <"$2" >looked.sts
	moe-attend -m "$1" -l "$3" --no-pg <"$2" >plain.sts
	numpy "$frames_py" check looked.sts
	moe-view --npy hidden plain.sts >plain.npy
	moe-view --npy hidden looked.sts | cmp - plain.npy
	numpy - "$@" <<-'PY'
		import sys
		import numpy as np
		import inside
		w, config = inside.weights(sys.argv[1])
		(_, before), = inside.data(sys.argv[2])
		(_, after), = inside.data("looked.sts")
		x = before["hidden"].astype("f8")
		weight, out = inside.attention(x, sys.argv[3], w, config, before["position"], before["image"])
		mine = after[sys.argv[3] + ".attention"]
		assert mine.dtype == np.float32 and mine.shape == weight.shape
		assert np.abs(mine - weight).max() < 2e-5, np.abs(mine - weight).max()
		assert ((mine == 0) == (weight == 0)).all() and np.abs(mine.sum(2, dtype="f8") - 1).max() < 2e-6
		assert np.abs(x + out - after["hidden"]).max() < 1e-4 * np.abs(after["hidden"]).max()
	PY
}

@test "--attention: the weights of the heads as NumPy computes them, and the same bits of hidden" {
	stream hidden
	attended "$first" hidden.sts 0
	moe-block -l 0-2 <hidden.sts >later.sts
	attended "$first" later.sts 3
	mixtral=$golden/mixtral/model
	seq -s ' ' 90 | moe-tokenize -m "$mixtral" - | moe-embed -m "$mixtral" >text.sts
	attended "$mixtral" text.sts 0
	[ "$(numpy "$frames_py" count hidden <text.sts)" -gt 130 ]      # more than a block of the cache
	moe-block -m "$mixtral" -l 0-1 <text.sts >later.sts
	attended "$mixtral" later.sts 2
}

@test "--attention in chunks, behind a cache, of wanted rows and of several layers is that of the whole" {
	export MOE_MODEL=$olmoe/model
	moe-tokenize --logits all 'def f(x): return x' >tokens.sts
	moe-embed <tokens.sts | moe-block -l 0- --attention >whole.sts
	moe-embed --chunk 4 <tokens.sts | moe-block -l 0- --attention >chunks.sts
	moe-embed <tokens.sts | moe-block -l 0-1 --attention | moe-attend -l 2 --attention | moe-route -l 2 | moe-expert -l 2 | moe-block -l 3 --attention >stages.sts
	moe-tokenize 'def f(x): return x' | moe-embed | moe-block -l 0-2 | moe-attend -l 3 --attention --only-wanted >last.sts
	numpy - <<-'PY'
		import numpy as np
		import inside
		(_, whole), = inside.data("whole.sts")
		(_, stages), = inside.data("stages.sts")
		chunks = list(inside.data("chunks.sts"))
		(meta, last), = inside.data("last.sts")
		n = len(whole["hidden"])
		assert len(chunks) == -(-n // 4)
		for layer in range(4):
		    name = f"{layer}.attention"
		    assert whole[name].shape == (4, n, n) and (stages[name] == whole[name]).all()
		    for meta, chunk in chunks:
		        start = int(meta["moe.start"])
		        rows = len(chunk["hidden"])
		        assert chunk[name].shape == (4, rows, start + rows)
		        assert (chunk[name] == whole[name][:, start:start + rows, :start + rows]).all()
		assert last["3.attention"].shape == (4, 1, n) and (last["3.attention"] == whole["3.attention"][:, -1:]).all()
	PY
	mkfifo loop
	moe-tokenize --generate --loop loop 'def f(x)' | moe-embed | moe-block -l 0- --attention | tee ring.sts | moe-decode -n 4 --loop loop >text
	same "$(<text)" ecouldceIC
	same "$(moe-view --json ring.sts | jq -c '[.tensors[] | select(.name == "0.attention").shape] | select(length > 0)' | xargs)" \
		"[[4,6,6]] [[4,1,7]] [[4,1,8]] [[4,1,9]]"
}

@test "--attention refuses what is too large, and says how to make it smaller" {
	mixtral=$golden/mixtral/model
	printf 'x %.0s' {1..6000} | moe-tokenize -m "$mixtral" - | moe-embed -m "$mixtral" >long.sts
	rows=$(numpy "$frames_py" count hidden <long.sts)
	[ $((rows * rows * 16)) -gt $((1 << 30)) ]
	refuses 2 "4 x $rows x $rows .*1 GiB.*--chunk" moe-attend -m "$mixtral" -l 0 --attention -o none <long.sts
}
