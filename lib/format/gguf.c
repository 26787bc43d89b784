#include "format/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "format/gguf_write.h"

enum { MAX_VALUES = 1 << 16, MAX_KEY = 1 << 10, MAX_RANK = 4, MAX_ALIGNMENT = 1 << 20 };
enum { STRING_HEAD = 8, LEAST_VALUE = STRING_HEAD + 4 + 1, LEAST_TENSOR = STRING_HEAD + 4 + 8 + 4 + 8 };       /* bytes */

/* The types of tensors by their numbers in the file (enum ggml_type); those that are missing here were withdrawn, or are not read. */
static const struct { uint32_t number; enum moe_dtype type; } types[] = {
	{0, MOE_F32}, {1, MOE_F16}, {2, MOE_Q4_0}, {3, MOE_Q4_1}, {6, MOE_Q5_0}, {7, MOE_Q5_1}, {8, MOE_Q8_0}, {10, MOE_Q2_K}, {11, MOE_Q3_K}, {12, MOE_Q4_K},
	{13, MOE_Q5_K}, {14, MOE_Q6_K}, {20, MOE_IQ4_NL}, {23, MOE_IQ4_XS}, {24, MOE_I8}, {25, MOE_I16}, {26, MOE_I32}, {27, MOE_I64}, {28, MOE_F64},
	{30, MOE_BF16}, {39, MOE_MXFP4},
};

enum moe_dtype moe_gguf_type_find(uint32_t number)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].number == number)
			return types[i].type;
	return MOE_N_TYPES;
}

uint32_t moe_gguf_type_number(enum moe_dtype type)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].type == type)
			return types[i].number;
	return UINT32_MAX;
}

static const uint8_t value_nbytes[MOE_GGUF_N_TYPES] = {
	[MOE_GGUF_U8] = 1, [MOE_GGUF_I8] = 1, [MOE_GGUF_U16] = 2, [MOE_GGUF_I16] = 2, [MOE_GGUF_U32] = 4, [MOE_GGUF_I32] = 4, [MOE_GGUF_F32] = 4,
	[MOE_GGUF_BOOL] = 1, [MOE_GGUF_U64] = 8, [MOE_GGUF_I64] = 8, [MOE_GGUF_F64] = 8,
};

struct parser {
	struct moe_gguf *g;
	struct moe_rd r;
	struct moe_diag *d;
};

static uint64_t at(const struct parser *p) { return (uint64_t)(p->r.p - p->r.beg); }

static enum moe_err cut_short(struct parser *p) { return moe_fail_at(p->d, MOE_EINPUT, at(p), "the file ends inside its header"); }

static uint64_t u32(struct parser *p) { return moe_rd_le(&p->r, 4); }
static uint64_t u64(struct parser *p) { return moe_rd_le(&p->r, 8); }

bool moe_gguf_is(const uint8_t *bytes, size_t n) { return n >= 4 && !memcmp(bytes, "GGUF", 4); }

/* A string of at most `most` bytes, copied with a NUL behind it; NULs inside are refused. */
static enum moe_err read_name(struct parser *p, const char *what, uint64_t most, const char **out, size_t *nbytes)
{
	uint64_t begin = at(p), n = u64(p);
	const uint8_t *s;

	if (p->r.bad)
		return cut_short(p);
	if (!n || n > most)
		return moe_fail_at(p->d, MOE_EINPUT, begin, "%s of %llu bytes; 1 to %llu are allowed", what, (unsigned long long)n, (unsigned long long)most);
	s = moe_rd_bytes(&p->r, n);
	if (!s)
		return cut_short(p);
	if (memchr(s, 0, n))
		return moe_fail_at(p->d, MOE_EINPUT, begin, "%s has a NUL in it", what);
	*out = moe_arena_string(&p->g->header.strings, (const char *)s, n);
	*nbytes = n;
	return *out ? MOE_OK : moe_fail(p->d, MOE_ENOMEM, "out of memory");
}

/* Passes over n elements of a type. */
static enum moe_err pass_over(struct parser *p, enum moe_gguf_type type, uint64_t n, const char *key)
{
	uint64_t least = type == MOE_GGUF_STRING ? STRING_HEAD : value_nbytes[type];

	if (n > moe_rd_left(&p->r) / least)
		return moe_fail_at(p->d, MOE_EINPUT, at(p), "\"%s\" has %llu elements, more than the rest of the file can hold", key, (unsigned long long)n);
	if (type != MOE_GGUF_STRING) {
		moe_rd_bytes(&p->r, n * least);
		return MOE_OK;
	}
	for (uint64_t i = 0; i < n && !p->r.bad; i++)
		moe_rd_bytes(&p->r, u64(p));
	return p->r.bad ? cut_short(p) : MOE_OK;
}

static enum moe_err read_value(struct parser *p)
{
	struct moe_gguf *g = p->g;
	struct moe_gguf_value *v;
	uint64_t type, begin;
	size_t n;

