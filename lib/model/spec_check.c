#include "image/fit.h"
#include "model/spec_priv.h"

static enum moe_err check_ids(const struct moe_spec *s, const char *path, const struct moe_ints *ids, struct moe_diag *d)
{
	for (size_t i = 0; i < ids->n; i++)
		if (ids->v[i] >= s->vocab)
			return moe_fail(d, MOE_EINPUT, "%s (%lld) is outside the vocabulary (%lld)", path, (long long)ids->v[i], (long long)s->vocab);
	return MOE_OK;
}

/* The sizes of canvases bound all that the tower allocates. */
static enum moe_err check_canvas(int64_t height, int64_t width, const char *setting, struct moe_diag *d)
{
	if (height > MOE_FIT_MAX_SIDE || width > MOE_FIT_MAX_SIDE || height * width > MOE_FIT_MAX_PIXELS)
		return moe_fail(d, MOE_EINPUT, "%s: a canvas of %lld x %lld pixels, expected at most %d a side and %d in all", setting, (long long)height,
				(long long)width, MOE_FIT_MAX_SIDE, MOE_FIT_MAX_PIXELS);
	return MOE_OK;
}

static enum moe_err check_grids(const struct moe_spec *s, struct moe_diag *d)
{
	if (s->image.kind == MOE_IMAGE_FIT && !s->image.grids.n && s->image.patch)
		return moe_fail(d, MOE_EINPUT, "image.grids: expected at least one pair [rows, columns]");
	for (size_t i = 0; i < s->image.grids.n; i++)
		MOE_TRY(check_canvas(s->image.grids.v[i][0] * s->image.patch, s->image.grids.v[i][1] * s->image.patch, "image.grids", d));
	return MOE_OK;
}

/* Every size of a canvas is made of whole patches and has its queries; the one that is used unless asked otherwise is among them. */
static enum moe_err check_sizes(const struct moe_spec *s, struct moe_diag *d)
{
	bool known = s->image.kind != MOE_IMAGE_CANVAS;

	for (size_t i = 0; i < s->image.sizes.n; i++) {
		int64_t size = s->image.sizes.v[i], side = size / s->image.patch;
		MOE_TRY(check_canvas(size, size, "image.sizes", d));
		if (size % s->image.patch || s->image.min_side > size)
			return moe_fail(d, MOE_EINPUT, "image.sizes: %lld is not a multiple of image.patch (%lld) of at least image.min_side (%lld)", (long long)size,
					(long long)s->image.patch, (long long)s->image.min_side);
		if (s->projector.kind == MOE_PROJECTOR_QUERY_ATTENTION && !moe_spec_queries(s, (uint64_t)(side * side)))
			return moe_fail(d, MOE_EINPUT, "projector.queries has none for the %lld patches of image.sizes %lld", (long long)(side * side), (long long)size);
		known |= size == s->image.size;
	}
	return known ? MOE_OK : moe_fail(d, MOE_EINPUT, "image.size (%lld) is not among image.sizes", (long long)s->image.size);
}

/* Layers of an encoder need a projector behind them; without any, the trunk reads the patches. */
static enum moe_err check_encoder(const struct moe_spec *s, struct moe_diag *d)
{
	bool projects = s->projector.kind == MOE_PROJECTOR_LINEAR || s->projector.kind == MOE_PROJECTOR_MLP;

	if (s->tower.kind != MOE_TOWER_ENCODER || s->image.kind != MOE_IMAGE_FIT)
		return moe_fail(d, MOE_EINPUT, "tower.kind encoder, projector.kind linear or mlp, and image.kind fit go together");
	if (!s->tower.vit.layers && (s->projector.kind != MOE_PROJECTOR_NONE || s->tower.vit.hidden != s->hidden))
		return moe_fail(d, MOE_EINPUT, "tower.layers 0 goes with projector.kind none and tower.hidden (%lld) equal to hidden (%lld): that is early fusion",
				(long long)s->tower.vit.hidden, (long long)s->hidden);
	if (s->tower.vit.layers && !projects)
		return moe_fail(d, MOE_EINPUT, "tower.kind encoder with layers goes with projector.kind linear or mlp");
	return MOE_OK;
}

/* Widths of tower and projector. */
static enum moe_err check_vit(const struct moe_spec *s, struct moe_diag *d)
{
	const struct moe_vit_settings *v = &s->tower.vit;

