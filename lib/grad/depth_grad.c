#include "grad/depth_grad.h"

#include <string.h>

#include "kernel/kernel.h"

static float sigmoid(float z) { return 1.0f / (1.0f + moe_exp(-z)); }

void moe_depth_scores(float *logit, const float *x, const float *w, size_t rows, size_t hidden)
{
	for (size_t r = 0; r < rows; r++)
		logit[r] = moe_dot(x + r * hidden, w, hidden);
}

void moe_depth_merge(float *out, const float *x, const float *y, const float *logit, const uint32_t *row, size_t n, size_t rows, size_t hidden)
{
	memcpy(out, x, rows * hidden * sizeof *out);
	for (size_t i = 0; i < n; i++) {
		const float *from = x + row[i] * hidden, *to = y + i * hidden;
		float g = sigmoid(logit[row[i]]);
		for (size_t j = 0; j < hidden; j++)
			out[row[i] * hidden + j] += g * (to[j] - from[j]);
	}
}

void moe_depth_backward(float *dx, float *dy, float *dw, float *dlogit, const float *x, const float *y, const float *logit, const float *w, const uint32_t *row,
			size_t n, size_t hidden)
{
	for (size_t i = 0; i < n; i++) {
		float *d = dx + row[i] * hidden, *to = dy + i * hidden, g = sigmoid(logit[row[i]]);
		const float *from = x + row[i] * hidden, *made = y + i * hidden;
		double sum = 0;
		for (size_t j = 0; j < hidden; j++)
			sum += (double)d[j] * ((double)made[j] - (double)from[j]);
		dlogit[i] = (float)sum * g * (1 - g);
		for (size_t j = 0; j < hidden; j++) {
			to[j] = g * d[j];
			d[j] += dlogit[i] * w[j] - g * d[j];
			dw[j] += dlogit[i] * from[j];
		}
	}
}
