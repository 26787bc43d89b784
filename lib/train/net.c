#include "train/net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "train/net_priv.h"

enum { CHUNK = 8, LANES = 4, PICTURES = 128, TEXT = 512 };

static enum moe_err refuse(struct moe_diag *d, const char *family, const char *what)
{
	return moe_fail(d, MOE_EUSAGE, "the family %s cannot be trained: %s has no backward pass", family, what);
}

/* Is there one expert a token, chosen among several, whose weight is 1? */
static bool router_is_mute(const struct moe_router_settings *s)
{
	bool several = !s->pools.n && s->experts > 1;

	for (size_t m = 0; m < s->pools.n; m++)
		several |= s->pools.size[m] > 1;
	return several && s->top_k == 1 && (s->renormalise || s->weight == MOE_WEIGHT_SOFTMAX_OF_CHOSEN);
}

/* Queries, keys and values lie together, as do gate and up, each a multiple of 16 numbers (params.h). */
static enum moe_err check_encoder(const struct moe_spec *s, struct moe_diag *d)
{
	int64_t hidden = s->tower.vit.hidden;

	if (!moe_spec_encodes(s))
		return MOE_OK;
	if (hidden % 4 || hidden / s->tower.vit.heads % 2 || s->tower.vit.width % 2 || hidden * s->tower.vit.width % 16 || s->projector.query.width % 2)
		return moe_fail(d, MOE_EUSAGE, "an encoder of pictures is trained where its hidden size is a multiple of 4, heads, width and projector are even, and hidden "
				"size times width is a multiple of 16");
	return MOE_OK;
}

enum moe_err moe_net_check(const struct moe_spec *s, struct moe_diag *d)
{
	const struct moe_attention_settings *a = &s->attention;
	struct { bool is; const char *what; } missing[] = {
		{s->norm_kind != MOE_NORM_RMS, "LayerNorm"}, {s->tied, "a head that is the embedding"}, {s->shared.count > 0, "a shared expert"},
		{a->qk_norm != MOE_QK_NORM_NONE, "a norm of queries and keys"}, {a->qkv_bias || a->o_bias, "a bias in attention"},
		{a->clip > 0, "clipping of queries, keys and values"}, {a->window > 0, "a sliding window"}, {s->router.bias, "a bias of the router"},
		{s->router.score == MOE_SCORE_LOGIT, "a router whose scores are its logits"},
		{s->router.score == MOE_SCORE_SIGMOID && s->router.weight != MOE_WEIGHT_SCORE, "a router that weighs by another score than it chooses by"},
		{s->tower.kind == MOE_TOWER_VIT, "a vision transformer"}, {s->projector.kind == MOE_PROJECTOR_QUERY_ATTENTION, "a projector of queries"},
		{s->tower.kind != MOE_TOWER_NONE && !s->image_tokens.count && !s->merge.image_first, "a picture that does not come first"},
	};

	for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
		if (missing[i].is)
			return refuse(d, s->family, missing[i].what);
	if (s->hidden % 2 || a->head_dim % 2 || s->expert_width % 2 || s->dense.width % 2 || (s->hidden * s->expert_width) % 16 ||
	    (s->hidden * s->dense.width) % 16 || (s->hidden * a->head_dim) % 16)
		return moe_fail(d, MOE_EUSAGE, "hidden, head and expert sizes must be even, and hidden times either of the others a multiple of 16, to be trained");
	if (router_is_mute(&s->router))
		return moe_fail(d, MOE_EUSAGE, "the model cannot be trained: with one expert a token and renormalised weights every weight is 1, so that the router gets no gradient "
				"(norm_topk_prob false: its weight is its probability)");
	for (size_t i = 0; i < s->tower.n_conv; i++)
		if (s->tower.conv[i].out % 2)
			return moe_fail(d, MOE_EUSAGE, "a convolution with %lld outputs cannot be trained: they must be even", (long long)s->tower.conv[i].out);
	return check_encoder(s, d);
}

