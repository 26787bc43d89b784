/* Routing that other engines recorded, as a trace. What they write is recognised by its first bytes:
 *
 * - JSON, or JSON lines, of vLLM's servers (--enable-return-routed-experts): `routed_experts` of each choice and `prompt_routed_experts`, as arrays [tokens][layers][k]
 *   or as base64 of a .npy file; of SGLang's (--enable-return-routed-experts): `meta_info.routed_experts`, base64 of int32 [tokens][layers][k] (vLLM's page "Routed
 *   Experts Replay", SGLang's "Return Routed Experts").
 * - .npy: ids, or router logits as OLMoE's analysis stacks them; the options say which axis is which.
 * - The route trace of colibri, lines "call row layer expert:gate expert:gate ..." (its page "Routing telemetry"), and its history, lines "layer expert count".
 * - An imatrix of llama.cpp in GGUF, whose tensors blk.N.ffn_*_exps.weight.counts count the rows that each expert got.
 *
 * The last two keep no tokens: they become traces of counts. All sources of an import are read before anything is written. */
#ifndef MOE_IMPORT_IMPORT_H
#define MOE_IMPORT_IMPORT_H

#include "trace/trace_write.h"

/* What the sources do not say; zeroed: nothing is known. */
struct moe_import_options {
	size_t experts, k;              /* 0: experts is the largest id + 1; k is the sources' */
	const size_t *layer;            /* [n_layers] numbers of the layers of sources that do not say them, ascending; NULL: from 0 */
	size_t n_layers, all_layers;    /* all_layers: a source of so many has those without experts, too, and is numbered from 0; 0: not known */
	enum moe_trace_score score;     /* what makes weights of logits, which zeroed is softmax; a trace without logits says it only when `says_score` */
	bool renormalise, says_score;
	const char *axes;               /* of .npy: a letter for each, T tokens, L layers, K choices, E experts; NULL: TLK or TK of ids, LTE or TE of logits */
	int64_t image_token;            /* tokens of this id stand for patches; MOE_NO_TOKEN: none does */
	char model[40];                 /* fingerprint for the head, or "" */
};

#define MOE_NO_TOKEN INT64_MIN

struct moe_import;

/* `o` is copied, what it points to is not. */
enum moe_err moe_import_new(struct moe_import **out, const struct moe_import_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_import_free(struct moe_import *m);

/* Adds a source, n bytes. `name` becomes that of sequences that have none. Failures carry the byte, or name the line. */
enum moe_err moe_import_add(struct moe_import *m, const char *name, const uint8_t *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* Weights, or tokens, of the source that was added last, from a .npy: floats of the shape of its ids; whole numbers, one for each token. */
enum moe_err moe_import_weights(struct moe_import *m, const uint8_t *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_import_tokens(struct moe_import *m, const uint8_t *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* The number of experts is a guess: the largest id + 1. */
bool moe_import_guesses(const struct moe_import *m, size_t *experts);

/* Writes the trace. `head`: see moe_trace_writer_new. */
enum moe_err moe_import_write(const struct moe_import *m, struct moe_writer *w, struct moe_frame *head, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
