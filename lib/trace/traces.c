#include "trace/traces.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "stream/account.h"
#include "trace/routed.h"

/* One input that is being read. */
struct member {
	struct moe_reader *reader;
	struct moe_frame head, frame;
	struct moe_account account;
	bool is_trace;                  /* else a stream of stages */
	struct moe_trace_info info;     /* of a trace */
	struct moe_trace_block block;
	struct moe_arena arena;         /* of the block */
	struct moe_routed_frame routed;
};

/* Where a layer of several inputs side by side comes from. */
struct place { size_t number, member, layer; };

struct moe_traces {
	struct moe_traces_options o;
	char **path;
	size_t n_paths, next_path;
	struct member **member;         /* of the run at hand */
	size_t n, cap;
	struct member *waiting;         /* opened, and of the run after this one */
	size_t input;                   /* number of the first of the run */
	char model[40];                 /* of the first input that says */
	struct moe_trace_info info;     /* of several side by side */
	struct place *place;            /* [info.n_layers] */
	struct moe_arena arena;
	uint64_t failed;
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for traces"); }

static void close_member(struct member *m)
{
	if (!m)
		return;
	moe_reader_free(m->reader);
	moe_frame_free(&m->head);
	moe_frame_free(&m->frame);
	moe_account_free(&m->account);
	moe_trace_info_free(&m->info);
	moe_arena_free(&m->arena);
	free(m);
}

static void end_run(struct moe_traces *t)
{
	for (size_t i = 0; i < t->n; i++)
		close_member(t->member[i]);
	t->n = 0;
	free(t->info.layer);
	free(t->place);
	t->info.layer = NULL;
	t->place = NULL;
}

/* ---- one input ---- */

static enum moe_err read_frame(struct moe_traces *t, struct member *m, struct moe_frame *f, struct moe_diag *d)
{
	enum moe_err err = t->o.idle ? moe_reader_next(m->reader, f, false, d) : MOE_AGAIN;

	if (err == MOE_AGAIN && t->o.idle)
		MOE_TRY(t->o.idle(t->o.self, moe_reader_descriptor(m->reader), d));
	MOE_TRY(err == MOE_AGAIN ? moe_reader_next(m->reader, f, true, d) : err);
	if (f->kind == MOE_KIND_BARE)
		return moe_frame_fail(f, d, MOE_EINPUT, "a safetensors file: neither a trace of routing nor a stream");
	MOE_TRY(moe_account_frame(&m->account, f, d));
	return t->o.seen ? t->o.seen(t->o.self, f, d) : MOE_OK;
}

/* Takes the head that was read. All inputs are of one model, as far as they say. */
static enum moe_err take_head(struct moe_traces *t, struct member *m, struct moe_diag *d)
{
	const char *model = moe_frame_meta(&m->head, "moe.model");

	if (m->head.kind != MOE_KIND_HEAD)
		return moe_frame_fail(&m->head, d, MOE_EINPUT, "it begins with a frame of kind \"%.40s\", not with a head", moe_frame_kind(&m->head));
	if (model && !t->model[0] && strlen(model) < sizeof t->model)
		memcpy(t->model, model, strlen(model) + 1);
	if (model && !t->o.any_model && strcmp(model, t->model))
		return moe_frame_fail(&m->head, d, MOE_EMATCH, "it is of model %.36s, what came before of %s (--any-model takes both)", model, t->model);
	moe_trace_info_free(&m->info);
	m->is_trace = moe_frame_meta(&m->head, "moe.trace") != NULL;
	return m->is_trace ? moe_trace_info_read(&m->info, &m->head, d) : MOE_OK;
}

static enum moe_err open_reader(struct moe_traces *t, struct member *m, const char *path, struct moe_diag *d)
{
	struct moe_source *s;
	enum moe_err err;

	MOE_TRY(moe_source_open(&s, path, d));
	MOE_TRY(moe_reader_new(&m->reader, s, d));
	err = read_frame(t, m, &m->head, d);
	if (!err)
		err = take_head(t, m, d);
	if (err == MOE_END)
		err = moe_fail(d, MOE_EINPUT, "it is empty");
	if (err)
		moe_diag_path(d, moe_reader_name(m->reader));
	return err;
}

/* Opens the next input and reads its head; *out is NULL behind the last one. */
static enum moe_err open_next(struct moe_traces *t, struct member **out, struct moe_diag *d)
{
	enum moe_err err;

