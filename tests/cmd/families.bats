# families.bats: every family that ships, run as its user would: cut at every stage, generated through the ring, looked into.
load helper

# pipes N: a pipeline cut at every stage of N layers, whole layers, and one block.
pipes() {
	local n=$1 l single= layers=
	for ((l = 0; l < n; l++)); do
		single+="${single:+ | }moe-attend -l $l | moe-route -l $l | moe-expert -l $l"
		layers+="${layers:+ | }moe-block -l $l"
	done
	printf '%s\n' "$single" "$layers" 'moe-block -l 0-'
}

# ring FRONT PIPE SOURCE-OPTIONS... -- DECODE-OPTIONS...
ring() {
	local front=$1 pipe=$2 source=()
	shift 2
	while [ "$1" != -- ]; do
		source+=("$1")
		shift
	done
	shift
	rm -f loop
	mkfifo loop
	moe-tokenize --generate --loop loop "${source[@]}" | eval "$front" | eval "$pipe" | moe-decode --loop loop "$@"
}

@test "text families: any cut gives moe-run's bytes and the reference's tokens" {
	for family in olmoe qwen3moe qwen2moe mixtral; do
		export MOE_MODEL=$golden/$family/model
		n=$(case_of $family one 'generated | length')
		prompt=$(case_of $family one prompt)
		moe-run --json -n "$n" -p "$prompt" >want
		same "$(jq -c .ids want)" "$(case_of $family one generated | jq -c .)"
		while read -r pipe; do
			ring moe-embed "$pipe" "$prompt" -- --json -n "$n" | cmp - want
		done < <(pipes "$(moe-info --json | jq .layers)")
		moe-tokenize --raw "$prompt" | moe-embed | moe-block -l 0- | moe-decode -h >first
		same "$(cat first)" "$(moe-run -n 1 -p "$prompt")"
	done
}

