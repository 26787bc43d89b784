/* Patterns of tokenizer.json are in the syntax of Oniguruma (its own, ONIG_SYNTAX_ONIGURUMA); PCRE2 gets them rewritten:
 *   - properties, \w, \s, \d, \h, \b and POSIX brackets by sets as new as the reference's (pattern_unicode.c);
 *   - character classes inside classes, and intersections (&&), by look-ahead;
 *   - (?m) is (?s) there, {,n} is {0,n}, and a + behind {n,m} repeats and is not possessive.
 * What would be another thing in PCRE2 (verbs, recursion, \K, \C, callouts, absent operators) is refused by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/text_priv.h"

enum { MAX_GROUPS = 64 };

struct rewriter {
	const char *beg, *p, *end;
	struct buffer *out;
	struct moe_diag *d;
	size_t group[MAX_GROUPS];       /* where the open groups begin in `out` */
	size_t n_groups, atom;          /* and the last atom, which a quantifier is for */
};

static enum moe_err refuse(const struct rewriter *w, const char *what)
{
	return moe_fail(w->d, MOE_EINPUT, "tokenizer.json: the pattern is wrong at %zu: %s", (size_t)(w->p - w->beg), what);
}

static enum moe_err put(struct rewriter *w, const char *s) { return moe_buffer_add(w->out, s, strlen(s), w->d); }
static enum moe_err copy(struct rewriter *w, size_t n)
{
	MOE_TRY(moe_buffer_add(w->out, w->p, n, w->d));
	w->p += n;
	return MOE_OK;
}

static bool at(const struct rewriter *w, const char *s)
{
	size_t n = strlen(s);

	return (size_t)(w->end - w->p) >= n && !memcmp(w->p, s, n);
}

static bool take(struct rewriter *w, const char *s)
{
	bool here = at(w, s);

	w->p += here ? strlen(s) : 0;
	return here;
}

/* ---- sets: what stands for one character ---- */

/* A union: items of a class, and classes that are complements ("[^...]|[^...]"). */
struct set {
	struct buffer items, complements;
};

static void set_free(struct set *s)
{
	free(s->items.s);
	free(s->complements.s);
}

static enum moe_err set_add(struct rewriter *w, struct set *s, const char *items, size_t n, bool complement)
{
	if (!complement)
		return moe_buffer_add(&s->items, items, n, w->d);
	if (s->complements.n)
		MOE_TRY(moe_buffer_add(&s->complements, "|", 1, w->d));
	MOE_TRY(moe_buffer_add(&s->complements, "[^", 2, w->d));
	MOE_TRY(moe_buffer_add(&s->complements, items, n, w->d));
	return moe_buffer_add(&s->complements, "]", 1, w->d);
}

static enum moe_err set_named(struct rewriter *w, struct set *s, const char *name, size_t n, bool complement)
{
	char items[MAX_SET];
	bool inside;

	if (!moe_unicode_set(name, n, items, sizeof items, &inside))
		return moe_fail(w->d, MOE_EINPUT, "tokenizer.json: the pattern is wrong at %zu: the character property \"%.*s\" is not known", (size_t)(w->p - w->beg),
				(int)(n > 40 ? 40 : n), name);
	return set_add(w, s, items, strlen(items), inside != complement);
}

/* \p{Name}, \P{Name}, \p{^Name}: behind the p. */
static enum moe_err property(struct rewriter *w, struct set *s, bool complement)
{
	const char *name, *close;

	if (!take(w, "{"))
		return refuse(w, "{ expected");
	complement ^= take(w, "^");
	name = w->p;
	close = memchr(w->p, '}', (size_t)(w->end - w->p));
	if (!close)
		return refuse(w, "} expected");
	w->p = close + 1;
	return set_named(w, s, name, (size_t)(close - name), complement);
}

/* An escape that stands for a set; *was says whether there is one. Outside of classes \w has six more characters (Oniguruma takes it from a table). */
static enum moe_err set_escape(struct rewriter *w, struct set *s, bool outside, bool *was)
{
	const struct { char c; const char *name; } sets[] = {{'d', "digit"}, {'w', outside ? "outerword" : "word"}, {'s', "space"}, {'h', "xdigit"}};
	char c = w->end - w->p > 1 ? w->p[1] : 0;

	*was = true;
	if (c == 'p' || c == 'P') {
		w->p += 2;
		return property(w, s, c == 'P');
	}
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
		if ((c | 0x20) == sets[i].c) {
			w->p += 2;
			return set_named(w, s, sets[i].name, strlen(sets[i].name), c != sets[i].c);
		}
	*was = false;
	return MOE_OK;
}

