/* tests/golden/run [-c MASK] [-f FAMILIES] DIR...: compares this library with references, whatever the folder holds:
 *
 *   cases.json, cases/NAME.safetensors, model/   every case's prompt, pictures, tower, hidden states, router logits, experts, weights, logits and
 *                                                greedy continuation, stage by stage
 *   tokenizer.json, cases.jsonl, decode.jsonl    ids and texts
 *   decoded.json, resize_sha.json, aria.json     decoding, resizing, canvases
 *   cases.json that lists safetensors files      which are taken, and what is in them
 *   NAME.gguf, NAME.safetensors                  a model in one file: tokens, router logits, logits and greedy continuation, and logits in `fast`
 *   blocks.safetensors                           the values of block types, bit for bit
 *   NN-NAME/case.json, input, want.safetensors   layers of every routing method, forward and backward
 *   train.json, init, batches, grad.safetensors  losses and gradients of training, and weights after steps of its optimisers
 *
 * Prints how much was compared and the largest relative difference of every stage. Exit 1: something differs; 2: nothing recognised. */
#include <glob.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "golden.h"
#include "image/feed.h"
#include "io/map.h"
#include "model/layer.h"
#include "model/math.h"
#include "model/merge.h"
#include "nn/sample.h"
#include "stage/encode.h"
#include "stage/patchify.h"
#include "stage/prompt_text.h"
#include "stage/reply.h"
#include "sys/cpu.h"

/* Rounding: root mean square of the difference, and the largest single difference, both over the root mean square of the reference. */
static const double rms_limit = 2e-5, largest_limit = 2e-5;

enum { MAX_STAGES = 64 };

/* One line of the report. */
static struct stage {
	char name[32];
	unsigned long compared, bad;
	double rms, largest;
} stages[MAX_STAGES];

static const char *families;

static struct stage *stage(const char *name)
{
	int i = 0;

	while (i < MAX_STAGES - 1 && stages[i].name[0] && strcmp(stages[i].name, name))
		i++;
	snprintf(stages[i].name, sizeof stages[i].name, "%s", name);
	return &stages[i];
}

struct golden_case {
	const char *name;
	struct moe_header h;
	struct moe_map *map;
	json_t *json;
};

static const struct moe_tensor *find(const struct golden_case *c, const char *name)
{
	for (size_t i = 0; i < c->h.n_tensors; i++)
		if (!strcmp(c->h.tensor[i].name, name))
			return &c->h.tensor[i];
	return NULL;
}

static void complain(const struct golden_case *c, const char *tensor, const char *what, double a, double b, size_t at)
{
	printf("FAIL %s %s: %s: %.9g, reference %.9g at element %zu\n", c->name, tensor, what, a, b, at);
}

/* Compares n floats with those of a reference tensor from element `first` on (absent: nothing to do). */
static void compare_part(const struct golden_case *c, const char *label, const char *tensor, const float *have, size_t first, size_t n)
{
	const struct moe_tensor *t = find(c, tensor);
	struct stage *s = stage(label);
	double squares = 0, reference = 0, largest = 0;
	float *want;
	size_t at = 0;

	if (!t)
		return;
	s->compared++;
	want = malloc((n + 1) * sizeof *want);
	if (moe_tensor_count(t) < first + n || !moe_widen(want, t->data + first * moe_dtype_nbits(t->type) / 8, n, t->type)) {
		s->bad++;
		complain(c, tensor, "elements", (double)(first + n), (double)moe_tensor_count(t), 0);
		free(want);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		double gap = fabs((double)have[i] - (double)want[i]);
		squares += gap * gap;
		reference += (double)want[i] * (double)want[i];
		if (!(gap <= largest)) {
			largest = gap;
			at = i;
		}
	}
	reference = sqrt(reference / (double)n) + 1e-30;
	squares = sqrt(squares / (double)n) / reference;
	if (!(squares <= rms_limit) || !(largest / reference <= largest_limit)) {
		s->bad++;
		complain(c, tensor, "differs", have[at], want[at], first + at);
	}
	s->rms = squares > s->rms ? squares : s->rms;
	s->largest = largest / reference > s->largest ? largest / reference : s->largest;
	free(want);
}

