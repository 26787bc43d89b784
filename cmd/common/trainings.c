#include "common/trainings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cli.h"

struct trainings_options trainings_options;

/* Calls fn for each name of a list with commas. */
static void each_name(const char *list, void (*fn)(struct trainings *t, const char *name, bool *keep), struct trainings *t, bool *keep)
{
	char *names = strdup(list), *save = NULL;

	if (!names)
		cli_fail("out of memory");
	for (char *name = strtok_r(names, ",", &save); name; name = strtok_r(NULL, ",", &save))
		fn(t, name, keep);
	free(names);
}

/* ---- runs ---- */

/* Splits ARM=RUN, unless there is a file of that name. The arm is to be freed. */
static char *arm_of(const char **path)
{
	const char *equals = strchr(*path, '=');
	char *arm;

	if (!equals || (size_t)(equals - *path) > strcspn(*path, "/") || !access(*path, F_OK))
		return NULL;
	arm = strndup(*path, (size_t)(equals - *path));
	if (!arm)
		cli_fail("out of memory");
	*path = equals + 1;
	return arm;
}

static void keep_arm(struct trainings *t, const char *name, bool *keep)
{
	size_t i = 0;

	while (i < t->runs.n_arms && strcmp(t->runs.arm[i], name))
		i++;
	if (i == t->runs.n_arms)
		cli_fail("--arms: no run is of arm %s", name);
	keep[i] = true;
}

static void choose_arms(struct trainings *t)
{
	bool *keep = calloc(t->runs.n_arms + 1, sizeof *keep);

	if (!keep)
		cli_fail("out of memory");
	each_name(trainings_options.arms, keep_arm, t, keep);
	moe_runs_keep(&t->runs, keep);
	free(keep);
}

void trainings_read(struct trainings *t, char **path, int n, bool last, bool unsized)
{
	const char *which = trainings_options.evaluations;
	char *families = cli_share("families");
	struct moe_runs_options options = {.families = families, .last = which ? !strcmp(which, "last") : last, .unsized = unsized};
	struct moe_diag d = {0};

	if (which && strcmp(which, "last") && strcmp(which, "all"))
		cli_fail("--evaluations %s: expected last or all", which);
	for (int i = 0; i < (n ? n : 1); i++) {
		const char *from = n ? path[i] : "-";
		char *arm = arm_of(&from);
		cli_check(moe_runs_read(&t->runs, from, arm, &options, &d), &d);
		free(arm);
	}
	free(families);
	if (trainings_options.arms)
		choose_arms(t);
}

size_t trainings_baseline(const struct trainings *t, const char *name)
{
	if (t->runs.n_arms < 2)
		cli_fail("all runs are of one arm: say which is which, by a column \"arm\" of the table or by ARM=LOG");
	for (size_t i = 0; i < t->runs.n_arms; i++)
		if (!name || !strcmp(t->runs.arm[i], name))
			return i;
	cli_fail("--baseline %s: no run is of this arm", name);
}

/* ---- measures ---- */

/* Is this measure anywhere above 0? A loss that a training leaves out is 0 everywhere. */
static bool usable(const struct moe_runs *r, size_t measure)
{
	for (size_t i = 0; i < r->n; i++)
		if (moe_run_measure(&r->at[i], measure) > 0)
			return true;
	return false;
}

static void add_loss(struct trainings *t, const char *name, bool *unused)
{
	size_t number = moe_runs_find(&t->runs, name);

	(void)unused;
	if (number == SIZE_MAX)
		cli_fail("--loss %s: the runs have no such measure", name);
	if (t->n_measures == MOST_LOSSES)
		cli_fail("--loss: more than %d", MOST_LOSSES);
	t->measure[t->n_measures++] = number;
}

void trainings_choose(struct trainings *t)
{
	static const char *const usual[] = {"loss", "text", "image", "patch"};

	if (trainings_options.loss)
		each_name(trainings_options.loss, add_loss, t, NULL);
	for (size_t i = 0; !trainings_options.loss && i < sizeof usual / sizeof *usual; i++) {
		size_t number = moe_runs_find(&t->runs, usual[i]);
		if (number != SIZE_MAX && usable(&t->runs, number))
			t->measure[t->n_measures++] = number;
	}
	if (!t->n_measures)
		cli_fail("which measure? The runs have none of loss, text, image and patch (--loss NAME)");
}

/* ---- names ---- */

char *trainings_name(const char *pattern, const char *loss, const char *arm)
{
	static const char loss_mark[] = "{loss}", arm_mark[] = "{arm}";
	char *name = NULL;
	size_t n;
	FILE *f = open_memstream(&name, &n);

	if (!f)
		cli_fail("out of memory");
	while (*pattern) {
		bool is_loss = !strncmp(pattern, loss_mark, strlen(loss_mark)), is_arm = !strncmp(pattern, arm_mark, strlen(arm_mark));
		const char *text = is_loss ? loss : arm;
		if ((is_loss || is_arm) && strchr(text, '/'))
			cli_fail("%s cannot stand in the name of a file", text);
		if (is_loss || is_arm)
			fputs(text, f);
		else
			fputc(*pattern, f);
		pattern += is_loss ? strlen(loss_mark) : is_arm ? strlen(arm_mark) : 1;
	}
	if (fclose(f))
		cli_fail("out of memory");
	return name;
}

void trainings_free(struct trainings *t) { moe_runs_free(&t->runs); }
