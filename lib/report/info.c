#include "report/info.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "model/flops.h"
#include "model/provenance.h"
#include "report/escape.h"

static const char *const part_names[MOE_N_PARTS] = {
	[MOE_PART_EMBED] = "embedding", [MOE_PART_NORM] = "norms", [MOE_PART_ATTENTION] = "attention", [MOE_PART_ROUTER] = "routers",
	[MOE_PART_EXPERTS] = "experts", [MOE_PART_SHARED] = "shared_experts", [MOE_PART_DENSE] = "dense_layers", [MOE_PART_HEAD] = "head",
	[MOE_PART_TOWER] = "tower", [MOE_PART_PROJECTOR] = "projector",
};

static uint64_t weight_nbytes(const struct moe_model *m)
{
	uint64_t n = 0;

	for (size_t i = 0; m->weights && i < moe_checkpoint_count(m->weights); i++)
		n += moe_checkpoint_get(m->weights, i)->nbytes;
	return n;
}

static json_t *integer(uint64_t n) { return json_integer((json_int_t)n); }

enum { TEXT = 64 };     /* tokens of text of the sequence whose cost is told: any number will do, as long as it is the same for all models */

static json_t *flops_json(const struct moe_flops *f, size_t patches)
{
	json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "patches", integer(patches), "text", integer(TEXT), "forward", json_real(f->all),
			      "training", json_real(moe_flops_training(f, false)), "tower", json_real(f->tower), "attention", json_real(f->attention), "router",
			      json_real(f->router), "experts", json_real(f->experts), "head", json_real(f->head));

	if (f->aux > 0)
		json_object_set_new(o, "auxiliary_routers", json_real(f->aux));
	return o;
}

static json_t *parts_json(const struct moe_sizes *z)
{
	json_t *parts = json_object();

	for (int p = 0; p < MOE_N_PARTS; p++)
		if (z->part[p])
			json_object_set_new(parts, part_names[p], integer(z->part[p]));
	return parts;
}

static json_t *routing_json(const struct moe_model *m)
{
	const struct moe_spec *s = m->spec;
	json_t *o = json_object(), *pools = json_object(), *layers = json_array();

	for (size_t p = 0; p < s->router.pools.n; p++)
		json_object_set_new(pools, moe_modality_name((unsigned)p), integer((uint64_t)s->router.pools.size[p]));
	for (size_t l = 0; l < s->depth.layers.n; l++)
		json_array_append_new(layers, integer((uint64_t)s->depth.layers.v[l]));
	json_object_set_new(o, "chooses", json_string(s->router.chooses == MOE_CHOICE_EXPERT ? "expert" : "token"));
	json_object_set_new(o, "pools", pools);
	json_object_set_new(o, "depth_layers", layers);
	json_object_set_new(o, "choice", m->choosing == MOE_CHOOSING_NOBODY ? json_null() : json_string(m->choice));
	return o;
}

static enum moe_err print_json(FILE *f, const struct moe_model *m, const struct moe_sizes *z, const struct moe_flops *flops, const struct moe_plan *p, uint64_t tokens, struct moe_diag *d)
{
	const struct moe_spec *s = m->spec;
	json_t *made, *o = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "family", s->family, "layers", integer((uint64_t)s->n_layers),
			      "hidden", integer((uint64_t)s->hidden), "vocab", integer((uint64_t)s->vocab), "heads", integer((uint64_t)s->attention.heads),
			      "experts", integer((uint64_t)s->router.experts), "experts_per_token", integer((uint64_t)s->router.top_k),
			      "expert_width", integer((uint64_t)s->expert_width), "parameters", integer(z->parameters), "active_parameters", integer(z->active),
			      "head_parameters", integer(z->head), "flops_per_token", integer(z->flops_per_token),
			      "cache_bytes_per_token", integer(z->cache_nbytes_per_token));

	if (moe_spec_chooses_rows(s) || s->router.pools.n)
		json_object_set_new(o, "routing", routing_json(m));
	if (s->tower.kind != MOE_TOWER_NONE)
		json_object_set_new(o, "flops_per_patch", integer(z->flops_per_patch));
	if (moe_spec_encodes(s))
		json_object_set_new(o, "encoder", json_pack("{s:o, s:o, s:o, s:o}", "layers", integer((uint64_t)s->tower.vit.layers), "hidden",
							    integer((uint64_t)s->tower.vit.hidden), "heads", integer((uint64_t)s->tower.vit.heads), "width", integer((uint64_t)s->tower.vit.width)));
	json_object_set_new(o, "flops", flops_json(flops, moe_spec_largest_patches(s)));
	json_object_set_new(o, "parts", parts_json(z));
	if (m->weights) {
		json_object_set_new(o, "fingerprint", json_string(m->fingerprint));
		json_object_set_new(o, "bytes", integer(weight_nbytes(m)));
	}
	if (moe_provenance_read(&made, m->directory, d)) {
		json_decref(o);
		return d->code;
	}
	if (json_array_size(made))
		json_object_set(o, "made_by", made);
	json_decref(made);
	json_object_set_new(o, "memory", json_pack("{s:o, s:o, s:o, s:o, s:o}", "tokens", integer(tokens), "weights", integer(p->weights), "cache", integer(p->cache),
						   "scratch", integer(p->scratch), "total", integer(p->total)));
	return moe_print_json(f, o) ? MOE_OK : moe_fail_errno(d, "cannot write");
}

