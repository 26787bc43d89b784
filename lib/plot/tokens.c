#include "plot/tokens.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/merge.h"
#include "text/detokenizer.h"

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

/* The first block says what all are of. */
static enum moe_err begin(struct moe_tokens *t, const struct moe_trace_info *info, const struct moe_trace_block *b, struct moe_diag *d)
{
	t->layer = moe_calloc(info->n_layers, sizeof *t->layer);
	t->name = b->name ? moe_strdup(b->name) : NULL;
	if (!t->layer || (b->name && !t->name))
		return no_memory(d);
	t->seq = b->seq;
	t->k = info->k;
	t->experts = info->experts;
	for (size_t l = 0; l < info->n_layers; l++)
		if (info->layer[l] >= t->first && info->layer[l] <= t->last)
			t->layer[t->n_layers++] = (struct moe_token_layer){.number = info->layer[l], .from = l};
	return MOE_OK;
}

static enum moe_err grow(struct moe_tokens *t, size_t n, bool weights, struct moe_diag *d)
{
	struct { void *p; size_t size; } column[] = {
		{&t->token, sizeof *t->token}, {&t->image, sizeof *t->image}, {&t->patch, sizeof *t->patch}, {&t->row, sizeof *t->row},
		{&t->column, sizeof *t->column}, {&t->modality, 1}, {&t->made, 1},
	};
	size_t cap = 2 * t->cap > n ? 2 * t->cap : n, room;

	if (n <= t->cap)
		return MOE_OK;
	for (size_t i = 0; i < sizeof column / sizeof *column; i++) {
		room = t->cap;
		MOE_TRY(moe_grow(column[i].p, &room, cap, column[i].size, d));
	}
	for (size_t l = 0; l < t->n_layers; l++) {
		room = t->cap * t->k;
		MOE_TRY(moe_grow(&t->layer[l].expert, &room, cap * t->k, sizeof(uint16_t), d));
		room = t->cap * t->k;
		if (weights)
			MOE_TRY(moe_grow(&t->layer[l].weight, &room, cap * t->k, sizeof(float), d));
	}
	t->cap = cap;
	return MOE_OK;
}

/* Row i of what is kept, that of which nothing is known yet. */
static void forget(struct moe_tokens *t, size_t i)
{
	t->token[i] = t->image[i] = t->patch[i] = -1;
	t->row[i] = t->column[i] = 0;
	t->modality[i] = t->made[i] = 0;
	for (size_t l = 0; l < t->n_layers; l++)
		for (size_t j = i * t->k; j < (i + 1) * t->k; j++) {
			t->layer[l].expert[j] = MOE_NO_EXPERT;
			if (t->layer[l].weight)
				t->layer[l].weight[j] = 0;
		}
}

static void keep(struct moe_tokens *t, size_t i, const struct moe_trace_block *b, size_t r)
{
	t->token[i] = b->token[r];
	t->image[i] = b->image[r];
	t->patch[i] = b->patch[r];
	if (b->position && b->axes > 1) {
		t->row[i] = b->position[(b->axes - 2) * b->rows + r];
		t->column[i] = b->position[(b->axes - 1) * b->rows + r];
	}
	t->modality[i] = b->modality[r];
	t->made[i] = b->step > 0;
	for (size_t l = 0; l < t->n_layers; l++) {
		size_t from = (t->layer[l].from * b->rows + r) * t->k;
		memcpy(t->layer[l].expert + i * t->k, b->expert + from, t->k * sizeof *b->expert);
		if (t->layer[l].weight && b->weight)
			memcpy(t->layer[l].weight + i * t->k, b->weight + from, t->k * sizeof *b->weight);
	}
}

enum moe_err moe_tokens_add(struct moe_tokens *t, const struct moe_trace_info *info, const struct moe_trace_block *b, struct moe_diag *d)
{
	size_t start, rows = b->rows;

