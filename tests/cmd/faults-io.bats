# Full disks, closed pipes and descriptors, signals, scarce resources, foreign programs: a message and status 2, or a silent end by SIGPIPE; nothing
# half-written stays behind.
bats_require_minimum_version 1.5.0
load faults

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	cp "$GOOD" a.png
	moe-tokenize >tokens
	moe-patchify a.png <tokens >patches
	moe-encode <patches >features
	moe-embed <features >embedded
	moe-block -l 0-1 <embedded >hidden
	moe-attend -l 2 <hidden >attended
	moe-route -l 2 <attended >routed
	moe-expert -l 2 <routed >experted
	moe-block -l 3 <experted >final
}

setup() { cd "$BATS_FILE_TMPDIR"; }

# One line for each program and way of writing: its input (- for none) and the command.
every_command() {
	cat <<-END
		- moe-tokenize
		tokens moe-patchify a.png
		- moe-patchify --source a.png
		patches moe-encode
		features moe-embed
		hidden moe-attend -l 2
		attended moe-route -l 2
		routed moe-expert -l 2
		experted moe-block -l 3
		final moe-decode
		final moe-decode --json
		final moe-decode --logits
		- moe-run a.png
		- moe-run --json a.png
		- moe-view routed
		- moe-view --json routed
		- moe-view --check routed
		routed moe-view --seal
		- moe-view --npy hidden routed
		- moe-view $READ
		- moe-view --check $READ
		- moe-view --npy model.norm.weight $READ
		- moe-diff routed experted
		- moe-info
		- moe-info --json
		- moe-info --spec
	END
}

# for_every FUNCTION: calls it with the input and the command of each line.
for_every() {
	local input command
	while read -r input command; do
		[ "$input" = - ] && input=/dev/null
		# shellcheck disable=SC2086
		"$1" "$input" $command || complain "$1: $command"
	done < <(every_command)
}

# What full and closed outputs have in common: status 2 and one line that says so.
no_output() {   # REGEX STATUS
	[ "$2" = 2 ] || complain "status $2"
	[ "$(wc -l <err)" = 1 ] && grep -qE "^moe-[a-z]+: .*$1\$" err || complain "$(cat err)"
}

@test "a full disk behind standard output: every program says so" {
	full() {
		local input=$1 status=0
		shift
		timeout "$LIMIT" "$@" <"$input" >/dev/full 2>err || status=$?
		no_output 'No space left on device' $status
	}
	for_every full
	for p in "$BIN"/moe-*; do
		for option in --help --version --list-options; do
			full /dev/null "$p" $option
		done
	done
	moe-route -l 2 --stats=json:/dev/full <attended >out 2>err && false
	grep -qE '^moe-route: .*(No space left|cannot write the statistics)' err
}

@test "a closed standard output, input or error" {
	closed_output() {
		local input=$1 status=0
		shift
		timeout "$LIMIT" "$@" <"$input" >&- 2>err || status=$?
		no_output 'Bad file descriptor' $status
	}
	closed_error() {
		local input=$1 status=0
		shift
		timeout "$LIMIT" "$@" <"$input" >out 2>&- || status=$?
		[ $status = 0 ] || { [ $status = 1 ] && [ "$1" = moe-diff ]; } || complain "status $status"
	}
	closed_input() {
		local input=$1 status=0
		shift
		timeout "$LIMIT" "$@" <&- >out 2>err || status=$?
		if [ "$input" = /dev/null ]; then
			[ $status = 0 ] || { [ $status = 1 ] && [ "$1" = moe-diff ]; } || complain "status $status: $(cat err)"
		else
			no_output 'standard input: cannot read: Bad file descriptor' $status
		fi
	}
	for_every closed_output
	for_every closed_error
	for_every closed_input
	timeout "$LIMIT" moe-run a.png <&- >out 2>&-
	timeout "$LIMIT" moe-run nowhere.png <&- >&- 2>&- || [ $? = 2 ]
}

