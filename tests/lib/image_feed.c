/* The iterator: order, labels, failures that stay alone, and the same items with any number of threads (IA11, IA12). */
#include "image_data.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "image/feed.h"

static const char *folder;      /* holds a.png, b.jpg (cut), c.bmp, d.webp, .hidden.png, note.txt, sub/, link.png -> a.png, dangling.png */
static const char *shard_tar, *shard_zip, *cut_tar;

static void copy(const char *from, const char *to, size_t less)
{
	size_t n;
	uint8_t *bytes = read_bytes(from, &n);

	write_bytes(to, bytes, n - less);
	free(bytes);
}

static const char *inside(const char *name)
{
	static char path[4][512];
	static unsigned turn;

	snprintf(path[++turn % 4], sizeof path[0], "%s/%s", folder, name);
	return path[turn % 4];
}

static void put(struct archive *a, const char *name, const void *bytes, size_t n)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_size(e, (la_int64_t)n);
	assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
	assert_int_equal(archive_write_data(a, bytes, n), n);
	archive_entry_free(e);
}

static void put_file(struct archive *a, const char *name, const char *path)
{
	size_t n;
	uint8_t *bytes = read_bytes(path, &n);

	put(a, name, bytes, n);
	free(bytes);
}

/* x/000.png ..., with captions between, and one bad picture in the middle. */
static void make_shard(const char *path, bool zip, unsigned n)
{
	struct archive *a = archive_write_new();

	assert_int_equal(zip ? archive_write_set_format_zip(a) : archive_write_set_format_ustar(a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
	for (unsigned i = 0; i < n; i++) {
		char name[64], from[64];
		snprintf(name, sizeof name, "x/%03u.png", i);
		snprintf(from, sizeof from, "tests/golden/crops/%03u.png", i % 150);
		if (i == n / 2)
			put(a, name, "not a picture", 13);
		else
			put_file(a, name, from);
		snprintf(name, sizeof name, "x/%03u.json", i);
		put(a, name, "{}", 2);
	}
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
}

static int begin(void **state)
{
	(void)state;
	folder = strdup(scratch("folder"));
	shard_tar = strdup(scratch("shard.tar"));
	shard_zip = strdup(scratch("shard.zip"));
	cut_tar = strdup(scratch("cut.tar"));
	mkdir(folder, 0700);
	mkdir(inside("sub"), 0700);
	mkdir(scratch("empty"), 0700);
	copy("tests/golden/crops/001.png", inside("a.png"), 0);
	copy(IMAGES "files/tiny.jpg", inside("b.jpg"), 10);
	copy(IMAGES "files/rgb.bmp", inside("c.bmp"), 0);
	copy(IMAGES "files/lossy.webp", inside("d.webp"), 0);
	copy("tests/golden/crops/002.png", inside(".hidden.png"), 0);
	copy("tests/golden/crops/002.png", inside("sub/z.png"), 0);
	copy("tests/golden/crops.tsv", inside("note.txt"), 0);
	assert_int_equal(symlink("a.png", inside("link.png")), 0);
	assert_int_equal(symlink("nowhere", inside("dangling.png")), 0);
	make_shard(shard_tar, false, 40);
	make_shard(shard_zip, true, 40);
	copy(shard_tar, cut_tar, 20000);
	return 0;
}

static int end(void **state)
{
	(void)state;
	scratch_remove();
	free((char *)folder);
	free((char *)shard_tar);
	free((char *)shard_zip);
	free((char *)cut_tar);
	return 0;
}

/* All items as text: "label CRC;" or "label !;" */
struct text { char s[65536]; struct moe_feed_counts counts; };

static void run_feed(struct text *out, struct moe_feed *f)
{
	struct moe_feed_item item;
	struct moe_diag d = {0};
	uint64_t n = 0;
	size_t at = 0;
	enum moe_err err;

	out->s[0] = 0;
	while (!(err = moe_feed_next(f, &item, &d))) {
		assert_int_equal(item.index, n++);
		if (item.failure.code)
			at += (size_t)snprintf(out->s + at, sizeof out->s - at, "%s !;", item.label);
		else
			at += (size_t)snprintf(out->s + at, sizeof out->s - at, "%s %08x;", item.label, item.picture.rgb ? picture_crc(&item.picture) : 0);
		assert_true(!item.failure.code || (item.failure.text[0] && item.failure.path[0] && !item.picture.rgb));
		moe_feed_item_clear(&item);
	}
	assert_int_equal(err, MOE_END);
	assert_int_equal(moe_feed_next(f, &item, &d), MOE_END);
	moe_feed_counts(f, &out->counts);
	assert_int_equal(out->counts.items, n);
	moe_feed_free(f);
}

static struct moe_feed *new_feed(unsigned threads, bool labels)
{
	struct moe_feed_options o = {.threads = threads, .labels_only = labels, .window = threads ? 3 : 0};
	struct moe_diag d = {0};
	struct moe_feed *f;

	assert_int_equal(moe_feed_new(&f, &o, &d), MOE_OK);
	return f;
}

static void add(struct moe_feed *f, const char *path) { assert_int_equal(moe_feed_add(f, path, NULL), MOE_OK); }

static void strip_values(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == ' ')
			s += strcspn(s, ";");
		*to++ = *s;
	}
	*to = 0;
}

