load helper

@test "help, version and bad options" {
	has_help moe-route
	refuses_bad_options moe-route
	refuses 2 'l is missing.*0 to 3' moe-route </dev/null
	refuses 2 'one layer.*moe-block' moe-route -l 0-1 </dev/null
	refuses 2 'top-k 3.*2' moe-route -l 0 --top-k 3 </dev/null
	refuses 2 'top-k 0' moe-route -l 0 --top-k 0 </dev/null
	refuses 2 'drop 8.*0 to 7' moe-route -l 0 --drop 8 </dev/null
	refuses 2 'force 1,,2.*0 to 7' moe-route -l 0 --force 1,,2 </dev/null
	refuses 2 'expert 3.*--drop.*--force' moe-route -l 0 --drop 2-4 --force 3 </dev/null
	refuses 2 'temperature' moe-route -l 0 --temperature nan </dev/null
}

@test "what-if values that make no sense name the option and the place" {
	refuses 2 '--drop 3@4.*layers from 0 to 3' moe-route -l 0 --drop 3@4 </dev/null
	refuses 2 '--drop 3@:image.*layers from 0 to 3' moe-route -l 0 --drop 3@:image </dev/null
	refuses 2 '--mute 3@1:picture.*text, image, audio' moe-route -l 0 --mute 3@1:picture </dev/null
	refuses 2 '--mute: no experts' moe-route -l 0 --mute @1 </dev/null
	refuses 2 '--swap 3.*3=5' moe-route -l 0 --swap 3 </dev/null
	refuses 2 '--swap 3=8.*0 to 7' moe-route -l 0 --swap 3=8:text </dev/null
	refuses 2 '--swap 3=3' moe-route -l 0 --swap 3=3 </dev/null
	refuses 2 '--top-k 1.5.*whole' moe-route -l 0 --top-k 1.5@2 </dev/null
	refuses 2 'expert 3 .*layer 2, image' moe-route -l 0 --drop 2-4@2-:image --force 3@0-2 </dev/null
	refuses 2 '--force: 2 experts, but only 1 .*layer 1, text' moe-route -l 0 --force 2 --force 3@1 --top-k 1:text </dev/null
	refuses 2 '--bias -: standard input' moe-route -l 0 --bias - </dev/null
	refuses 2 'nowhere: .*No such file' moe-route -l 0 --bias nowhere </dev/null
	seq 7 >few
	refuses 2 'few: 7 numbers.*8 experts.*4 layers' moe-route -l 0 --bias few@1-2 </dev/null
	echo '1 2 3 4 5 x 7 8' >word
	refuses 2 'word: byte 10: expected a number' moe-route -l 0 --bias word </dev/null
	echo '1 2 3 4 5 inf 7 8' >word
	refuses 2 'word: byte 10: expected a number' moe-route -l 0 --bias word </dev/null
	printf '1 2 3 4 5 6 7 \0 8' >nul
	refuses 2 'nul: byte 14: expected a number' moe-route -l 0 --bias nul </dev/null
}

@test "terminals, closed and empty input, full output" {
	stream attended
	refuses_terminals "moe-route -l 0" attended.sts
	never_hangs moe-route -l 0
	needs_open_output moe-route -l 0 <attended.sts
}

@test "-o replaces a file only when all is done" {
	stream attended
	head -c 1000 attended.sts >cut
	writes_atomically attended.sts cut moe-route -l 0
}

@test "router logits, experts and weights of every layer are those of the reference" {
	moe-tokenize | moe-patchify "$reader/pics/terminal.png" | moe-encode | moe-embed >at.sts
	for l in 0 1 2 3; do
		moe-attend -l $l <at.sts | moe-route -l $l >routed.sts
		numpy "$frames_py" check routed.sts
		agrees routed.sts router_logit "$reader/cases/terminal.safetensors" $l.router_logit
		agrees routed.sts expert_id "$reader/cases/terminal.safetensors" $l.expert_id
		agrees routed.sts weight "$reader/cases/terminal.safetensors" $l.weight
		moe-expert -l $l <routed.sts >at.sts
	done
}

