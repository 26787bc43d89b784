/* Archives: good ones of each kind, every prefix of small ones, damage, bombs, and what must never be followed. */
#include "image_data.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include "image/feed.h"
#include "io/archive.h"

enum kind { TAR, TAR_GZ, ZIP };

/* An archive being written into memory, by libarchive's writer. */
struct maker { struct archive *a; uint8_t *bytes; size_t cap, used; };

static void make(struct maker *m, enum kind kind)
{
	*m = (struct maker){.a = archive_write_new(), .bytes = malloc(8 << 20), .cap = 8 << 20};
	assert_int_equal(kind == ZIP ? archive_write_set_format_zip(m->a) : archive_write_set_format_pax_restricted(m->a), ARCHIVE_OK);
	if (kind == TAR_GZ)
		assert_int_equal(archive_write_add_filter_gzip(m->a), ARCHIVE_OK);
	archive_write_set_bytes_in_last_block(m->a, 1);
	assert_int_equal(archive_write_open_memory(m->a, m->bytes, m->cap, &m->used), ARCHIVE_OK);
}

static void put(struct maker *m, unsigned type, const char *name, const void *bytes, size_t n, const char *link)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, type);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_size(e, (la_int64_t)n);
	if (link && type == AE_IFLNK)
		archive_entry_set_symlink(e, link);
	else if (link)
		archive_entry_set_hardlink(e, link);
	assert_true(archive_write_header(m->a, e) >= ARCHIVE_WARN);
	if (n)
		assert_int_equal(archive_write_data(m->a, bytes, n), n);
	archive_entry_free(e);
}

static void finish(struct maker *m)
{
	assert_int_equal(archive_write_close(m->a), ARCHIVE_OK);
	archive_write_free(m->a);
}

static void put_three(struct maker *m)
{
	put(m, AE_IFREG, "a.png", "first", 5, NULL);
	put(m, AE_IFREG, "dir/b.json", "{}", 2, NULL);
	put(m, AE_IFREG, "dir/c.JPG", "third!", 6, NULL);
}

struct outcome {
	unsigned good, failed;
	char names[4096], data[4096], texts[4096];      /* joined by | */
	struct moe_archive_counts counts;
};

static void append(char *to, size_t cap, const void *s, size_t n)
{
	size_t at = strlen(to), k = n < cap - at - 2 ? n : cap - at - 2;

	memcpy(to + at, s ? s : "", k);
	memcpy(to + at + k, "|", 2);
}

static struct outcome read_all(const char *path, const struct moe_archive_options *o)
{
	struct outcome out = {0};
	struct moe_archive *a;
	struct moe_member m;
	struct moe_diag d = {0};
	enum moe_err err;

	assert_int_equal(moe_archive_open(&a, path, o, &d), MOE_OK);
	while ((err = moe_archive_next(a, &m, &d)) != MOE_END) {
		append(out.names, sizeof out.names, m.name, strlen(m.name));
		if (err) {
			out.failed++;
			append(out.texts, sizeof out.texts, d.text, strlen(d.text));
			assert_null(m.bytes);
			moe_diag_clear(&d);
		} else {
			out.good++;
			append(out.data, sizeof out.data, m.bytes, m.nbytes);
		}
	}
	assert_int_equal(moe_archive_next(a, &m, &d), MOE_END);
	moe_archive_counts(a, &out.counts);
	assert_int_equal(out.counts.members, out.good + out.failed);
	moe_archive_close(a);
	return out;
}

static struct outcome read_bytes_of(const void *bytes, size_t n, const struct moe_archive_options *o)
{
	const char *path = scratch("x.archive");

	write_bytes(path, bytes, n);
	return read_all(path, o);
}

static void expect(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' does not say '%s'", text, part);
}

static const struct moe_archive_options plain;

