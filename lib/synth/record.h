/* A sample as the two files that stand for it in a shard (moe-shards(5)), and many of them in order, made by several threads. */
#ifndef MOE_SYNTH_RECORD_H
#define MOE_SYNTH_RECORD_H

#include "image/png.h"
#include "sys/pool.h"
#include "synth/synth.h"

struct moe_record {
	uint8_t *png;
	char *json;
	size_t n_png, n_json, room_png, room_json;
};

/* Writes the sample; the record's memory is used again. */
enum moe_err moe_record_write(struct moe_record *r, const struct moe_synth_sample *s, struct moe_png *png, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_record_free(struct moe_record *r);

/* Samples first .. first + n - 1 of a mixture. */
struct moe_producer;
struct moe_producer_options {
	const struct moe_fonts *fonts;
	enum moe_synth_split split;
	unsigned things;                /* of struct moe_synth */
	uint64_t seed, first, n;
	const double *weight;           /* of each task, copied */
	struct moe_pool *pool;
};
enum moe_err moe_producer_new(struct moe_producer **out, const struct moe_producer_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_producer_free(struct moe_producer *p);

/* The next sample, valid until the next call; MOE_END after the last. The same records whatever the pool. */
enum moe_err moe_producer_next(struct moe_producer *p, const struct moe_record **out, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
