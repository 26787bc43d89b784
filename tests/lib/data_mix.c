/* The mix is a function of seed, sources and draw; it stops and goes on anywhere; its shares are the weights. */
#include "data_made.h"

#include <fcntl.h>

#include "data/mix.h"
#include "image/feed.h"

static const char *paths[2][2];

static int begin(void **state)
{
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_feed_server_start(&d));
	make_numbers(scratch("0.tar"), 0, 40);
	make_numbers(scratch("1.tar"), 40, 30);
	make_numbers(scratch("2.tar"), 1000, 25);
	paths[0][0] = strdup(scratch("0.tar"));
	paths[0][1] = strdup(scratch("1.tar"));
	paths[1][0] = strdup(scratch("2.tar"));
	return 0;
}

static int end(void **state)
{
	for (int i = 0; i < 4; i++)
		free((void *)(uintptr_t)paths[i / 2][i % 2]);
	return scratch_remove(state);
}

static void count_failed(void *self, const struct moe_diag *d)
{
	unsigned *n = self;

	assert_true(d->path[0] && d->text[0]);
	++*n;
}

static struct moe_mix *make(struct moe_mix_options o)
{
	const struct moe_mix_source s[] = {{paths[0], 2, 3}, {paths[1], 1, 1}};
	struct moe_diag d = {0};
	struct moe_mix *m;

	expect_ok(&d, moe_mix_new(&m, s, 2, &o, &d));
	return m;
}

/* The next n answers; fewer at the end. */
static unsigned take(struct moe_mix *m, unsigned *answer, unsigned n)
{
	struct moe_diag d = {0};

	for (unsigned i = 0; i < n; i++) {
		struct moe_sample s;
		size_t source;
		uint64_t draw;
		enum moe_err err = moe_mix_next(m, &s, &source, &draw, &d);
		if (err == MOE_END)
			return i;
		expect_ok(&d, err);
		answer[i] = (unsigned)atoi(s.question[0].answer);
		assert_int_equal(source, answer[i] >= 1000);
		assert_non_null(s.picture);
		moe_sample_clear(&s);
	}
	return n;
}

static void test_determined(void **state)
{
	unsigned a[300], b[300], same = 0;
	struct moe_mix *m;

	(void)state;
	for (size_t window = 1; window < 200; window = window * 7) {
		m = make((struct moe_mix_options){.seed = 5, .window = window});
		assert_int_equal(take(m, a, 300), 300);
		moe_mix_free(m);
		m = make((struct moe_mix_options){.seed = 5, .window = window});
		assert_int_equal(take(m, b, 300), 300);
		moe_mix_free(m);
		assert_memory_equal(a, b, sizeof a);
	}
	m = make((struct moe_mix_options){.seed = 6});
	take(m, b, 300);
	moe_mix_free(m);
	for (int i = 0; i < 300; i++)
		same += a[i] == b[i];
	assert_true(same < 100);
}

/* Each epoch has each sample once; the two sources are drawn 3 to 1. */
static void test_epochs_and_shares(void **state)
{
	unsigned a[4000], seen[70] = {0}, n = 0, first = 0, ordered = 0;
	struct moe_mix *m = make((struct moe_mix_options){.seed = 1, .window = 16});

	(void)state;
	assert_int_equal(take(m, a, 4000), 4000);
	moe_mix_free(m);
	for (int i = 0; i < 4000; i++) {
		if (a[i] >= 1000)
			continue;
		assert_true(a[i] < 70);
		assert_int_equal(seen[a[i]]++, n++ / 70);
		ordered += i && a[i] == a[i - 1] + 1;
	}
	assert_in_range(n, 2890, 3110);         /* 3000, four sigma 27 */
	assert_true(ordered < 300);
	m = make((struct moe_mix_options){.seed = 1, .window = 1, .once = true, .ordered = true});
	assert_int_equal(take(m, a, 4000), 95);
	moe_mix_free(m);
	for (int i = 0; i < 95; i++)
		if (a[i] < 1000)
			assert_int_equal(a[i], first++);
	assert_int_equal(first, 70);
}

static void test_restore(void **state)
{
	static const unsigned stops[] = {0, 1, 2, 17, 69, 70, 94, 95, 120, 199};
	unsigned a[300], b[300];

	(void)state;
	for (int once = 0; once < 2; once++) {
		struct moe_mix_options o = {.seed = 9, .window = 20, .once = once};
		struct moe_mix *m = make(o);
		unsigned n = take(m, a, 300);
		moe_mix_free(m);
		for (size_t i = 0; i < sizeof stops / sizeof *stops && stops[i] <= n; i++) {
			struct moe_mix_position p, q;
			struct moe_diag d = {0};
			m = make(o);
			take(m, b, stops[i]);
			moe_mix_position(m, &p);
			moe_mix_free(m);
			m = make(o);
			expect_ok(&d, moe_mix_restore(m, &p, &d));
			moe_mix_position(m, &q);
			assert_memory_equal(&p, &q, sizeof p);
			assert_int_equal(take(m, b + stops[i], 300 - stops[i]), n - stops[i]);
			moe_mix_free(m);
			assert_memory_equal(a, b, n * sizeof *a);
		}
	}
}

