/* The pool of threads: every chunk runs once, whatever the number of threads and the size of the job. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "lib_data.h"
#include "sys/pool.h"

#define LARGE 1e9       /* FLOPs: more than what one thread does alone */

enum { MOST = 5000 };

struct job {
	uint64_t sum[MOST];     /* one place per chunk: no lock is needed, and a race is one of the pool */
	atomic_uint runs;
};

static void square(void *arg, size_t chunk)
{
	struct job *j = arg;

	j->sum[chunk] += chunk * chunk + 1;
	atomic_fetch_add_explicit(&j->runs, 1, memory_order_relaxed);
}

/* The plain reads behind a run must see what the threads wrote. */
static void expect_job(struct moe_pool *p, double work, size_t n_chunks)
{
	static struct job j;

	memset(&j, 0, sizeof j);
	moe_pool_run(p, work, n_chunks, square, &j);
	for (size_t i = 0; i < n_chunks; i++)
		assert_true(j.sum[i] == (uint64_t)i * i + 1);
	assert_int_equal(j.runs, n_chunks);
}

static void test_sums(void **state)
{
	static const unsigned threads[] = {0, 1, 2, 3, 8, 33};
	static const size_t chunks[] = {0, 1, 2, 3, 7, 8, 9, 64, 1000, MOST};

	(void)state;
	for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
		struct moe_pool *p = moe_pool_new(threads[t]);
		assert_int_equal(moe_pool_threads(p), threads[t] ? threads[t] : 1);
		for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
			expect_job(p, LARGE, chunks[c]);
			expect_job(p, 0, chunks[c]);
		}
		moe_pool_free(p);
	}
}

static void test_no_pool(void **state)
{
	(void)state;
	expect_job(NULL, LARGE, 100);
	assert_int_equal(moe_pool_threads(NULL), 1);
	moe_pool_free(NULL);
	moe_pool_free(moe_pool_new(8));         /* never started */
}

/* Late wakers of one job must not run into the next. */
static void test_many_tiny_jobs(void **state)
{
	struct moe_pool *p = moe_pool_new(8);

	(void)state;
	for (unsigned i = 0; i < (SLOW ? 2000 : 20000); i++)
		expect_job(p, LARGE, 2 + i % 9);
	moe_pool_free(p);
}

static void test_many_pools(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct moe_pool *p = moe_pool_new(1 + i % 8);
		expect_job(p, LARGE, 10);
		moe_pool_free(p);
	}
}

/* ---- small jobs inside a chunk: on the caller alone ---- */

struct nested {
	struct moe_pool *pool;
	struct job inner[16];
};

static void run_inner(void *arg, size_t chunk)
{
	struct nested *n = arg;

	moe_pool_run(n->pool, 100, 50, square, &n->inner[chunk]);
	moe_pool_run(NULL, LARGE, 50, square, &n->inner[chunk]);
}

static void test_nested(void **state)
{
	static struct nested n;
	struct moe_pool *p = moe_pool_new(8);

	(void)state;
	for (unsigned turn = 0; turn < 200; turn++) {
		memset(&n, 0, sizeof n);
		n.pool = p;
		moe_pool_run(p, LARGE, 16, run_inner, &n);
		for (size_t i = 0; i < 16; i++) {
			assert_int_equal(n.inner[i].runs, 100);
			for (size_t c = 0; c < 50; c++)
				assert_true(n.inner[i].sum[c] == 2 * ((uint64_t)c * c + 1));
		}
	}
	moe_pool_free(p);
}

/* ---- threads are there: chunks that wait for each other all run at the same time ---- */

struct meeting {
	pthread_mutex_t lock;
	pthread_cond_t all;
	unsigned here;
	bool met;
};

static void meet(void *arg, size_t chunk)
{
	struct meeting *m = arg;
	struct timespec until;

	(void)chunk;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&m->lock);
	if (++m->here == 4) {
		m->met = true;
		pthread_cond_broadcast(&m->all);
	}
	while (!m->met && !pthread_cond_timedwait(&m->all, &m->lock, &until))
		;
	pthread_mutex_unlock(&m->lock);
}

static void test_parallel(void **state)
{
	struct meeting m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false};
	struct moe_pool *p = moe_pool_new(4);

	(void)state;
	moe_pool_run(p, LARGE, 4, meet, &m);
	assert_true(m.met);
	moe_pool_free(p);
}

/* A small job stays on the calling thread. */
static void note_thread(void *arg, size_t chunk) { ((pthread_t *)arg)[chunk] = pthread_self(); }

static void test_small_stays(void **state)
{
	struct moe_pool *p = moe_pool_new(8);
	pthread_t who[100];

	(void)state;
	expect_job(p, LARGE, 100);      /* the threads run */
	moe_pool_run(p, 1e5, 100, note_thread, who);
	for (size_t i = 0; i < 100; i++)
		assert_true(pthread_equal(who[i], pthread_self()));
	moe_pool_free(p);
}

static void test_cpu_count(void **state)
{
	(void)state;
	assert_in_range(moe_cpu_count(), 1, 4096);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums), cmocka_unit_test(test_no_pool), cmocka_unit_test(test_many_tiny_jobs), cmocka_unit_test(test_many_pools),
		cmocka_unit_test(test_nested), cmocka_unit_test(test_parallel), cmocka_unit_test(test_small_stays), cmocka_unit_test(test_cpu_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
