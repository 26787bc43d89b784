#include "train/description.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "io/source.h"
#include "train/describe_values.h"
#include "train/image_tokens.h"

enum { MAX_WIDTH = 1 << 16, MAX_TEXT = 1 << 20, WORDS_LIMIT = 16 << 20, MOST_WORDS = 1 << 20, WORD = 64, MOST_TENSORS = 1000000 };
enum { LINEAR_HALVINGS = 3 };    /* patches by one matrix have sides of 2 to this, as those of the usual convolutions */
enum { REQUIRED = -1, LATER = 0 };      /* in the place of a default; LATER: it follows from other keys */

static const struct number {
	const char *key;
	size_t offset;
	int64_t lo, hi, absent;
} numbers[] = {
	{"hidden", offsetof(struct moe_description, hidden), 1, MAX_WIDTH, REQUIRED},
	{"layers", offsetof(struct moe_description, layers), 1, 1024, REQUIRED},
	{"heads", offsetof(struct moe_description, heads), 1, 1024, REQUIRED},
	{"kv_heads", offsetof(struct moe_description, kv_heads), 1, 1024, LATER},
	{"head_dim", offsetof(struct moe_description, head_dim), 4, 512, LATER},
	{"experts", offsetof(struct moe_description, routing.router.experts), 1, 4096, LATER},
	{"top_k", offsetof(struct moe_description, routing.router.top_k), 1, 256, LATER},
	{"expert_width", offsetof(struct moe_description, expert_width), 1, MAX_WIDTH, LATER},
	{"dense_width", offsetof(struct moe_description, dense_width), 1, MAX_WIDTH, LATER},
	{"patch", offsetof(struct moe_description, patch), 2, 256, LATER},
	{"text_offset", offsetof(struct moe_description, text_offset), 1, 1 << 30, LATER},
	{"max_text", offsetof(struct moe_description, max_text), 2, MAX_TEXT, 96},
	{"max_new", offsetof(struct moe_description, max_new), 1, MAX_TEXT, LATER},
};

static const char *const other_keys[] = {
	"dense_layers", "stem", "row_col", "encoder", "image_attention", "grids", "rope_theta", "norm_eps", "mean", "std", "pad",
	"vocabulary", "image_tokens",
};

/* ---- values ---- */

static enum moe_err check_keys(json_t *json, struct moe_diag *d)
{
	const char *key;
	json_t *v;

	if (!json_is_object(json))
		return moe_fail(d, MOE_EUSAGE, "a description of a model is a JSON object");
	json_object_foreach(json, key, v) {
		bool known = false;
		for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
			known |= !strcmp(key, numbers[i].key);
		for (size_t i = 0; i < sizeof other_keys / sizeof *other_keys; i++)
			known |= !strcmp(key, other_keys[i]);
		for (size_t i = 0; moe_routing_keys[i]; i++)
			known |= !strcmp(key, moe_routing_keys[i]);
		if (!known)
			return moe_fail(d, MOE_EUSAGE, "unknown key \"%.60s\" in the description of a model", key);
	}
	return MOE_OK;
}

/* A number, or one for each channel. */
static enum moe_err channels(json_t *json, const char *key, double lo, double hi, double absent, double to[3], struct moe_diag *d)
{
	json_t *v = json_object_get(json, key);
	bool list = json_is_array(v) && json_array_size(v) == 3;

	for (size_t i = 0; i < 3; i++) {
		json_t *one = list ? json_array_get(v, i) : v;
		if (v && !(json_is_number(one) && json_number_value(one) >= lo && json_number_value(one) <= hi))
			return moe_fail(d, MOE_EUSAGE, "%s: expected a number from %g to %g, or a list of three", key, lo, hi);
		to[i] = v ? json_number_value(one) : absent;
	}
	return MOE_OK;
}

/* The n numbers of the table; in the object their keys have no prefix. */
static enum moe_err read_numbers(struct moe_description *m, json_t *json, const char *prefix, const struct number *table, size_t count, struct moe_diag *d)
{
	for (size_t i = 0; i < count; i++) {
		const struct number *n = &table[i];
		int64_t *to = (int64_t *)(void *)((char *)m + n->offset);
		json_t *v = json_object_get(json, n->key + strlen(prefix));
		if (!v && n->absent == REQUIRED)
			return moe_fail(d, MOE_EUSAGE, "the description of a model lacks \"%s\"", n->key);
		*to = n->absent;
		if (v)
			MOE_TRY(moe_describe_whole(v, n->key, n->lo, n->hi, to, d));
	}
	return MOE_OK;
}

