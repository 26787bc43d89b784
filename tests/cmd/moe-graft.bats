# moe-graft.bats: surgery. What must stay the same stays the same, in the outputs of moe-run and in the numbers of the tensors; what makes no sense is refused.
load helper

maker=$(dirname "$BIN")/tests/lib/create

# Dense models of two seeds, one with a dense layer among others, and one whose words are others.
setup_file() {
	cd "$BATS_FILE_TMPDIR" || return
	echo '{"hidden": 48, "layers": 3, "heads": 3, "dense_layers": "all", "dense_width": 64}' >dense.json
	echo '{"hidden": 48, "layers": 3, "heads": 3, "experts": 4, "expert_width": 24, "dense_layers": [1], "dense_width": 24}' >mixed.json
	jq '.vocabulary = {tasks: ["other"], words: ["word"]}' dense.json >words.json
	"$maker" dense.json dense 3
	"$maker" dense.json other 4
	"$maker" mixed.json mixed 5
	"$maker" words.json words 6
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	ln -s "$BATS_FILE_TMPDIR"/{dense,other,mixed,words} .
}

graft() { moe-graft -q "$@"; }

# checked CLAIM ARGS...: the operation is done, and its check says so much of the outputs. bits: they are the same, whether or not rounding would be allowed.
checked() {
	local claim=$1
	shift
	moe-graft --json "$@" >check.json
	if [ "$claim" = bits ]; then
		jq -e '.same_bits and .claim != "other"' check.json
	else
		same "$(jq -r .claim check.json)" "$claim"
	fi
}

# logits MODEL: of a picture and a text, and of a text alone, as bytes.
logits() {
	moe-tokenize -m "$1" --logits all --no-pg '<image><read>' | moe-patchify -m "$1" --no-pg "$word" | moe-encode -m "$1" --no-pg | moe-embed -m "$1" --no-pg |
		moe-block -m "$1" --no-pg -l 0- | moe-decode -m "$1" --no-pg --logits >"$2.sts"
	numpy "$frames_py" data logit <"$2.sts" >"$2"
}

same_outputs() {
	logits "$1" logits.a
	logits "$2" logits.b
	cmp logits.a logits.b
}

# near A B LIMIT: the logits differ by so much, relative.
near() {
	logits "$1" logits.a
	logits "$2" logits.b
	numpy - "$3" <<-'PY'
		import sys
		import numpy as np
		a, b = (np.fromfile(n, "<f4").astype("f8") for n in ("logits.a", "logits.b"))
		off = np.sqrt(((a - b) ** 2).mean() / (a ** 2).mean())
		assert off <= float(sys.argv[1]), off
	PY
}

@test "help, version and bad options" {
	has_help moe-graft
	refuses_bad_options moe-graft
	refuses 2 usage moe-graft
	refuses 2 usage moe-graft drop --experts 1
	refuses 2 'cut: expected upcycle, add, drop' moe-graft cut -o out
	refuses 2 'drop has no use for -n' moe-graft drop -n 2 -o out
	refuses 2 'average has no use for --top-k' moe-graft average --top-k 2 -o out
	refuses 2 'expected copy, zero or random' moe-graft add -n 1 --router keep -o out
	refuses 2 'expected zero or random' moe-graft upcycle -n 1 --router copy -o out
	refuses 2 '--pools 2,x: expected whole numbers' moe-graft upcycle --pools 2,x -m dense -o out
	refuses 2 '--weights 1: expected one for each of the 2 models' moe-graft average --weights 1 -m dense -m other -o out
	refuses 2 'written as a folder' moe-graft drop --experts 1 -o out.gguf
	refuses 2 'GGUF file: moe-convert makes a folder' moe-graft drop --experts 1 -m "$golden/gguf/qwen3moe-q8_0.gguf" -o out
	[ ! -e out ] && [ ! -e out.part ]
	moe-graft drop --experts 0 -q -o out
	refuses 2 'is there already' moe-graft drop --experts 0 -o out
	moe-graft drop --experts 0 -o full >/dev/full 2>err && false
	grep -q '^moe-graft: .*cannot write' err
}

