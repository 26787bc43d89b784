/* What the program and its archive worker say to each other. */
#ifndef MOE_IO_ARCHIVE_PRIV_H
#define MOE_IO_ARCHIVE_PRIV_H

#include <stdint.h>

enum { MOE_ARCHIVE_CHUNK = 64 << 10, MOE_ARCHIVE_NAME = 4096, MOE_ARCHIVE_SUFFIXES = 4096 };

/* Followed by n_suffixes bytes: suffixes with a NUL behind each; none: all members are wanted. */
struct moe_archive_request {
	uint64_t nbytes;                /* of the archive, 0 where it is not a regular file */
	uint64_t max_member_nbytes, max_members;
	uint32_t max_ratio, n_suffixes;
	uint8_t names_only;
};

/* One member is NAME DATA* (DONE | FAILED); the last message is END or BROKEN. */
enum moe_archive_say { MOE_SAY_NAME, MOE_SAY_DATA, MOE_SAY_DONE, MOE_SAY_FAILED, MOE_SAY_SPECIAL, MOE_SAY_PASSED, MOE_SAY_BROKEN, MOE_SAY_END };

/* Followed by n bytes: a name, data, or the text of a failure. */
struct moe_archive_message { uint32_t what, n; };

#endif
