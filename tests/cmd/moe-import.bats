load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	numpy "$root/tests/cmd/foreign.py" .
}

# becomes TRACE FIRST-LAYER [tokens] [steps] [weights] [logits]: the trace holds the choices of truth.json, and what is named.
becomes() {
	numpy "$frames_py" check "$1"
	moe-view --check -q "$1"
	numpy - "$@" <<-'PY'
		import json, sys
		import numpy as np
		import traces
		path, first, *what = sys.argv[1:]
		truth = json.load(open("truth.json"))
		rows = list(traces.rows(path))
		assert len(rows) == 900
		for r in rows:
		    t, l = r["row"], r["layer"] - int(first)
		    assert r["experts"] == truth["ids"][t][l], (r, truth["ids"][t][l])
		    assert r["position"] == [t] and r["modality"] == 0 and r["image"] == r["patch"] == -1
		    known = "tokens" in what or ("output" in what and t >= 290)
		    assert r["token"] == (truth["tokens"][t] if known else -1)
		    assert r["step"] == (max(0, t - 289) if "steps" in what else 0)
		    for key in ("weights", "logits"):
		        assert (key in r) == (key in what)
		        if key in what:
		            assert np.allclose(r[key], truth[key][t][l], rtol=1e-3, atol=1e-6), (key, r, truth[key][t][l])
	PY
}

@test "help, version and bad options" {
	has_help moe-import
	refuses_bad_options moe-import
	refuses 2 'usage' moe-import
	refuses 2 'usage' moe-import --weights w.npy tlk.npy tlk.npy
	refuses 2 'layers 3-1: expected ascending' moe-import --layers 3-1 vllm.json
	refuses 2 'layers 1,1' moe-import --layers 1,1 vllm.json
	refuses 2 'score soft' moe-import --score soft vllm.json
	refuses 2 'nothing.json' moe-import nothing.json
}

@test "terminals, full output, atomic replacement" {
	on_terminal "moe-import -q tlk.npy" >shown || true
	grep -q '^moe-import: .*terminal.*-o FILE' shown
	status=0
	moe-import -q tlk.npy >/dev/full 2>err || status=$?
	same $status 2
	mkdir atomic
	echo old >atomic/file
	printf 'nonsense' >bad
	status=0
	moe-import -o atomic/file bad 2>err || status=$?
	same "$status $(cat atomic/file) $(ls -A atomic)" '2 old file'
	moe-import -q -o atomic/file tlk.npy
	same "$(ls -A atomic)" file
	moe-view --check -q atomic/file
}

@test "vLLM: lists of prompt and choice, and base64 of .npy" {
	moe-import vllm.json >a.sts 2>err
	grep -q 'do not say how many experts there are: 6, .*--experts N' err
	becomes a.sts 0 tokens steps
	moe-import --experts 6 vllm-npy.json >b.sts 2>err
	[ ! -s err ]
	becomes b.sts 0 tokens steps
	cmp <(numpy "$root/tests/cmd/traces.py" body a.sts) <(numpy "$root/tests/cmd/traces.py" body b.sts)
	jq -er '.meta["moe.name"] == "cmpl-7"' <(moe-view --frames --json a.sts | sed -n 2p)
	moe-import -q - <vllm.json >c.sts
	cmp <(numpy "$root/tests/cmd/traces.py" body a.sts) <(numpy "$root/tests/cmd/traces.py" body c.sts)
}

@test "several answers, in lines, in an array, with several choices; rows without experts" {
	moe-import -q two.jsonl >a.sts
	same "$(moe-view --json a.sts | jq -sc 'map(select(.layer == 0)) | group_by(.seq) | map([.[0].name, length])')" '[["r0",9],["r1",11]]'
	moe-import -q array.json two.jsonl >b.sts
	same "$(moe-view --json b.sts | jq -sc 'map(select(.layer == 0)) | group_by(.seq) | map([.[0].name, length])')" '[["a#0",2],["a#1",3],["r0",9],["r1",11]]'
	# A layer in which nobody has an expert is none; "none" goes to the end.
	moe-import -q nones.json >c.sts
	same "$(moe-view --json c.sts | jq -c '[.row, .layer, .experts]' | xargs)" '[0,0,[]] [0,1,[4]] [1,0,[1,0]] [1,1,[]]'
}

