/* moe-train: from shards to a model. Options make a recipe or change one; lib/train/trainer.h does the rest. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/memory.h"
#include "common/pictures.h"
#include "common/progress.h"
#include "io/source.h"
#include "model/flops.h"
#include "model/provenance.h"
#include "report/losses.h"
#include "sys/memory.h"
#include "train/add_aux.h"
#include "train/branch.h"
#include "train/create.h"
#include "train/gradcheck.h"
#include "train/loader.h"
#include "train/teacher.h"
#include "train/trainer.h"

enum { LOG_LIMIT = 1 << 30, CHECK_SAMPLES = 4 };

/* Numbers that the command line may set, and where in the recipe. */
enum number {
	TOKENS, BATCH, ACCUMULATE, LR_MUON, LR_ADAMW, LR_VISION, WARMUP, DECAY, FLOOR, WEIGHT_DECAY, CLIP, ROPE_THETA, TEXT, IMAGE, DRAW, PATCH, PATCH_LAYER,
	BALANCE, Z, BALANCE_GROUPS, SOFT, MATCH, BIAS_RATE, NOISE, TEXT_TOKENS,
	N_STAGE, SEED = N_STAGE, TEMPERATURE, DEV_EVERY, DEV_SAMPLES, CHECKPOINT_EVERY, N_NUMBERS,
};

static const char *const keys[N_NUMBERS] = {
	"tokens", "batch", "accumulate", "lr.muon", "lr.adamw", "lr.vision", "warmup", "decay", "floor", "weight_decay", "clip", "rope_theta",
	"losses.text", "losses.image", "draw", "losses.patch", "losses.patch_layer", "losses.balance", "losses.z", "losses.balance_groups", "losses.soft", "losses.match", "bias_rate", "router_noise", "text_tokens", "seed",
	"teacher.temperature", "dev.every", "dev.samples", "checkpoint.every",
};

static struct {
	const char *recipe, *create, *teacher, *optimiser, *augment, *precision, *type;
	double number[N_NUMBERS];
	struct opt_list freeze, layers, calibrate, dev, keep;
	long branch;
	double decay_tokens;
	bool aux, flips, check, timings, no_sandbox;
} o = {.type = "bf16", .branch = -1};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

/* The first signal asks for a checkpoint; the second ends the program. */
static void catch_signals(void)
{
	struct sigaction a = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};

	sigaction(SIGTERM, &a, NULL);
	sigaction(SIGINT, &a, NULL);
}

static char *path_in(const char *directory, const char *name)
{
	char *path = moe_train_path(directory, name);

	if (!path)
		cli_fail("out of memory");
	return path;
}

/* ---- the recipe ---- */

/* Sets "a.b" in an object. */
static void set(json_t *object, const char *key, json_t *v)
{
	const char *dot = strchr(key, '.');

	if (dot) {
		json_t *inside = json_object_getn(object, key, (size_t)(dot - key));
		if (!inside)
			json_object_setn_new(object, key, (size_t)(dot - key), inside = json_object());
		object = inside;
		key = dot + 1;
	}
	json_object_set_new(object, key, v);
}

static json_t *number(double v) { return v == floor(v) && fabs(v) < 9e15 ? json_integer((json_int_t)v) : json_real(v); }

static json_t *list(const char *const *item, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *s = json_string(item[i]);
		if (!s)
			cli_fail("%s: a recipe holds names in UTF-8 only", item[i]);
		json_array_append_new(a, s);
	}
	return a;
}

static void set_stage(json_t *stage, char **data, size_t n_data)
{
	for (int i = 0; i < N_STAGE; i++)
		if (!isnan(o.number[i]))
			set(stage, keys[i], number(o.number[i]));
	if (o.aux)
		set(stage, "train", json_string("aux"));
	if (o.optimiser)
		set(stage, "optimiser", json_string(o.optimiser));
	if (o.freeze.n)
		set(stage, "freeze", list(o.freeze.item, o.freeze.n));
	if (n_data)
		set(stage, "sources", json_pack("[{so}]", "data", list((const char *const *)data, n_data)));
	for (size_t i = 0; o.augment && i < json_array_size(json_object_get(stage, "sources")); i++)
		set(json_array_get(json_object_get(stage, "sources"), i), "augment", json_string(o.augment));
}

