# teacher.bats: a model that learns from another, and new experts that are trained while the old ones stay.
load helper

big='{"hidden": 32, "layers": 2, "heads": 2, "experts": 4, "expert_width": 24, "stem": [8, 12], "grids": [[4, 16]]}'
small='{"hidden": 16, "layers": 1, "heads": 2, "experts": 3, "expert_width": 16, "stem": [8, 8], "grids": [[4, 16]]}'

setup_file() {
	cd "$BATS_FILE_TMPDIR" || return
	echo "$big" >big.json
	echo "$small" >small.json
	head -n 60 "$golden/crops.tsv" >crops.tsv
	ln -s "$crops" crops
	moe-train -q -o big --new big.json --tokens 9000 --batch 4 --lr-muon 0.01 crops.tsv
}

setup() { cd "$BATS_FILE_TMPDIR" || return; }

teach=(--new small.json --teacher big/model --tokens 6000 --batch 4)

same_run() {
	cmp "$1/checkpoint.safetensors" "$2/checkpoint.safetensors" && cmp "$1/log.jsonl" "$2/log.jsonl" && diff -r "$1/model" "$2/model"
}

@test "what the teacher says is learned: nearer to it than by the answers alone" {
	moe-train -q -o alone --new small.json --tokens 12000 --batch 4 crops.tsv
	moe-train -q -o taught --new small.json --tokens 12000 --batch 4 --teacher big/model --text-loss 0 --soft-loss 1 crops.tsv
	for m in alone taught; do      # the loss of the first steps of a run that changes nothing
		moe-train -q -o look-$m -m $m/model --teacher big/model --tokens 3000 --batch 4 --freeze all crops.tsv
		jq -s 'map(.soft) | add / length' look-$m/log.jsonl >$m.soft
	done
	numpy -c 'import sys; a, b = (float(open(f).read()) for f in sys.argv[1:]); print(a, b); assert 0 < b < 0.8 * a' alone.soft taught.soft
	jq -es 'all(.[]; .soft > 0 and .match == 0 and ((.loss - .soft - .patch - 0.01 * .balance - 0.001 * .z) | fabs) < 1e-3)' taught/log.jsonl
	jq -es 'all(.[]; has("soft") | not)' alone/log.jsonl
}

@test "a model that is its own teacher has nothing to learn from it" {
	moe-train -q -o itself -m big/model --teacher big/model --match 1=1 --match 2=2 --tokens 2000 --batch 4 --freeze all --precision f32 crops.tsv
	jq -es 'length > 2 and all(.[]; (.soft | fabs) < 1e-5 and .match == 0)' itself/log.jsonl
}

@test "the same bytes on any number of threads, in parts, and after interruptions" {
	moe-train -q -o whole -t 1 "${teach[@]}" --match 0=1 --match 1=2 --batch 16 crops.tsv
	moe-train -q -o threads -t 3 "${teach[@]}" --match 0=1 --match 1=2 --batch 16 crops.tsv
	same_run whole threads
	moe-train -q -o parts "${teach[@]}" --match 0=1 --match 1=2 --batch 8 --accumulate 2 crops.tsv
	diff whole/log.jsonl parts/log.jsonl
	cmp whole/model/model.safetensors parts/model/model.safetensors
	same "$(numpy -c '
import frames
_, tensors = frames.parse(open("whole/checkpoint.safetensors", "rb").read())
print(*(f"{k} {t[1]}" for k, t in tensors.items() if k.startswith("w.projection")), sep=", ")')" 'w.projection.0 [32, 16], w.projection.1 [32, 16]'
	local options=("${teach[@]}" --match 1=2 --batch 4 --checkpoint-every 500 crops.tsv) status pid
	moe-train -q -o unbroken "${options[@]}"
	for moment in 0.1 0.2 0.3; do
		moe-train -q -o cut "${options[@]}" &
		pid=$!
		sleep $moment
		kill -KILL $pid 2>/dev/null || true
		wait $pid || true
	done
	moe-train -q -o cut "${options[@]}"
	same_run unbroken cut
}

@test "gradients are those of the loss, with projections and without" {
	moe-train --check-gradients -o check "${teach[@]}" --match 0=1 --match 1=2 --match 1=0 crops.tsv >checked
	same "$(tail -n 1 checked)" '0 of 27 gradients are wrong'
	same "$(grep -c '^projection\.[012] .* right$' checked)" 3
	moe-train --check-gradients -o check2 --new big.json --seed 5 --teacher big/model --match 0=0 --match 1=1 --match 2=2 --temperature 5 crops.tsv --tokens 9 >checked
	grep -q '^0 of 46 gradients are wrong$' checked
}

