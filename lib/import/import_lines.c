/* Colibri's texts: its route trace, "call row layer expert:gate expert:gate ...", and its history of counts, "layer expert count". */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "import/import_priv.h"

enum { ENOUGH = 1 << 20 };

/* One line of a route trace. */
struct record {
	uint64_t call, row, layer;
	size_t first, n, line;          /* its choices; where it stands */
};

struct choices {
	int64_t id;
	float gate;
};

struct lines {
	const uint8_t *p, *end, *stop;  /* at hand; of the line at hand; of all */
	size_t line;                    /* its number, from 1 */
	struct moe_diag *d;
	struct record *record;
	size_t n, cap;
	struct choices *choice;
	size_t n_choices, choices_cap;
	size_t *layer;                  /* that occur, ascending */
	size_t n_layers, layers_cap, k;
};

static enum moe_err wrong_line(const struct lines *t, size_t line, const char *what) { return moe_fail(t->d, MOE_EINPUT, "line %zu: %s", line, what); }

/* The next line that is not blank; false behind the last. */
static bool next_line(struct lines *t)
{
	for (t->p = t->end; t->p < t->stop; t->p = t->end) {
		const uint8_t *nl = memchr(t->p, '\n', (size_t)(t->stop - t->p));
		t->line++;
		t->end = nl ? nl + 1 : t->stop;
		for (const uint8_t *c = t->p; c < t->end; c++)
			if (!strchr(" \t\r\n", *c) || !*c)
				return true;
	}
	return false;
}

/* The next word of the line, copied; false at its end, or for one of 64 characters and more (then *buf is empty). */
static bool next_word(struct lines *t, char buf[64])
{
	size_t n = 0;

	*buf = 0;
	while (t->p < t->end && strchr(" \t\r\n", *t->p) && *t->p)
		t->p++;
	if (t->p == t->end)
		return false;
	while (t->p < t->end && !(strchr(" \t\r\n", *t->p) && *t->p)) {
		if (n == 63) {
			*buf = 0;
			return false;
		}
		buf[n++] = (char)*t->p++;
	}
	buf[n] = 0;
	return true;
}

/* Digits, and nothing else. */
static bool parse_number(const char *s, uint64_t *out)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*out = strtoull(s, &end, 10);
	return !*end && !errno;
}

static bool parse_gate(const char *s, float *out)
{
	char *end;

	*out = strtof(s, &end);
	return *s && !*end && isfinite(*out);
}

/* ---- the route trace ---- */

static enum moe_err note_layer(struct lines *t, size_t layer)
{
	size_t at = t->n_layers;

	while (at && t->layer[at - 1] > layer)
		at--;
	if (at && t->layer[at - 1] == layer)
		return MOE_OK;
	if (layer >= MOE_TRACE_LAYERS)
		return wrong_line(t, t->line, "a layer of 65536 or more");
	MOE_TRY(moe_grow(&t->layer, &t->layers_cap, t->n_layers + 1, sizeof *t->layer, t->d));
	memmove(t->layer + at + 1, t->layer + at, (t->n_layers++ - at) * sizeof *t->layer);
	t->layer[at] = layer;
	return MOE_OK;
}

static enum moe_err add_choice(struct lines *t, char *word)
{
	char *colon = strchr(word, ':');
	struct choices c = {0};
	uint64_t id;

	if (!colon)
		return wrong_line(t, t->line, "expected expert:gate");
	*colon = 0;
	if (!parse_number(word, &id) || id >= MOE_TRACE_EXPERTS)
		return wrong_line(t, t->line, "expected the number of an expert before the colon");
	if (!parse_gate(colon + 1, &c.gate))
		return wrong_line(t, t->line, "expected a weight behind the colon");
	c.id = (int64_t)id;
	MOE_TRY(moe_grow(&t->choice, &t->choices_cap, t->n_choices + 1, sizeof *t->choice, t->d));
	t->choice[t->n_choices++] = c;
	return MOE_OK;
}

static enum moe_err add_record(struct lines *t)
{
	struct record r = {.first = t->n_choices, .line = t->line};
	uint64_t *to[] = {&r.call, &r.row, &r.layer};
	char word[64];

