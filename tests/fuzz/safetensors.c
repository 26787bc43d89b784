/* A file of weights: whatever parses has tensors that lie in it, one behind the other. */
#include "fuzz.h"

#include <string.h>

#include "format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct moe_header h;
	struct moe_diag d = {0};
	enum moe_err err = moe_safetensors_parse(&h, data, size, &d);
	uint64_t sum = 0, total = 0;

	FUZZ_EXPECT(err == d.code);
	if (err)
		return 0;
	for (size_t i = 0; i < h.n_tensors; i++) {
		const struct moe_tensor *t = &h.tensor[i];
		FUZZ_EXPECT(t->data >= data && t->nbytes <= size && (size_t)(t->data - data) <= size - t->nbytes);
		FUZZ_EXPECT(moe_tensor_count(t) * moe_dtype_nbits(t->type) == t->nbytes * 8);
		FUZZ_EXPECT(strlen(t->name) <= t->name_nbytes);
		for (uint64_t b = 0; b < t->nbytes; b++)
			sum += t->data[b];
		total += t->nbytes;
	}
	FUZZ_EXPECT(total == h.payload_nbytes && (sum || 1));
	return 0;
}
