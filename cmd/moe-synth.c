/* moe-synth: makes samples, pictures with questions and answers, as tar shards. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/numbered.h"
#include "common/progress.h"
#include "io/tar.h"
#include "synth/record.h"
#include "synth/scene.h"
#include "synth/sheet.h"

enum { MAX_TASKS = 16, PER_SHARD = 10000, MOST_ON_SHEET = 1000 };

static struct {
	const char *split, *tasks, *fonts, *sheet;
	long seed, n, first, per_shard, things;
	bool words;
	double weight[MAX_TASKS];
} o = {.split = "train", .fonts = "all"};

/* "read:3,scene:2,panel:1" -> weights. Without a number a task has the weight 1. */
static void read_tasks(const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ":,"), task = moe_synth_task_find(text, n);
		double weight = 1;
		if (!moe_synth_tasks[task])
			cli_fail("--tasks %s: no task is called \"%.*s\"", o.tasks, (int)n, text);
		if (o.weight[task] > 0)
			cli_fail("--tasks %s: %s stands twice", o.tasks, moe_synth_tasks[task]->name);
		text += n;
		if (*text == ':') {
			char *end;
			errno = 0;
			weight = strtod(text + 1, &end);
			if (end == text + 1 || errno || !(weight > 0 && weight <= 1e9) || (*end && *end != ','))
				cli_fail("--tasks %s: the weight of %s must be a number from 0 to 1e9", o.tasks, moe_synth_tasks[task]->name);
			text = end;
		}
		o.weight[task] = weight;
		if (*text == ',' && !*++text)
			cli_fail("--tasks %s: a task is missing at the end", o.tasks);
	}
}

static void set_weights(void)
{
	if (moe_synth_n_tasks() > MAX_TASKS)
		cli_fail("more than %d tasks", MAX_TASKS);
	for (size_t i = 0; !o.tasks && moe_synth_tasks[i]; i++)
		o.weight[i] = moe_synth_tasks[i]->share;
	if (o.tasks && !*o.tasks)
		cli_fail("--tasks: no task is named");
	if (o.tasks)
		read_tasks(o.tasks);
}

/* ---- shards ---- */

static enum moe_err add_record(struct moe_tar *t, uint64_t number, const struct moe_record *r, struct moe_diag *d)
{
	char name[40];

	snprintf(name, sizeof name, "%08llu.png", (unsigned long long)number);
	MOE_TRY(moe_tar_add(t, name, r->png, r->n_png, d));
	strcpy(strrchr(name, '.'), ".json");
	return moe_tar_add(t, name, r->json, r->n_json, d);
}

/* Up to `most` records into one archive; MOE_END when the producer has no more. */
static enum moe_err fill_shard(struct moe_tar *t, struct moe_producer *p, long *number, long most, struct moe_diag *d)
{
	const struct moe_record *r;

	for (long i = 0; i < most; i++) {
		MOE_TRY(moe_producer_next(p, &r, d));
		MOE_TRY(add_record(t, (uint64_t)(*number)++, r, d));
		progress_show((uint64_t)(*number - o.first), "samples");
	}
	return MOE_OK;
}

/* One shard under its name when it is complete. */
static void write_shard(struct moe_producer *p, const char *path, long *number, long most)
{
	struct moe_diag d = {0};
	struct moe_sink *sink;
	struct moe_tar *t;
	enum moe_err err;

	cli_check(moe_sink_open(&sink, path, &d), &d);
	err = moe_tar_new(&t, moe_sink_descriptor(sink), &d);
	if (!err) {
		err = fill_shard(t, p, number, most, &d);
		if (!err || err == MOE_END)
			err = moe_tar_finish(t, &d);
		else
			moe_tar_abandon(t);
	}
	if (err) {
		moe_sink_abandon(sink);
		if (err == MOE_EIO && strcmp(path, "-"))
			moe_diag_path(&d, path);
		cli_die(&d);
	}
	cli_check(moe_sink_commit(sink, &d), &d);
}

static void write_shards(const struct moe_fonts *fonts)
{
	const char *output = cli.output ? cli.output : "-";
	struct moe_producer_options options = {.fonts = fonts, .split = moe_synth_split_find(o.split), .things = (unsigned)o.things, .seed = (uint64_t)o.seed, .first = (uint64_t)o.first,
					       .n = (uint64_t)o.n, .weight = o.weight, .pool = cli_pool()};
	struct moe_diag d = {0};
	struct moe_producer *p;
	long number = o.first, shard = 0, per_shard;
	bool many = numbered_has("-o", output);

	if (!many && o.per_shard)
		cli_fail("--per-shard needs a name with a number, such as -o 'train-%%06d.tar'");
	per_shard = !many ? o.n : o.per_shard ? o.per_shard : PER_SHARD;
	cli_check(moe_producer_new(&p, &options, &d), &d);
	do {
		char *path = numbered_name("-o", output, shard++);
		write_shard(p, path, &number, per_shard);
		free(path);
	} while (number < o.first + o.n);
	progress_clear();
	moe_producer_free(p);
	moe_pool_free(options.pool);
}