static void test_folder(void **state)
{
	static struct text t;
	struct moe_feed *f = new_feed(0, false);
	char want[2048];

	(void)state;
	add(f, folder);
	run_feed(&t, f);
	strip_values(t.s);
	snprintf(want, sizeof want, "%s/a.png;%s/b.jpg;%s/c.bmp;%s/d.webp;%s/link.png;", folder, folder, folder, folder, folder);
	assert_string_equal(t.s, want);
	assert_int_equal(t.counts.failed, 2);
	assert_int_equal(t.counts.passed_over, 2);
	assert_int_equal(t.counts.special, 2);
}

static void everything(struct moe_feed *f)
{
	add(f, "tests/golden/crops/003.png");
	add(f, "/nonexistent/x.png");
	add(f, folder);
	add(f, shard_tar);
	add(f, "/nonexistent/y.tar");
	add(f, scratch("empty"));
	add(f, shard_zip);
	add(f, cut_tar);
	add(f, inside("note.txt"));
	add(f, "tests/golden/crops/004.png");
}

/* With any number of threads the same; without decoding the same items. */
static void test_threads(void **state)
{
	static struct text one, other;
	struct moe_feed *f = new_feed(0, false);

	(void)state;
	everything(f);
	run_feed(&one, f);
	for (unsigned threads = 1; threads <= 4; threads++) {
		f = new_feed(threads, false);
		everything(f);
		run_feed(&other, f);
		assert_string_equal(other.s, one.s);
		assert_memory_equal(&other.counts, &one.counts, sizeof one.counts);
	}
	f = new_feed(2, true);
	everything(f);
	run_feed(&other, f);
	strip_values(one.s);
	strip_values(other.s);
	assert_string_equal(other.s, one.s);
	assert_int_equal(one.counts.passed_over, other.counts.passed_over);
}

static void test_shards(void **state)
{
	static struct text t;
	struct moe_feed *f = new_feed(1, false);

	(void)state;
	add(f, shard_tar);
	run_feed(&t, f);
	assert_int_equal(t.counts.items, 40);
	assert_int_equal(t.counts.failed, 1);
	assert_int_equal(t.counts.passed_over, 40);
	assert_non_null(strstr(t.s, "020.png !;"));
	assert_true(!strncmp(t.s, "000.png ", 8));
	f = new_feed(0, false);
	add(f, cut_tar);
	run_feed(&t, f);
	assert_true(t.counts.failed == 2 && t.counts.items < 40);       /* the bad picture, and the cut */
}

/* The same pictures out of a tar, a zip and a file have the same pixels. */
static void test_same(void **state)
{
	static struct text t;
	struct moe_feed *f = new_feed(1, false);
	char *crc, *at;
	size_t n;

	(void)state;
	add(f, shard_tar);
	add(f, shard_zip);
	run_feed(&t, f);
	n = strlen(t.s);
	assert_true(n % 2 == 0 && !memcmp(t.s, t.s + n / 2, n / 2));
	f = new_feed(0, false);
	add(f, "tests/golden/crops/007.png");
	at = strstr(t.s, "007.png");
	crc = strndup(at, strcspn(at, ";"));
	run_feed(&t, f);
	assert_non_null(strstr(t.s, crc));
	free(crc);
}

static void write_list(const char *path, char separator)
{
	FILE *l = fopen(path, "w");

	fprintf(l, "tests/golden/crops/000.png%c", separator);
	fprintf(l, "%c%c", separator, separator);
	fprintf(l, "%s%c", shard_zip, separator);
	fprintf(l, "nosuch.png%c", separator);
	for (int i = 0; i < 70000; i++)
		fputc('p', l);
	fputc(separator, l);
	fprintf(l, "tests/golden/crops/001.png");
	fclose(l);
}

