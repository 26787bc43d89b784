# parts.bats: parts of models that no checkpoint of the tests has, against their definitions in numpy (parts.py): LayerNorm, adjacent pairs that turn in a part
# of the head, a sliding window, biases, a dense layer, a router with biases and groups, a gated shared expert, tensors in every orientation, F8 with scales.
load helper

@test "a model of such parts has the logits of its definition, however it is cut" {
	for kind in bf16 f8; do
		mkdir $kind
		cp "$olmoe/model/tokenizer.json" $kind/
		moe-tokenize -m "$olmoe/model" --no-pg 'The router sends each token to its experts; and so on.' >tokens.sts
		moe-view --npy token tokens.sts >token.npy
		numpy -c 'import numpy as np; print(*np.load("token.npy"))' >$kind/tokens
		numpy "$root/tests/cmd/parts.py" $kind $kind
		export MOE_MODEL=$kind
		moe-info --family $kind/family.json | grep -q 'beside shared ones of width 32; 1 layer without'
		moe-tokenize --family $kind/family.json --logits all --no-pg 'The router sends each token to its experts; and so on.' |
			moe-embed --family $kind/family.json --no-pg >hidden.sts
		moe-block --family $kind/family.json --no-pg -l 0- <hidden.sts | moe-decode --family $kind/family.json --no-pg --logits >logits.sts
		moe-view --npy logit logits.sts >mine.npy
		numpy - $kind <<-'PY'
			import sys
			import numpy as np
			mine, want = np.load("mine.npy").astype("f8"), np.load(sys.argv[1] + "/want.npy")
			assert mine.shape == want.shape, (mine.shape, want.shape)
			off = np.sqrt(((mine - want) ** 2).mean() / (want ** 2).mean())
			assert off < 2e-5, off
		PY
		line=cat
		for l in 0 1 2; do
			line+=" | moe-attend --no-pg --family $kind/family.json -l $l | moe-route --no-pg --family $kind/family.json -l $l"
			line+=" | moe-expert --no-pg --family $kind/family.json -l $l"
		done
		eval "$line" <hidden.sts | moe-decode --family $kind/family.json --no-pg --logits | cmp - logits.sts
		# In the dense layer nothing is chosen; where biases and groups decide, what was compared is in the stream.
		moe-block --no-pg --family $kind/family.json -l 0 <hidden.sts | moe-attend --no-pg --family $kind/family.json -l 1 |
			moe-route --no-pg --family $kind/family.json -l 1 | moe-view --json | jq -c 'select(.kind == "routed") | .tensors | map({(.name): .shape}) | add' |
			each '.expert_id[1] == 0 and .weight[1] == 0 and (has("router_logit") | not)'
		moe-attend --no-pg --family $kind/family.json -l 0 <hidden.sts | moe-route --no-pg --family $kind/family.json -l 0 --stats=json:stats |
			moe-view --json | jq -c 'select(.kind == "routed") | .tensors | map({(.name): .shape}) | add' | each '.expert_id[1] == 3 and .choice == .router_logit'
		moe-block --family $kind/family.json -l 0- --stats=json:stats <hidden.sts >/dev/null
		same "$(jq -c .layer stats | xargs)" "0 2"
	done
}
