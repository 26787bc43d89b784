load helper

# change IN OUT CODE: frames of a stream, changed by Python: `meta`, `tensors`, and `a` (a dictionary of NumPy arrays to change in place).
change() {
	numpy -c "
import sys
import numpy as np
import frames
for raw in frames.split(open(sys.argv[1], 'rb')):
    meta, tensors = frames.parse(raw)
    tensors.pop('_pad', None)
    types = {'F32': '<f4', 'F16': '<f2', 'I32': '<i4', 'U8': 'u1', 'F64': '<f8', 'I64': '<i8'}
    a = {k: np.frombuffer(d, types[t]).reshape(s).copy() for k, (t, s, d) in tensors.items()}
    if meta['moe.kind'] not in ('head', 'end'):
$(sed 's/^/        /' <<<"$3")
    tensors = {k: (tensors[k][0] if k in tensors else 'F32', list(v.shape), v.tobytes()) for k, v in a.items()}
    sys.stdout.buffer.write(frames.build(meta, tensors))" "$1" | moe-view --seal >"$2"
}

@test "help, version and bad options" {
	has_help moe-diff
	refuses_bad_options moe-diff
	refuses 2 usage moe-diff </dev/null
	refuses 2 usage moe-diff one </dev/null
	refuses 2 'rtol -1' moe-diff --rtol -1 a b </dev/null
	refuses 2 'nowhere.*No such file' moe-diff nowhere nothing
	refuses 2 'model' moe-diff "$olmoe/model" "$word"
}

@test "closed and empty input, terminals, full output" {
	stream hidden
	never_hangs moe-diff - hidden.sts
	same "$(on_terminal 'moe-diff - hidden.sts')" "moe-diff: usage: moe-diff [options] A B [PICTURE|FOLDER|SHARD...] (try --help)"
	needs_open_output moe-diff - hidden.sts <hidden.sts
}

@test "equal streams: exit 0, whatever their provenance" {
	stream hidden
	moe-tokenize --for-each "$word" | moe-patchify "$word" | moe-encode -t 1 | moe-embed --no-pg >again.sts
	run -1 cmp -s hidden.sts again.sts
	same "$(moe-diff hidden.sts again.sts)" "6 tensors compared, 0 differ, largest relative rms 0"
	same "$(moe-diff -q hidden.sts again.sts)" ""
	same "$(moe-diff hidden.sts - <again.sts)" "6 tensors compared, 0 differ, largest relative rms 0"
}

@test "one value that differs: exit 1, and where it is" {
	stream hidden
	change hidden.sts other.sts 'a["hidden"][3, 7] += 0.25'
	run -1 moe-diff hidden.sts other.sts
	grep -q "frame 1 (hidden, sequence 0, embed): hidden: 1 of 10400 values differ.*most at \[3, 7\]: " <<<"$output"
	same "${lines[1]%, largest*}" "6 tensors compared, 1 differ"
	run -1 moe-diff --json hidden.sts other.sts
	each '.tensor == "hidden" and .compared == 10400 and .differing == 1 and .at == 487 and (.largest - 0.25 | fabs) < 1e-5' <<<"$output"
}

@test "--atol and --rtol bound what counts" {
	stream hidden
	change hidden.sts other.sts 'a["hidden"][:] *= 1.001'
	run -1 moe-diff -q --rtol 0.0005 hidden.sts other.sts
	moe-diff -q --rtol 0.0011 hidden.sts other.sts
	run -1 moe-diff -q --atol 0.01 hidden.sts other.sts
	moe-diff -q --atol 0.1 hidden.sts other.sts
}

@test "what is not finite differs from what is, on either side and at any tolerance" {
	stream hidden
	for value in nan inf -inf; do
		change hidden.sts other.sts "a['hidden'][0, 0] = float('$value')"
		run -1 moe-diff -q hidden.sts other.sts
		run -1 moe-diff -q other.sts hidden.sts
		run -1 moe-diff -q --rtol 1 --atol 1000 hidden.sts other.sts
		run -1 moe-diff -q --rtol 1 --atol 1000 other.sts hidden.sts
		moe-diff -q other.sts other.sts
		run -1 moe-diff --json hidden.sts other.sts
		each '.differing == 1' <<<"$output"
	done
}