static void set_stages(json_t *doc, char **data, size_t n_data)
{
	json_t *stages = json_object_get(doc, "stages");

	if (json_array_size(stages) > 1 && (n_data || !isnan(o.number[TOKENS]) || !isnan(o.number[WARMUP]) || !isnan(o.number[DECAY])))
		cli_fail("%s has %zu stages: data, --tokens, --warmup and --decay would be those of each, and must be written there", o.recipe, json_array_size(stages));
	for (size_t i = 0; i < json_array_size(stages); i++)
		if (json_is_object(json_array_get(stages, i)))
			set_stage(json_array_get(stages, i), data, n_data);
}

/* What there is to learn into: --new, -m, what the recipe names, or the default. */
static void set_model(json_t *doc)
{
	struct moe_diag d = {0};
	json_t *description;

	if (o.create && cli.model)
		cli_fail("--new makes a model, and -m names one: give one of them");
	if (o.create) {
		cli_check(moe_recipe_load(&description, o.create, &d), &d);
		set(doc, "model", description);
	} else if (cli.model || !json_object_get(doc, "model")) {
		json_t *name = json_string(cli_model_directory());
		if (!name)
			cli_fail("%s: a recipe holds names in UTF-8 only", cli.model);
		set(doc, "model", name);
	}
}

static void set_rest(json_t *doc)
{
	json_t *keep = json_array();

	for (int i = N_STAGE; i < N_NUMBERS; i++)
		if (!isnan(o.number[i]))
			set(doc, keys[i], number(o.number[i]));
	if (o.precision)
		set(doc, "precision", json_string(o.precision));
	if (o.teacher) {
		json_t *name = json_string(cli_model_path(o.teacher));
		if (!name)
			cli_fail("%s: a recipe holds names in UTF-8 only", o.teacher);
		set(doc, "teacher.model", name);
	}
	if (o.layers.n)
		set(doc, "teacher.layers", list(o.layers.item, o.layers.n));
	if (o.flips)
		set(doc, "dev.flips", json_string("yes"));
	if (o.calibrate.n)
		set(doc, "calibrate.data", list(o.calibrate.item, o.calibrate.n));
	if (o.dev.n)
		set(doc, "dev.data", list(o.dev.item, o.dev.n));
	for (size_t i = 0; i < o.keep.n; i++) {
		char *end;
		double v = strtod(o.keep.item[i], &end);
		if (!*o.keep.item[i] || *end || !isfinite(v))
			cli_fail("--keep %s: expected a number of tokens", o.keep.item[i]);
		json_array_append_new(keep, number(v));
	}
	if (o.keep.n)
		set(doc, "checkpoint.keep", keep);
	else
		json_decref(keep);
}

/* The recipe of -r, of the folder where a run goes on, or of the options alone; with what the options change. */
static struct moe_recipe *make_recipe(char **data, size_t n_data)
{
	struct moe_diag d = {0};
	struct moe_recipe *r;
	json_t *doc = NULL;

	if (!o.recipe && !n_data && cli.output) {
		char *path = path_in(cli.output, "recipe.json");
		if (!access(path, F_OK))
			o.recipe = path;
		else
			free(path);
	}
	if (o.recipe)
		cli_check(moe_recipe_load(&doc, o.recipe, &d), &d);
	else if (n_data)
		doc = json_pack("{s[{}]}", "stages");
	else
		opt_usage(cli.tool);
	if (json_is_object(doc)) {
		set_stages(doc, data, n_data);
		set_model(doc);
		set_rest(doc);
	}
	if (moe_recipe_read(&r, doc, &d)) {
		if (o.recipe)
			moe_diag_path(&d, o.recipe);
		cli_die(&d);
	}
	json_decref(doc);
	return r;
}

/* ---- the folder and the model ---- */

static void make_directory(const char *path)
{
	if (mkdir(path, 0777) && errno != EEXIST)
		cli_fail("%s: cannot create: %s", path, strerror(errno));
}

/* A folder that was begun with another model or seed holds initial weights that this recipe would not make. */
static void check_folder(const struct moe_recipe *r)
{
	char *path = path_in(cli.output, "recipe.json");
	struct moe_diag d = {0};
	json_t *was;

	if (!access(path, F_OK)) {
		cli_check(moe_recipe_load(&was, path, &d), &d);
		if (!json_equal(json_object_get(was, "model"), r->model) || json_integer_value(json_object_get(was, "seed")) != (json_int_t)r->seed)
			cli_fail("%s was begun with another model or seed: remove it, or name another folder", cli.output);
		json_decref(was);
	} else {
		json_t *doc = moe_recipe_resolved(r);
		cli_check(doc ? moe_recipe_save(doc, path, &d) : moe_fail(&d, MOE_ENOMEM, "out of memory"), &d);
		json_decref(doc);
	}
	free(path);
}

