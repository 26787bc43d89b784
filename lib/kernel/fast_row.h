/* The product of a single row, straight from the planes: each packed byte is read once and never written. Part of fast_impl.h. */

enum { AHEAD_NBYTES = 4096 };   /* weights are asked for so early: without, half the time goes by waiting for memory */

/* Adds block b of one part of a group to s. */
F_FN vpart add_block(vpart s, const uint8_t *x, const uint8_t *codes, const struct block_scales *e, size_t part, enum planes planes, enum scales scales,
		     const struct packing *k)
{
	const struct fast_block *f = (const struct fast_block *)(x + X_NBYTES);
	size_t n = scales_in(scales);

	UNROLL
	for (size_t h = 0; h < n; h++) {
		size_t which = n == 1 ? 0 : 1 + h;
		ipart acc = i_set(f->init[which]);
		vpart t;
		UNROLL
		for (size_t step = h * STEPS / n; step < (h + 1) * STEPS / n; step++)
			acc = step_product(acc, step_of_weights(b_as_ints(step_codes(codes, 4 * part * PART, (int)step, planes, k))), step_of_x(x, step));
		t = f_mul(f_sub(i_as_float(acc), f_set(FAST_MAGIC_FLOAT)), f_part(e->scale[h], part));
		s = part_fma(t, f_set(f->d), s);
		if (has_least(scales))
			s = part_fma(f_part(e->least[h], part), f_set(f->dsum[which]), s);
	}
	return s;
}

/* sum [2][16]: two groups, or twice the same. */
F_FN void row_sums(float *sum, const struct fast_job *j, enum planes planes, enum scales scales)
{
	const struct packing *k = j->packing;
	size_t blocks = j->cols / BLOCK, head = scales_nbytes(k, blocks), size = block_nbytes(k);
	const uint8_t *group[2] = {j->group[0], j->n_groups > 1 ? j->group[1] : j->group[0]};
	vpart s[2][16 / PART];

	UNROLL
	for (size_t i = 0; i < 2 * (16 / PART); i++)
		s[i / (16 / PART)][i % (16 / PART)] = f_set(0);
	for (size_t b = 0; b < blocks; b++)
		UNROLL
		for (size_t g = 0; g < 2; g++) {
			struct block_scales e = read_scales(group[g], b, scales);
			for (size_t at = 0; at < size; at += 64)
				__builtin_prefetch(group[g] + head + b * size + AHEAD_NBYTES + at);
			UNROLL
			for (size_t p = 0; p < 16 / PART; p++)
				s[g][p] = add_block(s[g][p], j->x + b * MOST_M * X_BLOCK, group[g] + head + b * size, &e, p, planes, scales, k);
		}
	UNROLL
	for (size_t i = 0; i < 2 * (16 / PART); i++)
		f_store(sum + i * PART, s[i / (16 / PART)][i % (16 / PART)]);
}

#define FOR_FORM(p, s) case (p) * 8 + (s): row_sums(sum, j, p, s); break

F_STATIC void sums_of_row(float *sum, const struct fast_job *j)
{
	switch (j->packing->planes * 8 + j->packing->scales) {
	FOR_FORM(PLANE_BYTES, SCALE_F16);
	FOR_FORM(PLANE_NIBBLES, SCALE_F16);
	FOR_FORM(PLANE_NIBBLES, SCALE_F16_LEAST);
	FOR_FORM(PLANE_NIBBLES, SCALE_K_LEAST);
	FOR_FORM(PLANE_NIBBLES_1, SCALE_F16);
	FOR_FORM(PLANE_NIBBLES_1, SCALE_F16_LEAST);
	FOR_FORM(PLANE_NIBBLES_1, SCALE_K_LEAST);
	FOR_FORM(PLANE_NIBBLES_2, SCALE_K16);
	FOR_FORM(PLANE_2, SCALE_K16_LEAST);
	FOR_FORM(PLANE_2_1, SCALE_K16);
	FOR_FORM(PLANE_TABLE, SCALE_F16);
	FOR_FORM(PLANE_TABLE, SCALE_BF16);
	FOR_FORM(PLANE_TABLE, SCALE_K);
	}
}
