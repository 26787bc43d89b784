/* The vector kernels of train.h, written once over v16.h. `unit` is a constant in each of the loops, which are inlined for either kind of numbers. */

/* Address of number i. */
FN void *number(enum moe_unit unit, const void *p, size_t i) { return (uint8_t *)(uintptr_t)p + i * (unit == MOE_UNIT_BF16 ? 2 : 4); }

FN v16 v_load_numbers(enum moe_unit unit, const void *p, size_t i, size_t n)
{
	return v_load_weights(number(unit, p, i), unit == MOE_UNIT_BF16 ? MOE_BF16 : MOE_F32, n);
}

FN void v_store_numbers(enum moe_unit unit, void *p, size_t i, v16 x, size_t n)
{
	uint16_t h[LANES];

	if (unit == MOE_UNIT_F32) {
		v_store_n(number(unit, p, i), x, n);
	} else if (n == LANES) {
		v_store_bf16(number(unit, p, i), x);
	} else {
		v_store_bf16(h, x);
		memcpy(number(unit, p, i), h, n * sizeof *h);
	}
}

/* Calls a function that takes the unit first, with a constant in its place. */
#define BY_UNIT(fn, ...) (unit == MOE_UNIT_BF16 ? fn(MOE_UNIT_BF16, __VA_ARGS__) : fn(MOE_UNIT_F32, __VA_ARGS__))

TARGET static void rms_norm_keep(float *out, float *scale, const float *x, const float *weight, size_t rows, size_t n, float eps)
{
	for (size_t r = 0; r < rows; r++, x += n, out += n) {
		v16 s;
		scale[r] = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
		s = v_set(scale[r]);
		for (size_t i = 0; i < n; i += LANES) {
			size_t m = n - i < LANES ? n - i : LANES;
			v_store_n(out + i, v_mul(v_mul(v_load_n(x + i, m), s), v_load_n(weight + i, m)), m);
		}
	}
}

TARGET static void rms_norm_backward(float *dx, float *dweight, const float *dy, const float *x, const float *scale, const float *weight, size_t rows, size_t n)
{
	for (size_t r = 0; r < rows; r++, x += n, dy += n, dx += n) {
		v16 s = v_set(scale[r]), sum = v_zero(), mean;
		for (size_t i = 0; i < n; i += LANES) {
			size_t m = n - i < LANES ? n - i : LANES;
			v16 hat = v_mul(v_load_n(x + i, m), s), g = v_load_n(dy + i, m);
			v_store_n(dweight + i, v_fma(g, hat, v_load_n(dweight + i, m)), m);
			sum = v_fma(v_mul(g, v_load_n(weight + i, m)), hat, sum);
		}
		mean = v_set(v_sum(sum) / (float)n);
		for (size_t i = 0; i < n; i += LANES) {
			size_t m = n - i < LANES ? n - i : LANES;
			v16 hat = v_mul(v_load_n(x + i, m), s), g = v_mul(v_load_n(dy + i, m), v_load_n(weight + i, m));
			v_store_n(dx + i, v_fma(s, v_sub(g, v_mul(hat, mean)), v_load_n(dx + i, m)), m);
		}
	}
}

FN void swiglu_keep_rows(enum moe_unit unit, void *act, size_t ld, void *kept, const float *gate_up, size_t rows, size_t n)
{
	for (size_t r = 0; r < rows; r++, gate_up += 2 * n)
		for (size_t i = 0; i < n; i += LANES) {
			size_t m = n - i < LANES ? n - i : LANES;
			v16 g = v_load_n(gate_up + i, m), u = v_load_n(gate_up + n + i, m);
			v_store_numbers(unit, kept, r * 2 * n + i, g, m);
			v_store_numbers(unit, kept, r * 2 * n + n + i, u, m);
			v_store_numbers(unit, act, r * ld + i, v_mul(v_silu(g), u), m);
		}
}

TARGET static void swiglu_keep(enum moe_unit unit, void *act, size_t ld, void *kept, const float *gate_up, size_t rows, size_t n)
{
	BY_UNIT(swiglu_keep_rows, act, ld, kept, gate_up, rows, n);
}

FN v16 v_sigmoid(v16 x) { return v_div(v_set(1.0f), v_add(v_set(1.0f), v_exp(v_neg(x)))); }

/* silu'(x) = s · (1 + x · (1 - s)), s = sigmoid(x). */
FN v16 v_silu_slope(v16 x, v16 s) { return v_mul(s, v_fma(x, v_sub(v_set(1.0f), s), v_set(1.0f))); }

