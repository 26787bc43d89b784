# examples.bats: the examples of --exec in share/examples do what their first lines say.
load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	examples=$root/share/examples
	read=$root/share/models/read
	pictures=("$demo"/*.png)
	moe-run -m "$read" -H "${pictures[@]}" >want
}

# with STEP:LAYER=COMMAND: the same answers with a program of one's own.
with() { moe-run -m "$read" -H --exec "$1" "${pictures[@]}"; }

@test "a router in Python: the model's own routing gives the same answers, chance in the first layer does not" {
	py=$(numpy -c 'import sys; print(sys.executable)')
	with "route:0='$py' '$examples/router.py' '$read' 0 same" | cmp - want
	with "route:2='$py' '$examples/router.py' '$read' 2" | cmp - want
	with "route:0='$py' '$examples/router.py' '$read' 0 random" >random
	run -1 cmp -s random want
	same "$(wc -l <random)" "$(wc -l <want)"
	moe-run -m "$read" --stats=json:stats --exec "route:1='$py' '$examples/router.py' '$read' 1 split" "$word"
	jq -es '.[1] | (.text.load[4:] | add) == 0 and (.image.load[:4] | add) == 0 and (.text.load[:4] | add) > 0' stats
	moe-run -m "$read" --stats=json:second --exec "route:3='$py' '$examples/router.py' '$read' 3 second" "$word"
	jq -es '.[3].all.mean_margin < 0' second
}

@test "an expert in C: the same answers, and others when experts say nothing" {
	${CC:-cc} -O2 -Wall -Wextra -Werror "$examples/expert.c" -ljansson -lz -lm -o expert
	moe-convert -q --type f32 "$read" wide
	with 'expert:1=./expert wide 1' | cmp - want
	with 'expert:0=./expert wide 0 0 3' >silent
	run -1 cmp -s silent want
	MOE_MODEL=$read
	moe-tokenize | moe-patchify "$word" | moe-encode | moe-embed | moe-attend -l 0 | moe-route -l 0 >routed.sts
	moe-expert -l 0 <routed.sts | moe-view --npy hidden -f 1 - >ours.npy
	./expert wide 0 <routed.sts | moe-view --seal | moe-view --npy hidden -f 1 - >theirs.npy
	numpy -c 'import numpy as np; a, b = np.load("ours.npy"), np.load("theirs.npy"); assert abs(a - b).max() < 1e-4 * abs(a).max() and abs(a).max() > 1'
	run -2 ./expert nowhere 0 <routed.sts
}

@test "a logger in shell and jq: the same answers, and a line for each token" {
	with "route:2=sh '$examples/log.sh' 2 seen.tsv" | cmp - want
	moe-run -m "$read" -H --stats=json:stats "${pictures[@]}" >/dev/null
	same "$(wc -l <seen.tsv)" "$(jq -s '.[2].all.tokens' stats)"
	for expert in 0 3 7; do
		same "$(cut -f5 seen.tsv | tr , '\n' | grep -cx $expert)" "$(jq -s ".[2].all.load[$expert]" stats)"
	done
}
