#include "format/json.h"

#include <string.h>

#include "base/utf8.h"

void moe_json_init(struct moe_json *j, const void *bytes, size_t n, struct moe_diag *diag)
{
	memset(j, 0, offsetof(struct moe_json, open));
	j->beg = j->p = bytes;
	j->end = j->beg + n;
	j->diag = diag;
	j->fresh = true;
	j->str = NULL;
	j->nstr = 0;
	j->escaped = false;
}

enum moe_err moe_json_fail(struct moe_json *j, const char *what)
{
	if (!j->err)
		j->err = moe_fail_at(j->diag, MOE_EINPUT, (uint64_t)(j->p - j->beg), "JSON: %s", what);
	j->end = j->p;
	return j->err;
}

static void skip_space(struct moe_json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\t' || *j->p == '\r'))
		j->p++;
}

/* Consumes `c` after white space; false when something else comes. */
static bool take(struct moe_json *j, char c)
{
	skip_space(j);
	if (j->p == j->end || *j->p != c)
		return false;
	j->p++;
	return true;
}

char moe_json_peek(struct moe_json *j)
{
	skip_space(j);
	return j->p < j->end ? *j->p : 0;
}

enum moe_err moe_json_enter(struct moe_json *j, char kind)
{
	if (j->err)
		return j->err;
	if (!take(j, kind))
		return moe_json_fail(j, kind == '{' ? "expected an object" : "expected an array");
	if (j->depth == MOE_JSON_DEPTH)
		return moe_json_fail(j, "nested deeper than 64 levels");
	j->open[j->depth++] = kind;
	j->fresh = true;
	return MOE_OK;
}

static void leave(struct moe_json *j)
{
	j->depth--;
	j->fresh = false;
}

static int hex4(const char *p)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

/* Checks one escape at p (a backslash); returns its length, 0 when malformed. A high surrogate takes its low half along. */
static unsigned escape_length(const char *p, size_t left)
{
	int u;

	if (left < 2)
		return 0;
	if (p[1] != 'u')
		return p[1] && strchr("\"\\/bfnrt", p[1]) ? 2 : 0;
	if (left < 6 || (u = hex4(p + 2)) < 0 || (u >= 0xdc00 && u < 0xe000))
		return 0;
	if (u < 0xd800 || u >= 0xe000)
		return 6;
	if (left < 12 || p[6] != '\\' || p[7] != 'u' || (u = hex4(p + 8)) < 0xdc00 || u >= 0xe000)
		return 0;
	return 12;
}

/* Up to the next character of a string that needs a look: a quote, a backslash, a control character, or the start of a longer sequence. */
static const char *skip_plain(const char *p, const char *end)
{
	while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80)
		p++;
	return p;
}

/* A quoted string, for keys and values alike. */
static enum moe_err scan_string(struct moe_json *j)
{
	const char *start;

	if (j->err)
		return j->err;
	if (!take(j, '"'))
		return moe_json_fail(j, "expected a string");
	start = j->p;
	j->escaped = false;
	for (;;) {
		unsigned char c;
		size_t left;
		unsigned n = 1;
		j->p = skip_plain(j->p, j->end);
		if (j->p == j->end || *j->p == '"')
			break;
		c = (unsigned char)*j->p;
		left = (size_t)(j->end - j->p);
		if (c == '\\') {
			j->escaped = true;
			n = escape_length(j->p, left);
		} else if (c < 0x20) {
			return moe_json_fail(j, "control character in a string");
		} else {
			bool good;
			n = (unsigned)moe_utf8_step(j->p, left, &good);
			n = good ? n : 0;
		}
		if (!n)
			return moe_json_fail(j, c == '\\' ? "malformed escape" : "string is not UTF-8");
		j->p += n;
	}
	if (j->p == j->end)
		return moe_json_fail(j, "unterminated string");
	j->str = start;
	j->nstr = (size_t)(j->p - start);
	j->p++;
	return MOE_OK;
}

enum moe_err moe_json_string(struct moe_json *j) { return scan_string(j); }

