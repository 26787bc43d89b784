/* moe-attend, moe-route, moe-expert and moe-block: one program with other borders. */
#ifndef MOE_CMD_LAYERS_H
#define MOE_CMD_LAYERS_H

#include "common/stats.h"
#include "common/whatif.h"
#include "stage/layers.h"

/* Values of the options below. */
extern struct layers_options {
	const char *layers;
	bool only_wanted, attention;
	const char *parts, *experts;
	bool partial;
} layers_options;

#define OPT_LAYER {'l', "layers", OPT_TEXT, &layers_options.layers, "LAYER", "which layer, counted from 0", 0, 0, 0}
#define OPT_LAYERS {'l', "layers", OPT_TEXT, &layers_options.layers, "LAYERS", "which layers, counted from 0: 3, 0-11 or 12-", 0, 0, 0}
#define OPT_ONLY_WANTED \
	{0, "only-wanted", OPT_FLAG, &layers_options.only_wanted, 0, "in the last layer, go on only with rows whose logits are wanted", 0, 0, 0}
#define OPT_ATTENTION \
	{0, "attention", OPT_FLAG, &layers_options.attention, 0, "put the weights of the heads into the frames, as a tensor LAYER.attention", 0, 0, 0}
#define OPT_PARTS \
	{0, "parts", OPT_OPTIONAL, &layers_options.parts, "WHICH", "put what each expert gave into the frames, for all rows or the wanted", 0, 0, "all"}
#define OPT_EXPERTS {0, "experts", OPT_TEXT, &layers_options.experts, "EXPERTS", "with --partial, which experts: 3, 0-31 or 32-", 0, 0, "all"}
#define OPT_PARTIAL \
	{0, "partial", OPT_FLAG, &layers_options.partial, 0, "hand on what these experts give, each by itself, for moe-merge", 0, 0, 0}

/* Reads a layer of a model with n; dies when it is anything else. */
size_t layers_parse_one(size_t n);

/* main of such a program: steps `first` of the first layer to `last` of the last one. */
int layers_main(const struct tool *t, int argc, char **argv, enum moe_step first, enum moe_step last, bool range);

#endif
