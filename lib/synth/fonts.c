#include "synth/fonts.h"

#include <cairo-ft.h>
#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_OUTLINE_H
#include <nettle/sha2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/source.h"

enum { MAX_LIST = 1 << 20, MAX_FONT = 64 << 20, FIELDS = 5, CHARACTERS = MOE_LAST_CHARACTER - MOE_FIRST_CHARACTER + 1 };
enum { LARGE = 48, SMALL = 16, SQUARE = 72, THIRD = 255 / 3 + 5, PIXEL = 64 };

static const struct {
	const char *word;
	unsigned flag;
} flag_words[] = {{"mono", MOE_FONT_MONO}, {"bold", MOE_FONT_BOLD}, {"italic", MOE_FONT_ITALIC}, {"serif", MOE_FONT_SERIF}, {"held", MOE_FONT_HELD}, {"-", 0}};

/* "mono,bold" -> flags; false for a word that is not known. */
static bool read_flags(char *text, unsigned *flags)
{
	char *state = NULL;

	for (char *word = strtok_r(text, ",", &state); word; word = strtok_r(NULL, ",", &state)) {
		size_t i = 0, n = sizeof flag_words / sizeof *flag_words;
		while (i < n && strcmp(flag_words[i].word, word))
			i++;
		if (i == n)
			return false;
		*flags |= flag_words[i].flag;
	}
	return true;
}

static char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/'), *from = slash ? slash + 1 : path, *dot = strrchr(from, '.');

	return strndup(from, dot && dot > from ? (size_t)(dot - from) : strlen(from));
}

