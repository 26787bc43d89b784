/* How fast a tokenizer is: `make build/release/tests/bench/text`, then `text TOKENIZER.JSON [TEXT [MEGABYTES]]`. Prints the milliseconds that
 * loading takes (the best of five), MB/s of encoding the text repeated to that size (default 1) the first time and later, and MB/s of decoding. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/source.h"
#include "text/tokenizer.h"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(enum moe_err err, const struct moe_diag *d)
{
	char text[900];

	if (!err)
		return;
	fprintf(stderr, "%s\n", moe_diag_string(d, text, sizeof text));
	exit(2);
}

static struct moe_tokenizer *load(const char *path)
{
	struct moe_tokenizer *t = NULL;
	struct moe_diag d = {0};
	char *json;
	size_t n;
	double best = 1e9;

	check(moe_read_file(path, 1 << 30, &json, &n, &d), &d);
	for (int i = 0; i < 5; i++) {
		double start = now();
		moe_tokenizer_free(t);
		check(moe_tokenizer_load(&t, json, n, &d), &d);
		best = now() - start < best ? now() - start : best;
	}
	printf("load %.1f ms (%zu bytes)\n", best * 1e3, n);
	free(json);
	return t;
}

/* The text again and again, to `size` bytes that do not cut a character. */
static char *repeat(const char *path, size_t size, size_t *n)
{
	struct moe_diag d = {0};
	char *once, *all = malloc(size + 1);
	size_t m;

	check(moe_read_file(path, 1 << 30, &once, &m, &d), &d);
	for (*n = 0; m && *n < size; *n += m < size - *n ? m : size - *n)
		memcpy(all + *n, once, m < size - *n ? m : size - *n);
	while (*n && ((unsigned char)all[*n - 1] & 0xc0) == 0x80)
		--*n;
	*n -= *n && (unsigned char)all[*n - 1] >= 0xc0;
	free(once);
	return all;
}

int main(int argc, char **argv)
{
	struct moe_ids ids = {0};
	struct moe_diag d = {0};
	char *text, *back = NULL;
	size_t n, n_back = 0, cap = 0;

	if (argc < 2)
		return fprintf(stderr, "usage: text TOKENIZER.JSON [TEXT [MEGABYTES]]\n"), 2;
	struct moe_tokenizer *t = load(argv[1]);
	if (argc > 2) {
		text = repeat(argv[2], (size_t)((argc > 3 ? atof(argv[3]) : 1) * 1e6), &n);
		for (int i = 0; i < 3; i++) {
			double start = now();
			ids.n = 0;
			check(moe_tokenizer_encode(t, text, n, true, &ids, &d), &d);
			printf("encode %.1f MB/s (%zu bytes, %zu ids, %.0f ms)\n", (double)n / 1e6 / (now() - start), n, ids.n, (now() - start) * 1e3);
		}
		double start = now();
		check(moe_tokenizer_decode(t, ids.id, ids.n, true, &back, &n_back, &cap, &d), &d);
		printf("decode %.1f MB/s\n", (double)n_back / 1e6 / (now() - start));
		free(text);
	}
	free(back);
	free(ids.id);
	moe_tokenizer_free(t);
	return 0;
}
