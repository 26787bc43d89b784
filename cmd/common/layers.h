/* moe-attend, moe-route, moe-expert and moe-block: one program with other borders. */
#ifndef MOE_CMD_LAYERS_H
#define MOE_CMD_LAYERS_H

#include "common/stats.h"
#include "stage/layers.h"

/* Values of the options below. */
extern struct layers_options {
	const char *layers;
	const char *drop, *force;
	long top_k;
	double temperature;
	bool only_wanted, attention;
	const char *parts;
} layers_options;

#define OPT_LAYER {'l', "layers", OPT_TEXT, &layers_options.layers, "LAYER", "which layer, counted from 0", 0, 0, 0}
#define OPT_LAYERS {'l', "layers", OPT_TEXT, &layers_options.layers, "LAYERS", "which layers, counted from 0: 3, 0-11 or 12-", 0, 0, 0}
#define OPT_ONLY_WANTED \
	{0, "only-wanted", OPT_FLAG, &layers_options.only_wanted, 0, "in the last layer, go on only with rows whose logits are wanted", 0, 0, 0}
#define OPT_ATTENTION \
	{0, "attention", OPT_FLAG, &layers_options.attention, 0, "put the weights of the heads into the frames, as a tensor LAYER.attention", 0, 0, 0}
#define OPT_PARTS \
	{0, "parts", OPT_OPTIONAL, &layers_options.parts, "WHICH", "put what each expert gave into the frames, for all rows or the wanted", 0, 0, "all"}
#define OPT_WHAT_IF OPT_WHAT_IF_AS("top-k", "temperature")

/* In moe-run, where --top-k and --temperature are about tokens. */
#define OPT_WHAT_IF_ROUTE OPT_WHAT_IF_AS("route-top-k", "route-temperature")
#define OPT_WHAT_IF_AS(TOP_K, TEMPERATURE) \
	{0, TOP_K, OPT_INT, &layers_options.top_k, "K", "what if: choose K experts, at most the model's own number", 1, 256, "the model's"}, \
	{0, "drop", OPT_TEXT, &layers_options.drop, "LIST", "what if: never choose these experts (3 or 0,4-7)", 0, 0, 0}, \
	{0, "force", OPT_TEXT, &layers_options.force, "LIST", "what if: always choose these experts first", 0, 0, 0}, \
	{0, TEMPERATURE, OPT_REAL, &layers_options.temperature, "T", "what if: divide the router logits by T", 1e-3, 1e3, "1"}

/* The what-if settings of the options for a model; memory is kept to the end of the program. */
const struct moe_what_if *layers_what_if(const struct moe_model *m);

/* main of such a program: steps `first` of the first layer to `last` of the last one. */
int layers_main(const struct tool *t, int argc, char **argv, enum moe_step first, enum moe_step last, bool range);

#endif