	if ((s->tower.kind == MOE_TOWER_VIT || s->tower.kind == MOE_TOWER_ENCODER) && (v->hidden % v->heads || v->hidden / v->heads > 512))
		return moe_fail(d, MOE_EINPUT, "tower.heads (%lld) must divide tower.hidden (%lld) into at most 512 each", (long long)v->heads, (long long)v->hidden);
	if (s->tower.kind == MOE_TOWER_VIT && !v->layers)
		return moe_fail(d, MOE_EINPUT, "tower.layers is 0, which only a tower of kind encoder may have");
	if (s->projector.kind == MOE_PROJECTOR_LINEAR || s->projector.kind == MOE_PROJECTOR_MLP || s->tower.kind == MOE_TOWER_ENCODER)
		return check_encoder(s, d);
	if (s->projector.kind == MOE_PROJECTOR_NONE)
		return s->tower.kind != MOE_TOWER_VIT ? MOE_OK : moe_fail(d, MOE_EINPUT, "tower.kind vit goes with projector.kind query_attention");
	if (s->tower.kind != MOE_TOWER_VIT || s->image.kind != MOE_IMAGE_CANVAS)
		return moe_fail(d, MOE_EINPUT, "projector.kind query_attention goes with tower.kind vit and image.kind canvas");
	if (v->hidden % s->projector.query.heads || v->hidden / s->projector.query.heads > 512)
		return moe_fail(d, MOE_EINPUT, "projector.heads (%lld) must divide tower.hidden (%lld) into at most 512 each", (long long)s->projector.query.heads,
				(long long)v->hidden);
	return MOE_OK;
}

/* The convolutions fit to each other, to the patches and to what reads them. */
static enum moe_err check_tower(const struct moe_spec *s, struct moe_diag *d)
{
	int64_t out = s->image.channels, side = 1, width = s->image_tokens.count ? s->image_tokens.width : moe_spec_tower_width(s);

	if (!s->tower.n_conv)
		return MOE_OK;
	for (size_t i = 0; i < s->tower.n_conv; i++) {
		const struct moe_conv *c = &s->tower.conv[i];
		if (c->in != out)
			return moe_fail(d, MOE_EINPUT, "tower.conv: %s takes %lld channels, %lld come in", c->name, (long long)c->in, (long long)out);
		out = c->out;
		side *= c->stride;
	}
	if (out != width || side != s->image.patch)
		return moe_fail(d, MOE_EINPUT, "tower.conv: %lld channels at a stride of %lld come out, expected %s %lld and patch %lld", (long long)out, (long long)side,
				s->image_tokens.count ? "image_tokens.width" : s->tower.kind == MOE_TOWER_ENCODER ? "tower.hidden" : "hidden", (long long)width,
				(long long)s->image.patch);
	return MOE_OK;
}

/* The decoder keeps the grid, and gives each position the pixels of a patch. */
static enum moe_err check_decoder(const struct moe_spec *s, struct moe_diag *d)
{
	int64_t out = s->image_tokens.width, pixels = s->image.channels * s->image.patch * s->image.patch;

	for (size_t i = 0; i < s->image_tokens.n_decoder; i++) {
		const struct moe_conv *c = &s->image_tokens.decoder[i];
		if (c->in != out)
			return moe_fail(d, MOE_EINPUT, "image_tokens.decoder: %s takes %lld channels, %lld come in", c->name, (long long)c->in, (long long)out);
		if (c->stride != 1 || c->kernel != 2 * c->padding + 1)
			return moe_fail(d, MOE_EINPUT, "image_tokens.decoder: %s changes the number of rows: expected stride 1 and a kernel of twice the padding and 1", c->name);
		out = c->out;
	}
	return out == pixels ? MOE_OK : moe_fail(d, MOE_EINPUT, "image_tokens.decoder: %lld channels come out, expected the %lld numbers of a patch", (long long)out,
						 (long long)pixels);
}

static enum moe_err check_image_tokens(const struct moe_spec *s, struct moe_diag *d)
{
	int64_t end = s->image_tokens.first + s->image_tokens.count;
	const int64_t marks[] = {s->image_tokens.begin, s->image_tokens.end};

	if (!s->image_tokens.count)
		return MOE_OK;
	if (s->tower.kind != MOE_TOWER_CONV_STEM || s->image.grids.n != 1)
		return moe_fail(d, MOE_EINPUT, "image_tokens go with tower.kind conv_stem and a single grid in image.grids");
	if (end > s->vocab)
		return moe_fail(d, MOE_EINPUT, "image_tokens: codes are tokens %lld to %lld, but the vocabulary has %lld", (long long)s->image_tokens.first,
				(long long)end - 1, (long long)s->vocab);
	for (size_t i = 0; i < 2; i++)
		if (marks[i] >= s->vocab || moe_spec_code(s, marks[i]) >= 0)
			return moe_fail(d, MOE_EINPUT, "image_tokens.%s (%lld) is a code, or outside the vocabulary (%lld)", i ? "end" : "begin", (long long)marks[i],
					(long long)s->vocab);
	return check_decoder(s, d);
}

static enum moe_err check_choice(const struct moe_router_settings *r, struct moe_diag *d)
{
	int64_t largest = 0;

