#include "stream/frame.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static const char *const names[] = {"head", "tokens", "patches", "features", "hidden", "routed", "logits", "text", "trace", "drop", "failed", "end"};

static const unsigned n_names = sizeof names / sizeof *names;

const char *moe_kind_name(enum moe_kind k) { return (unsigned)k < n_names ? names[k] : k == MOE_KIND_BARE ? "safetensors" : "unknown kind"; }

enum moe_kind moe_kind_find(const char *name)
{
	for (unsigned k = 0; k < n_names; k++)
		if (!strcmp(names[k], name))
			return (enum moe_kind)k;
	return MOE_KIND_OTHER;
}

enum moe_err moe_frame_reset(struct moe_frame *f, enum moe_kind kind, struct moe_diag *d)
{
	f->kind = kind;
	f->nbytes = 0;
	f->h.n_tensors = f->h.n_meta = 0;
	moe_arena_reset(&f->own);
	return moe_frame_set(f, "moe.kind", moe_kind_name(kind), d);
}

void moe_frame_free(struct moe_frame *f)
{
	moe_header_free(&f->h);
	moe_arena_free(&f->own);
	free(f->bytes);
	*f = (struct moe_frame){0};
}

/* Keys and names of one length mostly differ in their last letter. */
static inline bool same(const char *a, size_t n_a, const char *b, size_t n_b)
{
	return n_a == n_b && (!n_a || a[n_a - 1] == b[n_a - 1]) && !memcmp(a, b, n_a);
}

static struct moe_meta *find_meta(const struct moe_frame *f, const char *key)
{
	size_t n = strlen(key);

	for (size_t i = 0; i < f->h.n_meta; i++)
		if (same(f->h.meta[i].key, f->h.meta[i].key_nbytes, key, n))
			return &f->h.meta[i];
	return NULL;
}

const char *moe_frame_meta(const struct moe_frame *f, const char *key)
{
	const struct moe_meta *m = find_meta(f, key);

	return m ? m->value : NULL;
}

const char *moe_frame_kind(const struct moe_frame *f)
{
	const char *own = f->kind == MOE_KIND_OTHER ? moe_frame_meta(f, "moe.kind") : NULL;

	return own ? own : moe_kind_name(f->kind);
}

static enum moe_err set(struct moe_frame *f, const char *key, const char *value, size_t n, struct moe_diag *d)
{
	struct moe_meta *m = find_meta(f, key);
	const char *copy = moe_arena_string(&f->own, value, n);

	if (!copy)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!m) {
		const char *own_key = moe_arena_string(&f->own, key, strlen(key));
		if (!own_key)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		MOE_TRY(moe_grow(&f->h.meta, &f->h.meta_cap, f->h.n_meta + 1, sizeof *f->h.meta, d));
		m = &f->h.meta[f->h.n_meta++];
		m->key = own_key;
		m->key_nbytes = strlen(key);
	}
	m->value = copy;
	m->value_nbytes = n;
	return MOE_OK;
}

enum moe_err moe_frame_set(struct moe_frame *f, const char *key, const char *value, struct moe_diag *d)
{
	return set(f, key, value, strlen(value), d);
}

enum moe_err moe_frame_set_number(struct moe_frame *f, const char *key, uint64_t value, struct moe_diag *d)
{
	char text[24];

	return set(f, key, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value), d);
}

void moe_frame_unset(struct moe_frame *f, const char *key)
{
	struct moe_meta *m = find_meta(f, key);

	if (m) {
		memmove(m, m + 1, (size_t)(f->h.meta + f->h.n_meta - (m + 1)) * sizeof *m);
		f->h.n_meta--;
	}
}

enum moe_err moe_frame_number(const struct moe_frame *f, const char *key, uint64_t absent, uint64_t *out, struct moe_diag *d)
{
	const struct moe_meta *m = find_meta(f, key);
	const char *s = m ? m->value : NULL;
	uint64_t v = 0;

	if (!m) {
		*out = absent;
		return MOE_OK;
	}
	if (!m->value_nbytes)
		return moe_frame_fail(f, d, MOE_EINPUT, "%s is empty, expected a number", key);
	for (const char *p = s; p < s + m->value_nbytes; p++)   /* a NUL is no digit */
		if (*p < '0' || *p > '9' || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return moe_frame_fail(f, d, MOE_EINPUT, "%s is \"%.40s\", expected a number", key, s);
	*out = v;
	return MOE_OK;
}

static struct moe_tensor *find(const struct moe_frame *f, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < f->h.n_tensors; i++)
		if (same(f->h.tensor[i].name, f->h.tensor[i].name_nbytes, name, n))
			return &f->h.tensor[i];
	return NULL;
}

const struct moe_tensor *moe_frame_find(const struct moe_frame *f, const char *name) { return find(f, name); }

