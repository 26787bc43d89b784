#include "synth/synth.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { MAX_SIDE = 4096, MAX_PIXELS = 1 << 22, HASHES = 20 };

static const char *const split_names[MOE_N_SYNTH_SPLITS] = {"train", "dev", "calib", "test", "unseen"};

enum moe_synth_split moe_synth_split_find(const char *name)
{
	enum moe_synth_split s = 0;

	while (s < MOE_N_SYNTH_SPLITS && strcmp(split_names[s], name))
		s++;
	return s;
}

const char *moe_synth_split_name(enum moe_synth_split split) { return split_names[split]; }

bool moe_synth_is_of(enum moe_synth_split split, const char *kind, const char *content)
{
	unsigned h = (unsigned)(XXH64(content, strlen(content), XXH64(kind, strlen(kind), 0)) % HASHES);
	enum moe_synth_split at = h < 2 ? MOE_SYNTH_TEST : h == 2 ? MOE_SYNTH_DEV : h == 3 ? MOE_SYNTH_CALIB : MOE_SYNTH_TRAIN;

	return at == (split == MOE_SYNTH_UNSEEN ? MOE_SYNTH_TEST : split);
}

/* ---- samples ---- */

const char *moe_synth_text(struct moe_synth_sample *s, const char *fmt, ...)
{
	va_list ap, again;
	char *text;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	text = n < 0 ? NULL : moe_arena_get(s->arena, (size_t)n + 1, 1);
	if (text)
		vsnprintf(text, (size_t)n + 1, fmt, again);
	else
		s->no_memory = true;
	va_end(again);
	va_end(ap);
	return text ? text : "";
}

/* Room for one more of n things of `size` bytes; the old block stays in the arena, which ends with the sample. */
static bool more_room(struct moe_synth_sample *s, void *list, size_t n, size_t *room, size_t size)
{
	void *old = *(void **)list, *grown;

	if (n < *room)
		return true;
	grown = moe_arena_get(s->arena, 2 * n + 16, size);
	if (!grown) {
		s->no_memory = true;
		return false;
	}
	if (n)
		memcpy(grown, old, n * size);
	*(void **)list = grown;
	*room = 2 * n + 16;
	return true;
}

void moe_synth_ask(struct moe_synth_sample *s, const char *type, const char *prompt, const char *answer, bool spell)
{
	if (more_room(s, &s->question, s->n_questions, &s->room[0], sizeof *s->question))
		s->question[s->n_questions++] = (struct moe_synth_question){type, prompt, answer, spell};
}

void moe_synth_box(struct moe_synth_sample *s, const char *label, double x0, double y0, double x1, double y1)
{
	if (more_room(s, &s->box, s->n_boxes, &s->room[1], sizeof *s->box))
		s->box[s->n_boxes++] = (struct moe_synth_box){label, x0, y0, x1, y1};
}

void moe_synth_tag(struct moe_synth_sample *s, const char *name, const char *value)
{
	if (more_room(s, &s->tag, s->n_tags, &s->room[2], sizeof *s->tag))
		s->tag[s->n_tags++] = (struct moe_synth_tag){name, value};
}

void moe_synth_attribute(struct moe_synth_sample *s, const char *name, const char *value)
{
	if (s->n_boxes && more_room(s, &s->attribute, s->n_attributes, &s->room[3], sizeof *s->attribute))
		s->attribute[s->n_attributes++] = (struct moe_synth_attribute){s->n_boxes - 1, name, value};
}

/* ---- drawing ---- */

enum moe_err moe_synth_new(struct moe_synth **out, const struct moe_fonts *fonts, enum moe_synth_split split, struct moe_diag *d)
{
	struct moe_synth *s = moe_calloc(1, sizeof *s);
	enum moe_err err;

	*out = NULL;
	if (!s || !(s->usable = moe_calloc(fonts->n, sizeof *s->usable))) {
		free(s);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	s->split = split;
	s->fonts = fonts;
	for (size_t i = 0; i < fonts->n; i++)
		if (!(fonts->font[i].flags & MOE_FONT_HELD) == (split != MOE_SYNTH_UNSEEN))
			s->usable[s->n_usable++] = i;
	err = s->n_usable ? moe_faces_new(&s->faces, fonts, d)
			  : moe_fail(d, MOE_EINPUT, "the list of fonts has none for the split %s", split_names[split]);
	if (err) {
		moe_synth_free(s);
		return err;
	}
	*out = s;
	return MOE_OK;
}

void moe_synth_free(struct moe_synth *s)
{
	if (!s)
		return;
	moe_faces_free(s->faces);
	moe_arena_free(&s->arena);
	free(s->usable);
	free(s);
}

static bool fits(const struct moe_font *f, unsigned with, unsigned without) { return (f->flags & with) == with && !(f->flags & without); }

const struct moe_font *moe_synth_font(struct moe_synth *s, struct moe_draw *r, unsigned with, unsigned without)
{
	size_t n = 0, at;

	for (size_t i = 0; i < s->n_usable; i++)
		n += fits(&s->fonts->font[s->usable[i]], with, without);
	at = moe_draw_below(r, n ? n : s->n_usable);
	for (size_t i = 0; n && i < s->n_usable; i++)
		if (fits(&s->fonts->font[s->usable[i]], with, without) && !at--)
			return &s->fonts->font[s->usable[i]];
	return &s->fonts->font[s->usable[at]];
}

cairo_t *moe_synth_canvas(struct moe_synth *s, uint32_t w, uint32_t h)
{
	cairo_surface_t *surface;
	cairo_t *c;

	(void)s;
	if (!w || !h || w > MAX_SIDE || h > MAX_SIDE || (uint64_t)w * h > MAX_PIXELS)
		return NULL;
	surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)w, (int)h);
	c = cairo_create(surface);
	cairo_surface_destroy(surface);
	if (cairo_status(c) == CAIRO_STATUS_SUCCESS)
		return c;
	cairo_destroy(c);
	return NULL;
}

