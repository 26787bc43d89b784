#!/bin/sh
# score.sh [-n N] [-c N] [-k KINDS] [-f FONTS] [-l N] BIN MODEL OUT: scores a model once, after its training, with the programs in BIN; writes OUT/scores.json
# (JSON lines: all figures) and OUT/scores.md (their tables).
# The splits test and unseen are drawn with a seed that nobody could know before the training had ended: the first eight hexadecimal digits of the
# model's fingerprint, as a number. What is drawn and computed lies in $XDG_CACHE_HOME/moe/score, and is not done again; whoever changes the programs
# removes it.
#   -n N      samples of each split and kind (2000 of read, 400 of scene, 1800 of panel: more than 2,000 questions each)
#   -c N      pictures of each of ImageMagick, a terminal and a browser, with tesseract beside (1000); 0: none, and none of these programs is installed
#   -k KINDS  what the model was trained for ("read scene panel")
#   -f FONTS  fonts of moe-synth (all)
#   -l N      patches are read after N layers, as the model was trained to tell them (all)
set -eu
number='' crops=1000 kinds='read scene panel' fonts=all layer=''
usage() { echo "$0: usage: ${0##*/} [-n N] [-c N] [-k KINDS] [-f FONTS] [-l N] BIN MODEL OUT" >&2; exit 2; }
while getopts :n:c:k:f:l: option; do
	case $option in
	n) number=$OPTARG ;;
	c) crops=$OPTARG ;;
	k) kinds=$OPTARG ;;
	f) fonts=$OPTARG ;;
	l) layer=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 3 ] || usage
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$1" && pwd)
model=$(cd "$2" && pwd)
mkdir -p "$3"
out=$(cd "$3" && pwd)
export PATH="$bin:$PATH"

fingerprint=$(moe-info --json -m "$model" | sed -n 's/.*"fingerprint":"\([0-9a-f]*\)".*/\1/p')
[ -n "$fingerprint" ] || { echo "$0: $model: no fingerprint" >&2; exit 2; }
digits=$(printf %.8s "$fingerprint")
seed=$((0x$digits))
# What is computed depends on these, and on numbers of samples through the names of the files.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moe/score/$fingerprint-$fonts${layer:+-layer$layer}
mkdir -p "$cache"
# shellcheck disable=SC2046
[ "$fonts" != all ] || "$here/../deps.sh" missing $(grep -v '^#' "$here/../synth/fonts.tsv" | cut -f 1 | sort -u)
cd "$cache"
list=

# samples KIND: how many are drawn.
samples() {
	if [ -n "$number" ]; then echo "$number"; return; fi
	case $1 in read) echo 2000 ;; scene) echo 400 ;; *) echo 1800 ;; esac
}

# draw SPLIT KIND N: the samples that the evaluations below ask.
draw() {
	[ -f "$1-$2-$3.tar" ] || moe-synth -q --fonts "$fonts" --split "$1" --tasks "$2" --seed "$seed" -n "$3" -o "$1-$2-$3.tar"
}

# evaluate NAME MODEL SHARD STEM [OPTION...]: answers and scores, STEM.answers and STEM.json; the latter appears when all is done. NAME goes into the report.
evaluate() {
	name=$1 of=$2 shard=$3 stem=$4
	shift 4
	if [ ! -f "$stem.json" ]; then
		status=0
		moe-eval -q --json -m "$of" --answers "$stem.answers" -o "$stem.part" "$@" "$shard" || status=$?
		# 1: some samples could not be asked; the report counts them.
		[ $status -le 1 ] || { echo "$0: $name: not scored (a model that was not trained for all kinds needs -k)" >&2; exit 2; }
		mv "$stem.part" "$stem.json"
	fi
	list="$list $name=$stem"
}

for kind in $kinds; do
	n=$(samples "$kind")
	for split in test unseen; do
		draw $split "$kind" "$n"
		evaluate "$split-$kind" "$model" "$split-$kind-$n.tar" "$split-$kind-$n" ${layer:+--patch-layer "$layer"}
	done
done
# How hard the data is: the first model's answers to the same questions.
n=$(samples read)
case " $kinds " in *' read '*) evaluate first-model "$here/read" "test-read-$n.tar" "first-model-$n" ;; esac

# against STEM FOLDER: what tesseract reads there.
against() {
	[ -f "$1.tesseract" ] && return
	"$here/tesseract.sh" "$2" >"$1.part"
	mv "$1.part" "$1.tesseract"
}

known=$here/../../tests/golden/crops
if [ -d "$known" ]; then
	evaluate crops "$model" "$known.tsv" crops
	[ "$crops" = 0 ] || against crops "$known"
fi
if [ "$crops" != 0 ]; then
	for kind in magick terminal browser; do
		[ -f "$kind-$crops.tsv" ] || "$here/crops.sh" $kind "$crops" "$seed" "$kind-$crops"
		evaluate $kind "$model" "$kind-$crops.tsv" "$kind-$crops"
		against "$kind-$crops" "$kind-$crops"
	done
fi

# shellcheck disable=SC2086
PYTHONDONTWRITEBYTECODE=1 python3 "$here/scores.py" "$fingerprint" "$seed" "$fonts" "$out" $list
