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
    types = {'F32': '<f4', 'I32': '<i4', 'U8': 'u1', 'F64': '<f8', 'I64': '<i8'}
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
	same "$(on_terminal 'moe-diff - hidden.sts')" "moe-diff: usage: moe-diff [options] A B (try --help)"
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
