# pipeline.bats: however the pass is divided over processes, threads, frames and instructions, the bytes are the same.
load helper

# cuts N OPTIONS: every way to run layers 0 to N-1 with moe-block on any ranges and moe-attend | moe-route | moe-expert on any layers, one a line.
cuts() {
	local n=$1 options=$2 a=${3:-0} line=${4:-cat} b
	if [ "$a" = "$n" ]; then
		echo "$line"
		return
	fi
	cuts "$n" "$options" $((a + 1)) "$line | moe-attend -l $a $options | moe-route -l $a $options | moe-expert -l $a $options"
	for ((b = a; b < n; b++)); do
		cuts "$n" "$options" $((b + 1)) "$line | moe-block -l $a-$b $options"
	done
}

# singly OPTIONS: the first of these: every stage of four layers is a program.
singly() { sed 1q <<<"$(cuts 4 "$1")"; }

# hidden LIST: the embedded prompts for the pictures of a list, hidden.sts.
hidden() {
	moe-tokenize --no-pg --logits "${2:-last}" --files-from "$1" | moe-patchify --no-pg --files-from "$1" | moe-encode --no-pg | moe-embed --no-pg >hidden.sts
}

# ring PIPE SOURCE-OPTIONS... -- DECODE-OPTIONS...: generates through the ring; PIPE stands between moe-embed and moe-decode.
ring() {
	local pipe=$1 source=()
	shift
	while [ "$1" != -- ]; do
		source+=("$1")
		shift
	done
	shift
	rm -f loop
	mkfifo loop
	moe-tokenize --generate --loop loop "${source[@]}" | eval "$front" | eval "$pipe" | moe-decode --loop loop "$@"
}

@test "the logits are bit-identical for all 34 ways to cut four layers: the reader" {
	ls "$crops"/00[0-2].png >list
	hidden list all
	moe-block --no-pg -l 0- <hidden.sts | moe-decode --no-pg --logits >want.sts
	same "$(numpy "$frames_py" count logit <want.sts)" $((3 * 65))
	cuts 4 --no-pg >pipes
	same "$(sort -u pipes | wc -l)" 34
	while read -r pipe; do
		eval "$pipe" <hidden.sts | moe-decode --no-pg --logits | cmp - want.sts
	done <pipes
}

@test "the logits are bit-identical for all 34 ways to cut four layers: the text model" {
	case_of olmoe one prompt | head -c -1 | moe-tokenize -m "$olmoe/model" --no-pg --logits all - >tokens.sts
	export MOE_MODEL=$olmoe/model
	moe-embed --no-pg <tokens.sts >hidden.sts
	moe-block --no-pg -l 0- <hidden.sts | moe-decode --no-pg --logits >want.sts
	same "$(numpy "$frames_py" count logit <want.sts)" 61
	cuts 4 --no-pg >pipes
	while read -r pipe; do
		eval "$pipe" <hidden.sts | moe-decode --no-pg --logits | cmp - want.sts
	done <pipes
}

@test "the ring gives moe-run's texts, ids and probabilities for all 34 cuts: the reader" {
	printf '%s\n' "$demo"/{word,price,clock}.png >list
	moe-run --json --files-from list >want
	front='moe-patchify --files-from list | moe-encode | moe-embed'
	cuts 4 '' >pipes
	while read -r pipe; do
		ring "$pipe" --files-from list -- --json | cmp - want
	done <pipes
}

@test "the ring gives moe-run's texts, ids and probabilities for all 34 cuts: the text model" {
	export MOE_MODEL=$olmoe/model
	moe-run --json -n 12 -p Hello >want
	same "$(jq -c .ids want)" "$(case_of olmoe short generated | jq -c .)"
	front=moe-embed
	cuts 4 '' >pipes
	while read -r pipe; do
		ring "$pipe" Hello -- --json -n 12 | cmp - want
	done <pipes
}

@test "the pipeline of the documentation reads the demo, and its statistics are moe-run's" {
	front='moe-patchify -q "$demo" | moe-encode | moe-embed'
	ring 'moe-block -l 0-1 | moe-attend -l 2 | moe-route -l 2 --stats=json:stats | moe-expert -l 2 | moe-block -l 3-' --for-each "$demo" -- >texts
	same "$(cat texts)" "$(moe-run -q --stats=json:all "$demo")"
	same "$(cut -f2 texts)" "v2.4.1-rc2
14:49
2026-03-14
\$12.90
HARBOR
\$ make check
Forest
socket: 8080"
	same "$(cat stats)" "$(sed -n 3p all)"
}

