#include "common/experts.h"

#include <stdlib.h>
#include <string.h>

#include "base/range.h"
#include "common/cli.h"

bool *experts_parse(const char *option, const char *list, size_t n, bool all)
{
	const char *p = all && !strcmp(list, "all") ? "0-" : list, *end = p + strlen(p);
	bool *expert = calloc(n, sizeof *expert);
	uint64_t first, last;

	if (!expert)
		cli_fail("out of memory");
	if (!*list)
		cli_fail("--%s: no experts; expected some from 0 to %zu, such as 3 or 0,4-7", option, n - 1);
	for (;; p++) {
		if (!moe_range_read(&p, end, n - 1, &first, &last) || (*p && *p != ','))
			cli_fail("--%s %s: expected %sexperts from 0 to %zu, such as 3 or 0,4-7", option, list, all ? "all, or " : "", n - 1);
		memset(expert + first, true, last - first + 1);
		if (!*p)
			return expert;
	}
}
