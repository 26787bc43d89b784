#include "stage/join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/flow.h"

/* Says in which stream a failure lies that is about one of its frames. */
static enum moe_err blame(const struct moe_joined *s, enum moe_err err, struct moe_diag *d)
{
	if (err && d && d->byte >= 0)
		moe_diag_path(d, moe_reader_name(s->in));
	return err;
}

/* ---- in lock-step ---- */

/* Kinds that the streams must have in the same order; a copy of anything else is passed over. */
static bool in_step(enum moe_kind k)
{
	return k == MOE_KIND_HEAD || k == MOE_KIND_HIDDEN || k == MOE_KIND_ROUTED || k == MOE_KIND_DROP || k == MOE_KIND_FAILED || k == MOE_KIND_END ||
	       k == MOE_KIND_BARE;
}

/* Reads the next frame of a stream that counts. What is ready goes out before this sleeps. */
static enum moe_err read_next(struct moe_joined *s, struct moe_output *out, struct moe_diag *d)
{
	do {
		enum moe_err err = moe_reader_next(s->in, &s->frame, false, d);
		if (err == MOE_AGAIN) {
			MOE_TRY(moe_writer_flush(out->writer, d));
			err = moe_reader_next(s->in, &s->frame, true, d);
		}
		if (err == MOE_END)
			return moe_fail(d, MOE_EMATCH, "%s has fewer frames than the other streams", moe_reader_name(s->in));
		MOE_TRY(blame(s, err, d));
		MOE_TRY(blame(s, moe_account_frame(&s->account, &s->frame, d), d));
	} while (!in_step(s->frame.kind));
	return MOE_OK;
}

/* May differ between frames that belong together. */
static bool is_own(const struct moe_meta *m) { return !strcmp(m->key, "moe.crc32") || !strcmp(m->key, "moe.pg"); }

static size_t n_shared(const struct moe_frame *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->h.n_meta; i++)
		n += !is_own(&f->h.meta[i]);
	return n;
}

/* The frame of a stream must say what that of the first one says. */
static enum moe_err compare_frames(const struct moe_join *j, const struct moe_frame *first, const struct moe_frame *f, struct moe_diag *d)
{
	const char *name = moe_reader_name(j->stream[0].in);

	if (f->kind != first->kind)
		return moe_frame_fail(f, d, MOE_EMATCH, "%s has a frame \"%s\" in this place", name, moe_frame_kind(first));
	for (size_t i = 0; i < first->h.n_meta && f->kind != MOE_KIND_END; i++) {
		const struct moe_meta *m = &first->h.meta[i];
		const char *have = moe_frame_meta(f, m->key);
		if (!is_own(m) && (!have || strcmp(have, m->value)))
			return moe_frame_fail(f, d, MOE_EMATCH, "%.40s is \"%.60s\", but \"%.60s\" in %s: the streams are of different runs", m->key, have ? have : "",
					      m->value, name);
	}
	if (f->kind != MOE_KIND_END && n_shared(f) != n_shared(first))
		return moe_frame_fail(f, d, MOE_EMATCH, "%s has fewer metadata in this place: the streams are of different runs", name);
	return MOE_OK;
}

/* The frames of the other streams that belong to this one of the first. */
static enum moe_err read_others(struct moe_join *j, const struct moe_frame *first, struct moe_output *out, struct moe_diag *d)
{
	for (size_t i = 1; i < j->n; i++) {
		MOE_TRY(read_next(&j->stream[i], out, d));
		MOE_TRY(blame(&j->stream[i], compare_frames(j, first, &j->stream[i].frame, d), d));
	}
	return MOE_OK;
}

/* Adds to the provenance of f what the other has behind the lines that both begin with, under numbers that are free. */
static enum moe_err add_provenance(struct moe_frame *f, const struct moe_frame *other, struct moe_diag *d)
{
	const char *have = moe_frame_meta(f, "moe.pg"), *add = moe_frame_meta(other, "moe.pg");
	size_t n_lines = 0, nbytes = 0, same = 0;
	char *text = NULL;
	FILE *to;
	enum moe_err err;

	if (!have || !add)
		return MOE_OK;
	for (size_t i = 0; have[i] == add[i] && add[i]; i++)
		if (add[i] == '\n')
			same = i + 1;
	for (const char *p = have; *p; p++)
		n_lines += *p == '\n';
	to = open_memstream(&text, &nbytes);
	if (!to)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	fputs(have, to);
	for (const char *line = add + same, *end; (end = strchr(line, '\n')); line = end + 1) {
		const char *rest = memchr(line, '\t', (size_t)(end - line));
		rest = rest ? memchr(rest + 1, '\t', (size_t)(end - rest - 1)) : NULL;
		if (rest)
			fprintf(to, "@PG\tID:%zu%.*s\n", n_lines++, (int)(end - rest), rest);
	}
	err = fclose(to) ? moe_fail(d, MOE_ENOMEM, "out of memory") : moe_frame_set(f, "moe.pg", text, d);
	free(text);
	return err;
}

