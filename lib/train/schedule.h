/* The course of the learning rate over a stage, counted in tokens and never in time: linear warm-up, constant, linear decay to a floor
 * (Hu et al. 2024, "MiniCPM", call it WSD). */
#ifndef MOE_TRAIN_SCHEDULE_H
#define MOE_TRAIN_SCHEDULE_H

#include <stdint.h>

struct moe_schedule {
	uint64_t tokens;                /* of the stage */
	uint64_t warmup, decay;         /* its first and its last tokens, over which the rate rises from 0 and falls to the floor */
	double floor;                   /* a share of the full rate */
};

/* What the full rate is multiplied by in a step of `rows` tokens that begins after `at` tokens of the stage; taken at the middle of the step, so that neither the
 * first nor the last is lost to a rate of 0. */
double moe_schedule_factor(const struct moe_schedule *s, uint64_t at, uint64_t rows);

#endif
