/* The worker's side: libarchive, confined, on archives of strangers.
 *
 * libarchive is loaded here and not linked, because it brings a dozen libraries along (ICU, libxml2, libstdc++) that would cost every
 * start of every tool two milliseconds. gzip is unpacked by our own source, since libarchive does not compare its checksums. */
#include <archive.h>
#include <archive_entry.h>
#include <dlfcn.h>
#include <locale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/check.h"
#include "io/archive.h"
#include "io/archive_priv.h"
#include "io/source.h"

#define FUNCTIONS(F) \
	F(read_new) F(read_free) F(read_support_format_tar) F(read_support_format_zip_seekable) F(read_set_read_callback) F(read_set_skip_callback) \
	F(read_set_seek_callback) F(read_set_callback_data) F(read_open1) F(read_next_header) F(read_data) F(read_data_skip) F(error_string) \
	F(entry_pathname) F(entry_pathname_utf8) F(entry_filetype) F(entry_hardlink) F(read_header_position) F(filter_bytes) F(format)

/* The functions of libarchive that are used, under their names without archive_. */
static struct {
#define FIELD(name) __typeof__(archive_##name) *name;
	FUNCTIONS(FIELD)
} lib;

static bool load(void *handle, const char *name, void *place)
{
	void *f = handle ? dlsym(handle, name) : NULL;

	memcpy(place, &f, sizeof f);
	return f != NULL;
}

/* The locale lets libarchive hand out UTF-8 names; where it does not exist they come out otherwise (member_name). */
static bool prepare(void)
{
	void *handle = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
	bool ok = handle != NULL;

	setlocale(LC_CTYPE, "C.UTF-8");
#define LOAD(name) ok = ok && load(handle, "archive_" #name, &lib.name);
	FUNCTIONS(LOAD)
	return ok;
}

struct reader {
	int socket, file;
	struct moe_archive_request q;
	char suffixes[MOE_ARCHIVE_SUFFIXES + 1];
	struct moe_source *source;      /* NULL: plain bytes of a file that can seek */
	struct moe_diag diag;           /* of the source */
	uint64_t n_out, n_members;
	uint8_t in[MOE_ARCHIVE_CHUNK], out[MOE_ARCHIVE_CHUNK];
};

static bool say(struct reader *r, enum moe_archive_say what, const void *bytes, size_t n)
{
	struct moe_archive_message m = {.what = what, .n = (uint32_t)n};

	return moe_work_write(r->socket, &m, sizeof m) && moe_work_write(r->socket, bytes, n);
}

static bool say_text(struct reader *r, enum moe_archive_say what, const char *text) { return say(r, what, text, strnlen(text, 255)); }

/* Has more come out than an honest archive of this size can hold? */
static bool overflows(const struct reader *r) { return r->q.nbytes && r->n_out > 1 << 20 && r->n_out / r->q.max_ratio > r->q.nbytes; }

static const char expands[] = "the archive expands too far", too_many[] = "the archive has too many members";

/* ---- what libarchive reads from ---- */

static la_ssize_t feed_bytes(struct archive *a, void *data, const void **bytes)
{
	struct reader *r = data;
	size_t got = 0;

	(void)a;
	*bytes = r->in;
	if (!r->source)
		return read(r->file, r->in, sizeof r->in);
	if (moe_source_read(r->source, r->in, sizeof r->in, &got, &r->diag))
		return -1;
	r->n_out += got;
	if (!overflows(r))
		return (la_ssize_t)got;
	moe_fail(&r->diag, MOE_ENOMEM, "%s", expands);
	return -1;
}

static la_int64_t seek(struct archive *a, void *data, la_int64_t offset, int whence)
{
	struct reader *r = data;
	off_t at = lseek(r->file, offset, whence);

	(void)a;
	return at < 0 ? ARCHIVE_FATAL : at;
}

static la_int64_t skip(struct archive *a, void *data, la_int64_t n)
{
	struct reader *r = data;
	off_t at = lseek(r->file, 0, SEEK_CUR);

	(void)a;
	if (at < 0 || n < 0 || (uint64_t)at + (uint64_t)n > r->q.nbytes)        /* then by reading, which sees the end */
		return 0;
	return lseek(r->file, n, SEEK_CUR) < 0 ? 0 : n;
}

/* A plain regular file is read by seeking; what is packed or a pipe goes through a source. Zip has its directory at the end and is read by
 * that only: reading it front to back would take a file that was cut between two members for a whole one. */
static bool open_input(struct reader *r, struct archive *a)
{
	uint8_t magic[2] = {0};
	bool plain = false;

	if (r->q.nbytes) {
		plain = read(r->file, magic, 2) != 2 || magic[0] != 0x1f || magic[1] != 0x8b;
		if (lseek(r->file, 0, SEEK_SET))
			return false;
	}
	if (!plain && moe_source_fd(&r->source, r->file, "the archive", &r->diag))
		return false;
	if (lib.read_support_format_tar(a) != ARCHIVE_OK)
		return false;
	lib.read_set_read_callback(a, feed_bytes);
	if (plain) {
		if (lib.read_support_format_zip_seekable(a) != ARCHIVE_OK)
			return false;
		lib.read_set_seek_callback(a, seek);
		lib.read_set_skip_callback(a, skip);
	}
	lib.read_set_callback_data(a, r);
	return lib.read_open1(a) >= ARCHIVE_WARN;
}

