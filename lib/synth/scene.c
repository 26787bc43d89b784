/* What a scene is made of, and which split it belongs to. */
#include "synth/scene.h"

#include <math.h>
#include <string.h>

static const char *const sizes[] = {"small", "large"};
static const char *const colours[] = {"red", "green", "blue", "yellow", "purple", "orange", "pink", "white", "black", "grey"};
static const char *const textures[] = {"plain", "striped", "dotted", "checked"};
static const char *const kinds[] = {"circle", "square", "triangle", "star", "diamond", "cross", "ring", "heart", "digit", "letter"};
static const char *const plurals[] = {"circles", "squares", "triangles", "stars", "diamonds", "crosses", "rings", "hearts", "digits", "letters"};
static const char *const cells[] = {"top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right"};
static const struct { const char *const *word; unsigned n; } values[MOE_SCENE_ATTRIBUTES] = {
	{sizes, MOE_SCENE_SIZES}, {colours, MOE_SCENE_COLOURS}, {textures, MOE_SCENE_TEXTURES}, {kinds, MOE_SCENE_KINDS},
};

/* Shades of each colour; the last two are kept out of training: in some channel each is 12 away from each of the others, and draws move by 5. */
enum { SHADES = 5, SHADES_TRAINED = 3 };
static const struct moe_ink shades[MOE_SCENE_COLOURS][SHADES] = {
	{{220, 40, 40}, {200, 20, 35}, {235, 30, 25}, {185, 30, 25}, {240, 50, 55}},
	{{40, 165, 60}, {25, 135, 45}, {70, 190, 70}, {20, 150, 85}, {90, 175, 40}},
	{{45, 80, 225}, {25, 55, 190}, {60, 110, 240}, {20, 85, 200}, {65, 75, 245}},
	{{240, 215, 40}, {250, 225, 20}, {230, 205, 60}, {250, 230, 75}, {225, 205, 20}},
	{{140, 50, 180}, {120, 35, 155}, {155, 65, 205}, {110, 45, 170}, {160, 45, 190}},
	{{245, 135, 25}, {235, 120, 15}, {250, 145, 45}, {230, 130, 40}, {250, 125, 5}},
	{{250, 150, 190}, {245, 130, 185}, {250, 165, 200}, {240, 140, 170}, {250, 155, 215}},
	{{245, 245, 245}, {252, 250, 243}, {240, 240, 240}, {255, 246, 228}, {232, 248, 252}},
	{{20, 20, 20}, {8, 10, 14}, {30, 28, 26}, {32, 10, 12}, {8, 20, 40}},
	{{128, 128, 128}, {115, 118, 120}, {140, 140, 138}, {118, 128, 140}, {142, 128, 116}},
};

const char *moe_scene_value(enum moe_scene_attribute a, unsigned value)
{
	return value < values[a].n ? values[a].word[value] : NULL;
}

const char *moe_scene_plural(unsigned kind)
{
	return kind < MOE_SCENE_KINDS ? plurals[kind] : NULL;
}

unsigned moe_scene_values(enum moe_scene_attribute a)
{
	return values[a].n;
}

const char *moe_scene_cell(unsigned cell)
{
	return cell < MOE_SCENE_CELLS ? cells[cell] : NULL;
}

bool moe_scene_is_held(unsigned kind, unsigned colour)
{
	return kind < MOE_SCENE_SHAPES && colour == (3 * kind + 1) % MOE_SCENE_COLOURS;
}

const char *moe_scene_key(struct moe_synth_sample *out, const struct moe_scene *scene)
{
	const char *key = "things";

	for (size_t i = 0; i < scene->n; i++) {
		const struct moe_scene_thing *t = &scene->thing[i];
		key = moe_synth_text(out, "%s|%u %s %s %s %s %d", key, t->cell, kinds[t->value[MOE_SCENE_KIND]], colours[t->value[MOE_SCENE_COLOUR]],
			sizes[t->value[MOE_SCENE_SIZE]], textures[t->value[MOE_SCENE_TEXTURE]], t->text);
	}
	return key;
}

/* Characters that are drawn like no other in every face: no I and O. */
static char draw_character(struct moe_draw *r, unsigned kind, const struct moe_font *font)
{
	const char *of = kind == MOE_SCENE_DIGIT ? "0123456789" : "ABCDEFGHJKLMNPQRSTUVWXYZ";
	char c;

	do
		c = of[moe_draw_below(r, strlen(of))];
	while (!moe_font_is_clear(font, c) && moe_draw_chance(r, 0.999));
	return c;
}