/* A value of a config.json, which strangers write, as JSON has it. */
static void print_value(FILE *f, const json_t *v)
{
	char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
	size_t n = text ? strlen(text) : 0;

	if (json_is_string(v) && n > 1)
		fprintf(f, "%.*s", (int)n - 2, text + 1);
	else
		fputs(text ? text : "?", f);
	free(text);
}

static void print_settings(FILE *f, json_t *operation)
{
	const char *key, *sep = " (";
	json_t *v;

	json_object_foreach(operation, key, v) {
		json_t *name;
		if (!strcmp(key, "operation") || !strcmp(key, "program") || !strcmp(key, "sources"))
			continue;
		name = json_string(key);
		fputs(sep, f);
		print_value(f, name);
		fputc(' ', f);
		print_value(f, v);
		json_decref(name);
		sep = ", ";
	}
	fputs(*sep == ',' ? ")\n" : "\n", f);
}

/* What was done to the model, one operation a line. */
static enum moe_err print_provenance(FILE *f, const struct moe_model *m, struct moe_diag *d)
{
	json_t *list, *operation, *source;
	size_t i, j;

	MOE_TRY(moe_provenance_read(&list, m->directory, d));
	json_array_foreach(list, i, operation) {
		fprintf(f, "%-16s ", i ? "" : "made by");
		print_value(f, json_object_get(operation, "operation"));
		json_array_foreach(json_object_get(operation, "sources"), j, source) {
			fputs(j ? ", " : " of ", f);
			print_value(f, source);
		}
		print_settings(f, operation);
	}
	json_decref(list);
	return MOE_OK;
}

/* Three digits and a unit. */
static const char *size_text(char text[16], uint64_t n)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double x = (double)n;
	int unit = 0;

	for (; x >= 999.5 && unit < 4; unit++)
		x /= 1000;
	snprintf(text, 16, unit && x < 99.95 ? x < 9.995 ? "%.2f %s" : "%.1f %s" : "%.0f %s", x, units[unit]);
	return text;
}

static void print_pictures(FILE *f, const struct moe_spec *s)
{
	for (size_t i = 0; i < s->image.sizes.n; i++) {
		int64_t side = s->image.sizes.v[i] / s->image.patch;
		fprintf(f, "pictures         in %lld x %lld pixels, patches of %lld x %lld: %zu features%s\n", (long long)s->image.sizes.v[i], (long long)s->image.sizes.v[i],
			(long long)s->image.patch, (long long)s->image.patch, moe_spec_features(s, (uint64_t)side, (uint64_t)side),
			s->image.sizes.v[i] == s->image.size ? "" : " (--max-image-size)");
	}
	for (size_t i = 0; i < s->image.grids.n; i++)
		fprintf(f, "pictures         %lld x %lld patches of %lld x %lld pixels\n", (long long)s->image.grids.v[i][0], (long long)s->image.grids.v[i][1],
			(long long)s->image.patch, (long long)s->image.patch);
}

/* Which way pictures go into the trunk. */
static void print_fusion(FILE *f, const struct moe_spec *s)
{
	const struct moe_vit_settings *v = &s->tower.vit;
	bool linear = s->tower.kind == MOE_TOWER_LINEAR || (s->tower.kind == MOE_TOWER_ENCODER && s->tower.patches == MOE_PATCHES_LINEAR);

	if (s->tower.kind == MOE_TOWER_NONE || s->tower.kind == MOE_TOWER_VIT)
		return;
	fprintf(f, "patches          %s", linear ? "by one matrix" : "by convolutions");
	if (moe_spec_encodes(s))
		fprintf(f, ", then an encoder: %lld layer%s, hidden %lld, %lld heads, width %lld; %s projector\n", (long long)v->layers, v->layers == 1 ? "" : "s",
			(long long)v->hidden, (long long)v->heads, (long long)v->width, s->projector.kind == MOE_PROJECTOR_LINEAR ? "a linear" : "a two-layer");
	else if (s->image_tokens.count)
		fprintf(f, ", then the nearest of %lld codes of %lld numbers, which are tokens\n", (long long)s->image_tokens.count, (long long)s->image_tokens.width);
	else
		fprintf(f, ", straight into the layers\n");
	fprintf(f, "patches see      %s\n", s->attention.mask == MOE_MASK_BIDIRECTIONAL_IMAGE ? "their whole picture" : "the patches before them");
}

