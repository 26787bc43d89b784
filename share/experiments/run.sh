#!/bin/bash
# run.sh BIN [-s SIZE] STAGE [ARGUMENT...]: the experiments of PLAN.tsv, stage by stage. Every stage leaves what it made in $XDG_CACHE_HOME/moe/experiments (else
# ~/.cache/moe/experiments), is done once, and goes on where it was stopped. SIZE (default 1) multiplies the tokens of training: 0.01 tries everything out, 4 takes
# four times as long.
#
#     run.sh BIN data                           pictures, and the quantiser that makes tokens of them
#     run.sh BIN jobs core | xargs -L1 run.sh BIN train         every arm with every seed; -P2 for two at a time; "explore" are the others
#     run.sh BIN recipe ARM SEED                the recipe of one of them
#     run.sh BIN results                        runs.tsv, tables and pictures of all that is done, in the folder "results"
set -euo pipefail
shopt -s inherit_errexit
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
tokens() { case $1 in core) scaled 7e6 ;; *) scaled 5e6 ;; esac; }
seeds() { case $1 in core) seq 5 ;; *) seq 3 ;; esac; }

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
	draw calib --split calib -n 500
	[ -e words.txt ] || moe-synth --words >words.txt
	[ -e quantiser/done ] && return
	say "training the quantiser"
	jq --argjson tokens "$(scaled 12e6)" '.stages[0] += {tokens: $tokens, sources: [{data: "data/train.tar"}]} | .dev += {data: "data/dev.tar", every: ($tokens / 8 | floor)}' \
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
	local name=$1 seed=$2 tokens
	arm "$name" . >/dev/null || exit 2
	tokens=${3:-$(tokens "$(arm "$name" .set -r)")}
	jq -n --slurpfile all "$here/arms.json" --argjson arm "$(arm "$name" .)" --argjson seed "$seed" --argjson tokens "$tokens" --arg from "${4:-}" '
		($all[0].base * {model: ($arm.model // {}), stage: ($arm.stage // {})}) as $b
		| {model: (if $from == "" then $b.model | with_entries(select(.value != null)) else $from end), seed: $seed, checkpoint: {every: ($tokens / 4 | floor)},
		   dev: {data: "data/dev.tar", every: ($tokens / 20 | floor), samples: 400},
		   stages: [$b.stage * {tokens: $tokens, sources: [{data: ["data/train.tar"]}]}]}'
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
	if [ "$(arm "$name" '.aux // false')" = true ]; then
		moe-train -q -m "$run/run/model" -o "$run/aux" --aux --seed "$seed" --tokens "$(scaled 5e5)" --batch 48 --draw 0.5 --calibrate data/calib.tar --timings --type f32 \
			--dev data/dev.tar --dev-every 1e12 --flips data/train.tar
		ln -sfn aux/model "$run/model"
	else
		ln -sfn run/model "$run/model"
	fi
	moe-eval -q -m "$run/model" --loss --draw "$(jq '.stages[0].draw' "$run/recipe.json")" --json -o "$run/loss.json" data/dev.tar
	touch "$run/done"
	say "$name $seed: $(jq -r 'select(.what == "loss") | "\(.choice) \(.kind) \(.own)"' "$run/loss.json" | tr '\n' ';')"
}

# ---- results ----

# What the trainings of a run took, one line each: tokens, FLOPs, seconds. Auxiliary routers cost their own training and a forward pass of the rest.
costs() {
	local part
	for part in "$1"/from-*/run "$1/run" "$1/aux"; do
		[ -e "$part/log.jsonl" ] || continue
		jq -s -r --argjson f "$(moe-info --json "$part/model" | jq .flops)" --arg aux "$(basename "$part")" '
			map(select(.loss)) | reduce .[] as $s ([0, 0]; [$s.tokens, .[1] + ($s.tokens - .[0]) / $s.tokens_per_s])
			| if $aux == "aux" then [0, .[0] * ($f.forward + 3 * $f.auxiliary_routers), .[1]] else [.[0], .[0] * $f.training, .[1]] end | @tsv' "$part/log.jsonl"
	done
}

# One line a run and choice: what it cost, and its losses with own and with others' pictures.
table() {
	local run name seed
	printf 'arm\tseed\tchoice\tN\tD\tflops\tseconds\ttext\timage\ttext_other\timage_other\ttext_error\timage_error\n'
	for run in runs/*/done; do
		run=${run%/done} name=${run#runs/} seed=${name##*-} name=${name%-*}
		jq -r -s --arg name "$name" --argjson seed "$seed" --argjson n "$(moe-info --json "$run/run/model" | jq .active_parameters)" \
			--argjson cost "$(costs "$run" | awk '{ d += $1; f += $2; s += $3 } END { printf "[%.17g, %.17g, %.17g]", d, f, s }')" '
			map(select(.what == "loss")) | group_by(.choice)[] | (map({(.kind): .}) | add) as $l
			| [$name, $seed, .[0].choice, $n] + $cost
				+ [$l.text.own, $l.image.own, $l.text.other, $l.image.other, $l.text.error, $l.image.error]
			| map(. // "") | @tsv' "$run/loss.json"
	done
}

# What the runs say of each prediction with a pair of arms: causal choices alone, and only where both arms know pictures and texts of each other.
verdicts() {
	local id arm baseline measure sign
	awk -F'\t' -v OFS='\t' 'NR == 1 || $3 == "token" || $3 == "causal:threshold"' results/runs.tsv >results/causal.tsv
	printf 'id\tarm\tbaseline\tmeasure\tpairs\tdifference\tlow\thigh\tflops\tpredicted\tverdict\n'
	tail -n +2 "$here/PLAN.tsv" | cut -f1,9-12 | while IFS=$'\t' read -r id arm baseline measure sign; do
		[ "$arm" = - ] && continue
		moe-scale compare --baseline "$baseline" --arms "$baseline,$arm" --loss "$measure" --json results/causal.tsv 2>/dev/null |
			jq -r --arg id "$id" --arg sign "$sign" --argjson blind "$(blind "$arm" "$baseline" "$measure")" '
				[$id, .arm, .baseline, .measure, .pairs, .difference, .low, .high, .flops_ratio, $sign,
				 (if $blind then "blind at this scale" elif .verdict == "not distinguishable" then .verdict
				  elif .verdict == $sign then "same sign at our scale" else "opposite sign" end)] | @tsv' || true
	done
}

# blind ARM BASELINE MEASURE: does either lose less than three standard errors by the pictures of others, on average over its seeds?
blind() {
	awk -F'\t' -v a="$1" -v b="$2" -v m="$3" '
		NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
		$1 == a || $1 == b { n[$1]++; own = $at[m]; z[$1] += ($at[m "_other"] - own) / ($at[m "_error"] > 0 ? $at[m "_error"] : 1e9) }
		END { print (!n[a] || !n[b] || z[a] / n[a] < 3 || z[b] / n[b] < 3) ? "true" : "false" }' results/causal.tsv
}

results() {
	mkdir -p results
	table >results/runs.tsv
	verdicts >results/verdicts.tsv
	moe-scale eta -q --baseline dense --arms dense,1t1i,8-token,8-expert,4t4i-token,4t4i-expert --loss text,image results/causal.tsv >results/eta.txt 2>&1 || true
	column -t -s $'\t' results/verdicts.tsv
	say "$(($(wc -l <results/runs.tsv) - 1)) lines in $cache/results/runs.tsv; verdicts.tsv and eta.txt beside it"
}

case ${1:-} in
data) data ;;
jobs) jobs "${@:2}" ;;
recipe) recipe "${2:?an arm}" "${3:?a seed}" ;;
train) train "${2:?an arm}" "${3:?a seed}" ;;
results) results ;;
*)
	sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