	for (size_t i = 0; i < 3; i++)
		if (!next_word(t, word) || !parse_number(word, to[i]))
			return wrong_line(t, t->line, "expected three numbers: call, row and layer");
	while (next_word(t, word))
		MOE_TRY(add_choice(t, word));
	if (*word == 0 && t->p < t->end)
		return wrong_line(t, t->line, "a word is too long");
	r.n = t->n_choices - r.first;
	if (r.row > INT32_MAX)
		return wrong_line(t, t->line, "the row is too large");
	MOE_TRY(note_layer(t, (size_t)r.layer));
	t->k = moe_max(t->k, r.n);
	MOE_TRY(moe_grow(&t->record, &t->cap, t->n + 1, sizeof *t->record, t->d));
	t->record[t->n++] = r;
	return MOE_OK;
}

/* Records [from, *to) are one pass through the layers: it ends where a layer comes again that is not behind the one before it. *rows: its tokens. */
static enum moe_err find_pass(const struct lines *t, size_t from, size_t *to, size_t *rows)
{
	size_t i = from;

	*rows = 0;
	for (; i < t->n; i++) {
		const struct record *r = &t->record[i], *before = i > from ? r - 1 : NULL;
		if (before && (r->layer < before->layer || (r->layer == before->layer && r->call != before->call)))
			break;
		*rows = moe_max(*rows, (size_t)r->row + 1);
	}
	*to = i;
	/* A row that was never written would be a token without experts: a pass cannot have more tokens than lines. */
	return *rows <= i - from ? MOE_OK : wrong_line(t, t->record[from].line, "the pass that begins here lacks rows");
}

/* Fills rows from `row` on with a pass. `filled` [rows of the sequence][layers] guards against lines that stand twice. */
static enum moe_err fill_pass(struct moe_import *m, struct moe_imported *q, const struct lines *t, size_t from, size_t to, size_t row, bool *filled)
{
	int64_t *id = calloc(t->k, sizeof *id);
	float *w = calloc(t->k, sizeof *w);
	const char *why = id && w ? NULL : "out of memory";

	for (size_t i = from; i < to && !why; i++) {
		const struct record *r = &t->record[i];
		size_t l = 0, place;
		while (t->layer[l] != r->layer)
			l++;
		place = (row + (size_t)r->row) * t->n_layers + l;
		for (size_t c = 0; c < t->k; c++) {
			id[c] = c < r->n ? t->choice[r->first + c].id : -1;
			w[c] = c < r->n ? t->choice[r->first + c].gate : 0;
		}
		why = filled[place] ? "this row of the layer stands there already" : moe_import_choice(m, q, place, id, w);
		filled[place] = true;
		if (why)
			wrong_line(t, r->line, why);
	}
	free(id);
	free(w);
	return why ? moe_fail(t->d, MOE_EINPUT, "%s", why) : MOE_OK;
}

static enum moe_err fill(struct moe_import *m, struct moe_imported *q, const struct lines *t)
{
	bool *filled = calloc(q->rows * t->n_layers + 1, sizeof *filled);
	enum moe_err err = filled ? MOE_OK : moe_fail(t->d, MOE_ENOMEM, "out of memory");

	for (size_t i = 0; i < q->rows * t->n_layers * t->k && !err; i++)
		q->expert[i] = MOE_NO_EXPERT;
	for (size_t from = 0, to, rows, row = 0; from < t->n && !err; from = to, row += rows) {
		err = find_pass(t, from, &to, &rows);
		if (!err)
			err = fill_pass(m, q, t, from, to, row, filled);
	}
	free(filled);
	return err;
}

static enum moe_err add_trace(struct moe_import *m, const char *name, struct lines *t)
{
	struct moe_imported *q;
	size_t all = 0;

