/* Matrix product by tiles of TILE_M rows of x and TILE_N weight rows. For several rows the weight rows of a tile are widened once into a
 * panel; for a few they are widened on the way. Both add in the order of a dot product, so the bits are the same. */

/* Rows of a tile: 6 × 4 sums, 4 weights and an x fill AVX-512's 32 registers; 3 × 4 half sums and 4 half weights AVX2's 16. FEW_N is for
 * weights that are widened on the way, whole vectors at a time. */
#if defined MOE_V_AVX512
enum { TILE_M = 6, FEW_N = 4 };
#elif defined MOE_V_AVX2
enum { TILE_M = 3, FEW_N = 2 };
#else
enum { TILE_M = 2, FEW_N = 2 };
#endif

enum { TILE_N = 4, PANEL_K = 8192, FEW = 3 };   /* widest panel in floats per row; rows of x up to which none is made */
enum { CHUNK_K = PARTS > 1 ? 512 : PANEL_K };   /* the parts of a chunk are read while it is in the nearest cache */

/* Adds k products to one part of the sums of m rows. */
FN void add_products(vpart (*s)[TILE_N][PARTS], size_t p, const float *x, size_t ldx, size_t m, const float *w, size_t ldw, size_t k)
{
	vpart sum[TILE_M][TILE_N];
	size_t at = 0;

	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t j = 0; j < TILE_N; j++)
			sum[i][j] = s[i][j][p];
	for (; at + LANES <= k; at += LANES) {
		vpart b[TILE_N];
		UNROLL
		for (size_t j = 0; j < TILE_N; j++)
			b[j] = part_load(w + j * ldw + at, p);
		UNROLL
		for (size_t i = 0; i < m; i++) {
			vpart a = part_load(x + i * ldx + at, p);
			UNROLL
			for (size_t j = 0; j < TILE_N; j++)
				sum[i][j] = part_fma(b[j], a, sum[i][j]);
		}
	}
	if (at < k)
		UNROLL
		for (size_t i = 0; i < m; i++) {
			vpart a = part_load_n(x + i * ldx + at, k - at, p);
			UNROLL
			for (size_t j = 0; j < TILE_N; j++)
				sum[i][j] = part_fma(part_load(w + j * ldw + at, p), a, sum[i][j]);
		}
	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t j = 0; j < TILE_N; j++)
			s[i][j][p] = sum[i][j];
}

/* y of m <= TILE_M rows and n <= TILE_N weights. w is a panel [TILE_N][ldw], padded with zeros to whole vectors. */
FN void tile_panel(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const float *w, size_t ldw, size_t n, size_t k)
{
	vpart part[TILE_M][TILE_N][PARTS];
	v16 sum[TILE_M][TILE_N];

	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t j = 0; j < TILE_N; j++)
			UNROLL
			for (size_t p = 0; p < PARTS; p++)
				part[i][j][p] = part_zero();
	for (size_t at = 0; at < k; at += CHUNK_K)
		UNROLL
		for (size_t p = 0; p < PARTS; p++)
			add_products(part, p, x + at, ldx, m, w + at, ldw, k - at < CHUNK_K ? k - at : CHUNK_K);
	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t j = 0; j < TILE_N; j++)
			sum[i][j] = v_join(part[i][j]);
	if (n == TILE_N)
		v_sum_rows(y, ldy, (const v16 (*)[TILE_N])sum, m);
	else
		UNROLL
		for (size_t i = 0; i < m; i++)
			for (size_t j = 0; j < n; j++)
				y[i * ldy + j] = v_sum(sum[i][j]);
}