/* n hexadecimal digits, or as many as there are up to n. */
static bool hex(struct rewriter *w, int least, int most, unsigned *rune)
{
	int n = 0;

	for (*rune = 0; n < most && w->p < w->end; n++, w->p++) {
		char c = *w->p;
		int v = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
		if (v < 0)
			break;
		*rune = *rune << 4 | (unsigned)v;
	}
	return n >= least && *rune < 0x110000;
}

/* An escape that stands for one character, or a plain character. */
static enum moe_err rune_escape(struct rewriter *w, unsigned *rune)
{
	static const char from[] = "ntrfvae", into[] = "\n\t\r\f\v\a\033";
	const char *hit;
	char c;

	if (++w->p == w->end)
		return refuse(w, "nothing behind \\");
	c = *w->p;
	if ((unsigned char)c < 0x80)
		w->p++;
	if (c == 'x' && take(w, "{"))
		return hex(w, 1, 8, rune) && take(w, "}") ? MOE_OK : refuse(w, "hexadecimal digits expected");
	if (c == 'x')
		return hex(w, 1, 2, rune) && *rune < 0x80 ? MOE_OK : refuse(w, "\\x takes two digits below 80, or digits in braces");
	if (c == 'u')
		return hex(w, 4, 4, rune) ? MOE_OK : refuse(w, "four hexadecimal digits expected");
	hit = c ? strchr(from, c) : NULL;
	*rune = hit ? (unsigned char)into[hit - from] : (unsigned char)c;
	if (hit || !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (unsigned char)c >= 0x80) {
		if ((unsigned char)c < 0x80)
			return c >= '0' && c <= '9' ? refuse(w, "octal numbers are not supported") : MOE_OK;
		bool good;
		size_t n = moe_utf8_step(w->p, (size_t)(w->end - w->p), &good);
		*rune = moe_utf8_get(w->p, n);
		w->p += n;
		return good ? MOE_OK : refuse(w, "not UTF-8");
	}
	w->p -= 2;
	return moe_fail(w->d, MOE_EINPUT, "tokenizer.json: the pattern is wrong at %zu: \\%c is not supported", (size_t)(w->p - w->beg), c);
}

static enum moe_err class_rune(struct rewriter *w, unsigned *rune)
{
	bool good;
	size_t n;

	if (take(w, "\\b")) {           /* backspace, in a class */
		*rune = 8;
		return MOE_OK;
	}
	if (*w->p == '\\')
		return rune_escape(w, rune);
	n = moe_utf8_step(w->p, (size_t)(w->end - w->p), &good);
	if (!good)
		return refuse(w, "not UTF-8");
	*rune = moe_utf8_get(w->p, n);
	w->p += n;
	return MOE_OK;
}

/* A character, or a range of them. */
static enum moe_err class_range(struct rewriter *w, struct set *s)
{
	char text[48];
	unsigned from, to;

	MOE_TRY(class_rune(w, &from));
	to = from;
	if (at(w, "-") && w->end - w->p > 1 && w->p[1] != ']' && !at(w, "-&&")) {
		const char *hyphen = w->p++;
		char c = w->p[0], e = c == '\\' && w->end - w->p > 1 ? w->p[1] : 0;
		if (c == '[' || (e && strchr("dDwWsShHpP", e)))
			w->p = hyphen;  /* before a set it stands for itself */
		else
			MOE_TRY(class_rune(w, &to));
	}
	if (to < from)
		return refuse(w, "a range out of order");
	snprintf(text, sizeof text, from == to ? "\\x{%x}" : "\\x{%x}-\\x{%x}", from, to);
	return set_add(w, s, text, strlen(text), false);
}

static enum moe_err posix(struct rewriter *w, struct set *s)
{
	const char *name, *close;
	bool complement;

	w->p += 2;
	complement = take(w, "^");
	name = w->p;
	close = memmem(w->p, (size_t)(w->end - w->p), ":]", 2);
	if (!close)
		return refuse(w, ":] expected");
	w->p = close + 2;
	return set_named(w, s, name, (size_t)(close - name), complement);
}

/* What stands in a class up to its end or an &&, without classes inside when `inner`. */
static enum moe_err class_items(struct rewriter *w, struct set *s, bool inner);

/* A class inside a class. */
static enum moe_err class_inner(struct rewriter *w, struct set *s)
{
	struct set in = {0};
	bool complement;
	enum moe_err err;

