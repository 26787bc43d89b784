#include "eval/evaluate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "data/packer.h"
#include "data/words.h"
#include "eval/asker.h"
#include "image/probe.h"
#include "stage/encode.h"
#include "stage/patchify.h"
#include "sys/thread.h"

enum { MOST_THREADS = 256, NO_GRID = 0, MOST_WAITING = 16 };

/* Samples of one kind and grid: the first, whose picture the last one's questions are asked of, and those that wait for the next picture, mostly one. */
struct partner {
	size_t grid, n_waiting;
	struct moe_asked_sample *first, *waiting;
	uint8_t *picture;               /* of the first */
	size_t n_picture;
};

/* A picture to be decoded and asked of. */
struct errand {
	struct moe_asked_sample *sample;        /* whose picture it is */
	bool own;                       /* its questions are asked */
	struct moe_asked_sample *blind; /* list of those whose questions are asked blind */
	uint8_t *bytes;
	size_t n_bytes;
};

/* A window of errands, for one thread; failures of samples are told when its turn has come. */
struct chunk {
	uint64_t number;
	struct errand *errand;          /* [window] */
	struct moe_carrier *carrier;    /* [window] */
	size_t n, n_carriers;
	struct moe_diag *failure;
	size_t n_failures, cap_failures;
	uint64_t asked;                 /* samples read so far */
	struct moe_load *load;
};

struct run {
	struct moe_evaluation *e;
	const struct moe_model *m;
	struct moe_tokenizer *t;
	const struct moe_generation *g;
	const struct moe_evaluate_options *o;
	struct moe_image_plan plan;
	struct moe_packer packer;       /* for labels */
	size_t window, cap_samples;
	struct moe_shard *shard;
	size_t next_path, next_partner;
	struct partner *partner;
	size_t n_partners, cap_partners;
	struct moe_ids ids;
	pthread_mutex_t lock;
	pthread_cond_t turned;
	uint64_t begun, turn;           /* chunks */
	bool stopped;
	struct moe_diag diag;           /* why */
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

/* ---- samples ---- */

static enum moe_err copy(struct run *r, const char *s, const char **out, struct moe_diag *d)
{
	*out = moe_arena_string(&r->e->memory, s, strlen(s));
	return *out ? MOE_OK : no_memory(d);
}

static bool wanted(const struct run *r, const struct moe_question *q)
{
	for (size_t i = 0; i < r->o->n_types; i++)
		if (!strcmp(r->o->type[i], q->type))
			return true;
	return !r->o->n_types;
}

/* The prompt as text, with the picture before it; to be freed. */
static char *prompt_text(const struct run *r, const struct moe_question *q, bool picture)
{
	const char *text = q->prompt ? q->prompt : r->m->spec->text.prompt;
	char *out;

	if (!picture || !strncmp(text, "<image>", 7))
		return moe_strdup(text);
	return asprintf(&out, "<image>%s", text) < 0 ? NULL : out;
}

static enum moe_err encode(struct run *r, const struct moe_question *q, const char *prompt, bool picture, size_t *n_prompt, struct moe_diag *d)
{
	const struct moe_spec *s = r->m->spec;
	size_t pictures = 0;

	if (!*prompt)
		return moe_fail(d, MOE_EINPUT, "a question without a prompt, where the model has none of its own");
	MOE_TRY(moe_prompt_encode(r->t, s, &r->o->form, prompt, strlen(prompt), &r->ids, d));
	*n_prompt = r->ids.n;
	for (size_t i = 0; i < r->ids.n; i++)
		pictures += s->merge.placeholder >= 0 && r->ids.id[i] == s->merge.placeholder;
	if (pictures != picture)
		return moe_fail(d, MOE_EINPUT, "the prompt \"%.60s\" has %zu pictures, but there is %s", prompt, pictures, picture ? "one" : "none");
	MOE_TRY(moe_words_answer(r->t, q->answer, q->spell, &r->ids, d));
	if (s->text.eos.n) {
		MOE_TRY(moe_grow(&r->ids.id, &r->ids.cap, r->ids.n + 1, sizeof *r->ids.id, d));
		r->ids.id[r->ids.n++] = (int32_t)s->text.eos.v[0];
	}
	for (size_t i = 0; i < r->ids.n; i++)
		if (r->ids.id[i] < 0 || r->ids.id[i] >= s->vocab)
			return moe_fail(d, MOE_EMATCH, "token %d is outside of the model's vocabulary", r->ids.id[i]);
	return r->ids.n > *n_prompt ? MOE_OK : moe_fail(d, MOE_EINPUT, "the answer \"%.40s\" has no tokens", q->answer);
}

static enum moe_err set_question(struct run *r, struct moe_asked *a, const struct moe_question *q, bool picture, struct moe_diag *d)
{
	char *text = prompt_text(r, q, picture);
	int32_t *token;
	enum moe_err err;

