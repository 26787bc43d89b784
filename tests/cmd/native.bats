load helper

# Models of the family `native` with two grids and a vocabulary of words, weights as they are before any training: wide and square pictures, chat, words.

maker=$(dirname "$BIN")/tests/lib/create

setup_file() {
	cat >"$BATS_FILE_TMPDIR/small.json" <<-'END'
		{"hidden": 48, "layers": 2, "heads": 3, "experts": 4, "expert_width": 24, "stem": [8, 12], "grids": [[4, 16], [8, 8]], "max_new": 6,
		 "vocabulary": {"words": ["what", "colour", "is", "the", "circle", "red"]}}
	END
	"$maker" "$BATS_FILE_TMPDIR/small.json" "$BATS_FILE_TMPDIR/small" 2
	numpy - "$BATS_FILE_TMPDIR" <<-'PY'
		import sys
		import numpy as np
		r = np.random.default_rng(1)
		for name, w, h in (("wide", 128, 32), ("square", 64, 64), ("tall", 20, 70), ("middle", 100, 50), ("long", 300, 40), ("big", 200, 190)):
		    with open(f"{sys.argv[1]}/{name}.ppm", "wb") as f:
		        f.write(b"P6 %d %d 255\n" % (w, h) + r.integers(0, 256, 3 * w * h, "u1").tobytes())
	PY
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	export MOE_MODEL=$BATS_FILE_TMPDIR/small
	ln -s "$BATS_FILE_TMPDIR"/*.ppm .
	printf '%s\n' wide.ppm square.ppm tall.ppm middle.ppm long.ppm big.ppm >list
}

@test "the grid with the least padding is taken" {
	moe-patchify --files-from list --source >patches.sts
	# Of the two that leave half of the canvas to "middle", the first listed is taken.
	same "$(frames patches patches.sts | jq -c '.tensors[] | select(.name == "grid") | .values' | xargs)" "[4,16] [8,8] [8,8] [4,16] [4,16] [8,8]"
	same "$(moe-info | grep -c '^pictures')" 2
}

@test "two grids in one stream: every cut, batch and number of threads gives the bytes of moe-run" {
	moe-run --json --files-from list >want
	same "$(wc -l <want)" 6
	same "$(jq -r .prompt_tokens want | sort -u)" 65
	while read -r picture; do
		moe-run --json -t 1 -H "$picture"
	done <list >single
	cmp single want
	moe-run --json -t 1 --batch 1 --files-from list | cmp - want
	moe-run --json -t 2 --batch 3 --files-from list | cmp - want
	mkfifo loop
	for middle in 'moe-block -l 0-' 'moe-attend -l 0 | moe-route -l 0 | moe-expert -l 0 | moe-block -l 1' 'moe-block -l 0 | moe-attend -l 1 | moe-route -l 1 | moe-expert -l 1'; do
		eval "moe-tokenize --files-from list --generate --loop loop | moe-patchify --files-from list | moe-encode | moe-embed | $middle |
			moe-decode --json --loop loop" | cmp - want
	done
}

@test "two grids: several questions, features made before, statistics" {
	printf '<image><read>\n<image><ask> what colour is the circle?\n<image><describe>\n' >prompts
	moe-run --json --prompts prompts --files-from list >want
	moe-run --json --prompts prompts --feature-cache 0 --files-from list | cmp - want
	same "$(jq -r .prompt_tokens want | sort | uniq -c | xargs)" "12 65 6 71"
	for picture in wide square; do
		moe-patchify --source "$picture.ppm" | moe-encode >features.sts
		same "$(moe-run --json --features features.sts -p '<image><describe>' | jq -c .ids)" \
			"$(moe-run --json -p '<image><describe>' "$picture.ppm" | jq -c .ids)"
	done
	moe-run -q --stats=json:stats --files-from list >/dev/null
	each '.image.tokens == 6 * 64' <stats
}

@test "other grids than the model's are refused" {
	moe-patchify --source wide.ppm >patches.sts
	"$maker" <(jq '.grids = [[8, 8]]' "$BATS_FILE_TMPDIR/small.json") square 2
	refuses 2 'grid|made with model' moe-encode -m square <patches.sts
	cp -rL square other
	jq '.image_grids = [[4, 16]]' square/config.json >other/config.json
	refuses 2 'row_embed.weight" has the shape \[8, 48\], expected \[4, 48\]' moe-run -m other wide.ppm
}

@test "questions: one token a word, the chat format of a model with <ask>" {
	ask() { moe-tokenize "$@" | moe-view --json -n 80 | jq -c 'select(.kind == "tokens") | .tensors[0].values | map(floor)'; }
	same "$(ask '<image><ask> what colour is the circle?')" '[2,100,102,103,104,105,106,36]'
	same "$(ask --chat 'What colour is the circle?')" '[2,100,102,103,104,105,106,36]'
	same "$(ask --chat '<image>what colour is the circle?')" '[2,100,102,103,104,105,106,36]'
	echo '[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What colour is the circle?"}]}]' >messages
	same "$(ask --messages messages)" '[2,100,102,103,104,105,106,36]'
	same "$(moe-run --json --chat -p 'Is red?' square.ppm | jq -c .ids)" "$(moe-run --json -p '<image><ask> is red?' square.ppm | jq -c .ids)"
	refuses 2 'question .*must be given' moe-run --chat square.ppm
	refuses 2 'question .*must be given' moe-tokenize --chat
	refuses 2 '2 pictures' moe-run --chat -p '<image><image> what' square.ppm square.ppm
	refuses 2 'no role "system"' moe-run --system 'Be brief.' -p what square.ppm
	refuses 2 'family native has no chat format' moe-run -m "$first" --chat -p 'What is it?' square.ppm
	"$maker" <(jq '.vocabulary.tasks = []' "$BATS_FILE_TMPDIR/small.json") mute 2
	refuses 2 'family native has no chat format' moe-run -m mute --chat -p 'What is it?' square.ppm
}

@test "-i: each question stands for itself, about the picture that was added last" {
	want() { moe-run --chat -p "$1" "$2"; }
	printf '%s\n' 'What is red?' 'Is the circle red?' '/image wide.ppm' 'What is red?' | moe-run -i square.ppm >got
	same "$(<got)" "$(want 'What is red?' square.ppm; want 'Is the circle red?' square.ppm; want 'What is red?' wide.ppm)"
	same "$(echo 'What is red?' | moe-run -i 2>&1 | head -n 1)" "moe-run: the message shows 1 pictures, but 0 were added (/image FILE adds one)"
}

@test "an answer of words loses the space that it begins with, in text and in JSON" {
	for seed in 1 2 3 4 5 6 7 8 9 10 11 12; do
		moe-run --json -n 2 --temperature 3 --seed $seed square.ppm
	done >many
	jq -c 'select(.ids[0] >= 102)' many >words
	[ -s words ]
	each '.text[:1] != " " and (.text | length) > 0' <words
}

@test "converted to whole numbers of 8 bits it runs through every cut" {
	moe-convert -q "$MOE_MODEL" eight --type int8
	export MOE_MODEL=eight
	moe-run --json --files-from list >want
	mkfifo loop
	moe-tokenize --files-from list --generate --loop loop | moe-patchify --files-from list | moe-encode | moe-embed | moe-attend -l 0 | moe-route -l 0 |
		moe-expert -l 0 | moe-block -l 1 | moe-decode --json --loop loop | cmp - want
}
