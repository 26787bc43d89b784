#!/bin/bash
# report.sh BIN FOLDER: what the tables in FOLDER (runs.tsv, curves.tsv, speeds.tsv, law.tsv of run.sh) say of PLAN.tsv: verdicts.tsv, pictures, and RESULTS.md. Nothing but
# these tables is read, so that whoever has them can make it again.
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "$0")" && pwd)
PATH=$(cd "${1:?the folder of the programs}" && pwd):$PATH
cd "${2:?a folder with runs.tsv}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
core=dense,1t1i,8-token,8-expert,4t4i-token,4t4i-expert

# ---- tables ----

# etas ARM: FLOPs that dense needed over those of ARM at the same loss, for text and for pictures, seed by seed: of curves that tell of causal choices.
etas() {
	local seed
	awk -F'\t' 'NR == 1 || $3 == "token"' curves.tsv | cut -f 1,2,4- >"$work/causal.tsv"
	for seed in $(awk -F'\t' -v arm="$1" '$1 == arm { there[$2] } $1 == "dense" && $2 in there { print $2 }' runs.tsv); do
		awk -F'\t' -v seed="$seed" 'NR == 1 || $2 == seed' "$work/causal.tsv" |
			moe-scale eta -q --resamples 0 --json --baseline dense --arms "dense,$1" --loss text,image |
			jq -s -r --arg arm "$1" --argjson seed "$seed" 'select(length == 2 and (map(.eta) | all)) | [$arm, $seed, .[1].eta - .[0].eta] | @tsv'
	done
}

# runs.tsv with what follows from it: both losses together, ends (how much more experts of the first and the last layer say of modality than those between), eta_gap;
# and lines of speeds.tsv, which have nothing but speed and memory.
derive() {
	{
		echo "arm	seed	gap"
		etas 1t1i
	} >"$work/etas.tsv"
	awk -F'\t' -v OFS='\t' '
		NR == FNR { gap[$1 FS $2] = $3; next }
		FNR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; print $0, "all", "all_batch", "all_half", "ends", "eta_gap", "speed", "memory"; next }
		{
			both = $at["image"] != ""; n = 0
			while (at["special_" n] && $at["special_" n] != "") n++
			middle = 0
			for (i = 1; i < n - 1; i++) middle += $at["special_" i] / (n - 2)
			print $0, both ? $at["text"] + $at["image"] : "", both ? $at["text_batch"] + $at["image_batch"] : "",
				$at["text_half"] != "" ? $at["text_half"] + $at["image_half"] : "",
				(n > 2 ? ($at["special_0"] + $at["special_" (n - 1)]) / 2 - middle : ""), ($at["arm"] FS $at["seed"]) in gap ? gap[$at["arm"] FS $at["seed"]] : ""
		}' "$work/etas.tsv" runs.tsv >"$work/all.tsv"
	[ ! -s speeds.tsv ] || awk -F'\t' -v OFS='\t' '
		NR == FNR { if (FNR == 1) { width = NF - 2; for (i = 1; i <= NF; i++) if ($i == "flops") flops = i } next }
		FNR > 1 { line = $1 OFS $2; for (i = 3; i <= width; i++) line = line OFS (i == flops ? $3 : ""); print line, $4, $5 }' "$work/all.tsv" speeds.tsv >"$work/speeds"
	[ ! -s "$work/speeds" ] || cat "$work/speeds" >>"$work/all.tsv"
}

# contrast ID PLUS MINUS MEASURE: sums over the arms of PLUS less those of MINUS (lists; - for none), for every seed that all of them have: lines of ID, seed,
# FLOPs of PLUS over those of MINUS, and the measure, or its logarithm where it begins with "log ".
contrast() {
	awk -F'\t' -v OFS='\t' -v id="$1" -v plus="$2" -v minus="$3" -v measure="$4" '
		BEGIN { logs = sub(/^log /, "", measure); n = split(plus, a, ","); m = minus == "-" ? 0 : split(minus, b, ",") }
		NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
		at[measure] && $at[measure] != "" { v[$1 FS $2] = logs ? log($at[measure]) : $at[measure]; flops[$1 FS $2] = $at["flops"]; seeds[$2] }
		END {
			for (s = 1; s <= 99; s++) {
				if (!(s in seeds)) continue
				sum = up = down = 0; good = 1
				for (i = 1; i <= n; i++) { k = a[i] FS s; if (!(k in v)) good = 0; else { sum += v[k]; up += flops[k] / n } }
				for (i = 1; i <= m; i++) { k = b[i] FS s; if (!(k in v)) good = 0; else { sum -= v[k]; down += flops[k] / m } }
				if (good) print id, s, m ? up / down : 1, sum, 1
			}
		}' "$work/all.tsv"
}