/* ---- to look at ---- */

static void fill_sheet(struct moe_sheet *h, const struct moe_fonts *fonts)
{
	struct moe_diag d = {0};
	struct moe_synth *s;

	cli_check(moe_synth_new(&s, fonts, moe_synth_split_find(o.split), &d), &d);
	s->things = (unsigned)o.things;
	for (long i = 0; i < o.n && i < MOST_ON_SHEET; i++) {
		struct moe_synth_sample p;
		cli_check(moe_synth_make(s, (uint64_t)o.seed, (uint64_t)(o.first + i), o.weight, &p, &d), &d);
		if (!moe_sheet_add(h, s, &p))
			break;
	}
	moe_synth_free(s);
}

static void write_sheet(const struct moe_fonts *fonts)
{
	struct moe_diag d = {0};
	struct moe_sheet *h;
	struct moe_sink *sink;
	uint8_t *bytes;
	size_t n;
	FILE *f = cli_text(o.sheet, &sink);

	cli_check(moe_sheet_new(&h, &d), &d);
	fill_sheet(h, fonts);
	cli_check(moe_sheet_write(h, &bytes, &n, &d), &d);
	fwrite(bytes, 1, n, f);
	cli_finish_text(f, sink, MOE_OK, &d);
	free(bytes);
	moe_sheet_free(h);
}

static int print_words(void)
{
	char *words = moe_synth_words();

	if (!words)
		cli_fail("out of memory");
	fputs(words, stdout);
	free(words);
	return cli_close_stdout();
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'n', "number", OPT_INT, &o.n, "N", "samples to make", 1, 1e12, 0},
		{0, "split", OPT_TEXT, &o.split, "SPLIT", "train, dev, calib, test or unseen", 0, 0, "train"},
		{0, "seed", OPT_INT, &o.seed, "N", "the same number makes the same samples", 0, 9e15, "0"},
		{0, "tasks", OPT_TEXT, &o.tasks, "LIST", "kinds of samples, and how often each, as in read:3,scene:2", 0, 0, "all"},
		{0, "things", OPT_INT, &o.things, "N", "scenes have one to N things", 1, MOE_SCENE_MOST, "0 to 5, some oftener"},
		OPT_OUTPUT,
		{0, "per-shard", OPT_INT, &o.per_shard, "N", "samples in each archive; FILE then has a number, such as train-%06d.tar", 1, 1e12, "10000"},
		{0, "first", OPT_INT, &o.first, "N", "number of the first sample", 0, 1e12, "0"},
		{'j', "jobs", OPT_INT, &cli.threads, "N", "make so many samples at a time; the same as --threads", 1, 1024, "all processors"},
		{0, "sheet", OPT_TEXT, &o.sheet, "FILE", "write a picture of the first samples with their questions, instead of archives", 0, 0, 0},
		{0, "words", OPT_FLAG, &o.words, 0, "print the words of prompts and answers, and nothing else", 0, 0, 0},
		{0, "fonts", OPT_TEXT, &o.fonts, "LIST", "fonts to draw with: all, small (those of two packages), or a file", 0, 0, "all"},
		OPT_END,
	};
	static const struct tool tool = {"moe-synth", "", "Makes pictures with questions and answers, as tar archives.", opts};
	struct moe_fonts fonts;
	struct moe_diag d = {0};
	char *list = NULL;

	cli_start(argc, argv);
	if (opt_parse(&tool, argc, argv) < argc)
		cli_fail("%s: no operand is expected here (try --help)", argv[argc - 1]);
	if (o.words)
		return print_words();
	if (!o.n)
		opt_usage(&tool);
	if (moe_synth_split_find(o.split) == MOE_N_SYNTH_SPLITS)
		cli_fail("--split %s: train, dev, calib, test and unseen are known", o.split);
	set_weights();
	if (!o.sheet && !cli.output && isatty(STDOUT_FILENO))
		cli_fail("an archive is not written to a terminal: use -o FILE, or --sheet FILE to look at samples");
	if (!strcmp(o.fonts, "all") || !strcmp(o.fonts, "small"))
		o.fonts = list = cli_share(*o.fonts == 'a' ? "synth/fonts.tsv" : "synth/fonts-small.tsv");
	cli_check(moe_fonts_load(&fonts, o.fonts, &d), &d);
	if (o.sheet)
		write_sheet(&fonts);
	else
		write_shards(&fonts);
	moe_fonts_free(&fonts);
	free(list);
	return EXIT_DONE;
}
