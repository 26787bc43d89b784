load helper

@test "help, version and bad options" {
	has_help moe-view
	refuses_bad_options moe-view
	refuses 2 usage moe-view --check --seal </dev/null
	refuses 2 usage moe-view --check --npy hidden </dev/null
	refuses 2 usage moe-view --assume-complete </dev/null
	refuses 2 usage moe-view one two </dev/null
	refuses 2 'nowhere.*No such file' moe-view nowhere
}

@test "terminals, closed and empty input, full output" {
	stream routed
	refuses_terminals moe-view routed.sts text
	for how in --seal '--npy hidden'; do
		status=0
		on_terminal "moe-view $how <routed.sts" >shown || status=$?
		same "$status" 2
		grep -q '^moe-view: .*terminal.*-o FILE' shown
		same "$(wc -l <shown)" 1
	done
	never_hangs moe-view
	never_hangs moe-view --check
	needs_open_output moe-view <routed.sts
	needs_open_output moe-view --npy hidden <routed.sts
}

@test "-o replaces a file only when all is done, in every form" {
	stream routed
	head -c 1000 routed.sts >cut
	for how in '' --json '--npy hidden' --seal; do
		rm -rf atomic
		# shellcheck disable=SC2086
		writes_atomically routed.sts cut moe-view $how
	done
}

@test "text: a line for each frame, key and tensor" {
	stream routed
	moe-view routed.sts >text
	same "$(grep -c '^frame' text)" 3
	grep -q '^frame 1: routed, [0-9]* bytes at byte [0-9]*$' text
	grep -q '^  moe.at *0.route$' text
	grep -q '^  expert_id *I32 *\[65, 2\] *0 to 7, mean ' text
	same "$(moe-view -f 1 -n 3 routed.sts | grep -A1 '^  modality' | tail -n 1)" "    1 1 1"
	same "$(moe-view - <routed.sts)" "$(cat text)"
	refuses 2 'no frame 9.* 3$' moe-view -f 9 routed.sts
}

@test "JSON: one object per frame, numbers as Python reads them from the stream" {
	stream routed
	moe-view --json -n 12 routed.sts >json
	same "$(wc -l <json)" 3
	numpy - <<-'PY'
		import json
		import numpy as np
		import frames
		at = 0
		for line, raw in zip(map(json.loads, open("json")), frames.split(open("routed.sts", "rb"))):
		    meta, tensors = frames.parse(raw)
		    tensors.pop("_pad", None)
		    assert line["meta"] == meta and line["kind"] == meta["moe.kind"] and (line["byte"], line["bytes"]) == (at, len(raw))
		    at += len(raw)
		    assert {t["name"] for t in line["tensors"]} == set(tensors)
		    for t in line["tensors"]:
		        dtype, shape, data = tensors[t["name"]]
		        have = np.frombuffer(data, {"F32": "<f4", "I32": "<i4", "U8": "u1"}[dtype]).astype("f8")
		        assert t["dtype"] == dtype and t["shape"] == shape and t["not_finite"] == 0
		        assert np.allclose([t["min"], t["max"], t["mean"], t["rms"]], [have.min(), have.max(), have.mean(), np.sqrt((have ** 2).mean())], rtol=1e-6)
		        assert np.allclose(t["values"], have[:12], rtol=1e-8)
	PY
}

@test "--npy gives every tensor to NumPy, bit by bit" {
	stream routed
	numpy - <<-'PY'
		import io
		import subprocess
		import numpy as np
		import frames
		raw = list(frames.split(open("routed.sts", "rb")))[1]
		n = 0
		for name, (dtype, shape, data) in frames.parse(raw)[1].items():
		    if name != "_pad":
		        a = np.load(io.BytesIO(subprocess.run(["moe-view", "--npy", name, "routed.sts"], check=True, stdout=subprocess.PIPE).stdout))
		        assert a.dtype.str == {"F32": "<f4", "I32": "<i4", "U8": "|u1"}[dtype] and list(a.shape) == shape and a.tobytes() == data
		        n += 1
		assert n == 10, n
	PY
	refuses 2 'no tensor "nothing"' moe-view --npy nothing routed.sts
	refuses 2 'no tensor "hidden" in that frame' moe-view -f 0 --npy hidden routed.sts
}