static enum moe_err read_stem(struct moe_description *m, json_t *json, struct moe_diag *d)
{
	json_t *v = json_object_get(json, "stem");

	if (json_is_string(v) && !strcmp(json_string_value(v), "linear"))
		return MOE_OK;
	m->stem[0] = 32;
	m->stem[1] = 64;
	m->n_stem = v ? json_array_size(v) : 2;
	if (v && (!json_is_array(v) || m->n_stem > MOE_MAX_STEM))
		return moe_fail(d, MOE_EUSAGE, "stem: expected a list of at most %d channels, or \"linear\"", MOE_MAX_STEM);
	for (size_t i = 0; v && i < m->n_stem; i++)
		MOE_TRY(moe_describe_whole(json_array_get(v, i), "stem", 1, MAX_WIDTH, &m->stem[i], d));
	m->stem[m->n_stem++] = moe_description_patch_width(m);
	m->halvings = (int64_t)m->n_stem;
	return MOE_OK;
}

/* The settings of an encoder; those that are not there follow from the trunk (check_encoder). */
static enum moe_err read_encoder(struct moe_description *m, json_t *json, struct moe_diag *d)
{
	static const struct number keys[] = {
		{"encoder.depth", offsetof(struct moe_description, encoder.depth), 0, 1024, REQUIRED},
		{"encoder.hidden", offsetof(struct moe_description, encoder.hidden), 1, MAX_WIDTH, LATER},
		{"encoder.heads", offsetof(struct moe_description, encoder.heads), 1, 1024, LATER},
		{"encoder.width", offsetof(struct moe_description, encoder.width), 1, MAX_WIDTH, LATER},
		{"encoder.projector_width", offsetof(struct moe_description, encoder.projector_width), 1, MAX_WIDTH, LATER},
	};
	json_t *v = json_object_get(json, "encoder"), *any;
	const char *key;

	if (v && !json_is_object(v))
		return moe_fail(d, MOE_EUSAGE, "encoder: expected an object");
	json_object_foreach(v, key, any) {
		bool known = !strcmp(key, "projector");
		for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
			known |= !strcmp(key, keys[i].key + strlen("encoder."));
		if (!known)
			return moe_fail(d, MOE_EUSAGE, "unknown key \"encoder.%.60s\" in the description of a model", key);
	}
	return v ? read_numbers(m, v, "encoder.", keys, sizeof keys / sizeof *keys, d) : MOE_OK;
}

/* What an encoder has unless it is said: the trunk's width and heads, a unit as wide as the experts that a token passes. */
static enum moe_err check_encoder(struct moe_description *m, json_t *json, struct moe_diag *d)
{
	json_t *v = json_object_get(json, "encoder");
	bool mlp;

	MOE_TRY(moe_describe_one_of(v, "projector", "linear", "mlp", &mlp, d));
	if (m->encoder.projector_width && !mlp)
		return moe_fail(d, MOE_EUSAGE, "encoder.projector_width goes with the projector \"mlp\"");
	if (!m->encoder.heads)
		m->encoder.heads = m->heads;
	if (!m->encoder.width)
		m->encoder.width = m->routing.router.top_k * m->expert_width;
	if (m->encoder.depth && m->encoder.width > MAX_WIDTH)
		return moe_fail(d, MOE_EUSAGE, "encoder.width: top_k (%lld) experts of %lld are wider than %d", (long long)m->routing.router.top_k,
				(long long)m->expert_width, MAX_WIDTH);
	if (mlp && !m->encoder.projector_width)
		m->encoder.projector_width = m->hidden;
	if (m->encoder.depth && (m->encoder.hidden % m->encoder.heads || m->encoder.hidden / m->encoder.heads % 2 || m->encoder.hidden / m->encoder.heads > 512))
		return moe_fail(d, MOE_EUSAGE, "encoder.heads (%lld) must divide encoder.hidden (%lld) into an even number of at most 512 each",
				(long long)m->encoder.heads, (long long)m->encoder.hidden);
	return MOE_OK;
}

int64_t moe_description_patch_width(const struct moe_description *m) { return m->encoder.depth ? m->encoder.hidden : m->hidden; }

static enum moe_err read_grids(struct moe_description *m, json_t *json, struct moe_diag *d)
{
	json_t *v = json_object_get(json, "grids");

