# Model directories that are damaged, contradict themselves, or are something else: refused with the name of the file, tensor or setting, status 2.
bats_require_minimum_version 1.5.0
load faults

setup() {
	cd "$BATS_TEST_TMPDIR"
	export MOE_MODEL=$OLMOE
}

# broken CODE REGEX: the small text model, changed by the code, is refused by moe-info and by a stage; moe-view --check says 1 (or 2 where it
# cannot even be read).
broken() {
	rm -rf broken
	faults model "$OLMOE" broken "$1"
	refused 2 "$2" moe-info broken
	refused 2 "$2" moe-embed -m broken </dev/null
	refused "${3:-1}" "$2" moe-view --check broken
}

@test "a good model, also in shards, is taken" {
	faults model "$OLMOE" sharded 'shard(3)'
	works moe-info --json sharded
	works moe-view --check sharded
	works moe-diff -q sharded "$OLMOE"
	[ "$(moe-run -m sharded -n 5 -p 'Once')" = "$(moe-run -n 5 -p 'Once')" ]
	works moe-info "$READ"
	works moe-view --check "$READ"
}

@test "tensors: missing, extra, transposed, of another shape or type" {
	broken 'del tensors["model.layers.2.self_attn.k_proj.weight"]' '"model.layers.2.self_attn.k_proj.weight" is missing'
	broken 'del tensors["model.layers.1.mlp.experts.7.up_proj.weight"]' '"model.layers.1.mlp.experts.7.up_proj.weight" is missing'
	broken 'tensors["model.layers.4.input_layernorm.weight"] = fill("F32", [48])' '"model.layers.4.input_layernorm.weight" has no place'
	broken 'tensors["extra"] = fill("U8", [1])' '"extra" has no place'
	broken 't = tensors["model.layers.0.mlp.gate.weight"]; t[1] = t[1][::-1]' '"model.layers.0.mlp.gate.weight" has the shape .*, expected'
	broken 't = tensors["model.layers.3.mlp.experts.0.down_proj.weight"]; t[1] = t[1][::-1]' 'experts.0.down_proj.weight" has the shape .*, expected'
	broken 't = tensors["model.norm.weight"]; t[1] = [47]; del t[2][-2:]' '"model.norm.weight" has the shape .*47.*, expected .*48'
	broken 't = tensors["model.norm.weight"]; t[1] = [1, 48]' '"model.norm.weight" has the shape'
	broken 'tensors["model.norm.weight"] = fill("I32", [48])' '"model.norm.weight" is I32, expected F32, F16 or BF16'
	broken 't = tensors["model.layers.0.self_attn.q_norm.weight"]; t[1] = [12]; del t[2][24:]' 'q_norm.weight" has the shape'
	broken 'tensors["model.layers.0.mlp.experts.10.up_proj.weight"] = tensors["model.layers.0.mlp.experts.9.up_proj.weight"]' 'experts.10.up_proj.weight" has no place'
}

@test "the weights' file: empty, cut, too long, damaged in its header" {
	local n
	n=$(stat -c %s "$OLMOE/model.safetensors")
	for cut in 0 1 7 8 100 5000 $((n / 2)) $((n - 1)); do
		broken "write('model.safetensors', open('$OLMOE/model.safetensors', 'rb').read()[:$cut])" 'model.safetensors: (byte [0-9]+: )?.'
	done
	broken "write('model.safetensors', open('$OLMOE/model.safetensors', 'rb').read() + b'x')" 'model.safetensors: .'
	broken 'write("model.safetensors", b"\0" * 1000)' 'model.safetensors: .'
	broken 'write("model.safetensors", struct.pack("<Q", 2**64 - 1) + b"{" * 100)' 'header'
	broken 'write("model.safetensors", struct.pack("<Q", 2**31) + b"{" * 100)' 'header'
	broken 'write("model.safetensors", b"\x80\x02}q\0." * 20)' 'model.safetensors: .'
	broken 'weights["raw"] = lambda t: t.replace("\"data_offsets\":[0,", "\"data_offsets\":[2,", 1)' 'model.safetensors: .*(gap|overlap|shape needs)'
	broken 'weights["raw"] = lambda t: t.replace("BF16", "F32", 1)' 'model.safetensors: .*shape needs'
	broken 'weights["raw"] = lambda t: t.replace("BF16", "BF17", 1)' 'unknown dtype "BF17"'
	broken 'weights["raw"] = lambda t: t.replace("model.norm.weight", "lm_head.weight")' '"lm_head.weight" stands twice'
	broken 'weights["raw"] = lambda t: t.replace("\"shape\":[48]", "\"shape\":[48],\"shape\":[48]", 1)' 'twice'
	broken 'weights["raw"] = lambda t: t.replace("\"shape\":[48]", "\"shape\":[4611686018427387904,8]", 1)' 'overflow|shape needs'
	broken 'weights["raw"] = lambda t: t.replace("\"shape\":[48]", "\"shape\":[-48]", 1)' 'model.safetensors: .'
	broken 'weights["raw"] = lambda t: "[" * 200000' 'model.safetensors: .'
}

