load helper

# list NUMBER...: those crops as a list of questions, my.tsv beside copies of them.
list() {
	local i
	for i in "$@"; do
		cp "$crops/$i.png" .
		grep -P "^$i.png\t" "$crops.tsv" >>my.tsv
	done
}

@test "help, version and bad options" {
	has_help moe-ablate
	refuses_bad_options moe-ablate
	refuses 2 usage moe-ablate </dev/null
	refuses 2 'choose one' moe-ablate --json --tsv "$crops.tsv"
	refuses 2 'nowhere.*no such model' moe-ablate -m nowhere "$crops.tsv"
	refuses 2 'standard input is read once' moe-ablate - "$crops.tsv"
	refuses 2 '-l 4.*0 to 3' moe-ablate -l 4 "$crops.tsv"
	refuses 2 '--experts 8.*0 to 7' moe-ablate --experts 8 "$crops.tsv"
	refuses 2 '--way drop: expected reroute or renormalise' moe-ablate --way drop "$crops.tsv"
	refuses 2 '--rows text,words: expected text, image or all' moe-ablate --rows text,words "$crops.tsv"
	refuses 2 '--journal -' moe-ablate --journal - "$crops.tsv"
	refuses 2 'no question to ask' moe-ablate --types none "$crops.tsv"
}

