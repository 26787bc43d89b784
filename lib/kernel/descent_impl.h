/* The vector kernels of descent.h, written once over v16.h. Products and sums are rounded apart: no fma. */

TARGET static void adamw(float *w, float *m, float *v, const float *g, size_t n, const struct moe_adamw *a)
{
	v16 scale = v_set(a->scale), beta1 = v_set(a->beta1), rest1 = v_set(a->rest1), beta2 = v_set(a->beta2), rest2 = v_set(a->rest2);
	v16 whole1 = v_set(a->whole1), whole2 = v_set(a->whole2), keep = v_set(a->keep), rate = v_set(a->rate), epsilon = v_set(a->epsilon);

	for (size_t i = 0; i < n; i += LANES) {
		size_t k = n - i < LANES ? n - i : LANES;
		v16 x = v_mul(v_load_n(g + i, k), scale), mean, square, root;
		mean = v_add(v_mul(v_load_n(m + i, k), beta1), v_mul(rest1, x));
		square = v_add(v_mul(v_load_n(v + i, k), beta2), v_mul(v_mul(rest2, x), x));
		root = v_add(v_sqrt(v_mul(square, whole2)), epsilon);
		v_store_n(m + i, mean, k);
		v_store_n(v + i, square, k);
		v_store_n(w + i, v_sub(v_mul(v_load_n(w + i, k), keep), v_div(v_mul(rate, v_mul(mean, whole1)), root)), k);
	}
}

TARGET static void nesterov(float *x, float *m, const float *g, size_t n, float beta, float scale)
{
	v16 b = v_set(beta), s = v_set(scale);

	for (size_t i = 0; i < n; i += LANES) {
		size_t k = n - i < LANES ? n - i : LANES;
		v16 y = v_mul(v_load_n(g + i, k), s), mean = v_add(v_mul(v_load_n(m + i, k), b), y);
		v_store_n(m + i, mean, k);
		v_store_n(x + i, v_add(y, v_mul(b, mean)), k);
	}
}

TARGET static void blend(float *out, float a, const float *x, float b, const float *y, size_t n)
{
	v16 p = v_set(a), q = v_set(b);

	for (size_t i = 0; i < n; i += LANES) {
		size_t k = n - i < LANES ? n - i : LANES;
		v_store_n(out + i, v_add(v_mul(p, v_load_n(x + i, k)), v_mul(q, v_load_n(y + i, k))), k);
	}
}
