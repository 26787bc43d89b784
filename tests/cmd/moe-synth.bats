# moe-synth.bats: samples as shards: identity, splits, fonts, what the archives hold, and what is refused.
load helper

synth() { moe-synth --fonts small "$@"; }

# answers OPTIONS...: the texts of the samples of the task read.
answers() { synth --tasks read "$@" -o answers.tar && tar xOf answers.tar --wildcards '*.json' | jq -r '.questions[0].answer'; }

@test "help, version and bad options" {
	has_help moe-synth
	refuses_bad_options moe-synth
	refuses 2 usage moe-synth
	refuses 2 'no operand' moe-synth -n 1 more
	refuses 2 '-n 0|number 0' moe-synth -n 0
	refuses 2 'split middle: train, dev, calib, test and unseen' moe-synth -n 1 --split middle
	refuses 2 'no task is called "write"' moe-synth -n 1 --tasks read:2,write
	refuses 2 'read stands twice' moe-synth -n 1 --tasks read,read
	refuses 2 'weight of read' moe-synth -n 1 --tasks read:x
	refuses 2 'weight of read' moe-synth -n 1 --tasks read:0
	refuses 2 'weight of read' moe-synth -n 1 --tasks read:1:2
	refuses 2 'missing at the end' moe-synth -n 1 --tasks read,
	refuses 2 'no task is named' moe-synth -n 1 --tasks ''
	refuses 2 'things 6' moe-synth -n 1 --things 6 --fonts small -o a.tar
	refuses 2 'one number' moe-synth -n 1 --fonts small -o '%s.tar'
	refuses 2 'one number' moe-synth -n 1 --fonts small -o '%d%d.tar'
	refuses 2 'one number' moe-synth -n 1 --fonts small -o '%99999999999d.tar'
	refuses 2 'needs a name with a number' moe-synth -n 5 --per-shard 2 --fonts small -o a.tar
	same "$(find . -name "*.tar")" ""
}

@test "an archive is not written to a terminal" {
	on_terminal "moe-synth --fonts small -n 1; echo rc \$?" >shown
	grep -q 'not written to a terminal' shown
	grep -q 'rc 2' shown
}

