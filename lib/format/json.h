/* Pull scanner for JSON on the hot path (frame and safetensors headers, tokenizer.json): strict RFC 8259, UTF-8 checked,
 * no allocation, no recursion. It owns nothing: the bytes must outlive it. Small documents are read with jansson instead.
 *
 *     struct moe_json j;
 *     moe_json_init(&j, bytes, n, diag);
 *     MOE_TRY(moe_json_enter(&j, '{'));
 *     while (moe_json_key(&j))
 *         if (moe_json_is(&j, "count")) err = moe_json_u64(&j, &count);
 *         else err = moe_json_skip(&j);
 *     MOE_TRY(moe_json_finish(&j));
 *
 * Every function fails on malformed input with the byte offset in the diagnostic and stays failed. */
#ifndef MOE_FORMAT_JSON_H
#define MOE_FORMAT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { MOE_JSON_DEPTH = 64 };

struct moe_json {
	const char *beg, *p, *end;
	struct moe_diag *diag;
	enum moe_err err;               /* sticky */
	bool fresh;                     /* just entered a container: no comma expected */
	unsigned depth;
	char open[MOE_JSON_DEPTH];      /* '{' or '[' of each level */
	const char *str;                /* last key or string, raw: between the quotes */
	size_t nstr;
	bool escaped;                   /* it contains a backslash */
};

void moe_json_init(struct moe_json *j, const void *bytes, size_t n, struct moe_diag *diag);

/* First character of the next value: one of {["tfn- or a digit; 0 at the end or after an error. */
char moe_json_peek(struct moe_json *j);

/* Enters an object ('{') or an array ('['). */
enum moe_err moe_json_enter(struct moe_json *j, char kind) MOE_CHECK_RESULT;

/* In an object: true with the next key in j->str; false after the last (the object is left then) or on an error. */
bool moe_json_key(struct moe_json *j);

/* In an array: true when another element follows; false after the last (the array is left then) or on an error. */
bool moe_json_element(struct moe_json *j);

/* Compares the last key or string. A string with escapes is compared decoded. */
bool moe_json_is(const struct moe_json *j, const char *text);

/* A string value: raw in j->str. */
enum moe_err moe_json_string(struct moe_json *j) MOE_CHECK_RESULT;

/* Decodes the last key or string into buf (at least j->nstr + 1 bytes), which may hold NULs; returns the length. */
size_t moe_json_decode(const struct moe_json *j, char *buf);

/* A number that is a plain unsigned integer: no sign, fraction or exponent. */
enum moe_err moe_json_u64(struct moe_json *j, uint64_t *out) MOE_CHECK_RESULT;

/* The same with a sign. */
enum moe_err moe_json_i64(struct moe_json *j, int64_t *out) MOE_CHECK_RESULT;

enum moe_err moe_json_bool(struct moe_json *j, bool *out) MOE_CHECK_RESULT;

/* Consumes `null` if it comes next. */
bool moe_json_null(struct moe_json *j);

/* Skips any value, checking it. */
enum moe_err moe_json_skip(struct moe_json *j) MOE_CHECK_RESULT;

/* After the outermost value: only white space may follow. */
enum moe_err moe_json_finish(struct moe_json *j) MOE_CHECK_RESULT;

/* Records "what" at the current byte; for callers that find a value out of place. */
enum moe_err moe_json_fail(struct moe_json *j, const char *what);

#endif