@test "reordered experts give the same bits, in every family" {
	for m in "$first:8" "$golden"/{aria/model:11,mixtral/model:6,olmoe/model:10,qwen2moe/model:9,qwen3moe/model:12}; do
		n=${m##*:} m=${m%:*}
		rm -rf out back
		checked bits reorder --experts "$((n - 1)),1-$((n - 2)),0" -m "$m" -o out
		same "$(jq -r .claim check.json)" bits
		# And back again it is the same model.
		checked bits reorder --experts "$((n - 1)),1-$((n - 2)),0" -m out -o back
		numpy - "$m" back <<-'PY'
			import sys
			import tensors
			a, b = map(tensors.load, sys.argv[1:])
			assert all((a[n] == v).all() for n, v in b.items()) and len(a) - len(b) in (0, 2)   # Aria's tower has a norm that nothing reads
		PY
	done
	rm -rf out
	graft reorder --experts 7,6,5,4,3,2,1,0@1-2 -o out
	same_outputs "$first" out
	moe-run -m out --trace new.sts "$word" >new
	moe-run --trace old.sts "$word" >old
	cmp new old
	# Experts are those that they were, under their new numbers.
	numpy - <<-'PY'
		import numpy as np, subprocess
		import sys
		def ids(path):
		    subprocess.run(f"moe-view --npy expert_id {path} >ids.npy", shell=True, check=True)
		    return np.load("ids.npy")
		a, b = ids("old.sts"), ids("new.sts")
		assert (a[0] == b[0]).all() and (a[3] == b[3]).all() and (a[1:3] == 7 - b[1:3]).all()
	PY
}

@test "an order by load, and what is no order" {
	moe-run --trace seen.sts "$demo" >/dev/null
	graft reorder --load seen.sts -o out
	same_outputs "$first" out
	moe-run -m out --trace sorted.sts "$demo" >/dev/null
	# What is in order already stays.
	graft reorder --load sorted.sts -m out -o again
	same "$(moe-info --json out | jq -r .fingerprint)" "$(moe-info --json again | jq -r .fingerprint)"
	refuses 2 'the trace is of model' moe-graft reorder --load sorted.sts -o bad
	refuses 2 'each of the 8 experts once, this one 7' moe-graft reorder --experts 0-6 -o bad
	refuses 2 'expert 3 of layer 0 is named twice' moe-graft reorder --experts 3,0-6 -o bad
	refuses 2 'a layer has experts 0 to 7' moe-graft reorder --experts 0-6,8 -o bad
	refuses 2 'in which order' moe-graft reorder -o bad
}

@test "upcycling keeps the outputs" {
	checked rounding upcycle -n 4 -m dense -o random
	near dense random 1e-6
	moe-info random | grep -q '^experts .* 4 of width 64, 2 per token$'
	jq -e '.num_experts == 4 and .num_experts_per_tok == 2 and .norm_topk_prob and .moe_intermediate_size == 64 and (has("dense_layers") | not) and
		(has("intermediate_size") | not)' random/config.json
	# Weights of 1/2 and of 1 have no rounding.
	checked bits upcycle -n 4 --router zero -m dense -o zero
	same_outputs dense zero
	checked bits upcycle -n 1 -m dense -o alone
	same_outputs dense alone
	checked rounding upcycle -n 6 --router zero --top-k 3 -m dense -o by-three
	# Every expert is the unit, bit for bit, and rows of the router are normal numbers.
	numpy - <<-'PY'
		import numpy as np, tensors
		a, b = tensors.load("dense"), tensors.load("random")
		for l in range(3):
		    for e in range(4):
		        for n in ("gate", "up", "down"):
		            assert (a[f"model.layers.{l}.mlp.{n}_proj.weight"] == b[f"model.layers.{l}.mlp.experts.{e}.{n}_proj.weight"]).all()
		g = np.concatenate([b[f"model.layers.{l}.mlp.gate.weight"].ravel() for l in range(3)])
		assert abs(g.std() / 0.02 - 1) < 0.15 and abs(g.mean()) < 0.005, (g.std(), g.mean())
		assert (tensors.load("zero")["model.layers.1.mlp.gate.weight"] == 0).all()
		rest = {n: v for n, v in a.items() if ".mlp." not in n}
		assert rest and all((b[n] == v).all() for n, v in rest.items())
	PY
}

@test "upcycling where weights do not add up to 1, in some layers, with noise, beside other experts" {
	checked other upcycle -n 4 --top-k 1 -m dense -o single
	jq -e '.norm_topk_prob == false' single/config.json
	checked bits upcycle -n 4 --top-k 1 --router zero --rescale -m dense -o scaled
	same_outputs dense scaled
	checked rounding upcycle -n 4 -l 1- -m dense -o some
	jq -e '.dense_layers == [0] and .intermediate_size == 64' some/config.json
	moe-info some | grep -q '4 of width 64, 2 per token; 1 layer without, of width 64$'
	checked rounding upcycle -m mixed -o full
	jq -e '.num_experts == 4 and (has("dense_layers") | not)' full/config.json
	checked other upcycle -n 4 --noise 0.01 --seed 1 -m dense -o noise
	checked other upcycle -n 4 --noise 0.01 --seed 1 -m dense -o again
	diff -r noise again
	numpy - <<-'PY'
		import numpy as np, tensors
		a, b = tensors.load("dense"), tensors.load("noise")
		u = a["model.layers.2.mlp.up_proj.weight"]
		d = [b[f"model.layers.2.mlp.experts.{e}.up_proj.weight"] - u for e in range(4)]
		assert all(abs(x.std() / u.std() / 0.01 - 1) < 0.1 for x in d) and abs(np.corrcoef(d[0].ravel(), d[1].ravel())[0, 1]) < 0.1
	PY
	graft upcycle -n 4 --gumbel -m dense -o gumbel
	jq -e '.moe_provenance[0].training == {"schedule": "fresh", "router_noise": 1}' gumbel/config.json
	refuses 2 'the model has no dense layers' moe-graft upcycle -n 4 -o bad
	refuses 2 'layer 0 has experts already' moe-graft upcycle -l 0- -m mixed -o bad
	refuses 2 'other layers have 4 experts already' moe-graft upcycle -n 5 -m mixed -o bad
	refuses 2 'tokens have 2 experts in other layers' moe-graft upcycle --top-k 1 -m mixed -o bad
	refuses 2 'a token cannot have 5 experts of 4' moe-graft upcycle -n 4 --top-k 5 -m dense -o bad
	refuses 2 'the pools hold 4 experts, -n says 5' moe-graft upcycle -n 5 --pools 2,2 -m dense -o bad
	refuses 2 'how many experts' moe-graft upcycle -m dense -o bad
}

@test "pools: a unit for text and one for pictures become pools of copies" {
	checked bits upcycle --pools 1,1 -m dense -o seed
	jq -e '.expert_pools == [[0], [1]] and .num_experts == 2 and .num_experts_per_tok == 1' seed/config.json
	same_outputs dense seed
	checked rounding upcycle --pools 4,4 --top-k 2 -m seed -o eight
	near dense eight 1e-6
	checked bits upcycle --pools 4,4 --top-k 2 --router zero -m seed -o zero
	same_outputs dense zero
	checked rounding upcycle --pools 2,3 -m dense -o five
	jq -e '.expert_pools == [[0, 1], [2, 3, 4]]' five/config.json
	checked bits reorder --experts 0,2,1,3,4 -m five -o turned
	jq -e '.expert_pools == [[0, 2], [1, 3, 4]]' turned/config.json
	checked rounding split -n 2 -m five -o ten
	jq -e '.expert_pools == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]]' ten/config.json
	graft add --experts 0,4 -n 2 -m five -o seven
	jq -e '.expert_pools == [[0, 1, 5], [2, 3, 4, 6]]' seven/config.json
	graft drop --experts 0,2 -m five -o three
	jq -e '.expert_pools == [[0], [1, 2]]' three/config.json
	refuses 2 'no expert would be left in pool 0' moe-graft drop --experts 0,1 -m five -o bad
	refuses 2 'experts 1 and 2 are in different pools' moe-graft merge --experts 1+2 -m five -o bad
	refuses 2 'layer 1: expert 0 would be in pool 1, in other layers in pool 0' moe-graft reorder --experts 2,3,0,1,4@1 -m five -o bad
	refuses 2 'pool 1 has 3 experts already|pool 0 has 2 experts already' moe-graft upcycle --pools 4,4 -m five -o bad
	refuses 2 '2 pools are to become 3' moe-graft upcycle --pools 2,2,2 -m seed -o bad
	refuses 2 'a token cannot have 3 experts of 2 in the largest pool' moe-graft upcycle --pools 2,2 --top-k 3 -m dense -o bad
	refuses 2 'models with pools are not mixed' moe-graft mix -m five -m turned -o bad
}

# changed FROM TO FILTER: a model with other settings.
changed() {
	cp -r "$1" "$2"
	jq "$3" "$1/config.json" >"$2/config.json"
}

@test "experts that choose, norms behind them, and auxiliary routers" {
	graft upcycle --pools 2,3 --seed 1 --noise 0.3 -m dense -o five
	changed five choosing '. + {router_choice: "expert", router_score: "sigmoid", norm_topk_prob: false, expert_capacity: 1}'
	checked bits reorder --experts 1,0,3,2,4 -m choosing -o turned
	same "$(jq -r .claim check.json)" bits
	checked rounding split -n 2 -m choosing -o copies
	jq -e '.expert_capacity == 2' copies/config.json
	checked rounding split -n 2 --width -m choosing -o parts
	checked other drop --experts 2 -m choosing -o fewer
	changed choosing behind '. + {moe_norm: "post"}'
	checked bits reorder --experts 1,0,3,2,4 -m behind -o behind-turned
	checked rounding split -n 2 -m behind -o behind-copies
	# Auxiliary routers know what was before; only a mean has them, too.
	numpy - <<-'PY'
		import json, os, shutil
		import numpy as np, frames
		shutil.copytree("choosing", "aux")
		c = json.load(open("aux/config.json"))
		json.dump(dict(c, aux_routers=True), open("aux/config.json", "w"))
		meta, t = frames.parse(open("choosing/model.safetensors", "rb").read())
		r = np.random.default_rng(1)
		for l in range(3):
		    for pool, n in enumerate((2, 3)):
		        for name, shape in (("fc1", (24, 48)), ("fc2", (n, 24))):
		            t[f"model.layers.{l}.mlp.aux.{pool}.{name}.weight"] = ("F32", list(shape), (r.standard_normal(shape) * 0.2).astype("<f4").tobytes())
		open("aux/model.safetensors", "wb").write(frames.build(meta, t))
	PY
	moe-graft reorder --experts 1,0,3,2,4 -m aux -o without 2>told
	grep -q 'auxiliary routers.*left out' told
	jq -e 'has("aux_routers") | not' without/config.json
	same "$(moe-info --json without | jq -r .fingerprint)" "$(moe-info --json turned | jq -r .fingerprint)"
	checked bits average -m aux -m aux -o mean
	jq -e .aux_routers mean/config.json
}

@test "upcycling of a Hugging Face family" {
	# Qwen3-MoE in which all layers are dense, and one in which the second is.
	numpy - "$golden/qwen3moe/model" <<-'PY'
		import json, os, shutil, sys
		import numpy as np, frames, tensors
		source = sys.argv[1]
		r = np.random.default_rng(1)
		for name, dense in (("all", [0, 1, 2]), ("some", [1])):
		    os.mkdir(name)
		    c = json.load(open(source + "/config.json"))
		    c["mlp_only_layers"], c["intermediate_size"] = dense, c["moe_intermediate_size"]
		    json.dump(c, open(name + "/config.json", "w"))
		    shutil.copy(source + "/tokenizer.json", name)
		    t = {n: v for n, v in tensors.load(source).items() if not any(f"layers.{l}.mlp." in n for l in dense)}
		    h, w = c["hidden_size"], c["intermediate_size"]
		    for l in dense:
		        for n, s in (("gate", (w, h)), ("up", (w, h)), ("down", (h, w))):
		            t[f"model.layers.{l}.mlp.{n}_proj.weight"] = r.standard_normal(s) * 0.1
		    t = {n: ("F32", list(v.shape), v.astype("<f4").tobytes()) for n, v in t.items()}
		    open(name + "/model.safetensors", "wb").write(frames.build({}, t))
	PY
	checked bits upcycle -n 8 --router zero -m all -o new
	jq -e '.num_experts == 8 and .num_experts_per_tok == 2 and .norm_topk_prob and (has("mlp_only_layers") | not) and
		.intermediate_size == .moe_intermediate_size' new/config.json
	checked rounding upcycle -n 8 -l 1- -m all -o half
	jq -e '.mlp_only_layers == [0]' half/config.json
	checked rounding upcycle -m some -o full
	jq -e '.num_experts == 12 and (has("mlp_only_layers") | not)' full/config.json
	same "$(moe-run -m some --json -n 4 -p Hello | jq -c .ids)" "$(moe-run -m full --json -n 4 -p Hello | jq -c .ids)"
}

@test "experts are left out" {
	# 3 is what this picture's rows do without in layer 1, and so on: the outputs stay as long as nobody chose what is gone.
	moe-run --trace seen.sts "$word" >old
	numpy - >unused <<-'PY'
		import numpy as np, subprocess
		subprocess.run("moe-view --npy expert_id seen.sts >ids.npy", shell=True, check=True)
		ids = np.load("ids.npy")
		for l in range(4):
		    count = np.bincount(ids[l].ravel(), minlength=8)
		    print(f"--experts {count.argmin()}@{l}", int(count.min()))
	PY
	cat unused
	graft drop $(cut -d' ' -f1,2 unused) -o out
	jq -e '.num_experts == 7' out/config.json
	numpy - <<-'PY'
		import tensors
		drop = [int(line.split()[1].split("@")[0]) for line in open("unused")]
		import os
		a, b = tensors.load(os.environ["MOE_MODEL"]), tensors.load("out")
		for l, d in enumerate(drop):
		    left = [e for e in range(8) if e != d]
		    assert (b[f"model.layers.{l}.mlp.gate.weight"] == a[f"model.layers.{l}.mlp.gate.weight"][left]).all()
		    for i, e in enumerate(left):
		        n = "up_proj.weight"
		        assert (b[f"model.layers.{l}.mlp.experts.{i}.{n}"] == a[f"model.layers.{l}.mlp.experts.{e}.{n}"]).all()
	PY
	refuses 2 'layer 1 would have 8 experts, layer 0 has 7' moe-graft drop --experts 3@0 -o bad
	refuses 2 'a token needs 2 experts, and 1 would be left: give a smaller --top-k' moe-graft drop --experts 1-7 -o bad
	checked other drop --experts 1-7 --top-k 1 -o single
	refuses 2 'which experts are to be left out' moe-graft drop -o bad
	refuses 2 '"3@9": behind @ expected a layer' moe-graft drop --experts 3@9 -o bad
	refuses 2 '"x": expected experts as' moe-graft drop --experts x -o bad
	refuses 2 'the model has no experts' moe-graft drop --experts 1 -m dense -o bad
}

@test "an expert that nothing chooses can go, bit for bit" {
	# One expert more, whose logit is always 0; and rows of the router in pairs, one the other turned round, so that half of the other logits are above 0.
	for m in "$first" "$golden/qwen3moe/model" "$golden/mixtral/model"; do
		rm -rf more out
		n=$(moe-info --json "$m" | jq .experts)
		graft add -n 1 --router zero -m "$m" -o more
		numpy - "$n" <<-'PY'
			import json, struct, sys
			import numpy as np
			path, n = "more/model.safetensors", int(sys.argv[1])
			data = bytearray(open(path, "rb").read())
			size, = struct.unpack_from("<Q", data)
			head = json.loads(data[8:8 + size])
			rows = [t for name, t in head.items() if name.endswith("gate.weight") and t["shape"][0] == n + 1]
			assert rows
			for t in rows:
			    at, width = 8 + size + t["data_offsets"][0], {"F32": 4, "BF16": 2}[t["dtype"]]
			    hidden = t["shape"][1] * width
			    half = n // 2
			    for e in range(half, 2 * half):     # as the row of the first half, with the other sign
			        row = np.frombuffer(data, f"<u{width}", t["shape"][1], at + (e - half) * hidden) ^ (1 << (8 * width - 1))
			        data[at + e * hidden:at + (e + 1) * hidden] = row.tobytes()
			open(path, "wb").write(data)
		PY
		checked bits drop --experts "$n" -m more -o out
		same "$(jq -r .claim check.json)" bits
		[ "$(moe-info --json out | jq .experts)" = "$n" ]
	done
}

@test "splitting keeps the outputs" {
	checked rounding split -n 2 -o copies
	jq -e '.num_experts == 16 and .num_experts_per_tok == 4 and .moe_intermediate_size == 192' copies/config.json
	near "$first" copies 1e-6
	checked rounding split -n 4 --width -o parts
	jq -e '.num_experts == 32 and .num_experts_per_tok == 8 and .moe_intermediate_size == 48' parts/config.json
	near "$first" parts 1e-6
	for m in mixtral olmoe qwen2moe qwen3moe; do
		checked rounding split -n 2 --width -m "$golden/$m/model" -o "$m"
	done
	checked other split -n 2 --experts 3 --noise 0.01 -o nine
	jq -e '.num_experts == 9 and .num_experts_per_tok == 2' nine/config.json
	refuses 2 'experts of width 192 do not fall into 5 parts' moe-graft split -n 5 --width -o bad
	refuses 2 'all together' moe-graft split -n 2 --width --experts 3 -o bad
	refuses 2 'at least 2' moe-graft split -n 1 -o bad
	refuses 2 'more than 256' moe-graft split -n 129 -o bad
	refuses 2 'follows from the split' moe-graft split -n 2 --top-k 4 -o bad
}

@test "experts are added, merged and copied" {
	checked other add -n 2 --experts 5,1 --noise 0.1 -o more
	checked other add -n 1 --random --router random --seed 3 -o random
	checked other merge --experts 0+1,4+6 -o less
	moe-run --trace seen.sts "$demo" >/dev/null
	checked other merge --experts 0+1 --load seen.sts -o loaded
	checked other copy --experts 3=5 --experts 0=0@1 -m "$first" -m less -o copied
	checked other copy --experts 3=5 --router keep -m "$first" -m less -o kept
	numpy - <<-'PY'
		import os
		import numpy as np, frames, tensors
		a = tensors.load(os.environ["MOE_MODEL"])
		def expert(t, l, e): return [t[f"model.layers.{l}.mlp.experts.{e}.{n}_proj.weight"] for n in ("gate", "up", "down")]
		def row(t, l, e): return t[f"model.layers.{l}.mlp.gate.weight"][e]
		def same(x, y): return all((i == j).all() for i, j in zip(x, y))
		more, random, less, copied, kept = map(tensors.load, ("more", "random", "less", "copied", "kept"))
		for l in range(4):
		    assert all(same(expert(a, l, e), expert(more, l, e)) and (row(a, l, e) == row(more, l, e)).all() for e in range(8))
		    for new, old in ((8, 5), (9, 1)):
		        for x, y in zip(expert(more, l, new), expert(a, l, old)):
		            assert abs((x - y).std() / y.std() / 0.1 - 1) < 0.1
		        assert 0 < np.abs(row(more, l, new) - row(a, l, old)).std() < 0.2 * row(a, l, old).std()
		    for x, y in zip(expert(random, l, 8), expert(a, l, 0)):
		        assert abs(x.std() / y.std() - 1) < 0.1 and abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 0.05
		    # 0+1, 2, 3, 4+6, 5, 7, halves rounded to the type of the weights
		    for x, y, z in zip(expert(less, l, 0), expert(a, l, 0), expert(a, l, 1)):
		        assert np.abs(x - (y + z) / 2).max() <= np.abs(x).max() / 256
		    assert np.abs(row(less, l, 3) - (row(a, l, 4) + row(a, l, 6)) / 2).max() < 1e-6
		    assert same(expert(less, l, 4), expert(a, l, 5)) and same(expert(less, l, 5), expert(a, l, 7))
		    if l == 1:
		        assert same(expert(copied, l, 0), expert(less, l, 0)) and same(expert(copied, l, 3), expert(a, l, 3))
		    else:
		        assert same(expert(copied, l, 3), expert(less, l, 5)) and (row(copied, l, 3) == row(less, l, 5)).all()
		    assert same(expert(kept, l, 3), expert(less, l, 5)) and (row(kept, l, 3) == row(a, l, 3)).all()
		# By load: every frame of the trace is [layers][rows][2] of U8.
		loaded = tensors.load("loaded")
		count = np.zeros((4, 256))
		for raw in frames.split(open("seen.sts", "rb")):
		    meta, t = frames.parse(raw)
		    if meta["moe.kind"] == "trace":
		        dtype, shape, data = t["expert_id"]
		        ids = np.frombuffer(data, {"U8": "u1", "U16": "<u2"}[dtype]).reshape(shape)
		        for l in range(4):
		            count[l] += np.bincount(ids[l].ravel(), minlength=256)
		for l in range(4):
		    p = count[l, 0] / (count[l, 0] + count[l, 1])
		    assert np.abs(row(loaded, l, 0) - (p * row(a, l, 0) + (1 - p) * row(a, l, 1))).max() < 1e-6, (l, p)
	PY
	refuses 2 'expert 1 of layer 0 is named twice' moe-graft merge --experts 0+1,1+2 -o bad
	refuses 2 'which experts are to be merged' moe-graft merge -o bad
	refuses 2 'copy takes two models' moe-graft copy --experts 3=5 -o bad
	refuses 2 'of the first model and one 0 to 5 of the second' moe-graft copy --experts 3=6 -m "$first" -m less -o bad
	refuses 2 'how many experts are to be added' moe-graft add -o bad
}

@test "branches behind a new router, and means of models" {
	checked other mix -m dense -m other --weights 3,1 -o both
	jq -e '.num_experts == 2 and .num_experts_per_tok == 2' both/config.json
	numpy - <<-'PY'
		import numpy as np, tensors
		a, b, m = map(tensors.load, ("dense", "other", "both"))
		for l in range(3):
		    for e, t in enumerate((a, b)):
		        assert (m[f"model.layers.{l}.mlp.experts.{e}.up_proj.weight"] == t[f"model.layers.{l}.mlp.up_proj.weight"]).all()
		for n, v in m.items():
		    if ".mlp." not in n:
		        assert np.abs(v - (0.75 * a[n] + 0.25 * b[n])).max() < 1e-7, n
	PY
	# A model beside itself is upcycled.
	checked rounding mix -m dense -m dense -o twice
	near dense twice 1e-6
	checked bits mix -m dense -m dense --router zero -o zero
	same_outputs dense zero
	# Models that have experts keep them all.
	graft reorder --experts 1,0,2-7 -o turned
	checked other mix --router copy -m "$first" -m turned -o sixteen
	jq -e '.num_experts == 16 and .num_experts_per_tok == 2' sixteen/config.json
	checked bits average -m "$first" -m "$first" -o mean
	checked bits average --weights 1,0 -m "$first" -m turned -o alone
	same "$(moe-info --json alone | jq -r .fingerprint)" "$(moe-info --json "$first" | jq -r .fingerprint)"
	checked other average -m dense -m other -m dense -o soup
	numpy - <<-'PY'
		import numpy as np, tensors
		a, b, m = map(tensors.load, ("dense", "other", "soup"))
		assert all(np.abs(v - (2 * a[n] + b[n]) / 3).max() < 1e-6 for n, v in m.items())
	PY
	refuses 2 'the tokenizer of model 2|the models do not fit: .*vocab' moe-graft average -m dense -m words -o bad
	refuses 2 'the models do not fit: .*layers.count = 4' moe-graft average -m "$first" -m dense -o bad
	refuses 2 'two models or more are mixed' moe-graft mix -m dense -o bad
	refuses 2 'two models or more are averaged' moe-graft average -m dense -o bad
	refuses 2 'they add up to 0' moe-graft average --weights 0,0 -m dense -m other -o bad
	refuses 2 'drop takes one model' moe-graft drop --experts 0 -m dense -m other -o bad
}

@test "models of the same shape with another tokenizer are not mixed" {
	cp -rL dense same
	jq '.model.vocab |= with_entries(if .key == "a" then .key = "b" elif .key == "b" then .key = "a" else . end)' dense/tokenizer.json >same/tokenizer.json
	refuses 2 'the tokenizer of model 2 \(same\) is not that of the first' moe-graft average -m dense -m same -o bad
}

@test "what was done is told" {
	graft reorder --experts 1,0,2-7 -o one
	graft drop --experts 7 -m one -o two
	moe-info two >told
	grep -q "^made by          reorder of $(moe-info --json "$first" | jq -r .fingerprint) (experts \[\"1,0,2-7\"\], seed 0)$" told
	grep -q "^                 drop of $(moe-info --json one | jq -r .fingerprint) (experts \[\"7\"\], seed 0)$" told
	moe-info --json two | jq -c '.made_by | map(.operation)' | grep -q '^\["reorder","drop"\]$'
	# It stays with the model, whatever it becomes.
	moe-convert -q --type f32 two three
	cmp <(jq .moe_provenance two/config.json) <(jq .moe_provenance three/config.json)
	moe-info "$first" >plain
	[ "$(grep -c 'made by' plain)" = 0 ]
}

@test "other types, several files, and the same bytes with any number of threads" {
	checked bits reorder --experts 1,0,2-7 --type f32 -o wide
	checked rounding reorder --experts 1,0,2-7 --type int8 -o small
	checked rounding upcycle -n 3 --type bf16 -m dense -o bf16
	near dense bf16 0.02
	graft split -n 2 -t 1 --shard-size 0.001 -o one
	graft split -n 2 -t 2 --shard-size 0.001 -o two
	[ -e one/model.safetensors.index.json ]
	diff -r one two
	moe-view -q --check one
}

@test "an interruption costs nothing, another operation is not mixed in" {
	graft split -n 2 --no-check -o want
	moe-graft -q split -n 2 -t 1 --no-check -o out &
	pid=$!
	while kill -0 $pid 2>/dev/null && [ "$(cat out.part.log 2>/dev/null | wc -l)" -lt 5 ]; do sleep 0.002; done
	kill -9 $pid 2>/dev/null || true
	wait $pid || true
	if [ ! -e out ]; then
		refuses 2 'of another model or with other options' moe-graft split -n 2 --seed 1 -o out
		graft split -n 2 --no-check -o out
	fi
	diff -r want out
	[ ! -e out.part ] && [ ! -e out.part.log ]
}

@test "a model that was made is run, traced and converted like any other" {
	graft upcycle -n 4 -m dense -o up
	moe-run -m up --trace up.sts "$word" >/dev/null
	moe-stats up.sts >/dev/null
	cp -r "$olmoe/model" olmoe
	graft drop --experts 9 -m olmoe -o nine
	moe-convert -q nine nine.gguf
	same "$(moe-run -m nine --json -n 4 -p Hello | jq -c .ids)" "$(moe-run -m nine.gguf --json -n 4 -p Hello | jq -c .ids)"
}
