# helper.bash: what the tests of the programs share: where things are, and the manners that every program has.
bats_require_minimum_version 1.5.0
set -o pipefail
root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BIN=${BIN:-$root/build/release/bin}
PATH=$BIN:$PATH
unset MOE_THREADS MOE_TRACE CDPATH
first=$root/share/models/read           # the first model that was shipped: what is tested, whichever is the default
export MOE_MODEL=$first

golden=$root/tests/golden
crops=$golden/crops                     # 180 pictures, texts in crops.tsv
reader=$golden/read                     # cases.json, pics/, model/
olmoe=$golden/olmoe                     # cases.json, model/
demo=$root/share/demo
word=$demo/word.png                     # reads Forest
frames_py=$root/tests/cmd/frames.py

setup() { cd "$BATS_TEST_TMPDIR" || return; }

# Debian's Python, which has NumPy, even where another one comes first in PATH.
numpy() {
	local p known=$BATS_RUN_TMPDIR/python
	if [ -s "$known" ]; then
		p=$(<"$known")
	else
		for p in python3 /usr/bin/python3; do
			"$p" -c 'import numpy' 2>/dev/null && break
		done
		echo "$p" >"$known"
	fi
	PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$root/tests/cmd "$p" "$@"
}

# same A B: equal as text; shows both when not.
same() {
	[ "$1" = "$2" ] && return
	printf 'got:      %s\nexpected: %s\n' "$1" "$2"
	return 1
}

# refuses STATUS PATTERN PROGRAM ARGS...: ends with that status in time, writes nothing to standard output, and one line to standard error that begins
# with the program's name and matches PATTERN.
refuses() {
	local want=$1 pattern=$2 got=0 dir
	shift 2
	dir=$(mktemp -d "$BATS_TEST_TMPDIR/refused.XXXXXX")
	timeout 60 "$@" >"$dir/out" 2>"$dir/err" || got=$?
	if [ $got = "$want" ] && [ ! -s "$dir/out" ] && [ "$(wc -l <"$dir/err")" = 1 ] && [ "$(head -c $((${#1} + 2)) "$dir/err")" = "$1: " ] &&
		grep -qE -e "$pattern" "$dir/err"; then
		return
	fi
	echo "$*: exit status $got, expected $want with \"$pattern\" and nothing on standard output"
	head -c 500 "$dir/out" | cat -v
	cat "$dir/err"
	return 1
}

# on_terminal 'COMMAND': its standard streams are a terminal, unless it redirects them; prints what the terminal showed.
on_terminal() { timeout --foreground -k 5 60 script -qec "$1" /dev/null </dev/null | tr -d '\r'; }

# stream NAME [MODEL-OPTIONS...]: makes NAME.sts in the current folder: tokens, patches, features, hidden or routed (of layer 0) of the picture $word.
stream() {
	local commands=(true 'moe-tokenize --for-each "$word"' 'moe-patchify -q "$word"' moe-encode moe-embed 'moe-attend -l 0' 'moe-route -l 0')
	local names=(none tokens patches features hidden attended routed) i line=
	for i in 1 2 3 4 5 6; do
		line+="${line:+ | }${commands[i]}"
		[ "${names[i]}" != "$1" ] || break
	done
	eval "$line" >"$1.sts"
}

# frames KIND FILE: the frames of that kind as JSON lines, with the first values of their tensors.
frames() { moe-view --json -n 80 "$2" | jq -c --arg kind "$1" 'select(.kind == $kind)'; }

# each FILTER <LINES: there are lines, and jq's FILTER is true of each.
each() { jq -es "[.[] | ($1)] | length > 0 and all" >/dev/null; }

# Manners: what every program does.

# has_help PROGRAM: --help and --version.
has_help() {
	local p=$1 text version
	text=$("$p" --help 2>err)
	same "$(head -n 1 <<<"$text" | cut -d' ' -f1-3)" "usage: $p [options]"
	grep -q -- '--version' <<<"$text"
	grep -q -- '--threads' <<<"$text"
	[ ! -s err ]
	version=$(sed -n 's/^VERSION *:= *//p' "$root/Makefile")
	same "$("$p" --version)" "$p $version"
	same "$("$p" --help <&-)" "$text"
	same "$(on_terminal "$p --version")" "$p $version"
	"$p" --list-options | cut -f2 >options
	while read -r option; do
		grep -q -e "--$option" <<<"$text"
	done <options
	[ -s options ]
}

