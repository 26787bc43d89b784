#include "synth/record.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32 };            /* samples of one thread at a time */

/* ---- one record ---- */

struct text {
	struct moe_record *r;
	struct moe_diag *d;
	enum moe_err err;       /* sticky */
};

static void put(struct text *t, const char *bytes, size_t n)
{
	if (!t->err)
		t->err = moe_grow(&t->r->json, &t->r->room_json, t->r->n_json + n, 1, t->d);
	if (t->err)
		return;
	memcpy(t->r->json + t->r->n_json, bytes, n);
	t->r->n_json += n;
}

static void say(struct text *t, const char *s) { put(t, s, strlen(s)); }

/* A string in quotes: UTF-8 as it is, with " and \ and control characters escaped. */
static void say_quoted(struct text *t, const char *s)
{
	say(t, "\"");
	while (*s) {
		size_t n = 0;
		char code[8];
		while (s[n] && s[n] != '"' && s[n] != '\\' && (unsigned char)s[n] >= 32)
			n++;
		put(t, s, n);
		s += n;
		if (!*s)
			break;
		snprintf(code, sizeof code, (unsigned char)*s < 32 ? "\\u%04x" : "\\%c", *s);
		say(t, code);
		s++;
	}
	say(t, "\"");
}

static void say_pair(struct text *t, const char *before, const char *name, const char *value)
{
	say(t, before);
	say_quoted(t, name);
	say(t, ": ");
	say_quoted(t, value);
}

static void say_question(struct text *t, const struct moe_synth_question *q)
{
	say_pair(t, "{", "type", q->type);
	say_pair(t, ", ", "prompt", q->prompt);
	say_pair(t, ", ", "answer", q->answer);
	say(t, q->spell ? ", \"spell\": true}" : "}");
}

/* Hundredths of pixels are enough. */
static void say_box(struct text *t, const struct moe_synth_box *b)
{
	char numbers[128];

	say(t, "[");
	say_quoted(t, b->label);
	snprintf(numbers, sizeof numbers, ", %.2f, %.2f, %.2f, %.2f]", b->x0, b->y0, b->x1, b->y1);
	say(t, numbers);
}

/* An object for each box. */
static void say_attributes(struct text *t, const struct moe_synth_sample *s)
{
	size_t at = 0;

	say(t, "],\n \"attributes\": [");
	for (size_t i = 0; i < s->n_boxes; i++) {
		bool first = true;
		say(t, i ? ", {" : "{");
		for (; at < s->n_attributes && s->attribute[at].box == i; at++, first = false)
			say_pair(t, first ? "" : ", ", s->attribute[at].name, s->attribute[at].value);
		say(t, "}");
	}
}

static enum moe_err write_json(struct moe_record *r, const struct moe_synth_sample *s, struct moe_diag *d)
{
	struct text t = {.r = r, .d = d};

	r->n_json = 0;
	say_pair(&t, "{", "kind", s->kind);
	say(&t, ", \"tags\": {");
	for (size_t i = 0; i < s->n_tags; i++)
		say_pair(&t, i ? ", " : "", s->tag[i].name, s->tag[i].value);
	say(&t, "},\n \"questions\": [");
	for (size_t i = 0; i < s->n_questions; i++) {
		say(&t, i ? ",\n  " : "");
		say_question(&t, &s->question[i]);
	}
	say(&t, "],\n \"boxes\": [");
	for (size_t i = 0; i < s->n_boxes; i++) {
		say(&t, i ? ", " : "");
		say_box(&t, &s->box[i]);
	}
	if (s->n_attributes)
		say_attributes(&t, s);
	say(&t, "]}\n");
	return t.err;
}

enum moe_err moe_record_write(struct moe_record *r, const struct moe_synth_sample *s, struct moe_png *png, struct moe_diag *d)
{
	const uint8_t *bytes;
	size_t n;

	MOE_TRY(moe_png_encode(png, s->rgb, s->width, s->height, &bytes, &n, d));
	MOE_TRY(moe_grow(&r->png, &r->room_png, n, 1, d));
	memcpy(r->png, bytes, n);
	r->n_png = n;
	return write_json(r, s, d);
}

void moe_record_free(struct moe_record *r)
{
	free(r->png);
	free(r->json);
	*r = (struct moe_record){0};
}

