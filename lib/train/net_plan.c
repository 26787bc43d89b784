/* How the rows of a chunk lie: sequences one behind the other, of each its picture and then its text; and which of them pass a layer. */
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "train/net_priv.h"

size_t moe_net_patch_layer(const struct moe_net *n)
{
	size_t layers = (size_t)n->spec->n_layers, at = (size_t)n->loss->patch_layer;

	return at ? moe_min(at, layers) : layers;
}

/* Where the segments of a sequence begin. */
static enum moe_err plan_segments(struct moe_packed_rows *s, const struct moe_packed *p, struct moe_arena *a, struct moe_diag *d)
{
	uint32_t *at = moe_arena_get(a, p->n_text + 1, sizeof *at);

	if (!at)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	s->segment = at;
	for (size_t t = 0; t < p->n_text; t++)
		if (!t || p->segment[t] != p->segment[t - 1])
			at[s->n_segments++] = (uint32_t)t;
	at[s->n_segments] = (uint32_t)p->n_text;
	for (size_t i = 0; i < s->n_segments; i++)
		s->longest = moe_max(s->longest, at[i + 1] - at[i]);
	return MOE_OK;
}

static enum moe_err plan_spans(struct moe_net *n, struct chunk *c, struct moe_diag *d)
{
	c->rows = 0;
	c->all = (struct layer_rows){.span = moe_arena_zero(c->memory, c->n, sizeof *c->all.span)};
	if (!c->all.span)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < c->n; i++) {
		const struct moe_packed *p = &c->packed[i];
		struct moe_packed_rows *s = &c->all.span[i];
		if (p->rows)
			MOE_TRY(moe_spec_check_grid(n->spec, p->rows, p->columns, d));
		MOE_TRY(moe_net_tokens_check(n, p, d));
		s->first = c->rows;
		s->n_image = (size_t)p->rows * p->columns;
		s->n_text = p->n_text;
		if (p->n_text > n->o.most_text)
			return moe_fail(d, MOE_EUSAGE, "a sequence has %zu tokens of text, at most %zu are planned", p->n_text, n->o.most_text);
		MOE_TRY(plan_segments(s, p, c->memory, d));
		c->rows += s->n_image + s->n_text;
	}
	return MOE_OK;
}

/* Copies the rotation of a position on an axis. */
static void turn(const struct moe_net *n, struct chunk *c, size_t row, size_t axis, size_t position)
{
	size_t of_axis = n->pairs / (size_t)n->spec->attention.rope.axes, at = row * n->pairs + axis * of_axis;
	const float *cosine = n->cosine + position * n->pairs + axis * of_axis, *sine = n->sine + position * n->pairs + axis * of_axis;

	for (size_t i = 0; i < of_axis; i++) {
		c->cosine[at + i] = cosine[i];
		c->sine[at + i] = sine[i];
		c->minus[at + i] = -sine[i];
	}
}

static void plan_rows(const struct moe_net *n, struct chunk *c)
{
	size_t axes = (size_t)n->spec->attention.rope.axes;
	size_t offset = n->spec->merge.position == MOE_POSITION_AXIAL ? (size_t)n->spec->merge.text_offset : 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct moe_packed_rows *s = &c->all.span[i];
		const int32_t *place = c->packed[i].place;
		size_t columns = c->packed[i].columns, segment = 0, position = 0;
		memset(c->all.modality + s->first, MOE_IMAGE, s->n_image);
		memset(c->all.modality + s->first + s->n_image, MOE_TEXT, s->n_text);
		for (size_t r = 0; r < s->n_image; r++) {
			turn(n, c, s->first + r, 0, r / columns);
			if (axes > 1)
				turn(n, c, s->first + r, 1, r % columns);
		}
		for (size_t t = 0; t < s->n_text; t++) {
			size_t row = s->first + s->n_image + t;
			segment += t >= s->segment[segment + 1];
			position = t == s->segment[segment] ? 0 : position;
			if (place && place[t] >= 0) {   /* stands where its patch does, and moves no text */
				c->all.modality[row] = MOE_IMAGE;
				turn(n, c, row, 0, (size_t)place[t] / moe_net_columns(n));
				if (axes > 1)
					turn(n, c, row, 1, (size_t)place[t] % moe_net_columns(n));
				continue;
			}
			for (size_t a = 0; a < axes; a++)
				turn(n, c, row, a, offset + position);
			position++;
		}
	}
}

