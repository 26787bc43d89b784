# locale.bats: a locale with a decimal comma and another order of letters changes no program's numbers, names or messages.
load helper

# german COMMAND...: in that locale, which is made here where its sources are installed.
german() { LOCPATH=$PWD/locale LC_ALL=de_DE.UTF-8 LANGUAGE=de "$@"; }

# same_in_german COMMAND...: standard output and error, and the exit status.
same_in_german() {
	local here=0 there=0
	cat >input
	LC_ALL=C "$@" <input >here.out 2>here.err || here=$?
	german "$@" <input >there.out 2>there.err || there=$?
	same "$there" "$here"
	cmp there.out here.out
	cmp there.err here.err
}

@test "thirteen programs in German" {
	mkdir locale
	if localedef -i de_DE -f UTF-8 "$PWD/locale/de_DE.UTF-8" 2>/dev/null; then
		same "$(german bash -c 'printf %.1f 1,5')" 1,5          # the locale is really there
	fi
	for kind in tokens patches features hidden attended routed; do
		stream $kind
	done
	moe-block -l 0- <hidden.sts >last.sts
	same_in_german moe-tokenize --for-each "$demo" </dev/null
	same_in_german moe-patchify "$word" <tokens.sts
	same_in_german moe-encode <patches.sts
	same_in_german moe-embed <features.sts
	same_in_german moe-attend -l 0 <hidden.sts
	same_in_german moe-route -l 0 --temperature 0.5 --stats <attended.sts
	same_in_german moe-expert -l 0 <routed.sts
	same_in_german moe-block -l 0- --temperature 0.5 --stats=tsv <hidden.sts
	same_in_german moe-decode --json <last.sts
	same_in_german moe-run --json --route-temperature 1.5 --stats=json "$demo" </dev/null
	same_in_german moe-run nowhere.png </dev/null
	same_in_german moe-view -n 3 <routed.sts
	same_in_german moe-view --json -n 3 <routed.sts
	same_in_german moe-diff --rtol 1e-3 --atol 0.5 hidden.sts attended.sts </dev/null
	same_in_german moe-info </dev/null
	same_in_german moe-info --json </dev/null
	same_in_german moe-run --temperature 1,5 "$word" </dev/null
	same "$(cat there.err)" "moe-run: --temperature 1,5: expected a number from 0 to 100"
}
