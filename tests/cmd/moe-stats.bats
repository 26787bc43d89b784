load helper

# made NAME DESCRIPTION: NAME.sts, a trace as make_trace.py describes it.
made() { numpy "$root/tests/cmd/make_trace.py" <<<"$2" | moe-view --seal >"$1.sts"; }

# run_traced: run.sts, the trace of three pictures.
run_traced() { moe-run -q --trace run.sts "$demo/word.png" "$demo/date.png" "$demo/sign.png" >/dev/null; }

# near A B [LIMIT]: as numbers.
near() { awk -v a="$1" -v b="$2" -v l="${3:-1e-6}" 'BEGIN {if (a - b > l || b - a > l || a == "" || b == "") {print "got " a ", expected " b; exit 1}}'; }

# Every pair of four experts once for text and once for a picture, in two layers such that all pairs of pairs occur; all logits equal.
uniform() {
	jq -nc '[range(4) as $i | range($i + 1; 4) as $j | [$i, $j]] as $pairs | [range(6) as $a | range(6) as $b | [$pairs[$a], $pairs[$b]]] as $all |
		{layers: [0, 1], experts: 4, k: 2, score: $ARGS.positional[0], blocks: [range(2) as $m | {modality: [range(36) | $m],
			expert: [[$all[][0]], [$all[][1]]], weight: [range(2) | [range(36) | [0.5, 0.5]]], logit: [range(2) | [range(36) | [0.25, 0.25, 0.25, 0.25]]]}]}' \
		--args "${1:-softmax}"
}

@test "help, version and bad options" {
	has_help moe-stats
	refuses_bad_options moe-stats
	refuses 2 'give one' moe-stats --json --tsv </dev/null
	refuses 2 'give one' moe-stats --by token --pairs </dev/null
	refuses 2 '--by nothing.*expected token' moe-stats --by nothing </dev/null
	refuses 2 '--by label needs --labels' moe-stats --by label </dev/null
	refuses 2 '--pass is for the stream on standard input' moe-stats --pass one </dev/null
	refuses 2 '-l x.*expected layers' moe-stats -l x </dev/null
	refuses 2 '--score tanh' moe-stats --score tanh </dev/null
	refuses 2 'give all three' moe-stats --sheet a.png --top 3 </dev/null
	refuses 2 'needs the traces' moe-stats --saturation a </dev/null
	refuses 2 'No such file' moe-stats nowhere
}

@test "terminals, closed and empty input, full output" {
	made one "$(uniform)"
	refuses_terminals moe-stats one.sts text
	never_hangs moe-stats
	never_hangs moe-stats -
	needs_open_output moe-stats <one.sts
	refuses 2 'input is empty' moe-stats /dev/null
}

@test "-o replaces a file only when all is done" {
	made one "$(uniform)"
	head -c 1000 one.sts >cut
	writes_atomically one.sts cut moe-stats
}

@test "uniform routing gives exactly the chance levels" {
	local score
	for score in softmax sigmoid logit; do
		made even "$(uniform $score)"
		moe-stats --json even.sts >even
		same "$(wc -l <even)" 2
		each '.experts == 4 and .top_k == 2 and .all.tokens == 72 and ([.all, .text, .image][] | .load == .load_chance and .load_entropy == 1 and
			.load_entropy_chance == 1 and .effective_experts == 4 and .participation == 4 and .max_vio == 0 and .cv2 == 0 and .max_vio_chance == 0 and
			.cv2_chance == 0 and .busiest_share == 0.25 and .busiest_share_chance == 0.25 and .unused == 0 and .router_entropy == .router_entropy_chance and
			.mass == .mass_chance and .mass == 0.5 and .mean_margin == 0 and .without == 0)' <even
		each '.image.ratio_to_text == [1, 1, 1, 1] and (.text_score - .text_score_even | fabs) < 1e-12 and (.information | fabs) < 1e-12 and
			.information_chance > 0 and (.overlap | length == 1) and (.overlap[0] | (.value - .chance | fabs) < 1e-12 and .first == "text" and
			.second == "image")' <even
	done
	moe-stats --tsv --coactivation even.sts | awk -F'\t' 'NR == 1 {next} {n++; if ($7 != $8 || ($7 - 1 / 3) ^ 2 > 1e-12) exit 1} END {if (n != 2 * 3 * 12) exit 1}'
	moe-stats --tsv --pairs even.sts | awk -F'\t' 'NR == 1 {next} {n++; if ($8 != $9 || $8 != 0.5) exit 1} END {if (n != 3 * 16) exit 1}'
	moe-stats --json --pairs even.sts | each '(.information | fabs) < 1e-12 and .information_chance > 0 and .information_chance < 0.1'
	# By label: both halves of the data are the same.
	moe-stats --json --by patch even.sts | jq -c 'select(.what == "by")' | each '.tokens == 36 and .labels == 36 and .chance == 0.5'
}

