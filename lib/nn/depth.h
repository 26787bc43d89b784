/* Mixture-of-depths: layers that only some rows take (Raposo et al. 2024; in MoMa: Lin et al. 2024, section 2.3). With z = w x the depth logit of a row x:
 *
 *     taken     the max(1, floor(rows capacity + 0.5)) rows with the largest z (ties: the lowest row), chosen together; of a sequence that goes on, the
 *               rows for which an auxiliary router predicts that: those with a > threshold
 *     x' = x + g ((h - x) + F)    g = sigmoid(z), h = x + Attn(norm x) among taken rows only, F what the layer adds to h;  other rows: x' = x */
#ifndef MOE_NN_DEPTH_H
#define MOE_NN_DEPTH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* Chooses among all rows: logit [rows] → taken [rows], 0 or 1. A logit that is not finite fails with MOE_EINPUT and the row. */
enum moe_err moe_depth_choose(uint8_t *taken, const float *logit, size_t rows, double capacity, struct moe_arena *scratch, struct moe_diag *d) MOE_CHECK_RESULT;

/* What an auxiliary router predicts, row by row: predicted [rows] above the threshold (0: a probability of one half). */
enum moe_err moe_depth_predict(uint8_t *taken, const float *predicted, size_t rows, float threshold, struct moe_diag *d) MOE_CHECK_RESULT;

/* x = x + g · delta for a row of n, by fma; delta is (h - x) + F. */
void moe_depth_apply(float *x, const float *delta, float logit, size_t n);

#endif
