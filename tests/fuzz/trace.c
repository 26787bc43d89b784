/* A trace of routing, without regard to CRCs, since a fuzzer would never get past them: what is read keeps its promises. */
#include "fuzz.h"

#include <math.h>

#include "trace/trace.h"

static void use(const struct moe_trace_block *b, const struct moe_trace_info *i)
{
	FUZZ_EXPECT(b->rows <= MOE_TRACE_ROWS && !b->rows == (i->detail == MOE_TRACE_COUNTS));
	for (size_t r = 0; r < b->rows; r++)
		FUZZ_EXPECT(b->token[r] + b->image[r] + b->patch[r] + b->modality[r] + b->position[b->axes * b->rows - 1] != INT32_MIN + 1);
	for (size_t n = 0; n < i->n_layers * b->rows * i->k && b->rows; n++) {
		FUZZ_EXPECT(b->expert[n] < i->experts || b->expert[n] == MOE_NO_EXPERT);
		FUZZ_EXPECT(!b->weight || isfinite(b->weight[n]));
	}
	for (size_t n = 0; n < i->n_layers * b->rows * i->experts && b->rows; n++)
		FUZZ_EXPECT(!b->logit || b->logit[n] < INFINITY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct moe_frame f = {0};
	struct moe_arena a = {0};
	struct moe_trace_info info = {0};
	struct moe_trace_block b;
	struct moe_source *s;
	struct moe_reader *r;
	struct moe_diag d = {0};

	if (moe_source_memory(&s, data, size, "input", &d) || moe_reader_new(&r, s, &d))
		return 0;
	moe_reader_any_crc(r, true);
	while (!d.code && !moe_reader_next(r, &f, true, &d)) {
		moe_arena_reset(&a);
		if (f.kind == MOE_KIND_HEAD) {
			moe_trace_info_free(&info);
			if (moe_trace_info_read(&info, &f, &d))
				break;
		} else if (f.kind == MOE_KIND_TRACE && info.layer && !moe_trace_block_read(&b, &f, &info, &a, &d)) {
			use(&b, &info);
		}
	}
	moe_trace_info_free(&info);
	moe_frame_free(&f);
	moe_arena_free(&a);
	moe_reader_free(r);
	return 0;
}
