#include "stats/top.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "stats/ordered.h"

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for the tokens of experts"); }

void moe_top_free(struct moe_top *t)
{
	for (size_t l = 0; l < t->n_layers; l++) {
		for (size_t e = 0; t->layer[l].list && e < t->experts; e++)
			free(t->layer[l].list[e].token);
		free(t->layer[l].list);
	}
	for (size_t i = 0; i < t->n_names; i++)
		free(t->name[i]);
	free(t->layer);
	free(t->name);
	*t = (struct moe_top){0};
}

static struct moe_top_layer *layer_of(struct moe_top *t, size_t number)
{
	struct moe_top_layer *l = moe_ordered_get(&t->layer, &t->n_layers, &t->cap, sizeof *t->layer, number);

	if (l && !l->list)
		l->list = moe_calloc(t->experts, sizeof *l->list);
	return l && l->list ? l : NULL;
}

/* Does a go before b: by falling weight, then as they came? */
static bool before(const struct moe_top_token *a, const struct moe_top_token *b)
{
	return a->weight != b->weight ? a->weight > b->weight : a->order < b->order;
}

/* ---- the heap: every token goes behind those below it ---- */

static void sift_down(struct moe_top_list *l, size_t at)
{
	struct moe_top_token moved = l->token[at];

	for (size_t child; (child = 2 * at + 1) < l->n; at = child) {
		child += child + 1 < l->n && before(&l->token[child], &l->token[child + 1]);
		if (!before(&moved, &l->token[child]))
			break;
		l->token[at] = l->token[child];
	}
	l->token[at] = moved;
}

static void sift_up(struct moe_top_list *l, size_t at)
{
	struct moe_top_token moved = l->token[at];

	for (; at && before(&l->token[(at - 1) / 2], &moved); at = (at - 1) / 2)
		l->token[at] = l->token[(at - 1) / 2];
	l->token[at] = moved;
}

static enum moe_err keep(struct moe_top *t, struct moe_top_list *l, const struct moe_top_token *token, struct moe_diag *d)
{
	if (!l->token && !(l->token = moe_calloc(t->most, sizeof *l->token)))
		return no_memory(d);
	if (l->n < t->most) {
		l->token[l->n] = *token;
		sift_up(l, l->n++);
	} else {
		l->token[0] = *token;
		sift_down(l, 0);
	}
	return MOE_OK;
}

/* ---- blocks ---- */

/* What the block says of tokens that stood at the end of the one before. */
static void complete(struct moe_top *t, const struct moe_trace_block *b, bool follows)
{
	t->any_open = false;
	for (size_t l = 0; l < t->n_layers; l++)
		for (size_t e = 0; e < t->experts; e++)
			for (size_t i = 0; i < t->layer[l].list[e].n; i++) {
				struct moe_top_token *x = &t->layer[l].list[e].token[i];
				if (!x->open)
					continue;
				for (size_t r = 0; follows && x->n_behind < MOE_TOP_AROUND && r < b->rows; r++)
					x->behind[x->n_behind++] = b->token[r];
				x->open = follows && x->n_behind < MOE_TOP_AROUND;
				t->any_open |= x->open;
			}
}

/* Token r with what stands around it. */
static void describe(struct moe_top_token *x, const struct moe_top *t, const struct moe_trace_block *b, size_t r, bool follows)
{
	size_t near = moe_min(r, MOE_TOP_AROUND), far = follows ? moe_min(MOE_TOP_AROUND - near, t->n_tail) : 0;

	memcpy(x->before, t->tail + t->n_tail - far, far * sizeof *x->before);
	memcpy(x->before + far, b->token + r - near, near * sizeof *x->before);
	x->n_before = (uint8_t)(near + far);
	x->n_behind = (uint8_t)moe_min(b->rows - r - 1, MOE_TOP_AROUND);
	memcpy(x->behind, b->token + r + 1, x->n_behind * sizeof *x->behind);
	x->open = x->n_behind < MOE_TOP_AROUND;
	x->token = b->token[r];
	x->image = b->image[r];
	x->patch = b->patch[r];
	x->modality = b->modality[r];
	x->row = b->start + r;
}

