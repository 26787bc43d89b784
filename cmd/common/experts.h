/* Experts that an option names. */
#ifndef MOE_CMD_EXPERTS_H
#define MOE_CMD_EXPERTS_H

#include <stdbool.h>
#include <stddef.h>

/* The experts of a list, such as 0,4-7 or 3-, as a table [n], to be freed. `all`: the word "all" is a list, too. Dies on anything else and names the option. */
bool *experts_parse(const char *option, const char *list, size_t n, bool all);

#endif