/* Compares n floats with a whole reference tensor. */
static void compare(const struct golden_case *c, const char *label, const char *tensor, const float *have, size_t n)
{
	const struct moe_tensor *t = find(c, tensor);

	if (t && moe_tensor_count(t) != n) {
		stage(label)->compared++;
		stage(label)->bad++;
		complain(c, tensor, "elements", (double)n, (double)moe_tensor_count(t), 0);
		return;
	}
	compare_part(c, label, tensor, have, 0, n);
}

static void compare_ints(const struct golden_case *c, const char *label, const char *tensor, const int32_t *have, size_t n)
{
	const struct moe_tensor *t = find(c, tensor);
	struct stage *s = stage(label);
	bool bad;

	if (!t)
		return;
	s->compared++;
	bad = t->type != MOE_I32 || moe_tensor_count(t) != n;
	if (bad)
		complain(c, tensor, "elements", (double)n, (double)moe_tensor_count(t), 0);
	for (size_t i = 0; i < n && !bad; i++) {
		int32_t want;
		memcpy(&want, t->data + i * 4, 4);
		if (want != have[i]) {
			bad = true;
			complain(c, tensor, "differs", have[i], want, i);
		}
	}
	s->bad += bad;
}

static void fatal(const struct moe_diag *d)
{
	char text[800];

	printf("FAIL %s\n", moe_diag_string(d, text, sizeof text));
	exit(1);
}

static void check(enum moe_err err, const struct moe_diag *d)
{
	if (err)
		fatal(d);
}

/* The prompt of the case as ids, placeholders not expanded; the generated answer is part of the reference's tokens. */
static void prompt_ids(const struct golden_case *c, const struct moe_model *m, struct moe_tokenizer *t, struct moe_ids *ids)
{
	const char *text = json_string_value(json_object_get(c->json, "prompt"));
	const struct moe_tensor *token = find(c, "token");
	struct moe_diag d = {0};
	size_t n, expanded = 0;

	check(moe_prompt_encode(t, m->spec, &(struct moe_prompt_form){0}, text, strlen(text), ids, &d), &d);
	stage("prompt ids")->compared++;
	n = ids->n;
	for (size_t i = 0; token && i < moe_tensor_count(token); i++) {
		int32_t id, before = -1;
		memcpy(&id, token->data + 4 * i, 4);
		if (i)
			memcpy(&before, token->data + 4 * i - 4, 4);
		if (m->spec->merge.placeholder >= 0 && id == m->spec->merge.placeholder && before == id)
			continue;
		if (expanded < n && ids->id[expanded] != id) {
			stage("prompt ids")->bad++;
			complain(c, "token", "the prompt's id differs", ids->id[expanded], id, i);
			return;
		}
		if (expanded++ >= n) {
			check(moe_grow(&ids->id, &ids->cap, ids->n + 1, sizeof *ids->id, &d), &d);
			ids->id[ids->n++] = id;
		}
	}
}

/* Pictures of a case, for all of them together. */
struct pictures {
	float *feature[16];
	struct moe_patch_grid grid[16];
	int32_t valid[32];
	size_t n;
};

static void read_picture(struct moe_feed_item *item, const struct moe_spec *s, const char *directory, const char *path)
{
	struct moe_feed_options o = {.decode = moe_decode_from_spec(s)};
	struct moe_feed *feed;
	struct moe_diag d = {0};
	char *full;

	if (asprintf(&full, "%s/%s", directory, path) < 0)
		exit(2);
	check(moe_feed_new(&feed, &o, &d), &d);
	check(moe_feed_add(feed, full, &d), &d);
	check(moe_feed_next(feed, item, &d), &d);
	check(item->failure.code, &item->failure);
	moe_feed_free(feed);
	free(full);
}