enum moe_err moe_net_check_losses(const struct moe_spec *spec, const struct moe_loss_settings *loss, struct moe_diag *d)
{
	const struct moe_router_settings *s = &spec->router;
	int64_t groups = loss->balance_groups;
	bool even = !groups || s->pools.n || s->experts % groups == 0;

	for (size_t m = 0; groups && m < s->pools.n; m++)
		even &= s->pools.size[m] % groups == 0;
	if (!even)
		return moe_fail(d, MOE_EUSAGE, "losses.balance_groups: the experts of %s are no multiple of %lld", s->pools.n ? "a pool" : "a layer", (long long)groups);
	if ((loss->aux > 0 || loss->choice != MOE_NET_BATCH) && !spec->aux.routers)
		return moe_fail(d, MOE_EUSAGE, "the model has no auxiliary routers (moe-train --aux gives it some)");
	if (loss->flips > 0 && !moe_spec_chooses_rows(spec))
		return moe_fail(d, MOE_EUSAGE, "dev.flips: nothing in this model is chosen over groups");
	if (loss->noise > 0 && s->score != MOE_SCORE_SIGMOID)
		return moe_fail(d, MOE_EUSAGE, "router_noise is for a router whose scores are by sigmoid; this model's are not");
	return MOE_OK;
}

/* Groups of teacher and pupil must not cut each other's. */
static enum moe_err check_groups(const struct moe_net *n, struct moe_diag *d)
{
	const struct moe_spec *own = n->spec, *its = n->o.teacher ? n->o.teacher->net->spec : NULL;

	if (!its || !moe_spec_chooses_rows(own) || !moe_spec_chooses_rows(its) || own->router.batch == its->router.batch)
		return MOE_OK;
	return moe_fail(d, MOE_EUSAGE, "the teacher chooses among %lld sequences, the model among %lld: they must be as many (route_batch)", (long long)its->router.batch,
			(long long)own->router.batch);
}

const struct moe_params *moe_net_params(const struct moe_net *n) { return &n->params; }
float *moe_net_weights(struct moe_net *n) { return n->weight; }
float *moe_net_gradient(struct moe_net *n) { return n->gradient; }
void moe_net_replay(struct moe_net *n, enum moe_net_replay how) { n->replay = how; }

/* Offset of a tensor; the table has it, because the model was bound. */
static size_t offset_of(const struct moe_net *n, const char *logical, size_t nth)
{
	for (size_t i = 0; i < n->params.n; i++)
		if (!strcmp(n->params.p[i].logical, logical) && !nth--)
			return n->params.p[i].offset;
	return 0;
}

static size_t offset_in(const struct moe_net *n, const char *logical, int64_t layer, int64_t expert)
{
	const struct moe_param *p = moe_params_find(&n->params, logical, layer, expert);

	return p ? p->offset : 0;
}

static void plan_unit(const struct moe_net *n, size_t l, struct net_layer *w)
{
	w->dense = moe_spec_is_dense(n->spec, l);
	w->experts = w->dense ? 1 : net_experts(n);
	w->k = w->dense ? 1 : net_k(n);
	w->width = (size_t)(w->dense ? n->spec->dense.width : n->spec->expert_width);
}

size_t moe_net_offset(const struct moe_net *n, const char *logical, int64_t layer, size_t nth)
{
	for (size_t i = 0; i < n->params.n; i++) {
		const struct moe_param *p = &n->params.p[i];
		if (p->layer == layer && !strcmp(p->logical, logical) && !nth--)
			return p->offset;
	}
	return 0;
}

