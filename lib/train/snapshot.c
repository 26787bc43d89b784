#include "train/snapshot.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <xxhash.h>

#include "format/safetensors.h"
#include "io/map.h"
#include "io/sink.h"

#define STATE_KEY "moe.train"
#define HASH_KEY "moe.xxh3"

static const char kinds[] = {'w', 'm', 'v'};

static float *array_of(const struct moe_snapshot *s, char kind) { return kind == 'w' ? s->weights : kind == 'm' ? s->first : s->second; }

/* Shape in the file; its rank. */
static unsigned shape_of(const struct moe_param *p, uint64_t shape[2])
{
	if (p->rows > 1 && p->rows * p->cols == p->count) {
		shape[0] = p->rows;
		shape[1] = p->cols;
		return 2;
	}
	shape[0] = p->count;
	return 1;
}

static bool is_zero(const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (x[i] != 0 || signbit(x[i]))
			return false;
	return true;
}

static bool is_finite(const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isfinite(x[i]))
			return false;
	return true;
}

static enum moe_err check_finite(const struct moe_snapshot *s, enum moe_err code, struct moe_diag *d)
{
	for (size_t k = 0; k < sizeof kinds; k++)
		for (size_t i = 0; i < s->params->n; i++) {
			const struct moe_param *p = &s->params->p[i];
			if (!is_finite(array_of(s, kinds[k]) + p->offset, p->count))
				return moe_fail(d, code, "tensor \"%c.%s\" has numbers that are not finite", kinds[k], p->name);
		}
	return MOE_OK;
}

/* A file in the making: its header, and the pieces of its payload. */
struct draft {
	FILE *text;
	struct iovec *piece;
	int n_pieces;
	uint64_t at;
};

static void add(struct draft *f, const char *prefix, const char *name, const char *type, const uint64_t *shape, unsigned rank, const void *data, uint64_t nbytes)
{
	json_t *full = json_sprintf("%s%s", prefix, name);
	char *quoted = full ? json_dumps(full, JSON_ENCODE_ANY) : NULL;

	fprintf(f->text, ",%s:{\"dtype\":\"%s\",\"shape\":[%" PRIu64, quoted ? quoted : "", type, shape[0]);
	if (rank == 2)
		fprintf(f->text, ",%" PRIu64, shape[1]);
	fprintf(f->text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", f->at, f->at + nbytes);
	f->piece[f->n_pieces++] = (struct iovec){(void *)(uintptr_t)data, nbytes};
	f->at += nbytes;
	free(quoted);
	json_decref(full);
}

static void add_tensors(struct draft *f, const void *from)
{
	const struct moe_snapshot *s = from;
	uint64_t shape[2] = {s->params->n};

	add(f, "", "steps", "U64", shape, 1, s->steps, s->params->n * sizeof *s->steps);
	for (size_t k = 0; k < sizeof kinds; k++)
		for (size_t i = 0; i < s->params->n; i++) {
			const struct moe_param *p = &s->params->p[i];
			const float *x = array_of(s, kinds[k]) + p->offset;
			if (kinds[k] == 'w' || !is_zero(x, p->count))
				add(f, (const char[]){kinds[k], '.', 0}, p->name, "F32", shape, shape_of(p, shape), x, p->count * sizeof *x);
		}
}

static bool hash_pieces(uint64_t *hash, const struct iovec *piece, int n)
{
	XXH3_state_t *h = XXH3_createState();

	if (!h)
		return false;
	XXH3_64bits_reset(h);
	for (int i = 0; i < n; i++)
		XXH3_64bits_update(h, piece[i].iov_base, piece[i].iov_len);
	*hash = XXH3_64bits_digest(h);
	XXH3_freeState(h);
	return true;
}

/* The header with its length in front, padded so that the payload is aligned; to be freed. */
static char *make_head(const char *tensors, const json_t *state, uint64_t hash, size_t *nbytes)
{
	char *doc = json_dumps(state, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17)), *quoted = NULL, *head = NULL;
	json_t *text = doc ? json_string(doc) : NULL;
	int n;

	quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
	n = quoted ? asprintf(&head, "12345678{\"__metadata__\":{\"" HASH_KEY "\":\"%016" PRIx64 "\",\"" STATE_KEY "\":%s}%s}%64s", hash, quoted, tensors, "") : -1;
	free(doc);
	free(quoted);
	json_decref(text);
	if (n < 0)
		return NULL;
	*nbytes = (size_t)n / 64 * 64;
	for (unsigned i = 0; i < 8; i++)
		head[i] = (char)((*nbytes - 8) >> 8 * i);
	return head;
}

