/* Pictures named on the command line: files, folders, shards, lists. */
#ifndef MOE_CMD_PICTURES_H
#define MOE_CMD_PICTURES_H

#include "common/cli.h"
#include "image/feed.h"
#include "stage/patchify.h"

extern struct pictures_options {
	const char *files_from;
	bool null, no_sandbox;
	long size, frames;
	const char *split;
} pictures_options;

#define OPT_PICTURES \
	{0, "files-from", OPT_TEXT, &pictures_options.files_from, "LIST", "also take the pictures named in this file, one a line (-: standard input)", 0, 0, 0}, \
	{'0', "null", OPT_FLAG, &pictures_options.null, 0, "names in LIST end with NUL instead of a newline", 0, 0, 0}, \
	{0, "no-sandbox", OPT_FLAG, &pictures_options.no_sandbox, 0, "decode even where the kernel cannot confine the decoder", 0, 0, 0}

/* How pictures are prepared. */
#define OPT_IMAGES \
	{0, "max-image-size", OPT_INT, &pictures_options.size, "PIXELS", "side of the square that a picture is fitted into, where the model leaves a choice", 1, 65535, \
	 "the model's own"}, \
	{0, "split", OPT_OPTIONAL, &pictures_options.split, "HOW", "cut a picture into tiles: original (the default of --split), hf or none", 0, 0, "the model's own"}
#define OPT_FRAMES \
	{0, "frames", OPT_INT, &pictures_options.frames, "N", "<video> in the prompt stands for N pictures, of which a folder, shard or LIST gives N evenly spaced", 1, 4096, 0}

/* First thing in main, even before cli_start: forks the server that decodes. */
void pictures_start(const struct tool *t);

/* Says how many files were passed over, unless that is none or --quiet. */
void pictures_report(struct moe_feed *feed);

/* What --max-image-size and --split ask for. */
const struct moe_image_choice *pictures_choice(void);

/* A feed over n operands and --files-from. */
struct moe_feed *pictures_feed(char **operands, int n, struct moe_feed_options *o);

#endif
