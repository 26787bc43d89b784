# Hostile pictures and archives: each bad one is named and costs only itself; a single picture that cannot be read is status 2, some of several are 1.
bats_require_minimum_version 1.5.0
load faults

setup() {
	cd "$BATS_TEST_TMPDIR"
	cp "$GOOD" good.png
}

pictures() { faults picture "$@"; }

# bad FILE REGEX: moe-run says why it cannot be read; behind moe-patchify it is a failed sequence, and moe-decode says 1; beside it others are answered.
bad() {
	refused 2 "$1: .*($2)" moe-run "$1"
	printf '%s\n' "$1" good.png >list
	refused 1 "$1: .*($2)" moe-run --files-from list
	[ "$(cut -f 2 out)" = '$12.90' ]
}

@test "sizes beyond all measure, claimed by a few bytes" {
	pictures big.png 'png(65535, 65535, b"")' wide.png 'png(2**24, 1, b"")' tall.png 'png(1, 2**24, b"")' most.png 'png(2**32 - 1, 2**32 - 1, b"")' \
		none.png 'png(0, 5, b"")' flat.png 'png(5, 0, b"")' claim.png 'png(4000, 4000, bytes(1000), depth=16, colour=6, interlace=1)' \
		bomb.png 'png(16, 16, bytes(200000000))' area.jpg 'jpeg(65535, 65535)' area.bmp 'b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0)' \
		min.bmp 'b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, -5, -2**31, 1, 24, 0, 0, 0, 0, 0, 0)' area.ppm 'b"P6\n99999 99999\n255\n"' \
		long.ppm 'b"P6\n99999999999999999999 1\n255\n"'
	bad big.png '65535 x 65535 pixels: the limit'
	bad wide.png '16777216 x 1 pixels: the limit'
	bad tall.png '1 x 16777216 pixels: the limit'
	bad most.png '4294967295 x 4294967295 pixels|PNG'
	bad none.png '0 x 5'
	bad flat.png '5 x 0'
	bad claim.png 'compressed bytes cannot hold 4000 x 4000'
	bad bomb.png 'cannot be decoded: outofmem'
	bad area.jpg '65535 x 65535 pixels: the limit'
	bad area.bmp '30000 x 30000 pixels: the limit'
	bad min.bmp 'pixels'
	bad area.ppm '99999 x 99999 pixels: the limit'
	bad long.ppm 'PNM'
}

# Refused before anything is allocated: with 300 MB of address space (more than the programs need) nothing else happens than without a limit.
@test "bombs need no memory" {
	case $BIN in *san/bin) skip "sanitizers reserve terabytes" ;; esac
	pictures big.png 'png(8191, 8191, b"")' tga.tga 'b"\0\0\2\0\0\0\0\0\0\0\0\0\x81\x5a\x81\x5a\x20\0"' gif.gif 'b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(51)'
	ulimit -v 300000
	works moe-run good.png
	bad big.png 'PNG|cannot be decoded'
	bad tga.tga 'not a picture that is known'
	bad gif.gif 'GIF is not supported'
}

@test "PNG: cut, damaged, without its parts" {
	local n
	n=$(stat -c %s good.png)
	for cut in 1 7 8 20 33 60 100 $((n / 2)) $((n - 12)) $((n - 1)); do
		head -c "$cut" good.png >cut.png
		refused 2 'cut.png: .' moe-run cut.png
	done
	pictures palette.png 'png(64, 16, colour=3)' filter.png 'png(64, 16, (b"\x09" + b"\xff" * 192) * 16)' depth.png 'png(64, 16, b"", depth=7)' \
		colour.png 'png(64, 16, b"", depth=16, colour=3)' crc.png 'png(64, 16).replace(b"IEND", b"IENX")' rows.png 'png(64, 16, bytes(193 * 15))' data.png 'png(64, 16, b"")' \
		zlib.png 'png(64, 16)[:33] + chunk(b"IDAT", b"garbage" * 9) + chunk(b"IEND", b"")' chunk.png 'png(64, 16)[:8] + struct.pack(">I", 2**32 - 1) + b"IHDR" + bytes(100)' \
		order.png 'png(64, 16)[:8] + chunk(b"IDAT", b"") + png(64, 16)[8:]' twice.png 'png(64, 16)[:33] + png(640, 160)[8:]' method.png 'png(64, 16)[:26] + b"\1" + png(64, 16)[27:]'
	for f in palette filter depth colour crc rows data zlib chunk order twice method; do
		bad $f.png '.'
	done
}