@test "experts stand by falling weight, the weights of a token add up to one" {
	stream routed
	for name in expert_id weight router_logit; do
		moe-view --npy $name routed.sts >$name.npy
	done
	numpy -c '
import numpy as np
e, w, z = (np.load(n + ".npy") for n in ("expert_id", "weight", "router_logit"))
assert e.shape == w.shape == (65, 2) and z.shape == (65, 8)
assert (e == np.argsort(-z, axis=1, kind="stable")[:, :2]).all()
p = np.exp(np.take_along_axis(z, e, 1))
assert abs(w - p / p.sum(1, keepdims=True)).max() < 1e-6 and (w[:, 0] >= w[:, 1]).all()'
}

# routed ARGS...: the experts and weights that moe-route chooses with them, as e.npy and w.npy.
routed() {
	moe-route -l 0 "$@" <attended.sts >what-if.sts
	moe-view --npy expert_id what-if.sts >e.npy
	moe-view --npy weight what-if.sts >w.npy
	moe-view --npy router_logit what-if.sts >z.npy
}

@test "what if: --top-k, --drop, --force and --temperature" {
	stream attended
	python='import numpy as np; e, w, z = (np.load(n + ".npy") for n in "ewz"); best = np.argsort(-z, axis=1, kind="stable")'
	routed --top-k 1
	numpy -c "$python"'; assert (e[:, 0] == best[:, 0]).all() and (e[:, 1] == -1).all() and (w == [1, 0]).all()'
	routed --drop 0,3-4
	numpy -c "$python"'
z[:, [0, 3, 4]] = -np.inf
assert (e == np.argsort(-z, axis=1, kind="stable")[:, :2]).all()'
	routed --force 5
	numpy -c "$python"'; assert (e == 5).any(1).all()
other = np.where(e[:, 0] == 5, e[:, 1], e[:, 0])
assert (other == np.where(best[:, 0] == 5, best[:, 1], best[:, 0])).all()'
	routed --temperature 2.5
	numpy -c "$python"'; assert (e == best[:, :2]).all()
p = np.exp(np.take_along_axis(z, e, 1).astype("f8") / 2.5)
assert abs(w - p / p.sum(1, keepdims=True)).max() < 1e-6'
	moe-expert -l 0 <what-if.sts | moe-view --check
}

@test "what if: --mute, --swap and --bias, as NumPy has them" {
	stream attended
	python='import numpy as np; e, w, z = (np.load(n + ".npy") for n in "ewz"); best = np.argsort(-z, axis=1, kind="stable")[:, :2]
def weights(z, e):
    p = np.exp(np.take_along_axis(z, e, 1).astype("f8"))
    return p / p.sum(1, keepdims=True)'
	routed --mute 2,6
	numpy -c "$python"'
for r in range(len(e)):
    left = [i for i in best[r] if i not in (2, 6)]
    assert list(e[r]) == left + [-1] * (2 - len(left)), r
    assert abs(w[r].sum() - (len(left) > 0)) < 1e-6
    if len(left) == 2: assert abs(w[r] - weights(z, best)[r]).max() < 1e-6
assert (e == -1).all(1).any() and (e != -1).all(1).any()'
	moe-expert -l 0 <what-if.sts | moe-view --check
	moe-route -l 0 --mute 0-7 --stats=json <attended.sts 2>&1 >/dev/null | each '.all.tokens == 65 and .all.choices == 0'
	routed --swap 2=6 --swap 0=1
	numpy -c "$python"'
other = np.array([1, 0, 6, 3, 4, 5, 2, 7])
assert (e == other[best]).all() and abs(w - weights(z, best)).max() < 1e-6'
	echo '0 0.5 -1 0 0 2e0 0 -0.25' >bias.txt
	routed --bias bias.txt
	numpy -c "$python"'
b = (z + np.array([0, 0.5, -1, 0, 0, 2, 0, -0.25], "f4"))
chosen = np.argsort(-b, axis=1, kind="stable")[:, :2]
assert (chosen != best).any() and (e == chosen).all() and abs(w - weights(b, chosen)).max() < 1e-6'
	# Biases add up; a file with a line for each layer has this layer's.
	printf '%s\n' '0 0.25 -0.5 0 0 1 0 0' '9 9 9 9 9 9 9 9' '0 0 0 0 0 0 0 0' '1 2 3 4 5 6 7 8' >layers
	echo '0 0.25 -0.5 0 0 1 0 -0.25' >half
	moe-route --no-pg -l 0 --bias half --bias layers@0-1 <attended.sts | moe-diff -q - <(moe-route --no-pg -l 0 --bias bias.txt <attended.sts)
}

