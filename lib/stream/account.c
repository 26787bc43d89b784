#include "stream/account.h"

#include <stdlib.h>
#include <string.h>

void moe_account_free(struct moe_account *a)
{
	free(a->seen);
	free(a->open);
	*a = (struct moe_account){0};
}

/* Index of the first range whose last number is not below n. */
static size_t find_range(const struct moe_account *a, uint64_t n)
{
	size_t lo = 0, hi = a->n_seen;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (a->seen[mid].last < n)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool seen(const struct moe_account *a, uint64_t n)
{
	size_t i = find_range(a, n);

	return i < a->n_seen && a->seen[i].first <= n;
}

static enum moe_err add_seen(struct moe_account *a, uint64_t n, struct moe_diag *d)
{
	size_t i = find_range(a, n);
	bool after = i > 0 && a->seen[i - 1].last + 1 == n, before = i < a->n_seen && a->seen[i].first - 1 == n;

	if (after && before) {
		a->seen[i - 1].last = a->seen[i].last;
		memmove(a->seen + i, a->seen + i + 1, (--a->n_seen - i) * sizeof *a->seen);
	} else if (after) {
		a->seen[i - 1].last = n;
	} else if (before) {
		a->seen[i].first = n;
	} else {
		MOE_TRY(moe_grow(&a->seen, &a->seen_cap, a->n_seen + 1, sizeof *a->seen, d));
		memmove(a->seen + i + 1, a->seen + i, (a->n_seen++ - i) * sizeof *a->seen);
		a->seen[i] = (struct moe_range){n, n};
	}
	return MOE_OK;
}

static enum moe_err set_open(struct moe_account *a, uint64_t n, bool open, struct moe_diag *d)
{
	size_t i = 0;

	while (i < a->n_open && a->open[i] != n)
		i++;
	if (!open && i < a->n_open)
		a->open[i] = a->open[--a->n_open];
	if (!open || i < a->n_open)
		return MOE_OK;
	MOE_TRY(moe_grow(&a->open, &a->open_cap, a->n_open + 1, sizeof *a->open, d));
	a->open[a->n_open++] = n;
	return MOE_OK;
}

static bool is_open(const struct moe_account *a, uint64_t n)
{
	for (size_t i = 0; i < a->n_open; i++)
		if (a->open[i] == n)
			return true;
	return false;
}

/* Frames of these kinds carry a sequence on, or begin it. */
static bool carries(enum moe_kind k)
{
	return k == MOE_KIND_TOKENS || k == MOE_KIND_HIDDEN || k == MOE_KIND_ROUTED || k == MOE_KIND_LOGITS || k == MOE_KIND_TEXT;
}

static enum moe_err check_end(struct moe_account *a, const struct moe_frame *f, struct moe_diag *d)
{
	uint64_t frames, sequences, failed;

	MOE_TRY(moe_frame_number(f, "moe.frames", UINT64_MAX, &frames, d));
	MOE_TRY(moe_frame_number(f, "moe.sequences", UINT64_MAX, &sequences, d));
	MOE_TRY(moe_frame_number(f, "moe.failed", UINT64_MAX, &failed, d));
	if (frames != a->frames)
		return moe_frame_fail(f, d, MOE_EINPUT, "moe.frames is %lld, but %llu frames came before it", (long long)frames, (unsigned long long)a->frames);
	if (sequences != a->sequences || failed != a->failed)
		return moe_frame_fail(f, d, MOE_EINPUT, "it counts %lld sequences (%lld failed), but %llu came (%llu failed)", (long long)sequences,
				      (long long)failed, (unsigned long long)a->sequences, (unsigned long long)a->failed);
	if (a->n_open)
		return moe_frame_fail(f, d, MOE_EINPUT, "sequence %llu was neither answered nor failed", (unsigned long long)a->open[0]);
	return MOE_OK;
}

static void start_member(struct moe_account *a)
{
	a->frames = 1;
	a->sequences = a->failed = 0;
	a->n_seen = a->n_open = 0;
}

static enum moe_err begin(struct moe_account *a, uint64_t seq, struct moe_diag *d)
{
	a->sequences++;
	return add_seen(a, seq, d);
}

static enum moe_err carry(struct moe_account *a, const struct moe_frame *f, uint64_t seq, struct moe_diag *d)
{
	uint64_t more, step, start;

	MOE_TRY(moe_frame_number(f, "moe.more", 0, &more, d));
	MOE_TRY(moe_frame_number(f, "moe.step", 0, &step, d));
	MOE_TRY(moe_frame_number(f, "moe.start", 0, &start, d));
	if (!seen(a, seq))
		MOE_TRY(begin(a, seq, d));
	else if (!is_open(a, seq))
		return moe_frame_fail(f, d, MOE_EINPUT, step || start ? "the sequence goes on after its end" : "the number of the sequence is used twice");
	return set_open(a, seq, more, d);
}

enum moe_err moe_account_frame(struct moe_account *a, const struct moe_frame *f, struct moe_diag *d)
{
	uint64_t seq;

	if (f->kind == MOE_KIND_HEAD) {
		start_member(a);
		return MOE_OK;
	}
	if (f->kind == MOE_KIND_END)
		return check_end(a, f, d);
	a->frames++;
	if (!carries(f->kind) && f->kind != MOE_KIND_FAILED && f->kind != MOE_KIND_DROP)
		return MOE_OK;
	MOE_TRY(moe_frame_number(f, "moe.seq", UINT64_MAX, &seq, d));
	if (seq == UINT64_MAX)
		return moe_frame_fail(f, d, MOE_EINPUT, "moe.seq is missing");
	if (f->kind == MOE_KIND_DROP)
		return seen(a, seq) ? set_open(a, seq, false, d) : moe_frame_fail(f, d, MOE_EINPUT, "the sequence has not begun");
	if (f->kind != MOE_KIND_FAILED)
		return carry(a, f, seq, d);
	if (seen(a, seq) && !is_open(a, seq))
		return moe_frame_fail(f, d, MOE_EINPUT, "the sequence is over, it cannot fail any more");
	a->failed++;
	if (!seen(a, seq))
		MOE_TRY(begin(a, seq, d));
	return set_open(a, seq, false, d);
}

enum moe_err moe_account_sign(const struct moe_account *a, struct moe_frame *end, struct moe_diag *d)
{
	MOE_TRY(moe_frame_set_number(end, "moe.frames", a->frames, d));
	MOE_TRY(moe_frame_set_number(end, "moe.sequences", a->sequences, d));
	return moe_frame_set_number(end, "moe.failed", a->failed, d);
}
