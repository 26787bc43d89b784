/* Large numbers for people. */
#ifndef MOE_REPORT_AMOUNT_H
#define MOE_REPORT_AMOUNT_H

/* 2500000 as "2.5M": so many significant digits, with k, M, G or T from a thousand on; from 1e15 on as 1e+15. */
const char *moe_amount_text(double v, int digits, char to[32]);

#endif