static bool plan_layer(struct moe_net *n, size_t l)
{
	struct net_layer *w = &n->layer[l];
	size_t hidden = net_hidden(n), out = n->heads.heads * n->heads.dim;
	enum moe_unit unit = n->o.unit;
	struct moe_arena *a = &n->memory;
	int64_t at = (int64_t)l;

	plan_unit(n, l, w);
	w->attn_norm = offset_in(n, "attn_norm", at, -1);
	w->ffn_norm = offset_in(n, "ffn_norm", at, -1);
	w->qkv = offset_in(n, "q", at, -1);
	w->o = offset_in(n, "o", at, -1);
	w->router = offset_in(n, "router", at, -1);
	w->choice_bias = offset_in(n, "choice_bias", at, -1);
	w->depth = offset_in(n, "depth", at, -1);
	w->gate_up = moe_arena_get(a, w->experts, sizeof *w->gate_up);
	w->down = moe_arena_get(a, w->experts, sizeof *w->down);
	w->expert = moe_arena_zero(a, w->experts, sizeof *w->expert);
	if (!w->gate_up || !w->down || !w->expert)
		return false;
	for (size_t e = 0; e < w->experts; e++) {
		w->gate_up[e] = offset_in(n, w->dense ? "dense_gate" : "gate", at, w->dense ? -1 : (int64_t)e);
		w->down[e] = offset_in(n, w->dense ? "dense_down" : "down", at, w->dense ? -1 : (int64_t)e);
		if (!moe_dense_plan(&w->expert[e].gate_up, unit, n->weight + w->gate_up[e], 2 * w->width, hidden, a) ||
		    !moe_dense_plan(&w->expert[e].down, unit, n->weight + w->down[e], hidden, w->width, a))
			return false;
	}
	return moe_net_aux_plan(n, l) && moe_dense_plan(&w->qkv_dense, unit, n->weight + w->qkv, moe_heads_width(&n->heads), hidden, a) &&
	       moe_dense_plan(&w->o_dense, unit, n->weight + w->o, hidden, out, a) &&
	       (w->dense || moe_dense_plan(&w->router_dense, MOE_UNIT_F32, n->weight + w->router, w->experts, hidden, a));
}

/* Rotations of all positions that there may be: rows and columns of a picture, and those of text. */
static bool plan_positions(struct moe_net *n)
{
	const struct moe_spec *s = n->spec;
	struct moe_spec_sides sides = moe_spec_largest_sides(s);
	size_t offset = s->merge.position == MOE_POSITION_AXIAL ? (size_t)s->merge.text_offset : 0;
	size_t most = moe_max(moe_max((size_t)sides.rows, (size_t)sides.columns), offset + n->o.most_text), axes = (size_t)s->attention.rope.axes;
	int32_t *position = moe_arena_get(&n->memory, most * axes, sizeof *position);
	float *frequency = moe_arena_get(&n->memory, n->pairs, sizeof *frequency);

	n->positions = most;
	n->cosine = moe_arena_get(&n->memory, most * n->pairs, sizeof *n->cosine);
	n->sine = moe_arena_get(&n->memory, most * n->pairs, sizeof *n->sine);
	if (!position || !frequency || !n->cosine || !n->sine)
		return false;
	for (size_t i = 0; i < most * axes; i++)
		position[i] = (int32_t)(i % most);
	moe_rope_table(n->cosine, n->sine, position, most, n->pairs, &s->attention.rope, frequency);
	return true;
}

/* Sums of all layers; their loads lie together, from sums[0].load on. */
static struct moe_router_sums *plan_sums(struct moe_net *n)
{
	size_t layers = (size_t)n->spec->n_layers, experts = net_experts(n);
	struct moe_router_sums *sums = moe_arena_zero(&n->memory, layers, sizeof *sums);
	uint64_t *load = moe_arena_zero(&n->memory, layers * MOE_N_MODALITIES * experts, sizeof *load);
	double *q = moe_arena_zero(&n->memory, layers * experts, sizeof *q);

	for (size_t l = 0; sums && load && q && l < layers; l++) {
		sums[l].load = load + l * MOE_N_MODALITIES * experts;
		sums[l].q = q + l * experts;
	}
	return load && q ? sums : NULL;
}

