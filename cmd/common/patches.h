/* moe-stats --sheet: the patches that experts weigh most, cut from the pictures of the run. */
#ifndef MOE_CMD_PATCHES_H
#define MOE_CMD_PATCHES_H

#include "common/cli.h"
#include "stats/top.h"

/* Writes the sheet of the lists, which are in order, as PNG to `path`, with the pictures of the inputs: all of them, in the order in which the run took them.
 * Dies on failure. */
void patches_write(const char *path, const struct moe_top *top, const struct opt_list *pictures);

#endif
