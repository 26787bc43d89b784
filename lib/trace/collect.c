#include "trace/collect.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* What a layer did with the rows of a sequence. */
struct routing {
	size_t rows;
	uint16_t *expert;               /* [cap][k] */
	float *weight, *logit, *compared;       /* [cap][k], [cap][experts] twice; NULL: not traced */
	uint8_t *depth;                 /* [cap], or NULL */
};

/* Rows of a sequence that have not been written. */
struct sequence {
	uint64_t seq;
	char *name;
	const char *choice;
	size_t start, rows, cap, axes;  /* start: of the first of them in the sequence */
	int32_t *token, *image, *patch; /* [cap] */
	int32_t *position;              /* [cap][axes] */
	uint8_t *modality;              /* [cap] */
	uint64_t *step;                 /* [cap] */
	bool compares;
	bool over;
	struct routing layer[];         /* [n_layers] */
};

struct moe_collector {
	struct moe_trace_writer *writer;
	const struct moe_trace_info *info;
	bool in_order, depth;
	uint64_t next;                  /* in order: the sequence that is written now */
	struct sequence **seq;
	size_t n, cap;
	struct moe_arena scratch;
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for a trace"); }

enum moe_err moe_collector_new(struct moe_collector **out, struct moe_trace_writer *w, const struct moe_trace_info *info, bool in_order, bool depth,
			       struct moe_diag *d)
{
	struct moe_collector *c = calloc(1, sizeof *c);

	*out = c;
	if (!c)
		return no_memory(d);
	c->writer = w;
	c->info = info;
	c->in_order = in_order;
	c->depth = depth;
	return MOE_OK;
}

static void free_sequence(struct sequence *q, size_t n_layers)
{
	for (size_t l = 0; l < n_layers; l++) {
		free(q->layer[l].expert);
		free(q->layer[l].weight);
		free(q->layer[l].logit);
		free(q->layer[l].compared);
		free(q->layer[l].depth);
	}
	free(q->name);
	free(q->token);
	free(q->image);
	free(q->patch);
	free(q->position);
	free(q->modality);
	free(q->step);
	free(q);
}

void moe_collector_free(struct moe_collector *c)
{
	if (!c)
		return;
	while (c->n)
		free_sequence(c->seq[--c->n], c->info->n_layers);
	free(c->seq);
	moe_arena_free(&c->scratch);
	free(c);
}

/* The place of a sequence, -1 for one that is not there. */
static ptrdiff_t find(const struct moe_collector *c, uint64_t seq)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->seq[i]->seq == seq)
			return (ptrdiff_t)i;
	return -1;
}

static enum moe_err get(struct moe_collector *c, uint64_t seq, struct sequence **out, struct moe_diag *d)
{
	ptrdiff_t at = find(c, seq);
	struct sequence *q;

	if (at >= 0) {
		*out = c->seq[at];
		return MOE_OK;
	}
	MOE_TRY(moe_grow(&c->seq, &c->cap, c->n + 1, sizeof(struct sequence *), d));
	q = calloc(1, sizeof *q + c->info->n_layers * sizeof *q->layer);
	if (!q)
		return no_memory(d);
	q->seq = seq;
	*out = c->seq[c->n++] = q;
	return MOE_OK;
}

static void drop(struct moe_collector *c, struct sequence *q)
{
	ptrdiff_t at = find(c, q->seq);

	memmove(c->seq + at, c->seq + at + 1, (c->n - (size_t)at - 1) * sizeof *c->seq);
	c->n--;
	free_sequence(q, c->info->n_layers);
}

/* Reallocates an array of `cap` elements of `size` bytes. */
static bool resize(void *array, size_t cap, size_t size)
{
	void **p = array, *grown = realloc(*p, cap * size);

	if (grown)
		*p = grown;
	return grown;
}

/* Room for `n` rows in all arrays. */
static enum moe_err make_room(struct moe_collector *c, struct sequence *q, size_t n, struct moe_diag *d)
{
	const struct moe_trace_info *i = c->info;
	size_t cap = moe_max(n, q->cap ? 2 * q->cap : 16);
	bool ok;

	if (n <= q->cap)
		return MOE_OK;
	ok = resize(&q->token, cap, sizeof *q->token) && resize(&q->image, cap, sizeof *q->image) && resize(&q->patch, cap, sizeof *q->patch) &&
	     resize(&q->position, cap * q->axes, sizeof *q->position) && resize(&q->modality, cap, 1) && resize(&q->step, cap, sizeof *q->step);
	for (size_t l = 0; ok && l < i->n_layers; l++) {
		struct routing *r = &q->layer[l];
		ok = resize(&r->expert, cap * i->k, sizeof *r->expert) && (!c->depth || resize(&r->depth, cap, 1));
		if (i->detail >= MOE_TRACE_WEIGHTS)
			ok = ok && resize(&r->weight, cap * i->k, sizeof *r->weight);
		if (i->detail == MOE_TRACE_LOGITS)
			ok = ok && resize(&r->logit, cap * i->experts, sizeof *r->logit);
		if (i->detail == MOE_TRACE_LOGITS && q->compares)
			ok = ok && resize(&r->compared, cap * i->experts, sizeof *r->compared);
	}
	if (!ok)
		return no_memory(d);
	q->cap = cap;
	return MOE_OK;
}