/* Does any stage train auxiliary routers? */
static bool trains_aux(const struct moe_recipe *r)
{
	for (size_t i = 0; i < r->n_stages; i++)
		if (r->stage[i].trains == MOE_TRAINS_AUX)
			return true;
	return false;
}

/* A model that has no auxiliary routers to train, with new ones, in `where`. */
static struct moe_model *with_aux(struct moe_model *m, const struct moe_recipe *r, const char *where)
{
	char *path, *families = cli_share("families");
	struct moe_diag d = {0};

	if (!where)
		cli_fail("--check-gradients of new auxiliary routers needs -o, the folder that they are made in");
	path = path_in(where, "start");
	make_directory(where);
	if (access(path, F_OK))
		cli_check(moe_add_aux(path, m, r->calibrate.data.n, r->seed, families, &d), &d);
	free(families);
	moe_model_close(m);
	cli.model = path;
	return cli_model();
}

/* The model to begin with: the one that is named, or one that is made in `where`. */
static struct moe_model *open_model(const struct moe_recipe *r, const char *where)
{
	struct moe_diag d = {0};
	struct moe_model *m;

	if (json_is_string(r->model)) {
		cli.model = json_string_value(r->model);
		m = cli_model();
		return trains_aux(r) && !m->spec->aux.routers ? with_aux(m, r, where) : m;
	}
	cli.model = path_in(where, "start");
	if (access(cli.model, F_OK))
		cli_check(moe_create_model(cli.model, r->model, r->seed, &d), &d);
	return cli_model();
}

/* The model of the recipe's teacher, or NULL. */
static struct moe_model *open_teacher(const struct moe_recipe *r)
{
	const char *model = cli.model, *family = cli.family;
	struct moe_model *teacher;

	if (!*r->teacher.model)
		return NULL;
	cli.model = r->teacher.model;
	cli.family = NULL;
	teacher = cli_model();
	cli.model = model;
	cli.family = family;
	return teacher;
}

/* Dies when the model cannot be trained, or the memory does not suffice; returns the bytes that it takes. */
static uint64_t check_trainable(const struct moe_model *m, const struct moe_model *teacher, const struct moe_recipe *r, struct moe_pool *pool)
{
	struct moe_diag d = {0};
	uint64_t need, room = moe_memory_available();

	if (r->kind == MOE_RECIPE_KIND_MODEL && moe_net_check(m->spec, &d)) {
		moe_diag_path(&d, cli.model);
		cli_die(&d);
	}
	if (teacher && moe_teacher_check(m, teacher, &d)) {
		moe_diag_path(&d, r->teacher.model);
		cli_die(&d);
	}
	cli_check(moe_trainer_nbytes(&need, m->spec, teacher ? teacher->spec : NULL, r, pool, &d), &d);
	if (!memory_any && need > room)
		cli_fail("%.2f GB of memory are needed, but %.2f GB are available (fewer samples at once: --batch, with --accumulate for the same step; shorter texts: --text-tokens; "
			 "--any-memory begins all the same)", (double)need / 1e9, (double)room / 1e9);
	return need;
}

static void close_models(struct moe_model *m, struct moe_model *teacher)
{
	moe_model_close(m);
	if (teacher)
		moe_model_close(teacher);
}

static void say_sizes(const struct moe_model *m, const struct moe_recipe *r, uint64_t nbytes)
{
	size_t patches = moe_spec_largest_patches(m->spec), text = r->stage[0].text_tokens;
	struct moe_diag d = {0};
	struct moe_sizes s;
	struct moe_flops f;
	double all = 0;

	cli_check(moe_spec_sizes(m->spec, &s, &d), &d);
	if (r->kind == MOE_RECIPE_KIND_QUANTISER) {
		cli_say("%.3g M parameters before and behind the codes, %.4g M patches; up to %.2g GB of memory", (double)s.part[MOE_PART_TOWER] / 1e6,
			(double)moe_recipe_tokens(r) / 1e6, (double)nbytes / 1e9);
		return;
	}
	cli_check(moe_spec_flops(&f, m->spec, patches, text, &d), &d);
	for (size_t i = 0; i < r->n_stages; i++)
		all += (double)r->stage[i].tokens * moe_flops_training(&f, r->stage[i].trains == MOE_TRAINS_AUX);
	cli_say("%.3g M parameters, %.3g M of them active in the layers; of %zu patches and %zu tokens of text, %.4g MFLOP a token forward, %.4g in training; %.4g M tokens, %.3g "
		"TFLOP in all; up to %.2g GB of memory", (double)s.parameters / 1e6, (double)s.active / 1e6, patches, text, f.all / 1e6,
		moe_flops_training(&f, r->stage[0].trains == MOE_TRAINS_AUX) / 1e6, (double)moe_recipe_tokens(r) / 1e6, all / 1e12, (double)nbytes / 1e9);
}

