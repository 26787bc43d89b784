load helper

setup_file() {
	export XDG_CACHE_HOME=$BATS_FILE_TMPDIR
}

experiments() { "$root/share/experiments/run.sh" "$BIN" "$@"; }

@test "every arm of the plan is there, and every arm has its seeds" {
	cut -f 9,10 "$root/share/experiments/PLAN.tsv" | tail -n +2 | tr '\t,' '\n\n' | grep -vx -e - | sort -u >planned
	jq -r '.arms | keys[]' "$root/share/experiments/arms.json" | sort >there
	same "$(comm -23 planned there)" ''
	same "$(experiments jobs core | wc -l)" 50
	experiments jobs core | cut -d ' ' -f 2 | uniq -c | while read -r n seed; do same "$n" 10; done
	run experiments recipe nobody 1
	[ "$status" = 2 ]
	[[ $output == *'no such arm: nobody'* ]]
}

@test "arms of the core grid are made by their recipes, and cost the same for a token, within three parts of a hundred" {
	local name flops first=
	moe-synth -q --fonts small --tasks scene -n 40 -o data.tar
	moe-synth --words >words.txt
	jq '.stages[0] += {tokens: 500, sources: [{data: "data.tar"}]} | del(.dev)' "$root/share/recipes/quantiser.json" >quantiser.json
	moe-train -q -r quantiser.json -o quantiser
	for name in $(experiments jobs core | cut -d ' ' -f 1 | sort -u); do
		experiments recipe "$name" 1 | jq '.stages[0] += {tokens: 300, batch: 2, sources: [{data: "data.tar"}]} | del(.dev)' >"$name.json"
		moe-train -q -r "$name.json" -o "$name"
		flops=$(moe-info --json "$name/model" | jq '.flops.training')
		: "${first:=$flops}"
		awk -v a="$flops" -v b="$first" 'BEGIN { exit !(a / b < 1.03 && b / a < 1.03) }' || { echo "$name: $flops, others $first"; false; }
	done
}

@test "the report is what its tables say, to the byte" {
	local results=$root/share/experiments/results
	mkdir again
	cp "$results"/{runs,curves}.tsv again
	cp "$results"/{speeds,law}.tsv again 2>/dev/null || true
	"$root/share/experiments/report.sh" "$BIN" again
	diff -r "$results" again
	same "$(cut -f 1,2 "$results/runs.tsv" | sort | uniq -d)" ''
	# A prediction without its runs is said to be not run, and another sign is another verdict.
	awk -F'\t' -v OFS='\t' 'NR > 1 && $1 == "8-token-text" { for (i = 1; i <= NF; i++) if (at[i] == "text") $i += 0.1 } NR == 1 { for (i = 1; i <= NF; i++) at[i] = $i } 1' \
		"$results/runs.tsv" | grep -v '^4t4i-token-text' >again/runs.tsv
	# Lines of speed, which only some arms have, are no runs whose FLOPs count.
	grep -v '^hybrid' "$results/speeds.tsv" >again/speeds.tsv
	"$root/share/experiments/report.sh" "$BIN" again
	same "$(awk -F'\t' '$1 == "N3" { print $NF }' "$results/verdicts.tsv" again/verdicts.tsv | paste -sd ,)" 'same sign at our scale,opposite sign'
	grep '^| N4-4t4i .* not run |$' again/RESULTS.md
	awk -F' *[|] *' '/^## / { fusion = /fusion/ } fusion && $2 ~ /^`(early|late|hybrid-[12])`$/ { n++; off += $4 < 0.97 || $4 > 1.03 } END { exit n != 4 || off }' again/RESULTS.md
}
