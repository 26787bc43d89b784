/* Mixture-of-depths (Raposo et al. 2024; MoMa, section 2.3): of the rows of a group, those with the largest scores pass a layer, the others stay as they are. With x the
 * layer's input, g = sigmoid(w · x), and y what the layer makes of the rows that it keeps:
 *
 *     x' = x + g (y - x) on kept rows, x on others */
#ifndef MOE_GRAD_DEPTH_GRAD_H
#define MOE_GRAD_DEPTH_GRAD_H

#include <stddef.h>
#include <stdint.h>

/* logit [rows] = w · x, x [rows][hidden]. */
void moe_depth_scores(float *logit, const float *x, const float *w, size_t rows, size_t hidden);

/* out [rows][hidden] from x [rows][hidden] and y [n][hidden], of the kept rows row[i] (rising), whose logits are logit[row[i]]. */
void moe_depth_merge(float *out, const float *x, const float *y, const float *logit, const uint32_t *row, size_t n, size_t rows, size_t hidden);

/* dx [rows][hidden] holds the gradient of out, and becomes that of x but for what passes the layer: dy [n][hidden] = the gradient of y, dw [hidden] += that of w,
 * dlogit [n]. */
void moe_depth_backward(float *dx, float *dy, float *dw, float *dlogit, const float *x, const float *y, const float *logit, const float *w, const uint32_t *row,
			size_t n, size_t hidden);

#endif