/* Moves to the next member of the open container, or leaves it; false at its end. */
static bool next_member(struct moe_json *j, char close)
{
	if (j->err)
		return false;
	if (take(j, close)) {
		leave(j);
		return false;
	}
	if (!j->fresh && !take(j, ',')) {
		moe_json_fail(j, close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
		return false;
	}
	j->fresh = false;
	return true;
}

bool moe_json_key(struct moe_json *j)
{
	if (!next_member(j, '}') || scan_string(j))
		return false;
	if (!take(j, ':')) {
		moe_json_fail(j, "expected ':'");
		return false;
	}
	return true;
}

bool moe_json_element(struct moe_json *j)
{
	if (!next_member(j, ']'))
		return false;
	if (moe_json_peek(j) == ']') {
		moe_json_fail(j, "a value must follow ','");
		return false;
	}
	return true;
}

/* Decodes one checked escape at p into to; *n gets its length in the source. */
static size_t decode_escape(const char *p, char *to, size_t *n)
{
	static const char from[] = "bfnrt", into[] = "\b\f\n\r\t";
	const char *hit;
	unsigned u;

	if (p[1] != 'u') {
		hit = strchr(from, p[1]);
		*to = hit ? into[hit - from] : p[1];
		*n = 2;
		return 1;
	}
	u = (unsigned)hex4(p + 2);
	*n = 6;
	if (u >= 0xd800 && u < 0xdc00) {
		u = 0x10000 + ((u - 0xd800) << 10) + ((unsigned)hex4(p + 8) - 0xdc00);
		*n = 12;
	}
	return moe_utf8_put(to, u);
}

size_t moe_json_decode(const struct moe_json *j, char *buf)
{
	size_t out = 0, n;

	if (!j->escaped) {
		memcpy(buf, j->str, j->nstr);
		out = j->nstr;
	} else {
		for (size_t i = 0; i < j->nstr; i += n) {
			n = 1;
			if (j->str[i] == '\\')
				out += decode_escape(j->str + i, buf + out, &n);
			else
				buf[out++] = j->str[i];
		}
	}
	buf[out] = 0;
	return out;
}

bool moe_json_is(const struct moe_json *j, const char *text)
{
	size_t n = strlen(text), at = 0, step;

	if (!j->escaped)
		return j->nstr == n && !memcmp(j->str, text, n);
	for (size_t i = 0; i < j->nstr; i += step) {
		char c[4] = {j->str[i]};
		size_t m = 1;
		step = 1;
		if (c[0] == '\\')
			m = decode_escape(j->str + i, c, &step);
		if (m > n - at || memcmp(text + at, c, m))
			return false;
		at += m;
	}
	return at == n;
}

/* End of the number at p by the grammar of RFC 8259; NULL when there is none. */
static const char *number_end(const char *p, const char *end)
{
	const char *digits;

	if (p < end && *p == '-')
		p++;
	if (p == end || *p < '0' || *p > '9')
		return NULL;
	if (*p == '0')
		p++;
	else
		while (p < end && *p >= '0' && *p <= '9')
			p++;
	if (p < end && *p == '.') {
		for (digits = ++p; p < end && *p >= '0' && *p <= '9';)
			p++;
		if (p == digits)
			return NULL;
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		if (++p < end && (*p == '+' || *p == '-'))
			p++;
		for (digits = p; p < end && *p >= '0' && *p <= '9';)
			p++;
		if (p == digits)
			return NULL;
	}
	return p;
}

enum moe_err moe_json_u64(struct moe_json *j, uint64_t *out)
{
	uint64_t v = 0;
	const char *stop;

	if (j->err)
		return j->err;
	skip_space(j);
	stop = number_end(j->p, j->end);
	if (!stop)
		return moe_json_fail(j, "expected an unsigned integer");
	for (const char *p = j->p; p < stop; p++)
		if (*p < '0' || *p > '9')
			return moe_json_fail(j, "expected an unsigned integer");
		else if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return moe_json_fail(j, "integer does not fit 64 bits");
	j->p = stop;
	*out = v;
	return MOE_OK;
}

enum moe_err moe_json_i64(struct moe_json *j, int64_t *out)
{
	bool minus = !j->err && moe_json_peek(j) == '-' && j->p + 1 < j->end && j->p[1] >= '0' && j->p[1] <= '9';
	uint64_t v = 0;

	j->p += minus;
	MOE_TRY(moe_json_u64(j, &v));
	if (v > (uint64_t)INT64_MAX)
		return moe_json_fail(j, "integer does not fit 64 bits");
	*out = minus ? -(int64_t)v : (int64_t)v;
	return MOE_OK;
}

static bool take_word(struct moe_json *j, const char *word)
{
	size_t n = strlen(word);

	skip_space(j);
	if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n))
		return false;
	j->p += n;
	return true;
}

enum moe_err moe_json_bool(struct moe_json *j, bool *out)
{
	if (j->err)
		return j->err;
	*out = take_word(j, "true");
	return *out || take_word(j, "false") ? MOE_OK : moe_json_fail(j, "expected true or false");
}

bool moe_json_null(struct moe_json *j) { return !j->err && take_word(j, "null"); }

static enum moe_err skip_number(struct moe_json *j)
{
	const char *stop = number_end(j->p, j->end);

	if (!stop)
		return moe_json_fail(j, "expected a value");
	j->p = stop;
	return MOE_OK;
}

static enum moe_err skip_scalar(struct moe_json *j)
{
	bool b;

	switch (moe_json_peek(j)) {
	case '"':
		return scan_string(j);
	case 't': case 'f':
		return moe_json_bool(j, &b);
	case 'n':
		return moe_json_null(j) ? MOE_OK : moe_json_fail(j, "expected a value");
	default:
		return skip_number(j);
	}
}

enum moe_err moe_json_skip(struct moe_json *j)
{
	unsigned base = j->depth;
	char c;

	do {
		if (j->err)
			return j->err;
		if (j->depth > base) {  /* inside: move to the next member, or out */
			bool more = j->open[j->depth - 1] == '{' ? moe_json_key(j) : moe_json_element(j);
			if (!more)
				continue;
		}
		c = moe_json_peek(j);
		if (c == '{' || c == '[')
			MOE_TRY(moe_json_enter(j, c));
		else
			MOE_TRY(skip_scalar(j));
	} while (j->depth > base);
	return j->err;
}

enum moe_err moe_json_finish(struct moe_json *j)
{
	if (j->err)
		return j->err;
	skip_space(j);
	return j->p == j->end ? MOE_OK : moe_json_fail(j, "trailing characters");
}
