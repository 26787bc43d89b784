/* How much memory this process may still take, and has taken. */
#ifndef MOE_SYS_MEMORY_H
#define MOE_SYS_MEMORY_H

#include <stdint.h>

/* Bytes: the least of what Linux calls available (free memory and caches that can be dropped), what the control group of the process allows, and
 * the limit on its address space. UINT64_MAX when nothing can be told. */
uint64_t moe_memory_available(void);

/* Bytes that this process had in memory at most so far, pages of mapped files included; 0 when nothing can be told. */
uint64_t moe_memory_peak(void);

/* Bytes that it has in memory now, without the pages of files; 0 when nothing can be told. */
uint64_t moe_memory_now(void);

#endif
