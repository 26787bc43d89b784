/* The clock of measurements. */
#ifndef MOE_SYS_CLOCK_H
#define MOE_SYS_CLOCK_H

/* Seconds since some moment in the past; never goes back. */
double moe_clock(void);

#endif
