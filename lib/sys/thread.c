#include "sys/thread.h"

enum { STACK = 4 << 20 };       /* bytes of address space; of memory only what is touched */

bool moe_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg)
{
	pthread_attr_t attr;
	bool ok;

	if (pthread_attr_init(&attr))
		return false;
	ok = !pthread_attr_setstacksize(&attr, STACK) && !pthread_create(thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return ok;
}
