#include "stats/ordered.h"

#include <string.h>

#include "base/mem.h"

static size_t number_of(const char *list, size_t size, size_t i)
{
	size_t number;

	memcpy(&number, list + i * size, sizeof number);
	return number;
}

void *moe_ordered_get(void *list, size_t *n, size_t *cap, size_t size, size_t number)
{
	char *first;
	size_t at = *n;

	memcpy(&first, list, sizeof first);
	while (at && number_of(first, size, at - 1) >= number)
		at--;
	if (at < *n && number_of(first, size, at) == number)
		return first + at * size;
	if (moe_grow(list, cap, *n + 1, size, NULL))
		return NULL;
	memcpy(&first, list, sizeof first);
	memmove(first + (at + 1) * size, first + at * size, ((*n)++ - at) * size);
	memset(first + at * size, 0, size);
	memcpy(first + at * size, &number, sizeof number);
	return first + at * size;
}
