#include "trace/trace.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "format/json.h"
#include "stream/account.h"
#include "stream/check.h"
#include "trace/pools.h"

struct moe_trace {
	struct moe_reader *reader;
	struct moe_frame head, frame;
	struct moe_account account;
	struct moe_trace_info info;
	struct moe_arena arena;         /* of the block at hand */
};

static const char *const scores[] = {"softmax", "sigmoid", "logit", "unknown"}, *const details[] = {"counts", "ids", "weights", "logits"};

static int find_name(const char *const *list, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(list[i], name))
			return i;
	return -1;
}

const char *moe_trace_score_name(enum moe_trace_score s) { return scores[s]; }
const char *moe_trace_detail_name(enum moe_trace_detail t) { return details[t]; }
int moe_trace_score_find(const char *name) { return find_name(scores, 4, name); }
int moe_trace_detail_find(const char *name) { return find_name(details, 4, name); }

/* ---- the head ---- */

void moe_trace_info_free(struct moe_trace_info *i)
{
	free(i->layer);
	*i = (struct moe_trace_info){0};
}

static void copy_text(char *to, size_t cap, const char *from)
{
	size_t n = from ? moe_min(strlen(from), cap - 1) : 0;

	if (n)
		memcpy(to, from, n);
	to[n] = 0;
}

static enum moe_err read_layers(struct moe_trace_info *i, struct moe_json *j)
{
	size_t cap = 0;
	uint64_t n;

	i->n_layers = 0;
	MOE_TRY(moe_json_enter(j, '['));
	while (moe_json_element(j)) {
		MOE_TRY(moe_json_u64(j, &n));
		if (n >= MOE_TRACE_LAYERS || (i->n_layers && n <= i->layer[i->n_layers - 1]))
			return moe_json_fail(j, "the layers of a trace are ascending numbers below 65536");
		MOE_TRY(moe_grow(&i->layer, &cap, i->n_layers + 1, sizeof *i->layer, j->diag));
		i->layer[i->n_layers++] = (size_t)n;
	}
	return j->err;
}

/* One of a list of names. */
static enum moe_err read_name(int *out, const char *const *list, int n, struct moe_json *j)
{
	MOE_TRY(moe_json_string(j));
	for (*out = 0; *out < n; ++*out)
		if (moe_json_is(j, list[*out]))
			return MOE_OK;
	return moe_json_fail(j, "a name that this version does not know");
}

static enum moe_err read_key(struct moe_trace_info *i, struct moe_json *j)
{
	uint64_t n;
	int name;

	if (moe_json_is(j, "layers")) {
		if (i->layer)
			return moe_json_fail(j, "\"layers\" stands twice");
		return read_layers(i, j);
	}
	if (moe_json_is(j, "experts")) {
		MOE_TRY(moe_json_u64(j, &n));
		i->experts = n <= MOE_TRACE_EXPERTS ? (size_t)n : 0;
		return i->experts ? MOE_OK : moe_json_fail(j, "a trace has 1 to 65535 experts");
	}
	if (moe_json_is(j, "k")) {
		MOE_TRY(moe_json_u64(j, &n));
		i->k = n <= MOE_TRACE_EXPERTS ? (size_t)n : SIZE_MAX;
		return MOE_OK;
	}
	if (moe_json_is(j, "score")) {
		MOE_TRY(read_name(&name, scores, 4, j));
		i->score = (enum moe_trace_score)name;
		return MOE_OK;
	}
	if (moe_json_is(j, "detail")) {
		MOE_TRY(read_name(&name, details, 4, j));
		i->detail = (enum moe_trace_detail)name;
		return MOE_OK;
	}
	return moe_json_is(j, "renormalise") ? moe_json_bool(j, &i->renormalise) : moe_json_skip(j);
}

static enum moe_err read_info(struct moe_trace_info *i, const char *text, struct moe_diag *d)
{
	struct moe_json j;

	*i = (struct moe_trace_info){.score = MOE_TRACE_UNKNOWN, .detail = MOE_TRACE_IDS};
	moe_json_init(&j, text, strlen(text), d);
	MOE_TRY(moe_json_enter(&j, '{'));
	while (moe_json_key(&j))
		MOE_TRY(read_key(i, &j));
	MOE_TRY(moe_json_finish(&j));
	if (!i->n_layers || !i->experts)
		return moe_fail(d, MOE_EINPUT, "it names no layers or no experts");
	if (i->k > i->experts || (!i->k && i->detail != MOE_TRACE_COUNTS))
		return moe_fail(d, MOE_EINPUT, "\"k\" is not from 1 to the %zu experts", i->experts);
	return MOE_OK;
}

