/* Attention of some rows of one head over the blocks of its cache. Scores are vectors over slots (keys lie transposed), values are vectors over
 * the dimensions. Rows go through a block together, so that it is read from memory once for all of them, and by tiles that share the loads; the
 * scores of what a row does not see are thrown away, and its values are never added. */

/* A tile's sums are TILE_ROWS × TILE_VECTORS vectors, what the registers hold beside the operands; tiles of fewer rows are wider. */
#if defined MOE_V_AVX512
enum { TILE_ROWS = 6, TILE_VECTORS = 4 };
#else
enum { TILE_ROWS = 6, TILE_VECTORS = 1 };
#endif

enum { MOST_VECTORS = 4, GROUP_ROWS = 96, GROUP_FLOATS = 12288, BATCH_ROWS = 4 * TILE_ROWS };

/* State of the online softmax of rows that go through the blocks together; out is [rows][ld], whole vectors. */
struct online {
	_Alignas(64) float out[GROUP_FLOATS];
	float top[GROUP_ROWS], sum[GROUP_ROWS];
	size_t ld;
};

/* Vectors of the next tile when n are left and a tile holds `most`: near equal shares, so that none is much narrower than the others. */
FN size_t share(size_t n, size_t most)
{
	size_t tiles = (n + most - 1) / most;

	return (n + tiles - 1) / tiles;
}

/* s[r][u] = scale · (fma chain over dim) for `rows` rows and n vectors of slots. */
FN void score_tile(float (*s)[MOE_ATTN_BLOCK], const float *q, size_t ldq, size_t rows, const float *key, size_t dim, size_t n, float scale)
{
	v16 sum[TILE_ROWS][MOST_VECTORS];

	UNROLL
	for (size_t r = 0; r < rows; r++)
		UNROLL
		for (size_t j = 0; j < n; j++)
			sum[r][j] = v_zero();
	for (size_t i = 0; i < dim; i++, key += MOE_ATTN_BLOCK) {
		v16 k[MOST_VECTORS];
		KEEP(key);
		UNROLL
		for (size_t j = 0; j < n; j++)
			k[j] = v_load(key + j * LANES);
		UNROLL
		for (size_t r = 0; r < rows; r++) {
			v16 x = v_set(q[r * ldq + i]);
			UNROLL
			for (size_t j = 0; j < n; j++)
				sum[r][j] = v_fma(x, k[j], sum[r][j]);
		}
	}
	UNROLL
	for (size_t r = 0; r < rows; r++)
		UNROLL
		for (size_t j = 0; j < n; j++)
			v_store(s[r] + j * LANES, v_mul(sum[r][j], v_set(scale)));
}

/* Any number of rows, by tiles whose size is a constant, so that the sums stay in registers. */
FN void score_rows(float (*s)[MOE_ATTN_BLOCK], const float *q, size_t ldq, size_t rows, const float *key, size_t dim, size_t n, float scale)
{
	for (; n <= TILE_VECTORS && rows >= TILE_ROWS; rows -= TILE_ROWS, s += TILE_ROWS, q += TILE_ROWS * ldq)
		score_tile(s, q, ldq, TILE_ROWS, key, dim, n, scale);
	for (; rows >= 2; rows -= 2, s += 2, q += 2 * ldq)
		score_tile(s, q, ldq, 2, key, dim, n, scale);
	if (rows)
		score_tile(s, q, ldq, 1, key, dim, n, scale);
}

/* Vectors [v0, v1) of the block, by tiles of at most `most`. All rows pass through a tile while it is in the nearest cache. */
FN void scores(float (*s)[MOE_ATTN_BLOCK], const float *q, size_t ldq, size_t rows, const float *key, size_t dim, size_t v0, size_t v1, size_t most, float scale)
{
	for (size_t v = v0, n; v < v1; v += n) {
		float (*to)[MOE_ATTN_BLOCK] = (float (*)[MOE_ATTN_BLOCK])&s[0][v * LANES];
		n = share(v1 - v, most);
		switch (n) {
		case 1: score_rows(to, q, ldq, rows, key + v * LANES, dim, 1, scale); break;
		case 2: score_rows(to, q, ldq, rows, key + v * LANES, dim, 2, scale); break;
		case 3: score_rows(to, q, ldq, rows, key + v * LANES, dim, 3, scale); break;
		default: score_rows(to, q, ldq, rows, key + v * LANES, dim, 4, scale);
		}
	}
}

