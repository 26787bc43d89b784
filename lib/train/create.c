#include "train/create.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/check.h"
#include "convert/layout.h"
#include "format/checkpoint.h"
#include "kernel/normal.h"
#include "train/image_tokens.h"

enum { FIRST_CHARACTER = 32, LAST_CHARACTER = 126, BUFFER = 1 << 16, NAME = 128 };
enum { ID_PAD, ID_READ, ID_IMAGE, ID_UNK, ID_EOS, N_SPECIAL };

static const char *const specials[N_SPECIAL] = {"<pad>", "<read>", "<image>", "<unk>", "<eos>"};

static json_t *integer(int64_t n) { return json_integer((json_int_t)n); }

static int64_t first_task(void) { return N_SPECIAL + LAST_CHARACTER - FIRST_CHARACTER + 1; }
static int64_t first_image_token(const struct moe_description *m) { return first_task() + (int64_t)(m->tasks.n + m->words.n); }
static int64_t n_tokens(const struct moe_description *m) { return first_image_token(m) + moe_image_tokens_count(m); }

/* ---- the small files; a NULL inside makes the whole NULL ---- */

static json_t *added_token(int64_t id, const char *content)
{
	return json_pack("{so ss sb sb sb sb sb}", "id", integer(id), "content", content, "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1);
}

/* One token: to the vocabulary, and to `added` unless that is NULL. */
static void put_token(json_t *vocab, json_t *added, const char *text)
{
	int64_t id = (int64_t)json_object_size(vocab);

	json_object_set_new(vocab, text, integer(id));
	if (added)
		json_array_append_new(added, added_token(id, text));
}

/* Every word of the vocabulary with the space before it is one token, all else is spelled; the space before a text that begins with a word goes when it is
 * decoded. */
static json_t *tokenizer(const struct moe_description *m)
{
	json_t *vocab = json_object(), *added = json_array(), *model, *split, *decoder;
	char text[NAME];

	for (int i = 0; i < N_SPECIAL; i++)
		put_token(vocab, added, specials[i]);
	for (int c = FIRST_CHARACTER; c <= LAST_CHARACTER; c++)
		put_token(vocab, NULL, (const char[]){(char)c, 0});
	for (size_t i = 0; i < m->tasks.n; i++) {
		snprintf(text, sizeof text, "<%s>", m->tasks.v[i]);
		put_token(vocab, added, text);
	}
	for (size_t i = 0; i < m->words.n; i++) {
		snprintf(text, sizeof text, " %s", m->words.v[i]);
		put_token(vocab, NULL, text);
	}
	for (int64_t i = 0; i < moe_image_tokens_count(m); i++) {
		moe_image_tokens_name(text, sizeof text, i);
		put_token(vocab, added, text);
	}
	model = json_pack("{ss sn ss sn sn sb sb sb so s[]}", "type", "BPE", "dropout", "unk_token", "<unk>", "continuing_subword_prefix", "end_of_word_suffix",
			  "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 1, "vocab", vocab, "merges");
	split = json_pack("{ss s{ss} ss sb}", "type", "Split", "pattern", "Regex", " ?[a-z]+|[\\s\\S]", "behavior", "Isolated", "invert", 0);
	decoder = json_pack("{ss s[{ss}{ss ss si si}]}", "type", "Sequence", "decoders", "type", "Fuse", "type", "Strip", "content", " ", "start", 1, "stop", 0);
	return json_pack("{ss sn sn so sn so sn so so}", "version", "1.0", "truncation", "padding", "added_tokens", added, "normalizer", "pre_tokenizer", split,
			 "post_processor", "decoder", decoder, "model", model);
}

static json_t *tokenizer_config(const struct moe_description *m)
{
	return json_pack("{ss ss ss ss ss ss sb so}", "tokenizer_class", "PreTrainedTokenizerFast", "pad_token", specials[ID_PAD], "bos_token", specials[ID_READ],
			 "unk_token", specials[ID_UNK], "eos_token", specials[ID_EOS], "image_token", specials[ID_IMAGE], "clean_up_tokenization_spaces", 0,
			 "model_max_length", integer(m->max_text));
}

static json_t *convolution(const struct moe_description *m, size_t i)
{
	char name[NAME];

	snprintf(name, sizeof name, "conv%zu", i + 1);
	return moe_convolution_config(name, i ? m->stem[i - 1] : 3, m->stem[i], i ? 3 : 5, (int64_t)i < m->halvings ? 2 : 1, i + 1 < m->n_stem);
}

/* The keys of an encoder; without layers it is none. */
static void put_encoder(json_t *to, const struct moe_description *m)
{
	const struct { const char *key; json_t *v; } rows[] = {
		{"type", json_string("encoder")}, {"patches", json_string(m->n_stem ? "conv" : "linear")}, {"hidden_size", integer(m->encoder.hidden)},
		{"num_hidden_layers", integer(m->encoder.depth)}, {"num_attention_heads", integer(m->encoder.heads)}, {"intermediate_size", integer(m->encoder.width)},
		{"rms_norm_eps", json_real(m->norm_eps)}, {"projector", json_string(m->encoder.projector_width ? "mlp" : "linear")},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		json_object_set_new(to, rows[i].key, rows[i].v);
	if (m->encoder.projector_width)
		json_object_set_new(to, "projector_size", integer(m->encoder.projector_width));
}

static json_t *stem(const struct moe_description *m)
{
	json_t *layers = json_array(), *all = json_pack("{ss}", "type", m->n_stem ? "conv" : "linear");

	for (size_t i = 0; i < m->n_stem; i++)
		json_array_append_new(layers, convolution(m, i));
	if (m->n_stem)
		json_object_set(all, "layers", layers);
	json_object_set_new(all, "row_col_embeddings", json_boolean(m->row_col));
	if (m->encoder.depth)
		put_encoder(all, m);
	json_decref(layers);
	return all;
}

static json_t *grids(const struct moe_description *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->grids.n; i++)
		json_array_append_new(list, json_pack("[oo]", integer(m->grids.v[i][0]), integer(m->grids.v[i][1])));
	return list;
}

static json_t *dense_layers(const struct moe_description *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->dense.n; i++)
		json_array_append_new(list, integer(m->dense.v[i]));
	return list;
}

static bool has_task(const struct moe_description *m, const char *task)
{
	for (size_t i = 0; i < m->tasks.n; i++)
		if (!strcmp(m->tasks.v[i], task))
			return true;
	return false;
}

static json_t *config(const struct moe_description *m)
{
	json_t *c = json_pack("{s[s] ss ss}", "architectures", "MoeNativeForImageTextToText", "model_type", "moe_native", "dtype", "float32");
	const struct { const char *key; json_t *v; } rows[] = {
		{"hidden_size", integer(m->hidden)}, {"num_hidden_layers", integer(m->layers)}, {"num_attention_heads", integer(m->heads)},
		{"num_key_value_heads", integer(m->kv_heads)}, {"head_dim", integer(m->head_dim)}, {"num_experts", integer(m->routing.router.experts)},
		{"num_experts_per_tok", integer(m->routing.router.top_k)}, {"moe_intermediate_size", integer(m->expert_width)},
		{"hidden_act", json_string("silu")}, {"vocab_size", integer(n_tokens(m))}, {"rms_norm_eps", json_real(m->norm_eps)},
		{"attention_bias", json_false()}, {"mlp_bias", json_false()}, {"tie_word_embeddings", json_false()}, {"rope_type", json_string("axial_2d")},
		{"rope_theta", json_real(m->rope_theta)}, {"text_position_offset", integer(m->text_offset)}, {"max_text_tokens", integer(m->max_text)},
		{"patch_size", integer(m->patch)}, {"image_grids", grids(m)}, {"num_channels", integer(3)}, {"image_attention", json_string(m->causal_images ? "causal" : "bidirectional")},
		{"text_attention", json_string("causal")}, {"vision_stem", stem(m)}, {"pad_token_id", integer(ID_PAD)}, {"bos_token_id", integer(ID_READ)},
		{"image_token_id", integer(ID_IMAGE)}, {"unk_token_id", integer(ID_UNK)}, {"eos_token_id", integer(ID_EOS)},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		json_object_set_new(c, rows[i].key, rows[i].v);
	moe_routing_put(c, &m->routing);
	if (m->dense.n) {
		json_object_set_new(c, "intermediate_size", integer(m->dense_width));
		json_object_set_new(c, "dense_layers", dense_layers(m));
	}
	if (m->tokens.codes) {
		json_object_set_new(c, "image_tokens", moe_image_tokens_config(m, first_image_token(m)));
		json_object_set_new(c, "image_first", json_false());
	}
	if (has_task(m, "ask"))
		json_object_set_new(c, "chat", json_pack("{ss sb}", "user", "{image}<ask> {content}", "lower_first", 1));
	return c;
}

/* No answer has tokens of prompts in it. */
static json_t *generation_config(const struct moe_description *m)
{
	json_t *suppress = json_array();

	for (int id = 0; id < N_SPECIAL; id++)
		if (id != ID_EOS)
			json_array_append_new(suppress, integer(id));
	for (size_t i = 0; i < m->tasks.n; i++)
		json_array_append_new(suppress, integer(first_task() + (int64_t)i));
	return json_pack("{sb si so so so so so}", "do_sample", 0, "num_beams", 1, "bos_token_id", integer(ID_READ), "eos_token_id", integer(ID_EOS), "pad_token_id",
			 integer(ID_PAD), "max_new_tokens", integer(m->max_new), "suppress_tokens", suppress);
}

static json_t *triple(const double v[3]) { return json_pack("[fff]", v[0], v[1], v[2]); }

static json_t *preprocessor_config(const struct moe_description *m)
{
	return json_pack("{ss sb s[iii] sb sb sb si sb so s{ss ss} sb sb so so ss ss}", "image_processor_type", "MoeNativeImageProcessor", "do_convert_rgb", 1,
			 "alpha_background", 255, 255, 255, "do_resize", 1, "keep_aspect_ratio", 1, "allow_upscaling", 1, "resample", 3, "do_pad", 1, "pad_color",
			 m->pad ? json_incref(m->pad) : json_string("border_median"), "pad_align", "horizontal", "left", "vertical", "center", "do_rescale", 0,
			 "do_normalize", 1, "image_mean", triple(m->mean), "image_std", triple(m->std), "channel_order", "RGB", "data_format", "channels_first");
}

/* Writes a document, and releases it. */
static enum moe_err put_json(struct moe_partial *p, const char *name, json_t *json, struct moe_diag *d)
{
	char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL, *line = NULL;
	enum moe_err err;

	json_decref(json);
	if (!text || asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	err = line ? moe_partial_put(p, name, line, strlen(line), d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	free(text);
	free(line);
	return err;
}

static enum moe_err put_files(struct moe_partial *p, const struct moe_description *m, struct moe_diag *d)
{
	MOE_TRY(put_json(p, "config.json", config(m), d));
	MOE_TRY(put_json(p, "generation_config.json", generation_config(m), d));
	MOE_TRY(put_json(p, "preprocessor_config.json", preprocessor_config(m), d));
	MOE_TRY(put_json(p, "tokenizer.json", tokenizer(m), d));
	return put_json(p, "tokenizer_config.json", tokenizer_config(m), d);
}

/* ---- the weights ---- */

/* The tensors, and the standard deviation of each; ones where it is 0, zeros where it is negative. */
struct weights {
	struct moe_targets all;
	double *deviation;
	size_t cap;
	struct moe_diag *d;
};

static enum moe_err MOE_PRINTF(5, 6) add(struct weights *w, unsigned rank, const int64_t *shape, double deviation, const char *fmt, ...)
{
	struct moe_targets *all = &w->all;
	struct moe_target *t;
	char name[NAME];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof name, fmt, ap);
	va_end(ap);
	MOE_TRY(moe_grow(&all->t, &all->cap, all->n + 1, sizeof *all->t, w->d));
	MOE_TRY(moe_grow(&w->deviation, &w->cap, all->n + 1, sizeof *w->deviation, w->d));
	w->deviation[all->n] = deviation;
	t = &all->t[all->n];
	*t = (struct moe_target){.name = moe_strdup(name), .from = MOE_F32, .to = MOE_F32, .rank = rank, .rows = 1};
	if (!t->name)
		return moe_fail(w->d, MOE_ENOMEM, "out of memory");
	all->n++;
	for (unsigned i = 0; i < rank; i++)
		t->shape[i] = (uint64_t)shape[i];
	t->cols = t->shape[rank - 1];
	for (unsigned i = 0; i + 1 < rank; i++)
		t->rows *= t->shape[i];
	return MOE_OK;
}

#define MATRIX(out, in) 2, (const int64_t[]){out, in}
#define VECTOR(n) 1, (const int64_t[]){n}

/* Of a matrix with so many inputs. */
static double inner(int64_t inputs) { return 1 / sqrt((double)inputs); }

/* Of what is added to the hidden states, in a network of so many layers. */
static double less(int64_t layers) { return 1 / sqrt(2 * (double)layers); }

/* A gated unit of width f over h inputs: an expert, or the unit of a dense layer. */
static enum moe_err add_unit(struct weights *w, const char *prefix, int64_t h, int64_t f, int64_t layers)
{
	MOE_TRY(add(w, MATRIX(f, h), inner(h), "%s.gate_proj.weight", prefix));
	MOE_TRY(add(w, MATRIX(f, h), inner(h), "%s.up_proj.weight", prefix));
	return add(w, MATRIX(h, f), less(layers) * inner(f), "%s.down_proj.weight", prefix);
}

static bool is_dense(const struct moe_description *m, long long l)
{
	for (size_t i = 0; i < m->dense.n; i++)
		if (m->dense.v[i] == l)
			return true;
	return false;
}

static enum moe_err add_routing(void *arg, const char *name, unsigned rank, const int64_t *shape, double deviation)
{
	return add(arg, rank, shape, deviation, "%s", name);
}

static enum moe_err add_ffn(struct weights *w, const struct moe_description *m, long long l)
{
	char prefix[NAME];

	snprintf(prefix, sizeof prefix, "model.layers.%lld.mlp", l);
	if (is_dense(m, l))
		return add_unit(w, prefix, m->hidden, m->dense_width, m->layers);
	MOE_TRY(add(w, MATRIX(m->routing.router.experts, m->hidden), 0.02, "%s.gate.weight", prefix));
	if (m->routing.router.choice_biases > 1)
		MOE_TRY(add(w, MATRIX(m->routing.router.choice_biases, m->routing.router.experts), -1, "%s.gate.choice_bias", prefix));
	else if (m->routing.router.choice_bias)
		MOE_TRY(add(w, VECTOR(m->routing.router.experts), -1, "%s.gate.choice_bias", prefix));
	for (long long e = 0; e < m->routing.router.experts; e++) {
		snprintf(prefix, sizeof prefix, "model.layers.%lld.mlp.experts.%lld", l, e);
		MOE_TRY(add_unit(w, prefix, m->hidden, m->expert_width, m->layers));
	}
	return MOE_OK;
}

/* Codes without a count are none yet: training takes its first ones from pictures. */
static enum moe_err add_image_tokens(struct weights *w, const struct moe_token_description *t)
{
	MOE_TRY(add(w, MATRIX(t->codes, t->width), 1, "model.image_tokens.codes"));
	MOE_TRY(add(w, VECTOR(t->codes), -1, "model.image_tokens.code_count"));
	MOE_TRY(add(w, MATRIX(t->codes, t->width), -1, "model.image_tokens.code_sum"));
	for (size_t i = 0; i < t->n_decoder; i++) {
		int64_t in = i ? t->decoder[i - 1] : t->width;
		double gain = i + 1 < t->n_decoder ? 1.4 : 1;
		MOE_TRY(add(w, 4, (const int64_t[]){t->decoder[i], in, 3, 3}, gain / sqrt((double)(in * 9)), "model.image_tokens.decode%zu.weight", i + 1));
	}
	return MOE_OK;
}

/* The norms and the attention of a layer of h, with q numbers of queries and kv of keys. */
static enum moe_err add_attention(struct weights *w, const char *prefix, int64_t h, int64_t q, int64_t kv, int64_t layers)
{
	MOE_TRY(add(w, VECTOR(h), 0, "%s.input_layernorm.weight", prefix));
	MOE_TRY(add(w, MATRIX(q, h), inner(h), "%s.self_attn.q_proj.weight", prefix));
	MOE_TRY(add(w, MATRIX(kv, h), inner(h), "%s.self_attn.k_proj.weight", prefix));
	MOE_TRY(add(w, MATRIX(kv, h), inner(h), "%s.self_attn.v_proj.weight", prefix));
	MOE_TRY(add(w, MATRIX(h, q), less(layers) * inner(q), "%s.self_attn.o_proj.weight", prefix));
	return add(w, VECTOR(h), 0, "%s.post_attention_layernorm.weight", prefix);
}

static enum moe_err add_layer(struct weights *w, const struct moe_description *m, long long l)
{
	char prefix[NAME];

	snprintf(prefix, sizeof prefix, "model.layers.%lld", l);
	MOE_TRY(add_attention(w, prefix, m->hidden, m->heads * m->head_dim, m->kv_heads * m->head_dim, m->layers));
	MOE_TRY(moe_routing_tensors(&m->routing, m->hidden, l, is_dense(m, l), false, add_routing, w));
	return add_ffn(w, m, l);
}

static enum moe_err add_stem(struct weights *w, const struct moe_description *m)
{
	struct moe_spec_sides most = moe_description_sides(m);
	int64_t width = moe_description_patch_width(m);

	if (!m->n_stem)
		MOE_TRY(add(w, 4, (const int64_t[]){width, 3, m->patch, m->patch}, inner(3 * m->patch * m->patch), "model.vision_stem.patch.weight"));
	for (size_t i = 0; i < m->n_stem; i++) {
		int64_t in = i ? m->stem[i - 1] : 3, side = i ? 3 : 5;
		double gain = i + 1 < m->n_stem ? 1.4 : 1;      /* of SiLU, which halves what it gets */
		MOE_TRY(add(w, 4, (const int64_t[]){m->stem[i], in, side, side}, gain / sqrt((double)(in * side * side)), "model.vision_stem.conv%zu.weight", i + 1));
	}
	if (m->tokens.codes)
		MOE_TRY(add_image_tokens(w, &m->tokens));
	if (!m->row_col)
		return MOE_OK;
	MOE_TRY(add(w, MATRIX(most.rows, width), 0.02, "model.vision_stem.row_embed.weight"));
	return add(w, MATRIX(most.columns, width), 0.02, "model.vision_stem.col_embed.weight");
}

static enum moe_err add_projector(struct weights *w, const struct moe_description *m)
{
	int64_t in = m->encoder.hidden, between = m->encoder.projector_width;

	if (!between)
		return add(w, MATRIX(m->hidden, in), inner(in), "model.vision_projector.weight");
	MOE_TRY(add(w, MATRIX(between, in), 1.4 * inner(in), "model.vision_projector.up_proj.weight"));
	return add(w, MATRIX(m->hidden, between), inner(between), "model.vision_projector.down_proj.weight");
}

static enum moe_err add_encoder(struct weights *w, const struct moe_description *m)
{
	int64_t h = m->encoder.hidden, layers = m->encoder.depth;
	char prefix[NAME];

	for (long long l = 0; l < layers; l++) {
		snprintf(prefix, sizeof prefix, "model.vision_stem.layers.%lld", l);
		MOE_TRY(add_attention(w, prefix, h, h, h, layers));
		snprintf(prefix, sizeof prefix, "model.vision_stem.layers.%lld.mlp", l);
		MOE_TRY(add_unit(w, prefix, h, m->encoder.width, layers));
	}
	if (!layers)
		return MOE_OK;
	MOE_TRY(add(w, VECTOR(h), 0, "model.vision_stem.norm.weight"));
	return add_projector(w, m);
}

static enum moe_err list_tensors(struct weights *w, const struct moe_description *m)
{
	MOE_TRY(add(w, MATRIX(n_tokens(m), m->hidden), 0.5, "model.embed_tokens.weight"));
	MOE_TRY(add(w, VECTOR(m->hidden), 0, "model.norm.weight"));
	MOE_TRY(add(w, MATRIX(n_tokens(m), m->hidden), 0.02, "lm_head.weight"));
	for (int64_t l = 0; l < m->layers; l++)
		MOE_TRY(add_layer(w, m, l));
	MOE_TRY(add_stem(w, m));
	return add_encoder(w, m);
}

static enum moe_err fill_tensor(struct moe_partial *p, const struct moe_target *t, double deviation, uint64_t seed, const struct moe_checkpoint *from,
				struct moe_diag *d)
{
	uint64_t stream = XXH3_64bits(t->name, strlen(t->name)), all = t->rows * t->cols;
	const struct moe_tensor *taken;
	float *x;
	enum moe_err err;

	MOE_TRY(moe_image_tokens_taken(&taken, from, t->name, t->shape, t->rank, d));
	if (taken)
		return moe_partial_write(p, t->file, t->begin, taken->data, taken->nbytes, d);
	x = malloc(BUFFER * sizeof *x);
	err = x ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
	for (uint64_t at = 0, n; at < all && !err; at += n) {
		n = moe_min(all - at, BUFFER);
		for (uint64_t i = 0; i < n; i++)
			x[i] = deviation > 0 ? (float)(deviation * moe_random_normal(seed, stream, at + i)) : deviation < 0 ? 0 : 1;
		err = moe_partial_write(p, t->file, t->begin + at * sizeof *x, x, n * sizeof *x, d);
	}
	free(x);
	return err;
}

/* ---- the folder ---- */

static enum moe_err write_folder(const char *dir, const struct moe_description *m, struct weights *w, uint64_t seed, const struct moe_checkpoint *from,
				 struct moe_diag *d)
{
	struct moe_layout layout = {0};
	struct moe_partial *p = NULL;
	enum moe_err err = moe_layout_folder(&layout, &w->all, UINT64_MAX, d);

	if (!err)
		err = moe_partial_open(&p, dir, layout.file, layout.n_files, w->all.n, "new model", true, d);
	if (!err) {
		err = put_files(p, m, d);
		for (size_t i = 0; i < w->all.n && !err; i++)
			err = fill_tensor(p, &w->all.t[i], w->deviation[i], seed, from, d);
		if (!err)
			err = moe_partial_commit(p, d);
		if (err)
			moe_partial_discard(p);
		moe_partial_close(p);
	}
	moe_layout_free(&layout);
	return err;
}

enum moe_err moe_create_model(const char *dir, json_t *description, uint64_t seed, struct moe_diag *d)
{
	struct weights w = {.d = d};
	struct moe_checkpoint *from = NULL;
	struct moe_description m;
	enum moe_err err = moe_description_read(&m, description, d);

	if (!err)
		err = list_tensors(&w, &m);
	if (!err && m.tokens.from)
		err = moe_checkpoint_open(&from, m.tokens.from, d);
	if (!err)
		err = write_folder(dir, &m, &w, seed, from, d);
	if (from)
		moe_checkpoint_close(from);
	moe_targets_free(&w.all);
	free(w.deviation);
	moe_description_free(&m);
	return err;
}
