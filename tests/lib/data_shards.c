/* Samples out of tars, zips, folders, lists and standard input; and every fault costs one sample, with its name. */
#include "data_made.h"

#include <fcntl.h>

#include "image/feed.h"

static int begin(void **state)
{
	struct moe_diag d = {0};

	(void)state;
	return moe_feed_server_start(&d);
}

/* What a source gives, as text: "name kind answer,answer;" or "name !failure;". */
static char *all(const char *path)
{
	static char text[1 << 20];
	struct moe_shard *s;
	struct moe_item item;
	struct moe_diag d = {0};
	size_t at = 0;
	enum moe_err err;

	text[0] = 0;
	expect_ok(&d, moe_shard_open(&s, path, NULL, &d));
	while (!(err = moe_shard_next(s, &item, &d))) {
		struct moe_diag failure = {0};
		struct moe_sample m;
		if (moe_sample_read(&m, &item, &failure)) {
			at += (size_t)snprintf(text + at, sizeof text - at, "!%s;", say(&failure));
		} else {
			at += (size_t)snprintf(text + at, sizeof text - at, "%s %s%s", m.name, m.kind, m.picture ? "" : " blank");
			for (size_t i = 0; i < m.n_questions; i++)
				at += (size_t)snprintf(text + at, sizeof text - at, " %s|%s", m.question[i].prompt ? m.question[i].prompt : "-", m.question[i].answer);
			at += (size_t)snprintf(text + at, sizeof text - at, ";");
			moe_sample_clear(&m);
		}
		moe_item_clear(&item);
	}
	assert_int_equal(err, MOE_END);
	assert_int_equal(moe_shard_next(s, &item, &d), MOE_END);
	moe_shard_close(s);
	return text;
}

/* The items of `text` that lie below `folder`, as they should read. */
static void expect(const char *path, const char *want)
{
	char whole[8192], *to = whole;
	const char *got = all(path);

	for (; *want; want++)           /* % stands for the path */
		to += *want == '%' ? sprintf(to, "%s", strcmp(path, "-") ? path : "standard input") : sprintf(to, "%c", *want);
	if (strcmp(got, whole))
		fail_msg("%s gives\n%s\nexpected\n%s", path, got, whole);
}

static const char yes[] = "{\"kind\": \"scene\", \"later\": [1], \"questions\": [{\"type\": \"a\", \"prompt\": \"<ask> x?\", \"answer\": \" red\", \"more\": 1}, "
			  "{\"answer\": \"2\", \"spell\": true}], \"tags\": {\"font\": \"f\"}, \"boxes\": [[\"A\", 1, 2.5, 3, 4]], \"attributes\": [{\"colour\": \"red\"}]}";

static void put_members(struct archive *a)
{
	tar_crop(a, "x/a.png", 0);
	tar_text(a, "x/a.json", yes);
	tar_text(a, "x/README.md", "no part of it");
	tar_text(a, "x/b.txt", "v1.0\r\n");
	tar_crop(a, "x/b.PNG", 1);
	tar_text(a, "x/c.json", "{\"picture\": false, \"questions\": [{\"answer\": \"3\"}]}");
	tar_text(a, "x/.c.json", "hidden");
	tar_crop(a, "x/d.e.png", 1);
	tar_text(a, "x/d.f.txt", "last");
}

static const char members[] = "%/x/a scene <ask> x?| red -|2;%/x/b text -|v1.0;%/x/c text blank -|3;%/x/d text -|last;";

static void test_archives(void **state)
{
	const char *names[] = {"s.tar", "s.zip"};
	char command[900];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct archive *a = tar_open(scratch(names[i]), i);
		put_members(a);
		tar_close(a);
		expect(scratch(names[i]), members);
	}
	snprintf(command, sizeof command, "gzip -k %s && mv %s %s", scratch("s.tar"), scratch("s.tar.gz"), scratch("s.tgz"));
	assert_int_equal(system(command), 0);
	expect(scratch("s.tgz"), members);
}

static void test_standard_input(void **state)
{
	int kept = dup(STDIN_FILENO), fd = open(scratch("s.tar"), O_RDONLY), ends[2];
	char command[600];
	FILE *p;

	(void)state;
	assert_true(fd >= 0 && kept >= 0);
	assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
	expect("-", members);
	snprintf(command, sizeof command, "cat %s; sleep 0.2", scratch("s.tar"));
	assert_non_null(p = popen(command, "r"));
	assert_int_equal(dup2(fileno(p), STDIN_FILENO), STDIN_FILENO);
	expect("-", members);
	pclose(p);
	assert_int_equal(pipe(ends), 0);        /* an empty one */
	close(ends[1]);
	dup2(ends[0], STDIN_FILENO);
	close(ends[0]);
	assert_non_null(strstr(all("-"), "!standard input: "));
	dup2(kept, STDIN_FILENO);
	close(kept);
	close(fd);
}

