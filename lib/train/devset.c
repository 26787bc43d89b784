#include "train/devset.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

/* Arrays of one prediction, from `memory`. */
struct prediction {
	int32_t **best;
	float **logprob;
};

static struct moe_trainlog_type *find_type(struct moe_devset *v, const char *name)
{
	for (size_t i = 0; i < v->n_types; i++)
		if (!strcmp(v->type[i].type, name))
			return &v->type[i];
	if (v->n_types == MOE_DEVSET_TYPES || !(v->type[v->n_types].type = moe_strdup(name)))
		return NULL;
	return &v->type[v->n_types++];
}

static void count_question(struct moe_devset *v, const struct moe_packed *p, const struct moe_packed_question *q, const int32_t *best)
{
	struct moe_trainlog_type *t = find_type(v, q->type);
	bool exact = true;

	for (size_t i = q->first; i < q->first + q->n; i++)
		exact &= p->target[i] < 0 || best[i] == p->target[i];
	v->questions++;
	v->exact += exact;
	if (t) {
		t->questions++;
		t->exact += exact;
	}
}

static void count_sample(struct moe_devset *v, const struct moe_packing *p, const int32_t *best, const float *logprob)
{
	for (size_t i = 0; i < p->packed.n_text; i++)
		if (p->packed.target[i] >= 0 && best[i] >= 0) {
			v->text -= (double)logprob[i];
			v->text_targets++;
		}
	for (size_t i = 0; i < p->n_questions; i++)
		count_question(v, &p->packed, &p->question[i], best);
}

static enum moe_err get_prediction(struct prediction *out, const struct moe_loaded *b, size_t n, struct moe_arena *memory, struct moe_diag *d)
{
	bool good;

	out->best = moe_arena_get(memory, n, sizeof *out->best);
	out->logprob = moe_arena_get(memory, n, sizeof *out->logprob);
	good = out->best && out->logprob;
	for (size_t i = 0; good && i < n; i++) {
		out->best[i] = moe_arena_get(memory, b->packed[i].n_text, sizeof **out->best);
		out->logprob[i] = moe_arena_get(memory, b->packed[i].n_text, sizeof **out->logprob);
		good = out->best[i] && out->logprob[i];
	}
	return good ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

static enum moe_err run_batch(struct moe_devset *v, struct moe_net *net, const struct moe_loaded *b, size_t n, const struct moe_loss_settings *s,
			      struct moe_arena *memory, struct moe_diag *d)
{
	struct moe_step_result r;
	struct prediction p;

	moe_arena_reset(memory);
	MOE_TRY(get_prediction(&p, b, n, memory, d));
	MOE_TRY(moe_net_predict(net, b->packed, n, s, p.best, p.logprob, &r, d));
	v->image += r.image_targets ? r.image * (double)r.image_targets : 0;
	v->image_targets += r.image_targets;
	v->patch += r.patch_targets ? r.patch * (double)r.patch_targets : 0;
	v->patch_targets += r.patch_targets;
	v->failed += b->failed;
	for (size_t i = 0; i < n; i++)
		count_sample(v, &b->packing[i], p.best[i], p.logprob[i]);
	return MOE_OK;
}

enum moe_err moe_devset_run(struct moe_devset *v, struct moe_net *net, struct moe_loader *loader, uint64_t samples, const struct moe_loss_settings *s,
			    struct moe_diag *d)
{
	struct moe_arena memory = {0};
	enum moe_err err = MOE_OK;

	while (samples && !err) {
		const struct moe_loaded *b;
		size_t n;
		err = moe_loader_next(loader, &b, d);
		if (err)
			break;
		n = moe_min(b->n, samples);
		samples -= n;
		err = run_batch(v, net, b, n, s, &memory, d);
	}
	moe_arena_free(&memory);
	return err == MOE_END ? MOE_OK : err;
}

void moe_devset_clear(struct moe_devset *v)
{
	for (size_t i = 0; i < v->n_types; i++)
		free((char *)(uintptr_t)v->type[i].type);
	*v = (struct moe_devset){0};
}
