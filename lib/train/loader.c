#include "train/loader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/layer.h"
#include "stage/patchify.h"
#include "sys/thread.h"

enum { PATIENCE = 1000, STREAM_KEY = 77 };

struct moe_loader {
	struct moe_mix *mix;
	struct moe_image_plan plan;
	struct moe_tokenizer *tokenizer;
	struct moe_decoder *decoder;
	struct moe_packer packer;
	struct moe_packer_tokens tokens;
	const struct moe_model *model;  /* that makes image tokens */
	struct moe_arena scratch;
	struct moe_type_weight *weight;
	struct moe_augment augment[MOE_MIX_SOURCES];
	uint64_t seed;
	size_t batch;
	bool others;                    /* pictures are those of the samples before, */
	uint8_t *other;                 /* this one: n_other bytes */
	size_t n_other;
	bool ended;                     /* the mix is */
	struct moe_loaded slot[2], *filled;      /* one is the caller's while the other is filled; filled: for the mix's notes */

	/* The thread, and what it and the caller tell each other, under the lock. */
	bool threaded, asked, done, stop;
	unsigned turn;                  /* the slot that is filled */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t news;
	enum moe_err err;
	struct moe_diag diag;
};

static void note(void *self, const struct moe_diag *d)
{
	struct moe_loaded *b = ((struct moe_loader *)self)->filled;

	b->failed++;
	if (b->n_notes < MOE_LOADED_NOTES)
		b->note[b->n_notes++] = *d;
}

/* The sample's picture for that of the sample before it, which it gets; the first keeps its own. */
static enum moe_err exchange(struct moe_loader *l, struct moe_sample *s, struct moe_diag *d)
{
	uint8_t *picture = s->picture;
	size_t n = s->n_picture;

	if (!picture)
		return MOE_OK;
	s->n_boxes = 0;
	s->labelled = false;
	if (l->other) {
		s->picture = l->other;
		s->n_picture = l->n_other;
	} else {
		s->picture = malloc(n);
		if (!s->picture) {
			s->picture = picture;
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		}
		memcpy(s->picture, picture, n);
	}
	l->other = picture;
	l->n_other = n;
	return MOE_OK;
}

/* The next good sample as the b->n-th of the batch. */
static enum moe_err add_sample(struct moe_loader *l, struct moe_loaded *b, struct moe_diag *d)
{
	for (int tries = 0; tries < PATIENCE; tries++) {
		struct moe_packing *p = &b->packing[b->n];
		struct moe_diag failure = {0};
		struct moe_sample s;
		uint64_t draw;
		size_t source;
		enum moe_err err;
		MOE_TRY(moe_mix_next(l->mix, &s, &source, &draw, d));
		err = l->others ? exchange(l, &s, &failure) : MOE_OK;
		if (!err)
			err = moe_packer_run(p, &l->packer, &s, &l->augment[source], moe_random_u64(l->seed, STREAM_KEY, draw), l->decoder, &failure);
		moe_sample_clear(&s);
		if (!err) {
			b->packed[b->n++] = p->packed;
			return MOE_OK;
		}
		if (err == MOE_EIO) {           /* no fault of the sample's */
			*d = failure;
			return err;
		}
		note(l, &failure);
	}
	return moe_fail(d, MOE_EINPUT, "%d samples in a row are no good; the last: %.200s: %.200s", PATIENCE, b->note[b->n_notes - 1].path, b->note[b->n_notes - 1].text);
}

static enum moe_err fill(struct moe_loader *l, struct moe_loaded *b, struct moe_diag *d)
{
	enum moe_err err = MOE_OK;

	l->filled = b;
	b->n = b->n_notes = 0;
	b->failed = 0;
	while (b->n < l->batch && !l->ended && !err) {
		err = add_sample(l, b, d);
		l->ended = err == MOE_END;
		if (l->ended)
			err = MOE_OK;
	}
	moe_mix_position(l->mix, &b->after);
	return err ? err : b->n ? MOE_OK : MOE_END;
}

