/* Answers of vLLM and SGLang in JSON: one object, an array of them, or one after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "format/json.h"
#include "format/npy.h"
#include "import/import_priv.h"

/* Ids [tokens][layers][k] of one value, -1 for none. layers 0: numbers in a row whose shape the rest of the answer tells. */
struct routed {
	int32_t *id;
	size_t n, cap, tokens, layers, k;
	bool there;
	uint64_t at;                    /* the byte where it begins */
};

struct tokens {
	int32_t *id;
	size_t n, cap;
};

/* A choice of an answer, or the answer of SGLang. */
struct choice {
	struct routed routed;
	struct tokens given, generated;
	struct choice *next;
};

/* An answer. */
struct answer {
	char name[200];
	struct routed prompt;           /* prompt_routed_experts, shared by the choices */
	struct choice *choice, *last;
	size_t n_choices;
	struct choice own;              /* what stands outside of any choice */
	uint64_t prompt_tokens, completion_tokens;      /* as the usage says */
};

/* The document at hand. */
struct reading {
	struct moe_import *m;
	struct moe_json j;
	uint64_t from;                  /* where it begins in the source */
	struct moe_diag *d;
	const char *name;
};

static uint64_t place(const struct reading *r) { return r->from + (uint64_t)(r->j.p - r->j.beg); }

static enum moe_err wrong(const struct reading *r, uint64_t at, const char *what) { return moe_fail_at(r->d, MOE_EINPUT, at, "%s", what); }

static void free_choice(struct choice *c)
{
	free(c->routed.id);
	free(c->given.id);
	free(c->generated.id);
}

static void free_answer(struct answer *a)
{
	for (struct choice *c = a->choice, *next; c; c = next) {
		next = c->next;
		free_choice(c);
		free(c);
	}
	free_choice(&a->own);
	free(a->prompt.id);
}

/* ---- values ---- */

static enum moe_err add_id(struct reading *r, struct routed *to, int64_t v)
{
	if (v < -1 || v >= MOE_TRACE_EXPERTS)
		return wrong(r, place(r), "an expert that no model has");
	MOE_TRY(moe_grow(&to->id, &to->cap, to->n + 1, sizeof *to->id, r->d));
	to->id[to->n++] = (int32_t)v;
	return MOE_OK;
}

/* Counts one more of what each of its kind has as many of: *known is 0 at first. */
static enum moe_err same(struct reading *r, size_t *known, size_t n, const char *what)
{
	if (*known && n != *known)
		return wrong(r, place(r), what);
	*known = n;
	return n ? MOE_OK : wrong(r, place(r), "an empty list inside of routed experts");
}

static enum moe_err read_lists(struct reading *r, struct routed *to)
{
	struct moe_json *j = &r->j;
	int64_t v;

	MOE_TRY(moe_json_enter(j, '['));
	for (; moe_json_element(j); to->tokens++) {
		size_t layers = 0;
		MOE_TRY(moe_json_enter(j, '['));
		for (; moe_json_element(j); layers++) {
			size_t k = 0;
			MOE_TRY(moe_json_enter(j, '['));
			for (; moe_json_element(j); k++) {
				MOE_TRY(moe_json_i64(j, &v));
				MOE_TRY(add_id(r, to, v));
			}
			MOE_TRY(j->err);
			MOE_TRY(same(r, &to->k, k, "another number of choices than in the layer before"));
		}
		MOE_TRY(j->err);
		MOE_TRY(same(r, &to->layers, layers, "another number of layers than the token before"));
	}
	return j->err;
}

/* Bytes of a .npy file, ids [tokens][layers][k]. */
static enum moe_err take_npy(struct reading *r, struct routed *to, const uint8_t *bytes, size_t n)
{
	struct moe_diag why = {0};
	struct moe_tensor t;
	bool fortran;
	size_t size;

	if (moe_npy_parse(&t, &fortran, bytes, n, &why)) {
		char text[600];
		why.byte = -1;          /* it counts decoded bytes */
		return wrong(r, to->at, moe_diag_string(&why, text, sizeof text));
	}
	size = moe_dtype_nbits(t.type) / 8;
	if (t.rank != 3 || fortran || (t.type != MOE_U8 && t.type != MOE_I16 && t.type != MOE_U16 && t.type != MOE_I32))
		return wrong(r, to->at, ".npy: expected whole numbers of up to 32 bits with three axes, tokens, layers and choices");
	to->tokens = t.shape[0];
	to->layers = t.shape[1];
	to->k = t.shape[2];
	for (size_t i = 0; i < moe_tensor_count(&t); i++)
		MOE_TRY(add_id(r, to, moe_whole(t.data + i * size, t.type)));
	return MOE_OK;
}

