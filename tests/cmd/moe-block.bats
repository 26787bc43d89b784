load helper

@test "help, version and bad options" {
	has_help moe-block
	refuses_bad_options moe-block
	refuses 2 'l is missing.*0 to 3' moe-block </dev/null
	refuses 2 '0 to 3' moe-block -l 2-1 </dev/null
	refuses 2 '0 to 3' moe-block -l 2-4 </dev/null
	refuses 2 '0 to 3' moe-block -l 1- -l , </dev/null
}

@test "terminals, closed and empty input, full output" {
	stream hidden
	refuses_terminals "moe-block -l 0-" hidden.sts
	never_hangs moe-block -l 0-
	needs_open_output moe-block -l 0- <hidden.sts
}

@test "-o replaces a file only when all is done" {
	stream hidden
	head -c 1000 hidden.sts >cut
	writes_atomically hidden.sts cut moe-block -l 0-
}

@test "the rows behind all layers are those of the reference" {
	for name in terminal exact_32x128 price_large; do
		moe-tokenize | moe-patchify "$reader/pics/$name.png" | moe-encode | moe-embed | moe-block -l 0- >last.sts
		numpy "$frames_py" check last.sts
		agrees last.sts hidden "$reader/cases/$name.safetensors" 3.expert
	done
	for name in one short long; do
		case_of olmoe $name prompt | head -c -1 | moe-tokenize -m "$olmoe/model" - | moe-embed -m "$olmoe/model" | moe-block -m "$olmoe/model" -l 0- >last.sts
		agrees last.sts hidden "$olmoe/cases/$name.safetensors" 3.expert
	done
}

@test "0-, 0-3 and two halves are the same layers" {
	stream hidden
	moe-block --no-pg -l 0- <hidden.sts >all.sts
	moe-block --no-pg -l 0-3 <hidden.sts | cmp - all.sts
	moe-block --no-pg -l 0-1 <hidden.sts | moe-block --no-pg -l 2- | cmp - all.sts
}

@test "--stats gives the table of each of its layers, as moe-route does for its own" {
	stream hidden
	moe-block -l 1-2 --any-order --stats=json:stats.json <hidden.sts >/dev/null
	same "$(jq -c .layer stats.json | xargs)" "1 2"
	moe-attend -l 1 --any-order <hidden.sts | moe-route -l 1 --stats=json:one.json >/dev/null
	same "$(head -n 1 stats.json)" "$(cat one.json)"
}

@test "what-if options do in a block what they do in a router" {
	stream attended
	stream hidden
	for how in '--top-k 1' '--drop 3,5-6' '--force 0' '--temperature 4'; do
		# shellcheck disable=SC2086
		moe-block --no-pg -l 0 $how <hidden.sts >block.sts
		# shellcheck disable=SC2086
		moe-route --no-pg -l 0 $how <attended.sts | moe-expert --no-pg -l 0 | moe-diff -q - block.sts
		moe-block --no-pg -l 0 <hidden.sts >plain.sts
		run -1 moe-diff -q plain.sts block.sts
	done
}
