load helper

# recount MODEL: parameters and bytes of the tensors in its files' headers, by Python.
recount() {
	numpy - "$1" <<-'PY'
		import glob
		import math
		import sys
		import frames
		tensors = [t for path in glob.glob(sys.argv[1] + "/*.safetensors") for t in frames.parse(open(path, "rb").read())[1].values()]
		print(sum(math.prod(t[1]) for t in tensors), sum(len(t[2]) for t in tensors))
	PY
}

@test "help, version and bad options" {
	has_help moe-info
	refuses_bad_options moe-info
	refuses 2 usage moe-info one two
	refuses 2 'nowhere' moe-info nowhere
	refuses 2 'nowhere' moe-info -m nowhere
}

@test "closed and empty input, full output" {
	never_hangs moe-info
	needs_open_output moe-info </dev/null
}

@test "the model comes from the operand, -m, MOE_MODEL, or is the one that ships" {
	unset MOE_MODEL
	same "$(moe-info --json | jq -r .family)" native
	same "$(moe-info --json "$olmoe/model" | jq -r .family)" olmoe
	same "$(moe-info --json -m "$olmoe/model" | jq -r .family)" olmoe
	same "$(MOE_MODEL=$olmoe/model moe-info --json | jq -r .family)" olmoe
	same "$(MOE_MODEL=$olmoe/model moe-info -m "$first" --json | jq -r .family)" native
	same "$(MOE_MODEL='' moe-info --json | jq -r .family)" native
}

@test "--json: family, shapes, parameters and bytes, recounted from the files" {
	for model in "$first" "$olmoe/model"; do
		moe-info --json "$model" >info
		same "$(wc -l <info)" 1
		same "$(jq -c '[.layers, .hidden, .vocab, .heads, .experts, .experts_per_token, .expert_width]' info)" \
			"$(jq -c '[.num_hidden_layers, .hidden_size, .vocab_size, .num_attention_heads, .num_experts, .num_experts_per_tok,
				.moe_intermediate_size // .intermediate_size]' "$model/config.json")"
		same "$(jq -r '"\(.parameters) \(.bytes)"' info)" "$(recount "$model")"
		same "$(jq '.parts | add' info)" "$(jq .parameters info)"
		# One layer holds experts x 3 matrices; a token passes only experts_per_token of them. Embedding, head and tower are apart.
		same "$(jq '.parameters - .parts.embedding - (.parts.head // 0) - (.parts.tower // 0) - .active_parameters' info)" \
			"$(jq '.layers * (.experts - .experts_per_token) * 3 * .hidden * .expert_width' info)"
		same "$(jq '.head_parameters' info)" "$(jq '.vocab * .hidden' info)"
		each '.memory | .total == .weights + .cache + .scratch and .weights > 0' <info
		same "$(jq '.cache_bytes_per_token' info)" "$(jq '.num_hidden_layers * 2 * .num_key_value_heads * (.head_dim // (.hidden_size / .num_attention_heads)) * 4' \
			"$model/config.json")"
		each '(.fingerprint | test("^[0-9a-f]{32}$")) and .flops_per_token > 0' <info
	done
}

@test "text says the same" {
	moe-info >text
	moe-info --json >info
	grep -q '^family *native$' text
	grep -q "^parameters *$(jq .parameters info); a token passes $(jq .active_parameters info) in the layers and $(jq .head_parameters info) in the head$" text
	grep -q "^weights *$(jq .bytes info) bytes$" text
	grep -q '^layers *4, hidden 160, vocabulary 100$' text
	grep -q '^experts *8 of width 192, 2 per token$' text
}

@test "the fingerprint is that of the content: a copy has it too, another value not" {
	cp -RL "$olmoe/model" copy
	chmod -R u+w copy
	same "$(moe-info --json copy | jq -r .fingerprint)" "$(moe-info --json "$olmoe/model" | jq -r .fingerprint)"
	jq '.num_experts_per_tok = 1' "$olmoe/model/config.json" >copy/config.json
	[ "$(moe-info --json copy | jq -r .fingerprint)" != "$(moe-info --json "$olmoe/model" | jq -r .fingerprint)" ]
}

@test "--spec prints every setting as it was understood" {
	moe-info --spec >spec
	moe-info --spec "$olmoe/model" >other
	grep -qi 'softmax' spec
	run -1 cmp -s spec other
	cp -RL "$olmoe/model" copy
	chmod -R u+w copy
	jq '.rope_theta = 12345' "$olmoe/model/config.json" >copy/config.json
	moe-info --spec copy >third
	same "$(diff other third | grep -c '^[<>]')" 2
	grep -q 12345 third
}