static void test_good(void **state)
{
	static const char *const pictures[] = {".png", ".jpg", NULL};
	struct moe_archive_options some = {.suffixes = pictures}, names = {.suffixes = pictures, .names_only = true};

	(void)state;
	for (enum kind k = TAR; k <= ZIP; k++) {
		struct maker m;
		struct outcome out;
		make(&m, k);
		put_three(&m);
		put(&m, AE_IFREG, "__MACOSX/dir/._c.JPG", "fork", 4, NULL);
		finish(&m);
		out = read_bytes_of(m.bytes, m.used, &plain);
		assert_string_equal(out.names, "a.png|dir/b.json|dir/c.JPG|__MACOSX/dir/._c.JPG|");
		assert_string_equal(out.data, "first|{}|third!|fork|");
		out = read_bytes_of(m.bytes, m.used, &some);
		assert_string_equal(out.data, "first|third!|");
		assert_int_equal(out.counts.passed_over, 2);
		out = read_bytes_of(m.bytes, m.used, &names);
		assert_string_equal(out.names, "a.png|dir/c.JPG|");
		assert_string_equal(out.data, "||");
		free(m.bytes);
	}
}

/* Members larger than any buffer, taken by the caller; and an empty one. */
static void test_large(void **state)
{
	size_t n = 1234567;
	uint8_t *big = malloc(n), *taken;

	(void)state;
	for (size_t i = 0; i < n; i++)
		big[i] = (uint8_t)(i * 2654435761u >> 24);
	for (enum kind k = TAR; k <= ZIP; k++) {
		struct maker m;
		struct moe_archive *a;
		struct moe_member got;
		const char *path = scratch("large");
		make(&m, k);
		put(&m, AE_IFREG, "big", big, n, NULL);
		put(&m, AE_IFREG, "empty", NULL, 0, NULL);
		finish(&m);
		write_bytes(path, m.bytes, m.used);
		assert_int_equal(moe_archive_open(&a, path, &plain, NULL), MOE_OK);
		assert_int_equal(moe_archive_next(a, &got, NULL), MOE_OK);
		assert_int_equal(got.nbytes, n);
		taken = moe_archive_take(a);
		assert_null(moe_archive_take(a));
		assert_int_equal(moe_archive_next(a, &got, NULL), MOE_OK);
		assert_string_equal(got.name, "empty");
		assert_int_equal(got.nbytes, 0);
		assert_memory_equal(taken, big, n);
		assert_int_equal(moe_archive_next(a, &got, NULL), MOE_END);
		moe_archive_close(a);
		free(taken);
		free(m.bytes);
	}
	free(big);
}

/* Every prefix fails, and hands over nothing but whole members (IA6, IA10). In tar the end mark is two blocks, of which one will do. */
static void test_prefixes(void **state)
{
	(void)state;
	for (enum kind k = TAR; k <= ZIP; k++) {
		struct maker m;
		size_t step;
		make(&m, k);
		put_three(&m);
		finish(&m);
		step = k == TAR ? 61 : 1;
		for (size_t n = 0; n < m.used - (k == TAR ? 512 : 0); n += step) {
			struct outcome out = read_bytes_of(m.bytes, n, &plain);
			if (!out.failed)
				fail_msg("kind %d: the first %zu of %zu bytes are read without complaint", (int)k, n, m.used);
			if (strncmp("first|{}|third!|", out.data, strlen(out.data)))
				fail_msg("kind %d, %zu bytes: '%s'", (int)k, n, out.data);
		}
		free(m.bytes);
	}
}

/* Cut exactly between two members, where libarchive sees nothing wrong. */
static void test_cut_between(void **state)
{
	struct maker m;
	struct outcome out;

	(void)state;
	make(&m, TAR);
	put_three(&m);
	finish(&m);
	out = read_bytes_of(m.bytes, 2048, &plain);
	assert_int_equal(out.good, 2);
	assert_int_equal(out.failed, 1);
	expect(out.texts, "without its end mark");
	free(m.bytes);
}

static void test_special(void **state)
{
	struct maker m;
	struct outcome out;

	(void)state;
	make(&m, TAR);
	put(&m, AE_IFDIR, "folder/", NULL, 0, NULL);
	put(&m, AE_IFLNK, "link.png", NULL, 0, "/etc/passwd");
	put(&m, AE_IFREG, "good.png", "good", 4, NULL);
	put(&m, AE_IFREG, "hard.png", NULL, 0, "good.png");
	put(&m, AE_IFIFO, "pipe.png", NULL, 0, NULL);
	put(&m, AE_IFCHR, "device.png", NULL, 0, NULL);
	finish(&m);
	out = read_bytes_of(m.bytes, m.used, &plain);
	assert_string_equal(out.names, "good.png|");
	assert_int_equal(out.counts.special, 5);
	free(m.bytes);
}

