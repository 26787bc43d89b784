#include "format/safetensors.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/rd.h"
#include "format/json.h"

/* Decoded strings are never longer than their source with its two quotes, so one block of the header's size holds them all. */
struct strings {
	char *p;
};

static const char *keep(struct strings *s, const struct moe_json *j, size_t *n)
{
	char *start = s->p;

	*n = moe_json_decode(j, start);
	s->p += *n + 1;
	return start;
}

static enum moe_err parse_shape(struct moe_json *j, struct moe_tensor *t)
{
	MOE_TRY(moe_json_enter(j, '['));
	t->rank = 0;
	while (moe_json_element(j)) {
		if (t->rank == MOE_MAX_RANK)
			return moe_json_fail(j, "a shape of more than 8 axes");
		MOE_TRY(moe_json_u64(j, &t->shape[t->rank++]));
	}
	return j->err;
}

static enum moe_err parse_offsets(struct moe_json *j, struct moe_tensor *t)
{
	uint64_t at[2];
	unsigned n = 0;

	MOE_TRY(moe_json_enter(j, '['));
	while (moe_json_element(j)) {
		if (n == 2)
			return moe_json_fail(j, "data_offsets: expected two integers");
		MOE_TRY(moe_json_u64(j, &at[n++]));
	}
	if (j->err)
		return j->err;
	if (n != 2 || at[1] < at[0])
		return moe_json_fail(j, "data_offsets: expected two integers in ascending order");
	t->begin = at[0];
	t->nbytes = at[1] - at[0];
	return MOE_OK;
}

/* The shape's bytes must be exactly those of the offsets. */
static enum moe_err check_size(struct moe_json *j, const struct moe_tensor *t)
{
	uint64_t count, nbits;

	if (!moe_product(t->shape, t->rank, &count) || !moe_checked_mul(count, moe_dtype_nbits(t->type), &nbits))
		return moe_fail_at(j->diag, MOE_EINPUT, (uint64_t)(j->p - j->beg), "tensor \"%s\": overflow computing its size from its shape", t->name);
	if (nbits % 8 || nbits / 8 != t->nbytes)
		return moe_fail_at(j->diag, MOE_EINPUT, (uint64_t)(j->p - j->beg), "tensor \"%s\": its shape needs %llu bytes, its offsets give %llu", t->name,
				   (unsigned long long)(nbits / 8), (unsigned long long)t->nbytes);
	return MOE_OK;
}

static enum moe_err parse_dtype(struct moe_json *j, struct moe_tensor *t)
{
	MOE_TRY(moe_json_string(j));
	t->type = moe_dtype_find(j->str, j->nstr);
	if (t->type == MOE_N_DTYPES)
		return moe_fail_at(j->diag, MOE_EINPUT, (uint64_t)(j->str - j->beg), "tensor \"%s\": unknown dtype \"%.*s\"", t->name,
				   (int)moe_min(j->nstr, 32), j->str);
	return MOE_OK;
}

static enum moe_err parse_tensor(struct moe_json *j, struct moe_tensor *t)
{
	unsigned seen = 0, bit;
	enum moe_err err = MOE_OK;

	MOE_TRY(moe_json_enter(j, '{'));
	while (!err && moe_json_key(j)) {
		if (moe_json_is(j, "dtype")) {
			bit = 1;
			err = parse_dtype(j, t);
		} else if (moe_json_is(j, "shape")) {
			bit = 2;
			err = parse_shape(j, t);
		} else if (moe_json_is(j, "data_offsets")) {
			bit = 4;
			err = parse_offsets(j, t);
		} else {
			bit = 0;
			err = moe_json_skip(j);
		}
		if (!err && (seen & bit))
			err = moe_json_fail(j, "the same key twice in one tensor");
		seen |= bit;
	}
	if (err || j->err)
		return err ? err : j->err;
	if (seen != 7)
		return moe_json_fail(j, "a tensor needs dtype, shape and data_offsets");
	return check_size(j, t);
}