# The second opinion: moe-run with what-if options answers the same pictures.
@test "every case is what moe-run answers without the expert" {
	list 003 017 025 041
	cut -f 2 my.tsv >right
	moe-run --json ./*.png >plain
	moe-ablate --json -l 1 --experts 2,5 my.tsv >out
	same "$(jq -r 'select(.what == "effect") | "\(.expert) \(.way) \(.rows)"' out | wc -l)" 12
	jq -r 'select(.what == "effect") | "\(.expert) \(.way) \(.rows)"' out | while read -r expert way rows; do
		option=--drop where=$expert@1
		[ $way = reroute ] || option=--mute
		[ $rows = all ] || where+=:$rows
		moe-run --json $option $where ./*.png >without
		jq -n --slurpfile out out --slurpfile plain plain --slurpfile without without --rawfile right right \
			--arg way $way --arg rows $rows --argjson expert $expert '
			def close(a; b): (a - b | fabs) < 2e-5;
			($right | split("\n")[:-1]) as $right | ($out[] | select(.expert == $expert and .way == $way and .rows == $rows)) as $e
			| [$without[].text] as $said | ([range(4) | select($said[.] == $right[.])] | length) as $n
			| ($e.changed == ([range(4) | select($said[.] != $plain[.].text)] | length))
			and close($e.accuracy_change; ($n - $out[0].right) / 4)
			and ($n < 4 or close($out[0].loss + $e.loss_change; -([$without[].logprob] | add) / $out[0].tokens))
			| if . then $n else error("\($e) \($said)") end' >>agreed
	done
	# The loss could be compared where all answers stayed right.
	[ "$(grep -c 4 agreed)" -ge 6 ]
	same "$(wc -l <agreed)" 12
}

@test "a question is touched when one of its rows chose the expert, and untouched ones stay as they are" {
	list 003 017 025
	moe-ablate --json --way reroute -l 0-2 my.tsv >out
	for i in 003 017 025; do moe-run --stats=json $i.png 2>&1 >/dev/null; done | jq -c '. as $s | range(8) | {layer: $s.layer, expert: .,
		text: ($s.text.load[.] > 0), image: ($s.image.load[.] > 0), all: ($s.all.load[.] > 0)}' >chose
	jq -n --slurpfile out out --slurpfile chose chose '
		all($out[] | select(.what == "effect"); . as $e | .touched == ([$chose[] | select(.layer == $e.layer and .expert == $e.expert and .[$e.rows])] | length))' |
		grep -q true
	each '.what != "effect" or .touched > 0 or (.loss_change == 0 and .loss_low == 0 and .loss_high == 0 and .accuracy_change == 0 and .changed == 0)' <out
	each '.what != "effect" or (.loss_low <= .loss_change and .loss_change <= .loss_high and .accuracy_low <= .accuracy_change and .accuracy_change <= .accuracy_high)' <out
	# What is known of other cases is what would be computed.
	moe-ablate --json --way reroute --rows all -l 0-2 my.tsv | cmp - <(grep -v '"rows":"\(text\|image\)"' out)
}

@test "the same bytes whatever the threads" {
	list 003 017 025 041 055 066 077 088 099 100 111
	moe-ablate --tsv -t 1 -l 3 --experts 0-3 my.tsv >one
	for t in 2 3; do moe-ablate --tsv -t $t -l 3 --experts 0-3 my.tsv | cmp one -; done
	same "$(wc -l <one)" $((1 + 4 * 6))
}

@test "it goes on after an interruption, to the same bytes" {
	list 003 017 025 041 055 066 077 088 099
	options=(--json -l 2- --experts 1,4 --rows all,image my.tsv)
	moe-ablate "${options[@]}" >want
	moe-ablate "${options[@]}" --journal j >out 2>err
	cmp want out
	[ ! -s err ]
	n=$((2 * 2 * 2 * 2 * 2))        # layers, experts, rows, ways, parts of eight samples
	same "$(wc -l <j)" $((1 + n))
	tail -n +2 j | each '(.loss | length) == (if .part == 0 then 8 else 1 end)'
	sort j >lines
	for have in 0 1 7 31; do
		head -n $((1 + have)) j >k
		sed -n "$((2 + have))p" j | head -c 30 >>k
		moe-ablate "${options[@]}" --journal k >out 2>err
		cmp want out
		sort k | cmp lines -
		[ $have = 0 ] || grep -q "^moe-ablate: k: $have of $n results were there" err
	done
	# Other cases of the same questions go into the same journal.
	moe-ablate --json -l 1- --experts 4-5 --journal k my.tsv >out 2>err
	grep -q "k: $((n / 2)) of" err
	moe-ablate --json -l 1- --experts 4-5 my.tsv | cmp out -
}

@test "beside the file of -o there is a journal until all is done" {
	list 003 017
	options=(--tsv -l 2 --experts 1-3 my.tsv)
	moe-ablate "${options[@]}" --journal j >want
	mkdir there
	moe-ablate "${options[@]}" -o there/out >out
	[ ! -s out ]
	cmp want there/out
	same "$(ls there)" out
	head -n 9 j >there/out.journal
	moe-ablate "${options[@]}" -o there/out 2>err
	cmp want there/out
	same "$(ls there)" out
	grep -q '8 of 18 results' err
	[ -e j ]
	needs_open_output moe-ablate "${options[@]}" </dev/null
}

@test "journals of other work, damaged or in use are refused" {
	list 003 017
	moe-ablate --tsv -l 2 --experts 1 --journal j my.tsv >/dev/null
	refuses 2 'j: it is about other work' moe-ablate -l 2 --experts 1 --limit 1 --journal j my.tsv
	refuses 2 'j: it is about other work' moe-ablate -l 2 --experts 1 -q --math fast --journal j my.tsv
	refuses 2 'j: it is about other work' moe-ablate -m "$root/share/models/look" -l 2 --experts 1 --journal j my.tsv
	refuses 2 'my.tsv: .*journal|my.tsv: it is about other work' moe-ablate -l 2 --experts 1 --journal my.tsv my.tsv
	grep -q 003.png my.tsv
	for change in 's/"loss":\[/"loss":[1.5,/' 's/"right":\[1/"right":[-1/' 's/"part":0/"part":1/' 's/"image"/"words"/' 's/:0/:/' 's/}$//' 's/^.*$/x/' 's/"layer":2,//'; do
		sed "3$change" j >k
		run -1 cmp -s j k
		refuses 2 'k: line 3 is no result' moe-ablate -l 2 --experts 1 --journal k my.tsv
	done
	exec 9<j
	flock 9
	refuses 2 'j: another process is at work on it' moe-ablate -l 2 --experts 1 --journal j my.tsv
}

@test "text, JSON lines and TSV say the same" {
	list 003 017
	moe-ablate -l 2 --experts 1-2 my.tsv >text
	moe-ablate --json -l 2 --experts 1-2 my.tsv >json
	moe-ablate --tsv -l 2 --experts 1-2 my.tsv >tsv
	same "$(jq -c 'keys_unsorted' json | sort -u)" '["what","layer","expert","rows","way","touched","loss_change","loss_low","loss_high","accuracy_change","accuracy_low","accuracy_high","changed"]
["what","model","samples","failed","questions","tokens","loss","right","accuracy"]'
	jq -r 'select(.what == "effect") | [.layer, .expert, .rows, .way, 2, .touched, .loss_change, .loss_low, .loss_high, .accuracy_change, .accuracy_low, .accuracy_high, .changed] |
		map(if type == "number" then . * 1e6 | round else . end) | @tsv' json >a
	awk -F'\t' -v OFS='\t' 'NR > 1 { for (i = 1; i <= NF; i++) if (i < 3 || i > 4) $i = sprintf("%.0f", $i * 1e6); print }' tsv | sed 's/\t-0/\t0/g' >b
	sed -i 's/\t-0/\t0/g' a
	cmp a b
	same "$(grep -o -e 'text, re' -e 'image, re' -e 'all, re' text | wc -l)" 12
	head -n 1 text | grep -q '^model [0-9a-f]*$'
	sed -n 2p text | grep -q '^2 samples, 2 questions, 0 failed: loss [0-9.]* a token, 100.0% right$'
	same "$(awk '$1 == 2 && $2 ~ /^[12]$/ {print $1, $2, $3, $4, $5}' text)" "$(jq -r 'select(.what == "effect") | "\(.layer) \(.expert) \(.rows) \(.way) \(.touched)"' json)"
}

@test "heat maps have the numbers of the table, and colours where they can be seen" {
	list 003 017
	moe-ablate --tsv -l 1-3 --experts 1-4 my.tsv --map map.svg >tsv
	numpy - <<-'PY'
		import csv, re, xml.etree.ElementTree as xml
		rows = list(csv.DictReader(open("tsv"), delimiter="\t"))
		titles = [e.text for e in xml.parse("map.svg").iter("{http://www.w3.org/2000/svg}title") if e.text.startswith("expert ")]
		fields = [re.fullmatch(r"expert (\d+), layer (\d+): (.*) (nats|points), (\d+) questions touched", t).groups() for t in titles]
		for unit, key, scale, digits in ("nats", "loss_change", 1, 5), ("points", "accuracy_change", 100, 1):
		    want = [(r["expert"], r["layer"], "%+.*f" % (digits, scale * float(r[key])), unit, r["touched"]) for r in rows]
		    assert sorted(f for f in fields if f[3] == unit) == sorted(want), unit
	PY
	moe-ablate -l 1-3 --experts 1-4 --way reroute --rows image my.tsv >text
	# In thousandths of a nat.
	awk '/^image, reroute/ {on = 1} on && $1 ~ /^[1-4]$/ && NF == 4 {print} /^Orange/ {exit}' text >shown
	awk -F'\t' '$3 == "image" && $4 == "reroute" {v = $7 * 1000; s[$2] = s[$2] " " (v < 0.5 && v > -0.5 ? "0" : sprintf("%+.0f", v))}
		END {for (e = 1; e <= 4; e++) print e s[e]}' tsv >want
	awk '{$1 = $1; print}' shown | cmp - want
	moe-ablate --tsv -l 1 --experts 1 my.tsv --map map.png >/dev/null
	same "$(head -c 4 map.png | tail -c 3)" PNG
	export COLORTERM=truecolor TERM=xterm
	on_terminal 'moe-ablate -l 1 --experts 1 my.tsv' | grep -q $'\033\[48;2;'
	on_terminal 'NO_COLOR=1 moe-ablate -l 1 --experts 1 my.tsv' >plain
	run -1 grep -q $'\033\[[34]8' plain
}

@test "models without a tower and broken samples" {
	mkdir t
	echo '{"picture": false, "questions": [{"prompt": "Once upon", "answer": " a time"}, {"prompt": "Once more", "answer": " then"}]}' >t/1.json
	moe-ablate --json -m "$olmoe/model" -l 1 --experts 0-3 -n 4 t >out
	same "$(jq -r 'select(.what == "effect") | .rows' out | sort -u)" all
	each '.what != "effect" or .touched <= 2' <out
	# All rows of a text are text.
	moe-ablate --json -m "$olmoe/model" -l 1 --experts 0-3 -n 4 --rows text,all,image t >three
	grep -v '"rows":"\(text\|image\)"' three | cmp out -
	sed -n 's/"rows":"text"/"rows":"all"/p' three | cmp - <(tail -n +2 out)
	grep '"image"' three | each '.touched == 0 and .loss_change == 0'
	echo '{"questions": [' >t/2.json
	run -1 --separate-stderr moe-ablate --json -m "$olmoe/model" -l 1 --experts 0 -n 4 t
	grep -q 't/2: byte' <<<"$stderr"
	same "$(head -n 1 <<<"$output" | jq -c '[.samples, .failed, .questions]')" '[1,1,2]'
}
