#include "stats/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void moe_grouping_free(struct moe_grouping *g)
{
	moe_group_names_free(&g->names);
	moe_labels_free(&g->labels);
	moe_groups_set_free(&g->set);
	free(g->held.info.layer);
	free(g->held.expert);
	free(g->held.depth);
}

/* ---- the token behind ---- */

/* Keeps the last row of the block. */
static enum moe_err hold(struct moe_held *h, const struct moe_trace_info *info, const struct moe_trace_block *b, size_t input, struct moe_diag *d)
{
	size_t last = b->rows - 1, k = info->k, *layer = h->info.layer;

	MOE_TRY(moe_grow(&h->expert, &h->expert_cap, info->n_layers * k, sizeof *h->expert, d));
	MOE_TRY(moe_grow(&h->depth, &h->depth_cap, info->n_layers, sizeof *h->depth, d));
	MOE_TRY(moe_grow(&layer, &h->layer_cap, info->n_layers, sizeof *layer, d));
	memcpy(layer, info->layer, info->n_layers * sizeof *layer);
	h->info = *info;
	h->info.layer = layer;
	for (size_t l = 0; l < info->n_layers; l++) {
		memcpy(h->expert + l * k, b->expert + (l * b->rows + last) * k, k * sizeof *h->expert);
		h->depth[l] = b->depth ? b->depth[l * b->rows + last] : 1;
	}
	snprintf(h->choice, sizeof h->choice, "%s", b->choice ? b->choice : "token");
	h->block = (struct moe_trace_block){.seq = b->seq, .start = b->start + last, .rows = 1, .choice = h->choice, .expert = h->expert, .depth = h->depth};
	h->input = input;
	h->any = true;
	return MOE_OK;
}

static enum moe_err add_next(struct moe_grouping *g, const struct moe_trace_info *info, const struct moe_trace_block *b, size_t input, uint32_t *group,
			     struct moe_diag *d)
{
	struct moe_held *h = &g->held;

	for (size_t r = 0; r + 1 < b->rows; r++)
		MOE_TRY(moe_group_number(&g->names, b->token[r + 1], &group[r], d));
	if (h->any && h->block.seq == b->seq && h->block.start + 1 == b->start && h->input == input) {
		uint32_t one;
		MOE_TRY(moe_group_number(&g->names, b->token[0], &one, d));
		MOE_TRY(moe_groups_set_add(&g->set, &h->info, &h->block, &one, d));
		h->any = false;
	}
	MOE_TRY(moe_grouping_finish(g, d));
	MOE_TRY(hold(h, info, b, input, d));
	group[b->rows - 1] = MOE_LATER_GROUP;
	return moe_groups_set_add(&g->set, info, b, group, d);
}

enum moe_err moe_grouping_finish(struct moe_grouping *g, struct moe_diag *d)
{
	struct moe_held *h = &g->held;
	uint32_t none = MOE_NO_GROUP;

	if (!h->any)
		return MOE_OK;
	h->any = false;
	return moe_groups_set_add(&g->set, &h->info, &h->block, &none, d);
}

/* ---- all ---- */

static enum moe_err find_groups(struct moe_grouping *g, const struct moe_trace_block *b, size_t input, uint32_t *group, struct moe_diag *d)
{
	uint32_t all = MOE_NO_GROUP;

	if (g->by == MOE_BY_NAME && b->name)
		MOE_TRY(moe_group_text(&g->names, b->name, strlen(b->name), &all, d));
	if (g->by == MOE_BY_INPUT)
		MOE_TRY(moe_group_text(&g->names, g->input[input], strlen(g->input[input]), &all, d));
	for (size_t r = 0; r < b->rows; r++) {
		group[r] = all;
		if (g->by == MOE_BY_TOKEN)
			MOE_TRY(moe_group_number(&g->names, b->token[r], &group[r], d));
		else if (g->by == MOE_BY_PATCH && b->image[r] >= 0 && b->patch[r] >= 0)
			MOE_TRY(moe_group_number(&g->names, b->patch[r], &group[r], d));
	}
	if (g->by == MOE_BY_LABEL)
		moe_labels_rows(&g->labels, b, group);
	return MOE_OK;
}

enum moe_err moe_grouping_add(struct moe_grouping *g, const struct moe_trace_info *info, const struct moe_trace_block *b, size_t input, struct moe_diag *d)
{
	uint32_t group[MOE_TRACE_ROWS];

	if (!b->expert)
		return moe_fail(d, MOE_EUSAGE, "a trace of counts does not say which tokens they are of");
	if (g->by == MOE_BY_NEXT)
		return add_next(g, info, b, input, group, d);
	MOE_TRY(find_groups(g, b, input, group, d));
	return moe_groups_set_add(&g->set, info, b, group, d);
}
