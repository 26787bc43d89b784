#include "data/listing.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static int compare(const char *a, size_t n, const char *b, size_t k)
{
	int c = memcmp(a, b, moe_min(n, k));

	return c ? c : (n > k) - (n < k);
}

static int by_file(const void *a, const void *b, void *rows)
{
	const struct moe_listing_row *row = rows, *x = &row[*(const size_t *)a], *y = &row[*(const size_t *)b];

	return compare(x->file, x->n_file, y->file, y->n_file);
}

static enum moe_err add_line(struct moe_listing *l, size_t *cap, const char *line, size_t n, size_t number, struct moe_diag *d)
{
	const char *tab = memchr(line, '\t', n);
	struct moe_listing_row r = {.file = line, .n_file = tab ? (size_t)(tab - line) : n, .line = number};

	if (tab) {
		r.text = tab + 1;
		r.n_text = n - r.n_file - 1;
	}
	MOE_TRY(moe_grow(&l->row, cap, l->n + 1, sizeof *l->row, d));
	l->row[l->n++] = r;
	return MOE_OK;
}

static enum moe_err sort(struct moe_listing *l, struct moe_diag *d)
{
	l->sorted = moe_calloc(l->n, sizeof *l->sorted);
	if (!l->sorted)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < l->n; i++)
		l->sorted[i] = i;
	if (l->n)
		qsort_r(l->sorted, l->n, sizeof *l->sorted, by_file, l->row);
	for (size_t i = 1; i < l->n; i++)
		if (!by_file(&l->sorted[i - 1], &l->sorted[i], l->row))
			return moe_fail(d, MOE_EINPUT, "line %zu: the file of line %zu again", moe_max(l->row[l->sorted[i]].line, l->row[l->sorted[i - 1]].line),
					moe_min(l->row[l->sorted[i]].line, l->row[l->sorted[i - 1]].line));
	return MOE_OK;
}

enum moe_err moe_listing_read(struct moe_listing *out, char *bytes, size_t n, struct moe_diag *d)
{
	size_t cap = 0, number = 0;

	*out = (struct moe_listing){.bytes = bytes};
	for (const char *p = bytes, *end = bytes + n, *next; p < end; p = next) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		size_t length = (size_t)((stop ? stop : end) - p);
		next = stop ? stop + 1 : end;
		number++;
		if (length && p[length - 1] == '\r')
			length--;
		if (length)
			MOE_TRY(add_line(out, &cap, p, length, number, d));
	}
	return sort(out, d);
}

void moe_listing_free(struct moe_listing *l)
{
	free(l->bytes);
	free(l->row);
	free(l->sorted);
	*l = (struct moe_listing){0};
}

struct moe_listing_row *moe_listing_find(const struct moe_listing *l, const char *file, size_t n)
{
	size_t from = 0, to = l->n;

	while (from < to) {
		size_t at = from + (to - from) / 2;
		struct moe_listing_row *r = &l->row[l->sorted[at]];
		int c = compare(file, n, r->file, r->n_file);
		if (!c)
			return r;
		if (c < 0)
			to = at;
		else
			from = at + 1;
	}
	return NULL;
}