static enum moe_err put(const char *path, struct iovec *piece, int n, struct moe_diag *d)
{
	struct moe_sink *sink;

	MOE_TRY(moe_sink_open(&sink, path, d));
	if (moe_write_all(moe_sink_descriptor(sink), piece, n, d)) {
		moe_sink_abandon(sink);
		return moe_diag_path(d, path);
	}
	return moe_sink_commit(sink, d);
}

/* Writes a file of the tensors that `fill` adds, at most `most` of them. */
static enum moe_err write_file(const char *path, size_t most, void (*fill)(struct draft *f, const void *from), const void *from, const json_t *state,
			       struct moe_diag *d)
{
	struct draft f = {.n_pieces = 1, .piece = calloc(most + 1, sizeof *f.piece)};
	char *tensors = NULL, *head = NULL;
	size_t n_tensors, n_head = 0;
	uint64_t hash;
	enum moe_err err;

	f.text = open_memstream(&tensors, &n_tensors);
	if (f.piece && f.text)
		fill(&f, from);
	if (f.text && !fclose(f.text) && f.piece && hash_pieces(&hash, f.piece + 1, f.n_pieces - 1))
		head = make_head(tensors, state, hash, &n_head);
	if (head)
		f.piece[0] = (struct iovec){head, n_head};
	err = head ? put(path, f.piece, f.n_pieces, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	free(head);
	free(tensors);
	free(f.piece);
	return err;
}

enum moe_err moe_snapshot_write(const char *path, const struct moe_snapshot *s, struct moe_diag *d)
{
	MOE_TRY(check_finite(s, MOE_EINPUT, d));
	return write_file(path, 3 * s->params->n + 1, add_tensors, s, s->state, d);
}

/* An opened checkpoint. */
struct opened {
	struct moe_map *map;
	struct moe_header header;
};

static const char *meta(const struct moe_header *h, const char *key)
{
	for (size_t i = 0; i < h->n_meta; i++)
		if (!strcmp(h->meta[i].key, key))
			return h->meta[i].value;
	return NULL;
}

static enum moe_err open_checked(struct opened *o, const char *path, json_t **state, struct moe_diag *d)
{
	const char *hash, *text;
	char have[17];
	size_t n;

	MOE_TRY(moe_map_open(&o->map, path, d));
	MOE_TRY(moe_safetensors_parse(&o->header, o->map->bytes, o->map->nbytes, d));
	hash = meta(&o->header, HASH_KEY);
	text = meta(&o->header, STATE_KEY);
	if (!hash || !text)
		return moe_fail(d, MOE_EMATCH, "is no checkpoint of training: its metadata lacks \"" STATE_KEY "\" or \"" HASH_KEY "\"");
	n = (size_t)o->header.payload_nbytes;
	snprintf(have, sizeof have, "%016" PRIx64, (uint64_t)XXH3_64bits(o->map->bytes + o->map->nbytes - n, n));
	if (strcmp(hash, have))
		return moe_fail(d, MOE_EINPUT, "is damaged: its payload has the hash %s, expected %s", have, hash);
	*state = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	return json_is_object(*state) ? MOE_OK : moe_fail(d, MOE_EINPUT, "the metadata \"" STATE_KEY "\" is no JSON object");
}

static void close_opened(struct opened *o)
{
	moe_header_free(&o->header);
	if (o->map)
		moe_map_close(o->map);
}

enum moe_err moe_snapshot_state(json_t **state, const char *path, struct moe_diag *d)
{
	struct opened o = {0};
	enum moe_err err;

