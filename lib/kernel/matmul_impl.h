/* Matrix product by tiles of TILE_M rows of x and TILE_N weight rows. For several rows the weight rows of a tile are widened once into a
 * panel; for a few they are widened on the way. Both add in the order of a dot product, so the bits are the same. */

#if defined MOE_V_AVX512
enum { TILE_M = 6, TILE_N = 4 };        /* 24 sums, 4 weights, 1 x of 32 registers */
#elif defined MOE_V_AVX2
enum { TILE_M = 3, TILE_N = 2 };        /* 12 half sums, 4 weights, x from memory, of 16 */
#else
enum { TILE_M = 1, TILE_N = 2 };
#endif

enum { PANEL_K = 4096, FEW = 3 };       /* widest panel in floats per row; rows of x up to which none is made */

/* Sums of m <= TILE_M rows by n = TILE_N weights. w is a panel [TILE_N][ldw], padded with zeros to whole vectors. */
FN void tile_panel(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const float *w, size_t ldw, size_t n, size_t k)
{
	v16 sum[TILE_M][TILE_N];
	size_t at = 0;

	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t j = 0; j < TILE_N; j++)
			sum[i][j] = v_zero();
	for (; at + LANES <= k; at += LANES) {
		v16 b[TILE_N];
		UNROLL
		for (size_t j = 0; j < TILE_N; j++)
			b[j] = v_load(w + j * ldw + at);
		UNROLL
		for (size_t i = 0; i < m; i++) {
			v16 a = v_load(x + i * ldx + at);
			UNROLL
			for (size_t j = 0; j < TILE_N; j++)
				sum[i][j] = v_fma(b[j], a, sum[i][j]);
		}
	}
	if (at < k)
		UNROLL
		for (size_t i = 0; i < m; i++) {
			v16 a = v_load_n(x + i * ldx + at, k - at);
			UNROLL
			for (size_t j = 0; j < TILE_N; j++)
				sum[i][j] = v_fma(v_load(w + j * ldw + at), a, sum[i][j]);
		}
	UNROLL
	for (size_t i = 0; i < m; i++) {
		if (TILE_N == 4 && n == 4)
			v_sum4(y + i * ldy, sum[i][0], sum[i][1], sum[i][2 % TILE_N], sum[i][3 % TILE_N]);
		else
			UNROLL
			for (size_t j = 0; j < n; j++)
				y[i * ldy + j] = v_sum(sum[i][j]);
	}
}

FN void widen_rows(float *panel, size_t ldp, const struct moe_mat *w, size_t row, size_t n, enum moe_dtype type)
{
	size_t nbytes = type == MOE_F32 ? 4 : 2;

	UNROLL
	for (size_t j = 0; j < n; j++) {
		const char *from = (const char *)w->data + (row + j) * w->stride * nbytes;
		for (size_t at = 0; at < w->cols; at += LANES)
			v_store(panel + j * ldp + at, v_load_weights(from + at * nbytes, type, w->cols - at < LANES ? w->cols - at : LANES));
	}
}

FN void panel_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1, enum moe_dtype type)
{
	_Alignas(64) float panel[TILE_N * PANEL_K];
	size_t ldp = (w->cols + LANES - 1) / LANES * LANES;

	memset(panel, 0, sizeof(float) * TILE_N * ldp);
	for (size_t row = n0; row < n1; row += TILE_N) {
		size_t n = n1 - row < TILE_N ? n1 - row : TILE_N, i = 0;
		widen_rows(panel, ldp, w, row, n, type);
		for (; i + TILE_M <= m; i += TILE_M)
			tile_panel(y + i * ldy + row, ldy, x + i * ldx, ldx, TILE_M, panel, ldp, n, w->cols);
		for (; TILE_M > 3 && i + 3 <= m; i += 3)
			tile_panel(y + i * ldy + row, ldy, x + i * ldx, ldx, 3 % (TILE_M + 1), panel, ldp, n, w->cols);
		for (; i < m; i++)
			tile_panel(y + i * ldy + row, ldy, x + i * ldx, ldx, 1, panel, ldp, n, w->cols);
	}
}

/* m <= FEW rows by `n` weight rows that are widened on the way. */
FN void few_tile(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const char *from, size_t step, size_t n, size_t k, enum moe_dtype type)
{
	v16 sum[FEW][TILE_N];
	size_t nbytes = type == MOE_F32 ? 4 : 2;

	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t j = 0; j < n; j++)
			sum[i][j] = v_zero();
	for (size_t at = 0; at < k; at += LANES) {
		size_t lanes = k - at < LANES ? k - at : LANES;
		v16 b[TILE_N];
		UNROLL
		for (size_t j = 0; j < n; j++)
			b[j] = v_load_weights(from + j * step + at * nbytes, type, lanes);
		UNROLL
		for (size_t i = 0; i < m; i++) {
			v16 a = lanes == LANES ? v_load(x + i * ldx + at) : v_load_n(x + i * ldx + at, lanes);
			UNROLL
			for (size_t j = 0; j < n; j++)
				sum[i][j] = v_fma(b[j], a, sum[i][j]);
		}
	}
	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t j = 0; j < n; j++)
			y[i * ldy + j] = v_sum(sum[i][j]);
}

FN void few_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1, enum moe_dtype type)
{
	size_t step = w->stride * (type == MOE_F32 ? 4 : 2), row = n0;
	const char *data = w->data;

	for (; row + TILE_N <= n1; row += TILE_N)
		few_tile(y + row, ldy, x, ldx, m, data + row * step, step, TILE_N, w->cols, type);
	for (; row < n1; row++)
		few_tile(y + row, ldy, x, ldx, m, data + row * step, step, 1, w->cols, type);
}

/* The number of rows as a constant, so that the sums stay in registers. */
FN void few_rows_of(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1, enum moe_dtype type)
{
	if (m == 1)
		few_rows(y, ldy, x, ldx, 1, w, n0, n1, type);
	else if (m == 2)
		few_rows(y, ldy, x, ldx, 2, w, n0, n1, type);
	else
		few_rows(y, ldy, x, ldx, 3, w, n0, n1, type);
}

FN void matmul_type(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1, enum moe_dtype type)
{
	if (m > FEW && w->cols <= PANEL_K) {
		panel_rows(y, ldy, x, ldx, m, w, n0, n1, type);
		return;
	}
	for (size_t i = 0; i < m; i += FEW)
		few_rows_of(y + i * ldy, ldy, x + i * ldx, ldx, m - i < FEW ? m - i : FEW, w, n0, n1, type);
}

TARGET static void matmul_f32(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1)
{
	matmul_type(y, ldy, x, ldx, m, w, n0, n1, MOE_F32);
}

TARGET static void matmul_bf16(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1)
{
	matmul_type(y, ldy, x, ldx, m, w, n0, n1, MOE_BF16);
}

TARGET static void matmul_f16(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1)
{
	matmul_type(y, ldy, x, ldx, m, w, n0, n1, MOE_F16);
}
