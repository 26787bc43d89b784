/* Models: what a family file, the configuration and the weights must agree about; whatever disagrees is refused by name.
 * The model of share/models/read is copied to a temporary folder and altered there. */
#include <jansson.h>

#include "lib_data.h"
#include "model/layer.h"
#include "model/merge.h"

#define READ "share/models/read/"
#define OLMOE "tests/golden/olmoe/model/"
#define FAMILIES "share/families"

static struct moe_spec_options options(const char *directory)
{
	return (struct moe_spec_options){.directory = directory, .families = FAMILIES};
}

static enum moe_err open_model(const char *directory, struct moe_model **m, struct moe_diag *d)
{
	struct moe_spec_options o = options(directory);

	memset(d, 0, sizeof *d);
	*m = NULL;
	return moe_model_open(m, &o, d);
}

/* The temporary folder, as a string that stays. */
static const char *folder(void)
{
	static char path[256];

	snprintf(path, sizeof path, "%s", scratch(""));
	return path;
}

/* The altered model must be refused with all of `part`, words separated by '|'. */
static void expect_refused(const char *what, enum moe_err code, const char *parts)
{
	char copy[300], *rest;
	struct moe_model *m;
	struct moe_diag d;
	enum moe_err err = open_model(folder(), &m, &d);

	if (!err) {
		moe_model_close(m);
		fail_msg("%s: accepted", what);
	}
	snprintf(copy, sizeof copy, "%s", parts);
	for (char *part = strtok_r(copy, "|", &rest); part; part = strtok_r(NULL, "|", &rest))
		if (err != code || !strstr(say(&d), part))
			fail_msg("%s: %d \"%s\", expected \"%s\"", what, (int)err, say(&d), part);
}

/* ---- altering ---- */

static void copy_file(const char *name)
{
	char path[200];
	uint8_t *bytes;
	size_t n;

	snprintf(path, sizeof path, READ "%s", name);
	bytes = read_bytes(path, &n);
	write_bytes(scratch(name), bytes, n);
	free(bytes);
}

static void copy_configs(void)
{
	copy_file("config.json");
	copy_file("generation_config.json");
	copy_file("preprocessor_config.json");
}

/* Writes a copy of DIRECTORY/FILE with the value at "a.b" replaced; "" removes it. */
static void alter_json(const char *directory, const char *file, const char *path, const char *value)
{
	char from[200], key[64];
	json_t *doc, *at;
	size_t n;

	snprintf(from, sizeof from, "%s/%s", directory, file);
	doc = at = json_load_file(from, 0, NULL);
	assert_non_null(doc);
	for (; (n = strcspn(path, ".")) < strlen(path); path += n + 1) {
		snprintf(key, sizeof key, "%.*s", (int)n, path);
		at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10)) : json_object_get(at, key);
		assert_non_null(at);
	}
	if (*value)
		assert_int_equal(json_object_set_new(at, path, json_loads(value, JSON_DECODE_ANY, NULL)), 0);
	else
		assert_int_equal(json_object_del(at, path), 0);
	assert_int_equal(json_dump_file(doc, scratch(file), 0), 0);
	json_decref(doc);
}

/* One tensor of the weights is left out, renamed, given another shape or type; or one is added. */
struct edit {
	const char *tensor, *name, *shape, *type;
	bool leave_out;
	const char *added;
};

static void add_entry(FILE *f, const struct moe_tensor *t, const struct edit *e, uint64_t *at)
{
	bool here = e->tensor && !strcmp(t->name, e->tensor);
	char shape[96];

	if (here && e->leave_out)
		return;
	fprintf(f, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%llu,%llu]}", *at ? "," : "", here && e->name ? e->name : t->name,
		here && e->type ? e->type : moe_dtype_name(t->type),
		here && e->shape ? e->shape : moe_shape_string(t->shape, t->rank, shape, sizeof shape),
		(unsigned long long)*at, (unsigned long long)(*at + t->nbytes));
	*at += t->nbytes;
}

