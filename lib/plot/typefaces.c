#include "plot/typefaces.h"

#include <cairo-ft.h>
#include <fontconfig/fontconfig.h>
#include <stdlib.h>

struct family {
	FcPattern *wanted;
	FcFontSet *set;                 /* made when it is first asked for */
	cairo_font_face_t **face;       /* [set->nfont], NULL until they are used */
};

struct moe_typefaces {
	struct family weight[2];        /* regular, bold */
};

enum moe_err moe_typefaces_new(struct moe_typefaces **out)
{
	*out = calloc(1, sizeof **out);
	return *out ? MOE_OK : MOE_ENOMEM;
}

static void family_free(struct family *f)
{
	for (int i = 0; f->set && f->face && i < f->set->nfont; i++)
		cairo_font_face_destroy(f->face[i]);
	free(f->face);
	if (f->set)
		FcFontSetDestroy(f->set);
	if (f->wanted)
		FcPatternDestroy(f->wanted);
}

void moe_typefaces_free(struct moe_typefaces *t)
{
	if (!t)
		return;
	family_free(&t->weight[0]);
	family_free(&t->weight[1]);
	free(t);
	cairo_debug_reset_static_data();        /* it holds fonts of fontconfig, whose memory leak checkers see only when it is given back */
	FcFini();
}

static bool load(struct family *f, bool bold)
{
	FcResult result;

	if (f->set)
		return f->face;
	f->wanted = FcPatternBuild(NULL, FC_FAMILY, FcTypeString, "sans-serif", FC_WEIGHT, FcTypeInteger, bold ? FC_WEIGHT_BOLD : FC_WEIGHT_REGULAR,
				   FC_SCALABLE, FcTypeBool, FcTrue, (char *)NULL);
	if (!f->wanted || !FcConfigSubstitute(NULL, f->wanted, FcMatchPattern))
		return false;
	FcDefaultSubstitute(f->wanted);
	f->set = FcFontSort(NULL, f->wanted, FcTrue, NULL, &result);
	f->face = f->set ? calloc((size_t)f->set->nfont + 1, sizeof *f->face) : NULL;
	return f->face;
}

static bool has(const FcPattern *font, unsigned rune)
{
	FcCharSet *set;

	return FcPatternGetCharSet(font, FC_CHARSET, 0, &set) == FcResultMatch && FcCharSetHasChar(set, rune);
}

static cairo_font_face_t *face_of(struct family *f, int i)
{
	FcPattern *ready;

	if (f->face[i])
		return f->face[i];
	ready = FcFontRenderPrepare(NULL, f->wanted, f->set->fonts[i]);
	if (ready) {
		f->face[i] = cairo_ft_font_face_create_for_pattern(ready);
		FcPatternDestroy(ready);
	}
	return f->face[i];
}

cairo_font_face_t *moe_typeface_for(struct moe_typefaces *t, bool bold, unsigned rune, cairo_font_face_t *last)
{
	struct family *f = &t->weight[bold];

	if (!load(f, bold) || !f->set->nfont)
		return NULL;
	for (int i = 0; last && i < f->set->nfont; i++)
		if (f->face[i] == last && has(f->set->fonts[i], rune))
			return last;
	for (int i = 0; i < f->set->nfont; i++)
		if (has(f->set->fonts[i], rune))
			return face_of(f, i);
	return last ? last : face_of(f, 0);
}
