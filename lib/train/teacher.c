#include "train/teacher.h"

#include <stdlib.h>
#include <string.h>

static enum moe_err fail(struct moe_diag *d, const char *what, long long its, long long own)
{
	return moe_fail(d, MOE_EMATCH, "the teacher's %s is %lld, the model's %lld: it cannot teach this model", what, its, own);
}

static enum moe_err check_tokenizers(const struct moe_model *m, const struct moe_model *teacher, struct moe_diag *d)
{
	char own[33], its[33], *json;
	size_t n;

	MOE_TRY(moe_model_tokenizer(m->directory, &json, &n, own, d));
	free(json);
	MOE_TRY(moe_model_tokenizer(teacher->directory, &json, &n, its, d));
	free(json);
	if (strcmp(own, its))
		return moe_fail(d, MOE_EMATCH, "the teacher has another tokenizer (%s) than the model (%s): its probabilities are of other tokens", its, own);
	if (m->spec->vocab != teacher->spec->vocab)
		return fail(d, "vocabulary", (long long)teacher->spec->vocab, (long long)m->spec->vocab);
	return MOE_OK;
}

/* Pictures come to both as they are made for the model that learns. */
static enum moe_err check_pictures(const struct moe_spec *own, const struct moe_spec *its, struct moe_diag *d)
{
	if (own->tower.kind == MOE_TOWER_NONE)
		return MOE_OK;
	if (its->tower.kind == MOE_TOWER_NONE)
		return moe_fail(d, MOE_EMATCH, "the teacher takes no pictures, the model does: it cannot teach this model");
	if (own->image.patch != its->image.patch)
		return fail(d, "patch", (long long)its->image.patch, (long long)own->image.patch);
	if (own->image.channels != its->image.channels)
		return fail(d, "number of channels", (long long)its->image.channels, (long long)own->image.channels);
	if (memcmp(own->image.mean, its->image.mean, sizeof own->image.mean) || memcmp(own->image.std, its->image.std, sizeof own->image.std))
		return moe_fail(d, MOE_EMATCH, "the teacher normalises pictures with another mean or deviation than the model: it cannot teach this model");
	for (size_t i = 0; i < own->image.grids.n; i++) {
		const int64_t *grid = own->image.grids.v[i];
		struct moe_diag why = {0};
		if (moe_spec_check_grid(its, (uint64_t)grid[0], (uint64_t)grid[1], &why))
			return moe_fail(d, MOE_EMATCH, "the model has pictures of %lld x %lld patches, which the teacher has not: it cannot teach this model", (long long)grid[0],
					(long long)grid[1]);
	}
	return MOE_OK;
}

enum moe_err moe_teacher_check(const struct moe_model *m, const struct moe_model *teacher, struct moe_diag *d)
{
	MOE_TRY(check_tokenizers(m, teacher, d));
	MOE_TRY(check_pictures(m->spec, teacher->spec, d));
	return moe_net_check(teacher->spec, d);
}

/* Up to four digits. */
static bool read_layer(const char **p, int64_t *to)
{
	const char *from = *p;

	for (*to = 0; **p >= '0' && **p <= '9' && *p - from < 4; ++*p)
		*to = *to * 10 + (**p - '0');
	return *p > from;
}

bool moe_teacher_match_parse(struct moe_net_match *to, const char *text)
{
	return read_layer(&text, &to->own) && *text == '=' && (text++, read_layer(&text, &to->its)) && !*text;
}

enum moe_err moe_teacher_read(struct moe_net_teacher *t, const struct moe_recipe *r, const struct moe_spec *own, const struct moe_spec *its, struct moe_diag *d)
{
	*t = (struct moe_net_teacher){.temperature = r->teacher.temperature, .seed = r->seed};
	for (; t->n_matches < r->teacher.layers.n && t->n_matches < MOE_NET_MATCHES; t->n_matches++) {
		struct moe_net_match *m = &t->match[t->n_matches];
		const char *text = r->teacher.layers.item[t->n_matches];
		if (!moe_teacher_match_parse(m, text) || m->own > own->n_layers || m->its > its->n_layers)
			return moe_fail(d, MOE_EUSAGE, "teacher.layers: \"%s\": the model has %lld layers, the teacher %lld", text, (long long)own->n_layers,
					(long long)its->n_layers);
	}
	return MOE_OK;
}
