/* Captions and questions of scenes. Each question has exactly one right answer: a thing is named by attributes that no other thing of the scene shares.
 * Yes or no is chosen first, then a question that has this answer; a type is asked only where both answers can be had, at most twice, and the second
 * time with the other answer. */
#include "synth/scene.h"

#include <math.h>
#include <string.h>

enum { NOT_SAID = -1 };

/* What is said of a thing, or of several. */
struct phrase { int value[MOE_SCENE_ATTRIBUTES]; };

static const struct phrase nothing_said = {{NOT_SAID, NOT_SAID, NOT_SAID, NOT_SAID}};

struct asker {
	const struct moe_scene *scene;
	struct moe_draw *r;
	struct moe_synth_sample *out;
	bool yes;               /* the answer that a question with yes or no shall have */
};

static bool fits(const struct moe_scene_thing *t, const struct phrase *p)
{
	for (unsigned a = 0; a < MOE_SCENE_ATTRIBUTES; a++)
		if (p->value[a] != NOT_SAID && p->value[a] != (int)t->value[a])
			return false;
	return true;
}

static unsigned count(const struct moe_scene *scene, const struct phrase *p)
{
	unsigned n = 0;

	for (size_t i = 0; i < scene->n; i++)
		n += fits(&scene->thing[i], p);
	return n;
}

/* "large red striped circle", "red objects". */
static const char *say(struct asker *q, const struct phrase *p, bool plural)
{
	const char *text = "", *gap = "", *noun = plural ? "objects" : "object";

	for (unsigned a = 0; a < MOE_SCENE_KIND; a++)
		if (p->value[a] != NOT_SAID) {
			text = moe_synth_text(q->out, "%s%s%s", text, gap, moe_scene_value(a, (unsigned)p->value[a]));
			gap = " ";
		}
	if (p->value[MOE_SCENE_KIND] != NOT_SAID) {
		unsigned kind = (unsigned)p->value[MOE_SCENE_KIND];
		noun = plural ? moe_scene_plural(kind) : moe_scene_value(MOE_SCENE_KIND, kind);
	}
	return moe_synth_text(q->out, "%s%s%s", text, gap, noun);
}

static const char *article(const char *phrase)
{
	return strchr("aeiou", *phrase) ? "an" : "a";
}

static bool is_text(const struct moe_scene_thing *t)
{
	return t->value[MOE_SCENE_KIND] >= MOE_SCENE_SHAPES;
}

/* All that a caption says: a plain texture is not mentioned. */
static struct phrase description(const struct moe_scene_thing *t)
{
	struct phrase p;

	for (unsigned a = 0; a < MOE_SCENE_ATTRIBUTES; a++)
		p.value[a] = (int)t->value[a];
	if (t->value[MOE_SCENE_TEXTURE] == MOE_SCENE_PLAIN)
		p.value[MOE_SCENE_TEXTURE] = NOT_SAID;
	return p;
}

/* Attributes that name this thing alone, without those of the mask; shape and colour first as a rule, and seldom more than are needed. */
static bool name(struct asker *q, const struct moe_scene_thing *t, unsigned without, struct phrase *p)
{
	unsigned order[MOE_SCENE_ATTRIBUTES] = {MOE_SCENE_KIND, MOE_SCENE_COLOUR, MOE_SCENE_SIZE, MOE_SCENE_TEXTURE};
	bool alone = false;

	if (moe_draw_chance(q->r, 0.3))
		moe_draw_shuffle(q->r, order, MOE_SCENE_ATTRIBUTES, sizeof *order);
	else if (moe_draw_chance(q->r, 0.5)) {
		order[0] = MOE_SCENE_COLOUR;
		order[1] = MOE_SCENE_KIND;
	}
	if (is_text(t))
		without |= 1u << MOE_SCENE_TEXTURE;
	*p = nothing_said;
	for (unsigned i = 0; i < MOE_SCENE_ATTRIBUTES; i++) {
		unsigned a = order[i];
		if (without >> a & 1 || (alone && !moe_draw_chance(q->r, 0.12)))
			continue;
		p->value[a] = (int)t->value[a];
		alone = alone || count(q->scene, p) == 1;
	}
	return alone;
}

