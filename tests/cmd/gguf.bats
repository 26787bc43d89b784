# gguf.bats: models in GGUF files.
load helper

gguf=$golden/gguf
q8=$gguf/qwen3moe-q8_0.gguf

# change FILE OUT 'BYTES-CODE': a copy of the file in which Python code changed the bytes b (a bytearray).
change() { numpy -c 'import sys; b = bytearray(open(sys.argv[1], "rb").read()); exec(sys.argv[3]); open(sys.argv[2], "wb").write(b)' "$@"; }

@test "what the file says of itself" {
	moe-info "$q8" >said
	grep -q '^family  *qwen3moe$' said
	grep -q '^experts  *4 of width 256, 2 per token$' said
	same "$(moe-info --json "$q8" | jq .parameters)" 2276864
	moe-info --spec "$q8" | grep -qx 'attention.rope.theta = 1000000'
}

@test "the same text with one thread and with two" {
	same "$(moe-run -m "$q8" -t 1 -n 20 -p 'The licenses')" "$(moe-run -m "$q8" -t 2 -n 20 -p 'The licenses')"
}

@test "fast: threads, batch, chunks, cuts and instructions do not change a bit, for any type" {
	local level type prompts=$'The licenses\nYou may copy and distribute verbatim copies of the Program\nA'
	printf '%s\n' "$prompts" >prompts
	for type in q8_0 q4_0 q4_k q6_k bf16; do
		moe-convert -q "$q8" m.gguf --type "$type"
		export MOE_MODEL=m.gguf
		moe-run --math fast --json -n 10 --prompts prompts -t 1 --batch 1 >want
		moe-run --math exact --json -n 10 --prompts prompts >exact
		[ "$type" = bf16 ] || [ "$(cat want)" != "$(cat exact)" ]
		moe-run --math fast --json -n 10 --prompts prompts -t 2 | cmp - want
		moe-run --math fast --json -n 10 --prompts prompts -t 3 --batch 2 | cmp - want
		for level in c avx2 avx-vnni avx512 vnni amx; do
			[ "$type" = bf16 ] || moe-run --math fast --cpu "$level" --json -n 10 --prompts prompts | cmp - want
		done
		moe-run --math fast --json -p 'You may copy and distribute verbatim copies of the Program' -n 1 >want
		moe-tokenize --math fast 'You may copy and distribute verbatim copies of the Program' | moe-embed --chunk 3 | moe-block -l 0 |
			moe-attend -l 1 -t 1 | moe-route -l 1 | moe-expert -l 1 -t 2 | moe-decode --json -n 1 | cmp - want
	done
}

@test "damaged files are refused with the reason" {
	head -c 100000 "$q8" >cut.gguf
	refuses 2 'cut.gguf: tensor ".*" reaches beyond the end of the file' moe-info cut.gguf
	head -c 1000 "$q8" >head.gguf
	refuses 2 'head.gguf: byte [0-9]+: .*' moe-info head.gguf
	change "$q8" arch.gguf 'i = b.index(b"qwen3moe"); b[i:i + 8] = b"qwen9moe"'
	refuses 2 'arch.gguf: no family knows general.architecture "qwen9moe"' moe-info arch.gguf
	change "$q8" name.gguf 'i = b.index(b"blk.0.attn_q.weight"); b[i:i + 5] = b"blk.7"'
	refuses 2 'name.gguf: tensor "blk.0.attn_q.weight" is missing' moe-info name.gguf
	change "$q8" key.gguf 'i = b.index(b"qwen3moe.expert_count"); b[i + 9:i + 12] = b"exq"'
	refuses 2 'key.gguf \(family qwen3moe\): setting router.experts' moe-info key.gguf
	printf 'no model' >text
	refuses 2 'text: neither a directory with a model nor a GGUF file' moe-info text
}

@test "a text family as a GGUF file is the same model: ids of moe-run, and its log-probabilities" {
	for family in olmoe:olmoe qwen2moe:qwen2moe qwen3moe:qwen3moe mixtral:llama; do
		model=$golden/${family%:*}/model
		numpy "$root/tests/cmd/gguf.py" "${family#*:}" "$model" model.gguf
		moe-run -m model.gguf --json -n 8 -p 'You may copy and distribute' >got
		moe-run -m "$model" --json -n 8 -p 'You may copy and distribute' >want
		same "$(jq -c .ids got)" "$(jq -c .ids want)"
		jq -s -e '(.[0].logprob - .[1].logprob) | fabs < 1e-5' got want >/dev/null          # Mixtral's turned pairs add in another order
		same "$(moe-info --json model.gguf | jq .parameters)" "$(moe-info --json "$model" | jq .parameters)"
	done
}

@test "several files are one model; one that is missing is named" {
	numpy "$root/tests/cmd/gguf.py" olmoe "$olmoe/model" whole.gguf
	numpy - whole.gguf <<-'PY'
		import struct, sys
		b = open(sys.argv[1], "rb").read()
		n, = struct.unpack_from("<Q", b, 8)
		empty = b"GGUF" + struct.pack("<IQQ", 3, 0, 0)
		open("m-00001-of-00002.gguf", "wb").write(b)
		open("m-00002-of-00002.gguf", "wb").write(empty)
	PY
	same "$(moe-run -m m-00001-of-00002.gguf -n 5 -p Hello)" "$(moe-run -m whole.gguf -n 5 -p Hello)"
	rm m-00002-of-00002.gguf
	refuses 2 'm-00002-of-00002.gguf: cannot open' moe-info m-00001-of-00002.gguf
}
