/* Synthetic samples: pictures with questions, answers and boxes, drawn with cairo.
 *
 * A sample is a pure function of (seed, split, its number). What training and test share is decided by the content's hash, never by the seed: a task asks
 * moe_synth_is_of whether a string, a scene's key or a pair of attributes belongs to the split, and draws another one until it does. */
#ifndef MOE_SYNTH_SYNTH_H
#define MOE_SYNTH_SYNTH_H

#include "base/mem.h"
#include "synth/fonts.h"

enum moe_synth_split {
	MOE_SYNTH_TRAIN,
	MOE_SYNTH_DEV,
	MOE_SYNTH_CALIB,
	MOE_SYNTH_TEST,
	MOE_SYNTH_UNSEEN,       /* content of the test split in fonts (and pairs, and colours) that training never sees */
	MOE_N_SYNTH_SPLITS,
};

/* "train", "dev", "calib", "test", "unseen"; MOE_N_SYNTH_SPLITS for another name. */
enum moe_synth_split moe_synth_split_find(const char *name);
const char *moe_synth_split_name(enum moe_synth_split split);

/* Does content belong to the split? Of twenty hashes test has two, dev and calib one each, train the rest; unseen takes what test has. `kind` keeps the
 * hashes of different kinds of content apart ("read", "scene", ...). */
bool moe_synth_is_of(enum moe_synth_split split, const char *kind, const char *content);

struct moe_synth_question {
	const char *type;       /* "read", "colour", ... : what moe-eval counts apart */
	const char *prompt;     /* "<read>", "<ask> what colour is the circle?", "<describe>" */
	const char *answer;     /* words: " red"; strings of the picture and numbers: "12:45" */
	bool spell;             /* one token for each character of the answer */
};

/* What lies where, in pixels of the picture, later ones in front. "" hides what is under it: those patches have no label. */
struct moe_synth_box {
	const char *label;      /* text of one token: "A", " circle" */
	double x0, y0, x1, y1;
};

struct moe_synth_tag {
	const char *name, *value;
};

/* What is said of the thing in box number `box` beside its label: its colour, say. */
struct moe_synth_attribute {
	size_t box;
	const char *name, *value;
};

/* One sample; all memory is the arena's. */
struct moe_synth_sample {
	struct moe_arena *arena;
	const char *kind;       /* the task's name */
	uint32_t width, height; /* pixels */
	uint8_t *rgb;           /* [height][width][3] */
	struct moe_synth_question *question;
	struct moe_synth_box *box;
	struct moe_synth_tag *tag;
	struct moe_synth_attribute *attribute;  /* in the order of the boxes */
	size_t n_questions, n_boxes, n_tags, n_attributes, room[4];
	bool no_memory;         /* sticky: the adding functions report nothing, the frame looks here */
};

/* A formatted string of the sample's arena; "" when there is no memory. */
const char *moe_synth_text(struct moe_synth_sample *s, const char *fmt, ...) MOE_PRINTF(2, 3);

/* The strings must live as long as the sample: constants, or of moe_synth_text. */
void moe_synth_ask(struct moe_synth_sample *s, const char *type, const char *prompt, const char *answer, bool spell);
void moe_synth_box(struct moe_synth_sample *s, const char *label, double x0, double y0, double x1, double y1);
void moe_synth_tag(struct moe_synth_sample *s, const char *name, const char *value);

/* Of the last box. */
void moe_synth_attribute(struct moe_synth_sample *s, const char *name, const char *value);

/* What tasks draw with. One per thread. */
struct moe_synth {
	enum moe_synth_split split;
	unsigned things;                /* a scene has one to so many; 0: as usual */
	const struct moe_fonts *fonts;
	struct moe_faces *faces;
	size_t *usable, n_usable;       /* fonts of this split, as indices: unseen has the groups that are held out, the others have the rest */
	struct moe_arena arena;         /* of the sample at hand */
};

/* `fonts` must outlive it. MOE_EINPUT when the list has no font for the split. */
enum moe_err moe_synth_new(struct moe_synth **out, const struct moe_fonts *fonts, enum moe_synth_split split, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_synth_free(struct moe_synth *s);

/* A font of the split that has all flags of `with` and none of `without`; any font of the split when there is none such. */
const struct moe_font *moe_synth_font(struct moe_synth *s, struct moe_draw *r, unsigned with, unsigned without);

/* A cairo context on a fresh surface of w x h pixels (CAIRO_FORMAT_RGB24, black), both at most 4096; NULL when there is no memory. What is made of it
 * ends with moe_synth_canvas_take, which fills width, height and rgb of the sample and destroys the context. */
cairo_t *moe_synth_canvas(struct moe_synth *s, uint32_t w, uint32_t h);
enum moe_err moe_synth_canvas_take(cairo_t *c, struct moe_synth_sample *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* Words of prompts and answers that are single tokens. */
struct moe_words;
/* Adds each word of a text: runs of a to z; anything else separates. */
void moe_words_add(struct moe_words *w, const char *text);

/* A kind of sample. */
struct moe_synth_task {
	const char *name;
	double share;           /* its weight in a mixture where nothing else is said */
	/* Draws one sample into *out, which is empty but for arena and kind. Draws come from *r alone. */
	enum moe_err (*make)(struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out, struct moe_diag *d);
	/* Adds the words that its prompts and answers may have; NULL: none. */
	void (*words)(struct moe_words *w);
};

/* The tasks, up to NULL: the table stands in tasks.c. */
extern const struct moe_synth_task *const moe_synth_tasks[];
extern const struct moe_synth_task moe_task_read, moe_task_scene, moe_task_panel;

/* The tasks' number, and the one of that name, or their number. */
size_t moe_synth_n_tasks(void);
size_t moe_synth_task_find(const char *name, size_t length);

/* Sample number `i` of the mixture: the task is drawn by weight[], one for each row of the table. The sample lives until the next call. */
enum moe_err moe_synth_make(struct moe_synth *s, uint64_t seed, uint64_t i, const double *weight, struct moe_synth_sample *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* All words of all tasks, sorted, each once, separated and ended by a newline; to be freed. NULL when there is no memory. */
char *moe_synth_words(void);

#endif