/* Numbers of 32 bits, one after the other. */
static enum moe_err take_i32(struct reading *r, struct routed *to, const uint8_t *bytes, size_t n)
{
	if (n % 4)
		return wrong(r, to->at, "base64: neither a .npy file nor whole numbers of 32 bits");
	for (size_t i = 0; i < n; i += 4) {
		int32_t v;
		memcpy(&v, bytes + i, 4);
		MOE_TRY(add_id(r, to, v));
	}
	return MOE_OK;
}

static enum moe_err read_base64(struct reading *r, struct routed *to)
{
	struct moe_diag why = {0};
	enum moe_err err = MOE_OK;
	size_t n, n_text, bad;
	uint8_t *bytes;
	char *text;

	MOE_TRY(moe_json_string(&r->j));
	text = malloc(r->j.nstr + 1);
	if (!text)
		return moe_fail(r->d, MOE_ENOMEM, "out of memory");
	n_text = moe_json_decode(&r->j, text);
	if (moe_base64_decode(&bytes, &n, text, n_text, &bad, &why))
		err = why.code == MOE_ENOMEM ? moe_fail(r->d, why.code, "%s", why.text) : wrong(r, to->at + 1 + bad, why.text);
	else
		err = moe_npy_is(bytes, n) ? take_npy(r, to, bytes, n) : take_i32(r, to, bytes, n);
	if (!why.code)
		free(bytes);
	free(text);
	return err;
}

static enum moe_err read_routed(struct reading *r, struct routed *to)
{
	char c = moe_json_peek(&r->j);

	if (to->there)
		return wrong(r, place(r), "routed experts stand twice");
	if (moe_json_null(&r->j))
		return r->j.err;
	to->there = true;
	to->at = place(r);
	return c == '"' ? read_base64(r, to) : read_lists(r, to);
}

static enum moe_err read_tokens(struct reading *r, struct tokens *to)
{
	int64_t v;

	if (moe_json_peek(&r->j) != '[')
		return moe_json_skip(&r->j);
	to->n = 0;
	MOE_TRY(moe_json_enter(&r->j, '['));
	while (moe_json_element(&r->j)) {
		char c = moe_json_peek(&r->j);
		if (c != '-' && (c < '0' || c > '9')) {         /* a list of something else under this name */
			MOE_TRY(moe_json_skip(&r->j));
			continue;
		}
		MOE_TRY(moe_json_i64(&r->j, &v));
		if (v < 0 || v > INT32_MAX)
			return wrong(r, place(r), "a token that no vocabulary has");
		MOE_TRY(moe_grow(&to->id, &to->cap, to->n + 1, sizeof *to->id, r->d));
		to->id[to->n++] = (int32_t)v;
	}
	return r->j.err;
}

static enum moe_err read_count(struct reading *r, uint64_t *to)
{
	char c = moe_json_peek(&r->j);

	return c >= '0' && c <= '9' ? moe_json_u64(&r->j, to) : moe_json_skip(&r->j);
}

static enum moe_err read_name(struct reading *r, struct answer *a)
{
	char *text;
	size_t n;

	if (moe_json_peek(&r->j) != '"')
		return moe_json_skip(&r->j);
	MOE_TRY(moe_json_string(&r->j));
	text = malloc(r->j.nstr + 1);
	if (!text)
		return moe_fail(r->d, MOE_ENOMEM, "out of memory");
	n = moe_json_decode(&r->j, text);
	n = moe_min(n, sizeof a->name - 20);
	memcpy(a->name, text, n);
	a->name[n] = 0;
	free(text);
	return MOE_OK;
}

/* ---- objects ---- */

/* A key of a choice, or of an answer that is its own choice; *known: it was one of them. */
static enum moe_err read_choice_key(struct reading *r, struct choice *c, bool *known)
{
	*known = true;
	if (moe_json_is(&r->j, "routed_experts"))
		return read_routed(r, &c->routed);
	if (moe_json_is(&r->j, "prompt_token_ids"))
		return read_tokens(r, &c->given);
	if (moe_json_is(&r->j, "token_ids") || moe_json_is(&r->j, "output_ids"))
		return read_tokens(r, &c->generated);
	*known = false;
	return MOE_OK;
}