/* A model with a convolution stem: pixels as planes, and what comes out of it. */
static void compare_stem(const struct golden_case *c, const struct moe_model *m, const struct moe_patches *p, const float *feature, struct moe_arena *a)
{
	uint32_t side = (uint32_t)m->spec->image.patch;
	size_t n = (size_t)p->rows * p->columns;
	float *planes = moe_arena_get(a, n * side * side * 3, sizeof *planes);

	moe_planes_from_patches(planes, p->pixel, &(struct moe_patching){p->rows, p->columns, 3, side, side});
	compare(c, "pixels", "pixel_values", planes, n * side * side * 3);
	compare(c, "tower", "stem", feature, n * (size_t)m->spec->hidden);
}

/* The tower of a vision transformer, at the patches that the reference keeps and the picture has: it leaves padding out. */
static void compare_tower(const struct golden_case *c, const struct moe_model *m, size_t i, const struct moe_patches *p, const struct moe_compute *work)
{
	size_t hidden = (size_t)m->spec->tower.vit.hidden, n = (size_t)p->rows * p->columns, side = p->rows > p->columns ? p->rows : p->columns;
	const struct moe_tensor *index = find(c, "patch_index");
	float *x = moe_arena_get(work->scratch, n * hidden, sizeof *x);
	struct moe_diag d = {0};

	if (!index)
		return;
	for (int after = 0; after < 2; after++) {
		if (after)
			check(moe_vit_forward(x, n, &m->spec->tower.vit, &m->vit, work, &d), &d);
		else
			moe_vit_embed(x, p->pixel, p->rows, p->columns, &m->spec->tower.vit, &m->vit, NULL);
		for (uint64_t j = 0; j < index->shape[0]; j++) {
			int32_t at;
			memcpy(&at, index->data + 4 * j, 4);
			if ((size_t)at % side < p->columns && (size_t)at / side < p->rows)
				compare_part(c, after ? "vision" : "vision embed", after ? "vision" : "vision_embed", x + ((size_t)at / side * p->columns + (size_t)at % side) * hidden,
					     (i * index->shape[0] + j) * hidden, hidden);
		}
	}
}

/* The u8 pixels on their canvas: where the picture is, they are those of the reference; elsewhere the reference has 0. */
static void compare_pixels(const struct golden_case *c, const struct moe_image_plan *plan, size_t i, const struct moe_patches *p)
{
	const struct moe_tensor *t = find(c, "pixel_u8");
	size_t size = plan->canvas.size, patch = plan->canvas.patch, plane = size * size;
	struct stage *s = stage("pixels");

	if (!t)
		return;
	s->compared++;
	for (size_t y = 0; y < p->rows * patch; y++)
		for (size_t x = 0; x < p->columns * patch; x++)
			for (size_t ch = 0; ch < 3; ch++) {
				uint8_t want = t->data[(i * 3 + ch) * plane + y * size + x];
				float have = p->pixel[((y / patch * p->columns + x / patch) * 3 + ch) * patch * patch + y % patch * patch + x % patch];
				if (have == plan->canvas.value[ch][want])
					continue;
				s->bad++;
				complain(c, "pixel_u8", "differs", have, plan->canvas.value[ch][want], y * size + x);
				return;
			}
}

/* One picture of the case: its pixels and what the tower makes of them are compared, its features kept. */
static void see(const struct golden_case *c, const struct moe_model *m, const struct moe_image_plan *plan, const char *directory, const char *path,
		struct pictures *to, struct moe_compute *work)
{
	size_t i = to->n++;
	struct moe_feed_item item;
	struct moe_crops crops;
	struct moe_patches p;
	struct moe_diag d = {0};

	read_picture(&item, m->spec, directory, path);
	check(moe_picture_encode(m, plan, &item.picture, &to->feature[i], &to->grid[i], work, &d), &d);
	check(moe_crops_open(&crops, plan, &item.picture, &d), &d);
	check(moe_crops_next(&crops, &p, work->scratch, &d), &d);
	to->valid[2 * i] = (int32_t)p.height;
	to->valid[2 * i + 1] = (int32_t)p.width;
	if (plan->on_canvas) {
		compare_pixels(c, plan, i, &p);
		compare_tower(c, m, i, &p, work);
		compare_part(c, "features", "features", to->feature[i], i * to->grid[i].features * (size_t)m->spec->hidden, to->grid[i].features * (size_t)m->spec->hidden);
	} else {
		compare_stem(c, m, &p, to->feature[i], work->scratch);
	}
	moe_crops_close(&crops);
	moe_feed_item_clear(&item);
}

