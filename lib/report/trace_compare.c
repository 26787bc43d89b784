#include "report/trace_compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

/* A sequence: member of the file, and its number there. */
struct key { size_t member; uint64_t seq; };

/* Rows of a sequence of one trace that wait for those of the other. */
struct waiting {
	struct key key;
	uint64_t start;                 /* number of the first row here */
	char *name;
	size_t rows, cap;
	int32_t *token;                 /* [cap] */
	uint64_t *step;                 /* [cap] */
	uint8_t *modality;              /* [cap] */
	uint16_t *expert;               /* [cap][layers][k] */
	float *weight, *value;          /* [cap][layers][k]; [cap][layers][experts], what the choice compared; or NULL */
};

/* One of the two traces. */
struct side {
	struct moe_trace *trace;
	struct moe_trace_info info;     /* of its first member */
	size_t *place;                  /* [n_layers of both] in its blocks */
	size_t member;
	uint64_t read;                  /* rows so far */
	bool ended;
	struct waiting *wait;
	size_t n, cap;
};

/* How far a sequence has come. */
struct progress {
	struct key key;
	bool apart, answered;           /* its tokens are others from here on; generated tokens were compared */
};

struct comparison {
	struct moe_trace_diff *out;
	struct side side[2];
	size_t layers, experts, k;
	double tie;
	struct progress *seq;
	size_t n_seq, cap;
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for the comparison of traces"); }

/* ---- rows that wait ---- */

static void free_waiting(struct waiting *w)
{
	free(w->name);
	free(w->token);
	free(w->step);
	free(w->modality);
	free(w->expert);
	free(w->weight);
	free(w->value);
}

/* Lists of sequences are in the order of members and numbers, in which sequences mostly come: the place of one, or where it would be. Elements
 * begin with their key. */
static size_t find_place(const void *list, size_t n, size_t size, size_t member, uint64_t seq)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct key *k = (const void *)((const char *)list + mid * size);
		if (k->member < member || (k->member == member && k->seq < seq))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct waiting *find_waiting(const struct side *s, size_t member, uint64_t seq)
{
	size_t at = find_place(s->wait, s->n, sizeof *s->wait, member, seq);

	return at < s->n && s->wait[at].key.member == member && s->wait[at].key.seq == seq ? &s->wait[at] : NULL;
}

static bool resize(void *array, size_t n, size_t size)
{
	void **p = array, *grown = realloc(*p, n * size + 1);

	if (grown)
		*p = grown;
	return grown;
}

static bool make_room(const struct comparison *c, struct waiting *w, size_t rows, bool weights, bool values)
{
	size_t cap = moe_max(rows, 2 * w->cap), n = c->layers;

	if (rows <= w->cap)
		return true;
	w->cap = cap;
	return resize(&w->token, cap, sizeof *w->token) && resize(&w->step, cap, sizeof *w->step) && resize(&w->modality, cap, 1) &&
	       resize(&w->expert, cap * n * c->k, sizeof *w->expert) && (!weights || resize(&w->weight, cap * n * c->k, sizeof *w->weight)) &&
	       (!values || resize(&w->value, cap * n * c->experts, sizeof *w->value));
}

/* Appends what a block holds of the layers that both traces have. */
static void append(const struct comparison *c, const struct side *s, struct waiting *w, const struct moe_trace_block *b)
{
	const float *value = b->compared ? b->compared : b->logit;

	for (size_t r = 0; r < b->rows; r++, w->rows++) {
		w->token[w->rows] = b->token[r];
		w->step[w->rows] = b->step ? b->step + r : 0;
		w->modality[w->rows] = b->modality[r];
		for (size_t l = 0; l < c->layers; l++) {
			size_t from = s->place[l] * b->rows + r, to = w->rows * c->layers + l;
			memcpy(w->expert + to * c->k, b->expert + from * c->k, c->k * sizeof *w->expert);
			if (w->weight)
				memcpy(w->weight + to * c->k, b->weight + from * c->k, c->k * sizeof *w->weight);
			if (w->value)
				memcpy(w->value + to * c->experts, value + from * c->experts, c->experts * sizeof *w->value);
		}
	}
}

static enum moe_err push(const struct comparison *c, struct side *s, const struct moe_trace_block *b, struct moe_diag *d)
{
	size_t at = find_place(s->wait, s->n, sizeof *s->wait, s->member, b->seq);
	struct waiting *w = find_waiting(s, s->member, b->seq);

