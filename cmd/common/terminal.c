#include "common/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/cli.h"

static enum moe_term_colours colours(const char *kind, bool terminal)
{
	const char *term = getenv("TERM"), *depth = getenv("COLORTERM"), *none = getenv("NO_COLOR");

	if (!strcmp(kind, "never"))
		return MOE_TERM_PLAIN;
	if (!strcmp(kind, "256"))
		return MOE_TERM_256;
	if (!strcmp(kind, "true"))
		return MOE_TERM_TRUE;
	if (strcmp(kind, "auto"))
		cli_fail("--color %s: expected auto, true, 256 or never", kind);
	if (!terminal || (none && *none) || !term || !strcmp(term, "dumb"))
		return MOE_TERM_PLAIN;
	if ((depth && (!strcmp(depth, "truecolor") || !strcmp(depth, "24bit"))) || strstr(term, "direct"))
		return MOE_TERM_TRUE;
	return strstr(term, "256") ? MOE_TERM_256 : MOE_TERM_PLAIN;
}

struct moe_term terminal_of(FILE *f, const char *color, long width)
{
	struct moe_term t = {f, colours(color ? color : "auto", isatty(fileno(f))), 80};
	struct winsize size;

	if (width)
		t.width = (size_t)width;
	else if (!ioctl(fileno(f), TIOCGWINSZ, &size) && size.ws_col >= 20)
		t.width = size.ws_col;
	return t;
}
