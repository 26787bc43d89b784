#!/bin/bash
# sheet.sh BIN MODEL [COLUMNS] <CAPTIONS >SHEET.svg: what a model draws for each line of the captions, beside each other, with the captions under them.
set -euo pipefail
bin=${1:?the folder of the programs} model=${2:?a model that draws} columns=${3:-6}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mapfile -t captions
printf '<draw> %s<picture>\n' "${captions[@]}" >"$work/prompts"
"$bin/moe-run" -q -m "$model" --prompts "$work/prompts" --against '<draw><picture>' --guidance 2 --temperature 0.7 --seed 1 --image "$work/%03d.png" >"$work/answers"

size=128 width=168 height=182
rows=$(((${#captions[@]} + columns - 1) / columns))
text() { printf '<text x="%d" y="%d">%s</text>\n' "$1" "$2" "$3"; }
printf '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12" text-anchor="middle">\n' $((columns * width)) $((rows * height))
printf '<rect width="100%%" height="100%%" fill="#fff"/>\n'
for i in "${!captions[@]}"; do
	x=$((i % columns * width)) y=$((i / columns * height + 12))
	printf '<image x="%d" y="%d" width="%d" height="%d" style="image-rendering: pixelated" href="data:image/png;base64,%s"/>\n' \
		$((x + (width - size) / 2)) "$y" "$size" "$size" "$(base64 -w0 "$work/$(printf %03d "$i").png")"
	place=$(grep -o -E ' (at the|in the) .*' <<<"${captions[i]}" || true)
	text $((x + width / 2)) $((y + size + 16)) "${captions[i]%"$place"}"
	text $((x + width / 2)) $((y + size + 32)) "${place# }"
done
echo '</svg>'