struct session {
	const struct moe_model *m;
	struct moe_cache *cache;
	struct moe_compute compute;
	struct moe_layout layout;
	float *x;
	size_t slots;
};

static void embed(struct session *s, float **feature, const struct moe_patch_grid *grid)
{
	size_t hidden = (size_t)s->m->spec->hidden;
	struct moe_diag d = {0};

	s->x = moe_arena_get(s->compute.scratch, s->layout.rows * hidden, sizeof *s->x);
	for (size_t r = 0; r < s->layout.rows; r++) {
		int32_t image = s->layout.image[r];
		if (image < 0)
			check(moe_embed_forward(s->m, s->layout.token + r, 1, s->x + r * hidden, &d), &d);
		else if (s->layout.patch[r] == 0)
			moe_place_forward(s->m, feature[image], &grid[image], s->x + r * hidden);
	}
}

/* Compares rows of `width` floats; where the reference keeps some rows only (tensor "row"), those. */
static void compare_rows(const struct golden_case *c, const char *label, const char *tensor, const float *have, size_t rows, size_t width)
{
	const struct moe_tensor *row = find(c, "row");
	float *kept;

	if (!row || row->shape[0] == rows) {
		compare(c, label, tensor, have, rows * width);
		return;
	}
	kept = malloc(row->shape[0] * width * sizeof *kept);
	for (uint64_t i = 0; i < row->shape[0]; i++) {
		int32_t r;
		memcpy(&r, row->data + 4 * i, 4);
		memcpy(kept + i * width, have + (size_t)r * width, width * sizeof *kept);
	}
	compare(c, label, tensor, kept, row->shape[0] * width);
	free(kept);
}

static void compare_routing(const struct golden_case *c, const struct moe_spec *s, size_t l, size_t rows, const struct moe_routed *r)
{
	const struct moe_tensor *row = find(c, "row");
	size_t k = r->top_k, n = row ? row->shape[0] : rows;
	int32_t *id = malloc((n * k + 1) * sizeof *id);
	char name[40];

	snprintf(name, sizeof name, "%zu.router_logit", l);
	compare_rows(c, "router logits", name, r->logit, rows, (size_t)s->router.experts);
	for (size_t i = 0; i < n; i++) {
		int32_t at = (int32_t)i;
		if (row)
			memcpy(&at, row->data + 4 * i, 4);
		memcpy(id + i * k, r->expert_id + (size_t)at * k, k * sizeof *id);
	}
	snprintf(name, sizeof name, "%zu.expert_id", l);
	compare_ints(c, "experts", name, id, n * k);
	snprintf(name, sizeof name, "%zu.weight", l);
	compare_rows(c, "weights", name, r->weight, rows, k);
	free(id);
}

/* What the shared experts alone make of the rows: a layer without choices, on zeros. */
static void compare_shared(const struct golden_case *c, struct session *s, size_t l, const struct moe_batch *b, const struct moe_routed *r)
{
	struct moe_span span = *b->span;
	struct moe_batch alone = *b;
	struct moe_diag d = {0};
	char name[40];

	snprintf(name, sizeof name, "%zu.shared", l);
	if (!find(c, name))
		return;
	span.x = moe_arena_zero(s->compute.scratch, b->rows * b->hidden, sizeof(float));
	alone.span = &span;
	check(moe_experts_forward(&alone, r->normed, NULL, NULL, 0, &s->m->layer[l].ffn, 0, &s->compute, &d), &d);
	compare_rows(c, "shared experts", name, span.x, b->rows, b->hidden);
}

