/* The tokenizer of a GGUF file, as the tokenizer.json that says the same. */
#ifndef MOE_MODEL_GGUF_TOKENIZER_H
#define MOE_MODEL_GGUF_TOKENIZER_H

#include "format/gguf.h"

/* Makes the JSON text (to be freed) from the keys tokenizer.ggml.*: of the model "gpt2", which is byte-level BPE, with the splits that
 * tokenizer.ggml.pre names, or of "llama", which is SentencePiece's BPE, whose merges follow from the scores of its pieces. */
enum moe_err moe_gguf_tokenizer(char **json, size_t *n, const struct moe_gguf *g, struct moe_diag *d) MOE_CHECK_RESULT;

/* The splits of byte-level tokenizers by their names in llama.cpp (src/llama-vocab.cpp), with the patterns that the tokenizers of these models have at the hub.
 * NULL: the pattern of GPT-2. */
struct moe_gguf_split {
	const char *name, *pattern;
	bool nfc, ignore_merges;
};
extern const struct moe_gguf_split moe_gguf_splits[];
extern const size_t moe_n_gguf_splits;

/* Types of tokens (llama.cpp, enum llama_token_type). */
enum { MOE_TOKEN_NORMAL = 1, MOE_TOKEN_UNKNOWN = 2, MOE_TOKEN_CONTROL = 3, MOE_TOKEN_USER_DEFINED = 4, MOE_TOKEN_UNUSED = 5, MOE_TOKEN_BYTE = 6 };

#endif
