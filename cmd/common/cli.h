/* What all programs share: start-up, messages, exit status, the model, standard input and output. */
#ifndef MOE_CMD_CLI_H
#define MOE_CMD_CLI_H

#include <stdio.h>

#include "common/opt.h"
#include "io/sink.h"
#include "model/model.h"
#include "stage/stage.h"

#ifndef MOE_VERSION
#define MOE_VERSION "0.1.0"
#endif

/* Exit status of every program. */
enum { EXIT_DONE = 0, EXIT_NO = 1, EXIT_CANNOT = 2 };

/* Values of the shared options, set by opt_parse. */
extern struct cli {
	const struct tool *tool;
	bool config_only;       /* the program can do without weights */
	bool packs;             /* it makes packed weights, so that wrong ones are no news */
	bool quiet, help, version, list_options, any_model, any_order, no_pg;
	long threads;
	const char *cpu, *model, *family, *math, *output;
	const char *hub_name;   /* the name on the hub that the model was given by, or NULL */
	char *command;          /* the command line, for moe.pg */
} cli;

/* Rows for tables. */
#define OPT_MODEL \
	{'m', "model", OPT_TEXT, &cli.model, "MODEL", "model directory, or ORG/NAME[@REVISION] in the hub's local cache", 0, 0, "$MOE_MODEL, else the model that ships with the toolkit"}, \
	{0, "family", OPT_TEXT, &cli.family, "FILE", "family file to read the model with", 0, 0, "the one that matches its config.json"}
#define OPT_MATH \
	{0, "math", OPT_TEXT, &cli.math, "KIND", "arithmetic: exact (f32), or fast (activations rounded to int8 or bf16)", 0, 0, "fast for quantised weights, else exact"}
#define OPT_OUTPUT {'o', "output", OPT_TEXT, &cli.output, "FILE", "write there, replacing it when all is done", 0, 0, "standard output"}
#define OPT_STREAM \
	{0, "any-model", OPT_FLAG, &cli.any_model, 0, "accept a stream of another model", 0, 0, 0}, \
	{0, "any-order", OPT_FLAG, &cli.any_order, 0, "accept frames whose last stage is not the one before", 0, 0, 0}, \
	{0, "no-pg", OPT_FLAG, &cli.no_pg, 0, "leave this program out of the stream's provenance", 0, 0, 0}

/* Opens standard input, output and error where the parent left them closed, so that no other file gets their numbers; using them still fails. */
void cli_open_standard(void);

/* First thing in main. */
void cli_start(int argc, char **argv);

/* One line on standard error in one write: "moe-x: TEXT". */
void cli_say(const char *fmt, ...) MOE_PRINTF(1, 2);

/* A note of the library's, but with --quiet. `arg` is not used. */
void cli_note(void *arg, const char *text);

/* The same, then exit 2. */
_Noreturn void cli_fail(const char *fmt, ...) MOE_PRINTF(1, 2);

/* The recorded failure, then exit 2. A closed pipe ends the program by SIGPIPE, silently. */
_Noreturn void cli_die(const struct moe_diag *d);

/* Dies when err is a failure. */
void cli_check(enum moe_err err, const struct moe_diag *d);

/* Flushes and checks standard output; the exit status to return: 0, or 2 when it could not be written. */
int cli_close_stdout(void);

/* Applies --cpu; dies on an unknown level. */
void cli_cpu(void);

/* Threads to use, after --threads and $MOE_THREADS. */
struct moe_pool *cli_pool(void);

/* The directory of a model: itself, or where the hub's local cache has a model of that name (an existing path wins). Dies when it is a name, but not
 * there. */
const char *cli_model_path(const char *model);

/* The directory of -m, $MOE_MODEL or the default model; dies with a hint when there is none. */
const char *cli_model_directory(void);

/* Opens the model. */
struct moe_model *cli_model(void);

/* The arithmetic of --math, or the model's default. */
enum moe_math cli_math(const struct moe_model *m);

/* A path in the toolkit's share folder, to be freed. */
char *cli_share(const char *name);

/* What head frames are checked against and marked with. */
struct moe_identity cli_identity(const struct moe_model *m, const char *tokenizer);

/* The input stream: `path`, or standard input when it is NULL or "-"; a terminal gives the usage. */
struct moe_reader *cli_reader(const char *path);

/* The output stream to -o or standard output; refuses a terminal. *sink is for cli_finish. */
struct moe_writer *cli_writer(struct moe_sink **sink);

/* Opens an output, for cli_finish. */
struct moe_sink *cli_sink(const char *path);

/* Text to the file `path`, or standard output when it is NULL or "-". *sink is for cli_finish_text. */
FILE *cli_text(const char *path, struct moe_sink **sink);

/* Completes an output, so that the file appears, unless err is a failure: then, as in every other end of the program, nothing is left of it,
 * and the program dies. */
void cli_finish(struct moe_sink *sink, enum moe_err err, struct moe_diag *d);
void cli_finish_text(FILE *f, struct moe_sink *sink, enum moe_err err, struct moe_diag *d);

/* Runs a filter from standard input to the output and returns the exit status. */
int cli_filter(const struct moe_stage *s, const struct moe_model *m);

#endif
