#include "import/import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/modality.h"
#include "format/gguf.h"
#include "format/npy.h"
#include "import/import_priv.h"

enum { MOST_COUNTS = 1 << 24 };         /* of a small file, which may claim any number of experts */

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for what is imported"); }

enum moe_err moe_import_new(struct moe_import **out, const struct moe_import_options *o, struct moe_diag *d)
{
	*out = calloc(1, sizeof **out);
	if (!*out)
		return no_memory(d);
	(*out)->o = *o;
	return MOE_OK;
}

static void free_sequence(struct moe_imported *q)
{
	free(q->name);
	free(q->token);
	free(q->expert);
	free(q->weight);
	free(q->logit);
}

void moe_import_free(struct moe_import *m)
{
	if (!m)
		return;
	while (m->n_seq)
		free_sequence(&m->seq[--m->n_seq]);
	free(m->seq);
	free(m->layer);
	free(m->count);
	free(m);
}

enum moe_err moe_import_shape(struct moe_import *m, size_t layers, size_t k, const size_t *layer, bool counts, struct moe_diag *d)
{
	if (!layers || layers > MOE_TRACE_LAYERS || (!k && !counts) || k > MOE_TRACE_EXPERTS)
		return moe_fail(d, MOE_EINPUT, "%zu layers with %zu choices: there is no such model", layers, k);
	if (m->o.k && k && k != m->o.k)
		return moe_fail(d, MOE_EINPUT, "%zu choices for each token, not %zu", k, m->o.k);
	if (m->o.layer && !layer && m->o.n_layers != layers && m->o.all_layers != layers)
		return moe_fail(d, MOE_EINPUT, "%zu layers, but %zu were named", layers, m->o.n_layers);
	if (m->shaped && (layers != m->layers || k != m->k || counts != m->counts || !layer != !m->layer ||
			  (layer && memcmp(layer, m->layer, layers * sizeof *layer))))
		return moe_fail(d, MOE_EINPUT, "%zu layers with %zu choices%s, which does not go with the %zu layers with %zu choices%s before it", layers, k,
				counts ? " in counts" : "", m->layers, m->k, m->counts ? " in counts" : "");
	if (m->shaped)
		return MOE_OK;
	if (layer) {
		m->layer = malloc(layers * sizeof *layer);
		if (!m->layer)
			return no_memory(d);
		memcpy(m->layer, layer, layers * sizeof *layer);
	}
	m->layers = layers;
	m->k = k;
	m->counts = counts;
	m->shaped = true;
	return MOE_OK;
}

enum moe_err moe_import_counts(struct moe_import *m, size_t layers, size_t k, const size_t *layer, size_t experts, uint64_t **count, struct moe_diag *d)
{
	MOE_TRY(moe_import_shape(m, layers, k, layer, true, d));
	if (m->count && experts != m->experts)
		return moe_fail(d, MOE_EINPUT, "counts of %zu experts, but there were %zu before", experts, m->experts);
	if (m->o.experts && experts != m->o.experts)
		return moe_fail(d, MOE_EINPUT, "counts of %zu experts, not of %zu", experts, m->o.experts);
	if (layers * experts > MOST_COUNTS)
		return moe_fail(d, MOE_EINPUT, "%zu layers of %zu experts: there is no such model", layers, experts);
	m->experts = experts;
	if (!m->count)
		m->count = moe_calloc(layers * experts, sizeof *m->count);
	*count = m->count;
	return m->count ? MOE_OK : no_memory(d);
}

/* Room for rows × layers × width elements of `size` bytes; nothing is wanted of width 0. */
static bool plan(void *array, const struct moe_import *m, size_t rows, size_t width, size_t size)
{
	void **p = array;
	uint64_t n;

	*p = NULL;
	if (!width)
		return true;
	if (!moe_product((uint64_t[]){rows, m->layers, width}, 3, &n))
		return false;
	*p = moe_calloc((size_t)n + 1, size);
	return *p;
}

enum moe_err moe_import_sequence(struct moe_import *m, struct moe_imported **out, const char *name, size_t rows, bool weights, size_t logits, struct moe_diag *d)
{
	struct moe_imported *q;

	if (m->n_seq && (!m->seq->weight != !weights || !m->seq->logit != !logits || logits != m->logits))
		return moe_fail(d, MOE_EINPUT, "it does not tell as much as what came before it, or of another number of experts");
	if (rows > INT32_MAX - 1)
		return moe_fail(d, MOE_EINPUT, "a sequence of %zu tokens", rows);
	MOE_TRY(moe_grow(&m->seq, &m->cap, m->n_seq + 1, sizeof *m->seq, d));
	q = &m->seq[m->n_seq++];
	*q = (struct moe_imported){.name = moe_strdup(name), .rows = rows, .given = rows, .token = malloc((rows + 1) * sizeof *q->token)};
	m->logits = logits;
	if (!q->name || !q->token || !plan(&q->expert, m, rows, m->k, sizeof *q->expert) || !plan(&q->weight, m, rows, weights ? m->k : 0, sizeof *q->weight) ||
	    !plan(&q->logit, m, rows, logits, sizeof *q->logit))
		return no_memory(d);
	for (size_t r = 0; r < rows; r++)
		q->token[r] = -1;
	*out = q;
	return MOE_OK;
}

