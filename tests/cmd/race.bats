load helper

# tests/bench/race with programs that only say that they are llama-bench and moe-bench: what it makes of their figures. Nothing here measures.
PATH=$root/tests/bench:$PATH
unset LLAMA_BENCH IK_LLAMA_BENCH

# peer NAME COMMIT PP TG: a llama-bench with these rates; with -rtr 1 they are 10 higher, with more than one thread 100. Its calls go to NAME.calls.
peer() {
	cat >"$1" <<-END
		#!/bin/bash
		echo "\$*" >>"$BATS_TEST_TMPDIR/$1.calls"
		pp=$3 tg=$4
		case "\$*" in *'-rtr 1'*) pp=\$((pp + 10)) tg=\$((tg + 10)) ;; esac
		case "\$*" in *'-t 1 '*) ;; *) pp=\$((pp + 100)) tg=\$((tg + 100)) ;; esac
		echo 'warning: no GPU' >&2
		echo '[{"build_commit": "$2", "n_prompt": 512, "n_gen": 0, "avg_ts": '\$pp'.5}, {"build_commit": "$2", "n_prompt": 0, "n_gen": 64, "avg_ts": '\$tg'.5}]'
	END
	chmod +x "$1"
}

# A moe-bench whose rates are 100 and 20, then 300 and 60, then 200 and 40.
ours() {
	cat >ours <<-'END'
		#!/bin/bash
		echo "$*" >>ours.calls
		set -- 1 3 2
		n=$(($(wc -l <ours.calls) % 3))
		f=${@:$((n ? n : 3)):1}
		echo '{"test":"prompt","tokens":512,"tokens_per_second":'$((100 * f))'}'
		echo '{"test":"generation","tokens":64,"tokens_per_second":'$((20 * f))'}'
	END
	chmod +x ours
}

everyone() {
	peer llama abc1234 150 30
	peer ik def5678 390 75
	ours
	echo GGUF >m.gguf
}

@test "medians, spread and the ratio to the best setting of the best peer" {
	everyone
	race --moe ./ours --llama ./llama --ik ./ik -t 1 -r 3 -q -o out m.gguf >table 2>err
	[ ! -s err ]
	cmp table out/race.md
	grep -qF '| m | 1 | pp512 | 200.0 (100.0 to 300.0) | 150.5 (150.5 to 150.5) | 400.5 (400.5 to 400.5, rtr) | 0.50 |' table
	grep -qF '| m | 1 | tg64 | 40.0 (20.0 to 60.0) | 30.5 (30.5 to 30.5) | 85.5 (85.5 to 85.5, rtr) | 0.47 |' table
	grep -q 'llama.cpp abc1234, ik_llama.cpp def5678' table
	same "$(jq -c '[.ratios[] | .ratio * 1000 | round]' out/race.json)" '[499,468]'
	same "$(jq -c '.rows[] | select(.program == "moe" and .test == "pp512") | .runs | sort' out/race.json)" '[100,200,300]'
	same "$(head -n 1 out/race.tsv | cut -f 1-11)" "$(printf 'date\tcpu\tmodel\tthreads\ttest\tprogram\tsetting\tversion\tmedian\tleast\tmost')"
	same "$(grep -c . out/race.tsv)" $((1 + 2 * 6))
	same "$(awk -F '\t' 'NF != 12' out/race.tsv)" ''
}

@test "everyone runs once in a round, with the same file, sizes and threads" {
	everyone
	race --moe ./ours --llama ./llama --ik ./ik -t 1,2 -r 2 -q -o out m.gguf >/dev/null
	same "$(sort ours.calls | uniq -c | sed 's/^ *//')" "2 model m.gguf -p 512 -n 64 -t 1 -r 1 --json
2 model m.gguf -p 512 -n 64 -t 2 -r 1 --json"
	same "$(grep -c -- '-m m.gguf -p 512 -n 64 -t 1 -r 1 -o json' ik.calls)" 6
	same "$(grep -c -- '-m m.gguf -p 512 -n 64 -t 2 -r 1 -o json -rtr 1$' ik.calls)" 2
	same "$(jq -r '.rows[] | select(.program == "llama.cpp" and .threads == 2 and .test == "tg64" and .setting == "default") | .median' out/race.json)" 130.5
}

@test "the picture is XML with a bar for each program and test" {
	everyone
	race --moe ./ours --llama ./llama -t 1,2 -r 1 -q -o out m.gguf >/dev/null
	python3 -c 'import sys, xml.dom.minidom; d = xml.dom.minidom.parse(sys.argv[1]); print(len(d.getElementsByTagName("rect")))' out/race.svg >n
	same "$(cat n)" $((2 + 4 * 2))
	same "$(grep -c 'fill="\(black\|white\)"' out/race.svg)" 0
}

@test "a missing peer, model or program is named" {
	everyone
	refuses 2 'nobody to race against.*--llama or --ik.*race.md' race --moe ./ours m.gguf
	refuses 2 './nollama: there is no such program .the llama-bench of llama.cpp' race --moe ./ours --llama ./nollama m.gguf
	(export IK_LLAMA_BENCH=./noik && refuses 2 './noik: there is no such program .the llama-bench of ik_llama.cpp' race --moe ./ours m.gguf)
	refuses 2 './none: there is no such program .make builds it' race --moe ./none --llama ./llama m.gguf
	refuses 2 'nothing.gguf: there is no such file' race --moe ./ours --llama ./llama nothing.gguf
	refuses 2 'nothing to measure' race --moe ./ours --llama ./llama -p 0 -n 0 m.gguf
	[ ! -e race ]
}

@test "a peer that fails is named, and the others go on" {
	everyone
	printf '#!/bin/sh\necho "error: unknown model architecture" >&2\nexit 1\n' >ik
	local got=0
	race --moe ./ours --llama ./llama --ik ./ik -t 1 -r 1 -q -o out m.gguf >table 2>err || got=$?
	same "$got" 1
	grep -q 'm.gguf, threads 1: ik_llama.cpp (rtr): exit status 1: error: unknown model architecture' err
	grep -qF '| m | 1 | pp512 | 100.0 (100.0 to 100.0) | 150.5 (150.5 to 150.5) | - | 0.66 |' table
	printf '#!/bin/sh\necho "not JSON"\n' >llama
	race --moe ./ours --llama ./llama -t 1 -r 1 -q -o out m.gguf >table 2>err || got=$?
	same "$got" 1
	grep -q 'llama.cpp (default): ' err
}

@test "mkmoe: models that load, of every type, and a race of the real moe-bench" {
	for type in f32 bf16 q8_0 q4_0 q4_K; do
		numpy "$root/tests/bench/mkmoe" tiny $type tiny-$type.gguf
		same "$(moe-info --json tiny-$type.gguf | jq -c '[.family, .layers, .hidden, .vocab, .experts, .experts_per_token, .expert_width]')" \
			'["qwen3moe",2,256,512,8,2,256]'
		moe-view --check -q tiny-$type.gguf
	done
	same "$(numpy "$root/tests/bench/mkmoe" huge f32 x 2>&1 || echo $?)" "usage: mkmoe tiny|small|olmoe|aria4 f32|bf16|q8_0|q4_0|q4_K FILE
1"
	peer llama abc1234 1 1
	race --moe "$BIN/moe-bench" --llama ./llama -t 1 -r 1 -q -o out tiny-q8_0.gguf >table
	same "$(jq '[.ratios[].ratio > 0] | all' out/race.json)" true
}