	w->p++;
	complement = take(w, "^");
	err = class_items(w, &in, true);
	if (!err && (!take(w, "]") || (complement && in.complements.n)))
		err = refuse(w, "a class inside a class inside a class");
	if (!err && in.items.n)
		err = set_add(w, s, in.items.s, in.items.n, complement);
	if (!err && in.complements.n) {
		if (s->complements.n)
			err = moe_buffer_add(&s->complements, "|", 1, w->d);
		if (!err)
			err = moe_buffer_add(&s->complements, in.complements.s, in.complements.n, w->d);
	}
	set_free(&in);
	return err;
}

static enum moe_err class_items(struct rewriter *w, struct set *s, bool inner)
{
	const char *start = w->p;
	bool was;

	while (w->p < w->end && (*w->p != ']' || w->p == start) && !at(w, "&&")) {
		was = false;
		if (*w->p == '\\')
			MOE_TRY(set_escape(w, s, false, &was));
		if (was)
			continue;
		if (at(w, "[:"))
			MOE_TRY(posix(w, s));
		else if (*w->p == '[' && inner)
			return refuse(w, "a class inside a class inside a class");
		else if (*w->p == '[')
			MOE_TRY(class_inner(w, s));
		else
			MOE_TRY(class_range(w, s));
	}
	if (w->p == w->end)
		return refuse(w, "] expected");
	return s->items.n || s->complements.n ? MOE_OK : refuse(w, "an empty class");
}

/* A set as an expression for one character. */
static enum moe_err put_set(struct rewriter *w, const struct set *s, bool complement)
{
	bool both = s->items.n && s->complements.n;

	if (!s->complements.n || complement) {
		if (s->complements.n) {
			MOE_TRY(put(w, "(?:(?!"));
			MOE_TRY(moe_buffer_add(w->out, s->complements.s, s->complements.n, w->d));
			MOE_TRY(put(w, ")"));
		}
		MOE_TRY(put(w, !s->items.n ? "(?s:." : complement ? "[^" : "["));
		MOE_TRY(moe_buffer_add(w->out, s->items.s, s->items.n, w->d));
		MOE_TRY(put(w, s->items.n ? "]" : ")"));
		return put(w, s->complements.n ? ")" : "");
	}
	MOE_TRY(put(w, both ? "(?:[" : "(?:"));
	MOE_TRY(moe_buffer_add(w->out, s->items.s, s->items.n, w->d));
	MOE_TRY(put(w, both ? "]|" : ""));
	MOE_TRY(moe_buffer_add(w->out, s->complements.s, s->complements.n, w->d));
	return put(w, ")");
}

/* [..] and [..&&..]: of an intersection all but the last operand become look-aheads. */
static enum moe_err char_class(struct rewriter *w)
{
	size_t start = w->out->n;
	bool complement, many = false;

	w->p++;
	complement = take(w, "^");
	for (;;) {
		struct set s = {0};
		enum moe_err err = class_items(w, &s, false);
		bool more = !err && take(w, "&&");
		many |= more;
		if (!err && more)
			err = put(w, "(?=");
		if (!err)
			err = put_set(w, &s, complement && !many);
		if (!err && more)
			err = put(w, ")");
		set_free(&s);
		MOE_TRY(err);
		if (!more)
			break;
	}
	w->p++;                         /* the ] at which the items end */
	w->atom = start;
	if (!many)
		return MOE_OK;
	MOE_TRY(moe_buffer_insert(w->out, start, complement ? "(?:(?!" : "(?:", w->d));
	return put(w, complement ? ")(?s:.))" : ")");
}

/* ---- outside of classes ---- */

static enum moe_err boundary(struct rewriter *w, bool complement)
{
	struct set s = {0};
	enum moe_err err = set_named(w, &s, "outerword", 9, false);
	const char *const parts[] = {complement ? "(?:(?<=[" : "(?:(?<![", complement ? "])(?=[" : "])(?=[", complement ? "])|(?<![" : "])|(?<=[", "])(?![", "]))"};

	for (size_t i = 0; i < 5 && !err; i++) {
		err = put(w, parts[i]);
		if (!err && i < 4)
			err = moe_buffer_add(w->out, s.items.s, s.items.n, w->d);
	}
	set_free(&s);
	return err;
}

static enum moe_err escape(struct rewriter *w)
{
	char c = w->end - w->p > 1 ? w->p[1] : 0, text[16];
	struct set s = {0};
	unsigned rune;
	bool was;
	enum moe_err err;

	w->atom = w->out->n;
	if (c && strchr("AZzR123456789", c))
		return copy(w, 2);
	if (c == 'b' || c == 'B') {
		w->p += 2;
		return boundary(w, c == 'B');
	}
	err = set_escape(w, &s, true, &was);
	if (!err && was)
		err = put_set(w, &s, false);
	set_free(&s);
	if (err || was)
		return err;
	MOE_TRY(rune_escape(w, &rune));
	snprintf(text, sizeof text, "\\x{%x}", rune);
	return put(w, text);
}

