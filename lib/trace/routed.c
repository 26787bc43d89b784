#include "trace/routed.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "nn/router.h"

/* The layer in moe.at, "12.route". */
static enum moe_err read_layer(const struct moe_frame *f, size_t *layer, struct moe_diag *d)
{
	const char *at = moe_frame_meta(f, "moe.at");
	char *end = NULL;
	unsigned long n = at && *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : 0;

	if (!end || end - at > 5 || strcmp(end, ".route"))
		return moe_frame_fail(f, d, MOE_EINPUT, "moe.at is \"%.40s\", expected a layer's route, such as \"12.route\"", at ? at : "missing");
	*layer = n;
	return MOE_OK;
}

/* A tensor with these rows; `width` 0: of one axis. */
static enum moe_err rows_of(struct moe_frame *f, const char *name, enum moe_dtype type, uint64_t rows, uint64_t width, const void **data, struct moe_diag *d)
{
	const uint64_t *shape;

	MOE_TRY(moe_frame_tensor(f, name, type, width ? 2 : 1, data, &shape, d));
	if (shape[0] == rows && (!width || shape[1] == width))
		return MOE_OK;
	return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"%s\" is %llu x %llu, expected %llu x %llu", name, (unsigned long long)shape[0],
			      (unsigned long long)(width ? shape[1] : 1), (unsigned long long)rows, (unsigned long long)(width ? width : 1));
}

static enum moe_err read_tokens(struct moe_routed_frame *r, struct moe_frame *f, struct moe_diag *d)
{
	const struct moe_tensor *p = moe_frame_find(f, "position");
	struct moe_trace_block *b = &r->all;

	b->axes = p && p->rank == 2 && p->shape[0] <= MOE_MAX_RANK ? (size_t)p->shape[0] : 0;
	if (!b->axes)
		return moe_frame_fail(f, d, MOE_EINPUT, "it has no tensor \"position\" with 1 to %d axes", MOE_MAX_RANK);
	MOE_TRY(rows_of(f, "position", MOE_I32, b->axes, r->rows, (const void **)&b->position, d));
	MOE_TRY(rows_of(f, "token", MOE_I32, r->rows, 0, (const void **)&b->token, d));
	MOE_TRY(rows_of(f, "image", MOE_I32, r->rows, 0, (const void **)&b->image, d));
	MOE_TRY(rows_of(f, "patch_index", MOE_I32, r->rows, 0, (const void **)&b->patch, d));
	MOE_TRY(rows_of(f, "modality", MOE_U8, r->rows, 0, (const void **)&b->modality, d));
	return moe_frame_find(f, "depth") ? rows_of(f, "depth", MOE_U8, r->rows, 0, (const void **)&b->depth, d) : MOE_OK;
}

static enum moe_err read_routing(struct moe_routed_frame *r, struct moe_frame *f, size_t k, size_t experts, struct moe_diag *d)
{
	const struct moe_tensor *z = moe_frame_find(f, "router_logit");
	struct moe_trace_block *b = &r->all;

	if (z && z->rank == 2)
		experts = (size_t)moe_min(z->shape[1], MOE_TRACE_EXPERTS + 1);
	if (!experts || experts > MOE_TRACE_EXPERTS || k > experts)
		return moe_frame_fail(f, d, MOE_EMATCH, z ? "it has %zu experts, of which a token gets %zu"
						       : "it does not say how many experts there are: it has no router logits",
				      experts, k);
	MOE_TRY(rows_of(f, "weight", MOE_F32, r->rows, k, (const void **)&b->weight, d));
	MOE_TRY(moe_frame_blame(f, moe_router_check(r->id, b->weight, r->rows, k, experts, d), d));
	if (z) {
		MOE_TRY(rows_of(f, "router_logit", MOE_F32, r->rows, experts, (const void **)&b->logit, d));
		MOE_TRY(moe_frame_blame(f, moe_router_check_logits(b->logit, r->id, r->rows, k, experts, d), d));
	}
	if (z && moe_frame_find(f, "choice"))
		MOE_TRY(rows_of(f, "choice", MOE_F32, r->rows, experts, (const void **)&b->compared, d));
	r->info.experts = experts;
	r->info.k = k;
	r->info.detail = z ? MOE_TRACE_LOGITS : MOE_TRACE_WEIGHTS;
	return MOE_OK;
}

enum moe_err moe_routed_take(struct moe_routed_frame *r, struct moe_frame *f, enum moe_trace_score score, size_t experts, struct moe_diag *d)
{
	const uint64_t *shape;

	*r = (struct moe_routed_frame){.info = {.n_layers = 1, .score = score}};
	r->info.layer = &r->layer;
	MOE_TRY(read_layer(f, &r->layer, d));
	MOE_TRY(moe_trace_keys_read(&r->all, f, false, d));
	MOE_TRY(moe_frame_tensor(f, "expert_id", MOE_I32, 2, (const void **)&r->id, &shape, d));
	if (shape[0] > INT32_MAX)
		return moe_frame_fail(f, d, MOE_EINPUT, "it has %llu rows", (unsigned long long)shape[0]);
	if (!shape[0] || !shape[1])
		return MOE_OK;
	r->rows = (size_t)shape[0];
	MOE_TRY(read_tokens(r, f, d));
	return read_routing(r, f, (size_t)moe_min(shape[1], MOE_TRACE_EXPERTS + 1), experts, d);
}

enum moe_err moe_routed_next(struct moe_routed_frame *r, struct moe_trace_block *b, struct moe_arena *a, struct moe_diag *d)
{
	size_t at = r->at, n = moe_min(r->rows - at, MOE_TRACE_ROWS), k = r->info.k;
	uint16_t *expert;
	int32_t *position;

	if (!n)
		return MOE_END;
	expert = moe_arena_get(a, n * k, sizeof *expert);
	position = moe_arena_get(a, n * r->all.axes, sizeof *position);
	if (!expert || !position)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a block of a trace");
	for (size_t i = 0; i < n * k; i++)
		expert[i] = r->id[at * k + i] < 0 ? MOE_NO_EXPERT : (uint16_t)r->id[at * k + i];
	for (size_t x = 0; x < r->all.axes; x++)
		memcpy(position + x * n, r->all.position + x * r->rows + at, n * sizeof *position);
	*b = r->all;
	b->rows = n;
	b->start += at;
	b->expert = expert;
	b->position = position;
	b->token += at;
	b->image += at;
	b->patch += at;
	b->modality += at;
	b->weight += at * k;
	b->logit = b->logit ? b->logit + at * r->info.experts : NULL;
	b->compared = b->compared ? b->compared + at * r->info.experts : NULL;
	b->depth = b->depth ? b->depth + at : NULL;
	r->at += n;
	return MOE_OK;
}