# Which arms lose less than three standard errors by the pictures of others, on average over their seeds: lines of arm and kind of loss.
blind_arms() {
	awk -F'\t' -v OFS='\t' '
		NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
		{
			for (k = 1; k <= 2; k++) {
				kind = k == 1 ? "text" : "image"
				if ($at[kind] == "" || $at["D"] == "") continue
				n[$1 OFS kind]++
				z[$1 OFS kind] += ($at[kind "_other"] - $at[kind]) / ($at[kind "_error"] > 0 ? $at[kind "_error"] : 1e9)
			}
		}
		END { for (k in n) if (z[k] / n[k] < 3) print k }' "$work/all.tsv" | sort
}

# Of every prediction: difference, interval, and what they say of it.
verdicts() {
	local id arms plus minus measure sign
	printf 'arm\tseed\tflops\tvalue\tD\n' >"$work/contrasts.tsv"
	blind_arms >"$work/blind.tsv"
	tail -n +2 "$here/PLAN.tsv" | cut -f 1,9-12 | while IFS=$'\t' read -r id plus minus measure sign; do
		[ "$plus" = - ] || contrast "$id" "$plus" "$minus" "$measure"
	done >>"$work/contrasts.tsv"
	touch "$work/differences.json"
	[ "$(wc -l <"$work/contrasts.tsv")" = 1 ] ||
		awk -F'\t' -v OFS='\t' '1; NR > 1 && !seen[$2]++ { zero = zero "nothing\t" $2 "\t1\t0\t1\n" } END { printf "%s", zero }' "$work/contrasts.tsv" |
		moe-scale compare -q --json --baseline nothing --loss value >"$work/differences.json"
	printf 'id\tpairs\tdifference\tlow\thigh\tflops\tpredicted\tverdict\n'
	tail -n +2 "$here/PLAN.tsv" | cut -f 1,9-12 | while IFS=$'\t' read -r id plus minus measure sign; do
		arms=$(awk -F'\t' -v arms="$plus,$minus" -v measure="$measure" '
			index("," arms ",", "," $1 ",") && (measure ~ $2 || measure ~ /^all|^rise|^eta/) { printf "%s%s (%s)", n++ ? ", " : "", $1, $2 }' "$work/blind.tsv")
		jq -r --arg id "$id" --arg sign "$sign" --arg blind "$arms" '
			select(.arm == $id and .pairs > 1) | [$id, .pairs, .difference, .low, .high, .flops_ratio, $sign,
			if $blind != "" then "blind at this scale: " + $blind elif .verdict == "not distinguishable" then .verdict
			elif $sign == "none" then "there is a difference" elif .verdict == $sign then "same sign at our scale" else "opposite sign" end] | @tsv' "$work/differences.json"
	done
	[ ! -s law.tsv ] || { moe-scale fit -q --json --loss text law.tsv || true; } | jq -r '
		["N2", .runs, .a.value, .a.low, .a.high, "", "between",
		 if .a.low > 0 and .a.high < 1 then "same sign at our scale" elif .a.high <= 0 or .a.low >= 1 then "opposite sign" else "not distinguishable" end] | @tsv'
}

# ---- the report ----

# Lines of a table in Markdown, from values that tabs separate; the first is its head.
markdown() { awk -F'\t' '{ n = NF; gsub(/\t/, " | "); print "| " $0 " |" } NR == 1 { line = "|"; while (n--) line = line " --- |"; print line }'; }

# means ARMS MEASURE...: a table of arms, with means and standard deviations over seeds. A measure is a column, "NAME=COLUMN" or "NAME=COLUMN/ARM", a ratio to that arm.
means() {
	awk -F'\t' -v arms="$1" -v list="$(printf '%s\n' "${@:2}")" '
		function show(v, s, few) { return few ? sprintf("%.3f", v) : v >= 1e5 ? sprintf("%.3g", v) : v >= 100 ? sprintf("%.0f", v) : sprintf("%.4f ± %.4f", v, s) }
		NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
		{ for (c in at) if ($at[c] != "" && (c != "flops" || $at["D"] != "")) { n[$1, c]++; s[$1, c] += $at[c]; q[$1, c] += $at[c] ^ 2 } runs[$1] += $at["D"] != "" }
		END {
			m = split(list, what, "\n"); k = split(arms, arm, ",")
			printf "arm\tseeds"
			for (j = 1; j <= m; j++) {
				name = what[j]; sub(/=.*/, "", name); sub(/.*=/, "", what[j]); printf "\t%s", name
				over[j] = what[j] ~ /\// ? what[j] : ""; sub(/.*\//, "", over[j]); sub(/\/.*/, "", what[j])
			}
			print ""
			for (i = 1; i <= k; i++) {
				a = arm[i]
				if (!runs[a]) continue
				printf "`%s`\t%d", a, runs[a]
				for (j = 1; j <= m; j++) {
					c = what[j]; o = over[j]
					if (!n[a, c] || (o != "" && !n[o, c])) { printf "\t-"; continue }
					mean = s[a, c] / n[a, c]; var = n[a, c] > 1 ? (q[a, c] - n[a, c] * mean ^ 2) / (n[a, c] - 1) : 0
					if (o != "") mean /= s[o, c] / n[o, c]
					printf "\t%s", show(mean, sqrt(var > 0 ? var : 0), o != "")
				}
				print ""
			}
		}' "$work/all.tsv" | markdown
}

# Those of a list of arms that a table has.
present() { awk -F'\t' -v list="$2" '{ there[$1] } END { n = split(list, a, ","); for (i = 1; i <= n; i++) if (a[i] in there) printf "%s%s", m++ ? "," : "", a[i] }' "$1"; }

has() { awk -F'\t' -v arm="$1" '$1 == arm { n++ } END { exit !(n > 1) }' runs.tsv; }

verdict_table() {
	awk -F'\t' -v OFS='\t' '
		NR == FNR { if (FNR > 1) v[$1] = $0; next }
		FNR == 1 { print "", "claim", "of", "predicted", "pairs", "difference", "95 % interval", "FLOPs", "verdict"; next }
		$1 in v { split(v[$1], x, "\t"); print $1, $2 " (" $3 ")", $5, $6, x[2], (x[7] == "between" ? "a = " : "") sprintf("%.4f", x[3]), sprintf("%.4f to %.4f", x[4], x[5]), x[6] == "" ? "-" : sprintf("%.4f", x[6]), "**" x[8] "**"; next }
		{ print $1, $2 " (" $3 ")", $5, $6, "-", "-", "-", "-", "not run" }' verdicts.tsv "$here/PLAN.tsv" | markdown
}

eta_table() {
	moe-scale eta -q --tsv --baseline dense --arms "$(present "$work/causal.tsv" "$core")" --loss text,image --svg 'eta-{loss}.svg' "$work/causal.tsv" |
		awk -F'\t' -v OFS='\t' '
			NR == 1 { print "arm", "measure", "eta", "95 % interval", "loss at the end", "of dense"; next }
			{ print "`" $1 "`", $2, ($5 == "above" ? "> " : $5 == "below" ? "< " : "") sprintf("%.2f", $4) ($6 == 1 ? "" : " (at its own last loss)"), sprintf("%.2f to %.2f", $9, $10), sprintf("%.4f", $13), sprintf("%.4f", $14) }' |
		markdown
}

flips_table() {
	means mod-4t4i,4t4i-4 '0.1 %=rise_0.1' '0.25 %=rise_0.25' '0.5 %=rise_0.5' '1 %=rise_1' '2 %=rise_2' '5 %=rise_5'
}

# What the arms of the core grid differ from dense by, as pictures.
difference_pictures() {
	moe-scale compare -q --baseline dense --arms "$(present runs.tsv "$core")" --loss text,image --svg 'differences-{loss}.svg' runs.tsv >/dev/null
}

law() {
	local loss
	for loss in text image; do
		if moe-scale fit -q --loss "$loss" --svg "law-$loss.svg" law.tsv >"$work/law"; then
			sed 's/^/    /' "$work/law"
			printf '\n![The law of the loss of %s](law-%s.svg)\n\n' "$loss" "$loss"
		else
			printf 'There are too few runs for a law of the loss of %s.\n\n' "$loss"
		fi
	done
}

section() { printf '\n## %s\n\n' "$1"; }

report() {
	cat <<-END
		# Results

		What came of \`PLAN.tsv\`, prediction by prediction. Made by \`report.sh\` from the tables in this folder; \`../README.md\` says how the runs are made, and what the verdicts
		mean. Losses are in nats for a token, of held-out pictures with their texts: 1000 for the core grid, 4000 for other arms, which gain less by captions. Intervals are Student's, 95 %, of differences between runs with the same seed. Nothing here is averaged with what the
		papers have: their models are a thousand times larger.
	END
	section Verdicts
	verdict_table
	if has dense && has 1t1i; then
		section 'The core grid'
		means "$core" FLOPs=flops/dense text image 'text, pictures of others=text_other' 'image, texts of others=image_other'
		printf '\nWith text loss only:\n\n'
		means dense-text,1t1i-text,8-token-text,4t4i-token-text FLOPs=flops/dense-text text 'text, pictures of others=text_other'
		difference_pictures
		printf '\n![Differences from dense in the loss of text](differences-text.svg)\n\n![Differences from dense in the loss of image tokens](differences-image.svg)\n'
		section 'FLOPs saved'
		echo 'FLOPs that `dense` needed over those of the arm at the same loss, for arms whose choices are causal while they are trained. The interval is Student'"'"'s, over seeds.'
		echo
		eta_table
		printf '\n![Loss of text over FLOPs](eta-text.svg)\n\n![Loss of image tokens over FLOPs](eta-image.svg)\n'
		section 'Who chooses'
		echo 'Experts that choose among the tokens of a batch know later tokens. What such a model reaches with that choice, by its auxiliary routers with matched rates (all other figures here are of these), and with probabilities above one half:'
		echo
		means 8-token,8-expert,4t4i-token,4t4i-expert 'text, batch=text_batch' 'text, matched=text' 'text, half=text_half' 'image, batch=image_batch' 'image, matched=image' 'image, half=image_half' 'foretold rightly=right'
		section Speed
		echo 'Tokens a second of training, one thread, and memory of the run, over those of `dense`:'
		echo
		means "$core" 'tokens a second=speed/dense' memory=memory/dense
	fi
	if has mod-4t4i && has 4t4i-4; then
		section Depth
		means mod-4t4i,4t4i-4 FLOPs=flops/4t4i-4 'text, batch=text_batch' 'text, matched=text' 'text, half=text_half' 'image, batch=image_batch' 'image, matched=image' 'foretold rightly=right'
		printf '\nBy how much the sum of both losses rises when so many of the choices are turned round:\n\n'
		flips_table
	fi
	if has upcycled-8; then
		section Upcycling
		means 4t4i-4,upcycled-4,upcycled-8,upcycled-16,upcycled-32 FLOPs=flops/4t4i-4 text image 'both=all'
	fi
	if has early; then
		section 'Early and late fusion'
		echo 'Encoders of 0, 1, 2 and 4 layers cost the same; stems of two convolutions in the place of one matrix cost more, and are compared with each other.'
		echo
		means early,hybrid-1,hybrid-2,late,early-stem,late-stem FLOPs=flops/early text 'tokens a second=speed/early' memory=memory/early
	fi
	if has 8-token-160; then
		section 'A larger size'
		means dense-text-5,8-token-text-5,dense-160,8-token-160 FLOPs=flops/dense-text-5 text
	fi
	if has 8-token-deep; then
		section 'Specialisation by layer'
		echo 'How much an expert says of the modality of its tokens, less what it would say by chance, over the entropy of modality:'
		echo
		means 8-token-deep 0=special_0 1=special_1 2=special_2 3=special_3 4=special_4 5=special_5 6=special_6 7=special_7
	fi
	if has mixed; then
		section 'Branches, and a teacher'
		echo 'These do not cost the same: both branches are passed once they are mixed, and the forward pass of its teacher counts for `taught`.'
		echo
		means dense-5,mixed,8-token-5,taught,teacher-160 FLOPs=flops/dense-5 text image
	fi
	if [ -s law.tsv ]; then
		section 'The law'
		law
	fi
}

derive
verdicts >verdicts.tsv
report >RESULTS.md
