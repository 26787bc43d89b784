/* moe-bench: how fast a model runs or is trained here and where the time goes, or how fast the kernels are against what the machine could do. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/figures.h"
#include "common/cli.h"
#include "common/memory.h"
#include "model/math.h"
#include "sys/memory.h"
#include "train/create.h"
#include "train/net.h"

static struct {
	long prompt, generate, repeat;
	const char *type, *products, *optimiser;
	bool json;
} o = {.prompt = 512, .generate = 64, .repeat = 3, .products = "bf16", .optimiser = "muon"};

static struct moe_figures to;

static void run_test(const char *name, struct moe_session *s, size_t tokens, size_t rows)
{
	struct moe_bench_pass p;
	struct moe_diag d = {0};

	if (!tokens)
		return;
	cli_check(moe_bench_run(&p, s, tokens, rows, (size_t)o.repeat, &d), &d);
	moe_figures_pass(&to, name, &p, s->model);
	moe_bench_free(&p);
}

static void bench_model(struct moe_pool *pool)
{
	struct moe_model *m = cli_model();
	struct moe_prompt_ids prompt = {.n = (size_t)(o.prompt > o.generate ? o.prompt : o.generate)};
	struct moe_session s;
	struct moe_diag d = {0};

	if (!prompt.n)
		cli_fail("-p 0 and -n 0: there is nothing to measure");
	memory_check(m, NULL, &prompt, 0, 0, 1);
	memory_use_math(m, pool);
	cli_check(moe_session_init(&s, m, pool, &d), &d);
	moe_figures_model(&to, m, (size_t)o.repeat);
	run_test("prompt", &s, (size_t)o.prompt, (size_t)o.prompt);
	run_test("generation", &s, (size_t)o.generate, 1);
	moe_figures_memory(&to, m);
	moe_session_free(&s);
	moe_model_close(m);
}

/* All products with weights of a type: of a prompt, and of one token, with a matrix of an attention and with one of an expert. */
static void bench_type(enum moe_dtype t, bool fast, const struct moe_peaks *peaks, struct moe_pool *pool)
{
	static const struct { size_t outputs, inputs, rows[2]; } shapes[] = {{2048, 2048, {512, 1}}, {1024, 2048, {64, 1}}};
	struct moe_bench_weights w;
	struct moe_product p;
	struct moe_diag d = {0};

	for (size_t i = 0; i < 2; i++) {
		cli_check(moe_bench_weights_init(&w, t, shapes[i].outputs, shapes[i].inputs, fast, pool, &d), &d);
		for (size_t j = 0; j < 2; j++) {
			cli_check(moe_bench_product(&p, &w, shapes[i].rows[j], pool, &d), &d);
			moe_figures_product(&to, &w, shapes[i].rows[j], &p, peaks);
		}
		moe_bench_weights_free(&w);
	}
}

static void bench_kernels(struct moe_pool *pool)
{
	enum moe_dtype only = o.type ? moe_bench_find_type(o.type) : MOE_N_TYPES;
	enum moe_math math = cli.math ? moe_math_find(cli.math) : MOE_MATH_FAST;
	struct moe_peaks peaks;
	struct moe_diag d = {0};

	if (o.type && only == MOE_N_TYPES)
		cli_fail("--type %s: expected F32, F16, BF16, or a block type such as Q8_0 or Q4_K", o.type);
	if (math == MOE_N_MATHS)
		cli_fail("--math %s: exact and fast are known", cli.math);
	if (!memory_any && moe_memory_available() < MOE_PEAK_NBYTES + (64 << 20))
		cli_fail("%d MB of memory are needed, but %.0f MB are available (--any-memory begins all the same)", (MOE_PEAK_NBYTES >> 20) + 64,
			 (double)moe_memory_available() / (1 << 20));
	cli_check(moe_peaks_measure(&peaks, pool, &d), &d);
	moe_figures_peaks(&to, &peaks);
	for (int t = 0; t < MOE_N_TYPES; t++)
		if (moe_bench_has_type((enum moe_dtype)t) && (!o.type || t == (int)only))
			bench_type((enum moe_dtype)t, math == MOE_MATH_FAST && (cli.math || t >= MOE_N_DTYPES), &peaks, pool);
}