@test "shards: one missing, cut, named twice, elsewhere, or not as the index says" {
	local index='index = shard(3); s = "model-00002-of-00003.safetensors"; first = list(index)[0]; '
	broken "$index"'remove(s)' 'model-00002-of-00003.safetensors: cannot open' 2
	broken "$index"'write(s, open(target + "/" + s, "rb").read()[:-1])' 'model-00002-of-00003.safetensors: .'
	broken "$index"'write(s, open(target + "/model-00001-of-00003.safetensors", "rb").read())' 'index.json: .*(two shards|in no shard|is not in)'
	broken "$index"'text = json.dumps({"weight_map": index}); write("model.safetensors.index.json", text.replace("{\"weight_map\": {", "{\"weight_map\": {\"%s\": \"%s\", " % (first, index[first])))' \
		'index.json: .*twice'
	broken "$index"'index[first] = s; save("model.safetensors.index.json", {"weight_map": index})' 'index.json: .*"lm_head.weight" is not in model-00002-of-00003'
	broken "$index"'del index[first]; save("model.safetensors.index.json", {"weight_map": index})' 'index.json: .*in a shard, but not in the index'
	broken "$index"'index["more"] = s; save("model.safetensors.index.json", {"weight_map": index})' 'index.json: .*"more" is in no shard'
	for name in ../x /etc/passwd . .. '' sub/x .hidden; do
		broken "$index"'index[first] = "'"$name"'"; save("model.safetensors.index.json", {"weight_map": index})' 'index.json: .*plain file name'
	done
	broken "$index"'save("model.safetensors.index.json", {"metadata": {}})' 'index.json: no weight_map'
	broken "$index"'write("model.safetensors.index.json", "{\"weight_map\": {")' 'index.json: .'
	broken "$index"'save("model.safetensors.index.json", [])' 'index.json: .'
	faults model "$OLMOE" bare 'remove("model.safetensors")'
	works moe-info --json bare         # config.json is enough for it
	refused 2 'no weights: neither' moe-embed -m bare </dev/null
	refused 2 'no weights: neither' moe-view --check bare
}

@test "config.json: missing, empty, no JSON, duplicate keys, an unknown family" {
	broken 'remove("config.json")' 'config.json: cannot open' 2
	broken 'write("config.json", "")' 'config.json: .*JSON'
	broken 'write("config.json", "{\"model_type\": \"olmoe\"")' 'config.json: .*JSON'
	broken 'write("config.json", "[]")' 'config.json: JSON: expected an object'
	broken 'write("config.json", "\xff\xfe{}".encode("latin1"))' 'config.json: .*JSON'
	broken 'write("config.json", json.dumps(config)[:-1] + ", \"hidden_size\": 48}")' 'config.json: .*duplicate'
	broken 'write("config.json", "[" * 1000000)' 'config.json: .*JSON' 
	broken 'write("config.json", json.dumps(config).replace("48", "NaN"))' 'config.json: .*JSON'
	broken 'config["model_type"] = "gpt9"' 'no family knows model_type "gpt9"; known are: aria mixtral native olmoe'
	broken 'config["model_type"] = "x" * 100000' 'no family knows model_type "x+"'
	broken 'del config["model_type"]' 'no family knows model_type "\(none\)"'
	broken 'config["model_type"] = 7' 'no family knows model_type "\(none\)"'
	broken 'write("generation_config.json", "{")' 'generation_config.json: .*JSON'
	broken 'write("generation_config.json", json.dumps({"eos_token_id": 700}))' 'text.eos \(700\) is outside the vocabulary \(700\)'
	head -c 17000000 /dev/zero | tr '\0' ' ' >long
	broken 'write("config.json", open("long", "rb").read() + b"{}")' 'config.json: .*larger than' 2
}