@test "JPEG: cut, damaged tables, markers without end" {
	pictures tables.jpg 'jpeg(64, 16, huffman([255] * 16, [1] * 200))' symbols.jpg 'jpeg(64, 16, huffman([0] * 7 + [255, 2] + [0] * 7, range(256)))' \
		many.jpg 'jpeg(64, 16, huffman([1] * 16, range(16), 5))' none.jpg 'b"\xff\xd8\xff\xd9"' marker.jpg 'b"\xff\xd8\xff\xe0\xff\xff" + bytes(10)' \
		zero.jpg 'jpeg(0, 0)' twelve.jpg 'jpeg(64, 16).replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc0\x00\x0b\x0c")' lossless.jpg 'jpeg(64, 16).replace(b"\xff\xc0", b"\xff\xc3")' \
		arith.jpg 'jpeg(64, 16).replace(b"\xff\xc0", b"\xff\xc9")' slot.jpg 'jpeg(64, 16).replace(b"\xff\xda\x00\x08\x01\x01\x00", b"\xff\xda\x00\x08\x01\x01\x77")'
	for f in tables symbols many none marker zero twelve lossless arith slot; do
		bad $f.jpg '.'
	done
	pictures whole.jpg 'jpeg(64, 16)'
	works moe-run whole.jpg
	for cut in 2 10 80 100 130 160; do
		head -c $cut whole.jpg >cut.jpg
		timeout "$LIMIT" moe-run cut.jpg >out 2>err || [ $? = 2 ]       # a scan may end early
	done
}

@test "what the format is decides, not the name; other formats are refused by name, with how to convert them" {
	cp good.png really-png.jpg
	works moe-run really-png.jpg
	[ "$(cat out)" = '$12.90' ]
	pictures a.gif 'b"GIF89a" + struct.pack("<HH", 10, 10) + bytes(51)' a.webp 'b"RIFF\x24\0\0\0WEBPVP8 " + bytes(40)' a.tif 'b"II*\0" + bytes(60)' a.avif 'b"\0\0\0\x1cftypavif" + bytes(50)' \
		a.heic 'b"\0\0\0\x1cftypheic" + bytes(50)' a.svg 'b"<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>"' a.pdf 'b"%PDF-1.4" + bytes(50)' a.psd 'b"8BPS\0\1" + bytes(50)' \
		a.jp2 'b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50)' a.pbm 'b"P4\n64 16\n" + bytes(128)' a.ppm 'b"P3\n64 16\n255\n" + b"1 " * 5000' deep.ppm 'b"P6\n64 16\n65535\n" + bytes(10000)' \
		cut.ppm 'b"P6\n64 16\n255\n" + bytes(100)' gif.png 'b"GIF89a" + struct.pack("<HH", 10, 10) + bytes(51)' a.7z 'b"7z\xbc\xaf\x27\x1c" + bytes(100)' a.rar 'b"Rar!\x1a\x07\x01\0" + bytes(100)' \
		a.xz 'b"\xfd7zXZ\0" + bytes(100)'
	bad a.gif 'GIF is not supported; convert it first: convert IN.gif OUT.png'
	bad gif.png 'GIF is not supported; convert'
	bad a.webp 'WebP is not supported; convert it first: convert IN.webp OUT.png'
	bad a.tif 'TIFF is not supported; convert it first: convert IN.tif OUT.png'
	for f in avif=AVIF heic=HEIC svg=SVG pdf=PDF psd=PSD jp2='JPEG 2000' pbm=PBM ppm='plain PPM'; do
		bad "a.${f%%=*}" "${f#*=} is not supported; convert"
	done
	bad deep.ppm '65535 is not supported'
	bad cut.ppm 'ends too early'
	bad a.7z 'a 7z archive, not a picture'
	bad a.rar 'a RAR archive, not a picture'
	bad a.xz 'xz, not a picture'
	bad "$BATS_TEST_FILENAME" 'not a picture that is known'
}

