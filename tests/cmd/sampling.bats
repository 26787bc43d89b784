# sampling.bats: what generation.bats leaves out: the corners of drawing, stopping, showing and scoring.
load helper

model=$olmoe/model
draw=(--temperature 0.9 --top-k 50 --top-p 0.95 --min-p 0.01 --repetition-penalty 1.3 --seed 11)

# ring TEXT [OPTIONS OF moe-decode...]: the answer of a ring of stages.
ring() {
	local text=$1
	shift
	rm -f loop
	mkfifo loop
	moe-tokenize -m "$model" --generate --loop loop "$text" | moe-embed -m "$model" | moe-block -m "$model" -l 0 | moe-attend -m "$model" -l 1 |
		moe-route -m "$model" -l 1 | moe-expert -m "$model" -l 1 | moe-block -m "$model" -l 2- | moe-decode -m "$model" --loop loop "$@"
}

@test "draws of many sequences do not depend on the window, the batch or the threads" {
	hot=("${draw[@]}" --temperature 6 --top-p 1)    # else the reader is too sure of what it reads
	moe-run "${hot[@]}" --json "$demo" >one
	same "$(wc -l <one)" 8
	moe-run "${hot[@]}" --json --batch 1 -t 1 "$demo" | cmp - one
	moe-run "${hot[@]}" --json --batch 3 -t 2 "$demo" | cmp - one
	mkfifo loop
	for window in 1 5; do
		moe-tokenize --for-each "$demo" --generate --loop loop --window $window | moe-patchify -q "$demo" | moe-encode | moe-embed | moe-block -l 0-2 |
			moe-block -l 3 | moe-decode --loop loop "${hot[@]}" --json | jq -c 'del(.name)' >ring
		jq -c 'del(.name)' one | cmp - ring
	done
	[ "$(jq -c .ids one)" != "$(moe-run --json "$demo" | jq -c .ids)" ]
}

@test "the default is greedy, and so are one token to draw from and no temperature" {
	moe-run -m "$model" -p Hello -n 12 --json >greedy
	same "$(jq -c '.ids' greedy)" "$(case_of olmoe short generated | jq -c '.[:12]')"
	for how in '--temperature 0' '--top-k 1' '--top-p 1e-9' '--min-p 1' '--temperature 1e-300' '--temperature 0 --repetition-penalty 1'; do
		# shellcheck disable=SC2086 # several words
		moe-run -m "$model" -p Hello -n 12 --seed 5 $how --json | cmp - greedy
	done
}

@test "the repetition penalty knows the prompt; rows left out on the way are a failure" {
	text='one two three one two three one two'
	moe-run -m "$model" -p "$text" -n 30 --repetition-penalty 5 --json >one
	jq -e '.ids as $i | ($i | unique | length) == ($i | length)' one
	ring "$text" -n 30 --repetition-penalty 5 --json | cmp - one
	[ "$(jq -c .ids one)" != "$(moe-run -m "$model" -p "$text" -n 30 --json | jq -c .ids)" ]
	moe-tokenize -m "$model" "$text" | moe-embed -m "$model" --chunk 4 | moe-block -m "$model" -l 0- | moe-decode -m "$model" --repetition-penalty 5 --json >chunks
	same "$(jq -c .ids chunks)" "$(jq -c '.ids[:1]' one)"
	moe-tokenize -m "$model" "$text" | moe-embed -m "$model" | moe-block -m "$model" -l 0-2 | moe-attend -m "$model" -l 3 --only-wanted |
		moe-route -m "$model" -l 3 | moe-expert -m "$model" -l 3 >cut.sts
	moe-decode -m "$model" --json <cut.sts >whole
	refuses 2 'repetition penalty.*left out' moe-decode -m "$model" --repetition-penalty 5 <cut.sts
}

@test "options that cannot be" {
	for bad in '--temperature -1' '--top-p 0' '--top-p 1.1' '--top-k 0' '--min-p 2' '--repetition-penalty 0' '--seed -1' '--logprobs=101' '--logprobs=x' '-n 0'; do
		# shellcheck disable=SC2086 # several words
		refuses 2 "${bad%%[ =]*}|max-new" moe-run -m "$model" -p Hello $bad
		# shellcheck disable=SC2086 # several words
		refuses 2 "${bad%%[ =]*}|max-new" moe-decode -m "$model" $bad </dev/null
	done
	refuses 2 'temperature 0 takes the most likely' moe-run -m "$model" -p Hello --temperature 0 --top-k 5
	refuses 2 'stop: an empty text' moe-run -m "$model" -p Hello --stop ''
}

