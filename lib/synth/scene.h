/* Scenes: up to five things in the cells of a 3x3, with a shape, colour, size and texture, or a digit or letter; a caption, and questions that have
 * exactly one right answer.
 *
 * Training never sees: keys (all that the things are and where) whose hash is another split's, eight pairs of shape and colour, two of five shades of
 * each colour, and the faces of held-out design groups. The last three occur in the split unseen alone, whose samples have a tag "unseen": "pair" (a thing
 * of a held-out pair, which the questions are about, in usual shades) or "shade". No question of the other splits names a held-out pair, not even one
 * that is answered " no". The scene without things has one key, hence occurs in one split. */
#ifndef MOE_SYNTH_SCENE_H
#define MOE_SYNTH_SCENE_H

#include "synth/ink.h"

/* Attributes in the order in which they are said: "a large red striped circle". Text has a kind, no texture is ever said of it. */
enum moe_scene_attribute { MOE_SCENE_SIZE, MOE_SCENE_COLOUR, MOE_SCENE_TEXTURE, MOE_SCENE_KIND, MOE_SCENE_ATTRIBUTES };
enum { MOE_SCENE_SHAPES = 8, MOE_SCENE_DIGIT = 8, MOE_SCENE_LETTER, MOE_SCENE_KINDS };
enum { MOE_SCENE_PLAIN, MOE_SCENE_TEXTURES = 4 };
enum { MOE_SCENE_SMALL, MOE_SCENE_LARGE, MOE_SCENE_SIZES };
enum { MOE_SCENE_COLOURS = 10, MOE_SCENE_CELLS = 9, MOE_SCENE_MOST = 5, MOE_SCENE_SIDE = 64 };

struct moe_scene_thing {
	unsigned value[MOE_SCENE_ATTRIBUTES];
	char text;              /* of a digit or letter; 0 */
	unsigned cell;          /* 0 .. 8 in reading order */
	double x, y, radius;    /* in units of a 64th of the picture's side */
	double turn;            /* radians */
	struct moe_ink ink;
	const struct moe_font *font;    /* of text */
};

struct moe_scene {
	struct moe_scene_thing thing[MOE_SCENE_MOST];   /* in reading order of their cells */
	size_t n;
	bool easy;              /* one or two things on purpose */
	bool pairs;             /* held-out pairs may be named */
	int focus;              /* the thing of a held-out pair that questions are about; -1: none */
};

/* Words of the attributes' values; moe_scene_value(MOE_SCENE_KIND, 0) is "circle". NULL beyond the last. */
const char *moe_scene_value(enum moe_scene_attribute a, unsigned value);
const char *moe_scene_plural(unsigned kind);
unsigned moe_scene_values(enum moe_scene_attribute a);
/* "top left", ..., "middle", ..., "bottom right". */
const char *moe_scene_cell(unsigned cell);

/* Is this pair of shape and colour kept out of training? */
bool moe_scene_is_held(unsigned kind, unsigned colour);

/* All that the things are, and where: what the split is decided by. In the sample's arena. */
const char *moe_scene_key(struct moe_synth_sample *out, const struct moe_scene *scene);

/* Draws a scene of the split, with all but its picture. */
enum moe_err moe_scene_compose(struct moe_scene *scene, struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out,
                                struct moe_diag *d) MOE_CHECK_RESULT;

/* The picture and the boxes. */
enum moe_err moe_scene_draw(const struct moe_scene *scene, struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out,
                                struct moe_diag *d) MOE_CHECK_RESULT;

/* Caption and questions. */
void moe_scene_ask(const struct moe_scene *scene, struct moe_draw *r, struct moe_synth_sample *out);
void moe_scene_words(struct moe_words *w);

/* The three of them and the tags: the task. */
enum moe_err moe_scene_make(struct moe_scene *scene, struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out,
                                struct moe_diag *d) MOE_CHECK_RESULT;

#endif
