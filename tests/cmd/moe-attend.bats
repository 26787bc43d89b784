load helper

@test "help, version and bad options" {
	has_help moe-attend
	refuses_bad_options moe-attend
	refuses 2 'l is missing.*0 to 3' moe-attend </dev/null
	refuses 2 '0 to 3' moe-attend -l 4 </dev/null
	refuses 2 '0 to 3' moe-attend -l x </dev/null
	refuses 2 '0 to 3' moe-attend -l -1 </dev/null
	refuses 2 'one layer.*moe-block' moe-attend -l 0-1 </dev/null
	refuses 2 'no operand' moe-attend -l 0 operand </dev/null
}

@test "terminals, closed and empty input, full output" {
	stream hidden
	refuses_terminals "moe-attend -l 0" hidden.sts
	same "$(on_terminal moe-attend)" "moe-attend: usage: moe-attend [options] -l LAYER (try --help)"
	never_hangs moe-attend -l 0
	needs_open_output moe-attend -l 0 <hidden.sts
}

@test "-o replaces a file only when all is done" {
	stream hidden
	head -c 1000 hidden.sts >cut
	writes_atomically hidden.sts cut moe-attend -l 0
}

@test "the rows behind the attention of every layer are those of the reference" {
	moe-tokenize | moe-patchify "$reader/pics/terminal.png" | moe-encode | moe-embed >at.sts
	for l in 0 1 2 3; do
		moe-attend -l $l <at.sts >attended.sts
		numpy "$frames_py" check attended.sts
		agrees attended.sts hidden "$reader/cases/terminal.safetensors" $l.attend
		same "$(moe-view --json attended.sts | jq -r 'select(.kind == "hidden").meta."moe.at"')" $l.attend
		moe-route -l $l <attended.sts | moe-expert -l $l >at.sts
	done
	case_of olmoe one prompt | head -c -1 | moe-tokenize -m "$olmoe/model" - | moe-embed -m "$olmoe/model" | moe-attend -m "$olmoe/model" -l 0 >attended.sts
	agrees attended.sts hidden "$olmoe/cases/one.safetensors" 0.attend
}

@test "--only-wanted leaves the rows that nobody reads out of the last layer, and the logits as they are" {
	stream hidden
	moe-block -l 0-2 <hidden.sts >before.sts
	moe-attend -l 3 --only-wanted <before.sts >wanted.sts
	same "$(numpy "$frames_py" count hidden <wanted.sts)" 1
	moe-route -l 3 <wanted.sts | moe-expert -l 3 | moe-decode --logits | moe-view --npy logit >some.npy
	moe-block -l 3 <before.sts | moe-decode --logits | moe-view --npy logit >all.npy
	cmp some.npy all.npy
}

@test "stages out of order are refused, and accepted with --any-order" {
	stream hidden
	refuses_stage() {
		local got=0
		"$@" <hidden.sts >/dev/null 2>err || got=$?
		same "$got" 2
		grep -q "^$1: .*\"embed\"" err
	}
	refuses_stage moe-attend -l 1
	moe-attend -l 1 --any-order <hidden.sts | moe-view --check
}