enum moe_err moe_frame_tensor(struct moe_frame *f, const char *name, enum moe_dtype type, unsigned rank, const void **data,
			      const uint64_t **shape, struct moe_diag *d)
{
	struct moe_tensor *t = find(f, name);

	if (!t)
		return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"%s\" is missing", name);
	if (t->type != type || t->rank != rank)
		return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"%s\" is %s with %u axes, expected %s with %u", name, moe_dtype_name(t->type), t->rank,
				      moe_dtype_name(type), rank);
	if ((uintptr_t)t->data % 16) {
		void *copy = moe_arena_get(&f->own, t->nbytes, 1);
		if (!copy)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		t->data = memcpy(copy, t->data, t->nbytes);
	}
	*data = t->data;
	if (shape)
		*shape = t->shape;
	return MOE_OK;
}

enum moe_err moe_frame_column(struct moe_frame *f, const char *name, enum moe_dtype type, uint64_t n, const void **data, struct moe_diag *d)
{
	const uint64_t *shape;

	MOE_TRY(moe_frame_tensor(f, name, type, 1, data, &shape, d));
	if (shape[0] == n)
		return MOE_OK;
	return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"%s\" has %llu rows, expected %llu", name, (unsigned long long)shape[0], (unsigned long long)n);
}

enum moe_err moe_frame_put(struct moe_frame *f, const char *name, enum moe_dtype type, unsigned rank, uint64_t n0, uint64_t n1, const void *data,
			   struct moe_diag *d)
{
	struct moe_tensor *t = find(f, name);
	const char *own_name;

	if (!t) {
		own_name = moe_arena_string(&f->own, name, strlen(name));
		if (!own_name)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		MOE_TRY(moe_grow(&f->h.tensor, &f->h.tensor_cap, f->h.n_tensors + 1, sizeof *f->h.tensor, d));
		t = &f->h.tensor[f->h.n_tensors++];
		t->name = own_name;
		t->name_nbytes = strlen(name);
	}
	t->type = type;
	t->rank = rank;
	t->shape[0] = n0;
	t->shape[1] = n1;
	t->nbytes = moe_tensor_count(t) * moe_dtype_nbits(type) / 8;
	t->data = data;
	return MOE_OK;
}

enum moe_err moe_frame_put_shape(struct moe_frame *f, const char *name, enum moe_dtype type, unsigned rank, const uint64_t *shape, const void *data,
				 struct moe_diag *d)
{
	struct moe_tensor *t;

	MOE_TRY(moe_frame_put(f, name, type, 0, 0, 0, data, d));
	t = find(f, name);
	t->rank = rank;
	memcpy(t->shape, shape, rank * sizeof *shape);
	t->nbytes = moe_tensor_count(t) * moe_dtype_nbits(type) / 8;
	return MOE_OK;
}

void moe_frame_remove(struct moe_frame *f, const char *name)
{
	struct moe_tensor *t = find(f, name);

	if (t) {
		memmove(t, t + 1, (size_t)(f->h.tensor + f->h.n_tensors - (t + 1)) * sizeof *t);
		f->h.n_tensors--;
	}
}

enum moe_err moe_frame_copy(struct moe_frame *to, const struct moe_frame *from, struct moe_diag *d)
{
	MOE_TRY(moe_frame_reset(to, from->kind, d));
	to->at = from->at;
	for (size_t i = 0; i < from->h.n_meta; i++)
		MOE_TRY(set(to, from->h.meta[i].key, from->h.meta[i].value, from->h.meta[i].value_nbytes, d));
	for (size_t i = 0; i < from->h.n_tensors; i++) {
		const struct moe_tensor *t = &from->h.tensor[i];
		void *data = moe_arena_get(&to->own, t->nbytes, 1);
		if (!data)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		memcpy(data, t->data, t->nbytes);
		MOE_TRY(moe_frame_put(to, t->name, t->type, 1, 0, 0, data, d));
		struct moe_tensor *copy = find(to, t->name);
		copy->rank = t->rank;
		memcpy(copy->shape, t->shape, sizeof copy->shape);
		copy->nbytes = t->nbytes;
	}
	return MOE_OK;
}

enum moe_err moe_frame_fail(const struct moe_frame *f, struct moe_diag *d, enum moe_err code, const char *fmt, ...)
{
	const char *seq = moe_frame_meta(f, "moe.seq"), *kind = moe_frame_kind(f);
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (seq)
		return moe_fail_at(d, code, f->at, "frame \"%.40s\" of sequence %.20s: %s", kind, seq, text);
	return moe_fail_at(d, code, f->at, "frame \"%.40s\": %s", kind, text);
}

enum moe_err moe_frame_blame(const struct moe_frame *f, enum moe_err err, struct moe_diag *d)
{
	struct moe_diag was;

	if ((err != MOE_EINPUT && err != MOE_EMATCH) || !d || d->code != err || d->byte >= 0 || d->path[0])
		return err;
	was = *d;
	moe_diag_clear(d);
	if (was.row)
		return moe_frame_fail(f, d, err, "row %lld: %s", (long long)was.row - 1, was.text);
	return moe_frame_fail(f, d, err, "%s", was.text);
}