	*out = NULL;
	if (t->next_path == t->n_paths)
		return MOE_OK;
	*out = calloc(1, sizeof **out);
	if (!*out)
		return no_memory(d);
	err = open_reader(t, *out, t->path[t->next_path], d);
	t->next_path++;
	if (err) {
		close_member(*out);
		*out = NULL;
	}
	return err;
}

/* What a frame between stages says: a block, or nothing. */
static enum moe_err take_live(struct moe_traces *t, struct member *m, bool *has, struct moe_diag *d)
{
	enum moe_kind k = m->frame.kind;

	*has = false;
	t->failed += k == MOE_KIND_FAILED;
	if (k == MOE_KIND_DROP || k == MOE_KIND_FAILED)
		return MOE_OK;
	if (k != MOE_KIND_ROUTED)
		return t->o.seen ? MOE_OK : moe_frame_fail(&m->frame, d, MOE_EINPUT, "routing is in frames of kind \"trace\" and \"routed\" only");
	MOE_TRY(moe_routed_take(&m->routed, &m->frame, t->o.score, t->o.experts, d));
	*has = true;
	return MOE_OK;
}

/* A frame that is not the end of anything: MOE_OK with a block in it, MOE_AGAIN without. */
static enum moe_err take_frame(struct moe_traces *t, struct member *m, struct moe_diag *d)
{
	bool has;

	moe_arena_reset(&m->arena);
	if (m->is_trace) {
		if (m->frame.kind != MOE_KIND_TRACE)
			return moe_frame_fail(&m->frame, d, MOE_EINPUT, "a trace of routing holds frames of kind \"trace\" only");
		return moe_trace_block_read(&m->block, &m->frame, &m->info, &m->arena, d);
	}
	MOE_TRY(take_live(t, m, &has, d));
	return has ? moe_routed_next(&m->routed, &m->block, &m->arena, d) : MOE_AGAIN;
}

/* The next block of an input, in m->block; *changed: another head has come since. */
static enum moe_err next_of(struct moe_traces *t, struct member *m, bool *changed, struct moe_diag *d)
{
	enum moe_err err = MOE_END;

	if (!m->is_trace && m->routed.at < m->routed.rows)
		err = moe_routed_next(&m->routed, &m->block, &m->arena, d);
	while (err == MOE_END || err == MOE_AGAIN) {
		struct moe_frame swap;
		MOE_TRY(read_frame(t, m, &m->frame, d));
		if (m->frame.kind == MOE_KIND_END)
			continue;
		if (m->frame.kind == MOE_KIND_HEAD) {
			swap = m->head;
			m->head = m->frame;
			m->frame = swap;
			*changed = true;
			MOE_TRY(take_head(t, m, d));
			continue;
		}
		err = take_frame(t, m, d);
	}
	return err;
}

static enum moe_err next_block(struct moe_traces *t, struct member *m, bool *changed, struct moe_diag *d)
{
	enum moe_err err = next_of(t, m, changed, d);

	if (err && err != MOE_END)
		moe_diag_path(d, moe_reader_name(m->reader));
	return err;
}

/* ---- several side by side ---- */

static bool have_common_layer(const struct moe_trace_info *a, const struct moe_trace_info *b)
{
	for (size_t i = 0, j = 0; i < a->n_layers && j < b->n_layers; a->layer[i] < b->layer[j] ? i++ : j++)
		if (a->layer[i] == b->layer[j])
			return true;
	return false;
}

/* Are these traces of different layers of one run, as far as their heads say? */
static bool side_by_side(const struct moe_traces *t, const struct member *m)
{
	const struct moe_trace_info *a = &t->member[0]->info, *b = &m->info;

	if (t->o.apart || !t->member[0]->is_trace || !m->is_trace || strcmp(a->model, b->model) || a->experts != b->experts || a->k != b->k ||
	    a->score != b->score || a->detail != b->detail || a->detail == MOE_TRACE_COUNTS)
		return false;
	for (size_t i = 0; i < t->n; i++)
		if (have_common_layer(&t->member[i]->info, b))
			return false;
	return true;
}

static int by_number(const void *a, const void *b)
{
	size_t x = ((const struct place *)a)->number, y = ((const struct place *)b)->number;

	return (x > y) - (x < y);
}

/* The layers of the run in ascending order. */
static enum moe_err order_layers(struct moe_traces *t, struct moe_diag *d)
{
	size_t n = 0, *layer;