	if (!w) {
		MOE_TRY(moe_grow(&s->wait, &s->cap, s->n + 1, sizeof *s->wait, d));
		w = &s->wait[at];
		memmove(w + 1, w, (s->n++ - at) * sizeof *w);
		*w = (struct waiting){.key = {s->member, b->seq}, .start = b->start, .name = moe_strdup(b->name ? b->name : "")};
		if (!w->name)
			return no_memory(d);
	}
	if (b->start != w->start + w->rows)
		return moe_fail_at(d, MOE_EINPUT, moe_trace_at(s->trace), "rows of sequence %llu begin at %llu, expected %llu", (unsigned long long)b->seq,
				   (unsigned long long)b->start, (unsigned long long)(w->start + w->rows));
	if (!make_room(c, w, w->rows + b->rows, b->weight, b->logit))
		return no_memory(d);
	append(c, s, w, b);
	s->read += b->rows;
	return MOE_OK;
}

/* Forgets the first n rows. The place of the sequence stays, so that the next block is checked against it. */
static void pop(const struct comparison *c, struct waiting *w, size_t n)
{
	size_t rest = w->rows - n, wide = c->layers * c->k;

	memmove(w->token, w->token + n, rest * sizeof *w->token);
	memmove(w->step, w->step + n, rest * sizeof *w->step);
	memmove(w->modality, w->modality + n, rest);
	memmove(w->expert, w->expert + n * wide, rest * wide * sizeof *w->expert);
	if (w->weight)
		memmove(w->weight, w->weight + n * wide, rest * wide * sizeof *w->weight);
	if (w->value)
		memmove(w->value, w->value + n * c->layers * c->experts, rest * c->layers * c->experts * sizeof *w->value);
	w->start += n;
	w->rows = rest;
}

/* ---- one choice ---- */

/* The least and the largest value of experts that only one of two sets has. */
static void add_bounds(const uint16_t *e, size_t n, const uint16_t *other, size_t n_other, const float *value, double *least, double *most)
{
	for (size_t i = 0; i < n; i++)
		if (!moe_trace_has(other, n_other, e[i])) {
			*least = fmin(*least, (double)value[e[i]]);
			*most = fmax(*most, (double)value[e[i]]);
		}
}

/* One step of binary16 at x: 11 bits. */
static double half_step(double x) { return ldexp(1, ilogb(fmax(fabs(x), 0x1p-14)) - 10); }

/* Do the experts that only one has lie together in these values? */
static bool tied(const uint16_t *a, size_t n_a, const uint16_t *b, size_t n_b, const float *value, double tie)
{
	double least = INFINITY, most = -INFINITY;

	if (!value || n_a != n_b)
		return false;
	add_bounds(a, n_a, b, n_b, value, &least, &most);
	add_bounds(b, n_b, a, n_a, value, &least, &most);
	return most - least <= fmax(tie, fmax(half_step(least), half_step(most)));
}

/* A choice of both: the row of a sequence in a layer. */
struct pair {
	const struct waiting *w[2];
	size_t row[2], layer;           /* row: in w; layer: in the comparison */
	const uint16_t *e[2];
	size_t n[2];
	const float *value[2];          /* or NULL */
};

static struct pair pair_at(const struct comparison *c, const struct waiting *a, size_t row_a, const struct waiting *b, size_t row_b, size_t l)
{
	struct pair p = {{a, b}, {row_a, row_b}, l, {NULL}, {0}, {NULL}};

