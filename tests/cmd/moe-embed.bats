load helper

@test "help, version and bad options" {
	has_help moe-embed
	refuses_bad_options moe-embed
	refuses 2 'no operand' moe-embed operand </dev/null
	refuses 2 'chunk.*from 1' moe-embed --chunk 0 </dev/null
}

@test "terminals, closed and empty input, full output" {
	stream features
	refuses_terminals moe-embed features.sts
	never_hangs moe-embed
	needs_open_output moe-embed <features.sts
}

@test "-o replaces a file only when all is done" {
	stream features
	head -c 1000 features.sts >cut
	writes_atomically features.sts cut moe-embed
}

@test "the rows are those of the reference, with and without a picture" {
	for name in terminal exact_32x128 price_large; do
		moe-tokenize | moe-patchify "$reader/pics/$name.png" | moe-encode | moe-embed >hidden.sts
		numpy "$frames_py" check hidden.sts
		agrees hidden.sts hidden "$reader/cases/$name.safetensors" hidden.embed
	done
	for name in one short long; do
		case_of olmoe $name prompt | head -c -1 | moe-tokenize -m "$olmoe/model" - | moe-embed -m "$olmoe/model" >hidden.sts
		agrees hidden.sts hidden "$olmoe/cases/$name.safetensors" hidden.embed
		agrees hidden.sts token "$olmoe/cases/$name.safetensors" token
	done
}

@test "every row says what it is: a picture's rows come first, on their grid, then text" {
	stream features
	moe-embed <features.sts >hidden.sts
	for name in modality image patch_index position token; do
		moe-view --npy $name hidden.sts >$name.npy
	done
	frames hidden hidden.sts | each '.meta | ."moe.at" == "embed" and ."moe.start" == "0" and ."moe.next" == "17" and ."moe.name" != null'
	numpy -c '
import numpy as np
m, i, p, x, t = (np.load(n + ".npy") for n in ("modality", "image", "patch_index", "position", "token"))
assert m.tolist() == [1] * 64 + [0] and i.tolist() == [0] * 64 + [-1] and p.tolist() == list(range(64)) + [-1] and t.tolist() == [2] * 64 + [1]
assert x[0].tolist() == [k // 16 for k in range(64)] + [16] and x[1].tolist() == [k % 16 for k in range(64)] + [16], x'
}

@test "--chunk cuts a prompt into frames of at most so many rows, and a picture never" {
	case_of olmoe one prompt | moe-tokenize -m "$olmoe/model" - >tokens.sts
	for n in 1 7 60 61 62 1000; do
		moe-embed -m "$olmoe/model" --chunk $n <tokens.sts >chunks.sts
		numpy "$frames_py" check chunks.sts
		same "$(numpy "$frames_py" count hidden <chunks.sts)" "$(numpy "$frames_py" count token <tokens.sts)"
		moe-view --json chunks.sts | jq -es --argjson n $n 'map(select(.kind == "hidden")) as $h | [$h[].tensors[] | select(.name == "hidden").shape[0]] as $rows
			| ($rows | max) <= $n and ([$h[].meta."moe.start" | tonumber] == [range($h | length) | . * $n])'
	done
	stream features
	moe-embed --chunk 10 <features.sts | moe-view --json | jq -es '[.[].tensors[] | select(.name == "hidden").shape[0]] == [64, 1]'
}