static enum moe_err read_choices(struct reading *r, struct answer *a)
{
	bool known;

	if (moe_json_peek(&r->j) != '[')
		return moe_json_skip(&r->j);
	MOE_TRY(moe_json_enter(&r->j, '['));
	while (moe_json_element(&r->j)) {
		struct choice *c = calloc(1, sizeof *c);
		if (!c)
			return moe_fail(r->d, MOE_ENOMEM, "out of memory");
		*(a->last ? &a->last->next : &a->choice) = c;
		a->last = c;
		a->n_choices++;
		MOE_TRY(moe_json_enter(&r->j, '{'));
		while (moe_json_key(&r->j)) {
			MOE_TRY(read_choice_key(r, c, &known));
			if (!known)
				MOE_TRY(moe_json_skip(&r->j));
		}
		MOE_TRY(r->j.err);
	}
	return r->j.err;
}

/* usage, or meta_info of SGLang, which has routed experts, too. */
static enum moe_err read_meta(struct reading *r, struct answer *a)
{
	if (moe_json_peek(&r->j) != '{')
		return moe_json_skip(&r->j);
	MOE_TRY(moe_json_enter(&r->j, '{'));
	while (moe_json_key(&r->j)) {
		if (moe_json_is(&r->j, "prompt_tokens"))
			MOE_TRY(read_count(r, &a->prompt_tokens));
		else if (moe_json_is(&r->j, "completion_tokens"))
			MOE_TRY(read_count(r, &a->completion_tokens));
		else if (moe_json_is(&r->j, "routed_experts"))
			MOE_TRY(read_routed(r, &a->own.routed));
		else if (moe_json_is(&r->j, "id"))
			MOE_TRY(read_name(r, a));
		else
			MOE_TRY(moe_json_skip(&r->j));
	}
	return r->j.err;
}

static enum moe_err read_key(struct reading *r, struct answer *a)
{
	bool known;

	if (moe_json_is(&r->j, "choices") || moe_json_is(&r->j, "outputs"))
		return read_choices(r, a);
	if (moe_json_is(&r->j, "prompt_routed_experts"))
		return read_routed(r, &a->prompt);
	if (moe_json_is(&r->j, "usage") || moe_json_is(&r->j, "meta_info"))
		return read_meta(r, a);
	if (moe_json_is(&r->j, "id") || moe_json_is(&r->j, "request_id"))
		return read_name(r, a);
	MOE_TRY(read_choice_key(r, &a->own, &known));
	return known ? MOE_OK : moe_json_skip(&r->j);
}

/* ---- from an answer to sequences ---- */

/* The shape of numbers in a row: of all tokens that were given, and of all but the last that were generated. */
static enum moe_err find_shape(struct reading *r, const struct answer *a, struct routed *x)
{
	const struct moe_import_options *o = &r->m->o;
	uint64_t fed = a->prompt_tokens + (a->completion_tokens ? a->completion_tokens - 1 : 0);
	size_t layers = o->layer && !o->all_layers ? o->n_layers : r->m->shaped ? r->m->layers : 0, k = o->k ? o->k : r->m->k;

	if (x->layers || !x->n)
		return MOE_OK;
	if (!k)
		return wrong(r, x->at, "these experts have no shape: --top-k must say how many are chosen for a token");
	if (!layers) {
		if (!fed || fed > x->n || x->n % (fed * k))
			return wrong(r, x->at, "these experts have no shape, and their number is no multiple of tokens (prompt_tokens + completion_tokens - 1) times --top-k "
				     "(--layers says how many layers there are)");
		layers = (size_t)(x->n / (fed * k));
	}
	if (x->n % (layers * k))
		return wrong(r, x->at, "the number of these experts is no multiple of layers times choices");
	x->layers = layers;
	x->k = k;
	x->tokens = x->n / (layers * k);
	return MOE_OK;
}

/* Puts rows of a value into the sequence from `row` on. */
static enum moe_err put_rows(struct reading *r, struct moe_imported *q, const struct routed *x, size_t row)
{
	size_t k = r->m->k;
	int64_t *id = calloc(k + 1, sizeof *id);
	const char *why = id ? NULL : "out of memory";

	for (size_t i = 0; i < x->tokens * r->m->layers && !why; i++) {
		for (size_t c = 0; c < k; c++)
			id[c] = x->id[i * k + c];
		why = moe_import_choice(r->m, q, row * r->m->layers + i, id, NULL);
		if (why)
			moe_fail_at(r->d, MOE_EINPUT, x->at, "token %zu, layer %zu of these experts: %s", i / r->m->layers, i % r->m->layers, why);
	}
	free(id);
	return why ? moe_fail(r->d, MOE_EINPUT, "%s", why) : MOE_OK;
}

