/* What each device of a panel gives to the task, and what they share. */
#ifndef MOE_SYNTH_PANEL_PRIV_H
#define MOE_SYNTH_PANEL_PRIV_H

#include "image/outline.h"
#include "synth/panel.h"

/* Where a panel is drawn; the context's unit is the panel's. */
struct moe_panel_stage {
	cairo_t *c;
	struct moe_synth *s;
	struct moe_draw *r;
	struct moe_synth_sample *out;
};

struct moe_panel_kind {
	const char *name;
	const char *const *style;       /* the last is held out */
	unsigned n_styles;
	double weight;
	/* Values and size, once the style is known. */
	void (*compose)(struct moe_panel *p, struct moe_draw *r);
	/* Without device and style; NULL: exempt. */
	const char *(*key)(struct moe_synth_sample *out, const struct moe_panel *p);
	void (*draw)(const struct moe_panel *p, const struct moe_panel_stage *at);
	void (*ask)(const struct moe_panel *p, struct moe_draw *r, struct moe_synth_sample *out);
};

extern const struct moe_panel_kind moe_panel_display, moe_panel_clock, moe_panel_gauge, moe_panel_bar, moe_panel_lights;

/* Sizes of a panel. */
void moe_panel_square(struct moe_panel *p);
void moe_panel_wide(struct moe_panel *p, struct moe_draw *r);

/* Fills the path and gives it a label, or none (NULL). */
void moe_panel_fill(const struct moe_panel_stage *at, struct moe_ink ink, const char *label);

/* A face of the split for numerals. NULL when it cannot be opened. */
cairo_font_face_t *moe_panel_face(const struct moe_panel_stage *at, unsigned with);

/* No patch of the picture gets a label. */
void moe_panel_hide(const struct moe_panel *p, const struct moe_panel_stage *at);

#endif
