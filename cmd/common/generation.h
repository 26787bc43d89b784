/* How answers are generated and printed: the options that moe-decode and moe-run share. */
#ifndef MOE_CMD_GENERATION_H
#define MOE_CMD_GENERATION_H

#include <time.h>

#include "common/cli.h"
#include "common/drawing.h"
#include "report/answers.h"
#include "stage/reply.h"

extern struct generation_options {
	long max_new, top_k, seed;
	double temperature, top_p, min_p, penalty, min_confidence;
	struct opt_list stop;
	const char *logprobs, *image;
	bool json, stream;
	char names;             /* H, h or 0, the last one given, as in grep */
} generation_options;

#define OPT_GENERATION \
	{'n', "max-new", OPT_INT, &generation_options.max_new, "N", "at most N new tokens per answer", 1, 1e6, "the model's own limit"}, \
	{0, "temperature", OPT_REAL, &generation_options.temperature, "T", "draw tokens, with logits divided by T; 0: always the most likely", 0, 100, \
	 "0, or 1 with one of the next three"}, \
	{0, "top-k", OPT_INT, &generation_options.top_k, "K", "draw from the K most likely tokens", 1, 1e6, "all"}, \
	{0, "top-p", OPT_REAL, &generation_options.top_p, "P", "draw from the fewest tokens whose probability is P together", 1e-9, 1, "all"}, \
	{0, "min-p", OPT_REAL, &generation_options.min_p, "P", "draw from tokens with at least P times the largest probability", 0, 1, "all"}, \
	{0, "repetition-penalty", OPT_REAL, &generation_options.penalty, "R", "divide positive logits of earlier tokens by R, multiply negative ones", 0.01, 100, "1"}, \
	{0, "seed", OPT_INT, &generation_options.seed, "N", "draws are a function of N, the number of the sequence and that of the token", 0, 9e15, "0"}, \
	{0, "stop", OPT_LIST, &generation_options.stop, "TEXT", "end an answer before this text, beside the family's own (may stand several times)", 0, 0, 0}, \
	{0, "min-confidence", OPT_REAL, &generation_options.min_confidence, "P", "print no answer whose probability is below P, and exit 1", 0, 1, "0"}, \
	{0, "json", OPT_FLAG, &generation_options.json, 0, "one JSON object per answer", 0, 0, 0}, \
	{0, "logprobs", OPT_OPTIONAL, &generation_options.logprobs, "N", "JSON with each token's log-probability, and the N most likely tokens (0 to 100)", 0, 0, "0"}, \
	{0, "image", OPT_TEXT, &generation_options.image, "FILE", "write the pictures that image tokens make, as PNG (%d in the name: the number of each)", 0, 0, 0}, \
	{0, "stream", OPT_FLAG, &generation_options.stream, 0, "print a lone answer as it is made, as on a terminal", 0, 0, 0}

/* Fills *g from the options; the tokenizer is NULL where no text is wanted. Dies on a mistake. */
void generation_init(struct moe_generation *g, const struct moe_spec *s, const struct moe_tokenizer *t);

/* Prints answers and counts them. */
struct printer {
	FILE *f;
	struct moe_answer_style style;
	bool any_names;                 /* names decide whether texts stay on a line, answer by answer */
	bool timings;
	struct drawing *drawing;        /* where pictures go that are made, or NULL */
	struct timespec start;
	uint64_t answers, failed, withheld;      /* withheld: not confident enough */
};

void printer_init(struct printer *p, struct moe_sink **sink);

/* For the functions `answer` and `partial` of decoders and engines. */
enum moe_err printer_answer(void *printer, const struct moe_answer *a, struct moe_diag *d);
enum moe_err printer_partial(void *printer, const char *name, const char *text, size_t n, struct moe_diag *d);

/* Should a lone answer be printed as it is made? */
bool printer_streams(const struct printer *p);

#endif
