/* moe-diff: compares two streams, tensor files or models. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cli.h"
#include "common/generation.h"
#include "common/memory.h"
#include "common/pictures.h"
#include "common/rivals.h"
#include "format/checkpoint.h"
#include "report/compare.h"
#include "report/escape.h"
#include "report/trace_compare.h"
#include "report/view.h"

static struct {
	double rtol, atol, tie;
	bool json, frames;
} o = {.tie = 1e-4};

struct verdict {
	uint64_t tensors, differing;
	double largest_relative;
	char where[240];                /* of that */
};

/* One finding: a line of text, or a JSON object of where, what and the facts. `facts` is released. */
static void MOE_PRINTF(4, 5) tell(const char *where, const char *tensor, json_t *facts, const char *fmt, ...)
{
	json_t *line;
	va_list ap;

	if (o.json) {
		line = json_pack("{s:o}", "frame", moe_json_text(where, strlen(where)));
		if (tensor)
			json_object_set_new(line, "tensor", moe_json_text(tensor, strlen(tensor)));
		json_object_update(line, facts);
		moe_print_json(stdout, line);
	} else {
		moe_print_escaped(stdout, where, strlen(where));
		fputs(": ", stdout);
		if (tensor) {
			moe_print_escaped(stdout, tensor, strlen(tensor));
			fputs(": ", stdout);
		}
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
		putchar('\n');
	}
	json_decref(facts);
}

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static void tell_difference(const char *where, const struct moe_tensor *t, const struct moe_difference *diff)
{
	json_t *facts = json_pack("{s:I, s:I, s:o, s:o, s:I, s:o, s:o}", "compared", (json_int_t)diff->compared, "differing", (json_int_t)diff->differing,
				  "relative_rms", number(diff->relative), "largest", number(diff->largest), "at", (json_int_t)diff->at, "first", number(diff->a),
				  "second", number(diff->b));
	uint64_t index[MOE_MAX_RANK], rest = diff->at;
	char place[200];

	for (unsigned i = t->rank; i--; rest /= t->shape[i])
		index[i] = rest % t->shape[i];

	tell(where, t->name, facts, "%llu of %llu values differ, relative rms %.3g; most at %s: %.9g and %.9g", (unsigned long long)diff->differing,
	     (unsigned long long)diff->compared, diff->relative, moe_shape_string(index, t->rank, place, sizeof place), diff->a, diff->b);
}

static void tell_missing(const char *where, const char *tensor, const char *present_in)
{
	tell(where, tensor, json_pack("{s:s}", "only_in", present_in), "only in the %s", present_in);
}

/* `skip`: rows to leave out, or NULL. */
static void compare_tensors(const char *where, const struct moe_tensor *a, const struct moe_tensor *b, const bool *skip, struct verdict *v)
{
	struct moe_tolerance t = {o.rtol, o.atol, o.tie};
	struct moe_difference diff;
	char x[160], y[160];

	v->tensors++;
	if (!moe_tensor_compare(a, b, &t, skip, &diff)) {
		char shape[128];
		v->differing++;
		snprintf(x, sizeof x, "%s %s", moe_dtype_name(a->type), moe_shape_string(a->shape, a->rank, shape, sizeof shape));
		snprintf(y, sizeof y, "%s %s", moe_dtype_name(b->type), moe_shape_string(b->shape, b->rank, shape, sizeof shape));
		tell(where, a->name, json_pack("{s:s, s:s}", "first", x, "second", y), "%s against %s", x, y);
		return;
	}
	if (diff.relative > v->largest_relative) {
		v->largest_relative = diff.relative;
		snprintf(v->where, sizeof v->where, " in %s: %.60s", where, a->name);
	}
	if (diff.differing) {
		v->differing++;
		tell_difference(where, a, &diff);
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
	tell(where, NULL, json_pack("{s:I, s:I, s:I}", "routing_rows", (json_int_t)rows, "routing_differ", (json_int_t)differing, "routing_ties", (json_int_t)ties),
	     "experts differ in %llu of %llu rows, %llu of them ties (router logits within %g)", (unsigned long long)differing, (unsigned long long)rows,
	     (unsigned long long)ties, o.tie);
	return is_tie;
}

/* Are these the same frame of the same sequence? */
static bool comparable(const char *where, const struct moe_frame *a, const struct moe_frame *b)
{
	static const char *const keys[] = {"moe.kind", "moe.seq", "moe.step"};

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		const char *x = moe_frame_meta(a, keys[i]), *y = moe_frame_meta(b, keys[i]);
		x = x ? x : "none";
		y = y ? y : "none";
		if (strcmp(x, y)) {
			tell(where, NULL, json_pack("{s:s, s:o, s:o}", "key", keys[i], "first", moe_json_text(x, strlen(x)), "second", moe_json_text(y, strlen(y))),
			     "%s is %.40s against %.40s", keys[i], x, y);
			return false;
		}
	}
	return true;
}