	m->grids = (struct moe_pairs){.v = {{4, 16}}, .n = 1};
	if (json_object_get(json, "image_tokens"))
		m->grids = (struct moe_pairs){.v = {{8, 8}}, .n = 1};
	if (!v)
		return MOE_OK;
	m->grids.n = json_array_size(v);
	if (!m->grids.n || m->grids.n > MOE_MAX_PAIRS)
		return moe_fail(d, MOE_EUSAGE, "grids: expected a list of 1 to %d pairs [rows, columns]", MOE_MAX_PAIRS);
	for (size_t i = 0; i < m->grids.n; i++) {
		json_t *pair = json_array_get(v, i);
		if (json_array_size(pair) != 2)
			return moe_fail(d, MOE_EUSAGE, "grids: expected pairs [rows, columns]");
		for (size_t side = 0; side < 2; side++)
			MOE_TRY(moe_describe_whole(json_array_get(pair, side), "grids", 1, 256, &m->grids.v[i][side], d));
	}
	return MOE_OK;
}

static enum moe_err read_pad(struct moe_description *m, json_t *json, struct moe_diag *d)
{
	json_t *v = json_object_get(json, "pad");
	double colour[3];

	if (!v || (json_is_string(v) && !strcmp(json_string_value(v), "border_median")))
		return MOE_OK;
	m->pad = v;
	if (!json_is_array(v))
		return moe_fail(d, MOE_EUSAGE, "pad: expected \"border_median\" or a colour [r, g, b]");
	return channels(json, "pad", 0, 255, 0, colour, d);
}

/* ---- words ---- */

static enum moe_err add_word(struct moe_words *w, const char *text, size_t n, const char *key, struct moe_diag *d)
{
	if (n && *text == ' ') {        /* as it is in the vocabulary */
		text++;
		n--;
	}
	if (!n || n > WORD || strspn(text, "abcdefghijklmnopqrstuvwxyz") < n)
		return moe_fail(d, MOE_EUSAGE, "%s: \"%.*s\" is no word of 1 to %d letters a to z", key, (int)moe_min(n, WORD), text, WORD);
	if (w->n == MOST_WORDS)
		return moe_fail(d, MOE_EUSAGE, "%s: more than %d words", key, MOST_WORDS);
	MOE_TRY(moe_grow(&w->v, &w->cap, w->n + 1, sizeof *w->v, d));
	w->v[w->n] = strndup(text, n);
	return w->v[w->n++] ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static enum moe_err check_twice(const struct moe_words *w, const char *key, struct moe_diag *d)
{
	char **sorted = malloc((w->n + 1) * sizeof *sorted);
	const char *twice = NULL;

	if (!sorted)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < w->n; i++)
		sorted[i] = w->v[i];
	qsort(sorted, w->n, sizeof *sorted, compare);
	for (size_t i = 1; i < w->n && !twice; i++)
		twice = strcmp(sorted[i], sorted[i - 1]) ? NULL : sorted[i];
	free(sorted);
	return twice ? moe_fail(d, MOE_EUSAGE, "%s: \"%s\" stands twice", key, twice) : MOE_OK;
}

static enum moe_err read_list(struct moe_words *w, json_t *list, const char *key, struct moe_diag *d)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *v = json_array_get(list, i);
		if (!json_is_string(v))
			return moe_fail(d, MOE_EUSAGE, "%s: expected a list of words", key);
		MOE_TRY(add_word(w, json_string_value(v), json_string_length(v), key, d));
	}
	return MOE_OK;
}

/* One word a line. */
static enum moe_err read_file(struct moe_words *w, const char *path, struct moe_diag *d)
{
	enum moe_err err = MOE_OK;
	char *text;
	size_t n;

	MOE_TRY(moe_read_file(path, WORDS_LIMIT, &text, &n, d));
	for (const char *p = text, *end = text + n; p < end && !err;) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		size_t length = (size_t)((stop ? stop : end) - p);
		err = add_word(w, p, length, "vocabulary.words", d);
		p += length + 1;
	}
	free(text);
	if (err)
		moe_diag_path(d, path);
	return err;
}

static enum moe_err read_vocabulary(struct moe_description *m, json_t *json, struct moe_diag *d)
{
	json_t *v = json_object_get(json, "vocabulary"), *words = json_object_get(v, "words"), *tasks = json_object_get(v, "tasks"), *any;
	const char *key;

