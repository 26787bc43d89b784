#include "train/export.h"

#include <stdlib.h>
#include <string.h>

#include "convert/convert.h"

/* The tensors by name. */
struct numbers {
	const struct moe_export *e;
	const struct moe_param **sorted;        /* [n] */
};

static int by_name(const void *a, const void *b)
{
	const struct moe_param *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static int find_name(const void *name, const void *p)
{
	const struct moe_param *const *x = p;

	return strcmp(name, (*x)->name);
}

static const float *find_numbers(void *arg, const char *name, uint64_t count)
{
	const struct numbers *n = arg;
	const struct moe_param **p = bsearch(name, n->sorted, n->e->params->n, sizeof *n->sorted, find_name);

	return p && (*p)->count == count ? n->e->weights + (*p)->offset : NULL;
}

static const char *types_of(enum moe_dtype type)
{
	return type == MOE_F32 ? "f32" : type == MOE_BF16 ? "bf16" : type == MOE_I8 ? "int8" : NULL;
}

enum moe_err moe_export_model(const char *dir, struct moe_model *m, const struct moe_export *e, struct moe_diag *d)
{
	struct numbers n = {e, malloc((e->params->n + 1) * sizeof *n.sorted)};
	struct moe_convert_options o = {
		.families = e->families, .family_file = e->family_file, .types = types_of(e->type), .anew = true, .pool = e->pool, .numbers = find_numbers, .arg = &n,
	};
	enum moe_err err;
	bool kept;

	if (!n.sorted)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < e->params->n; i++)
		n.sorted[i] = &e->params->p[i];
	qsort(n.sorted, e->params->n, sizeof *n.sorted, by_name);
	err = o.types ? moe_convert(m, dir, &o, &kept, d) : moe_fail(d, MOE_EUSAGE, "a model is exported as F32, BF16 or I8, not as %s", moe_dtype_name(e->type));
	free(n.sorted);
	return err;
}
