# image-tokens.bats: pictures as tokens: the quantiser is trained, a model takes it, learns to draw, and draws the same in one process as in a ring of pipes.
load helper

# Four codes a side of 2 x 2 patches keep the tests small: pictures of 16 x 16 pixels.
tokens='{"codes": 16, "width": 4, "encoder": [4, 4], "decoder": [8]}'
trunk='"hidden": 32, "layers": 2, "heads": 2, "experts": 4, "expert_width": 24, "vocabulary": {"words": [], "tasks": ["ask", "describe", "draw"]}'

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	echo "{$trunk, \"grids\": [[4, 4]], \"image_tokens\": $tokens}" >new.json
	shard train.tar 0 40
}

# shard NAME FIRST LAST: a tar of these crops, with their text as a caption and as the answer to a question.
shard() {
	crops_shard "$@" '{kind: "read", questions: [{answer: .text, spell: true, type: "caption", prompt: "<describe>"}, {answer: .text, spell: true, type: "read", prompt: "<read>"}]}'
}

# quantiser FOLDER TOKENS OPTIONS...: trains one, quietly.
quantiser() {
	local folder=$1 patches=$2
	shift 2
	jq -n --slurpfile model new.json --argjson n "$patches" '{kind: "quantiser", model: $model[0], stages: [{sources: [{data: "train.tar"}], tokens: $n, batch: 8}],
		dev: {data: "train.tar", samples: 20}, checkpoint: {every: 1000}}' >"$folder.json"
	moe-train -q -o "$folder" -r "$folder.json" "$@"
}

# drawer FOLDER OPTIONS...: a model that takes the quantiser of q/model, and draws half of its samples.
drawer() {
	local folder=$1
	shift
	echo "{$trunk, \"image_tokens\": {\"from\": \"q/model\"}}" >taken.json
	jq -n '{stages: [{sources: [{data: "train.tar"}], tokens: 4000, batch: 8, text_tokens: 64, draw: 0.5}], model: input}' taken.json >"$folder.json"
	moe-train -q -o "$folder" -r "$folder.json" "$@"
}

@test "the quantiser: its log, the same bytes on any threads and after an interruption" {
	quantiser one 8000 -t 1
	jq -es 'map(select(.dev != true)) | (.[0].psnr < .[-1].psnr) and .[-1].picture < .[0].picture and all(.[]; .codes >= 1 and .codes <= 16 and .commitment >= 0)' one/log.jsonl
	jq -es 'map(select(.dev)) | length > 1 and .[-1].psnr > .[0].psnr and .[-1].codes >= 2' one/log.jsonl
	quantiser two 8000 -t 3
	cmp one/checkpoint.safetensors two/checkpoint.safetensors
	cmp one/log.jsonl two/log.jsonl
	diff -r one/model two/model
	moe-train -q -o three -r one.json & pid=$!
	for _ in $(seq 200); do
		[ ! -f three/checkpoint.safetensors ] || break
		sleep 0.05
	done
	kill -KILL $pid 2>/dev/null || true
	wait $pid || true
	quantiser three 8000
	cmp one/checkpoint.safetensors three/checkpoint.safetensors
	cmp one/log.jsonl three/log.jsonl
}

@test "the quantiser leaves the rest of its model alone, and training the model leaves the quantiser" {
	quantiser q 2000 --type f32
	moe-diff q/start q/model >diff.txt || [ $? = 1 ]
	run ! grep -E 'layers|embed|lm_head|norm' diff.txt
	grep -q 'image_tokens.codes' diff.txt
	drawer d --type f32
	moe-diff d/start d/model --json >diff.json || [ $? = 1 ]
	run ! grep -E 'image_tokens|vision_stem.conv' diff.json
	moe-info d/model | grep -q '^patches .* then the nearest of 16 codes of 4 numbers, which are tokens$'
	for m in q d; do
		moe-view --npy model.image_tokens.codes -o $m.npy $m/model/model.safetensors
	done
	[ -s q.npy ]
	cmp q.npy d.npy
}