enum moe_err moe_trace_info_read(struct moe_trace_info *i, const struct moe_frame *head, struct moe_diag *d)
{
	const char *text = moe_frame_meta(head, "moe.trace");
	struct moe_diag why = {0};
	enum moe_err err;

	*i = (struct moe_trace_info){0};
	if (!text)
		return moe_frame_fail(head, d, MOE_EMATCH, "it is not the head of a trace of routing: it has no moe.trace");
	err = read_info(i, text, &why);
	if (err) {
		moe_trace_info_free(i);
		if (err == MOE_ENOMEM)
			return moe_fail(d, err, "%s", why.text);
		return moe_frame_fail(head, d, MOE_EINPUT, why.byte >= 0 ? "moe.trace: %s, at its byte %lld" : "moe.trace: %s", why.text, (long long)why.byte);
	}
	err = moe_pools_read(&i->pools, head, i->experts, d);
	if (err) {
		moe_trace_info_free(i);
		return err;
	}
	copy_text(i->model, sizeof i->model, moe_frame_meta(head, "moe.model"));
	copy_text(i->tokenizer, sizeof i->tokenizer, moe_frame_meta(head, "moe.tokenizer"));
	return MOE_OK;
}

/* ---- a block ---- */

/* A tensor of this shape (n2 = 0: two axes; n1 = 0 too: one). */
static enum moe_err shaped(struct moe_frame *f, const char *name, enum moe_dtype type, uint64_t n0, uint64_t n1, uint64_t n2, const void **data,
			   struct moe_diag *d)
{
	unsigned rank = n2 ? 3 : n1 ? 2 : 1;
	uint64_t want[3] = {n0, n1, n2};
	const uint64_t *have;
	char x[80], y[80];

	MOE_TRY(moe_frame_tensor(f, name, type, rank, data, &have, d));
	if (!memcmp(have, want, rank * sizeof *want))
		return MOE_OK;
	return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"%s\" is %s, expected %s", name, moe_shape_string(have, rank, x, sizeof x),
			      moe_shape_string(want, rank, y, sizeof y));
}

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for a block of a trace"); }

/* Widens binary16 as moe_f32_from_f16 does: the exponent is moved as if there were no subnormal numbers, then 2^112 scales them right. Whole
 * groups of 16 are for the compiler to make vectors of. *worst: the largest bits without sign; *plus: one is +inf. */
static inline void widen_some(float *to, const uint16_t *from, size_t n, uint16_t *worst, uint16_t *plus)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t bits = from[i] & 0x7fff, sign = (uint32_t)(from[i] & 0x8000) << 16, u;
		float f;
		u = bits << 13;
		memcpy(&f, &u, sizeof f);
		f *= 0x1p112f;
		memcpy(&u, &f, sizeof u);
		u = (bits >= 0x7c00 ? bits << 13 | 0x7f800000 : u) | sign;
		memcpy(&to[i], &u, sizeof u);
		*worst = (uint16_t)(bits > *worst ? bits : *worst);
		*plus = (uint16_t)(*plus | (from[i] == 0x7c00));
	}
}

static void widen(float *to, const uint16_t *from, size_t n, uint16_t *worst, uint16_t *plus)
{
	size_t i = 0;

	*worst = *plus = 0;
	for (; i + 16 <= n; i += 16)
		widen_some(to + i, from + i, 16, worst, plus);
	widen_some(to + i, from + i, n - i, worst, plus);
}

/* An F16 tensor [layers][rows][width] as floats. Without `minus` all must be finite, with it -inf is fine too. */
static enum moe_err floats(struct moe_frame *f, const char *name, const struct moe_trace_info *i, size_t rows, size_t width, bool minus, const float **out,
			   struct moe_arena *a, struct moe_diag *d)
{
	size_t n = i->n_layers * rows * width;
	const uint16_t *half;
	uint16_t worst, plus;
	float *wide;

	MOE_TRY(shaped(f, name, MOE_F16, i->n_layers, rows, width, (const void **)&half, d));
	wide = moe_arena_get(a, n, sizeof *wide);
	if (!wide)
		return no_memory(d);
	widen(wide, half, n, &worst, &plus);
	if (worst > 0x7c00 || plus || (worst == 0x7c00 && !minus))
		return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"%s\" has a value that is %s", name, minus ? "NaN or +inf" : "not finite");
	*out = wide;
	return MOE_OK;
}