/* What moe-graft noted that this model wants, and this recipe does not have. */
static void say_wishes(const struct moe_model *m, const struct moe_recipe *r)
{
	struct moe_diag d = {0};
	bool wanted = false, noisy = false;
	json_t *list, *entry;
	size_t i;

	cli_check(moe_provenance_read(&list, m->directory, &d), &d);
	json_array_foreach(list, i, entry)
		wanted |= json_number_value(json_object_get(json_object_get(entry, "training"), "router_noise")) > 0;
	json_decref(list);
	for (i = 0; i < r->n_stages; i++)
		noisy |= r->stage[i].noise > 0;
	if (wanted && !noisy && m->spec->router.score == MOE_SCORE_SIGMOID)
		cli_say("the model was grown to be trained with noise on its routers, which this recipe has not: --router-noise 1");
}

/* ---- what is said ---- */

static void on_progress(void *arg, const struct moe_train_progress *p)
{
	unsigned left = p->seconds_left < 1e8 ? (unsigned)p->seconds_left : 99999999;
	char line[200];

	(void)arg;
	if (p->quantiser)
		snprintf(line, sizeof line, "%.1f of %.1f M patches, PSNR %.2f dB, %llu codes, %.0f patches/s, %u:%02u:%02u left", (double)p->tokens / 1e6,
			 (double)p->all_tokens / 1e6, p->psnr, (unsigned long long)p->codes, p->tokens_per_second, left / 3600, left / 60 % 60, left % 60);
	else
		snprintf(line, sizeof line, "%.*s%s%.1f of %.1f M tokens, loss %.3f (patches %.3f), %.0f tokens/s, busiest expert %.0f %%, %u:%02u:%02u left", 24, p->stage,
		 *p->stage ? ": " : "", (double)p->tokens / 1e6, (double)p->all_tokens / 1e6, p->text, p->patch, p->tokens_per_second, 100 * p->busiest, left / 3600,
		 left / 60 % 60, left % 60);
	progress_line(line);
}

/* The picture of the losses. It is a convenience: where it cannot be drawn, training goes on. */
static void draw(void *arg)
{
	char *log = path_in(cli.output, "log.jsonl"), *svg = path_in(cli.output, "loss.svg"), *text = NULL, title[128], shown[200];
	const char *name = strrchr(cli.output, '/') ? strrchr(cli.output, '/') + 1 : cli.output;
	struct moe_diag d = {0};
	struct moe_sink *sink = NULL;
	FILE *f = NULL;
	size_t n;
	enum moe_err err;

	(void)arg;
	snprintf(title, sizeof title, "Loss of %.100s", name);
	err = moe_read_file(log, LOG_LIMIT, &text, &n, &d);
	if (!err)
		err = moe_sink_open(&sink, svg, &d);
	if (!err && !(f = fdopen(dup(moe_sink_descriptor(sink)), "w")))
		err = moe_fail_errno(&d, "cannot open");
	if (!err)
		err = moe_losses_print(f, text, n, title, &d);
	if (f && fclose(f) && !err)
		err = moe_fail_errno(&d, "cannot write");
	if (err)
		moe_sink_abandon(sink);
	else
		err = moe_sink_commit(sink, &d);
	if (err)
		cli_note(NULL, moe_diag_string(&d, shown, sizeof shown));
	free(log);
	free(svg);
	free(text);
}

/* ---- what is done ---- */

static enum moe_dtype type_of(const char *name)
{
	static const struct { const char *name; enum moe_dtype type; } types[] = {{"f32", MOE_F32}, {"bf16", MOE_BF16}, {"int8", MOE_I8}};

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (!strcmp(types[i].name, name))
			return types[i].type;
	cli_fail("--type %s: expected f32, bf16 or int8", name);
}