# The reading end of descriptor 9 is gone for sure.
@test "a closed pipe: every program ends silently by SIGPIPE, also where its parent ignores that" {
	closed_pipe() {
		local input=$1 status=0
		shift
		"$@" <"$input" >&9 2>err || status=$?
		[ $status = 141 ] || complain "status $status: $(cat err)"
		[ ! -s err ]
	}
	rm -f pipe
	mkfifo pipe
	exec 8<>pipe 9>pipe 8>&-
	for_every closed_pipe
	trap '' PIPE
	for_every closed_pipe
	trap - PIPE
	exec 9>&-
	yes "$GOOD" | head -n 300 >list
	bash -c 'moe-run -H --files-from list 2>err | head -n 1 >out; echo "${PIPESTATUS[0]}" >status'
	[ "$(cat status)" = 141 ]
	[ ! -s err ]
	[ "$(wc -l <out)" = 1 ]
}

# out/file keeps its text, and nothing else is in out.
untouched() {
	[ "$(cat out.d/file)" = old ]
	[ "$(ls -A out.d)" = file ]
}

fresh() {
	rm -rf out.d
	mkdir out.d
	echo old >out.d/file
}

every_output() {
	cat <<-END
		- moe-tokenize
		tokens moe-patchify a.png
		- moe-patchify --source a.png
		patches moe-encode
		features moe-embed
		hidden moe-attend -l 2
		attended moe-route -l 2
		routed moe-expert -l 2
		experted moe-block -l 3
		final moe-decode
		final moe-decode --logits
		- moe-run a.png
		- moe-run --json a.png
		routed moe-view --seal
	END
}

@test "-o where a limit stops the file: a message, the old file stays, nothing else does" {
	case $BIN in *tsan/bin) skip "the sanitizer's runtime writes files of its own" ;; esac
	limited() {
		local input=$1 status=0
		shift
		fresh
		(ulimit -f 0; exec timeout "$LIMIT" "$@" -o out.d/file <"$input" 2>/dev/full) || status=$?
		[ $status = 2 ] || complain "status $status"
		untouched
		[ "$1" = moe-run ] && return
		(ulimit -f 0; "$@" -o out.d/new <"$input" 2>&1 || true) | grep -qE "^$1: .*File too large\$"
		untouched
	}
	while read -r input command; do
		[ "$input" = - ] && input=/dev/null
		# shellcheck disable=SC2086
		limited "$input" $command
	done < <(every_output)
	fresh
	status=0
	(ulimit -f 0; timeout "$LIMIT" moe-route -l 2 --stats=json:out.d/file <attended) >out 2>err || status=$?
	[ $status = 2 ]
	untouched
}

@test "-o on a full file system" {
	[ "$(id -u)" = 0 ] || skip "needs to mount"
	mkdir -p small
	mount -t tmpfs -o size=64k none small || skip "cannot mount"
	status=0
	timeout "$LIMIT" moe-route -l 2 -o small/file <attended 2>err || status=$?
	left=$(ls -A small)
	timeout "$LIMIT" moe-tokenize -o small/fits
	fits=$(moe-view --check small/fits)
	umount small
	[ $status = 2 ]
	grep -qx 'moe-route: small/file: cannot write: No space left on device' err
	[ -z "$left" ]
	[[ $fits = *'all good' ]]
}

@test "-o to places that cannot be written" {
	mkdir -p folder
	refused 2 'nowhere/file: cannot create a temporary file' moe-tokenize -o nowhere/file
	refused 2 'folder: cannot open for writing: Is a directory' moe-tokenize -o folder
	refused 2 'name of the output is empty' moe-tokenize -o ''
	refused 2 'a.png/x: cannot open for writing' moe-tokenize -o a.png/x
	refused 2 'No space left on device' moe-tokenize -o /dev/full
	refused 2 'cannot create|cannot open' moe-tokenize -o /proc/nothing
	refused 2 'nowhere/stats: cannot create' moe-route -l 2 --stats=json:nowhere/stats -o /dev/null <attended
	works moe-tokenize -o /dev/null
}

@test "-o of a failing program leaves the old file, and nothing else" {
	fails() {
		fresh
		stops 2 "$@" -o out.d/file
		untouched
	}
	head -c 20000 routed >cut
	fails moe-expert -l 2 <cut
	fails moe-decode <cut
	fails moe-view --seal <cut
	fails moe-patchify a.png a.png <tokens
	fails moe-run --exec route:0=false a.png
	fails moe-run --exec route:0=cat a.png
	fails moe-run --exec nonsense a.png
}