static void write_weights(const struct edit *e)
{
	struct moe_checkpoint *c;
	struct moe_diag d = {0};
	FILE *f = fopen(scratch("model.safetensors"), "wb");
	uint64_t at = 0, n = 0;
	char *text;
	size_t size;
	FILE *header = open_memstream(&text, &size);

	expect_ok(&d, moe_checkpoint_open(&c, READ, &d));
	assert_non_null(f);
	fputc('{', header);
	for (size_t i = 0; i < moe_checkpoint_count(c); i++)
		add_entry(header, moe_checkpoint_get(c, i), e, &at);
	if (e->added)
		fprintf(header, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[%llu,%llu]}", e->added, (unsigned long long)at,
			(unsigned long long)at);
	fputc('}', header);
	while (ftell(header) % 8)
		fputc(' ', header);
	fclose(header);
	n = size;
	fwrite(&n, 8, 1, f);
	fwrite(text, 1, size, f);
	for (size_t i = 0; i < moe_checkpoint_count(c); i++) {
		const struct moe_tensor *t = moe_checkpoint_get(c, i);
		if (!e->leave_out || strcmp(t->name, e->tensor))
			fwrite(t->data, 1, t->nbytes, f);
	}
	assert_int_equal(fclose(f), 0);
	free(text);
	moe_checkpoint_close(c);
}

/* ---- what is right ---- */

static void test_good(void **state)
{
	struct moe_model *m, *same;
	struct moe_diag d;

	(void)state;
	expect_ok(&d, open_model(READ, &m, &d));
	assert_string_equal(m->spec->family, "native");
	assert_int_equal(m->spec->n_layers, 4);
	assert_int_equal(m->spec->hidden, 160);
	assert_int_equal(m->spec->router.experts, 8);
	assert_int_equal(m->spec->tower.n_conv, 3);
	assert_int_equal(m->spec->text.suppress.n, 4);
	assert_int_equal(strlen(m->fingerprint), 32);
	copy_configs();
	write_weights(&(struct edit){0});       /* other order, same tensors */
	expect_ok(&d, open_model(folder(), &same, &d));
	assert_string_equal(m->fingerprint, same->fingerprint);
	moe_model_close(same);
	moe_model_close(m);
	expect_ok(&d, open_model(OLMOE, &m, &d));
	assert_string_equal(m->spec->family, "olmoe");
	moe_model_close(m);
	moe_model_close(NULL);
}

static void test_spec_string(void **state)
{
	struct moe_spec *s;
	struct moe_spec_options o = options(READ);
	struct moe_sizes sizes;
	struct moe_diag d = {0};
	char *text;

	(void)state;
	expect_ok(&d, moe_spec_load(&s, &o, &d));
	text = moe_spec_string(s);
	assert_non_null(strstr(text, "hidden = 160\n"));
	assert_non_null(strstr(text, "router.top_k = 2\n"));
	expect_ok(&d, moe_spec_sizes(s, &sizes, &d));
	assert_in_range(sizes.active, 1, sizes.parameters - 1);
	free(text);
	moe_spec_free(s);
	moe_spec_free(NULL);
}

/* A changed weight of a tensor's middle, a changed setting: another fingerprint. */
static void test_fingerprint(void **state)
{
	struct moe_model *a, *b;
	struct moe_diag d;

	(void)state;
	expect_ok(&d, open_model(READ, &a, &d));
	copy_configs();
	write_weights(&(struct edit){0});
	alter_json(READ, "config.json", "rms_norm_eps", "1e-5");
	expect_ok(&d, open_model(folder(), &b, &d));
	assert_string_not_equal(a->fingerprint, b->fingerprint);
	moe_model_close(a);
	moe_model_close(b);
}

/* ---- weights ---- */

