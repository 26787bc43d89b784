/* The normalizer: steps one after the other over a whole text. Normal forms (Unicode Standard Annex 15) take the characters and the composition
 * from utf8proc; the order of marks is made here, since utf8proc's takes the square of the length of a run of marks. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/check.h"
#include "text/text_priv.h"

enum { FIRST_MARK = 0x300, LONGEST_DECOMPOSITION = 18, N_CLASSES = 256 };

/* The reference's tables of normal forms are those of Unicode 9: younger characters are not changed and are no marks there. */
static bool too_young(unsigned c)
{
	static const uint32_t young[][2] = {
		{0x7fd, 0x7fd}, {0x897, 0x89f}, {0x8ca, 0x8d3}, {0x9fe, 0x9fe}, {0xc3c, 0xc3c}, {0xd3b, 0xd3c}, {0xeba, 0xeba}, {0xece, 0xece},
		{0x1715, 0x1715}, {0x1abf, 0x1ace}, {0x1df6, 0x1dfa}, {0x32ff, 0x32ff}, {0xa7f2, 0xa7f4}, {0xa82c, 0xa82c}, {0xab69, 0xab69},
		{0x105c9, 0x105c9}, {0x105e4, 0x105e4}, {0x10781, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba}, {0x10d24, 0x10d27},
		{0x10d69, 0x10d6d}, {0x10eab, 0x10eac}, {0x10efc, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070},
		{0x11241, 0x11241}, {0x1133b, 0x1133b}, {0x11380, 0x113e2}, {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11938, 0x11938},
		{0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99},
		{0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f00, 0x11f01}, {0x11f03, 0x11f03}, {0x11f34, 0x11f3a},
		{0x11f3e, 0x11f42}, {0x11f5a, 0x11f5a}, {0x13440, 0x13440}, {0x13447, 0x13455}, {0x1611e, 0x1612f}, {0x16d68, 0x16d6a},
		{0x16ff0, 0x16ff1}, {0x1ccd6, 0x1ccf9}, {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
		{0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
	};
	size_t from = 0, to = sizeof young / sizeof *young;

	while (from < to) {
		size_t mid = (from + to) / 2;
		if (c > young[mid][1])
			from = mid + 1;
		else if (c < young[mid][0])
			to = mid;
		else
			return true;
	}
	return false;
}

struct runes {
	int32_t *c;
	uint8_t *order;                 /* canonical combining class */
	size_t n, cap, order_cap;
};

static enum moe_err decompose(struct runes *r, const char *text, size_t n, utf8proc_option_t options, struct moe_diag *d)
{
	size_t step;
	bool good;

	for (size_t i = 0; i < n; i += step) {
		int32_t c[LONGEST_DECOMPOSITION];
		utf8proc_ssize_t m = 1;
		step = moe_utf8_step(text + i, n - i, &good);
		c[0] = (int32_t)moe_utf8_get(text + i, step);
		if (c[0] >= 0x80 && !too_young((unsigned)c[0]))
			m = utf8proc_decompose_char(c[0], c, LONGEST_DECOMPOSITION, options, NULL);
		if (m < 0 || m > LONGEST_DECOMPOSITION)
			return moe_fail(d, MOE_EINPUT, "the character at byte %zu cannot be decomposed", i);
		MOE_TRY(moe_grow(&r->c, &r->cap, r->n + (size_t)m, sizeof *r->c, d));
		MOE_TRY(moe_grow(&r->order, &r->order_cap, r->n + (size_t)m, 1, d));
		for (utf8proc_ssize_t k = 0; k < m; k++) {
			r->order[r->n] = c[k] < FIRST_MARK || too_young((unsigned)c[k]) ? 0 : (uint8_t)utf8proc_get_property(c[k])->combining_class;
			r->c[r->n++] = c[k];
		}
	}
	return MOE_OK;
}

/* Sorts a run of n marks by class, equal ones as they stand: counting, since there are few classes. */
static void sort_marks(int32_t *c, uint8_t *order, size_t n, int32_t *spare_c)
{
	size_t count[N_CLASSES + 1] = {0};

	for (size_t i = 0; i < n; i++)
		count[order[i] + 1]++;
	for (size_t k = 0; k < N_CLASSES; k++)
		count[k + 1] += count[k];
	for (size_t i = 0; i < n; i++)
		spare_c[count[order[i]]++] = c[i];
	memcpy(c, spare_c, n * sizeof *c);
}

static enum moe_err order_marks(struct runes *r, struct moe_diag *d)
{
	int32_t *spare = NULL;
	size_t spare_cap = 0;
	enum moe_err err = MOE_OK;

	for (size_t i = 0, end; i < r->n && !err; i = end + (end == i)) {
		bool sorted = true;
		for (end = i; end < r->n && r->order[end]; end++)
			sorted &= end == i || r->order[end - 1] <= r->order[end];
		if (sorted)
			continue;
		err = moe_grow(&spare, &spare_cap, end - i, sizeof *spare, d);
		if (!err)
			sort_marks(r->c + i, r->order + i, end - i, spare);
	}
	free(spare);
	return err;
}

/* (utf8proc also composes the one pair that is too young, U+11935 U+11930.) */
static enum moe_err normal_form(const struct normal_step *s, const char *text, size_t n, struct buffer *out, struct moe_diag *d)
{
	utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (s->compatible ? UTF8PROC_COMPAT : 0);
	struct runes r = {0};
	enum moe_err err = decompose(&r, text, n, options, d);

	if (!err)
		err = order_marks(&r, d);
	if (!err && s->compose) {
		utf8proc_ssize_t m = utf8proc_normalize_utf32(r.c, (utf8proc_ssize_t)r.n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
		r.n = m < 0 ? 0 : (size_t)m;
	}
	if (!err)
		err = moe_grow(&out->s, &out->cap, 4 * r.n + 1, 1, d);
	for (size_t i = 0; i < r.n && !err; i++)
		out->n += moe_utf8_put(out->s + out->n, (unsigned)r.c[i]);
	free(r.c);
	free(r.order);
	return err;
}

/* No form changes ASCII, and composed ones nothing below the first mark (UAX 15, quick check). */
static bool is_normal(const struct normal_step *s, const char *text, size_t n)
{
	unsigned char most = s->compose && !s->compatible ? 0xcc : 0x80;        /* U+0300 begins with CC */

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] >= most && ((unsigned char)text[i] & 0xc0) != 0x80)
			return false;
	return true;
}

/* Lower case of what is younger than utf8proc's tables (Unicode 14 to 16); others as utf8proc has them. */
static unsigned lower(unsigned c)
{
	static const uint16_t pairs[][2] = {{0x2c2f, 0x2c5f}, {0xa7c0, 0xa7c1}, {0xa7d0, 0xa7d1}, {0xa7d6, 0xa7d7}, {0xa7d8, 0xa7d9}, {0x1c89, 0x1c8a},
		{0xa7cb, 0x264}, {0xa7cc, 0xa7cd}, {0xa7da, 0xa7db}, {0xa7dc, 0x19b}};

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		if (c == pairs[i][0])
			return pairs[i][1];
	if (c >= 0x10d50 && c <= 0x10d65)
		return c + 0x20;
	if (c >= 0x10570 && c <= 0x10595 && c != 0x1057b && c != 0x1058b && c != 0x10593)
		return c + 0x27;
	return (unsigned)utf8proc_tolower((utf8proc_int32_t)c);
}

static enum moe_err lower_case(const char *text, size_t n, struct buffer *out, struct moe_diag *d)
{
	size_t step;
	bool good;

	for (size_t i = 0; i < n; i += step) {
		char to[4];
		unsigned c;
		step = moe_utf8_step(text + i, n - i, &good);
		c = moe_utf8_get(text + i, step);
		if (c == 0x130)         /* the one character whose lower case is two */
			MOE_TRY(moe_buffer_add(out, "i\xcc\x87", 3, d));
		else
			MOE_TRY(moe_buffer_add(out, to, moe_utf8_put(to, lower(c)), d));
	}
	return MOE_OK;
}

static enum moe_err strip_accents(const char *text, size_t n, struct buffer *out, struct moe_diag *d)
{
	size_t step;
	bool good;

	for (size_t i = 0; i < n; i += step) {
		utf8proc_category_t k;
		step = moe_utf8_step(text + i, n - i, &good);
		k = utf8proc_category((utf8proc_int32_t)moe_utf8_get(text + i, step));
		if (k != UTF8PROC_CATEGORY_MN && k != UTF8PROC_CATEGORY_MC && k != UTF8PROC_CATEGORY_ME)
			MOE_TRY(moe_buffer_add(out, text + i, step, d));
	}
	return MOE_OK;
}

static struct string strip(const struct normal_step *s, struct string in)
{
	size_t lead = s->left ? moe_leading_space(in.s, in.n) : 0;

	in.s += lead;
	in.n -= lead;
	in.n -= s->right ? moe_trailing_space(in.s, in.n) : 0;
	return in;
}

/* One step that makes new bytes. */
static enum moe_err change(struct normal_step *s, struct string in, struct buffer *out, struct moe_diag *d)
{
	switch (s->kind) {
	case NORMAL_FORM:
		return normal_form(s, in.s, in.n, out, d);
	case NORMAL_PREPEND:
		MOE_TRY(moe_buffer_add(out, s->content.s, s->content.n, d));
		return moe_buffer_add(out, in.s, in.n, d);
	case NORMAL_REPLACE:
		return moe_regex_replace(&s->regex, in.s, in.n, s->content, out, d);
	case NORMAL_LOWER:
		return lower_case(in.s, in.n, out, d);
	case NORMAL_ACCENTS:
		return strip_accents(in.s, in.n, out, d);
	default:
		return moe_bytes_to_alphabet(in.s, in.n, out, d);
	}
}

enum moe_err moe_normalize(struct moe_tokenizer *t, const char *text, size_t n, struct string *out, struct moe_diag *d)
{
	unsigned turn = 0;

	*out = (struct string){text, n};
	for (size_t i = 0; i < t->n_normal && out->n; i++) {
		struct normal_step *s = &t->normal_step[i];
		struct buffer *to = &t->normal_text[turn];
		if (s->kind == NORMAL_STRIP)
			*out = strip(s, *out);
		if (s->kind == NORMAL_STRIP || (s->kind == NORMAL_FORM && is_normal(s, out->s, out->n)))
			continue;
		to->n = 0;
		MOE_TRY(change(s, *out, to, d));
		*out = (struct string){to->s ? to->s : "", to->n};
		turn ^= 1;
	}
	return MOE_OK;
}