@test "config.json against the weights, field by field" {
	broken 'config["vocab_size"] = 701' 'tensor "model.embed_tokens.weight" has the shape .*700.*, expected .*701'
	broken 'config["hidden_size"] = 47' 'config.json|has the shape'
	broken 'config["hidden_size"] = 96' 'has the shape .*48.*, expected .*96'
	broken 'config["intermediate_size"] = 35' 'gate_proj.weight" has the shape .*36.*, expected .*35'
	broken 'config["num_hidden_layers"] = 5' '"model.layers.4.self_attn.q_proj.weight" is missing'
	broken 'config["num_hidden_layers"] = 3' '"model.layers.3.[a-z_.]*" has no place'
	broken 'config["num_attention_heads"] = 8; config["head_dim"] = 12' 'has the shape'
	broken 'config["num_attention_heads"] = 5' 'the model.s files do not have'
	broken 'config["num_key_value_heads"] = 2' 'k_proj.weight" has the shape .*48.*, expected .*24'
	broken 'config["num_key_value_heads"] = 3' 'attention.heads \(4\) is not a multiple of attention.kv_heads \(3\)'
	broken 'config["num_experts"] = 11' 'gate.weight" has the shape .*10.*, expected .*11'
	broken 'config["num_experts"] = 9' 'gate.weight" has the shape .*10.*, expected .*9'
	broken 'config["num_experts_per_tok"] = 11' 'router.top_k \(11\) is larger than router.experts \(10\)'
	broken 'config["num_experts_per_tok"] = 0' 'router.top_k is 0, expected an integer from 1'
	broken 'config["tie_word_embeddings"] = True' '"lm_head.weight" has no place'
	broken 'config["hidden_act"] = "gelu"' 'hidden_act is "gelu", but the family is defined for "silu" only'
	broken 'config["rope_scaling"] = {"type": "dynamic", "factor": 4}' 'setting attention.rope.scaling.kind is "dynamic", expected one of: none default linear llama3 yarn'
	broken 'config["rope_scaling"] = {"rope_type": "yarn", "factor": -4}' 'setting attention.rope.scaling.factor is -4'
	broken 'config["rope_theta"] = 0' 'attention.rope.theta is 0, expected a number from 1'
	broken 'config["rms_norm_eps"] = -1e-5' 'norm.eps is -1'
}

