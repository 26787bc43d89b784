# Streams that are damaged, cut, foreign or wrong: noticed by moe-view --check (status 1) and by the stage that reads them (status 2), with a message
# that says where; never a signal, never a complete stream behind it.
bats_require_minimum_version 1.5.0
load faults

# The streams of a short pipeline over two pictures and one that is none, behind each stage.
setup_file() {
	cd "$BATS_FILE_TMPDIR"
	cp "$GOOD" a.png
	cp "$ROOT/share/demo/word.png" c.png
	echo nonsense >b.png
	printf '%s\n' a.png b.png c.png >list
	moe-tokenize --files-from list >tokens
	moe-patchify --files-from list <tokens >patches
	moe-encode <patches >features
	moe-embed <features >embedded
	moe-block -l 0-1 <embedded >hidden
	moe-attend -l 2 <hidden >attended
	moe-route -l 2 <attended >routed
	moe-expert -l 2 <routed >experted
	moe-block -l 3 <experted >final
	moe-decode --logits <final >logits
	# Every kind, with a sequence in two chunks, a dropped one, and a kind that nobody knows.
	faults stream routed every '
		routed, failed = frame("routed"), frame("failed")
		h = {k: v for k, v in routed["tensors"].items() if k not in ("normed", "expert_id", "weight", "router_logit")}
		number(routed, "moe.seq", 1); number(failed, "moe.seq", 6)
		body = [new_frame("tokens", {"token": fill("I32", [2], 2), "image": fill("I32", [2])}, seq=0),
			new_frame("patches", {"pixel": fill("F32", [2, 8], 0.5), "grid": fill("I32", [2], 2), "valid": fill("I32", [2], 9)}, seq=0),
			new_frame("features", {"feature": fill("F32", [2, 4], 1.5), "grid": fill("I32", [2], 2)}, seq=0), routed,
			new_frame("hidden", h, seq=2, more=1, start=0, at="0.expert"), new_frame("hidden", h, seq=2, start=65, at="0.expert"),
			new_frame("logits", {"logit": fill("F32", [1, 9], -2.5), "row": fill("I32", [1])}, seq=3),
			new_frame("text", {"text": fill("U8", [5], 65), "token": fill("I32", [2], 5), "logprob": fill("F32", [2], -1)}, seq=4),
			new_frame("trace", {"expert_id": fill("U8", [2, 3, 2], 1), "weight": fill("F32", [2, 3, 2], 1)}, seq=4),
			new_frame("tokens", {"token": fill("I32", [1], 7)}, seq=5, more=1), new_frame("drop", seq=5), failed, new_frame("later", x=1)]
		frames[:] = [frame("head"), *body, frame("end")]
		count()' 2>"$BATS_FILE_TMPDIR/err" || { cat "$BATS_FILE_TMPDIR/err"; false; }
}

setup() { cd "$BATS_FILE_TMPDIR"; }

# wrong STREAM CODE REGEX STAGE...: changed by the code, the stage refuses the stream.
wrong() {
	local from=$1 code=$2 pattern=$3
	shift 3
	faults stream "$from" "$BATS_TEST_TMPDIR/wrong" "$code"
	refused 2 "$pattern" "$@" <"$BATS_TEST_TMPDIR/wrong"
}