/* Are the bytes those that the list was made from? */
static bool has_sha256(const char *bytes, size_t n, const char *wanted)
{
	struct sha256_ctx c;
	uint8_t sum[SHA256_DIGEST_SIZE];
	char hex[2 * SHA256_DIGEST_SIZE + 1];

	sha256_init(&c);
	sha256_update(&c, n, (const uint8_t *)bytes);
	sha256_digest(&c, sizeof sum, sum);
	for (size_t i = 0; i < sizeof sum; i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
	return !strcmp(hex, wanted);
}

/* ---- characters that are drawn alike ---- */

/* A glyph on a square of pixels. Twins are looked for where the font puts them, at a large size; what is only alike with its ink moved to the left edge. */
struct glyph {
	bool drawn;
	int advance;            /* 64ths of a pixel */
	int rows, columns, left, top;   /* of the bitmap, which may leave the square */
	uint8_t ink[SQUARE][SQUARE];
};

/* Of a font that consists of bitmaps: the size that is nearest to `size`. */
static bool set_size(FT_Face face, int size)
{
	int best = 0;

	if (FT_IS_SCALABLE(face))
		return !FT_Set_Pixel_Sizes(face, 0, (FT_UInt)size);
	for (int i = 1; i < face->num_fixed_sizes; i++)
		if (abs(face->available_sizes[i].height - size) < abs(face->available_sizes[best].height - size))
			best = i;
	return face->num_fixed_sizes > 0 && !FT_Select_Size(face, best);
}

static void copy_bitmap(struct glyph *g, const FT_Bitmap *from)
{
	for (int y = 0; y < g->rows; y++)
		for (int x = 0; x < g->columns; x++) {
			const uint8_t *row = from->buffer + (ptrdiff_t)y * from->pitch;
			int value = from->pixel_mode == FT_PIXEL_MODE_MONO ? (row[x / 8] >> (7 - x % 8) & 1) * 255 : row[x];
			int at_x = x + g->left, at_y = y + g->top;
			g->drawn = true;
			if (at_x >= 0 && at_x < SQUARE && at_y >= 0 && at_y < SQUARE)
				g->ink[at_y][at_x] = (uint8_t)value;
		}
}

static void look_at(struct glyph *g, FT_Face face, int c, bool move)
{
	FT_UInt index = FT_Get_Char_Index(face, (FT_ULong)c);
	FT_GlyphSlot slot = face->glyph;
	bool outline;
	FT_BBox box;

	*g = (struct glyph){0};
	if (!index || FT_Load_Glyph(face, index, FT_LOAD_NO_HINTING))
		return;
	g->advance = (int)slot->advance.x;
	outline = slot->format == FT_GLYPH_FORMAT_OUTLINE;
	if (outline && move) {
		FT_Outline_Get_CBox(&slot->outline, &box);
		FT_Outline_Translate(&slot->outline, -box.xMin, 0);
	}
	if (FT_Render_Glyph(slot, FT_RENDER_MODE_NORMAL))
		return;
	g->rows = (int)slot->bitmap.rows;
	g->columns = (int)slot->bitmap.width;
	g->left = move ? (outline ? slot->bitmap_left : 0) : slot->bitmap_left + 8;
	g->top = SQUARE * 3 / 4 - slot->bitmap_top;
	copy_bitmap(g, &slot->bitmap);
}

/* The largest difference of two pixels is at most `most`, and that of the advances at most `advance`. */
static bool is_alike(const struct glyph *a, const struct glyph *b, int most, int advance)
{
	if (!a->drawn || !b->drawn || abs(a->advance - b->advance) > advance || abs(a->rows - b->rows) > 1 || abs(a->columns - b->columns) > 1 ||
	    abs(a->left - b->left) > 1 || abs(a->top - b->top) > 1)
		return false;
	for (int y = a->top > 0 ? a->top - 1 : 0; y < SQUARE && y <= a->top + a->rows + 1; y++)
		for (int x = a->left > 0 ? a->left - 1 : 0; x < SQUARE && x <= a->left + a->columns + 1; x++)
			if (abs(a->ink[y][x] - b->ink[y][x]) > most)
				return false;
	return true;
}

static void mark(uint64_t set[2], int i) { set[(i + 1) / 64] |= 1ull << (i + 1) % 64; }

/* Marks all characters that look alike at this size, and those that are not drawn. */
static bool compare_all(FT_Face face, struct glyph *glyph, int size, bool move, int most, int advance, uint64_t set[2])
{
	if (!set_size(face, size))
		return false;
	for (int i = 0; i < CHARACTERS; i++) {
		look_at(&glyph[i], face, MOE_FIRST_CHARACTER + i, move);
		if (!glyph[i].drawn)
			mark(set, i);
		for (int j = 0; j < i; j++)
			if (is_alike(&glyph[i], &glyph[j], most, advance)) {
				mark(set, i);
				mark(set, j);
			}
	}
	return true;
}

static void note_sizes(FT_Face face, struct moe_font *f)
{
	if (FT_IS_SCALABLE(face))
		return;
	f->flags |= MOE_FONT_BITMAP;
	for (int i = 0; i < face->num_fixed_sizes && f->n_strikes < MOE_MAX_STRIKES; i++)
		f->strike[f->n_strikes++] = (unsigned short)((face->available_sizes[i].y_ppem + 32) / 64);
}

static bool look_at_font(FT_Library library, const char *bytes, size_t n, struct moe_font *f)
{
	struct glyph *glyph = moe_calloc(CHARACTERS, sizeof *glyph);
	FT_Face face;
	bool good = false;

	if (glyph && !FT_New_Memory_Face(library, (const FT_Byte *)bytes, (FT_Long)n, 0, &face)) {
		good = compare_all(face, glyph, LARGE, false, 0, 0, f->twins) && compare_all(face, glyph, SMALL, true, THIRD, PIXEL * 5 / 4, f->alike);
		note_sizes(face, f);
		FT_Done_Face(face);
	}
	free(glyph);
	return good;
}

static bool has(const uint64_t set[2], char c)
{
	unsigned i = (unsigned char)c - 32u;

	return i >= 95 || set[i / 64] >> i % 64 & 1;
}

bool moe_font_has_twin(const struct moe_font *f, char c) { return has(f->twins, c); }

bool moe_font_is_clear(const struct moe_font *f, char c) { return !has(f->twins, c) && !has(f->alike, c); }

/* ---- the list ---- */

/* Names the packages of all files that are not there, each once, so that one command installs them. */
static enum moe_err check_presence(const struct moe_fonts *f, struct moe_diag *d)
{
	char packages[400] = "";
	const struct moe_font *first = NULL;

	for (size_t i = 0; i < f->n; i++) {
		const struct moe_font *at = &f->font[i];
		size_t n = strlen(packages);
		if (!access(at->path, R_OK) || (i && first && !strcmp(at->package, f->font[i - 1].package)))
			continue;
		first = first ? first : at;
		if (n + strlen(at->package) + 2 < sizeof packages)
			strcat(strcat(packages, " "), at->package);
	}
	return first ? moe_fail(d, MOE_EIO, "the font %s is not there; `apt-get install%s` installs it", first->path, packages) : MOE_OK;
}

/* The file's bytes are checked and looked at once; faces are opened by name later. */
static enum moe_err check_file(FT_Library library, struct moe_font *f, struct moe_diag *d)
{
	char *bytes;
	size_t n;
	bool good;

	MOE_TRY(moe_read_file(f->path, MAX_FONT, &bytes, &n, d));
	if (!has_sha256(bytes, n, f->sha256)) {
		free(bytes);
		return moe_fail(d, MOE_EIO, "the font %s has other bytes than the list says (SHA-256 %.12s...); the package %s of Debian 12 has them",
				f->path, f->sha256, f->package);
	}
	good = look_at_font(library, bytes, n, f);
	free(bytes);
	return good ? MOE_OK : moe_fail(d, MOE_EINPUT, "%s is not a font that FreeType can open", f->path);
}

/* One line, which is cut into its fields. */
static enum moe_err read_line(struct moe_fonts *out, char *line, size_t number, struct moe_diag *d)
{
	struct moe_font *f = &out->font[out->n];
	char *field[FIELDS], *rest = line;
	size_t n = 0;

	while (n < FIELDS && rest)
		field[n++] = strsep(&rest, "\t");
	if (n != FIELDS || rest || !*field[0] || field[1][0] != '/' || strlen(field[2]) != 64 || !*field[3])
		return moe_fail(d, MOE_EINPUT, "line %zu: expected package, path, SHA-256, group and flags, separated by tabs", number);
	if (out->n == MOE_MAX_FONTS)
		return moe_fail(d, MOE_EINPUT, "line %zu: more than %d fonts", number, MOE_MAX_FONTS);
	out->n++;
	f->package = moe_strdup(field[0]);
	f->path = moe_strdup(field[1]);
	f->group = moe_strdup(field[3]);
	f->name = base_name(field[1]);
	if (!f->package || !f->path || !f->group || !f->name)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	memcpy(f->sha256, field[2], sizeof f->sha256);
	if (!read_flags(field[4], &f->flags))
		return moe_fail(d, MOE_EINPUT, "line %zu: flags are mono, bold, italic, serif and held, or -", number);
	return MOE_OK;
}

static enum moe_err read_list(struct moe_fonts *out, char *text, struct moe_diag *d)
{
	size_t number = 0;

	for (char *line; (line = strsep(&text, "\n"));) {
		number++;
		if (*line && *line != '#')
			MOE_TRY(read_line(out, line, number, d));
	}
	return out->n ? MOE_OK : moe_fail(d, MOE_EINPUT, "no font is listed");
}

/* A group is held out as a whole, or its design is not held out at all. */
static enum moe_err check_groups(const struct moe_fonts *f, struct moe_diag *d)
{
	for (size_t i = 0; i < f->n; i++)
		for (size_t j = 0; j < i; j++)
			if (!strcmp(f->font[i].group, f->font[j].group) && (f->font[i].flags ^ f->font[j].flags) & MOE_FONT_HELD)
				return moe_fail(d, MOE_EINPUT, "of the group %s, %s is held out and %s is not", f->font[i].group,
						f->font[f->font[i].flags & MOE_FONT_HELD ? i : j].name, f->font[f->font[i].flags & MOE_FONT_HELD ? j : i].name);
	return MOE_OK;
}

enum moe_err moe_fonts_load(struct moe_fonts *out, const char *list, struct moe_diag *d)
{
	FT_Library library;
	enum moe_err err;
	char *text;
	size_t n;

	*out = (struct moe_fonts){0};
	MOE_TRY(moe_read_file(list, MAX_LIST, &text, &n, d));
	out->font = moe_calloc(MOE_MAX_FONTS, sizeof *out->font);
	if (!out->font || FT_Init_FreeType(&library)) {
		free(text);
		moe_fonts_free(out);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	err = strlen(text) == n ? read_list(out, text, d) : moe_fail(d, MOE_EINPUT, "a list of fonts has no NUL bytes");
	if (!err)
		err = check_groups(out, d);
	if (!err)
		err = check_presence(out, d);
	for (size_t i = 0; !err && i < out->n; i++)
		err = check_file(library, &out->font[i], d);
	FT_Done_FreeType(library);
	free(text);
	if (err) {
		moe_fonts_free(out);
		if (err != MOE_EIO)
			moe_diag_path(d, list);
	}
	return err;
}

void moe_fonts_free(struct moe_fonts *f)
{
	for (size_t i = 0; f->font && i < f->n; i++) {
		free(f->font[i].package);
		free(f->font[i].path);
		free(f->font[i].group);
		free(f->font[i].name);
	}
	free(f->font);
	*f = (struct moe_fonts){0};
}

/* ---- faces ---- */

/* cairo keeps a face for a while after it was destroyed: the library of FreeType goes with the last one. */
struct library {
	FT_Library ft;
	atomic_uint users;
};

struct moe_faces {
	const struct moe_fonts *fonts;
	struct library *library;
	struct face {
		FT_Face ft;
		cairo_font_face_t *cairo;
		bool tried;
	} *face;        /* [fonts->n] */
};

struct closing {
	FT_Face ft;
	struct library *library;
};

static void leave(struct library *l)
{
	if (atomic_fetch_sub(&l->users, 1) != 1)
		return;
	FT_Done_FreeType(l->ft);
	free(l);
}

static void close_face(void *arg)
{
	struct closing *c = arg;

	FT_Done_Face(c->ft);
	leave(c->library);
	free(c);
}

enum moe_err moe_faces_new(struct moe_faces **out, const struct moe_fonts *fonts, struct moe_diag *d)
{
	struct moe_faces *f = moe_calloc(1, sizeof *f);

	*out = NULL;
	if (f) {
		f->fonts = fonts;
		f->face = moe_calloc(fonts->n, sizeof *f->face);
		f->library = moe_calloc(1, sizeof *f->library);
	}
	if (!f || !f->face || !f->library || FT_Init_FreeType(&f->library->ft)) {
		if (f) {
			free(f->face);
			free(f->library);
		}
		free(f);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	f->library->users = 1;
	*out = f;
	return MOE_OK;
}

void moe_faces_free(struct moe_faces *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->fonts->n; i++)
		if (f->face[i].cairo)
			cairo_font_face_destroy(f->face[i].cairo);
	leave(f->library);
	free(f->face);
	free(f);
}

static void open_face(struct moe_faces *f, struct face *face, const struct moe_font *font)
{
	static const cairo_user_data_key_t key;
	struct closing *c = moe_calloc(1, sizeof *c);

	face->tried = true;
	if (!c || FT_New_Face(f->library->ft, font->path, 0, &face->ft)) {
		free(c);
		return;
	}
	face->cairo = cairo_ft_font_face_create_for_ft_face(face->ft, 0);
	*c = (struct closing){face->ft, f->library};
	atomic_fetch_add(&f->library->users, 1);
	if (cairo_font_face_set_user_data(face->cairo, &key, c, close_face)) {
		cairo_font_face_destroy(face->cairo);
		face->cairo = NULL;
		close_face(c);
	}
}

static struct face *face_of(struct moe_faces *f, const struct moe_font *font)
{
	struct face *face = &f->face[font - f->fonts->font];

	if (!face->tried)
		open_face(f, face, font);
	return face;
}

cairo_font_face_t *moe_face_get(struct moe_faces *f, const struct moe_font *font) { return face_of(f, font)->cairo; }

unsigned long moe_face_glyph(struct moe_faces *f, const struct moe_font *font, char c)
{
	struct face *face = face_of(f, font);

	return face->cairo ? FT_Get_Char_Index(face->ft, (unsigned char)c) : 0;
}

double moe_face_kerning(struct moe_faces *f, const struct moe_font *font, char a, char b)
{
	struct face *face = face_of(f, font);
	FT_Vector v;

	if (!face->cairo || !FT_HAS_KERNING(face->ft) || !face->ft->units_per_EM ||
	    FT_Get_Kerning(face->ft, FT_Get_Char_Index(face->ft, (unsigned char)a), FT_Get_Char_Index(face->ft, (unsigned char)b), FT_KERNING_UNSCALED, &v))
		return 0;
	return (double)v.x / face->ft->units_per_EM;
}