@test "known answers: loads, weights, choices, depth, pools" {
	made known '{"layers": [2, 5], "experts": 4, "k": 2, "score": "softmax", "blocks": [
		{"modality": [0, 0, 1, 1], "expert": [[[0, 1], [0, 1], [2, 3], [2, null]], [[0, 1], [1, 0], [2, 0], [null, null]]],
		 "weight": [[[0.75, 0.25], [0.5, 0.25], [0.625, 0.375], [1, 0]], [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0, 0]]], "depth": [[1, 1, 1, 1], [1, 1, 1, 0]],
		 "logit": [[[1, 1, null, null], [1, 1, null, null], [null, null, 2, 2], [null, null, 2, 2]], [[3, 2, 1, 0], [2, 3, 1, 0], [2, 1, 3, 0], [0, 0, 0, 0]]]}]}'
	moe-stats --json known.sts >json
	same "$(jq -c '[.layer, .all.tokens, .all.choices, .all.passed]' json | xargs)" "[2,4,7,0] [5,3,6,1]"
	head -n 1 json | each '.text.load == [2, 2, 0, 0] and .text.weight == [1.25, 0.5, 0, 0] and .text.pool == 2 and .text.load_entropy == 1 and .text.unused == 0 and
		.text.mean_weight == 0.4375 and .text.by_number == [0, 0, 2] and .image.load == [0, 0, 2, 1] and .image.by_number == [0, 1, 1] and .image.load_chance == [0, 0, 1.5, 1.5] and
		.all.load_chance == [2, 2, 1.5, 1.5] and .text.router_entropy == 1 and .text.mass == 1 and .text.mass_chance == 1 and .image.mass == 0.75 and .image.mean_margin == 0 and
		.text.mean_margin == null and (.text_score - 1 | fabs) < 1e-12 and .overlap[0].value == 0'
	# H(2/3, 1/3) over log 2.
	near "$(jq '.image.load_entropy' json | head -n 1)" 0.918295834
	moe-stats -l 5 --tsv known.sts >tsv
	same "$(awk -F'\t' '$3 == "all" && $5 == "count" {printf "%s ", $6}' tsv)" "3 2 1 0 "
	near "$(awk -F'\t' '$3 == "text" && $5 == "mean_margin" {print $6}' tsv)" "$(awk 'BEGIN {print (exp(2) - exp(1)) / (1 + exp(1) + exp(2) + exp(3))}')"
	same "$(awk -F'\t' '$3 == "text" && $5 == "mean_logit_margin" {print $6}' tsv)" 1
	same "$(awk -F'\t' '$3 == "image" && $5 == "passed" {print $6}' tsv)" 1
	moe-stats --pairs --json known.sts | jq -c 'select(.modality == "all") | [.layer, .next_layer, .both]' >pairs
	same "$(cat pairs)" "[2,5,[[2,2,0,0],[2,2,0,0],[1,0,1,0],[1,0,1,0]]]"
}

