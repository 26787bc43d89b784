#include "model/packfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/rd.h"
#include "io/map.h"
#include "io/sink.h"
#include "kernel/pack.h"
#include "kernel/rows.h"
#include "model/math.h"

enum { HEAD = 72, SUMMED = 64, ENTRY = 112, NAME = 64, FINGERPRINT = 32, DATA_ALIGN = 2 << 20, CHUNK_ROWS = 256, WINDOW = 16 };

static const char magic[8] = "MOEPACK\n";

struct entry {
	char name[NAME];
	uint32_t type;
	uint64_t rows, cols, begin, nbytes, hash;
};

struct moe_packfile {
	struct moe_map *map;
	const uint8_t *data;
	struct entry *entry;
	size_t n;
	uint64_t nbytes;
};

char *moe_packfile_path(const struct moe_model *m)
{
	char *path;

	return asprintf(&path, "%s%s.packed", m->directory, moe_checkpoint_is_file(m->directory) ? "" : "/model") < 0 ? NULL : path;
}

/* ---- The table that a model has ---- */

struct lister {
	struct moe_model *m;
	struct entry *entry;
	const struct moe_mat **mat;
	size_t n, cap, mat_cap;
	uint64_t nbytes;
	bool failed;
};

/* "layers.3.experts.5.up". */
static void name_matrix(char name[NAME], const struct moe_model *m, const struct moe_mat *w)
{
	static const char *const attention[] = {"q", "k", "v", "o"}, *const unit[] = {"gate", "up", "down"};

	memset(name, 0, NAME);
	if (w == &m->lm_head)
		strcpy(name, "head");
	for (int64_t l = 0; l < m->spec->n_layers && !*name; l++) {
		const struct moe_attention_weights *a = &m->layer[l].attention;
		const struct moe_ffn_weights *f = &m->layer[l].ffn;
		const struct moe_mat *const four[] = {&a->q, &a->k, &a->v, &a->o}, *const three[] = {&f->shared.gate, &f->shared.up, &f->shared.down};
		for (int i = 0; i < 4; i++)
			if (w == four[i])
				snprintf(name, NAME, "layers.%" PRId64 ".%s", l, attention[i]);
		for (int i = 0; i < 3; i++)
			if (w == three[i])
				snprintf(name, NAME, "layers.%" PRId64 ".shared.%s", l, unit[i]);
		for (int64_t e = 0; f->expert && e < m->spec->router.experts && !*name; e++) {
			const struct moe_mat *const of[] = {&f->expert[e].gate, &f->expert[e].up, &f->expert[e].down};
			for (int i = 0; i < 3; i++)
				if (w == of[i])
					snprintf(name, NAME, "layers.%" PRId64 ".experts.%" PRId64 ".%s", l, e, unit[i]);
		}
	}
}

static void list_matrix(void *to, struct moe_mat *w)
{
	struct lister *l = to;
	size_t nbytes = w->data ? moe_pack_nbytes(w) : 0;

	if (!nbytes || l->failed)
		return;
	if (moe_grow(&l->entry, &l->cap, l->n + 1, sizeof *l->entry, NULL) || moe_grow(&l->mat, &l->mat_cap, l->n + 1, sizeof *l->mat, NULL)) {
		l->failed = true;
		return;
	}
	l->mat[l->n] = w;
	l->entry[l->n] = (struct entry){.type = (uint32_t)w->type, .rows = w->rows, .cols = w->cols, .begin = l->nbytes, .nbytes = nbytes};
	l->nbytes += nbytes;
	l->n++;
}

static enum moe_err list_matrices(struct lister *l, struct moe_model *m, struct moe_diag *d)
{
	struct moe_math_range r = moe_math_whole(m);

	*l = (struct lister){.m = m};
	moe_math_each(m, &r, list_matrix, l);
	return l->failed || l->n > UINT32_MAX ? moe_fail(d, MOE_ENOMEM, "out of memory") : MOE_OK;
}

static void free_list(struct lister *l)
{
	free(l->entry);
	free(l->mat);
}