static void put_tokens(struct moe_imported *q, size_t row, const struct tokens *t)
{
	for (size_t i = 0; i < t->n && row + i < q->rows; i++)
		q->token[row + i] = t->id[i];
}

/* How many of `rows` rows were given: those of prompt_routed_experts, or, where a value tells of all rows, as many as the prompt had. Where nobody says
 * how long the prompt was, all. */
static size_t given_rows(const struct answer *a, const struct choice *c, size_t rows)
{
	uint64_t said = c->given.n ? c->given.n : a->own.given.n ? a->own.given.n : a->prompt_tokens;

	return a->prompt.there ? a->prompt.tokens : said ? (size_t)moe_min(said, rows) : rows;
}

static enum moe_err add_sequence(struct reading *r, struct answer *a, struct choice *c, size_t number)
{
	const struct routed *x = c->routed.layers ? &c->routed : &a->prompt;
	size_t rows = a->prompt.tokens + c->routed.tokens;
	const struct tokens *given = c->given.n ? &c->given : &a->own.given;
	struct moe_diag why = {0};
	struct moe_imported *q;
	char name[240];

	if (!rows)
		return MOE_OK;
	if (a->prompt.layers && c->routed.layers && (a->prompt.layers != c->routed.layers || a->prompt.k != c->routed.k))
		return wrong(r, c->routed.at, "experts of another number of layers or choices than those of the prompt");
	if (moe_import_shape(r->m, x->layers, x->k, NULL, false, &why))
		return moe_fail_at(r->d, why.code, x->at, "%s", why.text);
	snprintf(name, sizeof name, a->n_choices > 1 ? "%s#%zu" : "%s", a->name[0] ? a->name : r->name, number);
	MOE_TRY(moe_import_sequence(r->m, &q, name, rows, false, 0, r->d));
	q->given = given_rows(a, c, rows);
	MOE_TRY(put_rows(r, q, &a->prompt, 0));
	MOE_TRY(put_rows(r, q, &c->routed, a->prompt.tokens));
	put_tokens(q, 0, given);
	put_tokens(q, q->given, &c->generated);
	return MOE_OK;
}

static enum moe_err add_answer(struct reading *r, struct answer *a)
{
	size_t number = 0;

	MOE_TRY(find_shape(r, a, &a->prompt));
	MOE_TRY(find_shape(r, a, &a->own.routed));
	for (struct choice *c = a->choice; c; c = c->next)
		MOE_TRY(find_shape(r, a, &c->routed));
	if (a->own.routed.tokens || !a->choice)
		return add_sequence(r, a, &a->own, 0);
	for (struct choice *c = a->choice; c; c = c->next)
		MOE_TRY(add_sequence(r, a, c, number++));
	return MOE_OK;
}

static enum moe_err read_answer(struct reading *r)
{
	struct answer a = {0};
	enum moe_err err = moe_json_enter(&r->j, '{');

	while (!err && moe_json_key(&r->j))
		err = read_key(r, &a);
	if (!err)
		err = r->j.err;
	if (!err)
		err = add_answer(r, &a);
	free_answer(&a);
	return err;
}

static enum moe_err read_document(struct reading *r)
{
	if (moe_json_peek(&r->j) != '[')
		return read_answer(r);
	MOE_TRY(moe_json_enter(&r->j, '['));
	while (moe_json_element(&r->j))
		MOE_TRY(read_answer(r));
	return r->j.err;
}

enum moe_err moe_import_json(struct moe_import *m, const char *name, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	struct reading r = {.m = m, .name = name};
	size_t at = 0;

	while (at < n) {
		struct moe_diag why = {0};
		enum moe_err err;
		r.from = at;
		r.d = &why;
		moe_json_init(&r.j, bytes + at, n - at, &why);
		if (!moe_json_peek(&r.j) && r.j.p == r.j.end && !r.j.err)
			return MOE_OK;          /* nothing but blanks */
		err = read_document(&r);
		if (err) {
			if (r.j.err && why.byte >= 0)   /* the scanner counts from the beginning of the document */
				why.byte += (int64_t)at;
			if (d && !d->code)
				*d = why;
			return err;
		}
		at += (size_t)(r.j.p - r.j.beg);
	}
	return MOE_OK;
}
