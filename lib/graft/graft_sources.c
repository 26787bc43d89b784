#include "graft/graft_sources.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "convert/targets.h"

struct maker {
	struct moe_graft_index *x;
	bool *seen;                     /* [tensors of the checkpoint] */
	struct moe_diag *d;
};

static int three_way(int64_t a, int64_t b) { return (a > b) - (a < b); }

static int compare(const void *a, const void *b)
{
	const struct moe_graft_source *x = a, *y = b;
	int c = three_way(x->layer, y->layer);

	if (!c)
		c = three_way(x->expert, y->expert);
	if (!c)
		c = strcmp(x->logical, y->logical);
	return c ? c : strcmp(x->name ? x->name : "", y->name ? y->name : "");
}

static enum moe_err add(void *arg, const struct moe_named *n)
{
	struct maker *k = arg;
	struct moe_graft_index *x = k->x;
	struct moe_graft_source *t;

	MOE_TRY(moe_grow(&x->t, &x->cap, x->n + 1, sizeof *x->t, k->d));
	k->seen[n->where->index] = true;
	t = &x->t[x->n++];
	*t = (struct moe_graft_source){.logical = moe_strdup(n->logical), .name = n->at.name ? moe_strdup(n->at.name) : NULL, .layer = n->at.layer,
				       .expert = n->at.expert, .mat = n->mat};
	return t->logical && (t->name || !n->at.name) ? MOE_OK : moe_fail(k->d, MOE_ENOMEM, "out of memory");
}

enum moe_err moe_graft_index_make(struct moe_graft_index *out, struct moe_model *m, struct moe_diag *d)
{
	struct maker k = {out, moe_calloc(moe_checkpoint_count(m->weights) + 1, sizeof *k.seen), d};
	enum moe_err err = k.seen ? moe_model_each(m, add, &k, d) : moe_fail(d, MOE_ENOMEM, "out of memory");

	out->model = m;
	if (!err) {
		qsort(out->t, out->n, sizeof *out->t, compare);
		out->ignored = moe_targets_ignored(m->weights, k.seen);
	}
	free(k.seen);
	return err;
}

void moe_graft_index_free(struct moe_graft_index *x)
{
	for (size_t i = 0; i < x->n; i++) {
		free(x->t[i].logical);
		free(x->t[i].name);
	}
	free(x->t);
	*x = (struct moe_graft_index){0};
}

const struct moe_mat *moe_graft_find(const struct moe_graft_index *x, const char *logical, struct moe_place at)
{
	struct moe_graft_source key = {.logical = (char *)(uintptr_t)logical, .name = (char *)(uintptr_t)at.name, .layer = at.layer, .expert = at.expert};
	const struct moe_graft_source *t = x->n ? bsearch(&key, x->t, x->n, sizeof *x->t, compare) : NULL;

	return t ? &t->mat : NULL;
}