/* Numbers of the largest matrix, with its rows padded. */
static size_t largest(const struct moe_net *n)
{
	size_t hidden = net_hidden(n) + 1, out = n->heads.heads * n->heads.dim, most = (size_t)n->spec->vocab * hidden;
	size_t width = (size_t)moe_max(n->spec->expert_width, n->spec->dense.width);

	most = moe_max(most, moe_max(moe_heads_width(&n->heads), 2 * width) * hidden);
	most = moe_max(most, hidden * (moe_max(width, out) + 1));
	most = moe_max(most, n->o.teacher ? net_hidden(n->o.teacher->net) * hidden : 0);
	return moe_max(most, moe_net_pictures_largest(n));
}

static bool plan_lanes(struct moe_net *n)
{
	n->lane = moe_arena_zero(&n->memory, n->o.lanes, sizeof *n->lane);
	for (size_t i = 0; n->lane && i < n->o.lanes; i++) {
		struct lane *l = &n->lane[i];
		l->gradient = i && !n->o.forward_only ? moe_arena_zero(&n->memory, n->params.total, sizeof(float)) : n->gradient;
		l->pack = moe_arena_get(&n->memory, largest(n), sizeof(float));
		l->sums = plan_sums(n);
		l->aux = moe_net_aux_sums(n);
		if (!l->aux || (!l->gradient && !n->o.forward_only) || !l->pack || !l->sums)
			return false;
	}
	return n->lane;
}

static bool plan(struct moe_net *n)
{
	const struct moe_spec *s = n->spec;
	size_t layers = (size_t)s->n_layers;

	n->heads = (struct moe_heads){n->o.unit, (size_t)s->attention.heads, (size_t)s->attention.kv_heads, (size_t)s->attention.head_dim,
				      s->attention.mask == MOE_MASK_CAUSAL};
	n->pairs = (size_t)(s->attention.rope.dim ? s->attention.rope.dim : s->attention.head_dim) / 2;
	n->embed = offset_of(n, "embed", 0);
	n->final_norm = offset_of(n, "final_norm", 0);
	n->head = offset_of(n, "lm_head", 0);
	n->layer = moe_arena_zero(&n->memory, layers, sizeof *n->layer);
	n->pull = moe_arena_zero(&n->memory, layers, sizeof *n->pull);
	n->pull_q = moe_arena_zero(&n->memory, layers * net_experts(n), sizeof *n->pull_q);
	n->share = moe_arena_zero(&n->memory, net_experts(n), sizeof *n->share);
	n->sums = plan_sums(n);
	if (!n->layer || !n->pull || !n->pull_q || !n->share || !n->sums)
		return false;
	for (size_t l = 0; l < layers; l++)
		if (!plan_layer(n, l))
			return false;
	return moe_dense_plan(&n->head_dense, n->o.unit, n->weight + n->head, (size_t)s->vocab, net_hidden(n), &n->memory) &&
	       moe_net_pictures_plan(n) && plan_positions(n) && moe_net_match_plan(n) && plan_lanes(n);
}

struct moe_net_options moe_net_defaults(const struct moe_net_options *o)
{
	struct moe_net_options n = *o;

	n.chunk = o->chunk ? o->chunk : CHUNK;
	n.lanes = o->lanes ? o->lanes : LANES;
	n.most_pictures = o->most_pictures ? o->most_pictures : PICTURES;
	if (o->forward_only)
		n.most_pictures = n.chunk * n.lanes;
	n.most_text = o->most_text ? o->most_text : TEXT;
	return n;
}

enum moe_err moe_net_new(struct moe_net **out, struct moe_model *m, const struct moe_net_options *o, struct moe_diag *d)
{
	struct moe_net *n = calloc(1, sizeof *n);
	struct moe_param_extra extra[MOE_NET_MATCHES];
	enum moe_err err;

