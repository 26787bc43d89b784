# moe-scale.bats: laws, plans, savings and differences from tables and from logs of trainings.
load helper

# law E A ALPHA B BETA [NOISE]: a table of 72 losses that the law made; the noise is a share, of normal errors.
law() {
	awk -v E="$1" -v A="$2" -v alpha="$3" -v B="$4" -v beta="$5" -v noise="${6-0}" '
	function normal() { return sqrt(-2 * log(1 - rand())) * cos(6.283185307179586 * rand()) }
	BEGIN {
		srand(4)
		print "N\tD\tloss"
		n = split("275e6 464e6 932e6 1.63e9 2.28e9 3.35e9", size)
		for (i = 1; i <= n; i++)
			for (j = 0; j < 12; j++) {
				d = 2.5e9 * 240 ^ (j / 11)
				printf "%.0f\t%.0f\t%.12g\n", size[i], d, (E + A / size[i] ^ alpha + B / d ^ beta) * exp(noise * normal())
			}
	}'
}

# near A B SHARE: |A / B - 1| is at most SHARE.
near() { awk -v a="$1" -v b="$2" -v share="$3" 'BEGIN { x = a / b - 1; exit !(x <= share && -x <= share) }' || { echo "$1, expected $2"; return 1; }; }

# Two arms with three seeds, of losses that a seed shifts for both.
arms() {
	awk 'BEGIN {
		print "arm\tseed\tN\tD\tseconds\ttext\timage"
		for (s = 1; s <= 3; s++)
			for (i = 1; i <= 8; i++)
				for (pools = 0; pools < 2; pools++)
					printf "%s\t%d\t1e6\t%d\t%g\t%.6f\t%.6f\n", pools ? "pools" : "dense", s, i * 1e5, i * (1 + pools), 4 - log(i) / 2 - pools * 0.1 + s / 50,
						5 - log(i) / 2 - pools * (0.4 + s / 1000) + s / 30
	}'
}

@test "help, version and bad options" {
	has_help moe-scale
	refuses_bad_options moe-scale
	refuses_terminals 'moe-scale fit' /dev/null text
	refuses 2 usage moe-scale </dev/null
	refuses 2 'fix: expected fit, plan, eta, compare or table' moe-scale fix x.tsv
	law 2 300 0.3 1800 0.33 >law.tsv
	refuses 2 'law cubic: expected dense or sparse' moe-scale --law cubic fit law.tsv
	refuses 2 'evaluations some: expected last or all' moe-scale --evaluations some fit law.tsv
	refuses 2 'over money: expected flops, tokens or seconds' moe-scale --over money eta law.tsv
	refuses 2 'loss taste: the runs have no such measure' moe-scale --loss taste fit law.tsv
	refuses 2 'svg does not go with plan' moe-scale --svg x.svg plan law.tsv
	refuses 2 'over does not go with fit' moe-scale --over tokens fit law.tsv
	refuses 2 'json and --tsv: give one' moe-scale --json --tsv fit law.tsv
	refuses 2 'nowhere.tsv: cannot open' moe-scale fit nowhere.tsv
	refuses 2 'one arm: say which is which' moe-scale eta law.tsv
	refuses 2 'one arm: say which is which' moe-scale compare law.tsv
	arms >arms.tsv
	refuses 2 'baseline sparse: no run is of this arm' moe-scale --baseline sparse eta arms.tsv
	refuses 2 'a picture for each measure: put \{loss\}' moe-scale --svg x.svg eta arms.tsv
	never_hangs moe-scale fit
	writes_atomically law.tsv arms.tsv moe-scale --resamples 10 --loss loss fit
	needs_open_output moe-scale --resamples 10 fit <law.tsv
}

