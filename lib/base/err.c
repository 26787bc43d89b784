#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool record(struct moe_diag *d, enum moe_err code, int64_t byte, const char *fmt, va_list ap)
{
	if (!d || d->code)
		return false;
	d->code = code;
	d->byte = byte;
	d->row = 0;
	d->path[0] = 0;
	vsnprintf(d->text, sizeof d->text, fmt, ap);
	return true;
}

enum moe_err moe_fail(struct moe_diag *d, enum moe_err code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(d, code, -1, fmt, ap);
	va_end(ap);
	return code;
}

enum moe_err moe_fail_at(struct moe_diag *d, enum moe_err code, uint64_t byte, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(d, code, (int64_t)byte, fmt, ap);
	va_end(ap);
	return code;
}

enum moe_err moe_fail_row(struct moe_diag *d, enum moe_err code, uint64_t row, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (record(d, code, -1, fmt, ap))
		d->row = (int64_t)row + 1;
	va_end(ap);
	return code;
}

enum moe_err moe_fail_errno(struct moe_diag *d, const char *fmt, ...)
{
	int saved = errno;
	enum moe_err code = saved == ENOMEM ? MOE_ENOMEM : MOE_EIO;
	va_list ap;

	va_start(ap, fmt);
	if (record(d, code, -1, fmt, ap)) {
		size_t n = strlen(d->text);
		snprintf(d->text + n, sizeof d->text - n, ": %s", strerror(saved));
	}
	va_end(ap);
	return code;
}

enum moe_err moe_diag_path(struct moe_diag *d, const char *path)
{
	if (!d || !d->code)
		return d ? d->code : MOE_OK;
	if (!d->path[0] && path)
		snprintf(d->path, sizeof d->path, "%s", path);
	return d->code;
}

/* Appends `s` with control bytes escaped, so that a file name cannot fake a line; returns the new length. */
static unsigned put_escaped(char *buf, unsigned cap, unsigned n, const char *s)
{
	for (; *s && n + 5 < cap; s++) {
		unsigned char c = (unsigned char)*s;
		if (c < 0x20 || c == 0x7f)
			n += (unsigned)snprintf(buf + n, cap - n, "\\x%02x", c);
		else
			buf[n++] = (char)c;
	}
	buf[n] = 0;
	return n;
}

const char *moe_diag_string(const struct moe_diag *d, char *buf, unsigned cap)
{
	unsigned n = 0;
	char at[40];

	buf[0] = 0;
	if (d->path[0]) {
		n = put_escaped(buf, cap, n, d->path);
		n = put_escaped(buf, cap, n, ": ");
	}
	if (d->byte >= 0) {
		snprintf(at, sizeof at, "byte %lld: ", (long long)d->byte);
		n = put_escaped(buf, cap, n, at);
	}
	if (d->row > 0) {
		snprintf(at, sizeof at, "row %lld: ", (long long)d->row - 1);
		n = put_escaped(buf, cap, n, at);
	}
	put_escaped(buf, cap, n, d->text);
	return buf;
}

void moe_diag_clear(struct moe_diag *d)
{
	d->code = MOE_OK;
	d->byte = -1;
	d->row = 0;
	d->path[0] = d->text[0] = 0;
}
