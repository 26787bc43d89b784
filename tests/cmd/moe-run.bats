load helper

@test "help, version and bad options" {
	has_help moe-run
	refuses_bad_options moe-run
	refuses 2 usage moe-run </dev/null
	refuses 2 'batch 0.*from 1' moe-run --batch 0 "$word"
	refuses 2 'top-k 3' moe-run --route-top-k 3 "$word"
	refuses 2 'drop 8' moe-run --drop 8 "$word"
	refuses 2 'nowhere.*no such model' moe-run -m nowhere "$word"
	refuses 2 'expected STAGE:LAYERS=COMMAND' moe-run --exec cat "$word"
	refuses 2 'a stage is attend, route or expert' moe-run --exec embed:0=cat "$word"
	refuses 2 'layers go from 0 to 3' moe-run --exec route:4=cat "$word"
}

@test "terminals, closed and empty input, full output" {
	same "$(on_terminal moe-run)" "moe-run: usage: moe-run [options] [PICTURE|FOLDER|SHARD...] (try --help)"
	same "$(on_terminal "moe-run $word")" Forest
	never_hangs moe-run
	never_hangs moe-run -
	never_hangs moe-run --files-from -
	never_hangs moe-run "$word"
	same "$(moe-run "$word" <&-)" Forest
	same "$(moe-run "$word" 2>&-)" Forest
	needs_open_output moe-run "$word" </dev/null
}

@test "-o replaces a file only when all is done" {
	moe-run "$word" -o file
	same "$(cat file)" Forest
	echo old >file
	moe-run --json -o file "$word" "$demo/clock.png" >out
	[ ! -s out ]
	moe-run --json "$word" "$demo/clock.png" | cmp - file
	echo old >file
	run -2 moe-run -o file --exec route:2=cat "$word"
	same "$(cat file)" old
	echo old >file
	refuses 2 'layers go from' moe-run -o file --exec route:9=cat "$word"
	rm -r refused.*
	same "$(cat file)" old
	same "$(ls -A)" "$(printf 'file\nout')"
}

@test "one picture gives just its text, - too, several give NAME and TEXT in order" {
	same "$(moe-run "$word")" Forest
	same "$(moe-run - <"$word")" Forest
	same "$(moe-run "$demo/word.png" "$demo/clock.png" "$demo/badge.png")" "$demo/word.png	Forest
$demo/clock.png	14:49
$demo/badge.png	v2.4.1-rc2"
	same "$(moe-run "$demo/clock.png" - <"$word")" "$demo/clock.png	14:49
-	Forest"
}

@test "-H forces names and -h forbids them, as in grep" {
	same "$(moe-run -H "$word")" "$word	Forest"
	same "$(moe-run -H - <"$word")" "-	Forest"
	same "$(moe-run -h "$demo/word.png" "$demo/clock.png")" "Forest
14:49"
	same "$(moe-run --with-names "$word")" "$word	Forest"
	same "$(moe-run --no-names "$demo" 2>/dev/null | wc -l)" 8
}

@test "lists of names: --files-from FILE and -, ended by newlines or by NUL" {
	cp "$demo/word.png" 'a b.png'
	cp "$demo/clock.png" $'c\nd.png'
	printf 'a b.png\n%s\n' "$demo/badge.png" >list
	same "$(moe-run --files-from list)" "a b.png	Forest
$demo/badge.png	v2.4.1-rc2"
	same "$(moe-run --files-from - <list)" "$(moe-run --files-from list)"
	same "$(printf 'a b.png' | moe-run --files-from -)" "a b.png	Forest"
	same "$(printf 'a b.png\0c\nd.png\0' | moe-run -0 --files-from -)" "a b.png	Forest
c\nd.png	14:49"
	same "$(moe-run --files-from list "$demo/date.png" | cut -f2 | xargs)" "2026-03-14 Forest v2.4.1-rc2"
	same "$(moe-run --files-from /dev/null)" ""
	refuses 2 'nolist.*No such file' moe-run --files-from nolist
}