@test "sums: what is counted from the bytes of the trace by awk" {
	run_traced
	numpy -c '
import numpy as np, frames
for raw in frames.split(open("run.sts", "rb")):
    meta, t = frames.parse(raw)
    if meta["moe.kind"] == "trace":
        e = np.frombuffer(t["expert_id"][2], "u1").reshape(t["expert_id"][1])
        m = np.frombuffer(t["modality"][2], "u1")
        w = np.frombuffer(t["weight"][2], "<f2").reshape(e.shape)
        for l in range(e.shape[0]):
            for r in range(e.shape[1]):
                print(l, ["text", "image"][m[r]], *e[l, r], *map(float, w[l, r]))' >rows
	moe-stats --tsv run.sts >tsv
	tokens=$(($(wc -l <rows) / 4))
	# Tokens times k, in each layer and column.
	awk -F'\t' -v n=$tokens '$5 == "count" {sum[$2, $3] += $6; tokens[$2, $3] = $8} END {for (x in sum) if (sum[x] != 2 * tokens[x]) exit 1
		for (l = 0; l < 4; l++) if (tokens[l, "all"] != n || tokens[l, "text"] + tokens[l, "image"] != n) exit 1}' tsv
	awk '{for (i = 3; i < 5; i++) {n[$1 " " $2 " " $i]++; n[$1 " all " $i]++; w[$1 " " $2 " " $i] += $(i + 2)}} END {for (x in n) print x, n[x], (x in w ? sprintf("%.6g", w[x]) : "")}' rows |
		sort >want
	awk -F'\t' '$5 == "count" {n[$2 " " $3 " " $4] = $6} $5 == "weight" && $3 != "all" {w[$2 " " $3 " " $4] = $6}
		END {for (x in n) if (n[x]) printf "%s %s %s\n", x, n[x], (x in w ? sprintf("%.6g", w[x]) : "")}' tsv | sort >have
	diff have want
	# The same from the JSON, by jq.
	moe-stats --json run.sts | jq -e --argjson n $tokens '.all.tokens == $n and (.all.load | add) == 2 * $n and
		([.text.load, .image.load] | transpose | map(add)) == .all.load and (.all.by_number | add) == $n' >/dev/null
	# Together and from layer to layer: each token has one pair, and four pairs of experts of two layers.
	moe-stats --json --coactivation run.sts | jq -c 'select(.modality == "all")' | each '([.both[] | add] | add) == 2 * .tokens and ([.both[] | add] == .load)'
	moe-stats --json --pairs run.sts | jq -c 'select(.modality == "all")' | each '([.both[] | add] | add) == 4 * .tokens and ([.both[] | add] == [.load[] | . * 2]) and
		([.both | transpose[] | add] == [.next_load[] | . * 2])'
}