	for (int i = 0; i < 2; i++) {
		size_t at = p.row[i] * c->layers + l;
		p.e[i] = p.w[i]->expert + at * c->k;
		p.n[i] = moe_trace_chosen(p.e[i], c->k);
		p.value[i] = p.w[i]->value ? p.w[i]->value + at * c->experts : NULL;
	}
	return p;
}

static void add_weights(const struct comparison *c, const struct pair *p, struct moe_routing_diff *to)
{
	const float *w[2];

	for (int i = 0; i < 2; i++) {
		if (!p->w[i]->weight)
			return;
		w[i] = p->w[i]->weight + (p->row[i] * c->layers + p->layer) * c->k;
	}
	for (size_t i = 0; i < p->n[0]; i++)
		for (size_t j = 0; j < p->n[1]; j++)
			if (p->e[0][i] == p->e[1][j]) {
				to->weight += fabs((double)w[0][i] - (double)w[1][j]);
				to->weights++;
			}
}

static void print_experts(char *to, size_t cap, const uint16_t *e, size_t n)
{
	size_t at = 0;

	snprintf(to, cap, "none");
	for (size_t i = 0; i < n && at + 8 < cap; i++)
		at += (size_t)snprintf(to + at, cap - at, i ? " %u" : "%u", e[i]);
}

static void note(const struct comparison *c, struct moe_parting *to, const struct pair *p)
{
	const struct waiting *w = p->w[0];
	double worst = INFINITY, best = -INFINITY, unused;

	*to = (struct moe_parting){.there = true, .seq = w->key.seq, .row = w->start + p->row[0], .step = w->step[p->row[0]],
				    .layer = c->out->layer[p->layer], .margin = NAN};
	snprintf(to->name, sizeof to->name, "%s", w->name);
	print_experts(to->a, sizeof to->a, p->e[0], p->n[0]);
	print_experts(to->b, sizeof to->b, p->e[1], p->n[1]);
	if (!p->value[0])
		return;
	unused = -INFINITY;
	add_bounds(p->e[0], p->n[0], p->e[1], p->n[1], p->value[0], &worst, &unused);
	unused = INFINITY;
	add_bounds(p->e[1], p->n[1], p->e[0], p->n[0], p->value[0], &unused, &best);
	to->margin = isfinite(worst) && isfinite(best) ? worst - best : NAN;
}

/* Is this choice before the one that is noted: by layer, then sequence and row; or by sequence and row, then layer? */
static bool is_before(const struct comparison *c, const struct moe_parting *noted, const struct pair *p, bool by_layer)
{
	uint64_t mine[3] = {c->out->layer[p->layer], p->w[0]->key.seq, p->w[0]->start + p->row[0]}, its[3] = {noted->layer, noted->seq, noted->row};

	if (!noted->there)
		return true;
	for (int i = 0; i < 3; i++) {
		int key = by_layer ? i : (i + 1) % 3;
		if (mine[key] != its[key])
			return mine[key] < its[key];
	}
	return false;
}

static void compare_choice(struct comparison *c, const struct pair *p)
{
	struct moe_routing_diff *to = &c->out->part[p->layer][moe_modality_of(p->w[0]->modality[p->row[0]])];
	size_t common = 0;

	for (size_t i = 0; i < p->n[0]; i++)
		common += moe_trace_has(p->e[1], p->n[1], p->e[0][i]);
	to->rows++;
	to->common += common;
	to->chosen += moe_max(p->n[0], p->n[1]);
	add_weights(c, p, to);
	if (common == p->n[0] && common == p->n[1]) {
		to->equal++;
		return;
	}
	if (tied(p->e[0], p->n[0], p->e[1], p->n[1], p->value[0], c->tie) || tied(p->e[0], p->n[0], p->e[1], p->n[1], p->value[1], c->tie)) {
		to->ties++;
		return;
	}
	to->differing++;
	if (is_before(c, &c->out->shallow, p, true))
		note(c, &c->out->shallow, p);
	if (is_before(c, &c->out->early, p, false))
		note(c, &c->out->early, p);
}

/* ---- sequences ---- */

static enum moe_err get_progress(struct comparison *c, const struct waiting *w, struct progress **out, struct moe_diag *d)
{
	size_t at = find_place(c->seq, c->n_seq, sizeof *c->seq, w->key.member, w->key.seq);

	if (at == c->n_seq || c->seq[at].key.member != w->key.member || c->seq[at].key.seq != w->key.seq) {
		MOE_TRY(moe_grow(&c->seq, &c->cap, c->n_seq + 1, sizeof *c->seq, d));
		memmove(c->seq + at + 1, c->seq + at, (c->n_seq++ - at) * sizeof *c->seq);
		c->seq[at] = (struct progress){.key = w->key};
		c->out->sequences++;
	}
	*out = &c->seq[at];
	return MOE_OK;
}

/* The sequence's tokens are others from this row on. */
static void part(struct comparison *c, struct progress *p, const struct waiting *w, size_t row, int32_t a, int32_t b)
{
	struct moe_trace_diff *t = c->out;

	p->apart = true;
	if (!w->step[row]) {
		t->given_apart++;
		return;
	}
	if (!t->answers_apart || w->key.seq < t->apart_seq) {
		t->apart_seq = w->key.seq;
		t->apart_row = w->start + row;
		t->apart_a = a;
		t->apart_b = b;
	}
	t->answers_apart++;
}

/* Compares the rows that both have of a sequence. */
static enum moe_err compare_rows(struct comparison *c, struct waiting *a, struct waiting *b, struct moe_diag *d)
{
	size_t n = moe_min(a->rows, b->rows);
	struct progress *p;

