/* Losses, gradients and steps of training against PyTorch's: DIR/train.json, init, batches and grad.safetensors. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/safetensors.h"
#include "golden.h"
#include "io/map.h"
#include "train/net.h"
#include "train/optimiser.h"

struct file {
	struct moe_map *map;
	struct moe_header h;
};

static bool open_file(struct file *f, const char *dir, const char *name)
{
	char path[4096];
	struct moe_diag d = {0};

	*f = (struct file){0};
	snprintf(path, sizeof path, "%s/%s.safetensors", dir, name);
	if (!moe_map_open(&f->map, path, &d) && !moe_safetensors_parse(&f->h, f->map->bytes, f->map->nbytes, &d))
		return true;
	printf("FAIL %s: %s\n", path, d.text);
	return false;
}

static void close_file(struct file *f)
{
	moe_header_free(&f->h);
	if (f->map)
		moe_map_close(f->map);
}

static const struct moe_tensor *find(const struct file *f, const char *prefix, const char *name)
{
	char full[512];

	snprintf(full, sizeof full, "%s%s", prefix, name);
	for (size_t i = 0; i < f->h.n_tensors; i++)
		if (!strcmp(f->h.tensor[i].name, full))
			return &f->h.tensor[i];
	printf("FAIL there is no tensor %s\n", full);
	return NULL;
}

static long whole(json_t *size, const char *key) { return (long)json_integer_value(json_object_get(size, key)); }
static long item(json_t *size, const char *key, size_t i) { return (long)json_integer_value(json_array_get(json_object_get(size, key), i)); }

/* The files that make the reference's weights a model of the family native, in a new folder. */
static bool make_model(char *folder, const char *dir, json_t *z)
{
	static const char config[] =
		"{\"model_type\": \"moe_native\", \"hidden_size\": %ld, \"num_hidden_layers\": %ld, \"num_attention_heads\": %ld, \"head_dim\": %ld, \"num_experts\": %ld,"
		" \"num_experts_per_tok\": %ld, \"norm_topk_prob\": true, \"moe_intermediate_size\": %ld, \"hidden_act\": \"silu\", \"vocab_size\": %ld, \"rms_norm_eps\": %g,"
		" \"attention_bias\": false, \"mlp_bias\": false, \"tie_word_embeddings\": false, \"rope_type\": \"axial_2d\", \"rope_theta\": %g,"
		" \"text_position_offset\": %ld, \"max_text_tokens\": 16, \"image_size\": [%ld, %ld], \"patch_size\": %ld, \"image_grid\": [%ld, %ld], \"num_channels\": 3,"
		" \"image_attention\": \"bidirectional\", \"text_attention\": \"causal\", \"bos_token_id\": 1, \"image_token_id\": 2, \"eos_token_id\": 4,"
		" \"vision_stem\": {\"type\": \"conv\", \"row_col_embeddings\": true, \"layers\": ["
		"{\"name\": \"conv1\", \"in_channels\": 3, \"out_channels\": %ld, \"kernel_size\": 5, \"stride\": 2, \"padding\": 2, \"bias\": false, \"activation\": \"silu\"},"
		"{\"name\": \"conv2\", \"in_channels\": %ld, \"out_channels\": %ld, \"kernel_size\": 3, \"stride\": 2, \"padding\": 1, \"bias\": false, \"activation\": \"silu\"},"
		"{\"name\": \"conv3\", \"in_channels\": %ld, \"out_channels\": %ld, \"kernel_size\": 3, \"stride\": 2, \"padding\": 1, \"bias\": false, \"activation\": \"none\"}]}}\n";
	static const char image[] = "{\"pad_color\": \"border_median\", \"alpha_background\": [255, 255, 255], \"image_mean\": [115, 115, 115], \"image_std\": [70, 70, 70]}\n";
	char path[4096], target[4096];
	FILE *f;

	if (!mkdtemp(folder) || !realpath(dir, target))
		return false;
	snprintf(path, sizeof path, "%s/preprocessor_config.json", folder);
	f = fopen(path, "w");
	if (!f || fputs(image, f) == EOF || fclose(f))
		return false;
	snprintf(path, sizeof path, "%s/config.json", folder);
	f = fopen(path, "w");
	if (!f)
		return false;
	fprintf(f, config, whole(z, "hidden_size"), whole(z, "num_hidden_layers"), whole(z, "num_attention_heads"), whole(z, "head_dim"), whole(z, "num_experts"),
		whole(z, "num_experts_per_tok"), whole(z, "moe_intermediate_size"), whole(z, "vocab_size"), json_number_value(json_object_get(z, "rms_norm_eps")),
		json_number_value(json_object_get(z, "rope_theta")), whole(z, "text_position_offset"), item(z, "image_size", 0), item(z, "image_size", 1),
		item(z, "image_size", 0) / item(z, "image_grid", 0), item(z, "image_grid", 0), item(z, "image_grid", 1), item(z, "stem_channels", 0),
		item(z, "stem_channels", 0), item(z, "stem_channels", 1), item(z, "stem_channels", 1), whole(z, "hidden_size"));
	if (fclose(f))
		return false;
	strncat(target, "/init.safetensors", sizeof target - strlen(target) - 1);
	snprintf(path, sizeof path, "%s/model.safetensors", folder);
	return !symlink(target, path);
}