/* ---- many ---- */

/* A lane makes each n_lanes-th sample of a batch, in one thread at a time. */
struct lane {
	struct moe_synth *synth;
	struct moe_png *png;
	uint64_t failed_at;     /* the sample that `why` is about */
	struct moe_diag why;
};

struct moe_producer {
	struct moe_producer_options o;
	double *weight;
	struct lane *lane;
	struct moe_record *record;      /* [n_lanes * BATCH] */
	size_t n_lanes, at, have;       /* the next record of the batch, and its number of records */
	uint64_t done;                  /* samples of earlier batches */
};

void moe_producer_free(struct moe_producer *p)
{
	if (!p)
		return;
	for (size_t i = 0; p->lane && i < p->n_lanes; i++) {
		moe_synth_free(p->lane[i].synth);
		moe_png_free(p->lane[i].png);
	}
	for (size_t i = 0; p->record && i < p->n_lanes * BATCH; i++)
		moe_record_free(&p->record[i]);
	free(p->weight);
	free(p->lane);
	free(p->record);
	free(p);
}

static enum moe_err fill_producer(struct moe_producer *p, const struct moe_producer_options *o, struct moe_diag *d)
{
	size_t n_tasks = moe_synth_n_tasks();

	p->o = *o;
	p->n_lanes = moe_pool_threads(o->pool);
	p->weight = moe_calloc(n_tasks, sizeof *p->weight);
	p->lane = moe_calloc(p->n_lanes, sizeof *p->lane);
	p->record = moe_calloc(p->n_lanes * BATCH, sizeof *p->record);
	if (!p->weight || !p->lane || !p->record)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	memcpy(p->weight, o->weight, n_tasks * sizeof *p->weight);
	for (size_t i = 0; i < p->n_lanes; i++) {
		MOE_TRY(moe_synth_new(&p->lane[i].synth, o->fonts, o->split, d));
		p->lane[i].synth->things = o->things;
		MOE_TRY(moe_png_new(&p->lane[i].png, d));
	}
	return MOE_OK;
}

enum moe_err moe_producer_new(struct moe_producer **out, const struct moe_producer_options *o, struct moe_diag *d)
{
	struct moe_producer *p = moe_calloc(1, sizeof *p);
	enum moe_err err;

	*out = NULL;
	if (!p)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = fill_producer(p, o, d);
	if (err) {
		moe_producer_free(p);
		return err;
	}
	*out = p;
	return MOE_OK;
}

static enum moe_err make_one(struct moe_producer *p, struct lane *l, size_t at)
{
	struct moe_synth_sample s;

	l->failed_at = p->o.first + p->done + at;
	MOE_TRY(moe_synth_make(l->synth, p->o.seed, l->failed_at, p->weight, &s, &l->why));
	return moe_record_write(&p->record[at], &s, l->png, &l->why);
}

static void make_lane(void *arg, size_t lane)
{
	struct moe_producer *p = arg;

	for (size_t at = lane; at < p->have && !p->lane[lane].why.code; at += p->n_lanes)
		if (make_one(p, &p->lane[lane], at))
			return;
}

static enum moe_err make_batch(struct moe_producer *p, struct moe_diag *d)
{
	const struct lane *failed = NULL;

	p->done += p->have;
	p->at = 0;
	p->have = p->o.n - p->done < p->n_lanes * BATCH ? (size_t)(p->o.n - p->done) : p->n_lanes * BATCH;
	moe_pool_run(p->o.pool, 1e6 * (double)p->have, p->n_lanes, make_lane, p);
	for (size_t i = 0; i < p->n_lanes; i++)
		if (p->lane[i].why.code && (!failed || p->lane[i].failed_at < failed->failed_at))
			failed = &p->lane[i];
	return failed ? moe_fail(d, failed->why.code, "sample %llu: %s", (unsigned long long)failed->failed_at, failed->why.text) : MOE_OK;
}

enum moe_err moe_producer_next(struct moe_producer *p, const struct moe_record **out, struct moe_diag *d)
{
	if (p->at == p->have) {
		if (p->done + p->have == p->o.n)
			return MOE_END;
		MOE_TRY(make_batch(p, d));
	}
	*out = &p->record[p->at++];
	return MOE_OK;
}