static enum moe_err parse_meta(struct moe_header *h, struct moe_json *j, struct strings *s)
{
	if (moe_json_null(j))
		return MOE_OK;
	MOE_TRY(moe_json_enter(j, '{'));
	while (moe_json_key(j)) {
		struct moe_meta *m;
		if (h->n_meta == MOE_TENSOR_LIMIT)
			return moe_json_fail(j, "too many metadata keys");
		MOE_TRY(moe_grow(&h->meta, &h->meta_cap, h->n_meta + 1, sizeof *h->meta, j->diag));
		m = &h->meta[h->n_meta++];
		m->key = keep(s, j, &m->key_nbytes);
		if (j->escaped && strlen(m->key) != m->key_nbytes)
			return moe_json_fail(j, "a metadata key contains NUL");
		MOE_TRY(moe_json_string(j));
		m->value = keep(s, j, &m->value_nbytes);
	}
	return j->err;
}

enum { FEW_STRINGS = 24 };

/* A name or a key, as tensors and metadata begin with it. */
struct string {
	const char *text;
	size_t n;
};

static_assert(offsetof(struct moe_tensor, name_nbytes) == offsetof(struct string, n) && offsetof(struct moe_meta, key_nbytes) == offsetof(struct string, n),
	      "a tensor begins with its name, metadata with their key");

static int by_text(const void *a, const void *b) { return strcmp(((const struct string *)a)->text, ((const struct string *)b)->text); }

/* String i of those that lie `stride` bytes from each other. */
static struct string string_at(const void *first, size_t i, size_t stride)
{
	struct string s;

	memcpy(&s, (const char *)first + i * stride, sizeof s);
	return s;
}

/* Names of one length mostly differ in their last letter. */
static bool same_string(struct string a, struct string b)
{
	return a.n == b.n && (!a.n || a.text[a.n - 1] == b.text[a.n - 1]) && !memcmp(a.text, b.text, a.n);
}

/* Finds a string that stands twice among n (at `stride` bytes from each other); NULL when all differ. */
static enum moe_err twice(const void *first, size_t n, size_t stride, const char **found, struct moe_diag *d)
{
	struct string *sorted;

	*found = NULL;
	if (n <= FEW_STRINGS) {         /* a frame's header */
		for (size_t i = 1; i < n; i++)
			for (size_t j = 0; j < i; j++)
				if (same_string(string_at(first, i, stride), string_at(first, j, stride)))
					*found = string_at(first, i, stride).text;
		return MOE_OK;
	}
	sorted = malloc(n * sizeof *sorted);
	if (!sorted)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		sorted[i] = string_at(first, i, stride);
	qsort(sorted, n, sizeof *sorted, by_text);
	for (size_t i = 1; i < n && !*found; i++)
		if (same_string(sorted[i - 1], sorted[i]))
			*found = sorted[i].text;
	free(sorted);
	return MOE_OK;
}

static int by_begin(const void *a, const void *b)
{
	const struct moe_tensor *x = *(const struct moe_tensor *const *)a, *y = *(const struct moe_tensor *const *)b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return x->nbytes < y->nbytes ? -1 : x->nbytes > y->nbytes;
}

/* Do the tensors follow each other as they are listed? */
static bool in_order(struct moe_header *h)
{
	h->payload_nbytes = 0;
	for (size_t i = 0; i < h->n_tensors; i++)
		if (h->tensor[i].begin != h->payload_nbytes || !moe_checked_add(h->payload_nbytes, h->tensor[i].nbytes, &h->payload_nbytes))
			return false;
	return true;
}

/* Tensors in the order of their bytes must follow each other from 0 on. */
static enum moe_err check_layout(struct moe_header *h, struct moe_diag *d)
{
	uint64_t end = 0;
	enum moe_err err = MOE_OK;
	struct moe_tensor **order;

	if (in_order(h))
		return MOE_OK;
	order = malloc((h->n_tensors + 1) * sizeof *order);
	if (!order)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < h->n_tensors; i++)
		order[i] = &h->tensor[i];
	qsort(order, h->n_tensors, sizeof *order, by_begin);
	for (size_t i = 0; i < h->n_tensors && !err; i++) {
		if (order[i]->begin != end)
			err = moe_fail(d, MOE_EINPUT, "tensor \"%s\" begins at byte %llu of the payload, expected %llu (%s)", order[i]->name,
				       (unsigned long long)order[i]->begin, (unsigned long long)end, order[i]->begin < end ? "overlap" : "gap");
		if (!err && !moe_checked_add(end, order[i]->nbytes, &end))
			err = moe_fail(d, MOE_EINPUT, "tensor \"%s\": its end overflows", order[i]->name);
	}
	free(order);
	h->payload_nbytes = end;
	return err;
}