/* All layers over the session's rows; with a case, every stage is compared. */
static void layers(struct session *s, const struct golden_case *c)
{
	size_t rows = s->layout.rows, hidden = (size_t)s->m->spec->hidden;
	struct moe_span span = {.n = rows, .x = s->x, .start = (uint32_t)s->slots, .cache = s->cache};
	struct moe_batch b = {.rows = rows, .hidden = hidden, .axes = s->layout.axes, .position = s->layout.position, .image = s->layout.image,
			      .span = &span, .spans = 1};
	struct moe_diag d = {0};
	char name[40];

	for (size_t l = 0; l < (size_t)s->m->spec->n_layers; l++) {
		struct moe_routed r;
		check(moe_layer_attend(s->m, l, &b, &s->compute, &d), &d);
		snprintf(name, sizeof name, "%zu.attend", l);
		if (c)
			compare_rows(c, "attend", name, s->x, rows, hidden);
		check(moe_layer_route(s->m, l, &b, NULL, &r, &s->compute, &d), &d);
		if (c && r.top_k)
			compare_routing(c, s->m->spec, l, rows, &r);
		if (c)
			compare_shared(c, s, l, &b, &r);
		check(moe_layer_expert(s->m, l, &b, &r, &s->compute, &d), &d);
		snprintf(name, sizeof name, "%zu.expert", l);
		if (c)
			compare_rows(c, "expert", name, s->x, rows, hidden);
	}
	s->slots += rows;
}

static void compare_head(struct session *s, const struct golden_case *c)
{
	size_t rows = s->layout.rows, hidden = (size_t)s->m->spec->hidden, v = (size_t)s->m->spec->vocab;
	const struct moe_tensor *last = find(c, "logit_last"), *logprob = find(c, "logprob");
	float *logit = moe_arena_get(s->compute.scratch, rows * v, sizeof *logit), *norm = moe_arena_get(s->compute.scratch, rows * hidden, sizeof *norm);
	float *scratch = moe_arena_get(s->compute.scratch, v, sizeof *scratch), *lp = moe_arena_get(s->compute.scratch, rows, sizeof *lp);
	int32_t *best = moe_arena_get(s->compute.scratch, rows, sizeof *best);
	struct moe_diag d = {0};

	moe_norm_forward(norm, hidden, s->x, hidden, &s->m->final_norm, rows, hidden, (float)s->m->spec->norm_eps);
	compare_rows(c, "norm", "norm", norm, rows, hidden);
	check(moe_head_forward(s->m, s->x, rows, logit, &s->compute, &d), &d);
	compare(c, "logits", "logits", logit, rows * v);
	if (last && last->shape[0] <= rows)
		compare(c, "logits", "logit_last", logit + (rows - last->shape[0]) * v, last->shape[0] * v);
	for (size_t r = 0; r < rows; r++) {
		struct moe_choice choice;
		check(moe_choose_greedy(logit + r * v, v, NULL, scratch, &choice, &d), &d);
		best[r] = choice.token;
		if (r + 1 < rows)
			lp[r] = logit[r * v + (size_t)s->layout.token[r + 1]] - logit[r * v + (size_t)choice.token] + choice.logprob;
	}
	compare_ints(c, "argmax", "argmax", best, rows);
	if (logprob)
		compare(c, "log-probabilities", "logprob", lp, rows - 1);
}

/* Greedy continuation token by token, against the reference's. */
static void generate(struct session *s, const struct golden_case *c, const struct moe_ids *prompt, size_t n_prompt, float **feature,
		     const struct moe_patch_grid *grid)
{
	const struct moe_tensor *want = find(c, "generated");
	size_t v = (size_t)s->m->spec->vocab, hidden = (size_t)s->m->spec->hidden, n = 0, n_want = want ? moe_tensor_count(want) : 0;
	int32_t *out = calloc(n_want + 1, sizeof *out), next;
	struct moe_generation g = {.spec = s->m->spec};
	struct moe_diag d = {0};

	check(moe_generation_init(&g, &d), &d);
	check(moe_layout_make(&s->layout, s->m->spec, prompt->id, n_prompt, grid, moe_first_position(s->m->spec), s->compute.scratch, &d), &d);
	embed(s, feature, grid);
	for (; n < n_want; n++) {
		float *logit = moe_arena_get(s->compute.scratch, v, sizeof *logit), *scratch = moe_arena_get(s->compute.scratch, v, sizeof *scratch);
		struct moe_choice choice;
		layers(s, NULL);
		check(moe_head_forward(s->m, s->x + (s->layout.rows - 1) * hidden, 1, logit, &s->compute, &d), &d);
		check(moe_choose_greedy(logit, v, g.suppress, scratch, &choice, &d), &d);
		next = out[n] = choice.token;
		check(moe_layout_make(&s->layout, s->m->spec, &next, 1, NULL, s->layout.next, s->compute.scratch, &d), &d);
		embed(s, NULL, NULL);
	}
	compare_ints(c, "generated", "generated", out, n_want);
	moe_generation_free(&g);
	free(out);
}