	MOE_TRY(moe_grow(&g->value, &g->value_cap, g->n_values + 1, sizeof *g->value, p->d));
	v = &g->value[g->n_values];
	*v = (struct moe_gguf_value){.n = 1};
	MOE_TRY(read_name(p, "a key", MAX_KEY, &v->key, &n));
	begin = at(p);
	type = u32(p);
	v->array = type == MOE_GGUF_ARRAY;
	if (v->array) {
		begin = at(p);
		type = u32(p);
		v->n = u64(p);
	}
	if (p->r.bad)
		return cut_short(p);
	if (type >= MOE_GGUF_N_TYPES || type == MOE_GGUF_ARRAY)
		return moe_fail_at(p->d, MOE_EINPUT, begin, "\"%s\" is of the type %llu, which %s", v->key, (unsigned long long)type,
				   type == MOE_GGUF_ARRAY ? "cannot stand in an array" : "there is not");
	v->type = (enum moe_gguf_type)type;
	v->data = p->r.p;
	MOE_TRY(pass_over(p, v->type, v->n, v->key));
	v->nbytes = (size_t)(p->r.p - v->data);
	g->n_values++;
	return MOE_OK;
}

static enum moe_err tensor_type(struct parser *p, struct moe_tensor *t)
{
	uint64_t begin = at(p), number = u32(p);

	t->type = number > UINT32_MAX ? MOE_N_TYPES : moe_gguf_type_find((uint32_t)number);
	if (t->type < MOE_N_TYPES)
		return MOE_OK;
	return moe_fail_at(p->d, MOE_EINPUT, begin, "tensor \"%s\" is of the type number %llu, which is not read (F32, F16, BF16, F64, I8 to I64, Q4_0 to Q8_0, Q2_K to "
			   "Q6_K, IQ4_NL, IQ4_XS and MXFP4 are)", t->name, (unsigned long long)number);
}

static enum moe_err read_tensor(struct parser *p)
{
	struct moe_header *h = &p->g->header;
	uint64_t count = 1, begin, rank;
	struct moe_tensor *t;

	MOE_TRY(moe_grow(&h->tensor, &h->tensor_cap, h->n_tensors + 1, sizeof *h->tensor, p->d));
	t = &h->tensor[h->n_tensors];
	*t = (struct moe_tensor){0};
	MOE_TRY(read_name(p, "the name of a tensor", MAX_KEY, &t->name, &t->name_nbytes));
	begin = at(p);
	rank = u32(p);
	if (rank < 1 || rank > MAX_RANK)
		return p->r.bad ? cut_short(p) : moe_fail_at(p->d, MOE_EINPUT, begin, "tensor \"%s\" has %llu axes; 1 to %d are possible", t->name,
							     (unsigned long long)rank, MAX_RANK);
	t->rank = (unsigned)rank;
	for (unsigned i = 0; i < t->rank; i++)
		t->shape[t->rank - 1 - i] = u64(p);
	MOE_TRY(tensor_type(p, t));
	t->begin = u64(p);
	if (p->r.bad)
		return cut_short(p);
	if (!moe_product(t->shape, t->rank, &count) || !count || count > UINT64_MAX / 64)
		return moe_fail_at(p->d, MOE_EINPUT, begin, "tensor \"%s\" has an impossible shape", t->name);
	if (t->shape[t->rank - 1] % moe_dtype_block(t->type))
		return moe_fail_at(p->d, MOE_EINPUT, begin, "tensor \"%s\" is %s, but its rows of %llu are not whole blocks of %zu", t->name, moe_dtype_name(t->type),
				   (unsigned long long)t->shape[t->rank - 1], moe_dtype_block(t->type));
	t->nbytes = moe_dtype_nbytes(t->type, count);
	h->n_tensors++;
	return MOE_OK;
}

static enum moe_err read_alignment(struct parser *p)
{
	const struct moe_gguf_value *v = moe_gguf_find(p->g, "general.alignment");
	struct moe_rd r;
	int64_t n = 32;

	if (v) {
		moe_rd_init(&r, v->data, v->nbytes);
		n = v->array || v->type != MOE_GGUF_U32 ? 0 : moe_gguf_int(&r, v->type);
	}
	if (n < 1 || n > MAX_ALIGNMENT || n & (n - 1))
		return moe_fail(p->d, MOE_EINPUT, "\"general.alignment\" is not a power of two up to %d", MAX_ALIGNMENT);
	p->g->alignment = (uint64_t)n;
	return MOE_OK;
}

/* Places the tensors: each begins where the one before it ended, rounded up. */
static enum moe_err place_tensors(struct parser *p, size_t nbytes)
{
	struct moe_header *h = &p->g->header;
	uint64_t align = p->g->alignment, data = moe_round_up(at(p), align), end = 0;

