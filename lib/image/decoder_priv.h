/* What the program and its decoding worker say to each other. Both come from one executable; the program still trusts no answer. */
#ifndef MOE_IMAGE_DECODER_PRIV_H
#define MOE_IMAGE_DECODER_PRIV_H

#include <stdint.h>

#include "image/probe.h"
#include "sys/server.h"

/* Followed by n bytes of picture. */
struct moe_decode_request {
	uint64_t n;
	struct moe_picture_head head;   /* orientation 1: leave it as it is stored */
	uint8_t over, background[3];    /* over: lay the alpha channel over the background */
	uint32_t fault;                 /* enum moe_decode_fault */
};

enum { MOE_DECODE_TEXT = 255 };

/* Followed, if ok is 1, by the RGB bytes, else by n_text bytes of why not. */
struct moe_decode_answer { uint32_t ok, n_text; };

/* What the server runs. */
extern const struct moe_work moe_decode_work;

#endif
