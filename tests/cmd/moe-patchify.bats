load helper

@test "help, version and bad options" {
	has_help moe-patchify
	refuses_bad_options moe-patchify
	refuses 2 usage moe-patchify </dev/null
	refuses 2 'takes no pictures' moe-patchify -m "$olmoe/model" "$word" </dev/null
}

@test "terminals, closed and empty input, full output" {
	stream tokens
	refuses_terminals "moe-patchify $word" tokens.sts
	never_hangs moe-patchify "$word"
	never_hangs moe-patchify --source "$word"
	never_hangs moe-patchify -
	needs_open_output moe-patchify "$word" <tokens.sts
}

@test "-o replaces a file only when all is done" {
	stream tokens
	moe-tokenize --for-each "$demo" >many.sts
	writes_atomically tokens.sts many.sts moe-patchify "$word"
}

@test "the patches are those of the reference" {
	for name in terminal exact_32x128 price_large; do
		moe-tokenize | moe-patchify "$reader/pics/$name.png" >patches.sts
		numpy "$frames_py" check patches.sts
		moe-view --npy pixel patches.sts >pixel.npy
		numpy - "$reader/cases/$name.safetensors" <<-'PY'
			import sys
			import numpy as np
			import frames
			_, shape, data = frames.parse(open(sys.argv[1], "rb").read())[1]["pixel_values"]
			want = np.frombuffer(data, "<f4").reshape(shape)
			mine = np.load("pixel.npy")                             # [4 x 16 patches, 3 x 8 x 8]
			mine = mine.reshape(4, 16, 3, 8, 8).transpose(2, 0, 3, 1, 4).reshape(3, 32, 128)
			assert abs(mine - want).max() < 1e-6, abs(mine - want).max()
		PY
		same "$(moe-view -n 9 --json patches.sts | jq -c 'select(.kind == "patches").tensors[] | select(.name == "grid").values == [4, 16]')" true
	done
}

@test "patches follow their sequence's tokens at once, in order" {
	moe-tokenize --for-each "$demo" | moe-patchify "$demo" 2>notes | moe-view --json >view
	same "$(jq -r .kind view | xargs)" "head $(yes tokens patches | head -n 8 | xargs) end"
	same "$(jq -r 'select(.kind == "patches").meta."moe.seq"' view | xargs)" "0 1 2 3 4 5 6 7"
	same "$(cat notes)" "moe-patchify: 1 file passed over: no picture by name"
	moe-tokenize --for-each "$demo" | moe-patchify -q "$demo" 2>&1 >/dev/null | cmp - /dev/null
}

@test "--source and - make it the first stage: a stream of patches alone" {
	moe-tokenize --for-each "$demo" | moe-patchify -q "$demo" >behind.sts
	moe-patchify -q --source "$demo" >source.sts </dev/null
	numpy "$frames_py" check source.sts
	moe-view --json source.sts >view
	same "$(jq -r .kind view | xargs)" "head $(yes patches | head -n 8 | xargs) end"
	same "$(jq -r 'select(.kind == "patches").meta."moe.name"' view)" "$(ls "$demo"/*.png)"
	patches() { jq -c 'select(.kind == "patches") | [.meta."moe.seq", .tensors]'; }
	same "$(patches <view)" "$(moe-view --json behind.sts | patches)"
	moe-patchify - <"$word" >dash.sts
	same "$(moe-view --json dash.sts | jq -r 'select(.kind == "patches").meta."moe.name"')" -
	moe-patchify --source "$word" | moe-diff -q dash.sts -
	moe-patchify -q --source "$demo" | moe-encode >features.sts
	same "$(moe-view --json features.sts | jq -r .kind | xargs)" "head $(yes features | head -n 8 | xargs) end"
}

@test "folders, shards and lists are read as moe-tokenize --for-each reads them" {
	mkdir some
	cp "$crops"/00[0-4].png some
	tar -cf some.tar -C some .
	(cd some && zip -q ../some.zip ./*.png)
	ls some/*.png >list
	moe-tokenize --no-pg --for-each some | moe-patchify --no-pg some >folder.sts
	moe-tokenize --no-pg --for-each some | moe-patchify --no-pg --files-from list | cmp - folder.sts
	tr '\n' '\0' <list >list0
	moe-tokenize --no-pg --for-each some | moe-patchify --no-pg -0 --files-from list0 | cmp - folder.sts
	moe-tokenize --no-pg --for-each some | moe-patchify --no-pg some/*.png | cmp - folder.sts
	moe-tokenize --no-pg --for-each some | moe-patchify --no-pg some.zip | cmp - folder.sts
	moe-tokenize --no-pg --for-each some.tar | moe-patchify --no-pg -q some.tar >tar.sts
	same "$(moe-view --json tar.sts | jq -c 'select(.kind == "patches").tensors[0].mean' | sort)" \
		"$(moe-view --json folder.sts | jq -c 'select(.kind == "patches").tensors[0].mean' | sort)"
}

@test "pictures and placeholders that do not agree in number are refused with both numbers" {
	stream tokens
	refuses_late() {        # the head may already have gone out
		local got=0
		"$@" >out 2>err || got=$?
		same "$got" 2
		same "$(wc -l <err)" 1
	}
	refuses_late moe-patchify "$word" "$word" <tokens.sts
	grep -q '^moe-patchify: .*1 pictures.*2 were given' err
	moe-tokenize --for-each "$demo" >many.sts
	refuses_late moe-patchify "$word" <many.sts
	grep -q '^moe-patchify: .*2 pictures.*1 were given' err
}

@test "members of a stream take the pictures one after another; only behind the last may none be left" {
	{ moe-tokenize; moe-tokenize; } | moe-patchify "$demo/word.png" "$demo/clock.png" >two.sts
	same "$(moe-view --check two.sts)" "two.sts: 8 frames, all good"
	same "$(moe-encode <two.sts | moe-embed | moe-block -l 0- | moe-decode)" "F
1"
	{ moe-tokenize; moe-tokenize; } >prompts.sts
	refuses 2 'ask for 2 pictures, but 3 were given' moe-patchify "$demo/word.png" "$demo/clock.png" "$demo/date.png" -o out.sts <prompts.sts
	refuses 2 'ask for 2 pictures, but only 1 were given' moe-patchify "$demo/word.png" -o out.sts <prompts.sts
}
