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

# behind STAGES...: rows of the picture "terminal" behind some layers of the reader, at.sts.
behind() {
	moe-tokenize "${@:2}" | moe-patchify "$reader/pics/terminal.png" | moe-encode | moe-embed | eval "$1" >at.sts
}

@test "--lens reads what the final norm and the head make of rows behind any stage, as NumPy does" {
	for stage in cat 'moe-block -l 0-1' 'moe-block -l 0 | moe-attend -l 1' 'moe-block -l 0 | moe-attend -l 1 | moe-route -l 1'; do
		behind "$stage"
		moe-decode --lens=3 --rows all --json <at.sts >lens
		numpy - "$reader/model" <<-'PY'
			import json
			import sys
			import numpy as np
			import inside
			w, config = inside.weights(sys.argv[1])
			(meta, frame), = inside.data("at.sts")
			z = inside.rms_norm(frame["hidden"].astype("f8"), w["model.norm.weight"], config["rms_norm_eps"]) @ w["lm_head.weight"].T
			z[:, :4] = -np.inf              # what the model may not generate
			p = inside.log_softmax(z)
			lines = [json.loads(line) for line in open("lens")]
			assert len(lines) == len(z) == 65
			for r, line in enumerate(lines):
			    best = np.argsort(-p[r], kind="stable")[:3]
			    assert (line["row"], line["seq"], line["step"], line["at"]) == (r, 0, 0, meta["moe.at"])
			    assert [t["id"] for t in line["top"]] == list(best)
			    assert np.allclose([t["logprob"] for t in line["top"]], p[r][best], atol=2e-5)
			    assert abs(line["entropy"] + (np.exp(p[r][4:]) * p[r][4:]).sum()) < 1e-4
			    assert line["modality"] == frame["modality"][r] and line.get("patch", -1) == frame["patch_index"][r]
			assert lines[64]["token"] == {"id": 1, "text": "<read>"} and "token" not in lines[0]
		PY
	done
}

@test "--lens behind the last layer is the answer's own distribution, of the rows that are wanted" {
	behind 'moe-block -l 0-'
	moe-decode --lens=4 --json <at.sts | jq -c .top >lens
	moe-decode --logprobs=4 <at.sts | jq -c .tokens[0].top >own
	same "$(<lens)" "$(<own)"
	same "$(moe-decode --lens <at.sts | cut -f 1-3)" "3.expert	64	\"<read>\""
	behind 'moe-block -l 0-' --logits none
	same "$(moe-decode --lens <at.sts)" ""
	same "$(moe-decode --lens --rows last <at.sts | cut -f 2)" 64
	behind 'moe-block -l 0-' --logits all
	same "$(moe-decode --lens <at.sts | wc -l)" 65
	same "$(moe-decode --lens --rows text <at.sts | cut -f 2)" 64
	same "$(moe-decode --lens --rows image <at.sts | cut -f 2 | xargs)" "$(seq 0 63 | xargs)"
	same "$(moe-decode --lens --rows 2,5-7,63- <at.sts | cut -f 2 | xargs)" "2 5 6 7 63 64"
	same "$(moe-decode --lens --rows 99 <at.sts)" ""
}

@test "--lens of a family of text: names of tokens, several members, several frames of a sequence" {
	export MOE_MODEL=$olmoe/model
	moe-tokenize --logits all 'def f(x):' | moe-embed >embed.sts
	moe-tokenize --logits all 'def f(x):' | moe-embed --chunk 3 | moe-block -l 0 | moe-decode --lens >chunks
	moe-block -l 0 <embed.sts | tee 0.sts | moe-decode --lens >whole
	same "$(<chunks)" "$(<whole)"
	same "$(moe-tokenize 'def f(x):' | moe-embed --chunk 3 | moe-block -l 0 | moe-decode --lens --rows last)" "$(tail -n 1 whole)"
	moe-block -l 1 <0.sts >1.sts
	same "$(cat 0.sts 1.sts | moe-decode --lens | cut -f 1 | sort | uniq -c | xargs)" "7 0.expert 7 1.expert"
}

@test "--lens: sequences with names, failed ones, and what does not go together" {
	echo none >broken.png
	printf '%s\n' broken.png "$demo/price.png" >list
	moe-tokenize --files-from list | moe-patchify -q --files-from list | moe-encode | moe-embed | moe-block -l 0 >named.sts
	run -1 --separate-stderr moe-decode --lens=1 <named.sts
	same "$(cut -f 1-2 <<<"$output")" "$demo/price.png	0.expert"
	grep -q '^moe-decode: broken.png: ' <<<"$stderr"
	same "$(moe-decode --lens --json <named.sts 2>/dev/null | jq -r .name)" "$demo/price.png"
	for bad in '--lens=0' '--lens=101' '--lens=x' '--lens --rows' '--lens --rows 5-3' '--lens --rows x' '--lens --rows 1,,2' \
		'--rows all' '--lens -n 3' '--lens --logits'; do
		# shellcheck disable=SC2086
		refuses 2 'lens|--rows|rows' moe-decode $bad <named.sts
	done
	moe-tokenize | moe-patchify "$word" >patches.sts
	refuses 2 'stage missing' moe-decode --lens <patches.sts
	moe-tokenize -m "$olmoe/model" x | moe-embed -m "$olmoe/model" >other.sts
	refuses 2 'made with model' moe-decode --lens <other.sts
}