@test "figures as NumPy has them, with levels of chance from permuted labels" {
	run_traced
	moe-stats --json run.sts >json
	moe-stats --json --by token run.sts >words
	moe-stats --json --pairs run.sts >pairs
	numpy -c '
import json, numpy as np, frames
layers = [[] for _ in range(6)]
for raw in frames.split(open("run.sts", "rb")):
    meta, t = frames.parse(raw)
    if meta["moe.kind"] == "trace":
        f = lambda n, d: np.frombuffer(t[n][2], d).reshape(t[n][1])
        for at, x in enumerate((f("expert_id", "u1"), f("router_logit", "<f2").astype("f8"))):
            layers[at].append(x)
        layers[2].append(f("modality", "u1"))
        layers[3].append(f("token", "<i4"))
e, z = (np.concatenate(x, 1) for x in layers[:2])
m, token = (np.concatenate(x) for x in layers[2:4])
rng = np.random.default_rng(3)
E, n = 8, len(m)
def near(a, b, limit=1e-6): assert abs(a - b) <= limit, (a, b)
def information(e, label):
    n, labels = len(label), np.unique(label)
    c = np.array([[(e[label == g] == i).sum() for i in range(E)] for g in labels], float)
    q = np.array([(label == g).mean() for g in labels])
    p = c / c.sum()
    used = c > 0
    return (p[used] * np.log((p / (q[:, None] * p.sum(0)))[used])).sum()
def score(e, label):
    c = np.array([[(e[label == g] == i).sum() for i in range(E)] for g in np.unique(label)], float)
    c = c[:, c.sum(0) > 0]
    q = c / c.sum(0)
    return (1 + np.where(q > 0, q * np.log(np.maximum(q, 1e-99)), 0).sum(0) / np.log(len(q))).mean()
def mean(f, label): return np.mean([f(rng.permutation(label)) for _ in range(300)])
for line in open("json"):
    s = json.loads(line)
    el, zl = e[s["layer"]], z[s["layer"]]
    for name, rows in ("all", m >= 0), ("text", m == 0), ("image", m == 1):
        x = s[name]
        c = np.bincount(el[rows].ravel(), minlength=E)
        l = c / c.sum()
        h = -sum(v * np.log(v) for v in l if v)
        near(x["load_entropy"], h / np.log(E)); near(x["effective_experts"], np.exp(h)); near(x["participation"], 1 / (l ** 2).sum())
        near(x["max_vio"], c.max() / c.mean() - 1); near(x["cv2"], (c.std() / c.mean()) ** 2)
        p = np.exp(zl[rows] - zl[rows].max(1, keepdims=True)); p /= p.sum(1, keepdims=True)
        near(x["router_entropy"], -(p * np.log(p)).sum(1).mean() / np.log(E))
        order = -np.sort(-p, 1)
        near(x["mean_margin"], (order[:, 1] - order[:, 2]).mean()); near(x["mass"], order[:, :2].sum(1).mean())
    near(s["information"], information(el, m))
    near(s["text_score"], score(el, m))
    near(s["information_chance"], mean(lambda y: information(el, y), m), 6e-4)
    near(s["text_score_chance"], mean(lambda y: score(el, y), m), 1e-3)
    near(s["specialisation"], (s["information"] - s["information_chance"]) / -sum(v * np.log(v) for v in [(m == 0).mean(), (m == 1).mean()]))
    v = [np.bincount(el[m == i].ravel(), minlength=E) for i in (0, 1)]
    top = [set(np.argsort(-x, kind="stable")[:2]) for x in v]
    if all(len(set(x[list(t)]) & set(np.delete(x, list(t)))) == 0 for x, t in zip(v, top)):
        near(s["overlap"][0]["value"], len(top[0] & top[1]) / len(top[0] | top[1]))
for line in open("words"):
    s = json.loads(line)
    if s["what"] == "by":
        el = e[s["layer"]]
        near(s["information"], information(el, token))
        near(s["information_chance"], mean(lambda y: information(el, y), token), 4e-3)
        first = el[:, 0]
        value = lambda y: np.mean([np.bincount(first[y == g], minlength=E).max() / (y == g).sum() for g in np.unique(y)])
        near(s["vocabulary"], value(token))
        near(s["vocabulary_chance"], mean(value, token), 1e-2)
for line in open("pairs"):
    s = json.loads(line)
    if s["modality"] == "all":
        a, b = e[s["layer"]], e[s["next_layer"]]
        def table(order):
            t = np.zeros((E, E))
            for i in range(2):
                for j in range(2):
                    np.add.at(t, (a[:, i], b[order, j]), 1)
            return t
        def info(t):
            p = t / t.sum(); u = p > 0
            return (p[u] * np.log((p / (p.sum(1, keepdims=True) * p.sum(0)))[u])).sum()
        t = table(np.arange(n))
        assert (t == np.array(s["both"])).all()
        near(s["information"], info(t))
        near(s["information_chance"], np.mean([info(table(rng.permutation(n))) for _ in range(100)]), 2e-3)'
}

@test "the figures of --stats are these" {
	stream attended
	moe-route -l 0 --stats=json:old.json <attended.sts | moe-stats --json >new.json
	jq -n --slurpfile a old.json --slurpfile b new.json '$a[0] as $a | $b[0] as $b | [["all", "text", "image"][] as $m | $a[$m].load == $b[$m].load and
		([["load_entropy", "load_entropy"], ["router_entropy", "router_entropy"], ["busiest_share", "busiest_share"], ["mean_weight", "mean_weight"],
		["mean_margin", "mean_logit_margin"], ["least_margin", "least_logit_margin"]] | all(. as [$x, $y] | $a[$m][$x] - $b[$m][$y] | fabs < 1e-7))] | all' | grep -qx true
}

@test "live: a stream between stages, told of and passed on" {
	stream attended
	moe-route -l 0 <attended.sts >routed.sts
	moe-stats routed.sts >want
	moe-stats <routed.sts | diff - want
	same "$(head -n 1 want)" "layer 0: 8 experts, top 2"
	moe-stats --pass --no-pg <routed.sts 2>told | cmp - routed.sts
	diff told want
	moe-stats --pass --no-pg -o told2 <routed.sts | cmp - routed.sts
	diff told2 want
	moe-route -l 0 <attended.sts | moe-stats --pass -o told3 | moe-expert -l 0 | moe-view --check >/dev/null
	diff told3 want
	moe-stats --pass --no-pg <attended.sts 2>told | cmp - attended.sts
	refuses 2 'kinds? "trace" and "routed" only' moe-stats <attended.sts
	on_terminal 'moe-stats --pass <routed.sts' >shown || true
	grep -q '^moe-stats: .*terminal' shown
}

