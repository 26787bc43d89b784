#include "model/math.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "io/map.h"
#include "kernel/pack.h"
#include "kernel/rows.h"
#include "model/packfile.h"

enum { CHUNK_ROWS = 256, HUGE_PAGE = 2 << 20 };

static const char *const names[MOE_N_MATHS] = {"exact", "fast"};

const char *moe_math_name(enum moe_math math) { return names[math]; }

enum moe_math moe_math_find(const char *name)
{
	int i = 0;

	while (i < MOE_N_MATHS && strcmp(names[i], name))
		i++;
	return (enum moe_math)i;
}

struct moe_math_range moe_math_whole(const struct moe_model *m)
{
	return (struct moe_math_range){.last = (size_t)m->spec->n_layers - 1, .attention = true, .experts = true, .shared = true, .head = true};
}

void moe_math_each(struct moe_model *m, const struct moe_math_range *r, void (*fn)(void *to, struct moe_mat *w), void *to)
{
	size_t experts = (size_t)m->spec->router.experts, from = moe_min(r->first_expert, experts);
	size_t end = r->n_experts && r->n_experts < experts - from ? from + r->n_experts : experts;

	for (size_t l = r->first; l <= r->last && l < (size_t)m->spec->n_layers; l++) {
		struct moe_attention_weights *a = &m->layer[l].attention;
		struct moe_ffn_weights *f = &m->layer[l].ffn;
		struct moe_mat *const attention[] = {&a->q, &a->k, &a->v, &a->o}, *const shared[] = {&f->shared.gate, &f->shared.up, &f->shared.down};
		for (size_t i = 0; r->attention && i < 4; i++)
			fn(to, attention[i]);
		for (size_t i = 0; r->shared && i < 3; i++)
			fn(to, shared[i]);
		for (size_t e = from; r->experts && f->expert && !moe_spec_is_dense(m->spec, l) && e < end; e++) {
			struct moe_expert_weights *w = (struct moe_expert_weights *)&f->expert[e];
			fn(to, &w->gate);
			fn(to, &w->up);
			fn(to, &w->down);
		}
	}
	if (r->head)
		fn(to, &m->lm_head);
}

struct packing {
	struct chunk { const struct moe_mat *w; char *to; size_t row; } *chunk;
	size_t n, cap;
	uint64_t nbytes;                /* of what was counted so far, or given a place */
	char *base;                     /* NULL while counting */
	bool failed;
};

static size_t packed_nbytes(const struct moe_mat *w) { return w->data && !w->packed && moe_rows_known(w) ? moe_pack_nbytes(w) : 0; }

static void count_matrix(void *to, struct moe_mat *w)
{
	struct packing *p = to;

	p->nbytes += packed_nbytes(w);
}

/* Gives the matrix its place, and lists the work. */
static void place_matrix(void *to, struct moe_mat *w)
{
	struct packing *p = to;
	size_t nbytes = packed_nbytes(w);

	if (!nbytes)
		return;
	for (size_t row = 0; row < w->rows; row += CHUNK_ROWS) {
		if (moe_grow(&p->chunk, &p->cap, p->n + 1, sizeof *p->chunk, NULL)) {
			p->failed = true;
			return;
		}
		p->chunk[p->n++] = (struct chunk){w, p->base + p->nbytes, row};
	}
	p->nbytes += nbytes;
}

/* Lets go of what was read for rows [row, end): at once, or with the last rows where inputs lie apart, so that every row is everywhere. */
static void release_rows(const struct moe_mat *w, size_t row, size_t end)
{
	size_t nbytes = moe_dtype_nbytes(w->type, (end - 1) * w->stride + w->cols), skipped = moe_dtype_nbytes(w->type, row * w->stride);

	if (w->step <= 1)
		moe_map_release((const char *)w->data + skipped, nbytes - skipped);
	else if (end == w->rows)
		moe_map_release(w->data, moe_dtype_nbytes(w->type, w->cols * w->step));
}

static void pack_chunk(void *arg, size_t i)
{
	const struct chunk *c = &((const struct packing *)arg)->chunk[i];
	size_t end = moe_min(c->w->rows, c->row + CHUNK_ROWS);

	moe_pack(c->to, c->w, c->row, end);
	release_rows(c->w, c->row, end);
}

static void forget_matrix(void *to, struct moe_mat *w)
{
	(void)to;
	w->packed = NULL;
}

enum moe_math moe_math_default(const struct moe_model *m)
{
	for (size_t i = 0; m->weights && i < moe_checkpoint_count(m->weights); i++)
		if (moe_checkpoint_get(m->weights, i)->type >= MOE_N_DTYPES)
			return MOE_MATH_FAST;
	return MOE_MATH_EXACT;
}

uint64_t moe_math_nbytes(const struct moe_model *m, const struct moe_math_range *r)
{
	struct packing p = {0};

	moe_math_each((struct moe_model *)(uintptr_t)m, r, count_matrix, &p);
	return p.nbytes;
}

struct packed {
	const struct moe_model *m;
	uint64_t replaced, mapped;
};

static void count_packed(void *to, struct moe_mat *w)
{
	struct packed *p = to;
	const char *memory = p->m->packed, *at = w->packed;

	if (!at)
		return;
	p->replaced += moe_dtype_nbytes(w->type, w->rows * w->cols);
	if (!memory || at < memory || at >= memory + p->m->packed_nbytes)
		p->mapped += moe_pack_nbytes(w);
}

void moe_math_packed(const struct moe_model *m, uint64_t *replaced, uint64_t *mapped)
{
	struct packed p = {.m = m};
	struct moe_math_range whole = moe_math_whole(m);

	if (m->weights)
		moe_math_each((struct moe_model *)(uintptr_t)m, &whole, count_packed, &p);
	*replaced = p.replaced;
	*mapped = p.mapped;
}

/* Zeroed memory in large pages where there are any, which belongs to the model. */
static char *get_memory(struct moe_model *m, uint64_t nbytes)
{
	size_t n = moe_round_up(nbytes, HUGE_PAGE);
	void *p = m->packed ? MAP_FAILED : mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, n, MADV_HUGEPAGE);
	m->packed = p;
	m->packed_nbytes = n;
	return p;
}

void moe_math_free(struct moe_model *m)
{
	if (m->packed)
		munmap(m->packed, m->packed_nbytes);
	m->packed = NULL;
}

enum moe_err moe_model_use_math(struct moe_model *m, enum moe_math math, const struct moe_math_range *r, struct moe_pool *pool, struct moe_diag *d)
{
	struct packing p = {0};

	moe_math_each(m, r, forget_matrix, NULL);
	moe_math_free(m);
	m->math = math;
	if (math == MOE_MATH_FAST && m->packfile)
		moe_packfile_use(m);
	p.nbytes = math == MOE_MATH_FAST ? moe_math_nbytes(m, r) : 0;
	if (!p.nbytes)
		return MOE_OK;
	p.base = get_memory(m, p.nbytes);
	if (!p.base)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %.2f GB of packed weights (--math exact needs none)", (double)p.nbytes / 1e9);
	p.nbytes = 0;
	moe_math_each(m, r, place_matrix, &p);
	if (!p.failed)
		moe_pool_run(pool, (double)p.nbytes * 8, p.n, pack_chunk, &p);
	for (size_t i = 0; i < p.n && !p.failed; i++)
		((struct moe_mat *)(uintptr_t)p.chunk[i].w)->packed = p.chunk[i].to;
	free(p.chunk);
	return p.failed ? moe_fail(d, MOE_ENOMEM, "out of memory") : MOE_OK;
}