@test "model files and directories are shown as a frame of tensors" {
	moe-view --json "$olmoe/model" >folder
	moe-view --json "$olmoe/model/model.safetensors" >file
	same "$(jq -c .kind folder)" '"safetensors"'
	same "$(jq -c '.tensors | sort_by(.name)' folder)" "$(jq -c '.tensors | sort_by(.name)' file)"
	moe-view --npy model.norm.weight "$olmoe/model" >norm.npy
	numpy - "$olmoe/model/model.safetensors" <<-'PY'
		import sys
		import numpy as np
		import frames
		_, shape, data = frames.parse(open(sys.argv[1], "rb").read())[1]["model.norm.weight"]
		a = np.load("norm.npy")
		assert list(a.shape) == shape and (a == np.frombuffer(data, "<f4")).all() if a.nbytes == len(data) else a.dtype.str == "<f4"
	PY
	same "$(moe-view --check "$olmoe/model")" "$olmoe/model: $(jq '.tensors | length' file) tensors, all finite"
	refuses 2 'a model has no frames' moe-view --seal "$olmoe/model"
	refuses 2 'a model has no frames' moe-view -f 0 "$olmoe/model"
}

@test "safetensors files of others are read or refused as the reference does" {
	for f in "$golden"/streams/good-*.safetensors; do
		if grep -q '"moe\.' "$f"; then                  # a frame of a stream, without what frames must have
			refuses 2 'no moe.crc32.*--seal' moe-view "$f"
		else
			moe-view "$f" >/dev/null
		fi
	done
	for f in "$golden"/streams/bad-*.safetensors; do
		run -2 moe-view "$f"
	done
}

@test "--check: 0 when all is good, 1 for damage, with the byte" {
	for kind in tokens patches features hidden routed; do
		stream $kind
		same "$(moe-view --check $kind.sts)" "$kind.sts: $(moe-view --json $kind.sts | wc -l) frames, all good"
		same "$(moe-view --check -q <$kind.sts)" ""
	done
	numpy -c 'd = bytearray(open("routed.sts", "rb").read()); d[20000] ^= 4; open("bad.sts", "wb").write(d)'
	refuses 1 'bad.sts: byte [0-9]+: .*CRC-32' moe-view --check bad.sts
	numpy "$frames_py" drop-end <routed.sts >endless.sts
	refuses 1 'endless.sts: byte [0-9]+: .*end' moe-view --check endless.sts
	refuses 2 'No such file' moe-view --check nowhere
}

@test "every saved frame opens in a strict safetensors parser, whatever the kind" {
	for kind in tokens patches features hidden attended routed; do
		stream $kind
		numpy "$frames_py" check $kind.sts
	done
	moe-tokenize --for-each "$demo" >failing.sts
	printf 'no picture' >broken.png
	moe-patchify "$demo"/{badge,clock,date,price,sign,terminal,word}.png broken.png <failing.sts >failed.sts
	numpy "$frames_py" check failed.sts
	same "$(moe-view --json failed.sts | jq -r .kind | grep -c failed)" 1
}

@test "--seal completes what a foreign program left, and seals it as it was" {
	for kind in tokens patches features hidden routed; do
		stream $kind
		numpy "$frames_py" strip <$kind.sts >bare.sts
		refuses 1 'crc32' moe-view --check bare.sts
		moe-view --seal bare.sts >sealed.sts
		numpy "$frames_py" check sealed.sts
		moe-diff -q sealed.sts $kind.sts
		same "$(moe-view --json sealed.sts | jq -cS '.meta | del(."moe.crc32")')" "$(moe-view --json $kind.sts | jq -cS '.meta | del(."moe.crc32")')"
		moe-view --seal <sealed.sts | cmp - sealed.sts
		moe-view --seal <$kind.sts | cmp - $kind.sts
	done
}

@test "--seal cannot tell a crash from an end, unless it is told" {
	stream hidden
	numpy "$frames_py" drop-end <hidden.sts >endless.sts
	status=0
	moe-view --seal endless.sts >out 2>err || status=$?
	same "$status" 2
	grep -q '^moe-view: .*end' err
	moe-view --seal --assume-complete endless.sts | cmp - hidden.sts
	moe-view --json hidden.sts | jq -r 'select(.kind == "hidden") | .byte' >at
	tail -c +$(($(cat at) + 1)) hidden.sts >headless.sts
	status=0
	moe-view --seal headless.sts >out 2>err || status=$?
	same "$status" 2
	grep -q '^moe-view: .*head' err
	moe-view --seal --head hidden.sts headless.sts | cmp - hidden.sts
}

