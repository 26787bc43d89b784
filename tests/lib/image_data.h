/* What the picture tests share: cmocka, files, and pictures as values. Test programs run from the root of the repository. */
#ifndef TESTS_IMAGE_DATA_H
#define TESTS_IMAGE_DATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "image/picture.h"
#include "io/source.h"

#define IMAGES "tests/golden/images/"

static inline uint8_t *read_bytes(const char *path, size_t *n)
{
	struct moe_diag d = {0};
	char *bytes = NULL;

	if (moe_read_file(path, 1 << 28, &bytes, n, &d))
		fail_msg("%s: %s", path, d.text);
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

static inline void scratch_remove(void)
{
	char command[300];

	snprintf(command, sizeof command, "rm -rf '%s'", scratch(""));
	assert_int_equal(system(command), 0);
}

static inline uint32_t picture_crc(const struct moe_picture *p)
{
	return (uint32_t)crc32(0, p->rgb, (uInt)((size_t)p->width * p->height * 3));
}

/* Calls row(fields) for every line of a TSV file; lines that begin with # are comments. */
static inline unsigned each_row(const char *path, unsigned n_fields, void (*row)(char **field))
{
	char line[1024], *field[16];
	FILE *f = fopen(path, "r");
	unsigned n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		char *rest = line;
		if (line[0] == '#')
			continue;
		line[strcspn(line, "\n")] = 0;
		for (unsigned i = 0; i < n_fields; i++)
			assert_non_null(field[i] = strsep(&rest, "\t"));
		row(field);
		n++;
	}
	fclose(f);
	return n;
}

static inline uint32_t hex(const char *s) { return (uint32_t)strtoul(s, NULL, 16); }

#endif
