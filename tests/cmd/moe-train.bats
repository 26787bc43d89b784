# moe-train.bats: training comes to the same bytes however it is interrupted and on however many threads; faults cost what they must and no more.
load helper

# A model of 46 tensors, and steps of some 300 tokens.
tiny='{"hidden": 32, "layers": 2, "heads": 2, "experts": 4, "expert_width": 24, "stem": [8, 12], "grids": [[4, 16]]}'
short=(--new tiny.json --tokens 9000 --batch 4 --lr-muon 0.01)

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	echo "$tiny" >tiny.json
	ln -s "$crops" crops
	cp "$golden/crops.tsv" .
}

# shard NAME FIRST LAST: a tar of these crops with a question each; every second one has boxes.
shard() {
	crops_shard "$@" '{kind: "read", questions: [{type: (if .text | length > 6 then "long" else "short" end), prompt: "<read>", answer: .text, spell: true}]}
		+ if .number % 2 == 1 then {boxes: [[.text[0:1], 0, 0, 20, 32]]} else {} end'
}

# train FOLDER OPTIONS...: quiet.
train() { moe-train -q -o "$@"; }

# killed SECONDS FOLDER OPTIONS...: the same, killed after so long, and gone when this returns; its status.
killed() {
	local seconds=$1 pid status=0
	shift
	moe-train -q -o "$@" <&0 &
	pid=$!
	sleep "$seconds"
	kill -KILL $pid 2>/dev/null || true
	wait $pid || status=$?
	return $status
}

same_run() {
	cmp "$1/checkpoint.safetensors" "$2/checkpoint.safetensors" && cmp "$1/log.jsonl" "$2/log.jsonl" && diff -r "$1/model" "$2/model"
}

@test "a run: model, log, picture, and its end" {
	shard train.tar 0 40
	shard dev.tar 40 60
	run moe-train -o run "${short[@]}" --dev dev.tar --dev-samples 10 train.tar
	[ "$status" = 0 ]
	[[ ${lines[0]} =~ ^moe-train:\ .*\ M\ parameters,.*active.*MFLOP\ a\ token.*GB\ of\ memory$ ]]
	[[ ${lines[1]} =~ ^run/model:\ [0-9]+\ steps,\ 9[0-9]+\ tokens,\ [0-9]+\ samples\;\ passed\ over:\ 0\ samples,\ 0\ steps$ ]]
	jq -es 'map(select(.dev != true)) | (.[0].step == 1) and (.[-1].loss < .[0].loss) and any(.[]; .patch > 0) and all(.[]; .grad_norm > 0 and .busiest >= 0.25)' run/log.jsonl
	jq -es 'map(select(.dev)) | (length > 1) and all(.[]; .questions == 10 and .types.short[1] + .types.long[1] == 10)' run/log.jsonl
	jq -e '.stages[0].batch == 4 and .stages[0].lr.muon == 0.01 and .stages[0].lr.adamw == 0.003 and .model.hidden == 32' run/recipe.json
	numpy -c 'import sys, xml.dom.minidom as m; assert m.parse("run/loss.svg").documentElement.tagName == "svg"'
	grep -q '<title>Loss of run</title>' run/loss.svg
	moe-run -m run/model "$word"
	moe-view --check run/model
	cp run/checkpoint.safetensors before
	run moe-train -o run "${short[@]}" --dev dev.tar --dev-samples 10 train.tar
	[ "$status" = 0 ]
	[ "$output" = 'moe-train: this run has finished; its model is there' ]
	cmp before run/checkpoint.safetensors
}

@test "the same bytes on any number of threads" {
	shard train.tar 0 40
	for t in 1 2 3; do
		train t$t -t $t "${short[@]}" --accumulate 2 --dev crops.tsv --dev-samples 8 train.tar crops.tsv
	done 2>&1
	same_run t1 t2
	same_run t1 t3
}

@test "a step in parts is the same step" {
	shard train.tar 0 40
	train whole "${short[@]}" --batch 16 --dev train.tar --dev-samples 8 train.tar
	train parts "${short[@]}" --batch 8 --accumulate 2 --dev train.tar --dev-samples 8 train.tar
	cmp whole/model/model.safetensors parts/model/model.safetensors
	diff <(grep -v dev whole/log.jsonl) <(grep -v dev parts/log.jsonl)
}

