/* Rows that pass through a layer together: one or more sequences, each with some rows that follow what its cache already holds. What a
 * row becomes depends on no other sequence, so results do not change with the batch. */
#ifndef MOE_NN_BATCH_H
#define MOE_NN_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "nn/cache.h"
#include "sys/pool.h"

/* What the experts of a layer gave to the last `rows` rows of a span: all but `residual` before it is added up (experts.h). */
struct moe_span_parts {
	size_t rows;
	float *residual;                /* [rows][hidden]: x before */
	int32_t *expert_id;             /* [rows][k] */
	float *weight;                  /* [rows][k] */
	float *part;                    /* [rows][k][hidden]: of each chosen expert, before its weight; 0 where none was chosen */
	float *shared;                  /* [rows][hidden]: of what every token passes, after its gate; NULL where the layer has none */
};

/* Rows [first, first + n) of a batch belong to one sequence; row `first` goes to slot `start` of its caches. */
struct moe_span {
	size_t first, n;
	float *x;                       /* [n][hidden], changed in place, wherever it lies */
	uint32_t start;
	struct moe_cache *cache;        /* [layers], or NULL outside attention */
	size_t keep;                    /* rows at its end that go on behind the next attention, in the last layer; 0: all */
	float *attention;               /* [heads][rows that go on][start + n]: gets the weights of the next attention; NULL: not wanted */
	struct moe_span_parts *parts;   /* gets what the next experts give; NULL: not wanted */
};

/* How many of its rows go on. */
static inline size_t moe_span_kept(const struct moe_span *s) { return s->keep && s->keep < s->n ? s->keep : s->n; }

/* Reduces it to the rows that go on, which are from now on those from row `first` of the batch. */
static inline void moe_span_trim(struct moe_span *s, size_t first, size_t hidden)
{
	size_t n = moe_span_kept(s), skipped = s->n - n;

	s->x += skipped * hidden;
	s->start += (uint32_t)skipped;
	s->first = first;
	s->n = n;
}

/* The rows of a batch that take a layer which not all take, and what they were before it (depth.h). */
struct moe_batch_depth {
	bool on;                        /* the batch is inside of such a layer, behind its attention */
	uint8_t *taken;                 /* [rows]: 1 or 0 */
	float *entry;                   /* [rows][hidden]: x before attention */
	float *logit;                   /* [rows] */
};

struct moe_batch {
	size_t rows, hidden, axes;
	const int32_t *position;        /* [axes][rows] */
	const int32_t *image;           /* [rows]: number of the picture, -1 for text */
	uint8_t *modality;              /* [rows], or NULL: nobody said. An attention that keeps rows moves them */
	float *cosine, *sine;           /* [rows][pairs that turn]: the rotation of each row, made by the first attention of a pass; NULL before */
	struct moe_span *span;          /* [spans], in order, covering all rows */
	size_t spans;
	struct moe_batch_depth depth;
};

/* The span whose row a recorded failure is about (diag.row counts from 1 through the batch), and the row counts through the span from now on.
 * NULL when it is about no row. */
static inline const struct moe_span *moe_batch_blame(const struct moe_batch *b, struct moe_diag *d)
{
	for (size_t i = 0; d && d->row && i < b->spans; i++) {
		const struct moe_span *s = &b->span[i];
		size_t row = (size_t)d->row - 1;
		if (row >= s->first && row - s->first < s->n) {
			d->row -= (int64_t)s->first;
			return s;
		}
	}
	return NULL;
}

/* What a forward function needs beside its operands: memory, of which it keeps only what it hands back, and threads (NULL: none). */
struct moe_compute {
	struct moe_arena *scratch;
	struct moe_pool *pool;
	struct moe_cache_pool *blocks;
};

#endif