/* Textures that can be told apart on so much surface: bits. */
static unsigned textures_of(const struct moe_scene_thing *t)
{
	enum { PLAIN = 1, STRIPED = 2, ALL = 15 };
	static const unsigned small[MOE_SCENE_KINDS] = {PLAIN | STRIPED, PLAIN | STRIPED, PLAIN, PLAIN, PLAIN, PLAIN, PLAIN, PLAIN, PLAIN, PLAIN};
	static const unsigned large[MOE_SCENE_KINDS] = {ALL, ALL, ALL, PLAIN | STRIPED, ALL, PLAIN | STRIPED, PLAIN | STRIPED, ALL, PLAIN, PLAIN};

	return (t->value[MOE_SCENE_SIZE] == MOE_SCENE_SMALL ? small : large)[t->value[MOE_SCENE_KIND]];
}

static void draw_thing(struct moe_scene_thing *t, struct moe_draw *r, const struct moe_scene *before, size_t n)
{
	static const double kinds_of[] = {0.8, 0.1, 0.1}, texture_of[MOE_SCENE_TEXTURES] = {0.37, 0.21, 0.21, 0.21};
	size_t kind = moe_draw_weighted(r, kinds_of, 3);

	t->value[MOE_SCENE_KIND] = (unsigned)(kind ? MOE_SCENE_DIGIT - 1 + kind : moe_draw_below(r, MOE_SCENE_SHAPES));
	t->value[MOE_SCENE_COLOUR] = (unsigned)moe_draw_below(r, MOE_SCENE_COLOURS);
	t->value[MOE_SCENE_SIZE] = (unsigned)moe_draw_below(r, MOE_SCENE_SIZES);
	t->value[MOE_SCENE_TEXTURE] = (unsigned)moe_draw_weighted(r, texture_of, MOE_SCENE_TEXTURES);
	if (n && moe_draw_chance(r, 0.4)) {     /* things that have something in common: counting and telling apart are not trivial */
		enum moe_scene_attribute a = moe_draw_chance(r, 0.5) ? MOE_SCENE_KIND : MOE_SCENE_COLOUR;
		t->value[a] = before->thing[moe_draw_below(r, n)].value[a];
	}
}

/* Text, and what depends on the rest. */
static void complete(struct moe_scene_thing *t, struct moe_synth *s, struct moe_draw *r)
{
	t->text = 0;
	t->font = NULL;
	if (t->value[MOE_SCENE_KIND] >= MOE_SCENE_SHAPES) {
		t->font = moe_synth_font(s, r, 0, MOE_FONT_ITALIC);
		t->text = draw_character(r, t->value[MOE_SCENE_KIND], t->font);
	}
	if (!(textures_of(t) >> t->value[MOE_SCENE_TEXTURE] & 1))
		t->value[MOE_SCENE_TEXTURE] = MOE_SCENE_PLAIN;
}

static bool has_held(const struct moe_scene *scene)
{
	for (size_t i = 0; i < scene->n; i++)
		if (moe_scene_is_held(scene->thing[i].value[MOE_SCENE_KIND], scene->thing[i].value[MOE_SCENE_COLOUR]))
			return true;
	return false;
}

static size_t draw_count(const struct moe_scene *scene, const struct moe_synth *s, struct moe_draw *r)
{
	static const double weight[MOE_SCENE_MOST + 1] = {0.02, 0.08, 0.2, 0.25, 0.25, 0.2};

	if (s->things)
		return 1 + moe_draw_below(r, s->things);
	if (scene->easy)
		return 1 + moe_draw_below(r, 2);
	return scene->pairs ? 1 + moe_draw_below(r, MOE_SCENE_MOST) : moe_draw_weighted(r, weight, MOE_SCENE_MOST + 1);
}

/* n things, without places and shades; false when a pair is among it that this split has not. */
static bool draw_things(struct moe_scene *scene, struct moe_synth *s, struct moe_draw *r)
{
	unsigned cell[MOE_SCENE_CELLS];
	bool taken[MOE_SCENE_CELLS] = {false};

	for (unsigned i = 0; i < MOE_SCENE_CELLS; i++)
		cell[i] = i;
	moe_draw_shuffle(r, cell, MOE_SCENE_CELLS, sizeof *cell);
	for (size_t i = 0; i < scene->n; i++)
		taken[cell[i]] = true;
	for (unsigned c = 0, i = 0; c < MOE_SCENE_CELLS; c++)
		if (taken[c]) {
			draw_thing(&scene->thing[i], r, scene, i);
			scene->thing[i++].cell = c;
		}
	scene->focus = -1;
	if (scene->pairs) {
		scene->focus = (int)moe_draw_below(r, scene->n);
		unsigned *value = scene->thing[scene->focus].value;
		value[MOE_SCENE_KIND] = (unsigned)moe_draw_below(r, MOE_SCENE_SHAPES);
		value[MOE_SCENE_COLOUR] = (3 * value[MOE_SCENE_KIND] + 1) % MOE_SCENE_COLOURS;
	}
	for (size_t i = 0; i < scene->n; i++)
		complete(&scene->thing[i], s, r);
	return scene->pairs || !has_held(scene);
}