damaged_before() {      # STREAM SEED STAGE...
	local from=$1 seed=$2 f
	shift 2
	works moe-view --check <"$from"
	faults damage "$from" "$BATS_TEST_TMPDIR/damaged" 40 "$seed"
	for f in "$BATS_TEST_TMPDIR"/damaged/*; do
		refused 1 'standard input: byte [0-9]+: .' moe-view --check <"$f"
		stops 2 "$@" <"$f"
	done
}

@test "the streams of this file are good, and are noticed as such" {
	for f in tokens patches features embedded hidden attended routed experted final logits every; do
		works moe-view --check "$f"
		grep -q 'all good' "$BATS_TEST_TMPDIR/out"
	done
	run -1 moe-decode <final
	works moe-expert -l 2 <routed
}

@test "40 random cuts and flipped bits of a stream of every kind: moe-view --check says 1 and the byte" {
	faults damage every "$BATS_TEST_TMPDIR/damaged" 40 1
	for f in "$BATS_TEST_TMPDIR"/damaged/*; do
		refused 1 'standard input: byte [0-9]+: .' moe-view --check <"$f"
	done
}

# The stage says 2 and one line about the damage; answers to sequences before it may have gone out, an end frame never.
@test "40 random cuts and flipped bits of patches: --check says 1 and the byte, the next stage 2" {
	damaged_before patches 2 moe-encode
}

@test "40 random cuts and flipped bits of features: --check says 1 and the byte, the next stage 2" {
	damaged_before features 3 moe-embed
}

@test "40 random cuts and flipped bits of hidden rows: --check says 1 and the byte, the next stage 2" {
	damaged_before hidden 4 moe-attend -l 2
}

@test "40 random cuts and flipped bits of routed rows: --check says 1 and the byte, the next stage 2" {
	damaged_before routed 5 moe-expert -l 2
}

@test "40 random cuts and flipped bits before the answers: --check says 1 and the byte, moe-decode 2" {
	damaged_before final 6 moe-decode
}

@test "a stream of another model is refused by name, by every stage" {
	local other='number(frame("head"), "moe.model", "0123456789abcdef" * 2)'
	wrong tokens "$other" 'made with model 0123456789abcdef0123456789abcdef, this is [0-9a-f]{32}' moe-patchify a.png b.png c.png
	wrong patches "$other" 'made with model 0123456789abcdef' moe-encode
	wrong features "$other" 'made with model 0123456789abcdef' moe-embed
	wrong embedded "$other" 'made with model 0123456789abcdef' moe-block -l 0
	wrong hidden "$other" 'made with model 0123456789abcdef' moe-attend -l 2
	wrong attended "$other" 'made with model 0123456789abcdef' moe-route -l 2
	wrong routed "$other" 'made with model 0123456789abcdef' moe-expert -l 2
	wrong final "$other" 'made with model 0123456789abcdef' moe-decode
	wrong final 'number(frame("head"), "moe.tokenizer", "0" * 32)' 'made with tokenizer 0{32}, this is [0-9a-f]{32}' moe-decode
	refused 2 'made with model' moe-block -m "$OLMOE" -l 0 <embedded
	works moe-attend --any-model -l 2 <hidden
}

@test "versions: a newer major one and another arithmetic are refused by name, a newer minor one is read" {
	wrong hidden 'number(frame("head"), "moe.stream", "2.0")' 'version "2\.0" is not one' moe-attend -l 2
	wrong hidden 'number(frame("head"), "moe.stream", "10.1")' 'version "10\.1"' moe-attend -l 2
	wrong hidden 'number(frame("head"), "moe.stream", "")' 'version ""' moe-attend -l 2
	wrong hidden 'del frame("head")["meta"]["moe.stream"]' 'does not say its version' moe-attend -l 2
	wrong hidden 'number(frame("head"), "moe.math", "faster")' 'arithmetic "faster"; this program has exact and fast' moe-attend -l 2
	faults stream hidden "$BATS_TEST_TMPDIR/minor" 'number(frame("head"), "moe.stream", "1.9")'
	works moe-attend -l 2 <"$BATS_TEST_TMPDIR/minor"
}

@test "expert ids out of range, twice, or behind -1, and weights that are none: named with sequence and row" {
	wrong routed 'put(frame("routed", 1), "expert_id", 3, 8)' 'byte 8[0-9]{4}: .*sequence 2: row 1: expert_id is 8, expected 0 to 7' moe-expert -l 2
	wrong routed 'put(frame("routed"), "expert_id", 0, -2)' 'sequence 0: row 0: expert_id is -2' moe-expert -l 2
	wrong routed 'put(frame("routed"), "expert_id", 129, 2**31 - 1)' 'row 64: expert_id is 2147483647' moe-expert -l 2
	wrong routed 'put(frame("routed"), "expert_id", 129, -2**31)' 'row 64: expert_id is -2147483648' moe-expert -l 2
	wrong routed 'put(frame("routed"), "expert_id", [2, 3], 5)' 'row 1: .*expert 5 twice' moe-expert -l 2
	wrong routed 'put(frame("routed"), "expert_id", 2, -1); put(frame("routed"), "weight", 2, 0)' 'row 1: .*an expert behind -1' moe-expert -l 2
	wrong routed 'put(frame("routed"), "expert_id", 3, -1)' 'row 1: the weight of place 1' moe-expert -l 2
	wrong routed 'put(frame("routed"), "weight", 5, nan)' 'row 2: the weight of place 1 is -?nan' moe-expert -l 2
	wrong routed 'put(frame("routed"), "weight", 5, -inf)' 'row 2: the weight of place 1 is -inf' moe-expert -l 2
}

@test "router logits of NaN and +inf, and a choice that they forbid" {
	wrong routed 'put(frame("routed", 1), "router_logit", 11, nan)' 'sequence 2: row 1: router logit of expert 3 is NaN' moe-expert -l 2
	wrong routed 'put(frame("routed"), "router_logit", 8 * 64, inf)' 'row 64: router logit of expert 0 is \+inf' moe-expert -l 2
	wrong routed 'put(frame("routed"), "router_logit", 8 + get(frame("routed"), "expert_id")[2], -inf)' 'row 1: .*not in the token.s pool' moe-expert -l 2
	wrong routed 'frame("routed")["tensors"]["router_logit"] = fill("F32", [65, 7])' '65 x 7, expected 65 x 8' moe-expert -l 2
	faults stream routed "$BATS_TEST_TMPDIR/without" 'del frame("routed")["tensors"]["router_logit"]'        # a foreign router need not give them
	works moe-expert -l 2 <"$BATS_TEST_TMPDIR/without"
}

@test "NaN and infinity among the hidden rows end at the next router, or at the head" {
	wrong attended 'put(frame("hidden", 1), "hidden", 3 * 160, nan)' 'sequence 2: row 3: router logit of expert 0 is NaN \(layer 2\)' moe-route -l 2
	# Both sequences in one batch: the row is that of the frame.
	wrong attended 'drop("failed"); count(); put(frame("hidden", 1), "hidden", 3 * 160, nan)' 'byte 44[0-9]+: .*sequence 2: row 3: router logit of expert 0 is NaN' moe-route -l 2
	wrong attended 'put(frame("hidden"), "hidden", 64 * 160, inf)' 'sequence 0: row 64: router logit' moe-route -l 2
	wrong attended 'put(frame("hidden"), "hidden", 64 * 160, -inf)' 'sequence 0: row 64: router logit' moe-route -l 2
	wrong hidden 'put(frame("hidden"), "hidden", 5, nan)' 'sequence 0: row [0-9]+: router logit of expert 0 is NaN \(layer 2\)' moe-block -l 2-
	wrong embedded 'put(frame("hidden"), "hidden", slice(None), nan)' 'sequence 0: row 0: router logit' moe-block -l 0-
	faults stream final "$BATS_TEST_TMPDIR/wrong" 'put(frame("hidden"), "hidden", 65 * 160 - 1, nan)'
	refused 2 'sequence 0: the logit of token [0-9]+ is NaN' moe-decode <"$BATS_TEST_TMPDIR/wrong"
	refused 2 'sequence 0: the logit of token [0-9]+ is NaN' moe-decode --logits <"$BATS_TEST_TMPDIR/wrong"
}

@test "a missing end, bytes behind it, counts that are wrong, frames out of place" {
	wrong hidden 'drop("end")' 'ends without an end frame' moe-attend -l 2
	wrong final 'drop("hidden"); drop("end")' 'ends without an end frame' moe-decode --logits
	wrong hidden 'frames.append(frame("end"))' 'does not begin with a head frame' moe-attend -l 2
	wrong hidden 'frames.append(frame("hidden"))' 'does not begin with a head frame' moe-attend -l 2
	wrong hidden 'drop("head")' 'byte 0: .*does not begin with a head frame' moe-attend -l 2
	wrong hidden 'frames.reverse()' 'does not begin with a head frame' moe-attend -l 2
	wrong hidden 'frames.insert(2, frame("head"))' 'head frame inside a member' moe-attend -l 2
	wrong hidden 'drop("hidden")' 'moe.frames is 4, but 3 frames' moe-attend -l 2
	wrong hidden 'number(frame("end"), "moe.sequences", 2)' 'counts 2 sequences .*but 3 came' moe-attend -l 2
	wrong hidden 'number(frame("end"), "moe.failed", 0)' '\(0 failed\), but 3 came \(1 failed\)' moe-attend -l 2
	wrong hidden 'number(frame("hidden"), "moe.more", 1)' 'sequence 0 was neither answered nor failed' moe-attend -l 2
	wrong hidden 'number(frame("hidden"), "moe.seq", 2)' 'sequence 2: .*used twice' moe-attend -l 2
	wrong hidden 'frames.insert(2, frame("hidden")); count()' 'sequence 0: .*used twice' moe-attend -l 2
	wrong hidden 'frames.insert(3, new_frame("failed", seq=0, error="late")); count()' 'is over, it cannot fail' moe-attend -l 2
	wrong hidden 'frames.insert(1, new_frame("drop", seq=9)); count()' 'has not begun' moe-attend -l 2
	wrong hidden 'del frame("hidden")["meta"]["moe.seq"]' 'moe.seq is missing' moe-attend -l 2
	wrong hidden 'number(frame("hidden"), "moe.seq", "-1")' 'moe.seq is "-1", expected a number' moe-attend -l 2
	wrong hidden 'number(frame("hidden"), "moe.seq", 2**64)' 'moe.seq is "18446744073709551616"' moe-attend -l 2
	refused 2 'standard input: byte 0: the input is empty' moe-attend -l 2 </dev/null
	cat hidden hidden >twice                # that is a stream
	works moe-attend -l 2 <twice
}

@test "what is no stream is said to be none" {
	for f in b.png "$GOOD" "$READ/config.json" "$BATS_TEST_FILENAME"; do
		refused 2 'byte [0-9]+: not a frame' moe-attend -l 2 <"$f"
		refused 1 'byte [0-9]+: not a frame' moe-view --check <"$f"
	done
	refused 2 'not a stream that a stage can work on' moe-attend -l 2 <"$READ/model.safetensors"
	refused 2 'is a directory|cannot read' moe-attend -l 2 <.
	gzip -c hidden >hidden.gz
	works moe-attend -l 2 <hidden.gz
	head -c 5000 hidden.gz >cut.gz
	refused 2 'gzip: the file ends inside' moe-attend -l 2 <cut.gz
	refused 1 'gzip: the file ends inside' moe-view --check <cut.gz
	{ cat hidden.gz; echo more; } >more.gz
	refused 2 'gzip: ' moe-attend -l 2 <more.gz
}

@test "stages in the wrong order are named; --any-order is for order only" {
	wrong embedded '' 'behind stage "embed", expected "1.expert"' moe-attend -l 2
	wrong hidden '' 'behind stage "1.expert", expected "0.expert"' moe-attend -l 1
	wrong hidden '' 'behind stage "1.expert", expected "2.attend"' moe-route -l 2
	wrong attended '' 'behind stage "2.attend", expected "2.route"' moe-expert -l 2
	wrong attended '' 'expected a frame of kind "routed"' moe-expert --any-order -l 2
	wrong routed '' 'expected a frame of kind "hidden"' moe-attend --any-order -l 2
	wrong embedded '' 'behind stage "embed", expected "3.expert"' moe-decode
	wrong embedded 'del frame("hidden")["meta"]["moe.at"]' 'behind stage "\(none\)"' moe-attend -l 0
	for f in tokens patches features routed logits; do
		wrong $f '' 'cannot use such a frame \(is a stage missing' moe-decode
	done
	wrong patches '' 'features of 0 came \(is moe-patchify or moe-encode missing' moe-embed
	wrong tokens '' 'features of 0 came' moe-embed
}

@test "a start that is not the length of the cache" {
	wrong hidden 'number(frame("hidden", 1), "moe.start", 5)' 'sequence 2: moe.start is 5, but the cache of layer 2 holds 0 rows' moe-attend -l 2
	wrong hidden 'number(frame("hidden"), "moe.start", 2**31)' 'moe.start is too large' moe-attend -l 2
	wrong hidden 'number(frame("hidden"), "moe.start", "x")' 'moe.start is "x", expected a number' moe-attend -l 2
	wrong hidden '
		import copy
		second = copy.deepcopy(frame("hidden"))
		number(frame("hidden"), "moe.more", 1); number(second, "moe.start", 64); frames.insert(2, second); count()' \
		'moe.start is 64, but the cache of layer 2 holds 65' moe-attend -l 2
	wrong features 'number(frame("tokens"), "moe.next", 2**31 - 1)' 'moe.next is too large' moe-embed
}

@test "duplicate keys and other faults of the header" {
	refuse_header() { wrong hidden "frame('hidden')['raw'] = lambda t: $1" "$2" moe-attend -l 2; }
	refuse_header 't.replace("moe.next", "moe.start")' 'key "moe.start" stands twice'
	refuse_header 't.replace("\"token\"", "\"image\"")' 'tensor "image" stands twice'
	refuse_header 't.replace("\"shape\":[65]", "\"shape\":[65],\"shape\":[65]", 1)' 'twice'
	refuse_header 't[:-1]' 'JSON'
	refuse_header 't + "x"' 'trailing|JSON'
	refuse_header 't.replace("\"F32\"", "\"F31\"", 1)' 'unknown dtype "F31"'
	refuse_header 't.replace("[65,160]", "[65,161]", 1)' 'its shape needs'
	refuse_header 't.replace("[65,160]", "[65,160.0]", 1)' 'byte [0-9]+: .'
	refuse_header 't.replace("[65,160]", "[65,18446744073709551616]", 1)' 'byte [0-9]+: .'
	refuse_header 't.replace("data_offsets\":[0,", "data_offsets\":[4,", 1)' 'gap|shape needs'
	refuse_header 't.replace("\"moe.kind\":\"hidden\",", "")' 'does not say its kind'
	refuse_header '"{" + "\"a\":" + "[" * 100000 + "]" * 100000 + "," + t[1:]' 'byte [0-9]+: .'
	wrong hidden 'frame("hidden")["crc"] = False' 'CRC-32 does not match' moe-attend -l 2
	wrong hidden 'frame("hidden")["raw"] = lambda t: t.replace("\"moe.crc32\":\"00000000\"", "\"x\":\"\"")' 'no moe.crc32.*--seal' moe-attend -l 2
	wrong hidden 'frame("hidden")["meta"].clear()' 'without any moe. key inside a stream' moe-attend -l 2
}

@test "missing tensors, wrong shapes and types: named with what was expected" {
	local t
	for t in hidden position image patch_index; do
		wrong hidden "del frame('hidden')['tensors']['$t']" "\"$t\" is missing" moe-attend -l 2
	done
	for t in normed expert_id weight; do
		[ $t = normed ] || wrong routed "del frame('routed')['tensors']['$t']" "\"$t\" is missing" moe-expert -l 2
		wrong routed "frame('routed')['tensors']['$t'][0] = 'U32'" "\"$t\" is U32 with 2 axes, expected" moe-expert -l 2
		wrong routed "frame('routed')['tensors']['$t'] = fill('F32' if '$t' != 'expert_id' else 'I32', [64, 2])" "\"$t\" is 64 x 2, expected 65 x" moe-expert -l 2
	done
	wrong hidden 'frame("hidden")["tensors"]["hidden"] = fill("F32", [65, 161])' '65 x 161, expected rows of 160' moe-attend -l 2
	wrong hidden 'frame("hidden")["tensors"]["hidden"] = fill("F32", [0, 160])' '0 x 160, expected rows' moe-attend -l 2
	wrong hidden 'frame("hidden")["tensors"]["hidden"] = fill("F32", [65 * 160])' 'is F32 with 1 axes, expected F32 with 2' moe-attend -l 2
	wrong hidden 'frame("hidden")["tensors"]["position"] = fill("I32", [1, 65])' '1 x 65, expected 2 x 65' moe-attend -l 2
	wrong hidden 'frame("hidden")["tensors"]["image"] = fill("I32", [64])' '64 rows, expected 65' moe-attend -l 2
	wrong attended 'frame("hidden")["tensors"]["modality"] = fill("U8", [3])' '"modality" has 3 rows, expected 65' moe-route -l 2 --stats=/dev/null
	wrong patches 'del frame("patches")["tensors"]["pixel"]' '"pixel" is missing' moe-encode
	wrong patches 'frame("patches")["tensors"]["pixel"] = fill("F32", [64, 191])' '64 x 191, expected 64 x 192' moe-encode
	wrong features 'del frame("features")["tensors"]["feature"]' '"feature" is missing' moe-embed
	wrong features 'frame("features")["tensors"]["feature"] = fill("F32", [64, 159])' '64 x 159, expected 64 x 160' moe-embed
	wrong features 'del frame("tokens")["tensors"]["token"]' '"token" is missing' moe-embed
	wrong final 'frame("hidden")["tensors"]["hidden"] = fill("F32", [65, 1])' '65 x 1, expected rows of 160' moe-decode
	wrong final 'number(frame("hidden"), "moe.logits", "some")' 'moe.logits is "some", expected none, last or all' moe-decode
}

@test "grids, tokens and prompts that the model does not have" {
	local grid
	for grid in '8, 8' '64, 1' '1, 64' '0, 0' '-4, -16' '4096, 4096' '16, 4'; do     # 64 rows of embeddings were once read from a table of 4
		wrong features "put(frame('features'), 'grid', 0, ($grid)[0]); put(frame('features'), 'grid', 1, ($grid)[1])" 'no such grid|not the two sides' moe-embed
		wrong patches "put(frame('patches'), 'grid', 0, ($grid)[0]); put(frame('patches'), 'grid', 1, ($grid)[1])" 'no such grid|not the two sides' moe-encode
	done
	wrong features 'f = frame("features")["tensors"]; put(frame("features"), "grid", 0, 8); f["feature"] = fill("F32", [128, 160])' 'no such grid|not the two sides' moe-embed
	wrong patches 'f = frame("patches")["tensors"]; put(frame("patches"), "grid", 0, 8); f["pixel"] = fill("F32", [128, 192])' 'no such grid|not the two sides' moe-encode
	wrong features 'frame("features")["tensors"]["grid"] = fill("I32", [3], 4)' 'grid.* is not the two sides' moe-embed
	for t in 100 -1 2147483647 -2147483648; do
		wrong features "put(frame('tokens'), 'token', 1, $t)" "sequence 0: token 1 is $t, outside the vocabulary of 100" moe-embed
	done
	wrong features 'put(frame("tokens"), "token", 1, 2)' 'sequence 0: the prompt has 2 pictures' moe-embed
	wrong features 'put(frame("tokens"), "token", 0, 5)' 'sequence 0: the prompt has 0 pictures' moe-embed
	wrong features 'frame("tokens")["tensors"]["token"] = fill("I32", [0])' '"token" is empty' moe-embed
	wrong features 'drop("features"); count()' 'the sequence before it has 1 pictures, but features of 0 came|1 pictures, but features of 0' moe-embed
	wrong features 'frames.insert(3, frame("features")); count()' 'sequence 0: features of a sequence that does not wait' moe-embed
	wrong features 'number(frame("features"), "moe.seq", 2)' 'sequence 2: features of a sequence that does not wait' moe-embed
}

@test "positions, pictures and modalities of a hostile stream do no harm" {
	local v
	for v in -1 2147483647 -2147483648; do
		for t in position image patch_index token; do
			faults stream hidden "$BATS_TEST_TMPDIR/odd" "put(frame('hidden'), '$t', slice(1, None), $v)"
			works moe-block -l 2- --stats=/dev/null <"$BATS_TEST_TMPDIR/odd"
		done
	done
	faults stream hidden "$BATS_TEST_TMPDIR/odd" 'put(frame("hidden"), "modality", slice(None), 255)'
	works moe-block -l 2- --stats=json:"$BATS_TEST_TMPDIR/stats" <"$BATS_TEST_TMPDIR/odd"
	wrong hidden 'put(frame("hidden"), "patch_index", 0, 3)' 'begins inside a picture' moe-attend -l 2
}

@test "too few and too many pictures: both counts are named" {
	refused 2 'ask for 3 pictures, but only 2 were given' moe-patchify a.png c.png <tokens
	refused 2 'ask for 3 pictures, but 5 were given' moe-patchify a.png c.png a.png c.png a.png <tokens
	refused 2 'ask for 3 pictures, but 1000 were given' moe-patchify --files-from <(yes a.png | head -n 1000) <tokens
	moe-tokenize >one
	refused 2 'ask for 1 pictures, but only 0 were given' moe-patchify --files-from /dev/null <one
}

@test "a failed sequence travels to the sink, which reports it and says 1" {
	for f in patches features embedded hidden attended routed experted final; do
		[ "$(moe-view --json $f | grep -c '"kind":"failed"')" = 1 ]
	done
	stops 1 moe-decode <final
	[ "$(cat "$BATS_TEST_TMPDIR/err")" = "moe-decode: b.png: not a picture that is known (PNG, JPEG, BMP, PNM)" ]
	[ "$(wc -l <"$BATS_TEST_TMPDIR/out")" = 2 ]
	faults stream final foreign 'number(frame("failed"), "moe.error", "out of ink\nmoe-decode: forged %s%n"); number(frame("failed"), "moe.name", "a\tb")'
	stops 1 moe-decode <foreign
	[ "$(wc -l <"$BATS_TEST_TMPDIR/err")" = 1 ]
	grep -q 'out of ink.moe-decode: forged %s%n' "$BATS_TEST_TMPDIR/err"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/out")" = 2 ]
}

@test "a stage that dies in the middle makes all behind it fail" {
	local status
	for kill in 'head -c 30000' 'head -c 300' true 'sh -c "head -c 30000; kill -9 \$\$"'; do
		( set +e; moe-patchify --files-from list <tokens | moe-encode | moe-embed | moe-block -l 0-1 | eval "$kill" | moe-attend -l 2 | moe-route -l 2 | moe-expert -l 2 |
			moe-block -l 3 | moe-decode; echo "${PIPESTATUS[*]}" >statuses ) >out 2>err
		read -r -a status <statuses
		echo "$kill: ${status[*]}"
		for i in 0 1 2 3; do [ "${status[i]}" = 0 ] || [ "${status[i]}" = 141 ]; done
		for i in 5 6 7 8 9; do [ "${status[i]}" = 2 ]; done
		[ "$(grep -c 'truncated\|the input is empty' err)" = 5 ]
	done
}

@test "two writers into one FIFO are noticed" {
	mkfifo "$BATS_TEST_TMPDIR/both"
	cat hidden hidden hidden hidden >"$BATS_TEST_TMPDIR/both" &
	cat hidden hidden hidden hidden >"$BATS_TEST_TMPDIR/both" &
	refused 1 'byte [0-9]+: .' moe-view --check "$BATS_TEST_TMPDIR/both" || [ "$(grep -c 'all good' "$BATS_TEST_TMPDIR/out")" = 1 ]  # they may have taken turns
	wait
}
