/* The pools of experts in the head of a stream (moe.pools, moe-stream(5)): {"text": [0, 1], "image": [2, 3]}. */
#ifndef MOE_TRACE_POOLS_H
#define MOE_TRACE_POOLS_H

#include "nn/router.h"
#include "stream/frame.h"

/* Sets moe.pools; nothing without pools. */
enum moe_err moe_pools_write(struct moe_frame *head, const struct moe_pools *p, size_t experts, struct moe_diag *d) MOE_CHECK_RESULT;

/* Reads moe.pools; *p has none where the head does not say. Every number below `experts` must be there once: else MOE_EINPUT. experts 0: as many as there are
 * numbers. */
enum moe_err moe_pools_read(struct moe_pools *p, const struct moe_frame *head, size_t experts, struct moe_diag *d) MOE_CHECK_RESULT;

/* MOE_EMATCH where the head has other pools than these; one that does not say is taken to have the same. */
enum moe_err moe_pools_check(const struct moe_frame *head, const struct moe_pools *p, size_t experts, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
