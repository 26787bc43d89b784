#include "graft/graft.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graft/graft_check.h"
#include "graft/graft_config.h"
#include "graft/graft_operations.h"
#include "graft/graft_tensors.h"

struct work {
	struct moe_model *first;
	const struct moe_graft_options *o;
	struct moe_graft_plan plan;
	struct moe_graft_promise promise;
	struct moe_graft_check *check;
};

static enum moe_err list(void *arg, struct moe_targets *out, const struct moe_types *types, struct moe_diag *d)
{
	struct work *w = arg;

	return moe_graft_tensors(&w->plan, out, types, d);
}

/* Sums up what the types of the output round; the caller's function sees every tensor, too. */
static void see(void *arg, const struct moe_target *t, const struct moe_loss *loss)
{
	struct work *w = arg;

	double rounded = loss->reference > 0 ? sqrt(loss->error / loss->reference) : 0;

	w->promise.rounded = fmax(w->promise.rounded, rounded);
	w->promise.other_types |= t->from != t->to;
	if (w->o->convert.tensor)
		w->o->convert.tensor(w->o->convert.arg, t, loss);
}

static void progress(void *arg, uint64_t done, uint64_t all)
{
	struct work *w = arg;

	if (w->o->convert.progress)
		w->o->convert.progress(w->o->convert.arg, done, all);
}

static void note(void *arg, const char *text)
{
	struct work *w = arg;

	if (w->o->convert.note)
		w->o->convert.note(w->o->convert.arg, text);
}

static enum moe_err compare(void *arg, const char *folder, struct moe_diag *d)
{
	struct work *w = arg;

	return moe_graft_compare(w->check, w->first, folder, &w->promise, w->o, d);
}

static enum moe_err write(struct work *w, struct moe_model *const *model, size_t n, const char *output, bool *kept, struct moe_diag *d)
{
	struct moe_convert_options c = w->o->convert;
	struct moe_convert_other other = {.spec = &w->plan.spec, .list = list, .check = w->o->unchecked ? NULL : compare, .arg = w};
	enum moe_err err;
	char *config;

	MOE_TRY(moe_graft_config(&config, model, n, &w->plan.spec, w->o, d));
	other.config = config;
	c.other = &other;
	c.tensor = see;
	c.progress = progress;
	c.note = note;
	c.arg = w;
	err = moe_convert(w->first, output, &c, kept, d);
	free(config);
	return err;
}

enum moe_err moe_graft(struct moe_model *const *model, size_t n, const char *output, const struct moe_graft_options *o, struct moe_graft_check *check,
		       bool *kept, struct moe_diag *d)
{
	struct work w = {.first = model[0], .o = o, .check = check};
	struct moe_graft_index *source = moe_calloc(n, sizeof *source);
	enum moe_err err = source ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");

	*kept = false;
	*check = (struct moe_graft_check){.claim = MOE_GRAFT_UNCHECKED};
	for (size_t m = 0; m < n && !err; m++)
		if (model[m]->spec->router.choice_biases > 1)
			err = moe_fail(d, MOE_EUSAGE, "a router with a bias of the choice for each modality cannot be grafted");
	for (size_t m = 0; m < n && !err; m++)
		err = moe_graft_index_make(&source[m], model[m], d);
	if (!err)
		err = moe_graft_operate(&w.plan, source, n, o, &w.promise, d);
	if (!err)
		err = write(&w, model, n, output, kept, d);
	moe_graft_plan_free(&w.plan);
	for (size_t m = 0; source && m < n; m++)
		moe_graft_index_free(&source[m]);
	free(source);
	return err;
}
