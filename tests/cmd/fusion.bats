# fusion.bats: the ways of pictures into a model of the family native (early by convolutions or by one matrix, late through an encoder of its own, patches that
# see their picture or what is before them): what each computes, how it is trained, and that every cut gives the same bytes.
load helper

base='"hidden": 48, "layers": 2, "heads": 3, "experts": 4, "expert_width": 24, "grids": [[4, 16], [8, 8]], "max_new": 4'
kinds=(linear late hybrid causal)

# The variants: patches by one matrix; an encoder over convolutions, with a two-layer projector; one over a matrix, without rows and columns; causal pictures.
setup_file() {
	cd "$BATS_FILE_TMPDIR" || return
	echo "{$base, \"stem\": \"linear\"}" >linear.json
	echo "{$base, \"stem\": [8, 12], \"encoder\": {\"depth\": 3, \"hidden\": 32, \"heads\": 4, \"width\": 40, \"projector\": \"mlp\", \"projector_width\": 20}}" >late.json
	echo "{$base, \"stem\": \"linear\", \"row_col\": false, \"encoder\": {\"depth\": 1}}" >hybrid.json
	echo "{$base, \"stem\": \"linear\", \"image_attention\": \"causal\"}" >causal.json
	for kind in "${kinds[@]}"; do
		"$(dirname "$BIN")/tests/lib/create" $kind.json $kind 4
	done
	numpy - <<-'PY'
		import numpy as np
		r = np.random.default_rng(2)
		for name, w, h in (("wide", 128, 32), ("square", 64, 64)):
		    pixels = r.integers(0, 256, (h, w, 3), "u1")
		    for n in (name, name + "-other"):
		        open(n + ".ppm", "wb").write(b"P6\n%d %d\n255\n" % (w, h) + pixels.tobytes())
		        pixels[-8:, -8:] = 255 - pixels[-8:, -8:]       # another last patch
	PY
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	for file in "$BATS_FILE_TMPDIR"/*; do
		ln -s "$file" .
	done
	ln -s "$crops" crops
	cp "$golden/crops.tsv" .
}

# embedded PICTURE: the embedded default prompt, hidden.sts, and the features, features.sts.
embedded() {
	moe-tokenize --no-pg --logits all | moe-patchify --no-pg "$1" | moe-encode --no-pg | tee features.sts | moe-embed --no-pg >hidden.sts
}

@test "features and hidden states of pictures are those of the definition" {
	for MOE_MODEL in linear late hybrid; do
		for picture in wide square; do
			embedded $picture.ppm
			moe-view --npy feature features.sts >feature.npy
			moe-view --npy hidden hidden.sts >rows.npy
			numpy -c 'import numpy as np; np.save("rows.npy", np.load("rows.npy")[:-1])'
			numpy "$root/tests/cmd/fusion.py" "$MOE_MODEL" $picture.ppm feature.npy rows.npy
		done
	done
}

@test "every cut, batch and number of threads gives the bytes of moe-run" {
	ls wide.ppm square.ppm square-other.ppm >list
	for MOE_MODEL in "${kinds[@]}"; do
		moe-run --json -t 1 --files-from list >want
		moe-run --json -t 3 --batch 2 --files-from list | cmp - want
		for middle in 'moe-block -l 0-' 'moe-attend -l 0 | moe-route -l 0 | moe-expert -l 0 | moe-attend -l 1 | moe-route -l 1 | moe-expert -l 1'; do
			rm -f loop
			mkfifo loop
			eval "moe-tokenize --files-from list --generate --loop loop | moe-patchify --files-from list | moe-encode -t 3 | moe-embed | $middle |
				moe-decode --json --loop loop" | cmp - want
		done
	done
}

@test "causal: no patch sees one behind it, and a picture may come in pieces" {
	# rows PICTURE: hidden states behind all layers.
	rows() {
		embedded "$1.ppm"
		moe-block -l 0- --no-pg <hidden.sts >out.sts
		moe-view --npy hidden out.sts >"$1.npy"
	}
	# same_rows: of the picture's and the text's rows, how many are equal though the last patch differs.
	same_rows() {
		numpy -c 'import numpy as np; a, b = np.load("wide.npy"), np.load("wide-other.npy"); print(int((a == b).all(1).sum()))'
	}
	for MOE_MODEL in causal linear; do
		rows wide
		rows wide-other
		same "$(same_rows)" "$([ "$MOE_MODEL" = causal ] && echo 63 || echo 0)"
	done
	MOE_MODEL=causal
	moe-tokenize --no-pg --logits all | moe-patchify --no-pg wide.ppm | moe-encode --no-pg | moe-embed --no-pg --chunk 10 >pieces.sts
	same "$(frames hidden pieces.sts | wc -l)" 7
	moe-block -l 0- --no-pg <pieces.sts | moe-decode --no-pg --logits >pieces-logits.sts
	embedded wide.ppm
	moe-block -l 0- --no-pg <hidden.sts | moe-decode --no-pg --logits >logits.sts
	cmp <(numpy "$frames_py" data logit <logits.sts) <(numpy "$frames_py" data logit <pieces-logits.sts)
}

@test "an encoder does see all of its picture" {
	MOE_MODEL=late
	for picture in wide wide-other; do
		embedded $picture.ppm
		moe-view --npy feature features.sts >$picture.npy
	done
	numpy -c 'import numpy as np; a, b = np.load("wide.npy"), np.load("wide-other.npy"); assert (a != b).any(1).all()'
}

@test "moe-info tells the way of pictures, its size and its cost" {
	moe-info linear | grep -q '^patches          by one matrix, straight into the layers$'
	moe-info late | grep -q '^patches          by convolutions, then an encoder: 3 layers, hidden 32, 4 heads, width 40; a two-layer projector$'
	moe-info hybrid | grep -q '^patches          by one matrix, then an encoder: 1 layer, hidden 48, 3 heads, width 48; a linear projector$'
	moe-info causal | grep -q '^patches see      the patches before them$'
	moe-info --json late | jq -e '.encoder == {layers: 3, hidden: 32, heads: 4, width: 40} and .parts.projector == 20 * 32 + 48 * 20 and
		.flops_per_patch == 2 * (16 * 75 * 8 + 4 * 72 * 12 + 108 * 32 + 3 * (4 * 32 * 32 + 3 * 32 * 40) + 20 * 32 + 48 * 20)'
	moe-info --json linear | jq -e 'has("encoder") | not'
	moe-info --spec late | grep -qx 'tower.patches = conv'
	moe-view --check late
}

@test "an encoder's matrices are quantised, and the model still sees" {
	moe-convert -q --type int8 late late-i8
	moe-info late-i8 | grep -q 'then an encoder: 3 layers'
	MOE_MODEL=late-i8 moe-run wide.ppm >seen
	[ -s seen ]
}

@test "training: gradients, any number of threads, and killed runs come to the same bytes" {
	for kind in "${kinds[@]}"; do
		run moe-train -q --check-gradients -o check-$kind --new $kind.json --tokens 1000 --batch 4 crops.tsv
		[ "$status" = 0 ]
		[[ $output == '0 of '*' gradients are wrong' ]]
		options=(--new $kind.json --tokens 6000 --batch 6 --lr-muon 0.01 --dev crops.tsv --dev-samples 6 --checkpoint-every 1000 crops.tsv)
		moe-train -q -o one-$kind -t 1 "${options[@]}"
		moe-train -q -o three-$kind -t 3 "${options[@]}"
		for moment in 0.1 0.2 0.3; do
			moe-train -q -o cut-$kind "${options[@]}" &
			sleep $moment
			kill -KILL $! 2>/dev/null || true
			wait $! || true
		done
		moe-train -q -o cut-$kind "${options[@]}"
		for other in three cut; do
			cmp one-$kind/checkpoint.safetensors $other-$kind/checkpoint.safetensors
			cmp one-$kind/log.jsonl $other-$kind/log.jsonl
			diff -r one-$kind/model $other-$kind/model
		done
		jq -es 'map(select(.dev != true)) | .[-1].loss < .[0].loss' one-$kind/log.jsonl
		export MOE_MODEL=one-$kind/model
		moe-run --json wide.ppm >want
		mkfifo loop-$kind
		moe-tokenize --for-each wide.ppm --generate --loop loop-$kind | moe-patchify wide.ppm | moe-encode | moe-embed | moe-attend -l 0 | moe-route -l 0 |
			moe-expert -l 0 | moe-block -l 1 | moe-decode --json --loop loop-$kind | cmp - want
	done
}

@test "an encoder alone, one of its layers, or all but it can be left as it is" {
	options=(--new late.json --tokens 1500 --batch 4 --type f32 crops.tsv)
	moe-train -q -o start --new late.json --tokens 1 --batch 1 --lr-muon 0 --lr-adamw 0 --type f32 crops.tsv
	moe-train -q -o encoder --freeze vision "${options[@]}"
	moe-train -q -o layer --freeze vision@0 "${options[@]}"
	moe-train -q -o first --freeze all@0 "${options[@]}"
	moe-train -q -o trunk --freeze all --freeze '!vision' --freeze '!projector' "${options[@]}"
	moe-train -q -o still --lr-vision 0 "${options[@]}"
	moe-train -q -o slow --lr-vision 0.25 "${options[@]}"
	jq -e '.stages[0].lr.vision == 0.25' slow/recipe.json
	numpy - <<-'PY'
		import json, struct
		def read(run):
		    data = open(run + "/model/model.safetensors", "rb").read()
		    n = struct.unpack("<Q", data[:8])[0]
		    head = json.loads(data[8:8 + n])
		    return {k: data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]] for k, v in head.items() if k != "__metadata__"}
		start = read("start")
		vision = lambda k: "vision_stem" in k
		for run, frozen in (("encoder", vision), ("layer", lambda k: "vision_stem.layers.0." in k), ("first", lambda k: k.startswith("model.layers.0.")),
		                    ("trunk", lambda k: not vision(k) and "projector" not in k),
		                    ("still", lambda k: vision(k) or "projector" in k), ("slow", lambda k: False)):
		    now = read(run)
		    assert now.keys() == start.keys()
		    for k in now:
		        assert (now[k] == start[k]) == frozen(k), (run, k)
	PY
	refuses 2 '"vision@3" means no tensor of this model' moe-train -q -o none --freeze vision@3 "${options[@]}"
}

@test "descriptions that say something else are refused by the name of the key" {
	# says KEY PATTERN: a description with this key.
	says() {
		rm -rf bad
		echo "{$base, $1}" >bad.json
		refuses 2 "$2" moe-train -q -o bad --new bad.json --tokens 100 crops.tsv
		[ ! -e bad/model ]
	}
	says '"stem": "convolution"' 'stem: expected a list of at most 7 channels, or "linear"'
	says '"image_attention": "both"' 'image_attention: expected "bidirectional" or "causal"'
	says '"row_col": 1' 'row_col: expected true or false'
	says '"encoder": 3' 'encoder: expected an object'
	says '"encoder": {}' 'lacks "encoder.depth"'
	says '"encoder": {"depth": -1}' 'encoder.depth: expected a whole number from 0'
	says '"encoder": {"depth": 1, "colour": 2}' 'unknown key "encoder.colour"'
	says '"encoder": {"depth": 1, "heads": 5}' 'encoder.heads \(5\) must divide encoder.hidden \(48\)'
	says '"encoder": {"depth": 1, "projector": "thick"}' 'projector: expected "linear" or "mlp"'
	says '"encoder": {"depth": 1, "projector_width": 8}' 'encoder.projector_width goes with the projector "mlp"'
	says '"encoder": {"depth": 1, "hidden": 30, "heads": 5}' 'an encoder of pictures is trained where its hidden size is a multiple of 4'
}
