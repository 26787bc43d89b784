#!/bin/bash
# tests/run.sh: every test, as `make check` runs it (MODE from the environment). Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 2
mode=${MODE:-release}
out=build/$mode
export BIN=$PWD/$out/bin
# A program that fails ends at once, and does not wait for its threads.
[ "$mode" = tsan ] && export TSAN_OPTIONS="report_thread_leaks=0 ${TSAN_OPTIONS:-}"
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
passed=0 failed=0

# step NAME COMMAND...: runs it, shows its output only when it fails.
step() {
	local name=$1 start=$SECONDS
	shift
	if "$@" >"$log/out" 2>&1; then
		passed=$((passed + 1))
		echo "ok   $name ($((SECONDS - start)) s)"
	else
		failed=$((failed + 1))
		echo "FAIL $name"
		tail -n 60 "$log/out"
	fi
}

# A changed reference value must be noticed.
altered_reference() {
	local dir=$log/altered
	cp -rL tests/golden/read "$dir"
	python3 - "$dir/cases/terminal.safetensors" <<'PY'
import json, struct, sys
path = sys.argv[1]
data = bytearray(open(path, "rb").read())
n = struct.unpack("<Q", data[:8])[0]
at = 8 + n + json.loads(data[8:8 + n])["2.expert"]["data_offsets"][0] + 4 * 1000
value = struct.unpack_from("<f", data, at)[0]
struct.pack_into("<f", data, at, value + 1e-3)
open(path, "wb").write(data)
PY
	"$out/tests/golden/run" "$dir"
	[ $? = 1 ]
}

# So must one other hash of a canvas.
altered_pictures() {
	local dir=$log/pictures
	cp -rL tests/golden/images "$dir"
	sed -i '0,/"u8_sha256": "./s//&0/' "$dir/aria.json"
	"$out/tests/golden/run" "$dir"
	[ $? = 1 ]
}

nothing_to_compare() {
	mkdir -p "$log/empty"
	"$out/tests/golden/run" "$log/empty"
	[ $? = 2 ]
}

step floors tests/floors.sh
step symbols tests/symbols.sh "$out/libmoe.a"
for t in "$out"/tests/lib/* "$out"/tests/kernel/*; do
	case $t in *.o | *.d) continue ;; esac
	step "${t#"$out"/tests/}" "$t"
done
families=(tests/golden/{olmoe,qwen3moe,qwen2moe,mixtral})
for mask in 0 1 3 63; do
	step "golden, cpu mask $mask" "$out/tests/golden/run" -c $mask tests/golden/{read,gguf} "${families[@]}"
done
for kind in tests/golden/tokenizers/*/; do
	[ -d "$kind" ] && step "golden $kind" "$out/tests/golden/run" "$kind"
done
for mask in 0 3 63; do
	step "golden: training, cpu mask $mask" "$out/tests/golden/run" -c $mask tests/golden/{train,routing}
done
step "golden: aria, pictures, weights" "$out/tests/golden/run" tests/golden/{aria,images,streams}
# The plain kernels under a sanitizer take minutes for its 4,900 patches.
[ "$mode" = release ] && step "golden: aria, plain C" "$out/tests/golden/run" -c 0 tests/golden/aria
step "golden: an altered reference fails" altered_reference
step "golden: altered pictures fail" altered_pictures
step "golden: nothing to compare is said" nothing_to_compare
# Sanitizers would have to be linked to what is compiled there.
[ "$mode" = release ] && step "golden: wrong optimisers, losses and routers fail" tests/mutants.sh "$out"
for t in "$out"/tests/fuzz/*; do
	case $t in *.o | *.d) continue ;; esac
	step "fuzz corpus ${t##*/}" "$t" "tests/fuzz/corpus/${t##*/}"
done
step "man pages" tests/man.sh "$out/bin"
step completions tests/completions.sh "$out/bin"
for t in tests/cmd/*.bats; do
	start=$SECONDS
	bats --tap "$t" >"$log/bats" 2>&1
	good=$(grep -c '^ok' "$log/bats") bad=$(grep -c '^not ok' "$log/bats")
	[ "$good" = 0 ] && [ "$bad" = 0 ] && bad=1
	passed=$((passed + good)) failed=$((failed + bad))
	if [ "$bad" = 0 ]; then
		echo "ok   $t: $good tests ($((SECONDS - start)) s)"
	else
		echo "FAIL $t: $bad of $((good + bad)) tests"
		grep -v '^ok' "$log/bats" | tail -n 80
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