	*a = (struct moe_asked){0};
	err = text ? encode(r, q, text, picture, &a->n_prompt, d) : no_memory(d);
	if (!err)
		err = copy(r, text, &a->prompt, d);
	free(text);
	MOE_TRY(err);
	a->n_answer = r->ids.n - a->n_prompt;
	a->token = token = moe_arena_get(&r->e->memory, r->ids.n, sizeof *token);
	if (!token)
		return no_memory(d);
	memcpy(token, r->ids.id, r->ids.n * sizeof *token);
	MOE_TRY(copy(r, q->type, &a->type, d));
	return copy(r, q->answer, &a->answer, d);
}

static enum moe_err set_chose(struct run *r, struct moe_asked *a, struct moe_diag *d)
{
	if (r->o->keep)
		a->chose = moe_arena_zero(&r->e->memory, (size_t)r->m->spec->n_layers * (size_t)r->m->spec->router.experts, 1);
	return a->chose || !r->o->keep ? MOE_OK : no_memory(d);
}

static enum moe_err add_tags(struct run *r, const struct moe_sample *s, struct moe_asked_sample *to, struct moe_diag *d)
{
	struct moe_tag *tag = moe_arena_get(&r->e->memory, s->n_tags, sizeof *tag);

	if (!tag)
		return no_memory(d);
	for (size_t i = 0; i < s->n_tags; i++) {
		MOE_TRY(copy(r, s->tag[i].name, &tag[i].name, d));
		MOE_TRY(copy(r, s->tag[i].value, &tag[i].value, d));
	}
	to->tag = tag;
	to->n_tags = s->n_tags;
	return MOE_OK;
}

/* Labels of the patches; there are none where the vocabulary lacks one of them. */
static enum moe_err set_labels(struct run *r, const struct moe_sample *s, struct moe_asked_sample *a, size_t grid, uint32_t w, uint32_t h, struct moe_diag *d)
{
	size_t n = moe_fit_n_patches(&r->plan.fit, grid);
	int32_t *label = moe_arena_get(&r->e->memory, n, sizeof *label);
	struct moe_diag lacking = {0};

	if (!label)
		return no_memory(d);
	if (moe_packer_labels(label, &r->packer, grid, w, h, s->box, s->n_boxes, &lacking))
		return MOE_OK;
	for (size_t i = 0; i < n; i++)
		if (label[i] >= r->m->spec->vocab)
			return MOE_OK;
	a->label = label;
	a->n_labels = n;
	return MOE_OK;
}

/* The grid of patches that the picture will have, as far as its head tells, and what lies on it. */
static enum moe_err find_grid(struct run *r, const struct moe_sample *s, struct moe_asked_sample *a, size_t *grid, struct moe_diag *d)
{
	const struct moe_picture_limits limits = {64 << 20, 65535};
	struct moe_picture_head head;
	uint32_t w, h;

	*grid = NO_GRID;
	if (!s->picture)
		return MOE_OK;
	if (r->m->spec->tower.kind == MOE_TOWER_NONE)
		return moe_fail(d, MOE_EMATCH, "there is a picture, but the model takes none");
	MOE_TRY(moe_picture_probe(&head, s->picture, s->n_picture, &limits, d));
	if (r->plan.on_canvas)
		return MOE_OK;
	w = head.orientation > 4 ? head.height : head.width;
	h = head.orientation > 4 ? head.width : head.height;
	*grid = moe_fit_choose(&r->plan.fit, w, h);
	return s->labelled ? set_labels(r, s, a, *grid, w, h, d) : MOE_OK;
}

/* Makes the sample part of the evaluation; MOE_AGAIN: it has no question that is wanted. */
static enum moe_err add_sample(struct run *r, const struct moe_sample *s, size_t *grid, struct moe_diag *d)
{
	struct moe_evaluation *e = r->e;
	struct moe_asked_sample *a = moe_arena_zero(&e->memory, 1, sizeof *a);