@test "paths that are no picture: nothing, empty, a device, too much, a FIFO, one that may not be read" {
	: >empty.png
	bad empty.png 'the file is empty'
	refused 2 'nowhere.png: cannot open: No such file' moe-run nowhere.png
	refused 2 '/dev/null: .*empty' moe-run /dev/null
	refused 2 '/dev/zero: larger than' moe-run /dev/zero
	refused 2 '.' moe-run ''
	refused 2 'cannot open|File name too long' moe-run "$(printf '%05000d' 1)"
	refused 2 '.' moe-run - </dev/null
	mkfifo fifo.png
	cat good.png >fifo.png &
	works moe-run fifo.png
	wait
	[ "$(cat out)" = '$12.90' ]
	cp good.png secret.png
	chmod 000 secret.png
	if [ "$(id -u)" = 0 ]; then
		refused 2 'secret.png: cannot open: Permission denied' setpriv --bounding-set=-dac_override,-dac_read_search moe-run secret.png
	else
		bad secret.png 'Permission denied'
	fi
	mkdir folder.png
	cp good.png folder.png/inside.png
	works moe-run folder.png
	[ "$(cat out)" = "folder.png/inside.png	\$12.90" ]
	printf 'a\nb\033[31m.png' >name
	echo nonsense >"$(cat name)"
	refused 2 '^moe-run: a.x0ab.x1b\[31m.png: not a picture' moe-run "$(cat name)" || grep -q 'a.x0ab.x1b.31m.png: not a picture' err
}

@test "a picture of each shape is taken" {
	pictures 1x1.png 'png(1, 1)' w.png 'png(65535, 1)' h.png 'png(1, 65535)' grey.png 'png(64, 16, depth=1, colour=0)' alpha.png 'png(64, 16, depth=16, colour=6)' a.pgm 'b"P5\n64 16\n255\n" + bytes(1024)' \
		text.png 'png(64, 16, extra=chunk(b"tEXt", b"x" * 1000000))'
	for f in 1x1.png w.png h.png grey.png alpha.png a.pgm text.png; do
		works moe-run $f
	done
}

