/* Lists of pictures with their answers: a .tsv of lines `file<TAB>answer` or `file<TAB>prompt<TAB>answer`. Empty lines are passed over; so is a carriage
 * return at the end of one. */
#ifndef MOE_DATA_LISTING_H
#define MOE_DATA_LISTING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct moe_listing_row {
	const char *file;               /* as it stands; not terminated */
	size_t n_file;
	const char *text;               /* behind the first tab; NULL: there is no tab */
	size_t n_text, line;            /* line counts from 1 */
	bool used;                      /* the caller's */
};

struct moe_listing {
	char *bytes;
	struct moe_listing_row *row;    /* [n] in the order of the list */
	size_t n;
	size_t *sorted;                 /* [n] rows by file */
};

/* Reads n bytes, which become the listing's (free), even after a failure: MOE_ENOMEM, or MOE_EINPUT where a file is listed twice. */
enum moe_err moe_listing_read(struct moe_listing *out, char *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_listing_free(struct moe_listing *l);

/* The row of a file, NULL when it is not listed. */
struct moe_listing_row *moe_listing_find(const struct moe_listing *l, const char *file, size_t n);

#endif