@test "published coefficients are found again, from a table on standard input" {
	local truth
	for truth in '2.158 381773 0.710 4659 0.372' '1.693 406.4 0.339 410.7 0.285' '1.904 270 0.301 1850 0.335' '1.891 300 0.2903 1900 0.3383'; do
		read -r E A alpha B beta <<<"$truth"
		law $truth | moe-scale --resamples 0 --tsv fit >out
		while read -r name value; do
			near "$(awk -F "\t" -v name="$name" '$5 == name { print $6 }' out)" "$value" 1e-3
		done <<-END
			E $E
			A $A
			alpha $alpha
			B $B
			beta $beta
			a $(awk "BEGIN { print $beta / ($alpha + $beta) }")
		END
	done
}

@test "with 0.2 % of noise the exponents are close, and the intervals hold them" {
	law 2.158 381773 0.710 4659 0.372 0.002 >law.tsv
	moe-scale --json fit law.tsv >out
	each '(.alpha.value - 0.710 | fabs) < 0.06 and (.beta.value - 0.372 | fabs) < 0.01 and (.a.value - 0.3438 | fabs) < 0.02' <out
	each '.alpha.low < 0.710 and 0.710 < .alpha.high and .beta.low < 0.372 and 0.372 < .beta.high and .E.low < 2.158 and 2.158 < .E.high' <out
	each '.runs == 72 and .sizes == 6 and .tokens == 12 and .resamples == 1000 and .flops_per_nd == 6 and .mean_error < 0.003 and .mean_error > 0.0005' <out
}

@test "each arm has laws of its own" {
	law 2.158 381773 0.710 4659 0.372 | sed 's/^/sparse\t/; 1s/sparse/arm/' >both.tsv
	law 1.904 270 0.301 1850 0.335 | sed '1d; s/^/dense\t/' >>both.tsv
	moe-scale --resamples 0 --json --svg '{arm}-{loss}.svg' fit both.tsv >out
	same "$(jq -c '[.arm, (.alpha.value * 1000 | round), .runs]' out | paste -sd ' ')" '["sparse",710,72] ["dense",301,72]'
	[ -s dense-loss.svg ] && [ -s sparse-loss.svg ]
	moe-scale --resamples 0 --json --arms dense fit both.tsv | jq -c . | cmp - <(jq -c 'select(.arm == "dense")' out)
	moe-scale --resamples 0 --flops 1e20 plan both.tsv | grep -q '^dense, loss: 1e+20 FLOPs'
	refuses 2 'a picture for each arm: put \{arm\}' moe-scale --svg x.svg fit both.tsv
	refuses 2 'arms: no run is of arm none' moe-scale --arms none fit both.tsv
	# An arm without images has no law of them.
	awk -F '\t' -v OFS='\t' '{ print $0, NR == 1 ? "image" : $1 == "dense" ? "" : $4 + 1 }' both.tsv >images.tsv
	same "$(moe-scale --resamples 0 --json fit images.tsv | jq -r '.arm + " " + .loss' | paste -sd ,)" 'sparse loss,sparse image,dense loss'
	refuses 2 'no run of arm "dense" has image' moe-scale --resamples 0 --loss image fit images.tsv
	head -n 75 both.tsv >few.tsv
	refuses 2 '^moe-scale: dense: 2 runs: the law has 5 parameters' moe-scale fit few.tsv
}

@test "the same bytes whatever the threads, other ones with another seed" {
	law 2.158 381773 0.710 4659 0.372 0.002 >law.tsv
	moe-scale --resamples 100 -t 1 --json fit law.tsv >one
	moe-scale --resamples 100 -t 2 --json fit law.tsv | cmp one
	moe-scale --resamples 100 -t 5 --json fit law.tsv | cmp one
	run cmp one <(moe-scale --resamples 100 --seed 2 --json fit law.tsv)
	[ "$status" = 1 ]
}

