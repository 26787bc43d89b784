#!/bin/bash
# valgrind.sh BIN: one run of each program under valgrind, which must find nothing. (It knows no AVX-512, and its own system calls do not fit into
# the decoder's sandbox, so both are left out.)
set -u
cd "$(dirname "$0")/.." || exit 2
bin=$PWD/$1 root=$PWD picture=$PWD/share/demo/price.png
export MOE_MODEL=$PWD/share/models/read          # of four layers, whichever is the default
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
passed=0 failed=0

# check PROGRAM ARGUMENTS...: input from the file in, output to the file out.
check() {
	local program=$1
	shift
	if valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect --trace-children=no --log-file=log.%p \
		"$bin/$program" "$@" <in >out 2>err && ! cat log.* | grep -q '^==.*\(uninitialised\|Invalid\|lost\)'; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $program $*"
		cat err log.* | head -n 40
	fi
	rm -f log.*
}

: >in
check moe-info --json
check moe-info --cpu avx2 --experts -l 3 --words 2
check moe-synth --fonts small -n 3 -t 2 -o a.tar
check moe-bench --cpu avx2 model -p 4 -n 1 -r 1
check moe-run --cpu avx2 --no-sandbox "$picture"
grep -q '12\.90' out || { echo "moe-run did not read the picture"; failed=$((failed + 1)); }
mkdir questions
echo '{"picture": false, "questions": [{"prompt": "Once upon", "answer": " a time"}]}' >questions/1.json
check moe-ablate --cpu avx2 --no-sandbox -m "$root/tests/golden/olmoe/model" -l 1 --experts 1-2 -n 2 --journal journal questions
check moe-tokenize --cpu avx2
mv out in
check moe-patchify --cpu avx2 --no-sandbox "$picture"
mv out in
check moe-encode --cpu avx2
mv out in
check moe-embed --cpu avx2
mv out in
cp in embedded
"$bin/moe-tokenize" | "$bin/moe-patchify" "${picture%/*}/sign.png" | "$bin/moe-encode" | "$bin/moe-embed" >other
check moe-splice --cpu avx2 -l 3 --expert all --rows last embedded other
check moe-splice --cpu avx2 -l 2 --what routing --json embedded other
check moe-block --cpu avx2 -l 0-3 --parts --attention
mv out in
check moe-stats --cpu avx2 --attribution
check moe-decode --cpu avx2 --lens --rows last
check moe-view --npy hidden --concat
mv embedded in
check moe-block --cpu avx2 -l 0-2
mv out in
check moe-attend --cpu avx2 -l 3
mv out in
check moe-route --cpu avx2 -l 3 --stats=json:stats
mv out in
cp in routed
check moe-expert --cpu avx2 -l 3
mv out in
cp in hidden
check moe-decode --cpu avx2 --json
check moe-decode --cpu avx2 --logits
check moe-view --json routed
check moe-view --check routed
cp routed in
check moe-view --seal
check moe-diff hidden hidden
"$bin/moe-run" --trace trace.sts "$picture" >in 2>err
for format in text svg png html json; do
	check moe-plot --no-sandbox --picture "$picture" --kind picture,text,load,flow,coactivation --color true --format $format trace.sts
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