static void test_tensors(void **state)
{
	static const struct { struct edit e; const char *parts; } cases[] = {
		{{.tensor = "model.norm.weight", .leave_out = true}, "tensor \"model.norm.weight\" is missing"},
		{{.tensor = "lm_head.weight", .leave_out = true}, "tensor \"lm_head.weight\" is missing"},
		{{.tensor = "model.layers.3.mlp.experts.7.down_proj.weight", .leave_out = true},
		 "tensor \"model.layers.3.mlp.experts.7.down_proj.weight\" is missing"},
		{{.tensor = "model.layers.0.self_attn.q_proj.weight", .name = "model.layers.0.self_attn.Q.weight"}, "q_proj.weight\" is missing"},
		{{.tensor = "model.vision_stem.conv2.weight", .leave_out = true}, "tensor \"model.vision_stem.conv2.weight\" is missing"},
		{{.tensor = "model.norm.weight", .shape = "[2,80]"}, "tensor \"model.norm.weight\" has the shape [2, 80], expected [160]"},
		{{.tensor = "model.norm.weight", .shape = "[1,160]"}, "tensor \"model.norm.weight\" has the shape [1, 160], expected [160]"},
		{{.tensor = "model.layers.1.mlp.gate.weight", .shape = "[160,8]"},
		 "\"model.layers.1.mlp.gate.weight\" has the shape [160, 8], expected [8, 160]"},
		{{.tensor = "model.layers.2.mlp.experts.0.up_proj.weight", .shape = "[160,192]"}, "has the shape [160, 192], expected [192, 160]"},
		{{.tensor = "model.vision_stem.row_embed.weight", .shape = "[2,320]"}, "row_embed.weight\" has the shape [2, 320]"},
		{{.tensor = "model.norm.weight", .type = "I32"}, "tensor \"model.norm.weight\" is I32, expected F32, F16 or BF16"},
		{{.added = "model.layers.4.input_layernorm.weight"},
		 "tensor \"model.layers.4.input_layernorm.weight\" has no place in the family native"},
		{{.added = "model.layers.0.self_attn.q_proj.bias"}, "tensor \"model.layers.0.self_attn.q_proj.bias\" has no place"},
		{{.added = "_pad"}, "tensor \"_pad\" has no place"}, {{.added = "x\\n"}, "tensor \"x\\x0a\" has no place"},
	};

	(void)state;
	copy_configs();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		write_weights(&cases[i].e);
		expect_refused(cases[i].parts, MOE_EINPUT, cases[i].parts);
	}
}

static void test_truncated_weights(void **state)
{
	static const size_t kept[] = {0, 7, 8, 100, 5000, 100000, 7061239};
	size_t n;
	uint8_t *bytes = read_bytes(READ "model.safetensors", &n);

	(void)state;
	copy_configs();
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
		assert_true(kept[i] < n);
		write_bytes(scratch("model.safetensors"), bytes, kept[i]);
		expect_refused("truncated weights", MOE_EINPUT, "model.safetensors: |truncated");
	}
	unlink(scratch("model.safetensors"));
	expect_refused("no weights", MOE_EIO, "no weights");
	free(bytes);
}

/* ---- configuration ---- */

#define ENCODER(hidden, layers, heads) "{\"type\":\"encoder\",\"row_col_embeddings\":true,\"hidden_size\":" #hidden ",\"num_hidden_layers\":" #layers \
	",\"num_attention_heads\":" #heads ",\"intermediate_size\":48"

