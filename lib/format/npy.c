#include "format/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "io/sink.h"

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
