load helper

# rows NAME PICTURE: NAME.sts, the embedded prompt about a picture of share/demo.
rows() { moe-tokenize --no-pg | moe-patchify --no-pg "$demo/$2.png" | moe-encode --no-pg | moe-embed --no-pg >"$1.sts"; }

# text NAME TEXT: NAME.sts, a text embedded by the model at hand.
text() { moe-tokenize --no-pg "$2" | moe-embed --no-pg >"$1.sts"; }

@test "help, version and bad options" {
	has_help moe-splice
	refuses_bad_options moe-splice
	refuses 2 usage moe-splice one </dev/null
	refuses 2 usage moe-splice one two three </dev/null
	rows a price
	refuses 2 usage moe-splice --json --tsv a.sts a.sts
	refuses 2 'only one' moe-splice - - <a.sts
	refuses 2 'hidden, attention, experts or routing' moe-splice --what all a.sts a.sts
	refuses 2 'all, or experts from 0 to 7' moe-splice --expert 8 a.sts a.sts
	refuses 2 'all, or experts from 0 to 7' moe-splice --expert last a.sts a.sts
	refuses 2 'what does not go' moe-splice --expert 1 --what hidden a.sts a.sts
	refuses 2 'range of 0 to 3' moe-splice -l 4 a.sts a.sts
	refuses 2 'each, all, last' moe-splice --rows some a.sts a.sts
}

@test "terminals, closed and empty input, full output; -o replaces a file only when all is done" {
	rows a price
	rows b sign
	status=0
	on_terminal "moe-splice a.sts -" >shown || status=$?
	same "$status" 2
	grep -q '^moe-splice: usage: moe-splice ' shown
	never_hangs moe-splice a.sts -
	needs_open_output moe-splice a.sts - <b.sts
	head -c 1000 b.sts >cut
	writes_atomically b.sts cut moe-splice a.sts -
}

# spliced WHAT LAYER ROWS [EXPERT]: the difference of the logits that a pipeline of stages gives, when NumPy has put that part of clean.sts into
# corrupt.sts between them. Streams have one sequence; ROWS is a slice of NumPy.
spliced() {
	local side line l
	for side in clean corrupt; do
		cp $side.sts at.sts
		for ((l = 0; l <= $2; l++)); do
			cp at.sts $side.before
			moe-attend --no-pg -l $l <at.sts >$side.mid
			moe-route --no-pg -l $l <$side.mid >$side.routed
			moe-expert --no-pg -l $l --parts <$side.routed >$side.parts
			moe-expert --no-pg -l $l <$side.routed >at.sts
		done
		cp at.sts $side.behind
	done
	numpy - "$@" <<-'PY'
		import sys
		import numpy as np
		import frames
		import inside
		what, layer, rows = sys.argv[1:4]
		rows = eval(f"np.s_[{rows}]")
		get = lambda side, at, name="hidden": next(inside.data(f"{side}.{at}"))[1][name].copy()
		if what == "routing":
		    source, changed = "corrupt.routed", {k: get("corrupt", "routed", k) for k in ("expert_id", "weight")}
		    for k in changed:
		        changed[k][rows] = get("clean", "routed", k)[rows]
		else:
		    source = "corrupt.mid" if what == "attention" else "corrupt.behind"
		    x = get("corrupt", source[8:])
		    if what == "hidden":
		        x[rows] = get("clean", "behind")[rows]
		    elif what == "attention":
		        x[rows] = (get("corrupt", "before") + (get("clean", "mid") - get("clean", "before")))[rows]
		    elif what == "experts":
		        x[rows] = (get("corrupt", "mid") + (get("clean", "behind") - get("clean", "mid")))[rows]
		    else:
		        for side, factor in (("corrupt", -1), ("clean", 1)):
		            chosen, weight, part = (get(side, "parts", f"{layer}.{k}") for k in ("expert_id", "weight", "part"))
		            x[rows] += factor * (np.where(chosen == int(sys.argv[4]), weight, 0)[..., None] * part).sum(1)[rows]
		    changed = {"hidden": x}
		with open("spliced.sts", "wb") as out:
		    for raw in frames.split(open(source, "rb")):
		        meta, tensors = frames.parse(raw)
		        for k, v in changed.items():
		            if meta["moe.kind"] in ("hidden", "routed"):
		                tensors[k] = tensors[k][0], tensors[k][1], v.astype(inside.TYPES[tensors[k][0]]).tobytes()
		        tensors.pop("_pad", None)
		        out.write(frames.build(meta, tensors))
	PY
	case $1 in
	routing) line="moe-expert -l $2" ;;
	attention) line="moe-route -l $2 | moe-expert -l $2" ;;
	*) line=cat ;;
	esac
	[ "$(($2 + 1))" = "$layers" ] || line+=" | moe-block -l $(($2 + 1))-"
	moe-view --seal spliced.sts | eval "$line" | moe-decode --logits | moe-view --npy logit >spliced.npy
	for side in clean corrupt; do moe-block -l 0- <$side.sts | moe-decode --logits | moe-view --npy logit >$side.npy; done
}

