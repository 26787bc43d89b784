/* Options: one table per program gives parsing, --help, completions, and what the test of the man pages reads. */
#ifndef MOE_CMD_OPT_H
#define MOE_CMD_OPT_H

#include <stdbool.h>
#include <stddef.h>

enum opt_kind {
	OPT_FLAG,       /* bool *: set to true */
	OPT_LETTER,     /* char *: set to the row's letter, so that the last of several rows wins */
	OPT_TEXT,       /* const char ** */
	OPT_INT,        /* long *, from lo to hi */
	OPT_REAL,       /* double *, from lo to hi */
	OPT_OPTIONAL,   /* const char **: --name[=VALUE]; "" without a value */
	OPT_LIST,       /* struct opt_list *: may stand several times */
};

struct opt_list {
	const char *item[32];
	size_t n;
};

struct opt {
	char letter;                    /* 0: long form only */
	const char *name;
	enum opt_kind kind;
	void *to;
	const char *arg;                /* name of the value in --help */
	const char *help;
	double lo, hi;
	const char *absent;             /* default, as --help shows it */
};

#define OPT_END {0}

struct tool {
	const char *name, *operands, *summary;
	const struct opt *opts;         /* up to OPT_END */
};

/* Parses the command line into the variables of the table and of the options that all programs share; answers --help, --version and
 * --list-options itself. Returns the index of the first operand; a mistake ends the program with status 2. */
int opt_parse(const struct tool *t, int argc, char **argv);

/* The same for a filter, which takes its stream from standard input and no operands; at a terminal without arguments it prints its usage. */
void opt_parse_filter(const struct tool *t, int argc, char **argv);

/* Prints the first lines of --help and how to get the rest, for a call without arguments; ends the program with status 2. */
_Noreturn void opt_usage(const struct tool *t);

#endif