/* The last tokens of the block, and of those before it, for the next one. */
static void remember_tail(struct moe_top *t, const struct moe_trace_block *b, bool follows)
{
	size_t n = moe_min(b->rows, MOE_TOP_AROUND), old = follows ? moe_min(MOE_TOP_AROUND - n, t->n_tail) : 0;

	memmove(t->tail, t->tail + t->n_tail - old, old * sizeof *t->tail);
	memcpy(t->tail + old, b->token + b->rows - n, n * sizeof *t->tail);
	t->n_tail = old + n;
}

static enum moe_err name_of(struct moe_top *t, const struct moe_trace_block *b, uint32_t *index, struct moe_diag *d)
{
	if (*index != UINT32_MAX || !b->name)
		return MOE_OK;
	MOE_TRY(moe_grow(&t->name, &t->name_cap, t->n_names + 1, sizeof *t->name, d));
	if (!(t->name[t->n_names] = moe_strdup(b->name)))
		return no_memory(d);
	*index = (uint32_t)t->n_names++;
	return MOE_OK;
}

/* Offers row r to its experts of layer l. */
static enum moe_err offer(struct moe_top *t, struct moe_top_layer *l, size_t i, const struct moe_trace_info *info, const struct moe_trace_block *b, size_t r,
			  struct moe_top_token *x, uint32_t *name, bool follows, struct moe_diag *d)
{
	for (size_t j = (i * b->rows + r) * info->k, end = j + info->k; j < end && b->expert[j] != MOE_NO_EXPERT; j++) {
		struct moe_top_list *list = &l->list[b->expert[j]];
		x->weight = b->weight[j];
		if (list->n == t->most && !before(x, &list->token[0]))
			continue;
		MOE_TRY(name_of(t, b, name, d));
		x->name = *name;
		describe(x, t, b, r, follows);
		MOE_TRY(keep(t, list, x, d));
		t->any_open |= x->open;
	}
	return MOE_OK;
}

/* The number of each row's picture: they come in the order of the inputs. */
static void number_pictures(struct moe_top *t, const struct moe_trace_block *b, uint64_t input, uint64_t *picture)
{
	bool same = t->any && t->input == input && t->seq == b->seq;

	for (size_t r = 0; r < b->rows; r++) {
		picture[r] = UINT64_MAX;
		if (b->image[r] < 0)
			continue;
		if (!same || b->image[r] != t->image)
			t->pictures++;
		t->image = b->image[r];
		same = true;
		picture[r] = t->pictures - 1;
	}
	if (!same)
		t->image = -1;
}

enum moe_err moe_top_add(struct moe_top *t, const struct moe_trace_info *info, const struct moe_trace_block *b, uint64_t input, struct moe_diag *d)
{
	bool follows = t->any && t->input == input && t->seq == b->seq && t->next_row == b->start;
	uint64_t picture[MOE_TRACE_ROWS];
	uint32_t name = UINT32_MAX;

	if (!b->weight)
		return moe_fail(d, MOE_EUSAGE, "the trace has no weights, by which tokens could be ranked");
	t->experts = t->n_layers ? t->experts : info->experts;
	if (t->experts != info->experts)
		return moe_fail(d, MOE_EMATCH, "%zu experts here, %zu in what came before", info->experts, t->experts);
	if (t->any_open)
		complete(t, b, follows);
	number_pictures(t, b, input, picture);
	for (size_t i = 0; i < info->n_layers; i++) {
		struct moe_top_layer *l;
		if (info->layer[i] < t->first || info->layer[i] > t->last)
			continue;
		if (!(l = layer_of(t, info->layer[i])))
			return no_memory(d);
		for (size_t r = 0; r < b->rows; r++) {
			struct moe_top_token x = {.input = input, .seq = b->seq, .picture = picture[r], .order = t->order + r};
			MOE_TRY(offer(t, l, i, info, b, r, &x, &name, follows, d));
		}
	}
	remember_tail(t, b, follows);
	t->order += b->rows;
	t->any = true;
	t->input = input;
	t->seq = b->seq;
	t->next_row = b->start + b->rows;
	return MOE_OK;
}

static int in_order(const void *a, const void *b) { return before(a, b) ? -1 : before(b, a); }

void moe_top_sort(struct moe_top *t)
{
	for (size_t l = 0; l < t->n_layers; l++)
		for (size_t e = 0; e < t->experts; e++)
			if (t->layer[l].list[e].n)
				qsort(t->layer[l].list[e].token, t->layer[l].list[e].n, sizeof(struct moe_top_token), in_order);
}
