#include "stream/check.h"

enum moe_err moe_stream_check(struct moe_reader *r, uint64_t *frames, struct moe_diag *d) { return moe_stream_check_with(r, frames, NULL, NULL, d); }

enum moe_err moe_stream_check_with(struct moe_reader *r, uint64_t *frames, enum moe_err (*look)(void *self, struct moe_frame *f, struct moe_diag *d), void *self,
				   struct moe_diag *d)
{
	struct moe_frame f = {0};
	struct moe_account a = {0};
	enum moe_err err;

	*frames = 0;
	while (!(err = moe_reader_next(r, &f, true, d))) {
		if (f.kind != MOE_KIND_BARE)
			err = moe_account_frame(&a, &f, d);
		if (!err && look)
			err = look(self, &f, d);
		if (err)
			break;
		++*frames;
	}
	moe_frame_free(&f);
	moe_account_free(&a);
	return err == MOE_END ? MOE_OK : err;
}

struct seal {
	struct moe_reader *r;
	struct moe_writer *w;
	const struct moe_seal *o;
	struct moe_frame f;
	struct moe_account account;
	bool head, end;
};

static enum moe_err put(struct seal *s, struct moe_diag *d)
{
	if (s->f.kind == MOE_KIND_END)
		MOE_TRY(moe_account_sign(&s->account, &s->f, d));
	MOE_TRY(moe_account_frame(&s->account, &s->f, d));
	return moe_writer_put(s->w, &s->f, d);
}

/* The head that was given with --head, before the first frame. */
static enum moe_err put_head(struct seal *s, struct moe_diag *d)
{
	struct moe_frame first = s->f;
	enum moe_err err;

	s->f = (struct moe_frame){0};
	err = moe_reader_next(s->o->head, &s->f, true, d);
	if (!err && s->f.kind != MOE_KIND_HEAD)
		err = moe_fail(d, MOE_EINPUT, "the file of --head does not begin with a head frame");
	if (!err)
		err = put(s, d);
	moe_frame_free(&s->f);
	s->f = first;
	return err == MOE_END ? moe_fail(d, MOE_EINPUT, "the file of --head is empty") : err;
}

static enum moe_err seal(struct seal *s, struct moe_diag *d)
{
	enum moe_err err;

	while (!(err = moe_reader_next(s->r, &s->f, true, d))) {
		if (s->f.kind == MOE_KIND_BARE)
			return moe_frame_fail(&s->f, d, MOE_EINPUT, "it has no moe. keys: give each frame at least moe.kind and moe.seq");
		if (s->f.kind == MOE_KIND_HEAD) {
			s->end = false;
		} else if (!s->head) {
			if (!s->o->head)
				return moe_frame_fail(&s->f, d, MOE_EINPUT, "the head frame is missing: pass it on, or give it with --head FILE");
			MOE_TRY(put_head(s, d));
		}
		s->head = s->f.kind != MOE_KIND_END;
		s->end = s->f.kind == MOE_KIND_END;
		MOE_TRY(put(s, d));
		MOE_TRY(moe_writer_flush(s->w, d));
	}
	if (err != MOE_END)
		return err;
	if (s->end)
		return MOE_OK;
	if (!s->head)
		return moe_fail(d, MOE_EINPUT, "the input is empty: expected a tensor stream");
	if (!s->o->assume_complete)
		return moe_fail(d, MOE_EINPUT, "the end frame is missing: the program before this one failed, or does not pass it on (--assume-complete)");
	MOE_TRY(moe_frame_reset(&s->f, MOE_KIND_END, d));
	return put(s, d);
}

enum moe_err moe_stream_seal(struct moe_reader *r, struct moe_writer *w, const struct moe_seal *o, struct moe_diag *d)
{
	struct seal s = {.r = r, .w = w, .o = o};
	enum moe_err err;

	moe_reader_any_crc(r, true);
	moe_reader_open_end(r);
	err = seal(&s, d);
	if (!err)
		err = moe_writer_flush(w, d);
	moe_frame_free(&s.f);
	moe_account_free(&s.account);
	return err;
}