@test "image tokens: gradients, both orders, a loss of their own" {
	quantiser q 1000
	drawer d
	jq -es 'map(select(.dev != true)) | all(.[]; .image > 0 and .text > 0) and .[0].loss > .[-1].loss' d/log.jsonl
	run -0 drawer g --check-gradients
	[[ $output =~ ^0\ of\ [0-9]+\ gradients\ are\ wrong$ ]]
}

@test "a picture is drawn: the same tokens and pixels in one process and in a ring of pipes" {
	quantiser q 1000
	drawer d
	export MOE_MODEL=d/model
	for how in '' '--temperature 1 --seed 5' '--top-k 4 --repetition-penalty 1.2'; do
		moe-run -p '<draw> Ab<picture>' -n 40 $how --image one.png --json >one.json
		rm -f loop
		mkfifo loop
		moe-tokenize --generate --loop loop '<draw> Ab<picture>' | moe-embed | moe-block -l 0 | moe-attend -l 1 | moe-route -l 1 | moe-expert -l 1 |
			moe-decode -n 40 $how --loop loop --image two.png --json >two.json
		cmp one.png two.png
		cmp one.json two.json
		[ "$(file -b one.png | cut -d, -f2)" = ' 16 x 16' ]
		jq -e '.ids | length >= 17 and all(.[:16][]; . >= 105)' one.json
	done
	moe-run -p '<draw> Ab<picture>' -n 9 --image none.png 2>err
	grep -q '9 of its 16 image tokens' err
	[ ! -e none.png ]
}

@test "guidance: pictures are drawn away from those without a caption, and answers from those without a picture" {
	quantiser q 1000
	drawer d --seed 2
	export MOE_MODEL=d/model
	ids() { moe-run --json "$@" | jq -c .ids; }
	same "$(ids -p '<draw> Ab<picture>' -n 20 --against '<draw><picture>' --guidance 1)" "$(ids -p '<draw> Ab<picture>' -n 20)"
	same "$(ids -p '<draw> Ab<picture>' -n 20 --against '<draw><picture>' --guidance 1e-9)" "$(ids -p '<draw><picture>' -n 20)"
	moe-run -q -p '<draw> Ab<picture>' -n 20 --against '<draw><picture>' --guidance 30 --image guided.png
	[ "$(file -b guided.png | cut -d, -f2)" = ' 16 x 16' ]
	same "$(ids -p '<image><describe>' -n 5 --against '<describe>' --guidance 1 "$word")" "$(ids -p '<image><describe>' -n 5 "$word")"
	same "$(ids -p '<image><describe>' -n 5 --against '<describe>' --guidance 1e-9 "$word")" "$(ids -p '<describe>' -n 5)"
}

@test "a caption is left out now and then, where the recipe says so" {
	quantiser q 1000
	drawer d
	jq '.stages[0].draw_blank = 1' d.json >blank.json
	moe-train -q -r blank.json -o blank
	moe-train -q -r blank.json -o again -t 1
	cmp blank/log.jsonl again/log.jsonl
	run ! cmp -s blank/log.jsonl d/log.jsonl
	moe-eval -q --loss --draw 1 --json -m blank/model train.tar >loss.json
	jq -es 'map(select(.what == "loss" and .kind == "image")) | length > 0 and all(.own > 0)' loss.json
	jq '.stages[0].draw_blank = 2' d.json >bad.json
	refuses 2 draw_blank moe-train -q -r bad.json -o bad
}

