/* Errors: one enum for every function, and a diagnostic that keeps the first message.
 *
 * A function that can fail returns enum moe_err (0 is success) and writes the detail into the caller's struct moe_diag.
 * The first error wins: later failures while unwinding do not overwrite it. The library never prints. */
#ifndef MOE_BASE_ERR_H
#define MOE_BASE_ERR_H

#include <stdint.h>

enum moe_err {
	MOE_OK = 0,
	MOE_EINPUT,   /* malformed, damaged or contradictory input */
	MOE_EMATCH,   /* well formed, but made for another model, layer or version */
	MOE_EIO,      /* the operating system refused */
	MOE_ENOMEM,   /* no memory, or more than the stated limit */
	MOE_EUSAGE,   /* the caller asked for something that does not exist */
	MOE_AGAIN,    /* not an error: nothing there yet (non-blocking reads only) */
	MOE_END,      /* not an error: the sequence of items has ended */
};

#define MOE_CHECK_RESULT __attribute__((warn_unused_result))
#define MOE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* One failure. `byte` is an offset in the file, -1 when there is none to tell; `row` is 1 + the row of a batch whose values are wrong, 0 for none. */
struct moe_diag {
	enum moe_err code;
	int64_t byte, row;
	char path[256];
	char text[512];
};

/* Records a failure unless one is recorded already; returns `code`, so that `return moe_fail(...)` reads well. `d` may be NULL. */
enum moe_err moe_fail(struct moe_diag *d, enum moe_err code, const char *fmt, ...) MOE_PRINTF(3, 4);

/* The same with the byte at which the input is wrong. */
enum moe_err moe_fail_at(struct moe_diag *d, enum moe_err code, uint64_t byte, const char *fmt, ...) MOE_PRINTF(4, 5);

/* The same with the row of the caller's batch, counted from 0, that is at fault. */
enum moe_err moe_fail_row(struct moe_diag *d, enum moe_err code, uint64_t row, const char *fmt, ...) MOE_PRINTF(4, 5);

/* A failed system call: appends the text of errno. */
enum moe_err moe_fail_errno(struct moe_diag *d, const char *fmt, ...) MOE_PRINTF(2, 3);

/* Adds the file's name to a recorded failure that has none yet; returns the recorded code. */
enum moe_err moe_diag_path(struct moe_diag *d, const char *path);

/* Writes "PATH: byte N: row N: TEXT" on one line into buf[cap], control characters and what is not UTF-8 as \xNN; returns buf. */
const char *moe_diag_string(const struct moe_diag *d, char *buf, unsigned cap);

/* Forgets the failure, so that the next item starts clean. */
void moe_diag_clear(struct moe_diag *d);

#define MOE_TRY(expr) do { enum moe_err try_err = (expr); if (try_err) return try_err; } while (0)

#endif
