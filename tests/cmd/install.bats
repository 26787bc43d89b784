load helper

# Make is called as the tests were: with the flags of the environment, so that nothing is built again.
installed() { make -s -C "$root" MODE="${MODE:-release}" "$@" 2>make.err >&2; }

@test "what is installed runs from where it is, with its own share" {
	installed install DESTDIR="$PWD/root" PREFIX=/opt/moe
	there=$PWD/root/opt/moe
	unset MOE_MODEL
	same "$(ls "$there/bin" | xargs)" "$(cd "$root/cmd" && ls moe-*.c | sed 's/\.c$//' | xargs)"
	same "$("$there/bin/moe-run" "$word")" Forest
	same "$("$there/bin/moe-info" | sed -n 's/^model *//p' | xargs dirname)" "$there/bin/../share/moe/models"
	PATH=$there/bin:$PATH moe-run -H "$word"
	PATH=$there/bin:$PATH moe-run --trace trace.sts "$word" >/dev/null
	"$there/bin/moe-plot" -o page.html trace.sts
	grep -q 'data-of-layer' page.html
	ln -s "$there/bin/moe-run" linked
	same "$(./linked "$word")" Forest
	mv "$there/share/moe" "$there/share/gone"
	status=0
	"$there/bin/moe-run" "$word" 2>err || status=$?
	same "$status" 2
	grep -q "^moe-run: .*no such model directory" err
}

@test "the library, pages and completions are installed too" {
	installed install DESTDIR="$PWD/root" PREFIX=/usr
	[ -s root/usr/lib/libmoe.a ]
	[ -s root/usr/share/zsh/site-functions/_moe ]
	[ -s root/usr/share/fish/vendor_completions.d/moe.fish ]
	[ -s root/usr/share/bash-completion/completions/moe-run ]
	for page in "$root"/man/*.[1-9]; do
		[ -e "$page" ] || continue
		cmp "$page" "root/usr/share/man/man${page##*.}/${page##*/}"
	done
}

@test "uninstall leaves nothing of it, and nothing else is touched" {
	mkdir -p root/usr/bin root/usr/share/man/man1
	echo mine | tee root/usr/bin/moe-mine >root/usr/share/man/man1/mine.1
	installed install DESTDIR="$PWD/root" PREFIX=/usr
	[ "$(find root -type f | wc -l)" -gt 20 ]
	installed uninstall DESTDIR="$PWD/root" PREFIX=/usr
	same "$(find root -type f -o -type l | sort | xargs)" "root/usr/bin/moe-mine root/usr/share/man/man1/mine.1"
}
