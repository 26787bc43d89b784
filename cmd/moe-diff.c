/* moe-diff: compares two streams, tensor files or models. */
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cli.h"
#include "report/compare.h"
#include "report/view.h"

static struct {
	double rtol, atol, tie;
	bool json;
} o = {.tie = 1e-4};

struct verdict {
	uint64_t tensors, differing;
	double largest_relative;
};

static void print_json(json_t *line)
{
	if (!line || json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)))
		cli_fail("cannot write");
	putchar('\n');
	json_decref(line);
}

/* A difference that is not one of values. `tensor` may be NULL. */
static void MOE_PRINTF(4, 5) note(struct verdict *v, const char *where, const char *tensor, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	v->differing++;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (o.json)
		print_json(json_pack("{s:s, s:s*, s:s}", "frame", where, "tensor", tensor, "problem", text));
	else
		printf("%s: %s%s%s\n", where, tensor ? tensor : "", tensor ? ": " : "", text);
}

static void print_difference(const char *where, const char *name, const struct moe_difference *diff)
{
	if (o.json)
		print_json(json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:I}", "frame", where, "tensor", name, "compared", (json_int_t)diff->compared, "differing",
				     (json_int_t)diff->differing, "relative_rms", isfinite(diff->relative) ? diff->relative : 1e308, "largest",
				     isfinite(diff->largest) ? diff->largest : 1e308, "at", (json_int_t)diff->at));
	else
		printf("%s: %s: %llu of %llu values differ, relative rms %.3g; most at element %llu: %.9g and %.9g\n", where, name,
		       (unsigned long long)diff->differing, (unsigned long long)diff->compared, diff->relative, (unsigned long long)diff->at, diff->a, diff->b);
}

/* `skip`: rows to leave out, or NULL. */
static void compare_tensors(const char *where, const struct moe_tensor *a, const struct moe_tensor *b, const bool *skip, struct verdict *v)
{
	struct moe_tolerance t = {o.rtol, o.atol, o.tie};
	struct moe_difference diff;
	char x[128], y[128];

	v->tensors++;
	if (!moe_tensor_compare(a, b, &t, skip, &diff)) {
		note(v, where, a->name, "%s %s against %s %s", moe_dtype_name(a->type), moe_shape_string(a->shape, a->rank, x, sizeof x), moe_dtype_name(b->type),
		     moe_shape_string(b->shape, b->rank, y, sizeof y));
		return;
	}
	if (diff.relative > v->largest_relative)
		v->largest_relative = diff.relative;
	if (diff.differing) {
		v->differing++;
		print_difference(where, a->name, &diff);
	}
}

/* In routed frames, rows whose choices differ only by a tie are told, and are no difference; their weights follow the choice. A table of these
 * rows, to be freed; NULL when there are none. */
static bool *find_ties(const char *where, const struct moe_frame *a, const struct moe_frame *b)
{
	const struct moe_tensor *id = moe_frame_find(a, "expert_id");
	uint64_t rows = id && id->rank ? id->shape[0] : 0, differing, ties;
	bool *is_tie = rows ? calloc(rows, sizeof *is_tie) : NULL;

	if (rows && !is_tie)
		cli_fail("out of memory");
	if (!is_tie || !moe_routing_compare(a, b, o.tie, is_tie, &differing, &ties) || !differing) {
		free(is_tie);
		return NULL;
	}
	if (!o.json)
		printf("%s: experts differ in %llu of %llu rows, %llu of them ties (router logits within %g)\n", where, (unsigned long long)differing,
		       (unsigned long long)rows, (unsigned long long)ties, o.tie);
	return is_tie;
}

