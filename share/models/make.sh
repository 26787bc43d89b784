#!/bin/bash
# make.sh BIN [SIZE [MODEL]]: makes a model that ships, look or draw, from nothing but this repository: fonts, pictures, training, weights of 8 bits, scores. Every stage
# leaves what it made in $XDG_CACHE_HOME/moe/MODEL (else ~/.cache/moe/MODEL), and a later call goes on where an earlier one stopped, in the middle of training too.
# SIZE (default 1) multiplies the pictures and the tokens that are trained on: 0.001 tries everything out in a minute.
set -euo pipefail
bin=$(cd "${1:?the folder of the programs}" && pwd)
size=${2:-1}
model=${3:-look}
case $model in look | draw) ;; *) echo "make.sh: no such model: $model (look or draw)" >&2 && exit 2 ;; esac
here=$(cd "$(dirname "$0")" && pwd)
share=$(dirname "$here")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moe/$model
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

# A number of tokens as long as SIZE says.
long='def long: . * $size | floor | if . < 1000 then 1000 else . end;'

# The recipe with shards in the place of their names, and lengths as long as SIZE says.
recipe() {
	jq --argjson read "$(shards read)" --argjson scene "$(shards scene)" --argjson panel "$(shards panel)" --argjson dev "$(shards dev)" \
		--rawfile words words.txt --argjson size "$size" "$long"'
		{read: $read, scene: $scene, panel: $panel, dev: $dev} as $data
		| .model.vocabulary.words = ($words | split("\n") | map(select(. != "")))
		| .stages[] |= (.sources[].data |= (map($data[.]) | add)
			| with_entries(if IN(.key; "tokens", "warmup", "decay") then .value |= long else . end))
		| .dev.data |= (map($data[.]) | add) | .dev.every |= long | .checkpoint.every |= long' "$here/look/recipe.json"
}

make_look() {
	draw read --tasks read -n "$(scaled 600000)"
	draw scene --tasks scene -n "$(scaled 200000)"
	draw panel --tasks panel -n "$(scaled 100000)"
	draw dev --split dev -n 2000
	moe-synth --words >words.txt
	recipe >recipe.json
	say "training"
	moe-train -r recipe.json -o run --type int8
	say "the model is $cache/run/model"
	[ "$size" = 1 ] || return 0
	"$here/score.sh" -l "$(jq '.stages[-1].losses.patch_layer' recipe.json)" "$bin" run/model scores
	cat scores/scores.md
}

# one NAME OPTIONS...: NAME.tar, once.
one() {
	[ -e "$1.tar" ] && return
	say "drawing $1"
	moe-synth --tasks scene "${@:2}" -o "$1.tmp"
	mv "$1.tmp" "$1.tar"
}

make_draw() {
	local name
	one train -n "$(scaled 60000)"
	one dev --split dev -n "$(scaled 1000)"
	one one --things 1 --seed 11 -n "$(scaled 60000)"
	one more --things 1 --seed 12 -n "$(scaled 60000)"
	one one-dev --things 1 --seed 11 --split dev -n "$(scaled 1000)"
	one test --things 1 --seed 5 --split test -n "$(scaled 700)"
	moe-synth --words >words
	for name in quantiser draw; do
		jq --argjson size "$size" "$long .stages[].tokens |= long | .dev.every |= long" "$share/recipes/$name.json" >"$name.json"
		say "training $name"
		moe-train -r "$name.json" -o "$name"
	done
	[ -e model ] || moe-convert -q --type int8 draw/model model
	say "the model is $cache/model"
	python3 "$here/../../tests/bench/drawn.py" "$bin" model "$here/look" test.tar 700 --against '<draw><picture>' --temperature 0.7 --seed 1
}

say "in $cache"
# shellcheck disable=SC2046
"$share/deps.sh" missing $(grep -v '^#' "$share/synth/fonts.tsv" | cut -f1 | sort -u)
"make_$model"
