#include "trace/pools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"

enum { NOWHERE = UINT8_MAX };

enum moe_err moe_pools_write(struct moe_frame *head, const struct moe_pools *p, size_t experts, struct moe_diag *d)
{
	char *text = NULL;
	size_t n;
	FILE *f;
	enum moe_err err;

	if (!p->n)
		return MOE_OK;
	f = open_memstream(&text, &n);
	if (!f)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t m = 0; m < p->n; m++) {
		bool first = true;
		fprintf(f, "%s\"%s\": [", m ? ", " : "{", moe_modality_name((unsigned)m));
		for (size_t e = 0; e < experts; e++)
			if (p->of[e] == m) {
				fprintf(f, first ? "%zu" : ", %zu", e);
				first = false;
			}
		fputc(']', f);
	}
	fputc('}', f);
	err = fclose(f) ? moe_fail(d, MOE_ENOMEM, "out of memory") : moe_frame_set(head, "moe.pools", text, d);
	free(text);
	return err;
}

static enum moe_err read_pool(struct moe_pools *p, size_t m, struct moe_json *j)
{
	MOE_TRY(moe_json_enter(j, '['));
	while (moe_json_element(j)) {
		uint64_t e;
		MOE_TRY(moe_json_u64(j, &e));
		if (e >= MOE_POOLED_EXPERTS || p->of[e] != NOWHERE)
			return moe_json_fail(j, e >= MOE_POOLED_EXPERTS ? "an expert's number is too large" : "an expert is there twice");
		p->of[e] = (uint8_t)m;
		p->size[m]++;
	}
	return j->err;
}

/* The modalities come in their order. */
static enum moe_err read_pools(struct moe_pools *p, size_t *experts, const char *text, struct moe_diag *d)
{
	struct moe_json j;
	size_t n = 0;

	*p = (struct moe_pools){0};
	memset(p->of, NOWHERE, sizeof p->of);
	moe_json_init(&j, text, strlen(text), d);
	MOE_TRY(moe_json_enter(&j, '{'));
	while (moe_json_key(&j)) {
		if (p->n == MOE_N_MODALITIES || !moe_json_is(&j, moe_modality_name((unsigned)p->n)))
			return moe_json_fail(&j, "modalities are text, image, audio, video, other, in this order");
		MOE_TRY(read_pool(p, p->n, &j));
		n += (size_t)p->size[p->n++];
	}
	MOE_TRY(moe_json_finish(&j));
	*experts = *experts ? *experts : n;
	for (size_t e = 0; e < *experts; e++)
		if (e >= MOE_POOLED_EXPERTS || p->of[e] == NOWHERE || n != *experts)
			return moe_fail(d, MOE_EINPUT, "the pools hold %zu experts, and there are %zu: each must be in one of them", n, *experts);
	return MOE_OK;
}

enum moe_err moe_pools_read(struct moe_pools *p, const struct moe_frame *head, size_t experts, struct moe_diag *d)
{
	const char *text = moe_frame_meta(head, "moe.pools");
	struct moe_diag why = {0};

	*p = (struct moe_pools){0};
	if (!text || !read_pools(p, &experts, text, &why))
		return MOE_OK;
	*p = (struct moe_pools){0};
	return moe_frame_fail(head, d, MOE_EINPUT, why.byte >= 0 ? "moe.pools: %s, at its byte %lld" : "moe.pools: %s", why.text, (long long)why.byte);
}

enum moe_err moe_pools_check(const struct moe_frame *head, const struct moe_pools *p, size_t experts, struct moe_diag *d)
{
	struct moe_pools have;

	if (!moe_frame_meta(head, "moe.pools"))
		return MOE_OK;
	MOE_TRY(moe_pools_read(&have, head, experts, d));
	if (have.n == p->n && !memcmp(have.of, p->of, experts * sizeof *p->of))
		return MOE_OK;
	return moe_frame_fail(head, d, MOE_EMATCH, "moe.pools names other pools of experts than the model has (--any-model mixes on purpose)");
}