# restores OPTIONS...: moe-splice's only result is what spliced.npy says.
restores() {
	moe-splice --json "$@" clean.sts corrupt.sts >result
	numpy - <<-'PY'
		import json
		import numpy as np
		line, = [json.loads(line) for line in open("result")]
		clean, corrupt, mine = (np.load(f"{n}.npy")[0].astype("f8") for n in ("clean", "corrupt", "spliced"))
		a, b = line["clean_answer"]["id"], line["corrupt_answer"]["id"]
		d = lambda z: z[a] - z[b]
		assert abs(line["clean_difference"] - d(clean)) < 1e-6 * abs(d(clean)) and abs(line["corrupt_difference"] - d(corrupt)) < 1e-6 * abs(d(corrupt))
		assert abs(line["difference"] - d(mine)) < 2e-4, (line, d(mine))
		assert abs(line["restored"] - (d(mine) - d(corrupt)) / (d(clean) - d(corrupt))) < 1e-4
	PY
}

@test "what comes back is what a pipeline gives into which NumPy has put the clean run's part" {
	layers=4
	rows clean price
	rows corrupt sign
	for l in 0 2 3; do
		spliced hidden $l :64
		restores -l $l --rows image
		spliced attention $l 10:20
		restores -l $l --rows 10-19 --what attention
		spliced experts $l 64:
		restores -l $l --rows text --what experts
		spliced routing $l :
		restores -l $l --rows all --what routing
		spliced expert $l 5: 1
		restores -l $l --rows 5- --expert 1
	done
	layers=3
	export MOE_MODEL=$golden/qwen2moe/model         # a text family with shared experts
	text clean 'The router sends x'
	text corrupt 'The router sends y'
	spliced hidden 1 -1:
	restores -l 1 --rows last
	spliced experts 0 :3
	restores -l 0 --rows 0-2 --what experts
	spliced expert 1 : 4
	restores -l 1 --rows all --expert 4
}

@test "all rows bring everything back, no row of a run into itself changes anything; each, groups and experts are the same experiments" {
	rows clean price
	rows corrupt sign
	moe-splice --json --rows all clean.sts corrupt.sts | each '.restored == 1 and .n_rows == 65 and .answer == .clean_answer and .difference == .clean_difference'
	moe-splice --json --rows last -l 3 clean.sts corrupt.sts | each '.restored == 1'
	moe-splice --json --rows image -l 3 clean.sts corrupt.sts | each '.restored == 0 and .answer == .corrupt_answer'
	moe-splice --json -l 1 --rows each clean.sts corrupt.sts >each
	same "$(jq -r .rows each | xargs)" "$(seq 0 64 | xargs)"
	for r in 3 40 64; do
		same "$(moe-splice --json -l 1 --rows $r clean.sts corrupt.sts)" "$(grep "\"rows\":\"$r\"" each)"
	done
	same "$(moe-splice --json -t 3 -l 1 --rows each clean.sts corrupt.sts)" "$(<each)"
	same "$(moe-splice --json --cpu c -l 1 --rows each clean.sts corrupt.sts)" "$(<each)"
	moe-splice --json --expert all clean.sts corrupt.sts >experts
	same "$(wc -l <experts)" $((4 * 2 * 8))
	same "$(moe-splice --json --rows text --expert 2-3 -l 2- clean.sts corrupt.sts)" "$(grep '"layer":[23],"rows":"text".*"expert":[23],' experts)"
	jq -c 'select(.rows == "text" and .difference == .corrupt_difference)' experts | each '.restored == 0'
	# From a later layer on, the experiments of that layer are the same.
	for s in clean corrupt; do moe-block -l 0-1 <$s.sts >$s.2; done
	same "$(moe-splice --json -l 2- clean.2 corrupt.2)" "$(moe-splice --json -l 2- clean.sts corrupt.sts)"
	refuses 2 'layer 1 was passed before' moe-splice -l 1 clean.2 corrupt.2
	refuses 2 'clean stream is behind stage "1.expert", the corrupt one behind "embed"' moe-splice -l 2 clean.2 corrupt.sts
}

