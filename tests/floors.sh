#!/bin/bash
# tests/floors.sh: the floors of lib. A folder includes only itself and folders on lower floors, headers *_priv.h stay in their folder,
# programs of cmd and tests may include anything else, and no two .c files of lib have the same name. Prints each violation; exits 1 if there is one.
set -u
cd "$(dirname "$0")/.." || exit 2

declare -A floor=(
	[base]=0
	[io]=1 [sys]=1
	[format]=2 [kernel]=2
	[stream]=3 [text]=3 [image]=3 [nn]=3
	[model]=4 [data]=4 [grad]=4 [trace]=4
	[stage]=5 [stats]=5 [import]=5
	[run]=6 [convert]=6 [synth]=6 [scale]=6
	[graft]=7 [train]=7
	[report]=8
	[bench]=9 [eval]=9 [plot]=9
	[ablate]=10
)
# Folders of one floor that may include each other, and why: an archive is read by a worker of sys.
beside=" io:sys "

bad=0
violation() {
	echo "$1"
	bad=1
}

# include FILE LINE HEADER: one #include "HEADER" of a file in lib.
include() {
	local from=${1#lib/} to=${3%%/*}
	from=${from%%/*}
	if [ "$to" = "$3" ]; then
		violation "$1:$2: includes \"$3\" without its folder"
	elif [ -z "${floor[$to]:-}" ]; then
		violation "$1:$2: includes \"$3\": no floor has a folder $to"
	elif [ ! -f "lib/$3" ]; then
		violation "$1:$2: includes \"$3\", which is not there"
	elif [ "$to" != "$from" ] && [ "${floor[$to]}" -ge "${floor[$from]}" ] && [[ $beside != *" $from:$to "* ]]; then
		violation "$1:$2: lib/$from (floor ${floor[$from]}) includes \"$3\" (floor ${floor[$to]})"
	fi
}

for folder in lib/*/; do
	folder=${folder#lib/}
	[ -n "${floor[${folder%/}]:-}" ] || violation "lib/$folder is on no floor"
done

n=0
while IFS=: read -r file line text; do
	header=${text#*\"}
	include "$file" "$line" "${header%%\"*}"
	n=$((n + 1))
done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' -r lib --include='*.[ch]')
[ "$n" -gt 100 ] || violation "only $n includes found in lib: this script does not see them"

# Private headers, in lib by another folder, or anywhere outside lib.
while IFS=: read -r file line text; do
	header=${text#*\"}
	header=${header%%\"*}
	[ "$(dirname "$file")" = "lib/$(dirname "$header")" ] || violation "$file:$line: includes the private \"$header\""
done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"[^"]*_priv\.h"' -r lib cmd tests --include='*.[ch]')

while read -r name; do
	violation "several files are called $name: $(find lib -name "$name" | tr '\n' ' ')"
done < <(find lib -name '*.c' -printf '%f\n' | sort | uniq -d)
exit $bad