/* The thing that the scene is about, as a rule, or any. */
static const struct moe_scene_thing *any_thing(struct asker *q)
{
	if (q->scene->focus >= 0 && moe_draw_chance(q->r, 0.9))
		return &q->scene->thing[q->scene->focus];
	return &q->scene->thing[moe_draw_below(q->r, q->scene->n)];
}

static const struct moe_scene_thing *other_thing(struct asker *q, const struct moe_scene_thing *t)
{
	size_t i = moe_draw_below(q->r, q->scene->n - 1);

	return &q->scene->thing[i + (i >= (size_t)(t - q->scene->thing))];
}

/* Adds a question that was not asked yet. */
static bool ask(struct asker *q, const char *type, const char *prompt, const char *answer, bool spell)
{
	for (size_t i = 0; i < q->out->n_questions; i++)
		if (strcmp(q->out->question[i].prompt, prompt) == 0)
			return false;
	moe_synth_ask(q->out, type, prompt, answer, spell);
	return true;
}

static bool ask_yes_no(struct asker *q, const char *type, const char *prompt)
{
	return ask(q, type, prompt, q->yes ? " yes" : " no", false);
}

static const char *at(struct asker *q, unsigned cell)
{
	return moe_synth_text(q->out, "%s the %s", cell == 4 ? "in" : "at", moe_scene_cell(cell));
}

static bool ask_attribute(struct asker *q, enum moe_scene_attribute a)
{
	static const char *const type[] = {"size", "colour", "texture", "shape"};
	const struct moe_scene_thing *t = any_thing(q);
	struct phrase p;

	if (is_text(t) && a >= MOE_SCENE_TEXTURE)
		return false;
	if (a == MOE_SCENE_TEXTURE && t->value[a] == MOE_SCENE_PLAIN && moe_draw_chance(q->r, 0.6))     /* most things are plain */
		return false;
	if (!name(q, t, 1u << a, &p))
		return false;
	return ask(q, type[a], moe_synth_text(q->out, "<ask> what %s is the %s?", type[a], say(q, &p, false)),
		moe_synth_text(q->out, " %s", moe_scene_value(a, t->value[a])), false);
}

static bool ask_size(struct asker *q) { return ask_attribute(q, MOE_SCENE_SIZE); }
static bool ask_colour(struct asker *q) { return ask_attribute(q, MOE_SCENE_COLOUR); }
static bool ask_texture(struct asker *q) { return ask_attribute(q, MOE_SCENE_TEXTURE); }
static bool ask_shape(struct asker *q) { return ask_attribute(q, MOE_SCENE_KIND); }

static bool ask_position(struct asker *q)
{
	const struct moe_scene_thing *t = any_thing(q);
	struct phrase p;

	if (!name(q, t, 0, &p))
		return false;
	return ask(q, "position", moe_synth_text(q->out, "<ask> where is the %s?", say(q, &p, false)),
		moe_synth_text(q->out, " %s", moe_scene_cell(t->cell)), false);
}

static bool ask_probe(struct asker *q, unsigned cell)
{
	const char *answer = " nothing";

	for (size_t i = 0; i < q->scene->n; i++)
		if (q->scene->thing[i].cell == cell) {
			struct phrase p = description(&q->scene->thing[i]);
			answer = moe_synth_text(q->out, " %s", say(q, &p, false));
		}
	return ask(q, "probe", moe_synth_text(q->out, "<ask> what is %s?", at(q, cell)), answer, false);
}

static bool names_held(const struct phrase *p)
{
	return p->value[MOE_SCENE_KIND] != NOT_SAID && p->value[MOE_SCENE_COLOUR] != NOT_SAID &&
		moe_scene_is_held((unsigned)p->value[MOE_SCENE_KIND], (unsigned)p->value[MOE_SCENE_COLOUR]);
}

/* A pair that training never sees is named in no question there; and it is what the questions about it are about: "no" would give the others away. */
static bool may_be_named(const struct moe_scene *scene, const struct phrase *p)
{
	bool pair = p->value[MOE_SCENE_KIND] != NOT_SAID && p->value[MOE_SCENE_COLOUR] != NOT_SAID;
	bool text = p->value[MOE_SCENE_KIND] >= MOE_SCENE_SHAPES && p->value[MOE_SCENE_TEXTURE] != NOT_SAID;

	return !text && (!pair || names_held(p) == (scene->focus >= 0));
}

