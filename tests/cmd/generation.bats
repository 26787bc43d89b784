# generation.bats: how answers are made: drawn, stopped, shown, scored, asked for; alike in moe-run and in moe-decode.
load helper

qwen=$golden/qwen3moe/model
qwen2=$golden/qwen2moe/model

# ring SOURCE-OPTIONS... -- DECODE-OPTIONS...: generates text through the ring, the layers in two processes.
ring() {
	local source=()
	while [ "$1" != -- ]; do
		source+=("$1")
		shift
	done
	shift
	rm -f loop
	mkfifo loop
	moe-tokenize --generate --loop loop "${source[@]}" | moe-embed | moe-block -l 0-0 | moe-block -l 1- | moe-decode --loop loop "$@"
}

@test "draws depend on the seed, the sequence and the token alone: not on threads, batches, or the cut" {
	export MOE_MODEL=$qwen2
	how='-n 20 --json --temperature 0.9 --top-k 50 --top-p 0.95 --min-p 0.01 --repetition-penalty 1.1 --seed 7'
	# shellcheck disable=SC2086
	{
		moe-run $how -p 'Hello there' >want
		moe-run -t 1 $how -p 'Hello there' | cmp - want
		ring 'Hello there' -- $how | cmp - want
		run ! cmp -s <(moe-run ${how/seed 7/seed 8} -p "Hello there") want
	}
	same "$(moe-run -n 20 --json --seed 7 -p 'Hello there')" "$(moe-run -n 20 --json -p 'Hello there')"
	same "$(moe-run -n 20 --json --top-k 1 --seed 3 -p 'Hello there')" "$(moe-run -n 20 --json -p 'Hello there')"
	for i in 1 2 3 4 5; do echo "prompt number $i"; done >prompts
	moe-run -n 6 --json --temperature 1 --seed 1 --prompts prompts >want
	for options in '--batch 1' '--batch 3 -t 2' '-t 1'; do
		# shellcheck disable=SC2086
		moe-run -n 6 --json --temperature 1 --seed 1 --prompts prompts $options | cmp - want
	done
	refuses 2 'temperature 0 takes the most likely' moe-run --temperature 0 --top-k 4 -p Hello
	refuses 2 'top-p' moe-run --top-p 1.5 -p Hello
}

@test "the repetition penalty sees the prompt, in a pipeline too, and says when it cannot" {
	export MOE_MODEL=$qwen
	plain=$(moe-run -n 6 --json -p Hello | jq -c .ids)
	moe-run -n 6 --json --repetition-penalty 50 -p Hello >want
	[ "$(jq -c .ids want)" != "$plain" ]
	same "$(jq '.ids | unique | length' want)" 6
	ring Hello -- -n 6 --json --repetition-penalty 50 | cmp - want
	moe-tokenize 'Hello there' | moe-embed | moe-block --only-wanted -l 0- >cut.sts
	refuses 2 'needs all tokens of the prompt.*only-wanted' moe-decode --repetition-penalty 2 <cut.sts
}

@test "a stop string ends the answer before it, over the borders of tokens, and is never shown" {
	export MOE_MODEL=$qwen2
	text=$(moe-run -n 24 -p 'The router sends')
	cut=${text:5:4}
	moe-run -n 24 --json --stop "$cut" -p 'The router sends' >want
	same "$(jq -r .text want)" "${text%%"$cut"*}"
	same "$(jq -r .finish want)" stop
	ring 'The router sends' -- -n 24 --json --stop "$cut" | cmp - want
	same "$(moe-run -n 24 --stream --stop "$cut" -p 'The router sends')" "${text%%"$cut"*}"
	same "$(moe-run -n 24 --stream --stop never -p 'The router sends')" "$text"
	same "$(ring 'The router sends' -- -n 24 --stream --stop nowhere)" "$text"
	same "$(moe-run -n 24 --json --stop zzz --stop "$cut" -p 'The router sends' | jq -r .text)" "${text%%"$cut"*}"
	refuses 2 'empty text' moe-run --stop '' -p Hello
}

@test "text is shown as it is made: whole characters, and the same bytes in the end" {
	export MOE_MODEL=$golden/olmoe/model
	prompt='The router sends each token'
	moe-run -n 24 -p "$prompt" >want
	moe-run -n 24 --stream -p "$prompt" | cmp - want
	strace -f -e trace=write -e signal=none -o trace moe-run -n 24 --stream -p "$prompt" >/dev/null 2>&1 || skip 'no strace'
	[ "$(grep -c 'write(1,' trace)" -gt 5 ]
}

