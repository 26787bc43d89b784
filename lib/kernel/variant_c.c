/* Plain C: the reference, and what runs where nothing better does. */
#define VARIANT moe_kernels_c
#define VARIANT_NAME "c"
#include "kernel/variant_impl.h"
