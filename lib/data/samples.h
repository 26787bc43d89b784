/* Samples of training data: a picture, or none, with questions about it, as moe-shards(5) describes them.
 *
 * An item is what a source holds, unread: names and bytes (shards.h reads them, mix.h shuffles them). A sample is what an item means. Items come from strangers:
 * their text is read here, with bounds; their picture is read by the confined decoder (image/decoder.h). */
#ifndef MOE_DATA_SAMPLES_H
#define MOE_DATA_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	MOE_SAMPLE_TEXT_NBYTES = 4 << 20,       /* of KEY.json or KEY.txt */
	MOE_SAMPLE_QUESTIONS = 4096, MOE_SAMPLE_BOXES = 65536, MOE_SAMPLE_TAGS = 256,
	MOE_SAMPLE_STRING = 65536,              /* bytes of a prompt, an answer, a label, a tag */
};

/* What the text of an item is: nothing, KEY.json, KEY.txt (the answer), or a line of a list (`answer` or `prompt<TAB>answer`). */
enum moe_item_form { MOE_ITEM_BARE, MOE_ITEM_JSON, MOE_ITEM_PLAIN, MOE_ITEM_LINE };

/* Owned as a whole: moe_item_clear. */
struct moe_item {
	char *name;                     /* for messages: shard and key */
	enum moe_item_form form;
	char *text;                     /* n_text bytes; NULL: none */
	size_t n_text;
	uint8_t *picture;               /* n_picture bytes as stored; NULL: none */
	size_t n_picture;
	struct moe_diag *failure;       /* it could not be read: what is wrong; else NULL */
};

void moe_item_clear(struct moe_item *item);

struct moe_tag { const char *name, *value; };

struct moe_question {
	const char *type;               /* "" where there is none */
	const char *prompt;             /* behind the picture, before the answer; NULL: the model's own */
	const char *answer;             /* never empty */
	bool spell;                     /* the answer's tokens are single characters */
};

/* What lies where, in pixels of the picture: [x0, x1) by [y0, y1). */
struct moe_box {
	const char *label;              /* text that is one token; "": hidden */
	double x0, y0, x1, y1;
	const struct moe_tag *attribute;        /* [n_attributes]: what else is said of it */
	size_t n_attributes;
};

/* Strings and arrays are the sample's own, in one block of memory: moe_sample_clear. */
struct moe_sample {
	const char *name, *kind;        /* kind "text" where the item has none */
	struct moe_tag *tag;
	size_t n_tags;
	struct moe_question *question;
	size_t n_questions;             /* at least 1 */
	struct moe_box *box;            /* in order: later ones lie in front */
	size_t n_boxes;
	bool labelled;                  /* boxes were given, be it none */
	uint8_t *picture;               /* n_picture bytes as stored; NULL: there is no picture */
	size_t n_picture;
	void *memory;
};

/* Reads the item, which gives up its picture, but nothing else. Every failure (MOE_EINPUT, MOE_ENOMEM) names the item and costs this sample alone:
 * the item's own; text that is no JSON of this form, with the byte or the field; no question, a question without an answer; no text; no picture, unless the
 * JSON says "picture": false. Fields that are not known are passed over. */
enum moe_err moe_sample_read(struct moe_sample *out, struct moe_item *item, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_sample_clear(struct moe_sample *s);

#endif
