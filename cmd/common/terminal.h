/* What a terminal can show. */
#ifndef MOE_CMD_TERMINAL_H
#define MOE_CMD_TERMINAL_H

#include "plot/term.h"

/* How figures are printed on f: colours as `color` says (true, 256, never; auto or NULL: as the terminal has them, none elsewhere and with NO_COLOR; dies on
 * anything else), and so many columns (0: the terminal's, else 80). */
struct moe_term terminal_of(FILE *f, const char *color, long width);

#endif
