#include "stats/student.h"

#include <math.h>

double moe_student_within(double t, size_t freedom)
{
	double angle = atan(t / sqrt((double)freedom)), square = cos(angle) * cos(angle), term = freedom % 2 ? cos(angle) : 1, sum = 0;

	for (size_t k = freedom % 2 ? 3 : 2; k <= freedom; k += 2) {
		sum += term;
		term *= square * (double)(k - 1) / (double)k;
	}
	return freedom % 2 ? 2 / M_PI * (angle + sin(angle) * sum) : sin(angle) * sum;
}

double moe_student_quantile(double share, size_t freedom)
{
	double low = 0, high = 1;

	while (moe_student_within(high, freedom) < share && high < 1e9)
		high *= 2;
	for (int i = 0; i < 100; i++) {
		double middle = (low + high) / 2;
		if (moe_student_within(middle, freedom) < share)
			low = middle;
		else
			high = middle;
	}
	return (low + high) / 2;
}

struct moe_student moe_student_of(const double *value, size_t n)
{
	struct moe_student s = {NAN, NAN, NAN, NAN, n};
	double squares = 0, sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += value[i];
	if (n)
		s.mean = sum / (double)n;
	if (n < 2)
		return s;
	for (size_t i = 0; i < n; i++)
		squares += (value[i] - s.mean) * (value[i] - s.mean);
	s.deviation = sqrt(squares / (double)(n - 1));
	s.low = s.mean - moe_student_quantile(0.95, n - 1) * s.deviation / sqrt((double)n);
	s.high = 2 * s.mean - s.low;
	return s;
}
