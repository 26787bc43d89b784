# moe-merge.bats: a layer whose experts are shared out over processes gives the bytes of a layer that is not.
load helper

# part LAYER EXPERTS: the results of these experts.
part() { moe-expert --no-pg -l "$1" --partial --experts "$2"; }

# shared_out: part-0.sts, part-1.sts and whole.sts, of layer 0.
shared_out() {
	stream routed
	part 0 0-3 <routed.sts >part-0.sts
	part 0 4- <routed.sts >part-1.sts
	moe-expert --no-pg -l 0 <routed.sts >whole.sts
}

# before LAYER: routed frames of the layer, from the embedded rows on standard input.
before() {
	{ [ "$1" = 0 ] && cat || moe-block --no-pg -l 0-$(($1 - 1)); } | moe-attend --no-pg -l "$1" | moe-route --no-pg -l "$1"
}

# layer L: the rows before the layer -> behind it, its experts in two processes that FIFOs feed and empty. For L = 1, three.
layer() {
	local l=$1
	mkfifo in-$l out-$l
	moe-expert --no-pg -l $l --partial --experts 0-3 <in-$l >out-$l &
	if [ $l = 1 ]; then
		mkfifo more-in more-out
		moe-expert --no-pg -l 1 --partial --experts 7 <more-in >more-out &
		moe-attend --no-pg -l 1 | moe-route --no-pg -l 1 | tee in-1 more-in | moe-expert --no-pg -l 1 --partial --experts 4-6 |
			moe-merge --no-pg -l 1 out-1 - more-out
	else
		moe-attend --no-pg -l $l | moe-route --no-pg -l $l | tee in-$l | moe-expert --no-pg -l $l --partial --experts 4- |
			moe-merge --no-pg -l $l - out-$l
	fi
	wait
	rm -f in-$l out-$l more-in more-out
}

# stops PATTERN ARGS...: moe-merge ends with status 2 and one message that matches, and signs no end.
stops() {
	local got=0 pattern=$1
	shift
	timeout 60 moe-merge "$@" >out 2>err || got=$?
	if [ $got = 2 ] && [ "$(wc -l <err)" = 1 ] && grep -qE -e "$pattern" err && ! grep -qa '"moe.kind":"end"' out; then
		return
	fi
	echo "moe-merge $*: exit status $got, expected 2 with \"$pattern\" and no end frame"
	cat err
	return 1
}

@test "help, version and bad options" {
	has_help moe-merge
	refuses_bad_options moe-merge
	stream routed
	refuses 2 usage moe-merge </dev/null
	refuses 2 usage moe-merge -l 0 </dev/null
	refuses 2 'l is missing.*0 to 3' moe-merge routed.sts
	refuses 2 'one layer.*moe-block' moe-merge -l 0-1 routed.sts
	refuses 2 'only one of the streams' moe-merge -l 0 - - <routed.sts
	refuses 2 'nowhere.sts: ' moe-merge -l 0 nowhere.sts
	refuses 2 '65 streams: at most 64' moe-merge -l 0 $(yes routed.sts | head -n 65)
}

@test "options of moe-expert that do not go together" {
	stream routed
	refuses 2 'with --partial' moe-expert -l 0 --experts 0-3 <routed.sts
	refuses 2 'one of them' moe-expert -l 0 --partial --parts <routed.sts
	for range in 8 7-8 3-1 x ''; do
		refuses 2 'range of 0 to 7' moe-expert -l 0 --partial --experts "$range" <routed.sts
	done
}

@test "terminals, closed input, full output" {
	shared_out
	refuses_terminals 'moe-merge -l 0 - part-1.sts' part-0.sts
	never_hangs moe-merge -l 0 - part-1.sts
	moe-merge -l 0 part-0.sts - <part-1.sts >merged.sts
	needs_open_output moe-merge -l 0 - part-1.sts <part-0.sts
	head -c 1000 part-0.sts >cut
	writes_atomically part-0.sts cut moe-merge -l 0 - part-1.sts
}

@test "two and three processes through FIFOs in every layer: the bytes of moe-block, and the answers of moe-run" {
	printf '%s\n' "$demo"/{word,price,clock}.png >list
	moe-tokenize --no-pg --files-from list | moe-patchify --no-pg --files-from list | moe-encode --no-pg | moe-embed --no-pg >hidden.sts
	moe-block --no-pg -l 0- <hidden.sts >want.sts
	cp hidden.sts at.sts
	for l in 0 1 2 3; do
		layer $l <at.sts >next.sts
		mv next.sts at.sts
	done
	cmp at.sts want.sts
	moe-run --json --files-from list >want
	mkfifo loop
	moe-tokenize --generate --loop loop --files-from list | moe-patchify --files-from list | moe-encode | moe-embed | moe-block -l 0 | (layer 1) | (layer 2) |
		moe-block -l 3 | moe-decode --loop loop --json | cmp - want
}

