/* A GGUF file: whatever parses has values and tensors that lie in it, and a tokenizer or a reason. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "model/gguf_tokenizer.h"

static bool inside(const uint8_t *data, size_t size, const uint8_t *p, size_t n) { return p >= data && n <= size && (size_t)(p - data) <= size - n; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct moe_gguf g = {0};
	struct moe_diag d = {0};
	enum moe_err err = moe_gguf_parse(&g, data, size, &d);
	char *json = NULL;
	size_t n;

	FUZZ_EXPECT(err == d.code);
	for (size_t i = 0; !err && i < g.n_values; i++) {
		const struct moe_gguf_value *v = &g.value[i];
		struct moe_rd r;
		FUZZ_EXPECT(inside(data, size, v->data, v->nbytes));
		moe_rd_init(&r, v->data, v->nbytes);
		for (uint64_t e = 0; e < v->n; e++)
			if (v->type == MOE_GGUF_STRING)
				moe_gguf_string(&r, &n);
			else
				moe_gguf_real(&r, v->type);
		FUZZ_EXPECT(!r.bad && r.p == r.end);
	}
	for (size_t i = 0; !err && i < g.header.n_tensors; i++) {
		const struct moe_tensor *t = &g.header.tensor[i];
		FUZZ_EXPECT(inside(data, size, t->data, t->nbytes));
		FUZZ_EXPECT(moe_dtype_nbytes(t->type, moe_tensor_count(t)) == t->nbytes);
	}
	if (!err && !moe_gguf_tokenizer(&json, &n, &g, &d))
		FUZZ_EXPECT(strlen(json) == n);
	free(json);
	moe_gguf_free(&g);
	return 0;
}
