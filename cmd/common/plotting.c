#include "common/plotting.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "common/pictures.h"
#include "trace/traces.h"

enum { MOST_SEQUENCES = 1 << 24, MOST_SIDE = 1024 };

/* ---- traces ---- */

static void copy_name(char to[40], const char *name)
{
	if (!to[0] && strlen(name) < 40)
		memcpy(to, name, strlen(name) + 1);
}

static void note_head(struct run *r, const struct moe_traces *t, const struct moe_trace_info *info)
{
	const char *pg = moe_frame_meta(moe_traces_head(t), "moe.pg");

	copy_name(r->model, info->model);
	copy_name(r->tokenizer, info->tokenizer);
	if (pg && !r->provenance)
		r->provenance = moe_strdup(pg);
}

/* Pictures of the sequences before the wanted one: the largest number of each. */
struct before {
	int32_t *most;          /* [cap], by sequence; 0: none, else one more than the largest number */
	size_t cap;
};

static void count_before(struct before *c, const struct moe_trace_block *b)
{
	struct moe_diag d = {0};
	size_t cap = c->cap;

	if (b->seq >= MOST_SEQUENCES)
		return;
	cli_check(moe_grow(&c->most, &cap, (size_t)b->seq + 1, sizeof *c->most, &d), &d);
	memset(c->most + c->cap, 0, (cap - c->cap) * sizeof *c->most);
	c->cap = cap;
	for (size_t i = 0; b->image && i < b->rows; i++)
		if (b->image[i] >= c->most[b->seq])
			c->most[b->seq] = b->image[i] + 1;
}

void run_read(struct run *r, const char *const *path, size_t n, long seq)
{
	struct moe_traces_options options = {.any_model = cli.any_model};
	const struct moe_trace_info *info;
	struct moe_trace_block b;
	struct moe_diag d = {0};
	struct moe_traces *t;
	struct before before = {0};
	size_t input = 0;
	enum moe_err err;

	cli_check(moe_traces_new(&t, &options, path, n, &d), &d);
	while (!(err = moe_traces_next(t, &info, &b, &d))) {
		note_head(r, t, info);
		cli_check(moe_routing_set_add(&r->sums, info, &b, &d), &d);
		if (!r->found && (seq < 0 || b.seq == (uint64_t)seq)) {
			r->found = true;
			input = moe_traces_input(t);
			seq = (long)b.seq;
		}
		if (moe_traces_input(t) == input && b.seq == (uint64_t)seq)
			cli_check(moe_tokens_add(&r->tokens, info, &b, &d), &d);
		else if (seq >= 0 && b.seq < (uint64_t)seq)
			count_before(&before, &b);
	}
	if (err != MOE_END)
		cli_die(&d);
	for (size_t i = 0; i < before.cap; i++)
		r->before += (size_t)before.most[i];
	free(before.most);
	moe_traces_free(t);
}

void runs_compare(struct moe_agreement *g, const char *const *a, size_t n_a, const char *const *b, size_t n_b)
{
	struct moe_traces_options options = {.any_model = cli.any_model};
	const struct moe_trace_info *ia, *ib;
	struct moe_trace_block x, y;
	struct moe_traces *ta, *tb;
	struct moe_diag d = {0};
	enum moe_err ea, eb;

	for (size_t i = 0; i < n_a; i++)
		if (!strcmp(a[i], "-"))
			cli_fail("--kind agreement: traces are read twice, so that none can come from standard input");
	cli_check(moe_traces_new(&ta, &options, a, n_a, &d), &d);
	cli_check(moe_traces_new(&tb, &options, b, n_b, &d), &d);
	while (!(ea = moe_traces_next(ta, &ia, &x, &d)) && !(eb = moe_traces_next(tb, &ib, &y, &d)))
		cli_check(moe_agreement_add(g, ia, &x, ib, &y, &d), &d);
	if (ea && ea != MOE_END)
		cli_die(&d);
	if (!ea && eb != MOE_END)
		cli_die(&d);
	moe_traces_free(ta);
	moe_traces_free(tb);
}

void run_free(struct run *r)
{
	moe_routing_set_free(&r->sums);
	moe_tokens_free(&r->tokens);
	free(r->provenance);
}

/* ---- pictures ---- */

/* How many pictures the list has in all. */
static size_t count_pictures(char **list, size_t n)
{
	struct moe_feed_options options = {.labels_only = true};
	struct moe_feed *feed = pictures_feed(list, (int)n, &options);
	struct moe_feed_item item;
	struct moe_diag d = {0};
	size_t count = 0;

	while (!moe_feed_next(feed, &item, &d)) {
		moe_feed_item_clear(&item);
		count++;
	}
	moe_feed_free(feed);
	return count;
}

static void take_picture(struct views *v, size_t at, const struct moe_image_plan *plan, const struct moe_spec *s, struct moe_feed_item *item)
{
	struct moe_diag d = {0};

	if (item->failure.code)
		cli_die(&item->failure);
	if (moe_seen_make(&v->seen[at], plan, s, &item->picture, &d) || moe_seen_shown(&v->picture[at], &item->picture, MOST_SIDE, &d)) {
		moe_diag_path(&d, item->label);
		cli_die(&d);
	}
}

void views_open(struct views *v, const struct run *r, const struct moe_model *m, char **list, size_t n)
{
	size_t wanted = moe_tokens_pictures(&r->tokens), given = count_pictures(list, n), skip;
	struct moe_feed_options options = {.decode = moe_decode_from_spec(m->spec)};
	struct moe_image_plan plan;
	struct moe_feed_item item;
	struct moe_feed *feed;
	struct moe_diag d = {0};

	if (!wanted)
		cli_fail("sequence %llu of the trace has no picture", (unsigned long long)r->tokens.seq);
	if (r->drawn && given != wanted)
		cli_fail("sequence %llu of the trace drew %zu of its %zu picture%s; --picture gives %zu: expected its own alone", (unsigned long long)r->tokens.seq, r->drawn,
			 wanted, wanted == 1 ? "" : "s", given);
	skip = given == wanted ? 0 : r->before;
	if (given < skip + wanted)
		cli_fail("sequence %llu of the trace has %zu picture%s, behind %zu of sequences before it; --picture gives %zu: expected its own, or all of them in order",
			 (unsigned long long)r->tokens.seq, wanted, wanted == 1 ? "" : "s", r->before, given);
	v->picture = moe_calloc(wanted, sizeof *v->picture);
	v->seen = moe_calloc(wanted, sizeof *v->seen);
	if (!v->picture || !v->seen)
		cli_fail("out of memory");
	cli_check(moe_plan_from_spec(&plan, m->spec, pictures_choice(), &d), &d);
	feed = pictures_feed(list, (int)n, &options);
	for (size_t i = 0; i < skip + wanted; i++) {
		cli_check(moe_feed_next(feed, &item, &d), &d);
		if (i >= skip)
			take_picture(v, v->n++, &plan, m->spec, &item);
		moe_feed_item_clear(&item);
	}
	moe_feed_free(feed);
}

void views_free(struct views *v)
{
	for (size_t i = 0; i < v->n; i++)
		free(v->picture[i].rgb);
	free(v->picture);
	free(v->seen);
}