FN void swiglu_backward_rows(enum moe_unit unit, void *dgate_up, void *act, size_t ld, float *dweight, const float *da, const void *kept, const float *weight,
			     size_t rows, size_t n)
{
	for (size_t r = 0; r < rows; r++, da += n) {
		v16 w = v_set(weight[r]), sum = v_zero();
		for (size_t i = 0; i < n; i += LANES) {
			size_t m = n - i < LANES ? n - i : LANES;
			v16 g = v_load_numbers(unit, kept, r * 2 * n + i, m), u = v_load_numbers(unit, kept, r * 2 * n + n + i, m);
			v16 s = v_sigmoid(g), swish = v_mul(g, s), a = v_mul(swish, u), d = v_load_n(da + i, m), wd = v_mul(w, d);
			sum = v_fma(d, a, sum);
			v_store_numbers(unit, act, r * ld + i, v_mul(w, a), m);
			v_store_numbers(unit, dgate_up, r * 2 * n + i, v_mul(v_mul(wd, u), v_silu_slope(g, s)), m);
			v_store_numbers(unit, dgate_up, r * 2 * n + n + i, v_mul(wd, swish), m);
		}
		dweight[r] = v_sum(sum);
	}
}

TARGET static void swiglu_backward(enum moe_unit unit, void *dgate_up, void *act, size_t ld, float *dweight, const float *da, const void *kept,
				   const float *weight, size_t rows, size_t n)
{
	BY_UNIT(swiglu_backward_rows, dgate_up, act, ld, dweight, da, kept, weight, rows, n);
}

FN void silu_keep_all(enum moe_unit unit, void *act, void *kept, const float *z, size_t n)
{
	for (size_t i = 0; i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		v16 x = v_load_n(z + i, m);
		v_store_numbers(unit, kept, i, x, m);
		v_store_numbers(unit, act, i, v_silu(x), m);
	}
}

TARGET static void silu_keep(enum moe_unit unit, void *act, void *kept, const float *z, size_t n) { BY_UNIT(silu_keep_all, act, kept, z, n); }

FN void silu_backward_all(enum moe_unit unit, void *dz, const float *da, const void *kept, size_t n)
{
	for (size_t i = 0; i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		v16 x = v_load_numbers(unit, kept, i, m);
		v_store_numbers(unit, dz, i, v_mul(v_load_n(da + i, m), v_silu_slope(x, v_sigmoid(x))), m);
	}
}

TARGET static void silu_backward(enum moe_unit unit, void *dz, const float *da, const void *kept, size_t n) { BY_UNIT(silu_backward_all, dz, da, kept, n); }

/* Largest of n values and of `top`. */
FN v16 v_largest_of(v16 top, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		top = v_max(top, v_outside(v_load_n(x + i, m), 0, m, v_set(-INFINITY)));
	}
	return top;
}

/* exp(x - top), and 0 where that is below e^-40, far under the rounding of the sum: behind it products would become subnormal, which CPUs are slow with. */
FN v16 v_exp_below(v16 x, v16 top)
{
	v16 d = v_sub(x, top);

	return v_if_less(d, v_set(-40.0f), v_zero(), v_exp(d));
}

/* Sum of exp(x - top). */
FN v16 v_exp_sum(v16 sum, const float *x, size_t n, v16 top)
{
	for (size_t i = 0; i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		sum = v_add(sum, v_outside(v_exp_below(v_load_n(x + i, m), top), 0, m, v_zero()));
	}
	return sum;
}

/* exp(x - top) · scale, zeros from n up to room. */
FN void probabilities(enum moe_unit unit, void *p, const float *x, size_t n, size_t room, v16 top, v16 scale)
{
	for (size_t i = 0; i < room; i += LANES) {
		size_t m = room - i < LANES ? room - i : LANES, have = n > i ? (n - i < m ? n - i : m) : 0;
		v16 e = have ? v_mul(v_exp_below(v_load_n(x + i, have), top), scale) : v_zero();
		v_store_numbers(unit, p, i, v_outside(e, 0, have, v_zero()), m);
	}
}

FN void softmax_two_row(enum moe_unit unit, void *pa, void *pb, const float *a, size_t n_a, size_t room_a, const float *b, size_t n_b, size_t room_b)
{
	v16 top = v_set(v_largest(v_largest_of(v_largest_of(v_set(-INFINITY), a, n_a), b, n_b)));
	v16 scale = v_set(1.0f / v_sum(v_exp_sum(v_exp_sum(v_zero(), a, n_a, top), b, n_b, top)));

	probabilities(unit, pa, a, n_a, room_a, top, scale);
	probabilities(unit, pb, b, n_b, room_b, top, scale);
}

TARGET static void softmax_two(enum moe_unit unit, void *pa, void *pb, const float *a, size_t n_a, size_t room_a, const float *b, size_t n_b, size_t room_b)
{
	BY_UNIT(softmax_two_row, pa, pb, a, n_a, room_a, b, n_b, room_b);
}

