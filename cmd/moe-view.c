/* moe-view: look at any stream or model file; verify; seal; take tensors out. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cli.h"
#include "format/checkpoint.h"
#include "format/npy_join.h"
#include "io/map.h"
#include "report/traced.h"
#include "report/view.h"
#include "report/view_gguf.h"
#include "stream/check.h"

static struct {
	bool json, tsv, frames, check, seal, assume_complete, concat;
	long values, frame;
	const char *npy, *head;
} o = {.frame = -1};

static bool is_model(const char *path)
{
	struct stat st;

	return path && ((!stat(path, &st) && S_ISDIR(st.st_mode)) || moe_checkpoint_is_gguf(path));
}

static int say_damage(const char *path, struct moe_diag *d)
{
	char text[800];

	moe_diag_path(d, path);
	cli_say("%s", moe_diag_string(d, text, sizeof text));
	return EXIT_NO;
}

/* --check: 0 all is well, 1 damage (with the byte), 2 it could not be read. */
static int check_stream(const char *path)
{
	struct moe_diag d = {0};
	uint64_t frames;
	struct moe_reader *r = cli_reader(path);
	enum moe_err err = moe_trace_check(r, &frames, &d);

	moe_reader_free(r);
	if (err == MOE_EINPUT || err == MOE_EMATCH)
		return say_damage(path ? path : "standard input", &d);
	cli_check(err, &d);
	if (!cli.quiet)
		printf("%s: %llu frames, all good\n", path ? path : "standard input", (unsigned long long)frames);
	return cli_close_stdout();
}

/* A model: binding it checks names, shapes and sizes; then every value is looked at. */
static int check_model(const char *path)
{
	char *families = cli_share("families");
	struct moe_spec_options options = {.directory = path, .families = families};
	struct moe_diag d = {0};
	struct moe_model *m;
	size_t bad = 0;
	enum moe_err err = moe_model_open(&m, &options, &d);

	free(families);
	if (err == MOE_EINPUT || err == MOE_EMATCH)
		return say_damage(path, &d);
	cli_check(err, &d);
	for (size_t i = 0; i < moe_checkpoint_count(m->weights); i++) {
		const struct moe_tensor *t = moe_checkpoint_get(m->weights, i);
		struct moe_values v;
		moe_tensor_values(t, &v);
		if (v.not_finite) {
			cli_say("%s: tensor \"%s\": %llu values are not finite", path, t->name, (unsigned long long)v.not_finite);
			bad++;
		}
	}
	if (!bad && !cli.quiet)
		printf("%s: %zu tensors, all finite\n", path, moe_checkpoint_count(m->weights));
	moe_model_close(m);
	return bad ? EXIT_NO : cli_close_stdout();
}

static int seal_stream(const char *path)
{
	struct moe_diag d = {0};
	struct moe_sink *sink;
	struct moe_reader *r = cli_reader(path);
	struct moe_writer *w = cli_writer(&sink);
	struct moe_seal s = {.assume_complete = o.assume_complete};
	enum moe_err err;

	if (o.head)
		s.head = cli_reader(o.head);
	err = moe_stream_seal(r, w, &s, &d);
	cli_finish(sink, err, &d);
	moe_reader_free(r);
	moe_reader_free(s.head);
	moe_writer_free(w);
	return EXIT_DONE;
}

/* Where views and .npy files go. */
static FILE *out;

static enum moe_err write_npy(const struct moe_tensor *t, struct moe_diag *d) { return moe_npy_write(fileno(out), t, d); }

static enum moe_err add_keys(struct moe_header *h, const char *path, struct moe_diag *d)
{
	struct moe_gguf g = {0};
	struct moe_map *map;
	enum moe_err err;

	MOE_TRY(moe_map_open(&map, path, d));
	err = moe_gguf_parse(&g, map->bytes, map->nbytes, d);
	if (!err)
		err = moe_view_gguf(h, &g, d);
	moe_gguf_free(&g);
	moe_map_close(map);
	return err;
}

/* The tensors of a model file or directory, and the keys of a GGUF file, as lines of a single frame. */
static enum moe_err view_tensors(const char *path, const struct moe_tensor *const *t, size_t n, bool *found, struct moe_diag *d)
{
	struct moe_view_style style = {o.json, (unsigned)o.values};
	struct moe_frame f = {.kind = MOE_KIND_BARE};
	enum moe_err err = MOE_OK;