@test "SGLang: base64 of numbers in a row, cut by the tokens of the answer or by --layers" {
	moe-import -q --top-k 2 sglang.json >a.sts
	becomes a.sts 0 steps output
	jq 'del(.meta_info.completion_tokens)' sglang.json >cut.json
	moe-import -q --top-k 2 --layers 1-3 cut.json >b.sts
	becomes b.sts 1 steps output
	refuses 2 'sglang.json: byte [0-9]+: these experts have no shape: --top-k' moe-import sglang.json
	refuses 2 'no multiple of tokens' moe-import --top-k 2 cut.json
	refuses 2 'no multiple of layers' moe-import --top-k 7 --layers 0-2 cut.json
}

@test ".npy: ids and logits, with axes in any order; weights and tokens beside them" {
	moe-import -q tlk.npy >a.sts
	becomes a.sts 0
	moe-import -q --axes TKL tkl.npy >b.sts
	becomes b.sts 0
	moe-import -q fortran.npy >c.sts
	becomes c.sts 0
	moe-import -q --weights weights.npy --tokens tokens.npy --layers 4-6 tlk.npy >d.sts
	becomes d.sts 4 weights tokens
	moe-import --top-k 2 lte.npy >e.sts 2>err
	[ ! -s err ]
	becomes e.sts 0 weights logits
	moe-import --top-k 2 --axes TLE --tokens tokens.npy tle.npy >f.sts
	becomes f.sts 0 weights logits tokens
	same "$(moe-view e.sts | head -n 1)" 'trace of routing: 3 layers (0-2), 6 experts, top 2, softmax; detail logits'
	moe-import --top-k 2 --renormalise lte.npy | moe-view --json | jq -es 'all(.[]; (.weights | add) > 0.998 and (.weights | add) < 1.002)'
	same "$(moe-import -q one.npy | moe-view --json | jq -sc '[length, (map(.layer) | unique)]')" '[300,[0]]'
	refuses 2 'lte.npy: router logits of 6 experts, of which --top-k must say' moe-import lte.npy
	refuses 2 'axes "TK" do not name those of an array of \[300, 3, 2\]' moe-import --axes TK tlk.npy
	refuses 2 'axes "TLL" do not' moe-import --axes TLL tlk.npy
	refuses 2 'axes "TLE" do not' moe-import --axes TLE tlk.npy
	refuses 2 'weights.npy: weights of 300 tokens, 3 layers and 2 choices, but ids of 300, 1 and 2' moe-import --weights weights.npy one.npy
}

@test "colibri: the route trace, and the history as counts" {
	moe-import -q colibri.trace >a.sts
	becomes a.sts 1 weights
	moe-import colibri.usage >b.sts 2>err
	[ ! -s err ]
	numpy - >want <<-'PY'
		import json
		import numpy as np
		ids = np.array(json.load(open("truth.json"))["ids"])
		for l in range(3):
		    for e, n in enumerate(np.bincount(ids[:, l].ravel(), minlength=6)):
		        print(l + 1, e, n, sep="\t")
	PY
	moe-view --tsv b.sts | tail -n +2 | diff - want
	same "$(moe-view b.sts | head -n 1)" 'trace of routing: 3 layers (1-3), 6 experts; detail counts'
	# Without its first line only the experts that were chosen are known; two histories are added up.
	moe-import <(tail -n +2 colibri.usage) colibri.usage --experts 6 | moe-view --tsv | tail -n +2 | diff - <(awk -v OFS='\t' '{ print $1, $2, 2 * $3 }' want)
}

@test "llama.cpp: the counts of an imatrix, with k from the tokens" {
	moe-import imatrix.gguf >a.sts
	same "$(moe-view a.sts | head -n 1)" 'trace of routing: 3 layers (1-3), 6 experts, top 2; detail counts'
	moe-view --tsv a.sts | diff - <(moe-import colibri.usage | moe-view --tsv)
	numpy "$frames_py" check a.sts
	refuses 2 'imatrix.gguf: 2 choices for each token, not 3' moe-import --top-k 3 imatrix.gguf
	refuses 2 'uneven.gguf: .*"blk.2.ffn_gate_exps.weight.counts" and "blk.2.ffn_up_exps.weight.counts" of one layer differ' moe-import uneven.gguf
	refuses 2 'half.gguf: .*differ' moe-import half.gguf
	refuses 2 'dense.gguf: .*a model without experts' moe-import dense.gguf
	refuses 2 'in counts' moe-import -q vllm.json imatrix.gguf
}