/* What a pass brings, before its first layer. */
static enum moe_err add_rows(struct moe_collector *c, struct sequence *q, const struct moe_trace_rows *r, const struct moe_trace_choice *choice,
			     struct moe_diag *d)
{
	if (!q->axes) {
		q->axes = r->axes;
		q->start = r->start;
		q->compares = choice->compared != NULL;
		q->choice = r->choice;
		q->name = r->name ? moe_strdup(r->name) : NULL;
		if (r->name && !q->name)
			return no_memory(d);
	}
	if (q->axes != r->axes || r->start != q->start + q->rows)
		return moe_fail(d, MOE_EUSAGE, "trace: rows of sequence %llu begin at %zu, expected %zu", (unsigned long long)q->seq, r->start, q->start + q->rows);
	MOE_TRY(make_room(c, q, q->rows + r->n, d));
	memcpy(q->token + q->rows, r->token, r->n * sizeof *r->token);
	memcpy(q->image + q->rows, r->image, r->n * sizeof *r->image);
	memcpy(q->patch + q->rows, r->patch, r->n * sizeof *r->patch);
	memcpy(q->modality + q->rows, r->modality, r->n);
	for (size_t row = 0; row < r->n; row++) {
		q->step[q->rows + row] = r->step ? r->step + row : 0;
		for (size_t a = 0; a < q->axes; a++)
			q->position[(q->rows + row) * q->axes + a] = r->position[a * r->stride + row];
	}
	q->rows += r->n;
	return MOE_OK;
}

static enum moe_err add_choice(const struct moe_collector *c, struct sequence *q, size_t l, size_t n, const struct moe_trace_choice *choice, struct moe_diag *d)
{
	const struct moe_trace_info *i = c->info;
	struct routing *r = &q->layer[l];

	if (r->rows + n != q->rows)
		return moe_fail(d, MOE_EUSAGE, "trace: layer %zu routed %zu rows of sequence %llu, expected %zu", i->layer[l], n, (unsigned long long)q->seq,
				q->rows - r->rows);
	if (i->detail == MOE_TRACE_LOGITS && !choice->logit)
		return moe_fail(d, MOE_EUSAGE, "the router of layer %zu gives no logits (--trace-detail weights does without them)", i->layer[l]);
	for (size_t e = 0; e < n * i->k; e++)
		r->expert[r->rows * i->k + e] = choice->expert_id[e] < 0 ? MOE_NO_EXPERT : (uint16_t)choice->expert_id[e];
	if (r->weight)
		memcpy(r->weight + r->rows * i->k, choice->weight, n * i->k * sizeof *r->weight);
	if (r->logit)
		memcpy(r->logit + r->rows * i->experts, choice->logit, n * i->experts * sizeof *r->logit);
	if (r->compared)
		memcpy(r->compared + r->rows * i->experts, choice->compared ? choice->compared : choice->logit, n * i->experts * sizeof *r->compared);
	if (r->depth && choice->depth)
		memcpy(r->depth + r->rows, choice->depth, n);
	else if (r->depth)
		memset(r->depth + r->rows, 1, n);
	r->rows += n;
	return MOE_OK;
}

/* [layers][rows][width] of the first rows of each layer, the arrays of which lie at `offset` in struct routing. */
static void *gather(struct moe_collector *c, const struct sequence *q, size_t offset, size_t rows, size_t width, size_t size)
{
	size_t n = rows * width * size;
	char *all = moe_arena_get(&c->scratch, c->info->n_layers, n);

	for (size_t l = 0; all && l < c->info->n_layers; l++)
		memcpy(all + l * n, *(void *const *)(const void *)((const char *)&q->layer[l] + offset), n);
	return all;
}

/* The first n rows as a block. */
static enum moe_err write_block(struct moe_collector *c, const struct sequence *q, size_t n, struct moe_diag *d)
{
	const struct moe_trace_info *i = c->info;
	struct moe_trace_block b = {.seq = q->seq, .start = q->start, .step = q->step[0], .name = q->name, .choice = q->choice,
				    .rows = n, .axes = q->axes, .token = q->token,
				    .image = q->image, .patch = q->patch, .modality = q->modality};
	int32_t *position;

