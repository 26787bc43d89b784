#include "sys/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sys/thread.h"

/* What is worth sharing out with threads that sleep, and with threads that are awake; FLOPs. */
#define LEAST_WORK 1e6
#define LEAST_WORK_AWAKE 2e5

enum { PATIENCE = 1000 };       /* pauses before a thread sleeps: some 25 microseconds, about what falling asleep and waking up cost */

/* A job is published under the lock with a new number; workers that see it take chunks until none are left. Who waits looks for a moment, since jobs follow
 * each other closely, and then sleeps. */
struct moe_pool {
	unsigned n_threads, started;
	bool tried;
	atomic_bool stop;
	pthread_t *thread;
	pthread_mutex_t lock;
	pthread_cond_t begin, done;
	atomic_ulong job;               /* number of the current job; changed under the lock, as busy is */
	atomic_uint busy, awake;        /* workers inside it; workers that look for the next one */
	void (*fn)(void *arg, size_t chunk);
	void *arg;
	size_t n_chunks;
	atomic_size_t next;
};

struct moe_pool *moe_pool_new(unsigned n_threads)
{
	struct moe_pool *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->n_threads = n_threads ? n_threads : 1;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->begin, NULL);
	pthread_cond_init(&p->done, NULL);
	return p;
}

static void take_chunks(struct moe_pool *p)
{
	size_t chunk;

	while ((chunk = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < p->n_chunks)
		p->fn(p->arg, chunk);
}

static void pause_once(void)
{
#if defined __x86_64__
	__builtin_ia32_pause();
#endif
}

static void look_for_job(struct moe_pool *p, unsigned long seen)
{
	atomic_fetch_add_explicit(&p->awake, 1, memory_order_relaxed);
	for (int i = 0; i < PATIENCE && atomic_load_explicit(&p->job, memory_order_relaxed) == seen && !atomic_load_explicit(&p->stop, memory_order_relaxed); i++)
		pause_once();
	atomic_fetch_sub_explicit(&p->awake, 1, memory_order_relaxed);
}

/* Until no worker is inside a job; with the lock, which is let go of meanwhile. */
static void wait_until_idle(struct moe_pool *p)
{
	pthread_mutex_unlock(&p->lock);
	for (int i = 0; i < PATIENCE && atomic_load_explicit(&p->busy, memory_order_relaxed); i++)
		pause_once();
	pthread_mutex_lock(&p->lock);
	while (p->busy)
		pthread_cond_wait(&p->done, &p->lock);
}

static void *worker(void *arg)
{
	struct moe_pool *p = arg;
	unsigned long seen = 0;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		pthread_mutex_unlock(&p->lock);
		look_for_job(p, seen);
		pthread_mutex_lock(&p->lock);
		while (p->job == seen && !p->stop)
			pthread_cond_wait(&p->begin, &p->lock);
		if (p->stop)
			break;
		seen = p->job;
		p->busy++;
		pthread_mutex_unlock(&p->lock);
		take_chunks(p);
		pthread_mutex_lock(&p->lock);
		if (!--p->busy)
			pthread_cond_signal(&p->done);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Once, at the first large job. With fewer threads than wanted the work still gets done. */
static void start(struct moe_pool *p)
{
	p->tried = true;
	p->thread = calloc(p->n_threads, sizeof *p->thread);
	while (p->thread && p->started + 1 < p->n_threads && moe_thread_start(&p->thread[p->started], worker, p))
		p->started++;
}

static bool is_worth_sharing(struct moe_pool *p, double work, size_t n_chunks)
{
	if (!p || p->n_threads < 2 || n_chunks < 2 || work < LEAST_WORK_AWAKE)
		return false;
	if (work >= LEAST_WORK && !p->tried)
		start(p);
	return p->started && (work >= LEAST_WORK || atomic_load_explicit(&p->awake, memory_order_relaxed));
}

void moe_pool_run(struct moe_pool *p, double work, size_t n_chunks, void (*fn)(void *arg, size_t chunk), void *arg)
{
	if (!is_worth_sharing(p, work, n_chunks)) {
		for (size_t i = 0; i < n_chunks; i++)
			fn(arg, i);
		return;
	}
	pthread_mutex_lock(&p->lock);
	wait_until_idle(p);     /* a worker that woke too late for the last job must not see this one change under it */
	p->fn = fn;
	p->arg = arg;
	p->n_chunks = n_chunks;
	atomic_store_explicit(&p->next, 0, memory_order_relaxed);
	p->job++;
	pthread_cond_broadcast(&p->begin);
	pthread_mutex_unlock(&p->lock);
	take_chunks(p);
	pthread_mutex_lock(&p->lock);
	wait_until_idle(p);
	pthread_mutex_unlock(&p->lock);
}

unsigned moe_pool_threads(const struct moe_pool *p) { return p ? p->n_threads : 1; }

void moe_pool_free(struct moe_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->begin);
	pthread_mutex_unlock(&p->lock);
	while (p->started)
		pthread_join(p->thread[--p->started], NULL);
	pthread_cond_destroy(&p->done);
	pthread_cond_destroy(&p->begin);
	pthread_mutex_destroy(&p->lock);
	free(p->thread);
	free(p);
}

/* Whole cores of the cgroup's quota (cgroup v2), 0 when there is none. */
static unsigned quota(void)
{
	FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
	unsigned long long max, period;
	unsigned n = 0;

	if (f && fscanf(f, "%llu %llu", &max, &period) == 2 && period)
		n = (unsigned)((max + period - 1) / period);
	if (f)
		fclose(f);
	return n;
}

unsigned moe_cpu_count(void)
{
	cpu_set_t set;          /* too small for more than 1024 processors: then all of them */
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = sched_getaffinity(0, sizeof set, &set) ? online > 0 ? (unsigned)online : 1 : (unsigned)CPU_COUNT(&set), q = quota();

	n = q && q < n ? q : n;
	return n ? n : 1;
}