/* Another shard in a place is noticed. */
static void test_changed(void **state)
{
	struct moe_mix_options o = {.seed = 9, .window = 20};
	struct moe_mix_position p;
	struct moe_diag d = {0};
	struct moe_mix *m = make(o);
	unsigned a[60];

	(void)state;
	take(m, a, 60);
	moe_mix_position(m, &p);
	moe_mix_free(m);
	make_numbers(paths[0][0], 1, 40);
	m = make(o);
	expect_fail(&d, moe_mix_restore(m, &p, &d), MOE_EMATCH, "not the shards that were read before");
	moe_mix_free(m);
	make_numbers(paths[0][0], 0, 40);
}

/* Bad items are told of, and the sequence of the others stays. */
static void test_bad_items(void **state)
{
	struct archive *t = tar_open(scratch("bad.tar"), false);
	const char *path = strdup(scratch("bad.tar")), *two[2];
	struct moe_mix_source s = {two, 2, 0};
	unsigned failed = 0, n = 0;
	struct moe_mix_options o = {.seed = 2, .window = 8, .once = true, .failed = count_failed, .self = &failed};
	struct moe_mix_position p;
	struct moe_diag d = {0};
	struct moe_sample sample;
	struct moe_mix *m;
	enum moe_err err;

	(void)state;
	two[0] = path;
	two[1] = "nowhere.tar";
	tar_text(t, "a.json", "{\"picture\": false, \"questions\": [{\"answer\": \"3\"}]}");
	tar_text(t, "b.json", "{\"picture\": false, \"questions\": [{\"answer\"");
	tar_crop(t, "c.png", 4);
	tar_close(t);
	expect_ok(&d, moe_mix_new(&m, &s, 1, &o, &d));
	while (!(err = moe_mix_next(m, &sample, NULL, NULL, &d))) {
		n++;
		moe_sample_clear(&sample);
	}
	assert_int_equal(err, MOE_END);
	moe_mix_position(m, &p);
	assert_int_equal(n, 1);
	assert_int_equal(failed, 3);
	assert_int_equal(p.failed, 3);
	assert_int_equal(p.draws, 4);
	moe_mix_free(m);
	two[0] = "nowhere.tar";
	o.once = false;
	expect_ok(&d, moe_mix_new(&m, &s, 1, &o, &d));
	expect_fail(&d, moe_mix_next(m, &sample, NULL, NULL, &d), MOE_EINPUT, "no good samples");
	moe_mix_free(m);
	free((void *)(uintptr_t)path);
}

static void test_refused(void **state)
{
	const char *const input[] = {"-"}, *const more[] = {"-", "a.tar"};
	const struct moe_mix_source twice[] = {{input, 1, 1}, {input, 1, 1}}, among = {more, 2, 1}, light = {input, 1, -1}, none = {input, 0, 1};
	struct moe_mix_options o = {0};
	struct moe_diag d = {0};
	struct moe_mix *m;

	(void)state;
	expect_fail(&d, moe_mix_new(&m, twice, 2, &o, &d), MOE_EUSAGE, "standard input is one source");
	moe_diag_clear(&d);
	expect_fail(&d, moe_mix_new(&m, &among, 1, &o, &d), MOE_EUSAGE, "standard input is one source");
	moe_diag_clear(&d);
	expect_fail(&d, moe_mix_new(&m, &light, 1, &o, &d), MOE_EUSAGE, "weight -1");
	moe_diag_clear(&d);
	expect_fail(&d, moe_mix_new(&m, &none, 1, &o, &d), MOE_EUSAGE, "0 shards");
	moe_diag_clear(&d);
	expect_fail(&d, moe_mix_new(&m, &none, 0, &o, &d), MOE_EUSAGE, "0 sources");
}

/* Standard input is read again on the way to a position, and compared by its checksum. */
static void test_input(void **state)
{
	const char *const input[] = {"-"};
	const struct moe_mix_source s[] = {{input, 1, 1}};
	struct moe_mix_options o = {.seed = 3, .window = 10};
	struct moe_mix_position p;
	struct moe_diag d = {0};
	unsigned a[40], b[40];
	int kept = dup(STDIN_FILENO);

	(void)state;
	for (int round = 0; round < 3; round++) {
		struct moe_mix *m;
		struct moe_sample sample;
		int fd = open(paths[0][round == 2], O_RDONLY);
		assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
		close(fd);
		expect_ok(&d, moe_mix_new(&m, s, 1, &o, &d));
		if (round == 2)
			expect_fail(&d, moe_mix_restore(m, &p, &d), MOE_EMATCH, "not the shards");
		else if (round)
			expect_ok(&d, moe_mix_restore(m, &p, &d));
		for (unsigned i = round ? 15 : 0; round < 2 && i < 40; i++) {
			expect_ok(&d, moe_mix_next(m, &sample, NULL, NULL, &d));
			(round ? b : a)[i] = (unsigned)atoi(sample.question[0].answer);
			moe_sample_clear(&sample);
			if (!round && i == 14)
				moe_mix_position(m, &p);
		}
		if (round < 2)
			assert_int_equal(moe_mix_next(m, &sample, NULL, NULL, &d), MOE_END);
		moe_mix_free(m);
	}
	assert_memory_equal(a + 15, b + 15, 25 * sizeof *a);
	dup2(kept, STDIN_FILENO);
	close(kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_determined), cmocka_unit_test(test_epochs_and_shares), cmocka_unit_test(test_restore), cmocka_unit_test(test_changed),
		cmocka_unit_test(test_bad_items), cmocka_unit_test(test_refused), cmocka_unit_test(test_input),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