@test "layers that were traced apart are told of together; runs are added up" {
	stream attended
	made one '{"layers": [1], "experts": 4, "k": 1, "blocks": [{"modality": [0, 1], "expert": [[[0], [1]]]}]}'
	made three '{"layers": [3], "experts": 4, "k": 1, "blocks": [{"modality": [0, 1], "expert": [[[2], [3]]]}]}'
	made both '{"layers": [1, 3], "experts": 4, "k": 1, "blocks": [{"modality": [0, 1], "expert": [[[0], [1]], [[2], [3]]]}]}'
	made other '{"layers": [3], "experts": 4, "k": 1, "blocks": [{"modality": [0, 0], "expert": [[[2], [3]]]}]}'
	made wide '{"layers": [3], "experts": 8, "k": 1, "blocks": [{"modality": [0, 0], "expert": [[[2], [3]]]}]}'
	for how in --json --pairs --tsv; do
		moe-stats $how one.sts three.sts | diff - <(moe-stats $how both.sts)
		moe-stats $how three.sts one.sts | diff - <(moe-stats $how both.sts)
	done
	same "$(moe-stats --json both.sts both.sts | jq -c .all.load | xargs)" "[2,2,0,0] [0,0,2,2]"
	cat both.sts both.sts >twice.sts
	moe-stats --json twice.sts | diff - <(moe-stats --json both.sts both.sts)
	refuses 2 'other.sts: it tells of other layers, but not of the same tokens.*--apart' moe-stats one.sts other.sts
	same "$(moe-stats --apart --json one.sts other.sts | jq -c .all.load | xargs)" "[1,1,0,0] [0,0,1,1]"
	refuses 2 'wide.sts.*8 experts.*cannot be added up with 4' moe-stats both.sts wide.sts
}

@test "kinds of choice are never added up" {
	made kinds '{"layers": [0], "experts": 4, "k": 2, "blocks": [{"modality": [0, 0], "expert": [[[0, 1], [0, 1]]]},
		{"modality": [0, 0], "choice": "batch:2", "expert": [[[2, null], [null, null]]]}]}'
	same "$(moe-stats --json kinds.sts | jq -c '[.choice, .text.load, .text.without]' | xargs)" "[token,[2,2,0,0],0] [batch:2,[0,0,1,0],0.5]"
	near "$(moe-stats --json kinds.sts | jq 'select(.choice == "batch:2").text.without_chance')" "$(awk 'BEGIN {print (1 - 1 / 8) ^ 4}')"
	same "$(moe-stats --json --by name kinds.sts 2>&1 | head -n 1)" "moe-stats: --by name: no token has a label"
	same "$(moe-stats --json --by token kinds.sts | jq -rc 'select(.what == "by").choice' | xargs)" "token batch:2"
}

