#include "format/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "io/sink.h"

static const char magic[] = "\x93NUMPY";

static const char *descr(enum moe_dtype t)
{
	switch (t) {
	case MOE_BOOL: return "|b1";
	case MOE_U8: return "|u1";
	case MOE_I8: return "|i1";
	case MOE_I16: return "<i2";
	case MOE_U16: return "<u2";
	case MOE_F16: return "<f2";
	case MOE_I32: return "<i4";
	case MOE_U32: return "<u4";
	case MOE_F32: case MOE_BF16: return "<f4";
	case MOE_F64: return "<f8";
	case MOE_I64: return "<i8";
	case MOE_U64: return "<u8";
	case MOE_C64: return "<c8";
	default: return NULL;
	}
}

bool moe_npy_is(const uint8_t *bytes, size_t n) { return n >= 6 && !memcmp(bytes, magic, 6); }

/* ---- the header: a dictionary as Python prints it ---- */

struct text {
	const uint8_t *beg, *p, *end;
	struct moe_diag *d;
};

static enum moe_err wrong(const struct text *t, const char *what)
{
	return moe_fail_at(t->d, MOE_EINPUT, (uint64_t)(t->p - t->beg), ".npy: %s", what);
}

static void skip_blanks(struct text *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\n'))
		t->p++;
}

static bool take(struct text *t, const char *word)
{
	size_t n = strlen(word);

	skip_blanks(t);
	if ((size_t)(t->end - t->p) < n || memcmp(t->p, word, n))
		return false;
	t->p += n;
	return true;
}

/* A string between quotes of either kind, without escapes, into buf. */
static bool take_string(struct text *t, char *buf, size_t cap)
{
	const uint8_t *from, *to;

	skip_blanks(t);
	if (t->p == t->end || (*t->p != '\'' && *t->p != '"'))
		return false;
	from = t->p + 1;
	to = memchr(from, *t->p, (size_t)(t->end - from));
	if (!to || (size_t)(to - from) >= cap)
		return false;
	memcpy(buf, from, (size_t)(to - from));
	buf[to - from] = 0;
	t->p = to + 1;
	return true;
}

static enum moe_err take_shape(struct text *t, struct moe_tensor *to)
{
	to->rank = 0;
	if (!take(t, "("))
		return wrong(t, "expected a shape");
	while (!take(t, ")")) {
		uint64_t n = 0;
		skip_blanks(t);
		if (t->p == t->end || *t->p < '0' || *t->p > '9' || to->rank == MOE_MAX_RANK)
			return wrong(t, "expected a shape of at most 8 numbers");
		for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++)
			if (!moe_checked_mul(n, 10, &n) || !moe_checked_add(n, (uint64_t)(*t->p - '0'), &n))
				return wrong(t, "a number of its shape is too large");
		to->shape[to->rank++] = n;
		if (!take(t, ",") && (t->p == t->end || *t->p != ')'))
			return wrong(t, "expected , or ) in its shape");
	}
	return MOE_OK;
}

static enum moe_err take_type(struct text *t, struct moe_tensor *to)
{
	char name[16];

	if (!take_string(t, name, sizeof name))
		return wrong(t, "expected a type of numbers");
	for (int i = 0; i < MOE_N_DTYPES; i++)
		if (i != MOE_BF16 && descr((enum moe_dtype)i) && !strcmp(descr((enum moe_dtype)i), name)) {
			to->type = (enum moe_dtype)i;
			return MOE_OK;
		}
	return wrong(t, "its type is not of numbers in little-endian order");
}

static enum moe_err take_entry(struct text *t, struct moe_tensor *to, bool *fortran, unsigned *seen)
{
	char key[32];