@test "cat a b is a stream, and so is its gzip" {
	stream hidden
	cat hidden.sts hidden.sts >two.sts
	same "$(moe-view --check two.sts)" "two.sts: 6 frames, all good"
	gzip -k two.sts
	same "$(moe-view --check two.sts.gz)" "two.sts.gz: 6 frames, all good"
	same "$(moe-view --json <two.sts.gz)" "$(moe-view --json two.sts)"
}

@test "--npy --concat: the rows of all frames in one array, rows first" {
	ls "$demo"/{price,sign,word}.png >list
	moe-tokenize --files-from list | moe-patchify --files-from list | moe-encode | moe-embed >hidden.sts
	moe-route -l 0 < <(moe-attend -l 0 <hidden.sts) >routed.sts
	for name in hidden token position modality moe.seq moe.start; do moe-view --npy $name --concat routed.sts >$name.npy; done
	moe-view --npy router_logit --concat -o logit.npy routed.sts
	moe-view --npy router_logit --concat -f 2 <routed.sts >second.npy
	moe-tokenize --files-from list | moe-view --npy moe.seq --concat >tokens.npy
	numpy - "$first" <<-'PY'
		import sys
		import numpy as np
		import inside
		frames = [f for _, f in inside.data("routed.sts")]
		join = lambda name: np.concatenate([f[name] for f in frames])
		load = lambda name: np.load(name + ".npy")
		assert len(frames) == 3 and load("hidden").flags["C_CONTIGUOUS"]
		for name, want in (("hidden", join("hidden")), ("token", join("token")), ("modality", join("modality")), ("logit", join("router_logit")),
		                   ("second", frames[1]["router_logit"]), ("position", np.concatenate([f["position"].T for f in frames])),
		                   ("moe.seq", np.repeat([0, 1, 2], 65)), ("moe.start", np.zeros(195, int)), ("tokens", np.repeat([0, 1, 2], 2))):
		    have = load(name)
		    assert have.shape == want.shape and (have == want).all(), name
		    assert have.dtype == (np.int64 if name in ("moe.seq", "moe.start", "tokens") else want.dtype), name
	PY
	moe-block -l 0- --trace trace.sts <hidden.sts >/dev/null
	moe-view --npy expert_id --concat trace.sts >ids.npy
	numpy - <<-'PY'
		import numpy as np
		import inside
		frames = [f for _, f in inside.data("trace.sts", ["trace"])]
		want = np.concatenate([f["expert_id"].transpose(1, 0, 2) for f in frames])
		have = np.load("ids.npy")
		assert have.shape == (195, 4, 2) and (have == want).all() and have.dtype == np.uint8
	PY
	# Tensors that differ in more than their rows, what is no number, a model, and no tensor of that name.
	moe-tokenize -m "$olmoe/model" x | moe-embed -m "$olmoe/model" >other.sts
	cat hidden.sts other.sts >both.sts
	refuses 2 'byte [0-9]+: tensor "hidden" does not go with those before' moe-view --npy hidden --concat both.sts
	refuses 2 'moe.at' moe-view --npy moe.at --concat hidden.sts
	refuses 2 'no tensor "gate"' moe-view --npy gate --concat hidden.sts
	refuses 2 'no tensor "moe.nothing"' moe-view --npy moe.nothing --concat hidden.sts
	refuses 2 'a model has no frames' moe-view --npy model.norm.weight --concat "$first"
	refuses 2 usage moe-view --concat hidden.sts
	head -c 60000 hidden.sts >cut
	rm -rf atomic
	writes_atomically hidden.sts cut moe-view --npy hidden --concat
	needs_open_output moe-view --npy hidden --concat <hidden.sts
	# BF16 is widened, as without --concat.
	numpy - <<-'PY'
		import frames
		open("bf16.safetensors", "wb").write(frames.build({}, {"a": ("BF16", [3, 2], bytes(range(12)))}))
	PY
	moe-view --npy a bf16.safetensors >alone.npy
	moe-view --npy a --concat bf16.safetensors | cmp - alone.npy
}

