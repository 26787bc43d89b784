load helper

look=$root/share/models/look
scene=$root/share/ask/scene.png

# trace NAME [ARGS...]: a run of moe-look about the scene, traced to NAME.sts.
trace() {
	local name=$1
	shift
	moe-run -q -m "$look" --chat -p 'what colour is the circle?' --trace "$name.sts" "$@" "$scene" >"$name.answer"
}

# recount FILE CODE: Python with the trace's arrays, all blocks joined: seq, start, step (per row), expert [L,T,K], weight, token, modality, image, patch; the
# layers; and `rows`, what moe-plot printed as JSON lines.
recount() {
	numpy - "$1" "${3:-rows.json}" <<-PY
		import sys, json
		import numpy as np
		import frames
		parts, layers, k = [], None, 0
		for raw in frames.split(open(sys.argv[1], "rb")):
		    meta, tensors = frames.parse(raw)
		    if meta["moe.kind"] == "head":
		        info = json.loads(meta["moe.trace"])
		        layers, E, K = info["layers"], info["experts"], info["k"]
		    if meta["moe.kind"] == "trace":
		        a = {n: np.frombuffer(d, {"U8": "u1", "U16": "<u2", "I32": "<i4", "F16": "<f2"}[t]).reshape(s) for n, (t, s, d) in tensors.items() if n != "_pad"}
		        n = len(a["token"])
		        a["seq"] = np.full(n, int(meta["moe.seq"]))
		        parts.append(a)
		join = lambda name, axis=0: np.concatenate([p[name] for p in parts], axis)
		expert, token, modality, image, patch, seq = join("expert_id", 1), join("token"), join("modality"), join("image"), join("patch_index"), join("seq")
		weight = join("weight", 1)
		rows = [json.loads(line) for line in open(sys.argv[2])]
		names = ["text", "image", "audio", "video", "other"]
		$(sed 's/^\t*//' <<<"$2")
	PY
}

@test "help, version and bad options" {
	has_help moe-plot
	refuses_bad_options moe-plot
	refuses 2 'kind heat: expected picture' moe-plot --kind heat x.sts
	refuses 2 'kind picture: which picture' moe-plot --kind picture x.sts
	refuses 2 'kind difference: with which run' moe-plot --kind difference x.sts
	refuses 2 'kind agreement: with which run' moe-plot --kind agreement x.sts
	refuses 2 'modality smell: expected' moe-plot --modality smell x.sts
	refuses 2 'format gif: expected' moe-plot --format gif x.sts
	refuses 2 'l 3-1: expected a layer' moe-plot -l 3-1 x.sts
	refuses 2 'x.sts.*No such file' moe-plot x.sts
	trace scene
	refuses 2 'color loud: expected auto' moe-plot --color loud scene.sts
	refuses 2 'no tokens in these layers' moe-plot -l 7- scene.sts
}

@test "closed and empty input, terminals, full output" {
	trace scene
	never_hangs moe-plot
	same "$(on_terminal moe-plot)" "moe-plot: usage: moe-plot [options] [TRACE|LOG ...] (try --help)"
	needs_open_output moe-plot - <scene.sts
	needs_open_output moe-plot --format png - <scene.sts
	needs_open_output moe-plot --format html - <scene.sts
	same "$(on_terminal 'moe-plot --format png scene.sts')" "moe-plot: PNG is not written to a terminal: use -o FILE"
	head -c 5000 scene.sts >cut.sts
	writes_atomically scene.sts cut.sts moe-plot --format svg -
}

@test "damaged, cut and foreign input is refused" {
	trace scene
	head -c 5000 scene.sts >cut.sts
	refuses 2 'cut.sts: byte' moe-plot cut.sts
	{ head -c 6000 scene.sts; printf x; tail -c +6002 scene.sts; } >damaged.sts
	refuses 2 'damaged.sts: byte' moe-plot damaged.sts
	stream hidden
	refuses 2 'hidden.sts' moe-plot hidden.sts
	refuses 2 'word.png' moe-plot "$word"
	echo '{"step":1,' >short.jsonl
	refuses 2 'short.jsonl: byte 0: expected a line of a training log' moe-plot short.jsonl
	echo '{"step":1,"tokens":5}' >none.jsonl
	refuses 2 'none.jsonl: .*without steps that tell of the load' moe-plot none.jsonl
	refuses 2 'a log of training has the kind training' moe-plot --kind load "$look/log.jsonl"
}

