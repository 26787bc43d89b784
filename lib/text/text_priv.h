/* The parts of a tokenizer. */
#ifndef MOE_TEXT_PRIV_H
#define MOE_TEXT_PRIV_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "format/json.h"
#include "text/tokenizer.h"

enum { MAX_ID = 1 << 24, MAX_STEPS = 16, NONE = -1, MAX_SET = 8192 };

/* ---- bytes ---- */

struct string {
	const char *s;
	size_t n;
};

/* Bytes that grow; all of it zero is empty. */
struct buffer {
	char *s;
	size_t n, cap;
};

enum moe_err moe_buffer_add(struct buffer *b, const char *s, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_buffer_insert(struct buffer *b, size_t at, const char *s, struct moe_diag *d) MOE_CHECK_RESULT;

/* White space of Unicode (property White_Space: 25 characters, unchanged since Unicode 6.3). */
bool moe_rune_is_space(unsigned rune);
size_t moe_leading_space(const char *s, size_t n);      /* bytes of white space that n bytes of UTF-8 begin with */
size_t moe_trailing_space(const char *s, size_t n);

/* ---- vocabulary and merges (vocab.c) ---- */

/* Strings to ids, open addressing; texts are borrowed. The hash is seeded anew in every process, so that no file can be made whose entries all
 * collide. */
struct vocab {
	struct vocab_entry { const char *text; uint32_t n; int32_t id; } *slot;
	size_t n_slots, used;
};

uint64_t moe_text_hash(const void *bytes, size_t n);
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

/* ---- patterns (pattern.c, pattern_unicode.c, regex.c) ---- */

/* A pattern in the syntax of Oniguruma, which tokenizer.json uses, in that of PCRE2, as new bytes in `out`. */
enum moe_err moe_pattern_translate(const char *pattern, size_t n, struct buffer *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* The property `name` as items of a character class of PCRE2 (items[cap], terminated), or as what its complement has. False: not known. */
bool moe_unicode_set(const char *name, size_t n, char *items, size_t cap, bool *complement);

/* A regular expression, compiled at its first use, or a literal text. Used by one thread at a time. */
struct regex {
	struct string pattern;
	bool literal;
	pcre2_code *code;
	pcre2_match_data *match;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
};

/* The matches in a text one after the other, from left to right; zero `at`, `last` and `any` to begin. */
struct finder {
	const char *text;
	size_t n, at, last;
	bool any;
	size_t from, to;                /* of the match */
};

enum moe_err moe_regex_compile(struct regex *r, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_regex_next(struct regex *r, struct finder *f, bool *found, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_regex_free(struct regex *r);

/* Appends n bytes with every match replaced. */
enum moe_err moe_regex_replace(struct regex *r, const char *text, size_t n, struct string with, struct buffer *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* ---- normalizer (normalize.c) ---- */

enum normal_kind { NORMAL_FORM, NORMAL_PREPEND, NORMAL_REPLACE, NORMAL_LOWER, NORMAL_STRIP, NORMAL_ACCENTS, NORMAL_BYTES };

struct normal_step {
	enum normal_kind kind;
	bool compose, compatible;       /* FORM */
	bool left, right;               /* STRIP */
	struct string content;          /* PREPEND, REPLACE */
	struct regex regex;             /* REPLACE */
};

/* The text after all steps: either the input itself or the bytes of one of two buffers, which the next call overwrites. */
enum moe_err moe_normalize(struct moe_tokenizer *t, const char *text, size_t n, struct string *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* ---- added tokens (added.c) ---- */

struct added {
	struct string text;             /* as it is looked for: through the normalizer where `normalized` */
	struct string content;
	int32_t id;
	bool special, lstrip, rstrip, single_word, normalized;
};

/* Added tokens sorted by text: the longest that begins at a place is found by narrowing a range of them. */
struct added_set {
	struct added *added;            /* [n] */
	size_t n;
	bool first[256];                /* bytes that they begin with */
	uint32_t from[256], to[256];    /* those that begin with a byte */
};

/* A walk over the added tokens in a text: zeroed but for the first three. */
struct added_scan {
	const struct added_set *set;
	const char *text;
	size_t n, at;                   /* the search goes on at `at` */
	size_t done;                    /* end of the last token that was found, with the space that it swallows */
	size_t space_end;               /* end of the last run of white space that was measured */
	const struct added *added;      /* the token found, and where it begins with the space that it swallows */
	size_t from;
	size_t gap;                     /* gap..from is the text before it that no token has taken */
};

/* Sorts the added tokens of the file into the two sets. */
enum moe_err moe_added_index(struct moe_tokenizer *t, struct moe_diag *d) MOE_CHECK_RESULT;

/* The next added token that its flags allow; *found false: no more. */
enum moe_err moe_added_next(struct moe_tokenizer *t, struct added_scan *s, bool *found, struct moe_diag *d) MOE_CHECK_RESULT;

/* ---- pre-tokenizer (pieces.c) ---- */

enum piece_kind { PIECE_SPLIT, PIECE_SPACE, PIECE_BYTES, PIECE_METASPACE };
enum split_behavior { SPLIT_ISOLATED, SPLIT_REMOVED, SPLIT_WITH_PREVIOUS, SPLIT_WITH_NEXT, SPLIT_CONTIGUOUS };
enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct piece_step {
	enum piece_kind kind;
	enum split_behavior behavior;
	bool invert;
	struct regex regex;
	struct string replacement;      /* METASPACE */
	enum prepend_scheme scheme;
};

struct span {
	size_t at, n;
	bool match;
};

/* A text and the spans of it that are pieces. */
struct pieces {
	const char *text;               /* the input or `own` */
	bool first;                     /* the first span begins where the whole text begins */
	struct buffer own;
	struct span *span;
	size_t n_spans, cap;
};

/* Cuts n bytes into pieces and encodes each. `first`: they begin the whole text. */
enum moe_err moe_pieces_encode(struct moe_tokenizer *t, const char *text, size_t n, bool first, struct moe_ids *ids, struct moe_diag *d) MOE_CHECK_RESULT;

/* ---- model (bpe.c, word.c) ---- */

struct symbol {
	int32_t id, prev, next;         /* prev, next: NONE at the ends; a symbol that was joined away has id NONE */
};

struct candidate {
	int32_t rank, at, left, right, id;
};

/* Memory of the merging, kept from piece to piece. */
struct bpe_work {
	struct symbol *symbol;
	size_t n_symbols;
	struct candidate *heap;
	size_t n_heap;
};

/* Appends the ids of a piece by byte-pair merging, O(n log n). `bytes`: each byte is a symbol, else each character. */
enum moe_err moe_bpe_encode(struct moe_tokenizer *t, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d) MOE_CHECK_RESULT;

enum { WORD_TEXT = 23, WORD_IDS = 9, N_WORDS = 1 << 14, PAIR_BITS = 20 };

/* The ids of a short piece that was seen before. */
struct word {
	uint8_t n_text, n_ids;          /* n_text 0: free */
	bool part;                      /* a part of a piece: merges alone, without a look at whole words */
	char text[WORD_TEXT];
	int32_t id[WORD_IDS];
};

/* Appends the ids of a piece, cut where no merge can reach across, from the words seen before where possible. */
enum moe_err moe_word_encode(struct moe_tokenizer *t, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d) MOE_CHECK_RESULT;

/* Learns where pieces may be cut, and the ids of single bytes. */
enum moe_err moe_word_prepare(struct moe_tokenizer *t, struct moe_diag *d) MOE_CHECK_RESULT;

/* ---- decoder (detokenizer.c) ---- */

enum decode_kind { DECODE_BYTES, DECODE_REPLACE, DECODE_FALLBACK, DECODE_FUSE, DECODE_STRIP, DECODE_METASPACE };

struct decode_step {
	enum decode_kind kind;
	struct regex regex;             /* REPLACE: not compiled here, each stream has its own */
	struct string content;          /* REPLACE: with what */
	unsigned rune;                  /* STRIP, METASPACE */
	size_t start, stop;             /* STRIP */
	bool keep_first;                /* METASPACE: the first token has no space to lose */
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
	struct added *added;            /* all, in the order of the file */
	size_t n_added, added_cap;
	struct vocab added_texts;       /* content to the index in `added` */
	struct added_set raw, normal;   /* looked for before and after the normalizer */
	struct regex word;              /* a character of a word */
	struct normal_step normal_step[MAX_STEPS];
	struct piece_step piece_step[MAX_STEPS];
	struct decode_step decode_step[MAX_STEPS];
	size_t n_normal, n_piece, n_decode;
	struct moe_ids before, after;   /* what the post-processor puts around a text */
	bool decoder, byte_level;       /* byte_level: pieces are bytes, which stand for the characters of the byte alphabet */
	bool ignore_merges, fuse_unknown, byte_fallback, may_cut;
	int32_t unknown;                /* id for what the vocabulary lacks, NONE: it is an error */
	int32_t byte_id[256], fallback_id[256]; /* of single bytes: in the byte alphabet, and as <0xNN> */
	uint64_t *pairs;                /* bit set: some merge may join a symbol that ends with one character and one that begins with the other */
	struct word *words;
	struct buffer normal_text[2], mapped;
	struct pieces pieces[2];
	struct span *matches;
	size_t matches_cap;
	struct bpe_work work;
};

/* The byte alphabet of GPT-2: every byte has a printable character. */
unsigned moe_byte_to_rune(unsigned char byte);
int moe_rune_to_byte(unsigned rune);        /* -1: outside the alphabet */
enum moe_err moe_bytes_to_alphabet(const char *s, size_t n, struct buffer *out, struct moe_diag *d) MOE_CHECK_RESULT;

enum moe_err moe_ids_add(struct moe_ids *ids, int32_t id, struct moe_diag *d) MOE_CHECK_RESULT;

/* ---- tokenizer_json.c, tokenizer_parts.c ---- */

struct loader {
	struct moe_tokenizer *t;
	struct moe_json j;
	struct moe_diag *d;
	size_t nbytes;                  /* of the file */
	char *pool;                     /* strings are put behind each other in here */
	size_t room;
};

enum moe_err moe_loader_fail(struct loader *l, const char *fmt, ...) MOE_PRINTF(2, 3);

/* The last string of the scanner, kept, with a NUL behind it. */
enum moe_err moe_loader_keep(struct loader *l, struct string *out) MOE_CHECK_RESULT;

/* A value of a field, whose name a failure says. */
enum moe_err moe_loader_string(struct loader *l, const char *field, struct string *out) MOE_CHECK_RESULT;
enum moe_err moe_loader_bool(struct loader *l, const char *field, bool *out) MOE_CHECK_RESULT;
enum moe_err moe_loader_u64(struct loader *l, const char *field, uint64_t *out) MOE_CHECK_RESULT;
enum moe_err moe_loader_enter(struct loader *l, const char *field, char kind) MOE_CHECK_RESULT;

enum moe_err moe_loader_normalizer(struct loader *l) MOE_CHECK_RESULT;
enum moe_err moe_loader_pre_tokenizer(struct loader *l) MOE_CHECK_RESULT;
enum moe_err moe_loader_post_processor(struct loader *l) MOE_CHECK_RESULT;
enum moe_err moe_loader_decoder(struct loader *l) MOE_CHECK_RESULT;

#endif
