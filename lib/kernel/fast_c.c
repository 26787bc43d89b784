/* Plain C: the reference of the arithmetic `fast`. */
#define F_VARIANT moe_fast_c
#define F_NAME "c"
#include "kernel/fast_impl.h"
