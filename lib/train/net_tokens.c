/* Image tokens in a network in training: their vectors, and the targets that they are. */
#include <string.h>

#include "train/net_priv.h"

bool moe_net_is_image(const struct moe_net *n, int32_t token) { return moe_spec_code(n->spec, token) >= 0; }

/* Adds what row and column of a patch give to the vector of an image token. */
static void add_place(const struct moe_net *n, float *x, size_t place, size_t columns)
{
	size_t hidden = net_hidden(n);

	if (!n->spec->tower.row_col)
		return;
	moe_add(x, n->weight + n->row_embed + place / columns * hidden, hidden);
	moe_add(x, n->weight + n->col_embed + place % columns * hidden, hidden);
}

size_t moe_net_columns(const struct moe_net *n) { return (size_t)n->spec->image.grids.v[0][1]; }

void moe_net_tokens_forward(const struct moe_net *n, struct chunk *c)
{
	size_t hidden = net_hidden(n);

	for (size_t i = 0; i < c->n; i++) {
		const struct moe_packed *p = &c->packed[i];
		const struct moe_packed_rows *s = &c->all.span[i];
		float *x = c->layer[0].x + s->first * hidden;
		for (size_t r = 0; r < s->n_image; r++) {
			memcpy(x + r * hidden, n->weight + n->embed + (size_t)p->code[r] * hidden, hidden * sizeof *x);
			add_place(n, x + r * hidden, r, p->columns);
		}
		for (size_t t = 0; p->place && t < p->n_text; t++)
			if (p->place[t] >= 0)
				add_place(n, x + (s->n_image + t) * hidden, (size_t)p->place[t], moe_net_columns(n));
	}
}

static void give_place(const struct moe_net *n, float *g, const float *dx, size_t place, size_t columns)
{
	size_t hidden = net_hidden(n);

	if (!n->spec->tower.row_col)
		return;
	moe_add(g + n->row_embed + place / columns * hidden, dx, hidden);
	moe_add(g + n->col_embed + place % columns * hidden, dx, hidden);
}

void moe_net_tokens_backward(const struct moe_net *n, const struct chunk *c, float *g)
{
	size_t hidden = net_hidden(n);

	for (size_t i = 0; i < c->n; i++) {
		const struct moe_packed *p = &c->packed[i];
		const struct moe_packed_rows *s = &c->all.span[i];
		const float *dx = c->dx + s->first * hidden;
		for (size_t r = 0; r < s->n_image; r++) {
			moe_add(g + n->embed + (size_t)p->code[r] * hidden, dx + r * hidden, hidden);
			give_place(n, g, dx + r * hidden, r, p->columns);
		}
		for (size_t t = 0; p->place && t < p->n_text; t++)
			if (p->place[t] >= 0)
				give_place(n, g, dx + (s->n_image + t) * hidden, (size_t)p->place[t], moe_net_columns(n));
	}
}

enum moe_err moe_net_tokens_check(const struct moe_net *n, const struct moe_packed *p, struct moe_diag *d)
{
	size_t patches = (size_t)p->rows * p->columns, places = moe_net_columns(n) * (size_t)n->spec->image.grids.v[0][0];

	if (!n->spec->image_tokens.count)
		return p->code || p->place ? moe_fail(d, MOE_EUSAGE, "a sequence has image tokens, the model has none") : MOE_OK;
	if (patches && !p->code)
		return moe_fail(d, MOE_EUSAGE, "a picture comes as pixels, the model takes image tokens");
	for (size_t r = 0; r < patches; r++)
		if (!moe_net_is_image(n, p->code[r]))
			return moe_fail(d, MOE_EINPUT, "token %d of a picture is no image token", p->code[r]);
	for (size_t t = 0; t < p->n_text; t++) {
		bool image = p->place && p->place[t] >= 0;
		if (image != moe_net_is_image(n, p->token[t]) || (image && (size_t)p->place[t] >= places))
			return moe_fail(d, MOE_EINPUT, "token %d has the place %d in a picture", p->token[t], p->place ? p->place[t] : -1);
	}
	return MOE_OK;
}
