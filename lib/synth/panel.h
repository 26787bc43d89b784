/* Panels: seven-segment displays, analog clocks, gauges, progress bars and lamps, with what they show.
 *
 * What training and test share is decided by the hash of what is shown in which style: a display's string whatever the style (strings of one character are
 * exempt, as where text is read), and pairs of (style, value) for the others, since a clock has 144 times only. The last style of each device, and the
 * faces of held-out design groups, occur in the split unseen alone. */
#ifndef MOE_SYNTH_PANEL_H
#define MOE_SYNTH_PANEL_H

#include "synth/ink.h"

enum moe_panel_device { MOE_PANEL_DISPLAY, MOE_PANEL_CLOCK, MOE_PANEL_GAUGE, MOE_PANEL_BAR, MOE_PANEL_LIGHTS, MOE_PANEL_DEVICES };
enum { MOE_PANEL_COLOURS = 6, MOE_PANEL_MOST_LIGHTS = 4, MOE_PANEL_MOST_TEXT = 12 };

/* A string of digits, a sign, points and colons. */
struct moe_panel_display {
	enum moe_panel_text { MOE_PANEL_TIME, MOE_PANEL_NUMBER, MOE_PANEL_TEMPERATURE } what;
	char text[MOE_PANEL_MOST_TEXT];
	unsigned blank;         /* unlit places before it */
};

/* Angles clockwise from twelve, in turns: the hour hand moves on with the minutes. */
struct moe_panel_clock {
	unsigned hour, minute;  /* 1 .. 12, 0 .. 59 */
	double hour_hand, minute_hand;
};

/* Ticks low, low + step, ... are labelled. */
struct moe_panel_gauge {
	unsigned scale, n_ticks, tick;
	int low, step;
	double shown;           /* in ticks from the first: at most 0.3 from the one that is asked for */
	bool round;             /* 270 degrees; else 180 */
};

struct moe_panel_bar {
	unsigned percent;       /* a multiple of 5 */
	double shown;           /* at most 1 from it */
	bool vertical;
	unsigned segments;      /* 0: continuous */
};

struct moe_panel_lights {
	unsigned n, colour[MOE_PANEL_MOST_LIGHTS];
	bool on[MOE_PANEL_MOST_LIGHTS];
};

struct moe_panel {
	enum moe_panel_device device;
	unsigned style;
	double width, height;   /* in units: 64 x 64, or 128 x 32 with some play */
	struct moe_panel_display display;       /* of the five, the device's is filled */
	struct moe_panel_clock clock;
	struct moe_panel_gauge gauge;
	struct moe_panel_bar bar;
	struct moe_panel_lights lights;
};

const char *moe_panel_device_name(enum moe_panel_device device);
/* NULL beyond the last. */
const char *moe_panel_style_name(enum moe_panel_device device, unsigned style);
/* "red", ...: of lamps. */
const char *moe_panel_colour(unsigned colour);

/* What the split is decided by; NULL for what is exempt. In the sample's arena. */
const char *moe_panel_key(struct moe_synth_sample *out, const struct moe_panel *p);

/* What a panel of the split shows, and its questions; neither needs the picture. */
enum moe_err moe_panel_compose(struct moe_panel *p, struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_panel_ask(const struct moe_panel *p, struct moe_draw *r, struct moe_synth_sample *out);

/* Draws a panel of the split with its picture, questions and tags. */
enum moe_err moe_panel_make(struct moe_panel *p, struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