/* A phrase that fits nothing in the scene but is hard to tell from what is there: every word of it fits some thing or, if there is none such or it
 * shall not be, all but one. Fills *p; false when there is none. */
static bool absent(struct asker *q, unsigned said, bool hard, struct phrase *p)
{
	size_t found = 0;
	int v[MOE_SCENE_ATTRIBUTES];

	/* All values of the said attributes: 2 · 10 · 4 · 10 at most; reservoir sampling. */
	for (v[0] = 0; v[0] < (said & 1 ? MOE_SCENE_SIZES : 1); v[0]++)
	for (v[1] = 0; v[1] < (said & 2 ? MOE_SCENE_COLOURS : 1); v[1]++)
	for (v[2] = 1; v[2] < (said & 4 ? MOE_SCENE_TEXTURES : 2); v[2]++)
	for (v[3] = 0; v[3] < (said & 8 ? MOE_SCENE_KINDS : 1); v[3]++) {
		struct phrase try = nothing_said;
		unsigned strange = 0, words = 0;
		for (unsigned a = 0; a < MOE_SCENE_ATTRIBUTES; a++)
			if (said >> a & 1) {
				struct phrase one = nothing_said;
				try.value[a] = one.value[a] = v[a];
				strange += count(q->scene, &one) == 0;
				words++;
			}
		bool close = hard ? strange == 0 : strange == 1 && words > 1;
		if (close && may_be_named(q->scene, &try) && count(q->scene, &try) == 0 && moe_draw_below(q->r, ++found) == 0)
			*p = try;
	}
	return found > 0;
}

static bool ask_exist(struct asker *q)
{
	static const unsigned said[] = {10, 10, 10, 10, 9, 12, 6, 11, 14};      /* colour and shape; size and shape; ... */
	unsigned say_what = MOE_PICK(q->r, said);
	const struct moe_scene_thing *t = any_thing(q);
	struct phrase yes = nothing_said, no;
	bool hard = moe_draw_chance(q->r, 0.8);

	if (say_what & 4 && t->value[MOE_SCENE_TEXTURE] == MOE_SCENE_PLAIN)
		return false;
	for (unsigned a = 0; a < MOE_SCENE_ATTRIBUTES; a++)
		if (say_what >> a & 1)
			yes.value[a] = (int)t->value[a];
	if (!absent(q, say_what, hard, &no) && !absent(q, say_what, !hard, &no))
		return false;
	const char *what = say(q, q->yes ? &yes : &no, false);
	return ask_yes_no(q, "exist", moe_synth_text(q->out, "<ask> is there %s %s?", article(what), what));
}

/* What may be counted: everything, or what has one value, or a pair of shape and colour. */
static struct phrase countable(struct asker *q)
{
	static const double weight[] = {2, 5, 4, 1.5, 1.5, 1};
	const struct moe_scene_thing *t = q->scene->n && moe_draw_chance(q->r, 0.85) ? any_thing(q) : NULL;
	struct phrase p = nothing_said;
	unsigned said = ((const unsigned[]){0, 1 << MOE_SCENE_KIND, 1 << MOE_SCENE_COLOUR, 1 << MOE_SCENE_SIZE, 1 << MOE_SCENE_TEXTURE, 10})
		[moe_draw_weighted(q->r, weight, 6)];

	for (unsigned a = 0; a < MOE_SCENE_ATTRIBUTES; a++)
		if (said >> a & 1)
			p.value[a] = t ? (int)t->value[a] : (int)moe_draw_below(q->r, moe_scene_values(a));
	if (p.value[MOE_SCENE_TEXTURE] == MOE_SCENE_PLAIN)      /* is text plain? not asked */
		p.value[MOE_SCENE_TEXTURE] = 1 + (int)moe_draw_below(q->r, MOE_SCENE_TEXTURES - 1);
	if (!q->scene->pairs && names_held(&p))
		p.value[MOE_SCENE_COLOUR] = NOT_SAID;
	return p;
}