/* No expert twice in a row of K, none that does not exist, "none" at the end only. stamp [experts] holds numbers of rows. */
static enum moe_err check_experts(const struct moe_frame *f, const uint16_t *id, size_t rows, const struct moe_trace_info *i, uint32_t *stamp,
				  struct moe_diag *d)
{
	for (size_t r = 0; r < i->n_layers * rows; r++) {
		const uint16_t *p = id + r * i->k;
		size_t n = 0;
		for (; n < i->k && p[n] != MOE_NO_EXPERT; n++) {
			if (p[n] >= i->experts)
				return moe_frame_fail(f, d, MOE_EINPUT, "layer %zu, row %zu: expert %u of %zu", i->layer[r / rows], r % rows, p[n], i->experts);
			if (stamp[p[n]] == r + 1)
				return moe_frame_fail(f, d, MOE_EINPUT, "layer %zu, row %zu: expert %u twice", i->layer[r / rows], r % rows, p[n]);
			stamp[p[n]] = (uint32_t)(r + 1);
		}
		for (; n < i->k; n++)
			if (p[n] != MOE_NO_EXPERT)
				return moe_frame_fail(f, d, MOE_EINPUT, "layer %zu, row %zu: an expert behind \"none\"", i->layer[r / rows], r % rows);
	}
	return MOE_OK;
}

static enum moe_err read_experts(struct moe_trace_block *b, struct moe_frame *f, const struct moe_trace_info *i, struct moe_arena *a, struct moe_diag *d)
{
	size_t n = i->n_layers * b->rows * i->k;
	uint32_t *stamp = moe_arena_zero(a, i->experts, sizeof *stamp);
	const uint8_t *narrow;
	uint16_t *wide;

	if (i->experts > 255) {
		MOE_TRY(shaped(f, "expert_id", MOE_U16, i->n_layers, b->rows, i->k, (const void **)&b->expert, d));
	} else {
		MOE_TRY(shaped(f, "expert_id", MOE_U8, i->n_layers, b->rows, i->k, (const void **)&narrow, d));
		wide = moe_arena_get(a, n, sizeof *wide);
		if (!wide)
			return no_memory(d);
		for (size_t e = 0; e < n; e++)
			wide[e] = narrow[e] == 255 ? MOE_NO_EXPERT : narrow[e];
		b->expert = wide;
	}
	return stamp ? check_experts(f, b->expert, b->rows, i, stamp, d) : no_memory(d);
}

/* Which rows took which layer: those that did not have no experts. */
static enum moe_err read_depth(struct moe_trace_block *b, struct moe_frame *f, const struct moe_trace_info *i, struct moe_diag *d)
{
	MOE_TRY(shaped(f, "depth", MOE_U8, i->n_layers, b->rows, 0, (const void **)&b->depth, d));
	for (size_t r = 0; r < i->n_layers * b->rows; r++)
		if (b->depth[r] > 1 || (!b->depth[r] && b->expert[r * i->k] != MOE_NO_EXPERT))
			return moe_frame_fail(f, d, MOE_EINPUT, "layer %zu, row %zu: depth is %u, %s", i->layer[r / b->rows], r % b->rows, b->depth[r],
					      b->depth[r] ? "expected 0 or 1" : "but the row has experts");
	return MOE_OK;
}

static enum moe_err read_rows(struct moe_trace_block *b, struct moe_frame *f, struct moe_diag *d)
{
	const struct moe_tensor *t = moe_frame_find(f, "token"), *p = moe_frame_find(f, "position");

	b->rows = t && t->rank == 1 ? (size_t)moe_min(t->shape[0], MOE_TRACE_ROWS + 1) : 0;
	if (!b->rows || b->rows > MOE_TRACE_ROWS)
		return moe_frame_fail(f, d, MOE_EINPUT, "it has no tensor \"token\" of 1 to %d rows", MOE_TRACE_ROWS);
	b->axes = p && p->rank == 2 ? (size_t)moe_min(p->shape[0], MOE_MAX_RANK + 1) : 0;
	if (!b->axes || b->axes > MOE_MAX_RANK)
		return moe_frame_fail(f, d, MOE_EINPUT, "it has no tensor \"position\" with 1 to %d axes", MOE_MAX_RANK);
	MOE_TRY(shaped(f, "token", MOE_I32, b->rows, 0, 0, (const void **)&b->token, d));
	MOE_TRY(shaped(f, "position", MOE_I32, b->axes, b->rows, 0, (const void **)&b->position, d));
	MOE_TRY(shaped(f, "image", MOE_I32, b->rows, 0, 0, (const void **)&b->image, d));
	MOE_TRY(shaped(f, "patch_index", MOE_I32, b->rows, 0, 0, (const void **)&b->patch, d));
	return shaped(f, "modality", MOE_U8, b->rows, 0, 0, (const void **)&b->modality, d);
}

