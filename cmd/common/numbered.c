#include "common/numbered.h"

#include <stdlib.h>
#include <string.h>

#include "common/cli.h"

/* The one conversion %d or %0Nd: where it begins, its length and N; NULL when there is none. */
static const char *find_number(const char *option, const char *name, size_t *length, int *width)
{
	const char *at = strchr(name, '%');
	char *end;

	if (!at)
		return NULL;
	*width = (int)strtol(at + 1, &end, 10);
	if (*end != 'd' || at[1] == '-' || at[1] == '+' || at[1] == ' ' || *width < 0 || *width > 20 || strchr(end, '%'))
		cli_fail("%s %s: a template has one number, such as %%06d", option, name);
	*length = (size_t)(end + 1 - at);
	return at;
}

bool numbered_has(const char *option, const char *name)
{
	size_t length;
	int width;

	return find_number(option, name, &length, &width);
}

char *numbered_name(const char *option, const char *name, long number)
{
	size_t length;
	int width;
	const char *at = find_number(option, name, &length, &width);
	char *text;

	if ((at ? asprintf(&text, "%.*s%0*ld%s", (int)(at - name), name, width, number, at + length) : asprintf(&text, "%s", name)) < 0)
		cli_fail("out of memory");
	return text;
}
