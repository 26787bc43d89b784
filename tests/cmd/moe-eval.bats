load helper

# shard NAME N [FROM]: a tar of N samples of the crops, in their order, from number FROM on, with a tag and two questions.
shard() {
	crops_shard "$1" "${3:-0}" "$((${3:-0} + $2))" '{kind: "read", tags: {length: "\(.text | length)"},
		questions: [{type: "read", prompt: "<read>", answer: .text, spell: true}, {type: "never", prompt: "<read>", answer: "@", spell: true}]}'
}

@test "help, version and bad options" {
	has_help moe-eval
	refuses_bad_options moe-eval
	refuses 2 usage moe-eval </dev/null
	refuses 2 'choose one' moe-eval --json --tsv "$crops.tsv"
	refuses 2 'limit 0.*from 1' moe-eval --limit 0 "$crops.tsv"
	refuses 2 'nowhere.*no such model' moe-eval -m nowhere "$crops.tsv"
	refuses 2 'nowhere.*no such model' moe-eval --against nowhere "$crops.tsv"
	refuses 2 'standard input is read once' moe-eval - "$crops.tsv"
	refuses 2 'standard input is read once' moe-eval --against "$root/share/models/read" - </dev/null
	refuses 2 'no chat format' moe-eval --chat "$crops.tsv"
}

@test "losses are those of the answers, with the samples' own pictures and with others'" {
	shard some.tar 48
	moe-eval --loss --json some.tar >out
	each 'select(.what == "losses") | .samples == 48 and .failed == 0' <out
	each 'select(.what == "loss") | .choice == "token" and .kind == "text" and .other > .own + 3 * .error and .error > 0' <out
	same "$(wc -l <out)" 2
	moe-eval --loss --tsv --threads 1 some.tar >one
	moe-eval --loss --tsv --threads 3 some.tar >three
	cmp one three
	moe-eval --loss --json --limit 8 --batch 8 some.tar | jq -se 'map(select(.what == "loss"))[0] | .targets > 8 and .error == 0'
	refuses 2 'nowhere.tar' moe-eval --loss nowhere.tar
	refuses 2 'draw goes with --loss' moe-eval --draw 0.5 some.tar
	refuses 2 'loss goes without' moe-eval --loss --by length some.tar
	refuses 2 'no image tokens' moe-eval --loss --draw 0.5 some.tar
}