	*out = n;
	if (!n)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	n->model = m;
	n->spec = m->spec;
	n->o = moe_net_defaults(o);
	n->n_kept = (n->o.most_pictures + n->o.chunk - 1) / n->o.chunk;
	n->kept = moe_calloc(n->n_kept, sizeof *n->kept);
	err = n->kept ? moe_net_check(m->spec, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!err)
		err = check_groups(n, d);
	if (!err)
		err = moe_params_make(&n->params, &n->weight, m, extra, moe_net_projections(extra, m->spec, o->teacher), d);
	if (!err) {
		n->gradient = o->forward_only ? NULL : moe_calloc(n->params.total, sizeof *n->gradient);
		if ((!n->gradient && !o->forward_only) || !plan(n))
			err = moe_fail(d, MOE_ENOMEM, "out of memory for a network of %zu weights", n->params.total);
	}
	if (!err) {
		moe_net_changed(n);
		return MOE_OK;
	}
	moe_net_free(n);
	*out = NULL;
	return err;
}

void moe_net_free(struct moe_net *n)
{
	if (!n)
		return;
	if (n->lane)
		moe_net_aux_forget(n);
	for (size_t i = 0; n->kept && i < n->n_kept; i++)
		moe_arena_free(&n->kept[i]);
	free(n->kept);
	for (size_t i = 0; n->lane && i < n->o.lanes; i++)
		moe_arena_free(&n->lane[i].scratch);
	free(n->chunk);
	moe_arena_free(&n->memory);
	moe_params_free(&n->params);
	free(n->choice);
	free(n->taken);
	free(n->weight);
	free(n->gradient);
	free(n);
}

/* The parts whose forms are made independently: of each layer its attention and each of its experts, and what is outside the layers. */
static void pack_part(struct moe_net *n, size_t part, void *scratch)
{
	size_t per = net_experts(n) + 1, layer = part / per, which = part % per;

	if (layer == (size_t)n->spec->n_layers) {
		moe_dense_pack(&n->head_dense, scratch);
		moe_net_match_pack(n, scratch);
		moe_net_pictures_pack(n, scratch);
	} else if (which == 0) {
		moe_dense_pack(&n->layer[layer].qkv_dense, scratch);
		moe_dense_pack(&n->layer[layer].o_dense, scratch);
		if (!n->layer[layer].dense)
			moe_dense_pack(&n->layer[layer].router_dense, scratch);
		moe_net_aux_pack(&n->layer[layer], scratch);
	} else if (which <= n->layer[layer].experts) {
		moe_dense_pack(&n->layer[layer].expert[which - 1].gate_up, scratch);
		moe_dense_pack(&n->layer[layer].expert[which - 1].down, scratch);
	}
}

static void pack_lane(void *arg, size_t lane)
{
	struct moe_net *n = arg;
	size_t parts = (size_t)n->spec->n_layers * (net_experts(n) + 1) + 1;

	for (size_t i = lane; i < parts; i += n->o.lanes)
		pack_part(n, i, n->lane[lane].pack);
}

void moe_net_changed(struct moe_net *n) { moe_pool_run(n->o.pool, 8.0 * (double)n->params.total, n->o.lanes, pack_lane, n); }

static void clear_sums(const struct moe_net *n, struct moe_router_sums *sums)
{
	for (size_t l = 0; l < (size_t)n->spec->n_layers; l++) {
		memset(sums[l].load, 0, MOE_N_MODALITIES * net_experts(n) * sizeof *sums[l].load);
		memset(sums[l].q, 0, net_experts(n) * sizeof *sums[l].q);
		memset(sums[l].rows, 0, sizeof sums[l].rows);
		sums[l].z = 0;
		sums[l].unserved = 0;
	}
}