static void compare_frames(const struct moe_frame *a, const struct moe_frame *b, uint64_t n, struct verdict *v)
{
	const char *seq = moe_frame_meta(a, "moe.seq"), *at = moe_frame_meta(a, "moe.at");
	char where[160];
	bool *ties;

	snprintf(where, sizeof where, "frame %llu (%s%s%.20s%s%.20s)", (unsigned long long)n, moe_kind_name(a->kind), seq ? ", sequence " : "", seq ? seq : "",
		 at ? ", " : "", at ? at : "");
	if (a->kind != b->kind) {
		note(v, where, NULL, "the other is of kind %s", moe_kind_name(b->kind));
		return;
	}
	ties = find_ties(where, a, b);
	for (size_t i = 0; i < a->h.n_tensors; i++) {
		const struct moe_tensor *x = &a->h.tensor[i], *y = moe_frame_find(b, x->name);
		bool follows = ties && (!strcmp(x->name, "expert_id") || !strcmp(x->name, "weight")) && x->rank &&
			       x->shape[0] == moe_frame_find(a, "expert_id")->shape[0];
		if (y)
			compare_tensors(where, x, y, follows ? ties : NULL, v);
		else
			note(v, where, x->name, "only in the first");
	}
	for (size_t i = 0; i < b->h.n_tensors; i++)
		if (!moe_frame_find(a, b->h.tensor[i].name))
			note(v, where, b->h.tensor[i].name, "only in the second");
	free(ties);
}

static void compare_streams(const char *a, const char *b, struct verdict *v)
{
	struct moe_diag d = {0};
	struct moe_frame x = {0}, y = {0};
	struct moe_reader *ra = cli_reader(a), *rb = cli_reader(b);

	for (uint64_t n = 0;; n++) {
		enum moe_err ea = moe_reader_next(ra, &x, true, &d), eb;
		if (ea && ea != MOE_END)
			cli_die(&d);
		eb = moe_reader_next(rb, &y, true, &d);
		if (eb && eb != MOE_END)
			cli_die(&d);
		if (ea || eb) {
			char where[40];
			snprintf(where, sizeof where, "frame %llu", (unsigned long long)n);
			if (ea != eb)
				note(v, where, NULL, "only in the %s", ea ? "second" : "first");
			break;
		}
		compare_frames(&x, &y, n, v);
	}
	moe_frame_free(&x);
	moe_frame_free(&y);
	moe_reader_free(ra);
	moe_reader_free(rb);
}

static void compare_models(const char *a, const char *b, struct verdict *v)
{
	struct moe_diag d = {0};
	struct moe_checkpoint *x, *y;

	cli_check(moe_checkpoint_open(&x, a, &d), &d);
	cli_check(moe_checkpoint_open(&y, b, &d), &d);
	for (size_t i = 0; i < moe_checkpoint_count(x); i++) {
		const struct moe_tensor *t = moe_checkpoint_get(x, i), *u = moe_checkpoint_find(y, t->name, NULL);
		if (u)
			compare_tensors("model", t, u, NULL, v);
		else
			note(v, "model", t->name, "only in the first");
	}
	for (size_t i = 0; i < moe_checkpoint_count(y); i++)
		if (!moe_checkpoint_find(x, moe_checkpoint_get(y, i)->name, NULL))
			note(v, "model", moe_checkpoint_get(y, i)->name, "only in the second");
	moe_checkpoint_close(x);
	moe_checkpoint_close(y);
}

static bool is_directory(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "rtol", OPT_REAL, &o.rtol, "R", "relative tolerance: |a - b| <= A + R |b|", 0, 1e6, "0"},
		{0, "atol", OPT_REAL, &o.atol, "A", "absolute tolerance", 0, 1e300, "0"},
		{0, "tie", OPT_REAL, &o.tie, "T", "router logits closer than T are a tie, not a difference", 0, 1e6, "1e-4"},
		{0, "json", OPT_FLAG, &o.json, 0, "one JSON object per tensor that differs", 0, 0, 0},
		OPT_END,
	};
	static const struct tool tool = {"moe-diff", "A B", "Compares two streams, safetensors files or models; exit 1 when they differ.", opts};
	struct verdict v = {0};
	int at, status;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (argc - at != 2)
		opt_usage(&tool);
	if (is_directory(argv[at]) != is_directory(argv[at + 1]))
		cli_fail("%s and %s: a model is compared with a model, a stream with a stream", argv[at], argv[at + 1]);
	if (is_directory(argv[at]))
		compare_models(argv[at], argv[at + 1], &v);
	else
		compare_streams(argv[at], argv[at + 1], &v);
	if (!cli.quiet && !o.json)
		printf("%llu tensors compared, %llu differ, largest relative rms %.3g\n", (unsigned long long)v.tensors, (unsigned long long)v.differing,
		       v.largest_relative);
	status = cli_close_stdout();
	return status ? status : v.differing ? EXIT_NO : EXIT_DONE;
}