static void copy_crop(const char *to, unsigned number)
{
	char from[64];
	size_t n;
	uint8_t *bytes;

	snprintf(from, sizeof from, "tests/golden/crops/%03u.png", number);
	bytes = read_bytes(from, &n);
	write_bytes(to, bytes, n);
	free(bytes);
}

static void put_text(const char *path, const char *text) { write_bytes(path, text, strlen(text)); }

static void test_folders(void **state)
{
	const char *folder;

	(void)state;
	mkdir(scratch("f"), 0700);
	mkdir(scratch("f/sub"), 0700);
	copy_crop(scratch("f/a.png"), 0);
	put_text(scratch("f/a.json"), yes);
	put_text(scratch("f/a-b.txt"), "q");
	copy_crop(scratch("f/a-b.png"), 0);
	copy_crop(scratch("f/m.png"), 0);
	copy_crop(scratch("f/k.png"), 0);
	put_text(scratch("f/zz.tsv"), "k.png\t<ask> who?\t me\n\nm.png\tm\r\na.png\tnot this\nnowhere.png\tx\n../f/a.png\tx\n");
	folder = scratch("f");
	expect(folder, "%/a-b text -|q;%/a scene <ask> x?| red -|2;%/k text <ask> who?| me;%/m text -|m;"
		       "!%/nowhere.png: line 5 of the list names it, but it does not come behind the list;"
		       "!%/../f/a.png: line 6 of the list names it, but it does not come behind the list;");
	expect(scratch("nothing.tar"), "!%: cannot open: No such file or directory;");
	expect("tests/golden/crops.tsv.md", "!%: cannot open: No such file or directory;");
	expect("Makefile", "!%: neither a folder nor a .tar, .tar.gz, .tgz, .zip or .tsv;");
}

static void test_lists(void **state)
{
	const char *text = all("tests/golden/crops.tsv");
	unsigned n = 0;

	(void)state;
	for (const char *p = text; (p = strchr(p, ';')); p++)
		n++;
	assert_int_equal(n, 180);
	assert_ptr_equal(strstr(text, "tests/golden/crops/000.png text -|27/03/2001;"), text);
	assert_null(strchr(text, '!'));
	put_text(scratch("l.tsv"), "f/a.png\t1\nf/b.png\t2\nf/a-b.png\nf/m.png\ta\tb\tc\nf/k.png\t\n");
	text = all(scratch("l.tsv"));
	assert_non_null(strstr(text, "f/a.png text -|1;"));
	assert_non_null(strstr(text, "f/b.png: cannot open"));
	assert_non_null(strstr(text, "f/a-b.png: its line of the list has no answer"));
	assert_non_null(strstr(text, "f/m.png: the line has more than three columns"));
	assert_non_null(strstr(text, "f/k.png: the answer is empty"));
	put_text(scratch("l.tsv"), "a\t1\nb\t1\na\t2\n");
	expect(scratch("l.tsv"), "!%: line 3: the file of line 1 again;");
}

struct fault { const char *json, *says; };