static void test_config(void **state)
{
	static const struct { const char *file, *path, *value, *parts; } cases[] = {
		{"config.json", "hidden_size", "128", "tower.conv: 160 channels|expected hidden 128"},
		{"config.json", "hidden_size", "", "setting hidden: the model's files do not have \"@hidden_size\""},
		{"config.json", "hidden_size", "null", "setting hidden: the model's files do not have"},
		{"config.json", "hidden_size", "\"160\"", "setting hidden is \"160\", expected an integer from 1 to"},
		{"config.json", "hidden_size", "160.0", "setting hidden is 160.0, expected an integer"},
		{"config.json", "hidden_size", "-160", "setting hidden is -160, expected an integer"},
		{"config.json", "hidden_size", "9223372036854775807", "setting hidden is 9223372036854775807"},
		{"config.json", "num_hidden_layers", "3", "tensor \"model.layers.3.|has no place"},
		{"config.json", "num_hidden_layers", "5", "tensor \"model.layers.4.self_attn.q_proj.weight\" is missing"},
		{"config.json", "num_hidden_layers", "0", "setting layers.count is 0"},
		{"config.json", "num_hidden_layers", "4097", "setting layers.count is 4097"},
		{"config.json", "num_attention_heads", "4", "config.json|attention.heads (4) is not a multiple of attention.kv_heads (5)"},
		{"config.json", "num_attention_heads", "6", "attention.heads (6) is not a multiple of attention.kv_heads (5)"},
		{"config.json", "num_key_value_heads", "1", "k_proj.weight\" has the shape [160, 160], expected [32, 160]"},
		{"config.json", "head_dim", "30", "does not divide into pairs"}, {"config.json", "head_dim", "16", "q_proj.weight\" has the shape"},
		{"config.json", "num_experts", "7", "gate.weight\" has the shape [8, 160], expected [7, 160]"},
		{"config.json", "num_experts", "9", "gate.weight\" has the shape [8, 160], expected [9, 160]"},
		{"config.json", "num_experts_per_tok", "9", "router.top_k (9) is larger than router.experts (8)"},
		{"config.json", "num_experts_per_tok", "0", "setting router.top_k is 0"},
		{"config.json", "expert_pools", "[[0,1,2,3],[4,5,6,8]]", "setting router.pools: expert 8 is none of the model's"},
		{"config.json", "expert_pools", "[[0,1,2,3],[4,5,3,7]]", "setting router.pools: expert 3 is there twice"},
		{"config.json", "expert_pools", "[[0,1,2],[4,5,6,7]]", "setting router.pools holds 7 experts, the model has 8"},
		{"config.json", "expert_pools", "[[0,1,2,3,4,5,6,7],[]]", "none of them empty"}, {"config.json", "expert_pools", "8", "setting router.pools is 8"},
		{"config.json", "router_choice", "\"expert\"", "router.chooses expert goes with a softmax or sigmoid score that is the weight"},
		{"config.json", "depth_layers", "[0,4]", "depth.layers (4): the model has 4 layers"},
		{"config.json", "aux_routers", "true", "aux.routers go with router.chooses expert or with depth.layers"},
		{"config.json", "moe_intermediate_size", "191", "gate_proj.weight\" has the shape [192, 160], expected [191, 160]"},
		{"config.json", "vocab_size", "101", "embed_tokens.weight\" has the shape [100, 160], expected [101, 160]"},
		{"config.json", "vocab_size", "2", "text.eos (4) is outside the vocabulary (2)"},
		{"config.json", "bos_token_id", "100", "text.bos (100) is outside the vocabulary (100)"},
		{"config.json", "image_grid", "[4096,4096]", "image.grids: a canvas of 32768 x 32768 pixels"},
		{"config.json", "rms_norm_eps", "-1", "setting norm.eps is -1"}, {"config.json", "rms_norm_eps", "true", "setting norm.eps is true"},
		{"config.json", "norm_topk_prob", "1", "setting router.renormalise is 1, expected true or false"},
		{"config.json", "image_token_id", "100", "merge.placeholder (100) is outside the vocabulary"},
		{"config.json", "image_grid", "[4]", "setting image.grids"}, {"config.json", "image_grid", "[0,16]", "setting image.grids"},
		{"config.json", "image_grid", "[8,16]", "row_embed.weight\" has the shape [4, 160], expected [8, 160]"},
		{"config.json", "patch_size", "4", "expected hidden 160 and patch 4"},
		{"config.json", "num_channels", "1", "setting image.channels is 1"},
		{"config.json", "vision_stem.layers", "[]", "setting tower.conv"}, {"config.json", "vision_stem", "", "setting tower.conv"},
		{"config.json", "vision_stem.layers.1.bias", "true", "convolution without bias"},
		{"config.json", "vision_stem.layers.1.activation", "\"gelu\"", "an activation (silu or none)"},
		{"config.json", "vision_stem.layers.1.in_channels", "33", "conv2 takes 33 channels, 32 come in"},
		{"config.json", "vision_stem.layers.1.kernel_size", "5", "conv2.weight\" has the shape [64, 32, 3, 3], expected [64, 32, 5, 5]"},
		{"config.json", "vision_stem.layers.1.stride", "0", "setting tower.conv"},
		{"config.json", "vision_stem.type", "\"magic\"", "vision_stem.type is \"magic\", expected one of: conv linear encoder"},
		{"config.json", "vision_stem.type", "3", "vision_stem.type is 3, expected one of: conv"},
		{"config.json", "vision_stem.type", "\"linear\"", "setting tower.conv goes with tower.kind=conv_stem or tower.patches=conv only"},
		{"config.json", "vision_stem.type", "\"encoder\"", "setting tower.conv goes with tower.kind=conv_stem or tower.patches=conv only"},
		{"config.json", "vision_stem.patches", "\"conv\"", "setting tower.patches goes with tower.kind=encoder only"},
		{"config.json", "vision_stem.hidden_size", "32", "setting tower.hidden goes with tower.kind=vit or tower.kind=encoder only"},
		{"config.json", "vision_stem.projector", "\"mlp\"", "setting projector.width: the model's files do not have"},
		{"config.json", "vision_stem.projector", "\"linear\"", "tower.kind encoder, projector.kind linear or mlp, and image.kind fit go together"},
		{"config.json", "vision_stem", "{\"type\":\"linear\",\"row_col_embeddings\":true}", "tensor \"model.vision_stem.patch.weight\" is missing"},
		{"config.json", "vision_stem", ENCODER(160, 0, 4) "}", "tensor \"model.vision_stem.patch.weight\" is missing"},
		{"config.json", "vision_stem", ENCODER(160, 0, 4) ",\"projector\":\"linear\"}", "tower.layers 0 goes with projector.kind none"},
		{"config.json", "vision_stem", ENCODER(32, 0, 4) "}", "tower.hidden (32) equal to hidden (160): that is early fusion"},
		{"config.json", "vision_stem", ENCODER(32, 1, 4) "}", "tower.kind encoder with layers goes with projector.kind linear or mlp"},
		{"config.json", "vision_stem", ENCODER(32, 1, 3) ",\"projector\":\"linear\"}", "tower.heads (3) must divide tower.hidden (32)"},
		{"config.json", "vision_stem", ENCODER(32, 1, 4) ",\"projector\":\"linear\",\"projector_size\":8}", "setting projector.width goes with"},
		{"config.json", "image_attention", "\"sideways\"", "image_attention is \"sideways\", expected one of: bidirectional causal"},
		{"config.json", "model_type", "\"llama\"", "llama"}, {"config.json", "model_type", "", "family"},
		{"preprocessor_config.json", "image_mean", "[1,2]", "setting image.mean is [1,2], expected a list of three numbers"},
		{"preprocessor_config.json", "image_std", "[70,0,70]", "setting image.std"},
		{"preprocessor_config.json", "image_std", "", "setting image.std"},
		{"preprocessor_config.json", "pad_color", "\"blue\"", "setting image.pad is \"blue\", expected one of: border_median constant"},
		{"generation_config.json", "eos_token_id", "\"x\"", "setting text.eos"},
		{"generation_config.json", "suppress_tokens", "[-1]", "setting text.suppress"},
		{"generation_config.json", "suppress_tokens", "[0,100]", "text.suppress (100) is outside the vocabulary (100)"},
		{"generation_config.json", "max_new_tokens", "0", "setting text.max_new is 0"},
	};

	(void)state;
	copy_configs();
	write_weights(&(struct edit){0});
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char what[200];
		snprintf(what, sizeof what, "%s: %s = %s", cases[i].file, cases[i].path, cases[i].value);
		alter_json(READ, cases[i].file, cases[i].path, cases[i].value);
		expect_refused(what, MOE_EINPUT, cases[i].parts);
		copy_file(cases[i].file);
	}
}

