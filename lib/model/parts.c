#include "model/parts.h"

#include <string.h>

static const char *const parts[MOE_N_PARTS] = {
	[MOE_PART_EMBED] = "embedding", [MOE_PART_NORM] = "norm", [MOE_PART_ATTENTION] = "attention", [MOE_PART_ROUTER] = "router", [MOE_PART_EXPERTS] = "experts",
	[MOE_PART_SHARED] = "shared", [MOE_PART_DENSE] = "dense", [MOE_PART_HEAD] = "head", [MOE_PART_TOWER] = "vision", [MOE_PART_PROJECTOR] = "projector",
};

const char *moe_part_name(enum moe_part part) { return parts[part]; }

enum moe_part moe_part_find(const char *word, size_t n)
{
	int p = 0;

	while (p < MOE_N_PARTS && (strlen(parts[p]) != n || strncasecmp(word, parts[p], n)))
		p++;
	return (enum moe_part)p;
}