static bool plan_targets(struct chunk_targets *t, size_t most, struct moe_arena *a)
{
	t->row = moe_arena_get(a, most, sizeof *t->row);
	t->token = moe_arena_get(a, most, sizeof *t->token);
	t->weight = moe_arena_get(a, most, sizeof *t->weight);
	t->of = (struct moe_targets_of){.row = t->row, .token = t->token, .weight = t->weight};
	return t->row && t->token && t->weight;
}

static void add_target(struct chunk_targets *t, size_t row, int32_t token, float weight)
{
	t->row[t->of.n] = (uint32_t)row;
	t->token[t->of.n] = token;
	t->weight[t->of.n++] = weight;
}

static enum moe_err find_targets(struct moe_net *n, struct chunk *c, struct moe_diag *d)
{
	int32_t vocab = (int32_t)n->spec->vocab;

	if (!plan_targets(&c->text, c->rows, c->memory) || !plan_targets(&c->image, c->rows, c->memory) || !plan_targets(&c->patch, c->rows, c->memory))
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < c->n; i++) {
		const struct moe_packed *p = &c->packed[i];
		const struct moe_packed_rows *s = &c->all.span[i];
		for (size_t t = 0; t < p->n_text; t++) {
			if (p->token[t] < 0 || p->token[t] >= vocab || p->target[t] >= vocab)
				return moe_fail(d, MOE_EINPUT, "token %d or target %d is outside the vocabulary of %d", p->token[t], p->target[t], vocab);
			if (p->target[t] >= 0)
				add_target(moe_net_is_image(n, p->target[t]) ? &c->image : &c->text, s->first + s->n_image + t, p->target[t], p->weight ? p->weight[t] : 1);
		}
		for (size_t r = 0; p->code && r + 1 < s->n_image; r++)
			add_target(&c->image, s->first + r, p->code[r + 1], 1);
		for (size_t r = 0; p->label && r < s->n_image; r++) {
			if (p->label[r] >= vocab)
				return moe_fail(d, MOE_EINPUT, "patch label %d is outside the vocabulary of %d", p->label[r], vocab);
			if (p->label[r] >= 0)
				add_target(&c->patch, s->first + r, p->label[r], 1);
		}
	}
	return MOE_OK;
}

/* Where the groups that are chosen in together begin: runs of sequences without two parts of one document. */
static bool plan_groups(const struct moe_net *n, struct chunk *c)
{
	uint32_t *at = moe_arena_get(c->memory, c->n + 1, sizeof *at);
	size_t i = 0;

	c->all.group = at;
	c->n_groups = 0;
	while (at && i < c->n) {
		at[c->n_groups++] = (uint32_t)c->all.span[i].first;
		i += moe_spec_chooses_rows(n->spec) ? moe_packed_together(c->packed + i, c->n - i, (size_t)n->spec->router.batch) : c->n;
	}
	if (at)
		at[c->n_groups] = (uint32_t)c->rows;
	return at;
}

static bool plan_inputs(const struct moe_net *n, struct chunk *c)
{
	size_t layers = (size_t)n->spec->n_layers;

	c->layer = moe_arena_zero(c->memory, layers, sizeof *c->layer);
	for (size_t l = 0; c->layer && l < layers; l++) {
		c->layer[l].x = moe_arena_get(c->memory, c->rows * net_hidden(n), sizeof(float));
		if (!c->layer[l].x)
			return false;
	}
	return c->layer;
}

/* ---- the rows of a layer ---- */