	if (!n)
		return MOE_OK;
	MOE_TRY(get_progress(c, a, &p, d));
	if (a->start != b->start)
		return moe_fail(d, MOE_EMATCH, "sequence %llu begins at row %llu in one trace and at %llu in the other", (unsigned long long)a->key.seq,
				(unsigned long long)a->start, (unsigned long long)b->start);
	for (size_t r = 0; r < n; r++) {
		int32_t x = a->token[r], y = b->token[r];
		bool generated = a->step[r] && b->step[r];
		if (!p->apart && x != y && x >= 0 && y >= 0)
			part(c, p, a, r, x, y);
		if (p->apart) {
			c->out->unread++;
			continue;
		}
		c->out->generated += generated;
		c->out->answers += generated && !p->answered;
		p->answered |= generated;
		for (size_t l = 0; l < c->layers; l++) {
			struct pair pair = pair_at(c, a, r, b, r, l);
			compare_choice(c, &pair);
		}
	}
	pop(c, a, n);
	pop(c, b, n);
	return MOE_OK;
}

/* Rows that one trace alone has: a longer answer, or a sequence that the other lacks. */
static enum moe_err count_rest(struct comparison *c, int i, struct moe_diag *d)
{
	struct side *mine = &c->side[i], *its = &c->side[!i];

	for (size_t n = 0; n < mine->n; n++) {
		struct waiting *w = &mine->wait[n];
		struct progress *p;
		if (!find_waiting(its, w->key.member, w->key.seq)) {
			*(i ? &c->out->missing_a : &c->out->missing_b) += 1;
			c->out->unread += w->rows;
			continue;
		}
		if (!w->rows)
			continue;
		MOE_TRY(get_progress(c, w, &p, d));
		if (!p->apart)
			part(c, p, w, 0, i ? -1 : w->token[0], i ? w->token[0] : -1);
		c->out->unread += w->rows;
	}
	return MOE_OK;
}

/* ---- both traces ---- */

static enum moe_err check_shape(const struct moe_trace_info *a, const struct moe_trace_info *b, struct moe_diag *d)
{
	if (a->detail == MOE_TRACE_COUNTS || b->detail == MOE_TRACE_COUNTS)
		return moe_fail(d, MOE_EINPUT, "a trace of counts has no tokens to compare");
	if (a->experts != b->experts || a->k != b->k)
		return moe_fail(d, MOE_EMATCH, "top %zu of %zu experts against top %zu of %zu: their choices have nothing in common", a->k, a->experts, b->k, b->experts);
	return MOE_OK;
}

/* The layers of both, and where they lie in the blocks of each. */
static enum moe_err match_layers(struct comparison *c, struct moe_diag *d)
{
	const struct moe_trace_info *a = &c->side[0].info, *b = &c->side[1].info;
	size_t most = moe_min(a->n_layers, b->n_layers) + 1, n = 0;

	c->out->layer = calloc(most, sizeof *c->out->layer);
	c->side[0].place = calloc(most, sizeof *c->side[0].place);
	c->side[1].place = calloc(most, sizeof *c->side[1].place);
	if (!c->out->layer || !c->side[0].place || !c->side[1].place)
		return no_memory(d);
	for (size_t i = 0, j = 0; i < a->n_layers && j < b->n_layers;) {
		if (a->layer[i] < b->layer[j]) {
			i++;
		} else if (a->layer[i] > b->layer[j]) {
			j++;
		} else {
			c->out->layer[n] = a->layer[i];
			c->side[0].place[n] = i++;
			c->side[1].place[n++] = j++;
		}
	}
	c->out->n_layers = c->layers = n;
	c->out->only_a = a->n_layers - n;
	c->out->only_b = b->n_layers - n;
	c->out->part = calloc(n + 1, sizeof *c->out->part);
	if (!c->out->part)
		return no_memory(d);
	return n ? MOE_OK : moe_fail(d, MOE_EMATCH, "the traces have no layer in common");
}

/* A copy of what the first head says: later members must agree with it. */
static enum moe_err keep_info(struct side *s, struct moe_diag *d)
{
	const struct moe_trace_info *i = moe_trace_info(s->trace);

