load helper

# What a test of speed can check is that figures are there and agree with each other; how large they are is the machine's affair.
q8=$golden/gguf/qwen3moe-q8_0.gguf

# A GGUF file without a tokenizer.
without_tokenizer() { numpy -c 'import sys; b = open(sys.argv[1], "rb").read(); open("plain.gguf", "wb").write(b.replace(b"tokenizer.ggml.tokens", b"tokenizer.ggml.nothin"))' "$1"; }

@test "help, version and bad options" {
	has_help moe-bench
	refuses_bad_options moe-bench
	refuses 2 usage moe-bench
	refuses 2 usage moe-bench speed
	refuses 2 usage moe-bench model one two
	refuses 2 usage moe-bench kernels one
	refuses 2 'nowhere: no such model' moe-bench model nowhere
	refuses 2 'math quick: exact and fast are known' moe-bench model --math quick
	refuses 2 'math quick: exact and fast are known' moe-bench kernels --math quick
	refuses 2 'nothing to measure' moe-bench model -p 0 -n 0
	refuses 2 'prompt-tokens -1: expected a whole number' moe-bench model -p -1
	refuses 2 'repeat 0: expected a whole number from 1' moe-bench model -r 0
	refuses 2 'type Q9_0: expected F32' moe-bench kernels --type Q9_0
	refuses 2 'type I32: expected F32' moe-bench kernels --type I32
	refuses 2 'products int8: bf16 and f32 are known' moe-bench train --products int8
	refuses 2 'optimiser sgd: muon and adamw are known' moe-bench train --optimiser sgd
}

@test "closed input, full output" {
	never_hangs moe-bench model -p 4 -n 2 -r 1
	needs_open_output moe-bench model -p 4 -n 2 -r 1 </dev/null
	needs_open_output moe-bench model -p 4 -n 2 -r 1 --json </dev/null
}

@test "model: a row for the prompt and one for generation, whose figures agree" {
	for model in "$first" "$olmoe/model" "$q8"; do
		moe-bench model "$model" -p 33 -n 5 -r 4 -t 2 --json >rows
		same "$(jq -c '[.test, .tokens, .threads, (.runs | length)]' rows | tr -d '\n')" '["prompt",33,2,4]["generation",5,2,4]'
		each '.runs == (.runs | sort) and .least == .runs[0] and .most == .runs[-1] and .least > 0' <rows
		each '(.runs[1] + .runs[2]) / 2 - .tokens_per_second | fabs < 1e-3' <rows
		# The parts are the whole time, so their sum is between those of the slowest and the quickest run.
		each '(.seconds_per_token | add) as $s | $s < 1.01 / .least and $s > 0.99 / .most' <rows
		each '.seconds_per_token | .attention > 0 and .router > 0 and .experts > 0 and .head > 0 and .other >= 0' <rows
		each '.gflops > 0 and .memory_bytes > 1e6' <rows
		same "$(jq -c 'has("weight_bytes_per_token")' rows | tr '\n' ' ')" 'false true '
	done
}

@test "model: the bytes that a token reads are those of its active weights" {
	moe-info --json "$olmoe/model" >info
	moe-bench model "$olmoe/model" -p 0 -n 2 -r 1 --json >row
	# In BF16. Norms are not among them: before attention, of queries and keys, before the experts, and the last.
	same "$(jq .weight_bytes_per_token row)" "$(jq '2 * (.active_parameters + .head_parameters - (4 * .layers + 1) * .hidden)' info)"
	same "$(jq .packed_bytes row)" 0
}

@test "model: --math and its default, the kernels, no tokenizer needed" {
	same "$(moe-bench model "$q8" -p 4 -n 0 -r 1 --json | jq -r .math)" fast
	same "$(moe-bench model "$q8" -p 4 -n 0 -r 1 --json --math exact | jq -r '"\(.math) \(.packed_bytes)"')" 'exact 0'
	same "$(moe-bench model "$q8" -p 4 -n 0 -r 1 --json --cpu c | jq -r .kernels)" c
	without_tokenizer "$q8"
	refuses 2 plain.gguf moe-run -m plain.gguf -p Hello
	moe-bench model plain.gguf -p 4 -n 1 -r 1 --json | each '.tokens_per_second > 0'
}

@test "model: the table" {
	moe-bench model -p 8 -n 3 -r 1 >table
	same "$(wc -l <table)" 5
	same "$(grep -v '^#' table | awk '{print $1, $2}' | tr '\n' ';')" 'test tokens;prompt 8;generation 3;'
	same "$(awk '$1 == "prompt" {print NF}' table)" 17
}

@test "kernels: peaks, and products of a type against them" {
	moe-bench kernels --type q8_0 --json -t 2 >rows
	same "$(jq -r 'select(.peak) | .peak' rows | grep -v tiles | tr '\n' ' ')" 'f32 bf16 int8 read '
	jq 'select(.peak)' rows | each '(.gflops // .gigabytes_per_second) > 0 and .threads == 2 and (.how | length) > 0'
	same "$(jq -c 'select(.type) | [.type, .math, .peak_of, .outputs, .inputs, .rows]' rows)" '["Q8_0","fast","int8",2048,2048,512]
["Q8_0","fast","int8",2048,2048,1]
["Q8_0","fast","int8",1024,2048,64]
["Q8_0","fast","int8",1024,2048,1]'
	jq 'select(.type)' rows | each '.gflops > 0 and .share_of_peak > 0 and .share_of_read > 0 and .least_seconds <= .seconds and .seconds <= .most_seconds'
	jq 'select(.type)' rows | each '.gflops * .seconds * 1e9 / (2 * .rows * .inputs * .outputs) - 1 | fabs < 1e-6'
}

@test "kernels: the table, other instructions, exact arithmetic" {
	moe-bench kernels --type F32 --cpu avx2 -t 1 >table
	same "$(grep -c '^# ' table)" 5
	same "$(grep '^F32 ' table | awk '{print $2, $6}' | tr '\n' ';')" 'exact 512;exact 1;exact 64;exact 1;'
	grep -q '^# f32 .*256 bits' table
	same "$(moe-bench kernels --type Q4_0 --math exact --json -t 1 | jq -r 'select(.type) | .math' | sort -u)" exact
}
