/* Scaling of losses: laws, plans made of them, savings and differences between arms, as text, JSON lines or TSV, and as pictures. */
#ifndef MOE_REPORT_SCALING_H
#define MOE_REPORT_SCALING_H

#include <stdio.h>

#include "report/load.h"
#include "scale/law_runs.h"
#include "scale/paired.h"
#include "scale/savings.h"

/* A law of a loss and what it was fitted to. */
struct moe_scaling_law {
	const char *arm, *loss;         /* arm: "" where there are none */
	const struct moe_law_fit *fit;
	const struct moe_law_cost *cost;
	bool counted;                   /* FLOPs were told, not 6 N D */
};

/* The parameters with their intervals, how the best sizes grow, and how well it fits. `header`: with TSV's header line. */
enum moe_err moe_report_law(FILE *f, const struct moe_scaling_law *l, enum moe_load_format format, bool header, struct moe_diag *d) MOE_CHECK_RESULT;

/* The best size for each of n amounts of FLOPs: N, D and the loss with intervals, a shape with about so many parameters, and the loss of other sizes. */
struct moe_scaling_plan {
	struct moe_scaling_law law;     /* a fit without points: its coefficients were given */
	const double *flops;            /* [n] */
	size_t n;
	double rate;                    /* FLOPs a second; NAN: not known */
	double aspect;                  /* hidden size / layers */
};
enum moe_err moe_report_plan(FILE *f, const struct moe_scaling_plan *p, enum moe_load_format format, bool header, struct moe_diag *d) MOE_CHECK_RESULT;

/* Layers and hidden size (of whole 32) of a transformer whose layers pass a token through about n parameters: 4 hidden² of attention and 8 hidden² of SwiGLU
 * experts, 8/3 of the hidden size wide in all. */
struct moe_shape { long layers, hidden; };
struct moe_shape moe_shape_of(double n, double aspect);

/* Savings of every arm. */
enum moe_err moe_report_savings(FILE *f, const struct moe_runs *r, const struct moe_savings *s, const struct moe_savings_options *o,
				enum moe_load_format format, struct moe_diag *d) MOE_CHECK_RESULT;

/* n differences, in the order of moe_paired_make. */
enum moe_err moe_report_paired(FILE *f, const struct moe_runs *r, size_t baseline, const struct moe_paired *p, size_t n, enum moe_load_format format,
			       struct moe_diag *d) MOE_CHECK_RESULT;

/* The measurements as a table that moe_runs_read reads. */
enum moe_err moe_report_runs(FILE *f, const struct moe_runs *r, struct moe_diag *d) MOE_CHECK_RESULT;

/* Losses over FLOPs: the points, the law for a few of the sizes, and its frontier. */
enum moe_err moe_chart_law(FILE *f, const struct moe_scaling_law *l, const struct moe_law_point *p, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* Losses of a measure over cost: the mean curve of each arm, and each seed's measurements. */
enum moe_err moe_chart_savings(FILE *f, const struct moe_runs *r, size_t baseline, size_t measure, enum moe_cost cost, struct moe_diag *d) MOE_CHECK_RESULT;

/* Differences of a measure from the baseline, arm by arm, with their intervals. p: all that moe_paired_make gave, n of them. */
enum moe_err moe_chart_paired(FILE *f, const struct moe_runs *r, size_t baseline, const struct moe_paired *p, size_t n, size_t measure, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
