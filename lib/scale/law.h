/* Scaling laws: the loss of a model as a sum of powers of its size and of the tokens that it was trained on.
 *
 *     MOE_LAW_DENSE    L(N, D)    = E + A / N^alpha + B / D^beta                      (Hoffmann et al. 2022, equation 2)
 *     MOE_LAW_SPARSE   L(N, D, S) = E + A / N^alpha + B / D^beta + C / (1-S)^lambda + F / ((1-S)^delta N^gamma)    (Abnar et al. 2025)
 *
 * N: parameters that a token passes (active ones, of a mixture of experts); D: tokens of training; S: share of the experts that a token does not pass. The
 * first law with active parameters is what "Scaling Laws for Native Multimodal Models" (Shukor et al. 2025) fits to dense models and to mixtures of experts
 * alike. */
#ifndef MOE_SCALE_LAW_H
#define MOE_SCALE_LAW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum moe_law_kind { MOE_LAW_DENSE, MOE_LAW_SPARSE, MOE_N_LAWS };

/* Parameters by number; the dense law has those below MOE_LAW_C. */
enum { MOE_LAW_E, MOE_LAW_A, MOE_LAW_ALPHA, MOE_LAW_B, MOE_LAW_BETA, MOE_LAW_C, MOE_LAW_LAMBDA, MOE_LAW_F, MOE_LAW_DELTA, MOE_LAW_GAMMA, MOE_LAW_MOST };

struct moe_law {
	enum moe_law_kind kind;
	double value[MOE_LAW_MOST];
};

/* What a run was like. */
struct moe_law_at {
	double n, d, s;
};

/* A term is a coefficient times powers: the numbers of the parameters that are the exponents of 1/N, 1/D and 1/(1-S), or -1. */
struct moe_law_term {
	int coefficient, power[3];
};

size_t moe_law_parameters(enum moe_law_kind k);
const struct moe_law_term *moe_law_terms(enum moe_law_kind k, size_t *n);

/* "E", "alpha". */
const char *moe_law_name(size_t parameter);

/* "dense", "sparse"; -1: there is no such law. */
int moe_law_find(const char *name);
const char *moe_law_kind_name(enum moe_law_kind k);

double moe_law_loss(const struct moe_law *l, struct moe_law_at at);

/* The size that gives the least loss for `flops` = cost · N · D at sparsity s: for the dense law N = (alpha A / beta B)^(1 / (alpha + beta)) (flops / cost)^a,
 * else the root of dL / d log N along that line, where L is convex. NAN when exponents do not allow one. */
struct moe_law_at moe_law_optimum(const struct moe_law *l, double flops, double cost, double s);

/* How the optimum grows with the compute C: N ~ C^a, D ~ C^b, and L = K C^c. For the dense law a = beta / (alpha + beta) and b = alpha / (alpha + beta); else,
 * and for K and c in any case, from straight lines through the logarithms between two amounts of FLOPs, as the paper has it. */
struct moe_law_growth {
	double a, b, c, k;
};
struct moe_law_growth moe_law_grow(const struct moe_law *l, double flops_from, double flops_to, double cost, double s);

#endif