@test "killed at random moments, a run comes to the same bytes" {
	shard train.tar 0 40
	local options=("${short[@]}" --accumulate 2 --dev train.tar --dev-samples 8 --checkpoint-every 900 train.tar) kills=0 status
	train whole "${options[@]}"
	while [ $kills -lt 12 ]; do
		status=0
		killed "0.$((RANDOM % 20 + 4))" cut "${options[@]}" || status=$?
		[ $status != 0 ] || break
		[ $status = 137 ]
		kills=$((kills + 1))
	done
	train cut "${options[@]}"
	same_run whole cut
}

@test "SIGTERM makes a checkpoint; the same command, or the folder alone, goes on" {
	shard train.tar 0 40
	local options=(--new tiny.json --tokens 60000 --batch 4 --checkpoint-every 1e9 train.tar) status=0
	train whole "${options[@]}"
	moe-train -o cut "${options[@]}" 2>err &
	until [ -s cut/log.jsonl ]; do sleep 0.02; done
	kill -TERM $!
	wait $! || status=$?
	[ $status = 1 ]
	grep -qE '^moe-train: stopped after step [0-9]+, [0-9]+ tokens; the same command goes on$' err
	[ -s cut/checkpoint.safetensors ]
	[ ! -e cut/model ]
	run moe-train -o cut
	[ "$status" = 0 ]
	[[ ${lines[0]} == 'moe-train: goes on after step '* ]]
	same_run whole cut
}

@test "two stages with optimisers, frozen parts and a rope of their own; frozen tensors stay" {
	shard train.tar 0 40
	cat >recipe.json <<-EOF
		{"model": $tiny, "seed": 3, "precision": "f32", "checkpoint": {"every": 700},
		 "stages": [{"name": "see", "sources": [{"data": "train.tar", "augment": "tint"}], "tokens": 4000, "batch": 4},
		            {"name": "read", "sources": [{"data": ["train.tar"], "weight": 3}, {"data": "crops.tsv", "augment": "colour"}], "tokens": 5000, "batch": 3,
		             "optimiser": "adamw", "freeze": ["vision", "embedding", "experts@0"], "rope_theta": 500, "losses": {"patch_layer": 1, "types": {"long": 0.3}}}]}
	EOF
	train whole -r recipe.json --type f32
	for moment in 0.2 0.3 0.5; do
		killed $moment cut -r recipe.json --type f32 || true
	done
	train cut -r recipe.json --type f32
	same_run whole cut
	jq -es '[.[].stage] | unique == ["read", "see"]' whole/log.jsonl
	jq -e '.rope_theta == 500' whole/model/config.json
	rm -r cut/model         # as a run that was killed behind its last step
	train cut -r recipe.json --type f32
	diff -r whole/model cut/model
	train first -r <(jq '.stages = .stages[:1] | .stages[0].decay = 0' recipe.json) --type f32
	numpy - <<-'PY'
		import json, struct
		def read(path):
		    data = open(path, "rb").read()
		    n = struct.unpack("<Q", data[:8])[0]
		    head = json.loads(data[8:8 + n])
		    return {k: data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]] for k, v in head.items() if k != "__metadata__"}
		a, b = read("first/model/model.safetensors"), read("whole/model/model.safetensors")
		frozen = lambda k: "vision_stem" in k or "embed_tokens" in k or "layers.0.mlp.experts" in k
		assert a.keys() == b.keys() and sum(map(frozen, a)) == 18
		for k in a:
		    assert (a[k] == b[k]) == frozen(k), k
	PY
}