# While it waits for more input, it has written; then it is killed. Only a file system that has no files without names keeps the temporary one.
@test "-o of a program that is killed leaves the old file; nothing half-written has a name" {
	$python -c 'import os; os.open(".", os.O_TMPFILE | os.O_WRONLY)' 2>/dev/null || skip "this file system names all files"
	rm -f more
	mkfifo more
	for signal in TERM INT HUP KILL; do
		fresh
		env --default-signal=INT moe-expert -l 2 -o out.d/file <more 2>err &     # a shell has its children in the background ignore it
		pid=$!
		exec 9>more
		head -c -128 routed >&9        # all but its end
		for ((i = 0; i < 20 * LIMIT; i++)); do
			find /proc/$pid/fd -lname '*(deleted)' -size +0 2>/dev/null | grep -q . && break
			sleep 0.02
		done
		kill -$signal $pid
		for ((i = 0; i < 20 * LIMIT; i++)); do kill -0 $pid 2>/dev/null || break; sleep 0.05; done
		kill -KILL $pid 2>/dev/null || true
		status=0
		wait $pid || status=$?
		exec 9>&-
		[ $status -gt 128 ]
		untouched
	done
}

# Every stage of a ring in turn is killed while it generates: the others end with a message, or by SIGPIPE, and none waits for ever.
@test "a ring whose stage is killed ends" {
	export MOE_MODEL=$OLMOE
	seq 100000 | sed 's/$/.png/' >names
	rm -f loop
	mkfifo loop
	ring() {        # each stage leaves its process id and its status
		stage() {
			local name=$1 status=0
			shift
			bash -c 'echo $$ >"pid.$1"; shift; exec "$@"' - "$name" "$@" 2>"err.$name" || status=$?
			echo $status >"status.$name"
		}
		rm -f pid.* status.*
		stage tokenize moe-tokenize --generate --files-from names --loop loop Once | stage embed moe-embed | stage block moe-block -l 0- |
			stage decode moe-decode -n 20 --loop loop >answers
	}
	for victim in tokenize embed block decode; do
		: >answers
		ring 2>/dev/null &
		for ((i = 0; i < 20 * LIMIT; i++)); do [ "$(wc -c <answers)" -gt 4000 ] && break; sleep 0.05; done
		[ -s answers ]
		kill -9 "$(cat pid.$victim)"
		for ((i = 0; i < 20 * LIMIT; i++)); do [ -s status.tokenize ] && [ -s status.embed ] && [ -s status.block ] && [ -s status.decode ] && break; sleep 0.05; done
		for s in tokenize embed block decode; do
			[ -s status.$s ] || { kill -9 "$(cat pid.$s)"; complain "$s hangs after $victim was killed"; }
			case $s:$(cat status.$s) in
			$victim:137) ;;
			*:2) [ "$(grep -c "^moe-$s: ." err.$s) $(wc -l <err.$s)" = '1 1' ] ;;
			decode:141) complain "decode ended by SIGPIPE" ;;
			*:141) [ ! -s err.$s ] ;;
			*) complain "$victim killed: $s ended with $(cat status.$s): $(cat err.$s)" ;;
			esac
		done
		wait
	done
}

@test "a ring that is none: no FIFO, a plain file, nobody behind, no way back" {
	export MOE_MODEL=$OLMOE
	rm -f loop
	refused 2 'loop \(make it with mkfifo\)' moe-tokenize --generate --loop loop Once
	: >loop
	refused 2 'loop is not a FIFO' moe-tokenize --generate --loop loop Once
	rm loop
	mkfifo loop
	bash -c 'moe-tokenize --generate --loop loop Once 2>err | true; echo "${PIPESTATUS[0]}" >status' &
	pid=$!
	for ((i = 0; i < 20 * LIMIT; i++)); do kill -0 $pid 2>/dev/null || break; sleep 0.05; done
	wait $pid
	[ "$(cat status)" = 2 ] || [ "$(cat status)" = 141 ]
	timeout "$LIMIT" bash -c 'moe-tokenize --generate --loop loop Once 2>err1 | moe-embed | moe-block -l 0- | moe-decode 2>err; echo "${PIPESTATUS[0]} ${PIPESTATUS[3]}" >status'
	grep -q 'there is no --loop to send tokens back' err
	[[ $(cat status) =~ ^(2|141)\ 2$ ]]
	timeout "$LIMIT" bash -c 'moe-tokenize --generate --loop loop Once 2>err1 | moe-embed | moe-block -l 0-1 2>/dev/null | moe-decode --loop loop 2>err; echo "${PIPESTATUS[0]} ${PIPESTATUS[3]}" >status'
	grep -q 'behind stage "1.expert"' err
	[[ $(cat status) =~ ^(2|141)\ 2$ ]]
}