@test "--family reads a model with another family file" {
	same "$(moe-info --family "$root/share/families/olmoe.json" "$olmoe/model")" "$(moe-info "$olmoe/model")"
	run -2 moe-info --family "$root/share/families/native.json" "$olmoe/model"
	grep -q '^moe-info: ' <<<"$output"
}

# A cache of the hub with the model ORG/NAME as huggingface_hub lays it out: blobs, refs, snapshots of links.
make_cache() {
	local m=$1/models--$2--$3 f hash
	mkdir -p "$m/refs" "$m/blobs" "$m/snapshots/$4"
	printf %s "$4" >"$m/refs/main"
	for f in "$olmoe"/model/*; do
		hash=$(sha256sum <"$f" | cut -c1-64)
		cp "$f" "$m/blobs/$hash"
		ln -s "../../blobs/$hash" "$m/snapshots/$4/${f##*/}"
	done
}

@test "a name in the local cache of the hub stands for its snapshot; an existing path wins" {
	commit=0123456789abcdef0123456789abcdef01234567
	unset HF_HUB_CACHE HF_HOME XDG_CACHE_HOME
	want=$(moe-info --json "$olmoe/model" | jq -r .fingerprint)
	make_cache "$PWD/h/.cache/huggingface/hub" some Model-1.5 $commit
	finger() { moe-info --json "$@" | jq -r .fingerprint; }
	same "$(HOME=$PWD/h finger some/Model-1.5)" "$want"
	same "$(HOME=$PWD/h finger -m some/Model-1.5@main)" "$want"
	same "$(HOME=$PWD/h finger some/Model-1.5@$commit)" "$want"
	same "$(HOME=$PWD/h finger some/Model-1.5@0123456)" "$want"
	same "$(HOME=$PWD/h MOE_MODEL=some/Model-1.5 finger)" "$want"
	same "$(XDG_CACHE_HOME=$PWD/h/.cache finger some/Model-1.5)" "$want"
	same "$(HF_HOME=$PWD/h/.cache/huggingface finger some/Model-1.5)" "$want"
	same "$(HF_HUB_CACHE=$PWD/h/.cache/huggingface/hub finger some/Model-1.5)" "$want"
	export HF_HUB_CACHE=$PWD/h/.cache/huggingface/hub
	mkdir -p some/Model-1.5
	refuses 2 'some/Model-1.5/config.json' moe-info some/Model-1.5
	rm -r some
	moe-view some/Model-1.5 >/dev/null
	moe-diff some/Model-1.5 "$olmoe/model"
	moe-run -m some/Model-1.5 -n 2 -p Hello >out
	same "$(cat out)" "$(moe-run -m "$olmoe/model" -n 2 -p Hello)"
}

@test "what the cache lacks is told with the command that fetches it" {
	commit=0123456789abcdef0123456789abcdef01234567
	export HF_HUB_CACHE=$PWD/hub
	make_cache "$HF_HUB_CACHE" some model $commit
	refuses 2 'hf download no/model` fetches' moe-info no/model
	refuses 2 'hf download some/model --revision v2` fetches' moe-info some/model@v2
	rm "$HF_HUB_CACHE/models--some--model/snapshots/$commit/model.safetensors"
	refuses 2 'hf download some/model` fetches what is missing' moe-run -m some/model -p Hello
	rm "$HF_HUB_CACHE/models--some--model/snapshots/$commit/config.json"
	refuses 2 'hf download some/model` fetches what is missing' moe-info some/model
	mkdir "$HF_HUB_CACHE/models--some--model/snapshots/1123456789abcdef0123456789abcdef01234567"
	rm "$HF_HUB_CACHE/models--some--model/refs/main"
	refuses 2 'could be 2 snapshots' moe-info some/model
	refuses 2 'not in the local cache' moe-info some/model@main
	for bad in a/../b ../b a//b a/b@../c a/b@ /a/b a/b/c a--b/c; do
		refuses 2 '' moe-info "$bad"
	done
}

@test "config.json alone is enough: parameters and memory without weights" {
	mkdir bare
	cp "$olmoe/model/config.json" bare/
	same "$(moe-info --json bare | jq 'del(.memory)')" "$(moe-info --json "$olmoe/model" | jq 'del(.memory, .fingerprint, .bytes)')"
	moe-info bare | grep -q 'configuration alone'
	refuses 2 'no weights' moe-run -m bare -p Hello
}