/* Adds p · g. */
FN v16 v_weighted(enum moe_unit unit, v16 sum, const void *p, const float *g, size_t n)
{
	for (size_t i = 0; i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		sum = v_fma(v_load_numbers(unit, p, i, m), v_load_n(g + i, m), sum);
	}
	return sum;
}

FN void slopes(enum moe_unit unit, void *ds, const void *p, const float *g, size_t n, size_t room, v16 mean)
{
	for (size_t i = 0; i < room; i += LANES) {
		size_t m = room - i < LANES ? room - i : LANES, have = n > i ? (n - i < m ? n - i : m) : 0;
		v16 e = have ? v_mul(v_load_numbers(unit, p, i, have), v_sub(v_load_n(g + i, have), mean)) : v_zero();
		v_store_numbers(unit, ds, i, v_outside(e, 0, have, v_zero()), m);
	}
}

FN void softmax_two_backward_row(enum moe_unit unit, void *da, void *db, const void *pa, const void *pb, const float *ga, size_t n_a, size_t room_a, const float *gb, size_t n_b,
				 size_t room_b)
{
	v16 mean = v_set(v_sum(v_weighted(unit, v_weighted(unit, v_zero(), pa, ga, n_a), pb, gb, n_b)));

	slopes(unit, da, pa, ga, n_a, room_a, mean);
	slopes(unit, db, pb, gb, n_b, room_b, mean);
}

TARGET static void softmax_two_backward(enum moe_unit unit, void *da, void *db, const void *pa, const void *pb, const float *ga, size_t n_a, size_t room_a, const float *gb,
					size_t n_b, size_t room_b)
{
	BY_UNIT(softmax_two_backward_row, da, db, pa, pb, ga, n_a, room_a, gb, n_b, room_b);
}

FN void loss_slopes(enum moe_unit unit, void *dlogit, const float *logit, size_t n, size_t room, size_t target, float weight, float top, float scale)
{
	float one = exp_one(logit[target] - top) * scale;

	probabilities(unit, dlogit, logit, n, room, v_set(top), v_set(scale));
	if (unit == MOE_UNIT_BF16)
		((uint16_t *)dlogit)[target] = moe_bf16_from_f32(one - weight);
	else
		((float *)dlogit)[target] = one - weight;
}

TARGET static float cross_entropy(enum moe_unit unit, void *dlogit, int32_t *best, const float *logit, size_t n, size_t room, size_t target, float weight)
{
	float top = v_largest(v_largest_of(v_set(-INFINITY), logit, n)), sum = v_sum(v_exp_sum(v_zero(), logit, n, v_set(top)));

	for (size_t i = 0; best && i < n; i++)
		if (logit[i] == top) {
			*best = (int32_t)i;
			break;
		}
	if (dlogit)
		BY_UNIT(loss_slopes, dlogit, logit, n, room, target, weight, top, weight / sum);
	return (float)((double)(logit[target] - top) - moe_log((double)sum));
}

/* exp((x - top) · rate) of the values from i on, 0 behind the last. */
FN v16 v_softened(const float *x, size_t i, size_t m, v16 top, v16 rate)
{
	return v_outside(v_exp_below(v_mul(v_sub(v_load_n(x + i, m), top), rate), v_zero()), 0, m, v_zero());
}

TARGET static float soft_targets(float *slope, const float *logit, const float *teacher, size_t n, float tau, float weight)
{
	float top_q = v_largest(v_largest_of(v_set(-INFINITY), logit, n)), top_p = v_largest(v_largest_of(v_set(-INFINITY), teacher, n));
	v16 rate = v_set(1.0f / tau), sum_q = v_zero(), sum_p = v_zero(), gap = v_zero(), scale_q, scale_p;
	double kl;

	for (size_t i = 0; i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		v16 p = v_softened(teacher, i, m, v_set(top_p), rate);
		sum_p = v_add(sum_p, p);
		sum_q = v_add(sum_q, v_softened(logit, i, m, v_set(top_q), rate));
		gap = v_fma(p, v_sub(v_load_n(teacher + i, m), v_load_n(logit + i, m)), gap);
	}
	scale_q = v_set(weight * tau / v_sum(sum_q));
	scale_p = v_set(weight * tau / v_sum(sum_p));
	for (size_t i = 0; slope && i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		v16 p = v_mul(v_softened(teacher, i, m, v_set(top_p), rate), scale_p);
		v16 q = v_mul(v_softened(logit, i, m, v_set(top_q), rate), scale_q);
		v_store_n(slope + i, v_add(v_load_n(slope + i, m), v_sub(q, p)), m);
	}
	kl = ((double)v_sum(gap) / (double)v_sum(sum_p) - ((double)top_p - (double)top_q)) / (double)tau;
	kl += moe_log((double)v_sum(sum_q)) - moe_log((double)v_sum(sum_p));
	return (float)(kl * (double)tau * (double)tau);
}