	if (v && !json_is_object(v))
		return moe_fail(d, MOE_EUSAGE, "vocabulary: expected an object");
	json_object_foreach(v, key, any)
		if (strcmp(key, "words") && strcmp(key, "tasks"))
			return moe_fail(d, MOE_EUSAGE, "unknown key \"vocabulary.%.60s\" in the description of a model", key);
	if (json_is_string(words))
		MOE_TRY(read_file(&m->words, json_string_value(words), d));
	else if (!words || json_is_array(words))
		MOE_TRY(read_list(&m->words, words, "vocabulary.words", d));
	else
		return moe_fail(d, MOE_EUSAGE, "vocabulary.words: expected a list of words, or the name of a file with one a line");
	if (tasks && !json_is_array(tasks))
		return moe_fail(d, MOE_EUSAGE, "vocabulary.tasks: expected a list of words");
	MOE_TRY(read_list(&m->tasks, tasks, "vocabulary.tasks", d));
	if (!tasks) {
		MOE_TRY(add_word(&m->tasks, "ask", 3, "vocabulary.tasks", d));
		MOE_TRY(add_word(&m->tasks, "describe", 8, "vocabulary.tasks", d));
	}
	for (size_t i = 0; i < m->tasks.n; i++)
		for (const char *const *taken = (const char *const[]){"pad", "read", "image", "unk", "eos", NULL}; *taken; taken++)
			if (!strcmp(m->tasks.v[i], *taken))
				return moe_fail(d, MOE_EUSAGE, "vocabulary.tasks: <%s> is there in any case", *taken);
	MOE_TRY(check_twice(&m->words, "vocabulary.words", d));
	return check_twice(&m->tasks, "vocabulary.tasks", d);
}

/* ---- what must hold between them ---- */

struct moe_spec_sides moe_description_sides(const struct moe_description *m)
{
	struct moe_spec_sides s = {0, 0};

	for (size_t i = 0; i < m->grids.n; i++) {
		s.rows = moe_max(s.rows, m->grids.v[i][0]);
		s.columns = moe_max(s.columns, m->grids.v[i][1]);
	}
	return s;
}

static enum moe_err check_attention(struct moe_description *m, struct moe_diag *d)
{
	if (!m->kv_heads)
		m->kv_heads = m->heads;
	if (m->heads % m->kv_heads)
		return moe_fail(d, MOE_EUSAGE, "heads (%lld) is not a multiple of kv_heads (%lld)", (long long)m->heads, (long long)m->kv_heads);
	if (!m->head_dim && m->hidden % m->heads)
		return moe_fail(d, MOE_EUSAGE, "hidden (%lld) is not a multiple of heads (%lld): give head_dim", (long long)m->hidden, (long long)m->heads);
	if (!m->head_dim)
		m->head_dim = m->hidden / m->heads;
	/* Half of the head turns with the row, half with the column, in pairs. */
	if (m->head_dim % 4 || m->head_dim > 512)
		return moe_fail(d, MOE_EUSAGE, "head_dim (%lld) is not a multiple of 4 up to 512", (long long)m->head_dim);
	return MOE_OK;
}

/* Layers without experts: a list, or all of them. */
static enum moe_err read_dense(struct moe_description *m, json_t *json, struct moe_diag *d)
{
	json_t *v = json_object_get(json, "dense_layers");
	bool all = json_is_string(v) && !strcmp(json_string_value(v), "all");
	size_t n = all ? (size_t)m->layers : json_array_size(v);

	if (v && !all && !json_is_array(v))
		return moe_fail(d, MOE_EUSAGE, "dense_layers: expected \"all\", or a list of layers");
	if (n > MOE_MAX_IDS)
		return moe_fail(d, MOE_EUSAGE, "dense_layers: more than %d layers", MOE_MAX_IDS);
	for (size_t i = 0; i < n; i++) {
		int64_t layer = (int64_t)i;
		if (!all)
			MOE_TRY(moe_describe_whole(json_array_get(v, i), "dense_layers", 0, m->layers - 1, &layer, d));
		if (i && layer <= m->dense.v[i - 1])
			return moe_fail(d, MOE_EUSAGE, "dense_layers: layers must rise, %lld comes behind %lld", (long long)layer, (long long)m->dense.v[i - 1]);
		m->dense.v[m->dense.n++] = layer;
	}
	return MOE_OK;
}

