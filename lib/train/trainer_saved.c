#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/trainer_priv.h"

struct moe_snapshot moe_trainer_snapshot(struct moe_trainer *t)
{
	return (struct moe_snapshot){
		.params = moe_trainer_params(t), .weights = moe_trainer_weights(t), .first = moe_optimiser_first(t->optimiser),
		.second = moe_optimiser_second(t->optimiser), .steps = moe_optimiser_steps(t->optimiser),
	};
}

static json_t *state_of(const struct moe_trainer *t)
{
	json_t *state = json_pack("{si ss ss so sO}", "format", 1, "model", t->model->fingerprint, "kernel", moe_gemm_name((enum moe_unit)t->o->recipe->precision),
				  "position", moe_position_value(&t->at), "recipe", t->recipe);

	if (state && t->o->teacher)
		json_object_set_new(state, "teacher", json_string(t->o->teacher->fingerprint));
	return state;
}

static enum moe_err write_as(struct moe_trainer *t, const char *name, struct moe_diag *d)
{
	char *path = moe_train_path(t->o->directory, name);
	struct moe_snapshot s = moe_trainer_snapshot(t);
	enum moe_err err;

	s.state = state_of(t);
	err = path && s.state ? moe_snapshot_write(path, &s, d) : moe_trainer_no_memory(d);
	json_decref(s.state);
	free(path);
	return err;
}

static enum moe_err try_save(struct moe_trainer *t, bool keep, struct moe_diag *d)
{
	char name[48];

	MOE_TRY(moe_trainlog_sync(t->log, &t->at.log_nbytes, d));
	MOE_TRY(write_as(t, "checkpoint.safetensors", d));
	if (!keep)
		return MOE_OK;
	snprintf(name, sizeof name, "step-%08" PRIu64 ".safetensors", t->at.step);
	return write_as(t, name, d);
}

enum moe_err moe_trainer_save(struct moe_trainer *t, bool keep, bool must, struct moe_diag *d)
{
	struct moe_diag failure = {0};
	char text[700];

	if (try_save(t, keep, &failure)) {
		if (must) {
			*d = failure;
			return failure.code;
		}
		moe_trainer_note(t, "no checkpoint after step %" PRIu64 ": %s; the one before stays, and the next is tried in its time", t->at.step,
		     moe_diag_string(&failure, text, sizeof text));
		return MOE_OK;
	}
	if (t->o->saved)
		t->o->saved(t->o->arg);
	return MOE_OK;
}

/* Is the state that of this recipe and model? */
static enum moe_err check_state(struct moe_trainer *t, const json_t *state, struct moe_diag *d)
{
	const char *model = json_string_value(json_object_get(state, "model")), *kernel = json_string_value(json_object_get(state, "kernel"));
	const char *now = moe_gemm_name((enum moe_unit)t->o->recipe->precision), *teacher = json_string_value(json_object_get(state, "teacher"));

	if (json_integer_value(json_object_get(state, "format")) != 1)
		return moe_fail(d, MOE_EMATCH, "is of another version of moe-train");
	MOE_TRY(moe_recipe_same(json_object_get(state, "recipe"), t->recipe, d));
	if (!model || strcmp(model, t->model->fingerprint))
		return moe_fail(d, MOE_EMATCH, "was begun with another model (fingerprint %.32s, here %s)", model ? model : "none", t->model->fingerprint);
	if (t->o->teacher && (!teacher || strcmp(teacher, t->o->teacher->fingerprint)))
		return moe_fail(d, MOE_EMATCH, "was begun with another teacher (fingerprint %.32s, here %s)", teacher ? teacher : "none", t->o->teacher->fingerprint);
	if (kernel && strcmp(kernel, now))
		moe_trainer_note(t, "the checkpoint was computed with the products %.40s, and goes on with %s: the numbers will differ in their last bits", kernel, now);
	return MOE_OK;
}

enum moe_err moe_trainer_resume(struct moe_trainer *t, struct moe_diag *d)
{
	char *path = moe_train_path(t->o->directory, "checkpoint.safetensors");
	struct moe_snapshot s = moe_trainer_snapshot(t);
	enum moe_err err = MOE_OK;

	if (!path)
		return moe_trainer_no_memory(d);
	if (!access(path, F_OK)) {
		err = moe_snapshot_read(&s, path, d);
		if (!err)
			err = check_state(t, s.state, d);
		if (!err)
			err = moe_position_read(&t->at, json_object_get(s.state, "position"), d);
		if (!err && t->at.stage >= t->o->recipe->n_stages)
			err = moe_fail(d, MOE_EINPUT, "is at stage %" PRIu64 " of %zu", t->at.stage + 1, t->o->recipe->n_stages);
		if (err)
			moe_diag_path(d, path);
		json_decref(s.state);
		moe_trainer_changed(t);
	}
	free(path);
	return err;
}