static const struct fault faults[] = {
	{"", "not JSON"}, {"{", "not JSON"}, {"[]", "a list, expected an object"}, {"{}", "\"questions\" is missing, expected a list"},
	{"{\"questions\": []}", "0 questions"}, {"{\"questions\": [1]}", "question 0 is a whole number"},
	{"{\"questions\": [{\"prompt\": \"p\"}]}", "question 0 has no answer"}, {"{\"questions\": [{\"answer\": \"\"}]}", "an empty answer"},
	{"{\"questions\": [{\"answer\": 5}]}", "\"answer\" is a whole number, expected a text"},
	{"{\"questions\": [{\"answer\": \"a\", \"spell\": 1}]}", "\"spell\" is a whole number"},
	{"{\"questions\": [{\"answer\": \"a\"}], \"boxes\": 1}", "\"boxes\" is a whole number"},
	{"{\"questions\": [{\"answer\": \"a\"}], \"boxes\": [[\"a\", 1, 2, 3]]}", "box 0 is not [label"},
	{"{\"questions\": [{\"answer\": \"a\"}], \"attributes\": {}}", "\"attributes\" is an object, expected a list"},
	{"{\"questions\": [{\"answer\": \"a\"}], \"attributes\": [{}]}", "attributes of 1 boxes, but there are 0"},
	{"{\"questions\": [{\"answer\": \"a\"}], \"boxes\": [[\"a\", 1, 2, 3, 4]], \"attributes\": [1]}", "\"attributes\" is a whole number, expected an object"},
	{"{\"questions\": [{\"answer\": \"a\"}], \"boxes\": [[\"a\", 1, 2, 3, 4]], \"attributes\": [{\"colour\": 1}]}", "\"an attribute\" is a whole number"},
	{"{\"questions\": [{\"answer\": \"a\"}], \"boxes\": [[\"a\", 1, 2, 3, \"4\"]]}", "a side of box 0 is a text"},
	{"{\"questions\": [{\"answer\": \"a\"}], \"boxes\": [[\"a\", 3, 2, 1, 4]]}", "wrong way round"},
	{"{\"questions\": [{\"answer\": \"a\"}], \"boxes\": [[\"a\", 1, 2, 1e300, 4]]}", "outside of any picture"},
	{"{\"questions\": [{\"answer\": \"a\"}], \"tags\": {\"x\": 1}}", "a tag"}, {"{\"kind\": null, \"questions\": [{\"answer\": \"a\"}]}", "\"kind\" is null"},
	{"{\"picture\": false, \"questions\": [{\"answer\": \"a\"}]}", "there is a picture, but"}, {"{\"kind\": \"\xff\"}", "not UTF-8"},
	{"{\"kind\": \"a\", \"kind\": \"b\"}", "not JSON"}, {"{\"questions\": [{\"answer\": \"a\\u0000b\"}]}", "not JSON"},
};

static void test_faults(void **state)
{
	struct archive *a = tar_open(scratch("faults.tar"), false);
	const size_t n = sizeof faults / sizeof *faults;
	char name[64], *text;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof name, "%08zu.png", i);
		tar_crop(a, name, 0);
		snprintf(name, sizeof name, "%08zu.json", i);
		tar_text(a, name, faults[i].json);
	}
	tar_crop(a, "alone.png", 0);
	tar_text(a, "beside.txt", "text");
	tar_crop(a, "two.png", 0);
	tar_crop(a, "two.jpg", 0);
	tar_text(a, "two.txt", "x");
	tar_text(a, "twice.txt", "x");
	tar_text(a, "twice.json", "{}");
	tar_crop(a, "../../etc/\033[2J\n.png", 0);
	tar_text(a, "../../etc/\033[2J\n.txt", "good");
	tar_close(a);
	text = all(scratch("faults.tar"));
	for (size_t i = 0; i < n; i++) {
		char *end = strchr(text, ';');
		snprintf(name, sizeof name, "faults.tar/%08zu: ", i);
		assert_non_null(end);
		*end = 0;
		if (!strstr(text, name) || !strstr(text, faults[i].says))
			fail_msg("%s gives %s, expected %s", faults[i].json, text, faults[i].says);
		text = end + 1;
	}
	assert_non_null(strstr(text, "faults.tar/alone: the picture has no text beside it"));
	assert_non_null(strstr(text, "faults.tar/beside: the text has no picture beside it"));
	assert_non_null(strstr(text, "faults.tar/two: two pictures of one name"));
	assert_non_null(strstr(text, "faults.tar/twice: two texts of one name"));
	assert_non_null(strstr(text, "text -|good;"));
}

/* Every cut of a tar ends in a failure that names it, and no sample of it is changed. */
static void test_truncated(void **state)
{
	struct archive *a = tar_open(scratch("whole.tar"), false);
	size_t n;
	uint8_t *bytes;

	(void)state;
	tar_text(a, "a.json", "{\"picture\": false, \"questions\": [{\"answer\": \"3\"}]}");
	tar_text(a, "b.json", "{\"picture\": false, \"questions\": [{\"answer\": \"4\"}]}");
	tar_close(a);
	bytes = read_bytes(scratch("whole.tar"), &n);
	for (size_t cut = 0; cut < 2048 + 512; cut += SLOW ? 333 : 57) {
		const char *text;
		write_bytes(scratch("cut.tar"), bytes, cut);
		text = all(scratch("cut.tar"));
		if (cut && (!strstr(text, "!/") || !strstr(text, "cut.tar")))
			fail_msg("cut at %zu: %s", cut, text);
		if (strstr(text, "text blank -|") && cut < 1024)
			fail_msg("cut at %zu: %s", cut, text);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_archives), cmocka_unit_test(test_standard_input), cmocka_unit_test(test_folders), cmocka_unit_test(test_lists),
		cmocka_unit_test(test_faults), cmocka_unit_test(test_truncated),
	};

	return cmocka_run_group_tests(tests, begin, scratch_remove);
}