static bool is_free(const struct moe_scene *scene, size_t n, const struct moe_scene_thing *t)
{
	double reach = t->radius + 0.5;

	if (t->x < reach || t->y < reach || t->x > MOE_SCENE_SIDE - reach || t->y > MOE_SCENE_SIDE - reach)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct moe_scene_thing *o = &scene->thing[i];
		double apart = o->radius + t->radius + 1;
		if (fabs(o->x - t->x) < apart && fabs(o->y - t->y) < apart)
			return false;
	}
	return true;
}

/* Each thing up to `about` from the middle of its cell, without overlap; false when no place is found for one. */
static bool place_within(struct moe_scene *scene, struct moe_draw *r, double about)
{
	const double step = MOE_SCENE_SIDE / 3.0;

	for (size_t i = 0; i < scene->n; i++) {
		struct moe_scene_thing *t = &scene->thing[i];
		int tries = 0;
		do {
			if (tries++ == 50)
				return false;
			t->x = (t->cell % 3 + 0.5) * step + moe_draw_real(r, -about, about);
			t->y = (t->cell / 3 + 0.5) * step + moe_draw_real(r, -about, about);
		} while (!is_free(scene, i, t));
	}
	return true;
}

/* In the middle of its cell, where all have room, or anywhere in it but near its border, so that the cell's name is beyond doubt. */
static void place(struct moe_scene *scene, struct moe_draw *r)
{
	for (size_t i = 0; i < scene->n; i++) {
		struct moe_scene_thing *t = &scene->thing[i];
		t->radius = t->value[MOE_SCENE_SIZE] == MOE_SCENE_SMALL ? moe_draw_real(r, 5.2, 6) : moe_draw_real(r, 8.4, 9.1);
		t->turn = moe_draw_chance(r, 0.5) ? moe_draw_real(r, -0.1, 0.1) : 0;
	}
	if (moe_draw_chance(r, 0.6) || !place_within(scene, r, MOE_SCENE_SIDE / 6.0 - 3))
		while (!place_within(scene, r, 0.9))
			continue;
}

static void colour(struct moe_scene *scene, struct moe_draw *r, bool unseen)
{
	for (size_t i = 0; i < scene->n; i++) {
		struct moe_scene_thing *t = &scene->thing[i];
		size_t shade = unseen ? SHADES_TRAINED + moe_draw_below(r, SHADES - SHADES_TRAINED) : moe_draw_below(r, SHADES_TRAINED);
		t->ink = moe_ink_jitter(r, shades[t->value[MOE_SCENE_COLOUR]][shade], 5);
	}
}

enum moe_err moe_scene_compose(struct moe_scene *scene, struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out, struct moe_diag *d)
{
	bool unseen = s->split == MOE_SYNTH_UNSEEN;

	*scene = (struct moe_scene){.pairs = unseen && moe_draw_chance(r, 0.5)};
	scene->easy = s->things ? s->things <= 2 : moe_draw_chance(r, 0.3);
	scene->n = draw_count(scene, s, r);        /* once: splits differ in what is there, not in how much */
	for (int tries = 0; tries < 100000; tries++) {
		if (!draw_things(scene, s, r))
			continue;
		struct moe_arena_mark mark = moe_arena_mark(out->arena);
		bool ours = moe_synth_is_of(s->split, "scene", moe_scene_key(out, scene));
		moe_arena_release(out->arena, mark);
		if (ours) {
			place(scene, r);
			colour(scene, r, unseen && !scene->pairs);
			return MOE_OK;
		}
		if (!scene->n)
			scene->n = 1 + moe_draw_below(r, MOE_SCENE_MOST);
	}
	return moe_fail(d, MOE_EINPUT, "no scene of the split %s was found", moe_synth_split_name(s->split));
}

enum moe_err moe_scene_make(struct moe_scene *scene, struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out, struct moe_diag *d)
{
	MOE_TRY(moe_scene_compose(scene, s, r, out, d));
	MOE_TRY(moe_scene_draw(scene, s, r, out, d));
	moe_scene_ask(scene, r, out);
	moe_synth_tag(out, "objects", moe_synth_text(out, "%zu", scene->n));
	moe_synth_tag(out, "easy", scene->easy ? "yes" : "no");
	if (s->split == MOE_SYNTH_UNSEEN)
		moe_synth_tag(out, "unseen", scene->pairs ? "pair" : "shade");
	return MOE_OK;
}

static enum moe_err make(struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out, struct moe_diag *d)
{
	struct moe_scene scene;

	return moe_scene_make(&scene, s, r, out, d);
}

const struct moe_synth_task moe_task_scene = {"scene", 0.33, make, moe_scene_words};
