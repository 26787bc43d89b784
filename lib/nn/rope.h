/* Rotary positions (Su et al. 2021) on one or two axes, with the scalings of long contexts. */
#ifndef MOE_NN_ROPE_H
#define MOE_NN_ROPE_H

#include <stddef.h>
#include <stdint.h>

enum moe_rope_pairs { MOE_ROPE_HALF, MOE_ROPE_ADJACENT };       /* which two numbers turn together: i and i + n, or 2i and 2i + 1 */
enum moe_rope_scaling { MOE_ROPE_NONE, MOE_ROPE_DEFAULT, MOE_ROPE_LINEAR, MOE_ROPE_LLAMA3, MOE_ROPE_YARN };    /* default: another name for none */

struct moe_rope_settings {
	int pairs;                      /* enum moe_rope_pairs */
	int64_t axes;
	int64_t dim;                    /* numbers of a head that turn; 0: all */
	double theta;
	int scaling;                    /* enum moe_rope_scaling */
	double factor;                  /* by which the context was made longer */
	double original;                /* context before: llama3 and yarn */
	double low, high;               /* llama3: low_freq_factor, high_freq_factor */
	double beta_fast, beta_slow;    /* yarn */
	double attention_factor;        /* yarn: cosines and sines are multiplied by it; 0: 0.1 ln factor + 1 */
};

/* Frequencies of n pairs (of one axis), rounded to f32, into frequency [n]; returns what cosines and sines are multiplied by.
 *
 *     none    theta^(-i/n)
 *     linear  that over factor
 *     llama3  long waves over factor, short ones as they are, between them a mixture (Llama 3.1; transformers, modeling_rope_utils)
 *     yarn    a ramp between both over the pairs that turn beta_slow to beta_fast times in the original context (Peng et al. 2023, section 3) */
float moe_rope_frequencies(float *frequency, size_t n, const struct moe_rope_settings *s);

/* Cosines and sines [rows][pairs] of positions [axes][rows]: axis a turns pairs [a·n, (a+1)·n), n = pairs / axes. `frequency` has room for n. Angles are
 * rounded to f32, as transformers does. */
void moe_rope_table(float *cosine, float *sine, const int32_t *position, size_t rows, size_t pairs, const struct moe_rope_settings *s, float *frequency);

/* Turns the first 2·pairs numbers of each of `heads` heads of dim numbers, for one row. */
void moe_rope_turn(float *x, size_t heads, size_t dim, size_t pairs, const float *cosine, const float *sine, const struct moe_rope_settings *s);

#endif