static void test_list(void **state)
{
	static struct text t;

	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		char separator = turn ? 0 : '\n';
		struct moe_feed *f = new_feed(0, false);
		const char *path = scratch("list");
		write_list(path, separator);
		assert_int_equal(moe_feed_add_list(f, path, separator, NULL), MOE_OK);
		add(f, "tests/golden/crops/002.png");
		run_feed(&t, f);
		assert_int_equal(t.counts.items, 1 + 40 + 1 + 1 + 1 + 1);
		assert_int_equal(t.counts.failed, 1 + 1 + 1);
		assert_true(!strncmp(t.s, "tests/golden/crops/000.png ", 27));
		assert_non_null(strstr(t.s, "nosuch.png !;"));
	}
}

/* A list of lines that is read as one of NULs, and a list that does not exist. */
static void test_bad_lists(void **state)
{
	static struct text t;
	struct moe_feed *f = new_feed(0, false);

	(void)state;
	write_bytes(scratch("nul"), "a\0b\n", 4);
	assert_int_equal(moe_feed_add_list(f, scratch("nul"), '\n', NULL), MOE_OK);
	assert_int_equal(moe_feed_add_list(f, "/nonexistent/list", '\n', NULL), MOE_OK);
	write_bytes(scratch("none"), "", 0);
	assert_int_equal(moe_feed_add_list(f, scratch("none"), '\n', NULL), MOE_OK);
	run_feed(&t, f);
	assert_string_equal(t.s, "a !;/nonexistent/list !;");
}

static void redirect(const char *path)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	dup2(fd, STDIN_FILENO);
	close(fd);
}

static void test_input(void **state)
{
	static struct text t;
	struct moe_feed *f = new_feed(1, false);

	(void)state;
	redirect("tests/golden/crops/005.png");
	add(f, "-");
	add(f, "-");
	run_feed(&t, f);
	assert_true(!strncmp(t.s, "- ", 2) && strstr(t.s, ";- !;"));
	assert_int_equal(t.counts.items, 2);
	write_bytes(scratch("l"), "tests/golden/crops/005.png\n-\n", 29);
	redirect(scratch("l"));
	f = new_feed(0, false);
	assert_int_equal(moe_feed_add_list(f, "-", '\n', NULL), MOE_OK);
	run_feed(&t, f);
	assert_int_equal(t.counts.items, 2);
	assert_int_equal(t.counts.failed, 1);
}

/* Leaving early, with threads at work, full windows, and a list that does not end. */
static void test_leave(void **state)
{
	struct moe_feed_item item;
	int pair[2];

	(void)state;
	for (unsigned threads = 0; threads < 4; threads++) {
		struct moe_feed *f = new_feed(threads, false);
		add(f, shard_tar);
		for (unsigned i = 0; i < threads * 2; i++) {
			assert_int_equal(moe_feed_next(f, &item, NULL), MOE_OK);
			moe_feed_item_clear(&item);
		}
		moe_feed_free(f);
	}
	assert_int_equal(pipe(pair), 0);
	dup2(pair[0], STDIN_FILENO);
	assert_int_equal(write(pair[1], "tests/golden/crops/005.png\n", 27), 27);
	for (unsigned threads = 1; threads < 3; threads++) {
		struct moe_feed *f = new_feed(threads, false);
		assert_int_equal(moe_feed_add_list(f, "-", '\n', NULL), MOE_OK);
		if (threads == 1) {
			assert_int_equal(moe_feed_next(f, &item, NULL), MOE_OK);
			moe_feed_item_clear(&item);
		}
		moe_feed_free(f);       /* nothing more has come on the pipe, and the writer is open */
	}
	close(pair[0]);
	close(pair[1]);
}

/* The weight of what waits is bounded: with room for less than one picture, one at a time is decoded all the same. */
static void test_weight(void **state)
{
	static struct text one, other;
	struct moe_feed_options o = {.threads = 2, .window = 8, .window_nbytes = 1};
	struct moe_feed *f;

	(void)state;
	assert_int_equal(moe_feed_new(&f, &o, NULL), MOE_OK);
	everything(f);
	run_feed(&other, f);
	f = new_feed(0, false);
	everything(f);
	run_feed(&one, f);
	assert_string_equal(one.s, other.s);
}