	moe_arena_reset(&c->scratch);
	b.position = position = moe_arena_get(&c->scratch, n * q->axes, sizeof *position);
	b.expert = gather(c, q, offsetof(struct routing, expert), n, i->k, sizeof *b.expert);
	b.weight = q->layer->weight ? gather(c, q, offsetof(struct routing, weight), n, i->k, sizeof *b.weight) : NULL;
	b.logit = q->layer->logit ? gather(c, q, offsetof(struct routing, logit), n, i->experts, sizeof *b.logit) : NULL;
	b.compared = q->layer->compared ? gather(c, q, offsetof(struct routing, compared), n, i->experts, sizeof *b.compared) : NULL;
	b.depth = c->depth ? gather(c, q, offsetof(struct routing, depth), n, 1, 1) : NULL;
	if (!position || !b.expert || (c->depth && !b.depth) || (q->layer->weight && !b.weight) || (q->layer->logit && !b.logit) ||
	    (q->layer->compared && !b.compared))
		return no_memory(d);
	for (size_t r = 0; r < n; r++)
		for (size_t a = 0; a < q->axes; a++)
			position[a * n + r] = q->position[r * q->axes + a];
	return moe_trace_writer_put(c->writer, &b, d);
}

static void shift(void *array, size_t n, size_t rest, size_t size)
{
	if (array)
		memmove(array, (char *)array + n * size, rest * size);
}

/* Forgets the first n rows. */
static void forget(const struct moe_collector *c, struct sequence *q, size_t n)
{
	size_t rest = q->rows - n, k = c->info->k, e = c->info->experts;

	shift(q->token, n, rest, sizeof *q->token);
	shift(q->image, n, rest, sizeof *q->image);
	shift(q->patch, n, rest, sizeof *q->patch);
	shift(q->position, n, rest, q->axes * sizeof *q->position);
	shift(q->modality, n, rest, 1);
	shift(q->step, n, rest, sizeof *q->step);
	for (size_t l = 0; l < c->info->n_layers; l++) {
		struct routing *r = &q->layer[l];
		shift(r->expert, n, rest, k * sizeof *r->expert);
		shift(r->weight, n, rest, k * sizeof *r->weight);
		shift(r->logit, n, rest, e * sizeof *r->logit);
		shift(r->compared, n, rest, e * sizeof *r->compared);
		shift(r->depth, n, rest, 1);
		r->rows -= n;
	}
	q->start += n;
	q->rows = rest;
}

/* Rows of the block that begins with the first row; *full: no further row belongs to it. */
static size_t block_rows(const struct sequence *q, bool *full)
{
	size_t n = 1;

	while (n < q->rows && n < MOE_TRACE_ROWS && q->step[n] == (q->step[0] ? q->step[0] + n : 0))
		n++;
	*full = n < q->rows || n == MOE_TRACE_ROWS || q->over;
	return n;
}

static enum moe_err write_full(struct moe_collector *c, struct sequence *q, struct moe_diag *d)
{
	while (q->rows) {
		bool full;
		size_t n = block_rows(q, &full);
		if (!full)
			break;
		MOE_TRY(write_block(c, q, n, d));
		forget(c, q, n);
	}
	return MOE_OK;
}

enum moe_err moe_collect(struct moe_collector *c, size_t layer, const struct moe_trace_rows *r, const struct moe_trace_choice *choice, struct moe_diag *d)
{
	const struct moe_trace_info *i = c->info;
	struct sequence *q;
	size_t l = 0;

	while (l < i->n_layers && i->layer[l] != layer)
		l++;
	if (l == i->n_layers || !r->n)
		return MOE_OK;
	MOE_TRY(get(c, r->seq, &q, d));
	if (!l)
		MOE_TRY(add_rows(c, q, r, choice, d));
	MOE_TRY(add_choice(c, q, l, r->n, choice, d));
	if (l + 1 < i->n_layers || (c->in_order && q->seq != c->next))
		return MOE_OK;
	return write_full(c, q, d);
}

/* In order: what waited for the sequence that is over now. */
static enum moe_err advance(struct moe_collector *c, struct moe_diag *d)
{
	ptrdiff_t at;

	while ((at = find(c, c->next)) >= 0) {
		struct sequence *q = c->seq[at];
		MOE_TRY(write_full(c, q, d));
		if (!q->over)
			break;
		drop(c, q);
		c->next++;
	}
	return MOE_OK;
}

enum moe_err moe_collect_over(struct moe_collector *c, uint64_t seq, struct moe_diag *d)
{
	struct sequence *q;

	if (!c->in_order && find(c, seq) < 0)
		return MOE_OK;
	MOE_TRY(get(c, seq, &q, d));
	q->over = true;
	if (c->in_order)
		return advance(c, d);
	MOE_TRY(write_full(c, q, d));
	drop(c, q);
	return MOE_OK;
}

enum moe_err moe_collect_rest(struct moe_collector *c, struct moe_diag *d)
{
	while (c->n) {
		struct sequence *first = c->seq[0];
		for (size_t i = 1; i < c->n; i++)
			if (c->seq[i]->seq < first->seq)
				first = c->seq[i];
		first->over = true;
		MOE_TRY(write_full(c, first, d));
		drop(c, first);
	}
	return MOE_OK;
}
