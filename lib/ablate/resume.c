#include "ablate/resume.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "model/math.h"

/* A fingerprint of the questions and of how the whole model answers them. */
static void hash_questions(const struct moe_evaluation *e, char *hex)
{
	XXH3_state_t *x = XXH3_createState();
	XXH128_hash_t h;

	XXH3_128bits_reset(x);
	for (size_t i = 0; i < e->n_samples; i++) {
		const struct moe_asked_sample *s = e->sample[i];
		XXH3_128bits_update(x, s->name, strlen(s->name) + 1);
		for (size_t k = 0; k < s->n; k++) {
			const struct moe_asked *q = &s->asked[k];
			const char *said = q->said ? q->said : "";
			XXH3_128bits_update(x, q->token, (q->n_prompt + q->n_answer) * sizeof *q->token);
			XXH3_128bits_update(x, q->answer, strlen(q->answer) + 1);
			XXH3_128bits_update(x, said, strlen(said) + 1);
			XXH3_128bits_update(x, &q->own.logprob, sizeof q->own.logprob);
		}
	}
	h = XXH3_128bits_digest(x);
	XXH3_freeState(x);
	sprintf(hex, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

/* The numbers of a list, of which there must be n, to a field of n sums; false: something else. */
static bool take_counts(const json_t *list, size_t n, uint32_t *to)
{
	const size_t stride = sizeof(struct moe_ablate_sum) / sizeof *to;

	if (json_array_size(list) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(list, i);
		if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT32_MAX)
			return false;
		to[i * stride] = (uint32_t)json_integer_value(v);
	}
	return true;
}

static bool take_losses(const json_t *list, size_t n, struct moe_ablate_sum *to)
{
	if (json_array_size(list) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!json_is_real(json_array_get(list, i)))
			return false;
		to[i].loss = json_real_value(json_array_get(list, i));
	}
	return true;
}

static int compare(const void *x, const void *y)
{
	const struct moe_ablate_case *a = x, *b = y;

	if (a->layer != b->layer)
		return a->layer < b->layer ? -1 : 1;
	if (a->expert != b->expert)
		return a->expert < b->expert ? -1 : 1;
	return a->way != b->way ? (int)a->way - (int)b->way : (int)a->rows - (int)b->rows;
}

/* The way and the rows of these names; false: there are none. */
static bool find_names(struct moe_ablate_case *c, const char *way, const char *rows)
{
	unsigned w = 0, r = 0;

	while (w < MOE_N_ABLATE_WAYS && strcmp(way, moe_ablate_way_name((enum moe_ablate_way)w)))
		w++;
	while (r < MOE_N_ABLATE_ROWS && strcmp(rows, moe_ablate_rows_name((enum moe_ablate_rows)r)))
		r++;
	c->way = (enum moe_ablate_way)w;
	c->rows = (enum moe_ablate_rows)r;
	return w < MOE_N_ABLATE_WAYS && r < MOE_N_ABLATE_ROWS;
}

/* Takes what the line says of a case; other cases than those of this run are passed over. False: it is no such line. */
static bool take_line(struct moe_ablation *a, json_t *o)
{
	struct moe_ablate_sum sum[MOE_ABLATE_PART] = {0};
	struct moe_ablate_case c, *found;
	json_int_t layer, expert, part;
	json_t *loss, *right, *changed;
	const char *way, *rows;
	size_t n;

	if (json_unpack(o, "{s:I, s:I, s:s, s:s, s:I, s:o, s:o, s:o}", "layer", &layer, "expert", &expert, "way", &way, "rows", &rows, "part", &part, "loss",
			&loss, "right", &right, "changed", &changed) ||
	    layer < 0 || expert < 0 || part < 0 || (size_t)part >= a->parts || !find_names(&c, way, rows))
		return false;
	n = moe_ablate_part_samples(a, (size_t)part);
	if (!take_losses(loss, n, sum) || !take_counts(right, n, &sum->right) || !take_counts(changed, n, &sum->changed))
		return false;
	c.layer = (size_t)layer;
	c.expert = (size_t)expert;
	found = bsearch(&c, a->list, a->n, sizeof c, compare);
	if (!found)
		return true;
	memcpy(a->sum + (size_t)(found - a->list) * a->e->n_samples + (size_t)part * MOE_ABLATE_PART, sum, n * sizeof *sum);
	a->done[(size_t)(found - a->list) * a->parts + (size_t)part] = true;
	a->recalled++;
	return true;
}

static enum moe_err take_lines(struct moe_ablation *a, struct moe_journal *j, struct moe_diag *d)
{
	const char *line;
	size_t number;

	while ((line = moe_journal_next(j, &number))) {
		json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
		bool good = o && take_line(a, o);
		json_decref(o);
		if (!good)
			return moe_fail(d, MOE_EINPUT, "line %zu is no result of an ablation", number);
	}
	return MOE_OK;
}

enum moe_err moe_ablate_recall(struct moe_ablation *a, struct moe_journal **out, const char *path, const struct moe_model *m, struct moe_diag *d)
{
	char head[300], hash[33];

	hash_questions(a->e, hash);
	snprintf(head, sizeof head, "{\"journal\":\"moe-ablate 1\",\"model\":\"%s\",\"math\":\"%s\",\"questions\":\"%s\"}", m->fingerprint,
		 moe_math_name(m->math), hash);
	MOE_TRY(moe_journal_open(out, path, head, false, d));
	return take_lines(a, *out, d) ? moe_diag_path(d, path) : MOE_OK;
}

static json_t *case_json(const struct moe_ablation *a, size_t number, size_t part)
{
	const struct moe_ablate_case *c = &a->list[number];
	const struct moe_ablate_sum *sum = a->sum + number * a->e->n_samples + part * MOE_ABLATE_PART;
	json_t *loss = json_array(), *right = json_array(), *changed = json_array();

	for (size_t s = 0; s < moe_ablate_part_samples(a, part); s++) {
		json_array_append_new(loss, json_real(sum[s].loss));
		json_array_append_new(right, json_integer((json_int_t)sum[s].right));
		json_array_append_new(changed, json_integer((json_int_t)sum[s].changed));
	}
	return json_pack("{s:I, s:I, s:s, s:s, s:I, s:o, s:o, s:o}", "layer", (json_int_t)c->layer, "expert", (json_int_t)c->expert, "way",
			 moe_ablate_way_name(c->way), "rows", moe_ablate_rows_name(c->rows), "part", (json_int_t)part,
			 "loss", loss, "right", right, "changed", changed);
}

enum moe_err moe_ablate_note(const struct moe_ablation *a, struct moe_journal *j, size_t number, size_t part, struct moe_diag *d)
{
	json_t *o;
	char *line;
	size_t n;
	enum moe_err err;

	if (!j)
		return MOE_OK;
	o = case_json(a, number, part);
	line = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;        /* all digits */
	json_decref(o);
	if (!line)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	n = strlen(line);
	line[n] = '\n';                 /* in the place of its NUL */
	err = moe_journal_add(j, line, n + 1, d);
	free(line);
	return err;
}