/* ---- members ---- */

/* Where suffixes are given, hidden files are passed over too: macOS puts a "._NAME.png" that is no picture beside every picture. */
static bool wanted(const struct reader *r, const char *name)
{
	size_t n = strlen(name);
	const char *slash = strrchr(name, '/');

	if (!r->q.n_suffixes)
		return true;
	if (*(slash ? slash + 1 : name) == '.')
		return false;
	for (const char *s = r->suffixes; s < r->suffixes + r->q.n_suffixes; s += strlen(s) + 1) {
		size_t k = strlen(s);
		if (n > k && !strcasecmp(name + n - k, s))
			return true;
	}
	return false;
}

static const char *member_name(struct archive_entry *e)
{
	const char *name = lib.entry_pathname(e);

	if (!name)
		name = lib.entry_pathname_utf8(e);
	return name ? name : "?";
}

static const char *trouble(const struct reader *r, struct archive *a)
{
	if (r->diag.code)
		return r->diag.text;
	return lib.error_string(a) ? lib.error_string(a) : "damaged archive";
}

/* Hands over the data of the member at hand. False: the archive cannot be read further, *why (if not NULL) says it, or nobody listens. */
static bool send_data(struct reader *r, struct archive *a, const char **why)
{
	uint64_t n = 0;
	la_ssize_t got;

	while ((got = lib.read_data(a, r->out, sizeof r->out)) > 0) {
		n += (uint64_t)got;
		r->n_out += r->source ? 0 : (uint64_t)got;
		if (n > r->q.max_member_nbytes)
			return say_text(r, MOE_SAY_FAILED, "the member is too large") && lib.read_data_skip(a) >= ARCHIVE_WARN;
		if (overflows(r)) {
			*why = expands;
			return false;
		}
		if (!r->q.names_only && !say(r, MOE_SAY_DATA, r->out, (size_t)got))
			return false;
	}
	if (got == 0)
		return say(r, MOE_SAY_DONE, NULL, 0);
	return got != ARCHIVE_FATAL && say_text(r, MOE_SAY_FAILED, trouble(r, a));
}

static bool member(struct reader *r, struct archive *a, struct archive_entry *e, const char **why)
{
	const char *name = member_name(e);
	size_t n = strlen(name);

	if (++r->n_members > r->q.max_members) {
		*why = too_many;
		return false;
	}
	if (lib.entry_filetype(e) != AE_IFREG || lib.entry_hardlink(e))
		return say(r, MOE_SAY_SPECIAL, NULL, 0);
	if (!wanted(r, name))
		return say(r, MOE_SAY_PASSED, NULL, 0);
	if (n > MOE_ARCHIVE_NAME)
		return say(r, MOE_SAY_NAME, name, 64) && say_text(r, MOE_SAY_FAILED, "the member's name is too long");
	return say(r, MOE_SAY_NAME, name, n) && send_data(r, a, why);
}

/* After the last member: tar must have its end mark (a block of zeros), or the file was cut between two members; and what is packed must
 * end well, checksum included. */
static void finish(struct reader *r, struct archive *a)
{
	bool tar = (lib.format(a) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
	const void *bytes;
	la_ssize_t got = 0;

	if (tar && lib.filter_bytes(a, 0) <= lib.read_header_position(a)) {
		say_text(r, MOE_SAY_BROKEN, "the archive ends without its end mark: it was cut short");
		return;
	}
	while (r->source && (got = feed_bytes(a, r, &bytes)) > 0)
		;
	if (got < 0)
		say_text(r, MOE_SAY_BROKEN, trouble(r, a));
	else
		say(r, MOE_SAY_END, NULL, 0);
}

static void read_members(struct reader *r, struct archive *a)
{
	struct archive_entry *e;
	const char *why = NULL;
	int got;

	while ((got = lib.read_next_header(a, &e)) == ARCHIVE_OK || got == ARCHIVE_WARN)
		if (!member(r, a, e, &why)) {
			say_text(r, MOE_SAY_BROKEN, why ? why : trouble(r, a));
			return;
		}
	if (got == ARCHIVE_EOF)
		finish(r, a);
	else
		say_text(r, MOE_SAY_BROKEN, trouble(r, a));
}

static void run(int socket, int file)
{
	struct reader *r = calloc(1, sizeof *r);
	struct archive *a = lib.read_new();

	if (!r || !a || !moe_work_read(socket, &r->q, sizeof r->q) || r->q.n_suffixes > MOE_ARCHIVE_SUFFIXES ||
	    !moe_work_read(socket, r->suffixes, r->q.n_suffixes))
		return;
	r->socket = socket;
	r->file = file;
	if (open_input(r, a))
		read_members(r, a);
	else
		say_text(r, MOE_SAY_BROKEN, trouble(r, a));
	lib.read_free(a);
	moe_source_close(r->source);
	free(r);
}

const struct moe_work moe_archive_work = {.prepare = prepare, .run = run, .memory = (uint64_t)512 << 20, .cpu_seconds = 3600};
