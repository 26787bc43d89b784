/* Elementwise functions. exp: n = round(x / ln 2), r = x - n ln 2 in two steps, a Taylor polynomial of degree 7 on |r| <= ln 2 / 2 (its
 * remainder is below 6e-9 relative), times 2^n in two steps. Below -87.3 the result is 0, by definition, not by a mode of the CPU; there x is raised before
 * anything is computed with it, because CPUs are slow with the subnormal numbers that would come of it. */

FN v16 v_exp(v16 x)
{
	v16 least = v_set(-87.3f), raised = v_max(least, x), n = v_round(v_mul(raised, v_set(1.44269504f))), r, p;

	r = v_fma(n, v_set(-0.693359375f), raised);
	r = v_fma(n, v_set(2.12194440e-4f), r);
	p = v_set(1.98412698e-4f);
	p = v_fma(p, r, v_set(1.38888889e-3f));
	p = v_fma(p, r, v_set(8.33333333e-3f));
	p = v_fma(p, r, v_set(4.16666667e-2f));
	p = v_fma(p, r, v_set(1.66666667e-1f));
	p = v_fma(p, r, v_set(0.5f));
	p = v_fma(p, r, v_set(1.0f));
	p = v_fma(p, r, v_set(1.0f));
	p = v_times_pow2(p, n);
	p = v_if_less(x, least, v_zero(), p);
	return v_if_less(v_set(88.72283f), x, v_set(INFINITY), p);
}

FN v16 v_silu(v16 x) { return v_div(x, v_add(v_set(1.0f), v_exp(v_neg(x)))); }

TARGET static float exp_one(float x)
{
	float f[LANES];

	v_store(f, v_exp(v_set(x)));
	return f[0];
}

TARGET static void silu(float *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		v_store_n(y + i, v_silu(v_load_n(x + i, m)), m);
	}
}

/* 2 √(2/π) (x + 0.044715 x³) = x · (x² · 0.0713548163 + 1.59576912). */
FN v16 v_gelu_tanh(v16 x)
{
	v16 u = v_mul(x, v_fma(v_mul(x, x), v_set(0.0713548163f), v_set(1.59576912f)));

	return v_div(x, v_add(v_set(1.0f), v_exp(v_neg(u))));
}

/* x Φ(x). The tail Φ(-a), a = |x|, is exp(-a²/2) times a polynomial in t = 1 / (1 + 0.3 a), fitted for least relative error (7e-8) on a <= 13.3, behind
 * which exp gives 0. What a²/2 loses by rounding goes into a factor. */
FN v16 v_gelu(v16 x)
{
	static const float c[] = {0.0388423987f, -0.171309114f, 0.232838988f, -0.0809863806f, 0.145413488f, 0.0935526788f, 0.122185014f, 0.119454019f, 8.95004177e-6f};
	v16 a = v_max(x, v_neg(x)), one = v_set(1.0f), t, half, square, tail, p = v_set(c[0]);

	a = v_if_less(a, v_set(14.0f), a, v_set(14.0f));
	t = v_div(one, v_fma(v_set(0.3f), a, one));
	for (size_t i = 1; i < sizeof c / sizeof *c; i++)
		p = v_fma(p, t, v_set(c[i]));
	half = v_mul(a, v_set(0.5f));
	square = v_mul(half, a);
	tail = v_mul(v_exp(v_neg(square)), p);
	tail = v_fma(v_neg(v_fma(half, a, v_neg(square))), tail, tail);
	tail = v_mul(x, tail);
	return v_if_less(x, v_zero(), tail, v_sub(x, tail));
}

TARGET static void gelu(float *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		v_store_n(y + i, v_gelu(v_load_n(x + i, m)), m);
	}
}

TARGET static void gelu_tanh(float *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		v_store_n(y + i, v_gelu_tanh(v_load_n(x + i, m)), m);
	}
}

TARGET static void silu_mul(float *gate, const float *up, size_t n)
{
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		v_store(gate + i, v_mul(v_silu(v_load(gate + i)), v_load(up + i)));
	if (i < n)
		v_store_n(gate + i, v_mul(v_silu(v_load_n(gate + i, n - i)), v_load_n(up + i, n - i)), n - i);
}

TARGET static void axpy(float *y, float a, const float *x, size_t n)
{
	v16 s = v_set(a);
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		v_store(y + i, v_fma(s, v_load(x + i), v_load(y + i)));
	if (i < n)
		v_store_n(y + i, v_fma(s, v_load_n(x + i, n - i), v_load_n(y + i, n - i)), n - i);
}

TARGET static void add(float *y, const float *x, size_t n)
{
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		v_store(y + i, v_add(v_load(y + i), v_load(x + i)));
	if (i < n)
		v_store_n(y + i, v_add(v_load_n(y + i, n - i), v_load_n(x + i, n - i)), n - i);
}

