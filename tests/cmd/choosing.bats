load helper

# Models whose tokens are routed in other ways: experts in pools by modality, experts that choose, layers that only some rows take, norms behind the experts.
# The weights are random (routed.py); what is right about them is in tests/lib/routing.c.

maker=$(dirname "$BIN")/tests/lib/create

setup_file() {
	local all=$BATS_FILE_TMPDIR expert='router_choice="expert" norm_topk_prob=false expert_capacity=1'
	cat >"$all/small.json" <<-'END'
		{"hidden": 32, "layers": 4, "heads": 2, "experts": 6, "expert_width": 24, "top_k": 2, "stem": [8, 12], "grids": [[4, 8]], "max_new": 6,
		 "vocabulary": {"words": ["what", "colour", "is", "the", "circle", "red"]}}
	END
	"$maker" "$all/small.json" "$all/base" 2
	route() {
		numpy "$root/tests/cmd/routed.py" "$all/base" "$all/$1" "${@:2}"
	}
	route pools 'expert_pools=[[0,1,2],[3,4,5]]'
	route sigmoid 'expert_pools=[[0,3],[1,2,4,5]]' 'router_score="sigmoid"' 'moe_norm="post"'
	# shellcheck disable=SC2086
	route batch $expert
	# shellcheck disable=SC2086
	route moma 'expert_pools=[[0,1,2],[3,4,5]]' 'router_score="sigmoid"' 'moe_norm="post"' $expert aux_routers=true
	route depth 'depth_layers=[0,3]' depth_capacity=0.5 aux_routers=true 'aux_threshold="stored"'
	# shellcheck disable=SC2086
	route momad 'expert_pools=[[0,1,2],[3,4,5]]' 'router_score="sigmoid"' $expert 'depth_layers=[1,3]' depth_capacity=0.5 aux_routers=true 'aux_threshold="stored"'
	numpy - "$all" <<-'PY'
		import sys
		import numpy as np
		r = np.random.default_rng(1)
		for i, (w, h) in enumerate(((64, 32), (64, 40), (20, 30), (100, 50), (30, 30))):
		    with open(f"{sys.argv[1]}/p{i}.ppm", "wb") as f:
		        f.write(b"P6 %d %d 255\n" % (w, h) + r.integers(0, 256, 3 * w * h, "u1").tobytes())
	PY
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	ln -s "$BATS_FILE_TMPDIR"/*.ppm .
	printf 'p%d.ppm\n' 0 1 2 3 4 >list
}

use() { export MOE_MODEL=$BATS_FILE_TMPDIR/$1; }

# asked PROMPT PICTURE...: hidden rows of sequences with all their logits wanted.
asked() {
	printf '%s\n' "${@:2}" >pictures
	moe-tokenize --logits all --files-from pictures "$1" | moe-patchify --files-from pictures | moe-encode | moe-embed
}

# logits SEQUENCE ROWS: of the first so many rows, as bytes.
logits() {
	moe-decode --logits -o logits.sts && numpy - "$1" "$2" <<-'PY'
		import sys
		import frames
		for raw in frames.split(open("logits.sts", "rb")):
		    meta, tensors = frames.parse(raw)
		    if meta.get("moe.seq") == sys.argv[1]:
		        shape, data = tensors["logit"][1:]
		        sys.stdout.buffer.write(data[:int(sys.argv[2]) * 4 * shape[1]])
	PY
}

# sealed IN OUT 'PYTHON': the stream with what Python does to the meta and the tensors t of each frame.
sealed() {
	numpy - "$1" "$2.open" "$3" <<-'PY'
		import sys
		import frames
		import numpy as np
		with open(sys.argv[2], "wb") as f:
		    for raw in frames.split(open(sys.argv[1], "rb")):
		        meta, t = frames.parse(raw)
		        t.pop("_pad", None)
		        exec(sys.argv[3])
		        meta.pop("moe.crc32", None)
		        f.write(frames.build(meta, t))
	PY
	moe-view --seal <"$2.open" >"$2"
}

# differ A B: the two files are there, and not the same.
differ() {
	[ -s "$1" ] && [ -s "$2" ] && ! cmp -s "$1" "$2"
}

@test "every cut, batch and number of threads gives the bytes of moe-run" {
	for model in pools sigmoid moma depth momad; do
		use $model
		moe-run --json --files-from list >want
		same "$(wc -l <want)" 5
		moe-run --json -t 1 --batch 1 --files-from list | cmp - want
		moe-run --json -t 2 --batch 3 --files-from list | cmp - want
		moe-run --json --stats=json:seen --trace trace --files-from list | cmp - want
		rm -f loop
		mkfifo loop
		for middle in 'moe-block -l 0-' 'moe-attend -l 0 | moe-route -l 0 | moe-expert -l 0 | moe-block --only-wanted -l 1-' \
			'moe-block -l 0 | moe-attend -l 1 | moe-route -l 1 | moe-expert -l 1 | moe-block -l 2 | moe-attend -l 3 | moe-route -l 3 | moe-expert -l 3'; do
			eval "moe-tokenize --files-from list --generate --loop loop | moe-patchify --files-from list | moe-encode | moe-embed | $middle |
				moe-decode --json --loop loop" | cmp - want
		done
	done
}

@test "token by token gives the logits of the whole prompt" {
	for model in pools sigmoid moma depth momad; do
		use $model
		moe-tokenize --logits all '<image><ask> what colour is the circle red?' | moe-patchify p0.ppm | moe-encode >features
		moe-embed <features | moe-block -l 0- | moe-decode --logits >whole
		moe-embed --chunk 1 <features | moe-block -l 0- | moe-decode --logits >parts
		[ "$(frames logits parts | wc -l)" -gt 5 ]
		cmp <(numpy "$frames_py" data logit <whole) <(numpy "$frames_py" data logit <parts)
	done
}

@test "no earlier logit knows of later tokens or other sequences, but for a choice over a batch" {
	local rows=35   # the picture's 32, <ask>, what, colour
	for model in pools sigmoid moma depth momad; do
		use $model
		asked '<image><ask> what colour is the circle?' p0.ppm p1.ppm >one
		asked '<image><ask> what colour red red the the red' p0.ppm p1.ppm >later
		asked '<image><ask> what colour is the circle?' p0.ppm p2.ppm >other
		moe-block -l 0- <one | logits 0 $rows >want
		same "$(wc -c <want)" $((rows * 108 * 4))
		moe-block -l 0- <later | logits 0 $rows | cmp - want
		moe-block -l 0- <other | logits 0 $rows | cmp - want
		moe-block -l 0- <one | logits 1 $rows >a
		moe-block -l 0- <other | logits 1 $rows >b
		differ a b
		case $model in moma | depth | momad) ;; *) continue ;; esac
		moe-block --batch-choice 2 -l 0- <one | logits 0 $rows >want
		moe-block --batch-choice 2 -l 0- <later | logits 0 $rows >a
		moe-block --batch-choice 2 -l 0- <other | logits 0 $rows >b
		differ want a
		differ want b
		moe-block --batch-choice 1 -l 0- <one | logits 0 $rows >want
		moe-block --batch-choice 1 -l 0- <later | logits 0 $rows >a
		differ want a
		moe-block --batch-choice 1 -l 0- <other | logits 0 $rows | cmp - want
	done
}

@test "batches of whole sequences: every cut gives the bytes of moe-run" {
	for model in batch moma depth momad; do
		use $model
		for n in 1 2 3; do
			moe-run --json -n 1 --batch-choice $n --files-from list >want
			same "$(wc -l <want)" 5
			moe-run --json -n 1 --batch-choice $n -t 1 --stats=json:seen --files-from list | cmp - want
			for middle in "moe-block -l 0- --batch-choice $n" "moe-block -l 0- --only-wanted --batch-choice $n" \
				"moe-attend -l 0 --batch-choice $n | moe-route -l 0 --batch-choice $n | moe-expert -l 0 | moe-block --batch-choice $n -l 1-2 |
				moe-attend -l 3 --batch-choice $n | moe-route -l 3 --batch-choice $n | moe-expert -l 3"; do
				eval "moe-tokenize --files-from list | moe-patchify --files-from list | moe-encode | moe-embed | $middle | moe-decode -n 1 --json" |
					cmp - want
			done
			mv want batch$n
		done
		differ batch1 batch3
	done
}

@test "a sequence that fails ends a batch, in a pipeline as in moe-run" {
	use momad
	echo broken >p2.txt
	sed 's/p2.ppm/p2.txt/' list >some
	run -1 --separate-stderr moe-run --json -n 1 --batch-choice 3 --files-from some
	echo "$output" >want
	same "$(wc -l <want)" 5
	moe-tokenize --files-from some | moe-patchify --files-from some | moe-encode | moe-embed | moe-block -l 0- --batch-choice 3 >rows
	run -1 --separate-stderr moe-decode -n 1 --json <rows
	same "$(jq -c '[.name, .text, .logprob]' <<<"$output")" "$(jq -c '[.name, .text, .logprob]' want)"
}

@test "what frames say: pools, choices, and rows that skip a layer" {
	use momad
	asked '<image><ask> what colour' p0.ppm p1.ppm >rows
	moe-view --json rows | jq -es '.[0].meta["moe.pools"] == "{\"text\": [0, 1, 2], \"image\": [3, 4, 5]}"'
	moe-block -l 0 <rows | moe-attend -l 1 >attended
	frames hidden attended | each '.meta["moe.choice"] == "causal:threshold" and ([.tensors[].name] | contains(["entry", "depth", "depth_logit"]))'
	moe-route -l 1 <attended >routed
	numpy - <<-'PY'
		import frames
		import numpy as np
		n = 0
		for raw in frames.split(open("routed", "rb")):
		    meta, t = frames.parse(raw)
		    if meta["moe.kind"] != "routed":
		        continue
		    get = lambda name, type: np.frombuffer(t[name][2], type).reshape(t[name][1])
		    depth, ids, weight, logit, modality = get("depth", "u1"), get("expert_id", "<i4"), get("weight", "<f4"), get("router_logit", "<f4"), get("modality", "u1")
		    assert meta["moe.choice"] == "causal:threshold" and ids.shape[1] == 3 and 0 < depth.sum() < len(depth)
		    assert (ids[depth == 0] == -1).all() and (weight[ids < 0] == 0).all() and np.isneginf(logit[depth == 0]).all()
		    assert (get("normed", "<f4")[depth == 0] == 0).all()
		    for m, pool in enumerate(([0, 1, 2], [3, 4, 5])):
		        rows = (depth == 1) & (modality == m)
		        assert np.isfinite(logit[rows][:, pool]).all() and np.isneginf(np.delete(logit[rows], pool, 1)).all()
		        assert np.isin(ids[rows], pool + [-1]).all()
		    same = (get("hidden", "<f4") == get("entry", "<f4")).all(1)
		    assert same[depth == 0].all() and not same[depth == 1].any()
		    n += 1
		assert n == 2
	PY
	moe-expert -l 1 <routed >done
	frames hidden done | each '(.meta | has("moe.choice") | not) and ([.tensors[].name] | any(. == "entry" or . == "depth" or . == "expert_id") | not)'
	cmp <(numpy "$frames_py" data hidden <done) <(moe-block -l 0-1 <rows | numpy "$frames_py" data hidden)
	moe-route -l 0 <rows --any-order --batch-choice 2 | moe-view --json - | jq -es 'map(select(.kind == "routed").meta["moe.choice"]) == ["batch:2", "batch:2"]'
}

@test "--stats: experts per token, those without, those that skip" {
	use momad
	moe-run -n 1 --batch-choice 5 --stats=json:stats --files-from list >/dev/null
	jq -es 'length == 4 and all(.[]; .choice == "batch:5" and .top_k == 3)' stats
	# In layer 0 all take part: of 160 rows of pictures each of 3 experts takes 53 (160 / 3 = 53.3).
	jq -es '.[0].image | .tokens == 160 and .load == [0,0,0,53,53,53] and .skipped == 0 and (.by_number | add) == 160 and .without == .by_number[0] / 160' stats
	jq -es '.[1].all | .skipped == 82 and .tokens == 83 and .without > 0 and .mean_margin == 0' stats
	moe-run -n 1 --batch-choice 5 --stats --files-from list 2>&1 >/dev/null | grep -E '^layer 1: 6 experts, up to 3, chosen by batch:5$'
	moe-run -n 1 --batch-choice 5 --stats --files-from list 2>&1 >/dev/null | grep -E '^skipped +82'
	moe-run -n 1 --batch-choice 5 --stats --files-from list 2>&1 >/dev/null | grep -E '^with 0 '
	use pools
	moe-run --stats=json:stats --files-from list >/dev/null
	jq -es 'all(.[]; (has("choice") | not) and .text.load[3:] == [0,0,0] and .image.load[:3] == [0,0,0])' stats
}

@test "traces: kinds of choice are never added up, depth, pools, pictures of it" {
	use momad
	moe-run --trace causal --files-from list >/dev/null
	moe-run --trace ids --trace-detail ids --files-from list >/dev/null
	moe-run -n 1 --batch-choice 3 --trace batch --files-from list >/dev/null
	for trace in causal ids batch; do
		moe-view --check $trace
	done
	frames trace causal | each '.meta["moe.choice"] == "causal:threshold" and any(.tensors[]; .name == "depth" and .dtype == "U8" and .shape[0] == 4)'
	moe-stats --json causal batch >both
	same "$(jq -r 'select(.layer == 1).choice' both | sort -u | xargs)" "batch:3 causal:threshold"
	cmp both <(moe-stats --json causal && moe-stats --json batch)
	jq -es 'map(select(.layer == 1 and .choice == "batch:3").all) | .[0] | .passed == 82 and .tokens == 83 and .mean_margin == null and .without > 0' both
	moe-stats batch | grep -E '^with 2  '
	moe-stats batch | grep -E '^passed by '
	# Without logits, the head says which experts a token could have had.
	same "$(moe-stats --json ids | jq -c '[.layer, .image.pool, .image.load, .image.load_chance]')" \
		"$(moe-stats --json causal | jq -c '[.layer, .image.pool, .image.load, .image.load_chance]')"
	# The same from stages, each of which writes its own.
	moe-tokenize --files-from list | moe-patchify --files-from list | moe-encode | moe-embed | moe-block -l 0-1 --batch-choice 3 --trace first |
		moe-attend -l 2 | moe-route -l 2 --batch-choice 3 --trace second | moe-expert -l 2 | moe-block -l 3 --batch-choice 3 --trace third >/dev/null
	cmp <(moe-stats --json first second third) <(moe-stats --json batch)
	for kind in load flow coactivation text; do
		moe-plot -k $kind batch >drawn
		[ -s drawn ]
	done
	moe-plot -k picture --picture p0.ppm batch | grep 'Patches without a colour have no'
	moe-plot -k load batch | grep 'as much as others'
	moe-plot --format html -o page.html causal batch
}

@test "auxiliary routers at one half, or at what is stored" {
	use momad
	moe-run --json --files-from list >stored
	moe-run --json --causal-choice threshold --files-from list | cmp - stored
	moe-run --json --causal-choice aux --stats=json:stats --files-from list >half
	differ half stored
	jq -es 'all(.[]; .choice == "causal:aux")' stats
	asked '<image><ask> what' p0.ppm | moe-block -l 0 >rows
	moe-attend -l 1 --causal-choice aux <rows >attended
	refuses 2 'chosen by "causal:aux", this stage chooses by "causal:threshold"' moe-route -l 1 <attended
	moe-route -l 1 --causal-choice aux <attended >/dev/null
	moe-attend -l 1 --batch-choice 1 <rows >attended
	refuses 2 'chosen by "batch:1", this stage chooses by "causal:threshold"' moe-route -l 1 <attended
	use moma
	refuses 2 'no thresholds stored' moe-run --causal-choice threshold p0.ppm
	refuses 2 'expected aux .* or threshold' moe-run --causal-choice never p0.ppm
	use pools
	refuses 2 'no auxiliary routers' moe-route -l 0 --causal-choice aux </dev/null
}

@test "a command in place of a stage" {
	use momad
	moe-run --json --files-from list >want
	for stage in attend route expert; do
		moe-run --json --exec "$stage:1=moe-$stage -l 1" --exec "$stage:2=moe-$stage -l 2" --files-from list | cmp - want
	done
}

@test "conversations, scores, evaluation" {
	use momad
	printf '<read> what colour is the circle?' >text
	moe-run --score text | grep -E 'perplexity'
	# Questions share what they begin with, and answers are judged before the model gives its own: rows come again behind rows that are kept.
	for i in 0 1 2; do
		jq -n -c --arg i "$i" '{stem: "p\($i)", picture: "p\($i).ppm", sample: {kind: "read", tags: {}, questions: [
			{type: "a", prompt: "<read>", answer: "red circle"}, {type: "b", prompt: "<ask> what colour is", answer: "red the red"}]}}'
	done | python3 "$root/tests/cmd/shard.py" shard.tar
	moe-eval --json --answers answers shard.tar >out
	head -n 1 out | jq -e '.choice == "causal:threshold"'
	for prompt in '<image><read>' '<image><ask> what colour is'; do
		same "$(jq -c --arg p "$prompt" 'select(.prompt == $p) | [.said, .confidence]' answers)" \
			"$(moe-run --json -p "$prompt" p0.ppm p1.ppm p2.ppm | jq -c '[.text, .confidence]')"
	done
	moe-eval shard.tar | grep -E '^model [0-9a-f]{32}, routing causal:threshold$'
	moe-eval --json --causal-choice aux shard.tar >out
	head -n 1 out | jq -e '.choice == "causal:aux"'
	refuses 2 'score takes one text after the other' moe-run --score text --batch-choice 2
	refuses 2 'generates token by token' moe-run -i --batch-choice 2
}

@test "refused, with the way out" {
	use batch
	refuses 2 'moe-train --aux trains them; --batch-choice N' moe-run p0.ppm
	refuses 2 'moe-train --aux trains them; --batch-choice N' moe-route -l 0 </dev/null
	refuses 2 'moe-train --aux trains them; --batch-choice N' moe-block -l 0- </dev/null
	refuses 2 'a generated token is none: -n 1' moe-run --batch-choice 2 p0.ppm
	refuses 2 'one sequence at a time' moe-run -n 1 --batch-choice 2 --exec 'route:0=cat' p0.ppm
	refuses 2 'a token has as many as choose it' moe-run -n 1 --batch-choice 2 --route-top-k 1 p0.ppm
	refuses 2 'give one' moe-run -n 1 --batch-choice 2 --causal-choice aux p0.ppm
	moe-tokenize | moe-patchify p0.ppm | moe-encode | moe-embed >one
	sealed one rows '"moe.seq" in meta and meta.update({"moe.step": "1"})'
	refuses 2 'nothing can be generated' moe-block -l 0- --batch-choice 2 <rows
	moe-tokenize | moe-patchify p0.ppm | moe-encode | moe-embed --chunk 1 >rows
	refuses 2 'nor may sequences be cut \(moe-embed --chunk\)' moe-block -l 0- --batch-choice 2 <rows
	use pools
	refuses 2 'each token chooses its experts, and takes every layer' moe-run -n 1 --batch-choice 2 p0.ppm
	refuses 2 'the two are in different pools' moe-run --swap 0=3 p0.ppm
	refuses 2 'expert 0 is not in the pool of image' moe-run --force 0:image p0.ppm
	moe-run --swap 0=2 --force 1,4 --route-top-k 1 p0.ppm >/dev/null
	use momad
	asked '<image><ask> what' p0.ppm >rows
	refuses 2 'mixture-of-depths\): --attention and --parts' moe-block -l 0- --attention <rows
	refuses 2 'cannot be spliced' moe-splice rows rows
	use moma
	refuses 2 'a norm stands behind the experts' moe-block -l 0- --parts <rows
	for pools in '[[0,1,2],[3,4]]' '[[0,1,2],[2,3,4,5]]' '[[0,1,2],[3,4,6]]'; do
		rm -rf wrong
		cp -r "$BATS_FILE_TMPDIR/pools" wrong
		jq --argjson p "$pools" '.expert_pools = $p' "$BATS_FILE_TMPDIR/pools/config.json" >wrong/config.json
		refuses 2 'router.pools' moe-info -m wrong
	done
}

@test "what comes from outside is checked: pools of the head, depth, experts of another pool" {
	use momad
	asked '<image><ask> what' p0.ppm | moe-block -l 0 | moe-attend -l 1 >attended
	moe-route -l 1 <attended >routed
	sealed attended a 'meta["moe.kind"] == "head" and meta.update({"moe.pools": "{\"text\": [0, 1, 2, 3], \"image\": [4, 5]}"})'
	refuses 2 'names other pools of experts than the model has' moe-route -l 1 <a
	sealed attended b 't.pop("entry", None)'
	refuses 2 'entry' moe-route -l 1 <b
	sealed attended c 't.pop("depth", None)'
	refuses 2 'nobody said which' moe-route -l 1 <c
	sealed attended d '"depth" in t and t.update(depth=("U8", t["depth"][1], bytes([2] * len(t["depth"][2]))))'
	refuses 2 'depth is 2' moe-route -l 1 <d
	sealed routed e '"depth" in t and t.update(depth=("U8", t["depth"][1], bytes(len(t["depth"][2]))))'
	refuses 2 'the row skips the layer' moe-expert -l 1 <e
	sealed routed f 't.pop("router_logit", None); "expert_id" in t and t.update(expert_id=("I32", t["expert_id"][1],
	(np.where(np.frombuffer(t["expert_id"][2], "<i4") >= 0, 5 - np.frombuffer(t["expert_id"][2], "<i4"), -1)).astype("<i4").tobytes()))'
	refuses 2 'is not in the pool of modality' moe-expert -l 1 <f
}

@test "experts of a layer split over processes" {
	for model in moma momad; do
		use $model
		asked '<image><ask> what colour' p0.ppm p1.ppm | moe-block -l 0 | moe-attend -l 1 | moe-route -l 1 >routed
		moe-expert -l 1 --experts 0-2 --partial <routed >a
		moe-expert -l 1 --experts 3-5 --partial <routed >b
		moe-merge -l 1 a b >merged
		cmp <(moe-expert -l 1 <routed | numpy "$frames_py" data hidden) <(numpy "$frames_py" data hidden <merged)
	done
}
