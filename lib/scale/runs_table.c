#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scale/runs_priv.h"

enum { MOST_COLUMNS = 128, MOST_SEED = 1 << 30 };
#define MOST_AMOUNT 1e30        /* more would leave the range of doubles when powers are taken */

enum column { IS_N, IS_D, IS_S, IS_FLOPS, IS_RATE, IS_SECONDS, IS_SEED, IS_ARM, IS_RUN, IS_LOG, N_NAMED, IS_MEASURE = N_NAMED, IS_NOTHING };

static const char *const named[N_NAMED] = {"N", "D", "S", "flops", "flops_per_token", "seconds", "seed", "arm", "run", "log"};

struct table {
	struct moe_runs *runs;
	const struct moe_runs_options *options;
	const char *folder;
	size_t file, line, n;           /* n columns */
	struct {
		enum column is;
		size_t measure;
		const char *name;
	} column[MOST_COLUMNS];
};

/* Cuts the field off that begins at *at; NULL: there is none. */
static char *field(char **at)
{
	char *begin = *at, *end = begin ? strchr(begin, '\t') : NULL;

	*at = end ? end + 1 : NULL;
	if (end)
		*end = 0;
	return begin;
}

static enum moe_err add_column(struct table *t, const char *name, struct moe_diag *d)
{
	enum column is = 0;

	if (t->n == MOST_COLUMNS)
		return moe_fail(d, MOE_EINPUT, "line %zu: more than %d columns", t->line, MOST_COLUMNS);
	if (!*name)
		return moe_fail(d, MOE_EINPUT, "line %zu: column %zu has no name", t->line, t->n + 1);
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->column[i].name, name))
			return moe_fail(d, MOE_EINPUT, "line %zu: two columns are called \"%.60s\"", t->line, name);
	while (is < N_NAMED && strcmp(named[is], name))
		is++;
	t->column[t->n].is = *name == '#' ? IS_NOTHING : is;
	t->column[t->n].name = name;
	if (t->column[t->n].is == IS_MEASURE)
		MOE_TRY(moe_runs_measure(t->runs, &t->column[t->n].measure, name, strlen(name), d));
	t->n++;
	return MOE_OK;
}

static bool has(const struct table *t, enum column is)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->column[i].is == is)
			return true;
	return false;
}

static enum moe_err header(struct table *t, char *line, struct moe_diag *d)
{
	for (char *name; (name = field(&line));)
		MOE_TRY(add_column(t, name, d));
	if (!has(t, IS_LOG) && !has(t, IS_D))
		return moe_fail(d, MOE_EINPUT, "line %zu: the header has no column D (tokens of training), and no column \"log\"", t->line);
	if (!has(t, IS_LOG) && !has(t, IS_N) && !t->options->unsized)
		return moe_fail(d, MOE_EINPUT, "line %zu: the header has no column N (parameters that a token passes)", t->line);
	return MOE_OK;
}

static enum moe_err number(const struct table *t, size_t column, const char *text, double *to, struct moe_diag *d)
{
	char *end;

	errno = 0;
	*to = strtod(text, &end);
	if (end == text || *end || !isfinite(*to))
		return moe_fail(d, MOE_EINPUT, "line %zu: column %.60s: expected a number, got \"%.60s\"", t->line, t->column[column].name, text);
	return MOE_OK;
}

/* A number of a column with a meaning, in its range. */
static enum moe_err amount(const struct table *t, size_t column, const char *text, double *to, struct moe_diag *d)
{
	const char *expected;
	bool good;

	MOE_TRY(number(t, column, text, to, d));
	switch (t->column[column].is) {
	case IS_S:
		good = *to >= 0 && *to < 1;
		expected = "a share, 0 or more and less than 1";
		break;
	case IS_SEED:
		good = fabs(*to) <= MOST_SEED && *to == floor(*to);
		expected = "a whole number up to 2^30";
		break;
	default:
		good = *to <= MOST_AMOUNT && (*to > 0 || (t->column[column].is == IS_SECONDS && *to == 0));
		expected = *to > MOST_AMOUNT ? "at most 1e30" : "a number above 0";
	}
	return good ? MOE_OK : moe_fail(d, MOE_EINPUT, "line %zu: column %.60s: expected %s, got %.60s", t->line, t->column[column].name, expected, text);
}