/* The chunks of a lane in the part at hand, in order. */
static void forward_lane(void *arg, size_t i)
{
	struct moe_net *n = arg;
	struct lane *l = &n->lane[i];
	enum moe_err err = MOE_OK;

	moe_arena_reset(&l->scratch);
	if (!n->first) {
		clear_sums(n, l->sums);
		moe_net_aux_clear(n, l);
		l->text = l->image = l->patch = l->soft = l->match = 0;
		if (n->backward || n->gradient_of_aux)
			memset(l->gradient, 0, n->params.total * sizeof *l->gradient);
	}
	for (size_t c = n->first; c < n->end && !err; c++)
		if (c % n->o.lanes == i)
			err = moe_net_chunk_forward(n, &n->chunk[c], l);
}

static void backward_lane(void *arg, size_t i)
{
	struct moe_net *n = arg;
	enum moe_err err = MOE_OK;

	for (size_t c = n->first; c < n->end && !err; c++)
		if (c % n->o.lanes == i)
			err = moe_net_chunk_backward(n, &n->chunk[c], &n->lane[i]);
}

/* Adds a run of the other lanes' gradients to the first's. */
enum { RUN = 65536 };
static void add_run(void *arg, size_t run)
{
	struct moe_net *n = arg;
	size_t at = run * RUN, count = moe_min(RUN, n->params.total - at);

	for (size_t i = 1; i < n->o.lanes; i++)
		moe_add(n->gradient + at, n->lane[i].gradient + at, count);
}

/* Sequences of the next chunk of `left`: whole groups where rows are chosen among each other, here or in the teacher. */
static size_t chunk_size(const struct moe_net *n, const struct moe_packed *batch, size_t left)
{
	const struct moe_spec *s = !moe_spec_chooses_rows(n->spec) && n->o.teacher ? n->o.teacher->net->spec : n->spec;
	size_t size = 0;

	if (!moe_spec_chooses_rows(s))
		return moe_min(n->o.chunk, left);
	while (size < left && size < n->o.chunk)
		size += moe_packed_together(batch + size, left - size, (size_t)s->router.batch);
	return size;
}

static void count_sequence(const struct moe_net *n, const struct moe_packed *p, struct moe_step_result *out)
{
	size_t patches = (size_t)p->rows * p->columns;

	out->rows += patches + p->n_text;
	for (size_t t = 0; t < p->n_text; t++)
		if (p->target[t] >= 0) {
			bool image = moe_net_is_image(n, p->target[t]);
			*(image ? &out->image_targets : &out->text_targets) += 1;
			*(image ? &out->image_weight : &out->text_weight) += p->weight ? (double)p->weight[t] : 1;
		}
	if (p->code) {          /* all but the first are predicted */
		out->image_targets += patches - 1;
		out->image_weight += (double)(patches - 1);
	}
	for (size_t r = 0; p->label && r < patches; r++)
		out->patch_targets += p->label[r] >= 0;
}

/* Cuts the batch into chunks, and counts what means are taken over. Chunks of different parts share their memory. */
static enum moe_err cut(struct moe_net *n, const struct moe_packed *batch, size_t count, struct moe_step_result *out, struct moe_diag *d)
{
	size_t chunks = (count + n->o.chunk - 1) / n->o.chunk;

	MOE_TRY(moe_grow(&n->chunk, &n->chunk_cap, chunks, sizeof *n->chunk, d));
	n->n_chunks = 0;
	for (size_t at = 0; at < count; n->n_chunks++) {
		size_t size = chunk_size(n, batch + at, count - at);
		n->chunk[n->n_chunks] = (struct chunk){
			.memory = &n->kept[n->n_chunks % n->n_kept], .first = at, .packed = batch + at, .n = size, .first_row = out->rows,
		};
		for (; size; size--)
			count_sequence(n, &batch[at++], out);
	}
	n->text_weight = out->text_weight;
	n->image_weight = out->image_weight;
	n->patch_weight = (double)out->patch_targets;
	n->rows = out->rows;
	return out->rows ? MOE_OK : moe_fail(d, MOE_EUSAGE, "a batch without a token");
}

