/* Ids to text piece by piece, for output that is shown while it is made. */
#ifndef MOE_TEXT_DETOKENIZER_H
#define MOE_TEXT_DETOKENIZER_H

#include "text/tokenizer.h"

/* Takes ids one by one and gives back only text that no later id can change. What the calls gave, joined, is exactly what moe_tokenizer_decode
 * makes of all the ids. Characters are never cut in two. How long text is held back follows from the decoder of the file:
 *   - ByteLevel: until a character is complete, or certain to be broken (at most 3 bytes);
 *   - ByteFallback: until a run of byte tokens ends, since one wrong byte turns all of the run into U+FFFD;
 *   - Strip at the end, Replace behind a decoder that joins tokens: what could be the beginning of a match; a regular expression there: all.
 * A stream borrows the tokenizer, which must outlive it and is only read: many streams may share one, each used by one thread at a time. */
struct moe_text_stream;

/* MOE_EINPUT when the tokenizer has no decoder. */
enum moe_err moe_text_stream_new(struct moe_text_stream **out, const struct moe_tokenizer *t, bool skip_special, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_text_stream_free(struct moe_text_stream *s);

/* Takes one id (unknown ones give nothing). *text is *n bytes of whole UTF-8 characters, often none, with a NUL behind them; they are the stream's
 * and last until its next call. After an error the stream can only be freed. */
enum moe_err moe_text_stream_push(struct moe_text_stream *s, int32_t id, const char **text, size_t *n, struct moe_diag *d) MOE_CHECK_RESULT;

/* The ids are at an end: gives what was held back. The stream then begins anew, with the next text. */
enum moe_err moe_text_stream_finish(struct moe_text_stream *s, const char **text, size_t *n, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