static enum moe_err take_field(const struct table *t, size_t column, const char *text, struct moe_run_draft *w, const char **log, struct moe_diag *d)
{
	double seed;

	if (!*text)
		return MOE_OK;
	switch (t->column[column].is) {
	case IS_N: return amount(t, column, text, &w->n, d);
	case IS_D: return amount(t, column, text, &w->d, d);
	case IS_S: return amount(t, column, text, &w->s, d);
	case IS_FLOPS: return amount(t, column, text, &w->flops, d);
	case IS_RATE: return amount(t, column, text, &w->flops_per_token, d);
	case IS_SECONDS: return amount(t, column, text, &w->seconds, d);
	case IS_SEED:
		MOE_TRY(amount(t, column, text, &seed, d));
		w->seed = (int64_t)seed;
		w->seeded = true;
		return MOE_OK;
	case IS_ARM: w->arm = text; return MOE_OK;
	case IS_RUN: w->run = text; return MOE_OK;
	case IS_LOG: *log = text; return MOE_OK;
	case IS_MEASURE: return number(t, column, text, &w->measure[t->column[column].measure], d);
	default: return MOE_OK;
	}
}

static enum moe_err read_line(struct table *t, char *line, struct moe_diag *d)
{
	struct moe_run_draft w;
	const char *log = NULL;
	size_t fields = 1;

	for (const char *tab = line; (tab = strchr(tab, '\t')); tab++)
		fields++;
	if (fields != t->n)
		return moe_fail(d, MOE_EINPUT, "line %zu: %zu field%s, expected the header's %zu (separated by tabs)", t->line, fields, fields == 1 ? "" : "s",
				t->n);
	moe_run_draft_init(&w, t->file, t->line);
	for (size_t i = 0; i < t->n; i++)
		MOE_TRY(take_field(t, i, field(&line), &w, &log, d));
	if (!log)
		return moe_runs_add(t->runs, &w, t->options, d);
	if (!isnan(w.d) || !isnan(w.flops) || !isnan(w.seconds))
		return moe_fail(d, MOE_EINPUT, "line %zu: D, flops and seconds of a log stand in the log: leave them empty here", t->line);
	log = moe_runs_beside(t->runs, t->folder, log);
	return log ? moe_runs_log(t->runs, log, &w, t->options, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
}

enum moe_err moe_runs_table(struct moe_runs *r, char *text, size_t n, const char *path, const struct moe_runs_options *o, struct moe_diag *d)
{
	struct table t = {.runs = r, .options = o, .folder = moe_runs_folder(r, path), .file = r->n_paths};
	size_t before = r->n;

	if (!t.folder)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_runs_path(r, path, d));
	for (char *line = text, *end; line < text + n; line = end + 1) {
		size_t length;
		end = memchr(line, '\n', n - (size_t)(line - text));
		end = end ? end : text + n;
		*end = 0;
		t.line++;
		length = (size_t)(end - line);
		if (strlen(line) != length)
			return moe_fail(d, MOE_EINPUT, "line %zu: a zero byte: this is no table of text", t.line);
		if (length && line[length - 1] == '\r')
			line[--length] = 0;
		if (!length || (*line == '#' && t.n))
			continue;
		if (*line == '#' && !strchr(line, '\t'))
			continue;       /* a remark above the header */
		MOE_TRY(t.n ? read_line(&t, line, d) : header(&t, line, d));
	}
	if (!t.n)
		return moe_fail(d, MOE_EINPUT, "it is empty: expected a header line with columns such as N, D and loss");
	return r->n > before ? MOE_OK : moe_fail(d, MOE_EINPUT, "a header and no runs");
}
