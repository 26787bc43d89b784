/* Regular expressions and literal texts: matches one after the other, as Oniguruma's iterator finds them. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "text/text_priv.h"

enum { LEAST_STEPS = 1000000, STEPS_PER_BYTE = 16, HEAP_KIB = 256 << 10, STACK_FIRST = 32 << 10, STACK_MOST = 64 << 20 };

static enum moe_err out_of_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for a pattern"); }

/* ^ and $ stand at every line in Oniguruma. \C, which cuts characters in two, is refused: matches must begin and end between characters. */
static enum moe_err compile_text(struct regex *r, const char *text, size_t n, struct moe_diag *d)
{
	const uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK | PCRE2_NEVER_BACKSLASH_C | PCRE2_MULTILINE | PCRE2_DOLLAR_ENDONLY;
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	PCRE2_UCHAR message[128];
	PCRE2_SIZE at;
	int code;

	if (!context)
		return out_of_memory(d);
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	r->code = pcre2_compile((PCRE2_SPTR)text, n, flags, &code, &at, context);
	pcre2_compile_context_free(context);
	if (r->code)
		return MOE_OK;
	pcre2_get_error_message(code, message, sizeof message);
	return moe_fail(d, MOE_EINPUT, "tokenizer.json: the pattern \"%.*s\" is wrong: %s", (int)moe_min(r->pattern.n, 200), r->pattern.s, (const char *)message);
}

enum moe_err moe_regex_compile(struct regex *r, struct moe_diag *d)
{
	struct buffer text = {0};
	enum moe_err err;

	if (r->code || r->literal)
		return MOE_OK;
	err = moe_pattern_translate(r->pattern.s, r->pattern.n, &text, d);
	if (!err)
		err = compile_text(r, text.s ? text.s : "", text.n, d);
	free(text.s);
	MOE_TRY(err);
	pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* best effort: slower without */
	r->match = pcre2_match_data_create_from_pattern(r->code, NULL);
	r->context = pcre2_match_context_create(NULL);
	r->stack = pcre2_jit_stack_create(STACK_FIRST, STACK_MOST, NULL);
	if (!r->match || !r->context || !r->stack)
		return out_of_memory(d);
	pcre2_jit_stack_assign(r->context, NULL, r->stack);
	pcre2_set_heap_limit(r->context, HEAP_KIB);
	return MOE_OK;
}

void moe_regex_free(struct regex *r)
{
	pcre2_match_context_free(r->context);
	pcre2_match_data_free(r->match);
	pcre2_code_free(r->code);
	pcre2_jit_stack_free(r->stack);
	*r = (struct regex){.pattern = r->pattern, .literal = r->literal};
}

static bool find_literal(const struct regex *r, struct finder *f)
{
	const char *hit = r->pattern.n && f->n > f->at ? memmem(f->text + f->at, f->n - f->at, r->pattern.s, r->pattern.n) : NULL;

	if (hit) {
		f->from = (size_t)(hit - f->text);
		f->to = f->from + r->pattern.n;
	}
	return hit;
}

/* The next match from f->at on. A pattern that does not come to an end (a file's, not ours) is cut off after a number of steps. */
static enum moe_err find(struct regex *r, struct finder *f, bool *found, struct moe_diag *d)
{
	const PCRE2_SIZE *v;
	int got;

	if (r->literal) {
		*found = find_literal(r, f);
		return MOE_OK;
	}
	pcre2_set_match_limit(r->context, LEAST_STEPS + (uint32_t)moe_min(f->n, UINT32_MAX / 2 / STEPS_PER_BYTE) * STEPS_PER_BYTE);
	got = pcre2_match(r->code, (PCRE2_SPTR)f->text, f->n, f->at, PCRE2_NO_UTF_CHECK, r->match, r->context);
	if (got == PCRE2_ERROR_JIT_STACKLIMIT)
		got = pcre2_match(r->code, (PCRE2_SPTR)f->text, f->n, f->at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, r->match, r->context);
	*found = got >= 0;
	if (got == PCRE2_ERROR_NOMATCH)
		return MOE_OK;
	if (got < 0)
		return moe_fail(d, MOE_EINPUT, "the text is too hard for the pattern \"%.*s\" of tokenizer.json (PCRE2 error %d at byte %zu)",
				(int)moe_min(r->pattern.n, 200), r->pattern.s, got, f->at);
	v = pcre2_get_ovector_pointer(r->match);
	f->from = v[0];
	f->to = v[1];
	return MOE_OK;
}

/* An empty match right behind the match before it does not count: the search goes on one character further. */
enum moe_err moe_regex_next(struct regex *r, struct finder *f, bool *found, struct moe_diag *d)
{
	bool good;

	*found = false;
	MOE_TRY(moe_regex_compile(r, d));
	while (f->at <= f->n) {
		MOE_TRY(find(r, f, found, d));
		if (!*found)
			break;
		if (f->to > f->from || !f->any || f->last != f->to) {
			f->at = f->last = f->to;
			f->any = true;
			break;
		}
		*found = false;
		f->at += f->at < f->n ? moe_utf8_step(f->text + f->at, f->n - f->at, &good) : 1;
	}
	return MOE_OK;
}

enum moe_err moe_regex_replace(struct regex *r, const char *text, size_t n, struct string with, struct buffer *out, struct moe_diag *d)
{
	struct finder f = {.text = text, .n = n};
	size_t done = 0;
	bool found;

	for (;;) {
		MOE_TRY(moe_regex_next(r, &f, &found, d));
		if (!found)
			break;
		MOE_TRY(moe_buffer_add(out, text + done, f.from - done, d));
		MOE_TRY(moe_buffer_add(out, with.s, with.n, d));
		done = f.to;
	}
	return moe_buffer_add(out, text + done, n - done, d);
}