enum moe_err moe_trace_keys_read(struct moe_trace_block *b, const struct moe_frame *f, bool counts, struct moe_diag *d)
{
	const char *choice = moe_frame_meta(f, "moe.choice");

	b->name = moe_frame_meta(f, "moe.name");
	b->choice = choice ? choice : "token";
	if (strlen(b->choice) >= MOE_TRACE_CHOICE)
		return moe_frame_fail(f, d, MOE_EINPUT, "moe.choice is \"%.40s...\", longer than %d bytes", b->choice, MOE_TRACE_CHOICE - 1);
	if (counts)
		return MOE_OK;
	MOE_TRY(moe_frame_number(f, "moe.seq", UINT64_MAX, &b->seq, d));
	MOE_TRY(moe_frame_number(f, "moe.step", 0, &b->step, d));
	MOE_TRY(moe_frame_number(f, "moe.start", 0, &b->start, d));
	if (b->seq == UINT64_MAX || b->start > INT32_MAX)
		return moe_frame_fail(f, d, MOE_EINPUT, b->start > INT32_MAX ? "moe.start is too large" : "moe.seq is missing");
	return MOE_OK;
}

enum moe_err moe_trace_block_read(struct moe_trace_block *b, struct moe_frame *f, const struct moe_trace_info *i, struct moe_arena *a, struct moe_diag *d)
{
	*b = (struct moe_trace_block){0};
	MOE_TRY(moe_trace_keys_read(b, f, i->detail == MOE_TRACE_COUNTS, d));
	if (i->detail == MOE_TRACE_COUNTS)
		return shaped(f, "count", MOE_U64, i->n_layers, i->experts, 0, (const void **)&b->count, d);
	MOE_TRY(read_rows(b, f, d));
	MOE_TRY(read_experts(b, f, i, a, d));
	if (i->detail >= MOE_TRACE_WEIGHTS)
		MOE_TRY(floats(f, "weight", i, b->rows, i->k, false, &b->weight, a, d));
	if (i->detail == MOE_TRACE_LOGITS)
		MOE_TRY(floats(f, "router_logit", i, b->rows, i->experts, true, &b->logit, a, d));
	if (i->detail == MOE_TRACE_LOGITS && moe_frame_find(f, "choice"))
		MOE_TRY(floats(f, "choice", i, b->rows, i->experts, true, &b->compared, a, d));
	return moe_frame_find(f, "depth") ? read_depth(b, f, i, d) : MOE_OK;
}

/* ---- any stream ---- */

struct checker {
	struct moe_trace_info info;
	struct moe_arena arena;
	bool trace;                     /* the member at hand is one */
};

static enum moe_err check_frame(void *self, struct moe_frame *f, struct moe_diag *d)
{
	struct checker *c = self;
	struct moe_trace_block b;

	if (f->kind == MOE_KIND_HEAD) {
		moe_trace_info_free(&c->info);
		c->trace = moe_frame_meta(f, "moe.trace") != NULL;
		return c->trace ? moe_trace_info_read(&c->info, f, d) : MOE_OK;
	}
	if (!c->trace || f->kind == MOE_KIND_END)
		return MOE_OK;
	if (f->kind != MOE_KIND_TRACE)
		return moe_frame_fail(f, d, MOE_EINPUT, "a trace of routing holds frames of kind \"trace\" only");
	moe_arena_reset(&c->arena);
	return moe_trace_block_read(&b, f, &c->info, &c->arena, d);
}

enum moe_err moe_trace_check(struct moe_reader *r, uint64_t *frames, struct moe_diag *d)
{
	struct checker c = {0};
	enum moe_err err = moe_stream_check_with(r, frames, check_frame, &c, d);

	moe_trace_info_free(&c.info);
	moe_arena_free(&c.arena);
	return err;
}

/* ---- a trace ---- */

static enum moe_err next_frame(struct moe_trace *t, struct moe_frame *f, struct moe_diag *d)
{
	MOE_TRY(moe_reader_next(t->reader, f, true, d));
	return f->kind == MOE_KIND_BARE ? MOE_OK : moe_account_frame(&t->account, f, d);
}

