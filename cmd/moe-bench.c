/* moe-bench: how fast a model runs here, and where the time goes. */
#include <string.h>

#include "bench/passes.h"
#include "common/cli.h"
#include "common/memory.h"
#include "kernel/kernel.h"
#include "model/math.h"
#include "report/escape.h"
#include "sys/memory.h"

static struct {
	long prompt, generate, repeat;
	bool json;
} o = {.prompt = 512, .generate = 64, .repeat = 3};

/* The variant of the kernels that the arithmetic uses. */
static const char *variant(const struct moe_model *m) { return m->math == MOE_MATH_FAST ? moe_fast_name() : moe_kernel_select(); }

static json_t *pass_json(const char *name, const struct moe_bench_pass *p, const struct moe_model *m)
{
	json_t *runs = json_array(), *seconds = json_object();
	json_t *line = json_pack("{s:s, s:o, s:s, s:s, s:i, s:i, s:f, s:f, s:f}", "test", name, "model", moe_json_text(m->directory, strlen(m->directory)),
				 "math", moe_math_name(m->math), "kernels", variant(m), "threads", (int)cli.threads, "tokens", (int)p->tokens,
				 "tokens_per_second", p->rate.median, "least", p->rate.least, "most", p->rate.most);

	for (size_t i = 0; i < p->repeats; i++)
		json_array_append_new(runs, json_real(p->run[i]));
	for (int i = 0; i < MOE_N_TIMES; i++)
		json_object_set_new(seconds, moe_time_name(i), json_real(p->seconds[i]));
	json_object_set_new(line, "runs", runs);
	json_object_set_new(line, "seconds_per_token", seconds);
	json_object_set_new(line, "gflops", json_real(p->flops_per_token * p->rate.median / 1e9));
	if (p->weight_nbytes) {
		json_object_set_new(line, "weight_bytes_per_token", json_integer((json_int_t)p->weight_nbytes));
		json_object_set_new(line, "gigabytes_per_second", json_real((double)p->weight_nbytes * p->rate.median / 1e9));
	}
	json_object_set_new(line, "packed_bytes", json_integer(m->packed ? (json_int_t)m->packed_nbytes : 0));
	json_object_set_new(line, "memory_bytes", json_integer((json_int_t)moe_memory_peak()));
	return line;
}

static void print_head(const struct moe_model *m)
{
	printf("# %s, %s (%s), threads: %ld, runs: %ld\n%-11s%8s%11s%11s%11s%9s%8s", m->directory, moe_math_name(m->math), variant(m), cli.threads, o.repeat, "test",
	       "tokens", "tokens/s", "least", "most", "GFLOP/s", "GB/s");
	for (int i = 0; i < MOE_N_TIMES; i++)
		printf("%11s", moe_time_name(i));
	putchar('\n');
}

static void print_row(const char *name, const struct moe_bench_pass *p)
{
	double sum = 0;

	for (int i = 0; i < MOE_N_TIMES; i++)
		sum += p->seconds[i];
	printf("%-11s%8zu%11.1f%11.1f%11.1f%9.1f", name, p->tokens, p->rate.median, p->rate.least, p->rate.most, p->flops_per_token * p->rate.median / 1e9);
	if (p->weight_nbytes)
		printf("%8.1f", (double)p->weight_nbytes * p->rate.median / 1e9);
	else
		printf("%8s", "-");
	for (int i = 0; i < MOE_N_TIMES; i++)
		printf("%9.1f %%", 100 * p->seconds[i] / sum);
	putchar('\n');
}

static void run_test(const char *name, struct moe_session *s, size_t tokens, size_t rows)
{
	struct moe_bench_pass p;
	struct moe_diag d = {0};

	if (!tokens)
		return;
	cli_check(moe_bench_run(&p, s, tokens, rows, (size_t)o.repeat, &d), &d);
	if (!o.json)
		print_row(name, &p);
	else if (!moe_print_json(stdout, pass_json(name, &p, s->model)))
		cli_fail("standard output: cannot write");
	fflush(stdout);
	moe_bench_free(&p);
}

static void bench_model(void)
{
	struct moe_pool *pool = cli_pool();
	struct moe_model *m = cli_model();
	struct moe_prompt_ids prompt = {.n = (size_t)(o.prompt > o.generate ? o.prompt : o.generate)};
	struct moe_session s;
	struct moe_diag d = {0};

	if (!o.prompt && !o.generate)
		cli_fail("-p 0 and -n 0: there is nothing to measure");
	memory_check(m, NULL, &prompt, 0, 0, 1);
	cli_check(moe_model_use_math(m, cli_math(m), &(struct moe_math_range){0, (size_t)m->spec->n_layers - 1, true, true, true}, pool, &d), &d);
	cli_check(moe_session_init(&s, m, pool, &d), &d);
	if (!o.json)
		print_head(m);
	run_test("prompt", &s, (size_t)o.prompt, (size_t)o.prompt);
	run_test("generation", &s, (size_t)o.generate, 1);
	if (!o.json)
		printf("# weights packed: %.3f GB, read for a token: %.3f GB, memory at most: %.3f GB\n", m->packed ? (double)m->packed_nbytes / 1e9 : 0.0,
		       (double)moe_bench_weight_nbytes(m) / 1e9, (double)moe_memory_peak() / 1e9);
	moe_session_free(&s);
	moe_model_close(m);
	moe_pool_free(pool);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'p', "prompt-tokens", OPT_INT, &o.prompt, "N", "tokens of the prompt; 0: no prompt", 0, 1000000, "512"},
		{'n', "max-tokens", OPT_INT, &o.generate, "N", "tokens to generate, behind an empty context; 0: none", 0, 1000000, "64"},
		{'r', "repeat", OPT_INT, &o.repeat, "N", "measured runs of each test, after one to warm up", 1, 1000, "3"},
		{0, "json", OPT_FLAG, &o.json, 0, "one JSON object per row", 0, 0, 0},
		OPT_MEMORY, OPT_MODEL, OPT_MATH, OPT_END,
	};
	static const struct tool tool = {"moe-bench", "model [MODEL]", "Measures how fast a model runs here, and where the time goes.", opts};
	int at;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at == argc || at + 2 < argc || strcmp(argv[at], "model"))
		opt_usage(&tool);
	if (at + 1 < argc)
		cli.model = argv[at + 1];
	bench_model();
	return cli_close_stdout();
}