@test "--logprobs: each token's, and the most likely ones, as the reference has them" {
	export MOE_MODEL=$golden/qwen2moe/model
	moe-run --logprobs=3 -n 5 -p Hello >json
	each '(.tokens | length) == 5 and (.tokens | map(.id)) == .ids and (.tokens | map(.top | length) | unique) == [3]
		and (.tokens | all(.top[0].id == .id and .top[0].logprob == .logprob and .top[0].logprob >= .top[1].logprob and (.text | type) == "string"))
		and ((.tokens | map(.logprob) | add) - .logprob | fabs) < 1e-4' <json
	ring Hello -- -n 5 --logprobs=3 | cmp - json
	moe-run --logprobs -n 2 -p Hello | each '.tokens | all(has("top") | not)'
	refuses 2 'logprobs=x' moe-run --logprobs=x -p Hello
	each '.logprob_over == "allowed"' < <(MOE_MODEL=$first moe-run --json "$word")
}

@test "--score: log-probabilities and perplexity of a text are the reference's" {
	for family in olmoe qwen3moe qwen2moe mixtral; do
		for name in one long; do
			case_of $family $name prompt | head -c -1 >text
			moe-run -m "$golden/$family/model" --score text --logprobs >json
			numpy - json "$golden/$family/cases/$name.safetensors" <<-'PY'
				import json, math, sys
				import numpy as np
				import frames
				dtype, shape, data = frames.parse(open(sys.argv[2], "rb").read())[1]["logprob"]
				want = np.frombuffer(data, "<f4")
				got = json.load(open(sys.argv[1]))
				mine = np.array([t["logprob"] for t in got["token"][1:]])
				assert mine.shape == want.shape, (mine.shape, want.shape)
				assert np.abs(mine - want).max() < 1e-4, np.abs(mine - want).max()
				assert got["scored"] == len(want) and got["tokens"] == len(want) + 1
				assert abs(got["logprob"] - want.sum(dtype="f8")) < 1e-3 * len(want)
				assert math.isclose(got["perplexity"], math.exp(-got["logprob"] / len(want)), rel_tol=1e-6)
			PY
		done
	done
	printf 'Hello there\nAll work\n' >lines
	moe-run -m "$qwen" --score lines --score-lines >tsv
	same "$(cut -f1 tsv | xargs)" "name 1 2"
	printf 'All work' | moe-run -m "$qwen" --score - --json | each '.name == "-"'
	same "$(printf 'All work' | moe-run -m "$qwen" --score - | tail -n 1 | cut -f2-)" "$(tail -n 1 tsv | cut -f2-)"
}

@test "--chat, --system and --messages put a prompt into the family's format; --raw does not" {
	export MOE_MODEL=$qwen2
	ids() { moe-view --json "$1" | jq -c 'select(.kind == "tokens").tensors[] | select(.name == "token").values' ; }
	tokens() { moe-tokenize "$@" >t.sts && moe-view --json -n 200 t.sts | jq -c 'select(.kind == "tokens").tensors[] | select(.name == "token").values'; }
	chat='<|im_start|>system
You are a helpful assistant.<|im_end|>
<|im_start|>user
Hi <there>?<|im_end|>
<|im_start|>assistant
'
	same "$(tokens --chat 'Hi <there>?')" "$(tokens --raw "$chat")"
	same "$(tokens --system 'Be brief.' 'Hi <there>?')" "$(tokens --raw "${chat/You are a helpful assistant./Be brief.}")"
	echo '[{"role": "user", "content": [{"type": "text", "text": "Hi <there>?"}]}]' >messages
	same "$(tokens --messages messages)" "$(tokens --raw "$chat")"
	same "$(moe-run --json -n 3 --chat -p 'Hi <there>?')" "$(moe-run --json -n 3 -p "$chat")"
	same "$(moe-run --json -n 3 --messages messages)" "$(moe-run --json -n 3 -p "$chat")"
	refuses 2 'raw.*--chat' moe-tokenize --raw --chat Hello
	refuses 2 'whole conversation' moe-tokenize --messages messages --chat
	refuses 2 'family native has no chat format' moe-tokenize -m "$first" --chat Hello
	echo '[{"role": "assistant", "content": "", "tool_calls": []}]' >messages
	refuses 2 'messages: message 1: calls of tools' moe-tokenize --messages messages
	echo '[{"role": "user"' >messages
	refuses 2 'messages:.*JSON' moe-tokenize --messages messages
	echo '[{"role": "alien", "content": ""}]' >messages
	refuses 2 'no role "alien"' moe-tokenize -m "$golden/mixtral/model" --messages messages
}