@test "by labels: a list, the samples of a shard, names, inputs" {
	made labelled '{"layers": [0], "experts": 2, "k": 1, "blocks": [
		{"name": "x/a.png", "modality": [1, 1, 0], "expert": [[[0], [1], [1]]]}, {"name": "b.png", "modality": [1, 1, 0], "expert": [[[0], [0], [1]]]}]}'
	printf 'a.png\t0\tred\na.png\t1\tblue\r\nc\tred\n\n' >list
	moe-stats --json --by label --labels list labelled.sts | jq -c 'select(.what == "label") | [.label, .tokens, .load]' | xargs >have
	same "$(cat have)" "[red,1,[1,0]] [blue,1,[0,1]]"
	printf 'x/a\t0\tred\nx/a\t1\tblue\nb.png\tred\n' >list
	moe-stats --json --by label --labels list labelled.sts | jq -c 'select(.what == "label") | [.label, .tokens, .load]' | xargs >have
	same "$(cat have)" "[red,4,[3,1]] [blue,1,[0,1]]"
	same "$(moe-stats --json --by label --labels list labelled.sts | jq -c 'select(.what == "by") | [.tokens, .unlabelled, .labels, .load]')" \
		"[5,1,2,[3,2]]"
	moe-stats --by label --labels list labelled.sts | grep -q ', 5 tokens, 2 labels, 1 token without$'
	same "$(moe-stats --tsv --by name labelled.sts | awk -F'\t' 'NR > 1 {print $4, $5, $6, $8, $9, $10}' | head -n 2 | xargs)" \
		"x/a.png 0 1 0.333333333 0.5 0.5 x/a.png 1 2 0.666666667 0.5 0.5"
	same "$(moe-stats --json --by trace labelled.sts labelled.sts | jq -c 'select(.what == "label") | [.label, .tokens]')" '["labelled.sts",12]'
	printf 'a.png\t0\n' >list
	moe-stats --by label --labels list labelled.sts || true
	printf 'a.png 0\n' >list
	refuses 2 'list: line 1: expected name, tab, label' moe-stats --by label --labels list labelled.sts
	printf 'a\tb\nc\t-1\td\n' >list
	refuses 2 'list: line 2: "-1" is not the number of a patch' moe-stats --by label --labels list labelled.sts
	printf 'a\t@-1\td\n' >list
	refuses 2 'list: line 1: "@-1" is not the number of a row' moe-stats --by label --labels list labelled.sts
	# A row counts more than its patch, and that more than the sequence.
	printf 'x/a\t0\tred\nx/a\t1\tblue\nx/a\t@1\tgreen\nb.png\tred\nb.png\t@2\tgreen\n' >list
	same "$(moe-stats --json --by label --labels list labelled.sts | jq -c 'select(.what == "label") | [.label, .tokens, .load]' | xargs)" \
		"[red,3,[3,0]] [green,2,[0,2]]"

	moe-synth -q --fonts small --tasks scene:1 -n 12 --split dev -o s.tar
	moe-run -q --trace s.sts s.tar >/dev/null
	moe-stats --json --by box -l 2 --labels s.tar s.sts | jq -r 'select(.what == "label") | .label' | sort >have
	{
		echo nothing
		tar xOf s.tar --wildcards '*.json' | jq -r '.boxes[][0] | ltrimstr(" ")'
	} | sort -u >all
	same "$(comm -23 have all)" ""
	[ "$(wc -l <have)" -gt 4 ]
	moe-stats --json --by box:colour -l 2 --labels s.tar s.sts | jq -r 'select(.what == "label") | .label' | grep -v nothing | sort >have
	tar xOf s.tar --wildcards '*.json' | jq -r '.attributes[].colour' | sort -u >all
	same "$(comm -23 have all)" ""
	same "$(moe-stats --json --by kind -l 2 --labels s.tar s.sts | jq -c 'select(.what == "label") | [.label, .tokens]')" \
		"[\"scene\",$(moe-stats --json -l 2 s.sts | jq .all.tokens)]"
	moe-stats --json --by tag:objects -l 2 --labels s.tar s.sts | jq -r 'select(.what == "label") | .label' | sort >have
	tar xOf s.tar --wildcards '*.json' | jq -r '.tags.objects' | sort -u | diff have -
}