@test "folders, tar and zip shards: members in order, names as labels" {
	mkdir some
	cp "$demo"/{word,clock,badge}.png some
	echo notes >some/notes.txt
	texts="v2.4.1-rc2 14:49 Forest"
	same "$(moe-run some 2>notes | xargs)" "some/badge.png v2.4.1-rc2 some/clock.png 14:49 some/word.png Forest"
	same "$(cat notes)" "moe-run: 1 file passed over: no picture by name"
	same "$(moe-run -q some 2>&1 | cut -f2 | xargs)" "$texts"
	tar -C some -cf some.tar word.png badge.png clock.png
	same "$(moe-run some.tar | xargs)" "word.png Forest badge.png v2.4.1-rc2 clock.png 14:49"
	gzip -k some.tar
	same "$(moe-run some.tar.gz)" "$(moe-run some.tar)"
	(cd some && zip -q ../some.zip clock.png word.png)
	same "$(moe-run some.zip | xargs)" "clock.png 14:49 word.png Forest"
	same "$(moe-run -q some.zip some "$demo/date.png" | cut -f2 | xargs)" "14:49 Forest $texts 2026-03-14"
	mkdir none
	same "$(moe-run none)" ""
}

@test "--json: one object per line with name, text, ids, logprob and counts; times only with --timings" {
	moe-run -q --json "$demo" >json
	same "$(wc -l <json)" 8
	each 'keys_unsorted == ["name", "text", "ids", "logprob", "confidence", "logprob_over", "finish", "prompt_tokens", "generated_tokens"] and .prompt_tokens == 65
		and .generated_tokens == (.ids | length) and .logprob < 0 and (.ids[-1] == 4) and .generated_tokens == (.text | length) + 1' <json
	same "$(jq -r '.name + "\t" + .text' json)" "$(moe-run -q "$demo")"
	moe-run -q --json "$demo" | cmp - json
	moe-run -q --timings "$demo" | each '.seconds > 0'
	same "$(moe-run -q --timings "$demo" | jq -c 'del(.seconds)')" "$(jq -c . json)"
	same "$(moe-run --json "$word" | jq -r .text)" Forest
}

@test "ids and log-probability are those of the reference, for the reader" {
	for name in terminal exact_32x128 price_large; do
		moe-run --json "$reader/pics/$name.png" >answer
		same "$(jq -c .ids answer)" "$(case_of read $name generated | jq -c .)"
		same "$(jq -r .text answer)" "$(case_of read $name generated_text)"
		jq -e --argjson want "$(case_of read $name logprob)" '(.logprob - $want) | fabs < 1e-4' answer
	done
}

@test "ids are those of the reference, for a text model" {
	for name in one short long; do
		n=$(case_of olmoe $name 'generated | length')
		case_of olmoe $name prompt | head -c -1 >prompt
		prompt=$(cat prompt; printf x)
		moe-run -m "$olmoe/model" --json -n "$n" -p "${prompt%x}" >answer
		same "$(jq -c .ids answer)" "$(case_of olmoe $name generated | jq -c .)"
		same "$(jq .prompt_tokens answer)" "$(case_of olmoe $name tokens)"
	done
}

@test "168 of the 180 crops are read exactly, as by the reference" {
	cut -f1 "$golden/crops.tsv" | sed "s|^|$crops/|" >list
	moe-run -h --files-from list >texts
	same "$(wc -l <texts)" 180
	right=$(paste <(cut -f2 "$golden/crops.tsv") texts | awk -F'\t' '$1 == $2' | wc -l)
	[ "$right" -ge 167 ]
	same "$right" 168
}

