#!/bin/sh
# tesseract.sh FOLDER: what tesseract (Debian's, --psm 7: one line of text) reads in the pictures that FOLDER.tsv names: a table with the file, its text,
# and the answers to the pictures as they are and enlarged three times, without white space around them. Standard error says how many are right; a
# comparison takes the better of the two ways for all pictures.
set -eu
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
folder=${1%/}
[ -d "$folder" ] && [ -f "$folder.tsv" ] || { echo "$0: $folder: not a folder with a list $folder.tsv" >&2; exit 2; }
"$(dirname "$0")/../deps.sh" missing tesseract-ocr imagemagick
# ImageMagick itself: a `convert` found in PATH may be something else.
for im in magick convert-im6.q16 /usr/bin/convert; do
	if command -v "$im" >/dev/null; then break; fi
done
export OMP_THREAD_LIMIT=1 MAGICK_THREAD_LIMIT=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/3x"
cut -f 1 "$folder.tsv" >"$work/files"
full=$(cd "$folder" && pwd)
while IFS= read -r file; do
	"$im" "$full/$file" -resize 300% "$work/3x/$file"
	echo "$full/$file" >>"$work/plain"
	echo "$work/3x/$file" >>"$work/enlarged"
done <"$work/files"
for how in plain enlarged; do
	# One run for all pictures, with a form feed between their texts.
	tesseract "$work/$how" - --psm 7 -c page_separator="$(printf '\f')" >"$work/$how.read" 2>"$work/log" || { tail -n 3 "$work/log" >&2; exit 2; }
	printf '\f' | cat "$work/$how.read" - | tr '\n\t\f' '  \n' | sed 's/^ *//; s/ *$//' >"$work/$how.tsv"
	[ "$(wc -l <"$work/$how.tsv")" = "$(wc -l <"$work/files")" ] || { echo "$0: tesseract did not answer for each picture" >&2; exit 2; }
done
printf 'file\ttext\tplain\tenlarged\n'
paste "$folder.tsv" "$work/plain.tsv" "$work/enlarged.tsv" | tee "$work/all"
awk -F '\t' '{ p += "x" $2 == "x" $3; e += "x" $2 == "x" $4 } END { printf "%d pictures, right: %d as they are, %d enlarged\n", NR, p, e }' "$work/all" >&2