@test "several prompts about the same pictures: as asked one by one, and the tower runs once for each picture" {
	export MOE_MODEL=$golden/aria/model
	printf '%s\n' 'What is <image>?' '<image> again' 'Third <image> question' >prompts
	moe-run --json -n 3 --max-image-size 490 --prompts prompts "$golden/aria/pics"/{wide,square}.png >all
	same "$(jq -r '.prompt' all | xargs -d '\n')" "$(cat prompts prompts | xargs -d '\n')"
	while read -r prompt; do
		moe-run --json -n 3 --max-image-size 490 -p "$prompt" "$golden/aria/pics"/{wide,square}.png
	done <prompts | jq -c '[.name, .ids]' | sort >one
	jq -c '[.name, .ids]' all | sort | cmp - one
	same "$(moe-run --json -n 3 --max-image-size 490 --feature-cache 0 --prompts prompts "$golden/aria/pics"/{wide,square}.png)" "$(cat all)"
	moe-run -n 1 --max-image-size 490 --prompts prompts "$golden/aria/pics/wide.png" | cut -f2 | cmp - prompts
	printf '%s\n' '<image>' '<image><image>' >prompts
	refuses 2 'line 2 takes another number of pictures' moe-run --prompts prompts "$golden/aria/pics/wide.png"
}

@test "--features: what moe-encode wrote stands for the pictures, in moe-run and in moe-embed" {
	export MOE_MODEL=$golden/aria/model
	picture=$golden/aria/pics/wide.png
	moe-tokenize '<image>' | moe-patchify --max-image-size 490 --split "$picture" | moe-encode -o cat.sts
	moe-run --json -n 4 --max-image-size 490 --split -p 'What is <image>?' "$picture" | jq -c 'del(.name)' >want
	moe-run --json -n 4 --features cat.sts -p 'What is <image>?' | jq -c . | cmp want -
	moe-tokenize 'What is <image>?' | moe-embed --features cat.sts | moe-block -l 0- | moe-decode --json | jq -c '.ids' | cmp - <(jq -c '[.ids[0]]' want)
	refuses 2 'features of 1 pictures, but the prompt has 2' moe-run --features cat.sts -p '<image><image>'
	moe-tokenize '<image><image>' >two.sts
	refuses 2 'has 2 pictures, but features of 1 were given' moe-embed --features cat.sts <two.sts
	moe-tokenize Hello >none.sts
	refuses 2 'no features of a whole picture' moe-run --features none.sts -p '<image>'
	refuses 2 'the one or the other' moe-run --features cat.sts -p '<image>' "$picture"
	refuses 2 'was made with model' moe-run -m "$first" --features cat.sts
}

@test "-i: a conversation goes on from what is in the caches, and gives what one long prompt gives" {
	export MOE_MODEL=$qwen2
	turn() { printf '<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n' "$1"; }
	printf 'Hello\nAnd now?\n' | moe-run -i -n 4 >out
	first="<|im_start|>system
You are a helpful assistant.<|im_end|>
$(turn Hello)
"
	a=$(moe-run -n 4 -p "$first")
	b=$(moe-run -n 4 -p "$first$a<|im_end|>
$(turn 'And now?')
")
	same "$(cat out)" "$a
$b"
	printf 'Hello\n/reset\nHello\n' | moe-run -i -n 4 >twice
	same "$(cat twice)" "$a
$a"
	printf '/help\n/nonsense\n/quit\nHello\n' | moe-run -i -n 5 >out 2>err
	grep -q '/image FILE' out
	same "$(cat err)" 'moe-run: there is no command /nonsense (/help lists them)'
	export MOE_MODEL=$golden/aria/model
	printf '/image %s\nWhat is this?\n' "$golden/aria/pics/square.png" | moe-run -i -n 4 >out
	same "$(cat out)" "$(moe-run -n 4 --chat -p '<image>What is this?' "$golden/aria/pics/square.png")"
	printf 'What is this?\n' | moe-run -i -n 4 "$golden/aria/pics/square.png" | cmp - out
	printf '/image nowhere.png\nHello <image>\n' | moe-run -i -n 1 >out 2>err
	grep -q 'nowhere.png' err
	grep -q 'shows 1 pictures, but 0 were added' err
	refuses 2 'i is a conversation' moe-run -i -p Hello
}

@test "long prompts go through the layers in chunks, with the same bits, in memory that does not grow with the model's inner widths" {
	export MOE_MODEL=$qwen
	numpy -c 'print("All work and no play makes a long prompt. " * 400, end="")' >long
	moe-tokenize --raw <long | moe-embed --chunk 64 | moe-block -l 0- | moe-decode --json >want
	moe-run --json -n 1 -p "$(cat long)" | cmp - want
	same "$(moe-run --score long --json | jq .scored)" "$(($(jq .prompt_tokens want) - 1))"
}
