# guidance.bats: answers that are guided away from another prompt's (moe-run --against).
load helper

model=$olmoe/model
long=$(printf 'one two three %.0s' $(seq 200))

# ids OPTIONS...: of the answers.
ids() { moe-run -m "$model" -n 12 --json "$@" | jq -c .ids; }

# logits TEXT FILE: of the token behind it.
logits() {
	moe-tokenize -m "$model" "$1" | moe-embed -m "$model" | moe-block -m "$model" -l 0- | moe-decode -m "$model" --logits >"$2.sts"
	moe-view --npy logit -o "$2" -f 1 "$2.sts"
}

@test "the first token is the best of against + W (own - against)" {
	logits 'one two' own.npy
	logits one against.npy
	for w in 0.5 2 7; do
		moe-run -m "$model" -n 1 --json -p 'one two' --against one --guidance $w | jq '.ids[0], .logprob' >chosen
		numpy -c 'import sys, numpy
own, against = (numpy.load(n).ravel().astype(float) for n in ("own.npy", "against.npy"))
mixed = against + float(sys.argv[1]) * (own - against)
token, logprob = map(float, open("chosen"))
mixed -= numpy.log(numpy.exp(mixed - mixed.max()).sum()) + mixed.max()
assert token == mixed.argmax() and abs(logprob - mixed.max()) < 1e-4, (token, logprob, mixed.argmax(), mixed.max())' $w
	done
	same "$(ids -p 'one two' --against one)" "$(ids -p 'one two' --against one --guidance 2)"
	[ "$(ids -p 'one two' --against one)" != "$(ids -p 'one two')" ]
}

@test "by 1 answers are those of the prompt, by almost nothing those of the other one, however long they are" {
	for own in 'one two' "$long"; do
		for against in one "$long four"; do
			same "$(ids -p "$own" --against "$against" --guidance 1)" "$(ids -p "$own")"
			same "$(ids -p "$own" --against "$against" --guidance 1e-9)" "$(ids -p "$against")"
		done
	done
	same "$(ids -p 'one two' --against 'one two' --guidance 5)" "$(ids -p 'one two')"
}

@test "many prompts: each as if it were alone, whatever the batch and the threads" {
	printf '%s\n' 'one two' three "$long" four 'five six seven' eight >prompts
	while IFS= read -r p; do
		ids -p "$p" --against one --guidance 3
	done <prompts >alone
	for how in '' '--batch 1' '--batch 2 -t 2' '--batch 4 -t 1'; do
		# shellcheck disable=SC2086 # several words
		ids --prompts prompts --against one --guidance 3 $how | cmp - alone
	done
	sed 's/$/ and more/' prompts >more
	ids --prompts more --against one --temperature 2 --seed 3 -t 1 >drawn
	ids --prompts more --against one --temperature 2 --seed 3 --batch 2 -t 2 | cmp - drawn
}

@test "pictures before the prompt: the other one has none" {
	refuses 2 'takes pictures' moe-run --against '<image><read>' "$word"
	refuses 2 'defined for exactly one' moe-run --against '<read>' -p '<image><read>' "$word"
}

@test "traces and statistics are of the sequences that were asked for, not of what guides them" {
	printf '%s\n' 'one two' "$long" three >prompts
	ids --prompts prompts --trace plain.sts --stats=tsv:plain.tsv >/dev/null
	ids --prompts prompts --against four --guidance 1 --trace guided.sts --stats=tsv:guided.tsv >/dev/null
	cmp plain.tsv guided.tsv
	moe-diff plain.sts guided.sts
}

@test "refused: what hands sequences out one by one, and a weight without a prompt" {
	refuses 2 'guidance goes with --against' moe-run -m "$model" -p one --guidance 2
	for bad in '--guidance 0' '--guidance -1' '--guidance 101'; do
		# shellcheck disable=SC2086 # several words
		refuses 2 guidance moe-run -m "$model" -p one --against two $bad
	done
	refuses 2 'computes every sequence twice' moe-run -m "$model" -p one --against two --exec expert:0=cat
	echo '[{"role": "user", "content": "one"}]' >m.json
	refuses 2 'messages does not go with it' moe-run -m "$model" --messages m.json --against two
	echo one >text
	refuses 2 'against could guide' moe-run -m "$model" --score text --against two
	refuses 2 'against is for single prompts' moe-run -m "$model" -i --against two
}
