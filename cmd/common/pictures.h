/* Pictures named on the command line: files, folders, shards, lists. */
#ifndef MOE_CMD_PICTURES_H
#define MOE_CMD_PICTURES_H

#include "common/cli.h"
#include "image/feed.h"

extern struct pictures_options {
	const char *files_from;
	bool null, no_sandbox;
} pictures_options;

#define OPT_PICTURES \
	{0, "files-from", OPT_TEXT, &pictures_options.files_from, "LIST", "also take the pictures named in this file, one a line (-: standard input)", 0, 0, 0}, \
	{'0', "null", OPT_FLAG, &pictures_options.null, 0, "names in LIST end with NUL instead of a newline", 0, 0, 0}, \
	{0, "no-sandbox", OPT_FLAG, &pictures_options.no_sandbox, 0, "decode even where the kernel cannot confine the decoder", 0, 0, 0}

/* First thing in main, even before cli_start: forks the server that decodes. */
void pictures_start(const struct tool *t);

/* Says how many files were passed over, unless that is none or --quiet. */
void pictures_report(struct moe_feed *feed);

/* A feed over n operands and --files-from. */
struct moe_feed *pictures_feed(char **operands, int n, struct moe_feed_options *o);

#endif
