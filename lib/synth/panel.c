#include "synth/panel_priv.h"

#include <math.h>

static const struct moe_panel_kind *const devices[MOE_PANEL_DEVICES] = {
	&moe_panel_display, &moe_panel_clock, &moe_panel_gauge, &moe_panel_bar, &moe_panel_lights,
};

const char *moe_panel_device_name(enum moe_panel_device device)
{
	return devices[device]->name;
}

const char *moe_panel_style_name(enum moe_panel_device device, unsigned style)
{
	return style < devices[device]->n_styles ? devices[device]->style[style] : NULL;
}

void moe_panel_square(struct moe_panel *p)
{
	p->width = p->height = 64;
}

void moe_panel_wide(struct moe_panel *p, struct moe_draw *r)
{
	p->width = 128;
	p->height = moe_draw_real(r, 30, 34);
}

void moe_panel_fill(const struct moe_panel_stage *at, struct moe_ink ink, const char *label)
{
	if (label) {
		struct moe_rect box = moe_ink_extents(at->c);
		moe_synth_box(at->out, label, box.x0, box.y0, box.x1, box.y1);
	}
	moe_ink_set(at->c, ink);
	cairo_fill(at->c);
}

cairo_font_face_t *moe_panel_face(const struct moe_panel_stage *at, unsigned with)
{
	return moe_face_get(at->s->faces, moe_synth_font(at->s, at->r, with, MOE_FONT_ITALIC));
}

void moe_panel_hide(const struct moe_panel *p, const struct moe_panel_stage *at)
{
	cairo_new_path(at->c);
	cairo_rectangle(at->c, 0, 0, p->width, p->height);
	struct moe_rect all = moe_ink_extents(at->c);
	cairo_new_path(at->c);
	moe_synth_box(at->out, "", all.x0, all.y0, all.x1, all.y1);
}

const char *moe_panel_key(struct moe_synth_sample *out, const struct moe_panel *p)
{
	return devices[p->device]->key(out, p);
}

enum moe_err moe_panel_compose(struct moe_panel *p, struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out, struct moe_diag *d)
{
	double weight[MOE_PANEL_DEVICES];
	bool exempt = false;

	*p = (struct moe_panel){0};
	for (size_t i = 0; i < MOE_PANEL_DEVICES; i++)
		weight[i] = devices[i]->weight;
	p->device = (enum moe_panel_device)moe_draw_weighted(r, weight, MOE_PANEL_DEVICES);
	const struct moe_panel_kind *kind = devices[p->device];
	for (int tries = 0; tries < 100000; tries++) {
		p->style = s->split == MOE_SYNTH_UNSEEN ? kind->n_styles - 1 : (unsigned)moe_draw_below(r, kind->n_styles - 1);
		kind->compose(p, r);
		struct moe_arena_mark mark = moe_arena_mark(out->arena);
		const char *key = kind->key(out, p);
		if (!tries)     /* what is exempt would never be drawn again, and be far too frequent in small splits */
			exempt = !key;
		bool ours = exempt ? !key : key && moe_synth_is_of(s->split, kind->name, key);
		moe_arena_release(out->arena, mark);
		if (ours)
			return MOE_OK;
	}
	return moe_fail(d, MOE_EINPUT, "no %s of the split %s was found", kind->name, moe_synth_split_name(s->split));
}

void moe_panel_ask(const struct moe_panel *p, struct moe_draw *r, struct moe_synth_sample *out)
{
	devices[p->device]->ask(p, r, out);
}

enum moe_err moe_panel_make(struct moe_panel *p, struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out, struct moe_diag *d)
{
	MOE_TRY(moe_panel_compose(p, s, r, out, d));
	const struct moe_panel_kind *kind = devices[p->device];
	double scale = moe_ink_side(r) / 64.0;
	uint32_t width = (uint32_t)lround(scale * p->width), height = (uint32_t)lround(scale * p->height);
	struct moe_panel_stage at = {moe_synth_canvas(s, width, height), s, r, out};

	if (!at.c)
		return moe_fail(d, MOE_ENOMEM, "no memory for a picture of %u x %u", width, height);
	cairo_scale(at.c, width / p->width, height / p->height);
	kind->draw(p, &at);
	MOE_TRY(moe_synth_canvas_take(at.c, out, d));
	MOE_TRY(moe_ink_weather(out, r, scale, d));
	moe_synth_tag(out, "device", kind->name);
	moe_synth_tag(out, "style", kind->style[p->style]);
	moe_panel_ask(p, r, out);
	return MOE_OK;
}

static enum moe_err make(struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out, struct moe_diag *d)
{
	struct moe_panel p;

	return moe_panel_make(&p, s, r, out, d);
}

static void words(struct moe_words *w)
{
	moe_words_add(w, "what does the display show time temperature number is shown it gauge how full bar colour light first second third fourth on "
		"many lights are yes no off empty");
	for (unsigned i = 0; moe_panel_colour(i); i++)
		moe_words_add(w, moe_panel_colour(i));
}

const struct moe_synth_task moe_task_panel = {"panel", 0.17, make, words};