@test "a model says what the source does not" {
	moe-import -m "$first" <(jq '.choices[0].routed_experts |= map(. + [.[0]])' vllm.json) 2>err >a.sts || true
	grep -q 'experts of another number' err
	jq '.choices[0].routed_experts |= map(. + [.[0]]) | .prompt_routed_experts |= map(. + [.[0]])' vllm.json >four.json
	moe-import -m "$first" four.json >a.sts 2>err
	[ ! -s err ]
	same "$(moe-view a.sts | head -n 1)" 'trace of routing: 4 layers (0-3), 8 experts, top 2, softmax, weights add up to 1; detail ids'
	same "$(moe-view --frames --json a.sts | head -n 1 | jq -r '.meta["moe.model"]')" "$(moe-info --json "$first" | jq -r '.fingerprint // .model.fingerprint')"
	refuses 2 '3 layers, but 4 were named' moe-import -m "$first" vllm.json
}

@test "pictures: tokens of one id in a row are one" {
	echo '{"choices": [{"prompt_token_ids": [1, 7, 7, 7, 2, 7, 7], "routed_experts": [[[0]], [[1]], [[0]], [[1]], [[0]], [[1]], [[0]]]}]}' >p.json
	moe-import -q --image-token 7 p.json | moe-view --json | jq -c '[.modality, .image, .patch]' | xargs >got
	same "$(cat got)" '[text,null,null] [image,0,0] [image,0,1] [image,0,2] [text,null,null] [image,1,0] [image,1,1]'
}

@test "what is wrong is named with its byte or line" {
	at() { refuses 2 "$2" moe-import -q "$1"; }
	printf '' >empty; at empty 'empty: byte 0: it begins neither as JSON'
	printf 'hello' >h; at h 'h: byte 0: it begins neither'
	echo '{"choices": []}' >none.json; at none.json 'there is no routing in it'
	echo '{"choices": [{"routed_experts": [[[0, 0]]]}]}' >twice.json; at twice.json 'byte 32: token 0, layer 0 of these experts: an expert stands twice'
	echo '{"choices": [{"routed_experts": [[[0, 70000]]]}]}' >big.json; at big.json 'byte [0-9]+: an expert that no model has'
	echo '{"choices": [{"routed_experts": [[[0, 1]], [[0]]]}]}' >k.json; at k.json 'byte 47: another number of choices'
	echo '{"choices": [{"routed_experts": [[[0], [1]], [[0]]]}]}' >l.json; at l.json 'another number of layers'
	echo '{"choices": [{"routed_experts": "AAA$"}]}' >b.json; at b.json 'byte 36: base64: a character that has no place'
	echo '{"choices": [{"routed_experts": "AAAAA"}]}' >b5.json; at b5.json 'base64: it is cut off'
	head -c 2000 vllm.json >cut.json; at cut.json 'cut.json: byte 2000: JSON'
	{ cat two.jsonl; echo '{"choices": [{"routed_experts": [[[0]]]}]}'; } >mixed.jsonl; at mixed.jsonl 'byte [0-9]+: 1 layers with 1 choices, which does not go with the 3 layers'
	head -c 1000 tlk.npy >cut.npy; at cut.npy 'cut.npy: byte 128: .npy: 872 bytes follow'
	printf '0 0 0 1:0.5 2:0.5\n0 1 0 1:0.5 2\n' >c1; at c1 'c1: line 2: expected expert:gate'
	printf '0 0 0 1:0.5 2:nan\n' >c2; at c2 'line 1: expected a weight'
	printf '0 0 0 1:0.5\n0 0 0 1:0.5\n' >c3; at c3 'line 2: this row of the layer stands there already'
	printf '0 7 0 1:0.5\n' >c4; at c4 'line 1: the pass that begins here lacks rows'
	printf '0 0 0 1:0.5 1:0.5\n' >c5; at c5 'line 1: an expert stands twice'
	printf -- '-1 2 4\n2 0 5\n' >u1; at u1 'u1: line 2: a layer or an expert that the model does not have'
	printf '1 2 3 4\n' >u2; at u2 'line 1: more than three numbers'
	printf '1 x 3\n' >u3; at u3 'line 1: expected three numbers'
	refuses 2 'an expert that the model does not have' moe-import --experts 5 vllm.json
}
