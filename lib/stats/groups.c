#include "stats/groups.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "stats/ordered.h"

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for groups of tokens"); }

/* ---- names ---- */

void moe_group_names_free(struct moe_group_names *g)
{
	for (size_t i = 0; i < g->n; i++)
		free(g->list[i].text);
	free(g->list);
	free(g->table);
	*g = (struct moe_group_names){0};
}

static uint64_t hash_bytes(const char *s, size_t n)
{
	uint64_t h = 0xcbf29ce484222325;        /* FNV-1a */

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)s[i]) * 0x100000001b3;
	return h ^ h >> 29;
}

static uint64_t hash_number(int64_t v)
{
	uint64_t h = (uint64_t)v * 0x9e3779b97f4a7c15;

	return h ^ h >> 32;
}

static uint64_t hash_of(const struct moe_group_name *n) { return n->text ? hash_bytes(n->text, strlen(n->text)) : hash_number(n->number); }

/* The place of a name in the table, or the free one where it belongs. `text` NULL: the number. */
static uint32_t *place_of(const struct moe_group_names *g, int64_t number, const char *text, size_t n)
{
	size_t at = (size_t)(text ? hash_bytes(text, n) : hash_number(number)) & (g->room - 1);

	for (;; at = (at + 1) & (g->room - 1)) {
		const struct moe_group_name *have = g->table[at] ? &g->list[g->table[at] - 1] : NULL;
		if (!have || (text ? have->text && strlen(have->text) == n && !memcmp(have->text, text, n) : !have->text && have->number == number))
			return &g->table[at];
	}
}

static enum moe_err grow_table(struct moe_group_names *g, struct moe_diag *d)
{
	size_t room = g->room ? 2 * g->room : 64;
	uint32_t *table = moe_calloc(room, sizeof *table);

	if (!table)
		return no_memory(d);
	free(g->table);
	g->table = table;
	g->room = room;
	for (size_t i = 0; i < g->n; i++) {
		size_t at = (size_t)hash_of(&g->list[i]) & (room - 1);
		while (table[at])
			at = (at + 1) & (room - 1);
		table[at] = (uint32_t)(i + 1);
	}
	return MOE_OK;
}

static enum moe_err find_or_add(struct moe_group_names *g, int64_t number, const char *text, size_t n, uint32_t *index, struct moe_diag *d)
{
	struct moe_group_name name = {.number = number};
	uint32_t *place;

	if (2 * (g->n + 1) > g->room)
		MOE_TRY(grow_table(g, d));
	place = place_of(g, number, text, n);
	if (!*place) {
		if (g->n == MOE_MOST_GROUPS)
			return moe_fail(d, MOE_ENOMEM, "more than %d groups of tokens", MOE_MOST_GROUPS);
		MOE_TRY(moe_grow(&g->list, &g->cap, g->n + 1, sizeof *g->list, d));
		if (text) {
			name.text = malloc(n + 1);
			if (!name.text)
				return no_memory(d);
			memcpy(name.text, text, n);
			name.text[n] = 0;
		}
		g->list[g->n++] = name;
		*place = (uint32_t)g->n;
	}
	*index = *place - 1;
	return MOE_OK;
}

enum moe_err moe_group_number(struct moe_group_names *g, int64_t number, uint32_t *index, struct moe_diag *d)
{
	return find_or_add(g, number, NULL, 0, index, d);
}

enum moe_err moe_group_text(struct moe_group_names *g, const char *text, size_t n, uint32_t *index, struct moe_diag *d)
{
	return find_or_add(g, 0, text, n, index, d);
}

uint32_t moe_group_find(const struct moe_group_names *g, const char *text, size_t n)
{
	uint32_t at = g->room ? *place_of(g, 0, text, n) : 0;

	return at ? at - 1 : MOE_NO_GROUP;
}

/* ---- counts ---- */

static void free_groups(struct moe_groups *g)
{
	for (size_t l = 0; l < g->n_layers; l++) {
		free(g->layer[l].tokens);
		free(g->layer[l].count);
		free(g->layer[l].first);
	}
	free(g->layer);
}