static void compare_frames(const struct moe_frame *a, const struct moe_frame *b, uint64_t n, struct verdict *v)
{
	const char *seq = moe_frame_meta(a, "moe.seq"), *at = moe_frame_meta(a, "moe.at");
	char where[160];
	bool *ties;

	snprintf(where, sizeof where, "frame %llu (%.40s%s%.20s%s%.20s)", (unsigned long long)n, moe_frame_kind(a), seq ? ", sequence " : "", seq ? seq : "",
		 at ? ", " : "", at ? at : "");
	if (!comparable(where, a, b)) {
		v->differing++;
		return;
	}
	ties = find_ties(where, a, b);
	for (size_t i = 0; i < a->h.n_tensors; i++) {
		const struct moe_tensor *x = &a->h.tensor[i], *y = moe_frame_find(b, x->name);
		bool follows = ties && (!strcmp(x->name, "expert_id") || !strcmp(x->name, "weight")) && x->rank &&
			       x->shape[0] == moe_frame_find(a, "expert_id")->shape[0];
		if (y) {
			compare_tensors(where, x, y, follows ? ties : NULL, v);
		} else {
			v->differing++;
			tell_missing(where, x->name, "first");
		}
	}
	for (size_t i = 0; i < b->h.n_tensors; i++)
		if (!moe_frame_find(a, b->h.tensor[i].name)) {
			v->differing++;
			tell_missing(where, b->h.tensor[i].name, "second");
		}
	free(ties);
}

/* Compares two traces of routing, whose head frames have been read; takes over what is given. */
static int compare_traces(struct moe_reader *ra, struct moe_frame *x, struct moe_reader *rb, struct moe_frame *y)
{
	struct moe_trace_diff result;
	struct moe_diag d = {0};
	struct moe_trace *a, *b;
	bool same;
	int status;

	if (o.rtol > 0 || o.atol > 0)
		cli_fail("traces are compared by their choices: --rtol and --atol do not go with them (--tie does)");
	cli_check(moe_trace_adopt(&a, ra, x, &d), &d);
	cli_check(moe_trace_adopt(&b, rb, y, &d), &d);
	cli_check(moe_trace_diff_run(&result, a, b, o.tie, &d), &d);
	if (!cli.quiet || o.json)
		cli_check(moe_trace_diff_print(stdout, &result, o.json, &d), &d);
	same = moe_trace_diff_same(&result);
	moe_trace_diff_free(&result);
	moe_trace_close(a);
	moe_trace_close(b);
	status = cli_close_stdout();
	return status ? status : same ? EXIT_DONE : EXIT_NO;
}

/* The next frames of both; whether each has one. */
static void read_pair(struct moe_reader *ra, struct moe_frame *x, enum moe_err *ea, struct moe_reader *rb, struct moe_frame *y, enum moe_err *eb)
{
	struct moe_diag d = {0};

	*ea = moe_reader_next(ra, x, true, &d);
	if (*ea && *ea != MOE_END)
		cli_die(&d);
	*eb = moe_reader_next(rb, y, true, &d);
	if (*eb && *eb != MOE_END)
		cli_die(&d);
}