@test "archives: good ones, and bad members of good ones" {
	pictures a.tar 'tar(("x/1.png", file("good.png")), ("x/2.png", file("good.png")))' a.tar.gz 'gzip.compress(file("a.tar"))' a.zip 'zipped(("x/1.png", file("good.png")), ("x/2.png", file("good.png")))' \
		bad.tar 'tar(("1.png", file("good.png")), ("bad.png", b"nonsense"), ("2.png", file("good.png")))' \
		special.tar 'tar(special("l.png", tarfile.SYMTYPE, "/etc/passwd"), special("h.png", tarfile.LNKTYPE, "1.png"), special("f.png", tarfile.FIFOTYPE), special("d.png", tarfile.CHRTYPE), ("1.png", file("good.png")))' \
		long.tar 'tar(("n" * 70000 + ".png", file("good.png")), ("1.png", file("good.png")))' nested.zip 'zipped(("in.zip", file("a.zip")), ("1.png", file("good.png")))'
	for f in a.tar a.tar.gz a.zip; do
		works moe-run $f
		[ "$(cat out)" = "1.png	\$12.90
2.png	\$12.90" ]
	done
	refused 1 'bad.png: not a picture that is known' moe-run bad.tar
	[ "$(wc -l <out)" = 2 ]
	timeout "$LIMIT" moe-run special.tar >out 2>err
	grep -qx 'moe-run: 4 links, devices or folders passed over' err
	[ "$(wc -l <out)" = 1 ]
	refused 1 'long.tar/n+: the member.s name is too long' moe-run long.tar
	[ "$(wc -l <out)" = 1 ]
	timeout "$LIMIT" moe-run nested.zip >out 2>err
	grep -qx 'moe-run: 1 file passed over: no picture by name' err
	[ "$(wc -l <out)" = 1 ]
}

@test "archives: cut, damaged, encrypted, of another kind" {
	pictures whole.tar 'tar(("1.png", file("good.png")), ("2.png", file("good.png")))' whole.zip 'zipped(("1.png", file("good.png")), ("2.png", file("good.png")), store=True)' \
		inside.tar 'file("whole.tar")[:700]' sum.tar 'file("whole.tar").replace(b"2.png", b"3.png")' noise.tar 'b"x" * 10000' empty.tar 'b""' cut.zip 'file("whole.zip")[:-30]' short.zip 'file("whole.zip")[:600]' \
		encrypted.zip 'encrypted(file("whole.zip"))' crc.zip 'file("whole.zip").replace(b"IDAT", b"IDAX", 1)' seven.zip 'b"7z\xbc\xaf\x27\x1c" + bytes(100)' rar.tar 'b"Rar!\x1a\x07\x01\0" + bytes(600)' \
		xz.tar 'b"\xfd7zXZ\0" + bytes(600)' cut.tar.gz 'gzip.compress(file("whole.tar"))[:-8]' half.tar.gz 'gzip.compress(file("whole.tar"))[:900]' \
		more.tar.gz 'gzip.compress(file("whole.tar")) + b"more"' crc.tar.gz 'gzip.compress(file("whole.tar"))[:-8] + bytes(8)' \
		size.tar '(lambda t: t[:148] + b"%06o\0 " % sum(t[:148] + b" " * 8 + t[156:512]) + t[156:])((lambda t: t[:124] + b"77777777777\0" + t[136:])(file("whole.tar")))' \
		negative.tar '(lambda t: t[:148] + b"%06o\0 " % sum(t[:148] + b" " * 8 + t[156:512]) + t[156:])((lambda t: t[:124] + b"\xff" * 12 + t[136:])(file("whole.tar")))'
	for f in inside.tar sum.tar noise.tar empty.tar cut.zip short.zip crc.zip seven.zip rar.tar xz.tar cut.tar.gz half.tar.gz more.tar.gz crc.tar.gz size.tar negative.tar; do
		refused 1 "$f(/1.png)?: ." moe-run $f
	done
	stops 1 moe-run encrypted.zip
	[ "$(grep -c 'encrypted.zip/[12].png: .*[Pp]assphrase' err)" = 2 ]
	[ ! -s out ]
	# The same through the pipeline: what could be read is answered.
	moe-tokenize --for-each whole.tar >tokens
	stops 1 bash -c 'moe-patchify sum.tar <tokens | moe-encode | moe-embed | moe-block -l 0- | moe-decode; exit ${PIPESTATUS[4]}'
	grep -q 'sum.tar' err
	[ "$(head -n 1 out)" = '1.png	$' ]     # one token, for want of a ring
}

@test "archives: bombs, and names that lead elsewhere" {
	mkdir deep deep/er
	cd deep/er
	cp ../../good.png .
	pictures bomb.tar.gz 'gzip.compress(tar(("1.png", file("good.png")), ("2.png", bytes(280000000))))' bomb.zip 'zipped(("1.png", file("good.png")), ("2.png", bytes(280000000)))' \
		out.tar 'tar(("../../evil.png", file("good.png")), ("/tmp/moe-evil.png", file("good.png")), ("a/../../evil.png", file("good.png")), ("a\nb\x1b[31m.png", file("good.png")))' \
		out.zip 'zipped(("../../evil.png", file("good.png")), ("/tmp/moe-evil.png", file("good.png")))'
	refused 1 'bomb.tar.gz/2.png: the member is too large' moe-run bomb.tar.gz
	refused 1 'bomb.zip/2.png: the member is too large' moe-run bomb.zip
	works moe-run out.tar
	[ "$(wc -l <../../out)" = 4 ]           # names are data: one line each
	not grep -q "$(printf '\033')" ../../out
	works moe-run out.zip
	[ -z "$(find ../.. -name '*evil*')" ]
	[ ! -e /tmp/moe-evil.png ]
}

@test "xargs over 200 pictures, 5 of them bad: those 5 are named, the others answered, status 123" {
	mkdir many
	for i in $(seq 0 199); do
		ln -s "$ROOT/tests/golden/crops/$(printf %03d $((i % 180))).png" "many/$(printf %03d "$i").png"
	done
	rm many/017.png many/060.png many/099.png many/140.png many/199.png
	: >many/017.png
	echo nonsense >many/060.png
	head -c 200 "$GOOD" >many/099.png
	pictures many/140.png 'png(65535, 65535, b"")' many/199.png 'b"GIF89a" + bytes(20)'
	status=0
	printf '%s\n' many/*.png | timeout $((2 * LIMIT)) xargs -P 2 -n 20 moe-run -H >out 2>err || status=$?
	[ $status = 123 ]
	[ "$(cut -d : -f 2 err | sort | tr -d '\n')" = ' many/017.png many/060.png many/099.png many/140.png many/199.png' ]
	[ "$(wc -l <out)" = 195 ]
	cut -f 1 out | sort | cmp - <(ls many/*.png | grep -v '017\|060\|099\|140\|199')
	# One pipeline over the same list: failed frames, the sink says so, and the answers are the same.
	printf '%s\n' many/*.png >list
	timeout $((2 * LIMIT)) moe-tokenize --files-from list | moe-patchify --files-from list | moe-encode | moe-embed | moe-block -l 0- >final
	moe-view --json final | grep -c '"kind":"failed"' | grep -qx 5
	stops 1 moe-decode <final
	[ "$(cut -d : -f 2 "$BATS_TEST_TMPDIR/err" | sort | tr -d '\n')" = ' many/017.png many/060.png many/099.png many/140.png many/199.png' ]
	mv out first    # tokens: there is no ring
	timeout "$LIMIT" moe-run --files-from list >together 2>err || [ $? = 1 ]
	paste first together | awk -F '\t' '$1 == $3 && index($4, $2) == 1 { n++ } END { exit n != NR || n < 195 }'
}
