/* Text to token ids and back, from a tokenizer.json. */
#ifndef MOE_TEXT_TOKENIZER_H
#define MOE_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct moe_tokenizer;

/* Reads a tokenizer.json of n bytes (not kept). A part that is not supported is refused by its name. */
enum moe_err moe_tokenizer_load(struct moe_tokenizer **out, const char *json, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_tokenizer_free(struct moe_tokenizer *t);

/* Number of ids: one more than the largest. */
size_t moe_tokenizer_size(const struct moe_tokenizer *t);

/* Id of a whole token (an added token, or an entry of the vocabulary as it is written there), -1 if there is none. */
int32_t moe_tokenizer_find(const struct moe_tokenizer *t, const char *token, size_t n);

/* The token as it is written in the vocabulary (*n bytes, not terminated), NULL for an unknown id. */
const char *moe_tokenizer_token(const struct moe_tokenizer *t, int32_t id, size_t *n);

/* True for an added token marked special. */
bool moe_tokenizer_special(const struct moe_tokenizer *t, int32_t id);

/* Ids of a text; grows by itself. */
struct moe_ids {
	int32_t *id;
	size_t n, cap;
};

/* Appends the ids of n bytes of UTF-8 to `ids`. `add_special` runs the post-processor (begin-of-sequence tokens and the like).
 * A byte sequence that is not UTF-8 is refused with its offset. */
enum moe_err moe_tokenizer_encode(struct moe_tokenizer *t, const char *text, size_t n, bool add_special, struct moe_ids *ids,
				  struct moe_diag *d) MOE_CHECK_RESULT;

/* Text of ids, appended to *text (grown with realloc, *n bytes of *cap, NUL behind it). Unknown ids give nothing.
 * MOE_EINPUT when the file has no decoder. */
enum moe_err moe_tokenizer_decode(const struct moe_tokenizer *t, const int32_t *id, size_t n_ids, bool skip_special, char **text, size_t *n,
				  size_t *cap, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
