/* A table or a log of trainings: what is taken can be fitted, compared and printed, and the table that is printed is taken again with as many measurements. */
#include "fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/scaling.h"

enum { MOST = 64 };             /* measurements that are worth the time */

static enum moe_err parse(struct moe_runs *r, const void *bytes, size_t n, struct moe_diag *d)
{
	char *text = malloc(n + 1);
	enum moe_err err;

	FUZZ_EXPECT(text);
	memcpy(text, bytes, n);
	text[n] = 0;
	err = moe_runs_parse(r, text, n, "nowhere/table", NULL, &(struct moe_runs_options){.unsized = true}, d);
	free(text);
	return err;
}

static void print_again(const struct moe_runs *r)
{
	struct moe_runs again = {0};
	struct moe_diag d = {0};
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	FUZZ_EXPECT(f && !moe_report_runs(f, r, &d) && !fclose(f));
	FUZZ_EXPECT(!parse(&again, text, n, &d));
	FUZZ_EXPECT(again.n == r->n && again.n_measures == r->n_measures);
	moe_runs_free(&again);
	free(text);
}

static void fit(const struct moe_runs *r, size_t measure, FILE *f)
{
	struct moe_law_point *p;
	struct moe_law_cost cost;
	struct moe_law_fit fit;
	struct moe_diag d = {0};
	size_t n;

	if (moe_law_points(&p, &n, &cost, r, 0, measure, &d))
		return;
	if (!moe_law_fit(&fit, p, n, &(struct moe_law_fit_options){.resamples = 2}, &d)) {
		struct moe_scaling_law l = {"", "loss", &fit, &cost, r->counted};
		FUZZ_EXPECT(fit.objective >= 0 && !isnan(fit.law.value[MOE_LAW_ALPHA]));
		FUZZ_EXPECT(!moe_report_law(f, &l, MOE_LOAD_JSON, false, &d) && !moe_report_law(f, &l, MOE_LOAD_TEXT, false, &d));
		FUZZ_EXPECT(!moe_chart_law(f, &l, p, n, &d));
		moe_law_fit_free(&fit);
	}
	free(p);
}

static void compare(const struct moe_runs *r, size_t measure, FILE *f)
{
	struct moe_savings_options o = {.measure = &measure, .n_measures = 1, .resamples = 3};
	struct moe_savings s;
	struct moe_paired *p;
	struct moe_diag d = {0};

	if (!moe_savings_make(&s, r, &o, &d)) {
		FUZZ_EXPECT(!moe_report_savings(f, r, &s, &o, MOE_LOAD_TEXT, &d) && !moe_report_savings(f, r, &s, &o, MOE_LOAD_JSON, &d));
		FUZZ_EXPECT(!moe_chart_savings(f, r, 0, measure, MOE_COST_FLOPS, &d));
		moe_savings_free(&s);
	}
	moe_diag_clear(&d);
	if (!moe_paired_make(&p, r, 0, &measure, 1, &d)) {
		FUZZ_EXPECT(!moe_report_paired(f, r, 0, p, r->n_arms - 1, MOE_LOAD_TEXT, &d));
		free(p);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct moe_runs r = {0};
	struct moe_diag d = {0};
	enum moe_err err;

	if (memmem(data, size, "log", 3))
		return 0;               /* files elsewhere are not for fuzzing */
	err = parse(&r, data, size, &d);
	FUZZ_EXPECT(err == d.code && (!err || d.text[0]));
	if (!err) {
		FILE *f = fopen("/dev/null", "w");
		FUZZ_EXPECT(f && r.n);
		print_again(&r);
		for (size_t m = 0; m < r.n_measures && m < 2 && r.n <= MOST; m++) {
			fit(&r, m, f);
			compare(&r, m, f);
		}
		fclose(f);
	}
	moe_runs_free(&r);
	return 0;
}