static void remove_model(const char *folder)
{
	static const char *const names[] = {"config.json", "preprocessor_config.json", "model.safetensors"};
	char path[4096];

	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

enum { MOST = 16 };

/* Batch i of the reference; weights NULL. */
static size_t batch(struct moe_packed *to, const struct file *f, int i, json_t *size)
{
	char prefix[16];
	const struct moe_tensor *pixel, *token, *target, *label, *segment;
	size_t n, t;

	snprintf(prefix, sizeof prefix, "%d.", i);
	pixel = find(f, prefix, "pixel_values");
	token = find(f, prefix, "input_ids");
	target = find(f, prefix, "target");
	label = find(f, prefix, "patch_label");
	segment = find(f, prefix, "segment");
	if (!pixel || !token || !target || !label || !segment || token->shape[0] > MOST)
		return 0;
	n = token->shape[0];
	t = token->shape[1];
	for (size_t b = 0; b < n; b++)
		to[b] = (struct moe_packed){
			.planes = (const float *)(const void *)pixel->data + b * moe_tensor_count(pixel) / n, .rows = (uint32_t)item(size, "image_grid", 0),
			.columns = (uint32_t)item(size, "image_grid", 1), .label = (const int32_t *)(const void *)label->data + b * label->shape[1], .n_text = t,
			.token = (const int32_t *)(const void *)token->data + b * t, .target = (const int32_t *)(const void *)target->data + b * t,
			.segment = (const int32_t *)(const void *)segment->data,
		};
	return n;
}

struct run {
	json_t *doc, *size;
	struct file batches, grad;
	struct moe_model *model;
	void (*tally)(const char *label, bool good);
};

static struct moe_loss_settings settings(const struct run *r)
{
	json_t *c = json_object_get(r->doc, "loss_cfg");

	return (struct moe_loss_settings){
		.text = 1, .patch = json_number_value(json_object_get(c, "image_weight")), .balance = json_number_value(json_object_get(c, "balance")),
		.z = json_number_value(json_object_get(c, "z")),
	};
}

static void near(const struct run *r, const char *label, const char *what, double have, double want, double limit)
{
	bool good = fabs(have - want) <= limit * fabs(want);

	if (!good)
		printf("FAIL %s %s: %.9g, reference %.9g\n", label, what, have, want);
	r->tally(label, good);
}

static void compare_losses(const struct run *r, const char *label, const struct moe_step_result *s, double limit)
{
	json_t *first = json_object_get(r->doc, "first");

	near(r, label, "text", s->text, json_number_value(json_object_get(first, "text")), limit);
	near(r, label, "patch", s->patch, json_number_value(json_object_get(first, "dense")), limit);
	near(r, label, "balance", s->balance, json_number_value(json_object_get(first, "lb")), limit);
	near(r, label, "z", s->z, json_number_value(json_object_get(first, "z")), limit);
	near(r, label, "total", s->total, json_number_value(json_object_get(first, "total")), limit);
}

/* f32: root mean square of the difference over that of the reference; bf16: the cosine. */
static void compare_gradients(const struct run *r, struct moe_net *n, enum moe_unit unit)
{
	const struct moe_params *all = moe_net_params(n);
	const float *gradient = moe_net_gradient(n);
	const char *label = unit == MOE_UNIT_F32 ? "gradient" : "gradient, bf16";

	for (size_t i = 0; i < all->n; i++) {
		const struct moe_param *p = &all->p[i];
		const struct moe_tensor *t = find(&r->grad, "grad.", p->name);
		const float *have = gradient + p->offset, *want = t ? (const float *)(const void *)t->data : NULL;
		double error = 0, aa = 0, bb = 0, ab = 0;
		bool good = t && moe_tensor_count(t) == p->count;
		for (size_t j = 0; good && j < p->count; j++) {
			double a = (double)have[j], b = (double)want[j];
			error += (a - b) * (a - b);
			aa += a * a;
			bb += b * b;
			ab += a * b;
		}
		good = good && (unit == MOE_UNIT_F32 ? sqrt(error / bb) <= 2e-5 : ab / sqrt(aa * bb) >= 0.999);
		if (!good)
			printf("FAIL %s %s: relative difference %.3g, cosine %.6f\n", label, p->name, sqrt(error / bb), ab / sqrt(aa * bb));
		r->tally(label, good);
	}
}

static void run_first(const struct run *r, enum moe_unit unit, size_t chunk, size_t lanes)
{
	struct moe_net_options o = {.unit = unit, .chunk = chunk, .lanes = lanes};
	struct moe_loss_settings s = settings(r);
	struct moe_step_result result;
	struct moe_packed packed[MOST];
	struct moe_diag d = {0};
	struct moe_net *n;
	size_t count = batch(packed, &r->batches, 0, r->size);

	if (moe_net_new(&n, r->model, &o, &d) || moe_net_step(n, packed, count, &s, true, &result, &d)) {
		printf("FAIL %s\n", d.text);
		r->tally("losses", false);
		return;
	}
	compare_losses(r, unit == MOE_UNIT_F32 ? "losses" : "losses, bf16", &result, unit == MOE_UNIT_F32 ? 2e-5 : 2e-3);
	compare_gradients(r, n, unit);
	moe_net_free(n);
}

/* Twenty steps of an optimiser: each loss, and the norms of all weights at the end. In bf16 the last loss alone. */
static void run_steps(const struct run *r, const char *name, enum moe_optimiser_kind kind, enum moe_unit unit)
{
	json_t *want = json_object_get(json_object_get(r->doc, "runs"), name), *curve = json_object_get(want, "loss"), *norm = json_object_get(want, "weight_norm");
	struct moe_optimiser_step step = {.kind = kind, .muon_rate = 0.02, .adamw_rate = 2e-3, .weight_decay = 0.01, .scale = 1};
	struct moe_net_options o = {.unit = unit, .chunk = 1, .lanes = 2};
	struct moe_loss_settings s = settings(r);
	struct moe_step_result result = {0};
	struct moe_packed packed[MOST];
	struct moe_optimiser *opt = NULL;
	struct moe_net *n = NULL;
	struct moe_diag d = {0};
	char label[64];
	size_t steps = json_array_size(curve);
	bool fine = !moe_net_new(&n, r->model, &o, &d) && !moe_optimiser_new(&opt, moe_net_params(n), unit, NULL, &d);

	snprintf(label, sizeof label, "%s%s", name, unit == MOE_UNIT_BF16 ? ", bf16" : "");
	for (size_t t = 0; fine && t < steps; t++) {
		size_t count = batch(packed, &r->batches, (int)(t % 4), r->size);
		fine = !moe_net_step(n, packed, count, &s, true, &result, &d);
		if (unit == MOE_UNIT_F32)
			near(r, label, "loss", result.total, json_number_value(json_array_get(curve, t)), 2e-5);
		moe_optimiser_step(opt, &step, moe_net_weights(n), moe_net_gradient(n));
		moe_net_changed(n);
	}
	if (!fine || !steps)
		printf("FAIL %s: %s\n", label, d.text);
	r->tally(label, fine && steps);
	if (unit == MOE_UNIT_BF16)
		near(r, label, "loss after all steps", result.total, json_number_value(json_array_get(curve, steps - 1)), 0.01);
	for (size_t i = 0; fine && unit == MOE_UNIT_F32 && i < moe_net_params(n)->n; i++) {
		const struct moe_param *p = &moe_net_params(n)->p[i];
		double sum = 0;
		for (size_t j = 0; j < p->count; j++)
			sum += (double)moe_net_weights(n)[p->offset + j] * (double)moe_net_weights(n)[p->offset + j];
		near(r, label, p->name, sqrt(sum), json_number_value(json_object_get(norm, p->name)), 1e-5);
	}
	moe_optimiser_free(opt);
	moe_net_free(n);
}

bool golden_train(const char *dir, const char *families, void (*tally)(const char *label, bool good))
{
	char path[4096], folder[] = "/tmp/moe-golden-XXXXXX";
	struct run r = {.tally = tally};
	struct moe_diag d = {0};
	bool ready;

	snprintf(path, sizeof path, "%s/train.json", dir);
	if (access(path, F_OK))
		return false;
	r.doc = json_load_file(path, 0, NULL);
	r.size = json_object_get(r.doc, "size");
	ready = r.doc && open_file(&r.batches, dir, "batches") && open_file(&r.grad, dir, "grad") && make_model(folder, dir, r.size);
	if (ready && moe_model_open(&r.model, &(struct moe_spec_options){.directory = folder, .families = families}, &d)) {
		printf("FAIL %s: %s\n", dir, d.text);
		ready = false;
	}
	tally("files of training", ready);
	if (ready) {
		run_first(&r, MOE_UNIT_F32, 8, 4);
		run_first(&r, MOE_UNIT_F32, 1, 2);
		run_first(&r, MOE_UNIT_BF16, 2, 2);
		for (int unit = MOE_UNIT_F32; unit <= MOE_UNIT_BF16; unit++) {
			run_steps(&r, "adamw", MOE_OPTIMISER_ADAMW, (enum moe_unit)unit);
			run_steps(&r, "muon", MOE_OPTIMISER_MUON, (enum moe_unit)unit);
		}
		moe_model_close(r.model);
	}
	remove_model(folder);
	close_file(&r.batches);
	close_file(&r.grad);
	json_decref(r.doc);
	return true;
}