	if (!o.npy && moe_checkpoint_is_gguf(path))
		err = add_keys(&f.h, path, d);
	for (size_t i = 0; i < n && !err; i++) {
		if (o.npy && strcmp(t[i]->name, o.npy))
			continue;
		*found = true;
		if (o.npy)
			return write_npy(t[i], d);
		err = moe_grow(&f.h.tensor, &f.h.tensor_cap, f.h.n_tensors + 1, sizeof *f.h.tensor, d);
		if (!err)
			f.h.tensor[f.h.n_tensors++] = *t[i];
	}
	if (!err && !o.npy)
		err = moe_view_frame(out, &f, 0, &style, d);
	moe_header_free(&f.h);
	return err;
}

static void view_model(const char *path)
{
	struct moe_diag d = {0};
	struct moe_checkpoint *c;
	const struct moe_tensor **t;
	bool found = false;
	size_t n;

	cli_check(moe_checkpoint_open(&c, path, &d), &d);
	n = moe_checkpoint_count(c);
	t = calloc(n + 1, sizeof *t);
	if (!t)
		cli_fail("out of memory");
	for (size_t i = 0; i < n; i++)
		t[i] = moe_checkpoint_get(c, i);
	cli_check(view_tensors(path, t, n, &found, &d), &d);
	free(t);
	moe_checkpoint_close(c);
	if (o.npy && !found)
		cli_fail("%s: no tensor \"%s\"", path, o.npy);
}

/* Rows of a frame: the first axis of what it is about. 0: it has none. */
static uint64_t frame_rows(const struct moe_frame *f)
{
	static const char *const main_tensor[] = {"hidden", "logit", "feature", "pixel", "token"};

	for (size_t i = 0; i < sizeof main_tensor / sizeof *main_tensor; i++) {
		const struct moe_tensor *t = moe_frame_find(f, main_tensor[i]);
		if (t && t->rank)
			return t->shape[0];
	}
	return 0;
}

/* A number of the metadata, once for each row. */
static bool join_key(struct moe_npy_join *j, const struct moe_frame *f, const char *key, struct moe_diag *d)
{
	uint64_t rows = frame_rows(f), value, *column;
	struct moe_tensor t = {.name = key, .type = MOE_I64, .rank = 1, .shape = {rows}, .nbytes = rows * sizeof *column};

	if (!rows || !moe_frame_meta(f, key))
		return false;
	cli_check(moe_frame_number(f, key, 0, &value, d), d);
	column = calloc(rows, sizeof *column);
	if (!column)
		cli_fail("out of memory");
	for (uint64_t r = 0; r < rows; r++)
		column[r] = value;
	t.data = (const uint8_t *)column;
	cli_check(moe_npy_join_add(j, &t, false, d), d);
	free(column);
	return true;
}

/* Do the rows of a tensor lie along its second axis? */
static bool rows_second(const struct moe_frame *f, const char *name)
{
	static const char *const of_trace[] = {"expert_id", "weight", "router_logit", "choice", "depth"};

	for (size_t i = 0; f->kind == MOE_KIND_TRACE && i < sizeof of_trace / sizeof *of_trace; i++)
		if (!strcmp(name, of_trace[i]))
			return true;
	return !strcmp(name, "position");
}

/* --npy NAME --concat: what a frame has of it. False: nothing. */
static bool join_frame(struct moe_npy_join *j, const struct moe_frame *f, struct moe_diag *d)
{
	const struct moe_tensor *t = moe_frame_find(f, o.npy);
	enum moe_err err;

	if (!strncmp(o.npy, "moe.", 4))
		return join_key(j, f, o.npy, d);
	if (!t)
		return false;
	err = moe_npy_join_add(j, t, rows_second(f, o.npy), d);
	if (err == MOE_EMATCH)          /* for once it is the frame that is to be told */
		cli_fail("byte %llu: %s", (unsigned long long)f->at, d->text);
	cli_check(err, d);
	return true;
}

/* Is this frame shown as part of a trace? A head frame tells of what follows. */
static bool is_traced(const struct moe_frame *f, bool *trace)
{
	if (f->kind == MOE_KIND_HEAD)
		*trace = moe_frame_meta(f, "moe.trace") != NULL;
	if (o.tsv && !*trace)
		cli_fail("--tsv shows traces of routing, and this is a stream of frames");
	return *trace && !o.frames && o.frame < 0 && !o.values;
}