# refuses_bad_options PROGRAM: unknown ones, and values that are missing or out of range.
refuses_bad_options() {
	refuses 2 'unknown.*--nonsense' "$1" --nonsense </dev/null
	refuses 2 'unknown.*-Z' "$1" -Z </dev/null
	refuses 2 'threads.*needs a value' "$1" --threads </dev/null
	refuses 2 'threads.*0.*from 1 to 1024' "$1" --threads 0 </dev/null
	refuses 2 'threads.*2x.*from 1 to 1024' "$1" --threads 2x </dev/null
}

# refuses_terminals 'COMMAND': a filter neither reads a stream from a terminal (it shows its usage) nor writes one to a terminal; INPUT is a file that it
# can read. With "text" as third argument its output is text, which a terminal may have.
refuses_terminals() {
	local command=$1 input=$2 p=${1%% *} got=0
	got=$(on_terminal "$command >out 2>err; echo \$?")
	same "$got" 2
	[ ! -s out ]
	same "$(wc -l <err)" 1
	grep -q "^$p: usage: $p " err
	if [ "${3-}" != text ]; then
		got=0
		on_terminal "$command <$input" >shown || got=$?
		same "$got" 2
		same "$(wc -l <shown)" 1
		grep -q "^$p: .*terminal.*-o FILE" shown
	fi
}

# never_hangs PROGRAM ARGS...: ends at once when standard input is /dev/null, empty or closed.
never_hangs() {
	local got=0
	timeout 60 "$@" </dev/null >out 2>err || got=$?
	[ $got -le 2 ]
	[ $got = 0 ] || grep -q "^$1: " err
	got=0
	timeout 60 "$@" <&- >out 2>err || got=$?
	[ $got -le 2 ]
}

# writes_atomically GOOD BAD PROGRAM ARGS...: with the input GOOD, -o FILE replaces FILE by what standard output would have had; with BAD it fails, keeps
# FILE, and leaves nothing else in the folder.
writes_atomically() {
	local good=$1 bad=$2 got=0
	shift 2
	mkdir atomic
	"$@" <"$good" >plain
	echo old >atomic/file
	"$@" -o atomic/file <"$bad" >out 2>err || got=$?
	same "$got" 2
	same "$(cat atomic/file)" old
	same "$(ls -A atomic)" file
	[ ! -s out ]
	"$@" -o atomic/file <"$good" >out
	[ ! -s out ]
	same "$(ls -A atomic)" file
	if cmp -s atomic/file plain; then return; fi
	# The command line, which has the file's name, is part of a stream's provenance.
	moe-diff -q atomic/file plain
}

# needs_open_output PROGRAM ARGS...: a closed standard output is an error; a full one too.
needs_open_output() {
	local got=0
	cat >input
	"$@" <input >&- 2>err || got=$?
	same "$got" 2
	grep -q "^$1: .*cannot write" err
	got=0
	"$@" <input >/dev/full 2>err || got=$?
	same "$got" 2
	grep -q "^$1: .*cannot write" err
}

# agrees STREAM TENSOR CASE NAME [LIMIT]: the first frame's TENSOR is within 2e-5 (root mean square, relative) of the rows of tensor NAME in the
# reference file CASE that it covers; whole numbers are equal.
agrees() {
	moe-view --npy "$2" "$1" >mine.npy
	numpy - "$3" "$4" "${5:-2e-5}" <<-'PY'
		import sys
		import numpy as np
		import frames
		case, name, limit = sys.argv[1:]
		dtype, shape, data = frames.parse(open(case, "rb").read())[1][name]
		want = np.frombuffer(data, {"F32": "<f4", "I32": "<i4"}[dtype]).reshape(shape)
		mine = np.load("mine.npy")
		want = want[:len(mine)]
		assert mine.shape == want.shape, (mine.shape, want.shape)
		if dtype == "I32":
		    assert (mine == want).all()
		else:
		    mine, want = mine.astype("f8"), want.astype("f8")
		    off = np.sqrt(((mine - want) ** 2).mean() / (want ** 2).mean())
		    assert off <= float(limit), f"{name}: relative difference {off}"
	PY
}

# case_of MODEL NAME FIELD: a field of the reference's cases.json.
case_of() { jq -r --arg n "$2" '.[] | select(.name == $n)'".$3" "$golden/$1/cases.json"; }

# crops_shard NAME FIRST LAST FILTER: a shard of these crops, whose samples the filter makes of {number, text}.
crops_shard() {
	sed -n "$(($2 + 1)),$3p" "$crops.tsv" |
		jq -R -c --arg crops "$crops" --argjson first "$2" "split(\"\t\") as [\$file, \$text] | {number: (\$first + input_line_number - 1), text: \$text}
			| {stem: \"\(100000000 + .number)\"[1:], picture: \"\(\$crops)/\(\$file)\", sample: ($4)}" | python3 "$root/tests/cmd/shard.py" "$1"
}