@test "a trace: JSON lines are what Python reads from it, TSV what awk counts" {
	moe-run --trace t.sts "$word" "$demo/sign.png" >/dev/null
	moe-view --json t.sts >rows
	numpy - <<-'PY'
		import json
		import numpy as np
		import traces
		want = {(r["seq"], r["row"], r["layer"]): r for r in traces.rows("t.sts")}
		have = [json.loads(line) for line in open("rows")]
		assert len(have) == len(want) > 400
		for r in have:
		    w = want[r["seq"], r["row"], r["layer"]]
		    assert r["modality"] == ["text", "image"][w["modality"]] and r["name"].endswith(".png")
		    for key in ("image", "patch"):
		        assert r[key] == (w[key] if w[key] >= 0 else None)
		    for key in ("step", "token", "position", "experts"):
		        assert r[key] == w[key], (key, r, w)
		    for key in ("weights", "logits"):
		        assert (np.array(r[key], "f2") == np.array(w[key], "f2")).all(), (key, r, w)
	PY
	moe-view --tsv t.sts >table
	same "$(head -n 1 table)" "$(printf 'layer\tseq\trow\tstep\ttoken\tmodality\timage\tpatch\trank\texpert\tweight\tlogit\tname')"
	awk -F '\t' 'NR > 1 { n[$1 "\t" $6 "\t" $10]++ } END { for (k in n) print k "\t" n[k] }' table | sort >awked
	jq -r '.layer as $l | .modality as $m | .experts[] | "\($l)\t\($m)\t\(.)"' rows | sort | uniq -c | awk '{ print $2 "\t" $3 "\t" $4 "\t" $1 }' | sort | diff - awked
	awk -F '\t' 'NR > 1 && $9 == 0 { print $11 "\t" $12 }' table | diff - <(jq -r '"\(.weights[0])\t\(.logits[.experts[0]])"' rows)
}

@test "a trace as text: what it holds, and where most went" {
	moe-run --trace t.sts --trace-detail ids "$word" "$demo/sign.png" >/dev/null
	moe-view t.sts >text
	same "$(head -n 1 text)" 'trace of routing: 4 layers (0-3), 8 experts, top 2, softmax, weights add up to 1; detail ids'
	grep -q 'PN:moe-run' text
	moe-view --tsv t.sts >table
	tokens=$(awk -F '\t' '$1 == 0 && $9 == 0' table | wc -l)
	text_tokens=$(awk -F '\t' '$1 == 0 && $9 == 0 && $6 == "text"' table | wc -l)
	generated=$(awk -F '\t' '$1 == 0 && $9 == 0 && $4 > 0' table | wc -l)
	grep -qx "2 sequences, $tokens tokens: $text_tokens text, $((tokens - text_tokens)) image; $generated generated" text
	for l in 0 1 2 3; do
		read -r n best < <(awk -F '\t' -v l=$l '$1 == l { n[$10]++ } END { for (e in n) print n[e], e }' table | sort -k 1nr -k 2n | head -n 1)
		share=$(awk -v n="$n" -v t="$tokens" 'BEGIN { printf "%.1f", 100 * n / (2 * t) }')
		grep -qE "^layer $l +$((2 * tokens)) choices, 0 unused; most to $best \($share%\)" text
	done
	same "$(awk -F '\t' 'NR == 2 { print $11 $12 }' table)" --
	[ "$(moe-view --frames t.sts | grep -c '^frame')" -ge 6 ]
	same "$(moe-view -f 0 t.sts | head -n 1 | cut -d, -f1)" 'frame 0: head'
	refuses 2 '--tsv shows traces' moe-view --tsv <(moe-tokenize)
	refuses 2 '--tsv shows a whole trace' moe-view --tsv --json t.sts
}

@test "a trace that lies is damage" {
	moe-run --trace t.sts --trace-detail ids "$word" >/dev/null
	moe-view --check t.sts
	numpy - <<-'PY' >bad.sts
		import sys
		import frames
		for raw in frames.split(open("t.sts", "rb")):
		    meta, t = frames.parse(raw)
		    t.pop("_pad", None)
		    if meta["moe.kind"] == "trace":
		        kind, shape, data = t["expert_id"]
		        t["expert_id"] = (kind, shape, b"\x08" + data[1:])
		    sys.stdout.buffer.write(frames.build(meta, t))
	PY
	moe-view --seal bad.sts >sealed.sts
	refuses 1 'sealed.sts: byte [0-9]+: frame "trace" of sequence 0: layer 0, row 0: expert 8 of 8' moe-view --check sealed.sts
	status=0
	moe-view sealed.sts >out 2>err || status=$?
	same $status 2
	grep -q '^moe-view: sealed.sts: byte [0-9]*: frame "trace"' err
}
