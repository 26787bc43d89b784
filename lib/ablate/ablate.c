#include "ablate/resume.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "eval/asker.h"

const char *moe_ablate_way_name(enum moe_ablate_way w) { return w == MOE_ABLATE_REROUTE ? "reroute" : "renormalise"; }
const char *moe_ablate_rows_name(enum moe_ablate_rows r) { return r == MOE_ABLATE_TEXT ? "text" : r == MOE_ABLATE_IMAGE ? "image" : "all"; }

/* What came of a question. */
struct verdict {
	double loss;
	bool right, changed;
};

struct run {
	struct moe_ablation *a;
	const struct moe_model *m;
	const struct moe_generation *g;
	const struct moe_ablate_options *o;
	size_t per_expert;              /* cases of an expert, which follow each other */
	struct moe_journal *journal;
	pthread_mutex_t lock;
	size_t n_done;                  /* units, of which one is an expert of a layer with a part of the samples */
	struct moe_diag diag;           /* why it stopped */
};

/* A question that is asked again, with what the whole model says to it. */
struct again {
	const struct moe_asked *whole;
	struct verdict *to;
};

/* A unit at work. */
struct unit {
	struct run *r;
	size_t first, part;             /* its first case, its part */
	struct moe_asked_sample *const *sample;         /* [n_samples] */
	size_t n_samples, n;            /* questions */
	struct moe_what_if *setting;    /* [layers][MOE_N_MODALITIES] */
	bool *left_out;                 /* [experts]: the one */
	struct moe_asker *asker;
	struct moe_asked *asked;        /* [n]: copies of those that are asked again, */
	struct moe_ask *ask;            /* [n]: which point to them, */
	struct again *again;            /* [n]: and where they come from */
	struct moe_carrier carrier[MOE_ABLATE_PART];
	struct verdict *verdict[MOE_N_ABLATE_ROWS];     /* [n], in the order of the samples */
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

/* ---- cases ---- */

/* The modalities of a case's rows, as bits. */
static unsigned modalities(enum moe_ablate_rows rows)
{
	return rows == MOE_ABLATE_TEXT ? 1u << MOE_TEXT : rows == MOE_ABLATE_IMAGE ? 1u << MOE_IMAGE : ~0u;
}

bool moe_ablate_touches(const struct moe_ablation *a, const struct moe_ablate_case *c, const struct moe_asked *q)
{
	return q->chose[c->layer * a->experts + c->expert] & modalities(c->rows);
}

static enum moe_err list_cases(struct run *r, struct moe_diag *d)
{
	const struct moe_ablate_options *o = r->o;
	struct moe_ablation *a = r->a;

	a->list = moe_calloc((o->last - o->first + 1) * a->experts * MOE_N_ABLATE_WAYS * MOE_N_ABLATE_ROWS, sizeof *a->list);
	if (!a->list)
		return no_memory(d);
	for (size_t l = o->first; l <= o->last; l++)
		for (size_t e = 0; moe_spec_top_k(r->m->spec, l) && e < a->experts; e++)
			for (size_t k = 0; (!o->expert || o->expert[e]) && k < MOE_N_ABLATE_WAYS * MOE_N_ABLATE_ROWS; k++) {
				struct moe_ablate_case c = {l, e, (enum moe_ablate_way)(k / MOE_N_ABLATE_ROWS), (enum moe_ablate_rows)(k % MOE_N_ABLATE_ROWS)};
				if (o->way[c.way] && o->rows[c.rows])
					a->list[a->n++] = c;
			}
	a->parts = (a->e->n_samples + MOE_ABLATE_PART - 1) / MOE_ABLATE_PART;
	for (size_t k = 0; k < MOE_N_ABLATE_WAYS * MOE_N_ABLATE_ROWS; k++)
		r->per_expert += o->way[k / MOE_N_ABLATE_ROWS] && o->rows[k % MOE_N_ABLATE_ROWS];
	a->sum = moe_calloc(a->n * a->e->n_samples, sizeof *a->sum);
	a->done = moe_calloc(a->n * a->parts, sizeof *a->done);
	return a->sum && a->done ? MOE_OK : no_memory(d);
}

/* ---- a unit ---- */

static struct verdict judge(const struct moe_asked *q, const struct moe_asked *whole)
{
	const char *said = q->said ? q->said : "", *before = whole->said ? whole->said : "";

