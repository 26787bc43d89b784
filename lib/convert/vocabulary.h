/* A tokenizer.json as the keys tokenizer.ggml.* of a GGUF file. */
#ifndef MOE_CONVERT_VOCABULARY_H
#define MOE_CONVERT_VOCABULARY_H

#include "format/gguf_write.h"
#include "model/spec.h"

/* Writes the keys, for a vocabulary of spec->vocab tokens. Byte-level BPE whose split has a name, and SentencePiece's BPE; whatever else a tokenizer does is
 * refused. Begin and end are those of the spec. */
enum moe_err moe_vocabulary_write(struct moe_gguf_out *g, const char *json, size_t n, const struct moe_spec *spec, struct moe_diag *d) MOE_CHECK_RESULT;

/* MOE_EMATCH when the tokenizer that was read back (`again`) does not have the same tokens and merges. */
enum moe_err moe_vocabulary_same(const char *json, size_t n, const char *again, size_t again_n, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
