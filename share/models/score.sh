#!/bin/bash
# score.sh BIN MODEL OUT: the scores of a model, once it is trained, on pictures drawn for it alone: the seed of the test splits is the first 8 digits of its
# fingerprint, which nobody knows before. OUT/NAME.json has what moe-eval says of each split, OUT/scores.md tables for its card. What is there is not made again.
#
#   test     strings, scenes and panels that are never trained on, in the typefaces, colours and styles of training
#   unseen   the same in typefaces, colours and styles that are never trained on
#   first    the first model, share/models/read, on the strings of test: the yardstick of how hard they are
#   crops    the 180 crops of tests/golden/crops, where the tree has them
set -euo pipefail
bin=$(cd "${1:?the folder of the programs}" && pwd)
model=$(cd "${2:?the model}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${3:?the folder of the scores}"
cd "$3"
export PATH=$bin:$PATH
layer=$(jq -r '.stages[-1].losses.patch_layer // empty' "$here/look/recipe.json")
fingerprint=$(moe-info --json -m "$model" | jq -r .fingerprint)
seed=$((16#${fingerprint:0:8}))

# samples TASK: so many give more than 2,000 questions.
samples() { case $1 in read) echo 2000 ;; scene) echo 400 ;; panel) echo 1800 ;; esac; }

# evaluate NAME OPTIONS...
evaluate() {
	local name=$1
	shift
	[ -e "$name.json" ] || moe-eval --json -o "$name.json" "$@"
}

for split in test unseen; do
	for task in read scene panel; do
		[ -e "$task-$split.tar" ] || moe-synth -q --split "$split" --seed "$seed" --tasks "$task" -n "$(samples $task)" -o "$task-$split.tar"
		evaluate "$task-$split" -m "$model" ${layer:+--patch-layer "$layer"} "$task-$split.tar"
	done
done
evaluate read-first -m "$here/read" read-test.tar
crops=$here/../../tests/golden/crops.tsv
if [ -e "$crops" ]; then
	evaluate crops -m "$model" --no-blind "$crops"
fi

# rows NAME: of each type, n, right, interval, blind and chance in per cent.
rows() {
	jq -r 'def pc: if . == null then "-" else (. * 1000 | round) / 10 | tostring end;
		select(.what == "score" and .type != null) | "| \(.kind) | \(.type) | \(.n) | \(.accuracy | pc) | \(.low | pc) to \(.high | pc) | \(.blind_accuracy | pc) | \(.chance | pc) |"' "$1.json"
}

{
	echo "Model $fingerprint, seed $seed. Right, its 95 % interval, blind (with another sample's picture) and chance (the commonest answer) in per cent."
	for split in test unseen; do
		printf '\n%s:\n\n| kind | type | n | right | interval | blind | chance |\n|---|---|---|---|---|---|---|\n' "$split"
		for task in read scene panel; do
			rows "$task-$split"
		done
	done
	printf '\nThe first model on the strings of test:\n\n| kind | type | n | right | interval | blind | chance |\n|---|---|---|---|---|---|---|\n'
	rows read-first
	if [ -e crops.json ]; then
		printf '\nThe 180 crops:\n\n| kind | type | n | right | interval | blind | chance |\n|---|---|---|---|---|---|---|\n'
		rows crops
	fi
	printf '\nStrings of test, with refusal of answers less sure:\n\n| below | answered | right |\n|---|---|---|\n'
	jq -r 'select(.what == "refusal" and .kind == null) | "| \(.below) | \(.answered * 1000 | round / 10) | \(.accuracy * 1000 | round / 10) |"' read-test.json
} >scores.md
cat scores.md
