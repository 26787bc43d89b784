#include "bench/figures.h"

#include <string.h>

#include "model/math.h"
#include "report/escape.h"
#include "sys/memory.h"

static const char *kernels(bool fast) { return fast ? moe_fast_name() : moe_kernel_select(); }

static uint64_t packed_nbytes(const struct moe_model *m) { return m->packed ? m->packed_nbytes : 0; }

static void set_real(json_t *o, const char *key, double v) { json_object_set_new(o, key, json_real(v)); }
static void set_integer(json_t *o, const char *key, uint64_t v) { json_object_set_new(o, key, json_integer((json_int_t)v)); }

/* ---- a model ---- */

void moe_figures_model(const struct moe_figures *to, const struct moe_model *m, size_t repeats)
{
	if (to->json)
		return;
	fputs("# ", to->f);
	moe_print_escaped(to->f, m->directory, strlen(m->directory));
	fprintf(to->f, "; arithmetic: %s (%s), threads: %u, runs: %zu\n", moe_math_name(m->math), kernels(m->math == MOE_MATH_FAST), to->threads, repeats);
	fprintf(to->f, "%-11s%8s%11s%11s%11s%9s%8s", "test", "tokens", "tokens/s", "least", "most", "GFLOP/s", "GB/s");
	for (int i = 0; i < MOE_N_TIMES; i++)
		fprintf(to->f, "%11s", moe_time_name((enum moe_time)i));
	fputc('\n', to->f);
}

static json_t *runs_json(const struct moe_bench_pass *p)
{
	json_t *runs = json_array();

	for (size_t i = 0; i < p->repeats; i++)
		json_array_append_new(runs, json_real(p->run[i]));
	return runs;
}

static json_t *seconds_json(const struct moe_bench_pass *p)
{
	json_t *seconds = json_object();

	for (int i = 0; i < MOE_N_TIMES; i++)
		set_real(seconds, moe_time_name((enum moe_time)i), p->seconds[i]);
	return seconds;
}

static void pass_json(const struct moe_figures *to, const char *test, const struct moe_bench_pass *p, const struct moe_model *m)
{
	json_t *o = json_pack("{s:s, s:o, s:s, s:s}", "test", test, "model", moe_json_text(m->directory, strlen(m->directory)), "math", moe_math_name(m->math),
			      "kernels", kernels(m->math == MOE_MATH_FAST));

	set_integer(o, "threads", to->threads);
	set_integer(o, "tokens", p->tokens);
	set_real(o, "tokens_per_second", p->rate.median);
	set_real(o, "least", p->rate.least);
	set_real(o, "most", p->rate.most);
	json_object_set_new(o, "runs", runs_json(p));
	json_object_set_new(o, "seconds_per_token", seconds_json(p));
	set_real(o, "gflops", p->flops_per_token * p->rate.median / 1e9);
	if (p->weight_nbytes) {
		set_integer(o, "weight_bytes_per_token", p->weight_nbytes);
		set_real(o, "gigabytes_per_second", (double)p->weight_nbytes * p->rate.median / 1e9);
	}
	set_integer(o, "packed_bytes", packed_nbytes(m));
	set_integer(o, "memory_bytes", moe_memory_peak());
	moe_print_json(to->f, o);
}

static void pass_text(FILE *f, const char *test, const struct moe_bench_pass *p)
{
	double sum = 0;

	fprintf(f, "%-11s%8zu%11.1f%11.1f%11.1f%9.1f", test, p->tokens, p->rate.median, p->rate.least, p->rate.most, p->flops_per_token * p->rate.median / 1e9);
	if (p->weight_nbytes)
		fprintf(f, "%8.1f", (double)p->weight_nbytes * p->rate.median / 1e9);
	else
		fprintf(f, "%8s", "-");
	for (int i = 0; i < MOE_N_TIMES; i++)
		sum += p->seconds[i];
	for (int i = 0; i < MOE_N_TIMES; i++)
		fprintf(f, "%9.1f %%", 100 * p->seconds[i] / sum);
	fputc('\n', f);
}

void moe_figures_pass(const struct moe_figures *to, const char *test, const struct moe_bench_pass *p, const struct moe_model *m)
{
	if (to->json)
		pass_json(to, test, p, m);
	else
		pass_text(to->f, test, p);
	fflush(to->f);
}

void moe_figures_memory(const struct moe_figures *to, const struct moe_model *m)
{
	if (!to->json)
		fprintf(to->f, "# weights that a token reads: %.3f GB; packed weights: %.3f GB; memory at most: %.3f GB\n", (double)moe_bench_weight_nbytes(m) / 1e9,
			(double)packed_nbytes(m) / 1e9, (double)moe_memory_peak() / 1e9);
}

/* ---- kernels ---- */