/* A new model of the usual size, in a temporary folder that lives as long as it is open; or the one that was asked for. */
static struct moe_model *model_to_train(void)
{
	const char *tmp = getenv("TMPDIR");
	json_t *description = json_loads(moe_bench_description, 0, NULL);
	static const char *const files[] = {"config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
					    "model.safetensors"};
	char folder[3000], name[4096];
	struct moe_model *m;
	struct moe_diag d = {0};

	if (cli.model)
		return cli_model();
	snprintf(folder, sizeof folder, "%s/moe-bench-XXXXXX", tmp ? tmp : "/tmp");
	if (!description || !mkdtemp(folder))
		cli_fail("%s: a temporary folder cannot be made", folder);
	cli_check(moe_create_model(folder, description, 1, &d), &d);
	json_decref(description);
	cli.model = folder;
	m = cli_model();
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(name, sizeof name, "%s/%s", folder, files[i]);
		unlink(name);
	}
	rmdir(folder);
	return m;
}

static void bench_training(struct moe_pool *pool)
{
	struct moe_bench_training_options t = {.repeats = (size_t)o.repeat, .sequences = 48, .text = 84};
	struct moe_bench_training result;
	struct moe_peaks peaks;
	struct moe_model *m;
	struct moe_diag d = {0};

	if (strcmp(o.products, "bf16") && strcmp(o.products, "f32"))
		cli_fail("--products %s: bf16 and f32 are known", o.products);
	if (strcmp(o.optimiser, "muon") && strcmp(o.optimiser, "adamw"))
		cli_fail("--optimiser %s: muon and adamw are known", o.optimiser);
	t.unit = strcmp(o.products, "f32") ? MOE_UNIT_BF16 : MOE_UNIT_F32;
	t.adamw = !strcmp(o.optimiser, "adamw");
	m = model_to_train();
	cli_check(moe_peaks_measure(&peaks, pool, &d), &d);
	cli_check(moe_bench_training_run(&result, m, &t, pool, &d), &d);
	moe_figures_training(&to, &result, &t, &peaks);
	moe_model_close(m);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'p', "prompt-tokens", OPT_INT, &o.prompt, "N", "tokens of the prompt; 0: no prompt", 0, 1000000, "512"},
		{'n', "new-tokens", OPT_INT, &o.generate, "N", "tokens to generate, behind an empty context; 0: none", 0, 1000000, "64"},
		{'r', "repeat", OPT_INT, &o.repeat, "N", "measured runs of each test, after one to warm up", 1, 1000, "3"},
		{0, "type", OPT_TEXT, &o.type, "TYPE", "kernels: only those of weights of this type, such as BF16, Q8_0 or Q4_K", 0, 0, "all types"},
		{0, "products", OPT_TEXT, &o.products, "KIND", "train: what products are made of, bf16 or f32", 0, 0, "bf16"},
		{0, "optimiser", OPT_TEXT, &o.optimiser, "NAME", "train: muon for the matrices of the layers, or adamw for everything", 0, 0, "muon"},
		{0, "json", OPT_FLAG, &o.json, 0, "one JSON object per row", 0, 0, 0},
		OPT_MEMORY, OPT_MODEL, OPT_MATH, OPT_END,
	};
	static const struct tool tool = {"moe-bench", "model [MODEL] | train [MODEL] | kernels", "Measures how fast a model runs here or is trained, or how fast the kernels are.", opts};
	struct moe_pool *pool;
	bool kernels, train;
	int at;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	kernels = at < argc && !strcmp(argv[at], "kernels");
	train = at < argc && !strcmp(argv[at], "train");
	if (at == argc || at + (kernels ? 1 : 2) < argc || (!kernels && !train && strcmp(argv[at], "model")))
		opt_usage(&tool);
	if (at + 1 < argc)
		cli.model = argv[at + 1];
	pool = cli_pool();
	to = (struct moe_figures){stdout, o.json, (unsigned)cli.threads};
	if (kernels)
		bench_kernels(pool);
	else if (train)
		bench_training(pool);
	else
		bench_model(pool);
	moe_pool_free(pool);
	return cli_close_stdout();
}