	*state = NULL;
	err = open_checked(&o, path, state, d);
	close_opened(&o);
	if (err) {
		json_decref(*state);
		*state = NULL;
		moe_diag_path(d, path);
	}
	return err;
}

/* The tensor PREFIX.NAME from `at` on, where they follow in the order in which they are written; NULL if it is not the next. */
static const struct moe_tensor *next(const struct moe_header *h, size_t at, char kind, const char *name)
{
	const struct moe_tensor *t = at < h->n_tensors ? &h->tensor[at] : NULL;

	return t && t->name[0] == kind && t->name[1] == '.' && !strcmp(t->name + 2, name) ? t : NULL;
}

static enum moe_err check_shape(const struct moe_tensor *t, enum moe_dtype type, const uint64_t *shape, unsigned rank, struct moe_diag *d)
{
	char have[96], want[96];

	if (t->type == type && t->rank == rank && !memcmp(t->shape, shape, rank * sizeof *shape))
		return MOE_OK;
	return moe_fail(d, MOE_EMATCH, "is of another model: tensor \"%s\" is %s %s, expected %s %s", t->name, moe_dtype_name(t->type),
			moe_shape_string(t->shape, t->rank, have, sizeof have), moe_dtype_name(type), moe_shape_string(shape, rank, want, sizeof want));
}

static enum moe_err fill(struct moe_snapshot *s, const struct moe_header *h, struct moe_diag *d)
{
	uint64_t shape[2] = {s->params->n};
	size_t at = 1;

	if (!h->n_tensors || strcmp(h->tensor[0].name, "steps"))
		return moe_fail(d, MOE_EMATCH, "is no checkpoint of training: its first tensor is not \"steps\"");
	MOE_TRY(check_shape(&h->tensor[0], MOE_U64, shape, 1, d));
	memcpy(s->steps, h->tensor[0].data, s->params->n * sizeof *s->steps);
	for (size_t k = 0; k < sizeof kinds; k++) {
		float *x = array_of(s, kinds[k]);
		memset(x, 0, s->params->total * sizeof *x);
		for (size_t i = 0; i < s->params->n; i++) {
			const struct moe_param *p = &s->params->p[i];
			const struct moe_tensor *t = next(h, at, kinds[k], p->name);
			unsigned rank = shape_of(p, shape);
			if (!t && kinds[k] == 'w')
				return moe_fail(d, MOE_EMATCH, "is of another model: tensor \"w.%s\" is missing, or not in its place", p->name);
			if (!t)
				continue;
			MOE_TRY(check_shape(t, MOE_F32, shape, rank, d));
			memcpy(x + p->offset, t->data, p->count * sizeof *x);
			at++;
		}
	}
	if (at < h->n_tensors)
		return moe_fail(d, MOE_EMATCH, "is of another model: tensor \"%s\" has no place in it", h->tensor[at].name);
	return check_finite(s, MOE_EINPUT, d);
}

enum moe_err moe_snapshot_read(struct moe_snapshot *s, const char *path, struct moe_diag *d)
{
	struct opened o = {0};
	enum moe_err err;

	s->state = NULL;
	err = open_checked(&o, path, &s->state, d);
	if (!err)
		err = fill(s, &o.header, d);
	close_opened(&o);
	if (err) {
		json_decref(s->state);
		s->state = NULL;
		moe_diag_path(d, path);
	}
	return err;
}

/* The tensors of a header, as they stand in the file that they came from. */
static void add_again(struct draft *f, const void *from)
{
	const struct moe_header *h = from;

	for (size_t i = 0; i < h->n_tensors; i++) {
		const struct moe_tensor *t = &h->tensor[i];
		add(f, "", t->name, moe_dtype_name(t->type), t->shape, t->rank, t->data, t->nbytes);
	}
}

enum moe_err moe_snapshot_restate(const char *path, const char *from, const json_t *state, struct moe_diag *d)
{
	struct opened o = {0};
	json_t *old = NULL;
	enum moe_err err = open_checked(&o, from, &old, d);

	if (err)
		moe_diag_path(d, from);
	else
		err = write_file(path, o.header.n_tensors, add_again, &o.header, state, d);
	close_opened(&o);
	json_decref(old);
	return err;
}
