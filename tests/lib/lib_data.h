/* What the tests of the library share: cmocka, files, and failures as text. Test programs run from the root of the repository. */
#ifndef TESTS_LIB_DATA_H
#define TESTS_LIB_DATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "io/source.h"

/* Sanitizers make every run ten times as long: loops over all positions take fewer there. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { SLOW = 1 };
#else
enum { SLOW = 0 };
#endif

/* The failure as a program prints it; the four last are valid at a time. */
static inline const char *say(const struct moe_diag *d)
{
	static char text[4][900];
	static unsigned turn;

	return moe_diag_string(d, text[++turn % 4], sizeof text[0]);
}

/* The failure must have this code, and the line that is printed must contain `part`. */
#define expect_fail(d, got, code_, part) do { \
	if ((got) != (code_) || (d)->code != (code_) || !strstr(say(d), (part))) \
		fail_msg("result %d, expected %d: \"%s\", expected \"%s\"", (int)(got), (int)(code_), say(d), (part)); \
} while (0)

#define expect_ok(d, got) do { if (got) fail_msg("unexpected: %s", say(d)); } while (0)

static inline uint8_t *read_bytes(const char *path, size_t *n)
{
	struct moe_diag d = {0};
	char *bytes = NULL;

	expect_ok(&d, moe_read_file(path, 1 << 28, &bytes, n, &d));
	return (uint8_t *)bytes;
}

static inline void write_bytes(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

/* A path inside a folder of this test's own; the four last are valid at a time. */
static inline const char *scratch(const char *name)
{
	static char folder[64], path[4][256];
	static unsigned turn;

	if (!folder[0]) {
		strcpy(folder, "/tmp/moe-test-XXXXXX");
		assert_non_null(mkdtemp(folder));
	}
	snprintf(path[++turn % 4], sizeof path[0], "%s%s%s", folder, *name ? "/" : "", name);
	return path[turn % 4];
}

static inline int scratch_remove(void **state)
{
	char command[300];

	(void)state;
	snprintf(command, sizeof command, "rm -rf '%s'", scratch(""));
	return system(command);
}

/* splitmix64: the same mutations in every run. */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* One to three changes of n bytes (cap of room): a bit, a byte, a piece left out, a piece repeated. Returns the new length. */
static inline size_t mutate(uint8_t *p, size_t n, size_t cap, uint64_t *random)
{
	for (uint64_t left = 1 + next_random(random) % 3; left && n; left--) {
		size_t at = next_random(random) % n, piece = 1 + next_random(random) % 8;
		switch (next_random(random) % 6) {
		case 0:
		case 1:
			p[at] ^= (uint8_t)(1u << next_random(random) % 8);
			break;
		case 2:
			p[at] = (uint8_t)next_random(random);
			break;
		case 3: /* what the grammars of text are made of */
			p[at] = (uint8_t)"{}[]\",:\\u0123456789-+.eEtfn \t"[next_random(random) % 30];
			break;
		case 4:
			piece = piece < n - at ? piece : n - at;
			memmove(p + at, p + at + piece, n - at - piece);
			n -= piece;
			break;
		default:
			piece = piece < n - at ? piece : n - at;
			if (n + piece > cap)
				break;
			memmove(p + at + piece, p + at, n - at);
			n += piece;
		}
	}
	return n;
}

#endif