/* Where the text of the tensors begins, and where their names do; NULL when metadata does not come first. */
struct place {
	const char *text, *names;
};

/* From p to the last byte that is not padding. */
static size_t tail_nbytes(const char *p, const char *end)
{
	while (end > p && end[-1] == ' ')
		end--;
	return (size_t)(end - p);
}

/* Sets the tensors of *h to those of the last header if the text that is left is the same. */
static enum moe_err recall(struct moe_header *h, struct moe_header_tail *t, const struct moe_json *j, struct strings *s)
{
	size_t n = tail_nbytes(j->p, j->end);

	t->same = n && n == t->text_nbytes && !memcmp(j->p, t->text, n);
	if (!t->same)
		return MOE_OK;
	MOE_TRY(moe_grow(&h->tensor, &h->tensor_cap, t->n_tensors, sizeof *h->tensor, j->diag));
	memcpy(s->p, t->names, t->names_nbytes);        /* fits: the names are part of the text */
	memcpy(h->tensor, t->tensor, t->n_tensors * sizeof *h->tensor);
	for (size_t i = 0; i < t->n_tensors; i++)
		h->tensor[i].name = s->p + (t->tensor[i].name - t->names);
	h->n_tensors = t->n_tensors;
	h->payload_nbytes = t->payload_nbytes;
	return MOE_OK;
}

/* Keeps what the text at `at` said. */
static enum moe_err remember(struct moe_header_tail *t, const struct moe_header *h, struct place at, const struct moe_json *j, const struct strings *s)
{
	size_t n = tail_nbytes(at.text, j->end), names = (size_t)(s->p - at.names);

	t->text_nbytes = 0;
	if (!h->n_tensors)
		return MOE_OK;
	MOE_TRY(moe_grow(&t->text, &t->text_cap, n, 1, j->diag));
	MOE_TRY(moe_grow(&t->names, &t->names_cap, names, 1, j->diag));
	MOE_TRY(moe_grow(&t->tensor, &t->tensor_cap, h->n_tensors, sizeof *t->tensor, j->diag));
	memcpy(t->text, at.text, n);
	memcpy(t->names, at.names, names);
	memcpy(t->tensor, h->tensor, h->n_tensors * sizeof *t->tensor);
	for (size_t i = 0; i < h->n_tensors; i++)
		t->tensor[i].name = t->names + (h->tensor[i].name - at.names);
	t->n_tensors = h->n_tensors;
	t->names_nbytes = names;
	t->payload_nbytes = h->payload_nbytes;
	t->text_nbytes = n;
	return MOE_OK;
}

void moe_header_tail_free(struct moe_header_tail *t)
{
	free(t->text);
	free(t->names);
	free(t->tensor);
	*t = (struct moe_header_tail){0};
}

static enum moe_err parse_members(struct moe_header *h, struct moe_json *j, struct strings *s, struct moe_header_tail *tail, struct place *at)
{
	bool meta_seen = false;

	MOE_TRY(moe_json_enter(j, '{'));
	while (moe_json_key(j)) {
		struct moe_tensor *t;
		if (moe_json_is(j, "__metadata__")) {
			if (meta_seen)
				return moe_json_fail(j, "__metadata__ stands twice");
			meta_seen = true;
			MOE_TRY(parse_meta(h, j, s));
			if (!h->n_tensors && tail) {
				*at = (struct place){j->p, s->p};
				MOE_TRY(recall(h, tail, j, s));
				if (tail->same)
					return MOE_OK;
			}
			continue;
		}
		if (h->n_tensors == MOE_TENSOR_LIMIT)
			return moe_json_fail(j, "more than 1000000 tensors");
		MOE_TRY(moe_grow(&h->tensor, &h->tensor_cap, h->n_tensors + 1, sizeof *h->tensor, j->diag));
		t = &h->tensor[h->n_tensors++];
		*t = (struct moe_tensor){0};
		t->name = keep(s, j, &t->name_nbytes);
		if (j->escaped && strlen(t->name) != t->name_nbytes)
			return moe_json_fail(j, "the name of a tensor contains NUL");
		MOE_TRY(parse_tensor(j, t));
	}
	MOE_TRY(j->err);
	return moe_json_finish(j);
}