enum moe_err moe_synth_canvas_take(cairo_t *c, struct moe_synth_sample *out, struct moe_diag *d)
{
	cairo_surface_t *surface = c ? cairo_get_target(c) : NULL;
	cairo_status_t status = c ? cairo_status(c) : CAIRO_STATUS_NO_MEMORY;
	const unsigned char *pixels;
	size_t w, h, stride;

	if (status) {
		if (c)
			cairo_destroy(c);
		return moe_fail(d, status == CAIRO_STATUS_NO_MEMORY ? MOE_ENOMEM : MOE_EINPUT, "drawing failed: %s", cairo_status_to_string(status));
	}
	cairo_surface_flush(surface);
	w = (size_t)cairo_image_surface_get_width(surface);
	h = (size_t)cairo_image_surface_get_height(surface);
	stride = (size_t)cairo_image_surface_get_stride(surface);
	pixels = cairo_image_surface_get_data(surface);
	out->width = (uint32_t)w;
	out->height = (uint32_t)h;
	out->rgb = moe_arena_get(out->arena, w * h, 3);
	for (size_t y = 0; out->rgb && y < h; y++)
		for (size_t x = 0; x < w; x++) {
			uint32_t v;
			memcpy(&v, pixels + y * stride + 4 * x, sizeof v);
			out->rgb[3 * (y * w + x)] = (uint8_t)(v >> 16);
			out->rgb[3 * (y * w + x) + 1] = (uint8_t)(v >> 8);
			out->rgb[3 * (y * w + x) + 2] = (uint8_t)v;
		}
	cairo_destroy(c);
	return out->rgb ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

/* ---- the mixture ---- */

size_t moe_synth_n_tasks(void)
{
	size_t n = 0;

	while (moe_synth_tasks[n])
		n++;
	return n;
}

size_t moe_synth_task_find(const char *name, size_t length)
{
	size_t i = 0;

	while (moe_synth_tasks[i] && (strlen(moe_synth_tasks[i]->name) != length || memcmp(moe_synth_tasks[i]->name, name, length)))
		i++;
	return i;
}

enum moe_err moe_synth_make(struct moe_synth *s, uint64_t seed, uint64_t i, const double *weight, struct moe_synth_sample *out, struct moe_diag *d)
{
	struct moe_draw r = {.seed = seed, .stream = i ^ (uint64_t)s->split << 60};
	const struct moe_synth_task *task = moe_synth_tasks[moe_draw_weighted(&r, weight, moe_synth_n_tasks())];

	moe_arena_reset(&s->arena);
	*out = (struct moe_synth_sample){.arena = &s->arena, .kind = task->name};
	MOE_TRY(task->make(s, &r, out, d));
	return out->no_memory ? moe_fail(d, MOE_ENOMEM, "out of memory") : MOE_OK;
}

/* ---- words ---- */

struct moe_words {
	char **word;
	size_t n, room;
	bool failed;
};

static void add_word(struct moe_words *w, const char *from, size_t n)
{
	struct moe_diag d;

	if (w->failed || moe_grow(&w->word, &w->room, w->n + 1, sizeof *w->word, &d) || !(w->word[w->n] = strndup(from, n)))
		w->failed = true;
	else
		w->n++;
}

void moe_words_add(struct moe_words *w, const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";

	while (*text) {
		size_t n = strspn(text, letters);
		if (n)
			add_word(w, text, n);
		text += n ? n : strcspn(text, letters);
	}
}

static int compare_words(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Sorted, each once. */
static char *join(struct moe_words *w)
{
	size_t n = 1;
	char *text, *p;

	if (w->n)
		qsort(w->word, w->n, sizeof *w->word, compare_words);
	for (size_t i = 0; i < w->n; i++)
		n += strlen(w->word[i]) + 1;
	p = text = malloc(n);
	for (size_t i = 0; text && i < w->n; i++)
		if (!i || strcmp(w->word[i], w->word[i - 1])) {
			p = stpcpy(p, w->word[i]);
			*p++ = '\n';
		}
	if (text)
		*p = 0;
	return text;
}

char *moe_synth_words(void)
{
	struct moe_words w = {0};
	char *text;

	for (size_t i = 0; moe_synth_tasks[i]; i++)
		if (moe_synth_tasks[i]->words)
			moe_synth_tasks[i]->words(&w);
	text = w.failed ? NULL : join(&w);
	for (size_t i = 0; i < w.n; i++)
		free(w.word[i]);
	free(w.word);
	return text;
}
