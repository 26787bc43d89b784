/* What-if options: another choice of experts than the router's, in some layers and for rows of some modality.
 *
 * A value may end with where it holds, VALUE[@LAYERS][:MODALITY]: 3@2-3:image. Without layers it holds in all, without a modality for all rows. Every option
 * may be repeated; where two of an option hold, lists and biases add up, and of single values the later one counts. */
#ifndef MOE_CMD_WHATIF_H
#define MOE_CMD_WHATIF_H

#include "common/cli.h"

/* Values of the options below. */
extern struct what_if_options {
	struct opt_list top_k, drop, force, mute, swap, temperature, bias;
} what_if_options;

#define OPT_WHAT_IF OPT_WHAT_IF_AS("top-k", "temperature")

/* In moe-run, where --top-k and --temperature are about tokens. */
#define OPT_WHAT_IF_ROUTE OPT_WHAT_IF_AS("route-top-k", "route-temperature")
#define OPT_WHAT_IF_AS(TOP_K, TEMPERATURE) \
	{0, "drop", OPT_LIST, &what_if_options.drop, "LIST", "what if: never choose these experts (3 or 0,4-7; or 3@2-3:image, in some layers for some rows)", \
	 0, 0, 0}, \
	{0, "force", OPT_LIST, &what_if_options.force, "LIST", "what if: always choose these experts first", 0, 0, 0}, \
	{0, TOP_K, OPT_LIST, &what_if_options.top_k, "K", "what if: choose K experts, at most the model's own number", 0, 0, 0}, \
	{0, TEMPERATURE, OPT_LIST, &what_if_options.temperature, "T", "what if: divide the router logits by T", 0, 0, 0}, \
	{0, "bias", OPT_LIST, &what_if_options.bias, "FILE", "what if: add these numbers, one for each expert, to the router logits", 0, 0, 0}, \
	{0, "mute", OPT_LIST, &what_if_options.mute, "LIST", "what if: leave these experts out of what was chosen; the others get their weight", 0, 0, 0}, \
	{0, "swap", OPT_LIST, &what_if_options.swap, "A=B", "what if: let experts A and B work in each other's place", 0, 0, 0}

/* Is one of the options given? */
bool what_if_given(void);

/* The settings of the options for a model, NULL when none is given; dies when they make no sense. Memory is kept to the end of the program. */
const struct moe_what_if_table *what_if_table(const struct moe_model *m);

#endif
