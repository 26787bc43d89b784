#include "train/freeze.h"

#include <stdlib.h>
#include <string.h>

#include "model/parts.h"

struct range {
	bool any;
	int64_t first, last;
};

/* A word, read. */
struct rule {
	bool thaw;
	enum moe_part part;             /* MOE_N_PARTS: every one */
	struct range layers, experts;
};

/* Up to nine digits; -1: there are none. */
static int64_t number(const char **p)
{
	int64_t v = -1;

	for (int i = 0; i < 9 && **p >= '0' && **p <= '9'; i++)
		v = (v < 0 ? 0 : v) * 10 + (*(*p)++ - '0');
	return v;
}

/* "3", "0-3", "2-", "-3", "-". */
static bool read_range(const char **p, struct range *r)
{
	int64_t from = number(p), to;

	*r = (struct range){.first = from, .last = from};
	if (**p != '-')
		return from >= 0;
	++*p;
	to = number(p);
	r->first = from < 0 ? 0 : from;
	r->last = to < 0 ? INT64_MAX : to;
	r->any = from < 0 && to < 0;
	return r->first <= r->last;
}

static enum moe_err read_rule(struct rule *r, const char *word, struct moe_diag *d)
{
	const char *p = word;
	size_t n;

	*r = (struct rule){.part = MOE_N_PARTS, .layers.any = true, .experts.any = true};
	r->thaw = *p == '!';
	p += r->thaw;
	n = strcspn(p, "@");
	if (n && !(n == 3 && !memcmp(p, "all", 3)) && (r->part = moe_part_find(p, n)) == MOE_N_PARTS)
		return moe_fail(d, MOE_EUSAGE, "\"%s\": part \"%.*s\" is not one of all, " MOE_PART_NAMES, word, (int)n, p);
	p += n;
	if (*p == '@') {
		p++;
		if (!read_range(&p, &r->layers) || (*p == '.' && (p++, !read_range(&p, &r->experts))) || *p)
			return moe_fail(d, MOE_EUSAGE, "\"%s\": expected PART, PART@LAYERS or PART@LAYERS.EXPERTS, such as experts@0-3.4-7", word);
	} else if (!n) {
		return moe_fail(d, MOE_EUSAGE, "\"%s\" names no part (all is one)", word);
	}
	return MOE_OK;
}

static bool holds(const struct range *r, int64_t i) { return r->any || (i >= r->first && i <= r->last); }

/* Layers without a part are the trunk's. */
static bool meant(const struct rule *r, const struct moe_param *p)
{
	if (r->part == MOE_N_PARTS && !r->layers.any && p->part == MOE_PART_TOWER)
		return false;
	return (r->part == MOE_N_PARTS || r->part == p->part) && holds(&r->layers, p->layer) && holds(&r->experts, p->expert);
}

enum moe_err moe_freeze_check(const char *word, struct moe_diag *d)
{
	struct rule r;

	return read_rule(&r, word, d);
}

enum moe_err moe_freeze(bool *frozen, const struct moe_params *params, char *const *words, size_t n, struct moe_diag *d)
{
	memset(frozen, 0, params->n * sizeof *frozen);
	for (size_t i = 0; i < n; i++) {
		struct rule r;
		bool any = false;
		MOE_TRY(read_rule(&r, words[i], d));
		for (size_t j = 0; j < params->n; j++)
			if (meant(&r, &params->p[j])) {
				frozen[j] = !r.thaw;
				any = true;
			}
		if (!any)
			return moe_fail(d, MOE_EUSAGE, "\"%s\" means no tensor of this model", words[i]);
	}
	return MOE_OK;
}
