/* An iterator over pictures from sources in order: files, folders, tar and zip shards, lists of paths, standard input.
 *
 *   main:    moe_feed_server_start(&d)                 first of all, before threads and mappings
 *   moe_feed_new(&f, &options, d); moe_feed_add(f, argv[i], d) ...; moe_feed_add_list(f, "names.txt", '\n', d)
 *   while (!(err = moe_feed_next(f, &item, d))) { ... item.failure.code ? report it : use item.picture; moe_feed_item_clear(&item); }
 *
 * What a path is: `-` one picture from standard input; a folder: its regular files in bytewise order, not deeper; a name that ends in .tar, .tar.gz,
 * .tgz or .zip: its members in order; anything else: a picture. In folders and archives only names with a picture's ending, and without a dot before, are items (the
 * ending of a picture format that is not supported makes a failed item); everything else there is counted as passed over. Which items there are depends on
 * names and on the archive alone, never on pixels, so iterations with and without decoding see the same items.
 *
 * A bad picture is an item with a failure; so is a source that cannot be opened or breaks off. The iteration goes on after both. */
#ifndef MOE_IMAGE_FEED_H
#define MOE_IMAGE_FEED_H

#include <stdbool.h>

#include "base/err.h"
#include "image/decoder.h"
#include "image/picture.h"
#include "io/archive.h"

/* Forks the server of pictures and archives. Call it first thing in main: the server keeps what memory and descriptors it would inherit later
 * out of reach of hostile pictures. MOE_EIO when it cannot be forked. */
enum moe_err moe_feed_server_start(struct moe_diag *d) MOE_CHECK_RESULT;

/* Zeroed options are the defaults. */
struct moe_feed_options {
	struct moe_decode_options decode;
	struct moe_archive_options archive;     /* its names_only is set by `labels_only`; its suffixes are the feed's own */
	bool labels_only;               /* items have labels and failures of sources, but nothing is read or decoded */
	unsigned threads;               /* decoding threads beside the caller, started by the first moe_feed_next; 0: none, decode when asked */
	unsigned window;                /* items decoded ahead at most; 0: 16 */
	uint64_t window_nbytes;         /* no new item is begun while more than this waits decoded; 0: 256 MiB */
};

enum { MOE_FEED_FILE_LIMIT = 256 << 20 };       /* bytes of one picture file or member */

struct moe_feed_item {
	uint64_t index;                 /* 0, 1, ... over all sources */
	char *label;                    /* path as given (folder/name in a folder), "-", or the base name of an archive's member */
	struct moe_picture picture;     /* rgb is NULL after a failure and with labels_only */
	struct moe_diag failure;        /* code 0: the item is good; its path says which file, member or source */
};

struct moe_feed_counts {
	uint64_t items, failed;         /* handed out so far */
	uint64_t passed_over;           /* files and members that are not pictures by their names */
	uint64_t special;               /* links, devices, folders inside archives and folders */
};

struct moe_feed;

/* One thread per feed (its own threads apart). */
enum moe_err moe_feed_new(struct moe_feed **out, const struct moe_feed_options *o, struct moe_diag *d) MOE_CHECK_RESULT;

/* Ends the threads and the workers, at any time. It waits for what is being read or decoded, not for the next line of a list. */
void moe_feed_free(struct moe_feed *f);

/* Is this path a folder or a shard, which may hold any number of pictures? */
bool moe_feed_holds_many(const char *path);

/* Appends a source. Only before the first moe_feed_next. The path is copied and looked at when its turn comes. */
enum moe_err moe_feed_add(struct moe_feed *f, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;

/* Appends a list of paths, ended by `separator` ('\n' or 0), read as it is needed; "-" is standard input. Empty lines are passed over;
 * a path may be anything that moe_feed_add takes, except a list. */
enum moe_err moe_feed_add_list(struct moe_feed *f, const char *path, char separator, struct moe_diag *d) MOE_CHECK_RESULT;

/* Appends a folder, shard or list as a video of which n >= 1 frames are taken, evenly spaced: frame i is item i · floor(items / n) (rhymes-ai/Aria,
 * load_video.py). Its items are counted now, so it must be a file or folder that can be read twice: MOE_EUSAGE for a pipe or standard input, MOE_EIO when it
 * cannot be opened, MOE_EINPUT when it has fewer. */
enum moe_err moe_feed_add_frames(struct moe_feed *f, const char *path, bool list, char separator, uint64_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* The next item, now the caller's. MOE_END after the last; an error only when the feed itself cannot go on (memory, threads). */
enum moe_err moe_feed_next(struct moe_feed *f, struct moe_feed_item *item, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_feed_item_clear(struct moe_feed_item *item);

/* What has been handed out and passed over so far; complete after MOE_END. */
void moe_feed_counts(struct moe_feed *f, struct moe_feed_counts *out);

#endif