	return (struct verdict){-q->own.logprob, q->own.right, strcmp(said, before) != 0};
}

/* The settings of a case. */
static void set(struct unit *u, const struct moe_ablate_case *c)
{
	size_t layers = (size_t)u->r->m->spec->n_layers;

	memset(u->setting, 0, layers * MOE_N_MODALITIES * sizeof *u->setting);
	memset(u->left_out, 0, u->r->a->experts * sizeof *u->left_out);
	u->left_out[c->expert] = true;
	for (unsigned i = 0; i < MOE_N_MODALITIES; i++)
		if (modalities(c->rows) >> i & 1) {
			struct moe_what_if *w = &u->setting[c->layer * MOE_N_MODALITIES + i];
			*(c->way == MOE_ABLATE_REROUTE ? &w->drop : &w->mute) = u->left_out;
		}
}

/* What is known without asking: a question that the case does not touch is answered as before. Where only text chose the expert, all rows are the rows of
 * text, which have been asked. (The same does not hold of pictures: words of a new answer may choose it.) Under groups an expert that is gone may cost its
 * group the choice of rows that had not chosen it. */
static bool known(const struct unit *u, const struct moe_ablate_case *c, const struct moe_asked *q, size_t number, struct verdict *v)
{
	unsigned chose = q->chose[c->layer * u->r->a->experts + c->expert];
	bool grouped = c->way == MOE_ABLATE_REROUTE && u->r->m->spec->router.groups > 1;

	if (!moe_ablate_touches(u->r->a, c, q) && !grouped)
		*v = judge(q, q);
	else if (c->rows == MOE_ABLATE_ALL && u->verdict[MOE_ABLATE_TEXT] && !(chose & ~modalities(MOE_ABLATE_TEXT)) && !grouped)
		*v = u->verdict[MOE_ABLATE_TEXT][number];
	else
		return false;
	return true;
}

/* Makes carriers of the questions that have to be asked, and tells what of the others is known. Returns how many questions. */
static size_t choose_questions(struct unit *u, const struct moe_ablate_case *c, struct verdict *v, size_t *n_carriers)
{
	size_t n = 0, number = 0;

	*n_carriers = 0;
	for (size_t i = 0; i < u->n_samples; i++) {
		const struct moe_asked_sample *s = u->sample[i];
		struct moe_carrier *to = &u->carrier[*n_carriers];
		*to = (struct moe_carrier){.feature = s->feature, .grid = s->grid, .ask = &u->ask[n]};
		for (size_t k = 0; k < s->n; k++, number++) {
			if (!s->asked[k].own.done || known(u, c, &s->asked[k], number, &v[number]))
				continue;
			u->asked[n] = s->asked[k];
			u->asked[n].said = NULL;
			u->asked[n].chose = NULL;
			u->ask[n] = (struct moe_ask){.q = &u->asked[n]};
			u->again[n++] = (struct again){&s->asked[k], &v[number]};
			to->n++;
		}
		*n_carriers += to->n > 0;
	}
	return n;
}

/* Adds the verdicts up by sample. */
static void add_up(const struct unit *u, size_t i, const struct verdict *v)
{
	const struct moe_ablation *a = u->r->a;
	struct moe_ablate_sum *sum = a->sum + i * a->e->n_samples + u->part * MOE_ABLATE_PART;

	for (size_t s = 0; s < u->n_samples; s++) {
		sum[s] = (struct moe_ablate_sum){0};
		for (size_t k = 0; k < u->sample[s]->n; k++, v++) {
			if (!u->sample[s]->asked[k].own.done)
				continue;
			sum[s].loss += v->loss;
			sum[s].right += v->right;
			sum[s].changed += v->changed;
		}
	}
}

static enum moe_err blame(enum moe_err err, const struct moe_ablate_case *c, struct moe_diag *d)
{
	char place[100];

	snprintf(place, sizeof place, "layer %zu without expert %zu", c->layer, c->expert);
	moe_diag_path(d, place);
	return err;
}

static enum moe_err run_case(struct unit *u, size_t i, struct moe_arena *memory, struct moe_diag *d)
{
	const struct moe_ablate_case *c = &u->r->a->list[i];
	const struct moe_what_if_table table = {u->setting, true};
	struct verdict *v = moe_arena_zero(memory, u->n, sizeof *v);
	size_t n, n_carriers;
	enum moe_err err;

	if (!v)
		return no_memory(d);
	set(u, c);
	n = choose_questions(u, c, v, &n_carriers);
	err = moe_asker_run(u->asker, u->carrier, n_carriers, &table, NULL, d);
	for (size_t k = 0; k < n; k++) {
		*u->again[k].to = judge(&u->asked[k], u->again[k].whole);
		free(u->asked[k].said);
	}
	if (err)
		return blame(err, c, d);
	add_up(u, i, v);
	u->verdict[c->rows] = v;
	return MOE_OK;
}

/* The cases of the unit that are not done; those of one way follow each other. */
static enum moe_err run_cases(struct unit *u, struct moe_arena *memory, struct moe_diag *d)
{
	const struct run *r = u->r;