FN size_t clip(size_t x, size_t lo, size_t hi) { return x < lo ? lo : x > hi ? hi : x; }

/* Scales what row r has gathered so far, when the maximum moves from its top to m. */
FN float rescale(struct online *o, size_t r, float m)
{
	float c = exp_one(o->top[r] - m);

	for (size_t i = 0; i < o->ld; i += LANES)
		v_store(o->out + r * o->ld + i, v_mul(v_load(o->out + r * o->ld + i), v_set(c)));
	o->top[r] = m;
	return c;
}

/* Turns the scores of row r into weights: masks, moves the running maximum, scales what was there (by 1 where the maximum stays). first and limit
 * are inside the block. */
FN void soften(struct online *o, size_t r, float *s, size_t first, size_t limit)
{
	size_t v0 = first / LANES, v1 = (limit + LANES - 1) / LANES;
	v16 lowest = v_set(-INFINITY), top = lowest, sum = v_zero();
	float m, c = 1;

	UNROLL
	for (size_t v = v0; v < v1; v++) {
		v16 x = v_load(s + v * LANES);
		if (first > v * LANES || limit < (v + 1) * LANES) {
			x = v_outside(x, clip(first, v * LANES, (v + 1) * LANES) - v * LANES, clip(limit, v * LANES, (v + 1) * LANES) - v * LANES, lowest);
			v_store(s + v * LANES, x);
		}
		top = v_max(x, top);
	}
	m = v_largest(top);
	if (m > o->top[r])
		c = rescale(o, r, m);
	UNROLL
	for (size_t v = v0; v < v1; v++) {
		v16 p = v_exp(v_sub(v_load(s + v * LANES), v_set(o->top[r])));
		v_store(s + v * LANES, p);
		sum = v_add(sum, p);
	}
	o->sum[r] = fmaf(o->sum[r], c, v_sum(sum));
}

/* out[r][i] = fma chain over slots [u0, u1) of s[r][u] · value[u][i], for n vectors of dimensions, of which the last has `last` floats; value rows
 * are exactly dim floats. */
FN void value_tile(float *out, size_t ld, float (*s)[MOE_ATTN_BLOCK], size_t rows, const float *value, size_t dim, size_t n, size_t last, size_t u0, size_t u1)
{
	v16 sum[TILE_ROWS][MOST_VECTORS];

	UNROLL
	for (size_t r = 0; r < rows; r++)
		UNROLL
		for (size_t j = 0; j < n; j++)
			sum[r][j] = v_load(out + r * ld + j * LANES);
	value += u0 * dim;
	for (size_t u = u0; u < u1; u++, value += dim) {
		v16 v[MOST_VECTORS];
		KEEP(value);
		UNROLL
		for (size_t j = 0; j < n; j++)
			v[j] = j + 1 < n || last == LANES ? v_load(value + j * LANES) : v_load_n(value + j * LANES, last);
		UNROLL
		for (size_t r = 0; r < rows; r++) {
			v16 p = v_set(s[r][u]);
			UNROLL
			for (size_t j = 0; j < n; j++)
				sum[r][j] = v_fma(p, v[j], sum[r][j]);
		}
	}
	UNROLL
	for (size_t r = 0; r < rows; r++)
		UNROLL
		for (size_t j = 0; j < n; j++)
			v_store(out + r * ld + j * LANES, sum[r][j]);
}

