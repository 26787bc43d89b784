load helper

traces_py=$root/tests/cmd/traces.py

# rows FILE...: a JSON line for each token and layer.
rows() { numpy "$traces_py" rows "$@"; }

# body FILE: its frames behind the head.
body() { numpy "$traces_py" body "$1"; }

@test "options: details, and what needs a file" {
	refuses 2 'trace-detail all: expected ids, weights or logits' moe-run --trace a.sts --trace-detail all "$word"
	refuses 2 'trace-detail counts: expected ids' moe-run --trace a.sts --trace-detail counts "$word"
	refuses 2 'trace-detail goes with --trace FILE' moe-run --trace-detail ids "$word"
	refuses 2 'trace -: standard output is for the answers' moe-run --trace - "$word"
	refuses 2 'no/such/folder' moe-run --trace no/such/folder/a.sts "$word"
	[ ! -e a.sts ]
}

@test "a trace of moe-run has the choices that moe-route makes, and changes no answer" {
	same "$(moe-run --trace a.sts "$word")" "$(moe-run "$word")"
	numpy "$frames_py" check a.sts
	moe-view --check -q a.sts
	moe-tokenize | moe-patchify -q "$word" | moe-encode | moe-embed >at.sts
	for l in 0 1 2 3; do
		moe-attend -l $l <at.sts | moe-route -l $l >routed.$l.sts
		moe-expert -l $l <routed.$l.sts >at.sts
	done
	numpy - <<-'PY'
		import numpy as np
		import frames, traces
		info, meta, a = next(traces.blocks("a.sts"))
		assert info == {"layers": [0, 1, 2, 3], "experts": 8, "k": 2, "score": "softmax", "renormalise": True, "detail": "logits"}, info
		assert (meta["moe.seq"], meta["moe.start"], meta["moe.step"], meta["moe.choice"]) == ("0", "0", "0", "token"), meta
		assert meta["moe.name"].endswith("word.png")
		for l in range(4):
		    t = frames.parse(list(frames.split(open(f"routed.{l}.sts", "rb")))[1])[1]
		    want = {k: np.frombuffer(d, {"F32": "<f4", "I32": "<i4", "U8": "u1"}[y]).reshape(s) for k, (y, s, d) in t.items()}
		    assert (a["expert_id"][l] == want["expert_id"]).all()
		    assert (a["weight"][l] == want["weight"].astype("<f2")).all()
		    assert (a["router_logit"][l] == want["router_logit"].astype("<f2")).all()
		    for name in ("token", "position", "image", "patch_index", "modality"):
		        assert (a[name] == want[name]).all(), name
	PY
}

@test "generated tokens: the rows go on where the prompt ends, each with its step" {
	moe-run --json --trace a.sts "$word" >answer.json
	rows a.sts >rows
	jq -es '[.[] | select(.layer == 0)] | [.[].row] == [range(length)]' rows >/dev/null
	# The last token of the answer is chosen, but goes through no layer.
	same "$(jq -c 'select(.layer == 3 and .step > 0) | .token' rows | xargs)" "$(jq -c '.ids // .tokens | .[:-1][]' answer.json | xargs)"
	same "$(jq -c 'select(.layer == 3 and .step > 0) | .step' rows | xargs)" "$(seq "$(jq '(.ids // .tokens | length) - 1' answer.json)" | xargs)"
}