@test "a picture as input is the same tokens" {
	quantiser q 1000
	drawer d
	export MOE_MODEL=d/model
	moe-run -p '<image><describe>' "$word" --json >one.json
	moe-tokenize '<image><describe>' | moe-patchify "$word" | moe-encode --image seen.png | moe-embed | moe-block -l 0- | moe-decode -n 1 --json >two.json
	[ "$(jq -c '.ids[0]' one.json)" = "$(jq -c '.ids[0]' two.json)" ]
	[ "$(file -b seen.png | cut -d, -f2)" = ' 16 x 16' ]
	moe-tokenize '<image><describe>' | moe-patchify "$word" | moe-encode | moe-embed | moe-view --json - | jq -es 'any(.[]; .meta["moe.kind"] == "hidden")'
}

@test "surgery on a model with image tokens compares outputs on tokens that may stand anywhere" {
	quantiser q 1000
	drawer d
	moe-graft add -q -n 2 -m d/model -o six
	moe-info six | grep -q '^experts .* 6 of width 24'
	moe-graft reorder -q --json --experts 3,2,1,0 -m d/model -o turned >turned.json
	jq -e '.same_bits' turned.json
	moe-eval -q --loss --draw 0.5 --tsv -m d/model train.tar >before
	moe-eval -q --loss --draw 0.5 --tsv -m turned train.tar >after
	cut -f 1-3 before | cmp - <(cut -f 1-3 after)
	same "$(grep -c image before)" 1
}

@test "what cannot be drawn is refused, and why" {
	quantiser q 1000
	drawer d
	refuses 2 'no image tokens' moe-run --image a.png "$word"
	run -2 --separate-stderr moe-run -m d/model -q -n 60 --image a.png --prompts <(printf '<draw> A<picture>\n<draw> B<picture>\n')
	[[ $stderr == *'give a name with a number'* ]]
	refuses 2 'one number, such as' moe-run -m d/model -p '<draw> Ab<picture>' --image 'a%s.png'
	refuses 2 'is an image token, but no picture has begun' moe-run -m d/model -p '<draw> A<code-3>'
	refuses 2 'vocabulary lacks the token <draw>' moe-train -q -o x --new <(jq '.vocabulary.tasks = ["ask"]' new.json) -r <(jq 'del(.model)' d.json)
	echo "{$trunk, \"image_attention\": \"bidirectional\", \"image_tokens\": {\"from\": \"q/model\"}}" >wide.json
	refuses 2 'losses.image: .*make the model with "image_attention": "causal", or set losses.image to 0' moe-train -q -o y --new wide.json --tokens 1000 train.tar
	refuses 2 'the model has no image tokens, whose quantiser' moe-train -q -o z -r <(jq '.model = {hidden: 32, layers: 1, heads: 2, experts: 2, expert_width: 8}' q.json)
	refuses 2 'patch: is that of the model that image_tokens.from names' moe-train -q -o w --new <(jq '.patch = 4' taken.json) --tokens 1000 train.tar
}

@test "the recipes that are shipped" {
	for f in dev one more one-dev; do ln -s train.tar $f.tar; done
	moe-synth --words >words
	quantiser_recipe='.stages[0].tokens = 2000 | .dev.samples = 10 | .dev.every = 1000 | .checkpoint.every = 2000'
	jq "$quantiser_recipe" "$root/share/recipes/quantiser.json" >q.json
	moe-train -q -o quantiser -r q.json
	jq "$quantiser_recipe | .model.hidden = 32 | .model.layers = 1" "$root/share/recipes/draw.json" >d.json
	moe-train -q -o d -r d.json
	jq -es 'map(select(.dev)) | all(.[]; .image > 0 and .text > 0)' d/log.jsonl
}

# A stem is called as an encoder is, and was once taken for one.
@test "a model without image tokens learns its stem" {
	echo "{$trunk, \"stem\": [8, 12], \"grids\": [[4, 16]]}" >stem.json
	moe-train -q -o s --new stem.json --tokens 2000 --batch 4 train.tar
	moe-view --npy model.vision_stem.conv1.weight -o before.npy s/start/model.safetensors
	moe-view --npy model.vision_stem.conv1.weight -o after.npy s/model/model.safetensors
	run ! cmp -s before.npy after.npy
}