@test "a hundred sequences through the ring, in order, in windows of 1, 7 and 200" {
	ls "$crops"/0*.png >list
	same "$(wc -l <list)" 100
	moe-run --json --files-from list >want
	front='moe-patchify --files-from list | moe-encode | moe-embed'
	for window in 1 7 200; do
		ring 'moe-block -l 0-1 | moe-attend -l 2 | moe-route -l 2 | moe-expert -l 2 | moe-block -l 3' --files-from list --window $window -- --json | cmp - want
	done
}

@test "a hundred sequences in one stream have the logits that each has alone" {
	ls "$crops"/0*.png >list
	hidden list
	moe-block -l 0- <hidden.sts | moe-decode --logits | numpy "$frames_py" data logit >want
	same "$(wc -c <want)" $((100 * 100 * 4))
	eval "$(singly '')" <hidden.sts | moe-decode --logits | numpy "$frames_py" data logit | cmp - want
	sed -n '7p;50p;100p' list | while read -r f; do
		moe-tokenize | moe-patchify "$f" | moe-encode | moe-embed | moe-block -l 0- | moe-decode --logits | numpy "$frames_py" data logit
	done >some
	cmp some <(for i in 6 49 99; do dd bs=400 skip=$i count=1 status=none if=want; done)
}

@test "prompts chunked at every row give the same logits: the text model" {
	export MOE_MODEL=$olmoe/model
	case_of olmoe one prompt | head -c -1 | moe-tokenize --no-pg --logits all - >tokens.sts
	moe-embed <tokens.sts | moe-block -l 0- | moe-decode --logits | numpy "$frames_py" data logit >want
	same "$(wc -c <want)" $((61 * 700 * 4))
	for n in $(seq 61); do
		moe-embed --chunk "$n" <tokens.sts | moe-block -l 0- | moe-decode --logits | numpy "$frames_py" data logit | cmp - want
	done
	moe-embed --chunk 7 <tokens.sts | eval "$(singly '')" | moe-decode --logits | numpy "$frames_py" data logit | cmp - want
}

@test "chunked prompts generate the same, through the ring" {
	export MOE_MODEL=$olmoe/model
	prompt=$(case_of olmoe long prompt)
	case_of olmoe long generated | jq -c . >want
	for n in 1 100 360; do
		front="moe-embed --chunk $n"
		ring 'moe-block -l 0-2 | moe-attend -l 3 | moe-route -l 3 | moe-expert -l 3' "$prompt" -- --json -n 8 | jq -c .ids | cmp - want
	done
}

@test "threads and instructions do not change a bit of the logits" {
	ls "$crops"/00[0-2].png >list
	hidden list
	moe-block --no-pg -l 0- <hidden.sts | moe-decode --no-pg --logits >want.sts
	for options in '-t 1' '-t 2' '-t 7' '--cpu avx2' '--cpu avx512'; do
		eval "$(singly "--no-pg $options")" <hidden.sts | eval "moe-decode --logits --no-pg $options" | cmp - want.sts
	done
	MOE_THREADS=1 moe-block --no-pg -l 0- <hidden.sts | moe-decode --no-pg --logits | cmp - want.sts
	head -n 1 list >one
	hidden one
	moe-block --no-pg -l 0- <hidden.sts | moe-decode --no-pg --logits >want.sts
	eval "$(singly '--no-pg --cpu c')" <hidden.sts | moe-decode --logits --no-pg --cpu c | cmp - want.sts
	export MOE_MODEL=$olmoe/model
	case_of olmoe one prompt | head -c -1 | moe-tokenize --no-pg --logits all - | moe-embed --no-pg >hidden.sts
	moe-block --no-pg -l 0- <hidden.sts | moe-decode --no-pg --logits >want.sts
	for options in '-t 1' '-t 2' '--cpu c' '--cpu avx2' '--cpu avx512'; do
		eval "$(singly "--no-pg $options")" <hidden.sts | eval "moe-decode --logits --no-pg $options" | cmp - want.sts
	done
}