/* A model of dense layers alone stands in the settings as one with a single expert, which no layer has. */
static enum moe_err check_dense(struct moe_description *m, json_t *json, struct moe_diag *d)
{
	MOE_TRY(read_dense(m, json, d));
	if (m->dense_width && !m->dense.n)
		return moe_fail(d, MOE_EUSAGE, "dense_width goes with dense_layers");
	if ((int64_t)m->dense.n == m->layers && !m->routing.router.experts) {
		if (!m->dense_width)
			return moe_fail(d, MOE_EUSAGE, "the description of a model without experts lacks \"dense_width\"");
		m->routing.router.experts = 1;
		m->expert_width = m->dense_width;
	}
	if (!m->routing.router.experts || !m->expert_width)
		return moe_fail(d, MOE_EUSAGE, "the description of a model lacks \"%s\"", m->routing.router.experts ? "expert_width" : "experts");
	return MOE_OK;
}

static enum moe_err check_experts(struct moe_description *m, json_t *json, struct moe_diag *d)
{
	struct moe_router_settings *r = &m->routing.router;

	MOE_TRY(check_dense(m, json, d));
	MOE_TRY(moe_routing_read(&m->routing, json, m->layers, d));
	if (m->dense.n && !m->dense_width)
		m->dense_width = r->top_k * m->expert_width;
	if (m->dense_width > MAX_WIDTH)
		return moe_fail(d, MOE_EUSAGE, "dense_width: top_k (%lld) experts of %lld are wider than %d", (long long)r->top_k, (long long)m->expert_width, MAX_WIDTH);
	if (m->layers * r->experts * 3 > MOST_TENSORS)
		return moe_fail(d, MOE_EUSAGE, "%lld layers of %lld experts are more tensors than a file may have", (long long)m->layers, (long long)r->experts);
	return MOE_OK;
}

static enum moe_err check_pictures(struct moe_description *m, struct moe_diag *d)
{
	int64_t side = (int64_t)1 << (m->n_stem ? m->halvings : LINEAR_HALVINGS);
	struct moe_spec_sides most = moe_description_sides(m);
	int64_t longest = most.rows > most.columns ? most.rows : most.columns;

	if (!m->patch)
		m->patch = side;
	if (m->n_stem && m->patch != side)
		return moe_fail(d, MOE_EUSAGE, "patch (%lld) is not %lld, to which the %lld convolutions of the stem lead, each by half", (long long)m->patch, (long long)side,
				(long long)m->halvings);
	if (!m->text_offset)
		m->text_offset = longest;
	if (m->text_offset < longest)
		return moe_fail(d, MOE_EUSAGE, "text_offset (%lld) is a position of patches: grids reach to %lld", (long long)m->text_offset,
				(long long)longest - 1);
	return MOE_OK;
}

enum moe_err moe_description_read(struct moe_description *m, json_t *given, struct moe_diag *d)
{
	json_t *json;

	*m = (struct moe_description){.rope_theta = 100, .norm_eps = 1e-6, .row_col = true};
	MOE_TRY(moe_image_tokens_expand(&m->json, given, d));
	json = m->json;
	MOE_TRY(check_keys(json, d));
	MOE_TRY(read_numbers(m, json, "", numbers, sizeof numbers / sizeof *numbers, d));
	MOE_TRY(read_encoder(m, json, d));
	if (!m->encoder.hidden)
		m->encoder.hidden = m->hidden;
	MOE_TRY(read_stem(m, json, d));
	MOE_TRY(moe_describe_truth(json, "row_col", &m->row_col, d));
	MOE_TRY(moe_describe_one_of(json, "image_attention", "bidirectional", "causal", &m->causal_images, d));
	MOE_TRY(read_grids(m, json, d));
	MOE_TRY(moe_image_tokens_read(m, json, d));
	MOE_TRY(moe_describe_real(json, "rope_theta", 1, 1e12, &m->rope_theta, d));
	MOE_TRY(moe_describe_real(json, "norm_eps", 1e-12, 1, &m->norm_eps, d));
	MOE_TRY(channels(json, "mean", -1e6, 1e6, 115, m->mean, d));
	MOE_TRY(channels(json, "std", 1e-6, 1e6, 70, m->std, d));
	MOE_TRY(read_pad(m, json, d));
	MOE_TRY(read_vocabulary(m, json, d));
	MOE_TRY(check_attention(m, d));
	MOE_TRY(check_experts(m, json, d));
	MOE_TRY(check_encoder(m, json, d));
	MOE_TRY(check_pictures(m, d));
	if (!m->max_new)
		m->max_new = m->max_text;
	return MOE_OK;
}

static void free_words(struct moe_words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	free(w->v);
}

void moe_description_free(struct moe_description *m)
{
	free_words(&m->words);
	free_words(&m->tasks);
	json_decref(m->json);
	*m = (struct moe_description){0};
}