# Any field of config.json may be anything: either it says nothing to us (then all is well), or the message names the file.
any_field() {   # MODEL REGEX-OF-WHAT-IS-TAKEN [VALUE...]
	local f name got bad=0
	faults fields "$1" fields "${@:3}"
	for f in fields/*; do
		name=${f#fields/} got=0
		timeout "$LIMIT" moe-info --json "$f" >out 2>err || got=$?
		if [[ $name =~ $2 ]]; then
			[ $got = 0 ] || { bad=$((bad + 1)); echo "$name: status $got: $(cat err)"; }
		else
			[ $got = 2 ] && grep -qE "^moe-info: $f(/config.json)?[: ].{8}" err || { bad=$((bad + 1)); echo "$name: status $got: $(cat err)"; }
		fi
	done
	[ $bad = 0 ]
}

@test "every field of a text model's config.json: absent, of each wrong type, out of range" {
	local free='(architectures|torch_dtype)(\.0)?=([a-v].*|zero)' same='.*=same'
	local optional='(clip_qkv|norm_topk_prob|num_key_value_heads|rms_norm_eps|rope_theta|tie_word_embeddings|max_position_embeddings)=(absent|null)'
	local switch='(norm_topk_prob=(true|false)|tie_word_embeddings=false)' number='(clip_qkv=(zero|one|huge)|rms_norm_eps=(zero|one)|rope_theta=(one|huge)|num_experts_per_tok=one|max_position_embeddings=(one|huge))'
	any_field "$OLMOE" "^($free|$same|$optional|$switch|$number)\$"
}

@test "every field of a picture model's config.json: absent, of each wrong type, out of range" {
	local free='(architectures|dtype|eos_token_id|image_size|max_text_tokens|num_image_tokens|pad_token_id|unk_token_id)(\.[01])?=([a-v].*|zero)' same='.*=same'
	local optional='(norm_topk_prob|num_key_value_heads|head_dim|tie_word_embeddings|hidden_act|attention_bias|mlp_bias|rope_type|(image|text)_attention|vision_stem.type|vision_stem.layers.[012].bias)=(absent|null)'
	local switch='(norm_topk_prob=(true|false)|(tie_word_embeddings|attention_bias|mlp_bias|vision_stem.layers.[012].bias)=false|vision_stem.row_col_embeddings=true)'
	local number='bos_token_id=list|(bos_token_id|image_token_id|rms_norm_eps|text_position_offset|vision_stem.layers.[012].padding)=(zero|one)|rope_theta=(one|huge)|num_experts_per_tok=one'
	any_field "$READ" "^($free|$same|$optional|$switch|$number)\$" absent null text zero negative huge list
}

@test "pictures: settings of preprocessor_config.json and of the tower" {
	MOE_MODEL=$READ
	bad_picture_model() {
		rm -rf bad
		faults model "$READ" bad "$1"
		refused 2 "$2" moe-info bad
		refused 2 "$2" moe-run -m bad "$GOOD"
	}
	bad_picture_model 'p = load("preprocessor_config.json"); p["image_mean"] = [0.5, 0.5]; save("preprocessor_config.json", p)' 'image.mean is \[0.5,0.5\], expected a list of three'
	bad_picture_model 'p = load("preprocessor_config.json"); p["image_std"] = [0.5, 0, 0.5]; save("preprocessor_config.json", p)' 'image.std is 0'
	bad_picture_model 'remove("preprocessor_config.json")' 'setting image.* the model.s files do not have'
	bad_picture_model 'config["image_grid"] = [5, 16]' 'row_embed.weight" has the shape .*4.*, expected .*5'
	bad_picture_model 'config["patch_size"] = 16' 'stride of 8 come out, expected hidden 160 and patch 16'
	bad_picture_model 'config["vision_stem"]["layers"][1]["in_channels"] = 16' 'conv2 takes 16 channels, 32 come in'
	bad_picture_model 'config["vision_stem"]["layers"][0]["kernel_size"] = 3' 'conv1.weight" has the shape'
	bad_picture_model 'config["image_token_id"] = 100' 'merge.placeholder \(100\) is outside the vocabulary'
	bad_picture_model 'config["num_channels"] = 1' 'image.channels is 1'
	bad_picture_model 'del tensors["model.vision_stem.conv2.weight"]' '"model.vision_stem.conv2.weight" is missing'
	refused 2 'takes no pictures' moe-encode -m "$OLMOE" </dev/null
}

@test "family files of one's own: no JSON, unknown settings, missing ones" {
	echo '{' >family.json
	refused 2 'family.json: .*JSON' moe-info --family family.json "$OLMOE"
	echo '{"family": "mine", "colour": "red"}' >family.json
	refused 2 'unknown setting colour' moe-info --family family.json "$OLMOE"
	echo '{"family": "mine"}' >family.json
	refused 2 'the family file has no setting layers.count' moe-info --family family.json "$OLMOE"
	refused 2 'cannot open' moe-info --family nowhere.json "$OLMOE"
}

# A broken tokenizer is refused by those that need one, and by nobody else.
bad_tokenizer() {
	rm -rf bad
	faults model "$OLMOE" bad "t = load('tokenizer.json'); m = t['model']; $1; save('tokenizer.json', t)"
	refused 2 "$2" moe-tokenize -m bad Once
	refused 2 "$2" moe-run -m bad -p Once
	works moe-info bad
}

@test "tokenizers: broken, of another kind, contradicting themselves" {
	for text in '' '{' '[]' '{}' 'null' '{"model": {}}' '{"model": {"type": "BPE"}}'; do
		rm -rf bad
		faults model "$OLMOE" bad "write('tokenizer.json', '$text')"
		refused 2 'tokenizer.json: .' moe-tokenize -m bad Once
	done
	rm -rf bad
	faults model "$OLMOE" bad 'remove("tokenizer.json")'
	refused 2 'tokenizer.json: cannot open' moe-tokenize -m bad Once
	bad_tokenizer 'm["type"] = "Unigram"' 'tokenizer.json: .*Unigram'
	bad_tokenizer 'm["merges"][5] = ["q", "zzz"]' 'tokenizer.json: .'
	bad_tokenizer 'm["merges"][5] = ["q"]' 'tokenizer.json: .'
	bad_tokenizer 'm["merges"][5] = "a b c"' 'tokenizer.json: .'
	bad_tokenizer 'm["merges"][5] = 7' 'tokenizer.json: .'
	bad_tokenizer 'm["vocab"]["zzz"] = -1' 'tokenizer.json: .'
	bad_tokenizer 'm["vocab"]["zzz"] = 2**31' 'tokenizer.json: .'
	bad_tokenizer 'm["vocab"]["zzz"] = 5' 'tokenizer.json: .'
	bad_tokenizer 'm["vocab"]["zzz"] = "5"' 'tokenizer.json: .'
	bad_tokenizer 'm["vocab"]["zzz"] = 2**24 + 1' 'tokenizer.json: .'
	bad_tokenizer 'm["vocab"] = []' 'tokenizer.json: .'
	bad_tokenizer 't["pre_tokenizer"] = {"type": "Mystery"}' 'tokenizer.json: .*Mystery'
	bad_tokenizer 't["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}' 'tokenizer.json: .'
	bad_tokenizer 't["normalizer"] = {"type": "Mystery"}' 'tokenizer.json: .*Mystery'
	bad_tokenizer 't["decoder"] = {"type": "Mystery"}' 'tokenizer.json: .*Mystery'
	bad_tokenizer 't["added_tokens"].append({"id": 2**31, "content": "<x>", "special": True})' 'tokenizer.json: .'
	bad_tokenizer 't["added_tokens"].append({"id": -5, "content": "<x>", "special": True})' 'tokenizer.json: .'
}

@test "a token that the model has no embedding for" {
	faults model "$OLMOE" bad 't = load("tokenizer.json"); t["added_tokens"].append({**t["added_tokens"][0], "id": 700, "content": "<more>"}); save("tokenizer.json", t)'
	works moe-tokenize -m bad 'Once <more>'
	mv out tokens
	refused 2 'token [0-9]+ is 700, outside the vocabulary of 700' moe-embed -m bad <tokens
	refused 2 'token 700 .*outside the vocabulary of 700' moe-run -m bad -p 'Once <more>'
}

@test "weights of NaN: moe-view --check names the tensor, running ends with a message" {
	faults model "$OLMOE" nan 't = tensors["model.layers.1.mlp.gate.weight"]; t[2][10:12] = b"\xc0\x7f"'
	works moe-info nan
	refused 1 'tensor "model.layers.1.mlp.gate.weight": 1 values are not finite' moe-view --check nan
	refused 2 'row 0: router logit of expert 0 is NaN \(layer 1\)' moe-run -m nan -p Once
	rm -r nan
	faults model "$OLMOE" nan 't = tensors["lm_head.weight"]; t[2][10:12] = b"\xc0\x7f"'
	refused 2 'the logit of token 0 is NaN' moe-run -m nan -p Once
	rm -r nan
	faults model "$OLMOE" nan 't = tensors["model.layers.0.mlp.experts.0.gate_proj.weight"]; t[2][:] = b"\x7f\x7f" * (len(t[2]) // 2)'      # overflows to infinity
	timeout "$LIMIT" moe-run -m nan -p 'Once upon a time there was' >out 2>err || [ $? = 2 ]
}

# The file is cut while it is mapped: moe-embed waits for its input meanwhile, and finds the pages gone.
@test "a model that is cut, or replaced, while it is in use" {
	cp -r "$OLMOE" cut
	moe-tokenize -m cut 'Once upon a time' >tokens
	mkfifo go
	moe-block -m cut -l 0- <go >out 2>err &
	pid=$!
	exec 8>go
	moe-embed -m cut <tokens >hidden
	for ((i = 0; i < 20 * LIMIT; i++)); do grep -q model.safetensors /proc/$pid/maps && break; sleep 0.05; done
	sleep 0.2       # and opened: its pages have been read once
	: >cut/model.safetensors
	cat hidden >&8
	exec 8>&-
	for ((i = 0; i < 20 * LIMIT; i++)); do kill -0 $pid 2>/dev/null || break; sleep 0.05; done
	kill -9 $pid 2>/dev/null || true
	status=0
	wait $pid || status=$?
	[ $status = 2 ]
	grep -q '^moe-block: cut/model.safetensors: the file changed while it was in use$' err
	not grep -qa '"moe.kind":"end"' out
}

@test "paths that are no model: a file, a FIFO, a device, nothing, one that may not be read" {
	refused 2 'nowhere: no such model' moe-info nowhere
	refused 2 '.' moe-info "$OLMOE/config.json"
	refused 2 '.' moe-info /dev/zero
	refused 2 '.' moe-info /dev/null
	refused 2 'no such model' moe-info ''
	mkfifo fifo
	refused 2 '.' moe-info fifo
	refused 2 'config.json: cannot open' moe-info .
	ln -s nowhere link
	refused 2 'no such model' moe-info link
	faults model "$OLMOE" odd 'remove("model.safetensors"); os.mkfifo(target + "/model.safetensors")'
	refused 2 'model.safetensors: .' moe-info odd
	rm -r odd
	faults model "$OLMOE" odd 'remove("model.safetensors"); os.symlink("/dev/zero", target + "/model.safetensors")'
	refused 2 'model.safetensors: is not a regular file' moe-info odd
	rm -r odd
	faults model "$OLMOE" odd 'remove("config.json"); os.symlink("/dev/zero", target + "/config.json")'
	refused 2 'config.json: larger than' moe-info odd
}
