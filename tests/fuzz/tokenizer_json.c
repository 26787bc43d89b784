/* Fuzz target: the input is a tokenizer.json; if it loads, a few texts are encoded and their ids decoded, at once and id by id, which must agree. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/detokenizer.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const struct moe_tokenizer *t, const struct moe_ids *ids, bool skip)
{
	struct moe_text_stream *s;
	struct moe_diag d = {0};
	const char *more;
	char *text = NULL;
	size_t n = 0, cap = 0, n_more, at = 0;

	if (moe_tokenizer_decode(t, ids->id, ids->n, skip, &text, &n, &cap, &d) || moe_text_stream_new(&s, t, skip, &d)) {
		free(text);
		return;
	}
	for (size_t i = 0; i <= ids->n; i++) {
		if (i < ids->n ? moe_text_stream_push(s, ids->id[i], &more, &n_more, &d) : moe_text_stream_finish(s, &more, &n_more, &d))
			abort();
		if (n_more > n - at || memcmp(text + at, more, n_more))
			abort();
		at += n_more;
	}
	if (at != n)
		abort();
	moe_text_stream_free(s);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const texts[] = {"", " a b  c\n\nab abb 12345 <unk><s></s>", "It's \xc3\xa9t\xc3\xa9 \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x80\t\xe2\x96\x81x",
					    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa                    \r\n"};
	struct moe_diag d = {0};
	struct moe_tokenizer *t;

	if (moe_tokenizer_load(&t, (const char *)data, size, &d))
		return 0;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct moe_ids ids = {0};
		d = (struct moe_diag){0};
		if (!moe_tokenizer_encode(t, texts[i], strlen(texts[i]), i % 2, &ids, &d))
			decode(t, &ids, i % 2);
		free(ids.id);
	}
	moe_tokenizer_free(t);
	return 0;
}
