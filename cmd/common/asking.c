#include "common/asking.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/choosing.h"
#include "common/memory.h"
#include "common/pictures.h"
#include "common/progress.h"
#include "common/tokenizer.h"
#include "model/choosing.h"

enum { MOST_TYPES = 256 };

struct asking_options asking_options;

static void tell_failure(void *self, const struct moe_diag *d)
{
	char text[900];

	(void)self;
	cli_say("%s", moe_diag_string(d, text, sizeof text));
}

static void tell_progress(void *self, uint64_t done)
{
	(void)self;
	progress_show(done, "samples");
}

static void check_sources(char **path, int n)
{
	for (int i = 0; i < n; i++) {
		if (strcmp(path[i], "-"))
			continue;
		if (isatty(STDIN_FILENO))
			opt_usage(cli.tool);
		if (n > 1)
			cli_fail("standard input is read once: it is the only source then");
	}
}

int asking_start(const struct tool *tool, int argc, char **argv)
{
	int at;

	pictures_start(tool);
	cli_start(argc, argv);
	at = opt_parse(tool, argc, argv);
	if (at == argc)
		opt_usage(tool);
	check_sources(argv + at, argc - at);
	return at;
}

/* The types of --types; *words holds their texts, to be freed. */
static size_t split_types(const char **type, char **words)
{
	const char *list = asking_options.types;
	char *rest = *words = list ? strdup(list) : NULL;
	size_t n = 0;

	if (list && !rest)
		cli_fail("out of memory");
	for (char *p; rest && (p = strsep(&rest, ","));) {
		if (n == MOST_TYPES)
			cli_fail("--types: more than %d types", MOST_TYPES);
		type[n++] = p;
	}
	return n;
}

void asking_open(struct asking *a, const char *path, struct moe_pool *pool)
{
	const struct asking_options *o = &asking_options;
	const char *first = cli.model;
	struct moe_diag d = {0};
	char fingerprint[33];

	if (path) {
		cli.model = cli_model_path(path);
		cli.family = NULL;
	}
	a->m = cli_model();
	if (o->chat && !*a->m->spec->chat.turn && !*a->m->spec->chat.user)
		cli_fail("--chat: the family %s has no chat format", a->m->spec->family);
	memory_use_math(a->m, pool);
	choosing_apply(a->m);
	cli_check(moe_choosing_check(a->m, &d), &d);
	a->t = tokenizer_load(fingerprint);
	a->g = (struct moe_generation){.spec = a->m->spec, .tokenizer = a->t, .max_new = (size_t)(o->max_new ? o->max_new : a->m->spec->text.max_new)};
	cli_check(moe_generation_init(&a->g, &d), &d);
	if (path)
		cli.model = first;
}

static size_t count_asked(const struct moe_evaluation *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n_samples; i++)
		for (size_t k = 0; k < e->sample[i]->n; k++)
			n += e->sample[i]->asked[k].own.done;
	return n;
}

void asking_run(struct asking *a, char **path, int n, struct moe_evaluate_options o, bool told)
{
	const char *type[MOST_TYPES];
	char *words;
	struct moe_diag d = {0};

	o.path = (const char *const *)path;
	o.n_paths = (size_t)n;
	o.limit = (uint64_t)asking_options.limit;
	o.type = type;
	o.n_types = split_types(type, &words);
	o.form.chat = asking_options.chat;
	o.no_sandbox = asking_options.no_sandbox;
	o.threads = (unsigned)cli.threads;
	o.failed = told ? NULL : tell_failure;
	o.progress = tell_progress;
	cli_check(moe_evaluate_run(&a->e, a->m, a->t, &a->g, &o, &d), &d);
	progress_clear();
	free(words);
	if (!told && !count_asked(&a->e))
		cli_fail("there was no question to ask in %s%s", path[0], n > 1 ? " and the others" : "");
}

void asking_free(struct asking *a)
{
	moe_evaluation_free(&a->e);
	moe_generation_free(&a->g);
	moe_tokenizer_free(a->t);
	moe_model_close(a->m);
}
