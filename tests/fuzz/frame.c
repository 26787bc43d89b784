/* A stream: frames are read until the input ends or is refused. CRCs are not checked here, since a fuzzer would never get past them. */
#include "fuzz.h"

#include "stream/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct moe_frame f = {0};
	struct moe_source *s;
	struct moe_reader *r;
	struct moe_diag d = {0};
	enum moe_err err;

	if (moe_source_memory(&s, data, size, "input", &d) || moe_reader_new(&r, s, &d))
		return 0;
	moe_reader_any_crc(r, true);
	while (!(err = moe_reader_next(r, &f, true, &d)))
		FUZZ_EXPECT(f.nbytes && moe_reader_offset(r) <= size);
	FUZZ_EXPECT(err == MOE_END || d.code == err);
	moe_frame_free(&f);
	moe_reader_free(r);
	return 0;
}
