#!/bin/sh
# deps.sh install | missing [PACKAGE...]: Debian packages that building, testing and the demo need, and those that are named. `missing` installs only
# what is not there.
set -eu
how=$1
shift
packages='gcc libc6-dev make pkg-config zlib1g-dev libarchive-dev libstb-dev libjansson-dev libpcre2-dev libutf8proc-dev libdeflate-dev libxxhash-dev
libcairo2-dev libfontconfig-dev libfreetype-dev nettle-dev fonts-dejavu-core fonts-liberation2 libcmocka-dev bats jq python3-numpy mandoc zip valgrind '"$*"
if ! command -v apt-get >/dev/null; then
	echo "not a Debian system: what is needed here goes by these names there: $packages" >&2
	[ "$how" = missing ] && exit 0    # perhaps all is there
	exit 1
fi
want=
for p in $packages; do
	dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed$' || want="$want $p"
done
[ -n "$want" ] || exit 0
sudo=
if [ "$(id -u)" != 0 ]; then
	sudo=sudo
	command -v sudo >/dev/null || { echo "as root: apt-get install$want" >&2; exit 1; }
fi
echo "installing Debian packages:$want" >&2
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q >&2
# shellcheck disable=SC2086
$sudo apt-get install -q -y --no-install-recommends $want >&2