@test "shared experts with a gate, exact and fast, in every layer and every order of the streams" {
	moe-convert -q --type int8 "$golden/qwen2moe/model" packed
	for model in "$golden/qwen2moe/model" packed; do
		export MOE_MODEL=$model
		for math in exact fast; do
			moe-tokenize --no-pg --math $math 'The router sends each token to its experts.' | moe-embed --no-pg --chunk 5 >hidden.sts
			for l in 0 1 2; do
				before $l <hidden.sts >routed.sts
				moe-expert --no-pg -l $l <routed.sts >whole.sts
				for e in 0-2 3 4-; do
					part $l $e <routed.sts >part-$e.sts
				done
				moe-merge --no-pg -l $l part-0-2.sts part-3.sts part-4-.sts | cmp - whole.sts
				moe-merge --no-pg -l $l -t 2 part-4-.sts part-0-2.sts part-3.sts | cmp - whole.sts
				moe-merge --no-pg -l $l <(part $l 4-8 <routed.sts) <(part $l 0-3 <routed.sts) | cmp - whole.sts
				moe-expert --no-pg -l $l --partial <routed.sts | moe-merge --no-pg -l $l - | cmp - whole.sts
			done
		done
	done
	same "$(moe-view --json whole.sts | jq -r 'select(.kind == "head").meta["moe.math"]')" fast
}

@test "plain shared experts, and a dense layer" {
	export MOE_MODEL=$golden/aria/model
	moe-tokenize --no-pg 'a b c' | moe-embed --no-pg | before 1 >routed.sts
	moe-expert --no-pg -l 1 <routed.sts >whole.sts
	moe-merge --no-pg -l 1 <(part 1 0-4 <routed.sts) <(part 1 5- <routed.sts) | cmp - whole.sts
	mkdir dense
	cp "$olmoe/model/tokenizer.json" dense/
	seq 5 15 >dense/tokens
	numpy "$root/tests/cmd/parts.py" bf16 dense
	moe-tokenize --no-pg -m dense --family dense/family.json 'def f(x): return' | moe-embed --no-pg -m dense --family dense/family.json >hidden.sts
	for l in 1 2; do
		moe-block --no-pg -m dense --family dense/family.json -l 0-$((l - 1)) <hidden.sts |
			moe-attend --no-pg -m dense --family dense/family.json -l $l | moe-route --no-pg -m dense --family dense/family.json -l $l >routed.sts
		moe-expert --no-pg -m dense --family dense/family.json -l $l <routed.sts >whole.sts
		for e in 0-3 4-; do
			moe-expert --no-pg -m dense --family dense/family.json -l $l --partial --experts $e <routed.sts >part-$e.sts
		done
		moe-merge --no-pg -m dense --family dense/family.json -l $l part-4-.sts part-0-3.sts | cmp - whole.sts
	done
	frames routed part-0-3.sts >shapes
	same "$(jq -r '[.tensors[] | select(.name == "part")][0].shape[0] > 0' shapes)" true
}

@test "pools, norms behind the experts, experts that choose, and layers that only some rows take" {
	echo '{"hidden": 32, "layers": 2, "heads": 2, "experts": 6, "expert_width": 24, "top_k": 2, "stem": [8, 12], "grids": [[4, 8]]}' >small.json
	"${BIN%/bin}/tests/lib/create" small.json base 2
	numpy "$root/tests/cmd/routed.py" base pools 'expert_pools=[[0,3],[1,2,4,5]]' 'router_score="sigmoid"' 'moe_norm="post"'
	numpy "$root/tests/cmd/routed.py" base all 'expert_pools=[[0,1,2],[3,4,5]]' 'router_score="sigmoid"' 'router_choice="expert"' norm_topk_prob=false expert_capacity=1 \
		'depth_layers=[1]' depth_capacity=0.5 aux_routers=true 'aux_threshold="stored"'
	for model in pools all; do
		export MOE_MODEL=$model
		moe-tokenize --no-pg | moe-patchify --no-pg "$word" | moe-encode --no-pg | moe-embed --no-pg >hidden.sts
		for l in 0 1; do
			before $l <hidden.sts >routed.sts
			moe-expert --no-pg -l $l <routed.sts >whole.sts
			moe-merge --no-pg -l $l <(part $l 4- <routed.sts) <(part $l 0-1 <routed.sts) <(part $l 2-3 <routed.sts) | cmp - whole.sts
			moe-block --no-pg -l 0-$l <hidden.sts | cmp - whole.sts
		done
	done
	frames routed routed.sts >inside
	same "$(jq -c '[.tensors[].name] | contains(["entry", "depth"])' inside)" true
}

