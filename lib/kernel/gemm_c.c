/* Plain C: products as they are defined, and what runs where nothing better does. */
#define VARIANT(unit) moe_gemm_##unit##_c
#define VARIANT_NAME "c"
#define OPERANDS moe_operand_c
#include "kernel/gemm_impl.h"
