#include "stage/lens.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "stage/flow.h"

enum { ROWS = 64 };     /* that pass the head together: their logits are all that is in memory at once */

/* A frame, and what is known of its rows. */
struct page {
	const float *x;                 /* [rows][hidden] */
	const int32_t *token, *patch;   /* [rows] or NULL */
	const uint8_t *modality;        /* [rows] or NULL */
	uint64_t rows, start, wanted;   /* rows [wanted, rows) are those of moe.logits */
	bool rest;                      /* more rows of the step follow */
	struct moe_lens_row row;        /* what all rows have in common */
};

/* A companion of the hidden rows; *data is NULL where the frame has none. */
static enum moe_err companion(struct moe_frame *f, const char *name, enum moe_dtype type, uint64_t rows, const void **data, struct moe_diag *d)
{
	*data = NULL;
	return moe_frame_find(f, name) ? moe_frame_column(f, name, type, rows, data, d) : MOE_OK;
}

static enum moe_err open_page(const struct moe_lens *l, struct moe_frame *f, struct page *p, struct moe_diag *d)
{
	const uint64_t *shape;
	uint64_t rest;

	*p = (struct page){.row = {.name = moe_frame_meta(f, "moe.name"), .at = moe_frame_meta(f, "moe.at")}};
	MOE_TRY(moe_frame_tensor(f, "hidden", MOE_F32, 2, (const void **)&p->x, &shape, d));
	if (!shape[0] || shape[1] != (uint64_t)l->model->spec->hidden)
		return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"hidden\" is %llu x %llu, expected rows of %lld", (unsigned long long)shape[0],
				      (unsigned long long)shape[1], (long long)l->model->spec->hidden);
	p->rows = shape[0];
	MOE_TRY(companion(f, "token", MOE_I32, p->rows, (const void **)&p->token, d));
	MOE_TRY(companion(f, "patch_index", MOE_I32, p->rows, (const void **)&p->patch, d));
	MOE_TRY(companion(f, "modality", MOE_U8, p->rows, (const void **)&p->modality, d));
	MOE_TRY(moe_frame_number(f, "moe.seq", UINT64_MAX, &p->row.seq, d));
	MOE_TRY(moe_frame_number(f, "moe.step", 0, &p->row.step, d));
	MOE_TRY(moe_frame_number(f, "moe.start", 0, &p->start, d));
	MOE_TRY(moe_frame_number(f, "moe.rest", 0, &rest, d));
	p->rest = rest;
	return moe_wanted_rows(f, p->rows, &p->wanted, d);
}

static bool is_chosen(const struct moe_lens *l, const struct page *p, uint64_t r)
{
	if (!l->rows)
		return r >= p->wanted;
	return moe_row_chosen(l->rows, p->start + r, p->modality ? p->modality[r] : 0, r + 1 == p->rows && !p->rest);
}

/* Entropy in nats of softmax(logit) over what is not suppressed; p has room for n floats. */
static double entropy(const float *logit, size_t n, const bool *suppress, float *p)
{
	double sum, h = 0;

	for (size_t i = 0; i < n; i++)
		p[i] = suppress && suppress[i] ? -INFINITY : logit[i];
	sum = (double)moe_exp_sum(p, p, n);
	for (size_t i = 0; i < n; i++)
		if (p[i] > 0)
			h -= (double)p[i] / sum * moe_log((double)p[i] / sum);
	return h;
}

/* Hands on one row with its logits. */
static enum moe_err give_row(struct moe_lens *l, const struct page *p, uint64_t r, const float *logit, float *room, struct moe_choice *top, struct moe_diag *d)
{
	struct moe_lens_row row = p->row;
	size_t vocab = (size_t)l->model->spec->vocab;
	struct moe_choice best;

	MOE_TRY(moe_choose_greedy(logit, vocab, l->suppress, room, &best, d));  /* refuses what is no number */
	row.row = p->start + r;
	row.token = p->token ? p->token[r] : -1;
	row.patch = p->patch ? p->patch[r] : -1;
	row.modality = p->modality ? p->modality[r] : 0;
	row.entropy = entropy(logit, vocab, l->suppress, room);
	row.top = top;
	row.n_top = moe_choose_best(logit, vocab, l->suppress, l->n_top, room, top);
	return l->row(l->to, &row, d);
}

/* Rows number[0 .. n) of a frame. */
static enum moe_err read_rows(struct moe_lens *l, const struct page *p, const uint64_t *number, size_t n, struct moe_diag *d)
{
	struct moe_compute work = {&l->scratch, l->pool, NULL};
	struct moe_arena_mark mark = moe_arena_mark(&l->scratch);
	size_t hidden = (size_t)l->model->spec->hidden, vocab = (size_t)l->model->spec->vocab;
	float *x = moe_arena_get(&l->scratch, n * hidden, sizeof *x), *logit = moe_arena_get(&l->scratch, n * vocab, sizeof *logit);
	float *room = moe_arena_get(&l->scratch, vocab, sizeof *room);
	struct moe_choice *top = moe_arena_get(&l->scratch, l->n_top + 1, sizeof *top);

	if (!x || !logit || !room || !top)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the logits of %zu rows", n);
	for (size_t i = 0; i < n; i++)
		memcpy(x + i * hidden, p->x + number[i] * hidden, hidden * sizeof *x);
	MOE_TRY(moe_head_forward(l->model, x, n, logit, &work, d));
	for (size_t i = 0; i < n; i++)
		MOE_TRY(give_row(l, p, number[i], logit + i * vocab, room, top, d));
	moe_arena_release(&l->scratch, mark);
	return MOE_OK;
}

static enum moe_err read_frame(struct moe_lens *l, struct moe_frame *f, struct moe_diag *d)
{
	uint64_t number[ROWS];
	struct page p;
	size_t n = 0;

	MOE_TRY(open_page(l, f, &p, d));
	for (uint64_t r = 0; r < p.rows; r++) {
		if (is_chosen(l, &p, r))
			number[n++] = r;
		if (n == ROWS || (n && r + 1 == p.rows)) {
			MOE_TRY(moe_frame_blame(f, read_rows(l, &p, number, n, d), d));
			n = 0;
		}
	}
	return MOE_OK;
}

static enum moe_err run(void *self, struct moe_frame **f, size_t n, struct moe_output *out, struct moe_diag *d)
{
	struct moe_lens *l = self;

	(void)out;
	moe_arena_reset(&l->scratch);
	for (size_t i = 0; i < n; i++)
		MOE_TRY(read_frame(l, f[i], d));
	return MOE_OK;
}

static enum moe_err notice(void *self, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	struct moe_lens *l = self;
	const char *why = moe_frame_meta(f, "moe.error");

	(void)out;
	return f->kind == MOE_KIND_FAILED ? l->failed(l->to, moe_frame_meta(f, "moe.name"), why ? why : "failed without a message", d) : MOE_OK;
}

static enum moe_err use_math(void *self, enum moe_math math, struct moe_diag *d)
{
	struct moe_lens *l = self;

	return moe_model_use_math(l->model, math, &(struct moe_math_range){.first = 1, .last = 0, .head = true}, l->pool, d);
}

struct moe_stage moe_lens_stage(struct moe_lens *l)
{
	return (struct moe_stage){.self = l, .kinds = 1u << MOE_KIND_HIDDEN | 1u << MOE_KIND_ROUTED, .sink = true, .run = run, .notice = notice, .math = use_math};
}

void moe_lens_free(struct moe_lens *l) { moe_arena_free(&l->scratch); }
