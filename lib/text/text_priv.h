/* The parts of a tokenizer. */
#ifndef MOE_TEXT_PRIV_H
#define MOE_TEXT_PRIV_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "format/json.h"
#include "text/tokenizer.h"

enum { MAX_ID = 1 << 24, MAX_SPLITS = 8, NONE = -1 };

/* Strings to ids, open addressing; texts are borrowed. The hash is seeded anew in every process, so that no file can be made whose entries all
 * collide. */
struct vocab {
	struct vocab_entry { const char *text; uint32_t n; int32_t id; } *slot;
	size_t n_slots, used;
};

enum moe_err moe_vocab_reserve(struct vocab *v, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
/* Adds a text; false when it is there already. There must be room. */
bool moe_vocab_add(struct vocab *v, const char *text, size_t n, int32_t id);
int32_t moe_vocab_find(const struct vocab *v, const char *text, size_t n);

/* Merges: a pair of ids to its rank and the id of the joined token. */
struct merge {
	int32_t left, right, rank, id;
};

struct merges {
	struct merge *slot;             /* open addressing; rank NONE: free */
	size_t n_slots, used;
};

enum moe_err moe_merges_reserve(struct merges *m, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
bool moe_merges_add(struct merges *m, struct merge one);
const struct merge *moe_merges_find(const struct merges *m, int32_t left, int32_t right);

struct added {
	const char *text;
	size_t n;
	int32_t id;
	bool special;
};

/* One Split of the pre-tokenizer. */
struct split {
	char *pattern;
	size_t npattern;
	bool matches_only;              /* what lies between the matches is left out */
	pcre2_code *code;               /* compiled at the first use */
	pcre2_match_data *match;
	pcre2_match_context *context;
};

struct token {
	const char *text;               /* as in the vocabulary; NULL: no such id */
	uint32_t n;
	bool special, added;
};

struct moe_tokenizer {
	struct moe_arena memory;        /* all strings */
	struct vocab vocab;
	struct merges merges;
	struct token *token;            /* [n_tokens] */
	size_t n_tokens, token_cap;
	struct added *added;
	size_t n_added, added_cap;
	struct vocab added_texts;       /* text to the index in `added` */
	struct added_length { size_t length; bool first[256]; } *lengths;      /* each length, falling, and what texts of it begin with */
	size_t n_lengths;
	bool first[256];                /* bytes that added tokens begin with */
	struct split split[MAX_SPLITS];
	size_t n_splits;
	bool byte_level, decoder, decode_bytes, add_prefix_space, nfc, ignore_merges, fuse_unknown;
	int32_t unknown;                /* id for what the vocabulary lacks, NONE: it is an error */
};

/* The byte alphabet of GPT-2: every byte has a printable character. */
unsigned moe_byte_to_rune(unsigned char byte);
int moe_rune_to_byte(unsigned rune);        /* -1: outside the alphabet */

/* Appends the ids of a piece by byte-pair merging, O(n log n). `text` is in the tokenizer's alphabet. */
enum moe_err moe_bpe_encode(struct moe_tokenizer *t, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d) MOE_CHECK_RESULT;

/* Cuts n bytes into pieces and encodes each. */
enum moe_err moe_pieces_encode(struct moe_tokenizer *t, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d) MOE_CHECK_RESULT;

/* Makes the tables by which added tokens are found in a text. */
enum moe_err moe_added_index(struct moe_tokenizer *t, struct moe_diag *d) MOE_CHECK_RESULT;

enum moe_err moe_ids_add(struct moe_ids *ids, int32_t id, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