@test "too few runs, and wrong lines, are refused with what is missing and where" {
	law 2 300 0.3 1800 0.33 >law.tsv
	head -n 6 law.tsv >few
	refuses 2 '5 runs: the law has 5 parameters, and needs 6 runs or more' moe-scale fit few
	head -n 25 law.tsv >few
	refuses 2 '2 different sizes \(N\): the law needs 3 or more' moe-scale fit few
	awk -F '\t' -v OFS='\t' 'NR > 1 { $2 = 20 * $1 } 1' law.tsv >few
	refuses 2 'tokens of each run follow from its size' moe-scale fit few
	refuses 2 'law has 10 parameters|sparsity \(S\): the law needs 3' moe-scale --law sparse fit law.tsv
	sed '5s/\t[^\t]*$/\tlow/' law.tsv >bad
	refuses 2 '^moe-scale: bad: line 5: column loss: expected a number, got "low"$' moe-scale fit bad
	sed '7s/^[^\t]*/-3/' law.tsv >bad
	refuses 2 'bad: line 7: column N: expected a number above 0, got -3' moe-scale fit bad
	sed '9s/\t[^\t]*$/\t0/' law.tsv >bad
	refuses 2 'bad, line 9: loss is 0: a law is fitted to the logarithms' moe-scale fit bad
	sed '3s/\t/ /' law.tsv >bad
	refuses 2 'bad: line 3: 2 fields, expected the header.s 3' moe-scale fit bad
	head -c 3000 /dev/urandom | tr '{' x >bad
	refuses 2 'bad: line [0-9]+: ' moe-scale fit bad
	: >bad
	refuses 2 'bad: it is empty: expected a header line' moe-scale fit bad
	echo '{"dev":true,"tokens":5,"text":2}' >bad
	refuses 2 'bad: N, the parameters that a token passes, is not known' moe-scale fit bad
	printf '{"tokens":5}\n{"dev":true,' >bad
	refuses 2 'bad: no evaluations: .*--dev' moe-scale table bad
	printf '{"tokens":5}\n{"dev":true}\n' >bad
	refuses 2 'bad: line 2: expected a line of a training log' moe-scale table bad
	refuses 2 'standard input: expected a table' moe-scale table - <bad
}

@test "a plan: the best size, its neighbours are worse, and hours are FLOPs at the speed of the runs" {
	law 2.158 381773 0.710 4659 0.372 >law.tsv
	moe-scale --flops 1e20,1e24 --resamples 50 --json plan law.tsv >out
	each '.loss.value as $l | (.others | length) == 4 and all(.others[]; .loss > $l)' <out
	each '(6 * .N.value * .D.value / .flops - 1 | fabs) < 1e-6 and .N.low <= .N.value and .N.value <= .N.high and (.shape.N / .N.value - 1 | fabs) < 0.1' <out
	same "$(jq -s '[.[].times_largest | . > 1] | tostring' out)" '"[false,true]"'
	same "$(jq -s '.[0].loss.value * 1000 | round' out)" 2977
	moe-scale --coefficients E=2.158,A=381773,alpha=0.710,B=4659,beta=0.372 --flops 1e20 --json plan >given
	near "$(jq .N.value given)" "$(jq -s '.[0].N.value' out)" 1e-4
	each '.N.low == null and .hours == null' <given
	refuses 2 'how many FLOPs a second\?' moe-scale --hours 2 plan law.tsv
	refuses 2 'for how many FLOPs, or hours\?' moe-scale plan law.tsv
	refuses 2 'flops: expected numbers above 0, got "many"' moe-scale --flops 1e3,many plan law.tsv
	refuses 2 'coefficients: beta is missing' moe-scale --flops 1e9 --coefficients E=2,A=3,alpha=0.4,B=2 plan
	refuses 2 'coefficients: "gamma" is no NAME=VALUE' moe-scale --flops 1e9 --coefficients gamma=3 plan
	refuses 2 'coefficients say the law, and no runs are read' moe-scale --flops 1e9 --coefficients E=1 plan law.tsv
	awk -F '\t' -v OFS='\t' '{ print $0, NR == 1 ? "seconds" : 6 * $1 * $2 / 5e13 }' law.tsv >timed.tsv
	moe-scale --hours 2 --resamples 0 --json plan timed.tsv >out
	near "$(jq .flops out)" 3.6e17 1e-6
	moe-scale --hours 2 --rate 1e9 --resamples 0 --json plan law.tsv >out
	near "$(jq .flops out)" 7.2e12 1e-9
}

