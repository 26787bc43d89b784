#!/bin/bash
# run.sh BIN [-s SIZE] STAGE [ARGUMENT...]: the experiments of PLAN.tsv, stage by stage. Every stage leaves what it made in $XDG_CACHE_HOME/moe/experiments (else
# ~/.cache/moe/experiments), is done once, and goes on where it was stopped. SIZE (default 1) multiplies the tokens of training: 0.01 tries everything out, 4 takes
# four times as long.
#
#     run.sh BIN data                           pictures, and the quantiser that makes tokens of them
#     run.sh BIN jobs core | xargs -L1 run.sh BIN train         every arm with every seed; -P2 for two at a time; the others are "explore" and "law"
#     run.sh BIN speed [ARM...]                 how fast arms are trained, and in how much memory: a few seconds each, in turn, five times; on a quiet machine
#     run.sh BIN recipe ARM SEED                the recipe of one of them
#     run.sh BIN results [FOLDER]               of all that is done: tables in FOLDER ("results" here), and what report.sh makes of them
set -euo pipefail
shopt -s inherit_errexit
from=$PWD
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${1:?the folder of the programs}" && pwd)
shift
size=1
if [ "${1:-}" = -s ]; then
	size=${2:?a number}
	shift 2
fi
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moe/experiments
[ "$size" = 1 ] || cache=$cache-$size
mkdir -p "$cache"
cd "$cache"
export PATH=$bin:$PATH

say() { echo "run.sh: $*" >&2; }
scaled() { awk -v n="$1" -v s="$size" 'BEGIN { n *= s; printf "%d", n < 2000 ? 2000 : n }'; }

# Tokens of training of a run, and seeds, by set.
tokens() { case $1 in core) scaled 7e6 ;; law) scaled 12.8e6 ;; *) scaled 5e6 ;; esac; }
seeds() { case $1 in core) seq 5 ;; law) echo 1 ;; *) seq 3 ;; esac; }

# Runs of the law go on at a constant rate, and cool down from four places, each for a quarter of what it took to come there.
places() { for n in 0.8e6 2e6 5.04e6 12.8e6; do echo "$(scaled "$n")"; done | jq -s -c unique; }

# arm NAME FILTER [OPTION]: of arms.json, with what it is like.
arm() {
	jq "${@:3}" --arg arm "$1" 'def arm($n): (.arms[$n] // error("no such arm: " + $n)) as $a | (if $a.like then arm($a.like) else {} end) * $a; arm($arm)'" | $2" "$here/arms.json"
}

# ---- data ----

draw() {
	[ -e "data/$1.tar" ] && return
	say "drawing $1"
	mkdir -p data
	moe-synth -q --tasks scene "${@:2}" -o "data/$1.tmp"
	mv "data/$1.tmp" "data/$1.tar"
}

data() {
	# shellcheck disable=SC2046
	"$here/../deps.sh" missing $(grep -v '^#' "$here/../synth/fonts.tsv" | cut -f1 | sort -u)
	draw train -n "$(scaled 60000)"
	draw dev --split dev -n 1000
	draw held --split dev --seed 3 -n 4000
	draw calib --split calib -n 500
	draw more --seed 2 -n "$(scaled 60000)"
	[ -e words.txt ] || moe-synth --words >words.txt
	[ -e quantiser/done ] && return
	say "training the quantiser"
	jq --argjson tokens "$(scaled 12e6)" '.stages[0] += {tokens: $tokens, batch: 32, lr: {adamw: 0.002}, sources: [{data: "data/train.tar"}]} | .dev += {data: "data/dev.tar", every: ($tokens / 8 | floor)}' \
		"$here/../recipes/quantiser.json" >quantiser.json
	moe-train -r quantiser.json -o quantiser --type f32
	touch quantiser/done
}

# ---- runs ----

jobs() {
	local set=${1:-core} name seed
	for name in $(jq -r --arg set "$set" '.arms | to_entries[] | select(.value.set == $set).key' "$here/arms.json"); do
		for seed in $(seeds "$set"); do echo "$name $seed"; done
	done | sort -s -n -k2
}

