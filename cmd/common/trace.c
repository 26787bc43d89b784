#include "common/trace.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct trace_options trace_options;

/* `file` with the layers in the place of {layers}; to be freed. */
static char *name_file(const char *file, size_t first, size_t last)
{
	const char *mark = strstr(file, "{layers}");
	char layers[48], *path;

	snprintf(layers, sizeof layers, first == last ? "%zu" : "%zu-%zu", first, last);
	if (asprintf(&path, "%.*s%s%s", mark ? (int)(mark - file) : 0, file, mark ? layers : "", mark ? mark + strlen("{layers}") : file) < 0)
		cli_fail("out of memory");
	return path;
}

static enum moe_trace_detail parse_detail(void)
{
	int detail = trace_options.detail ? moe_trace_detail_find(trace_options.detail) : MOE_TRACE_LOGITS;

	if (detail < MOE_TRACE_IDS)
		cli_fail("--trace-detail %s: expected ids, weights or logits", trace_options.detail);
	return (enum moe_trace_detail)detail;
}

static const char *file_name(void)
{
	const char *env = getenv("MOE_TRACE");

	return trace_options.file ? trace_options.file : env && *env ? env : NULL;
}

void trace_open(struct trace *t, const struct moe_model *m, size_t first, size_t last, const struct moe_identity *id, bool in_order)
{
	enum moe_trace_detail detail = parse_detail();
	struct moe_tracing_options o = {.model = m, .first = first, .last = last, .detail = detail, .identity = &t->identity, .in_order = in_order};
	const char *file = file_name();
	struct moe_diag d = {0};

	*t = (struct trace){.identity = *id};
	if (!file) {
		if (trace_options.detail)
			cli_fail("--trace-detail goes with --trace FILE");
		return;
	}
	if (!strcmp(file, "-") && (!cli.output || isatty(STDOUT_FILENO)))
		cli_fail("--trace -: standard output is for the answers; it takes a trace with -o FILE, and when it is no terminal");
	t->path = name_file(file, first, last);
	t->sink = cli_sink(t->path);
	cli_check(moe_writer_new(&t->writer, moe_sink_descriptor(t->sink), &d), &d);
	moe_writer_name(t->writer, t->path);
	o.writer = t->writer;
	cli_check(moe_tracing_new(&t->tracing, &o, &d), &d);
}

void trace_finish(struct trace *t)
{
	struct moe_diag d = {0};

	if (!t->tracing)
		return;
	cli_finish(t->sink, moe_tracing_end(t->tracing, &d), &d);
	moe_tracing_free(t->tracing);
	moe_writer_free(t->writer);
	free(t->path);
}