/* Rows of a tile, by a number of them that is a constant, as is whether the last vector is whole. */
FN void value_rows(float *out, size_t ld, float (*s)[MOE_ATTN_BLOCK], size_t rows, const float *value, size_t dim, size_t n, size_t last, size_t u0, size_t u1)
{
	if (n <= TILE_VECTORS && rows == TILE_ROWS) {
		if (last == LANES)
			value_tile(out, ld, s, TILE_ROWS, value, dim, n, LANES, u0, u1);
		else
			value_tile(out, ld, s, TILE_ROWS, value, dim, n, last, u0, u1);
		return;
	}
	for (; rows >= 2; rows -= 2, s += 2, out += 2 * ld)
		value_tile(out, ld, s, 2, value, dim, n, last, u0, u1);
	if (rows)
		value_tile(out, ld, s, 1, value, dim, n, last, u0, u1);
}

/* Slots [u0, u1) for rows <= TILE_ROWS rows. */
FN void add_values(float *out, size_t ld, float (*s)[MOE_ATTN_BLOCK], size_t rows, const float *value, size_t dim, size_t u0, size_t u1)
{
	size_t most = rows == TILE_ROWS ? TILE_VECTORS : rows > 1 ? 2 : MOST_VECTORS;

	for (size_t i = 0, n; i < ld && u0 < u1; i += n * LANES) {
		size_t last;
		n = share((ld - i) / LANES, most);
		last = dim - i < n * LANES ? dim - i - (n - 1) * LANES : LANES;
		switch (n) {
		case 1: value_rows(out + i, ld, s, rows, value + i, dim, 1, last, u0, u1); break;
		case 2: value_rows(out + i, ld, s, rows, value + i, dim, 2, last, u0, u1); break;
		case 3: value_rows(out + i, ld, s, rows, value + i, dim, 3, last, u0, u1); break;
		default: value_rows(out + i, ld, s, rows, value + i, dim, 4, last, u0, u1);
		}
	}
}

/* One block, as one head sees it. */
struct block {
	const float *key, *value;
	size_t dim;
	float scale;
};

/* The slots of a block that a row sees. */
struct seen {
	size_t first, limit;
};

/* What some rows see: at least one of them, or all. */
FN struct seen seen_by_any(const struct seen *s, size_t rows)
{
	struct seen r = {MOE_ATTN_BLOCK, 0};

	for (size_t i = 0; i < rows; i++)
		if (s[i].first < s[i].limit) {
			r.first = s[i].first < r.first ? s[i].first : r.first;
			r.limit = s[i].limit > r.limit ? s[i].limit : r.limit;
		}
	return r;
}

FN struct seen seen_by_all(const struct seen *s, size_t rows)
{
	struct seen r = s[0];

	for (size_t i = 1; i < rows; i++) {
		r.first = s[i].first > r.first ? s[i].first : r.first;
		r.limit = s[i].limit < r.limit ? s[i].limit : r.limit;
	}
	return r;
}

/* The values for rows <= TILE_ROWS rows from row r of the group on: what all see together, what else a row sees before and behind it alone. */
FN void add_tile_values(struct online *o, size_t r, float (*s)[MOE_ATTN_BLOCK], const struct seen *seen, size_t rows, const struct block *b)
{
	struct seen all = seen_by_all(seen, rows);
	float *out = o->out + r * o->ld;

	if (all.first >= all.limit)     /* nothing: each by itself */
		all = (struct seen){MOE_ATTN_BLOCK, MOE_ATTN_BLOCK};
	for (size_t i = 0; i < rows; i++)
		add_values(out + i * o->ld, o->ld, s + i, 1, b->value, b->dim, seen[i].first, clip(seen[i].limit, 0, all.first));
	add_values(out, o->ld, s, rows, b->value, b->dim, all.first, all.limit);
	for (size_t i = 0; i < rows; i++)
		add_values(out + i * o->ld, o->ld, s + i, 1, b->value, b->dim, clip(seen[i].first, all.limit, MOE_ATTN_BLOCK), seen[i].limit);
}