# recipe ARM SEED [TOKENS [MODEL]]: the recipe of a run of so many tokens (those of the arm's set), of a new model or from another one on.
recipe() {
	local name=$1 seed=$2 tokens set
	arm "$name" . >/dev/null || exit 2
	set=$(arm "$name" .set -r)
	tokens=${3:-$(tokens "$set")}
	jq -n --slurpfile all "$here/arms.json" --argjson arm "$(arm "$name" .)" --argjson seed "$seed" --argjson tokens "$tokens" --arg from "${4:-}" \
		--argjson keep "$([ "$set" = law ] && places || echo '[]')" '
		($all[0].base * {model: ($arm.model // {}), stage: ($arm.stage // {})}) as $b
		| {model: (if $from == "" then $b.model | with_entries(select(.value != null)) else $from end), seed: $seed, checkpoint: {every: ($tokens / 4 | floor), keep: $keep},
		   dev: {data: "data/dev.tar", every: ($tokens / 20 | floor), samples: 400},
		   stages: [$b.stage * {tokens: $tokens, sources: [{data: (["data/train.tar"] + if $keep == [] then [] else ["data/more.tar"] end)}]}
				+ if $keep == [] then {} else {decay: 0} end]}'
}

# fit FOLDER ARM SEED TOKENS MODEL [OPTION...]: trains in FOLDER/run. The model is a new one when its name is empty.
fit() {
	mkdir -p "$1"
	recipe "${@:2:4}" >"$1/recipe.json"
	moe-train -q -r "$1/recipe.json" -o "$1/run" --timings --type f32 "${@:6}"
}

share_of() { awk -v n="$1" -v s="$2" 'BEGIN { printf "%d", n * s }'; }

# What comes before an arm's own training: other arms, each for its share of the tokens, and what moe-graft makes of them. Prints the model, or nothing.
prepare() {
	local name=$1 seed=$2 run=$3 all=$4 i=0 source share models=()
	[ "$(arm "$name" 'has("from")')" = true ] || return 0
	while IFS=$'\t' read -r source share; do
		fit "$run/from-$i" "$source" "$((seed + 100 * (i + 1)))" "$(share_of "$all" "$share")" '' >&2
		models+=(-m "$run/from-$i/run/model")
		i=$((i + 1))
	done < <(arm "$name" '.from[] | [.arm, .share] | @tsv' -r)
	mapfile -t graft < <(arm "$name" '.graft[]' -r)
	[ -e "$run/grown/config.json" ] || moe-graft -q "${graft[@]}" --seed "$seed" "${models[@]}" -o "$run/grown" >&2
	echo "$run/grown"
}

branches() {
	local step tokens
	for step in "$1"/step-*.safetensors; do
		step=${step##*step-} step=$((10#${step%.safetensors}))
		tokens=$(jq "select(.step == $step and .loss).tokens" "$1/log.jsonl")
		moe-train -q -o "$1" --branch "$step" --decay-tokens "$(share_of "$tokens" 0.25)" --timings --type f32
	done
}

# evaluate RUN SET: the losses of a run, with its own pictures and with those of others. Shorter runs gain less by captions, and are given more pictures.
evaluate() {
	local data=data/held.tar
	[ "$2" != core ] || data=data/dev.tar
	moe-eval -q -m "$1/model" --loss --draw "$(jq '.stages[0].draw' "$1/recipe.json")" --json -o "$1/loss.json" "$data"
}

train() {
	local name=$1 seed=$2 run=runs/$1-$2 all left model options=() teacher
	[ -e "$run/done" ] && return
	arm "$name" . >/dev/null || exit 2
	all=$(tokens "$(arm "$name" .set -r)")
	left=$(share_of "$all" "$(arm "$name" '1 - ([.from[]?.share] | add // 0)')")
	teacher=$(arm "$name" '.teacher // ""' -r)
	if [ -n "$teacher" ]; then
		train "$teacher" "$seed"
		options=(--teacher "runs/$teacher-$seed/run/model")
	fi
	mkdir -p "$run"
	model=$(prepare "$name" "$seed" "$run" "$all")
	fit "$run" "$name" "$seed" "$left" "$model" "${options[@]}"
	if [ "$(arm "$name" .set -r)" = law ]; then
		branches "$run/run"
		touch "$run/done"
		return
	fi
	if [ "$(arm "$name" '.aux // false')" = true ]; then
		moe-train -q -m "$run/run/model" -o "$run/aux" --aux --seed "$seed" --tokens "$(scaled 5e5)" --batch 8 --draw 0.5 --calibrate data/calib.tar --timings --type f32 \
			--dev data/dev.tar --dev-every 1e12 --flips data/train.tar
		ln -sfn aux/model "$run/model"
	else
		ln -sfn run/model "$run/model"
	fi
	evaluate "$run" "$(arm "$name" .set -r)"
	touch "$run/done"
	say "$name $seed: $(jq -r 'select(.what == "loss") | "\(.choice) \(.kind) \(.own)"' "$run/loss.json" | tr '\n' ';')"
}

# ---- speed ----

# Lines of arm, round, FLOPs of a token, tokens a second, and memory: medians of the steps, but for the first. Arms take turns, so that a machine that others use is as
# slow for all.
speed() {
	local name round arms=("$@")
	[ $# -gt 0 ] || mapfile -t arms < <({ jobs core | cut -d ' ' -f 1 | grep -v -e '-text'; printf 'early\nlate\n'; } | awk '!seen[$0]++')
	mkdir -p speed
	for round in 1 2 3 4 5; do
		for name in "${arms[@]}"; do
			rm -rf "speed/$name"
			recipe "$name" 1 "$(scaled 150000)" | jq 'del(.dev)' >"speed/$name.json"
			moe-train -q -t 1 -r "speed/$name.json" -o "speed/$name" --timings
			jq -s -r --arg name "$name" --arg round "$round" --argjson f "$(moe-info --json "speed/$name/model" | jq .flops.training)" '
				def median: sort | .[length / 2 | floor];
				map(select(.tokens_per_s))[1:] | [$name, $round, $f, (map(.tokens_per_s) | median), (map(.memory) | median)] | @tsv' "speed/$name/log.jsonl"
		done
	done | merge speeds.tsv $'arm\tseed\tflops\tspeed\tmemory'
	column -t -s $'\t' speeds.tsv
}

# ---- results ----

# What the trainings of a run took, one line each: tokens, FLOPs, seconds. Auxiliary routers cost their own training and a forward pass of the rest, a teacher its
# forward pass for all tokens, but not what made it.
costs() {
	local part name seed teacher
	name=${1#runs/} seed=${name##*-} name=${name%-*}
	teacher=$(arm "$name" '.teacher // ""' -r)
	[ -z "$teacher" ] || moe-info --json "runs/$teacher-$seed/run/model" | jq -r --argjson tokens "$(jq -s 'map(select(.loss)) | last.tokens' "$1/run/log.jsonl")" '[0, $tokens * .flops.forward, 0] | @tsv'
	for part in "$1"/from-*/run "$1/run" "$1/aux"; do
		[ -e "$part/log.jsonl" ] || continue
		jq -s -r --argjson f "$(moe-info --json "$part/model" | jq .flops)" --arg aux "$(basename "$part")" '
			map(select(.loss)) | reduce .[] as $s ([0, 0]; [$s.tokens, .[1] + ($s.tokens - .[0]) / $s.tokens_per_s])
			| if $aux == "aux" then [0, .[0] * ($f.forward + 3 * $f.auxiliary_routers), .[1]] else [.[0], .[0] * $f.training, .[1]] end | @tsv' "$part/log.jsonl"
	done
}

# How much more modality says of the expert than chance, by layer, on held-out pictures and what the model says of them: [layer 0, layer 1, ...].
specialisation() {
	mkdir -p data/pictures
	[ -n "$(ls data/pictures)" ] || tar -xf data/dev.tar -C data/pictures --wildcards '*.png'
	find data/pictures -name '*.png' | sort | sed -n 1,200p |
		moe-run -q -m "$1" --batch 16 -p '<image><describe>' -n 24 --trace - -o /dev/null --files-from - | moe-stats --json | jq -s -c 'map(.all.specialisation // .specialisation)'
}

# A line of runs.tsv. Losses are those that the model can reach when it generates: where experts or layers choose, by auxiliary routers and matched rates.
line() {
	local run=$1 name seed
	name=${run#runs/} seed=${name##*-} name=${name%-*}
	jq -r -n --slurpfile loss "$run/loss.json" --slurpfile recipe "$run/recipe.json" --slurpfile aux <(cat "$run/aux/log.jsonl" 2>/dev/null) --arg name "$name" --argjson seed "$seed" \
		--argjson n "$(moe-info --json "$run/run/model" | jq .active_parameters)" --argjson special "$([ "$name" = 8-token-deep ] && specialisation "$run/model" || echo '[]')" \
		--argjson cost "$(costs "$run" | awk '{ d += $1; f += $2; s += $3 } END { printf "[%.17g, %.17g, %.17g]", d, f, s }')" --argjson columns "$(columns)" '
		($loss | map(select(.what == "loss" and (.kind != "image" or $recipe[0].stages[0].losses.image > 0))) | group_by(.choice) | map({(.[0].choice): (map({(.kind): .}) | add)}) | add) as $l
		| ($l["token"] // $l["causal:threshold"]) as $own | ($l | to_entries | map(select(.key | startswith("batch"))) | .[0].value // $own) as $batch
		| ($aux | map(select(.dev and .flips))) as $flips | ($aux | map(select(.dev and (.flips | not) and (.choice | startswith("batch")))) | last) as $still
		| ($aux | map(select(.right)) | last) as $last
		| ({arm: $name, seed: $seed, N: $n, D: $cost[0], flops: $cost[1], seconds: $cost[2],
		    text: $own.text.own, image: $own.image.own, text_other: $own.text.other, image_other: $own.image.other, text_error: $own.text.error, image_error: $own.image.error,
		    text_batch: $batch.text.own, image_batch: $batch.image.own, text_half: $l["causal:aux"].text.own, image_half: $l["causal:aux"].image.own,
		    right: $last.right, foretold: $last.foretold, taken: $last.taken}
		   + ($flips | map({("rise_\(.flips * 100)"): (.text + (.image // 0) - $still.text - ($still.image // 0))}) | add // {})
		   + ($special | to_entries | map({("special_\(.key)"): .value}) | add // {})) as $r
		| $columns | map($r[.] // "" | if type == "number" and . != floor then . * 1e6 | round / 1e6 else . end) | @tsv'
}

columns() {
	echo '["arm", "seed", "N", "D", "flops", "seconds", "text", "image", "text_other", "image_other", "text_error", "image_error", "text_batch", "image_batch",
		"text_half", "image_half", "right", "foretold", "taken", "rise_0.1", "rise_0.25", "rise_0.5", "rise_1", "rise_2", "rise_5"]' | jq -c '. + [range(8) | "special_\(.)"]'
}

# The evaluations of a run while it was trained: lines of curves.tsv.
curve() {
	local run=$1 name seed images
	name=${run#runs/} seed=${name##*-} name=${name%-*}
	images=$(jq '.stages[0].losses.image > 0' "$run/recipe.json")
	jq -r --arg name "$name" --arg seed "$seed" --argjson images "$images" --argjson info "$(moe-info --json "$run/run/model")" '
		select(.dev) | [$name, $seed, (.choice // "token"), $info.active_parameters, .tokens, .tokens * $info.flops.training, .text, if $images then .image // "" else "" end] | @tsv' "$run/run/log.jsonl"
}

# merge FILE HEADER: FILE with the lines of standard input in place of those with the same first two fields.
merge() {
	touch "$1"
	{
		printf '%s\n' "$2"
		{
			sed 's/^/new\t/'
			sed '1d; s/^/old\t/' "$1"
		} | awk -F'\t' '$1 == "new" { here[$2 FS $3] } $1 == "new" || !(($2 FS $3) in here)' | cut -f 2- | sort -s -t $'\t' -k1,1 -k2,2n
	} >"$1.new"
	mv "$1.new" "$1"
}

results() {
	local folder=${1:-results} run
	mkdir -p "$folder"
	rm -f lines.new curves.new
	for run in runs/*/done; do
		run=${run%/done}
		[ -e "$run/loss.json" ] || continue
		line "$run" >>lines.new
		curve "$run" >>curves.new
	done
	merge "$folder/runs.tsv" "$(columns | jq -r @tsv)" <lines.new
	merge "$folder/curves.tsv" $'arm\tseed\tchoice\tN\tD\tflops\ttext\timage' <curves.new
	rm -f lines.new curves.new
	[ ! -e speeds.tsv ] || tail -n +2 speeds.tsv | merge "$folder/speeds.tsv" "$(head -n 1 speeds.tsv)"
	if ls runs/law-*/done >/dev/null 2>&1; then
		for run in runs/law-*/done; do ls -d "${run%/done}"/run/branch-*; done | sed 's/^/law=/' | xargs moe-scale --evaluations last table | cut -f 2-7,9,10 >"$folder/law.tsv"
	fi
	"$here/report.sh" "$bin" "$folder"
}

case ${1:-} in
data) data ;;
jobs) jobs "${@:2}" ;;
recipe) recipe "${2:?an arm}" "${3:?a seed}" ;;
train) train "${2:?an arm}" "${3:?a seed}" ;;
speed) speed "${@:2}" ;;
results)
	[ -z "${2:-}" ] || results=$(cd "$from" && mkdir -p "$2" && cd "$2" && pwd)
	results "${results:-results}"
	;;
*)
	sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
