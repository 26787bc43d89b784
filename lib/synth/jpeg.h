/* A round trip through JPEG, for the marks that it leaves. */
#ifndef MOE_SYNTH_JPEG_H
#define MOE_SYNTH_JPEG_H

#include <stdint.h>

#include "base/err.h"

/* Compresses rgb, [h][w][3], with this quality (1 to 100) and decodes it into its place. Threads wait for each other while decoding. */
enum moe_err moe_jpeg_round_trip(uint8_t *rgb, uint32_t w, uint32_t h, int quality, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
