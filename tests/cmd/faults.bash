# What the tests of faults share. Each file begins with `load faults`.

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
: "${BIN:=$ROOT/build/${MODE:-release}/bin}"
PATH=$BIN:$PATH
READ=$ROOT/share/models/read
OLMOE=$ROOT/tests/golden/olmoe/model
GOOD=$ROOT/share/demo/price.png         # it says $12.90
# Sanitizers make a program some ten times slower.
case $BIN in *san/bin) LIMIT=90 ;; *) LIMIT=15 ;; esac
unset MOE_THREADS
export MOE_MODEL=$READ            # whichever model is the default

# The system's own Python: a wrapper in front of it may take longer than a test.
[ -x /usr/bin/python3 ] && python=/usr/bin/python3 || python=python3

faults() { $python "$ROOT/tests/cmd/faults.py" "$@"; }

complain() {
	echo "$*" >&2
	return 1
}

# Succeeds when the command fails; bats does not see a plain `! command`.
not() {
	if "$@"; then complain "succeeded: $*"; fi
}

# refused STATUS REGEX COMMAND...: the command ends with STATUS (never by a signal), says one line on standard error that fits REGEX, and what it
# wrote on standard output (out) is no complete stream.
refused() {
	local want=$1 pattern=$2 got=0
	shift 2
	timeout -k 2 "$LIMIT" "$@" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || got=$?
	[ "$got" = "$want" ] || complain "status $got, expected $want: $*: $(cat "$BATS_TEST_TMPDIR/err")"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/err")" = 1 ] || complain "expected one line from $*: $(cat "$BATS_TEST_TMPDIR/err")"
	grep -qE "^moe-[a-z]+: .*($pattern)" "$BATS_TEST_TMPDIR/err" || complain "expected /$pattern/ from $*: $(cat "$BATS_TEST_TMPDIR/err")"
	not grep -qa '"moe.kind":"end"' "$BATS_TEST_TMPDIR/out"
}

# stops STATUS COMMAND...: the same where other lines, or answers, may have come before.
stops() {
	local want=$1 got=0
	shift
	timeout -k 2 "$LIMIT" "$@" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || got=$?
	[ "$got" = "$want" ] || complain "status $got, expected $want: $*: $(cat "$BATS_TEST_TMPDIR/err")"
	tail -n 1 "$BATS_TEST_TMPDIR/err" | grep -qE '^moe-[a-z]+: ' || complain "expected a message from $*: $(cat "$BATS_TEST_TMPDIR/err")"
	not grep -qa '"moe.kind":"end"' "$BATS_TEST_TMPDIR/out"
}

# works COMMAND...: status 0, nothing on standard error; its output is in out.
works() {
	local got=0
	timeout -k 2 "$LIMIT" "$@" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || got=$?
	[ "$got" = 0 ] || complain "status $got: $*: $(cat "$BATS_TEST_TMPDIR/err")"
	[ ! -s "$BATS_TEST_TMPDIR/err" ] || complain "$*: $(cat "$BATS_TEST_TMPDIR/err")"
}
