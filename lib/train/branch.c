#include "train/branch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/sink.h"
#include "io/source.h"
#include "train/position.h"
#include "train/recipe.h"
#include "train/snapshot.h"
#include "train/trainer.h"

enum { LOG_LIMIT = 1 << 30 };

/* The path of the checkpoint of that step, to be freed, and its state. */
static enum moe_err find(char **path, json_t **state, const char *from, uint64_t step, struct moe_diag *d)
{
	struct moe_run_position at;
	char name[48];

	snprintf(name, sizeof name, "step-%08" PRIu64 ".safetensors", step);
	*path = moe_train_path(from, name);
	if (*path && access(*path, F_OK)) {
		free(*path);
		*path = moe_train_path(from, "checkpoint.safetensors");
	}
	if (!*path)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_snapshot_state(state, *path, d));
	MOE_TRY(moe_position_read(&at, json_object_get(*state, "position"), d));
	if (at.step == step)
		return MOE_OK;
	return moe_fail(d, MOE_EUSAGE, "there is no checkpoint of step %" PRIu64 " in %.200s: its last is of step %" PRIu64 " (\"keep\" in the recipe, or --keep, keeps others)", step,
			from, at.step);
}

/* The recipe that ends `tokens` later in the stage at hand. */
static enum moe_err shorten(json_t *recipe, const struct moe_run_position *at, uint64_t tokens, struct moe_diag *d)
{
	json_t *stages = json_object_get(recipe, "stages"), *stage = json_array_get(stages, at->stage);

	if (!json_is_object(stage))
		return moe_fail(d, MOE_EINPUT, "the checkpoint's recipe has no stage %" PRIu64, at->stage + 1);
	while (json_array_size(stages) > at->stage + 1)
		json_array_remove(stages, json_array_size(stages) - 1);
	json_object_set_new(stage, "tokens", json_integer((json_int_t)(at->stage_tokens + tokens)));
	json_object_set_new(stage, "decay", json_integer((json_int_t)tokens));
	return MOE_OK;
}

static enum moe_err put(const char *path, const char *text, size_t n, struct moe_diag *d)
{
	struct moe_sink *sink;

	MOE_TRY(moe_sink_open(&sink, path, d));
	if (moe_write_all(moe_sink_descriptor(sink), &(struct iovec){(void *)(uintptr_t)text, n}, 1, d)) {
		moe_sink_abandon(sink);
		return moe_diag_path(d, path);
	}
	return moe_sink_commit(sink, d);
}

static enum moe_err copy_log(const char *from, const char *to, uint64_t nbytes, struct moe_diag *d)
{
	char *in = moe_train_path(from, "log.jsonl"), *out = moe_train_path(to, "log.jsonl"), *text = NULL;
	size_t n;
	enum moe_err err = in && out ? moe_read_file(in, LOG_LIMIT, &text, &n, d) : moe_fail(d, MOE_ENOMEM, "out of memory");

	if (!err)
		err = put(out, text, n < nbytes ? n : nbytes, d);
	free(in);
	free(out);
	free(text);
	return err;
}

static enum moe_err write_recipe(const char *to, const json_t *recipe, struct moe_diag *d)
{
	char *path = moe_train_path(to, "recipe.json");
	enum moe_err err = path ? moe_recipe_save(recipe, path, d) : moe_fail(d, MOE_ENOMEM, "out of memory");

	free(path);
	return err;
}

/* Log and recipe first: with the checkpoint the branch is complete. */
static enum moe_err make(const char *from, const char *path, json_t *state, uint64_t tokens, const char *to, struct moe_diag *d)
{
	json_t *recipe = json_object_get(state, "recipe");
	struct moe_run_position at;
	char *checkpoint;
	enum moe_err err;

	MOE_TRY(moe_position_read(&at, json_object_get(state, "position"), d));
	MOE_TRY(shorten(recipe, &at, tokens, d));
	json_object_set_new(json_object_get(state, "position"), "ended", json_false());
	if (mkdir(to, 0777) && errno != EEXIST) {
		moe_fail_errno(d, "cannot create");
		return moe_diag_path(d, to);
	}
	MOE_TRY(copy_log(from, to, at.log_nbytes, d));
	MOE_TRY(write_recipe(to, recipe, d));
	checkpoint = moe_train_path(to, "checkpoint.safetensors");
	err = checkpoint ? moe_snapshot_restate(checkpoint, path, state, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	free(checkpoint);
	return err;
}

enum moe_err moe_branch(const char *from, uint64_t step, uint64_t tokens, const char *to, struct moe_diag *d)
{
	char *path = NULL;
	json_t *state = NULL;
	enum moe_err err = find(&path, &state, from, step, d);

	if (!err)
		err = make(from, path, state, tokens, to, d);
	free(path);
	json_decref(state);
	return err;
}
