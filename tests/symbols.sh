#!/bin/bash
# tests/symbols.sh LIBMOE_A: every global symbol of the library begins with moe_, and the library neither ends the program, prints, asserts nor
# reads the environment. Prints each violation; exits 1 if there is one.
set -u
lib=${1:?usage: tests/symbols.sh LIBMOE_A}
[ -f "$lib" ] || { echo "$lib: not there"; exit 2; }

# OBJECT:SYMBOL, and why. (fprintf and the like are fine: without stdout and stderr they write where the caller says.)
allowed="
server.o:_exit of the server process and its workers, which are forks
server.o:signal in the server process
decoder_work.o:_exit in a confined worker
archive_work.o:setlocale in a confined worker: libarchive converts names by the locale
exec.o:environ is handed on to the program of --exec
"

forbidden='exit|_exit|_Exit|quick_exit|abort|atexit|__assert_fail|__assert|err|errx|warn|warnx|error|perror|psignal|puts|putchar'
forbidden+='|printf|vprintf|dprintf|vdprintf|__printf_chk|__vprintf_chk|__dprintf_chk|_IO_puts'
forbidden+='|getenv|secure_getenv|setenv|putenv|unsetenv|environ|__environ|system|popen|syslog|stdout|stderr|stdin|setlocale|signal|srand|rand|random|drand48'

bad=0
n=0
while read -r object type symbol; do
	n=$((n + 1))
	case $symbol in
	moe_*) ;;
	_GLOBAL_* | __asan* | __odr_asan* | __tsan* | __ubsan* | __gcov*) ;;    # of the sanitizers
	*) echo "$object defines the global symbol $symbol ($type)" && bad=1 ;;
	esac
done < <(nm -A -g --defined-only "$lib" | sed -E 's/^.*:([^:]+\.o):/\1 /' | awk '{print $1, $(NF-1), $NF}')
[ "$n" -gt 100 ] || { echo "only $n global symbols found in $lib: this script does not see them"; bad=1; }

while read -r object symbol; do
	[[ $symbol =~ ^($forbidden)$ ]] || continue
	[[ $allowed == *"
$object:$symbol "* ]] || { echo "$object uses $symbol" && bad=1; }
done < <(nm -A -u "$lib" | sed -E 's/^.*:([^:]+\.o):/\1 /' | awk '{print $1, $NF}' | sed 's/@.*//' | sort -u)
exit $bad
