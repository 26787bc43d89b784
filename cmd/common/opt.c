#include "common/opt.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cli.h"

enum { MAX_OPTS = 64, FIRST_LONG = 256, HELP_COLUMN = 26 };

/* Rows that every program has. */
static const struct opt shared[] = {
	{'q', "quiet", OPT_FLAG, &cli.quiet, 0, "no progress and no notes on standard error", 0, 0, 0},
	{'t', "threads", OPT_INT, &cli.threads, "N", "threads in all", 1, 1024, "all that the process may use"},
	{0, "cpu", OPT_TEXT, &cli.cpu, "LEVEL", "use at most these instructions: c, avx2, avx-vnni, avx512, vnni or amx", 0, 0, "the best there are"},
	{0, "help", OPT_FLAG, &cli.help, 0, "print this help", 0, 0, 0},
	{0, "version", OPT_FLAG, &cli.version, 0, "print the version", 0, 0, 0},
	{0, "list-options", OPT_FLAG, &cli.list_options, 0, NULL, 0, 0, 0},
	OPT_END,
};

/* The program's rows, then the shared ones. */
static size_t collect(const struct tool *t, const struct opt **rows)
{
	size_t n = 0;

	for (const struct opt *o = t->opts; o && o->name; o++)
		rows[n++] = o;
	for (const struct opt *o = shared; o->name; o++)
		rows[n++] = o;
	return n;
}

static void print_row(const struct opt *o)
{
	char left[80];
	int n = 0;

	if (o->letter)
		n += snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name);
	else
		n += snprintf(left, sizeof left, "      --%s", o->name);
	if (o->kind == OPT_OPTIONAL)
		n += snprintf(left + n, sizeof left - (size_t)n, "[=%s]", o->arg);
	else if (o->arg)
		n += snprintf(left + n, sizeof left - (size_t)n, " %s", o->arg);
	if (n < HELP_COLUMN)
		printf("%-*s%s", HELP_COLUMN, left, o->help);
	else
		printf("%s\n%*s%s", left, HELP_COLUMN, "", o->help);
	if (o->kind == OPT_INT && o->hi < 1e9)
		printf(" (%.0f to %.0f)", o->lo, o->hi);
	if (o->absent)
		printf(" (default: %s)", o->absent);
	putchar('\n');
}

static void print_help(const struct tool *t, const struct opt *const *rows, size_t n)
{
	printf("usage: %s [options]%s%s\n%s\n\n", t->name, *t->operands ? " " : "", t->operands, t->summary);
	for (size_t i = 0; i < n; i++)
		if (rows[i]->help)
			print_row(rows[i]);
	printf("\nMore, with examples: man %s\n", t->name);
}

/* letter, long name, value, help; tab-separated, for completions and tests. */
static void print_list(const struct opt *const *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i]->help)
			printf("%c\t%s\t%s%s\t%s\n", rows[i]->letter ? rows[i]->letter : '-', rows[i]->name, rows[i]->kind == OPT_OPTIONAL ? "?" : "",
			       rows[i]->arg ? rows[i]->arg : "", rows[i]->help);
}

_Noreturn void opt_usage(const struct tool *t)
{
	cli_fail("usage: %s [options]%s%s (try --help)", t->name, *t->operands ? " " : "", t->operands);
}

static double number(const struct opt *o, const char *text)
{
	char *end;
	double v;

	errno = 0;
	v = strtod(text, &end);         /* no setlocale anywhere: the decimal point is a point */
	if (!*text || *end || errno || !isfinite(v) || v < o->lo || v > o->hi || (o->kind == OPT_INT && v != floor(v)))
		cli_fail("--%s %s: expected %s from %g to %g", o->name, text, o->kind == OPT_INT ? "a whole number" : "a number", o->lo, o->hi);
	return v;
}

static void store(const struct opt *o, const char *text)
{
	struct opt_list *list = o->to;

	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->to = true;
		break;
	case OPT_LETTER:
		*(char *)o->to = o->letter;
		break;
	case OPT_TEXT:
		*(const char **)o->to = text;
		break;
	case OPT_OPTIONAL:
		*(const char **)o->to = text ? text : "";
		break;
	case OPT_INT:
		*(long *)o->to = (long)number(o, text);
		break;
	case OPT_REAL:
		*(double *)o->to = number(o, text);
		break;
	case OPT_LIST:
		if (list->n == sizeof list->item / sizeof *list->item)
			cli_fail("--%s stands more than %zu times", o->name, list->n);
		list->item[list->n++] = text;
		break;
	}
}

/* The option that getopt reported: by letter, or by FIRST_LONG + row. */
static const struct opt *row_of(const struct opt *const *rows, size_t n, int code)
{
	if (code >= FIRST_LONG)
		return rows[code - FIRST_LONG];
	for (size_t i = 0; i < n; i++)
		if (rows[i]->letter == code)
			return rows[i];
	return NULL;
}

static int has_arg(const struct opt *o)
{
	return o->kind == OPT_FLAG || o->kind == OPT_LETTER ? no_argument : o->kind == OPT_OPTIONAL ? optional_argument : required_argument;
}

int opt_parse(const struct tool *t, int argc, char **argv)
{
	const struct opt *rows[MAX_OPTS];
	struct option longs[MAX_OPTS + 1] = {0};
	char letters[2 * MAX_OPTS + 2] = ":", *p = letters + 1;
	size_t n = collect(t, rows);
	int code;

	cli.tool = t;
	for (size_t i = 0; i < n; i++) {
		longs[i] = (struct option){rows[i]->name, has_arg(rows[i]), NULL, FIRST_LONG + (int)i};
		if (rows[i]->letter) {
			*p++ = rows[i]->letter;
			if (has_arg(rows[i]) == required_argument)
				*p++ = ':';
		}
	}
	*p = 0;
	while ((code = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";
		if (code == ':')
			cli_fail("%s needs a value (try --help)", word);
		if (code == '?') {
			if (optopt && optopt < FIRST_LONG)
				cli_fail("unknown option -%c (try --help)", optopt);
			cli_fail("unknown or ambiguous option %s (try --help)", word);
		}
		store(row_of(rows, n, code), optarg);
	}
	if (cli.help || cli.list_options || cli.version) {
		if (cli.help)
			print_help(t, rows, n);
		else if (cli.list_options)
			print_list(rows, n);
		else
			printf("%s %s\n", t->name, MOE_VERSION);
		exit(cli_close_stdout());
	}
	cli_cpu();
	return optind;
}

void opt_parse_filter(const struct tool *t, int argc, char **argv)
{
	int at = opt_parse(t, argc, argv);

	if (argc == 1 && isatty(STDIN_FILENO))
		opt_usage(t);
	if (at < argc)
		cli_fail("%s: no operand is expected here; the stream comes from standard input (try --help)", argv[at]);
}