@test "savings: matched loss by arithmetic, for each measure, over FLOPs and seconds" {
	arms >arms.tsv
	moe-scale --json eta arms.tsv >out
	# 4 - log(i) / 2 reaches what dense has at 8 with a tenth less at i = 8 / exp(0.2), interpolated between 6 and 7 in log i.
	near "$(jq 'select(.measure == "text").eta' out)" 1.2214 1e-4
	near "$(jq 'select(.measure == "image").eta' out)" 2.2345 1e-3
	each '.arm == "pools" and .baseline == "dense" and .reached and .bound == "is" and .seeds == 3 and .pairs == 3 and .low <= .eta and .eta <= .high' <out
	each 'select(.measure == "image") | .against == "text" and (.ratio.value > 1.8) and .ratio.low > 1' < <(grep image out)
	moe-scale --json --over seconds --loss text eta arms.tsv >wall
	near "$(jq .eta wall)" 0.6107 1e-3
	moe-scale --json --baseline pools --loss text eta arms.tsv >turned
	near "$(jq .eta turned)" 0.8187 1e-3
	each '.reached | not' <turned
	moe-scale --loss text --baseline pools eta arms.tsv | grep -q 'at its own last loss: it did not come to that of pools'
	moe-scale --tsv eta arms.tsv | head -n 1 | grep -q '^arm.measure.cost.eta'
	sed 's/\t1e6\t800000/\t2e6\t800000/' arms.tsv >mixed.tsv
	refuses 2 'models of different sizes are different arms' moe-scale eta mixed.tsv
}

@test "differences: paired, with Student's interval" {
	arms >arms.tsv
	moe-scale --json compare arms.tsv >out
	each '.pairs == 3 and .alone == 0 and .flops_ratio == 1' <out
	near "$(jq 'select(.measure == "text").difference' out)" -0.1 1e-4
	# -0.401, -0.402, -0.403
	near "$(jq 'select(.measure == "image").low' out)" -0.404484 1e-4
	each 'select(.measure == "image") | .verdict == "lower"' < <(grep image out)
	grep -v 'dense.[23]' arms.tsv >one.tsv
	moe-scale compare --loss text one.tsv | grep -q 'too few pairs (2 runs in no pair)'
}

