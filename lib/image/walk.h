/* Enumerates what a feed's sources hold, without decoding: paths to read, or bytes of archive members. For feed.c; one thread at a time. */
#ifndef MOE_IMAGE_WALK_H
#define MOE_IMAGE_WALK_H

#include "base/err.h"
#include "image/feed.h"

struct moe_walk;

struct moe_walk_item {
	char *label;                    /* owned, as the rest: moe_walk_item_clear */
	char *path;                     /* to be read, "-" too; NULL: the bytes are here */
	uint8_t *bytes;
	size_t n;
	struct moe_diag failure;
};

/* `o` is kept by pointer. */
enum moe_err moe_walk_new(struct moe_walk **out, const struct moe_feed_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_walk_free(struct moe_walk *w);

/* A path; or with list = true the path of a list whose lines end in `separator`. */
enum moe_err moe_walk_add(struct moe_walk *w, const char *path, bool list, char separator, struct moe_diag *d) MOE_CHECK_RESULT;

/* Of the path that was added last only items 0, stride, 2·stride, ... are given, `limit` of them. */
void moe_walk_sample(struct moe_walk *w, uint64_t stride, uint64_t limit);

/* The next item; MOE_END after the last and after moe_walk_stop. Other results: no memory. */
enum moe_err moe_walk_next(struct moe_walk *w, struct moe_walk_item *item, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_walk_item_clear(struct moe_walk_item *item);

/* Makes a moe_walk_next that waits for a list's next line end, from another thread. */
void moe_walk_stop(struct moe_walk *w);

/* Files and members seen and not made into items. */
void moe_walk_counts(const struct moe_walk *w, uint64_t *passed_over, uint64_t *special);

#endif