	if (!rows || !b->expert)
		return MOE_OK;
	if (!t->layer)
		MOE_TRY(begin(t, info, b, d));
	if (info->k != t->k || info->experts != t->experts || (t->n_layers && t->layer[t->n_layers - 1].from >= info->n_layers))
		return moe_fail(d, MOE_EMATCH, "sequence %llu goes on with other layers or experts", (unsigned long long)b->seq);
	if (t->most && b->start + rows > t->most) {
		size_t kept = b->start < t->most ? t->most - (size_t)b->start : 0;
		t->left_out += rows - kept;
		rows = kept;
	}
	if (!rows)
		return MOE_OK;
	if (b->start > INT32_MAX)
		return moe_fail(d, MOE_ENOMEM, "sequence %llu is too long to be drawn", (unsigned long long)b->seq);
	start = (size_t)b->start;
	MOE_TRY(grow(t, start + rows, b->weight != NULL, d));
	for (; t->n < start + rows; t->n++)
		forget(t, t->n);
	for (size_t r = 0; r < rows; r++)
		keep(t, start + r, b, r);
	return MOE_OK;
}

void moe_tokens_free(struct moe_tokens *t)
{
	for (size_t l = 0; t->layer && l < t->n_layers; l++) {
		free(t->layer[l].expert);
		free(t->layer[l].weight);
	}
	free(t->layer);
	free(t->token);
	free(t->image);
	free(t->patch);
	free(t->row);
	free(t->column);
	free(t->modality);
	free(t->made);
	free(t->name);
	*t = (struct moe_tokens){0};
}

size_t moe_tokens_pictures(const struct moe_tokens *t)
{
	int32_t most = -1;

	for (size_t i = 0; i < t->n; i++)
		most = t->image[i] > most ? t->image[i] : most;
	return (size_t)(most + 1);
}

size_t moe_tokens_place_drawn(struct moe_tokens *t, const struct moe_spec *s)
{
	size_t seen = moe_tokens_pictures(t), all = moe_picture_tokens(s), n = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (t->image[i] >= 0 || moe_spec_code(s, t->token[i]) < 0)
			continue;
		t->image[i] = (int32_t)(seen + n / all);
		t->patch[i] = (int32_t)(n++ % all);
	}
	return n ? (n - 1) / all + 1 : 0;
}

bool moe_tokens_differ(const struct moe_tokens *t, const struct moe_tokens *other, size_t layer, size_t i)
{
	if (!other || i >= other->n || other->token[i] != t->token[i] || other->patch[i] != t->patch[i])
		return false;
	for (size_t l = 0; l < other->n_layers; l++)
		if (other->layer[l].number == t->layer[layer].number)
			return moe_tokens_chosen(t, layer, i).expert[0] != moe_tokens_chosen(other, l, i).expert[0];
	return false;
}

static enum moe_err decode(const char **text, struct moe_figure *f, const struct moe_tokens *t, struct moe_text_stream *s, struct moe_diag *d)
{
	const char *piece;
	size_t n, last = SIZE_MAX;

	for (size_t i = 0; i < t->n; i++) {
		text[i] = "";
		if (t->patch[i] >= 0 || t->token[i] < 0)
			continue;
		MOE_TRY(moe_text_stream_push(s, t->token[i], &piece, &n, d));
		text[i] = moe_figure_text(f, "%.*s", (int)n, piece);
		last = i;
	}
	MOE_TRY(moe_text_stream_finish(s, &piece, &n, d));
	if (n && last != SIZE_MAX)
		text[last] = moe_figure_text(f, "%s%.*s", text[last], (int)n, piece);
	return MOE_OK;
}

enum moe_err moe_tokens_text(const char ***out, struct moe_figure *f, const struct moe_tokens *t, const struct moe_tokenizer *tokenizer, struct moe_diag *d)
{
	const char **text = moe_figure_get(f, t->n, sizeof *text);
	struct moe_text_stream *s;
	enum moe_err err;

	*out = text;
	if (!text)
		return no_memory(d);
	if (!tokenizer) {
		for (size_t i = 0; i < t->n; i++)
			text[i] = t->patch[i] >= 0 ? "" : moe_figure_text(f, "%d", t->token[i]);
		return MOE_OK;
	}
	MOE_TRY(moe_text_stream_new(&s, tokenizer, false, d));
	err = decode(text, f, t, s, d);
	moe_text_stream_free(s);
	return err;
}