void moe_groups_set_free(struct moe_groups_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		free_groups(&s->kind[i]);
	free(s->kind);
	s->kind = NULL;
	s->n = s->cap = 0;
}

/* `p` with room for `cap` rows of `width`, those behind `n` zeroed; NULL without memory, when it stays as it was. */
static void *widen(void *p, size_t n, size_t cap, size_t width)
{
	void *wide = moe_calloc(cap, width);

	if (wide && n)
		memcpy(wide, p, n * width);
	if (wide)
		free(p);
	return wide;
}

static enum moe_err grow_layer(struct moe_group_layer *l, size_t groups, size_t experts, struct moe_diag *d)
{
	size_t cap = moe_max(groups, moe_max(16, 2 * l->cap));
	void *p;

	if (groups > l->cap) {
		if (!(p = widen(l->tokens, l->groups, cap, sizeof *l->tokens)))
			return no_memory(d);
		l->tokens = p;
		if (!(p = widen(l->count, l->groups, cap, experts * sizeof *l->count)))
			return no_memory(d);
		l->count = p;
		if (!(p = widen(l->first, l->groups, cap, experts * sizeof *l->first)))
			return no_memory(d);
		l->first = p;
		l->cap = cap;
	}
	l->groups = moe_max(l->groups, groups);
	return MOE_OK;
}

static enum moe_err find_kind(struct moe_groups_set *s, const struct moe_trace_info *info, const char *choice, struct moe_groups **out, struct moe_diag *d)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->kind[i].choice, choice)) {
			*out = &s->kind[i];
			return MOE_OK;
		}
	MOE_TRY(moe_grow(&s->kind, &s->cap, s->n + 1, sizeof *s->kind, d));
	*out = &s->kind[s->n++];
	**out = (struct moe_groups){.experts = info->experts, .k = info->k};
	snprintf((*out)->choice, sizeof (*out)->choice, "%s", choice);
	return MOE_OK;
}

static enum moe_err add_rows(struct moe_group_layer *l, size_t experts, size_t k, const struct moe_trace_block *b, size_t layer, const uint32_t *group,
			     struct moe_diag *d)
{
	for (size_t r = 0; r < b->rows; r++) {
		const uint16_t *id = b->expert + (layer * b->rows + r) * k;
		uint32_t g = group[r];
		if (g == MOE_LATER_GROUP || (b->depth && !b->depth[layer * b->rows + r]))
			continue;
		if (g == MOE_NO_GROUP) {
			l->unlabelled++;
			continue;
		}
		if (g >= l->groups)
			MOE_TRY(grow_layer(l, g + 1, experts, d));
		if (l->tokens[g]++ == UINT32_MAX)
			return moe_fail(d, MOE_ENOMEM, "more than %u tokens of one group", UINT32_MAX);
		if (k && id[0] != MOE_NO_EXPERT)
			l->first[g * experts + id[0]]++;
		for (size_t i = 0; i < k && id[i] != MOE_NO_EXPERT; i++)
			l->count[g * experts + id[i]]++;
	}
	return MOE_OK;
}

enum moe_err moe_groups_set_add(struct moe_groups_set *s, const struct moe_trace_info *info, const struct moe_trace_block *b, const uint32_t *group,
				struct moe_diag *d)
{
	struct moe_groups *g;

	if (!b->expert)
		return moe_fail(d, MOE_EUSAGE, "a trace of counts does not say which tokens they are of");
	MOE_TRY(find_kind(s, info, b->choice ? b->choice : "token", &g, d));
	if (g->experts != info->experts || g->k != info->k)
		return moe_fail(d, MOE_EMATCH, "%zu experts of which a token gets %zu cannot be added up with %zu and %zu", info->experts, info->k, g->experts,
				g->k);
	for (size_t i = 0; i < info->n_layers; i++) {
		struct moe_group_layer *l;
		if (info->layer[i] < s->first || info->layer[i] > s->last)
			continue;
		if (!(l = moe_ordered_get(&g->layer, &g->n_layers, &g->cap, sizeof *g->layer, info->layer[i])))
			return no_memory(d);
		MOE_TRY(add_rows(l, g->experts, g->k, b, i, group, d));
	}
	return MOE_OK;
}