/* Of a few phrases that of the rarest number: the counts would be 1 as a rule. */
static bool ask_count(struct asker *q)
{
	static const double worth[MOE_SCENE_MOST + 1] = {0.6, 1, 2.2, 3, 4, 4};
	struct phrase p[6];
	double weight[6];

	for (size_t i = 0; i < 6; i++) {
		p[i] = countable(q);
		weight[i] = worth[count(q->scene, &p[i])];
	}
	const struct phrase *best = &p[moe_draw_weighted(q->r, weight, 6)];
	return ask(q, "count", moe_synth_text(q->out, "<ask> how many %s?", say(q, best, true)), moe_synth_text(q->out, "%u", count(q->scene, best)), true);
}

/* Clear of doubt: asked only where the middles are a tenth of the picture and more apart. */
static bool ask_relation(struct asker *q)
{
	static const char *const words[2][2] = {{"left of", "right of"}, {"above", "below"}};
	const double least = 10;

	if (q->scene->n < 2)
		return false;
	const struct moe_scene_thing *t = any_thing(q), *o = other_thing(q, t);
	double apart[2] = {o->x - t->x, o->y - t->y};
	size_t axis = moe_draw_below(q->r, 2);
	struct phrase p, of;

	if (fabs(apart[axis]) < least)
		axis = !axis;
	if (fabs(apart[axis]) < least || !name(q, t, 0, &p) || !name(q, o, 0, &of))
		return false;
	const char *relation = words[axis][(apart[axis] > 0) != q->yes];
	return ask_yes_no(q, "relation", moe_synth_text(q->out, "<ask> is the %s %s the %s?", say(q, &p, false), relation, say(q, &of, false)));
}

static bool compare_sizes(struct asker *q)
{
	const struct moe_scene_thing *t = any_thing(q), *o = other_thing(q, t);
	unsigned without = 1u << MOE_SCENE_SIZE;
	struct phrase p, than;

	if (t->value[MOE_SCENE_SIZE] == o->value[MOE_SCENE_SIZE] || !name(q, t, without, &p) || !name(q, o, without, &than))
		return false;
	bool larger = (t->value[MOE_SCENE_SIZE] == MOE_SCENE_LARGE) == q->yes;
	return ask_yes_no(q, "comparison", moe_synth_text(q->out, "<ask> is the %s %s than the %s?", say(q, &p, false), larger ? "larger" : "smaller",
		say(q, &than, false)));
}

static bool compare_counts(struct asker *q)
{
	enum moe_scene_attribute a = moe_draw_chance(q->r, 0.6) ? MOE_SCENE_KIND : MOE_SCENE_COLOUR;
	const struct moe_scene_thing *t = any_thing(q), *o = other_thing(q, t);
	struct phrase more = nothing_said, fewer = nothing_said;

	more.value[a] = (int)t->value[a];
	fewer.value[a] = moe_draw_chance(q->r, 0.15) ? (int)moe_draw_below(q->r, moe_scene_values(a)) : (int)o->value[a];
	unsigned n = count(q->scene, &more), m = count(q->scene, &fewer);
	if (n == m)
		return false;
	bool first = (n > m) == q->yes;
	return ask_yes_no(q, "comparison", moe_synth_text(q->out, "<ask> are there more %s than %s?", say(q, first ? &more : &fewer, true),
		say(q, first ? &fewer : &more, true)));
}

static bool ask_comparison(struct asker *q)
{
	if (q->scene->n < 2)
		return false;
	return moe_draw_chance(q->r, 0.5) ? compare_sizes(q) : compare_counts(q);
}

/* Every digit and letter that can be named. */
static void ask_text(struct asker *q)
{
	for (size_t i = 0; i < q->scene->n; i++) {
		const struct moe_scene_thing *t = &q->scene->thing[i];
		const char *kind = moe_scene_value(MOE_SCENE_KIND, t->value[MOE_SCENE_KIND]);
		struct phrase p;
		if (!is_text(t))
			continue;
		if (moe_draw_chance(q->r, 0.3))
			ask(q, kind, moe_synth_text(q->out, "<ask> what %s is %s?", kind, at(q, t->cell)), moe_synth_text(q->out, "%c", t->text), true);
		else if (name(q, t, 1u << MOE_SCENE_KIND, &p) || name(q, t, 0, &p)) {
			p.value[MOE_SCENE_KIND] = (int)t->value[MOE_SCENE_KIND];
			ask(q, kind, moe_synth_text(q->out, "<ask> what is the %s?", say(q, &p, false)), moe_synth_text(q->out, "%c", t->text), true);
		}
	}
}