/* The taken rows of sequence i, behind those of the sequences before it: its span, and their numbers in the chunk. */
static bool take_sequence(struct layer_rows *to, size_t i, const struct chunk *c, const uint8_t *taken)
{
	const struct moe_packed_rows *from = &c->all.span[i];
	struct moe_packed_rows *s = &to->span[i];
	uint32_t *segment = moe_arena_get(c->memory, from->n_segments + 1, sizeof *segment);

	if (!segment)
		return false;
	*s = (struct moe_packed_rows){.first = to->n, .segment = segment};
	for (size_t r = 0; r < from->n_image; r++)
		if (taken[from->first + r]) {
			to->row[to->n++] = (uint32_t)(from->first + r);
			s->n_image++;
		}
	for (size_t g = 0; g < from->n_segments; g++) {
		size_t before = s->n_text;
		for (size_t t = from->segment[g]; t < from->segment[g + 1]; t++)
			if (taken[from->first + from->n_image + t]) {
				to->row[to->n++] = (uint32_t)(from->first + from->n_image + t);
				s->n_text++;
			}
		if (s->n_text > before)
			segment[s->n_segments++] = (uint32_t)before;
		s->longest = moe_max(s->longest, s->n_text - before);
	}
	segment[s->n_segments] = (uint32_t)s->n_text;
	return true;
}

static bool take_rows(struct layer_rows *to, const struct chunk *c, const uint8_t *taken)
{
	size_t g = 0;

	*to = (struct layer_rows){
		.row = moe_arena_get(c->memory, c->rows, sizeof *to->row), .span = moe_arena_get(c->memory, c->n, sizeof *to->span),
		.modality = moe_arena_get(c->memory, c->rows, 1), .group = moe_arena_get(c->memory, c->n_groups + 1, sizeof *to->group),
	};
	if (!to->row || !to->span || !to->modality || !to->group)
		return false;
	for (size_t i = 0; i < c->n; i++)
		if (!take_sequence(to, i, c, taken))
			return false;
	for (size_t r = 0; r < to->n; r++) {
		to->modality[r] = c->all.modality[to->row[r]];
		for (; g < c->n_groups && to->row[r] >= c->all.group[g]; g++)
			to->group[g] = (uint32_t)r;
	}
	for (; g <= c->n_groups; g++)
		to->group[g] = (uint32_t)to->n;
	return true;
}

enum moe_err moe_net_layer_plan(struct moe_net *n, struct chunk *c, size_t layer, const uint8_t *taken, struct moe_diag *d)
{
	struct kept_layer *k = &c->layer[layer];
	bool post = n->spec->block == MOE_BLOCK_POST, last = layer + 1 == (size_t)n->spec->n_layers, found = true;
	const struct net_layer *w = &n->layer[layer];
	size_t hidden = net_hidden(n), number = moe_unit_number(n->o.unit), slots, rows;
	struct moe_router_kept *r = &k->router;

	k->rows = c->all;
	if (taken)
		found = take_rows(&k->rows, c, taken);
	rows = k->rows.n;
	slots = rows * w->k;
	k->attend.x = k->x;
	k->made = last ? c->top : c->layer[layer + 1].x;
	struct { void *to; size_t n, size; bool wanted; } part[] = {
		{&k->attend.x, rows * hidden, 4, taken}, {&k->made, rows * hidden, 4, taken}, {&k->ffn, rows * hidden, 4, post}, {&k->ffn_scale, rows, 4, true},
		{&k->h, rows * hidden, number, true}, {&r->logit, rows * w->experts, 4, !w->dense}, {&r->p, rows * w->experts, 4, !w->dense},
		{&r->lse, rows, 4, !w->dense}, {&r->weight, slots, 4, true}, {&r->expert_id, slots, 4, true},
	};
	for (size_t i = 0; found && i < sizeof part / sizeof *part; i++) {
		void *p = part[i].wanted ? moe_arena_get(c->memory, part[i].n, part[i].size) : NULL;
		found = p || !part[i].wanted;
		if (p)
			memcpy(part[i].to, &p, sizeof p);
	}
	found = found && moe_attend_plan(&k->attend, &n->heads, hidden, &(struct moe_spans){k->rows.span, c->n, rows}, c->memory);
	return found ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", rows);
}

enum moe_err moe_net_chunk_plan(struct moe_net *n, struct chunk *c, struct moe_diag *d)
{
	size_t hidden = net_hidden(n);
	bool middle = moe_net_patch_layer(n) < (size_t)n->spec->n_layers, ok;