/* Trains to the end, or until it is stopped; the exit status. `model`: where the result goes. */
static int run(struct moe_trainer *t, const char *model)
{
	const struct moe_run_position *at = moe_trainer_position(t);
	enum moe_dtype type = type_of(o.type);
	enum moe_train_end end;
	struct moe_diag d = {0};
	char *families;

	cli_check(moe_trainer_run(t, &end, &d), &d);
	progress_clear();
	if (end == MOE_TRAIN_STOPPED) {
		cli_say("stopped after step %llu, %llu tokens; the same command goes on", (unsigned long long)at->step, (unsigned long long)at->tokens);
		return EXIT_NO;
	}
	families = cli_share("families");
	cli_check(moe_trainer_export(t, model, families, type, &d), &d);
	free(families);
	if (!cli.quiet)
		printf("%s: %llu steps, %llu tokens, %llu samples; passed over: %llu samples, %llu steps\n", model, (unsigned long long)at->step,
		       (unsigned long long)at->tokens, (unsigned long long)at->samples, (unsigned long long)at->failed, (unsigned long long)at->skipped);
	return EXIT_DONE;
}

static int train(const struct moe_recipe *r)
{
	struct moe_trainer_options options = {
		.recipe = r, .directory = cli.output, .timings = o.timings, .no_sandbox = o.no_sandbox, .stop = &stop, .progress = on_progress, .note = cli_note, .saved = draw,
	};
	char *model = path_in(cli.output, "model");
	const struct moe_run_position *at;
	struct moe_diag d = {0};
	struct moe_trainer *t;
	struct moe_model *m;
	uint64_t nbytes;
	int status = EXIT_DONE;

	type_of(o.type);        /* a wrong word is told before the work */
	make_directory(cli.output);
	check_folder(r);
	options.pool = cli_pool();
	m = open_model(r, cli.output);
	options.teacher = open_teacher(r);
	nbytes = check_trainable(m, options.teacher, r, options.pool);
	catch_signals();
	cli_check(moe_trainer_new(&t, m, &options, &d), &d);
	at = moe_trainer_position(t);
	if (moe_trainer_finished(t) && !access(model, F_OK)) {
		cli_note(NULL, "this run has finished; its model is there");
	} else {
		if (!cli.quiet && !at->step) {
			say_sizes(m, r, nbytes);
			say_wishes(m, r);
		}
		else if (!cli.quiet)
			cli_say("goes on after step %llu, %llu tokens", (unsigned long long)at->step, (unsigned long long)at->tokens);
		status = run(t, model);
	}
	moe_trainer_free(t);
	close_models(m, options.teacher);
	moe_pool_free(options.pool);
	free(model);
	return status ? status : cli_close_stdout();
}

/* Makes the folder of a branch, and makes it this run's. */
static void branch(void)
{
	struct moe_diag d = {0};
	char name[80], *to, *checkpoint;

	if (!(o.decay_tokens >= 1))
		cli_fail("--branch needs --decay-tokens: over how many tokens the rate falls");
	snprintf(name, sizeof name, "branch-%ld-%.0f", o.branch, o.decay_tokens);
	to = path_in(cli.output, name);
	checkpoint = path_in(to, "checkpoint.safetensors");
	if (access(checkpoint, F_OK))
		cli_check(moe_branch(cli.output, (uint64_t)o.branch, (uint64_t)o.decay_tokens, to, &d), &d);
	free(checkpoint);
	cli.output = to;
}

static void on_check(void *arg, const struct moe_gradcheck *c)
{
	size_t *wrong = arg;

	*wrong += !c->right;
	if (!cli.quiet || !c->right)
		printf("%-64s %10.3e  %8.5f +- %.5f  %s\n", c->param->name, c->norm, c->ratio, c->tolerance, !c->right ? "WRONG" : c->norm > 0 ? "right" : "no gradient");
}

