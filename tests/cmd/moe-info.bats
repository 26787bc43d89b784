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

@test "--experts: cosines and words are those that NumPy makes of the weights" {
	likened() {
		numpy - "$@" <<-'PY'
			import json
			import sys
			import numpy as np
			import inside
			folder, suppress = sys.argv[1], [int(t) for t in sys.argv[2:]]
			w, config = inside.weights(folder)
			parts = "n.weight" in w                                 # of parts.py
			head = w["embed"] if parts else w["lm_head.weight"]
			head, keep = head.copy(), np.setdiff1d(np.arange(len(head)), suppress)
			head -= head[keep].mean(0)
			head *= w["n.weight" if parts else "model.norm.weight"]
			cosine = lambda x: (lambda g: g / np.sqrt(np.outer(g.diagonal(), g.diagonal())))(x @ x.T)
			lines = [json.loads(line) for line in open("lines")]
			assert [line["layer"] for line in lines] == ([0, 2] if parts else list(range(config["num_hidden_layers"])))
			for line in lines:
			    p = f"layers.{line['layer']}." if parts else f"model.layers.{line['layer']}.mlp."
			    router = w[p + "router.weight"].T if parts else w[p + "gate.weight"]
			    if parts:                                           # rows gate, up, gate, up, ...; down as [in][out]
			        both, down = w[p + "experts.both"], w[p + "experts.down"].transpose(0, 2, 1)
			        experts = [(b[0::2], b[1::2], d) for b, d in zip(both, down)]
			    else:
			        experts = [tuple(w[f"{p}experts.{e}.{n}_proj.weight"] for n in ("gate", "up", "down")) for e in range(len(router))]
			    assert line["experts"] == len(experts) == len(line["writes"])
			    assert np.allclose(line["router_cosine"], cosine(router), atol=1e-5)
			    assert np.allclose(line["weight_cosine"], cosine(np.array([np.concatenate([m.ravel() for m in e]) for e in experts])), atol=1e-5)
			    gain = np.array([np.linalg.norm(head[keep] @ (down * np.linalg.norm(up, axis=1)), axis=1) for _, up, down in experts])
			    gain /= np.sqrt((gain ** 2).mean(1, keepdims=True))
			    ratio = gain / gain.mean(0)
			    for e, words in enumerate(line["writes"]):
			        best = np.argsort(-ratio[e], kind="stable")[:7]
			        assert [t["id"] for t in words] == list(keep[best]), (e, words)
			        assert np.allclose([t["ratio"] for t in words], ratio[e][best], atol=1e-5)
		PY
	}
	moe-info --experts --json --words 7 "$first" >lines
	likened "$first" 0 1 2 3
	same "$(moe-info --experts --json --words 7 -t 1 "$first")" "$(<lines)"
	for model in olmoe qwen2moe; do
		moe-info --experts --json --words 7 "$golden/$model/model" >lines
		likened "$golden/$model/model"
	done
	mkdir strange
	cp "$olmoe/model/tokenizer.json" strange/
	seq 5 15 >strange/tokens
	numpy "$root/tests/cmd/parts.py" bf16 strange
	moe-info --family strange/family.json --experts --json --words 7 strange >lines
	likened strange
}

@test "--experts as text, of some layers, without words, of quantised weights and of no weights" {
	moe-info --experts "$first" >text
	same "$(grep -c '^layer ' text)" 4
	same "$(moe-info --experts -l 2 "$first")" "$(sed -n '/^layer 2$/,/^layer 3$/p' text | sed '$d')"
	moe-info --experts --json -l 1 "$first" >json
	near=$(jq -r '.router_cosine | to_entries[] | .key as $e | (.value | to_entries | map(select(.key != $e)) | max_by(.value)) |
		"\(.key) \(.value * 1000 | round)"' json)
	same "$(sed -n '/^layer 1$/,/^layer 2$/p' text | awk '$1 ~ /^[0-9]+$/ { printf "%d %d\n", $2, $3 * 1000 + ($3 > 0 ? 0.5 : -0.5) }')" "$near"
	moe-info --experts --words 0 --json "$first" | each 'has("writes") | not'
	rm -rf bare
	mkdir bare
	cp "$first"/*.json bare/
	moe-info bare >text
	refuses 2 'weights|safetensors' moe-info --experts bare
	refuses 2 'goes with --experts' moe-info -l 1 "$first"
	refuses 2 'range of 0 to 3' moe-info --experts -l 4 "$first"
	refuses 2 usage moe-info --experts --spec "$first"
	moe-info --experts --json --words 2 "$golden/gguf/qwen3moe-q4_k.gguf" |
		each '([.router_cosine[][], .weight_cosine[][]] | all(. <= 1.00001 and . >= -1.00001)) and
		([range(.experts) as $e | .weight_cosine[$e][$e] == 1] | all) and (.writes | map(length) | unique == [2])'
}
