/* One sequence that grows by as many rows at a time as one likes: a conversation, or a text to score. What is in the caches is never computed again. */
#ifndef MOE_RUN_SESSION_H
#define MOE_RUN_SESSION_H

#include "model/layer.h"
#include "stage/tracing.h"

/* Where the time of a session goes, in seconds. */
enum moe_time { MOE_TIME_ATTENTION, MOE_TIME_ROUTER, MOE_TIME_EXPERTS, MOE_TIME_HEAD, MOE_TIME_OTHER, MOE_N_TIMES };

struct moe_times {
	double seconds[MOE_N_TIMES];
	double last;                    /* when the clock was read last */
};

const char *moe_time_name(enum moe_time t);

struct moe_session {
	const struct moe_model *model;
	struct moe_pool *pool;
	struct moe_cache *cache;        /* [layers] */
	size_t slots;                   /* rows in the caches */
	struct moe_cursor next;         /* of the next token */
	struct moe_cache_pool blocks;
	struct moe_arena scratch;       /* of one step */
	struct moe_times *times;        /* added to, or NULL */
	struct moe_tracing *tracing;    /* the trace that its rows go to, or NULL; of which it is sequence `seq`, called `name` */
	uint64_t seq, step;             /* step: set before an extension: 0: the tokens are given; else the first is generated token number `step` */
	const char *name;
	void (*routed)(void *observer, size_t layer, const struct moe_routed *r, size_t rows);  /* sees every choice; NULL: nobody does */
	void *observer;
};

enum moe_err moe_session_init(struct moe_session *s, const struct moe_model *m, struct moe_pool *pool, struct moe_diag *d) MOE_CHECK_RESULT;

/* Forgets all rows. */
void moe_session_clear(struct moe_session *s);

/* The same where the session is traced: its sequence is over, the next has the number behind it. */
enum moe_err moe_session_next(struct moe_session *s, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_session_free(struct moe_session *s);

/* Appends n tokens, whose placeholders become the features given, if any (else they are text). `logits` gets those of all rows, or of the last one alone, in
 * runs of rows [first, first + count) of these; logit [count][vocab] is valid during the call. */
enum moe_err moe_session_extend(struct moe_session *s, const int32_t *token, size_t n, const struct moe_patch_grid *grid, float *const *feature, bool all,
				enum moe_err (*logits)(void *self, size_t first, size_t count, const float *logit, struct moe_diag *d), void *self,
				struct moe_diag *d) MOE_CHECK_RESULT;

#endif