static void clear_cache(struct session *s)
{
	for (int64_t l = 0; l < s->m->spec->n_layers; l++)
		moe_cache_clear(&s->cache[l], s->compute.blocks);
	s->slots = 0;
}

static void run_case(struct golden_case *c, const struct moe_model *m, struct moe_tokenizer *t, const char *directory)
{
	struct moe_arena scratch = {0};
	struct moe_cache_pool blocks = {.kv_heads = (size_t)m->spec->attention.kv_heads, .dim = (size_t)m->spec->attention.head_dim};
	struct session s = {.m = m, .cache = calloc((size_t)m->spec->n_layers, sizeof *s.cache), .compute = {&scratch, NULL, &blocks}};
	json_t *images = json_object_get(c->json, "images");
	struct moe_image_choice choice = {.size = json_integer_value(json_object_get(c->json, "max_image_size"))};
	struct moe_image_plan plan;
	struct pictures p = {0};
	struct moe_ids ids = {0};
	struct moe_diag d = {0};
	const char *text = json_string_value(json_object_get(c->json, "prompt"));
	struct moe_ids prompt = {0};

	prompt_ids(c, m, t, &ids);
	if (json_array_size(images))
		check(moe_plan_from_spec(&plan, m->spec, &choice, &d), &d);
	for (size_t i = 0; i < json_array_size(images) && i < 16; i++)
		see(c, m, &plan, directory, json_string_value(json_array_get(images, i)), &p, &s.compute);
	if (p.n)
		compare_ints(c, "pixels", "pixel_valid", p.valid, 2 * p.n);
	check(moe_layout_make(&s.layout, m->spec, ids.id, ids.n, p.n ? p.grid : NULL, moe_first_position(m->spec), &scratch, &d), &d);
	compare_ints(c, "tokens", "token", s.layout.token, s.layout.rows);
	embed(&s, p.feature, p.grid);
	compare_rows(c, "embed", "hidden.embed", s.x, s.layout.rows, (size_t)m->spec->hidden);
	layers(&s, c);
	compare_head(&s, c);
	clear_cache(&s);
	check(moe_prompt_encode(t, m->spec, &(struct moe_prompt_form){0}, text, strlen(text), &prompt, &d), &d);
	generate(&s, c, &prompt, prompt.n, p.feature, p.n ? p.grid : NULL);
	for (int64_t l = 0; l < m->spec->n_layers; l++)
		moe_cache_free(&s.cache[l], &blocks);
	moe_cache_pool_free(&blocks);
	free(s.cache);
	free(ids.id);
	free(prompt.id);
	moe_arena_free(&scratch);
}

static struct moe_tokenizer *load_tokenizer(const char *directory)
{
	struct moe_diag d = {0};
	struct moe_tokenizer *t;
	char *json, fingerprint[33];
	size_t n;

	check(moe_model_tokenizer(directory, &json, &n, fingerprint, &d), &d);
	check(moe_tokenizer_load(&t, json, n, &d), &d);
	free(json);
	return t;
}

