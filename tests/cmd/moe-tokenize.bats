load helper

@test "help, version and bad options" {
	has_help moe-tokenize
	refuses_bad_options moe-tokenize
	refuses 2 usage moe-tokenize one two </dev/null
	refuses 2 'none, last or all' moe-tokenize --logits some </dev/null
	refuses 2 'go together' moe-tokenize --generate </dev/null
	refuses 2 'go together' moe-tokenize --loop fifo </dev/null
}

@test "closed and empty input, full output" {
	never_hangs moe-tokenize
	never_hangs moe-tokenize --for-each "$demo"
	never_hangs moe-tokenize --raw
	needs_open_output moe-tokenize </dev/null
}

@test "no stream is written to a terminal" {
	on_terminal moe-tokenize >shown || status=$?
	same "$status" 2
	grep -q '^moe-tokenize: .*terminal.*-o FILE' shown
	same "$(wc -l <shown)" 1
}

@test "-o replaces a file only when all is done" {
	printf '<image><read>' >good
	printf 'text before<image><read>' >bad
	writes_atomically good bad moe-tokenize -
}

@test "without a text it is the model's own prompt, one sequence without a name" {
	moe-tokenize >default.sts
	moe-tokenize '<image><read>' >same.sts
	moe-diff -q default.sts same.sts
	numpy "$frames_py" check default.sts
	same "$(moe-view --json default.sts | jq -r .kind | xargs)" "head tokens end"
	frames tokens default.sts | each '.meta | [."moe.seq", ."moe.step", ."moe.logits", ."moe.more", ."moe.name"] == ["0", "0", "last", "0", null]'
	frames tokens default.sts | each '.tensors | map([.name, .dtype, .values]) == [["token", "I32", [2, 1]], ["image", "I32", [0, -1]]]'
}

@test "the ids are those of the reference's tokenizer" {
	while read -r name; do
		case_of olmoe "$name" prompt >prompt
		truncate -s -1 prompt                                   # jq's newline
		moe-tokenize -m "$olmoe/model" - <prompt >here.sts
		agrees here.sts token "$olmoe/cases/$name.safetensors" token
	done < <(jq -r '.[].name' "$olmoe/cases.json")
}

@test "a text from the operand, from - and from --raw is the same text" {
	moe-tokenize -m "$olmoe/model" --no-pg 'naïve 漢字 <b>' >operand.sts
	printf 'naïve 漢字 <b>' | moe-tokenize -m "$olmoe/model" --no-pg - | cmp - operand.sts
	printf 'naïve 漢字 <b>' | moe-tokenize -m "$olmoe/model" --no-pg --raw | cmp - operand.sts
	printf 'x' | moe-tokenize -m "$olmoe/model" --no-pg --raw 'naïve 漢字 <b>' | cmp - operand.sts
	refuses 2 'no prompt of its own' moe-tokenize -m "$olmoe/model"
}

@test "a prompt that the family does not define is refused" {
	refuses 2 'text before its picture' moe-tokenize 'read <image>'
	refuses 2 'has 2 pictures' moe-tokenize '<image><image><read>'
	refuses 2 'has 0 pictures' moe-tokenize '<read>'
	refuses 2 'no text behind its picture' moe-tokenize '<image>'
}

@test "--for-each makes one named sequence per picture of a folder, a shard, a file and a list, in order" {
	mkdir some
	cp "$crops"/00[0-4].png some
	echo notes >some/notes.txt
	tar -C some -cf some.tar 000.png 001.png 002.png 003.png 004.png notes.txt
	(cd some && zip -q ../some.zip 004.png 002.png)
	ls some/*.png >list
	names() { moe-view --json - | jq -r 'select(.kind == "tokens") | [."meta"."moe.seq", ."meta"."moe.name"] | join(" ")' | xargs; }
	folder="0 some/000.png 1 some/001.png 2 some/002.png 3 some/003.png 4 some/004.png"
	same "$(moe-tokenize --for-each some | names)" "$folder"
	same "$(moe-tokenize --files-from list | names)" "$folder"
	same "$(tr '\n' '\0' <list | moe-tokenize --files-from - -0 | names)" "$folder"
	same "$(moe-tokenize --for-each some.tar | names)" "0 000.png 1 001.png 2 002.png 3 003.png 4 004.png"
	gzip some.tar
	same "$(moe-tokenize --for-each some.tar.gz | names)" "0 000.png 1 001.png 2 002.png 3 003.png 4 004.png"
	same "$(moe-tokenize --for-each some.zip | names)" "0 004.png 1 002.png"
	same "$(moe-tokenize --for-each some/003.png | names)" "0 some/003.png"
	moe-tokenize --for-each some -o for-each.sts
	numpy "$frames_py" check for-each.sts
	same "$(moe-view --json for-each.sts | jq -r 'select(.kind == "end").meta."moe.sequences"')" 5
}

@test "--logits says which rows are wanted; the head names the model, its tokenizer and its arithmetic" {
	for rows in none last all; do
		same "$(moe-tokenize --logits $rows | moe-view --json | jq -r 'select(.kind == "tokens").meta."moe.logits"')" $rows
	done
	moe-tokenize | frames head - | each '.meta | ."moe.stream" == "1.0" and (."moe.model" | test("^[0-9a-f]{32}$"))
		and (."moe.tokenizer" | test("^[0-9a-f]{32}$")) and ."moe.math" == "exact" and (."moe.pg" | startswith("@PG\tID:0\tPN:moe-tokenize\tCL:moe-tokenize"))'
	moe-tokenize --no-pg | frames head - | each '.meta | has("moe.pg") | not'
	same "$(moe-tokenize | moe-view --json -f 0 | jq -r '.meta."moe.model"')" "$(moe-info --json | jq -r .fingerprint)"
}
