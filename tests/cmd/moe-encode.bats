load helper

@test "help, version and bad options" {
	has_help moe-encode
	refuses_bad_options moe-encode
	refuses 2 'no operand' moe-encode operand </dev/null
	refuses 2 'takes no pictures' moe-encode -m "$olmoe/model" </dev/null
}

@test "terminals, closed and empty input, full output" {
	stream patches
	refuses_terminals moe-encode patches.sts
	never_hangs moe-encode
	needs_open_output moe-encode <patches.sts
}

@test "-o replaces a file only when all is done" {
	stream patches
	head -c 1000 patches.sts >cut
	writes_atomically patches.sts cut moe-encode
}

@test "the features are those of the reference" {
	for name in terminal exact_32x128 price_large; do
		moe-tokenize | moe-patchify "$reader/pics/$name.png" | moe-encode >features.sts
		numpy "$frames_py" check features.sts
		agrees features.sts feature "$reader/cases/$name.safetensors" stem
	done
}

@test "tokens pass, patches become features, unknown tensors and keys go on" {
	stream patches
	numpy -c '
import sys, frames
for raw in frames.split(sys.stdin.buffer):
    meta, tensors = frames.parse(raw)
    if meta["moe.kind"] == "patches":
        meta["my.note"] = "kept"
        tensors["mine"] = ("I32", [1], (42).to_bytes(4, "little"))
    sys.stdout.buffer.write(frames.build(meta, tensors))' <patches.sts | moe-view --seal | moe-encode >features.sts
	moe-view --json -n 1 features.sts >view
	same "$(jq -r .kind view | xargs)" "head tokens features end"
	same "$(jq -r 'select(.kind == "features").meta."my.note"' view)" kept
	same "$(jq -r 'select(.kind == "features").tensors[] | select(.name == "mine").values == [42]' view)" true
}

@test "threads and instructions do not change a bit" {
	moe-tokenize --for-each "$demo" | moe-patchify -q "$demo" >patches.sts
	moe-encode --no-pg <patches.sts >features.sts
	for how in '-t 1' '-t 2' '-t 5' '--cpu c' '--cpu avx2' '--cpu avx512'; do
		# shellcheck disable=SC2086
		moe-encode --no-pg $how <patches.sts | cmp - features.sts
	done
	refuses 2 'expected c, avx2, avx-vnni, avx512, vnni or amx' moe-encode --cpu sse <patches.sts
}