	if (!a || !(a->asked = moe_arena_get(&e->memory, s->n_questions, sizeof *a->asked)))
		return no_memory(d);
	MOE_TRY(find_grid(r, s, a, grid, d));
	for (size_t i = 0; i < s->n_questions; i++)
		if (wanted(r, &s->question[i])) {
			MOE_TRY(set_question(r, &a->asked[a->n], &s->question[i], s->picture != NULL, d));
			MOE_TRY(set_chose(r, &a->asked[a->n++], d));
		}
	if (!a->n)
		return MOE_AGAIN;
	MOE_TRY(copy(r, s->name, &a->name, d));
	MOE_TRY(copy(r, s->kind, &a->kind, d));
	MOE_TRY(add_tags(r, s, a, d));
	MOE_TRY(moe_grow(&e->sample, &r->cap_samples, e->n_samples + 1, sizeof *e->sample, d));
	e->sample[e->n_samples++] = a;
	return MOE_OK;
}

/* ---- what comes next ---- */

static enum moe_err add_failure(struct chunk *c, const struct moe_diag *failure, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&c->failure, &c->cap_failures, c->n_failures + 1, sizeof *c->failure, d));
	c->failure[c->n_failures++] = *failure;
	return MOE_OK;
}

static struct partner *find_partner(struct run *r, const char *kind, size_t grid)
{
	for (size_t i = 0; i < r->n_partners; i++)
		if (r->partner[i].grid == grid && !strcmp(r->partner[i].first->kind, kind))
			return &r->partner[i];
	return NULL;
}

/* Do the pictures show the same strings? Strings and numbers are told from words by having no space before them (moe-shards(5)). */
static bool same_strings(const struct moe_asked_sample *a, const struct moe_asked_sample *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = *a->asked[i].answer != ' ' && !strcmp(a->asked[i].answer, b->asked[i].answer) && !strcmp(a->asked[i].prompt, b->asked[i].prompt);
	return same;
}

/* Those who wait and may look at the sample's picture; the others go on waiting. */
static struct moe_asked_sample *take_waiting(struct partner *p, const struct moe_asked_sample *s)
{
	struct moe_asked_sample *taken = NULL, *kept = NULL;

	for (struct moe_asked_sample *w = p->waiting, *next; w; w = next) {
		struct moe_asked_sample **to = w == s || same_strings(w, s) ? &kept : &taken;
		next = w->next;
		w->next = *to;
		*to = w;
		p->n_waiting -= to == &taken;
	}
	p->waiting = kept;
	return taken;
}

static void await(struct partner *p, struct moe_asked_sample *s)
{
	if (p->n_waiting == MOST_WAITING)       /* hundreds of the same: these go without */
		return;
	s->next = p->waiting;
	p->waiting = s;
	p->n_waiting++;
}

/* The questions of the samples before of this kind and grid are asked of this picture too. */
static enum moe_err pair(struct run *r, struct errand *e, size_t grid, struct moe_diag *d)
{
	struct partner *p = find_partner(r, e->sample->kind, grid);

	if (!e->bytes || r->o->no_blind)
		return MOE_OK;
	if (p) {
		e->blind = take_waiting(p, e->sample);
		await(p, e->sample);
		return MOE_OK;
	}
	MOE_TRY(moe_grow(&r->partner, &r->cap_partners, r->n_partners + 1, sizeof *r->partner, d));
	p = &r->partner[r->n_partners];
	*p = (struct partner){.grid = grid, .first = e->sample, .picture = malloc(e->n_bytes + 1), .n_picture = e->n_bytes};
	if (!p->picture)
		return no_memory(d);
	memcpy(p->picture, e->bytes, e->n_bytes);
	await(p, e->sample);
	r->n_partners++;
	return MOE_OK;
}