static int check_gradients(const struct moe_recipe *r)
{
	struct moe_net_options options = moe_trainer_net_options(r, cli_pool());
	struct moe_loss_settings losses = moe_trainer_losses(&r->stage[0]);
	struct moe_model *m, *its;
	struct moe_diag d = {0};
	struct moe_loader *loader;
	const struct moe_loaded *b;
	struct moe_net_teacher teacher = {0};
	struct moe_net *net;
	size_t wrong = 0;

	if (r->kind == MOE_RECIPE_KIND_QUANTISER)
		cli_fail("--check-gradients: a quantiser's are no slopes of its loss, since they pass the codes straight through");
	if (!json_is_string(r->model)) {
		if (!cli.output)
			cli_fail("--check-gradients of a new model needs -o, the folder that it is made in");
		make_directory(cli.output);
		check_folder(r);
	}
	m = open_model(r, cli.output);
	options.unit = MOE_UNIT_F32;
	its = open_teacher(r);
	check_trainable(m, its, r, options.pool);
	cli_check(moe_trainer_loader(&loader, m, r, 0, false, o.no_sandbox, NULL, &d), &d);
	cli_check(moe_loader_next(loader, &b, &d), &d);
	if (its) {
		cli_check(moe_trainer_teacher(&teacher, m, its, r, &options, &d), &d);
		options.teacher = &teacher;
	}
	cli_check(moe_net_new(&net, m, &options, &d), &d);
	if (!cli.quiet)
		printf("%-64s %10s  %8s\n", "tensor", "|gradient|", "measured / computed");
	cli_check(moe_gradcheck(net, b->packed, b->n < CHECK_SAMPLES ? b->n : CHECK_SAMPLES, &losses, on_check, &wrong, &d), &d);
	printf("%zu of %zu gradients are wrong\n", wrong, moe_net_params(net)->n);
	moe_net_free(net);
	moe_net_free(teacher.net);
	moe_loader_free(loader);
	close_models(m, its);
	moe_pool_free(options.pool);
	return wrong ? EXIT_NO : cli_close_stdout();
}

