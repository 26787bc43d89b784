/* Confinement of the calling process: limits, and a filter that leaves only reading, writing and memory. There is no way back. */
#ifndef MOE_SYS_SANDBOX_H
#define MOE_SYS_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

struct moe_sandbox_limits {
	uint64_t memory;        /* bytes of address space beyond what is mapped now */
	unsigned cpu_seconds;
};

/* Sets the limits (address space, CPU time, no core, no files written, no new descriptors). Under AddressSanitizer and ThreadSanitizer, which reserve
 * terabytes, the address space stays unlimited. 0, or errno. */
int moe_sandbox_limit(const struct moe_sandbox_limits *l);

/* Enters the system-call filter. Forbidden calls kill the process (signal 31, SIGSYS), except that opening and looking up files
 * and advice about memory fail with EACCES, because the C library tries that and lives on without. Skipped under the sanitizers. 0, or errno (ENOSYS: this kernel,
 * or this architecture, has no filter). */
int moe_sandbox_enter(void);

/* False where moe_sandbox_enter only pretends (sanitizer builds). */
bool moe_sandbox_real(void);

#endif
