#include "report/amount.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

const char *moe_amount_text(double v, int digits, char to[32])
{
	static const struct { double unit; const char *name; } units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}};
	size_t i = fabs(v) < 1e15 ? 0 : sizeof units / sizeof *units - 1;

	while (i + 1 < sizeof units / sizeof *units && !(fabs(v) >= units[i].unit * (1 - pow(10, -digits) / 2)))        /* what rounds to 1000k is 1M */
		i++;
	snprintf(to, 32, "%.*g%s", digits, v / units[i].unit, units[i].name);
	return to;
}