static void peak_row(const struct moe_figures *to, const char *name, const char *how, double rate, bool is_read)
{
	json_t *o;

	if (!to->json) {
		fprintf(to->f, "# %-5s%8.1f %s (%s)\n", name, rate / 1e9, is_read ? "GB/s" : "GFLOP/s", how);
		return;
	}
	o = json_pack("{s:s, s:s, s:i}", "peak", name, "how", how, "threads", (int)to->threads);
	set_real(o, is_read ? "gigabytes_per_second" : "gflops", rate / 1e9);
	moe_print_json(to->f, o);
}

void moe_figures_peaks(const struct moe_figures *to, const struct moe_peaks *peaks)
{
	if (!to->json)
		fprintf(to->f, "# peaks of this machine, threads: %u\n", to->threads);
	for (int i = 0; i < MOE_N_PEAKS; i++)
		if (peaks->rate[i] > 0)
			peak_row(to, moe_peak_name((enum moe_peak)i), peaks->how[i], peaks->rate[i], i == MOE_PEAK_READ);
	if (!to->json)
		fprintf(to->f, "%-8s%-7s%-10s%8s%8s%6s%10s%9s%8s%9s\n", "type", "math", "kernels", "outputs", "inputs", "rows", "GFLOP/s", "of peak", "GB/s",
			"of read");
	fflush(to->f);
}

void moe_figures_product(const struct moe_figures *to, const struct moe_bench_weights *w, size_t m, const struct moe_product *p, const struct moe_peaks *peaks)
{
	const struct moe_mat *mat = &w->mat[0];
	const char *type = moe_dtype_name(mat->type), *math = moe_math_name(w->fast ? MOE_MATH_FAST : MOE_MATH_EXACT);
	double flops = p->flops / p->seconds.median, read = p->nbytes / p->seconds.median;
	json_t *o;

	if (!to->json) {
		fprintf(to->f, "%-8s%-7s%-10s%8zu%8zu%6zu%10.1f%7.1f %%%8.1f%7.1f %%\n", type, math, kernels(w->fast), mat->rows, mat->cols, m, flops / 1e9,
			100 * flops / peaks->rate[p->peak], read / 1e9, 100 * read / peaks->rate[MOE_PEAK_READ]);
		fflush(to->f);
		return;
	}
	o = json_pack("{s:s, s:s, s:s, s:s}", "type", type, "math", math, "kernels", kernels(w->fast), "peak_of", moe_peak_name(p->peak));
	set_integer(o, "threads", to->threads);
	set_integer(o, "outputs", mat->rows);
	set_integer(o, "inputs", mat->cols);
	set_integer(o, "rows", m);
	set_real(o, "gflops", flops / 1e9);
	set_real(o, "share_of_peak", flops / peaks->rate[p->peak]);
	set_real(o, "gigabytes_per_second", read / 1e9);
	set_real(o, "share_of_read", read / peaks->rate[MOE_PEAK_READ]);
	set_real(o, "seconds", p->seconds.median);
	set_real(o, "least_seconds", p->seconds.least);
	set_real(o, "most_seconds", p->seconds.most);
	moe_print_json(to->f, o);
	fflush(to->f);
}

/* ---- training ---- */

void moe_figures_training(const struct moe_figures *to, const struct moe_bench_training *t, const struct moe_bench_training_options *o,
			  const struct moe_peaks *peaks)
{
	double flops = t->rate.median * t->flops_per_token, peak = peaks->rate[o->unit == MOE_UNIT_BF16 ? MOE_PEAK_BF16 : MOE_PEAK_F32];
	const char *products = o->unit == MOE_UNIT_BF16 ? "bf16" : "f32", *optimiser = o->adamw ? "adamw" : "muon";
	json_t *row;

	if (!to->json) {
		fprintf(to->f, "# training, threads: %u, steps: %zu of %zu tokens\n", to->threads, o->repeats, t->tokens);
		fprintf(to->f, "%-10s%-13s%-11s%10s%10s%10s%10s%10s%11s\n", "products", "kernels", "optimiser", "tokens/s", "least", "most", "GFLOP/s", "of peak",
			"optimiser");
		fprintf(to->f, "%-10s%-13s%-11s%10.0f%10.0f%10.0f%10.1f%8.1f %%%9.1f %%\n", products, moe_gemm_name(o->unit), optimiser, t->rate.median, t->rate.least,
			t->rate.most, flops / 1e9, 100 * flops / peak, 100 * t->optimiser);
		return;
	}
	row = json_pack("{s:s, s:s, s:s, s:s}", "test", "training", "products", products, "kernels", moe_gemm_name(o->unit), "optimiser", optimiser);
	set_integer(row, "threads", to->threads);
	set_integer(row, "tokens", t->tokens);
	set_real(row, "tokens_per_second", t->rate.median);
	set_real(row, "least", t->rate.least);
	set_real(row, "most", t->rate.most);
	set_real(row, "gflops", flops / 1e9);
	set_real(row, "share_of_peak", flops / peak);
	set_real(row, "optimiser_share", t->optimiser);
	moe_print_json(to->f, row);
}