	for (size_t m = 0; m < r->pools.n; m++)
		largest = r->pools.size[m] > largest ? r->pools.size[m] : largest;
	if (r->pools.n && r->top_k > largest)
		return moe_fail(d, MOE_EINPUT, "router.top_k (%lld) is larger than the largest of router.pools (%lld experts)", (long long)r->top_k, (long long)largest);
	if (r->choice_biases > 1 && !r->choice_bias)
		return moe_fail(d, MOE_EINPUT, "router.choice_biases goes with router.choice_bias");
	if (r->pools.n && r->groups > 1)
		return moe_fail(d, MOE_EINPUT, "router.pools and router.groups exclude each other");
	if (r->chooses == MOE_CHOICE_EXPERT && (r->score == MOE_SCORE_LOGIT || r->weight != MOE_WEIGHT_SCORE || r->renormalise || r->choice_bias || r->groups > 1))
		return moe_fail(d, MOE_EINPUT, "router.chooses expert goes with a softmax or sigmoid score that is the weight: no renormalise, choice_bias or groups");
	return MOE_OK;
}

static enum moe_err check_depth(const struct moe_spec *s, struct moe_diag *d)
{
	for (size_t i = 0; i < s->depth.layers.n; i++)
		if (s->depth.layers.v[i] >= s->n_layers)
			return moe_fail(d, MOE_EINPUT, "depth.layers (%lld): the model has %lld layers", (long long)s->depth.layers.v[i], (long long)s->n_layers);
	if (s->depth.layers.n && s->depth.capacity <= 0)
		return moe_fail(d, MOE_EINPUT, "depth.capacity is 0: no row would pass such a layer");
	if (s->aux.threshold == MOE_AUX_STORED && !s->aux.routers)
		return moe_fail(d, MOE_EINPUT, "aux.threshold stored goes with aux.routers");
	if (s->aux.routers && !moe_spec_chooses_rows(s))
		return moe_fail(d, MOE_EINPUT, "aux.routers go with router.chooses expert or with depth.layers: nothing else is chosen over a group");
	return MOE_OK;
}

enum moe_err moe_spec_check(const struct moe_spec *s, struct moe_diag *d)
{
	MOE_TRY(check_choice(&s->router, d));
	MOE_TRY(check_depth(s, d));
	if (s->attention.heads % s->attention.kv_heads)
		return moe_fail(d, MOE_EINPUT, "attention.heads (%lld) is not a multiple of attention.kv_heads (%lld)", (long long)s->attention.heads,
				(long long)s->attention.kv_heads);
	if (s->attention.rope.dim > s->attention.head_dim || s->attention.rope.dim % (2 * s->attention.rope.axes))
		return moe_fail(d, MOE_EINPUT, "attention.rope.dim (%lld) is more than attention.head_dim (%lld), or does not divide into pairs", (long long)s->attention.rope.dim,
				(long long)s->attention.head_dim);
	if (!s->attention.rope.dim && s->attention.head_dim % (2 * s->attention.rope.axes))
		return moe_fail(d, MOE_EINPUT, "attention.head_dim (%lld) does not divide into pairs for %lld rope axes", (long long)s->attention.head_dim,
				(long long)s->attention.rope.axes);
	if (s->router.experts % s->router.groups || s->router.top_groups > s->router.groups)
		return moe_fail(d, MOE_EINPUT, "router.groups (%lld) must divide router.experts (%lld), and router.top_groups (%lld) not be more", (long long)s->router.groups,
				(long long)s->router.experts, (long long)s->router.top_groups);
	if (s->router.top_k > s->router.experts / s->router.groups * s->router.top_groups && s->router.groups > 1)
		return moe_fail(d, MOE_EINPUT, "router.top_k (%lld) is larger than the experts of router.top_groups groups", (long long)s->router.top_k);
	if (s->router.top_k > s->router.experts)
		return moe_fail(d, MOE_EINPUT, "router.top_k (%lld) is larger than router.experts (%lld)", (long long)s->router.top_k, (long long)s->router.experts);
	if (!s->dense.width && (s->dense.layers.n || s->dense.first || s->dense.step > 1))
		return moe_fail(d, MOE_EINPUT, "dense: layers without experts need a width (dense.width)");
	MOE_TRY(check_ids(s, "text.bos", &s->text.bos, d));
	MOE_TRY(check_ids(s, "text.eos", &s->text.eos, d));
	MOE_TRY(check_ids(s, "text.suppress", &s->text.suppress, d));
	if (s->merge.placeholder >= s->vocab)
		return moe_fail(d, MOE_EINPUT, "merge.placeholder (%lld) is outside the vocabulary (%lld)", (long long)s->merge.placeholder, (long long)s->vocab);
	if ((s->merge.position == MOE_POSITION_AXIAL) != (s->attention.rope.axes == 2))
		return moe_fail(d, MOE_EINPUT, "merge.position axial goes with attention.rope.axes 2");
	if ((s->tower.kind != MOE_TOWER_NONE) != (s->merge.placeholder >= 0))
		return moe_fail(d, MOE_EINPUT, "a tower and merge.placeholder go together");
	if (s->merge.position == MOE_POSITION_AXIAL && s->image.kind != MOE_IMAGE_FIT)
		return moe_fail(d, MOE_EINPUT, "merge.position axial goes with image.kind fit");
	MOE_TRY(check_grids(s, d));
	MOE_TRY(check_sizes(s, d));
	MOE_TRY(check_vit(s, d));
	MOE_TRY(check_tower(s, d));
	return check_image_tokens(s, d);
}