@test "GGUF files: any cut gives moe-run's bytes and the reference's tokens" {
	prompt="You may copy and distribute verbatim copies of the Program's source code — experts, patches 漢字."
	for file in "$golden"/gguf/*.gguf; do
		export MOE_MODEL=$file
		moe-run --math exact --json -n 12 -p "$prompt" >exact
		numpy -c 'import frames, numpy, sys
t = frames.parse(open(sys.argv[1], "rb").read())[1]
print(*numpy.frombuffer(t["generated"][2], numpy.int32), sep=",")' "${file%.gguf}.safetensors" >generated
		same "$(jq -r '.ids | map(tostring) | join(",")' exact)" "$(cat generated)"
		moe-run --json -n 12 -p "$prompt" >want
		[ "$(cat want)" != "$(cat exact)" ]
		while read -r pipe; do
			ring moe-embed "$pipe" "$prompt" -- --json -n 12 | cmp - want
		done < <(pipes "$(moe-info --json | jq .layers)")
	done
}

@test "aria: any cut gives moe-run's bytes and the reference's tokens, with one picture, several, and text alone" {
	export MOE_MODEL=$golden/aria/model
	for name in text wide two; do
		n=$(case_of aria $name 'generated | length')
		prompt=$(case_of aria $name prompt; echo .)      # it may end in a line break
		prompt=${prompt%$'\n'.}
		size=$(case_of aria $name max_image_size)
		mapfile -t pictures < <(case_of aria $name 'images[]' | sed "s|^|$golden/aria/|")
		moe-run --json -n "$n" --max-image-size "$size" -p "$prompt" "${pictures[@]}" | jq -c 'del(.name)' >want
		same "$(jq -c .ids want)" "$(case_of aria $name generated | jq -c .)"
		front=moe-embed
		[ $name = text ] || front='moe-patchify --max-image-size $size "${pictures[@]}" | moe-encode | moe-embed'
		while read -r pipe; do
			ring "$front" "$pipe" "$prompt" -- --json -n "$n" | jq -c . | cmp - want
		done < <(pipes 4)
	done
	same "$(moe-run --json -n 3 -p '<image>
USER: Describe.
ASSISTANT:' --max-image-size 490 "$golden/aria/pics/tall.png" | jq -c .prompt_tokens)" 141
}

@test "aria: the features of each picture are the reference's, through the programs" {
	export MOE_MODEL=$golden/aria/model
	moe-tokenize "$(case_of aria wide prompt)" | moe-patchify --max-image-size 490 "$golden/aria/pics/wide.png" >patches.sts
	moe-encode <patches.sts >features.sts
	moe-view --check features.sts
	moe-view --npy feature features.sts >mine.npy
	numpy - "$golden/aria/cases/wide.safetensors" <<-'PY'
		import sys
		import numpy as np
		import frames
		dtype, shape, data = frames.parse(open(sys.argv[1], "rb").read())[1]["features"]
		want, mine = np.frombuffer(data, "<f4").reshape(shape)[0], np.load("mine.npy")
		assert want.shape == mine.shape == (128, 72)
		assert np.sqrt(((mine - want) ** 2).mean() / (want ** 2).mean()) < 2e-5
	PY
	# The picture is 490 x 336: the padding below it never becomes patches.
	frames patches patches.sts | each '.tensors | map({(.name): .}) | add | .grid.values == [24, 35] and .valid.values == [336, 490] and .pixel.shape == [840, 588]'
}

@test "aria: crops of a picture, in a pipeline as in one process; both ways to split, and the sizes" {
	export MOE_MODEL=$golden/aria/model
	cp "$golden/aria/pics/square.png" square.png
	for how in '--max-image-size 490' '--max-image-size 490 --split' '--max-image-size 490 --split=hf' '--max-image-size 490 --split=none'; do
		# shellcheck disable=SC2086
		moe-run --json -n 2 $how -p 'See <image>' square.png | jq -c 'del(.name)' >want
		# shellcheck disable=SC2086
		ring 'moe-patchify $how square.png | moe-encode | moe-embed' 'moe-block -l 0-' 'See <image>' -- --json -n 2 | jq -c . | cmp - want
		jq .prompt_tokens want
	done >counts
	# 1 crop, 1 + 2 x 2, 1 x 2 tiles, 1 crop, each of 128 features, and two tokens of text.
	same "$(awk 'NR == 1 { text = $1 - 128 } { print ($1 - text) / 128 }' counts | xargs)" "1 5 2 1"
	refuses 2 'pictures of 600 pixels: the model takes 980, 490' moe-run --max-image-size 600 -p '<image>' square.png
	refuses 2 'split by "half": expected none, original or hf' moe-run --split=half -p '<image>' square.png
	MOE_MODEL=$first refuses 2 'has one size of pictures' moe-run --max-image-size 490 "$word"
}

@test "aria: a folder of frames is a video, of which some are taken, evenly spaced" {
	export MOE_MODEL=$golden/aria/model
	mkdir video
	for i in 0 1 2 3 4 5 6; do cp "$golden/aria/pics/$([ $((i % 2)) = 0 ] && echo wide || echo square).png" video/$i.png; done
	moe-run --json --frames 3 --max-image-size 490 -n 2 -p 'See <video>' video | jq -c 'del(.name)' >want
	same "$(jq .prompt_tokens want)" "$(moe-run --json --max-image-size 490 -n 2 -p 'See <image><image><image>
' video/0.png video/2.png video/4.png | jq .prompt_tokens)"
	moe-run --json --max-image-size 490 -n 2 -p 'See <image><image><image>
' video/0.png video/2.png video/4.png | jq -c 'del(.name)' | cmp - want
	ring 'moe-patchify --frames 3 --max-image-size 490 video | moe-encode | moe-embed' 'moe-block -l 0-' --frames 3 'See <video>' -- --json -n 2 | jq -c . | cmp - want
	ls video/*.png >list
	moe-run --json --frames 3 --max-image-size 490 -n 2 -p 'See <video>' --files-from list | jq -c 'del(.name)' | cmp - want
	refuses 2 'video: 7 pictures, but 8 frames' moe-run --frames 8 -p '<video>' video
}

@test "aria: statistics tell text from pictures, commands stand for stages, runs are compared" {
	export MOE_MODEL=$golden/aria/model
	picture=$golden/aria/pics/wide.png
	moe-run --max-image-size 490 --stats=json:stats -n 1 -p 'See <image>' "$picture" >/dev/null
	same "$(wc -l <stats)" 4
	each '.image.tokens == 128 and .text.tokens > 0' <stats
	moe-run --json --max-image-size 490 -n 3 -p 'See <image>' "$picture" >want
	moe-run --json --max-image-size 490 -n 3 -p 'See <image>' --exec 'route:2=moe-route -l 2' --exec 'expert:0-3=moe-expert -l 0' "$picture" >other || true
	moe-run --json --max-image-size 490 -n 3 -p 'See <image>' --exec 'route:2=moe-route -l 2' --exec 'expert:1=moe-expert -l 1' "$picture" | cmp - want
	moe-tokenize 'See <image>' | moe-patchify --max-image-size 490 "$picture" | moe-encode | moe-embed >hidden.sts
	moe-block -l 0- <hidden.sts >a.sts
	moe-block -l 0- --drop 3 <hidden.sts >b.sts
	moe-diff -q a.sts a.sts
	run -1 moe-diff -q a.sts b.sts
	moe-view --check "$golden/aria/model"
}

@test "aria: the three published spellings of its names, and fused experts of the other orientation, are the same model" {
	want=$(moe-run -m "$golden/aria/model" --json -n 4 -p Hello | jq -c '[.ids, .logprob]')
	for form in original memory; do
		numpy - "$golden/aria/model" $form <<-'PY'
			import glob, json, os, shutil, sys
			import frames
			source, form = sys.argv[1:]
			os.makedirs(form)
			tensors = {}
			for path in sorted(glob.glob(source + "/*.safetensors")):
			    tensors.update(frames.parse(open(path, "rb").read())[1])
			renamed = {}
			for name, t in tensors.items():
			    if form == "original":
			        if "post_layernorm" in name:
			            continue
			        name = name.replace("vision_tower.", "vision_tower.vision_model.").replace("cross_attn.layer_norm_kv", "cross_attn.ln_kv")
			        name = name.replace("multi_modal_projector.layer_norm.", "multi_modal_projector.ln_ffn.").replace("feed_forward.", "ffn.")
			    else:
			        name = name.replace("language_model.lm_head", "lm_head").replace("language_model.model.", "model.language_model.")
			        name = ("model." if name.startswith(("vision_tower", "multi_modal")) else "") + name
			    renamed[name] = t
			assert renamed.keys() != tensors.keys()
			header, payload = {}, b""
			for name, (dtype, shape, data) in renamed.items():
			    header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(payload), len(payload) + len(data)]}
			    payload += data
			text = json.dumps(header).encode()
			open(form + "/model.safetensors", "wb").write(len(text).to_bytes(8, "little") + text + payload)
			for path in glob.glob(source + "/*.json"):
			    if "index" not in path:
			        shutil.copy(path, form)
		PY
		same "$(moe-run -m $form --json -n 4 -p Hello | jq -c '[.ids, .logprob]')" "$want"
		moe-view --check $form
	done
}

@test "a picture too many, too few, and ids outside the vocabulary are refused with both numbers" {
	export MOE_MODEL=$golden/aria/model
	picture=$golden/aria/pics/wide.png
	refuses 2 'asks? for 2 pictures, but only 1|takes 2 pictures at a time; 1 are left over' moe-run -p '<image><image>' "$picture"
	refuses 2 'no <image>, but pictures were given' moe-run -p Hello "$picture"
	moe-tokenize '<image>' >tokens.sts
	cp -rL "$MOE_MODEL" small
	chmod -R u+w small
	jq '.text_config.vocab_size = 800' "$MOE_MODEL/config.json" >small/config.json
	refuses 2 'embed_tokens.weight" has the shape \[900, 72\], expected \[800, 72\]' moe-run -m small -p Hello
}

@test "each field of a family that disagrees with the weights is refused by name of a tensor or setting" {
	cp -rL "$golden/aria/model" other
	chmod -R u+w other
	while read -r filter want; do
		jq "$filter" "$golden/aria/model/config.json" >other/config.json
		refuses 2 "$want" moe-info other
	done <<-'FIELDS'
		.text_config.hidden_size=80 attention.head_dim
		.text_config.hidden_size=78 expected
		.text_config.num_hidden_layers=5 layers.4.*missing
		.text_config.num_hidden_layers=3 layers.3.*no.place
		.text_config.num_attention_heads=5 head_dim
		.text_config.num_key_value_heads=1 k_proj.weight.*expected
		.text_config.intermediate_size=45 fc1.weight.*expected
		.text_config.moe_num_experts=12 expected.\[12,
		.text_config.moe_topk=12 router.top_k
		.text_config.moe_num_shared_experts=1 shared_experts.*expected
		.text_config.vocab_size=901 embed_tokens.*expected.\[901
		.text_config.rope_theta=0 attention.rope.theta
		.text_config.rms_norm_eps=-1 norm.eps
		.text_config.hidden_act="gelu" hidden_act
		.text_config.attention_bias=true attention_bias
		.text_config.rope_scaling={"rope_type":"x"} rope_scaling
		.text_config.tie_word_embeddings=true lm_head.weight.*no.place
		.vision_config.hidden_size=48 expected
		.vision_config.num_hidden_layers=4 encoder.layers.3.*missing
		.vision_config.num_attention_heads=3 tower.heads
		.vision_config.intermediate_size=96 fc1.*expected
		.vision_config.image_size=490 position_embedding.*expected.\[1225
		.vision_config.image_size=979 tower.position.grid
		.vision_config.patch_size=10 image.sizes|position_embedding|patch_embedding|projector.queries
		.vision_config.hidden_act="relu" hidden_act
		.vision_feature_layer=-2 vision_feature_layer
		.projector_patch_to_query_dict={"4900":256} projector.queries
		.projector_patch_to_query_dict={"1225":128,"4900":300} query.*expected.\[300
		.image_token_index=900 merge.placeholder
		.model_type="arial" no.family
	FIELDS
	cp "$golden/aria/model/config.json" other/
	rm other/model-00002-of-00002.safetensors
	refuses 2 'model-00002-of-00002.safetensors' moe-info other
	head -c 300000 "$golden/aria/model/model-00002-of-00002.safetensors" >other/model-00002-of-00002.safetensors
	refuses 2 'model-00002-of-00002.safetensors.*truncated' moe-info other
}

@test "what cannot fit into memory is refused with the numbers" {
	[[ $BIN != */asan/* && $BIN != */tsan/* ]] || skip "sanitizers need all of the address space"
	grow() { (ulimit -v 300000 && exec moe-run "$@"); }
	run -2 grow -n 1000000 "$word"
	grep -q 'of memory are needed' <<<"$output"
	grep -q 'but 0.31 GB are available' <<<"$output"
	same "$(moe-run --any-memory -n 3 "$word")" "$(moe-run -n 3 "$word")"
}
