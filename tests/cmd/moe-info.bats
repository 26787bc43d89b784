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
	same "$(moe-info --json | jq -r .family)" native
	same "$(moe-info --json "$olmoe/model" | jq -r .family)" olmoe
	same "$(moe-info --json -m "$olmoe/model" | jq -r .family)" olmoe
	same "$(MOE_MODEL=$olmoe/model moe-info --json | jq -r .family)" olmoe
	same "$(MOE_MODEL=$olmoe/model moe-info -m "$root/share/models/read" --json | jq -r .family)" native
	same "$(MOE_MODEL='' moe-info --json | jq -r .family)" native
}

@test "--json: family, shapes, parameters and bytes, recounted from the files" {
	for model in "$root/share/models/read" "$olmoe/model"; do
		moe-info --json "$model" >info
		same "$(wc -l <info)" 1
		same "$(jq -c '[.layers, .hidden, .vocab, .heads, .experts, .experts_per_token, .expert_width]' info)" \
			"$(jq -c '[.num_hidden_layers, .hidden_size, .vocab_size, .num_attention_heads, .num_experts, .num_experts_per_tok,
				.moe_intermediate_size // .intermediate_size]' "$model/config.json")"
		same "$(jq -r '"\(.parameters) \(.bytes)"' info)" "$(recount "$model")"
		# One layer holds experts x 3 matrices; a token passes only experts_per_token of them.
		same "$(jq '.parameters - .active_parameters' info)" "$(jq '.layers * (.experts - .experts_per_token) * 3 * .hidden * .expert_width' info)"
		same "$(jq '.cache_bytes_per_token' info)" "$(jq '.num_hidden_layers * 2 * .num_key_value_heads * (.head_dim // (.hidden_size / .num_attention_heads)) * 4' \
			"$model/config.json")"
		each '(.fingerprint | test("^[0-9a-f]{32}$")) and .flops_per_token > 0' <info
	done
}

@test "text says the same" {
	moe-info >text
	moe-info --json >info
	grep -q '^family *native$' text
	grep -q "^parameters *$(jq .parameters info), active per token $(jq .active_parameters info)$" text
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
