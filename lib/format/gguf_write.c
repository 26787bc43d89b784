#include "format/gguf_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { VERSION = 3, MOST_AXES = 4 };

static void fail(struct moe_gguf_out *g, enum moe_err err, const char *what, const char *name)
{
	if (!g->err)
		snprintf(g->wrong, sizeof g->wrong, "\"%.100s\": %s", name, what);
	if (!g->err)
		g->err = err;
}

static void put(struct moe_gguf_out *g, struct moe_gguf_bytes *b, const void *p, size_t n)
{
	if (g->err || !n)
		return;
	if (moe_grow(&b->p, &b->cap, b->n + n, 1, NULL)) {
		fail(g, MOE_ENOMEM, "out of memory", "header");
		return;
	}
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

/* n bytes, little-endian. */
static void put_int(struct moe_gguf_out *g, struct moe_gguf_bytes *b, uint64_t v, unsigned n)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < n; i++)
		bytes[i] = (uint8_t)(v >> 8 * i);
	put(g, b, bytes, n);
}

static void put_text(struct moe_gguf_out *g, struct moe_gguf_bytes *b, const char *s, size_t n)
{
	put_int(g, b, n, 8);
	put(g, b, s, n);
}

static void put_float(struct moe_gguf_out *g, struct moe_gguf_bytes *b, float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof bits);
	put_int(g, b, bits, 4);
}

static void begin(struct moe_gguf_out *g, const char *key, enum moe_gguf_type type)
{
	put_text(g, &g->values, key, strlen(key));
	put_int(g, &g->values, type, 4);
	g->n_values++;
}

void moe_gguf_out_number(struct moe_gguf_out *g, const char *key, int64_t v)
{
	if (v < 0 || v > UINT32_MAX)
		fail(g, MOE_EINPUT, "a number outside the range of the format (0 to 4294967295)", key);
	begin(g, key, MOE_GGUF_U32);
	put_int(g, &g->values, (uint64_t)v, 4);
}

void moe_gguf_out_real(struct moe_gguf_out *g, const char *key, double v)
{
	begin(g, key, MOE_GGUF_F32);
	put_float(g, &g->values, (float)v);
}

void moe_gguf_out_truth(struct moe_gguf_out *g, const char *key, bool v)
{
	begin(g, key, MOE_GGUF_BOOL);
	put_int(g, &g->values, v, 1);
}

void moe_gguf_out_text(struct moe_gguf_out *g, const char *key, const char *s, size_t n)
{
	begin(g, key, MOE_GGUF_STRING);
	put_text(g, &g->values, s, n);
}

void moe_gguf_out_copy(struct moe_gguf_out *g, const struct moe_gguf_value *v)
{
	if (v->array)
		moe_gguf_out_list(g, v->key, v->type, v->n);
	else
		begin(g, v->key, v->type);
	put(g, &g->values, v->data, v->nbytes);
}

void moe_gguf_out_list(struct moe_gguf_out *g, const char *key, enum moe_gguf_type type, uint64_t n)
{
	begin(g, key, MOE_GGUF_ARRAY);
	put_int(g, &g->values, type, 4);
	put_int(g, &g->values, n, 8);
}

void moe_gguf_out_add_text(struct moe_gguf_out *g, const char *s, size_t n) { put_text(g, &g->values, s, n); }
void moe_gguf_out_add_int(struct moe_gguf_out *g, int32_t v) { put_int(g, &g->values, (uint32_t)v, 4); }
void moe_gguf_out_add_real(struct moe_gguf_out *g, float v) { put_float(g, &g->values, v); }

uint64_t moe_gguf_out_tensor(struct moe_gguf_out *g, const char *name, enum moe_dtype type, unsigned rank, const uint64_t *shape)
{
	uint64_t at = g->data_nbytes, n = 1;

	if (rank < 1 || rank > MOST_AXES || !moe_product(shape, rank, &n) || !n || n > UINT64_MAX / 64 || shape[rank - 1] % moe_dtype_block(type))
		fail(g, MOE_EINPUT, "a shape that the format does not have", name);
	if (!moe_gguf_has_type(type))
		fail(g, MOE_EINPUT, "a type that the format does not have", name);
	put_text(g, &g->tensors, name, strlen(name));
	put_int(g, &g->tensors, rank, 4);
	for (unsigned i = rank; i-- > 0 && rank <= MOST_AXES;)
		put_int(g, &g->tensors, shape[i], 8);
	put_int(g, &g->tensors, moe_gguf_type_number(type), 4);
	put_int(g, &g->tensors, at, 8);
	g->n_tensors++;
	if (!g->err)
		g->data_nbytes = moe_round_up(at + moe_dtype_nbytes(type, n), MOE_GGUF_ALIGNMENT);
	return at;
}

bool moe_gguf_has_type(enum moe_dtype type) { return moe_gguf_type_number(type) != UINT32_MAX; }

enum moe_err moe_gguf_out_finish(struct moe_gguf_out *g, uint8_t **bytes, size_t *n, struct moe_diag *d)
{
	static const uint8_t zeros[MOE_GGUF_ALIGNMENT];
	struct moe_gguf_bytes b = {0};

	put(g, &b, "GGUF", 4);
	put_int(g, &b, VERSION, 4);
	put_int(g, &b, g->n_tensors, 8);
	put_int(g, &b, g->n_values, 8);
	put(g, &b, g->values.p, g->values.n);
	put(g, &b, g->tensors.p, g->tensors.n);
	put(g, &b, zeros, moe_round_up(b.n, MOE_GGUF_ALIGNMENT) - b.n);
	if (g->err) {
		free(b.p);
		return moe_fail(d, g->err, "%s", g->wrong);
	}
	*bytes = b.p;
	*n = b.n;
	return MOE_OK;
}

void moe_gguf_out_free(struct moe_gguf_out *g)
{
	free(g->values.p);
	free(g->tensors.p);
	*g = (struct moe_gguf_out){0};
}