static void *work(void *arg)
{
	struct moe_loader *l = arg;

	pthread_mutex_lock(&l->lock);
	while (!l->stop) {
		enum moe_err err;
		if (!l->asked) {
			pthread_cond_wait(&l->news, &l->lock);
			continue;
		}
		l->asked = false;
		pthread_mutex_unlock(&l->lock);
		err = fill(l, &l->slot[l->turn], &l->diag);
		pthread_mutex_lock(&l->lock);
		l->err = err;
		l->done = true;
		pthread_cond_broadcast(&l->news);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

static enum moe_err next_ahead(struct moe_loader *l, struct moe_loaded **out, struct moe_diag *d)
{
	enum moe_err err;

	pthread_mutex_lock(&l->lock);
	while (!l->done)
		pthread_cond_wait(&l->news, &l->lock);
	err = l->err;
	if (!err) {             /* after a failure the same is said again */
		*out = &l->slot[l->turn];
		l->turn ^= 1;
		l->done = false;
		l->asked = true;
		pthread_cond_broadcast(&l->news);
	} else if (err != MOE_END && d && !d->code) {
		*d = l->diag;
	}
	pthread_mutex_unlock(&l->lock);
	return err;
}

enum moe_err moe_loader_next(struct moe_loader *l, const struct moe_loaded **out, struct moe_diag *d)
{
	struct moe_loaded *b = &l->slot[0];
	enum moe_err err = l->threaded ? next_ahead(l, &b, d) : fill(l, b, d);

	*out = b;
	return err;
}

static bool init_slot(struct moe_loaded *b, size_t n)
{
	b->packing = calloc(n, sizeof *b->packing);
	b->packed = calloc(n, sizeof *b->packed);
	return b->packing && b->packed;
}

static enum moe_err make_codes(void *self, const float *planes, size_t rows, size_t columns, int32_t *code, struct moe_diag *d)
{
	struct moe_loader *l = self;
	struct moe_compute work = {.scratch = &l->scratch};

	moe_arena_reset(&l->scratch);
	return moe_codes_forward(l->model, planes, rows, columns, code, &work, d);
}

static enum moe_err init_tokens(struct moe_loader *l, const struct moe_loader_options *o, struct moe_diag *d)
{
	const struct moe_spec *s = o->spec;

	if (!o->model || !s->image_tokens.count)
		return o->draw > 0 ? moe_fail(d, MOE_EUSAGE, "draw: the model has no image tokens, and draws no pictures") : MOE_OK;
	if (o->draw > 0 && moe_tokenizer_find(l->tokenizer, "<" MOE_PACKER_DRAW ">", strlen("<" MOE_PACKER_DRAW ">")) < 0)
		return moe_fail(d, MOE_EUSAGE, "draw: the vocabulary lacks the token <" MOE_PACKER_DRAW "> (vocabulary.tasks in the description of a new model)");
	l->model = o->model;
	l->tokens = (struct moe_packer_tokens){
		.codes = make_codes, .self = l, .first = (int32_t)s->image_tokens.first, .begin = (int32_t)s->image_tokens.begin, .end = (int32_t)s->image_tokens.end,
		.draw = o->draw, .blank = o->blank,
	};
	l->packer.tokens = &l->tokens;
	return MOE_OK;
}

static enum moe_err init_packer(struct moe_loader *l, const struct moe_loader_options *o, struct moe_diag *d)
{
	const struct moe_spec *s = o->spec;
	char fingerprint[33], *json;
	struct moe_decode_options decode = moe_decode_from_spec(s);
	size_t n;

	if (s->tower.kind != MOE_TOWER_NONE && s->image.kind != MOE_IMAGE_FIT)
		return moe_fail(d, MOE_EUSAGE, "the family %s lays pictures on a canvas, for which there is no training", s->family);
	if (s->merge.placeholder >= 0)
		MOE_TRY(moe_plan_from_spec(&l->plan, s, NULL, d));
	MOE_TRY(moe_model_tokenizer(o->directory, &json, &n, fingerprint, d));
	if (moe_tokenizer_load(&l->tokenizer, json, n, d)) {
		free(json);
		return moe_diag_path(d, o->directory);
	}
	free(json);
	decode.no_sandbox = o->mix.shards.no_sandbox;
	MOE_TRY(moe_decoder_new(&l->decoder, &decode, d));
	if (!s->text.eos.n)
		return moe_fail(d, MOE_EUSAGE, "the model has no token for the end of a text");
	l->packer = (struct moe_packer){
		.fit = s->merge.placeholder >= 0 ? &l->plan.fit : NULL, .tokenizer = l->tokenizer, .prompt = s->text.prompt, .eos = (int32_t)s->text.eos.v[0],
		.pad = moe_tokenizer_find(l->tokenizer, "<pad>", 5), .placeholder = (int32_t)s->merge.placeholder, .most_text = o->most_text, .weight = l->weight,
		.n_weights = o->n_weights,
	};
	return init_tokens(l, o, d);
}

static enum moe_err init_weights(struct moe_loader *l, const struct moe_loader_options *o, struct moe_diag *d)
{
	l->weight = calloc(o->n_weights + 1, sizeof *l->weight);
	if (!l->weight)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < o->n_weights; i++) {
		l->weight[i] = (struct moe_type_weight){moe_strdup(o->weight[i].type), o->weight[i].weight};
		if (!l->weight[i].type)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	return MOE_OK;
}

static enum moe_err init(struct moe_loader *l, const struct moe_loader_options *o, struct moe_diag *d)
{
	struct moe_mix_options mix = o->mix;

	l->batch = o->batch;
	l->others = o->others;
	l->seed = mix.seed;
	l->filled = &l->slot[0];
	mix.failed = note;
	mix.self = l;
	if (!init_slot(&l->slot[0], o->batch) || !init_slot(&l->slot[1], o->batch))
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(init_weights(l, o, d));
	MOE_TRY(init_packer(l, o, d));
	MOE_TRY(moe_mix_new(&l->mix, o->source, o->n_sources, &mix, d));
	for (size_t i = 0; o->augment && i < o->n_sources; i++)
		l->augment[i] = o->augment[i];
	if (o->from)
		MOE_TRY(moe_mix_restore(l->mix, o->from, d));
	l->asked = true;
	l->threaded = o->ahead && moe_thread_start(&l->thread, work, l);
	return MOE_OK;
}

enum moe_err moe_loader_new(struct moe_loader **out, const struct moe_loader_options *o, struct moe_diag *d)
{
	struct moe_loader *l = calloc(1, sizeof *l);
	enum moe_err err;

	if (!l)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->news, NULL);
	err = init(l, o, d);
	if (err)
		moe_loader_free(l);
	else
		*out = l;
	return err;
}

static void free_slot(struct moe_loaded *b, size_t n)
{
	for (size_t i = 0; b->packing && i < n; i++)
		moe_packing_free(&b->packing[i]);
	free(b->packing);
	free(b->packed);
}

void moe_loader_free(struct moe_loader *l)
{
	if (!l)
		return;
	if (l->threaded) {
		pthread_mutex_lock(&l->lock);
		l->stop = true;
		pthread_cond_broadcast(&l->news);
		pthread_mutex_unlock(&l->lock);
		pthread_join(l->thread, NULL);
	}
	moe_mix_free(l->mix);
	moe_decoder_free(l->decoder);
	moe_tokenizer_free(l->tokenizer);
	free_slot(&l->slot[0], l->batch);
	free_slot(&l->slot[1], l->batch);
	moe_arena_free(&l->scratch);
	for (size_t i = 0; l->weight && l->weight[i].type; i++)
		free((char *)(uintptr_t)l->weight[i].type);
	free(l->weight);
	free(l->other);
	pthread_cond_destroy(&l->news);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

uint64_t moe_loader_nbytes(const struct moe_spec *s, size_t batch, size_t most_text)
{
	uint64_t pixels = 0;

	for (size_t i = 0; i < s->image.grids.n; i++) {
		uint64_t n = (uint64_t)s->image.grids.v[i][0] * (uint64_t)s->image.grids.v[i][1] * (uint64_t)s->image.patch * (uint64_t)s->image.patch;
		pixels = n > pixels ? n : pixels;
	}
	return 2 * (uint64_t)batch * (pixels * 3 * (sizeof(float) + 1) + most_text * 24 + 4096);
}