/* Names are data (IA7): nothing is created anywhere, and a name is handed over as it is. */
static void test_names(void **state)
{
	char longest[5001];

	(void)state;
	memset(longest, 'n', 5000);
	longest[5000] = 0;
	for (enum kind k = TAR; k <= ZIP; k++) {
		struct maker m;
		struct outcome out;
		make(&m, k);
		put(&m, AE_IFREG, "../../up.png", "x", 1, NULL);
		put(&m, AE_IFREG, "/tmp/moe-must-not-exist.png", "x", 1, NULL);
		put(&m, AE_IFREG, "..", "x", 1, NULL);
		put(&m, AE_IFREG, "bell\a\x1b[31m.png", "x", 1, NULL);
		put(&m, AE_IFREG, "bad\xff\xfe.png", "x", 1, NULL);
		put(&m, AE_IFREG, "na\xc3\xafve.png", "x", 1, NULL);
		put(&m, AE_IFREG, longest, "x", 1, NULL);
		finish(&m);
		out = read_bytes_of(m.bytes, m.used, &plain);
		assert_int_equal(out.good, 6);
		assert_int_equal(out.failed, 1);
		expect(out.texts, "name is too long");
		expect(out.names, "../../up.png|");
		expect(out.names, "na\xc3\xafve.png|");
		assert_int_not_equal(access("/tmp/moe-must-not-exist.png", F_OK), 0);
		free(m.bytes);
	}
}

static void test_caps(void **state)
{
	struct moe_archive_options small = {.max_member_nbytes = 1000}, few = {.max_members = 2}, tight = {.max_ratio = 100};
	uint8_t *zeros = calloc(6 << 20, 1);

	(void)state;
	for (enum kind k = TAR; k <= ZIP; k++) {
		struct maker m;
		struct outcome out;
		make(&m, k);
		put(&m, AE_IFREG, "before", "1", 1, NULL);
		put(&m, AE_IFREG, "big", zeros, 100000, NULL);
		put(&m, AE_IFREG, "after", "2", 1, NULL);
		finish(&m);
		out = read_bytes_of(m.bytes, m.used, &small);
		assert_string_equal(out.data, "1|2|");
		expect(out.texts, "too large");
		out = read_bytes_of(m.bytes, m.used, &few);
		expect(out.texts, "too many members");
		assert_int_equal(out.good, 2);
		free(m.bytes);
		if (k == TAR)
			continue;
		make(&m, k);
		put(&m, AE_IFREG, "bomb", zeros, 6 << 20, NULL);
		finish(&m);
		out = read_bytes_of(m.bytes, m.used, &plain);
		assert_int_equal(out.good, 1);
		out = read_bytes_of(m.bytes, m.used, &tight);
		assert_int_equal(out.good, 0);
		expect(out.texts, "expands too far");
		free(m.bytes);
	}
	free(zeros);
}

