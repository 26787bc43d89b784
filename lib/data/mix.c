#include "data/mix.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

/* Streams of random numbers: which source, and for each source which slot of the buffer and which order of the shards. */
enum { STREAM_SOURCE = 1, STREAM_SLOT = 1 << 8, STREAM_ORDER = 2 << 8 };

struct source {
	char **path;
	size_t n_paths;
	double weight;
	bool single;                    /* standard input: one epoch */
	uint64_t epoch, draws, total, good;     /* good: samples in this epoch */
	uint32_t crc;
	bool ended, open;               /* open: an epoch has begun and its shards are not through */
	size_t *order;                  /* [n_paths] of this epoch */
	size_t next;                    /* in order */
	struct moe_shard *shard;
	struct moe_item *buffer;        /* [window] */
	size_t n;
};

struct moe_mix {
	struct moe_mix_options o;
	struct source *source;
	size_t n_sources;
	uint64_t draws, failed;
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

static enum moe_err copy_source(struct source *to, const struct moe_mix_source *from, size_t window, bool *input, struct moe_diag *d)
{
	to->weight = from->weight == 0 ? 1 : from->weight;
	if (!from->n_paths || !(to->weight > 0 && to->weight < 1e9))
		return moe_fail(d, MOE_EUSAGE, "a source of %zu shards with weight %g", from->n_paths, from->weight);
	to->path = calloc(from->n_paths, sizeof *to->path);
	to->order = calloc(from->n_paths, sizeof *to->order);
	to->buffer = calloc(window, sizeof *to->buffer);
	if (!to->path || !to->order || !to->buffer)
		return no_memory(d);
	for (size_t i = 0; i < from->n_paths; i++) {
		const char *path = from->path[i];
		if (!(to->path[i] = moe_strdup(path)))
			return no_memory(d);
		to->n_paths++;
		if (strcmp(path, "-"))
			continue;
		if (*input || from->n_paths > 1)
			return moe_fail(d, MOE_EUSAGE, "standard input is one source of its own, once");
		*input = to->single = true;
	}
	return MOE_OK;
}

enum moe_err moe_mix_new(struct moe_mix **out, const struct moe_mix_source *s, size_t n, const struct moe_mix_options *o, struct moe_diag *d)
{
	struct moe_mix *m = calloc(1, sizeof *m);
	bool input = false;
	enum moe_err err = MOE_OK;

	if (!m)
		return no_memory(d);
	m->o = *o;
	if (!m->o.window)
		m->o.window = MOE_MIX_WINDOW;
	if (!n || n > MOE_MIX_SOURCES)
		err = moe_fail(d, MOE_EUSAGE, "%zu sources, expected 1 to %d", n, MOE_MIX_SOURCES);
	else if (!(m->source = calloc(n, sizeof *m->source)))
		err = no_memory(d);
	for (size_t i = 0; !err && i < n; i++) {
		m->n_sources++;
		err = copy_source(&m->source[i], &s[i], m->o.window, &input, d);
	}
	if (err)
		moe_mix_free(m);
	else
		*out = m;
	return err;
}

static void free_source(struct source *s)
{
	moe_shard_close(s->shard);
	for (size_t i = 0; i < s->n; i++)
		moe_item_clear(&s->buffer[i]);
	free(s->buffer);
	for (size_t i = 0; i < s->n_paths; i++)
		free(s->path[i]);
	free(s->path);
	free(s->order);
}

void moe_mix_free(struct moe_mix *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_sources; i++)
		free_source(&m->source[i]);
	free(m->source);
	free(m);
}

/* ---- a source ---- */

/* A whole number below n, from random bits by multiplication (Lemire 2019, without the rejection: n is far below 2^64). */
static size_t below(uint64_t bits, size_t n) { return (size_t)(((unsigned __int128)bits * n) >> 64); }

static uint64_t source_number(const struct moe_mix *m, const struct source *s) { return (uint64_t)(s - m->source); }

