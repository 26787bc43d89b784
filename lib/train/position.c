#include "train/position.h"

#include <stddef.h>
#include <string.h>

/* The numbers of a position, and of a source in the data's. */
struct field {
	const char *key;
	size_t at;
};

#define AT(name) {#name, offsetof(struct moe_run_position, name)}

static const struct field fields[] = {
	AT(step), AT(tokens), AT(stage), AT(stage_tokens), AT(samples), AT(failed), AT(skipped), AT(in_a_row), AT(log_nbytes), {0},
};

static json_t *whole(uint64_t v) { return json_integer((json_int_t)v); }

static json_t *data_value(const struct moe_mix_position *p)
{
	json_t *sources = json_array();

	for (size_t i = 0; i < p->n_sources; i++)
		json_array_append_new(sources, json_pack("{so so so so sb}", "epoch", whole(p->source[i].epoch), "draws", whole(p->source[i].draws), "total",
							 whole(p->source[i].total), "crc", whole(p->source[i].crc), "ended", p->source[i].ended));
	return json_pack("{so so so}", "draws", whole(p->draws), "failed", whole(p->failed), "sources", sources);
}

json_t *moe_position_value(const struct moe_run_position *p)
{
	json_t *o = json_object();

	for (const struct field *f = fields; f->key; f++)
		json_object_set_new(o, f->key, whole(*(const uint64_t *)(const void *)((const char *)p + f->at)));
	json_object_set_new(o, "ended", json_boolean(p->ended));
	if (p->has_data)
		json_object_set_new(o, "data", data_value(&p->data));
	return o;
}

static enum moe_err read_whole(uint64_t *to, const json_t *o, const char *key, struct moe_diag *d)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return moe_fail(d, MOE_EINPUT, "the checkpoint's position has no good \"%s\"", key);
	*to = (uint64_t)json_integer_value(v);
	return MOE_OK;
}

static enum moe_err read_data(struct moe_mix_position *p, const json_t *o, struct moe_diag *d)
{
	const json_t *sources = json_object_get(o, "sources");

	MOE_TRY(read_whole(&p->draws, o, "draws", d));
	MOE_TRY(read_whole(&p->failed, o, "failed", d));
	p->n_sources = json_array_size(sources);
	if (!p->n_sources || p->n_sources > MOE_MIX_SOURCES)
		return moe_fail(d, MOE_EINPUT, "the checkpoint's position has no good \"sources\"");
	for (size_t i = 0; i < p->n_sources; i++) {
		const json_t *s = json_array_get(sources, i);
		uint64_t crc;
		MOE_TRY(read_whole(&p->source[i].epoch, s, "epoch", d));
		MOE_TRY(read_whole(&p->source[i].draws, s, "draws", d));
		MOE_TRY(read_whole(&p->source[i].total, s, "total", d));
		MOE_TRY(read_whole(&crc, s, "crc", d));
		p->source[i].crc = (uint32_t)crc;
		p->source[i].ended = json_is_true(json_object_get(s, "ended"));
	}
	return MOE_OK;
}

enum moe_err moe_position_read(struct moe_run_position *p, const json_t *o, struct moe_diag *d)
{
	memset(p, 0, sizeof *p);
	for (const struct field *f = fields; f->key; f++)
		MOE_TRY(read_whole((uint64_t *)(void *)((char *)p + f->at), o, f->key, d));
	p->ended = json_is_true(json_object_get(o, "ended"));
	p->has_data = json_object_get(o, "data") != NULL;
	return p->has_data ? read_data(&p->data, json_object_get(o, "data"), d) : MOE_OK;
}
