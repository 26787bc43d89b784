/* Sources of samples that the tests of lib/data make: tars, folders, lists, from real crops. */
#ifndef TESTS_DATA_MADE_H
#define TESTS_DATA_MADE_H

#include "lib_data.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include "data/shards.h"

static inline struct archive *tar_open(const char *path, bool zip)
{
	struct archive *a = archive_write_new();

	assert_int_equal(zip ? archive_write_set_format_zip(a) : archive_write_set_format_ustar(a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
	return a;
}

static inline void tar_put(struct archive *a, const char *name, const void *bytes, size_t n)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_size(e, (la_int64_t)n);
	assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
	assert_int_equal(archive_write_data(a, bytes, n), n);
	archive_entry_free(e);
}

static inline void tar_text(struct archive *a, const char *name, const char *text) { tar_put(a, name, text, strlen(text)); }

static inline void tar_crop(struct archive *a, const char *name, unsigned number)
{
	char path[64];
	size_t n;
	uint8_t *bytes;

	snprintf(path, sizeof path, "tests/golden/crops/%03u.png", number);
	bytes = read_bytes(path, &n);
	tar_put(a, name, bytes, n);
	free(bytes);
}

static inline void tar_close(struct archive *a)
{
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
}

/* A tar of samples first, first + 1, ..., whose answer is their number. */
static inline void make_numbers(const char *path, unsigned first, unsigned n)
{
	struct archive *a = tar_open(path, false);
	char name[64], text[200];

	for (unsigned i = first; i < first + n; i++) {
		snprintf(name, sizeof name, "%08u.png", i);
		tar_crop(a, name, i % 180);
		snprintf(name, sizeof name, "%08u.json", i);
		snprintf(text, sizeof text, "{\"kind\": \"read\", \"questions\": [{\"type\": \"read\", \"prompt\": \"<read>\", \"answer\": \"%u\", \"spell\": true}]}", i);
		tar_text(a, name, text);
	}
	tar_close(a);
}

#endif