	moe_arena_reset(c->memory);
	MOE_TRY(plan_spans(n, c, d));
	c->all.n = c->rows;
	c->all.modality = moe_arena_get(c->memory, c->rows, 1);
	c->cosine = moe_arena_get(c->memory, c->rows * n->pairs, sizeof(float));
	c->sine = moe_arena_get(c->memory, c->rows * n->pairs, sizeof(float));
	c->minus = moe_arena_get(c->memory, c->rows * n->pairs, sizeof(float));
	c->top = moe_arena_get(c->memory, c->rows * hidden, sizeof(float));
	c->dx = n->backward ? moe_arena_zero(c->memory, c->rows * hidden, sizeof(float)) : NULL;
	c->dx_patch = n->backward && middle ? moe_arena_zero(c->memory, c->rows * hidden, sizeof(float)) : NULL;
	ok = c->all.modality && c->cosine && c->sine && c->minus && c->top && (c->dx || !n->backward) && (c->dx_patch || !n->backward || !middle) &&
	     moe_net_match_chunk(n, c) && plan_groups(n, c) && plan_inputs(n, c);
	if (!ok)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", c->rows);
	plan_rows(n, c);
	MOE_TRY(moe_net_pictures_kept(n, c, d));
	return find_targets(n, c, d);
}

/* Bytes that a sequence keeps: what plan_layer and the pictures' way take. */
static uint64_t kept_nbytes(const struct moe_spec *s, enum moe_unit unit, size_t patches, size_t text)
{
	uint64_t rows = patches + text, number = moe_unit_number(unit), hidden = (uint64_t)s->hidden, k = moe_router_width(&s->router);
	double passes = s->router.chooses == MOE_CHOICE_EXPERT && s->router.capacity > 0 ? s->router.capacity : (double)s->router.top_k;
	uint64_t width = moe_max((uint64_t)(ceil(passes) * (double)s->expert_width), (uint64_t)s->dense.width);
	uint64_t q = (uint64_t)(s->attention.heads * s->attention.head_dim), kv = (uint64_t)(s->attention.kv_heads * s->attention.head_dim);
	struct moe_heads heads = {unit, (size_t)s->attention.heads, (size_t)s->attention.kv_heads, (size_t)s->attention.head_dim, false};
	struct moe_packed_rows longest = {.n_image = patches, .n_text = text, .longest = text};
	uint64_t more = (s->block == MOE_BLOCK_POST ? hidden : 0) + (s->depth.layers.n ? 2 * hidden : 0);       /* of the norm, and of copies of rows */
	uint64_t of_row = 4 * (2 * hidden + more + 2 * (uint64_t)s->router.experts + 4 + 4 * k) + number * (2 * hidden + 2 * q + 2 * kv + 2 * width);
	uint64_t n = (uint64_t)s->n_layers * (rows * of_row + number * moe_attention_kept(&heads, &longest)) + rows * (3 * 4 * hidden + 64 + 6 * q);

	return n + moe_net_pictures_nbytes(s, unit, patches);
}

uint64_t moe_net_nbytes(const struct moe_spec *s, const struct moe_net_options *given)
{
	struct moe_net_options o = moe_net_defaults(given);
	struct moe_spec_sides sides = moe_spec_largest_sides(s);
	struct moe_sizes sizes;
	size_t patches = moe_spec_largest_patches(s), rows;
	uint64_t hidden = (uint64_t)s->hidden, width = (uint64_t)moe_max(s->expert_width, s->dense.width), lane, kept;

	if (moe_spec_sizes(s, &sizes, NULL))
		return 0;
	rows = moe_max(o.chunk, moe_spec_chooses_rows(s) ? (size_t)s->router.batch : 0) * (patches + o.most_text);
	kept = kept_nbytes(s, o.unit, patches, o.most_text);
	/* Scratch of a lane: an expert that gets every row, or the gradients of attention; a step of the stem is smaller. */
	lane = moe_experts_scratch(rows, (size_t)hidden, (size_t)width) + 4 * rows * (4 * hidden + 2 * (uint64_t)s->router.experts);
	lane = moe_max(lane, moe_net_pictures_scratch(s, o.chunk * patches));
	if (o.teacher)
		kept += o.teacher->n_matches * (patches + o.most_text) * 4 * hidden;
	/* Weights, gradients, and the forms of the weights: two of bf16 or one of f32. */
	return sizes.parameters * 4 * (2 + (o.forward_only ? 0 : o.lanes)) + o.most_pictures * kept + o.lanes * lane +
	       8 * (uint64_t)(sides.rows + sides.columns) * hidden;
}