/* All streams go on behind their end frame, or none. */
static enum moe_err check_rest(struct moe_join *j, struct moe_output *out, struct moe_diag *d)
{
	bool more, first;

	MOE_TRY(moe_writer_flush(out->writer, d));
	MOE_TRY(moe_reader_more(j->stream[0].in, &first, d));
	for (size_t i = 1; i < j->n; i++) {
		MOE_TRY(moe_reader_more(j->stream[i].in, &more, d));
		if (more != first)
			return moe_fail(d, MOE_EMATCH, "%s goes on behind the end of %s", moe_reader_name(j->stream[more ? i : 0].in),
					moe_reader_name(j->stream[more ? 0 : i].in));
	}
	return MOE_OK;
}

static enum moe_err notice(void *self, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	struct moe_join *j = self;

	MOE_TRY(read_others(j, f, out, d));
	for (size_t i = 1; i < j->n && f->kind == MOE_KIND_HEAD; i++)
		MOE_TRY(add_provenance(f, &j->stream[i].frame, d));
	return f->kind == MOE_KIND_END ? check_rest(j, out, d) : MOE_OK;
}

/* ---- results ---- */

/* The results of all streams, [T · K]. */
struct results {
	const float **result;
	uint8_t *owner;                 /* the stream that has it */
	size_t rows, k, hidden;
};

/* A stream must have seen the same choices. */
static enum moe_err compare_choice(const struct moe_flow *flow, struct moe_frame *f, const struct results *r, struct moe_diag *d)
{
	const uint64_t *id_shape, *weight_shape;
	const int32_t *id;
	const float *weight;

	MOE_TRY(moe_frame_tensor(f, "expert_id", MOE_I32, 2, (const void **)&id, &id_shape, d));
	MOE_TRY(moe_frame_tensor(f, "weight", MOE_F32, 2, (const void **)&weight, &weight_shape, d));
	if (id_shape[0] != r->rows || id_shape[1] != r->k || weight_shape[0] != r->rows || weight_shape[1] != r->k)
		return moe_frame_fail(f, d, MOE_EMATCH, "the frame has %llu x %llu choices, expected %zu x %zu: the streams are of different runs",
				      (unsigned long long)id_shape[0], (unsigned long long)id_shape[1], r->rows, r->k);
	for (size_t i = 0; i < r->rows * r->k; i++)
		if (id[i] != flow->routed.expert_id[i] || memcmp(&weight[i], &flow->routed.weight[i], sizeof *weight))
			return moe_frame_fail(f, d, MOE_EMATCH, "row %zu, slot %zu: expert %d with weight %.9g was chosen, but %d with %.9g in the stream with the rows: "
					      "the streams are of different runs", i / r->k, i % r->k, id[i], (double)weight[i], flow->routed.expert_id[i],
					      (double)flow->routed.weight[i]);
	return MOE_OK;
}

/* Takes what stream number i has. */
static enum moe_err take_results(struct moe_join *j, const struct moe_flow *flow, struct moe_frame *f, size_t i, struct results *r, struct moe_diag *d)
{
	const uint64_t *shape, *part_shape;
	const uint8_t *filled;
	const float *part;
	size_t n = 0;

	MOE_TRY(compare_choice(flow, f, r, d));
	MOE_TRY(moe_frame_tensor(f, "filled", MOE_U8, 2, (const void **)&filled, &shape, d));
	MOE_TRY(moe_frame_tensor(f, "part", MOE_F32, 2, (const void **)&part, &part_shape, d));
	if (shape[0] != r->rows || shape[1] != r->k)
		return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"filled\" is %llu x %llu, expected %zu x %zu", (unsigned long long)shape[0],
				      (unsigned long long)shape[1], r->rows, r->k);
	for (size_t p = 0; p < r->rows * r->k; p++) {
		int32_t expert = flow->routed.expert_id[p];
		if (!filled[p])
			continue;
		if (expert < 0 || filled[p] > 1)
			return moe_frame_fail(f, d, MOE_EINPUT, "row %zu, slot %zu: tensor \"filled\" is %u, but expert %d was chosen", p / r->k, p % r->k, filled[p], expert);
		if (r->result[p])
			return moe_frame_fail(f, d, MOE_EINPUT, "row %zu, slot %zu: the result of expert %d comes twice, from %s too", p / r->k, p % r->k, expert,
					      moe_reader_name(j->stream[r->owner[p]].in));
		if (n++ >= part_shape[0] || part_shape[1] != r->hidden)
			break;
		r->result[p] = part + (n - 1) * r->hidden;
		r->owner[p] = (uint8_t)i;
	}
	return n == part_shape[0] && part_shape[1] == r->hidden
		       ? MOE_OK
		       : moe_frame_fail(f, d, MOE_EINPUT, "tensor \"part\" is %llu x %llu, expected a row of %zu for each slot that is filled",
					(unsigned long long)part_shape[0], (unsigned long long)part_shape[1], r->hidden);
}