/* Up to two cells that hold something and, in two of three scenes or where nothing else is, empty ones. */
static void ask_probes(struct asker *q)
{
	const struct moe_scene *scene = q->scene;
	bool taken[MOE_SCENE_CELLS] = {false};
	unsigned empty[MOE_SCENE_CELLS];
	size_t n = 0, of_empty = scene->n ? moe_draw_chance(q->r, 0.65) : 3;

	for (size_t i = 0; i < scene->n; i++)
		taken[scene->thing[i].cell] = true;
	for (unsigned c = 0; c < MOE_SCENE_CELLS; c++)
		if (!taken[c])
			empty[n++] = c;
	moe_draw_shuffle(q->r, empty, n, sizeof *empty);
	for (size_t i = 0; i < of_empty; i++)
		ask_probe(q, empty[i]);
	for (size_t i = 0; i < 2 && i < scene->n; i++)
		ask_probe(q, any_thing(q)->cell);
}

/* "a large red circle at the top left, a small white letter A in the middle". */
static void describe(struct asker *q)
{
	const char *text = "", *gap = "";

	for (size_t i = 0; i < q->scene->n; i++) {
		const struct moe_scene_thing *t = &q->scene->thing[i];
		struct phrase p = description(t);
		const char *what = say(q, &p, false);
		if (t->text)
			what = moe_synth_text(q->out, "%s %c", what, t->text);
		text = moe_synth_text(q->out, "%s%s %s %s %s", text, gap, article(what), what, at(q, t->cell));
		gap = ",";
	}
	ask(q, "caption", "<describe>", q->scene->n ? text : " nothing", false);
}

/* Questions of types that are drawn by weight, until there are so many. A type that was asked is half as likely then. */
static void ask_mixed(struct asker *q, size_t want)
{
	static const struct { bool (*ask)(struct asker *q); double weight; bool yes_no; } types[] = {
		{ask_colour, 3, false}, {ask_shape, 3, false}, {ask_size, 2, false}, {ask_texture, 3, false}, {ask_position, 3, false}, {ask_count, 3, false},
		{ask_exist, 3.5, true}, {ask_relation, 3, true}, {ask_comparison, 5, true},
	};
	enum { TYPES = sizeof types / sizeof *types };
	double weight[TYPES];
	bool yes[TYPES];
	unsigned asked[TYPES] = {0};

	for (size_t i = 0; i < TYPES; i++) {
		weight[i] = types[i].weight;
		yes[i] = moe_draw_chance(q->r, 0.5);
	}
	for (int tries = 0; tries < 100 && q->out->n_questions < want; tries++) {
		size_t i = moe_draw_weighted(q->r, weight, TYPES);
		q->yes = yes[i];
		if (types[i].ask(q)) {
			yes[i] = !yes[i];
			weight[i] = types[i].yes_no && ++asked[i] == 2 ? 0 : weight[i] / 2;
		}
	}
}

void moe_scene_ask(const struct moe_scene *scene, struct moe_draw *r, struct moe_synth_sample *out)
{
	struct asker q = {scene, r, out, false};
	size_t want = 7 + moe_draw_below(r, 4);

	/* A caption is as long as five other answers and more. */
	if (scene->n <= 2 || moe_draw_chance(r, 0.6))
		describe(&q);
	ask_probes(&q);
	ask_text(&q);
	if (scene->n) {
		ask_mixed(&q, want);
	} else {
		ask_count(&q);
		ask_count(&q);
	}
}

void moe_scene_words(struct moe_words *w)
{
	moe_words_add(w, "what is there are how many more than larger smaller where at in the a an of left right above below yes no nothing object objects "
		"size colour texture shape");
	for (enum moe_scene_attribute a = 0; a < MOE_SCENE_ATTRIBUTES; a++)
		for (unsigned v = 0; v < moe_scene_values(a); v++)
			moe_words_add(w, moe_scene_value(a, v));
	for (unsigned kind = 0; kind < MOE_SCENE_KINDS; kind++)
		moe_words_add(w, moe_scene_plural(kind));
	for (unsigned cell = 0; cell < MOE_SCENE_CELLS; cell++)
		moe_words_add(w, moe_scene_cell(cell));
}