@test "slots that the router left empty, and one that a router of the user's filled" {
	stream attended
	moe-route --no-pg -l 0 --top-k 1 <attended.sts >routed.sts
	moe-expert --no-pg -l 0 <routed.sts >whole.sts
	moe-merge --no-pg -l 0 <(part 0 5- <routed.sts) <(part 0 0-4 <routed.sts) | cmp - whole.sts
	numpy -c '
import sys, frames
for raw in frames.split(sys.stdin.buffer):
    meta, tensors = frames.parse(raw)
    for name in ("router_logit", "choice"):
        tensors.pop(name, None)
    sys.stdout.buffer.write(frames.build(meta, tensors))' <routed.sts | moe-view --seal >foreign.sts
	moe-merge --no-pg -l 0 <(part 0 0-4 <foreign.sts) <(part 0 5- <foreign.sts) | moe-diff -q - whole.sts
}

@test "a partial frame: results by row and slot, and the rows with expert 0 alone" {
	shared_out
	numpy "$frames_py" check part-0.sts part-1.sts
	moe-expert --no-pg -l 0 --parts <routed.sts >parts.sts
	numpy - <<-'PY'
		import inside
		(_, whole), = inside.data("parts.sts")
		frames = [next(inside.data(f"part-{i}.sts")) for i in range(2)]
		for (meta, f), mine in zip(frames, (lambda e: e < 4, lambda e: e >= 4)):
		    assert meta["moe.at"] == "0.partial" and meta["moe.kind"] == "routed"
		    assert (f["filled"].astype(bool) == mine(whole["0.expert_id"])).all() and f["filled"].any()
		    assert (f["part"] == whole["0.part"][f["filled"].astype(bool)]).all()
		assert {"hidden", "normed", "token", "image", "position", "router_logit"} < frames[0][1].keys()
		assert frames[1][1].keys() - {"_pad"} == {"expert_id", "weight", "filled", "part"}
	PY
}

@test "what the frames have beside the rows goes on; provenance tells of all processes" {
	shared_out
	moe-merge -l 0 part-1.sts part-0.sts >merged.sts
	shape() { moe-view --json "$1" | jq -c 'select(.kind == "hidden") | [(.tensors | map([.name, .dtype, .shape])), .meta]'; }
	same "$(shape merged.sts)" "$(shape whole.sts)"
	moe-expert -l 0 --partial --experts 0-3 <routed.sts >part-0.sts
	moe-expert -l 0 --partial --experts 4- <routed.sts >part-1.sts
	moe-merge -l 0 part-1.sts part-0.sts >merged.sts
	moe-view --json merged.sts | jq -r 'select(.kind == "head").meta["moe.pg"]' | grep -v '^$' | tail -n 4 | cut -f 2- >pg
	same "$(<pg)" "$(printf 'ID:%s\tPN:%s\tCL:%s\n' 5 moe-route 'moe-route -l 0' 6 moe-expert 'moe-expert -l 0 --partial --experts 4-' \
		7 moe-expert 'moe-expert -l 0 --partial --experts 0-3' 8 moe-merge 'moe-merge -l 0 part-1.sts part-0.sts')"
}

@test "a failed picture and a second member pass" {
	echo none >bad.png
	cp "$word" good.png
	printf '%s\n' good.png bad.png >list
	moe-tokenize --no-pg --files-from list | moe-patchify --no-pg --files-from list 2>/dev/null | moe-encode --no-pg | moe-embed --no-pg | before 0 >one.sts
	cat one.sts one.sts >routed.sts
	moe-expert --no-pg -l 0 <routed.sts >whole.sts
	moe-merge --no-pg -l 0 <(part 0 0-3 <routed.sts) <(part 0 4- <routed.sts) | cmp - whole.sts
	part 0 0-3 <routed.sts >twice.sts
	part 0 4- <one.sts >once.sts
	stops 'twice.sts goes on behind the end of once.sts' -l 0 twice.sts once.sts
	stops 'twice.sts goes on behind the end of once.sts' -l 0 once.sts twice.sts
}