@test "a ring of many sequences stops each where moe-run does" {
	moe-run --stop o --stop 1 --json "$demo" >one
	jq -es 'map(.finish) | index("stop") and index("end")' one
	mkfifo loop
	moe-tokenize --for-each "$demo" --generate --loop loop | moe-patchify -q "$demo" | moe-encode | moe-embed | moe-block -l 0- |
		moe-decode --loop loop --stop o --stop 1 --json | jq -c 'del(.name)' >ring
	jq -c 'del(.name)' one | cmp - ring
}


@test "--stream prints as it goes: whole characters, nothing of a stop string, in all the same text" {
	moe-run -m "$model" -p 'the quick' -n 40 >plain
	moe-run -m "$model" -p 'the quick' -n 40 --stream | cmp - plain
	ring 'the quick' -n 40 --stream | cmp - plain
	moe-run -m "$model" -p 'the quick' -n 40 --stream --stop ER >stopped
	same "$(<stopped)" "$(moe-run -m "$model" -p 'the quick' -n 40 --stop ER)"
	same "$(on_terminal "moe-run -m $model -p 'the quick' -n 3")" ' Youescon'
	# A socket that keeps each write a message of its own.
	numpy - moe-run -m "$model" -p 'the quick' -n 40 --stream --stop ERzz <<-'PY'
		import socket, subprocess, sys
		ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		p = subprocess.Popen(sys.argv[1:], stdout=its)
		its.close()
		pieces = list(iter(lambda: ours.recv(65536), b""))
		assert p.wait() == 0
		for piece in pieces:
		    piece.decode()          # half a character would fail
		assert len(pieces) > 10, pieces
		assert b"".join(pieces) == open("plain", "rb").read()
		shown = b""
		for piece in pieces[:-1]:       # an E could be the beginning of the stop string until the next letter comes
		    shown += piece
		    assert not shown.endswith((b"E", b"ER", b"ERz")), shown
	PY
}

@test "--logprobs of draws are the model's own; a hundred best are no more than all" {
	moe-run -m "$model" -p Hello -n 6 "${draw[@]}" --logprobs=1 | jq -e 'any(.tokens[]; .id != .top[0].id) and all(.tokens[]; .logprob <= .top[0].logprob)'
	moe-run -m "$model" -p Hello -n 2 --logprobs=100 | jq -e 'all(.tokens[]; (.top | length) == 100 and ([.top[].logprob | exp] | add < 1))'
	moe-run -m "$model" -p Hello -n 2 --json | jq -e 'has("tokens") | not'
	moe-run --logprobs=2 "$word" "$demo/clock.png" | each '(.tokens | length) == .generated_tokens and (.tokens | all(.top | length == 2))'
}

@test "--score of nothing has no mean; lines are scored one by one" {
	printf 'Hello\n\nHello' | moe-run -m "$model" --score - --score-lines --json >lines
	same "$(jq -rs 'map(.name) | join(" ")' lines)" '1 2 3'
	same "$(jq -c 'del(.name)' lines | sed -n 1p)" "$(jq -c 'del(.name)' lines | sed -n 3p)"
	sed -n 2p lines | jq -e '.tokens == 0 and .scored == 0 and .perplexity == null and .mean_logprob == null'
	same "$(moe-run -m "$model" --score /dev/null)" "$(printf 'name\ttokens\tscored\tlogprob\tmean_logprob\tperplexity\n/dev/null\t0\t0\t0\t-\t-')"
}

@test "--score takes no option that it would have to ignore" {
	echo text >t
	refuses 2 'pictures do not go with it' moe-run -m "$model" --score t "$word"
	refuses 2 'prompts and -i' moe-run -m "$model" --score t -p Hello
	refuses 2 'prompts and -i' moe-run -m "$model" --score t -i
	refuses 2 'options of sampling' moe-run -m "$model" --score t --temperature 1
	refuses 2 'options of sampling' moe-run -m "$model" --score t -n 3
	refuses 2 'the model as it is' moe-run -m "$model" --score t --stats=json
	refuses 2 'the model as it is' moe-run -m "$model" --score t --drop 1
	refuses 2 'goes with --score' moe-run -m "$model" -p Hello --score-lines
	refuses 2 'nothere.*No such file' moe-run -m "$model" --score nothere
	printf 'ok\nno \xff\n' >t
	run -2 --separate-stderr moe-run -m "$model" --score t --score-lines
	same "$stderr" 'moe-run: t: line 2: byte 3: the text is not UTF-8'
}

@test "--prompts: lines with any end, empty ones left out, NUL refused" {
	printf 'Hello\r\n\r\n\nthe quick' >prompts
	same "$(moe-run -m "$model" --prompts prompts -n 2 --json | jq -r .prompt)" "$(printf 'Hello\nthe quick')"
	printf 'Hello\0there\nthe quick\n' >prompts
	refuses 2 'prompts: byte 5 is NUL' moe-run -m "$model" --prompts prompts
	: >prompts
	refuses 2 'prompts: no prompts' moe-run -m "$model" --prompts prompts
}
