#include "run/batch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "run/exec.h"
#include "sys/thread.h"

enum { MAX_ENGINES = 256 };

/* An answer that waits for those before it. */
struct waiting {
	struct waiting *next;
	uint64_t index;
	struct moe_answer a;
	char *name, *error, *text;
};

struct batch {
	struct moe_batch_run *r;
	pthread_mutex_t lock;
	pthread_cond_t moved;           /* an answer went out, or everything stops */
	uint64_t begun, answered, ahead;        /* jobs given out; answers that went out; how far the former may lead */
	bool exhausted, stopped;
	struct waiting *waiting;        /* by index */
	struct moe_job held;            /* the pictures that the next prompt is asked of, and their name or error */
	struct moe_feature_cache *features;
	struct moe_diag diag;           /* the first failure of any engine */
};

static void free_waiting(struct waiting *w)
{
	free(w->name);
	free(w->error);
	free(w->text);
	free(w->a.ids.id);
	free((void *)(uintptr_t)w->a.token);
	free((void *)(uintptr_t)w->a.best);
	free(w);
}

/* Copies n bytes and a NUL into *to (NULL stays NULL); false without memory. */
static bool copy(char **to, const void *from, size_t n)
{
	*to = from ? malloc(n + 1) : NULL;
	if (*to) {
		memcpy(*to, from, n);
		(*to)[n] = 0;
	}
	return *to || !from;
}

/* The next pictures of the feed; a bad one makes the job an error. */
static enum moe_err hold_pictures(struct batch *b, struct moe_diag *d)
{
	const struct moe_batch_run *r = b->r;
	struct moe_job *job = &b->held;
	char text[700];

	job->picture = calloc(r->n_pictures + 1, sizeof *job->picture);
	if (!job->picture)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < r->n_pictures; i++) {
		struct moe_feed_item item;
		enum moe_err err = moe_feed_next(r->feed, &item, d);
		if (err == MOE_END && i)
			return moe_fail(d, MOE_EINPUT, "the prompt takes %zu pictures at a time; %zu are left over", r->n_pictures, i);
		MOE_TRY(err);
		job->picture[job->n_pictures++] = item.picture;
		item.picture.rgb = NULL;
		bool ok = i || copy(&job->name, item.label, strlen(item.label));
		if (item.failure.code && !job->error) {
			moe_diag_string(&item.failure, text, sizeof text);
			ok &= copy(&job->error, text, strlen(text));
		}
		moe_feed_item_clear(&item);
		if (!ok)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	return MOE_OK;
}

/* A copy of what is held, for all but the last prompt. */
static enum moe_err copy_held(const struct moe_job *held, struct moe_job *job, struct moe_diag *d)
{
	bool ok = copy(&job->name, held->name, held->name ? strlen(held->name) : 0) && copy(&job->error, held->error, held->error ? strlen(held->error) : 0);

	job->picture = calloc(held->n_pictures + 1, sizeof *job->picture);
	for (size_t i = 0; ok && job->picture && i < held->n_pictures; i++) {
		const struct moe_picture *p = &held->picture[i];
		char *rgb;
		ok = copy(&rgb, p->rgb, (size_t)p->width * p->height * 3);
		job->picture[job->n_pictures++] = (struct moe_picture){p->width, p->height, (uint8_t *)rgb};
	}
	return ok && job->picture ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

/* Prompt number begun % n_prompts, asked of the pictures that are held. */
static enum moe_err fill_job(struct batch *b, struct moe_job *job, struct moe_diag *d)
{
	size_t prompt = b->begun % b->r->n_prompts;
	enum moe_err err = MOE_OK;

	if (b->r->feed && !prompt)
		err = hold_pictures(b, d);
	if (!err && prompt + 1 < b->r->n_prompts) {
		err = copy_held(&b->held, job, d);
	} else if (!err) {
		*job = b->held;
		b->held = (struct moe_job){0};
	}
	job->index = b->begun;
	job->prompt = &b->r->prompt[prompt];
	return err;
}

static enum moe_err next_locked(struct batch *b, struct moe_job *job, bool may_wait, struct moe_diag *d)
{
	const struct moe_batch_run *r = b->r;
	enum moe_err err;