static enum moe_err next_item(struct run *r, struct moe_item *item, struct moe_diag *d)
{
	for (;;) {
		enum moe_err err;
		if (!r->shard && r->next_path == r->o->n_paths)
			return MOE_END;
		if (!r->shard)
			MOE_TRY(moe_shard_open(&r->shard, r->o->path[r->next_path++], &(struct moe_shard_options){.no_sandbox = r->o->no_sandbox}, d));
		err = moe_shard_next(r->shard, item, d);
		if (err != MOE_END)
			return err;
		moe_shard_close(r->shard);
		r->shard = NULL;
	}
}

/* A sample that is no good leaves nothing behind but its failure. */
static enum moe_err read_sample(struct run *r, struct chunk *c, struct errand *e, struct moe_diag *d)
{
	size_t grid = NO_GRID;
	struct moe_diag failure = {0};
	struct moe_sample s = {0};
	struct moe_item item;
	enum moe_err err;

	MOE_TRY(next_item(r, &item, d));
	err = moe_sample_read(&s, &item, &failure);
	moe_item_clear(&item);
	if (!err)
		err = add_sample(r, &s, &grid, &failure);
	if (err) {
		moe_diag_path(&failure, s.name ? s.name : "");
		moe_sample_clear(&s);
		return err == MOE_AGAIN ? MOE_AGAIN : add_failure(c, &failure, d) ? MOE_ENOMEM : MOE_AGAIN;
	}
	*e = (struct errand){.sample = r->e->sample[r->e->n_samples - 1], .own = true, .bytes = s.picture, .n_bytes = s.n_picture};
	s.picture = NULL;
	moe_sample_clear(&s);
	return pair(r, e, grid, d);
}

/* At the end: the last samples' questions about the first pictures. MOE_END after them. */
static enum moe_err last_errand(struct run *r, struct errand *e)
{
	while (r->next_partner < r->n_partners) {
		struct partner *p = &r->partner[r->next_partner++];
		*e = (struct errand){.sample = p->first, .blind = take_waiting(p, p->first), .bytes = p->picture, .n_bytes = p->n_picture};
		p->picture = NULL;
		if (e->blind)
			return MOE_OK;
		free(e->bytes);
	}
	return MOE_END;
}

static enum moe_err next_errand(struct run *r, struct chunk *c, struct errand *e, struct moe_diag *d)
{
	enum moe_err err = MOE_AGAIN;

	while (err == MOE_AGAIN)
		err = r->o->limit && r->e->n_samples >= r->o->limit ? MOE_END : read_sample(r, c, e, d);
	return err == MOE_END ? last_errand(r, e) : err;
}

static enum moe_err fill_chunk(struct run *r, struct chunk *c, struct moe_diag *d)
{
	enum moe_err err = MOE_OK;

	c->number = r->begun++;
	c->n = 0;
	while (!err && c->n < r->window) {
		err = next_errand(r, c, &c->errand[c->n], d);
		c->n += !err;
	}
	c->asked = r->e->n_samples;
	return err == MOE_END ? MOE_OK : err;
}

/* ---- a thread ---- */

static void add_asks(struct moe_carrier *carrier, const struct moe_asked_sample *s, bool blind)
{
	for (size_t i = 0; i < s->n; i++)
		carrier->ask[carrier->n++] = (struct moe_ask){&s->asked[i], blind};
}

struct worker {
	struct chunk c;
	struct moe_arena scratch;
	struct moe_asker *asker;
	struct moe_decoder *decoder;
};

/* Puts features in the place of the picture, in memory of the sample. */
static enum moe_err keep_features(const struct run *r, struct moe_carrier *c, struct moe_asked_sample *s, struct moe_arena *scratch, struct moe_diag *d)
{
	struct moe_compute work = {scratch, NULL, NULL};
	size_t n;
	float *feature;