@test "by token, next token and patch: what NumPy counts" {
	run_traced
	# Where the usual model has another tokenizer, tokens are numbers.
	for by in token next patch; do
		MOE_MODEL=$olmoe/model moe-stats --tsv --by $by -l 2 run.sts | awk -F'\t' 'NR > 1 && $6 {print $4, $5, $6, $7, $11}' | sort >$by.have
	done
	# What has no label is counted, too: each sequence has a last token, and text has no patch.
	moe-stats --json -l 2 run.sts >all
	for by in token next patch; do
		moe-stats --json --by $by -l 2 run.sts | jq -c 'select(.what == "by") | [.tokens, .unlabelled]' >$by.sums
	done
	same "$(cat token.sums)" "[$(jq .all.tokens all),0]"
	same "$(cat next.sums)" "[$(jq '.all.tokens - 3' all),3]"
	same "$(cat patch.sums)" "[$(jq .image.tokens all),$(jq .text.tokens all)]"
	# Labels of rows that are what the tokens are.
	moe-view --tsv run.sts | awk -F'\t' -v OFS='\t' '$1 == 2 && $9 == 0 {print $13, "@" $3, $5}' >rows
	moe-stats --json --by label --labels rows -l 2 run.sts >label
	moe-stats --json --by token -l 2 run.sts >token
	same "$(jq -c 'select(.what == "label") | [.label, .load, .first]' label | sort)" \
		"$(jq -c 'select(.what == "label") | [(.number | tostring), .load, .first]' token | sort)"
	same "$(jq -c 'select(.what == "by") | del(.by)' label)" "$(jq -c 'select(.what == "by") | del(.by)' token)"
	refuses 2 'trace is of tokenizer' moe-stats -m "$olmoe/model" --by token run.sts
	moe-stats --json --by token --min-tokens 4 run.sts | jq -c 'select(.what == "label")' |
		each '.tokens >= 4 and (.label | type) == "string" and (.number | type) == "number"'
	numpy -c '
import collections, numpy as np, frames
seqs = collections.defaultdict(list)
for raw in frames.split(open("run.sts", "rb")):
    meta, t = frames.parse(raw)
    if meta["moe.kind"] == "trace":
        f = lambda n, d: np.frombuffer(t[n][2], d).reshape(t[n][1])
        seqs[meta["moe.seq"]].append((f("expert_id", "u1")[2], f("token", "<i4"), f("patch_index", "<i4")))
rows = {"token": [], "next": [], "patch": []}
for blocks in seqs.values():
    e, token, patch = (np.concatenate(x) for x in zip(*blocks))
    rows["token"] += zip(token, e)
    rows["next"] += zip(token[1:], e[:-1])
    rows["patch"] += [(p, x) for p, x in zip(patch, e) if p >= 0]
for name, r in rows.items():
    count, first, tokens = (collections.Counter() for _ in range(3))
    for label, x in r:
        tokens[label] += 1
        first[label, x[0]] += 1
        for v in x:
            count[label, v] += 1
    with open(name + ".want", "w") as f:
        for (label, v), n in count.items():
            print(label, v, n, first[label, v], tokens[label], file=f)'
	for by in token next patch; do
		sort $by.want | diff $by.have -
	done
}

@test "--top: the largest weights, with what stands around them" {
	made top '{"layers": [0, 1], "experts": 3, "k": 1, "blocks": [
		{"name": "a", "seq": 0, "token": [10, 11, 12], "modality": [0, 0, 0], "expert": [[[0], [0], [1]], [[0], [0], [0]]], "weight": [[[0.5], [0.75], [1]], [[1], [1], [1]]]},
		{"name": "a", "seq": 0, "start": 3, "token": [13, 14], "modality": [0, 0], "expert": [[[0], [0]], [[0], [0]]], "weight": [[[0.25], [0.75]], [[1], [1]]]},
		{"name": "b", "seq": 1, "token": [20, 21], "modality": [1, 1], "image": [0, 0], "expert": [[[1], [0]], [[0], [0]]], "weight": [[[0.5], [1]], [[1], [1]]]}]}'
	moe-stats --json --top 3 top.sts >json
	same "$(jq -c 'select(.layer == 0) | [.expert, .rank, .weight, .name, .row, .token, .before, .behind, .patch]' json)" "$(cat <<-'END'
		[0,0,1,"b",1,21,"20","",1]
		[0,1,0.75,"a",1,11,"10","12 13 14",-1]
		[0,2,0.75,"a",4,14,"10 11 12 13","",-1]
		[1,0,1,"a",2,12,"10 11","13 14",-1]
		[1,1,0.5,"b",0,20,"","21",0]
	END
	)"
	same "$(jq -c 'select(.layer == 1) | .token' json | xargs)" "10 11 12"
	moe-stats --top 1 -l 0 top.sts >text
	same "$(cat text)" "$(printf 'layer 0, expert 0\n  1.0000  b:1  image 0, patch 1\nlayer 0, expert 1\n  1.0000  a:2  10 11 [12] 13 14\nlayer 0, expert 2: no token')"
	made ids '{"layers": [0], "experts": 3, "k": 1, "blocks": [{"modality": [0], "expert": [[[0]]]}]}'
	refuses 2 'no weights' moe-stats --top 1 ids.sts
	# The text of tokens is that of the run's tokenizer.
	run_traced
	moe-stats --top 40 --json -l 3 run.sts | jq -r 'select(.modality == "text" and .row > 64 and .name == "'"$word"'") | [.row, .text] | @tsv' | sort -nu | cut -f2 | tr -d '\n' >have
	grep -q '^Fo\?r\?e\?s\?t\?' have
}