@test "xargs -P2 -n20 over 180 crops gives the lines of one run" {
	ls "$crops"/*.png >list
	moe-run --files-from list >one
	xargs -P2 -n20 moe-run -H <list >many
	same "$(sort many)" "$(sort one)"
	same "$(wc -l <one)" 180
}

@test "five bad pictures among two hundred: exactly those are reported, the others answered, exit 123" {
	mkdir some
	for i in $(seq -w 0 199); do
		cp "$crops/$(printf %03d $((10#$i % 180))).png" "some/$i.png"
	done
	for i in 003 077 100 150 199; do
		head -c 40 "some/$i.png" >cut && mv cut "some/$i.png"
	done
	status=0
	ls some/*.png | xargs -P2 -n20 moe-run -H >answers 2>errors || status=$?
	same "$status" 123
	same "$(wc -l <answers)" 195
	same "$(grep -o 'some/[0-9]*' errors | sort | xargs)" "some/003 some/077 some/100 some/150 some/199"
	same "$(wc -l <errors)" 5
}

@test "threads, instructions and batches do not change a bit of the answers" {
	ls "$crops"/0[0-4]*.png >list
	moe-run --json --files-from list >want
	for how in '-t 1' '-t 2' '-t 3' '--batch 1' '--batch 16' '--batch 100' '--cpu avx2' '--cpu avx512'; do
		# shellcheck disable=SC2086
		moe-run --json $how --files-from list | cmp - want
	done
	head -n 3 list | moe-run --json --cpu c --files-from - | cmp - <(head -n 3 want)
	MOE_THREADS=1 moe-run --json --files-from list | cmp - want
	MOE_THREADS=x refuses 2 'MOE_THREADS.*"x"' moe-run "$word"
	while read -r f; do
		moe-run --json "$f"
	done < <(head -n 10 list) | jq -c 'del(.name)' >alone
	same "$(cat alone)" "$(head -n 10 want | jq -c 'del(.name)')"
}

@test "-p gives the prompt; what the family does not define is refused" {
	same "$(moe-run -p '<image><read>' "$word")" Forest
	refuses 2 'text before its picture' moe-run -p 'What is <image>?' "$word"
	refuses 2 'has 2 pictures' moe-run -p '<image><image><read>' "$word" "$word"
	refuses 2 'no text behind its picture' moe-run -p '<image>' "$word"
	refuses 2 'has 0 pictures' moe-run -p '<read>'
	refuses 2 'no <image>.*pictures were given' moe-run -m "$olmoe/model" -p Hello "$word"
	refuses 2 'no prompt of its own' moe-run -m "$olmoe/model"
}

@test "-n bounds the answer" {
	same "$(moe-run -n 2 "$word")" Fo
	same "$(moe-run -n 100 "$word")" Forest
	same "$(moe-run -n 3 --json "$word" | jq .generated_tokens)" 3
	same "$(moe-run -m "$olmoe/model" -n 5 --json -p Hello | jq -c .ids)" "$(case_of olmoe short 'generated[:5]' | jq -c .)"
}

@test "--min-confidence: unsure answers are withheld, in lines, names and JSON" {
	same "$(moe-run --json "$word" | jq '(.logprob | exp) - .confidence | fabs < 1e-6')" true
	same "$(moe-run --min-confidence 0.9 "$word")" Forest
	badge=$demo/badge.png                   # 0.92
	refuses 1 'badge.png: no answer: .* confidence of 0.919' moe-run --min-confidence 0.95 "$badge"
	same "$(moe-run -q --min-confidence 0.95 -H "$badge" 2>&1 || echo $?)" 1
	run -1 --separate-stderr moe-run -q --min-confidence 0.99 "$demo"
	same "$stderr" ''
	same "$output" "$(moe-run -q "$demo" | grep -v '/\(badge\|xterm\).png')"
	moe-run -q --json "$demo" >all
	run -1 moe-run -q --json --min-confidence 0.99 "$demo"
	same "$output" "$(jq -c 'if .confidence < 0.99 then .text = null else . end' all)"
	run -1 moe-run -q --min-confidence 1 --prompts <(echo '<image><read>') "$badge"
	same "$output" ''
	# A picture that cannot be read is worse than an answer that is not given.
	echo broken >broken.png
	run -2 moe-run -q --min-confidence 0.95 broken.png
	run -1 moe-run -q --min-confidence 0.95 broken.png "$badge"
	refuses 2 'min-confidence.*from 0 to 1' moe-run --min-confidence 2 "$word"
	refuses 2 '-i prints answers as they are made' moe-run -i --min-confidence 0.5
	refuses 2 'score generates nothing' moe-run -m "$olmoe/model" --score "$word" --min-confidence 0.5
}

@test "what-if options change the answer's probability, and say what cannot be" {
	plain=$(moe-run --json "$word" | jq .logprob)
	for how in '--route-top-k 1' '--drop 3' '--force 2' '--route-temperature 3'; do
		# shellcheck disable=SC2086
		[ "$(moe-run --json $how "$word" | jq .logprob)" != "$plain" ]
	done
	same "$(moe-run --json --route-temperature 1 --route-top-k 2 "$word" | jq .logprob)" "$plain"
	same "$(moe-run --drop 3 --stats=json "$word" 2>&1 >/dev/null | jq -c '.all.load[3]' | xargs)" "0 0 0 0"
	moe-run --force 2 --stats=json "$word" 2>&1 >/dev/null | each '.all.load[2] == .all.tokens'
	moe-run --route-top-k 1 --stats=json "$word" 2>&1 >/dev/null | each '.all.choices == .all.tokens'
	moe-run --drop 3@1:image --stats=json "$word" 2>&1 >/dev/null | jq -c .image.load[3] | xargs >left
	same "$(awk '{print ($1 > 0), ($2 > 0), ($3 > 0)}' left)" "1 0 1"
	refuses 2 'no expert is left' moe-run --drop 0-7 "$word"
	refuses 2 '--route-top-k 1.5' moe-run --route-top-k 1.5 "$word"
}

@test "--stats of every layer, in every form, beside the same answers" {
	moe-run -q --stats=json "$demo" >plain 2>json
	same "$(cat plain)" "$(moe-run -q "$demo")"
	same "$(jq -c .layer json | xargs)" "0 1 2 3"
	each '.all.choices == .all.tokens * .top_k and (.all.load | add) == .all.choices and .all.tokens == .text.tokens + .image.tokens and .image.tokens == 8 * 64' <json
	moe-run -q --stats=tsv:tsv "$demo" >/dev/null
	same "$(wc -l <tsv)" $((1 + 4 * 3 * 8))
	same "$(grep -c ^layer tsv)" 1
	moe-run -q --stats "$demo" 2>text >/dev/null
	same "$(grep -c '^layer [0-3]: 8 experts, top 2$' text)" 4
}

# router.py: a router of the user's that takes the first two experts that its arguments do not name, evenly.
router() {
	cat >router.py <<-'PY'
		import sys
		import numpy as np
		import frames
		drop = [int(x) for x in sys.argv[1:]]
		out = sys.stdout.buffer
		for raw in frames.split(sys.stdin.buffer):
		    meta, t = frames.parse(raw)
		    if meta["moe.kind"] == "head":
		        meta["moe.crc"] = "none"
		    else:
		        rows = t["hidden"][1][0]
		        e = np.tile(np.array([k for k in range(8) if k not in drop][:2], "<i4"), (rows, 1))
		        w = np.full(e.shape, 0.5, "<f4")
		        t.pop("_pad", None)
		        t["expert_id"] = ("I32", list(e.shape), e.tobytes())
		        t["weight"] = ("F32", list(w.shape), w.tobytes())
		        meta["moe.kind"] = "routed"
		    meta.pop("moe.crc32", None)
		    out.write(frames.build(meta, t))
		    out.flush()
	PY
}

@test "--exec: a command that passes frames on is no stage, one that answers is" {
	status=0
	moe-run --exec route:1=cat "$word" >out 2>err || status=$?
	same "$status" 2
	grep -q '^moe-run: .*expert_id.*missing' err
	status=0
	moe-run --exec route:1=false "$word" >out 2>err || status=$?
	same "$status" 2
	same "$(wc -l <err)" 1
	status=0
	moe-run --exec-timeout 0.3 --exec 'route:1=sleep 20' "$word" >out 2>err || status=$?
	same "$status" 2
	grep -q 'silent for 0.3 s' err
	same "$(moe-run --exec attend:1=cat --json "$word" | jq .prompt_tokens)" 65    # hidden in, hidden out
}

@test "--exec: a router that always takes experts 0 and 1 evenly, seen in the statistics of its layers" {
	router
	py=$(numpy -c 'import sys; print(sys.executable)')
	export PYTHONPATH=$root/tests/cmd PYTHONDONTWRITEBYTECODE=1
	moe-run --json --stats=json:stats --exec "route:1-2='$py' router.py" "$demo/word.png" "$demo/clock.png" >answers
	same "$(wc -l <answers)" 2
	same "$(jq -c '[.all.load[0] == .all.tokens, .all.load[1] == .all.tokens, .all.load[2] == 0]' stats | xargs)" \
		"[false,false,false] [true,true,true] [true,true,true] [false,false,false]"
	moe-run --json --stats=json:dropped --exec "route:1='$py' router.py 0 1" "$word" >answers
	same "$(jq -c '.all.load' dropped | sed -n 2p)" "$(jq -c '.all.tokens | [0, 0, ., ., 0, 0, 0, 0]' dropped | sed -n 2p)"
}

@test "--exec: the toolkit's own stages as the user's programs give the same bytes, alone and in a pipeline" {
	ls "$crops"/00[0-3].png >list
	moe-run --json --files-from list >want
	for step in attend route expert; do
		moe-run --json --files-from list --exec "$step:2=moe-$step -l 2" | cmp - want
	done
	moe-run --json --files-from list --exec "route:1=moe-route -l 1 | tee seen.sts" --exec "expert:3=moe-expert -l 3" | cmp - want
	moe-view --check seen.sts          # its head says that it has no end frame
	moe-run --json --files-from list --exec "attend:1=tee attended.sts | moe-attend -l 1" | cmp - want
	same "$(moe-view --json attended.sts | jq -r 'select(.kind == "drop").meta["moe.seq"]' | sort | xargs)" "$(jq -rs 'length - 1 | [range(.)] | join(" ")' want)"
	run -2 moe-run --exec 'route:2=moe-route -l 3' "$word"
	grep -q 'expected "3.attend"' <<<"$output"
}