# moe-decode has opened the loop; then its reader goes.
@test "a loop that nobody reads any more is said, not SIGPIPE" {
	rm -f loop more
	mkfifo loop more
	faults stream final generating 'number(frame("hidden"), "moe.more", 1)'
	head=$(moe-view generating | sed -n 's/^frame 1: .* at byte //p')
	exec 8<>loop
	moe-decode --loop loop <more >out 2>err 8>&- &
	pid=$!
	exec 9>more
	head -c "$head" generating >&9
	for ((i = 0; i < 20 * LIMIT; i++)); do find /proc/$pid/fd -lname "$PWD/loop" | grep -q . && break; sleep 0.05; done
	exec 8>&-
	tail -c +$((head + 1)) generating | head -c -128 >&9 || true    # without its end; it may be left unread
	for ((i = 0; i < 20 * LIMIT; i++)); do kill -0 $pid 2>/dev/null || break; sleep 0.05; done
	exec 9>&-
	status=0
	wait $pid || status=$?
	[ $status = 2 ]
	grep -qx 'moe-decode: nobody reads the loop loop any more: moe-tokenize failed or was stopped' err
}

@test "garbage in the loop is noticed" {
	export MOE_MODEL=$OLMOE
	rm -f loop
	mkfifo loop
	(timeout "$LIMIT" moe-tokenize --generate --loop loop Once >out 2>err || echo $? >status) &
	echo 'this is no frame at all' >loop
	wait
	[ "$(cat status)" = 2 ]
	grep -qE '^moe-tokenize: loop: byte 0: not a frame' err
}

