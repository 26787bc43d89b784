#include "format/npy_join.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "io/sink.h"

enum { PIECE = 1 << 16 };

/* The tensor's shape with its rows first. */
static enum moe_err row_shape(const struct moe_tensor *t, bool second, struct moe_tensor *to, struct moe_diag *d)
{
	if (t->rank < 1u + second)
		return moe_fail(d, MOE_EUSAGE, "tensor \"%s\" has no rows to join", t->name);
	*to = *t;
	to->type = t->type == MOE_BF16 ? MOE_F32 : t->type;     /* as moe_npy_write has it */
	to->data = NULL;
	to->nbytes = 0;
	to->name = "";
	if (second) {
		to->shape[0] = t->shape[1];
		to->shape[1] = t->shape[0];
	}
	return moe_dtype_nbits(t->type) % 8 ? moe_fail(d, MOE_EUSAGE, "tensor \"%s\" is %s, which NumPy does not have", t->name, moe_dtype_name(t->type)) : MOE_OK;
}

static bool fits(const struct moe_tensor *a, const struct moe_tensor *b)
{
	if (a->type != b->type || a->rank != b->rank)
		return false;
	for (unsigned i = 1; i < a->rank; i++)
		if (a->shape[i] != b->shape[i])
			return false;
	return true;
}

/* Values in the order of memory, BF16 widened. */
static bool put(FILE *f, const uint8_t *data, uint64_t n, enum moe_dtype type)
{
	size_t size = moe_dtype_nbits(type) / 8;
	float wide[256];

	if (type != MOE_BF16)
		return fwrite(data, size, n, f) == n;
	for (uint64_t at = 0, k; at < n; at += k) {
		k = moe_min(n - at, sizeof wide / sizeof *wide);
		moe_widen(wide, data + at * size, k, type);
		if (fwrite(wide, sizeof *wide, k, f) != k)
			return false;
	}
	return true;
}

/* Rows along the second axis: what belongs to one is gathered from all places of the first. */
static bool put_second(FILE *f, const struct moe_tensor *t)
{
	uint64_t outer = t->shape[0], rows = t->shape[1], inner = 1, size = moe_dtype_nbits(t->type) / 8;

	for (unsigned i = 2; i < t->rank; i++)
		inner *= t->shape[i];
	for (uint64_t r = 0; r < rows; r++)
		for (uint64_t o = 0; o < outer; o++)
			if (!put(f, (const uint8_t *)t->data + (o * rows + r) * inner * size, inner, t->type))
				return false;
	return true;
}

enum moe_err moe_npy_join_add(struct moe_npy_join *j, const struct moe_tensor *t, bool second, struct moe_diag *d)
{
	struct moe_tensor shape;

	MOE_TRY(row_shape(t, second, &shape, d));
	if (!j->waiting) {
		j->waiting = tmpfile();
		if (!j->waiting)
			return moe_fail_errno(d, "cannot make a temporary file");
		j->shape = shape;
		j->shape.shape[0] = 0;
	}
	if (!fits(&j->shape, &shape))
		return moe_fail(d, MOE_EMATCH, "tensor \"%s\" does not go with those before it: they are of another type, or differ in more than their rows", t->name);
	if (!moe_checked_add(j->shape.shape[0], shape.shape[0], &j->shape.shape[0]))
		return moe_fail(d, MOE_EINPUT, "too many rows");
	if (second ? put_second(j->waiting, t) : put(j->waiting, t->data, moe_tensor_count(t), t->type))
		return MOE_OK;
	return moe_fail_errno(d, "cannot write to a temporary file");
}

enum moe_err moe_npy_join_write(struct moe_npy_join *j, int fd, struct moe_diag *d)
{
	uint8_t *piece = malloc(PIECE);
	enum moe_err err = piece ? moe_npy_write(fd, &j->shape, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	size_t n;

	if (!err && fseeko(j->waiting, 0, SEEK_SET))
		err = moe_fail_errno(d, "cannot read a temporary file");
	while (!err && (n = fread(piece, 1, PIECE, j->waiting)))
		err = moe_write_all(fd, &(struct iovec){piece, n}, 1, d);
	if (!err && ferror(j->waiting))
		err = moe_fail_errno(d, "cannot read a temporary file");
	free(piece);
	return err;
}

void moe_npy_join_free(struct moe_npy_join *j)
{
	if (j->waiting)
		fclose(j->waiting);
	*j = (struct moe_npy_join){0};
}
