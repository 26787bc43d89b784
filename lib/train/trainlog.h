/* The log of a run: JSON lines, one for each step and one for each evaluation. It holds no times and no memory (unless they are asked for) and no paths, and is cut back to the
 * checkpoint's position when a run goes on, so that the log of an interrupted run is that of an uninterrupted one, byte for byte. */
#ifndef MOE_TRAIN_TRAINLOG_H
#define MOE_TRAIN_TRAINLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct moe_trainlog;

/* A step. What is not finite is written as null. */
struct moe_trainlog_step {
	uint64_t step, tokens;          /* after it, of the whole run */
	const char *stage;
	double loss, text, image, patch, balance, z;
	bool has_image;                 /* there were image tokens to predict; else their loss is not written */
	bool taught;                    /* by a teacher: the line has the next two */
	double soft, match;
	bool experts_choose;            /* the line has the share of rows that none took: */
	double unserved;
	bool of_aux;                    /* auxiliary routers learn: the line has the next four */
	double aux, right, foretold, taken;
	double grad_norm, muon_rate, adamw_rate, busiest;
	bool skipped;                   /* loss or gradient was not finite: the weights are as before */
	double seconds;                 /* with times: how long it took; 0: not written */
	uint64_t rows;
};

struct moe_trainlog_type {
	const char *type;
	uint64_t questions, exact;
};

/* An evaluation after a step. */
struct moe_trainlog_dev {
	uint64_t step, tokens, questions, exact;
	double text, image, patch;      /* losses */
	bool has_image;
	double flips;                   /* share of the decisions that were turned round; 0: not written */
	const char *choice;             /* who chose in a model that chooses over groups (moe.choice); NULL: nothing is */
	const struct moe_trainlog_type *type;
	size_t n_types;
};

/* A step, or an evaluation (`dev`), of a quantiser. */
struct moe_trainlog_quantiser {
	bool dev;
	uint64_t step, tokens, codes;   /* codes: that were chosen at least once */
	const char *stage;
	double loss, picture, commitment, psnr;         /* an evaluation has psnr alone */
	double grad_norm, rate;
	bool skipped;
	double seconds;
	uint64_t patches;
};

/* Opens or creates the file and cuts it to `at` bytes. Where it is shorter (somebody changed it), *lost says so and it goes on at its end. */
enum moe_err moe_trainlog_open(struct moe_trainlog **out, const char *path, uint64_t at, bool *lost, struct moe_diag *d) MOE_CHECK_RESULT;

/* Writes a line. What the disk does not take now is kept, and written when it does. */
enum moe_err moe_trainlog_write_step(struct moe_trainlog *l, const struct moe_trainlog_step *s, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_trainlog_write_dev(struct moe_trainlog *l, const struct moe_trainlog_dev *v, struct moe_diag *d) MOE_CHECK_RESULT;

enum moe_err moe_trainlog_write_quantiser(struct moe_trainlog *l, const struct moe_trainlog_quantiser *s, struct moe_diag *d) MOE_CHECK_RESULT;

/* Everything is on the disk then; *at is the length of the file. */
enum moe_err moe_trainlog_sync(struct moe_trainlog *l, uint64_t *at, struct moe_diag *d) MOE_CHECK_RESULT;

void moe_trainlog_close(struct moe_trainlog *l);

#endif