@test "several pairs: text adds them up, equal answers are left out and told" {
	list() {
		printf '%s\n' "${@/#/$demo/}" >list
		moe-tokenize --files-from list | moe-patchify --files-from list | moe-encode | moe-embed
	}
	list price.png sign.png word.png >clean.sts
	list sign.png sign.png xterm.png >corrupt.sts
	moe-splice --json clean.sts corrupt.sts >lines 2>err
	same "$(<err)" "moe-splice: pair 1: both runs give the same answer, and it is left out"
	same "$(jq -c '[.pair, .clean, .corrupt]' lines | sort -u | jq -r '.[1] | split("/") | last' | xargs)" "price.png word.png"
	moe-splice -q clean.sts corrupt.sts >text
	same "$(head -n 1 text)" "2 pairs"
	for l in 0 1 2 3; do
		want=$(jq -s --argjson l $l '[.[] | select(.layer == $l and .rows == "image")] |
			100 * (map(.difference - .corrupt_difference) | add) / (map(.clean_difference - .corrupt_difference) | add)' lines)
		same "$(awk -v l=$l '$1 == "image" { print $(l + 2) }' text)" "$(LC_ALL=C printf %.1f "$want")"
	done
	moe-splice -q --tsv clean.sts corrupt.sts >table
	same "$(tail -n +2 table | cut -f 1,5,6,7,14)" "$(jq -r '[.pair, .layer, .rows, .n_rows, .restored] | @tsv' lines)"
	same "$(awk -F'\t' 'NR == 1 { n = NF } NF != n' table)" ""
	run -1 --separate-stderr moe-splice clean.sts clean.sts
	same "$output" ""
	same "$(grep -c 'same answer' <<<"$stderr")" 3
}

@test "streams that do not fit are refused" {
	rows a price
	rows b sign
	moe-tokenize -m "$olmoe/model" 'a b c' | moe-embed -m "$olmoe/model" >other.sts
	refuses 2 'other.sts.*made with model' moe-splice a.sts other.sts
	export MOE_MODEL=$olmoe/model
	text short 'a b'
	text long 'a b c d'
	text third 'a b d'
	refuses 2 'pair 0: the clean sequence has [0-9]+ rows, the corrupt one [0-9]+' moe-splice short.sts long.sts
	refuses 2 'none of its [0-9]+ rows is one of "image"' moe-splice --rows image other.sts third.sts
	moe-tokenize 'a b c d' | moe-embed --chunk 2 >chunks.sts
	refuses 2 'chunks.sts.*one frame' moe-splice chunks.sts long.sts
	moe-block -l 0- <long.sts >last.sts
	refuses 2 'last.sts.*before the last layer' moe-splice last.sts last.sts
	moe-attend -l 0 <long.sts >mid.sts
	refuses 2 'mid.sts.*behind stage "0.attend"' moe-splice mid.sts mid.sts
	moe-tokenize 'a b c d' >tokens.sts
	refuses 2 'tokens.sts.*hidden rows' moe-splice long.sts tokens.sts
	cat long.sts long.sts >two.sts
	refuses 2 'the corrupt stream has more sequences than the clean one: 1' moe-splice -q long.sts two.sts
	moe-tokenize --math fast 'a b c d' | moe-embed >fast.sts
	refuses 2 'different arithmetic' moe-splice long.sts fast.sts
	head -c 1500 long.sts >cut
	refuses 2 'cut: ' moe-splice cut long.sts
}
