#include "stage/prompts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trace/pools.h"

enum moe_err moe_head_make(struct moe_frame *f, const struct moe_identity *id, struct moe_diag *d)
{
	MOE_TRY(moe_frame_reset(f, MOE_KIND_HEAD, d));
	MOE_TRY(moe_frame_set(f, "moe.stream", MOE_STREAM_VERSION, d));
	if (id->model)
		MOE_TRY(moe_frame_set(f, "moe.model", id->model, d));
	if (id->tokenizer)
		MOE_TRY(moe_frame_set(f, "moe.tokenizer", id->tokenizer, d));
	MOE_TRY(moe_frame_set(f, "moe.math", moe_math_name(id->math), d));
	if (id->router)
		MOE_TRY(moe_pools_write(f, &id->router->pools, (size_t)id->router->experts, d));
	return moe_head_mark(f, id, d);
}

/* The ring as moe-tokenize sees it. */
struct ring {
	struct moe_prompts *p;
	struct moe_output *out;
	struct moe_reader *back;        /* NULL: no ring */
	struct moe_frame frame;
	uint64_t seq;
	size_t open;                    /* sequences admitted and not yet dropped */
	bool exhausted;                 /* no prompts are left */
};

static enum moe_err emit_prompt(struct ring *r, const struct moe_prompt *prompt, struct moe_diag *d)
{
	struct moe_frame *f = &r->frame;
	int32_t *image = malloc((prompt->n + 1) * sizeof *image), pictures = 0;
	enum moe_err err;

	if (!image)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < prompt->n; i++)
		image[i] = r->p->spec->merge.placeholder >= 0 && prompt->token[i] == r->p->spec->merge.placeholder ? pictures++ : -1;
	err = moe_frame_reset(f, MOE_KIND_TOKENS, d);
	if (!err)
		err = moe_frame_set_number(f, "moe.seq", r->seq++, d);
	if (!err && prompt->name)
		err = moe_frame_set(f, "moe.name", prompt->name, d);
	if (!err)
		err = moe_frame_set(f, "moe.step", "0", d);
	if (!err)
		err = moe_frame_set(f, "moe.logits", r->p->logits, d);
	if (!err)
		err = moe_frame_set(f, "moe.more", r->p->generate ? "1" : "0", d);
	if (!err)
		err = moe_frame_put(f, "token", MOE_I32, 1, prompt->n, 0, prompt->token, d);
	if (!err)
		err = moe_frame_put(f, "image", MOE_I32, 1, prompt->n, 0, image, d);
	if (!err)
		err = moe_emit(r->out, f, d);
	free(image);
	return err;
}

static enum moe_err admit(struct ring *r, struct moe_diag *d)
{
	struct moe_prompt prompt = {0};
	enum moe_err err = r->p->next(r->p->self, &prompt, d);

	if (err == MOE_END) {
		r->exhausted = true;
		return MOE_OK;
	}
	MOE_TRY(err);
	r->open++;
	return emit_prompt(r, &prompt, d);
}

/* Passes one frame from the loop on. *none: nothing has come. */
static enum moe_err pass_back(struct ring *r, bool *none, struct moe_diag *d)
{
	enum moe_err err = moe_reader_next(r->back, &r->frame, false, d);

	*none = err == MOE_AGAIN;
	if (*none)
		return MOE_OK;
	if (err == MOE_END)
		return moe_fail(d, MOE_EIO, "the loop was closed before all answers were back: moe-decode failed or was stopped");
	MOE_TRY(err);
	if (r->frame.kind == MOE_KIND_DROP) {
		if (!r->open)
			return moe_frame_fail(&r->frame, d, MOE_EINPUT, "more sequences came back than went out");
		r->open--;
	} else if (r->frame.kind != MOE_KIND_TOKENS) {
		return moe_frame_fail(&r->frame, d, MOE_EINPUT, "only \"tokens\" and \"drop\" may come back through the loop");
	}
	return moe_emit(r->out, &r->frame, d);
}

static enum moe_err turn(struct ring *r, struct moe_diag *d)
{
	bool none;

	while (!r->exhausted || r->open) {
		MOE_TRY(pass_back(r, &none, d));
		if (!none)
			continue;
		if (!r->exhausted && r->open < r->p->window) {
			MOE_TRY(admit(r, d));
			continue;
		}
		MOE_TRY(moe_writer_flush(r->out->writer, d));
		if (r->open)
			MOE_TRY(moe_writer_wait(r->out->writer, moe_reader_descriptor(r->back), d));
	}
	return MOE_OK;
}

static enum moe_err all_prompts(struct ring *r, struct moe_diag *d)
{
	while (!r->exhausted)
		MOE_TRY(admit(r, d));
	return MOE_OK;
}

/* Opened without blocking: until moe-decode opens its end there is simply nothing to read. */
static enum moe_err open_back(struct ring *r, struct moe_diag *d)
{
	struct moe_source *s;
	struct stat st;
	int fd = open(r->p->loop, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return moe_fail_errno(d, "cannot open the loop %s (make it with mkfifo)", r->p->loop);
	if (fstat(fd, &st) || !S_ISFIFO(st.st_mode)) {
		close(fd);
		return moe_fail(d, MOE_EUSAGE, "the loop %s is not a FIFO (make it with mkfifo)", r->p->loop);
	}
	MOE_TRY(moe_source_fd(&s, fd, r->p->loop, d));
	MOE_TRY(moe_reader_new(&r->back, s, d));
	moe_reader_open_end(r->back);
	return MOE_OK;
}

enum moe_err moe_prompts_run(struct moe_prompts *p, struct moe_output *out, struct moe_diag *d)
{
	struct ring r = {.p = p, .out = out};
	enum moe_err err = MOE_OK;

	if (p->loop)
		err = open_back(&r, d);
	if (!err)
		err = moe_head_make(&r.frame, &p->id, d);
	if (!err)
		err = moe_emit(out, &r.frame, d);
	if (!err)
		err = p->loop ? turn(&r, d) : all_prompts(&r, d);
	if (!err)
		err = moe_frame_reset(&r.frame, MOE_KIND_END, d);
	if (!err)
		err = moe_account_sign(&out->account, &r.frame, d);
	if (!err)
		err = moe_emit(out, &r.frame, d);
	if (!err)
		err = moe_writer_flush(out->writer, d);
	if (r.back)
		close(moe_reader_descriptor(r.back));
	moe_reader_free(r.back);
	moe_frame_free(&r.frame);
	return err;
}
