#!/bin/bash
# man.sh BIN [PAGE...]: the manual pages (all of man/ by default) are clean, know exactly the options that the programs have, and
# their examples give what they show.
#
# Examples are literal displays (.Bd -literal) with lines that begin with "$ ". A display is one session of bash in the page's folder,
# where the pictures of share/demo, the folder share/ask, the text model olmoe and share/models/draw lie; the displays of a page follow each
# other there. A command goes on in the next line behind "|", "\", "&&" or "; do", and up to END behind <<'END'. The lines behind it, up to the
# next command or an empty line, are exactly what it prints on standard output and error; a line "..." stands for any lines. It must end with
# status 0, the display within 20 seconds.
set -u
cd "$(dirname "$0")/.." || exit 2
bin=$(cd "${1:?the folder of the programs}" && pwd) || exit 2
shift
pages=("$@")
[ $# != 0 ] || pages=(man/*.[1-9])
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
case ${MODE:-release} in release) limit=20 ;; *) limit=120 ;; esac
fail() {
	echo "$*"
	bad=1
}

# ---- form ----

# mandoc looks other pages up in a tree of the usual shape, which must have an index.
lint() {
	local p
	for p in man/*.[1-9]; do
		mkdir -p "$work/tree/man${p##*.}"
		cp "$p" "$work/tree/man${p##*.}"
	done
	PATH=$PATH:/usr/sbin makewhatis "$work/tree" || fail "makewhatis cannot index the pages"       # not in an ordinary user's PATH on Debian
	MANPATH=$work/tree mandoc -T lint -W style "${pages[@]}" >"$work/lint" 2>&1
	[ ! -s "$work/lint" ] || fail "$(cat "$work/lint")"
}

# ---- options ----

# Reads a page; prints "letter TAB name TAB value TAB text" for each .It Fl, as --list-options does; the text is the item's, on one line.
page_options() {
	awk '
	function flush() { if (name) printf "%s\t%s\t%s\t%s\n", letter, name, value, text; name = "" }
	/^\.It Fl/ {
		flush()
		letter = "-"; value = ""; text = ""; name = "?"; optional = ""
		for (i = 2; i <= NF; i++) {
			if ($i == "Fl" && $(i + 1) ~ /^-/) name = substr($(i + 1), 2)
			else if ($i == "Fl") letter = $(i + 1)
			else if ($i == "Op") optional = "?"
			else if ($i == "Ar") value = optional $(i + 1)
		}
		next
	}
	/^\.(It|El)/ { flush() }
	name { sub(/^\.[A-Z][a-z] /, ""); text = text " " $0 }
	' "$1"
}

# check_value PROGRAM NAME TEXT HELP: ranges and plain defaults of --help stand in the page's text.
check_value() {
	local number
	if [[ $4 =~ \(([0-9]+)\ to\ ([0-9]+)\) ]]; then
		for number in "${BASH_REMATCH[@]:1:2}"; do
			[[ $3 =~ (^|[^0-9])$number([^0-9]|$) ]] || fail "man/$1.1: --$2: the page does not say the end of its range, $number"
		done
	fi
	if [[ $4 =~ \(default:\ ([a-z]+|[0-9.e-]+)\) ]]; then
		number=${BASH_REMATCH[1]}
		[[ $3 =~ default && " $3 " == *[\ \(]"$number"[\ .,\;:\)]* ]] ||
			fail "man/$1.1: --$2: the page does not say its default, $number"
	fi
}

options() {
	local program=$1 page=man/$1.1 name text help
	page_options "$page" >"$work/page"
	"$bin/$program" --list-options >"$work/list" || fail "$program --list-options fails"
	diff <(cut -f 1-3 "$work/list" | sort) <(cut -f 1-3 "$work/page" | sort) >"$work/diff" ||
		fail "$page: options of the program (<) and of the page (>) differ:"$'\n'"$(cat "$work/diff")"
	while IFS=$'\t' read -r _ name _ text; do
		help=$("$bin/$program" --help | grep -A 1 -e "--$name\b" | head -n 2 | tr -s ' \n' ' ')
		check_value "$program" "$name" "$text" "$(grep -e "--$name\b" <<<"$help" | sed "s/.*--$name\b//; s/ --[a-z].*//")"
	done <"$work/page"
}

# ---- examples ----