@test "the same seed gives the same bytes, whatever the jobs" {
	synth -n 130 --seed 3 --jobs 1 >one.tar
	synth -n 130 --seed 3 --jobs 2 -o two.tar
	synth -n 130 --seed 3 --threads 3 -q -o three.tar
	cmp one.tar two.tar
	cmp one.tar three.tar
	synth -n 130 --seed 4 -o other.tar
	same "$(cmp -s one.tar other.tar; echo $?)" 1
	# A sample depends on its number alone.
	synth -n 30 --seed 3 --first 100 -o rest.tar
	mkdir a b
	tar xf one.tar -C a
	tar xf rest.tar -C b
	for f in b/*; do cmp "$f" "a/${f#b/}"; done
	same "$(ls b | wc -l)" 60
}

@test "shards by number" {
	synth -n 25 --per-shard 10 -o 'train-%03d.tar'
	same "$(echo *)" 'train-000.tar train-001.tar train-002.tar'
	same "$(tar tf train-001.tar | head -n 2 | xargs)" '00000010.png 00000010.json'
	same "$(cat train-00?.tar | tar tif - | wc -l)" 50
	same "$(tar tf train-002.tar | wc -l)" 10
	synth -n 25 -o plain.tar
	mkdir a b
	tar xf plain.tar -C a
	for t in train-*.tar; do tar xf "$t" -C b; done
	diff -r a b
	same "$(tar tvf plain.tar | awk '{print $1, $2, $4}' | sort -u)" '-rw-r--r-- 0/0 1970-01-01'
}

@test "members are pairs of a picture and its questions, and our own programs read them" {
	synth --tasks read -n 40 -o a.tar
	tar xf a.tar
	same "$(ls *.json | wc -l)" 40
	jq -s . *.json | jq -e 'all(.[]; .kind == "read" and (.tags | has("font") and has("length") and has("style")) and (.questions | length == 1))' >/dev/null
	jq -s . *.json | jq -e 'all(.[]; .questions[0].prompt == "<read>" and .questions[0].spell and (.questions[0].answer | test("^[ -~]{1,12}$")))' >/dev/null
	jq -s . *.json | jq -e 'all(.[]; (.questions[0].answer | gsub(" "; "") | split("")) == [.boxes[][0]])' >/dev/null
	moe-patchify --source *.png >pictures.sts
	same "$(moe-view --json pictures.sts | jq -c 'select(.kind == "patches")' | wc -l)" 40
	moe-patchify --source a.tar >archive.sts
	same "$(moe-view --json archive.sts | jq -c 'select(.kind == "patches")' | wc -l)" 40
}

@test "boxes lie inside the picture" {
	synth --tasks read -n 200 -o a.tar
	numpy - <<-'PY'
		import json, struct, tarfile
		t = tarfile.open("a.tar")
		n = 0
		for m in t:
		    data = t.extractfile(m).read()
		    if m.name.endswith(".png"):
		        assert data[:8] == b"\x89PNG\r\n\x1a\n"
		        w, h = struct.unpack(">II", data[16:24])
		    else:
		        for label, x0, y0, x1, y1 in json.loads(data)["boxes"]:
		            assert 0 <= x0 < x1 <= w and 0 <= y0 < y1 <= h, (m.name, label, x0, y0, x1, y1, w, h)
		            n += 1
		assert n > 800
	PY
}

@test "no string of training is in another split, and held out designs are in unseen alone" {
	answers -n 3000 | awk 'length > 1' | sort -u >train
	for split in dev calib test unseen; do
		answers -n 400 --split $split --seed 9 | awk 'length > 1' | sort -u >$split
		[ "$(wc -l <$split)" -gt 300 ]
		same "$(comm -12 train $split | wc -l)" 0
		tar xOf answers.tar --wildcards '*.json' | jq -r .tags.group | sort -u >groups
		case $split in unseen) same "$(cat groups)" liberation ;; *) same "$(cat groups)" vera ;; esac
	done
	same "$(comm -12 test dev | wc -l)" 0
	same "$(comm -12 calib dev | wc -l)" 0
	answers -n 3000 >/dev/null
	tar xOf answers.tar --wildcards '*.json' | jq -r '.tags.group, .tags.colours' | sort | uniq -c | awk '{print $1, $2}' >groups
	same "$(cat groups | xargs)" '3000 seen 3000 vera'
}

@test "scenes and panels: types of questions, boxes, and what is in one split alone" {
	for split in train test; do
		synth --tasks scene:3,panel:4 -n 600 --split $split -o $split.tar
		tar xOf $split.tar --wildcards '*.json' | jq -s . >$split.json
		same "$(jq -r '[.[].questions[].type] | unique | join(" ")' $split.json)" "bar caption clock clock-minute colour comparison count digit display exist gauge \
letter light-colour light-count light-on position probe relation shape size texture"
		jq -e 'all(.[].questions[]; .spell as $s | (.prompt | test("^<ask> [a-z ]+\\?$|^<describe>$")) and (.answer | test(if $s then "^[-0-9:.%A-Z]+$" else "^( [a-zA-Z0-9]+,?)+$" end)))' \
			$split.json >/dev/null
		jq -e 'all(.[]; (.kind == "panel" or (.boxes | length | tostring) == .tags.objects))' $split.json >/dev/null
	done
	jq -r '.[] | select(.tags.device == "display" and .tags.length != "1") | .questions[0].answer' train.json | sort -u >shown
	same "$(jq -r '.[] | select(.tags.device == "display") | .questions[0].answer' test.json | sort -u | comm -12 - shown | wc -l)" 0
	# Styles of "unseen" are in no other split.
	synth --tasks panel -n 300 --split unseen -o unseen.tar
	tar xOf unseen.tar --wildcards '*.json' | jq -r '.tags.style' | sort -u >styles
	same "$(jq -r '.[].tags.style' train.json test.json | sort -u | comm -12 - styles | wc -l)" 0
}

@test "--things: scenes of one to so many" {
	synth --tasks scene --things 2 -n 200 -o two.tar
	same "$(tar xOf two.tar --wildcards '*.json' | jq -r .tags.objects | sort -u | tr '\n' ' ')" "1 2 "
	synth --tasks scene --things 1 --split test -n 50 -o one.tar
	same "$(tar xOf one.tar --wildcards '*.json' | jq -r '(.boxes | length), .tags.easy' | sort -u | tr '\n' ' ')" "1 yes "
}

@test "fonts: a missing one names its package, another one is refused, and broken lists are" {
	list=$root/share/synth/fonts-small.tsv
	sed 's:/usr/share/fonts:/nonexistent:' "$list" >missing.tsv
	refuses 2 '/nonexistent/.*apt-get install fonts-dejavu-core fonts-liberation2' moe-synth -n 1 --fonts missing.tsv
	sed '/DejaVuSans.ttf/s/\t[0-9a-f]\{8\}/\t00000000/' "$list" >other.tsv
	refuses 2 'DejaVuSans.ttf has other bytes.*fonts-dejavu-core' moe-synth -n 1 --fonts other.tsv
	echo nonsense >broken.tsv
	refuses 2 'broken.tsv: line 1' moe-synth -n 1 --fonts broken.tsv
	refuses 2 'none.tsv' moe-synth -n 1 --fonts none.tsv
	grep -v held "$list" >seen.tsv
	moe-synth -n 1 --fonts seen.tsv >one.tar
	refuses 2 'none for the split unseen' moe-synth -n 1 --split unseen --fonts seen.tsv
}

@test "the full list: every group is held out as a whole, eight at least, and the small list is its part" {
	list=$root/share/synth/fonts.tsv
	grep -v '^#' "$list" | awk -F'\t' 'NF != 5 || length($3) != 64 { exit 1 } { held[$4] = held[$4] ($5 ~ /held/ ? "h" : "-") } END {
		for (g in held) { if (held[g] ~ /h/ && held[g] ~ /-/) exit 1; n += held[g] ~ /h/ }
		exit n < 8 || NR < 60 }'
	grep -v '^#' "$root/share/synth/fonts-small.tsv" | cut -f1-4 | while read -r line; do grep -qF "$line" "$list"; done
	same "$(grep -v '^#' "$root/share/synth/fonts-small.tsv" | cut -f1 | sort -u | wc -l)" 2
}

@test "a contact sheet" {
	synth -n 300 --sheet sheet.png -t 1
	[ "$(head -c 4 sheet.png | tail -c 3)" = PNG ]
	moe-patchify --source sheet.png | moe-view >/dev/null
	synth -n 300 --sheet again.png
	cmp sheet.png again.png
	same "$(echo *)" 'again.png sheet.png'
}

@test "words, one in each line and sorted" {
	moe-synth --words >words
	sort -u words | cmp - words
	same "$(grep -cv '^[a-z][a-z]*$' words)" 0
}

@test "outputs: atomic, full, closed" {
	mkdir -p d
	echo old >d/a.tar
	refuses 2 'small-none.tsv' moe-synth -n 5 --fonts small-none.tsv -o d/a.tar
	same "$(cat d/a.tar)" old
	refuses 2 'No space left' moe-synth -n 50 --fonts small -o /dev/full
	refuses 2 'no/where' moe-synth -n 5 --fonts small -o no/where.tar
	same "$(echo d/*)" d/a.tar
	# Nobody reads on: the program ends quietly.
	(synth -n 2000 2>err || echo $? >rc) | head -c 100 >/dev/null
	[ ! -s err ]
	same "$(cat rc)" 141
	got=0
	synth -n 1 >&- 2>err || got=$?
	same $got 2
}