	do
		MOE_TRY(add_record(t));
	while (next_line(t));
	for (size_t from = 0, to, rows; from < t->n; from = to, all += rows)
		MOE_TRY(find_pass(t, from, &to, &rows));
	t->k = moe_max(t->k, m->o.k);
	if (all * t->n_layers > ENOUGH && all * t->n_layers / 64 > t->n)        /* a table of next to nothing could be of any size */
		return moe_fail(t->d, MOE_EINPUT, "%zu lines for %zu tokens in %zu layers: most are missing", t->n, all, t->n_layers);
	MOE_TRY(moe_import_shape(m, t->n_layers, t->k, t->layer, false, t->d));
	MOE_TRY(moe_import_sequence(m, &q, name, all, true, 0, t->d));
	return fill(m, q, t);
}

/* ---- the history ---- */

struct history {
	size_t layers, experts;         /* as its first line says, or as large as its numbers need */
	bool says;
	uint64_t *count;                /* [layers][experts], made in the second pass */
};

/* A line "layer expert count", of which "-1 layers experts" and "-2 version engine" are about the file; other negative layers are passed over. */
static enum moe_err take_count(struct lines *t, struct history *h)
{
	uint64_t v[3];
	char word[64];
	bool minus = false;

	for (size_t i = 0; i < 3; i++) {
		bool ok = next_word(t, word);
		minus |= ok && !i && *word == '-';
		if (!ok || !parse_number(word + (!i && minus), &v[i]))
			return wrong_line(t, t->line, "expected three numbers: layer, expert and count");
	}
	if (next_word(t, word) || *word)
		return wrong_line(t, t->line, "more than three numbers");
	if (minus && v[0] == 1) {
		h->layers = v[1] <= MOE_TRACE_LAYERS ? (size_t)v[1] : 0;
		h->experts = v[2] <= MOE_TRACE_EXPERTS ? (size_t)v[2] : 0;
		h->says = true;
		return h->layers && h->experts ? MOE_OK : wrong_line(t, t->line, "no model has so many layers and experts, or none");
	}
	if (minus)
		return MOE_OK;
	if (v[0] >= (h->says ? h->layers : MOE_TRACE_LAYERS) || v[1] >= (h->says ? h->experts : MOE_TRACE_EXPERTS))
		return wrong_line(t, t->line, "a layer or an expert that the model does not have");
	if (!h->count) {
		MOE_TRY(note_layer(t, (size_t)v[0]));
		h->experts = h->says ? h->experts : moe_max(h->experts, (size_t)v[1] + 1);
		return MOE_OK;
	}
	for (size_t l = 0; l < t->n_layers; l++)
		if (t->layer[l] == v[0] && __builtin_add_overflow(h->count[l * h->experts + v[1]], v[2], &h->count[l * h->experts + v[1]]))
			return wrong_line(t, t->line, "a count is too large");
	return MOE_OK;
}

static enum moe_err add_history(struct moe_import *m, struct lines *t)
{
	const uint8_t *from = t->p;
	size_t line = t->line;
	struct history h = {0};
	enum moe_err err;

	do
		MOE_TRY(take_count(t, &h));
	while (next_line(t));
	if (!t->n_layers)
		return moe_fail(t->d, MOE_EINPUT, "no expert was counted");
	if (!h.says)            /* then only the experts that were chosen are known */
		h.experts = moe_max(h.experts, m->o.experts);
	MOE_TRY(moe_import_counts(m, t->n_layers, m->o.k, t->layer, h.experts, &h.count, t->d));
	t->end = from;
	t->line = line - 1;
	while (next_line(t))
		if ((err = take_count(t, &h)))
			return err;
	return MOE_OK;
}

/* Which of the two is it? The first line that is about an expert tells. */
static bool is_history(const struct lines *t)
{
	const uint8_t *nl = memchr(t->p, '\n', (size_t)(t->stop - t->p));

	return *t->p == '-' || !memchr(t->p, ':', nl ? (size_t)(nl - t->p) : (size_t)(t->stop - t->p));
}

enum moe_err moe_import_lines(struct moe_import *m, const char *name, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	struct lines t = {.p = bytes, .end = bytes, .stop = bytes + n, .d = d};
	enum moe_err err;

	if (!next_line(&t))
		return moe_fail(d, MOE_EINPUT, "there are no lines in it");
	err = is_history(&t) ? add_history(m, &t) : add_trace(m, name, &t);
	free(t.record);
	free(t.choice);
	free(t.layer);
	return err;
}
