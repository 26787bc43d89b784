/* Weighted sources made into one sequence of samples, shuffled, which is a pure function of the seed, the sources, and the number of the draw.
 *
 * Draw n takes an item from the source that random number n chooses by the weights. A source is read shard by shard, in an order of its own in every epoch, into
 * a buffer of `window` items; a random one of them is taken and the next read in its place. At the end of an epoch the buffer runs empty, so that each
 * epoch gives each item once. Items wait as bytes; they are read as samples when they are drawn. An item that is no good sample costs its draw.
 *
 * The random numbers are moe_random_u64(seed, stream, index) (Salmon et al. 2011). */
#ifndef MOE_DATA_MIX_H
#define MOE_DATA_MIX_H

#include "data/samples.h"
#include "data/shards.h"

enum { MOE_MIX_SOURCES = 64, MOE_MIX_WINDOW = 4096 };

struct moe_mix_source {
	const char *const *path;        /* [n_paths], as moe_shard_open takes them; "-" alone, and in one source only: it has a single epoch */
	size_t n_paths;
	double weight;                  /* > 0; 0: 1 */
};

struct moe_mix_options {
	uint64_t seed;
	size_t window;                  /* 0: MOE_MIX_WINDOW; 1: no shuffling inside a shard */
	bool ordered;                   /* shards are read in the order given */
	bool once;                      /* one epoch of each source, then MOE_END */
	struct moe_shard_options shards;
	/* Told of each item that is no good sample, whose name is in the diagnostic; may be NULL. */
	void (*failed)(void *self, const struct moe_diag *d);
	void *self;
};

/* Where a mix stands: all that is needed to go on. */
struct moe_mix_position {
	uint64_t draws, failed;         /* in all; items that were no good samples among them */
	size_t n_sources;
	struct {
		uint64_t epoch, draws;  /* draws of this epoch */
		uint64_t total;         /* draws in all */
		uint32_t crc;           /* of the items that were read in this epoch, those in the buffer included */
		bool ended;             /* it has no more epochs */
	} source[MOE_MIX_SOURCES];
};

struct moe_mix;

/* Copies what it is given. MOE_EUSAGE for sources and weights that cannot be. One thread at a time. */
enum moe_err moe_mix_new(struct moe_mix **out, const struct moe_mix_source *s, size_t n, const struct moe_mix_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_mix_free(struct moe_mix *m);

/* The next good sample, now the caller's; *source and *draw (either may be NULL) say where it comes from. MOE_END when all sources have ended; MOE_EINPUT when
 * a source has had an epoch without any good sample. */
enum moe_err moe_mix_next(struct moe_mix *m, struct moe_sample *out, size_t *source, uint64_t *draw, struct moe_diag *d) MOE_CHECK_RESULT;

void moe_mix_position(const struct moe_mix *m, struct moe_mix_position *out);

/* Brings a fresh mix, with the same seed, sources and options, to this position: what was read of the epochs at hand is read again, but not decoded. MOE_EMATCH
 * when it is not the same (its checksum differs, or there are other sources). */
enum moe_err moe_mix_restore(struct moe_mix *m, const struct moe_mix_position *p, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