/* Room for the choices of a step, or the check that there are some. */
static enum moe_err prepare_replay(struct moe_net *n, struct moe_diag *d)
{
	size_t of_layers;

	if (n->replay == MOE_REPLAY_PLAY && n->recorded != n->rows)
		return moe_fail(d, MOE_EUSAGE, "choices of %zu rows were recorded, the batch has %llu", n->recorded, (unsigned long long)n->rows);
	if (n->replay != MOE_REPLAY_RECORD)
		return MOE_OK;
	free(n->choice);
	free(n->taken);
	n->recorded = n->rows;
	of_layers = (size_t)n->spec->n_layers * n->recorded;
	n->choice = moe_calloc(of_layers, net_k(n) * sizeof *n->choice);
	n->taken = moe_calloc(of_layers, 1);
	return n->choice && n->taken ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

/* Sums of the lanes, in their order. */
static void merge_sums(struct moe_net *n)
{
	size_t experts = net_experts(n);

	clear_sums(n, n->sums);
	for (size_t i = 0; i < n->o.lanes; i++)
		for (size_t l = 0; l < (size_t)n->spec->n_layers; l++) {
			const struct moe_router_sums *s = &n->lane[i].sums[l];
			for (size_t e = 0; e < MOE_N_MODALITIES * experts; e++)
				n->sums[l].load[e] += s->load[e];
			for (size_t e = 0; e < experts; e++)
				n->sums[l].q[e] += s->q[e];
			for (size_t m = 0; m < MOE_N_MODALITIES; m++)
				n->sums[l].rows[m] += s->rows[m];
			n->sums[l].z += s->z;
			n->sums[l].unserved += s->unserved;
		}
}

/* Balance and z losses of the step, and what they pull with. */
static void balance(struct moe_net *n, struct moe_step_result *out)
{
	size_t experts = net_experts(n);
	double unserved = 0, all = 0;

	for (size_t l = 0; l < (size_t)n->spec->n_layers; l++) {
		const struct moe_router_sums *s = &n->sums[l];
		float *pull = n->pull_q + l * experts;
		double rows = 0;
		if (n->layer[l].dense)
			continue;
		for (size_t m = 0; m < MOE_N_MODALITIES; m++)
			rows += (double)s->rows[m];
		if (!(rows > 0))        /* nobody passes it, where auxiliary routers say so */
			continue;
		n->pull[l] = (struct moe_router_pull){.q = pull, .z = (float)(n->loss->z / rows)};
		out->balance += moe_router_balance(pull, n->share, s, &n->spec->router, (size_t)n->loss->balance_groups, n->loss->balance);
		for (size_t e = 0; e < experts; e++)
			out->busiest = fmax(out->busiest, n->share[e]);
		out->z += s->z / rows;
		unserved += (double)s->unserved;
		all += rows;
	}
	out->unserved = all > 0 ? unserved / all : 0;
}

static enum moe_err first_failure(struct moe_net *n, struct moe_diag *d)
{
	for (size_t i = 0; i < n->o.lanes; i++)
		if (n->lane[i].d.code) {
			enum moe_err err = n->lane[i].d.code;
			if (d && !d->code)
				*d = n->lane[i].d;
			moe_diag_clear(&n->lane[i].d);
			return err;
		}
	return MOE_OK;
}

/* Runs the lanes over the chunks from `first` on that are in memory together. */
static enum moe_err run_part(struct moe_net *n, size_t first, void (*lane)(void *n, size_t i), struct moe_diag *d)
{
	double work = 6.0 * (double)n->params.total * (double)n->rows;

