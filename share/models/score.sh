#!/bin/sh
# score.sh [-n N] [-c N] [-k KINDS] [-f FONTS] BIN MODEL OUT: scores a model once, after its training, with the programs in BIN; writes OUT/scores.json
# (JSON lines: all figures) and OUT/scores.md (their tables).
# The splits test and unseen are drawn with a seed that nobody could know before the training had ended: the first eight hexadecimal digits of the
# model's fingerprint, as a number. What is drawn and computed lies in $XDG_CACHE_HOME/moe/score, and is not done again; whoever changes the programs
# removes it.
#   -n N      samples of each split and kind (4000)
#   -c N      pictures of each of ImageMagick, a terminal and a browser, with tesseract beside (1000); 0: none, and nothing is installed
#   -k KINDS  what the model was trained for ("read scene panel")
#   -f FONTS  fonts of moe-synth (all)
set -eu
number=4000 crops=1000 kinds='read scene panel' fonts=all
usage() { echo "$0: usage: ${0##*/} [-n N] [-c N] [-k KINDS] [-f FONTS] BIN MODEL OUT" >&2; exit 2; }
while getopts :n:c:k:f: option; do
	case $option in
	n) number=$OPTARG ;;
	c) crops=$OPTARG ;;
	k) kinds=$OPTARG ;;
	f) fonts=$OPTARG ;;
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
# Data depends on the fonts, and on numbers of samples through the names of the files.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moe/score/$fingerprint-$fonts
mkdir -p "$cache"
# shellcheck disable=SC2046
[ "$fonts" != all ] || "$here/../deps.sh" missing $(grep -v '^#' "$here/../synth/fonts.tsv" | cut -f 1 | sort -u)
cd "$cache"
list=

# draw SPLIT KIND: the samples that the evaluations below ask.
draw() {
	[ -f "$1-$2-$number.tar" ] || moe-synth -q --fonts "$fonts" --split "$1" --tasks "$2" --seed "$seed" -n "$number" -o "$1-$2-$number.tar"
}

# evaluate NAME MODEL SHARD STEM: answers and scores, STEM.answers and STEM.json; the latter appears when all is done. NAME goes into the report.
evaluate() {
	if [ ! -f "$4.json" ]; then
		status=0
		moe-eval -q --json -m "$2" --answers "$4.answers" -o "$4.part" "$3" || status=$?
		# 1: some samples could not be asked; the report counts them.
		[ $status -le 1 ] || { echo "$0: $1: not scored (a model that was not trained for all kinds needs -k)" >&2; exit 2; }
		mv "$4.part" "$4.json"
	fi
	list="$list $1=$4"
}

for kind in $kinds; do
	for split in test unseen; do
		draw $split "$kind"
		evaluate $split-"$kind" "$model" $split-"$kind-$number.tar" $split-"$kind-$number"
	done
done
# How hard the data is: the first model's answers to the same questions.
case " $kinds " in *' read '*) evaluate first-model "$here/read" "test-read-$number.tar" "first-model-$number" ;; esac

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
