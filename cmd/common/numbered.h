/* Names of files with a number in them: NAME%d or NAME%0Nd. */
#ifndef MOE_CMD_NUMBERED_H
#define MOE_CMD_NUMBERED_H

#include <stdbool.h>

/* Does the name that was given to `option` have a number? Another % than %d or %0Nd is a mistake, of which this dies. */
bool numbered_has(const char *option, const char *name);

/* The name with the number in its place, to be freed; as it is where it has none. */
char *numbered_name(const char *option, const char *name, long number);

#endif
