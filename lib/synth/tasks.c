#include "synth/synth.h"

/* A new kind of sample is one file and one row here. */
const struct moe_synth_task *const moe_synth_tasks[] = {
	&moe_task_read,
	&moe_task_scene,
	&moe_task_panel,
	NULL,
};
