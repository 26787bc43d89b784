#include "common/stats.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *stats_where;

/* Splits "json:FILE" and the like; FILE "" is standard error. */
static enum moe_load_format parse_where(const char **file)
{
	static const char *const forms[] = {[MOE_LOAD_TEXT] = "text", [MOE_LOAD_JSON] = "json", [MOE_LOAD_TSV] = "tsv"};

	*file = stats_where;
	for (int i = 0; i < 3; i++) {
		size_t n = strlen(forms[i]);
		if (!strncmp(stats_where, forms[i], n) && (!stats_where[n] || stats_where[n] == ':')) {
			*file = stats_where[n] ? stats_where + n + 1 : "";
			return (enum moe_load_format)i;
		}
	}
	return MOE_LOAD_TEXT;
}

void stats_init(struct stats *s, const struct moe_model *m, size_t first, size_t last)
{
	struct moe_diag d = {0};
	const char *file;

	*s = (struct stats){.first = first, .last = last};
	if (!stats_where)
		return;
	s->format = parse_where(&file);
	if (!strcmp(file, "-"))
		cli_fail("--stats=%s: standard output is not for statistics; without a file they go to standard error", stats_where);
	s->f = cli_text(*file ? file : "/dev/stderr", &s->sink);
	s->load = calloc((size_t)m->spec->n_layers, sizeof *s->load);
	if (!s->load)
		cli_fail("out of memory");
	for (size_t l = first; l <= last; l++) {
		cli_check(moe_load_init(&s->load[l], (size_t)m->spec->router.experts, moe_spec_top_k(m->spec, l), &d), &d);
		s->load[l].choice = m->choice;
	}
}

enum moe_err stats_observe(void *self, size_t layer, const struct moe_flow *flow, struct moe_diag *d)
{
	struct stats *s = self;

	for (size_t i = 0; i < flow->n; i++) {
		const struct moe_span *span = &flow->span[i];
		const struct moe_routed *r = &flow->routed;
		const uint64_t *shape;
		const uint8_t *modality;
		MOE_TRY(moe_frame_tensor(flow->frame[i], "modality", MOE_U8, 1, (const void **)&modality, &shape, d));
		if (shape[0] != span->n)
			return moe_frame_fail(flow->frame[i], d, MOE_EINPUT, "tensor \"modality\" has %llu rows, expected %zu", (unsigned long long)shape[0], span->n);
		moe_load_add(&s->load[layer], span->n, modality, r->logit + span->first * s->load[layer].experts,
			     r->expert_id + span->first * s->load[layer].k, r->weight + span->first * s->load[layer].k,
			     flow->batch.depth.on ? flow->batch.depth.taken + span->first : NULL);
	}
	return MOE_OK;
}

void stats_print(struct stats *s)
{
	struct moe_diag d = {0};
	size_t printed = 0;
	bool bars = s->load && s->format == MOE_LOAD_TEXT && isatty(fileno(s->f));

	if (!s->load)
		return;
	for (size_t l = s->first; l <= s->last; l++) {
		if (s->load[l].k)       /* a dense layer routes nothing */
			cli_check(moe_load_print(s->f, &s->load[l], l, s->format, bars, !printed++, &d), &d);
		moe_load_free(&s->load[l]);
	}
	free(s->load);
	cli_finish_text(s->f, s->sink, MOE_OK, &d);
}