	while (!b->stopped && !b->exhausted && b->begun - b->answered >= b->ahead) {
		if (!may_wait)
			return MOE_AGAIN;
		pthread_cond_wait(&b->moved, &b->lock);
	}
	if (b->stopped || b->exhausted || (!r->feed && b->begun == r->n_prompts))
		return MOE_END;
	*job = (struct moe_job){0};
	err = fill_job(b, job, d);
	if (err) {
		moe_job_free(job);
		moe_job_free(&b->held);
		b->exhausted |= err == MOE_END;
		return err;
	}
	b->begun++;
	return MOE_OK;
}

static enum moe_err next(void *self, struct moe_job *job, bool may_wait, struct moe_diag *d)
{
	struct batch *b = self;
	enum moe_err err;

	pthread_mutex_lock(&b->lock);
	err = next_locked(b, job, may_wait, d);
	pthread_mutex_unlock(&b->lock);
	return err;
}

static enum moe_err keep_answer(struct batch *b, uint64_t index, const struct moe_answer *a, struct moe_diag *d)
{
	struct waiting *w = calloc(1, sizeof *w), **at = &b->waiting;
	char *ids = NULL, *token = NULL, *best = NULL;
	bool ok;

	if (!w)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	ok = copy(&w->name, a->name, a->name ? strlen(a->name) : 0) && copy(&w->error, a->error, a->error ? strlen(a->error) : 0) &&
	     copy(&w->text, a->text, a->n_text) && copy(&ids, a->ids.id, a->ids.n * sizeof *a->ids.id) &&
	     copy(&token, a->token, a->ids.n * sizeof *a->token) && copy(&best, a->token ? a->best : NULL, a->ids.n * a->n_best * sizeof *a->best);
	w->index = index;
	w->a = *a;
	w->a.name = w->name;
	w->a.error = w->error;
	w->a.text = w->text;
	w->a.ids.id = (int32_t *)(void *)ids;
	w->a.token = (const struct moe_choice *)(void *)token;
	w->a.best = (const struct moe_choice *)(void *)best;
	if (!ok) {
		free_waiting(w);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	while (*at && (*at)->index < index)
		at = &(*at)->next;
	w->next = *at;
	*at = w;
	return MOE_OK;
}

static enum moe_err give_answers(struct batch *b, struct moe_diag *d)
{
	while (b->waiting && b->waiting->index == b->answered) {
		struct waiting *w = b->waiting;
		enum moe_err err = b->r->answer(b->r->to, &w->a, d);
		b->waiting = w->next;
		b->answered++;
		free_waiting(w);
		pthread_cond_broadcast(&b->moved);
		MOE_TRY(err);
	}
	return MOE_OK;
}

static enum moe_err answer(void *self, uint64_t index, const struct moe_answer *a, struct moe_diag *d)
{
	struct batch *b = self;
	enum moe_err err;

	for (size_t i = 0; i < b->r->n_exec && !a->error; i++)          /* with commands, one batch is computed at a time: they need no lock */
		MOE_TRY(moe_exec_drop(b->r->exec[i], index, d));
	pthread_mutex_lock(&b->lock);
	err = b->r->tracing ? moe_tracing_over(b->r->tracing, index, d) : MOE_OK;
	if (!err)
		err = keep_answer(b, index, a, d);
	if (!err)
		err = give_answers(b, d);
	pthread_mutex_unlock(&b->lock);
	return err;
}

static enum moe_err partial(void *self, uint64_t index, const char *text, size_t n, struct moe_diag *d)
{
	const struct batch *b = self;

	return b->r->partial(b->r->to, index, text, n, d);
}

static enum moe_err trace(struct batch *b, const struct moe_pass *p, struct moe_diag *d)
{
	for (size_t i = 0; i < p->batch.spans; i++) {
		const struct moe_span *s = &p->batch.span[i];
		if (p->sequence[i].shadow)
			continue;
		struct moe_trace_rows r = {.seq = p->sequence[i].index, .name = p->sequence[i].name, .step = p->sequence[i].step, .token = p->token + s->first,
					   .image = p->batch.image + s->first, .patch = p->patch + s->first, .modality = p->modality + s->first};
		MOE_TRY(moe_tracing_span(b->r->tracing, p->layer, &p->batch, s, &p->routed, &r, d));
	}
	return MOE_OK;
}

static enum moe_err watch(void *self, const struct moe_pass *p, struct moe_diag *d)
{
	struct batch *b = self;
	enum moe_err err = MOE_OK;