/* Puts an expert where it belongs among n of the row. */
static void insert(uint16_t *expert, float *weight, size_t n, uint16_t e, float w)
{
	size_t at = n;

	if (!weight) {
		expert[n] = e;
		return;
	}
	for (; at && (weight[at - 1] < w || (weight[at - 1] == w && expert[at - 1] > e)); at--) {
		expert[at] = expert[at - 1];
		weight[at] = weight[at - 1];
	}
	expert[at] = e;
	weight[at] = w;
}

const char *moe_import_choice(struct moe_import *m, struct moe_imported *q, size_t r, const int64_t *id, const float *weight)
{
	uint16_t *expert = q->expert + r * m->k;
	float *w = weight ? q->weight + r * m->k : NULL;
	size_t n = 0, most = m->logits ? m->logits : m->o.experts ? m->o.experts : MOE_TRACE_EXPERTS;

	for (size_t i = 0; i < m->k; i++) {
		if (id[i] < 0)
			continue;
		q->gaps |= n < i;
		if ((uint64_t)id[i] >= most)
			return "an expert that the model does not have";
		for (size_t j = 0; j < n; j++)
			if (expert[j] == id[i])
				return "an expert stands twice";
		if (weight && !isfinite(weight[i]))
			return "a weight is not finite";
		insert(expert, w, n++, (uint16_t)id[i], weight ? weight[i] : 0);
		m->experts = moe_max(m->experts, (size_t)id[i] + 1);
	}
	for (; n < m->k; n++) {
		expert[n] = MOE_NO_EXPERT;
		if (w)
			w[n] = 0;
	}
	return NULL;
}

/* ---- which format ---- */

static enum moe_err add(struct moe_import *m, const char *name, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	size_t at = 0;

	if (moe_gguf_is(bytes, n))
		return moe_import_imatrix(m, name, bytes, n, d);
	if (moe_npy_is(bytes, n))
		return moe_import_npy(m, name, bytes, n, d);
	while (at < n && strchr(" \t\r\n", bytes[at]) && bytes[at])
		at++;
	if (at < n && (bytes[at] == '{' || bytes[at] == '['))
		return moe_import_json(m, name, bytes, n, d);
	if (at < n && (bytes[at] == '-' || (bytes[at] >= '0' && bytes[at] <= '9')))
		return moe_import_lines(m, name, bytes, n, d);
	return moe_fail_at(d, MOE_EINPUT, at, "it begins neither as JSON (vLLM, SGLang) nor as .npy, GGUF (an imatrix) or lines of numbers (colibri)");
}

enum moe_err moe_import_add(struct moe_import *m, const char *name, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	m->first = m->n_seq;
	MOE_TRY(add(m, name, bytes, n, d));
	if (!m->counts && m->first == m->n_seq)
		return moe_fail(d, MOE_EINPUT, "there is no routing in it");
	return MOE_OK;
}

/* ---- writing ---- */

bool moe_import_guesses(const struct moe_import *m, size_t *experts)
{
	*experts = m->o.experts ? m->o.experts : m->logits ? m->logits : m->experts;
	return !m->o.experts && !m->logits && !m->counts;
}

/* Does any token of any sequence choose an expert in this layer? SGLang has rows of -1 for layers without experts. */
static bool routes(const struct moe_import *m, size_t l)
{
	for (size_t s = 0; s < m->n_seq; s++)
		for (size_t r = 0; r < m->seq[s].rows; r++)
			if (m->seq[s].expert[(r * m->layers + l) * m->k] != MOE_NO_EXPERT)
				return true;
	return m->counts;
}

/* What is written: the layers that route, as `layer` of the info and as places in the source. */
struct output {
	const struct moe_import *m;
	struct moe_trace_info info;
	size_t *place;
	struct moe_trace_writer *writer;
	struct moe_arena arena;
};

static enum moe_err describe(struct output *o, struct moe_diag *d)
{
	const struct moe_import *m = o->m;
	const size_t *number = m->layer ? m->layer : m->o.layer && m->o.n_layers == m->layers ? m->o.layer : NULL;
	struct moe_trace_info *i = &o->info;

	*i = (struct moe_trace_info){.k = m->k, .score = m->o.says_score || m->logits ? m->o.score : MOE_TRACE_UNKNOWN, .renormalise = m->o.renormalise};
	memcpy(i->model, m->o.model, sizeof i->model);
	moe_import_guesses(m, &i->experts);
	i->detail = m->counts ? MOE_TRACE_COUNTS : m->seq->logit ? MOE_TRACE_LOGITS : m->seq->weight ? MOE_TRACE_WEIGHTS : MOE_TRACE_IDS;
	i->layer = calloc(m->layers, sizeof *i->layer);
	o->place = calloc(m->layers, sizeof *o->place);
	if (!i->layer || !o->place)
		return no_memory(d);
	for (size_t l = 0; l < m->layers; l++)
		if (routes(m, l)) {
			i->layer[i->n_layers] = number ? number[l] : l;
			o->place[i->n_layers++] = l;
		}
	return i->n_layers && i->experts ? MOE_OK : moe_fail(d, MOE_EINPUT, "no token has an expert");
}