@test "broken samples are passed over and named" {
	shard good.tar 0 12
	mkdir folder
	cp "$crops"/00[0-5].png folder
	for i in 0 1 2 3; do echo "text $i" >folder/00$i.txt; done
	printf 'not a picture' >folder/002.png
	echo '{"questions": [{"answer": ""}]}' >folder/003.json
	rm folder/003.txt
	echo '{"questions"' >folder/004.json
	run moe-train -o run "${short[@]}" folder good.tar
	[ "$status" = 0 ]
	[[ $output =~ passed\ over:\ folder/002.* ]]
	[[ $output =~ passed\ over:\ folder/003.*answer ]]
	[[ $output =~ passed\ over:\ folder/004.* ]]
	[[ $output =~ passed\ over:\ folder/005.* ]]
	[[ ${lines[-1]} =~ passed\ over:\ [1-9][0-9]*\ samples ]]
	refuses 2 'folder/nothing: cannot read' moe-train -o none "${short[@]}" folder/nothing
	mkdir bad
	printf 'no' >bad/a.png
	echo x >bad/a.txt
	run moe-train -q -o bad-run "${short[@]}" bad
	[ "$status" = 2 ]
	[[ $output == *'good'* ]]
}

@test "standard input is read again and checked" {
	shard train.tar 0 60
	shard other.tar 1 61
	local options=(--new tiny.json --tokens 2500 --batch 4 --checkpoint-every 300 -)
	train whole "${options[@]}" <train.tar
	killed 0.15 cut "${options[@]}" <train.tar || true
	if [ -e cut/checkpoint.safetensors ] && [ ! -e cut/model ]; then
		refuses 2 'other bytes: these are not the shards that were read before' moe-train -q -o cut "${options[@]}" <other.tar
	fi
	train cut "${options[@]}" <train.tar
	same_run whole cut
	run moe-train -o all --new tiny.json --tokens 1e6 --batch 8 - <train.tar
	[ "$status" = 0 ]
	[[ $output == *'the data of stage 1 have ended after'* ]]
	[[ $output == *', 60 samples;'* ]]
	refuses 2 'stage 1: there is no sample in its data' moe-train -q -o none "${options[@]}" </dev/null
	[ ! -e none/model ]
}

@test "a disk that is full leaves the last checkpoint" {
	shard train.tar 0 40
	local options=(--new tiny.json --tokens 6000 --batch 4 --checkpoint-every 1000 train.tar) status=0
	train whole "${options[@]}"
	moe-train -q -o cut "${options[@]}" &
	until [ -e cut/checkpoint.safetensors ]; do sleep 0.01; done
	kill -KILL $!
	wait $! || true
	[ ! -e cut/model ] || skip 'it was faster'
	cp cut/checkpoint.safetensors before
	( ulimit -f 64; moe-train -o cut "${options[@]}" 2>err ) || status=$?
	[ $status = 2 ]
	grep -qE '^moe-train: no checkpoint after step [0-9]+: .*the one before stays' err || [ "$(wc -l <err)" -le 2 ]
	cmp before cut/checkpoint.safetensors
	train cut "${options[@]}"
	same_run whole cut
}

@test "one batch is learnt by heart" {
	shard four.tar 0 4
	train run --new tiny.json --tokens 60000 --batch 4 --seed 2 --dev four.tar --patch-loss 0.2 four.tar
	jq -es 'map(select(.dev)) | .[-1] | .exact == 4 and .text < 0.05' run/log.jsonl
	[ "$(moe-run -m run/model "$crops/003.png")" = "$(sed -n 4p "$golden/crops.tsv" | cut -f2)" ]
}

@test "a run goes on with its own recipe and model only" {
	shard train.tar 0 20
	train run "${short[@]}" train.tar
	refuses 2 'stages\[0\]\.lr\.muon is 0\.01 in the recipe that it was begun with, and 0\.02 now' moe-train -o run "${short[@]}" --lr-muon 0.02 train.tar
	refuses 2 'run was begun with another model or seed' moe-train -o run "${short[@]}" --seed 5 train.tar
	cp -r run cut
	truncate -s -9 cut/checkpoint.safetensors
	refuses 2 'checkpoint.safetensors' moe-train -o cut
	rm cut/checkpoint.safetensors run/model/model.safetensors
	refuses 2 'expected "muon" or "adamw"' moe-train -o x --new tiny.json --tokens 5 --optimiser sgd train.tar
	refuses 2 'decay: is longer than the stage' moe-train -o x --new tiny.json --tokens 5 --decay 6 train.tar
	refuses 2 'tokens: is missing' moe-train -o x --new tiny.json train.tar
	refuses 2 'means no tensor of this model' moe-train -o x --new tiny.json --tokens 5 --freeze experts@7 train.tar
	refuses 2 'no choice bias' moe-train -o y --new tiny.json --tokens 5 --bias-rate 0.01 train.tar
	refuses 2 'usage: moe-train' moe-train train.tar
}