/* Fisher and Yates; position i of epoch e uses random number e · 2^32 + i. */
static void order_shards(const struct moe_mix *m, struct source *s)
{
	for (size_t i = 0; i < s->n_paths; i++)
		s->order[i] = i;
	for (size_t i = s->n_paths; i-- > 1 && !m->o.ordered;) {
		size_t j = below(moe_random_u64(m->o.seed, STREAM_ORDER + source_number(m, s), s->epoch << 32 | i), i + 1), t = s->order[i];
		s->order[i] = s->order[j];
		s->order[j] = t;
	}
}

static void begin_epoch(const struct moe_mix *m, struct source *s)
{
	s->open = true;
	s->next = 0;
	s->crc = 0;
	s->draws = s->good = 0;
	order_shards(m, s);
}

/* The next item of the epoch into the buffer; closes the epoch behind its last. */
static enum moe_err read_item(const struct moe_mix *m, struct source *s, struct moe_diag *d)
{
	while (s->open) {
		enum moe_err err;
		if (!s->shard && s->next == s->n_paths) {
			s->open = false;
			break;
		}
		if (!s->shard)
			MOE_TRY(moe_shard_open(&s->shard, s->path[s->order[s->next++]], &m->o.shards, d));
		err = moe_shard_next(s->shard, &s->buffer[s->n], d);
		if (!err) {
			s->crc = moe_item_crc(s->crc, &s->buffer[s->n++]);
			return MOE_OK;
		}
		if (err != MOE_END)
			return err;
		moe_shard_close(s->shard);
		s->shard = NULL;
	}
	return MOE_OK;
}

static enum moe_err fill(const struct moe_mix *m, struct source *s, struct moe_diag *d)
{
	while (s->open && s->n < m->o.window)
		MOE_TRY(read_item(m, s, d));
	return MOE_OK;
}

/* Fills the buffer; where the epoch is through, with the next one. MOE_END: the source has ended. */
static enum moe_err prepare(const struct moe_mix *m, struct source *s, struct moe_diag *d)
{
	bool first = !s->open && !s->n && !s->total && !s->epoch;

	if (first)
		begin_epoch(m, s);
	MOE_TRY(fill(m, s, d));
	if (s->n)
		return MOE_OK;
	if (m->o.once || s->single) {
		s->ended = true;
		return MOE_END;
	}
	if (!s->good)
		return moe_fail(d, MOE_EINPUT, "source %llu (%s%s) has no good samples", (unsigned long long)source_number(m, s) + 1, s->path[0],
				s->n_paths > 1 ? ", ..." : "");
	s->epoch++;
	begin_epoch(m, s);
	MOE_TRY(fill(m, s, d));
	return s->n ? MOE_OK : moe_fail(d, MOE_EINPUT, "%s: nothing is left of it", s->path[0]);
}

/* Takes an item from the buffer; another comes in its place with the next draw. */
static struct moe_item take(const struct moe_mix *m, struct source *s)
{
	size_t slot = below(moe_random_u64(m->o.seed, STREAM_SLOT + source_number(m, s), s->total), s->n);
	struct moe_item item = s->buffer[slot];

	s->buffer[slot] = s->buffer[--s->n];
	s->buffer[s->n] = (struct moe_item){0};
	s->draws++;
	s->total++;
	return item;
}

/* ---- draws ---- */

/* The source of draw n, among those that have not ended; NULL when all have. */
static struct source *choose(const struct moe_mix *m)
{
	double sum = 0, at;
	struct source *last = NULL;

	for (size_t i = 0; i < m->n_sources; i++)
		sum += m->source[i].ended ? 0 : m->source[i].weight;
	at = moe_random_unit(m->o.seed, STREAM_SOURCE, m->draws) * sum;
	for (size_t i = 0; i < m->n_sources; i++) {
		if (m->source[i].ended)
			continue;
		last = &m->source[i];
		if (at < last->weight)
			return last;
		at -= last->weight;
	}
	return last;
}