#define NUMBER(which, name, arg, help, absent) {0, name, OPT_REAL, &o.number[which], arg, help, 0, 1e15, absent}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'r', "recipe", OPT_TEXT, &o.recipe, "FILE", "what to train, and how (moe-training(7)); options change its settings", 0, 0, "that of -o, if a run is there"},
		{'o', "output", OPT_TEXT, &cli.output, "FOLDER", "the run's folder; the same command goes on with what it finds there", 0, 0, 0},
		{0, "new", OPT_TEXT, &o.create, "FILE", "make a new model of this description", 0, 0, 0},
		OPT_MODEL,
		NUMBER(TOKENS, "tokens", "N", "train on so many tokens, those of pictures included (1e6 is fine)", 0),
		NUMBER(BATCH, "batch", "N", "samples computed together", "48; 8 for auxiliary routers"),
		NUMBER(ACCUMULATE, "accumulate", "N", "batches of a step", "1"),
		{0, "optimiser", OPT_TEXT, &o.optimiser, "NAME", "muon (matrices of the layers; AdamW for the rest) or adamw", 0, 0, "muon"},
		NUMBER(LR_MUON, "lr-muon", "RATE", "learning rate of Muon", "0.02"),
		NUMBER(LR_ADAMW, "lr-adamw", "RATE", "learning rate of AdamW", "0.003"),
		NUMBER(LR_VISION, "lr-vision", "FACTOR", "of both rates, for what makes vectors of pictures: vision and projector", "1"),
		NUMBER(WARMUP, "warmup", "TOKENS", "the rates rise from 0 over so many tokens", "a fiftieth"),
		NUMBER(DECAY, "decay", "TOKENS", "and fall over so many last ones", "half"),
		NUMBER(FLOOR, "floor", "SHARE", "to this share", "0"),
		NUMBER(WEIGHT_DECAY, "weight-decay", "RATE", "of AdamW's tensors", "0.01"),
		NUMBER(CLIP, "clip", "NORM", "most of the gradient's norm; 0: any", "1"),
		{0, "freeze", OPT_LIST, &o.freeze, "PART", "leave this part as it is: vision, experts@0-3, ... (several times)", 0, 0, 0},
		{0, "teacher", OPT_TEXT, &o.teacher, "MODEL", "learn what this model says, too", 0, 0, 0},
		NUMBER(TEMPERATURE, "temperature", "T", "of what the teacher says", "2"),
		NUMBER(SOFT, "soft-loss", "FACTOR", "of the loss of what the teacher says", "0.5 with a teacher"),
		{0, "match", OPT_LIST, &o.layers, "OWN=ITS", "draw rows behind so many layers to the teacher's behind so many (several times)", 0, 0, 0},
		NUMBER(MATCH, "match-loss", "FACTOR", "of the loss that does it", "1 with --match"),
		NUMBER(TEXT, "text-loss", "FACTOR", "of the loss of answers", "1, with a teacher 0.5"),
		NUMBER(IMAGE, "image-loss", "FACTOR", "of the loss of image tokens", "1"),
		NUMBER(DRAW, "draw", "SHARE", "of the samples that are a caption and then its picture in image tokens", "0"),
		NUMBER(PATCH, "patch-loss", "FACTOR", "of the loss of labelled patches", "1"),
		NUMBER(PATCH_LAYER, "patch-layer", "N", "labels are read after so many layers", "all"),
		NUMBER(BALANCE, "balance", "FACTOR", "of the loss that spreads the load of experts", "0.01"),
		NUMBER(Z, "z-loss", "FACTOR", "of the loss that keeps router logits small", "0.001"),
		NUMBER(BALANCE_GROUPS, "balance-groups", "N", "balance groups of experts, so many, and not each expert", "each"),
		{0, "aux", OPT_FLAG, &o.aux, 0, "train the auxiliary routers alone; a model without them gets new ones", 0, 0, 0},
		{0, "calibrate", OPT_LIST, &o.calibrate, "DATA", "and find thresholds for them with this, at the end (several times)", 0, 0, 0},
		NUMBER(BIAS_RATE, "bias-rate", "RATE", "balance by biases of the choice, without a loss", "0"),
		NUMBER(NOISE, "router-noise", "FACTOR", "of the noise on the logits of routers by sigmoid", "0"),
		NUMBER(ROPE_THETA, "rope-theta", "BASE", "base of the rotary positions", "the model's"),
		NUMBER(TEXT_TOKENS, "text-tokens", "N", "most tokens of text of a sample", "128"),
		{0, "augment", OPT_TEXT, &o.augment, "KIND", "recolour pictures: none, tint (colours keep their names) or colour", 0, 0, "none"},
		{0, "precision", OPT_TEXT, &o.precision, "UNIT", "of the operands of products: bf16 or f32", 0, 0, "bf16"},
		NUMBER(SEED, "seed", "N", "of initial weights, order and colours", "1"),
		{0, "dev", OPT_LIST, &o.dev, "DATA", "evaluate on this, which is not trained on (several times)", 0, 0, 0},
		NUMBER(DEV_EVERY, "dev-every", "TOKENS", "how often", "a twentieth"),
		{0, "flips", OPT_FLAG, &o.flips, 0, "at the end, also with shares of the decisions over groups turned round", 0, 0, 0},
		NUMBER(DEV_SAMPLES, "dev-samples", "N", "samples of it", "500"),
		NUMBER(CHECKPOINT_EVERY, "checkpoint-every", "TOKENS", "how often", "a fiftieth"),
		{0, "keep", OPT_LIST, &o.keep, "TOKENS", "keep the checkpoint at so many tokens (several times)", 0, 0, 0},
		{0, "type", OPT_TEXT, &o.type, "TYPE", "of the model's matrices: f32, bf16 or int8", 0, 0, "bf16"},
		{0, "branch", OPT_INT, &o.branch, "STEP", "leave the run at a checkpoint that it has, and cool down", 0, 1e15, 0},
		{0, "decay-tokens", OPT_REAL, &o.decay_tokens, "N", "over so many tokens", 1, 1e15, 0},
		{0, "check-gradients", OPT_FLAG, &o.check, 0, "compare gradients with differences of the loss, and end", 0, 0, 0},
		{0, "timings", OPT_FLAG, &o.timings, 0, "speed and memory in the log, which is not the same twice then", 0, 0, 0},
		{0, "no-sandbox", OPT_FLAG, &o.no_sandbox, 0, "decode even where the kernel cannot confine the decoder", 0, 0, 0},
		OPT_MEMORY, OPT_END,
	};
	static const struct tool tool = {"moe-train", "[DATA...]", "Trains a model on pictures with questions, and goes on where it was interrupted.", opts};
	struct moe_recipe *r;
	int at, status;

	for (int i = 0; i < N_NUMBERS; i++)
		o.number[i] = NAN;
	pictures_start(&tool);
	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (!cli.output && !o.check)
		opt_usage(&tool);
	if (o.branch >= 0)
		branch();
	r = make_recipe(argv + at, (size_t)(argc - at));
	status = o.check ? check_gradients(r) : train(r);
	moe_recipe_free(r);
	return status;
}
