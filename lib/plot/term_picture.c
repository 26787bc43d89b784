#include <math.h>
#include <string.h>

#include "plot/term_priv.h"
#include "trace/trace.h"

/* A character cell is a picture of 1 × 2 pixels: the upper half block in the colour of ink, on paper. */
struct cells {
	size_t columns, rows;           /* of characters for a patch */
	size_t width;                   /* of the picture, in characters */
};

static size_t digits(size_t experts) { return experts > 100 ? 3 : experts > 10 ? 2 : 1; }

static struct cells measure(const struct moe_term *t, const struct moe_picture_facet *p)
{
	struct cells c = {2, 1, 0};
	size_t most = 0;

	for (size_t i = 0; i < p->n; i++)
		if (p->place[i].chosen.expert[0] != MOE_NO_EXPERT && p->place[i].chosen.expert[0] > most)
			most = p->place[i].chosen.expert[0];
	if (t->colours && p->columns <= 10 && p->columns * 4 <= t->width)
		c = (struct cells){4, 2, 0};
	if (c.columns < digits(most + 1) + (t->colours == MOE_TERM_PLAIN))
		c.columns = digits(most + 1) + 1;
	if (p->columns * c.columns > t->width)
		c.columns = p->columns <= t->width ? t->width / p->columns : 1;
	c.width = p->columns * c.columns;
	return c;
}

/* The picture at (x, y) of its canvas, the mean over a pixel of w × h. */
static struct moe_rgb sample(const struct moe_picture_facet *p, double x, double y, double w, double h)
{
	const uint8_t paper[3] = {p->paper.r, p->paper.g, p->paper.b};
	double sx = p->picture->width / p->w, sy = p->picture->height / p->h, sum[3] = {0};
	long x0 = (long)floor((x - p->x) * sx), x1 = (long)ceil((x + w - p->x) * sx), y0 = (long)floor((y - p->y) * sy), y1 = (long)ceil((y + h - p->y) * sy), n = 0;

	for (long j = y0; j < y1; j++)
		for (long i = x0; i < x1; i++) {
			bool inside = i >= 0 && j >= 0 && i < (long)p->picture->width && j < (long)p->picture->height;
			const uint8_t *rgb = inside ? p->picture->rgb + 3 * ((size_t)j * p->picture->width + (size_t)i) : paper;
			sum[0] += rgb[0];
			sum[1] += rgb[1];
			sum[2] += rgb[2];
			n++;
		}
	return n ? (struct moe_rgb){(uint8_t)(sum[0] / n), (uint8_t)(sum[1] / n), (uint8_t)(sum[2] / n)} : p->paper;
}

static const struct moe_patch_place *place_at(const struct moe_picture_facet *p, size_t row, size_t column)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->place[i].row == row && p->place[i].column == column)
			return &p->place[i];
	return NULL;
}

/* What a pixel looks like under the colour of its expert. */
static struct moe_rgb tinted(struct moe_rgb c, const struct moe_patch_place *at)
{
	return at && at->chosen.expert[0] != MOE_NO_EXPERT ? moe_mix_colours(moe_grey(c), moe_expert_colour(at->chosen.expert[0]), 0.68) : c;
}

/* Light to dark, where there are no colours. */
static char shade(struct moe_rgb c)
{
	static const char ramp[] = " .:-=+*#%@";

	return ramp[(size_t)fmin(9, (1 - moe_lightness(c)) * 12)];
}

/* One character of the picture, in line `line` of the patch's row. */
static void print_cell(const struct moe_term *t, const struct moe_picture_facet *p, const struct cells *c, const struct moe_patch_place *at, size_t x, size_t y,
		       char digit)
{
	double w = p->width / (double)(p->columns * c->columns), h = p->height / (double)(p->rows * c->rows * 2);
	struct moe_rgb up = sample(p, (double)x * w, 2 * (double)y * h, w, h), down = sample(p, (double)x * w, (2 * (double)y + 1) * h, w, h);
	char one[2] = {digit};

	if (t->colours == MOE_TERM_PLAIN) {
		fputc(digit ? digit : p->bare ? shade(moe_mix_colours(up, down, 0.5)) : ' ', t->f);
		return;
	}
	up = p->bare ? up : tinted(up, at);
	down = p->bare ? down : tinted(down, at);
	if (digit) {
		moe_term_field(t, moe_mix_colours(up, down, 0.5), one, 1);
		return;
	}
	moe_term_on(t, &up, &down);
	fputs("\u2580", t->f);
	moe_term_off(t);
}

size_t moe_term_picture(const struct moe_term *t, const struct moe_facet *facet)
{
	const struct moe_picture_facet *p = &facet->picture;
	struct cells c = measure(t, p);

	for (size_t y = 0; y < p->rows * c.rows; y++) {
		for (size_t x = 0; x < c.width; x++) {
			const struct moe_patch_place *at = place_at(p, y / c.rows, x / c.columns);
			char number[8] = "";
			size_t i = x % c.columns, first;
			if (at && at->chosen.expert[0] != MOE_NO_EXPERT)
				snprintf(number, sizeof number, "%u%s", at->chosen.expert[0], at->differs ? "*" : "");
			first = c.rows > 1 && c.columns > strlen(number) + 1 ? 1 : 0;
			print_cell(t, p, &c, at, x, y, y % c.rows == 0 && i >= first && i - first < strlen(number) ? number[i - first] : 0);
		}
		fputs("\n", t->f);
	}
	return c.width;
}