static enum moe_err draw(struct moe_mix *m, struct moe_item *item, struct source **from, struct moe_diag *d)
{
	enum moe_err err = MOE_END;

	while (err == MOE_END) {
		*from = choose(m);
		if (!*from)
			return MOE_END;
		err = prepare(m, *from, d);
	}
	MOE_TRY(err);
	*item = take(m, *from);
	m->draws++;
	return MOE_OK;
}

enum moe_err moe_mix_next(struct moe_mix *m, struct moe_sample *out, size_t *source, uint64_t *number, struct moe_diag *d)
{
	for (;;) {
		struct moe_diag failure = {0};
		struct moe_item item;
		struct source *s;
		enum moe_err err;
		MOE_TRY(draw(m, &item, &s, d));
		err = moe_sample_read(out, &item, &failure);
		moe_item_clear(&item);
		if (!err) {
			s->good++;
			if (source)
				*source = (size_t)source_number(m, s);
			if (number)
				*number = m->draws - 1;
			return MOE_OK;
		}
		m->failed++;
		if (m->o.failed)
			m->o.failed(m->o.self, &failure);
		if (err == MOE_ENOMEM && !failure.path[0])
			return no_memory(d);
	}
}

void moe_mix_position(const struct moe_mix *m, struct moe_mix_position *out)
{
	*out = (struct moe_mix_position){.draws = m->draws, .failed = m->failed, .n_sources = m->n_sources};
	for (size_t i = 0; i < m->n_sources; i++) {
		const struct source *s = &m->source[i];
		out->source[i].epoch = s->epoch;
		out->source[i].draws = s->draws;
		out->source[i].total = s->total;
		out->source[i].crc = s->crc;
		out->source[i].ended = s->ended;
	}
}

static enum moe_err differs(const struct source *s, const char *what, struct moe_diag *d)
{
	return moe_fail(d, MOE_EMATCH, "%s%s: %s: these are not the shards that were read before", s->path[0], s->n_paths > 1 ? ", ..." : "", what);
}

/* Draws again what was drawn in the epoch, and throws it away. The buffer is left as it was: filled up to the last draw, not beyond. */
static enum moe_err replay(const struct moe_mix *m, struct source *s, uint64_t epoch, uint64_t draws, uint64_t total, struct moe_diag *d)
{
	if (draws > total)
		return moe_fail(d, MOE_EINPUT, "a position of %llu draws in an epoch, %llu in all", (unsigned long long)draws, (unsigned long long)total);
	s->epoch = epoch;
	s->total = total - draws;
	if (total)
		begin_epoch(m, s);
	while (s->draws < draws) {
		struct moe_item item;
		MOE_TRY(fill(m, s, d));
		if (!s->n)
			return differs(s, "there is less in it", d);
		item = take(m, s);
		moe_item_clear(&item);
	}
	return MOE_OK;
}

enum moe_err moe_mix_restore(struct moe_mix *m, const struct moe_mix_position *p, struct moe_diag *d)
{
	if (p->n_sources != m->n_sources)
		return moe_fail(d, MOE_EMATCH, "a position in %zu sources, but there are %zu", p->n_sources, m->n_sources);
	for (size_t i = 0; i < m->n_sources; i++) {
		struct source *s = &m->source[i];
		MOE_TRY(replay(m, s, p->source[i].epoch, p->source[i].draws, p->source[i].total, d));
		if (p->source[i].ended)
			MOE_TRY(fill(m, s, d));         /* which closes the epoch */
		s->ended = p->source[i].ended;
		s->good = s->draws;
		if (s->crc != p->source[i].crc)
			return differs(s, "other bytes", d);
	}
	m->draws = p->draws;
	m->failed = p->failed;
	return MOE_OK;
}
