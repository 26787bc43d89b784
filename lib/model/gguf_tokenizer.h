/* The tokenizer of a GGUF file, as the tokenizer.json that says the same. */
#ifndef MOE_MODEL_GGUF_TOKENIZER_H
#define MOE_MODEL_GGUF_TOKENIZER_H

#include "format/gguf.h"

/* Makes the JSON text (to be freed) from the keys tokenizer.ggml.*: of the model "gpt2", which is byte-level BPE, with the splits that
 * tokenizer.ggml.pre names, or of "llama", which is SentencePiece's BPE, whose merges follow from the scores of its pieces. */
enum moe_err moe_gguf_tokenizer(char **json, size_t *n, const struct moe_gguf *g, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