	s->info = *i;
	s->info.layer = calloc(i->n_layers + 1, sizeof *i->layer);
	if (!s->info.layer)
		return no_memory(d);
	memcpy(s->info.layer, i->layer, i->n_layers * sizeof *i->layer);
	return MOE_OK;
}

static enum moe_err next_member(struct side *s, struct moe_diag *d)
{
	const struct moe_trace_info *i = moe_trace_info(s->trace);

	s->member++;
	if (i->n_layers != s->info.n_layers || i->experts != s->info.experts || i->k != s->info.k || i->detail != s->info.detail ||
	    memcmp(i->layer, s->info.layer, i->n_layers * sizeof *i->layer)) {
		moe_fail_at(d, MOE_EMATCH, moe_trace_head(s->trace)->at, "another member begins, of a model or layers of another shape");
		return moe_diag_path(d, moe_trace_name(s->trace));
	}
	return MOE_OK;
}

/* Reads a block of side i, and compares what can be compared now. */
static enum moe_err read_block(struct comparison *c, int i, struct moe_diag *d)
{
	struct side *s = &c->side[i];
	struct moe_trace_block b;
	struct waiting *w[2];
	enum moe_err err = moe_trace_next(s->trace, &b, d);

	if (err == MOE_AGAIN)
		return next_member(s, d);
	if (err == MOE_END) {
		s->ended = true;
		return MOE_OK;
	}
	MOE_TRY(err);
	err = push(c, s, &b, d);
	if (err) {
		moe_diag_path(d, moe_trace_name(s->trace));
		return err;
	}
	for (int n = 0; n < 2; n++)
		w[n] = find_waiting(&c->side[n], s->member, b.seq);
	return w[0] && w[1] ? compare_rows(c, w[0], w[1], d) : MOE_OK;
}

static enum moe_err compare(struct comparison *c, struct moe_diag *d)
{
	MOE_TRY(check_shape(moe_trace_info(c->side[0].trace), moe_trace_info(c->side[1].trace), d));
	MOE_TRY(keep_info(&c->side[0], d));
	MOE_TRY(keep_info(&c->side[1], d));
	c->experts = c->side[0].info.experts;
	c->k = c->side[0].info.k;
	c->out->margins = c->side[0].info.detail == MOE_TRACE_LOGITS || c->side[1].info.detail == MOE_TRACE_LOGITS;
	MOE_TRY(match_layers(c, d));
	while (!c->side[0].ended || !c->side[1].ended) {
		bool second = c->side[0].ended || (!c->side[1].ended && c->side[1].read < c->side[0].read);     /* the one that is behind */
		MOE_TRY(read_block(c, second, d));
	}
	MOE_TRY(count_rest(c, 0, d));
	return count_rest(c, 1, d);
}

static void free_side(struct side *s)
{
	while (s->n)
		free_waiting(&s->wait[--s->n]);
	free(s->wait);
	free(s->place);
	free(s->info.layer);
}

enum moe_err moe_trace_diff_run(struct moe_trace_diff *out, struct moe_trace *a, struct moe_trace *b, double tie, struct moe_diag *d)
{
	struct comparison c = {.out = out, .side = {{.trace = a}, {.trace = b}}, .tie = tie};
	enum moe_err err;

	*out = (struct moe_trace_diff){0};
	err = compare(&c, d);
	free_side(&c.side[0]);
	free_side(&c.side[1]);
	free(c.seq);
	if (err)
		moe_trace_diff_free(out);
	return err;
}

void moe_trace_diff_free(struct moe_trace_diff *t)
{
	free(t->layer);
	free(t->part);
	*t = (struct moe_trace_diff){0};
}

bool moe_trace_diff_same(const struct moe_trace_diff *t)
{
	return !t->shallow.there && !t->only_a && !t->only_b && !t->missing_a && !t->missing_b && !t->answers_apart && !t->given_apart;
}