@test "results that are missing or come twice: row and slot" {
	shared_out
	part 0 5- <routed.sts >late.sts
	part 0 3- <routed.sts >early.sts
	find_slot() { numpy -c '
import sys, inside
(_, f), = inside.data("routed.sts")
row, slot = next((r, s) for r, row in enumerate(f["expert_id"]) for s, e in enumerate(row) if e == int(sys.argv[1]))
print(f"row {row}, slot {slot}")' "$1"; }
	refused() { stops "$1" -l 0 "${@:2}"; }
	refused "frame \"routed\" of sequence 0: $(find_slot 4): no stream has the result of expert 4" part-0.sts late.sts
	refused "early.sts: byte [0-9]*: frame \"routed\" of sequence 0: $(find_slot 3): the result of expert 3 comes twice, from part-0.sts too" part-0.sts early.sts
	refused 'no stream has the rows: the process with expert 0' part-1.sts
	refused 'the rows come twice' part-0.sts part-1.sts part-0.sts
}

@test "streams that do not belong together" {
	shared_out
	refused() { stops "$1" -l "${@:2}"; }
	refused 'behind stage "0.partial", expected "1.partial"' 1 part-0.sts part-1.sts
	refused 'behind stage "0.route", expected "0.partial"' 0 routed.sts
	refused 'expected a frame of kind "routed"' 0 whole.sts
	refused 'part-1.sts has a frame "routed" in this place' 0 part-1.sts whole.sts
	refuses 2 'behind stage "0.partial", expected "0.route"' moe-expert -l 0 -o out.sts <part-0.sts

	# another picture, another choice, another arithmetic, another model
	word=$demo/price.png
	stream routed
	part 0 4- <routed.sts >other.sts
	refused 'other.sts: byte .*moe.name is ".*price.png", but ".*word.png" in part-0.sts' 0 part-0.sts other.sts
	word=$demo/word.png
	stream attended
	moe-route --no-pg -l 0 --temperature 2 <attended.sts | part 0 4- >other.sts
	refused 'other.sts: byte .*row 0, slot 0: expert [0-7] with weight .* in the stream with the rows: the streams are of different runs' 0 part-0.sts other.sts
	moe-tokenize --math fast --for-each "$word" | moe-patchify -q "$word" | moe-encode | moe-embed | before 0 | part 0 4- >other.sts
	refused 'other.sts: byte 0: frame "head": moe.math is "fast", but "exact" in part-0.sts' 0 part-0.sts other.sts
	moe-tokenize -m "$olmoe/model" Hello | moe-embed -m "$olmoe/model" | MOE_MODEL=$olmoe/model before 0 | MOE_MODEL=$olmoe/model part 0 4- >other.sts
	refused 'frame "head": moe.model is ' 0 part-0.sts other.sts
	refused 'made with model' 0 other.sts part-0.sts
}

@test "damaged frames and results are refused by name" {
	shared_out
	faults() { numpy "$root/tests/cmd/faults.py" "$@"; }
	wrong() {
		faults stream part-1.sts wrong.sts "$1"
		stops "wrong.sts: byte .*$2" -l 0 part-0.sts wrong.sts
	}
	wrong 'frame("routed")["tensors"].pop("filled")' 'tensor "filled" is missing'
	wrong 'frame("routed")["tensors"].pop("part")' 'tensor "part" is missing'
	wrong 'frame("routed")["tensors"].pop("weight")' 'tensor "weight" is missing'
	wrong 't = frame("routed")["tensors"]["filled"]; t[1] = t[1][::-1]' 'tensor "filled" is 2 x 65, expected 65 x 2'
	wrong 't = frame("routed")["tensors"]["part"]; t[1] = [t[1][0] * 2, t[1][1] // 2]' 'tensor "part" is .* expected a row of 160 for each slot'
	wrong 't = frame("routed")["tensors"]["part"]; t[1] = [t[1][0] - 1, t[1][1]]; del t[2][-640:]' 'tensor "part" is .* expected a row of 160 for each slot'
	wrong 'put(frame("routed"), "filled", get(frame("routed"), "filled").index(1), 2)' 'tensor "filled" is 2'
	wrong 'number(frame("routed"), "moe.start", 1)' 'moe.start is "1", but "0" in part-0.sts'
	wrong 'frame("routed")["meta"]["more"] = "x"' 'fewer metadata in this place'
	wrong 'drop("routed"); count()' 'has a frame "routed" in this place'
	faults damage part-1.sts damaged 40 5
	for f in damaged/*; do
		stops "$f" -l 0 part-0.sts "$f"
	done
}

@test "memory does not grow with the number of sequences" {
	case $BIN in *san/bin) skip "sanitizers need all of the address space" ;; esac
	stream routed
	numpy -c '
import sys, frames
head, body, end = frames.split(open("routed.sts", "rb"))
meta, tensors = frames.parse(body)
sys.stdout.buffer.write(frames.build(*frames.parse(head)))
for i in range(300):
    sys.stdout.buffer.write(frames.build({**meta, "moe.seq": str(i)}, tensors))
sys.stdout.buffer.write(frames.build(*frames.parse(end)))' | moe-view --seal >many.sts
	(ulimit -v 160000; moe-merge --no-pg -t 1 -l 0 <(part 0 0-3 <many.sts) <(part 0 4- <many.sts)) >merged.sts
	moe-expert --no-pg -l 0 <many.sts | cmp - merged.sts
	(($(stat -c %s many.sts) > 20000000))
}