@test "logs of trainings: seed and size from the run's folder, arms from the command line or a table" {
	local arm seed
	echo '{"hidden": 32, "layers": 2, "heads": 2, "experts": 4, "expert_width": 24, "stem": [8, 12], "grids": [[4, 16]]}' >moe.json
	echo '{"hidden": 32, "layers": 2, "heads": 2, "experts": 4, "expert_width": 12, "stem": [8, 12], "grids": [[4, 16]]}' >thin.json
	for arm in moe thin; do
		for seed in 1 2; do
			moe-train -q -o $arm-$seed --new $arm.json --seed $seed --tokens 9000 --batch 4 --lr-muon 0.01 --dev "$crops.tsv" --dev-samples 8 --dev-every 2000 --timings "$crops.tsv"
		done
	done
	moe-scale table moe=moe-{1,2} thin=thin-{1,2}/log.jsonl >table
	same "$(head -n 1 table | cut -f 1-8 | tr '\t' ' ')" 'run arm seed N D S flops seconds'
	same "$(awk 'NR > 1 { print $2, $3 }' table | uniq | paste -sd ,)" 'moe 1,moe 2,thin 1,thin 2'
	same "$(awk '$2 == "thin" { print $4 }' table | uniq)" "$(moe-info --json -m thin-1/model | jq .active_parameters)"
	same "$(awk '$2 == "moe" { print $6 }' table | uniq)" 0.5
	# FLOPs are those that moe-train tells of.
	moe-train -o again --new thin.json --tokens 500 --batch 4 "$crops.tsv" 2>said >/dev/null
	near "$(awk '$2 == "thin" { print $7 / $5 / 1e6 }' table | head -n 1)" "$(sed -n 's/.* MFLOP a token forward, \([0-9.]*\) in training.*/\1/p' said)" 1e-3
	same "$(grep -c dev moe-1/log.jsonl)" "$(awk '$2 == "moe" && $3 == 1' table | wc -l)"
	same "$(awk '$2 == "moe" && $3 == 1 { print $5 }' table | paste -sd ,)" "$(jq -s 'map(select(.dev).tokens) | map(tostring) | join(",")' -r moe-1/log.jsonl)"
	moe-scale --json --loss text compare moe=moe-{1,2} thin=thin-{1,2} >out
	each '.pairs == 2 and .arm == "thin" and .flops_ratio < 1' <out
	mkdir below
	printf 'arm\tlog\nmoe\t../moe-1\nmoe\t../moe-2\nthin\t../thin-1\nthin\t../thin-2/log.jsonl\n' >below/list.tsv
	moe-scale --json --loss text compare below/list.tsv | cmp out
	moe-scale --json --loss text compare table | jq -c .difference | cmp - <(jq -c .difference out)
	awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "seconds") at = i; next } $2 == "moe" && $3 == 1 { if (!($at > last)) exit 1; last = $at } END { exit !at }' table
	jq -s -e 'map(select(.tokens_per_s)) | length > 0 and all(.[]; .memory > 1e6 and .memory < 4e9)' moe-1/log.jsonl >/dev/null
	# Without --timings there are no seconds.
	sed 's/,"tokens_per_s":[^,}]*//' moe-1/log.jsonl >untimed
	mv untimed moe-1/log.jsonl
	run grep -w seconds <(moe-scale table moe-1)
	[ "$status" = 1 ]
	moe-scale --evaluations last table moe-1 | tail -n +2 | wc -l | grep -qx 1
	sed -i '3s/.*/x/' moe-2/log.jsonl
	refuses 2 'moe-2/log.jsonl: line 3: expected a line of a training log' moe-scale table moe=moe-2
}

@test "pictures are XML, the same each time, and show what they should" {
	law 2.158 381773 0.710 4659 0.372 0.002 >law.tsv
	arms >arms.tsv
	moe-scale --resamples 0 --svg 'law-{loss}.svg' fit law.tsv >/dev/null
	moe-scale --svg 'eta-{loss}.svg' eta arms.tsv >/dev/null
	moe-scale --svg 'differences-{loss}.svg' compare arms.tsv >/dev/null
	for f in law-loss.svg eta-text.svg eta-image.svg differences-text.svg; do
		numpy -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' $f
		run grep -c 'nan\|inf' $f
		same "$output" 0
	done
	grep -q '>N 275M</text>' law-loss.svg
	grep -q '>best size</text>' law-loss.svg
	same "$(grep -o 'path transform="translate([^"]*" d=' law-loss.svg | wc -l)" 78     # 72 runs and 6 marks of the legend
	grep -q '>pools</text>' eta-image.svg
	grep -q '>pools</text>' differences-text.svg
	grep -q '>lower</text>' differences-text.svg
	same "$(grep -c '>nothing to show yet<' differences-text.svg)" 0
	same "$(grep -o 'path transform="translate([^"]*" d=' differences-text.svg | wc -l)" 2        # the arm's, and that of the legend
	awk 'NR == 1 || $2 == 1' arms.tsv | moe-scale --loss text --svg one.svg compare >/dev/null       # one pair has no interval
	grep -q '>nothing to show yet<' one.svg
	moe-scale --resamples 0 --svg again.svg fit law.tsv >/dev/null
	cmp again.svg law-loss.svg
}
