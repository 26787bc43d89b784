/* Attention of a few rows of one head over the blocks of its cache. Scores are vectors over slots (keys lie transposed), values are vectors over
 * the dimensions. Rows that see the same slots share the loads; what a row does not see is neither read for it nor added. */

enum { TILE_ROWS = 4, BLOCK_VECTORS = MOE_ATTN_BLOCK / LANES, MAX_DIM = 512 };

/* Row state of the online softmax. */
struct online {
	float top, sum;
	float out[MAX_DIM];
};

/* s[r][u] = scale · (fma chain over dim) for `rows` rows and vectors [v0, v1) of the block. */
FN void scores(float (*s)[MOE_ATTN_BLOCK], const float *q, size_t ldq, size_t rows, const float *key, size_t dim, size_t v0, size_t v1, float scale)
{
	for (size_t v = v0; v < v1; v += 2) {
		v16 sum[TILE_ROWS][2];
		bool two = v + 1 < v1;
		UNROLL
		for (size_t r = 0; r < rows; r++)
			sum[r][0] = sum[r][1] = v_zero();
		for (size_t i = 0; i < dim; i++) {
			const float *k = key + i * MOE_ATTN_BLOCK + v * LANES;
			v16 a = v_load(k), b = v_load(two ? k + LANES : k);
			UNROLL
			for (size_t r = 0; r < rows; r++) {
				v16 x = v_set(q[r * ldq + i]);
				sum[r][0] = v_fma(x, a, sum[r][0]);
				sum[r][1] = v_fma(x, b, sum[r][1]);
			}
		}
		UNROLL
		for (size_t r = 0; r < rows; r++) {
			v_store(s[r] + v * LANES, v_mul(sum[r][0], v_set(scale)));
			if (two)
				v_store(s[r] + (v + 1) * LANES, v_mul(sum[r][1], v_set(scale)));
		}
	}
}

FN size_t clip(size_t x, size_t lo, size_t hi) { return x < lo ? lo : x > hi ? hi : x; }

/* Turns the scores of one row into weights: masks, moves the running maximum, scales what was there. first and limit are inside the block. */
FN void soften(struct online *o, float *s, size_t first, size_t limit, size_t dim)
{
	size_t v0 = first / LANES, v1 = (limit + LANES - 1) / LANES;
	v16 lowest = v_set(-INFINITY), top = lowest, sum = v_zero();
	float m, c;

	for (size_t v = v0; v < v1; v++) {
		v16 x = v_outside(v_load(s + v * LANES), clip(first, v * LANES, (v + 1) * LANES) - v * LANES, clip(limit, v * LANES, (v + 1) * LANES) - v * LANES, lowest);
		v_store(s + v * LANES, x);
		top = v_max(x, top);
	}
	m = v_largest(top);
	m = m > o->top ? m : o->top;
	c = exp_one(o->top - m);
	for (size_t v = v0; v < v1; v++) {
		v16 p = v_exp(v_sub(v_load(s + v * LANES), v_set(m)));
		v_store(s + v * LANES, p);
		sum = v_add(sum, p);
	}
	o->top = m;
	o->sum = fmaf(o->sum, c, v_sum(sum));
	for (size_t i = 0; i < dim; i += LANES)
		v_store(o->out + i, v_mul(v_load(o->out + i), v_set(c)));
}

