/* The keys of a GGUF file, as a frame has them. */
#ifndef MOE_REPORT_VIEW_GGUF_H
#define MOE_REPORT_VIEW_GGUF_H

#include "format/gguf.h"

/* Adds each key with its value as text to the metadata of h: of a list the first eight elements, and how many there are. */
enum moe_err moe_view_gguf(struct moe_header *h, const struct moe_gguf *g, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
