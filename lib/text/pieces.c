/* From raw text to pieces: the splits of the pre-tokenizer one after the other, then the byte alphabet. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "text/text_priv.h"

static enum moe_err compile(struct split *s, struct moe_diag *d)
{
	PCRE2_SIZE at;
	int code;

	if (s->code)
		return MOE_OK;
	s->code = pcre2_compile((PCRE2_SPTR)s->pattern, s->npattern, PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &code, &at, NULL);
	if (!s->code) {
		PCRE2_UCHAR text[128];
		pcre2_get_error_message(code, text, sizeof text);
		return moe_fail(d, MOE_EINPUT, "tokenizer.json: pre_tokenizer: the pattern is wrong at %zu: %s", (size_t)at, (const char *)text);
	}
	pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE); /* best effort: slower without */
	s->match = pcre2_match_data_create_from_pattern(s->code, NULL);
	return s->match ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
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

/* Matches and what lies between them are pieces of their own (behaviour Isolated). Each level of splits is one call deep: at most MAX_SPLITS. */
static enum moe_err split_from(struct moe_tokenizer *t, size_t level, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	size_t at = 0, done = 0;
	struct split *s;

	if (level == t->n_splits)
		return n ? encode_piece(t, text, n, ids, d) : MOE_OK;
	s = &t->split[level];
	MOE_TRY(compile(s, d));
	while (at < n) {
		int r = pcre2_match(s->code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK, s->match, NULL);
		const PCRE2_SIZE *v = pcre2_get_ovector_pointer(s->match);
		bool good;
		if (r == PCRE2_ERROR_NOMATCH)
			break;
		if (r < 0)
			return moe_fail(d, MOE_EINPUT, "the text is too hard for the pre-tokenizer's pattern (PCRE2 error %d at byte %zu)", r, at);
		if (v[1] == v[0]) {
			at = v[0] < n ? v[0] + moe_utf8_step(text + v[0], n - v[0], &good) : n;
			continue;
		}
		MOE_TRY(split_from(t, level + 1, text + done, v[0] - done, ids, d));
		MOE_TRY(split_from(t, level + 1, text + v[0], v[1] - v[0], ids, d));
		done = at = v[1];
	}
	return split_from(t, level + 1, text + done, n - done, ids, d);
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
