/* The decoder itself: stb_image with nothing but the four formats. Faulty by its own account, so it runs in confined workers and nowhere else. */
#ifndef MOE_IMAGE_STB_H
#define MOE_IMAGE_STB_H

#include <stddef.h>
#include <stdint.h>

/* Decodes n bytes to 8 bits a sample: *pixels is [h][w][channels], to be released with moe_stb_free. It may use `budget` bytes of memory in all.
 * NULL, or why it failed (static text). One thread. */
const char *moe_stb_decode(const uint8_t *bytes, size_t n, size_t budget, uint8_t **pixels, uint32_t *w, uint32_t *h, unsigned *n_channels);
void moe_stb_free(uint8_t *pixels);

#endif
