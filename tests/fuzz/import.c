/* Routing that another engine recorded, in any of the formats: what is taken becomes a trace that the reader takes. */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "import/import.h"

static void read_back(int fd)
{
	struct moe_trace_block b;
	struct moe_source *s;
	struct moe_trace *t;
	struct moe_diag d = {0};
	enum moe_err err;

	FUZZ_EXPECT(!lseek(fd, 0, SEEK_SET) && !moe_source_fd(&s, fd, "trace", &d));
	FUZZ_EXPECT(!moe_trace_open(&t, s, &d));
	while (!(err = moe_trace_next(t, &b, &d)))
		;
	FUZZ_EXPECT(err == MOE_END);
	moe_trace_close(t);
}

static void write_trace(const struct moe_import *m)
{
	int fd = memfd_create("trace", 0);
	struct moe_writer *w;
	struct moe_diag d = {0};

	FUZZ_EXPECT(fd >= 0 && !moe_writer_new(&w, fd, &d));
	if (!moe_import_write(m, w, NULL, &d))
		read_back(fd);
	else
		FUZZ_EXPECT(d.code == MOE_EINPUT || d.code == MOE_ENOMEM);
	moe_writer_free(w);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct moe_import_options o = {.k = size % 3 ? 2 : 0, .image_token = 7};
	struct moe_import *m;
	struct moe_diag d = {0};
	enum moe_err err;

	FUZZ_EXPECT(!moe_import_new(&m, &o, &d));
	err = moe_import_add(m, "input", data, size, &d);
	FUZZ_EXPECT(err == d.code);
	if (!err)
		write_trace(m);
	moe_import_free(m);
	return 0;
}
