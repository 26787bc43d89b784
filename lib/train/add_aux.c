#include "train/add_aux.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "convert/convert.h"
#include "io/source.h"
#include "kernel/normal.h"
#include "train/describe_routing.h"

enum { CONFIG_LIMIT = 16 << 20 };

/* How the numbers of one tensor come about. */
struct numbers {
	uint64_t seed, stream, cols;
	double deviation;               /* negative: zeros */
};

struct work {
	struct moe_model *m;
	struct moe_routing routing;
	uint64_t seed;
	struct moe_targets *out;
	struct moe_arena memory;
	struct moe_diag *d;
};

static bool make_row(const void *maker, size_t piece, uint64_t row, float *to)
{
	const struct numbers *n = maker;

	(void)piece;
	for (uint64_t i = 0; i < n->cols; i++)
		to[i] = n->deviation < 0 ? 0 : (float)(n->deviation * moe_random_normal(n->seed, n->stream, row * n->cols + i));
	return true;
}

static enum moe_err add(void *arg, const char *name, unsigned rank, const int64_t *shape, double deviation)
{
	struct work *w = arg;
	struct moe_targets *all = w->out;
	struct numbers *n = moe_arena_zero(&w->memory, 1, sizeof *n);
	struct moe_target *t;

	MOE_TRY(moe_grow(&all->t, &all->cap, all->n + 1, sizeof *all->t, w->d));
	t = &all->t[all->n];
	*t = (struct moe_target){
		.name = moe_strdup(name), .part = MOE_PART_ROUTER, .from = MOE_F32, .to = MOE_F32, .rank = rank, .rows = rank > 1 ? (uint64_t)shape[0] : 1,
		.cols = (uint64_t)shape[rank - 1], .make = make_row, .maker = n,
	};
	if (!n || !t->name)
		return moe_fail(w->d, MOE_ENOMEM, "out of memory");
	all->n++;
	for (unsigned i = 0; i < rank; i++)
		t->shape[i] = (uint64_t)shape[i];
	*n = (struct numbers){w->seed, XXH3_64bits(name, strlen(name)), t->cols, deviation};
	MOE_TRY(moe_grow(&t->piece, &t->piece_cap, 1, sizeof *t->piece, w->d));
	t->piece[t->n_pieces++] = (struct moe_mat){.type = MOE_F32, .rows = t->rows, .cols = t->cols};
	return MOE_OK;
}

static enum moe_err list(void *arg, struct moe_targets *out, const struct moe_types *types, struct moe_diag *d)
{
	struct work *w = arg;
	const struct moe_spec *s = w->m->spec;

	w->out = out;
	MOE_TRY(moe_targets_make(out, w->m, false, types, d));
	for (int64_t l = 0; l < s->n_layers; l++)
		MOE_TRY(moe_routing_tensors(&w->routing, s->hidden, l, moe_spec_is_dense(s, (size_t)l), true, add, w));
	return MOE_OK;
}

/* The text of config.json with the routers in it, to be freed. */
static enum moe_err make_config(char **out, const struct work *w, struct moe_diag *d)
{
	char *path, *text = NULL;
	json_t *config;
	size_t n;
	enum moe_err err;

	if (asprintf(&path, "%s/config.json", w->m->directory) < 0)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = moe_read_file(path, CONFIG_LIMIT, &text, &n, d);
	free(path);
	MOE_TRY(err);
	config = json_loadb(text, n, 0, NULL);
	free(text);
	json_object_set_new(config, "aux_routers", json_true());
	json_object_set_new(config, "aux_threshold", json_string(w->routing.stored ? "stored" : "half"));
	*out = config ? json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
	json_decref(config);
	return *out ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

static enum moe_err write(const char *dir, struct work *w, const char *families, struct moe_diag *d)
{
	struct moe_spec spec = *w->m->spec;
	struct moe_convert_other other = {.spec = &spec, .list = list, .arg = w};
	struct moe_convert_options o = {.other = &other, .families = families, .types = "keep", .anew = true};
	enum moe_err err;
	char *config;
	bool kept;

	spec.aux.routers = true;
	spec.aux.threshold = w->routing.stored ? MOE_AUX_STORED : MOE_AUX_HALF;
	MOE_TRY(make_config(&config, w, d));
	other.config = config;
	err = moe_convert(w->m, dir, &o, &kept, d);
	free(config);
	return err;
}

enum moe_err moe_add_aux(const char *dir, struct moe_model *m, bool stored, uint64_t seed, const char *families, struct moe_diag *d)
{
	const struct moe_spec *s = m->spec;
	struct work w = {.m = m, .seed = seed, .d = d};
	enum moe_err err;

	if (!moe_spec_chooses_rows(s))
		return moe_fail(d, MOE_EUSAGE, "the model needs no auxiliary routers: its tokens choose for themselves");
	if (s->aux.routers)
		return moe_fail(d, MOE_EUSAGE, "the model has auxiliary routers");
	w.routing = (struct moe_routing){.router = s->router, .depth = s->depth.layers, .depth_capacity = s->depth.capacity, .aux = true, .stored = stored};
	err = write(dir, &w, families, d);
	moe_arena_free(&w.memory);
	return err;
}