/* Of 40 members number i · (40 / n) are given; what stands beside is not touched. */
static void check_frames(unsigned threads, bool labels_only, unsigned n)
{
	static struct text t;
	struct moe_feed *f = new_feed(threads, labels_only);
	char want[4096] = "tests/golden/crops/003.png;", *to = want + strlen(want);

	add(f, "tests/golden/crops/003.png");
	assert_int_equal(moe_feed_add_frames(f, shard_tar, false, 0, n, NULL), MOE_OK);
	assert_int_equal(moe_feed_add_frames(f, shard_zip, false, 0, 2, NULL), MOE_OK);
	add(f, "tests/golden/crops/004.png");
	for (unsigned i = 0; i < n; i++)
		to += sprintf(to, "%03u.png;", i * (40 / n));
	strcpy(to, "000.png;020.png;tests/golden/crops/004.png;");
	run_feed(&t, f);
	strip_values(t.s);
	assert_string_equal(t.s, want);
	assert_int_equal(t.counts.failed, labels_only ? 0 : 1 + (n > 1 && 20 % (40 / n) == 0 && 20 / (40 / n) < n));       /* 020.png is broken in both */
}

static void test_frames(void **state)
{
	static const unsigned n[] = {1, 2, 3, 7, 13, 21, 39, 40};
	static struct text t;
	struct moe_feed *f;

	(void)state;
	for (unsigned i = 0; i < 3 * sizeof n / sizeof *n; i++)
		check_frames(i % 3 == 1 ? 2 : 0, i % 3 == 2, n[i / 3]);
	f = new_feed(0, false);         /* a list, and in it a folder of five */
	write_bytes(scratch("video"), "tests/golden/crops/000.png\ntests/golden/crops/001.png\n", 54);
	assert_int_equal(moe_feed_add_frames(f, scratch("video"), true, '\n', 2, NULL), MOE_OK);
	assert_int_equal(moe_feed_add_frames(f, folder, false, 0, 2, NULL), MOE_OK);
	run_feed(&t, f);
	strip_values(t.s);
	assert_int_equal(strncmp(t.s, "tests/golden/crops/000.png;tests/golden/crops/001.png;", 54), 0);
	assert_int_equal(t.counts.items, 4);
	assert_non_null(strstr(t.s, "/a.png;"));
	assert_non_null(strstr(t.s, "/c.bmp;"));
}

static void refuse_frames(const char *path, bool list, unsigned n, enum moe_err code, const char *why)
{
	struct moe_feed *f = new_feed(0, false);
	struct moe_diag d = {0};
	char text[800];

	assert_int_equal(moe_feed_add_frames(f, path, list, '\n', n, &d), code);
	if (!strstr(moe_diag_string(&d, text, sizeof text), why))
		fail_msg("\"%s\" without \"%s\"", text, why);
	assert_int_equal(moe_feed_add_frames(f, path, list, '\n', n, NULL), code);
	moe_feed_free(f);
}

static void test_no_frames(void **state)
{
	(void)state;
	refuse_frames(shard_tar, false, 41, MOE_EINPUT, "shard.tar: 40 pictures, but 41 frames are asked for");
	refuse_frames(scratch("empty"), false, 1, MOE_EINPUT, "empty: 0 pictures, but 1 frames");
	refuse_frames(shard_tar, false, 0, MOE_EUSAGE, "without frames");
	refuse_frames("-", true, 2, MOE_EUSAGE, "standard input: frames are chosen");
	refuse_frames("/nonexistent/y.tar", false, 2, MOE_EIO, "/nonexistent/y.tar: cannot open");
	refuse_frames("/dev/null", true, 2, MOE_EUSAGE, "/dev/null: frames are chosen from a folder or a file");
	write_bytes(scratch("bad.tar"), "no archive at all, but long enough to be looked at", 50);
	refuse_frames(scratch("bad.tar"), false, 2, MOE_EINPUT, "bad.tar");
	assert_int_equal(mkfifo(scratch("pipe"), 0600), 0);
	refuse_frames(scratch("pipe"), true, 2, MOE_EUSAGE, "written to a file first");         /* and does not wait for a writer */
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folder), cmocka_unit_test(test_threads), cmocka_unit_test(test_shards), cmocka_unit_test(test_same),
		cmocka_unit_test(test_list), cmocka_unit_test(test_bad_lists), cmocka_unit_test(test_input), cmocka_unit_test(test_leave),
		cmocka_unit_test(test_weight), cmocka_unit_test(test_frames), cmocka_unit_test(test_no_frames),
	};
	struct moe_diag d = {0};

	if (moe_feed_server_start(&d))
		return 1;
	return cmocka_run_group_tests(tests, begin, end);
}