	for (size_t i = 0; i < t->n; i++)
		n += t->member[i]->info.n_layers;
	layer = moe_calloc(n, sizeof *layer);
	t->place = moe_calloc(n, sizeof *t->place);
	t->info = t->member[0]->info;
	t->info.layer = layer;
	t->info.n_layers = 0;
	if (!t->place || !layer)
		return no_memory(d);
	for (size_t i = 0; i < t->n; i++)
		for (size_t l = 0; l < t->member[i]->info.n_layers; l++)
			t->place[t->info.n_layers++] = (struct place){t->member[i]->info.layer[l], i, l};
	qsort(t->place, n, sizeof *t->place, by_number);
	for (size_t l = 0; l < n; l++)
		layer[l] = t->place[l].number;
	return MOE_OK;
}

static enum moe_err add_member(struct moe_traces *t, struct member *m, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&t->member, &t->cap, t->n + 1, sizeof *t->member, d));
	t->member[t->n++] = m;
	return MOE_OK;
}

/* Opens the next run: an input, and those behind it that tell of other layers of it. MOE_END behind the last. */
static enum moe_err begin_run(struct moe_traces *t, struct moe_diag *d)
{
	struct member *m = t->waiting;

	end_run(t);
	t->waiting = NULL;
	if (!m)
		MOE_TRY(open_next(t, &m, d));
	if (!m)
		return MOE_END;
	t->input = t->next_path - 1;
	for (; m && (!t->n || side_by_side(t, m)); m = t->waiting) {
		MOE_TRY(add_member(t, m, d));
		t->waiting = NULL;
		MOE_TRY(open_next(t, &t->waiting, d));
	}
	return t->n > 1 ? order_layers(t, d) : MOE_OK;
}

/* The same rows, so that what several say of them can be put together? */
static enum moe_err check_rows(const struct member *a, const struct member *b, struct moe_diag *d)
{
	const struct moe_trace_block *x = &a->block, *y = &b->block;

	if (x->seq == y->seq && x->start == y->start && x->step == y->step && x->rows == y->rows && !strcmp(x->choice, y->choice) &&
	    !memcmp(x->token, y->token, x->rows * sizeof *x->token) && !memcmp(x->modality, y->modality, x->rows))
		return MOE_OK;
	return moe_fail(d, MOE_EMATCH, "it tells of other layers, but not of the same tokens (--apart reads one after the other): sequence %llu, row %llu, "
			"%zu rows here, sequence %llu, row %llu, %zu rows in %s", (unsigned long long)y->seq, (unsigned long long)y->start, y->rows,
			(unsigned long long)x->seq, (unsigned long long)x->start, x->rows, moe_reader_name(a->reader));
}

static const uint8_t *array_of(const struct member *m, size_t offset)
{
	const uint8_t *p;

	memcpy(&p, (const char *)&m->block + offset, sizeof p);
	return p;
}

/* An array of the block at `offset`, of `size` bytes per token, from where the layers lie to where they stand in order. Where only some inputs have it,
 * the bytes of the others are `fill`; without one (-1), or where none has it, it is NULL. */
static enum moe_err gather(struct moe_traces *t, size_t offset, size_t size, int fill, const void **out, struct moe_diag *d)
{
	size_t bytes = t->member[0]->block.rows * size, have = 0;
	uint8_t *to;

	*out = NULL;
	for (size_t i = 0; i < t->n; i++)
		have += array_of(t->member[i], offset) != NULL;
	if (!have || (have < t->n && fill < 0))
		return MOE_OK;
	to = moe_arena_get(&t->arena, t->info.n_layers, bytes);
	if (!to)
		return no_memory(d);
	*out = to;
	for (size_t l = 0; l < t->info.n_layers; l++, to += bytes) {
		const uint8_t *from = array_of(t->member[t->place[l].member], offset);
		if (from)
			memcpy(to, from + t->place[l].layer * bytes, bytes);
		else
			memset(to, fill, bytes);
	}
	return MOE_OK;
}