/* Says what a stream is that is no trace. */
static enum moe_err refuse(struct moe_trace *t, struct moe_diag *d)
{
	if (t->head.kind == MOE_KIND_BARE)
		return moe_frame_fail(&t->head, d, MOE_EINPUT, "a safetensors file, not a trace of routing");
	MOE_TRY(next_frame(t, &t->frame, d));
	return moe_frame_fail(&t->frame, d, MOE_EINPUT, "a stream of \"%.40s\" frames, not a trace of routing (moe-run --trace FILE writes one)",
			      moe_frame_kind(&t->frame));
}

/* Takes the head frame that was read. */
static enum moe_err begin(struct moe_trace *t, struct moe_diag *d)
{
	moe_trace_info_free(&t->info);
	if (t->head.kind != MOE_KIND_HEAD || !moe_frame_meta(&t->head, "moe.trace"))
		return refuse(t, d);
	return moe_trace_info_read(&t->info, &t->head, d);
}

/* Takes the first frame as the head. */
static enum moe_err take_head(struct moe_trace *t, struct moe_diag *d)
{
	if (t->head.kind != MOE_KIND_BARE)
		MOE_TRY(moe_account_frame(&t->account, &t->head, d));
	return begin(t, d);
}

/* Gives t away, or what is wrong with it. */
static enum moe_err hand_over(struct moe_trace **out, struct moe_trace *t, enum moe_err err, struct moe_diag *d)
{
	*out = err ? NULL : t;
	if (!err)
		return MOE_OK;
	moe_diag_path(d, moe_reader_name(t->reader));
	moe_trace_close(t);
	return err;
}

enum moe_err moe_trace_adopt(struct moe_trace **out, struct moe_reader *r, struct moe_frame *head, struct moe_diag *d)
{
	struct moe_trace *t = calloc(1, sizeof *t);

	*out = NULL;
	if (!t) {
		moe_reader_free(r);
		moe_frame_free(head);
		return no_memory(d);
	}
	t->reader = r;
	t->head = *head;
	*head = (struct moe_frame){0};
	return hand_over(out, t, take_head(t, d), d);
}

enum moe_err moe_trace_open(struct moe_trace **out, struct moe_source *s, struct moe_diag *d)
{
	struct moe_frame head = {0};
	struct moe_reader *r;
	enum moe_err err;

	*out = NULL;
	MOE_TRY(moe_reader_new(&r, s, d));
	err = moe_reader_next(r, &head, true, d);
	if (!err)
		return moe_trace_adopt(out, r, &head, d);
	moe_diag_path(d, moe_reader_name(r));
	moe_reader_free(r);
	moe_frame_free(&head);
	return err;
}

void moe_trace_close(struct moe_trace *t)
{
	if (!t)
		return;
	moe_reader_free(t->reader);
	moe_frame_free(&t->head);
	moe_frame_free(&t->frame);
	moe_account_free(&t->account);
	moe_trace_info_free(&t->info);
	moe_arena_free(&t->arena);
	free(t);
}

const struct moe_trace_info *moe_trace_info(const struct moe_trace *t) { return &t->info; }
const struct moe_frame *moe_trace_head(const struct moe_trace *t) { return &t->head; }
const char *moe_trace_name(const struct moe_trace *t) { return moe_reader_name(t->reader); }
uint64_t moe_trace_at(const struct moe_trace *t) { return t->frame.at; }

/* The next frame that says something: a block, or the head of another member (MOE_AGAIN). */
static enum moe_err next(struct moe_trace *t, struct moe_trace_block *b, struct moe_diag *d)
{
	for (;;) {
		struct moe_frame swap;
		MOE_TRY(next_frame(t, &t->frame, d));
		if (t->frame.kind == MOE_KIND_END)
			continue;
		if (t->frame.kind == MOE_KIND_HEAD) {
			swap = t->head;
			t->head = t->frame;
			t->frame = swap;
			MOE_TRY(begin(t, d));
			return MOE_AGAIN;
		}
		if (t->frame.kind != MOE_KIND_TRACE)
			return moe_frame_fail(&t->frame, d, MOE_EINPUT, "a trace of routing holds frames of kind \"trace\" only");
		moe_arena_reset(&t->arena);
		return moe_trace_block_read(b, &t->frame, &t->info, &t->arena, d);
	}
}

enum moe_err moe_trace_next(struct moe_trace *t, struct moe_trace_block *b, struct moe_diag *d)
{
	enum moe_err err = next(t, b, d);

	if (err && err != MOE_END && err != MOE_AGAIN)
		moe_diag_path(d, moe_reader_name(t->reader));
	return err;
}