/* Every truncation of a configuration names its file. */
static void test_truncated_config(void **state)
{
	size_t n;
	uint8_t *bytes = read_bytes(READ "config.json", &n);
	struct moe_spec_options o = options(folder());

	(void)state;
	copy_configs();
	for (size_t i = 0; i + 2 < n; i++) {
		struct moe_spec *s;
		struct moe_diag d = {0};
		write_bytes(scratch("config.json"), bytes, i);
		expect_fail(&d, moe_spec_load(&s, &o, &d), MOE_EINPUT, "config.json: byte ");
	}
	write_bytes(scratch("config.json"), "[]", 2);
	expect_refused("a list", MOE_EINPUT, "config.json: JSON: expected an object");
	write_bytes(scratch("config.json"), "{\"a\":1,\"a\":2}", 13);
	expect_refused("a key twice", MOE_EINPUT, "config.json: byte |duplicate");
	unlink(scratch("config.json"));
	expect_refused("no config", MOE_EIO, "config.json: cannot open");
	free(bytes);
}

/* ---- family files ---- */

static void test_family_files(void **state)
{
	static const struct { const char *path, *value, *parts; } cases[] = {
		{"attention.tomorrow", "1", "unknown setting attention.tomorrow; known are: attention.kind"},
		{"tomorrow", "1", "unknown setting tomorrow"}, {"attention.rope.pairs", "\"even\"",
		 "setting attention.rope.pairs is \"even\", expected one of: half"},
		{"router.score", "\"tanh\"", "setting router.score is \"tanh\", expected one of: softmax sigmoid logit"},
		{"attention.rope.axes", "1", "merge.position axial goes with attention.rope.axes 2"},
		{"tensors.text.q", "\"layers.{L}.self_attn.q_proj.weight:ii\"", "is not a pattern for q"},
		{"tensors.text.q", "\"layers.{L}.self_attn.q_proj.weight:oi:2/2\"", "is not a pattern for q"},
		{"tensors.text.q", "\"layers.{L}.self_attn.q_proj.weight:oi:0/2\"", "has the shape [160, 160], expected [320, 160]"},
		{"tensors.text.gate", "\"layers.{L}.mlp.gate.weight:eoi\"", "has the shape [8, 160], expected [8, 192, 160]"},
		{"attention.mask", "{\"@image_attention\": {\"bidirectional\": \"both\"}}", "setting attention.mask is \"both\", expected one of: causal"},
		{"attention.mask", "{\"@picture_attention\": {\"bidirectional\": \"causal\"}}", "setting attention.mask: the model's files do not have {\"@picture_attention\""},
		{"attention.mask", "{\"image_attention\": \"causal\"}", "setting attention.mask is {\"image_attention\":\"causal\"}, expected one of"},
		{"tower.heads", "4", "setting tower.heads goes with tower.kind=vit or tower.kind=encoder only"},
		{"tensors.q", "\"x\"", "tensors.q: expected a group of names"}, {"tensors.text.q", "", "names no tensor for \"q\""},
		{"tensors.text.q", "\"layers.0.self_attn.q_proj.weight\"", "tensor \"model.layers.0.self_attn.q_proj.weight\" has two places"},
		{"tensors.text.q", "\"layers.{l}.self_attn.q_proj.weight\"", "is not a pattern for q"},
		{"tensors.text.q", "\"layers.{E}.self_attn.q_proj.weight\"", "is not a pattern for q"},
		{"family match", "1", "unknown setting family match"},
		{"tensors.text.q", "3", "names no tensor for \"q\""}, {"hidden", "", "the family file has no setting hidden"},
		{"hidden", "\"@text.hidden_size\"", "do not have \"@text.hidden_size\""},
		{"hidden", "\"@hidden_size/@num_experts_per_token\"", "do not have"},
		{"hidden", "\"@hidden_size*@hidden_size\"", "tower.conv: 160 channels"},
	};
	char family[256];
	struct moe_spec_options o = {.directory = folder(), .families = FAMILIES, .family_file = family};

	(void)state;
	copy_configs();
	write_weights(&(struct edit){0});
	snprintf(family, sizeof family, "%s", scratch("native.json"));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct moe_model *m;
		struct moe_diag d = {0};
		enum moe_err err;
		alter_json(FAMILIES, "native.json", cases[i].path, cases[i].value);
		err = moe_model_open(&m, &o, &d);
		if (!err)
			fail_msg("%s = %s: accepted", cases[i].path, cases[i].value);
		expect_fail(&d, err, MOE_EINPUT, cases[i].parts);
	}
}

