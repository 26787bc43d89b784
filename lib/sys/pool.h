/* A pool of threads for loops of independent chunks. Threads start at the first large job, take chunks from an atomic counter, and sleep a few microseconds
 * after the last one: dozens of programs of one pipeline share the cores. */
#ifndef MOE_SYS_POOL_H
#define MOE_SYS_POOL_H

#include <stddef.h>

#include "base/err.h"

struct moe_pool;

/* A pool of n_threads in all, the caller included. NULL stands for "no threads" everywhere. */
struct moe_pool *moe_pool_new(unsigned n_threads);
void moe_pool_free(struct moe_pool *p);

/* Calls fn(arg, chunk) for every chunk below n_chunks, on all threads, and returns when all are done. `work` is the job's size in
 * FLOPs: below about a million it runs on the caller alone, or below 200,000 while the threads are awake. Not for use by two threads at once; chunks must not nest pools.
 * When threads cannot be started, the caller does the work alone. */
void moe_pool_run(struct moe_pool *p, double work, size_t n_chunks, void (*fn)(void *arg, size_t chunk), void *arg);

unsigned moe_pool_threads(const struct moe_pool *p);

/* Threads that this process may use (affinity and cgroup quota respected). */
unsigned moe_cpu_count(void);

#endif