	for (size_t i = 0; i < h->n_tensors; i++) {
		struct moe_tensor *t = &h->tensor[i];
		if (t->begin != moe_round_up(end, align))
			return moe_fail(p->d, MOE_EINPUT, "tensor \"%s\" begins at byte %llu of the data, expected %llu", t->name, (unsigned long long)t->begin,
					(unsigned long long)moe_round_up(end, align));
		if (data > nbytes || t->begin > nbytes - data || t->nbytes > nbytes - data - t->begin)
			return moe_fail(p->d, MOE_EINPUT, "tensor \"%s\" reaches beyond the end of the file: it is cut short", t->name);
		t->data = p->r.beg + data + t->begin;
		end = t->begin + t->nbytes;
	}
	h->payload_nbytes = end;
	if (h->n_tensors && nbytes - data > moe_round_up(end, align))
		return moe_fail_at(p->d, MOE_EINPUT, data + moe_round_up(end, align), "bytes after the last tensor");
	return MOE_OK;
}

static int compare_keys(const void *a, const void *b)
{
	const struct moe_gguf_value *x = a, *y = b;

	return strcmp(x->key, y->key);
}

/* Sorts the values by key, for moe_gguf_find. */
static enum moe_err sort_values(struct parser *p)
{
	struct moe_gguf *g = p->g;

	if (g->n_values)
		qsort(g->value, g->n_values, sizeof *g->value, compare_keys);
	for (size_t i = 1; i < g->n_values; i++)
		if (!strcmp(g->value[i - 1].key, g->value[i].key))
			return moe_fail(p->d, MOE_EINPUT, "the key \"%s\" stands twice", g->value[i].key);
	return MOE_OK;
}

enum moe_err moe_gguf_parse(struct moe_gguf *g, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	struct parser p = {.g = g, .d = d};
	uint64_t version, n_tensors, n_values;

	moe_rd_init(&p.r, bytes, n);
	if (!moe_gguf_is(bytes, n))
		return moe_fail(d, MOE_EINPUT, "not a GGUF file");
	moe_rd_bytes(&p.r, 4);
	version = u32(&p);
	if (version == 2u << 24 || version == 3u << 24)
		return moe_fail_at(d, MOE_EINPUT, 4, "a big-endian GGUF file, which is not read");
	if (version != 2 && version != 3)
		return moe_fail_at(d, MOE_EINPUT, 4, "GGUF version %llu; 2 and 3 are known", (unsigned long long)version);
	n_tensors = u64(&p);
	n_values = u64(&p);
	if (p.r.bad)
		return cut_short(&p);
	if (n_tensors > MOE_TENSOR_LIMIT || n_values > MAX_VALUES || n_values > moe_rd_left(&p.r) / LEAST_VALUE || n_tensors > moe_rd_left(&p.r) / LEAST_TENSOR)
		return moe_fail_at(d, MOE_EINPUT, 8, "%llu tensors and %llu keys cannot be in a file of %zu bytes", (unsigned long long)n_tensors,
				   (unsigned long long)n_values, n);
	for (uint64_t i = 0; i < n_values; i++)
		MOE_TRY(read_value(&p));
	MOE_TRY(sort_values(&p));
	for (uint64_t i = 0; i < n_tensors; i++)
		MOE_TRY(read_tensor(&p));
	MOE_TRY(read_alignment(&p));
	return place_tensors(&p, n);
}

void moe_gguf_free(struct moe_gguf *g)
{
	moe_header_free(&g->header);
	free(g->value);
	*g = (struct moe_gguf){0};
}

const struct moe_gguf_value *moe_gguf_find(const struct moe_gguf *g, const char *key)
{
	struct moe_gguf_value wanted = {.key = key};

	return g->n_values ? bsearch(&wanted, g->value, g->n_values, sizeof *g->value, compare_keys) : NULL;
}

int64_t moe_gguf_int(struct moe_rd *r, enum moe_gguf_type t)
{
	uint64_t v = moe_rd_le(r, value_nbytes[t]);

	switch (t) {
	case MOE_GGUF_I8: return (int8_t)v;
	case MOE_GGUF_I16: return (int16_t)v;
	case MOE_GGUF_I32: return (int32_t)v;
	case MOE_GGUF_U64: return v > INT64_MAX ? INT64_MAX : (int64_t)v;
	default: return (int64_t)v;
	}
}

double moe_gguf_real(struct moe_rd *r, enum moe_gguf_type t)
{
	uint64_t bits;
	uint32_t half;
	double d;
	float f;

	if (t != MOE_GGUF_F32 && t != MOE_GGUF_F64)
		return (double)moe_gguf_int(r, t);
	bits = moe_rd_le(r, value_nbytes[t]);
	half = (uint32_t)bits;
	memcpy(&f, &half, sizeof f);
	memcpy(&d, &bits, sizeof d);
	return t == MOE_GGUF_F32 ? (double)f : d;
}

const char *moe_gguf_string(struct moe_rd *r, size_t *n)
{
	uint64_t nbytes = moe_rd_le(r, 8);
	const uint8_t *s = moe_rd_bytes(r, nbytes);

	*n = s ? nbytes : 0;
	return (const char *)s;
}