/* ---- Reading ---- */

static enum moe_err parse(struct moe_packfile *p, const struct moe_model *m, struct moe_diag *d)
{
	struct moe_rd r;
	uint64_t n, begin, sum;
	uint32_t version;
	const uint8_t *text, *fingerprint;
	XXH3_state_t *x;

	moe_rd_init(&r, p->map->bytes, p->map->nbytes);
	text = moe_rd_bytes(&r, sizeof magic);
	version = (uint32_t)moe_rd_le(&r, 4);
	n = moe_rd_le(&r, 4);
	fingerprint = moe_rd_bytes(&r, FINGERPRINT);
	begin = moe_rd_le(&r, 8);
	p->nbytes = moe_rd_le(&r, 8);
	sum = moe_rd_le(&r, 8);
	if (r.bad || memcmp(text, magic, sizeof magic) != 0)
		return moe_fail(d, MOE_EINPUT, "no file of packed weights");
	if (version != MOE_PACK_VERSION)
		return moe_fail(d, MOE_EMATCH, "made by another version of these programs");
	if (memcmp(fingerprint, m->fingerprint, FINGERPRINT) != 0)
		return moe_fail(d, MOE_EMATCH, "made of another model");
	if (n > moe_rd_left(&r) / ENTRY || begin % DATA_ALIGN || begin > p->map->nbytes || begin < HEAD + n * ENTRY || p->nbytes != p->map->nbytes - begin)
		return moe_fail(d, MOE_EINPUT, "cut short, or damaged");
	x = XXH3_createState();
	if (!x)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	XXH3_64bits_reset(x);
	XXH3_64bits_update(x, p->map->bytes, SUMMED);
	XXH3_64bits_update(x, r.p, n * ENTRY);
	if (XXH3_64bits_digest(x) != sum)
		moe_fail(d, MOE_EINPUT, "its table is damaged");
	XXH3_freeState(x);
	if (d->code)
		return d->code;
	p->data = p->map->bytes + begin;
	p->n = n;
	p->entry = calloc(n + 1, sizeof *p->entry);
	for (size_t i = 0; p->entry && i < n; i++) {
		struct entry *e = &p->entry[i];
		memcpy(e->name, moe_rd_bytes(&r, NAME), NAME);
		e->type = (uint32_t)moe_rd_le(&r, 4);
		moe_rd_le(&r, 4);
		e->rows = moe_rd_le(&r, 8);
		e->cols = moe_rd_le(&r, 8);
		e->begin = moe_rd_le(&r, 8);
		e->nbytes = moe_rd_le(&r, 8);
		e->hash = moe_rd_le(&r, 8);
	}
	return p->entry ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

/* The matrices are those of the model, in their order. */
static enum moe_err compare(const struct moe_packfile *p, struct moe_model *m, struct moe_diag *d)
{
	struct lister l;
	enum moe_err err = list_matrices(&l, m, d);