	if (!c->picture.rgb)
		return MOE_OK;
	moe_arena_reset(scratch);
	MOE_TRY(moe_picture_encode(r->m, &r->plan, &c->picture, &feature, &s->grid, &work, d));
	free(c->picture.rgb);
	c->picture.rgb = NULL;
	n = s->grid.features * (size_t)r->m->spec->hidden;
	s->feature = moe_calloc(n, sizeof *s->feature);
	if (!s->feature)
		return no_memory(d);
	memcpy(s->feature, feature, n * sizeof *feature);
	c->feature = s->feature;
	c->grid = s->grid;
	return MOE_OK;
}

/* The picture and the questions of an errand; a picture that cannot be decoded costs both the sample and who wanted to look at it. */
static enum moe_err load_carrier(const struct run *r, struct worker *w, const struct errand *e, struct moe_diag *d)
{
	struct chunk *c = &w->c;
	struct moe_carrier *to = &c->carrier[c->n_carriers];
	struct moe_asked_sample *own = e->own ? e->sample : NULL;
	struct moe_diag failure = {0};
	size_t n = own ? own->n : 0;

	*to = (struct moe_carrier){0};
	for (const struct moe_asked_sample *s = e->blind; s; s = s->next)
		n += s->n;
	if (e->bytes && moe_decoder_run(w->decoder, e->bytes, e->n_bytes, &to->picture, &failure)) {
		moe_diag_path(&failure, e->sample->name);
		return own ? add_failure(c, &failure, d) : MOE_OK;
	}
	c->n_carriers++;
	to->ask = moe_calloc(n, sizeof *to->ask);
	if (!to->ask)
		return no_memory(d);
	if (own) {
		add_asks(to, own, false);
		to->label = own->label;
		to->n_labels = own->n_labels;
		to->patches = &own->patches;
	}
	for (const struct moe_asked_sample *s = e->blind; s; s = s->next)
		add_asks(to, s, true);
	return own && r->o->keep ? keep_features(r, to, own, &w->scratch, d) : MOE_OK;
}

static void clear_chunk(struct chunk *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->errand[i].bytes);
	for (size_t i = 0; i < c->n_carriers; i++) {
		free(c->carrier[i].picture.rgb);
		free(c->carrier[i].ask);
	}
	c->n = c->n_carriers = c->n_failures = 0;
}

static void free_load(struct moe_load *load, size_t n)
{
	for (size_t l = 0; load && l < n; l++)
		moe_load_free(&load[l]);
	free(load);
}

static enum moe_err make_load(struct moe_load **out, const struct moe_spec *s, struct moe_diag *d)
{
	*out = calloc((size_t)s->n_layers, sizeof **out);
	if (!*out)
		return no_memory(d);
	for (size_t l = 0; l < (size_t)s->n_layers; l++)
		MOE_TRY(moe_load_init(&(*out)[l], (size_t)s->router.experts, moe_spec_top_k(s, l), d));
	return MOE_OK;
}

static enum moe_err worker_init(struct worker *w, const struct run *r, struct moe_diag *d)
{
	struct moe_decode_options o = moe_decode_from_spec(r->m->spec);

	o.no_sandbox = r->o->no_sandbox;
	w->c.errand = calloc(r->window, sizeof *w->c.errand);
	w->c.carrier = calloc(r->window, sizeof *w->c.carrier);
	if (!w->c.errand || !w->c.carrier)
		return no_memory(d);
	MOE_TRY(moe_decoder_new(&w->decoder, &o, d));
	return moe_asker_new(&w->asker, r->m, &r->plan, r->g, r->o->patch_layer ? r->o->patch_layer : (size_t)r->m->spec->n_layers, d);
}

static void worker_free(struct worker *w, const struct run *r)
{
	clear_chunk(&w->c);
	free(w->c.errand);
	free(w->c.carrier);
	free(w->c.failure);
	free_load(w->c.load, (size_t)r->m->spec->n_layers);
	moe_decoder_free(w->decoder);
	moe_asker_free(w->asker);
	moe_arena_free(&w->scratch);
}

static enum moe_err work_chunk(const struct run *r, struct worker *w, struct moe_diag *d)
{
	free_load(w->c.load, (size_t)r->m->spec->n_layers);
	w->c.load = NULL;
	MOE_TRY(make_load(&w->c.load, r->m->spec, d));
	for (size_t i = 0; i < w->c.n; i++)
		MOE_TRY(load_carrier(r, w, &w->c.errand[i], d));
	return moe_asker_run(w->asker, w->c.carrier, w->c.n_carriers, NULL, w->c.load, d);
}

