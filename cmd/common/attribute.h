/* Shares of answers' logits, from a stream with the parts of all layers: moe-stats --attribution. */
#ifndef MOE_CMD_ATTRIBUTE_H
#define MOE_CMD_ATTRIBUTE_H

#include "common/cli.h"
#include "report/attributed.h"

/* Reads the stream `path` (NULL or "-": standard input) behind the last layer of the model of -m and prints to -o; the exit status. */
int attribute_main(const char *path, enum moe_attributed_form form);

#endif