TARGET static float exp_sum(float *y, const float *x, size_t n)
{
	float top = x[0];
	v16 sum = v_zero();

	for (size_t i = 1; i < n; i++)
		top = x[i] > top ? x[i] : top;
	for (size_t i = 0; i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		v16 e = v_exp(v_sub(v_load_n(x + i, m), v_set(top)));
		e = v_outside(e, 0, m, v_zero());
		v_store_n(y + i, e, m);
		sum = v_add(sum, e);
	}
	return v_sum(sum);
}

TARGET static float dot(const float *x, const float *y, size_t n)
{
	v16 sum = v_zero();
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		sum = v_fma(v_load(x + i), v_load(y + i), sum);
	if (i < n)
		sum = v_fma(v_load_n(x + i, n - i), v_load_n(y + i, n - i), sum);
	return v_sum(sum);
}

TARGET static void rms_norm(float *out, size_t ldo, const float *x, size_t ldx, const float *weight, size_t rows, size_t n, float eps)
{
	for (size_t r = 0; r < rows; r++) {
		const float *from = x + r * ldx;
		float *to = out + r * ldo;
		v16 scale = v_set(1.0f / sqrtf(dot(from, from, n) / (float)n + eps));
		for (size_t i = 0; i < n; i += LANES) {
			size_t m = n - i < LANES ? n - i : LANES;
			v_store_n(to + i, v_mul(v_mul(v_load_n(from + i, m), scale), v_load_n(weight + i, m)), m);
		}
	}
}

TARGET static float sum_of(const float *x, size_t n)
{
	v16 sum = v_zero();
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		sum = v_add(sum, v_load(x + i));
	if (i < n)
		sum = v_add(sum, v_load_n(x + i, n - i));
	return v_sum(sum);
}

TARGET static void layer_norm(float *out, size_t ldo, const float *x, size_t ldx, const float *weight, const float *bias, size_t rows, size_t n, float eps)
{
	for (size_t r = 0; r < rows; r++) {
		const float *from = x + r * ldx;
		float *to = out + r * ldo;
		v16 mean = v_set(sum_of(from, n) / (float)n), scale;
		for (size_t i = 0; i < n; i += LANES) {
			size_t m = n - i < LANES ? n - i : LANES;
			v_store_n(to + i, v_sub(v_load_n(from + i, m), mean), m);
		}
		scale = v_set(1.0f / sqrtf(dot(to, to, n) / (float)n + eps));
		for (size_t i = 0; i < n; i += LANES) {
			size_t m = n - i < LANES ? n - i : LANES;
			v_store_n(to + i, v_fma(v_mul(v_load_n(to + i, m), scale), v_load_n(weight + i, m), v_load_n(bias + i, m)), m);
		}
	}
}

TARGET static void rope(float *x, size_t heads, size_t dim, size_t n_pairs, const float *cosine, const float *sine)
{
	for (size_t h = 0; h < heads; h++, x += dim)
		for (size_t i = 0; i < n_pairs; i += LANES) {
			size_t m = n_pairs - i < LANES ? n_pairs - i : LANES;
			v16 a = v_load_n(x + i, m), b = v_load_n(x + n_pairs + i, m), c = v_load_n(cosine + i, m), s = v_load_n(sine + i, m);
			v_store_n(x + i, v_fma(a, c, v_neg(v_mul(b, s))), m);
			v_store_n(x + n_pairs + i, v_fma(a, s, v_mul(b, c)), m);
		}
}

/* Angle in double: minus k · π/2 in two steps (the product inside fma is exact), then Taylor polynomials on |r| <= π/4, whose remainders are below
 * 7e-12. */
TARGET static void sin_cos(float angle, float *sine, float *cosine)
{
	double x = (double)angle, k = rint(x * 0.63661977236758134308), r = fma(-k, 1.5707963267948965580, x), q, s, c;
	double turn = k - 4.0 * floor(k * 0.25);
	int quadrant = turn >= 0 && turn < 4 ? (int)turn : 0;     /* not finite: NaN whichever it is */

	r = fma(-k, 6.1232339957367658e-17, r);
	q = r * r;
	s = fma(q, fma(q, fma(q, fma(q, fma(q, -2.5052108385441718775e-8, 2.7557319223985890653e-6), -1.9841269841269841270e-4), 8.3333333333333333333e-3),
			-1.6666666666666666667e-1), 1.0) * r;
	c = fma(q, fma(q, fma(q, fma(q, fma(q, fma(q, 2.0876756987868098979e-9, -2.7557319223985890653e-7), 2.4801587301587301587e-5), -1.3888888888888888889e-3),
			4.1666666666666666667e-2), -0.5), 1.0);
	*sine = (float)(quadrant & 1 ? (quadrant & 2 ? -c : c) : (quadrant & 2 ? -s : s));
	*cosine = (float)(quadrant & 1 ? (quadrant & 2 ? s : -s) : (quadrant & 2 ? -c : c));
}
