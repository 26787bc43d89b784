/* Traces of routing: where every token of a run went, in every layer. A trace is a stream (moe-stream(5)) of `trace` frames; this is its reader.
 *
 * What a block holds is checked when it is read: shapes, that expert ids are below `experts` and not twice in a row, that "none" comes last, that
 * weights are finite and that logits are neither NaN nor +inf. */
#ifndef MOE_TRACE_TRACE_H
#define MOE_TRACE_TRACE_H

#include "nn/router.h"
#include "stream/reader.h"

/* What a trace tells, each more than the one before. Counts: how often each expert was chosen, of a source that kept no tokens. */
enum moe_trace_detail { MOE_TRACE_COUNTS, MOE_TRACE_IDS, MOE_TRACE_WEIGHTS, MOE_TRACE_LOGITS };

/* What the router makes of its logits; unknown: the source of an import did not say. */
enum moe_trace_score { MOE_TRACE_SOFTMAX, MOE_TRACE_SIGMOID, MOE_TRACE_LOGIT, MOE_TRACE_UNKNOWN };

#define MOE_NO_EXPERT ((uint16_t)0xffff)

enum {
	MOE_TRACE_ROWS = 256,           /* most tokens of a block */
	MOE_TRACE_EXPERTS = 65535,      /* most experts: the number 65535 is none */
	MOE_TRACE_LAYERS = 65536,
	MOE_TRACE_CHOICE = 40,          /* bytes of moe.choice with its end */
};

/* What a head says of the trace behind it. */
struct moe_trace_info {
	char model[40], tokenizer[40];  /* fingerprints, "" where there are none */
	size_t *layer, n_layers;        /* numbers of the traced layers, ascending */
	size_t experts, k;              /* k: 0 where a source of counts did not say */
	enum moe_trace_score score;
	struct moe_pools pools;         /* of the head: the experts that tokens of a modality may get; none: all */
	bool renormalise;               /* chosen weights of a token add up to 1 */
	enum moe_trace_detail detail;
};

/* Up to MOE_TRACE_ROWS tokens of one sequence. Arrays are the reader's, valid until its next block. */
struct moe_trace_block {
	uint64_t seq, start;            /* start: tokens of the sequence before these */
	uint64_t step;                  /* 0: tokens that were given; else row i is the generated token number step + i, counted from 1 */
	const char *name;               /* of the sequence, or NULL */
	const char *choice;             /* moe.choice: who chose ("token": each token, by itself) */
	size_t rows, axes;              /* rows: 0 in a block of counts */
	const int32_t *token;           /* [rows]; -1: an import whose source did not say */
	const int32_t *position, *image, *patch;        /* [axes][rows], [rows]: -1 text, [rows]: -1 text */
	const uint8_t *modality;        /* [rows] */
	const uint16_t *expert;         /* [n_layers][rows][k], by falling weight; MOE_NO_EXPERT at the end */
	const float *weight;            /* [n_layers][rows][k], or NULL */
	const float *logit;             /* [n_layers][rows][experts], or NULL; -inf: not eligible */
	const float *compared;          /* [n_layers][rows][experts]: what the choice compared, where that is not the logits; or NULL */
	const uint8_t *depth;           /* [n_layers][rows]: 1 where the token took the layer; NULL: all did */
	const uint64_t *count;          /* [n_layers][experts] in a trace of counts, else NULL */
};

/* How many experts a row of k has; is one among n? */
static inline size_t moe_trace_chosen(const uint16_t *expert, size_t k)
{
	size_t n = 0;

	while (n < k && expert[n] != MOE_NO_EXPERT)
		n++;
	return n;
}

static inline bool moe_trace_has(const uint16_t *expert, size_t n, uint16_t one)
{
	while (n && expert[n - 1] != one)
		n--;
	return n;
}

/* "softmax", "weights" and the like, and back; -1 for other names. */
const char *moe_trace_score_name(enum moe_trace_score s);
const char *moe_trace_detail_name(enum moe_trace_detail t);
int moe_trace_score_find(const char *name);
int moe_trace_detail_find(const char *name);

struct moe_trace;

/* Opens a trace and reads its head; takes over `s`, also when it fails. Other streams fail with MOE_EINPUT and say what they are. */
enum moe_err moe_trace_open(struct moe_trace **out, struct moe_source *s, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_trace_close(struct moe_trace *t);

/* The same on a reader whose first frame, `head`, has been read already; takes over both, also when it fails. */
enum moe_err moe_trace_adopt(struct moe_trace **out, struct moe_reader *r, struct moe_frame *head, struct moe_diag *d) MOE_CHECK_RESULT;

/* Of the member at hand; a file of several members (cat a b) changes it, which `moe_trace_next` says with MOE_AGAIN. */
const struct moe_trace_info *moe_trace_info(const struct moe_trace *t);

/* The next block. MOE_END behind the last one; MOE_AGAIN: another member has begun, info has changed. */
enum moe_err moe_trace_next(struct moe_trace *t, struct moe_trace_block *b, struct moe_diag *d) MOE_CHECK_RESULT;

/* The head frame, for its provenance. */
const struct moe_frame *moe_trace_head(const struct moe_trace *t);

/* Where the bytes come from, for messages, and the byte at which the block that was read last begins. */
const char *moe_trace_name(const struct moe_trace *t);
uint64_t moe_trace_at(const struct moe_trace *t);

/* What the metadata of a frame says of its block: choice, and, but of counts, name, sequence, step and start. */
enum moe_err moe_trace_keys_read(struct moe_trace_block *b, const struct moe_frame *f, bool counts, struct moe_diag *d) MOE_CHECK_RESULT;

/* The same on frames that somebody else reads: what a head says (*i is the caller's to free; MOE_EMATCH: it is the head of another stream), and
 * what a frame of kind trace holds behind it; arrays come from `a` or are the frame's. */
enum moe_err moe_trace_info_read(struct moe_trace_info *i, const struct moe_frame *head, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_trace_info_free(struct moe_trace_info *i);
enum moe_err moe_trace_block_read(struct moe_trace_block *b, struct moe_frame *f, const struct moe_trace_info *i, struct moe_arena *a,
				  struct moe_diag *d) MOE_CHECK_RESULT;

/* Reads all of a stream as the strictest stage would, and what traces hold, too; other streams are checked as moe_stream_check does. *frames counts what was
 * good. */
enum moe_err moe_trace_check(struct moe_reader *r, uint64_t *frames, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