@test "--exec: a foreign stage that dies, is silent, or writes nonsense" {
	cat >mine.py <<-'END'
		import json, os, struct, sys, time
		i, o = sys.stdin.buffer, sys.stdout.buffer
		def frame():
		    n = i.read(8)
		    if not n: sys.exit(0)
		    h = i.read(struct.unpack("<Q", n)[0])
		    return n + h + i.read(max([t["data_offsets"][1] for k, t in json.loads(h).items() if k != "__metadata__"] + [0]))
		what = sys.argv[1]
		head = frame()
		if what == "other": head = head.replace(b'"moe.kind":"head"', b'"moe.kind":"drop"')
		o.write(head); o.flush()
		f = frame()
		if what == "die": sys.exit(3)
		if what == "kill": os.kill(os.getpid(), 9)
		if what == "half": o.write(f[:len(f) // 2]); o.flush(); sys.exit(0)
		if what == "garbage": o.write(b"garbage" * 999)
		if what == "flip": f = bytearray(f); f[-1] ^= 1; o.write(f)
		if what == "again": o.write(head)
		o.flush()
		time.sleep(600)
	END
	cp "$(command -v sleep)" nap
	run_with() { refused 2 "$2" moe-run --exec-timeout "${3:-$LIMIT}" --exec "attend:1=exec $python $PWD/mine.py $1" a.png; }
	run_with die 'ended before it answered'
	run_with kill 'ended before it answered'
	run_with half 'mine.py half: byte [0-9]+: truncated'
	run_with garbage 'mine.py garbage: byte [0-9]+: not a frame'
	run_with flip 'mine.py flip: byte [0-9]+: .*CRC-32'
	run_with again 'head frame|answered with such a frame'
	run_with silent 'was silent for 2 s \(--exec-timeout\)' 2
	refused 2 'was silent for 0.3 s' moe-run --exec-timeout 0.3 --exec "route:0=cat >/dev/null; $PWD/nap 600" a.png
	refused 2 'ended before it answered' moe-run --exec route:0=true a.png
	refused 2 'cat: byte [0-9]+: frame "hidden" of sequence 0: tensor "expert_id" is missing' moe-run --exec route:0=cat a.png
	refused 2 'yes: byte 0: not a frame' moe-run --exec route:0=yes a.png
	refused 2 'cat /dev/zero: byte 0: not a frame' moe-run --exec 'route:0=cat /dev/zero' a.png
	stops 2 moe-run --exec route:0=/no/such/program a.png
	for bad in route 'route:0' 'route:0=' 'route:9=cat' 'route:x=cat' 'router:0=cat' 'route:2-1=cat'; do
		refused 2 '--exec' moe-run --exec "$bad" a.png
	done
	# It answered, but does not end: that is waited for no longer than for an answer.
	stops 2 moe-run --exec-timeout 0.5 --exec "attend:0=cat; $PWD/nap 600" a.png
	grep -q 'did not end within 0.5 s of the end of its input' "$BATS_TEST_TMPDIR/err"
	sleep 0.2
	not grep -ls "$PWD/\(mi[n]e.py\|n[a]p\)" /proc/[0-9]*/cmdline        # nothing of theirs goes on
}

@test "few descriptors, a small stack, little memory: an answer or a message" {
	case $BIN in *san/bin) skip "sanitizers need more" ;; esac
	for n in 4 5 6 8; do
		status=0
		(ulimit -n $n; timeout "$LIMIT" moe-run a.png) >out 2>err || status=$?
		[ $status = 0 ] || [ $status = 2 ] || [ $status = 127 ]         # 127: the loader itself
	done
	for v in 10000 15000 20000 30000 50000 100000; do
		status=0
		(ulimit -v $v; exec moe-run a.png) >out 2>err || status=$?
		[ $status = 0 ] || [ $status = 2 ] || [ $status = 127 ]
	done
	(ulimit -s 64; moe-info >/dev/null; moe-tokenize | moe-patchify a.png | moe-view --check >/dev/null)
	(ulimit -s 256; [ "$(moe-run a.png)" = '$12.90' ])
	faults stream hidden deep 'frame("hidden")["raw"] = lambda t: "{\"a\":" + "[" * 1000000'
	(ulimit -s 64; refused 1 'byte [0-9]+: .' moe-view --check deep)
	(ulimit -s 64; tr '\0' x </dev/zero | head -c 300000 | moe-tokenize -m "$OLMOE" - >/dev/null)
}

@test "input a byte at a time, and interruptions, change nothing" {
	moe-expert -l 2 --no-pg <routed >want
	dd if=routed bs=1 status=none | moe-expert -l 2 --no-pg | cmp - want
	(for i in 0 1 2 3 4 5 6 7 8 9; do tail -c +$((i * 9001 + 1)) routed | head -c 9001; sleep 0.02; done) | moe-expert -l 2 --no-pg | cmp - want
	seq 2000 | sed 's/$/.png/' >names
	moe-tokenize -m "$OLMOE" --files-from names Once | moe-embed -m "$OLMOE" >many
	moe-block -m "$OLMOE" -l 0- --no-pg <many >want
	(for ((i = 0; i < 5; i++)); do cat many; done) >five
	(for ((i = 0; i < 5; i++)); do cat want; done) >wanted
	moe-block -m "$OLMOE" -l 0- --no-pg <five >got &
	pid=$!
	for ((i = 0; i < 300; i++)); do kill -WINCH $pid 2>/dev/null || break; kill -STOP $pid; kill -CONT $pid; done
	wait $pid
	cmp got wanted
}

@test "memory does not grow with the number of sequences" {
	case $BIN in *san/bin) skip "sanitizers keep what was freed" ;; esac
	peak() {        # COMMAND...: its peak in KiB
		$python -c 'import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)' "$@" 2>&1 >out.stream
	}
	seq 1000 | sed 's/$/.png/' >few
	seq 10000 | sed 's/$/.png/' >names
	export MOE_MODEL=$OLMOE
	for stage in moe-embed 'moe-block -l 0-' moe-decode; do
		for n in few names; do
			[ "$stage" = moe-embed ] && moe-tokenize --files-from $n Once >$n.in
			peak $stage <$n.in >$n.peak
			mv out.stream $n.in
		done
		echo "$stage: $(cat few.peak names.peak)"
		[ "$(cat names.peak)" -lt $(($(cat few.peak) + 3000)) ]
	done
	[ "$(wc -l <names.in)" = 10000 ]
}