/* One block for rows <= BATCH_ROWS rows from row r of the group on. */
FN void attend_batch(struct online *o, size_t r, const float *q, size_t ldq, const struct seen *seen, size_t rows, const struct block *b)
{
	_Alignas(64) float s[BATCH_ROWS][MOE_ATTN_BLOCK];
	size_t most = rows >= TILE_ROWS ? TILE_VECTORS : rows > 1 ? 2 : MOST_VECTORS;
	struct seen any = seen_by_any(seen, rows);

	if (any.first >= any.limit)
		return;
	scores(s, q, ldq, rows, b->key, b->dim, any.first / LANES, (any.limit + LANES - 1) / LANES, most, b->scale);
	for (size_t i = 0; i < rows; i++)
		if (seen[i].first == 0 && seen[i].limit == MOE_ATTN_BLOCK)
			soften(o, r + i, s[i], 0, MOE_ATTN_BLOCK);
		else if (seen[i].first < seen[i].limit)
			soften(o, r + i, s[i], seen[i].first, seen[i].limit);
	for (size_t i = 0; i < rows; i += TILE_ROWS)
		add_tile_values(o, r + i, s + i, seen + i, rows - i < TILE_ROWS ? rows - i : TILE_ROWS, b);
}

/* Block `at` for rows [row, row + rows). */
FN void attend_group_block(struct online *o, const struct moe_attention *a, size_t row, size_t rows, size_t head, size_t at)
{
	size_t kv = head / (a->heads / a->kv_heads), ld = a->heads * a->dim, base = at * MOE_ATTN_BLOCK, end = base + MOE_ATTN_BLOCK;
	struct block b = {.key = a->key[at] + kv * a->dim * MOE_ATTN_BLOCK, .value = a->value[at] + kv * MOE_ATTN_BLOCK * a->dim, .dim = a->dim,
			  .scale = a->scale};
	struct seen seen[BATCH_ROWS];

	for (size_t r = 0, n; r < rows; r += n) {
		n = rows - r < BATCH_ROWS ? rows - r : BATCH_ROWS;
		for (size_t i = 0; i < n; i++)
			seen[i] = (struct seen){clip(a->first[row + r + i], base, end) - base, clip(a->limit[row + r + i], base, end) - base};
		attend_batch(o, r, a->q + (row + r) * ld + head * a->dim, ld, seen, n, &b);
	}
}

/* Rows [row, row + rows), rows <= GROUP_ROWS, of one head. */
FN void attend_group(struct online *o, const struct moe_attention *a, size_t row, size_t rows, size_t head)
{
	size_t first = a->first[row], limit = a->limit[row];

	for (size_t r = 0; r < rows; r++) {
		o->top[r] = -INFINITY;
		o->sum[r] = 0;
		first = a->first[row + r] < first ? a->first[row + r] : first;
		limit = a->limit[row + r] > limit ? a->limit[row + r] : limit;
	}
	memset(o->out, 0, rows * o->ld * sizeof(float));
	for (size_t at = first / MOE_ATTN_BLOCK; at * MOE_ATTN_BLOCK < limit; at++)
		attend_group_block(o, a, row, rows, head, at);
	for (size_t r = 0; r < rows; r++)
		for (size_t i = 0; i < a->dim; i += LANES)
			v_store_n(a->out + ((row + r) * a->heads + head) * a->dim + i, v_div(v_load(o->out + r * o->ld + i), v_set(o->sum[r])),
				  a->dim - i < LANES ? a->dim - i : LANES);
}

TARGET static void attend(const struct moe_attention *a, size_t row0, size_t row1, size_t head)
{
	size_t ld = (a->dim + LANES - 1) / LANES * LANES, most = GROUP_FLOATS / ld < GROUP_ROWS ? GROUP_FLOATS / ld : GROUP_ROWS;
	struct online o;       /* set by attend_group: a fresh one of 48 KiB is not cleared for each call */

	o.ld = ld;
	for (size_t row = row0; row < row1; row += most)
		attend_group(&o, a, row, row1 - row < most ? row1 - row : most, head);
}