/* out[r][i] = fma chain over slots [u0, u1) of s[r][u] · value[u][i]; out holds whole vectors, value rows exactly dim floats. */
FN void add_values(struct online *o, float (*s)[MOE_ATTN_BLOCK], size_t rows, const float *value, size_t dim, size_t u0, size_t u1)
{
	for (size_t i = 0; i < dim; i += 2 * LANES) {
		size_t n0 = dim - i < LANES ? dim - i : LANES, n1 = dim - i <= LANES ? 0 : dim - i - LANES < LANES ? dim - i - LANES : LANES;
		v16 sum[TILE_ROWS][2];
		UNROLL
		for (size_t r = 0; r < rows; r++) {
			sum[r][0] = v_load(o[r].out + i);
			sum[r][1] = n1 ? v_load(o[r].out + i + LANES) : v_zero();
		}
		for (size_t u = u0; u < u1; u++) {
			const float *v = value + u * dim + i;
			v16 a = n0 == LANES ? v_load(v) : v_load_n(v, n0), b = n1 == LANES ? v_load(v + LANES) : n1 ? v_load_n(v + LANES, n1) : v_zero();
			UNROLL
			for (size_t r = 0; r < rows; r++) {
				v16 p = v_set(s[r][u]);
				sum[r][0] = v_fma(p, a, sum[r][0]);
				sum[r][1] = v_fma(p, b, sum[r][1]);
			}
		}
		UNROLL
		for (size_t r = 0; r < rows; r++) {
			v_store(o[r].out + i, sum[r][0]);
			if (n1)
				v_store(o[r].out + i + LANES, sum[r][1]);
		}
	}
}

/* One block for `rows` rows that all see [first, limit) of it. */
FN void attend_block(struct online *o, const float *q, size_t ldq, size_t rows, const float *key, const float *value, size_t dim, size_t first, size_t limit,
		     float scale)
{
	float s[TILE_ROWS][MOE_ATTN_BLOCK];

	scores(s, q, ldq, rows, key, dim, first / LANES, (limit + LANES - 1) / LANES, scale);
	UNROLL
	for (size_t r = 0; r < rows; r++)
		soften(&o[r], s[r], first, limit, dim);
	add_values(o, s, rows, value, dim, first, limit);
}

/* `rows` <= TILE_ROWS rows from row on, with equal first and limit, of one head. */
FN void attend_tile(const struct moe_attention *a, size_t row, size_t rows, size_t head)
{
	size_t dim = a->dim, kv = head / (a->heads / a->kv_heads), ld = a->heads * dim;
	const float *q = a->q + row * ld + head * dim;
	struct online o[TILE_ROWS];

	UNROLL
	for (size_t r = 0; r < rows; r++) {
		o[r].top = -INFINITY;
		o[r].sum = 0;
		memset(o[r].out, 0, (dim + LANES) * sizeof(float) < sizeof o[r].out ? (dim + LANES) * sizeof(float) : sizeof o[r].out);
	}
	for (size_t b = a->first[row] / MOE_ATTN_BLOCK; b * MOE_ATTN_BLOCK < a->limit[row]; b++) {
		size_t base = b * MOE_ATTN_BLOCK;
		size_t first = clip(a->first[row], base, base + MOE_ATTN_BLOCK) - base, limit = clip(a->limit[row], base, base + MOE_ATTN_BLOCK) - base;
		const float *key = a->key[b] + kv * dim * MOE_ATTN_BLOCK, *value = a->value[b] + kv * MOE_ATTN_BLOCK * dim;
		if (rows == TILE_ROWS)
			attend_block(o, q, ld, TILE_ROWS, key, value, dim, first, limit, a->scale);
		else
			attend_block(o, q, ld, rows, key, value, dim, first, limit, a->scale);
	}
	UNROLL
	for (size_t r = 0; r < rows; r++)
		for (size_t i = 0; i < dim; i += LANES)
			v_store_n(a->out + (row + r) * ld + head * dim + i, v_div(v_load(o[r].out + i), v_set(o[r].sum)), dim - i < LANES ? dim - i : LANES);
}

TARGET static void attend(const struct moe_attention *a, size_t row0, size_t row1, size_t head)
{
	for (size_t row = row0, n; row < row1; row += n) {
		for (n = 1; n < TILE_ROWS && row + n < row1 && a->first[row + n] == a->first[row] && a->limit[row + n] == a->limit[row];)
			n++;
		attend_tile(a, row, n, head);
	}
}