static bool is_trace_head(const struct moe_frame *f) { return f->kind == MOE_KIND_HEAD && moe_frame_meta(f, "moe.trace"); }

/* *status: of the program, when the streams were traces; else unchanged. */
static void compare_streams(const char *a, const char *b, struct verdict *v, int *status)
{
	struct moe_frame x = {0}, y = {0};
	struct moe_reader *ra = cli_reader(a), *rb = cli_reader(b);
	enum moe_err ea, eb;

	for (uint64_t n = 0;; n++) {
		read_pair(ra, &x, &ea, rb, &y, &eb);
		if (!n && !ea && !eb && is_trace_head(&x) && is_trace_head(&y) && !o.frames) {
			*status = compare_traces(ra, &x, rb, &y);
			return;
		}
		if (ea || eb) {
			if (ea != eb) {
				v->differing++;
				tell(ea ? b : a, NULL, json_pack("{s:I}", "more_frames_from", (json_int_t)n), "it alone has a frame %llu", (unsigned long long)n);
			}
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
		if (u) {
			compare_tensors("model", t, u, NULL, v);
		} else {
			v->differing++;
			tell_missing("model", t->name, "first");
		}
	}
	for (size_t i = 0; i < moe_checkpoint_count(y); i++)
		if (!moe_checkpoint_find(x, moe_checkpoint_get(y, i)->name, NULL)) {
			v->differing++;
			tell_missing("model", moe_checkpoint_get(y, i)->name, "second");
		}
	moe_checkpoint_close(x);
	moe_checkpoint_close(y);
}

static bool is_model(const char *path)
{
	struct stat st;

	return (!stat(path, &st) && S_ISDIR(st.st_mode)) || moe_checkpoint_is_gguf(path);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "rtol", OPT_REAL, &o.rtol, "R", "relative tolerance: |a - b| <= A + R |b|", 0, 1e6, "0"},
		{0, "atol", OPT_REAL, &o.atol, "A", "absolute tolerance", 0, 1e300, "0"},
		{0, "tie", OPT_REAL, &o.tie, "T", "router logits closer than T are a tie, not a difference", 0, 1e6, "1e-4"},
		{0, "frames", OPT_FLAG, &o.frames, 0, "compare traces of routing as other streams, frame by frame", 0, 0, 0},
		{0, "json", OPT_FLAG, &o.json, 0, "one JSON object per finding", 0, 0, 0},
		OPT_RIVALS, OPT_PICTURES, OPT_MEMORY, OPT_MATH, OPT_END,
	};
	static const struct tool tool = {"moe-diff", "A B [PICTURE|FOLDER|SHARD...]", "Compares two streams, traces, safetensors files or models; exit 1 when they differ.",
					 opts};
	struct verdict v = {0};
	const char *a, *b;
	bool run;
	int at, status = -1;

	pictures_start(&tool);
	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	run = argc - at > 2 || rivals_options.prompt || pictures_options.files_from;
	if (argc - at < 2)
		opt_usage(&tool);
	a = cli_model_path(argv[at]);
	b = cli_model_path(argv[at + 1]);
	if (is_model(a) != is_model(b))
		cli_fail("%s and %s: a model is compared with a model, a stream with a stream", a, b);
	if (run && !is_model(a))
		cli_fail("%s: only models can be run on a prompt and pictures", a);
	if (run) {
		bool same = rivals_compare(a, b, argv + at + 2, argc - at - 2, o.tie, o.json);
		status = cli_close_stdout();
		return status ? status : same ? EXIT_DONE : EXIT_NO;
	}
	if (is_model(a))
		compare_models(a, b, &v);
	else
		compare_streams(a, b, &v, &status);
	if (status >= 0)
		return status;
	if (!cli.quiet && !o.json) {
		printf("%llu tensors compared, %llu differ, largest relative rms %.3g", (unsigned long long)v.tensors, (unsigned long long)v.differing,
		       v.largest_relative);
		moe_print_escaped(stdout, v.where, strlen(v.where));
		putchar('\n');
	}
	status = cli_close_stdout();
	return status ? status : v.differing ? EXIT_NO : EXIT_DONE;
}
