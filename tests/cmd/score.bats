load helper

# The scripts that score a model after its training: their arithmetic, and a whole report with little data. What needs a browser, a virtual display or
# tesseract is not run here.
scripts=$root/share/models

scores() { PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$scripts python3 "$@"; }

# answer KEY KIND TYPE ANSWER RIGHT BLIND: a line as moe-eval --answers writes it.
answer() {
	printf '{"name":"x.tar/%s","kind":"%s","type":"%s","answer":"%s","right":%s,"confidence":0.9,"blind_right":%s}\n' "$@"
}

@test "intervals: Wilson's are moe-eval's, the bootstrap's are the binomial's" {
	moe-eval --json --no-blind "$crops.tsv" | jq -c 'select(.what == "score" and .type) | [.right, .n, .low, .high]' >want
	scores - <<-'PY'
		import json
		from scores import bootstrap, wilson
		right, n, low, high = json.load(open("want"))
		assert max(abs(a - b) for a, b in zip(wilson(right, n), (low, high))) < 1e-8
		assert bootstrap([1] * 50) == (1, 1)
		low, high = bootstrap([1] * 300 + [0] * 700)
		assert abs(low - 0.272) < 0.005 and abs(high - 0.328) < 0.005, (low, high)
		# Paired differences of 1, -1 and 0: deviation sqrt(0.2 - 0.1 ** 2) / sqrt(1000).
		low, high = bootstrap([1] * 150 + [-1] * 50 + [0] * 800)
		assert abs(low - (0.1 - 0.02702)) < 0.005 and abs(high - (0.1 + 0.02702)) < 0.005, (low, high)
		assert bootstrap([1, 0, -1, 1]) == bootstrap([1, 0, -1, 1])
	PY
}

@test "tesseract beside the model: pairs by picture, one way for the whole set" {
	scores - <<-'PY'
		from scores import compare
		answers = [{"name": "d/%d.png" % i, "right": r} for i, r in enumerate([True, True, False, True, True])]
		# Of the truth, as it is, enlarged. Picture 4 was not shown to tesseract, which read 9 that the model was not asked.
		tesseract = {"0": ("a b", "a b", "ab"), "1": ("1", "l", "1"), "2": ("x", "x", "x"), "3": ("|", "", "|"), "9": ("y", "y", "z")}
		c = compare(answers, tesseract)
		assert (c["n"], c["right"], c["other_right"], c["other_way"]) == (4, 3, 3, "enlarged"), c
		assert (c["other_plain"], c["other_enlarged"]) == (0.5, 0.75)
		assert (c["only_model"], c["only_other"], c["difference"]) == (1, 1, 0)
		assert c["difference_low"] < 0 < c["difference_high"]
	PY
}