static void print_experts(FILE *f, const struct moe_spec *s)
{
	size_t dense = 0;

	for (size_t l = 0; l < (size_t)s->n_layers; l++)
		dense += moe_spec_is_dense(s, l);
	if (dense == (size_t)s->n_layers) {
		fprintf(f, "experts          none: every layer has one unit of width %lld\n", (long long)s->dense.width);
		return;
	}
	fprintf(f, "experts          %lld of width %lld, ", (long long)s->router.experts, (long long)s->expert_width);
	if (s->router.chooses == MOE_CHOICE_EXPERT)
		fprintf(f, "%g per token on average", moe_router_capacity(&s->router));
	else
		fprintf(f, "%lld per token", (long long)s->router.top_k);
	if (s->shared.count)
		fprintf(f, ", beside shared ones of width %lld", (long long)(s->shared.count * s->shared.width));
	if (dense)
		fprintf(f, "; %zu layer%s without, of width %lld", dense, dense == 1 ? "" : "s", (long long)s->dense.width);
	fputc('\n', f);
}

/* How tokens are routed, where that is not the usual way. */
static void print_routing(FILE *f, const struct moe_model *m)
{
	const struct moe_spec *s = m->spec;

	for (size_t p = 0; p < s->router.pools.n; p++)
		fprintf(f, "%s%s %lld", p ? ", " : "pools            ", moe_modality_name((unsigned)p), (long long)s->router.pools.size[p]);
	if (s->router.pools.n)
		fputc('\n', f);
	for (size_t l = 0; l < s->depth.layers.n; l++)
		fprintf(f, "%s%lld", l ? ", " : "depth            of layers ", (long long)s->depth.layers.v[l]);
	if (s->depth.layers.n)
		fprintf(f, ": %g of the tokens take them\n", s->depth.capacity);
	if (moe_spec_chooses_rows(s))
		fprintf(f, "choice           %s among the tokens of a batch; %s\n", s->router.chooses == MOE_CHOICE_EXPERT ? "experts choose" : "layers choose",
			m->choosing == MOE_CHOOSING_NOBODY ? "no auxiliary routers foretell it" : m->choice);
}

static void print_flops(FILE *f, const struct moe_spec *s, const struct moe_flops *p)
{
	size_t patches = moe_spec_largest_patches(s);

	fprintf(f, "cost of a pass   %.4g MFLOP a token, %.4g in training", p->all / 1e6, moe_flops_training(p, false) / 1e6);
	if (p->aux > 0)
		fprintf(f, ", %.3g more of auxiliary routers", p->aux / 1e6);
	if (patches)
		fprintf(f, " (%zu patches and %d tokens of text)\n", patches, TEXT);
	else
		fprintf(f, " (%d tokens of text)\n", TEXT);
}

enum moe_err moe_info_print(FILE *f, const struct moe_model *m, uint64_t tokens, bool json, struct moe_diag *d)
{
	const struct moe_spec *s = m->spec;
	struct moe_plan p;
	struct moe_sizes z;
	struct moe_flops flops;
	char text[4][16];

	MOE_TRY(moe_spec_sizes(s, &z, d));
	MOE_TRY(moe_spec_flops(&flops, s, moe_spec_largest_patches(s), TEXT, d));
	MOE_TRY(moe_plan_make(&p, m, &(struct moe_plan_options){.tokens = tokens, .patches = m->spec->tower.kind != MOE_TOWER_NONE}, d));
	if (json)
		return print_json(f, m, &z, &flops, &p, tokens, d);
	fprintf(f, "model            %s%s\nfamily           %s\n", m->directory, m->weights ? "" : " (its configuration alone: there are no weights)", s->family);
	if (m->weights)
		fprintf(f, "fingerprint      %s\n", m->fingerprint);
	MOE_TRY(print_provenance(f, m, d));
	fprintf(f, "layers           %lld, hidden %lld, vocabulary %lld\n", (long long)s->n_layers, (long long)s->hidden, (long long)s->vocab);
	fprintf(f, "attention        %lld heads of %lld, %lld key heads\n", (long long)s->attention.heads, (long long)s->attention.head_dim,
		(long long)s->attention.kv_heads);
	print_experts(f, s);
	print_routing(f, m);
	print_pictures(f, s);
	print_fusion(f, s);
	fprintf(f, "parameters       %llu; a token passes %llu in the layers and %llu in the head\n", (unsigned long long)z.parameters, (unsigned long long)z.active,
		(unsigned long long)z.head);
	for (int i = 0; i < MOE_N_PARTS; i++)
		if (z.part[i])
			fprintf(f, "  %-14s %llu (%.1f %%)\n", part_names[i], (unsigned long long)z.part[i], 100 * (double)z.part[i] / (double)z.parameters);
	if (m->weights)
		fprintf(f, "weights          %llu bytes\n", (unsigned long long)weight_nbytes(m));
	fprintf(f, "cost per token   %.3g MFLOP in the layers, %llu bytes of cache\n", (double)z.flops_per_token / 1e6, (unsigned long long)z.cache_nbytes_per_token);
	if (z.flops_per_patch)
		fprintf(f, "cost per patch   %.3g MFLOP before the layers\n", (double)z.flops_per_patch / 1e6);
	print_flops(f, s, &flops);
	fprintf(f, "memory           %s for %llu tokens: weights %s, cache %s, working memory %s\n", size_text(text[0], p.total), (unsigned long long)tokens,
		size_text(text[1], p.weights), size_text(text[2], p.cache), size_text(text[3], p.scratch));
	return ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