enum moe_err moe_header_parse(struct moe_header *h, const char *json, size_t n, struct moe_header_tail *tail, struct moe_diag *d)
{
	struct moe_json j;
	struct strings s;
	struct place at = {0};
	const char *same;

	h->n_tensors = h->n_meta = 0;
	moe_arena_reset(&h->strings);
	s.p = moe_arena_get(&h->strings, n + 1, 1);
	if (!s.p)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a header of %zu bytes", n);
	moe_json_init(&j, json, n, d);
	if (tail)
		tail->same = false;
	MOE_TRY(parse_members(h, &j, &s, tail, &at));
	MOE_TRY(twice(h->meta, h->n_meta, sizeof *h->meta, &same, d));
	if (same)
		return moe_fail(d, MOE_EINPUT, "metadata key \"%s\" stands twice in the header", same);
	if (tail && tail->same)
		return MOE_OK;
	MOE_TRY(twice(h->tensor, h->n_tensors, sizeof *h->tensor, &same, d));
	if (same)
		return moe_fail(d, MOE_EINPUT, "tensor \"%s\" stands twice in the header", same);
	MOE_TRY(check_layout(h, d));
	return at.text ? remember(tail, h, at, &j, &s) : MOE_OK;
}

void moe_header_free(struct moe_header *h)
{
	free(h->tensor);
	free(h->meta);
	moe_arena_free(&h->strings);
	*h = (struct moe_header){0};
}

enum moe_err moe_safetensors_parse(struct moe_header *h, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	struct moe_rd r;
	uint64_t length;

	moe_rd_init(&r, bytes, n);
	length = moe_rd_le(&r, 8);
	if (r.bad)
		return moe_fail(d, MOE_EINPUT, "truncated: a safetensors file has at least 8 bytes, this one %zu", n);
	if (length > MOE_FILE_HEADER_LIMIT)
		return moe_fail_at(d, MOE_EINPUT, 0, "header length %llu is above the limit of %d: not a safetensors file, or damaged",
				   (unsigned long long)length, MOE_FILE_HEADER_LIMIT);
	if (length > moe_rd_left(&r))
		return moe_fail_at(d, MOE_EINPUT, 0, "truncated: the header has %llu bytes, the file holds %zu behind its length",
				   (unsigned long long)length, moe_rd_left(&r));
	if (moe_header_parse(h, (const char *)r.p, length, NULL, d)) {
		if (d && d->byte >= 0)
			d->byte += 8;
		return d ? d->code : MOE_EINPUT;
	}
	r.p += length;
	if (h->payload_nbytes != moe_rd_left(&r))
		return moe_fail(d, MOE_EINPUT, "%s: the tensors take %llu bytes, the file holds %zu behind its header",
				h->payload_nbytes > moe_rd_left(&r) ? "truncated" : "trailing bytes", (unsigned long long)h->payload_nbytes, moe_rd_left(&r));
	for (size_t i = 0; i < h->n_tensors; i++)
		h->tensor[i].data = r.p + h->tensor[i].begin;
	return MOE_OK;
}

uint64_t moe_tensor_count(const struct moe_tensor *t)
{
	uint64_t n = 0;

	moe_product(t->shape, t->rank, &n);     /* checked when the header was parsed */
	return n;
}

const char *moe_shape_string(const uint64_t *shape, unsigned rank, char *buf, size_t cap)
{
	size_t n = (size_t)snprintf(buf, cap, "[");

	for (unsigned i = 0; i < rank && n < cap; i++)
		n += (size_t)snprintf(buf + n, cap - n, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
	if (n < cap)
		snprintf(buf + n, cap - n, "]");
	return buf;
}
