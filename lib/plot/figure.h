/* A figure: what is to be seen, before anything is said of where. Each picture of moe-plot is one file (plot_load.c, plot_picture.c, ...) that makes a figure of sums
 * or tokens; terminals (term.h), PNG and SVG (draw.h), HTML pages (page.h) and tables (table.h) show any figure.
 *
 * A figure has facets of five kinds. All that it points to is in its arena, or outlives it. */
#ifndef MOE_PLOT_FIGURE_H
#define MOE_PLOT_FIGURE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "image/picture.h"
#include "plot/palette.h"

enum moe_facet_kind { MOE_FACET_FIELDS, MOE_FACET_PICTURE, MOE_FACET_TEXT, MOE_FACET_FLOW, MOE_FACET_LINES };

/* Shares of 1, shown in per cent; differences, shown with their sign: of shares, in points, and of losses, in hundredths or thousandths of a nat. */
enum moe_unit { MOE_UNIT_SHARE, MOE_UNIT_POINTS, MOE_UNIT_CENTINATS, MOE_UNIT_MILLINATS };

/* Numbers by row and column. */
struct moe_fields {
	size_t rows, columns;
	const char *row_name, *column_name;     /* "expert", "layer": as they stand beside the fields, */
	const char *row_key, *column_key;       /* and as they go by in tables; NULL: the same */
	const char **row, **column;             /* [rows], [columns]: labels */
	bool row_experts, column_experts;       /* rows (columns) are experts from 0 on, and get their colours beside their labels */
	const char *value_name, *count_name;    /* "share", "choices" */
	bool fine;                              /* shares are small: below 10 per cent with a decimal */
	enum moe_unit unit;
	double *value, *chance;                 /* [rows][columns]; value NAN: there is none; chance NAN: not known */
	double *count;                          /* [rows][columns], or NULL */
};

/* Where a token went in one layer: k experts by falling weight. */
struct moe_chosen {
	const uint16_t *expert;                 /* [k], MOE_NO_EXPERT at the end */
	const float *weight;                    /* [k] or NULL */
};

struct moe_patch_place {
	double x, y, width, height;             /* on the canvas */
	size_t row, column, token;              /* token: number of it in the sequence */
	struct moe_chosen chosen;
	bool differs;                           /* from another run's, which the figure compares with */
};

/* A picture as the model sees it, on a canvas of which it fills a part. */
struct moe_picture_facet {
	const struct moe_picture *picture;
	unsigned number;                        /* facets of the same picture have the same */
	double width, height;                   /* of the canvas, in its pixels */
	double x, y, w, h;                      /* where the picture lies on it */
	struct moe_rgb paper;                   /* beside it */
	bool bare;                              /* without experts */
	size_t rows, columns, layer, k, n;
	const struct moe_patch_place *place;    /* [n] */
};

/* A piece of text: a token, or a run of patches that one word stands for. */
struct moe_word {
	const char *text;
	size_t token, n;                        /* the first of its n tokens */
	bool patches, made;                     /* made: the model wrote it */
};

struct moe_text_facet {
	size_t n, n_layers, k;
	const struct moe_word *word;            /* [n] */
	const size_t *layer;                    /* [n_layers]: their numbers */
	const struct moe_chosen *const *chosen; /* [n_layers][tokens] */
	const bool *const *differs;             /* [n_layers][tokens]: from another run's; NULL: nothing is compared */
};

/* Tokens between the experts of neighbouring layers. A token with k experts is k × k pairs of weight 1 / k², so that streams come out of an expert as they
 * went in. */
enum { MOE_FLOW_ALL = 24 };             /* of more experts, only streams above the level of chance are drawn */
struct moe_flow_facet {
	size_t n_layers, experts;
	const size_t *layer;                    /* [n_layers] */
	double tokens;                          /* of each layer, in all */
	const double *node;                     /* [n_layers][experts]: tokens */
	const double *link;                     /* [n_layers - 1][experts][experts] */
};

struct moe_line {
	const char *name;
	const double *x, *y;                    /* [n]; a y that is not finite interrupts it */
	size_t n, colour;                       /* an expert's */
	bool faint;                             /* behind the others */
};

/* Shares of 1, shown in per cent, along x. */
struct moe_line_facet {
	const char *x_name, *y_name, *chance_name;
	const struct moe_line *line;            /* [n] */
	size_t n;
	double chance;                          /* a level to compare with, or NAN */
	const char **tick;                      /* [n_ticks]: names of x = 0, 1, ...; NULL: numbers */
	size_t n_ticks;
};

struct moe_facet {
	enum moe_facet_kind kind;
	const char *name;                       /* "image", "layer 3": in tables, and over the facet */
	const char *about;                      /* more of it, over the facet; or NULL */
	int layer;                              /* that it is of, -1: of several */
	union {
		struct moe_fields fields;
		struct moe_picture_facet picture;
		struct moe_text_facet text;
		struct moe_flow_facet flow;
		struct moe_line_facet lines;
	};
};

struct moe_figure {
	const char *name;                       /* "load": in tables */
	const char *title, *about, *reading;    /* about: what was counted, n, k, the level of chance; reading: what its colours and marks mean */
	const char *drawn;                      /* more of that, where it is drawn and not made of characters; or NULL */
	struct moe_scale scale;
	const char *scale_end[3];               /* what its low end, middle and high end mean */
	bool *key;                              /* [experts]: those that the key shows; NULL: it shows none */
	size_t experts;
	struct moe_facet *facet;
	size_t n_facets, cap;
	struct moe_arena memory;
};

/* A figure without facets. */
void moe_figure_init(struct moe_figure *f, const char *name);
void moe_figure_free(struct moe_figure *f);

/* Adds a facet, zeroed but for its kind and name (copied) and layer -1. The pointer is good until the next one is added. */
enum moe_err moe_figure_add(struct moe_figure *f, struct moe_facet **out, enum moe_facet_kind kind, const char *name, struct moe_diag *d) MOE_CHECK_RESULT;

/* A string of its own; "" without memory. */
const char *moe_figure_text(struct moe_figure *f, const char *fmt, ...) MOE_PRINTF(2, 3);

/* Memory of its own, zeroed; NULL without. */
void *moe_figure_get(struct moe_figure *f, size_t n, size_t size);

/* Memory for fields of rows × columns; chance and values are NAN. `counted`: with counts. */
enum moe_err moe_figure_fields(struct moe_figure *f, struct moe_fields *g, size_t rows, size_t columns, bool counted, struct moe_diag *d) MOE_CHECK_RESULT;

/* Labels "0", "1", ... of experts, or the numbers of layers. */
const char **moe_figure_numbers(struct moe_figure *f, const size_t *number, size_t n);

/* Adds an expert to the key. */
void moe_figure_mark(struct moe_figure *f, size_t expert);

/* The value of a field as it is shown: "12", "<1", "0", "+3". Writes at most 8 bytes. */
const char *moe_field_text(const struct moe_fields *g, double value, char to[8]);

/* Its place on the figure's scale. */
double moe_field_place(const struct moe_figure *f, const struct moe_fields *g, size_t i);

/* "12.5 %": a share, or "+3.1 points", for sentences. */
const char *moe_unit_text(enum moe_unit unit, double value, char to[32]);

/* "3 (61 %), 5 (39 %)": experts of a token. */
const char *moe_chosen_text(const struct moe_chosen *c, size_t k, char *to, size_t room);

#endif
