#!/bin/sh
# crops.sh KIND N SEED OUT: N pictures of short strings that the toolkit did not draw, in the folder OUT, with their texts in OUT.tsv, as moe-eval reads
# them, and how each was made in OUT.made.tsv. KIND: magick (ImageMagick), terminal (xterm on a virtual display) or browser (Chromium).
# The strings, and the fonts of magick and browser, are those that moe-synth (found in PATH) takes for the splits test and unseen: no training saw the
# strings, but for single characters, and a font draws each of its strings unlike any other. Half of the pictures are in designs that training never sees.
# What is needed is installed from Debian.
set -eu
[ $# = 4 ] || { echo "usage: $0 magick|terminal|browser N SEED OUT" >&2; exit 2; }
kind=$1 n=$2 seed=$3 out=$4
here=$(cd "$(dirname "$0")" && pwd)
fonts=$here/../synth/fonts.tsv
case $kind in
magick) needs=imagemagick ;;
terminal) needs='xvfb xterm xfonts-base fontconfig python3-pil' ;;
browser) needs='chromium python3-pil' ;;
*) echo "$0: $kind: no such kind" >&2; exit 2 ;;
esac
# shellcheck disable=SC2046,SC2086
"$here/../deps.sh" missing $needs $(grep -v '^#' "$fonts" | cut -f 1 | sort -u)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Another part of the splits for each kind, so that they do not all show the same strings; and more than needed, since some are left out: a string for
# the second time, a font that a program cannot use.
case $kind in magick) first=1000000 ;; terminal) first=2000000 ;; browser) first=3000000 ;; esac
for split in test unseen; do
	moe-synth -q --tasks read --split $split --seed "$seed" --first $first -n $((n + 100)) -o "$work/$split.tar"
done
# Debian's Python, which has Pillow, even where another one comes first in PATH.
python=/usr/bin/python3
[ -x $python ] || python=python3
rm -rf "$out" "$out.part" "$out.tsv" "$out.made.tsv"
PYTHONDONTWRITEBYTECODE=1 "$python" "$here/crops.py" "$kind" "$n" "$seed" "$out" "$fonts" "$work"