	pthread_mutex_lock(&b->lock);
	if (b->r->watch)
		b->r->watch(b->r->watcher, p->layer, p);
	if (b->r->tracing)
		err = trace(b, p, d);
	pthread_mutex_unlock(&b->lock);
	return err;
}

static enum moe_err replace(void *self, struct moe_pass *p, enum moe_pass_step step, bool *done, struct moe_diag *d)
{
	const struct batch *b = self;

	for (size_t i = 0; i < b->r->n_exec && !*done; i++)
		MOE_TRY(moe_exec_step(b->r->exec[i], p, step, done, d));
	return MOE_OK;
}

static void run_engine(struct batch *b, struct moe_pool *pool)
{
	const struct moe_batch_run *r = b->r;
	struct moe_engine e = {
		.model = r->model, .generation = r->generation, .pool = pool, .window = r->window, .groups = r->groups,
		.image = r->image, .what_if = r->what_if, .against = r->against, .guidance = r->guidance, .features = b->features,
		.given = r->given, .partial = r->partial ? partial : NULL,
		.next = next, .answer = answer, .watch = r->watch || r->tracing ? watch : NULL, .replace = r->n_exec ? replace : NULL, .self = b,
	};
	struct moe_diag d = {0};

	if (moe_engine_run(&e, &d)) {
		pthread_mutex_lock(&b->lock);
		if (!b->diag.code)
			b->diag = d;
		b->stopped = true;
		pthread_cond_broadcast(&b->moved);
		pthread_mutex_unlock(&b->lock);
	}
}

static void *engine_thread(void *arg)
{
	run_engine(arg, NULL);
	return NULL;
}

/* The engines: the caller is one of them. Threads that cannot be started are done without. */
static void run_engines(struct batch *b, unsigned n)
{
	pthread_t thread[MAX_ENGINES];
	unsigned started = 0;

	while (started + 1 < n && started < MAX_ENGINES && moe_thread_start(&thread[started], engine_thread, b))
		started++;
	run_engine(b, n > 1 ? NULL : b->r->pool);
	while (started)
		pthread_join(thread[--started], NULL);
}

enum moe_err moe_batch_run_exec(struct moe_batch_run *r, const char *text, double timeout, struct moe_diag *d)
{
	if (r->n_exec == MOE_MAX_EXEC)
		return moe_fail(d, MOE_EUSAGE, "more than %d commands", MOE_MAX_EXEC);
	MOE_TRY(moe_exec_start(&r->exec[r->n_exec], text, timeout, r->model, d));
	r->n_exec++;
	return MOE_OK;
}

enum moe_err moe_batch_run(struct moe_batch_run *r, struct moe_diag *d)
{
	bool alone = r->single || (!r->feed && r->n_prompts == 1) || r->n_exec || r->groups;
	struct batch b = {.r = r, .ahead = 4 * (uint64_t)r->threads * r->window, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
	enum moe_err err;

	if (r->groups && r->n_exec)
		return moe_fail(d, MOE_EUSAGE, "commands get one sequence at a time, a choice over a batch needs all");
	if (r->n_prompts > 1 && r->feed && r->cache_nbytes)
		MOE_TRY(moe_feature_cache_new(&b.features, r->cache_nbytes, d));
	run_engines(&b, alone ? 1 : r->threads);
	moe_job_free(&b.held);
	moe_feature_cache_free(b.features);
	while (b.waiting) {
		struct waiting *w = b.waiting;
		b.waiting = w->next;
		free_waiting(w);
	}
	if (b.diag.code && d && !d->code)
		*d = b.diag;
	err = b.diag.code;
	while (r->n_exec) {
		enum moe_err stopped = moe_exec_stop(r->exec[--r->n_exec], err != MOE_OK, err ? NULL : d);
		err = err ? err : stopped;
	}
	return err;
}