	if (!err && (l.n != p->n || l.nbytes != p->nbytes))
		err = moe_fail(d, MOE_EMATCH, "it has other matrices than the model");
	for (size_t i = 0; !err && i < l.n; i++) {
		const struct entry *a = &l.entry[i], *b = &p->entry[i];
		if (a->type != b->type || a->rows != b->rows || a->cols != b->cols || a->begin != b->begin || a->nbytes != b->nbytes)
			err = moe_fail(d, MOE_EMATCH, "its matrix \"%.*s\" is not that of the model", NAME, b->name);
	}
	free_list(&l);
	return err;
}

void moe_packfile_open(struct moe_model *m)
{
	struct moe_packfile *p = calloc(1, sizeof *p);
	char *path = p ? moe_packfile_path(m) : NULL;
	struct moe_diag d = {0};
	enum moe_err err = MOE_OK;

	if (path && !access(path, F_OK)) {
		err = moe_map_open(&p->map, path, &d);
		if (!err)
			err = parse(p, m, &d);
		if (!err)
			err = compare(p, m, &d);
		if (err) {
			moe_diag_path(&d, path);
			moe_diag_string(&d, m->packfile_wrong, sizeof m->packfile_wrong);
		} else {
			m->packfile = p;
		}
	}
	if (!m->packfile)
		moe_packfile_close(p);
	free(path);
}

void moe_packfile_close(struct moe_packfile *p)
{
	if (!p)
		return;
	moe_map_close(p->map);
	free(p->entry);
	free(p);
}

struct taker {
	const struct moe_packfile *p;
	size_t n;
};

static void take_matrix(void *to, struct moe_mat *w)
{
	struct taker *t = to;

	if (!w->data || !moe_pack_nbytes(w))
		return;
	if (moe_rows_known(w))
		w->packed = t->p->data + t->p->entry[t->n].begin;
	t->n++;
}

void moe_packfile_use(struct moe_model *m)
{
	struct moe_math_range r = moe_math_whole(m);

	moe_math_each(m, &r, take_matrix, &(struct taker){m->packfile, 0});
}

enum moe_err moe_packfile_verify(const struct moe_model *m, struct moe_diag *d)
{
	const struct moe_packfile *p = m->packfile;

	for (size_t i = 0; i < p->n; i++)
		if (XXH3_64bits(p->data + p->entry[i].begin, p->entry[i].nbytes) != p->entry[i].hash) {
			moe_fail(d, MOE_EINPUT, "the matrix \"%.*s\" is damaged", NAME, p->entry[i].name);
			return moe_diag_path(d, p->map->path);
		}
	return MOE_OK;
}

size_t moe_packfile_count(const struct moe_packfile *p) { return p->n; }
uint64_t moe_packfile_nbytes(const struct moe_packfile *p) { return p->nbytes; }

/* ---- Writing ---- */

struct window {
	struct moe_mat part[WINDOW];
	uint8_t *to[WINDOW];
};

static void pack_part(void *arg, size_t i)
{
	struct window *w = arg;

	moe_pack(w->to[i], &w->part[i], 0, w->part[i].rows);
}

static enum moe_err write_at(int fd, const void *bytes, size_t n, uint64_t at, struct moe_diag *d)
{
	const uint8_t *p = bytes;

	while (n) {
		ssize_t wrote = pwrite(fd, p, n, (off_t)at);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			return moe_fail_errno(d, "cannot write");
		p += wrote;
		at += (uint64_t)wrote;
		n -= (size_t)wrote;
	}
	return MOE_OK;
}

/* Packs some of the rows: groups of 16 stand for themselves, so a part of a matrix is packed like a matrix. */
static enum moe_err write_rows(int fd, const struct moe_mat *w, size_t row, size_t end, uint64_t *at, struct moe_pool *pool, XXH3_state_t *x,
			       struct moe_diag *d)
{
	struct window v;
	size_t n = 0, nbytes = 0;
	uint8_t *buffer;
	enum moe_err err;

	for (size_t r = row; r < end; r += CHUNK_ROWS, n++) {
		v.part[n] = *w;
		v.part[n].data = (const uint8_t *)w->data + moe_dtype_nbytes(w->type, r * w->stride);
		v.part[n].rows = moe_min(CHUNK_ROWS, end - r);
		nbytes += moe_pack_nbytes(&v.part[n]);
	}
	buffer = moe_calloc(nbytes, 1);
	if (!buffer)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0, used = 0; i < n; used += moe_pack_nbytes(&v.part[i]), i++)
		v.to[i] = buffer + used;
	moe_pool_run(pool, (double)nbytes * 8, n, pack_part, &v);
	XXH3_64bits_update(x, buffer, nbytes);
	err = write_at(fd, buffer, nbytes, *at, d);
	*at += nbytes;
	free(buffer);
	moe_map_release((const uint8_t *)w->data + moe_dtype_nbytes(w->type, row * w->stride), moe_dtype_nbytes(w->type, (end - row) * w->stride));
	return err;
}

