/* A server process that forks confined workers for work on hostile bytes.
 *
 * moe_server_start forks it first thing in main, while the program has no threads, no mappings, no secrets and no descriptors of its own; it keeps one
 * socket and nothing else. A worker is a fork of it: it gets one end of a stream socket, at most one open file, limits and a system-call filter
 * (sys/sandbox.h), and runs one of the functions that were given at the start. The program believes nothing that a worker says. */
#ifndef MOE_SYS_SERVER_H
#define MOE_SYS_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Kinds of worker; a kind is its index in the table. */
enum moe_work_kind { MOE_WORK_PICTURES, MOE_WORK_ARCHIVE, MOE_N_WORK };

struct moe_work {
	/* Optional, in the worker before it is confined: loads what cannot be loaded later. False: the worker ends, with exit status 1. */
	bool (*prepare)(void);
	/* The work itself, confined. `socket` talks to the program, `file` is the file that came along or -1. Returning ends the worker. */
	void (*run)(int socket, int file);
	uint64_t memory;                /* bytes of address space beyond what it starts with */
	unsigned cpu_seconds;
};

/* Forks the server. Once per program, before threads. `table` has MOE_N_WORK entries and is kept. MOE_EIO when the system refuses. A server that
 * runs already is fine and keeps its table. The server ends with the program. */
enum moe_err moe_server_start(const struct moe_work *table, struct moe_diag *d) MOE_CHECK_RESULT;

/* Ends the server and its workers; for tests, programs just exit. */
void moe_server_stop(void);

/* One worker of the program's. */
struct moe_worker {
	int fd;                         /* stream socket, not blocking; -1: none */
	pid_t pid;
	bool met;                       /* its first byte has been read: it is confined and runs */
	int refusal;                    /* that byte, when it is not: an errno, or 255 when `prepare` failed */
};

/* Starts a worker; `file` (-1: none) stays the caller's. Any thread. With no_sandbox it works without the system-call filter. */
enum moe_err moe_worker_start(struct moe_worker *w, enum moe_work_kind kind, int file, bool no_sandbox, struct moe_diag *d) MOE_CHECK_RESULT;

/* Kills the worker if it still runs and closes the socket; *status is as from waitpid (NULL: nobody cares). A worker that was
 * never started is fine. */
void moe_worker_end(struct moe_worker *w, int *status);

/* Does it still run and say nothing? Asked before a worker is given more: one that speaks unasked, or has ended, is not used again. */
bool moe_worker_silent(const struct moe_worker *w);

/* Sends all of n bytes, or receives exactly n, before `deadline` (moe_now_ms). On failure the worker is of no more use: end it with
 * moe_worker_fail. MOE_END: it closed the connection; MOE_AGAIN: the deadline has passed; MOE_EIO otherwise. */
enum moe_err moe_worker_send(struct moe_worker *w, const void *bytes, size_t n, uint64_t deadline) MOE_CHECK_RESULT;
enum moe_err moe_worker_receive(struct moe_worker *w, void *bytes, size_t n, uint64_t deadline) MOE_CHECK_RESULT;

/* Ends the worker and says why in *d: "the WHO crashed (signal 11)", "took longer than 10 s", "cannot be confined ...". `err` is what
 * send or receive gave. MOE_EINPUT when the bytes are to blame, MOE_EIO when the system is. */
enum moe_err moe_worker_fail(struct moe_worker *w, enum moe_err err, const char *who, unsigned timeout_ms, struct moe_diag *d);

/* Monotonic clock in milliseconds. */
uint64_t moe_now_ms(void);

/* Blocking halves for the worker's side; false at the end of the connection. */
bool moe_work_read(int fd, void *bytes, size_t n);
bool moe_work_write(int fd, const void *bytes, size_t n);

#endif