@test "what if: only in these layers, only for these rows" {
	stream attended
	moe-view --npy modality attended.sts >m.npy
	routed
	cp e.npy plain.npy
	for how in '3@1-' '3:video' '3@2:image'; do     # nothing in layer 0 for text and image
		moe-route --no-pg -l 0 --drop $how <attended.sts | cmp - <(moe-route --no-pg -l 0 <attended.sts)
	done
	python='import numpy as np; e, z, m, plain = (np.load(n + ".npy") for n in ("e", "z", "m", "plain"))
def without(drop):
    y = z.copy()
    y[:, drop] = -np.inf
    return np.argsort(-y, axis=1, kind="stable")[:, :2]'
	routed --drop 2-3@0:image
	numpy -c "$python"'; assert (e != plain).any() and (e == np.where(m[:, None] == 1, without([2, 3]), plain)).all()'
	routed --drop 0,2-3@0-2:text
	numpy -c "$python"'; assert (e != plain).any() and (e == np.where(m[:, None] == 0, without([0, 2, 3]), plain)).all()'
	routed --drop 2@0 --drop 3:image --drop 0:text --drop 7@1-
	numpy -c "$python"'; assert (e == np.where(m[:, None] == 1, without([2, 3]), without([2, 0]))).all()'
	routed --top-k 1 --top-k 2@0:image
	numpy -c "$python"'; assert ((e[:, 1] == -1) == (m == 0)).all()'
	# Who tells modalities apart needs them.
	numpy - attended.sts >bare.sts <<-'PY'
		import sys
		import frames
		for raw in frames.split(open(sys.argv[1], "rb")):
		    meta, tensors = frames.parse(raw)
		    meta.pop("moe.crc32", None)
		    tensors.pop("modality", None)
		    sys.stdout.buffer.write(frames.build(meta, tensors))
	PY
	moe-view --seal bare.sts >sealed.sts
	moe-route -l 0 --drop 2@0 <sealed.sts >/dev/null
	refuses 2 'differ by modality.*"modality"' moe-route -l 0 --drop 2:image <sealed.sts
}

@test "--stats adds up: tokens, loads and shares as jq counts them from the stream itself" {
	moe-tokenize --for-each "$demo" | moe-patchify -q "$demo" | moe-encode | moe-embed | moe-attend -l 0 |
		moe-route -l 0 --stats=json:stats.json >routed.sts
	moe-view --json -n 1000 routed.sts | jq -s --slurpfile stats stats.json '
		def column(name): [.[] | select(.kind == "routed").tensors[] | select(.name == name)];
		def count(experts): [range(8) as $e | [experts[] | select(. == $e)] | length];
		[column("expert_id")[].values[]] as $id | [column("modality")[].values[]] as $modality | [column("weight")[].values[]] as $weight
		| [range($id | length) | {id: $id[.], of: $modality[. / 2 | floor]}] as $pairs | $stats[0] as $s
		| $s.all.load == count($id) and $s.image.load == count([$pairs[] | select(.of == 1).id]) and $s.text.load == count([$pairs[] | select(.of == 0).id])
		and $s.all.tokens == ($modality | length) and $s.all.choices == $s.all.tokens * $s.top_k and ($s.all.load | add) == $s.all.choices
		and [$s.image.tokens, $s.text.tokens] == [8 * 64, 8] and $s.layer == 0 and $s.experts == 8 and $s.top_k == 2
		and (($s.all.mean_weight - ($weight | add) / ($weight | length)) | fabs) < 1e-6
		and (($s.all.busiest_share - ($s.all.load | max) / $s.all.choices) | fabs) < 1e-6 and $s.all.load[$s.all.busiest_expert] == ($s.all.load | max)
		and $s.text.unused == ([$s.text.load[] | select(. == 0)] | length)' >verdict
	same "$(cat verdict)" true
}