/* m <= TILE_M as a constant, so that the sums stay in registers. */
FN void tile_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const float *w, size_t ldw, size_t n, size_t k)
{
	switch (m) {
	case 1: tile_panel(y, ldy, x, ldx, 1, w, ldw, n, k); break;
	case 2: tile_panel(y, ldy, x, ldx, 2 < TILE_M ? 2 : TILE_M, w, ldw, n, k); break;
	case 3: tile_panel(y, ldy, x, ldx, 3 < TILE_M ? 3 : TILE_M, w, ldw, n, k); break;
	case 4: tile_panel(y, ldy, x, ldx, 4 < TILE_M ? 4 : TILE_M, w, ldw, n, k); break;
	case 5: tile_panel(y, ldy, x, ldx, 5 < TILE_M ? 5 : TILE_M, w, ldw, n, k); break;
	default: tile_panel(y, ldy, x, ldx, TILE_M, w, ldw, n, k);
	}
}

/* All rows of x by one panel of n weights. Apart from the weights' type, so it is compiled once. */
TARGET static void panel_product(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const float *w, size_t ldw, size_t n, size_t k)
{
	for (; m > TILE_M; m -= TILE_M, y += TILE_M * ldy, x += TILE_M * ldx)
		tile_panel(y, ldy, x, ldx, TILE_M, w, ldw, n, k);
	tile_rows(y, ldy, x, ldx, m, w, ldw, n, k);
}

FN void widen_rows(float *panel, size_t ldp, const struct moe_mat *w, size_t row, size_t n, enum moe_dtype type)
{
	size_t nbytes = v_weight_nbytes(type);

	UNROLL
	for (size_t j = 0; j < n; j++) {
		const char *from = (const char *)w->data + (row + j) * w->stride * nbytes;
		v16 scale = v_set(type == MOE_I8 ? w->scale[row + j] : 1);
		for (size_t at = 0; at < w->cols; at += LANES) {
			v16 b = v_load_weights(from + at * nbytes, type, w->cols - at < LANES ? w->cols - at : LANES);
			v_store(panel + j * ldp + at, type == MOE_I8 ? v_mul(b, scale) : b);
		}
	}
}

FN void panel_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1, enum moe_dtype type)
{
	_Alignas(64) float panel[TILE_N * PANEL_K];
	size_t ldp = (w->cols + LANES - 1) / LANES * LANES;

	memset(panel, 0, sizeof(float) * TILE_N * ldp);
	for (size_t row = n0; row < n1; row += TILE_N) {
		size_t n = n1 - row < TILE_N ? n1 - row : TILE_N;
		widen_rows(panel, ldp, w, row, n, type);
		panel_product(y + row, ldy, x, ldx, m, panel, ldp, n, w->cols);
	}
}

/* m <= FEW rows by `n` weight rows from row `first`, that are widened on the way. */
FN void few_tile(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t first, size_t n, enum moe_dtype type)
{
	v16 sum[FEW][FEW_N], scale[FEW_N];
	size_t nbytes = v_weight_nbytes(type), step = w->stride * nbytes, k = w->cols;
	const char *from = (const char *)w->data + first * step;

	UNROLL
	for (size_t j = 0; j < n; j++)
		scale[j] = v_set(type == MOE_I8 ? w->scale[first + j] : 1);
	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t j = 0; j < n; j++)
			sum[i][j] = v_zero();
	for (size_t at = 0; at < k; at += LANES) {
		size_t lanes = k - at < LANES ? k - at : LANES;
		v16 b[FEW_N];
		UNROLL
		for (size_t j = 0; j < n; j++)
			b[j] = v_load_weights(from + j * step + at * nbytes, type, lanes);
		if (type == MOE_I8)
			UNROLL
			for (size_t j = 0; j < n; j++)
				b[j] = v_mul(b[j], scale[j]);
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
	size_t row = n0;

	for (; row + FEW_N <= n1; row += FEW_N)
		few_tile(y + row, ldy, x, ldx, m, w, row, FEW_N, type);
	for (; row < n1; row++)
		few_tile(y + row, ldy, x, ldx, m, w, row, 1, type);
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

/* A weight is its whole number times its row's scale, rounded. */
TARGET static void matmul_int8(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1)
{
	matmul_type(y, ldy, x, ldx, m, w, n0, n1, MOE_I8);
}

TARGET static void matmul_f16(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1)
{
	matmul_type(y, ldy, x, ldx, m, w, n0, n1, MOE_F16);
}
