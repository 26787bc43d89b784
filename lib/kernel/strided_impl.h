/* Products with weights that lie as [in][out], as fused experts do in some checkpoints. Bits are those of matmul_impl.h. */

enum { STRIP = 512, AHEAD = 6 };         /* outputs whose sums are kept near; inputs whose weights are asked for ahead of time */

/* Adds input k to its partial sums of n outputs, for m rows. The weights of an input lie together; those of the next are far away, where no prefetcher
 * of the CPU looks for them. */
FN void strip_input(float (*sum)[LANES][STRIP], const float *x, size_t ldx, size_t m, const char *from, const char *ahead, size_t k, size_t n,
		    enum moe_dtype type)
{
	size_t r = k % LANES, nbytes = type == MOE_F32 ? 4 : 2;
	v16 a[FEW];

	UNROLL
	for (size_t i = 0; i < m; i++)
		a[i] = v_set(x[i * ldx + k]);
	for (size_t c = 0; c < n; c += LANES) {
		v16 b = v_load_weights(from + c * nbytes, type, moe_min(LANES, n - c));
		if (c * nbytes % 64 == 0)
			__builtin_prefetch(ahead + c * nbytes);
		UNROLL
		for (size_t i = 0; i < m; i++)
			v_store(&sum[i][r][c], v_fma(b, a[i], v_load(&sum[i][r][c])));
	}
}

/* The sums of the tail's missing inputs meet a product of zeros, as in a padded row: -0 becomes +0. */
FN void strip_tail(float (*sum)[LANES][STRIP], size_t m, size_t k, size_t c)
{
	for (size_t i = 0; i < m; i++)
		for (size_t r = k % LANES; k % LANES && r < LANES; r++)
			v_store(&sum[i][r][c], v_fma(v_zero(), v_zero(), v_load(&sum[i][r][c])));
}

/* The tree of a dot product, for 16 outputs at once. */
FN v16 strip_sum(float (*sum)[STRIP], size_t c)
{
	v16 s[LANES];

	for (size_t r = 0; r < LANES; r++)
		s[r] = v_load(&sum[r][c]);
	for (size_t half = LANES / 2; half; half /= 2)
		for (size_t r = 0; r < half; r++)
			s[r] = v_add(s[r], s[r + half]);
	return s[0];
}

/* m <= FEW rows by n <= STRIP outputs, whose first weight is at `from`; `step` bytes from input to input. */
FN void few_strip(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const char *from, size_t step, size_t n, size_t k, enum moe_dtype type)
{
	_Alignas(64) float sum[FEW][LANES][STRIP];

	memset(sum, 0, m * sizeof *sum);
	for (size_t at = 0; at < k; at++)
		strip_input(sum, x, ldx, m, from + at * step, from + moe_min(at + AHEAD, k - 1) * step, at, n, type);
	for (size_t c = 0; c < n; c += LANES) {
		strip_tail(sum, m, k, c);
		for (size_t i = 0; i < m; i++)
			v_store_n(y + i * ldy + c, strip_sum(sum[i], c), moe_min(LANES, n - c));
	}
}

FN void few_inputs_first(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1, enum moe_dtype type)
{
	size_t nbytes = type == MOE_F32 ? 4 : 2;
	const char *data = w->data;

	for (size_t n = n0; n < n1; n += STRIP) {
		size_t wide = moe_min(STRIP, n1 - n);
		if (m == 1)
			few_strip(y + n, ldy, x, ldx, 1, data + n * nbytes, w->step * nbytes, wide, w->cols, type);
		else if (m == 2)
			few_strip(y + n, ldy, x, ldx, 2, data + n * nbytes, w->step * nbytes, wide, w->cols, type);
		else
			few_strip(y + n, ldy, x, ldx, 3, data + n * nbytes, w->step * nbytes, wide, w->cols, type);
	}
}

TARGET static void matmul_inputs_first(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1)
{
	for (size_t i = 0; i < m; i += FEW) {
		size_t rows = moe_min(FEW, m - i);
		if (w->type == MOE_F32)
			few_inputs_first(y + i * ldy, ldy, x + i * ldx, ldx, rows, w, n0, n1, MOE_F32);
		else if (w->type == MOE_BF16)
			few_inputs_first(y + i * ldy, ldy, x + i * ldx, ldx, rows, w, n0, n1, MOE_BF16);
		else
			few_inputs_first(y + i * ldy, ldy, x + i * ldx, ldx, rows, w, n0, n1, MOE_F16);
	}
}

/* 16 outputs of 16 inputs, turned; there is room for whole vectors. */
FN void turn_block(float *to, size_t ld, const char *from, size_t step, size_t inputs, size_t outputs, enum moe_dtype type)
{
	v16 block[LANES];

	for (size_t r = 0; r < LANES; r++)
		block[r] = r < inputs ? v_load_weights(from + r * step, type, outputs) : v_zero();
	v_turn(block);
	for (size_t j = 0; j < outputs; j++)
		v_store(to + j * ld, block[j]);
}

/* Outputs [n0, n0 + n) of [in][out] weights as rows of f32: to [n][ld], ld a multiple of 16. */
TARGET static void turn_rows(float *to, size_t ld, const struct moe_mat *w, size_t n0, size_t n)
{
	size_t nbytes = w->type == MOE_F32 ? 4 : 2, step = w->step * nbytes;

	for (size_t k = 0; k < w->cols; k += LANES)
		for (size_t j = 0; j < n; j += LANES) {
			const char *from = (const char *)w->data + k * step + (n0 + j) * nbytes;
			size_t inputs = moe_min(LANES, w->cols - k), outputs = moe_min(LANES, n - j);
			for (size_t r = 0; r < LANES; r += 2)
				__builtin_prefetch(from + (moe_min(k + 2 * LANES + r, w->cols - 1) - k) * step);
			if (w->type == MOE_F32)
				turn_block(to + j * ld + k, ld, from, step, inputs, outputs, MOE_F32);
			else if (w->type == MOE_BF16)
				turn_block(to + j * ld + k, ld, from, step, inputs, outputs, MOE_BF16);
			else
				turn_block(to + j * ld + k, ld, from, step, inputs, outputs, MOE_F16);
		}
}