/* A directory with a model and cases; false when it is not one. */
static bool run_model(const char *directory)
{
	char path[4096], model[4096];
	json_t *cases;
	struct moe_model *m;
	struct moe_tokenizer *t;
	struct moe_diag d = {0};

	snprintf(path, sizeof path, "%s/cases.json", directory);
	snprintf(model, sizeof model, "%s/model", directory);
	cases = json_load_file(path, 0, NULL);
	if (!json_is_array(cases) || access(model, F_OK)) {
		json_decref(cases);
		return false;
	}
	check(moe_model_open(&m, &(struct moe_spec_options){.directory = model, .families = families}, &d), &d);
	t = load_tokenizer(model);
	for (size_t i = 0; i < json_array_size(cases); i++) {
		struct golden_case c = {.json = json_array_get(cases, i)};
		c.name = json_string_value(json_object_get(c.json, "name"));
		snprintf(path, sizeof path, "%s/cases/%s.safetensors", directory, c.name);
		check(moe_map_open(&c.map, path, &d), &d);
		check(moe_safetensors_parse(&c.h, c.map->bytes, c.map->nbytes, &d), &d);
		run_case(&c, m, t, directory);
		moe_header_free(&c.h);
		moe_map_close(c.map);
	}
	moe_tokenizer_free(t);
	moe_model_close(m);
	json_decref(cases);
	return true;
}

static double cosine(const float *x, const float *y, size_t n)
{
	double dot = 0, a = 0, b = 0;

	for (size_t i = 0; i < n; i++) {
		dot += (double)x[i] * y[i];
		a += (double)x[i] * x[i];
		b += (double)y[i] * y[i];
	}
	return dot / sqrt(a * b);
}

/* The best token, and by how much it leads. */
static size_t best_of(const float *x, size_t n, float *lead)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++)
		best = x[i] > x[best] ? i : best;
	*lead = INFINITY;
	for (size_t i = 0; i < n; i++)
		*lead = i != best && x[best] - x[i] < *lead ? x[best] - x[i] : *lead;
	return best;
}

/* Logits of the arithmetic `fast` beside the reference's: the angle between all of them, and the best token of each row where the reference's leads by
 * more than 0.1. A product's rounding of x is 0.53 % of it, whatever the weights' type; what is left of that at the end is the model's. */
static void compare_fast(const struct golden_case *c, const float *have, const float *want, size_t rows, size_t vocab)
{
	struct stage *s = stage("logits, fast");
	double angle = cosine(have, want, rows * vocab);

	s->compared++;
	s->largest = fmax(s->largest, 1 - angle);
	if (!(angle >= 0.9995)) {
		s->bad++;
		complain(c, "logits", "fast: cosine", angle, 1, 0);
	}
	for (size_t r = 0; r < rows; r++) {
		float lead, other;
		size_t best = best_of(want + r * vocab, vocab, &lead), mine = best_of(have + r * vocab, vocab, &other);
		if (best != mine && lead > 0.1f) {
			s->bad++;
			complain(c, "logits", "fast: the best token", (double)mine, (double)best, r);
		}
	}
}

static void run_fast(const struct golden_case *c, struct moe_model *m, const int32_t *id, size_t n)
{
	struct moe_arena scratch = {0};
	struct moe_cache_pool blocks = {.kv_heads = (size_t)m->spec->attention.kv_heads, .dim = (size_t)m->spec->attention.head_dim};
	struct session s = {.m = m, .cache = calloc((size_t)m->spec->n_layers, sizeof *s.cache), .compute = {&scratch, NULL, &blocks}};
	const struct moe_tensor *want = find(c, "logits");
	size_t vocab = (size_t)m->spec->vocab;
	float *logit = calloc(n * vocab, sizeof *logit);
	struct moe_math_range whole = moe_math_whole(m);
	struct moe_diag d = {0};

	check(moe_model_use_math(m, MOE_MATH_FAST, &whole, NULL, &d), &d);
	check(moe_layout_make(&s.layout, m->spec, id, n, NULL, moe_first_position(m->spec), &scratch, &d), &d);
	embed(&s, NULL, NULL);
	layers(&s, NULL);
	check(moe_head_forward(m, s.x, n, logit, &s.compute, &d), &d);
	if (want)
		compare_fast(c, logit, (const float *)(const void *)want->data, n, vocab);
	clear_cache(&s);
	for (int64_t l = 0; l < m->spec->n_layers; l++)
		moe_cache_free(&s.cache[l], &blocks);
	moe_cache_pool_free(&blocks);
	free(s.cache);
	free(logit);
	moe_arena_free(&scratch);
}

