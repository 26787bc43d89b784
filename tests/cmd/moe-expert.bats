load helper

@test "help, version and bad options" {
	has_help moe-expert
	refuses_bad_options moe-expert
	refuses 2 'l is missing.*0 to 3' moe-expert </dev/null
	refuses 2 'one layer.*moe-block' moe-expert -l 0- </dev/null
	refuses 2 'no operand' moe-expert -l 0 operand </dev/null
}

@test "terminals, closed and empty input, full output" {
	stream routed
	refuses_terminals "moe-expert -l 0" routed.sts
	never_hangs moe-expert -l 0
	needs_open_output moe-expert -l 0 <routed.sts
}

@test "-o replaces a file only when all is done" {
	stream routed
	head -c 1000 routed.sts >cut
	writes_atomically routed.sts cut moe-expert -l 0
}

@test "the rows behind the experts of every layer are those of the reference" {
	moe-tokenize | moe-patchify "$reader/pics/terminal.png" | moe-encode | moe-embed >at.sts
	for l in 0 1 2 3; do
		moe-attend -l $l <at.sts | moe-route -l $l | moe-expert -l $l >next.sts
		mv next.sts at.sts
		numpy "$frames_py" check at.sts
		agrees at.sts hidden "$reader/cases/terminal.safetensors" $l.expert
	done
	case_of olmoe one prompt | head -c -1 | moe-tokenize -m "$olmoe/model" - | moe-embed -m "$olmoe/model" >at.sts
	for l in 0 1 2 3; do
		moe-attend -m "$olmoe/model" -l $l <at.sts | moe-route -m "$olmoe/model" -l $l | moe-expert -m "$olmoe/model" -l $l >next.sts
		mv next.sts at.sts
		agrees at.sts hidden "$olmoe/cases/one.safetensors" $l.expert
	done
}

@test "what the router added is gone again, the rest of the frame is still there" {
	stream attended
	moe-route -l 0 <attended.sts | moe-expert -l 0 >behind.sts
	shape() { moe-view --json "$1" | jq -c 'select(.kind == "hidden") | [(.tensors | map([.name, .dtype, .shape])), (.meta | del(."moe.crc32", ."moe.at"))]'; }
	same "$(shape behind.sts)" "$(shape attended.sts)"
}

@test "a router of the user's gives expert_id and weight alone" {
	stream routed
	numpy -c '
import sys, frames
for raw in frames.split(sys.stdin.buffer):
    meta, tensors = frames.parse(raw)
    for name in ("router_logit", "choice"):
        tensors.pop(name, None)
    sys.stdout.buffer.write(frames.build(meta, tensors))' <routed.sts | moe-view --seal | moe-expert --no-pg -l 0 >foreign.sts
	moe-expert --no-pg -l 0 <routed.sts >own.sts
	moe-diff -q foreign.sts own.sts
}
