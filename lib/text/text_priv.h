/* The parts of the tokenizer. Each has one file; the order is that of the data: load.c fills everything once and checks it;
 * encode.c runs added → normalize → added → pretok → bpe; decode.c goes the other way. Nothing here trusts the file: after
 * a load every id is below the number of ids, every string is UTF-8, and nothing is checked again. */
#ifndef MOE_TEXT_TEXT_PRIV_H
#define MOE_TEXT_TEXT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "text/tokenizer.h"

/* ---- bytes and UTF-8 (utf8.c) ---- */

struct moe_buf {
	char *p;
	size_t n, cap;
};

struct moe_span {
	size_t at, n;
};

enum moe_err moe_buf_put(struct moe_buf *b, const char *s, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_buf_free(struct moe_buf *b);

/* Length of the well-formed sequence at s, 0 when it is malformed; `left` is at least 1. */
unsigned moe_utf8_length(const char *s, size_t left);

/* Length of the maximal broken part at s (Unicode 3.9, "substitution of maximal subparts"); *cut when it ends with the bytes
 * and more of them could complete it. */
unsigned moe_utf8_broken(const char *s, size_t left, bool *cut);

/* Offset of the first malformed byte, n when there is none. */
size_t moe_utf8_check(const char *s, size_t n);

unsigned moe_utf8_put(char *to, uint32_t c);

/* Both for well-formed text only. */
static inline unsigned moe_utf8_step(const char *s)
{
	unsigned char c = (unsigned char)*s;

	return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

uint32_t moe_utf8_get(const char *s);

/* ---- Unicode 16 on libraries that know less (unicode.c) ---- */

/* Ranges that Unicode 15 and 16 assigned, in ascending order. */
struct moe_newer {
	uint32_t first, last;
	char category[2];
};

extern const struct moe_newer moe_newer[];
extern const size_t moe_n_newer;

bool moe_is_space(uint32_t c);          /* White_Space */
bool moe_is_word(uint32_t c);           /* \w: Alphabetic, M, Nd, Pc, Join_Control */

/* ---- the vocabulary (vocab.c) ---- */

enum { MOE_TOKEN_MODEL = 1, MOE_TOKEN_ADDED = 2, MOE_TOKEN_SPECIAL = 4 };
enum { MOE_MAX_ID = 16 << 20, MOE_MAX_TOKEN_NBYTES = 64 << 10 };

struct moe_token {
	uint32_t at;            /* in the pool, plus one; 0: no such id */
	uint32_t n : 24, flags : 8;
};

struct moe_vocab {
	struct moe_buf pool;            /* the strings, back to back */
	struct moe_token *token;        /* [n_ids] */
	size_t n_ids, n_tokens;
	struct moe_slot *slot;          /* string → id, linear probing */
	size_t n_slots;                 /* a power of two */
	uint64_t secret;                /* of the hash: odd, set before the first token */
};

/* Room for ids below n_ids and n_tokens strings; what is there stays. */
enum moe_err moe_vocab_reserve(struct moe_vocab *v, size_t n_ids, size_t n_tokens, struct moe_diag *d) MOE_CHECK_RESULT;

/* Enters the token whose text is at `where` of the pool; `byte` is where the file says so. Refuses a second id or a second string. */
enum moe_err moe_vocab_add(struct moe_vocab *v, struct moe_span where, size_t id, unsigned flags, uint64_t byte,
			   struct moe_diag *d) MOE_CHECK_RESULT;
int32_t moe_vocab_find(const struct moe_vocab *v, const char *s, size_t n);
int32_t moe_vocab_find_model(const struct moe_vocab *v, const char *s, size_t n);      /* not the added tokens */
const char *moe_vocab_get(const struct moe_vocab *v, int32_t id, size_t *n);           /* NULL for an unknown id */
void moe_vocab_free(struct moe_vocab *v);

/* Keyed by an odd secret of the process's own, so that a file cannot be made to collide. */
uint64_t moe_hash(const char *s, size_t n, uint64_t secret);
uint64_t moe_hash_pair(uint64_t pair, uint64_t secret);

/* ---- byte alphabet of GPT-2 (alphabet.c) ---- */

extern const uint16_t moe_alphabet[256];        /* byte → character, 0x21..0x143 */

/* Byte of a character, -1 for one outside the alphabet. */
int moe_alphabet_byte(uint32_t c);

/* Writes n bytes in the alphabet (at most 2n bytes); returns the length. */
size_t moe_alphabet_write(char *to, const char *s, size_t n);

/* ---- byte pair encoding (bpe.c, bpe_merge.c, bpe_cache.c) ---- */

struct moe_merge {
	uint64_t pair;          /* left << 32 | right, plus one; 0: free */
	uint32_t rank;
	int32_t id;
};

/* Symbols of one piece, a doubly linked list in arrays, and the queue of the merges that wait. */
struct moe_symbols {
	struct moe_symbol *at;
	size_t n, cap;
	uint64_t *heap;         /* rank << 32 | position, least first */
	size_t n_heap, cap_heap;
	uint64_t n_steps;       /* heap operations so far, for the test of linearity */
};

struct moe_bpe {
	struct moe_merge *merge;
	size_t n_slots, n_merges;
	uint64_t secret;
	bool byte_level;        /* pieces are raw bytes, each starts as byte_id[] */
	bool byte_fallback, fuse_unk, ignore_merges;
	int32_t unk;            /* -1: characters that are not in the vocabulary are left out, as in the reference */
	int32_t byte_id[256];   /* of the alphabet's letter, or of <0xXX>; -1: none */
	struct moe_symbols symbols;
	struct moe_buf scratch;
	struct moe_cached *cache;       /* direct mapped, made at the first use */
	uint32_t *joint;                /* bitmap of character pairs that some merge joins; made for the first long piece */
};

enum moe_err moe_bpe_reserve(struct moe_bpe *b, size_t n_merges, struct moe_diag *d) MOE_CHECK_RESULT;

/* A pair given twice keeps the later rank, as in the reference. */
enum moe_err moe_bpe_add(struct moe_bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t id, struct moe_diag *d) MOE_CHECK_RESULT;
const struct moe_merge *moe_bpe_find(const struct moe_bpe *b, int32_t left, int32_t right);

/* Appends the ids of one piece. */
enum moe_err moe_bpe_encode(struct moe_bpe *b, const struct moe_vocab *v, const char *s, size_t n, struct moe_ids *ids,
			    struct moe_diag *d) MOE_CHECK_RESULT;
void moe_bpe_free(struct moe_bpe *b);

enum moe_err moe_symbols_push(struct moe_symbols *y, int32_t id, struct moe_diag *d) MOE_CHECK_RESULT;

/* Applies the merges to the symbols and appends the ids that remain; empties the list. */
enum moe_err moe_symbols_merge(struct moe_symbols *y, const struct moe_bpe *b, struct moe_ids *ids, struct moe_diag *d) MOE_CHECK_RESULT;

bool moe_cache_get(const struct moe_bpe *b, const char *s, size_t n, uint64_t hash, struct moe_ids *ids, enum moe_err *err,
		   struct moe_diag *d);
void moe_cache_put(struct moe_bpe *b, const char *s, size_t n, uint64_t hash, const int32_t *id, size_t n_ids);

enum moe_err moe_ids_put(struct moe_ids *ids, const int32_t *id, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* ---- patterns (pattern.c, translate.c) ---- */

/* A literal string or a regular expression. */
struct moe_pattern {
	const char *literal;
	size_t n;
	struct pcre2_real_code_8 *code;
	bool jit_tried;
};

/* What a search writes to; one per thread, made at the first search with a regular expression. */
struct moe_matcher {
	struct pcre2_real_match_data_8 *data;
	struct pcre2_real_match_context_8 *context;
};

/* All matches in a text, as the reference finds them: an empty match right behind the last match does not count. */
struct moe_search {
	const struct moe_pattern *pattern;
	struct moe_matcher *matcher;
	const char *s;
	size_t n, from, last_end;
	bool any;
};

enum moe_err moe_pattern_regex(struct moe_pattern *p, const char *regex, size_t n, uint64_t byte, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_pattern_jit(struct moe_pattern *p);
void moe_pattern_free(struct moe_pattern *p);
void moe_matcher_free(struct moe_matcher *m);
void moe_search_init(struct moe_search *x, const struct moe_pattern *p, struct moe_matcher *m, const char *s, size_t n);

/* MOE_END after the last match. */
enum moe_err moe_search_next(struct moe_search *x, struct moe_span *hit, struct moe_diag *d) MOE_CHECK_RESULT;

/* Oniguruma's pattern (Ruby syntax, Unicode 16) as one for PCRE2; what means something else there is rewritten or refused. */
enum moe_err moe_translate(const char *regex, size_t n, struct moe_buf *out, uint64_t byte, struct moe_diag *d) MOE_CHECK_RESULT;

/* ---- normalizers (normalize.c, forms.c) ---- */

enum moe_norm_kind { MOE_NORM_NFC, MOE_NORM_NFD, MOE_NORM_NFKC, MOE_NORM_NFKD, MOE_NORM_PREPEND, MOE_NORM_REPLACE };

struct moe_norm {
	enum moe_norm_kind kind;
	struct moe_pattern pattern;
	const char *content;
	size_t n;
};

struct moe_forms {                      /* scratch of the four forms */
	int32_t *c;
	size_t n, cap;
};

/* Appends the normal form of s. */
enum moe_err moe_forms_put(struct moe_forms *f, enum moe_norm_kind kind, const char *s, size_t n, struct moe_buf *out,
			   struct moe_diag *d) MOE_CHECK_RESULT;

/* Appends s with every match replaced. */
enum moe_err moe_replace(const struct moe_pattern *p, struct moe_matcher *m, const char *content, size_t n_content, const char *s, size_t n,
			 struct moe_buf *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* ---- pre-tokenizers (pretok.c) ---- */

enum moe_pretok_kind { MOE_PRETOK_SPLIT, MOE_PRETOK_REWRITE };
enum moe_behavior { MOE_REMOVED, MOE_ISOLATED, MOE_WITH_PREVIOUS, MOE_WITH_NEXT, MOE_CONTIGUOUS, MOE_N_BEHAVIORS };
enum moe_prepend { MOE_PREPEND_NEVER, MOE_PREPEND_FIRST, MOE_PREPEND_ALWAYS, MOE_N_PREPENDS };

struct moe_pretok {
	enum moe_pretok_kind kind;
	struct moe_pattern pattern;     /* SPLIT */
	enum moe_behavior behavior;
	bool invert;
	const char *rep;                /* REWRITE: each space becomes rep (when `spaces`), then rep goes before the piece */
	size_t n_rep;
	bool spaces;
	enum moe_prepend prepend;
};

struct moe_pieces {                     /* scratch: two texts and two lists, used in turn */
	struct moe_buf text[2];
	struct moe_span *piece[2];
	size_t n[2], cap[2];
};

/* ---- added tokens (added.c) ---- */

enum { MOE_MAX_ADDED_NBYTES = 512 };    /* bounds the work at each byte of a text */

struct moe_added {
	struct moe_span text;           /* in the pool */
	int32_t id;
	uint64_t byte;
	bool special, normalized, lstrip, rstrip, single_word;
};

struct moe_needle {
	const char *s;
	size_t n;
	const struct moe_added *token;
};

/* Leftmost-longest search for many strings. */
struct moe_needles {
	struct moe_needle *at;          /* sorted by bytes, no two equal */
	size_t n;
	uint32_t from[257];             /* at[from[c]] is the first that starts with c */
};

/* Sorts; of equal strings the first given stays. */
void moe_needles_sort(struct moe_needles *x);

/* Cuts a text into stretches of plain text (token NULL) and added tokens. */
struct moe_cuts {
	const struct moe_needles *needles;
	const char *s;
	size_t n, from, start;          /* where to search, and where the plain stretch begins */
	const struct moe_added *held;   /* found, to be given after the stretch before it */
	struct moe_span held_at;
};

void moe_cuts_init(struct moe_cuts *c, const struct moe_needles *x, const char *s, size_t n);
bool moe_cuts_next(struct moe_cuts *c, struct moe_span *at, const struct moe_added **token);

/* ---- decoders (decode.c, detokenize.c) ---- */

enum moe_decode_kind {
	MOE_DECODE_SPACES,              /* no decoder: the tokens with spaces between them */
	MOE_DECODE_BYTE_LEVEL, MOE_DECODE_FUSE, MOE_DECODE_REPLACE, MOE_DECODE_BYTE_FALLBACK, MOE_DECODE_STRIP, MOE_DECODE_METASPACE,
};

struct moe_decode {
	enum moe_decode_kind kind;
	struct moe_pattern pattern;     /* REPLACE; METASPACE: the literal */
	const char *content;            /* REPLACE, STRIP */
	size_t n;
	uint64_t start, stop;           /* STRIP */
	bool keep_first;                /* METASPACE: the first token's marks become spaces too */
};

/* ---- the whole ---- */

enum { MOE_MAX_STEPS = 32 };

struct moe_tokenizer {
	struct moe_arena arena;         /* small strings and lists of the file */
	struct moe_vocab vocab;
	struct moe_bpe bpe;
	struct moe_added *added;
	size_t n_added, cap_added;
	struct moe_needles raw, normalized;
	struct moe_norm norm[MOE_MAX_STEPS];
	struct moe_pretok pretok[MOE_MAX_STEPS];
	struct moe_decode decode[MOE_MAX_STEPS];
	unsigned n_norm, n_pretok, n_decode;
	struct moe_ids prefix, suffix;  /* of the post-processor */

	/* Scratch of encode. */
	struct moe_matcher matcher;
	struct moe_forms forms;
	struct moe_buf text[2];
	struct moe_pieces pieces;
};

/* Splits a stretch of normalised text; *text gets the text that the pieces refer to. `first`: it begins the whole text. */
enum moe_err moe_pretok_run(struct moe_tokenizer *t, const char **text, size_t n, bool first, const struct moe_span **piece, size_t *n_pieces,
			    struct moe_diag *d) MOE_CHECK_RESULT;

/* Runs the normalizers over *text; *text and *n become the result, in t's scratch. */
enum moe_err moe_normalize(struct moe_tokenizer *t, const char **text, size_t *n, struct moe_diag *d) MOE_CHECK_RESULT;

/* ---- loading (load.c, load_part.c, load_steps.c, load_model.c, load_added.c) ---- */

struct moe_json;

/* Each reads the value at j into t. */
enum moe_err moe_load_model(struct moe_tokenizer *t, struct moe_json *j) MOE_CHECK_RESULT;
enum moe_err moe_load_added(struct moe_tokenizer *t, struct moe_json *j) MOE_CHECK_RESULT;
enum moe_err moe_load_normalizer(struct moe_tokenizer *t, struct moe_json *j) MOE_CHECK_RESULT;
enum moe_err moe_load_pretokenizer(struct moe_tokenizer *t, struct moe_json *j) MOE_CHECK_RESULT;
enum moe_err moe_load_decoder(struct moe_tokenizer *t, struct moe_json *j) MOE_CHECK_RESULT;
enum moe_err moe_load_postprocessor(struct moe_tokenizer *t, struct moe_json *j) MOE_CHECK_RESULT;

/* After all of them: what one part says about another. */
enum moe_err moe_finish_added(struct moe_tokenizer *t, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_finish_model(struct moe_tokenizer *t, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
