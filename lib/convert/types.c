#include "convert/types.h"

#include <string.h>

#include "format/gguf_write.h"
#include "model/parts.h"

static const struct { const char *name; enum moe_dtype type; } types[] = {
	{"keep", MOE_KEEP}, {"f32", MOE_F32}, {"f16", MOE_F16}, {"bf16", MOE_BF16}, {"int8", MOE_I8}, {"q8_0", MOE_Q8_0}, {"q4_0", MOE_Q4_0}, {"q4_k", MOE_Q4_K},
	{"q6_k", MOE_Q6_K},
};

static bool word_is(const char *word, size_t n, const char *name) { return strlen(name) == n && !strncasecmp(word, name, n); }

static enum moe_err find_type(const char *word, size_t n, enum moe_dtype *out, struct moe_diag *d)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (word_is(word, n, types[i].name)) {
			*out = types[i].type;
			return MOE_OK;
		}
	return moe_fail(d, MOE_EUSAGE, "type \"%.*s\" is not one of keep, f32, f16, bf16, q8_0, q4_0, q4_k, q6_k (GGUF files) and int8 (folders)", (int)n, word);
}

static enum moe_err set_part(struct moe_types *t, const char *word, size_t n, enum moe_dtype type, struct moe_diag *d)
{
	enum moe_part p = moe_part_find(word, n);

	if (p == MOE_N_PARTS)
		return moe_fail(d, MOE_EUSAGE, "part \"%.*s\" is not one of " MOE_PART_NAMES, (int)n, word);
	if (p == MOE_PART_NORM && type != MOE_KEEP && type != MOE_F32 && type != MOE_F16 && type != MOE_BF16)
		return moe_fail(d, MOE_EUSAGE, "norms can be f32, f16 or bf16 only");
	t->part[p] = type;
	return MOE_OK;
}

enum moe_err moe_types_parse(struct moe_types *t, const char *text, struct moe_diag *d)
{
	for (int p = 0; p < MOE_N_PARTS; p++)
		t->part[p] = MOE_KEEP;
	for (const char *word = text ? text : ""; *word; word += *word == ',') {
		size_t n = strcspn(word, ","), left = strcspn(word, "=,");
		enum moe_dtype type;
		if (left < n) {
			MOE_TRY(find_type(word + left + 1, n - left - 1, &type, d));
			MOE_TRY(set_part(t, word, left, type, d));
		} else {
			MOE_TRY(find_type(word, n, &type, d));
			for (int p = 0; p < MOE_N_PARTS; p++)
				t->part[p] = type != MOE_KEEP && (p == MOE_PART_NORM || p == MOE_PART_ROUTER) ? MOE_F32 : type;
		}
		word += n;
	}
	return MOE_OK;
}

static bool is_float(enum moe_dtype t) { return t == MOE_F32 || t == MOE_F16 || t == MOE_BF16; }

enum moe_err moe_types_choose(const struct moe_types *t, enum moe_part part, bool gguf, enum moe_dtype from, uint64_t cols, bool matrix, bool plain,
			      enum moe_dtype *to, bool *fallback, struct moe_diag *d)
{
	enum moe_dtype want = t->part[part];

	*fallback = false;
	if (want == MOE_KEEP) {
		*to = is_float(from) || (gguf ? from >= MOE_N_DTYPES : from < MOE_N_DTYPES) ? from : MOE_F32;
		return MOE_OK;
	}
	if (want >= MOE_N_DTYPES && !gguf)
		return moe_fail(d, MOE_EUSAGE, "%s is a type of GGUF files: name an output that ends in .gguf, or another type", moe_dtype_name(want));
	if (want == MOE_I8 && gguf)
		return moe_fail(d, MOE_EUSAGE, "int8 is a type of folders: name an output that does not end in .gguf, or use q8_0");
	*to = want;
	if (!is_float(want) && !matrix)
		*to = MOE_F32;
	else if (!is_float(want) && !plain)
		*to = MOE_BF16;
	else if (cols % moe_dtype_block(want))
		*to = cols % moe_dtype_block(MOE_Q8_0) ? MOE_BF16 : MOE_Q8_0;
	*fallback = *to != want;
	return MOE_OK;
}