/* [layers][rows][width] of rows from `row` on, of an array [rows][layers of the source][width]. */
static void *gather(struct output *o, const void *from, size_t row, size_t rows, size_t width, size_t size)
{
	size_t layers = o->info.n_layers, n = width * size;
	char *all = moe_arena_get(&o->arena, layers * rows, n);

	for (size_t l = 0; all && l < layers; l++)
		for (size_t r = 0; r < rows; r++)
			memcpy(all + (l * rows + r) * n, (const char *)from + ((row + r) * o->m->layers + o->place[l]) * n, n);
	return all;
}

/* Where patches stand for a picture: tokens of that id in a row are one. */
static enum moe_err mark_pictures(struct output *o, const struct moe_imported *q, int32_t **image, int32_t **patch, uint8_t **modality, struct moe_diag *d)
{
	int32_t picture = -1, n = 0;

	*image = malloc((q->rows + 1) * sizeof **image);
	*patch = malloc((q->rows + 1) * sizeof **patch);
	*modality = malloc(q->rows + 1);
	if (!*image || !*patch || !*modality)
		return no_memory(d);
	for (size_t r = 0; r < q->rows; r++) {
		bool is = q->token[r] == o->m->o.image_token;
		picture += is && !n;
		(*modality)[r] = is ? MOE_IMAGE : MOE_TEXT;
		(*image)[r] = is ? picture : -1;
		(*patch)[r] = is ? n : -1;
		n = is ? n + 1 : 0;
	}
	return MOE_OK;
}

/* Rows [row, row + n). */
static enum moe_err write_block(struct output *o, const struct moe_imported *q, struct moe_trace_block *b, size_t row, size_t n, struct moe_diag *d)
{
	const struct moe_trace_info *i = &o->info;
	int32_t *position;

	moe_arena_reset(&o->arena);
	b->rows = n;
	b->start = q->start + row;
	b->step = row >= q->given ? row - q->given + 1 : 0;
	b->token = q->token + row;
	b->position = position = moe_arena_get(&o->arena, n, sizeof *position);
	b->expert = gather(o, q->expert, row, n, i->k, sizeof *b->expert);
	b->weight = q->weight ? gather(o, q->weight, row, n, i->k, sizeof *b->weight) : NULL;
	b->logit = q->logit ? gather(o, q->logit, row, n, i->experts, sizeof *b->logit) : NULL;
	if (!position || !b->expert || (q->weight && !b->weight) || (q->logit && !b->logit))
		return no_memory(d);
	for (size_t r = 0; r < n; r++)
		position[r] = (int32_t)(b->start + r);
	return moe_trace_writer_put(o->writer, b, d);
}

static enum moe_err write_rows(struct output *o, const struct moe_imported *q, struct moe_trace_block *b, const int32_t *image, const int32_t *patch,
			       const uint8_t *modality, struct moe_diag *d)
{
	for (size_t row = 0, n; row < q->rows; row += n) {
		size_t end = row < q->given ? q->given : q->rows;
		n = moe_min(end - row, MOE_TRACE_ROWS);
		b->image = image + row;
		b->patch = patch + row;
		b->modality = modality + row;
		MOE_TRY(write_block(o, q, b, row, n, d));
	}
	return MOE_OK;
}

static enum moe_err write_sequence(struct output *o, size_t s, struct moe_diag *d)
{
	const struct moe_imported *q = &o->m->seq[s];
	struct moe_trace_block b = {.seq = s, .name = q->name, .axes = 1};
	int32_t *image = NULL, *patch = NULL;
	uint8_t *modality = NULL;
	enum moe_err err = mark_pictures(o, q, &image, &patch, &modality, d);

	if (!err)
		err = write_rows(o, q, &b, image, patch, modality, d);
	free(image);
	free(patch);
	free(modality);
	return err;
}

static enum moe_err write_all(struct output *o, struct moe_writer *w, struct moe_frame *head, struct moe_diag *d)
{
	const struct moe_import *m = o->m;

	if (!m->shaped)
		return moe_fail(d, MOE_EUSAGE, "there is nothing to write");
	MOE_TRY(describe(o, d));
	MOE_TRY(moe_trace_writer_new(&o->writer, w, head, &o->info, d));
	if (m->counts)
		MOE_TRY(moe_trace_writer_put(o->writer, &(struct moe_trace_block){.count = m->count}, d));
	for (size_t s = 0; s < m->n_seq; s++)
		MOE_TRY(write_sequence(o, s, d));
	return moe_trace_writer_end(o->writer, d);
}

enum moe_err moe_import_write(const struct moe_import *m, struct moe_writer *w, struct moe_frame *head, struct moe_diag *d)
{
	struct output o = {.m = m};
	enum moe_err err = write_all(&o, w, head, d);

	moe_trace_writer_free(o.writer);
	free(o.info.layer);
	free(o.place);
	moe_arena_free(&o.arena);
	return err;
}