static enum moe_err check_results(const struct moe_flow *flow, const struct moe_frame *f, const struct results *r, struct moe_diag *d)
{
	for (size_t p = 0; p < r->rows * r->k; p++)
		if (!r->result[p] && flow->routed.expert_id[p] >= 0)
			return moe_frame_fail(f, d, MOE_EINPUT, "row %zu, slot %zu: no stream has the result of expert %d", p / r->k, p % r->k,
					      flow->routed.expert_id[p]);
	return MOE_OK;
}

/* Which of the frames has the rows themselves. */
static enum moe_err find_rows(struct moe_join *j, struct moe_frame *const *f, size_t *at, struct moe_diag *d)
{
	*at = j->n;
	for (size_t i = 0; i < j->n; i++) {
		if (!moe_frame_find(f[i], "hidden"))
			continue;
		if (*at < j->n)
			return blame(&j->stream[i], moe_frame_fail(f[i], d, MOE_EINPUT, "the rows come twice, from %s too: both are of the process with expert 0",
								   moe_reader_name(j->stream[*at].in)), d);
		*at = i;
	}
	return *at < j->n ? MOE_OK : moe_frame_fail(f[0], d, MOE_EINPUT, "no stream has the rows: the process with expert 0 passes them on");
}

/* ---- the stage ---- */

/* The frames f [n], one of each stream, become the one that the layer would have written. */
static enum moe_err join(struct moe_join *j, struct moe_frame **f, struct moe_output *out, struct moe_diag *d)
{
	struct moe_compute work = {&j->scratch, j->pool, NULL};
	struct results r = {.hidden = (size_t)j->model->spec->hidden};
	const struct moe_joined *own;
	struct moe_flow flow;
	size_t at;
	char want[40];

	snprintf(want, sizeof want, "%zu.partial", j->layer);
	for (size_t i = 0; i < j->n; i++)
		MOE_TRY(blame(&j->stream[i], moe_at_check(f[i], want, j->any_order, d), d));
	MOE_TRY(find_rows(j, f, &at, d));
	own = &j->stream[at];
	MOE_TRY(blame(own, moe_flow_open(&flow, &f[at], 1, j->model, j->layer, &j->scratch, d), d));
	r.rows = flow.batch.rows;
	r.k = flow.routed.top_k;
	r.result = moe_arena_zero(&j->scratch, r.rows * r.k, sizeof *r.result);
	r.owner = moe_arena_get(&j->scratch, r.rows * r.k, 1);
	if (!r.result || !r.owner)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", r.rows);
	for (size_t i = 0; i < j->n; i++)
		MOE_TRY(blame(&j->stream[i], take_results(j, &flow, f[i], i, &r, d), d));
	MOE_TRY(blame(own, check_results(&flow, f[at], &r, d), d));
	MOE_TRY(blame(own, moe_frame_blame(f[at], moe_layer_add(j->model, j->layer, &flow.batch, &flow.routed, r.result, &work, d), d), d));
	return moe_flow_close(&flow, j->model, j->layer, "expert", false, out, d);
}

static enum moe_err run(void *self, struct moe_frame **f, size_t n, struct moe_output *out, struct moe_diag *d)
{
	struct moe_join *j = self;
	struct moe_frame *each[MOE_MOST_JOINED];

	for (size_t i = 1; i < j->n; i++)
		each[i] = &j->stream[i].frame;
	for (size_t i = 0; i < n; i++) {
		if (f[i]->kind != MOE_KIND_ROUTED)
			return moe_frame_fail(f[i], d, MOE_EMATCH, "expected a frame of kind \"%s\"", moe_kind_name(MOE_KIND_ROUTED));
		moe_arena_reset(&j->scratch);
		MOE_TRY(read_others(j, f[i], out, d));
		each[0] = f[i];
		MOE_TRY(join(j, each, out, d));
	}
	return MOE_OK;
}

static enum moe_err use_math(void *self, enum moe_math math, struct moe_diag *d)
{
	struct moe_join *j = self;

	return moe_model_use_math(j->model, math, &(struct moe_math_range){.first = j->layer, .last = j->layer, .shared = true}, j->pool, d);
}

struct moe_stage moe_join_stage(struct moe_join *j)
{
	return (struct moe_stage){.self = j, .kinds = 1u << MOE_KIND_HIDDEN | 1u << MOE_KIND_ROUTED, .run = run, .notice = notice, .math = use_math};
}

void moe_join_free(struct moe_join *j)
{
	for (size_t i = 0; i < j->n; i++) {
		moe_frame_free(&j->stream[i].frame);
		moe_account_free(&j->stream[i].account);
	}
	moe_arena_free(&j->scratch);
}
