/* Student's t: intervals of means of few values. */
#ifndef MOE_STATS_STUDENT_H
#define MOE_STATS_STUDENT_H

#include <stddef.h>

/* The probability that |t| is below a t >= 0 with this many degrees of freedom, 1 or more (Abramowitz and Stegun, 26.7.3 and 26.7.4). */
double moe_student_within(double t, size_t freedom);

/* The t within which a share (0.95; above 0, below 1) of the distribution lies. */
double moe_student_quantile(double share, size_t freedom);

/* The mean of n values, their standard deviation, and the 95 % interval of the mean. With one value the interval and the deviation are NAN, with none the
 * mean, too. */
struct moe_student {
	double mean, deviation, low, high;
	size_t n;
};
struct moe_student moe_student_of(const double *value, size_t n);

#endif