/* The letters of (?im-im) or (?im-im:...). */
static enum moe_err group_options(struct rewriter *w)
{
	for (; w->p < w->end && *w->p != ':' && *w->p != ')'; w->p++) {
		if (!strchr("im-", *w->p))
			return refuse(w, "this kind of group is not supported");
		MOE_TRY(moe_buffer_add(w->out, *w->p == 'm' ? "s" : w->p, 1, w->d));
	}
	if (w->p == w->end)
		return refuse(w, ") expected");
	if (*w->p == ')')               /* for the rest of the group around it */
		w->n_groups--;
	return copy(w, 1);
}

static enum moe_err open_group(struct rewriter *w)
{
	static const char *const plain[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};

	if (w->n_groups == MAX_GROUPS)
		return refuse(w, "groups nested deeper than 64");
	w->group[w->n_groups++] = w->out->n;
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		if (at(w, plain[i]))
			return copy(w, strlen(plain[i]));
	if (at(w, "(*"))
		return refuse(w, "this kind of group is not supported");
	if (!at(w, "(?"))
		return copy(w, 1);
	if (at(w, "(?#") || at(w, "(?<") || at(w, "(?:"))
		return refuse(w, "this kind of group is not supported");
	MOE_TRY(copy(w, 2));
	return group_options(w);
}

static enum moe_err close_group(struct rewriter *w)
{
	if (!w->n_groups)
		return refuse(w, ") without (");
	w->atom = w->group[--w->n_groups];
	return copy(w, 1);
}

/* {n}, {n,}, {n,m}, {,m}: its length, 0 when it is none (the brace is a character then). */
static size_t interval(const struct rewriter *w)
{
	const char *p = w->p + 1, *digits = p;
	bool any;

	while (p < w->end && *p >= '0' && *p <= '9')
		p++;
	any = p > digits;
	if (p < w->end && *p == ',')
		for (p++, digits = p; p < w->end && *p >= '0' && *p <= '9'; p++)
			;
	any |= p > digits;
	return any && p < w->end && *p == '}' ? (size_t)(p + 1 - w->p) : 0;
}

static enum moe_err quantifier(struct rewriter *w)
{
	size_t n = *w->p == '{' ? interval(w) : 1;

	if (!n) {
		w->atom = w->out->n;
		w->p++;
		return put(w, "\\{");
	}
	if (w->atom == SIZE_MAX)
		return refuse(w, "nothing to repeat");
	if (at(w, "{,")) {
		w->p += 1;
		MOE_TRY(put(w, "{0"));
		return copy(w, n - 1);
	}
	if (*w->p != '{') {
		MOE_TRY(copy(w, 1));
		return at(w, "?") || at(w, "+") ? copy(w, 1) : MOE_OK;
	}
	MOE_TRY(copy(w, n));
	if (at(w, "?"))
		return copy(w, 1);
	if (!at(w, "+") && !at(w, "*") && !at(w, "{"))
		return MOE_OK;
	MOE_TRY(moe_buffer_insert(w->out, w->atom, "(?:", w->d));
	return put(w, ")");
}

static enum moe_err plain(struct rewriter *w)
{
	bool good;
	size_t n = moe_utf8_step(w->p, (size_t)(w->end - w->p), &good);

	if (!good)
		return refuse(w, "not UTF-8");
	w->atom = w->out->n;
	return *w->p ? copy(w, n) : (w->p++, put(w, "\\x00"));
}

enum moe_err moe_pattern_translate(const char *pattern, size_t n, struct buffer *out, struct moe_diag *d)
{
	struct rewriter w = {.beg = pattern, .p = pattern, .end = pattern + n, .out = out, .d = d, .atom = SIZE_MAX};

	while (w.p < w.end) {
		switch (*w.p) {
		case '\\':
			MOE_TRY(escape(&w));
			break;
		case '[':
			MOE_TRY(char_class(&w));
			break;
		case '(':
			MOE_TRY(open_group(&w));
			w.atom = SIZE_MAX;
			break;
		case ')':
			MOE_TRY(close_group(&w));
			break;
		case '*': case '+': case '?': case '{':
			MOE_TRY(quantifier(&w));
			break;
		case '|':
			MOE_TRY(copy(&w, 1));
			w.atom = SIZE_MAX;
			break;
		default:
			MOE_TRY(plain(&w));
		}
	}
	return w.n_groups ? refuse(&w, ") expected") : MOE_OK;
}