/* Row and column embeddings exist for the grids of the model and for no others: features of another grid, as a stream may claim them, would
 * be placed by what lies behind them. */
static void test_foreign_grid(void **state)
{
	static const struct moe_patch_grid grids[] = {{4, 16, 64}, {5, 16, 80}, {16, 4, 64}, {1000, 1, 1000}, {4096, 4096, 1}, {65536, 65536, 1}, {0, 0, 0}};
	static const int32_t token[] = {2, 1};
	static float pixel[192], feature[160];
	struct moe_arena a = {0};
	struct moe_compute work = {&a, NULL, NULL};
	struct moe_layout l;
	struct moe_model *m;
	struct moe_diag d;

	(void)state;
	expect_ok(&d, open_model(READ, &m, &d));
	expect_ok(&d, moe_layout_make(&l, m->spec, token, 2, &grids[0], (struct moe_cursor){16, 0}, &a, &d));
	assert_int_equal(l.rows, 65);
	for (size_t i = 1; i < sizeof grids / sizeof *grids; i++) {
		moe_diag_clear(&d);
		expect_fail(&d, moe_layout_make(&l, m->spec, token, 2, &grids[i], (struct moe_cursor){16, 0}, &a, &d), MOE_EINPUT, "the model has no such grid");
	}
	moe_diag_clear(&d);
	expect_fail(&d, moe_tower_forward(m, pixel, 1, 1, feature, &work, &d), MOE_EINPUT, "1 x 1 patches: the model has no such grid");
	moe_arena_free(&a);
	moe_model_close(m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good), cmocka_unit_test(test_spec_string), cmocka_unit_test(test_fingerprint), cmocka_unit_test(test_tensors),
		cmocka_unit_test(test_truncated_weights), cmocka_unit_test(test_config),
		cmocka_unit_test(test_truncated_config), cmocka_unit_test(test_family_files), cmocka_unit_test(test_foreign_grid),
	};

	return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
