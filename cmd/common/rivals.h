/* Two models on the same input: moe-diff A B PICTURE... */
#ifndef MOE_CMD_RIVALS_H
#define MOE_CMD_RIVALS_H

#include "report/trace_compare.h"

extern struct rivals_options {
	const char *prompt;
} rivals_options;

#define OPT_RIVALS \
	{'p', "prompt", OPT_TEXT, &rivals_options.prompt, "TEXT", "run both models on this prompt, <image> standing for a picture", 0, 0, "the first model's own"}, \
	{'n', "max-new", OPT_INT, &generation_options.max_new, "N", "at most N new tokens per answer of these", 1, 1e6, "the model's own limit"}

/* Runs both models, greedily, on the prompt and each of n pictures, and compares their routing and their answers. Says whether they are the same. Dies on a
 * failure. */
bool rivals_compare(const char *a, const char *b, char **picture, int n, double tie, bool json);

#endif