/* Headers that lie, with checksums that are right (IA6). */
static void tar_checksum(uint8_t *h)
{
	unsigned sum = 0;

	memset(h + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += h[i];
	snprintf((char *)h + 148, 8, "%06o", sum);
}

static void lying_tar(size_t at, const void *field, size_t n, bool repair, const char *names)
{
	struct maker m;
	struct outcome out;

	make(&m, TAR);
	put_three(&m);
	finish(&m);
	memcpy(m.bytes + 1024 + at, field, n);  /* the second member's header */
	if (repair)
		tar_checksum(m.bytes + 1024);
	out = read_bytes_of(m.bytes, m.used, &plain);
	if (strncmp(out.names, names, strlen(names)))
		fail_msg("byte %zu: names '%s', failures '%s'", at, out.names, out.texts);
	assert_true(out.failed || strcmp(names, "a.png|"));
	free(m.bytes);
}

static void test_lying_tar(void **state)
{
	static const uint8_t minus_one[12] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t huge[12] = {0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	(void)state;
	lying_tar(124, minus_one, 12, true, "a.png|");
	lying_tar(124, huge, 12, true, "a.png|");
	lying_tar(124, "77777777777", 12, true, "a.png|");
	lying_tar(124, "00000000001", 12, false, "a.png|");
	lying_tar(156, "x", 1, true, "a.png|dir/c.JPG|");       /* pax attributes "{}": libarchive passes over them, as GNU tar does */
	lying_tar(156, "S", 1, true, "a.png|dir/b.json|");      /* sparse, but no map: a plain file */
	lying_tar(156, "L", 1, true, "a.png|{}|");              /* a GNU long name, which is then the third member's */
	lying_tar(156, "6", 1, true, "a.png|");                 /* a pipe, which cannot have bytes */
}

static void test_damage(void **state)
{
	struct maker m;
	struct outcome out;
	uint8_t *copy, data[3000];

	(void)state;
	make(&m, ZIP);
	for (unsigned i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * i >> 3);
	put(&m, AE_IFREG, "one.png", data, sizeof data, NULL);
	put(&m, AE_IFREG, "two.png", "two", 3, NULL);
	finish(&m);
	copy = malloc(m.used);
	for (size_t at = 0; at < m.used; at += 7) {
		memcpy(copy, m.bytes, m.used);
		copy[at] ^= 0x55;
		out = read_bytes_of(copy, m.used, &plain);      /* whatever it says: no crash, no hang */
		assert_true(out.good + out.failed <= 3);
	}
	memcpy(copy, m.bytes, m.used);
	copy[200] ^= 1;         /* inside one.png's data: the CRC tells; two.png is not concerned */
	out = read_bytes_of(copy, m.used, &plain);
	assert_string_equal(out.data, "two|");
	assert_int_equal(out.failed, 1);
	free(copy);
	free(m.bytes);
}

/* gzip: a wrong checksum or length behind good data, garbage behind the end, and two members in a row (IA10). */
static void test_gzip(void **state)
{
	struct maker m;
	struct outcome out;

	(void)state;
	make(&m, TAR_GZ);
	put_three(&m);
	finish(&m);
	for (size_t back = 1; back <= 8; back++) {
		m.bytes[m.used - back] ^= 1;
		out = read_bytes_of(m.bytes, m.used, &plain);
		assert_int_equal(out.failed, 1);
		m.bytes[m.used - back] ^= 1;
	}
	memcpy(m.bytes + m.used, "garbage", 7);
	out = read_bytes_of(m.bytes, m.used + 7, &plain);
	assert_int_equal(out.failed, 1);
	out = read_bytes_of(m.bytes, m.used, &plain);
	assert_int_equal(out.failed, 0);
	free(m.bytes);
}

/* Formats that are not enabled, whatever their name (IA13). */
static void test_others(void **state)
{
	static const struct { const char *bytes; size_t n; } row[] = {
		{"Rar!\x1a\7\0........................", 32}, {"7z\xbc\xaf\x27\x1c\0\4.......................", 32}, {"!<arch>\ndebian-binary   1", 24},
		{"BZh91AY&SY....................", 30}, {"\xfd" "7zXZ\0\0\4................", 24}, {"WARC/1.0\r\n\r\n", 12}, {"", 0}, {"\0", 1}, {"hello", 5},
		{"\x89PNG\r\n\x1a\n", 8},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		struct outcome out = read_bytes_of(row[i].bytes, row[i].n, &plain);
		assert_int_equal(out.good, 0);
		assert_int_equal(out.failed, 1);
	}
}

static void test_open(void **state)
{
	struct moe_archive *a;
	struct moe_diag d = {0};

	(void)state;
	assert_int_equal(moe_archive_open(&a, "/nonexistent.tar", &plain, &d), MOE_EIO);
	expect(d.text, "cannot open");
	moe_diag_clear(&d);
	assert_int_equal(moe_archive_open(&a, "/tmp", &plain, &d), MOE_EIO);
	expect(d.text, "is a directory");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good), cmocka_unit_test(test_large), cmocka_unit_test(test_prefixes), cmocka_unit_test(test_cut_between),
		cmocka_unit_test(test_special), cmocka_unit_test(test_names), cmocka_unit_test(test_caps), cmocka_unit_test(test_lying_tar),
		cmocka_unit_test(test_damage), cmocka_unit_test(test_gzip), cmocka_unit_test(test_others), cmocka_unit_test(test_open),
	};
	struct moe_diag d = {0};
	int failed;

	if (moe_feed_server_start(&d))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_remove();
	return failed;
}