@test "the shipped model reads 168 of the 180 crops, as moe-run does, with the same confidence" {
	moe-eval --json --answers answers "$crops.tsv" >out
	each 'select(.what == "score") | .n == 180 and .right == 168 and .blind_n == 180 and .blind_accuracy == 0' <out
	each 'has("what") or has("layer")' <out
	same "$(wc -l <answers)" 180
	moe-run --json "$crops"/*.png >run
	same "$(jq -r .said answers)" "$(jq -r .text run)"
	jq -s '[.[].logprob]' run >run.logprob
	jq -s '[.[].confidence | log]' answers >eval.logprob
	jq -n --slurpfile a run.logprob --slurpfile b eval.logprob '[$a[0], $b[0]] | transpose | map(.[0] - .[1] | fabs) | max < 1e-6' | grep -q true
}

@test "the same bytes whatever the threads; the batch changes only sums of routing" {
	shard s.tar 60
	moe-eval --json -t 1 s.tar >one
	moe-eval --json -t 2 s.tar >two
	moe-eval --json -t 3 s.tar | cmp one -
	cmp one two
	moe-eval --json --batch 5 s.tar | grep -v '"layer"' >five
	grep -v '"layer"' one | cmp - five
	moe-eval --json --no-blind s.tar | jq -c 'select(.what == "score") | [.right, .logprob, .blind_n]' >without
	jq -c 'select(.what == "score") | [.right, .logprob, 0]' one | cmp - without
}

@test "tar, zip, folder, list and standard input are asked alike" {
	shard s.tar 12
	mkdir f && tar -C f -xf s.tar
	(cd f && zip -q ../s.zip *)
	gzip -k s.tar
	moe-eval --tsv s.tar >want
	for source in s.zip s.tar.gz f; do moe-eval --tsv $source | cmp want -; done
	moe-eval --tsv - <s.tar | cmp want -
	cat s.tar | moe-eval --tsv - | cmp want -
	shard a.tar 6
	shard b.tar 6 6
	moe-eval --tsv a.tar b.tar | cmp want -
}

@test "types, tags, limits" {
	shard s.tar 60
	same "$(moe-eval --tsv s.tar | cut -f 1-3 | tr '\t' ' ')" "kind type n
  120
read  120
read never 60
read read 60"
	same "$(moe-eval --tsv --types read --limit 7 s.tar | cut -f 1-3 | tail -n 1)" "read	read	7"
	moe-eval --tsv --types read --by length s.tar >out
	same "$(head -n 1 out | cut -f 3)" length
	# A number in a value counts as a number.
	cut -f 3 out | tail -n +5 | sort -cn
	refuses 2 'no question to ask' moe-eval --types nothing s.tar
}

@test "another picture of the same strings does not count as blind" {
	mkdir f
	for i in 1 2 3 4; do
		cp "$crops/012.png" f/$i.png
		echo "$(moe-run "$crops/012.png")" >f/$i.txt
	done
	# All show the same: there is no other picture.
	moe-eval --json f | each 'select(.what == "score") | .right == 4 and .blind_n == 0'
	# The second says x and is wrong. Blind, it looks at the third and is wrong; the first looks at it, and the last two wait for one that never comes but the first, which
	# shows what they say.
	echo x >f/2.txt
	moe-eval --json f | each 'select(.what == "score") | .right == 3 and .blind_n == 2 and .blind_accuracy == 0.5'
}

@test "broken samples are named, counted and left out; exit 1" {
	mkdir f
	cp "$crops"/00[0-5].png f
	for i in 0 1 2 3 4 5; do sed -n "s/^00$i.png\t//p" "$crops.tsv" >f/00$i.txt; done
	echo '{"questions": [' >f/001.json && rm f/001.txt
	head -c 300 "$crops/002.png" >f/002.png
	rm f/003.txt
	dd if=/dev/urandom of=f/004.png bs=100 seek=5 count=2 conv=notrunc status=none
	run -1 --separate-stderr moe-eval --json f
	same "$(head -n 1 <<<"$output" | jq -c '[.samples, .failed]')" '[2,4]'
	grep -q 'f/001: byte [0-9]*: not JSON' <<<"$stderr"
	grep -q 'f/002: ' <<<"$stderr"
	grep -q 'f/003: the picture has no text' <<<"$stderr"
	run -1 --separate-stderr moe-eval --json -t 1 f
	first=$stderr
	run -1 --separate-stderr moe-eval --json -t 3 f
	same "$stderr" "$first"
	shard s.tar 20
	head -c 20000 s.tar >cut.tar
	run -1 --separate-stderr moe-eval --tsv cut.tar
	grep -q 'cut.tar' <<<"$stderr"
	run -2 --separate-stderr moe-eval nowhere.tar
	grep -q 'nowhere.tar: cannot open' <<<"$stderr"
	grep -q 'no question to ask' <<<"$stderr"
}

@test "two models side by side" {
	shard s.tar 30
	moe-eval --json --types read --against "$root/share/models/read" s.tar >out
	each 'select(.what == "score") | .both == 30 and .difference == 0 and .difference_low == 0 and .difference_high == 0' <out
	moe-eval --types read --against "$root/share/models/read" s.tar | grep -q 'difference'
	moe-eval --json --types read -m "$golden/aria/model" -n 16 --against "$root/share/models/read" --limit 6 s.tar >out
	each 'select(.what == "score") | .both == 6 and .accuracy_both == 0 and .difference < 0 and .difference_low <= .difference and .difference <= .difference_high' <out
}

@test "any family: text alone, chat" {
	mkdir t
	echo '{"picture": false, "kind": "story", "questions": [{"type": "next", "prompt": "Once upon", "answer": " a time"}]}' >t/1.json
	moe-eval --json -m "$olmoe/model" t | each 'select(.what == "score") | .n == 1 and .blind_accuracy == null'
	cp "$crops/000.png" t/2.png
	echo 27/03/2001 >t/2.txt
	run -1 --separate-stderr moe-eval --json -m "$olmoe/model" t
	grep -q 't/2: there is a picture, but the model takes none' <<<"$stderr"
	rm t/2.*
	cp "$crops/000.png" t/2.png
	echo '{"questions": [{"prompt": "What is it?", "answer": "27"}]}' >t/2.json
	moe-eval --json --chat -n 4 -m "$golden/aria/model" --answers answers t | each 'select(.what == "score") | .n >= 1'
	tail -n 1 answers | jq -e '.prompt == "<image>What is it?"'
	same "$(tail -n 1 answers | jq -r .said)" "$(moe-run --chat -n 4 -m "$golden/aria/model" -p '<image>What is it?' "$crops/000.png")"
}

@test "output" {
	shard s.tar 3
	moe-eval s.tar >want
	grep -q '^read  *all  *6' want
	grep -q '^0 *image *192 ' want
	moe-eval -o file s.tar >out
	[ ! -s out ]
	cmp want file
	needs_open_output moe-eval s.tar </dev/null
	same "$(moe-eval -q s.tar 2>&1 >/dev/null)" ''
}

@test "labels of patches are read from the picture's own rows" {
	mkdir f
	cp "$crops/003.png" f/3.png
	echo '{"kind": "read", "questions": [{"prompt": "<read>", "answer": "x", "spell": true}], "boxes": [["v", 0, 0, 4, 14], ["", 30, 0, 200, 200]]}' >f/3.json
	for layers in 4 2; do
		moe-tokenize --logits all | moe-patchify f/3.png | moe-encode | moe-embed | moe-block -l 0-$((layers - 1)) >h.sts
		moe-view --npy hidden h.sts >h.npy
		moe-eval --json --patch-layer $layers f | jq -c 'select(.what == "patches" and .kind == "read")' >out
		numpy - "$root/share/models/read/model.safetensors" out <<-'PY'
			import json, sys
			import numpy as np
			import frames
			t = frames.parse(open(sys.argv[1], "rb").read())[1]
			def load(end):
			    dtype, shape, data = next(v for k, v in t.items() if k.endswith(end))
			    bits = np.frombuffer(data, "<u2").astype("<u4") << 16
			    return (bits.view("<f4") if dtype == "BF16" else np.frombuffer(data, "<f4")).reshape(shape).astype("f8")
			norm = [k for k in t if k.endswith("norm.weight") and ".layers." not in k]
			assert len(norm) == 1, norm
			h = np.load("h.npy").astype("f8")[:64]
			x = h / np.sqrt((h * h).mean(1, keepdims=True) + 1e-6) * load(norm[0]) @ load("lm_head.weight").T
			p = x - x.max(1, keepdims=True)
			p -= np.log(np.exp(p).sum(1, keepdims=True))
			# 70 x 14 becomes 128 x 26: "v" ends in column 7.3, and what is hidden begins in column 54.9, in the patch of columns 48 to 55.
			want = [(16 * r, ord("v") - 32 + 5) for r in range(4)] + [(16 * r + c, 0) for r in range(4) for c in range(1, 6)]
			o = json.load(open(sys.argv[2]))
			logprob = np.mean([p[r, i] for r, i in want])
			right = sum(int(p[r].argmax() == i) for r, i in want)
			assert (o["n"], o["right"]) == (len(want), right), (o, len(want), right)
			assert abs(o["logprob"] - logprob) < 1e-4, (o, logprob)
		PY
	done
	refuses 2 'model has 4 layers' moe-eval --patch-layer 5 f
}