@test "--stats: entropies and margins as NumPy has them" {
	stream attended
	moe-route -l 0 --stats=json:stats.json <attended.sts >routed.sts
	for name in expert_id router_logit modality; do
		moe-view --npy $name routed.sts >$name.npy
	done
	numpy -c '
import json, numpy as np
e, z, m = (np.load(n + ".npy").astype("f8") for n in ("expert_id", "router_logit", "modality"))
stats = json.load(open("stats.json"))
for name, rows in ("all", m >= 0), ("text", m == 0), ("image", m == 1):
    s, zz = stats[name], z[rows]
    p = np.exp(zz - zz.max(1, keepdims=True)); p /= p.sum(1, keepdims=True)
    load = np.array([(e[rows] == k).sum() for k in range(8)]) / e[rows].size
    order = -np.sort(-zz, axis=1)
    want = {"router_entropy": -(p * np.log(p)).sum(1).mean() / np.log(8), "load_entropy": -sum(x * np.log(x) for x in load if x) / np.log(8),
            "mean_margin": (order[:, 1] - order[:, 2]).mean(), "least_margin": (order[:, 1] - order[:, 2]).min()}
    for key, value in want.items():
        assert abs(s[key] - value) < 1e-6, (name, key, s[key], value)'
}

@test "--stats in its forms: text to standard error, json, tsv, FILE and FORM:FILE" {
	stream attended
	moe-route -l 0 --stats <attended.sts 2>text >/dev/null
	same "$(head -n 1 text)" "layer 0: 8 experts, top 2"
	for row in expert tokens 'load entropy' 'router entropy' busiest 'mean weight' 'mean margin' 'least margin' unused; do
		grep -q "^$row " text
	done
	same "$(awk '/^expert/ {print $2, $3, $4}' text)" "all text image"
	same "$(awk '/^tokens/ {print $2, $3, $4}' text)" "65 1 64"
	moe-route -l 0 --stats=text:file <attended.sts >/dev/null
	cmp file text
	moe-route -l 0 --stats=file2 <attended.sts >/dev/null
	cmp file2 text
	moe-route -l 0 --stats=json <attended.sts 2>json >/dev/null
	same "$(jq -c 'keys_unsorted' json)" '["layer","experts","top_k","all","text","image"]'
	each '.all | keys_unsorted == ["tokens", "choices", "load", "load_entropy", "router_entropy", "busiest_share", "busiest_expert", "unused",
		"mean_weight", "mean_margin", "least_margin"]' <json
	moe-route -l 0 --stats=tsv <attended.sts 2>tsv >/dev/null
	same "$(head -n 1 tsv)" "$(printf '%s\t' layer modality expert tokens choices share mean_weight load_entropy router_entropy busiest_share unused \
		mean_margin)least_margin"
	same "$(wc -l <tsv)" $((1 + 3 * 8))
	same "$(awk -F'\t' '$2 == "all" {n += $5; share += $6} END {print n, (share > 0.9999 && share < 1.0001)}' tsv)" "130 1"
	# Every figure of the JSON is there.
	jq -r '. as $s | ["all", "text", "image"][] as $m | $s[$m] | .load_entropy, .router_entropy, .busiest_share, .unused, .mean_margin, .least_margin |
		. * 1e6 | round' json | xargs -n 6 >want
	awk -F'\t' 'NR > 1 && $3 == 0 {for (i = 8; i <= 13; i++) printf "%.0f%s", $i * 1e6, i < 13 ? " " : "\n"}' tsv | diff - want
	same "$(awk -F'\t' 'NF != 13' tsv)" ""
}

@test "--stats draws bars on a terminal and only there" {
	stream attended
	on_terminal 'moe-route -l 0 --stats <attended.sts >/dev/null' >shown
	grep -q █ shown
	moe-route -l 0 --stats <attended.sts 2>text >/dev/null
	run -1 grep -q █ text
}

@test "--stats never disturbs the stream" {
	stream attended
	moe-route --no-pg -l 0 <attended.sts >plain.sts
	for how in '' =json =tsv =text =file =json:file; do
		moe-route --no-pg -l 0 --stats$how <attended.sts 2>/dev/null | cmp - plain.sts
	done
}