@test "parts, goals and tables of made-up answers" {
	{
		for i in 1 2 3 4 5 6 7 8 9; do answer 0$i read read abc$i true false; done
		answer 10 read read Q false true
	} >r.answers
	for s in 'null null' '"read" null' '"read" "read"'; do
		read -r kind type <<<"$s"
		printf '{"what":"score","kind":%s,"type":%s,"n":10,"right":9,"accuracy":0.9,"low":0.6,"high":0.98,"blind_n":10,"blind_accuracy":0.1,' "$kind" "$type"
		printf '"chance":0.1,"confidence":0.9,"calibration_error":0.05}\n'
	done >r.json
	{
		echo '{"what":"evaluation","model":"m","samples":10,"failed":2}'
		echo '{"what":"refusal","kind":null,"below":0.5,"answered":0.8,"accuracy":0.95}'
	} >>r.json
	mkdir tags
	for i in 01 02 03; do echo '{"kind": "read", "tags": {"style": "terminal"}}' >tags/$i.json; done
	tar -C tags -cf r.tar 01.json 02.json 03.json
	printf 'file\ttext\tplain\tenlarged\n01.png\tabc1\tabc1\tabcl\n02.png\tabc2\tabc\tabc\n10.png\tQ\tQ\tQ\n' >t.tesseract
	cp r.json t.json && cp r.answers t.answers
	cp r.json f.json && cp r.answers f.answers
	mkdir out
	scores "$scripts/scores.py" abcd 7 small out test-read=r magick=t first-model=f
	same "$(head -n 1 out/scores.json)" '{"what": "scores", "model": "abcd", "seed": 7, "fonts": "small"}'
	same "$(jq -c 'select(.set == "test-read" and .what == "part") | [.by, .value, .n, .right, .blind_accuracy]' out/scores.json)" \
		'["length","1",1,0,1]
["length","2 to 12",9,9,0]
["length","4 to 8",9,9,0]
["style","terminal",3,3,0]'
	same "$(jq -c 'select(.what == "goal") | [.goal, .accuracy, .met]' out/scores.json)" \
		'["read, unseen strings",1,true]
["first model on read: at most",0.9,true]'
	same "$(jq -c 'select(.what == "against") | [.n, .right, .other_way, .other_right, .only_model, .only_other]' out/scores.json)" '[3,2,"plain",2,1,1]'
	grep -qF '| read | 10 | 90.0 | 60.0 to 98.0 | 10.0 | 10.0 |' out/scores.md
	grep -qF '2 samples of test-read could not be asked' out/scores.md
	grep -qF '| ImageMagick | 10 | 9 | 90.0 | 60.0 to 98.0 | 66.7 | 33.3 | +0.0 |' out/scores.md
	grep -qF '| test-read | 90.0 | 90.0 | 5.0 | 80.0 / 95.0 |' out/scores.md
	cp -r out again
	scores "$scripts/scores.py" abcd 7 small out test-read=r magick=t first-model=f
	diff -r out again
}

@test "a whole report: drawn with the model's fingerprint, and done once" {
	export XDG_CACHE_HOME=$PWD/cache
	little=(-n 20 -c 0 -k read -f small)
	"$scripts/score.sh" "${little[@]}" "$BIN" "$first" out
	each 'has("what") or has("layer")' <out/scores.json
	same "$(jq -c 'select(.what == "score" and .type == null and .kind == null) | [.set, .n]' out/scores.json)" \
		'["test-read",20]
["unseen-read",20]
["first-model",20]
["crops",180]'
	same "$(jq 'select(.set == "crops" and .what == "score" and .kind == null) | .right' out/scores.json)" 168
	fingerprint=$(moe-info --json -m "$first" | jq -r .fingerprint)
	same "$(head -n 1 out/scores.json | jq -r '[.model, .seed] | @tsv')" "$fingerprint"$'\t'"$((0x${fingerprint:0:8}))"
	moe-synth -q --fonts small --tasks read --split test --seed $((0x${fingerprint:0:8})) -n 20 | cmp - cache/moe/score/*/test-read-20.tar
	# Nothing is drawn or computed again: with programs that only tell the fingerprint, the report is the same.
	mkdir bin
	ln -s "$BIN/moe-info" bin
	printf '#!/bin/sh\nexit 2\n' >bin/moe-eval
	chmod +x bin/moe-eval
	ln -s moe-eval bin/moe-synth
	"$scripts/score.sh" "${little[@]}" bin "$first" again
	diff -r out again
	# One evaluation is missing.
	rm cache/moe/score/*/unseen-read-20.json
	refuses 2 'unseen-read: not scored' "$scripts/score.sh" "${little[@]}" bin "$first" again
	"$scripts/score.sh" "${little[@]}" "$BIN" "$first" again
	diff -r out again
}

@test "bad command lines" {
	refuses 2 usage "$scripts/score.sh" "$BIN" "$first"
	refuses 2 usage "$scripts/score.sh" -x "$BIN" "$first" out
	refuses 2 usage "$scripts/crops.sh" magick 10
	refuses 2 'no such kind' "$scripts/crops.sh" camera 10 1 out
	refuses 2 usage "$scripts/tesseract.sh"
	refuses 2 'not a folder with a list' "$scripts/tesseract.sh" nowhere
}
