/* How a spec is made: the model's JSON files (spec_docs.c), the table of settings (spec_table.c), their values (spec_set.c), what must hold between them
 * (spec_check.c). spec.c puts these together. */
#ifndef MOE_MODEL_SPEC_PRIV_H
#define MOE_MODEL_SPEC_PRIV_H

#include "model/spec.h"

enum moe_setting_type {
	MOE_SET_INT,            /* int64_t */
	MOE_SET_REAL,           /* double */
	MOE_SET_BOOL,           /* bool */
	MOE_SET_CHOICE,         /* int: index in `choices` */
	MOE_SET_TEXT,           /* char[]: `hi` is its size */
	MOE_SET_TEXTS,          /* struct moe_texts: a list */
	MOE_SET_IDS,            /* struct moe_ints: a number or a list */
	MOE_SET_TRIPLE,         /* double[3] */
	MOE_SET_PAIRS,          /* struct moe_pairs: [[a, b], ...], one such pair, or {"a": b, ...} */
	MOE_SET_CONVS,          /* list of convolution layers */
	MOE_SET_POOLS,          /* struct moe_pools: [[expert, ...], ...] */
};

struct moe_setting {
	const char *path;       /* dots go down in the family file */
	enum moe_setting_type type;
	size_t offset;          /* in struct moe_spec */
	double lo, hi;          /* range of numbers */
	const char *choices;    /* "a b c" */
	const char *absent;     /* value when the family file does not have it (JSON), NULL: required */
	const char *only_if;    /* "section", or "section.setting=choice" of a row above, and others behind " or ": what must be there for this setting to count */
	bool newer;             /* said only where it is not `absent`: it came when models had fingerprints, and theirs stay */
};

extern const struct moe_setting moe_settings[];
extern const size_t moe_n_settings;

/* Does the setting count in this spec (only_if)? */
bool moe_setting_counts(const struct moe_spec *spec, const struct moe_setting *s);

/* The setting's value as JSON, a new reference; NULL for the kinds that a model file has in no such form. */
json_t *moe_setting_get(const struct moe_spec *spec, const struct moe_setting *s);

/* The list of convolutions that a setting of that type is. */
struct moe_convs_at { struct moe_conv *v; size_t *n; };
struct moe_convs_at moe_setting_convs(const struct moe_spec *spec, const struct moe_setting *s);

/* Does it go without saying, being newer and absent, or about the dense layers of a model that has none? */
bool moe_setting_unsaid(const struct moe_spec *spec, const struct moe_setting *s);

/* Gives the setting of the spec the value v; one of another type or out of range fails with what was expected. */
enum moe_err moe_setting_set(struct moe_spec *spec, const struct moe_setting *s, json_t *v, struct moe_diag *d) MOE_CHECK_RESULT;

/* Relations between settings, which ranges alone do not show. */
enum moe_err moe_spec_check(const struct moe_spec *s, struct moe_diag *d) MOE_CHECK_RESULT;

/* Features of a square canvas of so many patches, 0 when the projector has no queries for it. */
size_t moe_spec_queries(const struct moe_spec *s, uint64_t patches);

enum { MOE_N_DOCS = 3 };

/* The model's own JSON files, by the word before the colon in "@word:key". */
struct moe_docs {
	const char *directory;
	bool gguf;              /* the model is a GGUF file, whose keys are the one document; settings are those of the family's section "gguf" */
	struct { const char *word, *file; json_t *json; } doc[MOE_N_DOCS];
};

/* Reads the files of the directory that are there; config.json must be. */
enum moe_err moe_docs_load(struct moe_docs *docs, const struct moe_spec_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_docs_free(struct moe_docs *docs);

/* The keys of a GGUF file as a document (spec_gguf.c): "a.b.c" goes down as in any other; a list of strings, or of more than 64 elements, stands for its
 * length; and "gguf.tied" says that there is no tensor output.weight, so that the head is the embedding. */
enum moe_err moe_docs_gguf(json_t **out, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;

/* Puts the family's section "gguf" over its other sections, and takes it away: settings one by one, what is no setting as a whole. */
void moe_family_use_gguf(json_t *family);

/* Is this top-level key of a family file no setting? */
bool moe_family_special(const char *key);

/* Reads a file that holds one object. */
enum moe_err moe_docs_read(json_t **out, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;

/* Goes down "a.b.c" from `node`; n bytes of path. NULL when a step is missing or the value is null. */
json_t *moe_json_descend(json_t *node, const char *path, size_t n);

/* The value of "key" or "word:key", n bytes; borrowed, NULL when there is none. */
json_t *moe_docs_get(const struct moe_docs *docs, const char *ref, size_t n);

/* A value of the family file made concrete: a reference, a table of a reference's words, a list of alternatives (its first element is one of these), or a
 * literal. *out: a new reference, NULL when nothing was found. Fails where the model has a word that is not in the table. */
enum moe_err moe_docs_resolve(json_t **out, const struct moe_docs *docs, json_t *node, struct moe_diag *d) MOE_CHECK_RESULT;

/* Is a value there without the default that ends a list of alternatives? */
bool moe_docs_say(const struct moe_docs *docs, json_t *node);

/* "@key", or the one key of {"@key": {"word": value}}; NULL for what is neither. Of the latter *table is what its words stand for, else NULL. */
const char *moe_docs_reference(const json_t *node, json_t **table);

#endif
