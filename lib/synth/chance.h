/* Random draws of one sample: numbers in a row, each a pure function of (seed, stream, index), so that a sample depends on nothing but its own number. */
#ifndef MOE_SYNTH_CHANCE_H
#define MOE_SYNTH_CHANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A value: a copy goes on by itself. */
struct moe_draw {
	uint64_t seed, stream, index;
};

uint64_t moe_draw_u64(struct moe_draw *r);

/* Uniform in [0, 1). */
double moe_draw_unit(struct moe_draw *r);

/* Uniform in [low, high). */
double moe_draw_real(struct moe_draw *r, double low, double high);

/* Uniform in the logarithm; 0 < low <= high. */
double moe_draw_log(struct moe_draw *r, double low, double high);

/* 0 .. n - 1; n > 0. */
size_t moe_draw_below(struct moe_draw *r, size_t n);

/* low .. high, both included. */
int moe_draw_between(struct moe_draw *r, int low, int high);

/* True with probability p. */
bool moe_draw_chance(struct moe_draw *r, double p);

/* Mean 0, variance 1. */
double moe_draw_normal(struct moe_draw *r);

/* An index below n, each with its weight; the weights are not negative and not all zero. */
size_t moe_draw_weighted(struct moe_draw *r, const double *weight, size_t n);

/* Puts n things of `size` bytes (at most 64) in random order. */
void moe_draw_shuffle(struct moe_draw *r, void *things, size_t n, size_t size);

/* One element of an array. */
#define MOE_PICK(r, array) ((array)[moe_draw_below((r), sizeof(array) / sizeof *(array))])

#endif
