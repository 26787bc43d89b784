#include "data/packed.h"

static size_t with_document(const struct moe_packed *p, size_t n, uint64_t document)
{
	size_t i = 0;

	while (i < n && p[i].document != document)
		i++;
	return i;
}

size_t moe_packed_together(const struct moe_packed *p, size_t n, size_t most)
{
	size_t i = 0;

	while (i < n && i < most && (!p[i].document || with_document(p, i, p[i].document) == i))
		i++;
	return i;
}