	for (size_t i = u->first; i < u->first + r->per_expert; i++) {
		if (i == u->first || r->a->list[i].way != r->a->list[i - 1].way)
			memset(u->verdict, 0, sizeof u->verdict);
		if (!r->a->done[i * r->a->parts + u->part])
			MOE_TRY(run_case(u, i, memory, d));
	}
	return MOE_OK;
}

static enum moe_err open_unit(struct unit *u, struct moe_arena *memory, struct moe_diag *d)
{
	const struct moe_spec *s = u->r->m->spec;

	u->sample = u->r->a->e->sample + u->part * MOE_ABLATE_PART;
	u->n_samples = moe_ablate_part_samples(u->r->a, u->part);
	for (size_t i = 0; i < u->n_samples; i++)
		u->n += u->sample[i]->n;
	u->setting = moe_arena_get(memory, (size_t)s->n_layers * MOE_N_MODALITIES, sizeof *u->setting);
	u->left_out = moe_arena_get(memory, u->r->a->experts, sizeof *u->left_out);
	u->asked = moe_arena_get(memory, u->n, sizeof *u->asked);
	u->ask = moe_arena_get(memory, u->n, sizeof *u->ask);
	u->again = moe_arena_get(memory, u->n, sizeof *u->again);
	if (!u->setting || !u->left_out || !u->asked || !u->ask || !u->again)
		return no_memory(d);
	return moe_asker_new(&u->asker, u->r->m, NULL, u->r->g, (size_t)s->n_layers, d);
}

static bool is_done(const struct unit *u)
{
	const struct run *r = u->r;

	for (size_t i = u->first; i < u->first + r->per_expert; i++)
		if (!r->a->done[i * r->a->parts + u->part])
			return false;
	return true;
}

/* With the lock: notes what is new. */
static enum moe_err finish_unit(struct unit *u, struct moe_diag *d)
{
	struct run *r = u->r;

	for (size_t i = u->first; i < u->first + r->per_expert; i++) {
		if (r->a->done[i * r->a->parts + u->part])
			continue;
		MOE_TRY(moe_ablate_note(r->a, r->journal, i, u->part, d));
		r->a->done[i * r->a->parts + u->part] = true;
	}
	r->n_done++;
	if (r->o->progress)
		r->o->progress(r->o->self, r->n_done, r->a->n / r->per_expert * r->a->parts);
	return MOE_OK;
}

/* Number `chunk` of the units: parts of the samples, in each the experts. */
static void run_unit(void *arg, size_t chunk)
{
	struct run *r = arg;
	size_t pairs = r->a->n / r->per_expert;         /* of layer and expert */
	struct unit u = {.r = r, .first = chunk % pairs * r->per_expert, .part = chunk / pairs};
	struct moe_arena memory = {0};
	struct moe_diag d = {0};
	enum moe_err err = MOE_OK;
	bool stopped;

	pthread_mutex_lock(&r->lock);
	stopped = r->diag.code;
	pthread_mutex_unlock(&r->lock);
	if (stopped)
		return;
	if (!is_done(&u)) {
		err = open_unit(&u, &memory, &d);
		if (!err)
			err = run_cases(&u, &memory, &d);
	}
	pthread_mutex_lock(&r->lock);
	if (!err && !r->diag.code)
		err = finish_unit(&u, &d);
	if (err && !r->diag.code)
		r->diag = d;
	pthread_mutex_unlock(&r->lock);
	moe_asker_free(u.asker);
	moe_arena_free(&memory);
}

enum moe_err moe_ablate_run(struct moe_ablation *out, const struct moe_evaluation *e, const struct moe_model *m, const struct moe_generation *g,
			    const struct moe_ablate_options *o, struct moe_diag *d)
{
	struct run r = {.a = out, .m = m, .g = g, .o = o, .lock = PTHREAD_MUTEX_INITIALIZER};
	enum moe_err err;

	*out = (struct moe_ablation){.e = e, .experts = (size_t)m->spec->router.experts};
	err = list_cases(&r, d);
	if (!err && o->journal)
		err = moe_ablate_recall(out, &r.journal, o->journal, m, d);
	if (!err && out->n)
		moe_pool_run(o->pool, 1e12, out->n / r.per_expert * out->parts, run_unit, &r);
	moe_journal_close(r.journal, false);
	if (r.diag.code && d && !d->code)
		*d = r.diag;
	return err ? err : r.diag.code;
}

void moe_ablation_free(struct moe_ablation *a)
{
	free(a->list);
	free(a->sum);
	free(a->done);
	*a = (struct moe_ablation){0};
}