static enum moe_err write_matrix(int fd, const struct moe_mat *w, struct entry *e, uint64_t at, struct moe_pool *pool, struct moe_diag *d)
{
	XXH3_state_t *x = XXH3_createState();
	enum moe_err err = x ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");

	if (x)
		XXH3_64bits_reset(x);
	for (size_t row = 0; row < w->rows && !err; row += WINDOW * CHUNK_ROWS)
		err = write_rows(fd, w, row, moe_min(w->rows, row + WINDOW * CHUNK_ROWS), &at, pool, x, d);
	if (!err)
		e->hash = XXH3_64bits_digest(x);
	XXH3_freeState(x);
	return err;
}

static void put_int(uint8_t **p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		*(*p)++ = (uint8_t)(v >> 8 * i);
}

/* Head and table. */
static enum moe_err write_table(int fd, const struct lister *l, uint64_t begin, struct moe_diag *d)
{
	size_t nbytes = HEAD + l->n * ENTRY;
	uint8_t *bytes = calloc(nbytes, 1), *p = bytes;
	XXH3_state_t *x = XXH3_createState();
	enum moe_err err;

	if (!bytes || !x) {
		free(bytes);
		XXH3_freeState(x);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	memcpy(p, magic, sizeof magic);
	p += sizeof magic;
	put_int(&p, MOE_PACK_VERSION, 4);
	put_int(&p, l->n, 4);
	memcpy(p, l->m->fingerprint, FINGERPRINT);
	p += FINGERPRINT;
	put_int(&p, begin, 8);
	put_int(&p, l->nbytes, 8);
	p += 8;
	for (size_t i = 0; i < l->n; i++) {
		struct entry *e = &l->entry[i];
		name_matrix((char *)p, l->m, l->mat[i]);
		p += NAME;
		put_int(&p, e->type, 8);
		put_int(&p, e->rows, 8);
		put_int(&p, e->cols, 8);
		put_int(&p, e->begin, 8);
		put_int(&p, e->nbytes, 8);
		put_int(&p, e->hash, 8);
	}
	XXH3_64bits_reset(x);
	XXH3_64bits_update(x, bytes, SUMMED);
	XXH3_64bits_update(x, bytes + HEAD, l->n * ENTRY);
	p = bytes + SUMMED;
	put_int(&p, XXH3_64bits_digest(x), 8);
	err = write_at(fd, bytes, nbytes, 0, d);
	XXH3_freeState(x);
	free(bytes);
	return err;
}

static enum moe_err write_all(int fd, struct lister *l, struct moe_pool *pool, void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg,
			      struct moe_diag *d)
{
	uint64_t begin = moe_round_up(HEAD + l->n * ENTRY, DATA_ALIGN);

	for (size_t i = 0; i < l->n; i++) {
		MOE_TRY(write_matrix(fd, l->mat[i], &l->entry[i], begin + l->entry[i].begin, pool, d));
		if (progress)
			progress(arg, l->entry[i].begin + l->entry[i].nbytes, l->nbytes);
	}
	return write_table(fd, l, begin, d);
}

enum moe_err moe_packfile_write(struct moe_model *m, struct moe_pool *pool, void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg,
				struct moe_diag *d)
{
	char *path = moe_packfile_path(m);
	struct moe_sink *sink = NULL;
	struct lister l = {0};
	enum moe_err err = path ? list_matrices(&l, m, d) : moe_fail(d, MOE_ENOMEM, "out of memory");

	if (!err && !l.n)
		err = moe_fail(d, MOE_EUSAGE, "no matrix of the model has a packed form; those of block types have, and of BF16 and I8");
	if (!err)
		err = moe_sink_open(&sink, path, d);
	if (!err)
		err = write_all(moe_sink_descriptor(sink), &l, pool, progress, arg, d);
	if (err)
		moe_sink_abandon(sink);
	else
		err = moe_sink_commit(sink, d);
	if (err)
		moe_diag_path(d, path ? path : m->directory);
	free_list(&l);
	free(path);
	return err;
}
