#include "graft/graft_lists.h"

#include <stdlib.h>
#include <string.h>

#include "stage/layers.h"

enum { DIGITS = 6, MOST = 65535 };

static bool number(const char **p, const char *end, int64_t *to)
{
	int64_t v = 0;
	int n = 0;

	for (; *p < end && **p >= '0' && **p <= '9' && n <= DIGITS; (*p)++, n++)
		v = v * 10 + (**p - '0');
	*to = v;
	return n && v < MOST;
}

/* A group: "3", "4-7" (of which each is one), "0+1". Appends its numbers. */
static bool read_group(struct moe_graft_list *l, const char **p, const char *end, char joint, size_t *used)
{
	int64_t first, last;
	struct moe_graft_group *g = &l->group[l->n];

	if (!number(p, end, &first))
		return false;
	*g = (struct moe_graft_group){*used, 1};
	l->number[(*used)++] = first;
	l->n++;
	if (!joint && *p < end && **p == '-') {
		++*p;
		if (!number(p, end, &last) || last < first || *used + (size_t)(last - first) > MOST)
			return false;
		for (int64_t i = first + 1; i <= last; i++) {
			l->group[l->n++] = (struct moe_graft_group){*used, 1};
			l->number[(*used)++] = i;
		}
	}
	while (joint && *p < end && **p == joint && *used < MOST) {
		++*p;
		if (!number(p, end, &l->number[(*used)++]))
			return false;
		g->n++;
	}
	return true;
}

static bool read_list(struct moe_graft_list *l, const char *text, const char *end, char joint)
{
	size_t used = 0;

	for (const char *p = text;; p++) {
		if (used >= MOST || !read_group(l, &p, end, joint, &used))
			return false;
		if (p == end)
			return true;
		if (*p != ',')
			return false;
	}
}

enum moe_err moe_graft_lists(struct moe_graft_list **out, const char *const *list, size_t n_lists, size_t layers, char joint, struct moe_arena *a,
			     struct moe_diag *d)
{
	struct moe_graft_list *l = *out = moe_arena_zero(a, layers, sizeof *l);

	if (!l)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n_lists; i++) {
		const char *at = strchrnul(list[i], '@');
		struct moe_graft_list one = {.group = moe_arena_get(a, MOST + 1, sizeof *one.group), .number = moe_arena_get(a, MOST + 1, sizeof *one.number)};
		size_t first = 0, last = layers - 1;
		if (!one.group || !one.number)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		if (!read_list(&one, list[i], at, joint))
			return moe_fail(d, MOE_EUSAGE, "\"%s\": expected experts as %s", list[i],
					joint == '+' ? "0+1,4+5+6" : joint == '=' ? "3=5,4=7" : "3 or 0,4-7");
		if (*at && !moe_layers_parse(at + 1, strlen(at + 1), layers, &first, &last))
			return moe_fail(d, MOE_EUSAGE, "\"%s\": behind @ expected a layer or a range of 0 to %zu, such as 3, 0-1 or 2-", list[i], layers - 1);
		for (size_t j = first; j <= last; j++)
			l[j] = one;
	}
	return MOE_OK;
}