@test "a teacher that cannot teach is refused, with the reason" {
	refuses 2 "$first: the teacher has another tokenizer .*other tokens" moe-train -q -o no "${teach[@]}" --teacher "$first" crops.tsv
	refuses 2 'nowhere' moe-train -q -o no "${teach[@]}" --teacher nowhere crops.tsv
	jq '.patch = 16 | .stem = [8, 8, 12]' big.json >patch.json
	moe-train -q -o patch --new patch.json --tokens 500 --batch 4 crops.tsv
	refuses 2 "patch/model: the teacher's patch is 16, the model's 8" moe-train -q -o no "${teach[@]}" --teacher patch/model crops.tsv
	jq '.grids = [[4, 12]]' big.json >grids.json
	moe-train -q -o grids --new grids.json --tokens 500 --batch 4 crops.tsv
	refuses 2 'pictures of 4 x 16 patches, which the teacher has not' moe-train -q -o no "${teach[@]}" --teacher grids/model crops.tsv
	jq '.mean = 100' big.json >mean.json
	moe-train -q -o mean --new mean.json --tokens 500 --batch 4 crops.tsv
	refuses 2 'another mean or deviation' moe-train -q -o no "${teach[@]}" --teacher mean/model crops.tsv
	refuses 2 '"1=3": the model has 1 layers, the teacher 2' moe-train -q -o no "${teach[@]}" --match 1=3 crops.tsv
	refuses 2 '"1:2": expected OWN=ITS' moe-train -q -o no "${teach[@]}" --match 1:2 crops.tsv
	refuses 2 'there is no teacher' moe-train -q -o no --new small.json --tokens 500 --soft-loss 1 crops.tsv
	refuses 2 'there is no teacher' moe-train -q -o no --new small.json --tokens 500 --match 1=2 crops.tsv
}

@test "a run goes on with its own teacher only" {
	cp -r big/model teacher
	local options=(--new small.json --teacher teacher --tokens 3000 --batch 4 crops.tsv)
	moe-train -q -o own "${options[@]}"
	refuses 2 'teacher.model is "teacher" in the recipe that it was begun with' moe-train -q -o own --new small.json --teacher big/model --tokens 3000 --batch 4 crops.tsv
	moe-train -q -o other --new big.json --seed 9 --tokens 500 --batch 4 crops.tsv
	cp other/model/* teacher/
	refuses 2 'own/checkpoint.safetensors: was begun with another teacher \(fingerprint' moe-train -q -o own "${options[@]}"
}

# tensors FOLDER: name and digest of each tensor of a model.
tensors() {
	numpy - "$1" <<-'PY'
		import hashlib, sys, frames
		_, tensors = frames.parse(open(sys.argv[1] + "/model.safetensors", "rb").read())
		for name, (dtype, shape, data) in sorted(tensors.items()):
		    rows = shape[0] if name.endswith(("mlp.gate.weight", "router.weight")) else 1
		    for r in range(rows):
		        part = data[r * len(data) // rows:(r + 1) * len(data) // rows]
		        print(name + (f"[{r}]" if rows > 1 else ""), hashlib.md5(part).hexdigest())
	PY
}

@test "new experts are trained while the old ones stay, with their rows of the router" {
	moe-train -q -o grown -m big/model --tokens 3000 --batch 4 --weight-decay 0.5 --freeze all --freeze '!@-.3' --type f32 crops.tsv
	moe-convert -q --type f32 big/model before
	{ diff <(tensors before) <(tensors grown/model) || true; } | sed -n 's/^> \([^ ]*\) .*/\1/p' | sort >changed
	same "$(wc -l <changed)" 8            # of two layers: gate, up and down of expert 3, and its row
	same "$(grep -c 'experts\.3\.' changed)" 6
	same "$(grep -c '\[3\]$' changed)" 2
	moe-train -q -o threads2 -t 2 -m big/model --tokens 3000 --batch 4 --weight-decay 0.5 --freeze all --freeze '!@-.3' --type f32 crops.tsv
	cmp grown/model/model.safetensors threads2/model/model.safetensors
}

@test "teachers of other kinds: experts that choose, pools and depth teach a model without experts, and the other way round" {
	jq '. + {"router_choice": "expert", "router_score": "sigmoid", "expert_capacity": 1, "moe_norm": "post", "expert_pools": [[0, 1], [2, 3]],
		"depth_layers": [1], "depth_capacity": 0.5, "route_batch": 4}' big.json >moma.json
	jq '. + {"dense_layers": "all", "dense_width": 24} | del(.experts, .expert_width)' small.json >dense.json
	for m in moma dense; do
		moe-train -q -o $m --new $m.json --tokens 2000 --batch 8 crops.tsv
	done
	for pair in dense:moma moma:dense; do
		own=${pair%:*}
		moe-train -q -o kind-$own --new $own.json --teacher ${pair#*:}/model --match 1=1 --tokens 2000 --batch 8 crops.tsv
		moe-train -q -o kind-$own-t -t 3 --new $own.json --teacher ${pair#*:}/model --match 1=1 --tokens 2000 --batch 8 crops.tsv
		same_run kind-$own kind-$own-t
		jq -es 'length > 2 and all(.[]; .soft > 0 and .match > 0)' kind-$own/log.jsonl
	done
	moe-train --check-gradients -o check-kinds --new dense.json --teacher moma/model --match 1=1 --tokens 9 --batch 4 crops.tsv | tail -n 1 >checked
	grep -qE '^0 of 18 gradients are wrong$' checked
}