/* A model in a file with its one case, whose prompt is the text of its tokens. */
static void run_file(const char *file)
{
	int stem = (int)strlen(file) - 5;
	char path[4096], *text = NULL;
	const struct moe_tensor *token;
	struct golden_case c = {.name = file};
	struct moe_tokenizer *t = load_tokenizer(file);
	struct moe_model *m;
	struct moe_diag d = {0};
	size_t n = 0, cap = 0;
	int32_t *id;

	snprintf(path, sizeof path, "%.*s.safetensors", stem, file);
	check(moe_map_open(&c.map, path, &d), &d);
	check(moe_safetensors_parse(&c.h, c.map->bytes, c.map->nbytes, &d), &d);
	check(moe_model_open(&m, &(struct moe_spec_options){.directory = file, .families = families}, &d), &d);
	token = find(&c, "token");
	id = calloc(token ? moe_tensor_count(token) + 1 : 1, sizeof *id);
	if (token)
		memcpy(id, token->data, token->nbytes);
	check(moe_tokenizer_decode(t, id, token ? moe_tensor_count(token) : 0, false, &text, &n, &cap, &d), &d);
	c.json = json_pack("{ss}", "prompt", text);
	run_case(&c, m, t, ".");
	run_fast(&c, m, id, token ? moe_tensor_count(token) : 0);
	json_decref(c.json);
	free(text);
	free(id);
	moe_tokenizer_free(t);
	moe_model_close(m);
	moe_header_free(&c.h);
	moe_map_close(c.map);
}

static bool run_files(const char *directory)
{
	char pattern[4096];
	glob_t found = {0};
	bool any;

	snprintf(pattern, sizeof pattern, "%s/*.gguf", directory);
	any = !glob(pattern, 0, NULL, &found);
	for (size_t i = 0; any && i < found.gl_pathc; i++)
		run_file(found.gl_pathv[i]);
	globfree(&found);
	return any;
}

static bool run_tokenizer(const char *directory)
{
	char path[4096];
	unsigned long compared = 0;
	int bad;

	snprintf(path, sizeof path, "%s/cases.jsonl", directory);
	if (access(path, F_OK))
		return false;
	bad = golden_tokenizers(directory, &compared);
	stage("tokenizer")->compared += compared;
	stage("tokenizer")->bad += (unsigned long)bad;
	return true;
}

static void tally(const char *label, bool good)
{
	stage(label)->compared++;
	stage(label)->bad += !good;
}

static int report(void)
{
	unsigned long compared = 0, bad = 0;

	for (int i = 0; i < MAX_STAGES && stages[i].name[0]; i++) {
		printf("%-18s %6lu compared, relative rms %.2g, largest %.2g%s\n", stages[i].name, stages[i].compared, stages[i].rms, stages[i].largest,
		       stages[i].bad ? "  FAIL" : "");
		compared += stages[i].compared;
		bad += stages[i].bad;
	}
	printf("%lu tensors compared, %lu differ\n", compared, bad);
	return !compared ? 2 : bad ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct moe_diag d = {0};
	int recognised = 0, c;

	check(moe_feed_server_start(&d), &d);
	families = "share/families";
	while ((c = getopt(argc, argv, "c:f:")) != -1) {
		if (c == 'c')           /* cpu mask, for the test of every kernel */
			moe_cpu_mask((unsigned)atoi(optarg));
		else if (c == 'f')
			families = optarg;
		else
			return 2;
	}
	for (; optind < argc; optind++) {
		bool any = run_model(argv[optind]);
		any |= run_tokenizer(argv[optind]);
		any |= golden_images(argv[optind], families, tally);
		any |= golden_streams(argv[optind], tally);
		any |= run_files(argv[optind]);
		any |= golden_blocks(argv[optind], tally);
		any |= golden_train(argv[optind], families, tally);
		any |= golden_routing(argv[optind], tally);
		if (!any)
			fprintf(stderr, "%s: nothing that this program knows how to compare\n", argv[optind]);
		recognised += any;
	}
	return recognised ? report() : 2;
}
