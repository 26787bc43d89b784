/* Memory between pages without access: a kernel that reads or writes behind its end is a crash. */
#ifndef TESTS_KERNEL_GUARD_H
#define TESTS_KERNEL_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

/* n bytes that end (or begin) at a page without access. */
struct guarded {
	void *map, *p;
	size_t nmap;
};

static inline struct guarded guard(size_t nbytes, bool at_end)
{
	size_t page = 4096, body = (nbytes + page - 1) / page * page + page;
	struct guarded g = {.nmap = body + 2 * page};

	g.map = mmap(NULL, g.nmap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(g.map != MAP_FAILED);
	mprotect(g.map, page, PROT_NONE);
	mprotect((char *)g.map + page + body, page, PROT_NONE);
	g.p = (char *)g.map + page + (at_end ? body - nbytes : 0);
	return g;
}

static inline void unguard(struct guarded g) { munmap(g.map, g.nmap); }

#endif