@test "--sheet: the patches, where they lie in their pictures" {
	run_traced
	moe-stats --top 4 -l 1 --sheet sheet.png --picture "$demo/word.png" --picture "$demo/date.png" --picture "$demo/sign.png" --json run.sts >json
	numpy - <<-'PY'
		import json, struct, zlib
		raw = open("sheet.png", "rb").read()
		assert raw[:8] == b"\x89PNG\r\n\x1a\n"
		w, h = struct.unpack(">II", raw[16:24])
		patches = [json.loads(x) for x in open("json")]
		most = max(sum(p["expert"] == e and p["image"] >= 0 for p in patches) for e in range(8))
		assert (w, h) == (64 + most * 52, 4 + 8 * 52), (w, h)
	PY
	refuses 2 'date.png.*word.png in its place' moe-stats --top 4 --sheet sheet2.png --picture "$demo/date.png" --picture "$demo/word.png" --picture "$demo/sign.png" run.sts
	refuses 2 'more pictures than the 1' moe-stats --top 4 --sheet sheet2.png --picture "$demo/word.png" run.sts
	[ ! -e sheet2.png ]
}

@test "--saturation: experts that two runs share, on the same tokens" {
	made last '{"layers": [0], "experts": 4, "k": 2, "blocks": [{"modality": [0, 0, 1, 1], "expert": [[[0, 1], [2, 3], [0, 1], [0, null]]]}]}'
	made early '{"layers": [0], "experts": 4, "k": 2, "blocks": [{"modality": [0, 0, 1, 1], "expert": [[[1, 0], [0, 1], [0, 2], [0, 3]]]}]}'
	made other '{"layers": [0], "experts": 4, "k": 2, "blocks": [{"token": [1, 2, 3, 5], "modality": [0, 0, 1, 1], "expert": [[[1, 0], [0, 1], [0, 2], [0, 3]]]}]}'
	moe-stats --json --saturation last.sts early.sts last.sts >json
	same "$(jq -c 'select(.trace == "early.sts") | [.modality, .tokens, .saturation, .saturation_chance, .first, .first_chance]' json | xargs)" \
		"[all,4,0.625,0.5,0.5,0.25] [text,2,0.5,0.5,0,0.25] [image,2,0.75,0.5,1,0.25]"
	jq -c 'select(.trace == "last.sts")' json | each '.saturation == 1 and .first == 1'
	refuses 2 'other.sts: it is not of the same tokens' moe-stats --saturation last.sts other.sts
	same "$(moe-stats --tsv --saturation last.sts early.sts | head -n 2 | tail -n 1)" "$(printf 'early.sts\t0\tall\t4\t0.625\t0.5\t0.5\t0.25')"
}

@test "damaged, cut and foreign traces are refused with their byte" {
	made one "$(uniform)"
	head -c $(($(stat -c %s one.sts) - 200)) one.sts >cut.sts
	refuses 2 'cut.sts: byte [0-9]+: ' moe-stats cut.sts
	refuses 2 'cut.sts: byte [0-9]+: ' moe-stats one.sts cut.sts
	numpy -c '
d = bytearray(open("one.sts", "rb").read())
d[len(d) // 2] ^= 1
open("bad.sts", "wb").write(d)'
	refuses 2 'bad.sts: byte [0-9]+: ' moe-stats bad.sts
	refuses 2 'safetensors file' moe-stats "$first/model.safetensors"
	echo text >text
	refuses 2 'text: ' moe-stats text
	stream hidden
	refuses 2 'hidden.sts: byte [0-9]+: .*"trace" and "routed" only' moe-stats hidden.sts
}

@test "the same bytes whatever the format of a number; TSV has as many columns as its header" {
	run_traced
	for how in '' --coactivation --pairs '--by patch' '--by token' '--top 2' '--saturation run.sts'; do
		moe-stats $how --tsv run.sts >tsv
		same "$(awk -F'\t' 'NR == 1 {n = NF} NF != n' tsv)" ""
		moe-stats $how --tsv -t 1 run.sts | cmp - tsv
		moe-stats $how --json run.sts | jq -es 'length > 0 and all(.[]; .what | type == "string")' >/dev/null
		LC_ALL=C moe-stats $how run.sts >text
		[ -s text ]
	done
}
