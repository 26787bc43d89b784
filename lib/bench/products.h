/* How fast products with weights of a type are, against the machine's peaks. */
#ifndef MOE_BENCH_PRODUCTS_H
#define MOE_BENCH_PRODUCTS_H

#include <stdbool.h>

#include "bench/peaks.h"
#include "bench/spread.h"
#include "kernel/kernel.h"

/* Matrices of one type and shape, as many as do not fit a cache, which products take in turn, as a model does. */
struct moe_bench_weights {
	struct moe_mat *mat;            /* [n] */
	size_t n, nbytes;               /* bytes of one of them, in the form that is read */
	bool fast;                      /* packed */
	void *map;
	size_t map_nbytes;
};

enum { MOE_BENCH_NBYTES = 512 << 20 };  /* of all matrices together, at least */

/* Random weights. `fast` asks for packed ones, which a type that this CPU has no products of ignores. */
enum moe_err moe_bench_weights_init(struct moe_bench_weights *w, enum moe_dtype t, size_t rows, size_t cols, bool fast, struct moe_pool *pool,
				    struct moe_diag *d) MOE_CHECK_RESULT;
void moe_bench_weights_free(struct moe_bench_weights *w);

/* A product of m rows of activations with one matrix. */
struct moe_product {
	struct moe_spread seconds;
	double flops, nbytes;           /* of one product: 2 · m · rows · cols, and the bytes of its weights */
	enum moe_peak peak;             /* the arithmetic that the product is made of */
};

enum moe_err moe_bench_product(struct moe_product *out, const struct moe_bench_weights *w, size_t m, struct moe_pool *pool, struct moe_diag *d) MOE_CHECK_RESULT;

/* Whether weights of that type can be measured, and the type of that name, in either case, or MOE_N_TYPES. */
bool moe_bench_has_type(enum moe_dtype t);
enum moe_dtype moe_bench_find_type(const char *name);

#endif