# Writes DIR/N.sh, a display of the page, and DIR/N.M.want, what its command M prints (a regular expression of bash).
split_examples() {
	awk -v dir="$2" '
	function unescape(s) {
		gsub(/\\&/, "", s); gsub(/\\-/, "-", s); gsub(/\\\(aq/, "\047", s); gsub(/\\\(dq/, "\"", s); gsub(/\\\(ga/, "`", s)
		gsub(/\\\(ti/, "~", s); gsub(/\\\(ha/, "^", s); gsub(/\\e/, "\\", s)
		return s
	}
	/^\.Bd -literal/ { inside = 1; n++; m = 0; command = 0; here = 0; next }
	/^\.Ed/ { close_command(); inside = 0; next }
	!inside || /^\.\\"/ { next }
	{ line = unescape($0) }
	here || more {
		print line >sh
		if (here && line == "END") here = 0
		else if (!here) more = line ~ /(\||\\|&&|; do)$/
		next
	}
	line ~ /^\$ / {
		close_command()
		m++
		command = 1
		sh = dir "/" n ".sh"
		want = dir "/" n "." m ".want"
		printf "" >want
		line = substr(line, 3)
		print "{ : " m >sh
		print line >sh
		here = line ~ /<<\047END\047/
		more = line ~ /(\||\\|&&|; do)$/
		next
	}
	line == "" { close_command(); next }
	command { print line >want }
	function close_command() {
		if (command) {
			printf "} >%s/%d.%d.out 2>&1 </dev/null; echo $? >%s/%d.%d.rc\n", dir, n, m, dir, n, m >sh
			close(want)
		}
		command = 0
	}
	' "$1"
}

# same WANT OUT: the lines are the same; "..." is any lines.
same() {
	local line pattern=''
	while IFS= read -r line; do
		if [ "$line" = ... ]; then
			pattern+='?(*$'"'\n'"')'
		else
			printf -v line %q "$line"
			pattern+="$line"'$'"'\n'"
		fi
	done <"$1"
	eval "[[ \$(cat \"\$2\"; echo x) == ${pattern}x ]]"
}

show() {
	sed 's/^/    /' "$1"
}

# One display of a page.
run_display() {
	local page=$1 dir=$2 n=$3 m rc
	(cd "$dir/files" && timeout $limit bash "$dir/$n.sh")
	for ((m = 1; ; m++)); do
		[ -e "$dir/$n.$m.want" ] || break
		rc=$(cat "$dir/$n.$m.rc" 2>/dev/null || echo none, it was stopped)
		if [ "$rc" = 0 ] && same "$dir/$n.$m.want" "$dir/$n.$m.out"; then
			continue
		fi
		fail "$page: example $n, command $m (status $rc):"
		sed -n "/^{ : $m\$/,/^} >/p" "$dir/$n.sh" | sed '1d;$d' | sed 's/^/  $ /'
		echo "  shown:"
		show "$dir/$n.$m.want"
		echo "  printed:"
		show "$dir/$n.$m.out" 2>/dev/null
		return
	done
}

examples() {
	local page=$1 dir=$work/${1##*/} n
	mkdir -p "$dir/files"
	cp share/demo/*.png "$dir/files"
	cp -r share/ask "$dir/files/ask"
	cp -r tests/golden/olmoe/model "$dir/files/olmoe"
	cp -r share/models/draw "$dir/files/draw"
	split_examples "$page" "$dir"
	compgen -G "$dir/*.sh" >/dev/null || fail "$page: no examples"
	for n in $(cd "$dir" && compgen -G '*.sh' | sed 's/\.sh$//' | sort -n); do
		run_display "$page" "$dir" "$n"
	done
}

# What several pages say in one section is one text.
shared_sections() {
	local first name others p
	while IFS=: read -r first name others; do
		section "$first" "$name" >"$work/section"
		[ -s "$work/section" ] || fail "man/$first.1: no section $name"
		for p in $others; do
			section "$p" "$name" | cmp -s - "$work/section" || fail "man/$p.1: the section $name is not that of man/$first.1"
		done
	done <<<'moe-run:WHAT IF:moe-block moe-route'
}

# section PAGE NAME
section() {
	awk -v name="$2" '/^\.Sh / { inside = substr($0, 5) == name } inside' "man/$1.1"
}

# A python3 that has NumPy, first in the PATH of the examples.
python_with_numpy() {
	local p
	for p in $(type -ap python3) /usr/bin/python3; do
		if "$p" -c 'import numpy' 2>/dev/null; then
			mkdir -p "$work/path"
			ln -s "$p" "$work/path/python3"
			return
		fi
	done
	fail "no python3 here can import numpy"
}

# The stage in Python of moe-stream(5) stays short.
python_stage() {
	local n
	n=$(awk '/<<(\047|\\\(aq)END/ { inside = 1; next } /^END/ { exit } inside' man/moe-stream.5 | wc -l)
	[[ $n -ge 1 && $n -le 15 ]] || fail "man/moe-stream.5: the stage in Python has $n lines, expected 1 to 15"
}

lint
shared_sections
for p in "$bin"/moe-*; do
	[ -e "man/${p##*/}.1" ] || fail "${p##*/} has no page man/${p##*/}.1"
done
python_with_numpy
export PATH=$work/path:$bin:$PATH LC_ALL=C.UTF-8
unset MOE_MODEL MOE_THREADS
for p in "${pages[@]}"; do
	case $p in
	*/moe-stream.5) python_stage ;;
	*.1) options "$(basename "$p" .1)" ;;
	esac
	examples "$p"
done
exit $bad