/* ---- vocabulary ---- */

enum { LARGEST = 8192, STEPS = 160 };   /* groups that are drawn token by token; sizes at which the largest share is noted */

/* The sizes: all up to 32, then each some 5 % larger than the one before. */
static size_t make_sizes(size_t *size)
{
	size_t n = 0;

	for (size_t s = 1; s <= LARGEST && n < STEPS; s = moe_max(s + 1, s < 32 ? 0 : s + s / 20))
		size[n++] = s;
	return n;
}

/* Which expert the thing number x is of, when expert e has left[e] of them. */
static size_t pick(const uint64_t *left, size_t experts, uint64_t x)
{
	size_t e = 0;

	while (e + 1 < experts && x >= left[e])
		x -= left[e++];
	return e;
}

/* One draw without replacement from `all` things: largest[i] grows by the largest count among the first size[i]. */
static void draw(double *largest, const size_t *size, size_t sizes, uint64_t *left, uint64_t *have, const uint64_t *total, uint64_t all, size_t experts,
		 uint64_t stream)
{
	uint64_t most = 0;
	size_t at = 0;

	memcpy(left, total, experts * sizeof *left);
	memset(have, 0, experts * sizeof *have);
	for (size_t n = 1; at < sizes && n <= all; n++) {
		size_t e = pick(left, experts, (uint64_t)(moe_random_unit(1, stream, n) * (double)(all - n + 1)));
		left[e]--;
		most = ++have[e] > most ? have[e] : most;
		if (n == size[at])
			largest[at++] += (double)most;
	}
}

/* The mean largest share in a group of n tokens: interpolated between sizes that were drawn; behind the last its distance from the largest share of all
 * shrinks with the root of n. */
static double chance_of(const double *share, const size_t *size, size_t sizes, double limit, uint64_t n)
{
	size_t i = 0;
	double w;

	if (n >= size[sizes - 1])
		return limit + (share[sizes - 1] - limit) * sqrt((double)size[sizes - 1] / (double)n);
	while (size[i + 1] <= n)
		i++;
	w = (double)(n - size[i]) / (double)(size[i + 1] - size[i]);
	return (1 - w) * share[i] + w * share[i + 1];
}

enum moe_err moe_vocabulary(struct moe_vocabulary *out, const struct moe_group_layer *l, size_t experts, uint64_t least, unsigned draws, struct moe_diag *d)
{
	uint64_t *total = moe_calloc(3 * experts, sizeof *total), all = 0, most = 0;
	double share[STEPS] = {0};
	size_t size[STEPS], sizes = make_sizes(size), known;

	*out = (struct moe_vocabulary){.value = NAN, .chance = NAN};
	if (!total)
		return no_memory(d);
	for (size_t g = 0; g < l->groups; g++)
		for (size_t e = 0; e < experts && l->tokens[g] >= least; e++)
			total[e] += l->first[g * experts + e];
	for (size_t e = 0; e < experts; e++) {
		all += total[e];
		most = total[e] > most ? total[e] : most;
	}
	for (known = 0; known < sizes && size[known] <= all; known++)
		;
	for (unsigned i = 0; i < draws && known; i++)
		draw(share, size, known, total + experts, total + 2 * experts, total, all, experts, i);
	for (size_t i = 0; i < known; i++)
		share[i] /= (double)draws * (double)size[i];
	if (known)
		out->value = out->chance = 0;
	for (size_t g = 0; g < l->groups && known; g++) {
		uint64_t n = 0, largest = 0;
		for (size_t e = 0; e < experts && l->tokens[g] >= least; e++) {
			n += l->first[g * experts + e];
			largest = l->first[g * experts + e] > largest ? l->first[g * experts + e] : largest;
		}
		if (!n)
			continue;
		out->groups++;
		out->value += (double)largest / (double)n;
		out->chance += chance_of(share, size, known, (double)most / (double)all, n);
	}
	free(total);
	out->value = out->groups ? out->value / (double)out->groups : NAN;
	out->chance = out->groups ? out->chance / (double)out->groups : NAN;
	return MOE_OK;
}