/* With the lock: waits for the chunks before, then tells of this one. */
static void tell_chunk(struct run *r, struct chunk *c)
{
	while (r->turn != c->number && !r->stopped)
		pthread_cond_wait(&r->turned, &r->lock);
	for (size_t i = 0; i < c->n_failures && !r->stopped; i++) {
		r->e->failed++;
		if (r->o->failed)
			r->o->failed(r->o->self, &c->failure[i]);
	}
	for (size_t l = 0; l < r->e->n_layers && !r->stopped; l++)
		moe_load_join(&r->e->load[l], &c->load[l]);
	if (r->o->progress && !r->stopped)
		r->o->progress(r->o->self, c->asked);
	r->turn++;
	pthread_cond_broadcast(&r->turned);
}

/* With the lock, which is open during the work. */
static enum moe_err work(struct run *r, struct worker *w, struct moe_diag *d)
{
	enum moe_err err = worker_init(w, r, d);

	while (!err && !r->stopped) {
		clear_chunk(&w->c);
		err = fill_chunk(r, &w->c, d);
		if (err || (!w->c.n && !w->c.n_failures))
			break;
		pthread_mutex_unlock(&r->lock);
		err = work_chunk(r, w, d);
		pthread_mutex_lock(&r->lock);
		if (!err)
			tell_chunk(r, &w->c);
	}
	return err;
}

static void *work_thread(void *arg)
{
	struct run *r = arg;
	struct worker w = {0};
	struct moe_diag d = {0};

	pthread_mutex_lock(&r->lock);
	if (work(r, &w, &d)) {
		if (!r->diag.code)
			r->diag = d;
		r->stopped = true;
	}
	pthread_cond_broadcast(&r->turned);
	pthread_mutex_unlock(&r->lock);
	worker_free(&w, r);
	return NULL;
}

static void run_threads(struct run *r)
{
	pthread_t thread[MOST_THREADS];
	unsigned started = 0;

	while (started + 1 < r->o->threads && started < MOST_THREADS && moe_thread_start(&thread[started], work_thread, r))
		started++;
	work_thread(r);
	while (started)
		pthread_join(thread[--started], NULL);
}

enum moe_err moe_evaluate_run(struct moe_evaluation *out, const struct moe_model *m, struct moe_tokenizer *t, const struct moe_generation *g,
			      const struct moe_evaluate_options *o, struct moe_diag *d)
{
	struct run r = {.e = out, .m = m, .t = t, .g = g, .o = o, .window = o->window ? o->window : 24, .lock = PTHREAD_MUTEX_INITIALIZER,
			.turned = PTHREAD_COND_INITIALIZER};

	*out = (struct moe_evaluation){.n_layers = (size_t)m->spec->n_layers};
	MOE_TRY(make_load(&out->load, m->spec, d));
	if (m->spec->tower.kind != MOE_TOWER_NONE)
		MOE_TRY(moe_plan_from_spec(&r.plan, m->spec, NULL, d));
	r.packer = (struct moe_packer){.fit = &r.plan.fit, .tokenizer = t, .pad = moe_tokenizer_find(t, "<pad>", 5)};
	run_threads(&r);
	moe_shard_close(r.shard);
	for (size_t i = 0; i < r.n_partners; i++)
		free(r.partner[i].picture);
	free(r.partner);
	free(r.ids.id);
	if (r.diag.code && d && !d->code)
		*d = r.diag;
	return r.diag.code;
}

void moe_evaluation_free(struct moe_evaluation *e)
{
	for (size_t i = 0; i < e->n_samples; i++) {
		free(e->sample[i]->feature);
		for (size_t k = 0; k < e->sample[i]->n; k++)
			free(e->sample[i]->asked[k].said);
	}
	free(e->sample);
	free_load(e->load, e->n_layers);
	moe_arena_free(&e->memory);
	*e = (struct moe_evaluation){0};
}