	if (!take_string(t, key, sizeof key) || !take(t, ":"))
		return wrong(t, "expected a key of its header");
	if (!strcmp(key, "descr")) {
		*seen |= 1;
		return take_type(t, to);
	}
	if (!strcmp(key, "shape")) {
		*seen |= 2;
		return take_shape(t, to);
	}
	if (strcmp(key, "fortran_order"))
		return wrong(t, "expected descr, fortran_order and shape");
	*seen |= 4;
	*fortran = take(t, "True");
	return *fortran || take(t, "False") ? MOE_OK : wrong(t, "expected True or False");
}

static enum moe_err take_header(struct text *t, struct moe_tensor *to, bool *fortran)
{
	unsigned seen = 0;

	if (!take(t, "{"))
		return wrong(t, "expected its header");
	while (!take(t, "}")) {
		MOE_TRY(take_entry(t, to, fortran, &seen));
		if (!take(t, ",") && (t->p == t->end || *t->p != '}'))
			return wrong(t, "expected , or } in its header");
	}
	skip_blanks(t);
	if (t->p < t->end)
		return wrong(t, "its header goes on behind its end");
	return seen == 7 ? MOE_OK : wrong(t, "expected descr, fortran_order and shape");
}

enum moe_err moe_npy_parse(struct moe_tensor *to, bool *fortran, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	size_t wide = n > 6 && bytes[6] > 1 ? 4 : 2, header = 0;
	struct text t = {bytes, bytes, bytes + n, d};
	uint64_t count;

	*to = (struct moe_tensor){.name = ""};
	if (!moe_npy_is(bytes, n) || n < 8 + wide || !bytes[6] || bytes[6] > 3)
		return wrong(&t, "it does not begin as one of version 1 to 3");
	for (size_t i = 0; i < wide; i++)
		header |= (size_t)bytes[8 + i] << 8 * i;
	if (header > n - 8 - wide)
		return wrong(&t, "its header is cut off");
	t.p = bytes + 8 + wide;
	t.end = t.p + header;
	MOE_TRY(take_header(&t, to, fortran));
	to->data = t.end;
	to->nbytes = n - (size_t)(t.end - bytes);
	if (!moe_product(to->shape, to->rank, &count) || !moe_checked_mul(count, moe_dtype_nbits(to->type) / 8, &count) || count != to->nbytes)
		return moe_fail_at(d, MOE_EINPUT, (uint64_t)(t.end - bytes), ".npy: %llu bytes follow, which its shape does not need", (unsigned long long)to->nbytes);
	return MOE_OK;
}

/* ---- */

enum moe_err moe_npy_write(int fd, const struct moe_tensor *t, struct moe_diag *d)
{
	char head[512] = "\x93NUMPY\x01", *p = head + 10;
	size_t n, left = sizeof head - 10;
	const void *data = t->data;
	size_t nbytes = t->nbytes;
	float *wide = NULL;
	struct iovec iov[2];
	enum moe_err err;

	if (!descr(t->type))
		return moe_fail(d, MOE_EUSAGE, "tensor \"%s\" is %s, which NumPy does not have", t->name, moe_dtype_name(t->type));
	n = (size_t)snprintf(p, left, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr(t->type));
	for (unsigned i = 0; i < t->rank; i++)
		n += (size_t)snprintf(p + n, left - n, "%llu, ", (unsigned long long)t->shape[i]);
	n += (size_t)snprintf(p + n, left - n, "), }");
	while ((10 + n + 1) % 64)
		p[n++] = ' ';
	p[n++] = '\n';
	head[8] = (char)(n & 255);
	head[9] = (char)(n >> 8);
	if (t->type == MOE_BF16) {
		nbytes = moe_tensor_count(t) * sizeof *wide;
		wide = malloc(moe_max(nbytes, 1));
		if (!wide)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		moe_widen(wide, t->data, moe_tensor_count(t), t->type);
		data = wide;
	}
	iov[0] = (struct iovec){head, 10 + n};
	iov[1] = (struct iovec){(void *)data, nbytes};
	err = moe_write_all(fd, iov, 2, d);
	free(wide);
	return err;
}