@test "a model is trained further" {
	shard train.tar 0 20
	train run -m "$first" --tokens 600 --batch 2 --lr-muon 1e-4 --lr-adamw 1e-5 --type int8 train.tar
	[ "$(moe-run -m run/model "$word")" = Forest ]
	refuses 2 'olmoe' moe-train -o other -m "$olmoe/model" --tokens 600 train.tar
}

@test "a branch cools down from a checkpoint that was kept" {
	shard train.tar 0 40
	train run --new tiny.json --tokens 8000 --batch 4 --decay 0 --keep 3000 train.tar
	kept=$(basename run/step-*.safetensors .safetensors)
	step=$((10#${kept#step-}))
	refuses 2 'there is no checkpoint of step 1 in run' moe-train -o run --branch 1 --decay-tokens 2000
	refuses 2 'needs --decay-tokens' moe-train -o run --branch $step
	train run --branch $step --decay-tokens 2000
	[ -s "run/branch-$step-2000/model/config.json" ]
	head -n $step run/log.jsonl | cmp - <(head -n $step "run/branch-$step-2000/log.jsonl")
	jq -es --argjson n $step '.[$n - 1].lr_muon == 0.02 and .[-1].lr_muon < 0.002 and .[-1].tokens < 5600' "run/branch-$step-2000/log.jsonl"
	run moe-train -o run --branch $step --decay-tokens 2000
	[ "$status" = 0 ]
	[[ $output == *'has finished'* ]]
}

@test "numbers that are not finite: steps are skipped, then it ends, without a checkpoint" {
	shard train.tar 0 20
	train seed --new tiny.json --tokens 300 --batch 4 --type f32 train.tar
	numpy - <<-'PY'
		import json, struct
		path = "seed/model/model.safetensors"
		data = bytearray(open(path, "rb").read())
		n = struct.unpack("<Q", data[:8])[0]
		at = 8 + n + json.loads(data[8:8 + n])["model.norm.weight"]["data_offsets"][0]
		struct.pack_into("<f", data, at, float("nan"))
		open(path, "wb").write(data)
	PY
	run moe-train -o run -m seed/model --tokens 90000 --batch 4 --checkpoint-every 100000 train.tar
	[ "$status" = 2 ]
	[[ ${lines[1]} == 'moe-train: step 1 is skipped: its loss or gradient is not finite' ]]
	[[ $output == *'not finite in 20 steps in a row'* ]]
	[ ! -e run/checkpoint.safetensors ]
	jq -es 'all(.[]; .skipped)' run/log.jsonl
}

@test "gradients are those of the loss" {
	shard train.tar 0 8
	run moe-train -q --check-gradients -o run --new tiny.json --tokens 1000 train.tar
	[ "$status" = 0 ]
	[ "$output" = '0 of 46 gradients are wrong' ]
}

@test "layers without experts: gradients, a run, and the model through its stages" {
	shard train.tar 0 24
	jq '. + {dense_layers: [0], dense_width: 40}' tiny.json >mixed.json
	jq 'del(.experts, .expert_width) + {dense_layers: "all", dense_width: 48}' tiny.json >dense.json
	for kind in mixed:36 dense:26; do
		run moe-train -q --check-gradients -o "${kind%:*}" --new "${kind%:*}.json" --tokens 1000 train.tar
		[ "$status" = 0 ]
		[ "$output" = "0 of ${kind#*:} gradients are wrong" ]
		train "run-${kind%:*}" --new "${kind%:*}.json" --tokens 3000 --batch 4 train.tar
		jq -es 'all(.[]; .loss >= 0)' "run-${kind%:*}/log.jsonl"
	done
	moe-info run-mixed/model | grep -q '^experts .* 4 of width 24, 2 per token; 1 layer without, of width 40$'
	moe-info run-dense/model | grep -q '^experts .* none: every layer has one unit of width 48$'
	export MOE_MODEL=run-mixed/model
	moe-tokenize | moe-patchify "$crops/$(head -1 crops.tsv | cut -f1)" | moe-encode | moe-embed >embedded.sts
	moe-block -l 0- <embedded.sts >block.sts
	moe-attend -l 0 <embedded.sts | moe-route -l 0 | moe-expert -l 0 | moe-block -l 1 >stages.sts
	moe-diff block.sts stages.sts
}

@test "progress on a terminal" {
	shard train.tar 0 40
	on_terminal "moe-train -o run --new tiny.json --tokens 250000 --batch 4 train.tar" >shown
	grep -qE 'M tokens, loss [0-9.]+ \(patches [0-9.]+\), [0-9]+ tokens/s, busiest expert [0-9]+ %, [0-9:]+ left' shown
}

# routed NAME SETTINGS: a description of the tiny model with these settings of its routers.
routed() { echo "${tiny%\}}, $2}" >"$1.json"; }

# Each method of routing: its gradients are right, and a run that is killed comes to the same bytes on another number of threads.
method() {
	local name=$1
	routed "$name" "$2"
	shift 2
	moe-train -q -o "$name.check" --check-gradients --new "$name.json" --tokens 3000 --batch 4 "$@" train.tar >"$name.gradients"
	[[ $(tail -n 1 "$name.gradients") =~ ^0\ of\ [0-9]+\ gradients\ are\ wrong$ ]]
	train "$name.whole" --new "$name.json" --tokens 5000 --batch 4 --lr-muon 0.01 -t 1 "$@" train.tar
	killed 0.3 "$name.cut" --new "$name.json" --tokens 5000 --batch 4 --lr-muon 0.01 -t 2 --checkpoint-every 600 "$@" train.tar || [ $? = 137 ]
	train "$name.cut" --new "$name.json" --tokens 5000 --batch 4 --lr-muon 0.01 -t 2 --checkpoint-every 600 "$@" train.tar
	cmp "$name.whole/log.jsonl" "$name.cut/log.jsonl"
	diff -r "$name.whole/model" "$name.cut/model"
}

@test "methods of routing: tokens that choose, by every score, in groups, in pools" {
	shard train.tar 0 40
	method top1 '"top_k": 1'
	method sigmoid '"router_score": "sigmoid", "choice_bias": true, "routed_scaling_factor": 2.5' --bias-rate 0.01
	jq -s 'map(.balance) | all(. > 0)' sigmoid.whole/log.jsonl | grep -qx true
	method modality '"choice_bias": "modality"' --bias-rate 0.01
	method groups '"n_group": 2, "topk_group": 1, "group_score": "top2"' --balance-groups 2
	method pools '"expert_pools": [[0, 1, 3], [2]]'
}

@test "methods of routing: experts that choose, noise, depth, a norm behind the experts" {
	shard train.tar 0 40
	method expert '"router_choice": "expert", "route_batch": 2'
	jq -s 'all(.balance == 0 and .unserved >= 0 and .unserved < 0.5)' expert.whole/log.jsonl | grep -qx true
	method noise '"router_choice": "expert", "router_score": "sigmoid", "expert_capacity": 1' --router-noise 1
	jq -s 'all(.unserved > 0.05 and .unserved < 0.6)' noise.whole/log.jsonl | grep -qx true      # (1 - 1/4)^4 = 0.32 when each takes a quarter at random
	method moma '"router_choice": "expert", "router_score": "sigmoid", "expert_capacity": 1, "expert_pools": [[0, 2], [1, 3]], "moe_norm": "post",
		"depth_layers": [0], "depth_capacity": 0.5'
	method depth '"depth_layers": [0, 1], "dense_layers": [1]'
	run ! cmp noise.whole/model/model.safetensors expert.whole/model/model.safetensors
}

@test "auxiliary routers: they alone learn, say what they foretell, and have thresholds; the same bytes when it is cut" {
	shard train.tar 0 40
	shard dev.tar 40 60
	routed moma '"router_choice": "expert", "router_score": "sigmoid", "expert_capacity": 1, "expert_pools": [[0, 2], [1, 3]], "depth_layers": [0], "depth_capacity": 0.5'
	train main --new moma.json --tokens 4000 --batch 4 --type f32 train.tar
	local aux=(-m main/model --aux --tokens 4000 --batch 4 --type f32 --dev dev.tar --dev-samples 8 --flips --calibrate dev.tar --checkpoint-every 600 train.tar)
	run moe-train -o whole "${aux[@]}"
	[ "$status" = 0 ]
	jq -s 'map(select(.aux)) | first.aux > last.aux and all(.right > 0 and .taken > 0)' whole/log.jsonl | grep -qx true
	jq -r 'select(.dev) | .choice' whole/log.jsonl | sort -u >choices
	[ "$(cat choices)" = $'batch:8\ncausal:aux\ncausal:threshold' ]
	jq -s 'map(select(.flips)) | map(.flips) == [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05] and (map(.text) | unique | length > 2)' whole/log.jsonl | grep -qx true
	killed 0.3 cut "${aux[@]}" || [ $? = 137 ]
	train cut "${aux[@]}" -t 2
	diff -r whole/model cut/model
	# The model itself is as it was, number by number.
	numpy - <<-'PY'
		import json
		def read(path):
		    b = open(path, "rb").read()
		    n = int.from_bytes(b[:8], "little")
		    h = json.loads(b[8:8 + n])
		    return {k: b[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]] for k, v in h.items() if k != "__metadata__"}
		was, now = read("main/model/model.safetensors"), read("whole/model/model.safetensors")
		assert all(now[k] == was[k] for k in was)
		new = set(now) - set(was)
		assert len(new) == 2 * 2 * 2 + 2 + 2 + 1 and all("aux" in k or "threshold" in k for k in new), sorted(new)
		assert any(any(now[k]) for k in new if k.endswith("aux_threshold"))
	PY
	# A recipe may do both, one stage after the other.
	routed both '"router_choice": "expert", "aux_routers": true'
	jq -n '{model: $model[0], stages: [{tokens: 2000, batch: 4, sources: [{data: "train.tar"}]}, {tokens: 1000, batch: 4, train: "aux", sources: [{data: "train.tar"}]}]}' \
		--slurpfile model both.json >both.recipe
	train both -r both.recipe
	jq -s 'map(has("aux")) | first == false and last == true' both/log.jsonl | grep -qx true
	# What moe-graft upcycle --gumbel noted is brought to mind.
	cp -r main/model grown
	jq '.moe_provenance = [{operation: "upcycle", training: {schedule: "fresh", router_noise: 1}}]' main/model/config.json >grown/config.json
	moe-train -m grown -o without --tokens 400 --batch 4 train.tar 2>said
	grep -q 'noise on its routers.*--router-noise 1' said
	moe-train -m grown -o with --tokens 400 --batch 4 --router-noise 1 train.tar 2>said
	same "$(grep -c 'noise on' said)" 0
}

@test "auxiliary routers, noise, groups and calibration are refused where they make no sense" {
	shard train.tar 0 4
	train plain --new tiny.json --tokens 500 --batch 4 train.tar
	refuses 2 'needs no auxiliary routers' moe-train -o a -m plain/model --aux --tokens 5 train.tar
	refuses 2 'router_noise is for a router whose scores are by sigmoid' moe-train -o b --new tiny.json --router-noise 1 --tokens 5 train.tar
	refuses 2 'no multiple of 3' moe-train -o c --new tiny.json --balance-groups 3 --tokens 5 train.tar
	refuses 2 'dev.flips: nothing in this model is chosen over groups' moe-train -o g --new tiny.json --flips --tokens 5 train.tar
	refuses 2 'no thresholds' moe-train -o d --new tiny.json --calibrate train.tar --tokens 5 train.tar
	routed wrong '"expert_pools": [[0, 1], [1, 2, 3]]'
	refuses 2 'each must be in one pool' moe-train -o e --new wrong.json --tokens 5 train.tar
	routed wrong '"router_choice": "expert", "renormalise": true'
	refuses 2 'goes without renormalise' moe-train -o f --new wrong.json --tokens 5 train.tar
}