@test "what-if options do the same in one process and in a pipeline" {
	front='moe-patchify "$word" | moe-encode | moe-embed'
	printf '%s ' 0.5 -1 0 0 3 0 0.25 0 >bias.txt
	moe-run --json "$word" | jq -c 'del(.name)' >plain
	for how in '--top-k 1' '--drop 3,6' '--force 1' '--temperature 2' '--mute 0,2' '--swap 1=4 --swap 4=7' '--bias bias.txt' '--drop 3,6@1-2:image' '--drop 0-3@3:text' \
		'--top-k 1@2:text --temperature 0.5@0-2 --bias bias.txt@2-:image --swap 1=4@3 --force 0@0:text --mute 5'; do
		# shellcheck disable=SC2086
		moe-run --json ${how//--t/--route-t} "$word" | jq -c 'del(.name)' >want
		run -1 cmp -s plain want
		ring "moe-block -l 0-1 $how | moe-attend -l 2 | moe-route -l 2 $how | moe-expert -l 2 | moe-block -l 3 $how" -- --json | jq -c . | cmp - want
	done
}

@test "--only-wanted saves work and changes nothing" {
	printf '%s\n' "$demo"/{word,price}.png >list
	moe-run --json --files-from list >want
	front='moe-patchify --files-from list | moe-encode | moe-embed'
	ring 'moe-block -l 0- --only-wanted' --files-from list -- --json | cmp - want
}

@test "cat a b of two streams is a stream, compressed or not" {
	stream hidden
	moe-tokenize --for-each "$demo/clock.png" | moe-patchify "$demo/clock.png" | moe-encode | moe-embed >clock.sts
	texts="$word	F
$demo/clock.png	1"
	same "$(cat hidden.sts clock.sts | moe-block -l 0- | moe-decode)" "$texts"
	same "$(cat hidden.sts clock.sts | gzip | moe-block -l 0- | moe-decode)" "$texts"
	same "$(gzip -c hidden.sts | cat - <(gzip -c clock.sts) | moe-block -l 0- | moe-decode)" "$texts"
	moe-block --no-pg -l 0 <hidden.sts >want.sts
	gzip -1 -c hidden.sts | moe-block --no-pg -l 0 | cmp - want.sts
}

# refuses_stream PATTERN PROGRAM...: exit 2 and one line that names the program; nothing that a next stage would take for a whole stream.
refuses_stream() {
	local pattern=$1 got=0
	shift
	"$@" >out.sts 2>err || got=$?
	same "$got" 2
	same "$(wc -l <err)" 1
	grep -qE "^$1: .*$pattern" err
	[ ! -s out.sts ] || run -1 moe-view --check out.sts
}

@test "a stage that is missing or stands twice is refused, and accepted with --any-order" {
	stream hidden
	stream attended
	stream routed
	refuses_stream '"embed".*"0.expert"|"0.expert".*"embed"' moe-block -l 1- <hidden.sts
	refuses_stream '"0.attend"' moe-attend -l 0 <attended.sts
	refuses_stream 'embed' moe-route -l 0 <hidden.sts
	refuses_stream 'attend' moe-expert -l 0 <attended.sts
	refuses_stream 'embed' moe-decode <hidden.sts
	refuses_stream 'routed' moe-decode <routed.sts
	moe-block -l 1- --any-order <hidden.sts | moe-decode | grep -q "^$word	"
	moe-block -l 0-2 <hidden.sts | moe-decode --any-order | grep -q "^$word	"
}

@test "a stream of another model is refused by name, and accepted with --any-model" {
	stream hidden
	cp -RL "$first" other
	chmod -R u+w other
	jq '.rope_theta = 99' "$first/config.json" >other/config.json
	mine=$(moe-info --json | jq -r .fingerprint)
	theirs=$(moe-info --json other | jq -r .fingerprint)
	[ "$mine" != "$theirs" ]
	for program in 'moe-block -l 0-' 'moe-attend -l 0' moe-decode moe-encode moe-embed; do
		# shellcheck disable=SC2086
		refuses_stream "model.*($mine.*$theirs|$theirs.*$mine)" $program -m other <hidden.sts
	done
	moe-block -l 0- -m other --any-model <hidden.sts >mixed.sts
	moe-block -l 0- <hidden.sts >plain.sts
	run -1 moe-diff -q mixed.sts plain.sts
	export MOE_MODEL=other
	moe-block -l 0- --any-model <hidden.sts | moe-diff -q - mixed.sts
}

@test "one bad picture is one failed sequence: the others are answered, the sink reports it and exits 1" {
	cp "$demo/word.png" a.png
	echo broken >b.png
	cp "$demo/clock.png" c.png
	front='moe-patchify a.png b.png c.png | moe-encode | moe-embed'
	printf '%s\n' a.png b.png c.png >list
	status=0
	ring 'moe-block -l 0-' --files-from list -- >texts 2>err || status=$?
	same "$status" 1
	same "$(cat texts)" "a.png	Forest
c.png	14:49"
	same "$(wc -l <err)" 1
	grep -q '^moe-decode: b.png: ' err
}

@test "provenance: one line per program, none of a program with --no-pg" {
	moe-tokenize | moe-patchify "$word" | moe-encode --no-pg | moe-embed | moe-block -l 0-1 >out.sts
	same "$(moe-view --json -f 0 out.sts | jq -r '.meta."moe.pg"' | cut -f3 | xargs)" \
		"PN:moe-tokenize PN:moe-patchify PN:moe-embed PN:moe-block"
	moe-view --json -f 0 out.sts | jq -r '.meta."moe.pg"' | grep -q 'CL:moe-block -l 0-1$'
}

@test "the same input and options give the same bytes, time after time" {
	make_stream() { moe-tokenize --for-each "$demo" | moe-patchify -q "$demo" | moe-encode | moe-embed | moe-block -l 0- --stats=json:"$1"; }
	make_stream stats >one.sts
	cp stats first
	sleep 1.1
	make_stream stats | cmp - one.sts
	cmp stats first
}

# programs_for_all: the programs and their share in a folder that every user can read; prints it.
programs_for_all() {
	local to
	to=$(mktemp -d /tmp/moe-test-XXXXXX)
	chmod 755 "$to"
	mkdir -p "$to/bin" "$to/share/moe"
	cp "$BIN"/moe-{attend,route,expert} "$to/bin"
	cp -R "$root/share/families" "$root/share/models" "$to/share/moe"
	chmod -R a+rX "$to"
	echo "$to"
}

teardown() { rm -rf "${copy:-}"; }

@test "84 stages in a row work as an ordinary user: seven times through the layers" {
	ls "$crops"/00?.png >list
	hidden list
	line=cat
	for pass in 1 2 3 4 5 6 7; do
		for l in 0 1 2 3; do
			line+=" | moe-attend -l $l --any-order | moe-route -l $l | moe-expert -l $l"
		done
	done
	same "$(grep -o moe- <<<"$line" | wc -l)" 84
	copy=$(programs_for_all)
	user=()
	[ "$(id -u)" != 0 ] || user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	env PATH="$copy/bin:$PATH" MOE_MODEL="$copy/share/moe/models/read" "${user[@]}" bash -o pipefail -c "$line" <hidden.sts >long.sts
	line=cat
	for pass in 1 2 3 4 5 6 7; do
		line+=" | moe-block -l 0- --any-order"
	done
	eval "$line" <hidden.sts >short.sts
	moe-diff -q long.sts short.sts
	same "$(moe-view --json -f 0 long.sts | jq -r '.meta."moe.pg"' | wc -l)" 85
}

@test "a thousand pictures flow through a pipeline and through moe-run in constant memory" {
	for i in 1 2 3 4 5 6; do
		ls "$crops"/*.png
	done >many
	head -n 1000 many >thousand
	head -n 100 thousand >hundred
	cat >peak.py <<-'PY'
		import resource
		import subprocess
		import sys
		subprocess.run(sys.argv[1:], check=True)
		print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
	PY
	pipeline='moe-tokenize --files-from "$0" | moe-patchify --files-from "$0" | moe-encode | moe-embed | moe-block -l 0-1 |
		moe-attend -l 2 | moe-route -l 2 | moe-expert -l 2 | moe-block -l 3 | moe-decode >answers'
	# What waits in pipes is computed as one batch, so a stage's peak varies; a cache or a frame kept for every picture would be 40 to 300 MiB.
	many=$(numpy peak.py bash -o pipefail -c "$pipeline" thousand)
	same "$(wc -l <answers)" 1000
	echo "pipeline: $many KiB"
	case ${MODE:-release} in
	release | debug) [ "$many" -le 65536 ] ;;
	esac
	few=$(numpy peak.py moe-run -o answers --files-from hundred)
	many=$(numpy peak.py moe-run -o answers --files-from thousand)
	same "$(wc -l <answers)" 1000
	echo "moe-run: $few KiB for 100, $many KiB for 1000"
	case ${MODE:-release} in                # sanitizers keep what is freed
	release | debug)
		[ "$many" -lt $((few + few / 4)) ]
		[ "$many" -le 65536 ]
		;;
	esac
}