static void view_stream(const char *path)
{
	struct moe_view_style style = {o.json, (unsigned)o.values};
	struct moe_diag d = {0};
	struct moe_frame f = {0};
	struct moe_reader *r = cli_reader(path);
	struct moe_npy_join join = {0};
	struct moe_traced *traced;
	bool found = false, trace = false;
	enum moe_err err;
	uint64_t i;

	cli_check(moe_traced_new(&traced, out, o.json ? MOE_TRACED_JSON : o.tsv ? MOE_TRACED_TSV : MOE_TRACED_TEXT, &d), &d);
	for (i = 0; !(err = moe_reader_next(r, &f, true, &d)); i++) {
		const struct moe_tensor *t = o.npy ? moe_frame_find(&f, o.npy) : NULL;
		if (o.frame >= 0 && (uint64_t)o.frame != i)
			continue;
		if (!o.npy && is_traced(&f, &trace)) {
			if (moe_traced_frame(traced, &f, &d)) {
				moe_diag_path(&d, moe_reader_name(r));
				cli_die(&d);
			}
		} else if (!o.npy) {
			cli_check(moe_view_frame(out, &f, i, &style, &d), &d);
		} else if (o.concat) {
			found |= join_frame(&join, &f, &d);
		} else if (t && !found) {       /* the first that has it */
			cli_check(write_npy(t, &d), &d);
			found = true;
		}
	}
	if (err != MOE_END)
		cli_die(&d);
	if (o.frame >= 0 && (uint64_t)o.frame >= i)
		cli_fail("no frame %ld: there are %llu", o.frame, (unsigned long long)i);
	if (o.npy && !found)
		cli_fail("no tensor \"%s\"%s", o.npy, o.frame >= 0 ? " in that frame" : "");
	if (found && o.concat)
		cli_check(moe_npy_join_write(&join, fileno(out), &d), &d);
	moe_npy_join_free(&join);
	moe_traced_free(traced);
	moe_frame_free(&f);
	moe_reader_free(r);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "json", OPT_FLAG, &o.json, 0, "one JSON object per frame; of a trace, one per token and layer", 0, 0, 0},
		{0, "tsv", OPT_FLAG, &o.tsv, 0, "of a trace: a line per choice, for awk", 0, 0, 0},
		{0, "frames", OPT_FLAG, &o.frames, 0, "show a trace as the frames that it consists of", 0, 0, 0},
		{'n', "values", OPT_INT, &o.values, "N", "print the first N values of each tensor", 0, 1e6, "0"},
		{'f', "frame", OPT_INT, &o.frame, "N", "only frame N, counted from 0", 0, 1e15, 0},
		{0, "npy", OPT_TEXT, &o.npy, "NAME", "write the first tensor of that name as .npy", 0, 0, 0},
		{0, "concat", OPT_FLAG, &o.concat, 0, "with --npy: the rows of all frames as one array; NAME may be a key that is a number, too", 0, 0, 0},
		{0, "check", OPT_FLAG, &o.check, 0, "verify everything; exit 1 when there is damage", 0, 0, 0},
		{0, "seal", OPT_FLAG, &o.seal, 0, "write the stream with fresh CRCs, padding and counts", 0, 0, 0},
		{0, "head", OPT_TEXT, &o.head, "FILE", "with --seal: take a missing head frame from this stream", 0, 0, 0},
		{0, "assume-complete", OPT_FLAG, &o.assume_complete, 0, "with --seal: the end of the input is the end of the stream", 0, 0, 0},
		OPT_OUTPUT, OPT_END,
	};
	static const struct tool tool = {"moe-view", "[STREAM|MODEL]", "Shows, verifies and completes tensor streams and model files.", opts};
	struct moe_diag d = {0};
	struct moe_sink *sink;
	const char *path;
	int at;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at + 1 < argc || o.check + o.seal + (o.npy != NULL) > 1 || ((o.head || o.assume_complete) && !o.seal) || (o.concat && !o.npy))
		opt_usage(&tool);
	path = at < argc ? cli_model_path(argv[at]) : NULL;
	if (o.tsv && (o.json || o.frames || o.frame >= 0 || o.values || o.npy || o.check || o.seal))
		cli_fail("--tsv shows a whole trace: --json, --frames, -f, -n, --npy, --check and --seal do not go with it");
	if (o.tsv && is_model(path))
		cli_fail("--tsv shows traces of routing, and %s is a model", path);
	if (o.check && cli.output)
		cli_fail("--check writes no output: its exit status is the answer");
	if (is_model(path) && (o.seal || o.frame >= 0 || o.concat))
		cli_fail("%s: a model has no frames", path);
	if (o.check)
		return is_model(path) ? check_model(path) : check_stream(path);
	if (o.seal)
		return seal_stream(path);
	if (o.npy && !cli.output && isatty(STDOUT_FILENO))
		cli_fail("an .npy file is not written to a terminal: redirect it, or use -o FILE");
	out = cli_text(cli.output, &sink);
	if (is_model(path))
		view_model(path);
	else
		view_stream(path);
	cli_finish_text(out, sink, MOE_OK, &d);
	return cli_close_stdout();
}
