/* thread.h: threads with a stack of their own size. */
#ifndef MOE_SYS_THREAD_H
#define MOE_SYS_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Starts fn(arg) in a new thread, which has the stack that the kernels need whatever the caller's limit of stacks (`ulimit -s`) is: the panels of a
 * product lie on it, and the variables of the thread too. False: there is no memory or number left for one; the work must be done without it. */
bool moe_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg);

#endif
