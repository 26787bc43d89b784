/* Fonts by file: a list (share/synth/fonts.tsv) names Debian packages, files and their SHA-256, so that a sample looks the same on every machine. What
 * fontconfig would choose plays no part. Design groups, not files, are held out of training: metric-compatible and derived designs are one group. */
#ifndef MOE_SYNTH_FONTS_H
#define MOE_SYNTH_FONTS_H

#include <cairo.h>

#include "base/err.h"
#include "synth/chance.h"

enum moe_font_flags {
	MOE_FONT_MONO = 1,      /* all characters are equally wide */
	MOE_FONT_BOLD = 2,
	MOE_FONT_ITALIC = 4,
	MOE_FONT_SERIF = 8,
	MOE_FONT_HELD = 16,     /* its group is kept out of training */
	MOE_FONT_BITMAP = 32,   /* of pixels, in a few sizes: found in the file, not in the list */
};

enum { MOE_FIRST_CHARACTER = 33, MOE_LAST_CHARACTER = 126, MOE_MAX_FONTS = 256, MOE_MAX_STRIKES = 16 };

struct moe_font {
	char *package, *path, *group, *name;    /* name: the file's, without its suffix */
	char sha256[65];
	unsigned flags;
	uint64_t twins[2], alike[2];            /* bit c - 32: for moe_font_has_twin, and the opposite of moe_font_is_clear */
	unsigned short strike[MOE_MAX_STRIKES]; /* sizes of a font of pixels */
	size_t n_strikes;
};

/* Read-only after loading: threads share it. */
struct moe_fonts {
	struct moe_font *font;
	size_t n;
};

/* Loads the list and checks every file that it names. MOE_EIO for files that are not there or have other bytes, with the packages to install; MOE_EINPUT
 * for a list that is malformed. */
enum moe_err moe_fonts_load(struct moe_fonts *out, const char *list, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_fonts_free(struct moe_fonts *f);

/* Is character c missing, or drawn exactly as another one is? Then no string with it can be read. */
bool moe_font_has_twin(const struct moe_font *f, char c);

/* Does character c differ from all others at a small size, by more than a third of a pixel at 16 pixels to the em? In many designs I and l do not: only
 * words around them tell which it is. */
bool moe_font_is_clear(const struct moe_font *f, char c);

/* Opened fonts, for one thread. */
struct moe_faces;
enum moe_err moe_faces_new(struct moe_faces **out, const struct moe_fonts *fonts, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_faces_free(struct moe_faces *f);

/* The font's face for cairo_set_font_face, borrowed; NULL when it cannot be opened. */
cairo_font_face_t *moe_face_get(struct moe_faces *f, const struct moe_font *font);

/* The glyph of character c, 0 when there is none. */
unsigned long moe_face_glyph(struct moe_faces *f, const struct moe_font *font, char c);

/* What the font's own table adds to the advance of `a` before `b`, in ems; 0 without a table. */
double moe_face_kerning(struct moe_faces *f, const struct moe_font *font, char a, char b);

#endif
