# conversation.bats: moe-run -i at a terminal, and what goes with it.
load helper

export MOE_MODEL=$golden/qwen2moe/model

# talk PROGRAM ARGS... <<SCRIPT: runs the program on a terminal of its own. Each line of SCRIPT is a line of Python, which has send(TEXT), and
# wait(TEXT, after=0): what was shown up to TEXT, from byte `after` on, at most 20 seconds later.
talk() {
	local script=$BATS_TEST_TMPDIR/script.py
	cat >"$script"
	numpy - "$script" "$@" <<-'PY'
		import os, pty, select, sys, time
		pid, fd = pty.fork()
		if not pid:
		    os.execvp(sys.argv[2], sys.argv[2:])
		shown = b""
		def more(seconds):
		    global shown
		    if not select.select([fd], [], [], seconds)[0]:
		        return False
		    try:
		        piece = os.read(fd, 65536)
		    except OSError:
		        return False
		    shown += piece
		    return bool(piece)
		def wait(text, after=0):
		    end = time.time() + 20
		    while text.encode() not in shown[after:]:
		        assert time.time() < end, (text, shown[-300:])
		        more(0.1)
		    return shown.index(text.encode(), after) + len(text.encode())
		def send(text):
		    os.write(fd, text.encode())
		exec(open(sys.argv[1]).read())
		status = os.waitpid(pid, 0)[1]
		assert status == 0, (status, shown[-300:])
	PY
}

# A model without an end token, whose answers end by Ctrl-C alone.
endless() {
	local f
	cp -r "$olmoe/model" endless
	chmod -R u+w endless
	for f in config generation_config; do
		jq 'del(.eos_token_id)' "$olmoe/model/$f.json" >endless/$f.json
	done
	same "$(moe-run -m endless --chat -p Hello -n 3000 --json | jq -c '[.finish, .generated_tokens]')" '["length",3000]'
}

@test "Ctrl-C stops the answer, not the program; at the prompt it says how to end" {
	endless
	talk moe-run -m endless -i -n 1000000 <<-'PY'
		at = wait("> ")
		send("Hello\n")
		at = wait("Hello\r\n", at)
		while len(shown) < at + 20:
		    more(1)
		send("\x03")
		at = wait("\r\n> ", at)                 # the answer is over
		assert b"(/quit" not in shown[:at], shown[-300:]
		assert not more(0.3)                    # and stays so
		send("\x03")
		at = wait("(/quit or Ctrl-D ends)\r\n> ", at)
		send("/reset\n")
		at = wait("> ", at)
		send("\x04")
	PY
}

@test "an interrupted answer is part of the conversation, and the next one goes on" {
	endless
	talk moe-run -m endless -i -n 1000000 <<-'PY'
		at = wait("> ")
		send("Hello\n")
		at = wait("Hello\r\n", at)
		while len(shown) < at + 20:
		    more(1)
		send("\x03")
		at = wait("\r\n> ", at)
		send("And now?\n")
		at = wait("And now?\r\n", at)
		while len(shown) < at + 20:
		    more(1)
		send("\x03")
		at = wait("\r\n> ", at)
		send("/quit\n")
	PY
}

@test "draws, penalty and stop strings as with a single prompt" {
	for how in '--temperature 1 --seed 4' '--repetition-penalty 3' '--stop e' '--top-k 3 --seed 9 --stop zz'; do
		# shellcheck disable=SC2086 # several words
		same "$(printf 'Hello\n' | moe-run -i -n 12 $how)" "$(moe-run -n 12 $how --chat -p Hello)"
	done
	same "$(printf 'Hello\n' | moe-run -i -n 6 --system 'Be brief.')" "$(moe-run -n 6 --system 'Be brief.' -p Hello)"
	[ "$(printf 'Hello\n' | moe-run -i -n 12 --temperature 1 --seed 4)" != "$(printf 'Hello\n' | moe-run -i -n 12)" ]
	same "$(printf 'Hello' | moe-run -i -n 6)" "$(printf 'Hello\r\n\n' | moe-run -i -n 6)"
	same "$(printf '' | moe-run -i)" ''
}

@test "pictures are prepared as the options say" {
	export MOE_MODEL=$golden/aria/model
	picture=$golden/aria/pics/wide.png
	for how in '--max-image-size 490' '--max-image-size 490 --split'; do
		# shellcheck disable=SC2086 # several words
		same "$(printf 'What is this?\n' | moe-run -i -n 4 $how "$picture")" "$(moe-run -n 4 $how --chat -p '<image>What is this?' "$picture")"
	done
	refuses 2 'pictures of 11 pixels' moe-run -i --max-image-size 11 "$picture"
}

@test "options that a conversation would have to ignore" {
	refuses 2 'i is a conversation' moe-run -i --json
	refuses 2 'i is a conversation' moe-run -i --timings
	refuses 2 'i is a conversation' moe-run -i --prompts /dev/null
	refuses 2 'operands and by /image' moe-run -i --frames 2
	refuses 2 'operands and by /image' moe-run -i --files-from /dev/null
	refuses 2 'the model as it is' moe-run -i --drop 1
	refuses 2 'the model as it is' moe-run -i --stats=json
	refuses 2 'on standard output' moe-run -i -o file
	[ ! -e file ]
	refuses 2 'on standard output' moe-run -i -H
	refuses 2 'no chat format' moe-run -m "$first" -i --system 'Be brief.'
}
