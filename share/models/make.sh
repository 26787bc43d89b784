#!/bin/bash
# make.sh BIN [SIZE]: makes the model that ships from nothing but this repository: fonts, pictures, training, weights of 8 bits, scores. Every stage leaves
# what it made in $XDG_CACHE_HOME/moe/look (else ~/.cache/moe/look), and a later call goes on where an earlier one stopped, in the middle of training too.
# SIZE (default 1) multiplies the pictures and the tokens that are trained on: 0.001 tries everything out in a minute.
set -euo pipefail
bin=$(cd "${1:?the folder of the programs}" && pwd)
size=${2:-1}
here=$(cd "$(dirname "$0")" && pwd)
share=$(dirname "$here")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moe/look
[ "$size" = 1 ] || cache=$cache-$size
mkdir -p "$cache/data"
cd "$cache"
export PATH=$bin:$PATH

say() { echo "make.sh: $*" >&2; }
scaled() { awk -v n="$1" -v s="$size" 'BEGIN { n *= s; printf "%d", n < 100 ? 100 : n }'; }

# draw NAME OPTIONS...: shards of pictures, once.
draw() {
	local name=$1
	shift
	[ -e "data/$name.done" ] && return
	say "drawing $name"
	rm -f "data/$name"-*.tar
	moe-synth "$@" -o "data/$name-%03d.tar"
	touch "data/$name.done"
}

# The paths of a name's shards as a JSON list.
shards() { printf '%s\n' "$PWD/data/$1"-*.tar | jq -R . | jq -s .; }

# The recipe with shards in the place of their names, and lengths as long as SIZE says.
recipe() {
	jq --argjson read "$(shards read)" --argjson scene "$(shards scene)" --argjson panel "$(shards panel)" --argjson dev "$(shards dev)" \
		--rawfile words words.txt --argjson size "$size" '
		{read: $read, scene: $scene, panel: $panel, dev: $dev} as $data
		| def long: . * $size | floor | if . < 1000 then 1000 else . end;
		  .model.vocabulary.words = ($words | split("\n") | map(select(. != "")))
		| .stages[] |= (.sources[].data |= (map($data[.]) | add)
			| with_entries(if IN(.key; "tokens", "warmup", "decay") then .value |= long else . end))
		| .dev.data |= (map($data[.]) | add) | .dev.every |= long | .checkpoint.every |= long' "$here/look/recipe.json"
}

say "in $cache"
# shellcheck disable=SC2046
"$share/deps.sh" missing $(grep -v '^#' "$share/synth/fonts.tsv" | cut -f1 | sort -u)
moe-synth --words >words.txt
draw read --tasks read -n "$(scaled 600000)"
draw scene --tasks scene -n "$(scaled 200000)"
draw panel --tasks panel -n "$(scaled 100000)"
draw dev --split dev -n 2000
recipe >recipe.json
say "training"
moe-train -r recipe.json -o run --type int8
say "the model is $cache/run/model"
if [ "$size" = 1 ]; then
	"$here/score.sh" -l "$(jq '.stages[-1].losses.patch_layer' recipe.json)" "$bin" run/model scores
	cat scores/scores.md
fi
