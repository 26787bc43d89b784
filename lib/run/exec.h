/* --exec: a program of the user's in place of a stage (moe-stream(5), "A user's program as a stage"). One process for the run; it gets a head
 * frame and answers with one, then frame in, frame out. */
#ifndef MOE_RUN_EXEC_H
#define MOE_RUN_EXEC_H

#include "run/engine.h"

struct moe_exec;

/* Starts the command of "STAGE:LAYERS=CMD" (stage attend, route or expert; layers 3, 0-1 or 2-) through /bin/sh. `timeout` is in seconds. */
enum moe_err moe_exec_start(struct moe_exec **out, const char *text, double timeout, const struct moe_model *m, struct moe_diag *d) MOE_CHECK_RESULT;

/* Ends its input, waits for it as long as for an answer (only briefly when something has `failed` already), kills it then, and complains
 * when it went on or failed. Frees it, whatever it returns. */
enum moe_err moe_exec_stop(struct moe_exec *x, bool failed, struct moe_diag *d) MOE_CHECK_RESULT;

/* Runs the step with the command when it is the command's; *done says whether it was. */
enum moe_err moe_exec_step(struct moe_exec *x, struct moe_pass *p, enum moe_pass_step step, bool *done, struct moe_diag *d) MOE_CHECK_RESULT;

/* The sequence is over: a command that attends, and so keeps something of it, gets a drop frame before its next frame. */
enum moe_err moe_exec_drop(struct moe_exec *x, uint64_t sequence, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
