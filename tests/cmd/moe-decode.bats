load helper

# last NAME: the rows behind the last layer for a picture of the reference, NAME.sts.
last() { moe-tokenize "${@:2}" | moe-patchify "$reader/pics/$1.png" | moe-encode | moe-embed | moe-block -l 0- >"$1.sts"; }

@test "help, version and bad options" {
	has_help moe-decode
	refuses_bad_options moe-decode
	refuses 2 'no operand' moe-decode operand </dev/null
	refuses 2 'max-new.*from 1' moe-decode -n 0 </dev/null
}

@test "terminals, closed and empty input, full output" {
	last terminal
	refuses_terminals moe-decode terminal.sts text
	same "$(on_terminal 'moe-decode <terminal.sts')" v
	on_terminal 'moe-decode --logits <terminal.sts' >shown || status=$?
	same "$status" 2
	grep -q '^moe-decode: .*terminal' shown
	never_hangs moe-decode
	needs_open_output moe-decode <terminal.sts
	needs_open_output moe-decode --logits <terminal.sts
}

@test "-o replaces a file only when all is done" {
	last terminal
	head -c 1000 terminal.sts >cut
	writes_atomically terminal.sts cut moe-decode
	rm -r atomic
	writes_atomically terminal.sts cut moe-decode --logits
}

@test "the logits of every row are those of the reference" {
	for name in terminal exact_32x128 price_large; do
		last $name --logits all
		moe-decode --logits <$name.sts >logits.sts
		numpy "$frames_py" check logits.sts
		agrees logits.sts logit "$reader/cases/$name.safetensors" logits
		agrees logits.sts row "$reader/cases/$name.safetensors" row
	done
	same "$(moe-view --json logits.sts | jq -r .kind | xargs)" "head logits end"
	case_of olmoe one prompt | head -c -1 | moe-tokenize -m "$olmoe/model" --logits all - | moe-embed -m "$olmoe/model" |
		moe-block -m "$olmoe/model" -l 0- | moe-decode -m "$olmoe/model" --logits >logits.sts
	moe-view --npy logit logits.sts >logit.npy
	numpy - "$olmoe/cases/one.safetensors" <<-'PY'
		import sys
		import numpy as np
		import frames
		want = frames.parse(open(sys.argv[1], "rb").read())[1]
		mine = np.load("logit.npy")
		assert (mine.argmax(1) == np.frombuffer(want["argmax"][2], "<i4")).all()
		tail = np.frombuffer(want["logit_last"][2], "<f4").reshape(4, -1)
		assert np.sqrt(((mine[-4:] - tail) ** 2).mean() / (tail ** 2).mean()) < 2e-5
	PY
}

@test "only the rows that moe-tokenize --logits asked for" {
	for rows in last all; do
		last terminal --logits $rows
		moe-decode --logits <terminal.sts >$rows.sts
	done
	same "$(numpy "$frames_py" count logit <last.sts) $(numpy "$frames_py" count logit <all.sts)" "1 65"
	last terminal --logits none
	same "$(moe-decode --logits <terminal.sts | numpy "$frames_py" count logit)" 0
}

@test "the next token is the reference's first, with its log-probability" {
	for name in terminal exact_32x128 price_large; do
		last $name
		moe-decode --json <$name.sts >answer
		same "$(jq .ids[0] answer)" "$(case_of read $name generated[0])"
		moe-decode --logits <$name.sts | moe-view --npy logit >logit.npy
		numpy -c '
import json, numpy as np
a, z = json.load(open("answer")), np.load("logit.npy").astype("f8")[0]
z[:4] = -np.inf                 # what the model may not generate
want = z[a["ids"][0]] - z.max() - np.log(np.exp(z - z.max()).sum())
assert abs(a["logprob"] - want) < 1e-6, (a, want)'
	done
}

@test "texts with and without names, and as JSON" {
	moe-tokenize --for-each "$demo" | moe-patchify -q "$demo" | moe-encode | moe-embed | moe-block -l 0- >many.sts
	same "$(moe-decode <many.sts | cut -f1)" "$(ls "$demo"/*.png)"
	same "$(moe-decode -h <many.sts | xargs)" "v 1 2 \$ H \$ F s"
	same "$(moe-decode --json <many.sts | jq -r '.name + "\t" + .text')" "$(moe-decode <many.sts)"
	moe-decode --json <many.sts | each 'keys_unsorted == ["name", "text", "ids", "logprob", "confidence", "logprob_over", "finish", "prompt_tokens", "generated_tokens"]
		and .prompt_tokens == 65 and .generated_tokens == 1 and (.ids | length) == 1'
	sure=$(moe-decode --json <many.sts | jq -s 'map(.confidence) | sort | .[4]')
	run -1 moe-decode -q --min-confidence "$sure" <many.sts
	same "$(wc -l <<<"$output")" 4
	run -1 moe-decode -q --json --min-confidence "$sure" <many.sts
	same "$(jq -s 'map(select(.text == null)) | length' <<<"$output")" 4
	last terminal
	same "$(moe-decode <terminal.sts)" v
	same "$(moe-decode -H <terminal.sts)" "-	v"
}
