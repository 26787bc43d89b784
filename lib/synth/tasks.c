#include "synth/synth.h"

/* A new kind of sample is one file and one row here. */
const struct moe_synth_task *const moe_synth_tasks[] = {
	&moe_task_read,
	NULL,
};
