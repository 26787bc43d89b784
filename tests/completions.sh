#!/bin/bash
# completions.sh BIN: the completions are what make.sh makes today, every shell that is here can read them, and bash completes with them.
set -u
cd "$(dirname "$0")/.." || exit 2
bin=$1 bad=0
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
fail() {
	echo "$*"
	bad=1
}

completions/make.sh "$bin" "$fresh" || fail "completions/make.sh failed"
for f in moe.bash _moe moe.fish; do
	diff -u "completions/$f" "$fresh/$f" || fail "completions/$f is not what the option tables say: run make completions"
done
bash -n completions/moe.bash || fail "bash cannot read completions/moe.bash"
if command -v zsh >/dev/null; then zsh -n completions/_moe || fail "zsh cannot read completions/_moe"; fi
if command -v fish >/dev/null; then fish -n completions/moe.fish || fail "fish cannot read completions/moe.fish"; fi

# complete WORDS...: what bash offers for the last word.
complete_words() (
	# shellcheck disable=SC1091
	source completions/moe.bash
	compopt() { :; }
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
	_moe "$1"
	echo "${COMPREPLY[*]}"
)
[ "$(complete_words moe-route --st)" = --stats ] || fail "bash does not complete moe-route --st"
[ "$(complete_words moe-run --cpu av)" = "avx2 avx-vnni avx512" ] || fail "bash does not complete moe-run --cpu av"
[ "$(complete_words moe-tokenize --logits l)" = last ] || fail "bash does not complete moe-tokenize --logits l"
[ "$(complete_words moe-info -m share/mod)" = share/models ] || fail "bash does not complete moe-info -m share/mod"
[ "$(complete_words moe-run share/demo/pri)" = share/demo/price.png ] || fail "bash does not complete files"
exit $bad