@test "load: every number is what a recount says, and columns add up to tokens x k" {
	moe-run -q --trace demo.sts "$demo"/*.png >/dev/null
	moe-plot --json demo.sts >rows.json
	recount demo.sts '
		seen = 0
		for r in rows:
		    l = layers.index(r["layer"])
		    of = modality == names.index(r["part"]) if r["part"] != "all" else modality >= 0
		    count = int((expert[l][of] == r["expert"]).sum())
		    assert r["choices"] == count and abs(r["share"] - count / (of.sum() * K)) < 1e-8 and r["chance"] == 1 / E, r
		    seen += 1
		assert seen == 3 * len(layers) * E
		for part in ["all", "text", "image"]:
		    for l in layers:
		        of = modality == names.index(part) if part != "all" else modality >= 0
		        assert sum(r["choices"] for r in rows if r["part"] == part and r["layer"] == l) == of.sum() * K
	'
	moe-plot --tsv demo.sts >rows.tsv
	same "$(head -n 1 rows.tsv)" "$(printf 'figure\tpart\tlayer\texpert\tshare\tchance\tchoices')"
	same "$(awk -F'\t' '$2 == "all" && $3 == 0 { n += $7 } END { print n }' rows.tsv)" "$(jq -s 'map(select(.part == "all" and .layer == 0).choices) | add' rows.json)"
	same "$(moe-plot -l 1-2 --json demo.sts | jq -s -c 'map(.layer) | unique')" '[1,2]'
}

@test "coactivation and flow: recounted; what comes out of an expert is what went in" {
	moe-run -q --trace demo.sts "$demo"/*.png >/dev/null
	moe-plot --kind coactivation --json demo.sts >rows.json
	recount demo.sts '
		assert len(rows) == len(layers) * E * (E - 1)
		for r in rows:
		    l = int(r["part"].split()[1])
		    has = lambda e: (expert[l] == e).any(1)
		    n = int((has(r["expert"]) & has(r["other"])).sum())
		    assert r["tokens"] == n and abs(r["share"] - n / has(r["expert"]).sum()) < 1e-8 and abs(r["chance"] - (K - 1) / (E - 1)) < 1e-8, r
	'
	moe-plot --kind flow --json demo.sts >rows.json
	recount demo.sts '
		for r in rows:
		    l = layers.index(r["layer"])
		    of = modality == names.index(r["part"]) if r["part"] != "all" else modality >= 0
		    n = ((expert[l] == r["expert"]).any(1) & (expert[l + 1] == r["next_expert"]).any(1) & of).sum() / K ** 2
		    assert abs(r["tokens"] - n) < 1e-6 and abs(r["share"] - n / of.sum()) < 1e-8, r
		for l in layers[:-1]:
		    for e in range(E):
		        out = sum(r["tokens"] for r in rows if r["part"] == "all" and r["layer"] == l and r["expert"] == e)
		        to = sum(r["tokens"] for r in rows if r["part"] == "all" and r["layer"] == l and r["next_expert"] == e)
		        assert abs(out - (expert[l] == e).sum() / K) < 1e-6 and abs(to - (expert[l + 1] == e).sum() / K) < 1e-6
	'
	same "$(moe-plot --kind flow --modality image --json demo.sts | jq -s -c 'map(.part) | unique')" '["image"]'
}

@test "the picture: each patch in its place, with the experts of its token" {
	trace scene
	moe-plot -m "$look" --picture "$scene" --json scene.sts >rows.json
	recount scene.sts '
		assert len(rows) == 64 * len(layers)
		for r in rows:
		    t, l = r["token"], layers.index(r["layer"])
		    assert patch[t] == 8 * r["row"] + r["column"] and image[t] == r["picture"] == 0
		    assert r["experts"] == expert[l, t].tolist() and np.allclose(r["weights"], weight[l, t].astype("f8"), atol=1e-6), r
	'
	moe-plot -m "$look" --picture "$scene" -l 2 scene.sts >plain
	moe-plot -m "$look" --picture "$scene" -l 2 --json scene.sts | jq -r '[.row, .column, .experts[0]] | @tsv' |
		awk '{ row[$1] = row[$1] (row[$1] == "" ? "" : " ") $3 } END { for (i = 0; i < 8; i++) print row[i] }' >want
	same "$(sed -n '6,13s/.*   \([0-9 ]*\)$/\1/p' plain)" "$(cat want)"
}

@test "pictures that were drawn: each image token in its place" {
	draw=$root/share/models/draw
	printf '<draw> a large %s<picture>\n' 'yellow heart at the bottom' 'blue circle at the left' >prompts
	moe-run -q -m "$draw" --prompts prompts --against '<draw><picture>' --image drawn-%d.png --trace drawn.sts >/dev/null
	for seq in 0 1; do
		moe-plot -m "$draw" --picture drawn-$seq.png --seq $seq --json drawn.sts >rows.json
		jq -es 'length == 256 and (group_by(.layer) | all(.[]; map(.row * 8 + .column) == [range(64)] and map(.token) == [range(.[0].token; .[0].token + 64)]))' rows.json
		# 450 tokens, of which the last 256 are codes.
		moe-view --json drawn.sts | jq -c --argjson seq $seq 'select(.seq == $seq and .token >= 194) | [.layer, .row, .experts]' | sort >traced
		jq -c '[.layer, .token, .experts]' rows.json | sort | cmp - traced
	done
	moe-plot -m "$draw" --picture drawn-1.png --seq 1 drawn.sts | grep -c 'Which expert draws which part'
	refuses 2 'sequence 1 .* drew 1 of its 1 picture; --picture gives 2' moe-plot -m "$draw" --picture drawn-0.png --picture drawn-1.png --seq 1 drawn.sts
	moe-run -q -m "$draw" --prompts prompts -n 30 --trace part.sts >/dev/null
	refuses 2 'picture 1 of the trace has 2[0-9]' moe-plot -m "$draw" --picture drawn-0.png part.sts
}

@test "pictures of several sequences, in their order or alone; wrong ones are refused" {
	moe-run -q --trace demo.sts "$demo"/*.png >/dev/null
	moe-plot --picture "$demo" --seq 3 --json demo.sts >all.json
	moe-plot --picture "$demo/price.png" --seq 3 --json demo.sts >one.json
	cmp all.json one.json
	moe-run -q --trace price.sts "$demo/price.png" >/dev/null
	moe-plot --picture "$demo/price.png" --json price.sts | jq -c 'del(.weights)' >alone.json
	jq -c 'del(.weights)' one.json | cmp - alone.json
	trace scene
	refuses 2 'it is of model .* but .* is' moe-plot --picture "$scene" scene.sts
	# As many patches, in another shape.
	refuses 2 '8 x 8 patches, but picture 1 of the trace has 64 in 4 rows.*another picture' moe-plot -m "$look" --any-model --picture "$scene" price.sts
	moe-plot -m "$look" --picture "$scene" --picture "$word" scene.sts >/dev/null          # those of a sequence behind it are left over
	refuses 2 'sequence 3 .* has 1 picture, behind 3 .*gives 2' moe-plot --picture "$word" --picture "$word" --seq 3 demo.sts
	refuses 2 'No such file|cannot open' moe-plot -m "$look" --picture nowhere.png scene.sts
}

@test "the text: tokens as they were read and written" {
	trace scene
	moe-plot -m "$look" --kind text --json scene.sts >rows.json
	recount scene.sts '
		assert len(rows) == len(token) * len(layers)
		for r in rows:
		    l = layers.index(r["layer"])
		    assert r["experts"] == expert[l, r["token"]].tolist(), r
		    assert (r["text"] is None) == (r["from"] == "picture") == (patch[r["token"]] >= 0), r
	'
	same "$(jq -r 'select(.layer == 0 and .from == "prompt").text' rows.json | tr '\n' ' ')" "<ask> what colour is the circle ? "
	same "$(jq -r 'select(.layer == 0 and .from == "model").text' rows.json | tr -d '\n')" "$(tr -d ' \n' <scene.answer)"
	same "$(moe-plot -m "$look" --kind text --tokens 70 --json scene.sts | jq -s 'map(.token) | max')" 69
	moe-plot -m "$look" --kind text --tokens 70 scene.sts | grep -q '70 tokens (2 more are left out)'
	moe-plot --kind text scene.sts >ids 2>err
	grep -q 'not of the tokenizer' err
	run -1 grep -q circle ids
}

@test "one run in several traces is drawn as one; others are added up" {
	moe-tokenize --for-each "$word" | moe-patchify "$word" | moe-encode | moe-embed >rows.sts
	moe-block -l 0-1 --trace a.sts <rows.sts | moe-block -l 2-3 --trace b.sts >/dev/null
	moe-block -l 0-3 --trace whole.sts <rows.sts >/dev/null
	for kind in load flow coactivation; do
		moe-plot --kind $kind --json a.sts b.sts >parts.json
		moe-plot --kind $kind --json whole.sts >whole.json
		cmp parts.json whole.json
	done
	same "$(moe-plot --json whole.sts whole.sts | jq -s 'map(.choices) | add')" "$((2 * $(moe-plot --json whole.sts | jq -s 'map(.choices) | add')))"
}

@test "difference and training" {
	trace scene
	trace other --drop 3
	moe-plot --kind difference --against scene.sts --json scene.sts | each '.figure == "difference" and .change == 0'
	moe-plot --json scene.sts >a.json
	moe-plot --json other.sts >b.json
	moe-plot --kind difference --against other.sts --json scene.sts >rows.json
	jq -n -e --slurpfile a a.json --slurpfile b b.json --slurpfile d rows.json '
		def at($rows; $r): $rows[] | select(.part == $r.part and .layer == $r.layer and .expert == $r.expert).share;
		all($d[]; . as $r | ((at($b; $r) - at($a; $r)) - $r.change | fabs) < 1e-8) and ($d | length) == ($a | length)' >/dev/null
	cp scene.sts run-0100.sts
	cp other.sts run-0200.sts
	moe-plot --kind training --json run-0100.sts run-0200.sts >rows.json
	each '.at == 100 or .at == 200' <rows.json
	jq -n -e --slurpfile a a.json --slurpfile d rows.json '
		all($d[] | select(.at == 100); . as $r | any($a[] | select(.part == "all"); "layer \(.layer)" == $r.part and "expert \(.expert)" == $r.line and (.share - $r.share | fabs) < 1e-8))' >/dev/null
	same "$(moe-plot --kind training --json run-0200.sts scene.sts | jq -r .at | sort -u | tr '\n' ' ')" "run-0200.sts scene.sts "
	moe-run -q --trace small.sts "$word" >/dev/null
	refuses 2 'scene.sts and small.sts have other layers or experts' moe-plot --kind training scene.sts small.sts
	moe-plot --json "$look/log.jsonl" >rows.json
	same "$(jq -s -c 'map(select(.line == "each step")) | length' rows.json)" "$(grep -c busiest "$look/log.jsonl")"
	moe-plot --json -m "$look" "$look/log.jsonl" | each '.chance == 0.125'
	# Numbers between which there is no other have no labels between them, and come to an end.
	printf '{"tokens":1e300,"busiest":0.2}\n{"tokens":1.0000000000000002e300,"busiest":0.3}\n' >narrow.jsonl
	timeout 20 moe-plot --format svg narrow.jsonl | grep -q 'tokens of training'
}

@test "agreement: recounted token by token; what differs is marked" {
	trace scene
	trace other --drop 6
	moe-plot --against scene.sts --json scene.sts | each '.figure == "agreement" and .share == 1'
	moe-plot -m "$look" --kind picture,text --picture "$scene" --against scene.sts --json scene.sts | each '.differs == 0'
	moe-plot --against other.sts --json scene.sts >rows.json
	recount other.sts 'np.savez("other", expert=expert, token=token); rows'
	recount scene.sts '
		other = np.load("other.npz")
		n = int((token == other["token"]).cumprod().sum())
		same = min(n, 71)                # the generated token is a block of its own
		seen = 0
		for r in rows:
		    l = layers.index(r["layer"])
		    of = [t for t in range(same) if r["part"] in ("all", names[modality[t]])]
		    a, b = expert[l][of], other["expert"][l][of]
		    first, all_ = (a[:, 0] == b[:, 0]).sum(), (np.sort(a) == np.sort(b)).all(1).sum()
		    want = first if r["what"] == "first expert" else all_
		    assert r["tokens"] == want and abs(r["share"] - want / len(of)) < 1e-8, r
		    if r["what"] == "first expert":
		        chance = sum((a[:, 0] == e).mean() * (b[:, 0] == e).mean() for e in range(E))
		        assert abs(r["chance"] - chance) < 1e-8
		    seen += 1
		assert seen == 3 * 2 * len(layers)
	'
	moe-plot -m "$look" --kind picture,text --picture "$scene" --against other.sts --json scene.sts >rows.json
	recount scene.sts '
		other = np.load("other.npz")
		assert {r["figure"] for r in rows} == {"picture", "text"}
		for r in rows:
		    t, l = r["token"], layers.index(r["layer"])
		    assert r["differs"] == int(token[t] == other["token"][t] and expert[l, t, 0] != other["expert"][l, t, 0]), r
		assert any(r["differs"] for r in rows)
	'
	same "$(moe-plot -m "$look" --picture "$scene" --against other.sts scene.sts | grep -o '[0-9]\*' | wc -l)" "$(jq -s 'map(select(.figure == "picture").differs) | add' rows.json)"
	same "$(moe-plot --against other.sts -l 1 --json scene.sts | jq -s -c 'map(.layer) | unique')" '[1]'
	refuses 2 'read twice' moe-plot --against other.sts - <scene.sts
	moe-run -q --trace small.sts "$word" >/dev/null
	refuses 2 'nothing in common|no tokens in common' moe-plot --against small.sts scene.sts
	moe-plot -m "$look" --picture "$scene" --against other.sts -o both.html scene.sts
	grep -q 'id="agreement"' both.html
}

@test "colours follow the terminal, NO_COLOR and --color; pipes have none" {
	trace scene
	esc=$(printf '\033')
	shows() { on_terminal "$1" >shown && grep -q "$esc$2" shown; }
	run -1 grep -q "$esc" <(moe-plot scene.sts)
	export TERM=xterm-256color
	shows 'moe-plot scene.sts' '\[48;5;'
	TERM=xterm-direct shows 'moe-plot scene.sts' '\[48;2;'
	COLORTERM=truecolor shows 'moe-plot scene.sts' '\[48;2;'
	NO_COLOR= shows 'moe-plot scene.sts' '\[48;5;'
	NO_COLOR=1 COLORTERM=truecolor run -1 shows 'moe-plot scene.sts' ''
	TERM=dumb run -1 shows 'moe-plot scene.sts' ''
	TERM=xterm run -1 shows 'moe-plot scene.sts' ''
	run -1 shows 'moe-plot --color never scene.sts' ''
	moe-plot --color true scene.sts >shown
	grep -q "$esc\[48;2;" shown
	# The same characters with colours and without, but for the pictures' half blocks.
	moe-plot --kind text -m "$look" --color 256 scene.sts | sed "s/$esc\[[0-9;]*m//g" | grep -c layer >with
	moe-plot --kind text -m "$look" scene.sts | grep -c layer | cmp - with
	for width in 20 40 80 200; do
		moe-plot -m "$look" --picture "$scene" --kind load,picture,coactivation --width $width scene.sts >wide
		awk -v most=$((width < 40 ? 60 : width)) 'length($0) > most { exit 1 }' wide
	done
}

@test "SVG and HTML are well formed, load nothing, and hold no text unescaped" {
	trace scene
	moe-plot -m "$look" --picture "$scene" --kind picture,text,load,flow,coactivation -o all.svg scene.sts
	moe-plot -m "$look" --picture "$scene" -o all.html scene.sts
	numpy - <<-'PY'
		import re, json, xml.etree.ElementTree as T
		from html.parser import HTMLParser
		svg = open("all.svg").read()
		root = T.fromstring(svg)
		assert root.find("{http://www.w3.org/2000/svg}title").text.startswith("Which expert looks at")
		void = {"meta", "input", "br"}
		class P(HTMLParser):
		    stack, seen, ids = [], {}, []
		    def handle_starttag(self, tag, attrs):
		        self.seen[tag] = self.seen.get(tag, 0) + 1
		        self.ids += [v for k, v in attrs if k == "id"]
		        for k, v in attrs:
		            assert k not in ("src", "srcset", "action", "background") and not k.startswith("on"), (tag, k)
		            if k == "href":
		                assert v.startswith("#") or v.startswith("data:image/png;base64,"), v
		        if tag not in void:
		            self.stack.append(tag)
		    def handle_startendtag(self, tag, attrs): pass
		    def handle_endtag(self, tag):
		        assert self.stack.pop() == tag, tag
		for text in (open("all.html").read(),):
		    p = P()
		    p.feed(text)
		    assert not p.stack and p.seen["section"] == 5 and p.seen["h1"] == 1 and p.seen["table"] > 5 and len(p.ids) == len(set(p.ids))
		    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", text) and "default-src 'none'" in text
		    data = json.loads(re.search(r'id="tokens">(.*?)</script>', text).group(1))
		    assert len(data["tokens"]) == 72 and data["layers"] == [0, 1, 2, 3, 4]
	PY
	# A name of a sequence, and a text, that try to be more than that.
	evil=$(printf '</title><script>alert(1)</script>\001\033[31m"&.png')
	cp "$scene" "evil.png"
	numpy - scene.sts "$evil" <<-'PY' | moe-view --seal >evil.sts
		import sys, frames
		for raw in frames.split(open(sys.argv[1], "rb")):
		    meta, tensors = frames.parse(raw)
		    tensors.pop("_pad", None)
		    if meta["moe.kind"] == "trace":
		        meta["moe.name"] = sys.argv[2]
		    sys.stdout.buffer.write(frames.build(meta, tensors))
	PY
	moe-plot -m "$look" --kind text -o evil.html evil.sts
	grep -q '&lt;script&gt;alert(1)' evil.html
	same "$(grep -c '<script>' evil.html)" 1
	run -1 grep -q "$(printf '\033')" evil.html
}

@test "PNG has the size that SVG says, times the scale, and the colours of the palette" {
	trace scene
	moe-plot -m "$look" --picture "$scene" -o a.svg scene.sts
	for scale in 1 2; do
		moe-plot -m "$look" --picture "$scene" --scale $scale -o a.png scene.sts
		numpy - $scale <<-'PY'
			import sys, re, zlib, struct
			import numpy as np
			scale = int(sys.argv[1])
			svg, png = open("a.svg").read(), open("a.png", "rb").read()
			w, h = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
			W, H, bits, kind = struct.unpack(">IIBB", png[16:26])
			assert abs(W - w * scale) <= scale and abs(H - h * scale) <= scale and (bits, kind) == (8, 2), (W, H, w, h)
			at, data = 8, b""
			while at < len(png):
			    n, name = struct.unpack(">I4s", png[at:at + 8])
			    data += png[at + 8:at + 8 + n] if name == b"IDAT" else b""
			    at += 12 + n
			raw, rows, last = np.frombuffer(zlib.decompress(data), "u1").reshape(H, 3 * W + 1).astype(int), [], np.zeros(3 * W, int)
			for r in raw:
			    x = r[1:].copy()
			    if r[0] == 1 or r[0] == 3 or r[0] == 4:
			        for i in range(3 * W):
			            a, b, c = (x[i - 3] if i > 2 else 0), last[i], (last[i - 3] if i > 2 else 0)
			            p = a + b - c
			            paeth = a if abs(p - a) <= abs(p - b) and abs(p - a) <= abs(p - c) else b if abs(p - b) <= abs(p - c) else c
			            x[i] = (x[i] + {1: a, 3: (a + b) // 2, 4: paeth}[r[0]]) & 255
			    elif r[0] == 2:
			        x = (x + last) & 255
			    rows.append(x)
			    last = x
			pixels = np.array(rows).reshape(H, W, 3)
			# The key's fields, where SVG has them.
			key = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="14" height="14" rx="3" fill="#(\w{6})"/>', svg)
			assert len(key) == 8, key
			for x, y, colour in key:
			    assert "%02x%02x%02x" % tuple(pixels[int((float(y) + 7) * scale), int((float(x) + 7) * scale)]) == colour
			assert (pixels[2, 2] == 255).all()
		PY
	done
}

@test "many experts: numbers stay readable, and everything is drawn" {
	numpy - <<-'PY' | moe-view --seal >big.sts
		import sys, json
		import numpy as np
		import frames
		L, E, K, T = 30, 300, 8, 200
		rng = np.random.default_rng(1)
		z = rng.normal(0, 1, (L, T, E))
		ids = np.argsort(-z, -1)[..., :K]
		w = np.exp(np.take_along_axis(z, ids, -1))
		w /= w.sum(-1, keepdims=True)
		out = sys.stdout.buffer
		info = {"layers": list(range(L)), "experts": E, "k": K, "score": "softmax", "renormalise": True, "detail": "weights"}
		out.write(frames.build({"moe.kind": "head", "moe.stream": "1.0", "moe.trace": json.dumps(info)}, {}))
		i4 = lambda a: ("I32", list(a.shape), a.astype("<i4").tobytes())
		out.write(frames.build({"moe.kind": "trace", "moe.seq": "7", "moe.step": "0", "moe.start": "0", "moe.choice": "token"}, {
		    "expert_id": ("U16", [L, T, K], ids.astype("<u2").tobytes()), "weight": ("F16", [L, T, K], w.astype("<f2").tobytes()),
		    "token": i4(np.arange(T) % 90 + 5), "position": i4(np.arange(T)[None]), "image": i4(np.full(T, -1)), "patch_index": i4(np.full(T, -1)),
		    "modality": ("U8", [T], bytes(T))}))
		out.write(frames.build({"moe.kind": "end", "moe.frames": "3", "moe.sequences": "1", "moe.failed": "0"}, {}))
	PY
	same "$(moe-plot --json big.sts | jq -s 'map(select(.layer == 29).choices) | add')" 1600
	moe-plot big.sts >plain
	grep -q '^ *299 ' plain
	grep -q 'a quarter of chance' plain
	moe-plot --width 200 big.sts | grep -Eq '^ *299 ( +[0-9<.]+){30}$'
	for kind in load text flow; do
		moe-plot --kind $kind -o $kind.svg big.sts
		moe-plot --kind $kind --scale 0.5 -o $kind.png big.sts
	done
	moe-plot -o page.html big.sts
	run -1 grep -q 'id="coactivation"' page.html
	refuses 2 'sequence 3|no tokens|nothing to draw' moe-plot --seq 3 --kind text big.sts
}

@test "the same bytes every time" {
	trace scene
	for f in svg png html text json; do
		moe-plot -m "$look" --picture "$scene" --format $f scene.sts >a
		moe-plot -m "$look" --picture "$scene" --format $f -t 1 - <scene.sts >b
		if [ $f = html ]; then sed -i 's/scene\.sts:/-:/' a; fi
		cmp a b
	done
}
