/* From raw text to pieces: the splits of the pre-tokenizer one after the other, then the byte alphabet. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "text/text_priv.h"

enum { LEAST_STEPS = 1000000, STEPS_PER_BYTE = 16, HEAP_KIB = 256 << 10 };

/* \C, which cuts characters in two, is refused: matches must begin and end between characters. */
static enum moe_err compile(struct split *s, struct moe_diag *d)
{
	PCRE2_SIZE at;
	int code;

	if (s->code)
		return MOE_OK;
	s->code = pcre2_compile((PCRE2_SPTR)s->pattern, s->npattern, PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK | PCRE2_NEVER_BACKSLASH_C,
	                        &code, &at, NULL);
	if (!s->code) {
		PCRE2_UCHAR text[128];
		pcre2_get_error_message(code, text, sizeof text);
		return moe_fail(d, MOE_EINPUT, "tokenizer.json: pre_tokenizer: the pattern is wrong at %zu: %s", (size_t)at, (const char *)text);
	}
	pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE); /* best effort: slower without */
	s->match = pcre2_match_data_create_from_pattern(s->code, NULL);
	s->context = pcre2_match_context_create(NULL);
	return s->match && s->context ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

/* The next match from `at` on. A pattern that does not come to an end (a file's, not ours) is cut off after a number of steps. */
static enum moe_err match(struct split *s, const char *text, size_t n, size_t at, bool *found, struct moe_diag *d)
{
	const PCRE2_SIZE *v = pcre2_get_ovector_pointer(s->match);
	int r = pcre2_match(s->code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK, s->match, s->context);

	*found = r >= 0;
	if (r < 0 && r != PCRE2_ERROR_NOMATCH)
		return moe_fail(d, MOE_EINPUT, "the text is too hard for the pre-tokenizer's pattern (PCRE2 error %d at byte %zu)", r, at);
	if (*found && (v[0] < at || v[1] < v[0]))       /* \K can do it */
		return moe_fail(d, MOE_EINPUT, "the pre-tokenizer's pattern matches backwards at byte %zu", at);
	return MOE_OK;
}

/* A whole piece in the tokenizer's alphabet. */
static enum moe_err encode_piece(struct moe_tokenizer *t, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	char small[1024], *mapped = small;
	size_t m = 0;
	enum moe_err err;

	if (!t->byte_level)
		return moe_bpe_encode(t, text, n, ids, d);
	if (n > sizeof small / 2 && !(mapped = malloc(2 * n)))
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		m += moe_utf8_put(mapped + m, moe_byte_to_rune((unsigned char)text[i]));
	err = moe_bpe_encode(t, mapped, m, ids, d);
	if (mapped != small)
		free(mapped);
	return err;
}

/* Matches, and what lies between them, are pieces of their own (behaviour Isolated). Each level of splits is one call deep: at most MAX_SPLITS. */
static enum moe_err split_from(struct moe_tokenizer *t, size_t level, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	size_t at = 0, done = 0;
	struct split *s;

	if (level == t->n_splits)
		return n ? encode_piece(t, text, n, ids, d) : MOE_OK;
	s = &t->split[level];
	MOE_TRY(compile(s, d));
	pcre2_set_match_limit(s->context, LEAST_STEPS + (uint32_t)moe_min(n, UINT32_MAX / 2 / STEPS_PER_BYTE) * STEPS_PER_BYTE);
	pcre2_set_heap_limit(s->context, HEAP_KIB);
	while (at < n) {
		const PCRE2_SIZE *v = pcre2_get_ovector_pointer(s->match);
		bool good;
		MOE_TRY(match(s, text, n, at, &good, d));
		if (!good)
			break;
		if (v[1] == v[0]) {
			at = v[0] < n ? v[0] + moe_utf8_step(text + v[0], n - v[0], &good) : n;
			continue;
		}
		if (!s->matches_only)
			MOE_TRY(split_from(t, level + 1, text + done, v[0] - done, ids, d));
		MOE_TRY(split_from(t, level + 1, text + v[0], v[1] - v[0], ids, d));
		done = at = v[1];
	}
	return s->matches_only ? MOE_OK : split_from(t, level + 1, text + done, n - done, ids, d);
}

enum moe_err moe_pieces_encode(struct moe_tokenizer *t, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	char *spaced;
	enum moe_err err;

	if (!n)
		return MOE_OK;
	if (!t->add_prefix_space || *text == ' ')
		return split_from(t, 0, text, n, ids, d);
	spaced = malloc(n + 1);
	if (!spaced)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	spaced[0] = ' ';
	memcpy(spaced + 1, text, n);
	err = split_from(t, 0, spaced, n + 1, ids, d);
	free(spaced);
	return err;
}
