/* A new model of the family `native`, from its description: a folder with settings, tokenizer, and initial weights. */
#ifndef MOE_TRAIN_CREATE_H
#define MOE_TRAIN_CREATE_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

/* The description is an object of these keys; those without a default must be there, others than these are errors.
 *
 *     hidden, layers, heads, experts, expert_width     sizes; experts and expert_width are needless where all layers are dense
 *     kv_heads (heads), head_dim (hidden / heads)      of the attention; head_dim is a multiple of 4
 *     top_k (2, or 1 of one expert)                    experts for each token; 1 of several takes its probability as weight, else they are renormalised
 *     renormalise                                      false: weights are probabilities
 *     dense_layers ([])                                layers without experts, rising, or "all": every token passes one unit there
 *     dense_width (top_k * expert_width)               of that unit, which then costs a token as much as its experts
 *     choice_bias (false)                              a bias of each expert in the choice, which balances the load without a loss (moe-train --bias-rate);
 *                                                      "modality": one for text and one for pictures, which follow the loads of either
 *     router_score, router_choice, expert_capacity, expert_pools, route_batch, n_group, topk_group, group_score, routed_scaling_factor, moe_norm, depth_layers,
 *     depth_capacity, aux_routers, aux_threshold       how tokens and experts come together: as in config.json (describe_routing.h)
 *     stem ([32, 64])                                  channels between the convolutions, each of which halves the picture's sides; or "linear": patches by one matrix
 *     patch (2 ^ number of convolutions, or 8)         pixels
 *     row_col (true)                                   learned vectors of rows and columns are added to patches
 *     encoder {"depth": 2, "hidden": (hidden), "heads": (heads), "width": (top_k · expert_width), "projector": ("linear") or "mlp", "projector_width": (hidden)}
 *         layers that patches pass before those of the trunk (late fusion), and what leads from them into it; depth 0 is early fusion, as is no encoder
 *     image_attention ("bidirectional")                or "causal": a patch sees those before it
 *     grids ([[4, 16]])                                rows and columns of patches; the first of those with the least padding is a picture's
 *     rope_theta (100), norm_eps (1e-6)
 *     text_offset (the longest side of any grid)       position of the first text token
 *     max_text (96), max_new (max_text)                tokens of text, and of an answer
 *     mean (115), std (70)                             of the bytes of pictures: a number, or one for each channel
 *     pad ("border_median")                            or a colour [r, g, b]
 *     image_tokens {"codes": 256, "width": 16, "encoder": [32, 64, 64], "decoder": [128, 128]}, or {"from": FOLDER}
 *         pictures are tokens (nn/quantiser.h): so many codes of that width, and the channels between the convolutions of encoder and decoder; patch is 4 then
 *         and grids [[8, 8]] unless they are said. From: they, patch, grids, mean, std and pad are those of another model, with the trained numbers
 *     vocabulary {"words": [], "tasks": ["ask", "describe"]}
 *         words: a list, or the name of a file with one a line; a word is made of the letters a to z, and stands for itself behind a space
 *         tasks: names of the tokens <...> that prompts have beside <read>
 *
 * Tokens: <pad>, <read>, <image>, <unk>, <eos>, the 95 printable characters of ASCII, the tasks, the words in their order, and for
 * image tokens <picture>, </picture> and <code-0>, .... With the task "ask" the model has a
 * chat format.
 *
 * Initial weights are normal with variance 1 / inputs, those of o and down by sqrt(2 layers) smaller; router, head, row and column tables 0.02; embeddings 0.5;
 * convolutions but the last, and the first of two layers of a projector, 1.4 / sqrt(inputs); norms 1. Each number is a function of the seed, the tensor's name and its place there. */

/* Writes the folder, which must not be there yet or be empty; it appears when it is whole. */
enum moe_err moe_create_model(const char *dir, json_t *description, uint64_t seed, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