	n->first = first;
	n->end = moe_min(first + n->n_kept, n->n_chunks);
	moe_pool_run(n->o.pool, work, n->o.lanes, lane, n);
	return first_failure(n, d);
}

/* Those of the other lanes to the first's. */
static void add_gradients(struct moe_net *n, bool wanted)
{
	if (wanted)
		moe_pool_run(n->o.pool, (double)n->params.total * (double)n->o.lanes, (n->params.total + RUN - 1) / RUN, add_run, n);
}

static enum moe_err forward(struct moe_net *n, const struct moe_loss_settings *s, struct moe_step_result *out, struct moe_diag *d)
{
	for (size_t c = 0; c < n->n_chunks; c += n->n_kept)
		MOE_TRY(run_part(n, c, forward_lane, d));
	merge_sums(n);
	balance(n, out);
	for (size_t i = 0; i < n->o.lanes; i++) {
		out->text += n->lane[i].text;
		out->image += n->lane[i].image;
		out->patch += n->lane[i].patch;
		out->soft += n->lane[i].soft;
		out->match += n->lane[i].match;
	}
	out->text = n->text_weight > 0 ? out->text / n->text_weight : 0;
	out->image = n->image_weight > 0 ? out->image / n->image_weight : 0;
	out->patch = n->patch_weight > 0 ? out->patch / n->patch_weight : 0;
	out->soft = n->text_weight > 0 ? out->soft / n->text_weight : 0;
	out->match = n->n_matches ? out->match / ((double)n->n_matches * (double)n->rows) : 0;
	out->total = s->text * out->text + s->image * out->image + s->patch * out->patch + s->balance * out->balance + s->z * out->z + s->soft * out->soft +
		     s->match * out->match;
	if (s->aux > 0) {
		add_gradients(n, n->gradient_of_aux);
		moe_net_aux_finish(n, out);
		out->total = s->aux * out->aux;
	}
	out->finite = isfinite(out->total);
	return MOE_OK;
}

/* Of a batch in parts, each part passes forward again before it passes backward: what it kept was forgotten for the next one. */
static enum moe_err backward(struct moe_net *n, struct moe_diag *d)
{
	bool parts = !n->backward;

	n->backward = true;
	for (size_t c = 0; c < n->n_chunks; c += n->n_kept) {
		if (parts)
			MOE_TRY(run_part(n, c, forward_lane, d));
		MOE_TRY(run_part(n, c, backward_lane, d));
	}
	add_gradients(n, true);
	return MOE_OK;
}

static enum moe_err run(struct moe_net *n, const struct moe_packed *batch, size_t count, const struct moe_loss_settings *s, bool gradient,
			struct moe_step_result *out, struct moe_diag *d)
{
	*out = (struct moe_step_result){.load = n->sums[0].load};
	if (gradient && (s->flips > 0 || s->choice != MOE_NET_BATCH))
		return moe_fail(d, MOE_EUSAGE, "a step with a gradient takes the choice of the batch");
	if (gradient && n->o.forward_only)
		return moe_fail(d, MOE_EUSAGE, "a network that only passes forward has no gradient");
	n->loss = s;
	MOE_TRY(moe_net_check_losses(n->spec, s, d));
	MOE_TRY(cut(n, batch, count, out, d));
	MOE_TRY(prepare_replay(n, d));
	moe_net_teach_begin(n);
	n->gradient_of_aux = gradient && s->aux > 0;
	n->backward = gradient && !n->gradient_of_aux && n->n_chunks <= n->n_kept;
	MOE_TRY(forward(n, s, out, d));
	return gradient && !n->gradient_of_aux && out->finite ? backward(n, d) : MOE_OK;
}

enum moe_err moe_net_step(struct moe_net *n, const struct moe_packed *batch, size_t count, const struct moe_loss_settings *s, bool backward,
			  struct moe_step_result *out, struct moe_diag *d)
{
	n->best = NULL;
	n->logprob = NULL;
	return run(n, batch, count, s, backward, out, d);
}

enum moe_err moe_net_predict(struct moe_net *n, const struct moe_packed *batch, size_t count, const struct moe_loss_settings *s, int32_t *const *best,
			     float *const *logprob, struct moe_step_result *out, struct moe_diag *d)
{
	n->best = best;
	n->logprob = logprob;
	return run(n, batch, count, s, false, out, d);
}
