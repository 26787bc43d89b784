# readme.bats: what the README shows of routing is what the programs do.
load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	ln -s "$root/share" share
	mkdir path
	ln -s "$(numpy -c 'import sys; print(sys.executable)')" path/python3
	PATH=$PWD/path:$PATH
	unset MOE_MODEL
}

# The shell commands of the section with this title.
section() { awk -v title="## $1" '$0 == title { on = 1; next } /^## / { on = 0 } on && /^```/ { code = /^```sh/; next } on && code' "$root/README.md"; }

@test "the nine things that can be asked of routing: each command of the README runs, and leaves what it says" {
	section 'See and steer the routing' >commands
	same "$(grep -c '^[^P]' commands)" 9
	bash -euo pipefail commands >out
	grep -q '^layer 4: 8 experts, top 2' out
	grep -q 'differ' out
	for trace in seen without vllm; do
		moe-view --check $trace.sts
	done
	same "$(moe-view --json vllm.sts | jq -c .experts | xargs)" '[1,0] [2,3]'
	grep -qi '<svg' seen.html
	same "$(moe-view --json seen.sts | jq -s 'map(select(.layer == 0)) | length')" 71
	run -1 moe-diff seen.sts without.sts
}

@test "the pipeline of the README reads what it shows" {
	awk '/^\$ mkfifo loop/ { on = 1 } on && /^```/ { exit } on' "$root/README.md" >shown
	sed 's/^\$ //; /^share/d' shown >commands
	grep '^share' shown >want
	bash -euo pipefail commands 2>err | sort >got
	sort want | diff - got
}

@test "the scene of the README is answered as it shows" {
	same "$(moe-run --chat -p 'what is at the left?' share/ask/scene.png)" "$(sed -n '/at the left?/{n;p;q}' "$root/README.md")"
}