@test "wide and narrow types are compared in full" {
	numpy - <<-'PY'
		import struct
		import frames
		def write(path, f64, i64, c64, f8):
		    with open(path, "wb") as f:
		        f.write(frames.build({}, {"d": ("F64", [1], struct.pack("<d", f64)), "i": ("I64", [1], struct.pack("<q", i64)),
		                                  "c": ("C64", [1], struct.pack("<2f", c64, 1)), "e": ("F8_E4M3", [2], bytes([f8, 1]))}))
		write("a", 1, 2 ** 60, 1, 1)
		write("d", 1 + 2e-16, 2 ** 60, 1, 1)
		write("i", 1, 2 ** 60 + 1, 1, 1)
		write("c", 1, 2 ** 60, 2, 1)
		write("e", 1, 2 ** 60, 1, 2)
	PY
	moe-diff -q a a
	for name in d i c e; do
		run -1 moe-diff --json a $name
		same "$(jq -r .tensor <<<"$output")" $name
	done
}

@test "shapes, tensors and frames that only one side has" {
	stream hidden
	stream features
	change hidden.sts rows.sts 'a["hidden"] = a["hidden"][:60]'
	run -1 moe-diff hidden.sts rows.sts
	grep -q 'hidden: F32 \[65, 160\] against F32 \[60, 160\]' <<<"$output"
	change hidden.sts more.sts 'a["mine"] = np.zeros(3, "f4")'
	run -1 moe-diff hidden.sts more.sts
	grep -q 'mine: only in the second' <<<"$output"
	run -1 moe-diff more.sts hidden.sts
	grep -q 'mine: only in the first' <<<"$output"
	run -1 moe-diff hidden.sts features.sts
	cat hidden.sts hidden.sts >two.sts
	run -1 moe-diff hidden.sts two.sts
	grep -q 'two.sts.*alone' <<<"$output"
	for pair in "hidden rows" "hidden more" "more hidden" "hidden features" "hidden two"; do
		run -1 moe-diff --json ${pair% *}.sts ${pair#* }.sts
		each 'type == "object"' <<<"$output"
	done
}

@test "routing ties are named apart: they are no difference, others are, and a tie hides nothing else" {
	stream routed
	tie='z = a["router_logit"]; e = a["expert_id"]; r = 10; spare = [k for k in range(8) if k not in e[r]][0]; z[r, spare] = z[r, e[r, 1]]'
	change routed.sts one.sts "$tie"
	change routed.sts other.sts "$tie; e[r, 1] = spare; a['weight'][r] = 0.6, 0.4"
	run -0 moe-diff one.sts other.sts
	grep -q 'experts differ in 1 of 65 rows, 1 of them ties' <<<"$output"
	change routed.sts swapped.sts "$tie; z[r, e[r, 0]] = z[r, e[r, 1]]; e[r] = e[r, ::-1]"
	change routed.sts straight.sts "$tie; z[r, e[r, 0]] = z[r, e[r, 1]]"
	run -0 moe-diff straight.sts swapped.sts
	grep -q '1 of them ties' <<<"$output"
	change routed.sts wrong.sts "$tie; e[r, 1] = spare; a['weight'][20, 0] += 0.01"
	run -1 moe-diff one.sts wrong.sts
	grep -q '1 of them ties' <<<"$output"
	grep -q 'weight: 1 of 128 values differ' <<<"$output"
	change routed.sts far.sts "$tie; e[r, 1] = [k for k in range(8) if k not in e[r] and k != spare][0]"
	run -1 moe-diff one.sts far.sts
	grep -q 'experts differ in 1 of 65 rows, 0 of them ties' <<<"$output"
	run -0 moe-diff --tie 100 one.sts far.sts
	change routed.sts near.sts "$tie; z[r, spare] -= 0.001"
	change near.sts nearer.sts 'e = a["expert_id"]; z = a["router_logit"]; r = 10; e[r, 1] = np.argsort(-z[r])[2]'
	run -1 moe-diff near.sts nearer.sts
	run -0 moe-diff --tie 0.01 near.sts nearer.sts
}

@test "models are compared tensor by tensor" {
	cp -RL "$olmoe/model" other
	chmod -R u+w other
	moe-diff -q "$olmoe/model" other
	numpy - <<-'PY'
		import json
		import struct
		path = "other/model.safetensors"
		d = bytearray(open(path, "rb").read())
		n, = struct.unpack_from("<Q", d)
		at = 8 + n + json.loads(d[8:8 + n])["model.norm.weight"]["data_offsets"][0]
		d[at + 3] ^= 1
		open(path, "wb").write(d)
	PY
	run -1 moe-diff "$olmoe/model" other
	grep -q 'model: model.norm.weight: 1 of' <<<"$output"
	run -1 moe-diff "$olmoe/model" "$first"
	run -2 moe-diff "$olmoe/model" "$olmoe/model/model.safetensors"
}

# ---- traces ----

@test "traces: shares, ties, overlap and weights as Python counts them" {
	moe-run --trace a.sts "$word" "$demo/sign.png" "$demo/clock.png" >/dev/null
	moe-run --trace b.sts --drop 3 "$word" "$demo/sign.png" "$demo/clock.png" >/dev/null
	run -1 moe-diff --json a.sts b.sts
	printf '%s\n' "$output" >found
	numpy - <<-'PY'
		import json
		import numpy as np
		import traces
		def rows(path):
		    return {(r["seq"], r["row"], r["layer"]): r for r in traces.rows(path)}
		def step(x):
		    return 2.0 ** (np.floor(np.log2(max(abs(x), 2.0 ** -14))) - 10)
		def tied(a, b, z):
		    z = [z[e] for e in set(a) ^ set(b)]
		    return max(z) - min(z) <= max(1e-4, step(max(z)), step(min(z)))
		a, b = rows("a.sts"), rows("b.sts")
		want, change, parting = {}, {}, []
		for key, r in a.items():
		    q = b[key]
		    assert r["token"] == q["token"]
		    n = want.setdefault((r["layer"], r["modality"]), [0] * 6)
		    x, y = r["experts"], q["experts"]
		    equal = set(x) == set(y)
		    tie = not equal and (tied(x, y, r["logits"]) or tied(x, y, q["logits"]))
		    for i, v in enumerate((1, equal, tie, not equal and not tie, len(set(x) & set(y)), max(len(x), len(y)))):
		        n[i] += v
		    for e in set(x) & set(y):
		        change.setdefault((r["layer"], r["modality"]), []).append(abs(r["weights"][x.index(e)] - q["weights"][y.index(e)]))
		    if not equal and not tie:
		        parting.append((r["layer"], r["seq"], r["row"]))
		found = [json.loads(line) for line in open("found")]
		for f in found[:-1]:
		    n = want.pop((f["layer"], ["text", "image"].index(f["modality"])))
		    c = change[f["layer"], ["text", "image"].index(f["modality"])]
		    assert [f["rows"], f["equal"], f["ties"], f["differing"]] == n[:4], (f, n)
		    assert f["rows"] == f["equal"] + f["ties"] + f["differing"]
		    assert abs(f["equal_share"] - n[1] / n[0]) < 1e-9 and abs(f["overlap"] - n[4] / n[5]) < 1e-9
		    assert abs(f["weight_change"] - np.mean(c)) < 1e-6
		assert not want
		end = found[-1]
		assert (end["lowest"]["layer"], end["lowest"]["seq"], end["lowest"]["row"]) == min(parting)
		assert (end["earliest"]["seq"], end["earliest"]["row"], end["earliest"]["layer"]) == min((s, r, l) for l, s, r in parting)
		assert end["sequences"] == end["answers"] == 3 and not end["same"]
	PY
	run -0 moe-diff a.sts a.sts
	grep -q '^answers that differ: none of 3' <<<"$output"
	same "$(moe-diff -q a.sts a.sts)" ''
	same "$(moe-diff --json a.sts a.sts | jq -sc '[(.[:-1][] | .equal_share)] | unique')" '[1]'
}

@test "traces: a tie is named apart, a difference with its place and margin, an answer that parts with its token" {
	moe-run --trace a.sts "$word" >/dev/null
	swap='
if meta["moe.start"] == "0":
    l, r = 2, 10
    z, e = a["router_logit"][l, r], a["expert_id"][l, r]
    spare = [k for k in range(8) if k not in e][0]
    z[spare] = z[e[1]] + GAP'
	change a.sts one.sts "${swap/GAP/0}"
	change a.sts tie.sts "${swap/GAP/0}
    e[1] = spare"
	run -0 moe-diff one.sts tie.sts
	grep -qE '^ +2 +image +64 +98.44% +1 +0 +99.22%' <<<"$output"
	run -0 moe-diff tie.sts one.sts
	change a.sts apart.sts "${swap/GAP/1}"
	change a.sts other.sts "${swap/GAP/1}
    e[1] = spare"
	run -1 moe-diff apart.sts other.sts
	grep -qE '^ +2 +image +64 +98.44% +0 +1 ' <<<"$output"
	grep -qE '^lowest difference: layer 2, sequence 0 \(.*word.png\), row 10: experts [0-9] [0-9] against [0-9] [0-9], margin -1' <<<"$output"
	run -0 moe-diff --tie 1.01 apart.sts other.sts
	# The order of experts is none of their choice.
	change a.sts order.sts 'a["expert_id"][:, :, :] = a["expert_id"][:, :, ::-1]'
	moe-diff -q a.sts order.sts
	# From another generated token on there is nothing to compare.
	change a.sts token.sts 'if meta["moe.step"] != "0": a["token"][2] += 1'
	run -1 moe-diff a.sts token.sts
	token=$(moe-view --json a.sts | jq -s 'map(select(.step == 3))[0].token')
	grep -q "^answers that differ: 1 of 1; the first in sequence 0, row 67: token $token against $((token + 1))" <<<"$output"
	grep -q '^rows not compared, behind other tokens or of one trace alone: 4$' <<<"$output"
	change a.sts prompt.sts 'if meta["moe.step"] == "0": a["token"][5] += 1'
	run -1 moe-diff a.sts prompt.sts
	grep -q '^sequences with another prompt: 1$' <<<"$output"
	run -1 moe-diff --frames a.sts token.sts
	grep -q 'token: 1 of 6 values differ' <<<"$output"
}

@test "traces: sequences may come in another order and be cut elsewhere; layers and sequences of one alone are told" {
	mkdir two
	cp "$word" "$demo/sign.png" two
	moe-run --trace a.sts two >/dev/null
	mkfifo loop
	timeout 60 moe-tokenize --generate --loop loop --for-each two | moe-patchify -q two | moe-encode | moe-embed |
		moe-block -l 0 | moe-block -l 1- --trace late.sts | moe-decode -n 64 --loop loop >/dev/null
	run -1 moe-diff a.sts late.sts
	grep -q '^layers of one trace alone: 1 of the first, 0 of the second' <<<"$output"
	same "$(moe-diff --json a.sts late.sts | jq -sc 'map(.equal_share // empty) | unique')" '[1]'
	moe-run --trace b.sts two/sign.png >/dev/null
	run -1 moe-diff a.sts b.sts
	grep -q '^sequences of one trace alone: 1 of the first, 0 of the second' <<<"$output"
	moe-run --trace ids.sts --trace-detail ids two/sign.png >/dev/null
	run -0 moe-diff b.sts ids.sts
	moe-diff ids.sts ids.sts | grep -q 'ties are not told'
	moe-run -m "$olmoe/model" -p hello -n 2 --trace other.sts >/dev/null
	refuses 2 'top 2 of 8 experts against top 4 of 10' moe-diff a.sts other.sts
	printf '1 2 3\n' >usage
	moe-import -q usage >counts.sts
	refuses 2 'a trace of counts has no tokens' moe-diff counts.sts counts.sts
	head -c 5000 a.sts >cut.sts
	refuses 2 'cut.sts: byte [0-9]+: truncated' moe-diff a.sts cut.sts
	refuses 2 'rtol' moe-diff --rtol 1 a.sts a.sts
}

@test "two models on the same pictures: routing and answers" {
	run -0 moe-diff "$first" "$first" "$word" "$demo/sign.png"
	grep -q '^answers that differ: none of 2' <<<"$output"
	cp -RL "$first" small
	chmod -R u+w small
	numpy - <<-'PY'
		import numpy as np
		import frames
		meta, t = frames.parse(open("small/model.safetensors", "rb").read())
		rng = np.random.default_rng(0)
		for name, (kind, shape, data) in t.items():
		    if kind == "F32":
		        a = np.frombuffer(data, "<f4")
		        t[name] = (kind, shape, (a * (1 + 0.4 * rng.normal(size=a.shape))).astype("<f4").tobytes())
		    elif kind == "BF16":
		        a = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
		        t[name] = (kind, shape, ((a * (1 + 0.4 * rng.normal(size=a.shape))).astype("<f4").view("<u4") >> 16).astype("<u2").tobytes())
		open("small/model.safetensors", "wb").write(frames.build(meta, t))
	PY
	status=0
	moe-diff "$first" small "$demo"/*.png >found || status=$?
	same $status 1
	grep -q '^lowest difference: layer' found
	moe-diff --json "$first" small "$demo"/*.png >lines || true
	moe-run "$demo"/*.png >one
	moe-run -m small "$demo"/*.png >two
	same "$(jq -s 'map(select(.answers))[0].answers_differing' lines)" "$(diff <(cut -f 2 one) <(cut -f 2 two) | grep -c '^<')"
	[ "$(jq -s 'map(select(.answers))[0].answers_differing' lines)" -gt 0 ]
	same "$(jq -s 'map(select(.answer_of != null)) | length' lines)" "$(jq -s 'map(select(.answers))[0].answers_differing' lines)"
	moe-run --trace t1.sts "$demo"/*.png >/dev/null
	moe-run -m small --trace t2.sts "$demo"/*.png >/dev/null
	diff <(jq -c 'select(.modality)' lines) <(moe-diff --json t1.sts t2.sts | jq -c 'select(.modality)')
	run -0 moe-diff -p 'hello' -n 3 "$olmoe/model" "$olmoe/model"
	grep -q '^answers that differ: none of 1, 3 tokens' <<<"$output"
	refuses 2 'only models can be run' moe-diff t1.sts t2.sts "$word"
	refuses 2 'prompt has 0 pictures' moe-diff -p hello "$first" "$first" "$word"
}