@test "the bytes do not depend on threads, batches and the order of answers" {
	moe-run --trace one.sts -t 1 --batch 1 "$demo"/*.png >one
	moe-run --trace two.sts -t 2 --batch 3 "$demo"/*.png >two
	moe-run --trace three.sts -t 2 "$demo"/*.png >three
	cmp one two
	cmp <(body one.sts) <(body two.sts)
	cmp <(body one.sts) <(body three.sts)
	same "$(rows one.sts | jq -s 'map(.seq) | unique | length')" "$(ls "$demo"/*.png | wc -l)"
}

@test "a long text is cut every 256 rows, wherever passes end" {
	printf 'a b c d e f g h %.0s' {1..120} >text
	moe-run -m "$olmoe/model" --trace a.sts -n 3 -p "$(cat text)" >/dev/null
	numpy "$frames_py" check a.sts
	moe-view --frames --json a.sts | jq -c 'select(.kind == "trace") | [.meta["moe.start"], .meta["moe.step"], (.tensors[] | select(.name == "token") | .shape[0])]' >blocks
	head -n 2 blocks | diff - <(printf '["0","0",256]\n["256","0",256]\n')
	jq -es '(.[-2] | (.[0] | tonumber) + .[2]) == (.[-1][0] | tonumber) and .[-1][1] == "1" and .[-1][2] == 2' blocks >/dev/null
	moe-tokenize -m "$olmoe/model" "$(cat text)" | moe-embed -m "$olmoe/model" | moe-block -m "$olmoe/model" -l 0- --trace b.sts >/dev/null
	cmp <(rows a.sts | jq -c 'select(.step == 0)') <(rows b.sts | jq -c .)
}

@test "stages: moe-block writes the same as moe-run, generation and --only-wanted included; moe-route one layer" {
	moe-run --trace a.sts "$word" >answer
	mkfifo loop
	timeout 60 moe-tokenize --generate --loop loop --for-each "$word" | moe-patchify -q "$word" | moe-encode | moe-embed |
		moe-block -l 0- --only-wanted --trace b.sts | moe-decode -h -n 64 --loop loop >other
	cmp answer other
	cmp <(body a.sts) <(body b.sts)
	stream hidden
	moe-block -l 0 --trace c0.sts <hidden.sts | moe-attend -l 1 | moe-route -l 1 --trace c1.sts | moe-expert -l 1 | moe-block -l 2- --trace c2.sts |
		moe-decode -n 1 >/dev/null
	diff <(rows c0.sts c1.sts c2.sts | jq -c .) <(rows a.sts | jq -c 'select(.step == 0)')
	jq -er '.meta["moe.pg"] | contains("PN:moe-embed") and contains("PN:moe-route")' <(moe-view --frames --json c1.sts | head -n 1)
}

@test "--only-wanted: what is shown of all rows changes nothing of the rows that go on" {
	stream hidden
	moe-block -l 0- --only-wanted --attention <hidden.sts >plain.sts
	moe-block -l 0- --only-wanted --attention --trace t.sts <hidden.sts >traced.sts
	moe-diff -q plain.sts traced.sts
}

@test "MOE_TRACE is the default, {layers} stands for the layers" {
	stream hidden
	export MOE_TRACE='t.{layers}.sts'
	moe-block -l 0-1 <hidden.sts | moe-attend -l 2 | moe-route -l 2 | moe-expert -l 2 | moe-block -l 3 >/dev/null
	same "$(ls t.*)" "$(printf 't.0-1.sts\nt.2.sts\nt.3.sts')"
	moe-run --trace mine.sts "$word"
	[ ! -e t.0-3.sts ]
	moe-run "$word"
	diff <(rows t.0-3.sts) <(rows mine.sts)
}

@test "details: each tells less" {
	for detail in logits weights ids; do
		moe-run --trace $detail.sts --trace-detail $detail "$word"
		same "$(moe-view --frames --json $detail.sts | jq -r 'select(.kind == "head") | .meta["moe.trace"]' | jq -r .detail)" $detail
	done
	diff <(rows logits.sts | jq -c 'del(.logits)') <(rows weights.sts | jq -c .)
	diff <(rows logits.sts | jq -c 'del(.logits, .weights)') <(rows ids.sts | jq -c .)
	[ "$(stat -c %s ids.sts)" -lt "$(stat -c %s weights.sts)" ]
}

@test "a conversation is a sequence, and so is each text of --score" {
	printf 'hello\nthere\n' | moe-run -i -n 4 -m "$olmoe/model" --trace a.sts >/dev/null
	rows a.sts >rows
	jq -es '[.[] | select(.layer == 0)] | [.[].row] == [range(length)] and (map(.seq) | unique) == [0]' rows >/dev/null
	same "$(jq -s '[.[] | select(.layer == 0 and .step > 0) | .step]' rows | jq -c .)" '[1,2,3,1,2,3]'
	printf 'one two\nthree\n' | moe-run -m "$olmoe/model" --score - --score-lines --trace b.sts >/dev/null
	same "$(moe-view --frames --json b.sts | jq -r 'select(.kind == "trace") | .meta["moe.name"]' | xargs)" '1 2'
	same "$(rows b.sts | jq -s 'map(.seq) | unique' | jq -c .)" '[0,1]'
}

@test "failed sequences leave a gap, a failed run no file" {
	echo no picture >bad.png
	status=0
	moe-run --trace a.sts "$word" bad.png "$demo/sign.png" >/dev/null 2>err || status=$?
	same $status 1
	same "$(rows a.sts | jq -s 'map(.seq) | unique' | jq -c .)" '[0,2]'
	stream hidden
	head -c 3000 hidden.sts >cut.sts
	refuses 2 'truncated' moe-block -l 0 --trace b.sts <cut.sts
	[ ! -e b.sts ]
	status=0
	moe-run --trace /dev/full "$word" >out 2>err || status=$?
	same $status 2
	grep -q '^moe-run: /dev/full: cannot write' err
}

@test "a router of one's own without logits is traced by its weights" {
	cat >halves.py <<-'PY'
		import sys
		import numpy as np
		import frames
		for raw in frames.split(sys.stdin.buffer):
		    meta, t = frames.parse(raw)
		    if meta["moe.kind"] == "head":
		        meta["moe.crc"] = "none"
		        t = {}
		    else:
		        n = t["hidden"][1][0]
		        t = {k: v for k, v in t.items() if k != "_pad"}
		        t["expert_id"] = ("I32", [n, 2], np.tile(np.array([5, 1], "<i4"), n).tobytes())
		        t["weight"] = ("F32", [n, 2], np.full(2 * n, 0.5, "<f4").tobytes())
		        meta.update({"moe.kind": "routed", "moe.at": "2.route"})
		    sys.stdout.buffer.write(frames.build(meta, t))
		    sys.stdout.buffer.flush()
	PY
	numpy -c 0
	command="PYTHONPATH=$root/tests/cmd $(<"$BATS_RUN_TMPDIR/python") halves.py"
	status=0
	moe-run --exec "route:2=$command" --trace a.sts "$word" >/dev/null 2>err || status=$?
	same $status 2
	grep -q 'the router of layer 2 gives no logits (--trace-detail weights does without them)' err
	moe-run --exec "route:2=$command" --trace a.sts --trace-detail weights "$word" >/dev/null
	rows a.sts | jq -c 'select(.layer == 2) | [.experts, .weights]' | sort -u | diff - <(echo '[[5,1],[0.5,0.5]]')
}

@test "eight lines of Python read a trace" {
	moe-run --trace a.sts "$demo"/*.png >/dev/null
	cat >read.py <<-'PY'
		import json, struct, sys, numpy as np
		f, types = open(sys.argv[1], "rb"), {"U8": "u1", "U16": "<u2", "I32": "<i4", "F16": "<f2"}
		while size := f.read(8):
		    tensors = json.loads(f.read(struct.unpack("<Q", size)[0]))
		    meta, data = tensors.pop("__metadata__"), f.read(max([t["data_offsets"][1] for t in tensors.values()], default=0))
		    a = {k: np.frombuffer(data[slice(*t["data_offsets"])], types[t["dtype"]]).reshape(t["shape"]) for k, t in tensors.items()}
		    if meta["moe.kind"] == "trace":
		        print(meta["moe.name"], np.bincount(a["expert_id"][0].ravel(), minlength=8).tolist())
	PY
	same "$(wc -l <read.py)" 8
	numpy read.py a.sts >counts
	same "$(wc -l <counts)" "$(moe-view --frames --json a.sts | jq -s 'map(select(.kind == "trace")) | length')"
	same "$(sed 's/.*\[//; s/]//; s/, /\n/g' counts | awk '{ n += $1 } END { print n }')" "$(rows a.sts | jq -s 'map(select(.layer == 0)) | length * 2')"
}