static enum moe_err put_together(struct moe_traces *t, struct moe_trace_block *b, struct moe_diag *d)
{
	size_t k = t->info.k, e = t->info.experts;

	*b = t->member[0]->block;
	for (size_t i = 1; i < t->n; i++)
		if (check_rows(t->member[0], t->member[i], d))
			return moe_diag_path(d, moe_reader_name(t->member[i]->reader));
	moe_arena_reset(&t->arena);
	MOE_TRY(gather(t, offsetof(struct moe_trace_block, expert), k * sizeof *b->expert, -1, (const void **)&b->expert, d));
	MOE_TRY(gather(t, offsetof(struct moe_trace_block, weight), k * sizeof *b->weight, -1, (const void **)&b->weight, d));
	MOE_TRY(gather(t, offsetof(struct moe_trace_block, logit), e * sizeof *b->logit, -1, (const void **)&b->logit, d));
	MOE_TRY(gather(t, offsetof(struct moe_trace_block, compared), e * sizeof *b->compared, -1, (const void **)&b->compared, d));
	return gather(t, offsetof(struct moe_trace_block, depth), 1, 1, (const void **)&b->depth, d);
}

/* Reads a block of each; they end together. */
static enum moe_err next_of_all(struct moe_traces *t, struct moe_trace_block *b, struct moe_diag *d)
{
	size_t ended = 0;
	bool changed = false;

	for (size_t i = 0; i < t->n; i++) {
		enum moe_err err = next_block(t, t->member[i], &changed, d);
		if (err && err != MOE_END)
			return err;
		ended += err == MOE_END;
		if (changed || (ended && ended != i + 1)) {
			moe_fail(d, MOE_EMATCH, changed ? "several traces in one file cannot be read beside those of other layers"
							: "it does not tell of as many tokens as %s",
				 moe_reader_name(t->member[0]->reader));
			return moe_diag_path(d, moe_reader_name(t->member[i]->reader));
		}
	}
	return ended ? MOE_END : put_together(t, b, d);
}

/* ---- all ---- */

enum moe_err moe_traces_new(struct moe_traces **out, const struct moe_traces_options *options, const char *const *path, size_t n, struct moe_diag *d)
{
	struct moe_traces *t = calloc(1, sizeof *t);

	*out = NULL;
	if (!t || !(t->path = moe_calloc(n ? n : 1, sizeof *t->path))) {
		free(t);
		return no_memory(d);
	}
	t->o = *options;
	for (; t->n_paths < n; t->n_paths++)
		if (!(t->path[t->n_paths] = moe_strdup(path[t->n_paths]))) {
			moe_traces_free(t);
			return no_memory(d);
		}
	*out = t;
	return MOE_OK;
}

void moe_traces_free(struct moe_traces *t)
{
	if (!t)
		return;
	end_run(t);
	close_member(t->waiting);
	for (size_t i = 0; i < t->n_paths; i++)
		free(t->path[i]);
	free(t->path);
	free(t->member);
	moe_arena_free(&t->arena);
	free(t);
}

enum moe_err moe_traces_next(struct moe_traces *t, const struct moe_trace_info **info, struct moe_trace_block *b, struct moe_diag *d)
{
	for (;;) {
		enum moe_err err = MOE_END;
		bool changed;
		if (t->n == 1)
			err = next_block(t, t->member[0], &changed, d);
		else if (t->n)
			err = next_of_all(t, b, d);
		if (err == MOE_END) {
			MOE_TRY(begin_run(t, d));
			continue;
		}
		if (err)
			return err;
		if (t->n == 1)
			*b = t->member[0]->block;
		*info = t->n > 1 ? &t->info : t->member[0]->is_trace ? &t->member[0]->info : &t->member[0]->routed.info;
		return MOE_OK;
	}
}

size_t moe_traces_input(const struct moe_traces *t) { return t->input; }
const struct moe_frame *moe_traces_head(const struct moe_traces *t) { return t->n ? &t->member[0]->head : NULL; }
uint64_t moe_traces_failed(const struct moe_traces *t) { return t->failed; }
