#include "data/shards.h"

#include <dirent.h>
#include <errno.h>
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "data/listing.h"
#include "image/probe.h"
#include "io/archive.h"
#include "io/source.h"

enum { MOST_SUFFIXES = 64, INPUT_TIMEOUT_MS = 24 * 3600 * 1000 };      /* who writes standard input may take his time */

enum part { PART_NONE, PART_PICTURE, PART_JSON, PART_PLAIN, PART_LISTING };

/* One file or member: its name inside the shard, and bytes or a failure. */
struct member {
	char *name;
	uint8_t *bytes;
	size_t n;
	struct moe_diag failure;
};

struct names { char **name; size_t n, cap, next; };

enum kind { UNSEEN, ARCHIVE, FOLDER, LISTING, DONE };

struct moe_shard {
	char *path;
	struct moe_shard_options o;
	enum kind kind;
	struct moe_archive *archive;
	const char *suffixes[MOST_SUFFIXES];    /* of members that are read; NULL behind the last */
	struct names names;             /* of a folder */
	struct moe_listing listing;
	char *listing_folder;           /* inside the shard, with its slash, or "" */
	size_t next_row;                /* of the listing: to be read, or to be missed at the end */
	struct moe_item now;            /* being gathered; `key` is NULL between items */
	char *key, *picture_name;
	struct member ahead;            /* the member that ended it, if any */
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

enum moe_err moe_shard_open(struct moe_shard **out, const char *path, const struct moe_shard_options *o, struct moe_diag *d)
{
	struct moe_shard *s = calloc(1, sizeof *s);

	if (!s || !(s->path = moe_strdup(path))) {
		free(s);
		return no_memory(d);
	}
	if (o)
		s->o = *o;
	*out = s;
	return MOE_OK;
}

static void member_clear(struct member *m)
{
	free(m->name);
	free(m->bytes);
	*m = (struct member){0};
}

static void names_free(struct names *n)
{
	for (size_t i = n->next; i < n->n; i++)
		free(n->name[i]);
	free(n->name);
	*n = (struct names){0};
}

void moe_shard_close(struct moe_shard *s)
{
	if (!s)
		return;
	moe_archive_close(s->archive);
	names_free(&s->names);
	moe_listing_free(&s->listing);
	moe_item_clear(&s->now);
	member_clear(&s->ahead);
	free(s->listing_folder);
	free(s->key);
	free(s->picture_name);
	free(s->path);
	free(s);
}

static const char *shown_path(const struct moe_shard *s) { return strcmp(s->path, "-") ? s->path : "standard input"; }

/* ---- names ---- */

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n > k && !strcasecmp(s + n - k, end);
}

static enum part part_of(const char *name)
{
	return ends_in(name, ".json") ? PART_JSON : ends_in(name, ".txt") ? PART_PLAIN : ends_in(name, ".tsv") ? PART_LISTING :
	       moe_picture_named(name) ? PART_PICTURE : PART_NONE;
}

static const char *base_name(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash ? slash + 1 : name;
}

/* Bytes of the key: up to the first dot of the name's last part. */
static size_t key_length(const char *name)
{
	const char *base = base_name(name);

	return (size_t)(base - name) + strcspn(base, ".");
}

static char *join(const char *folder, const char *name, size_t n)
{
	size_t k = strlen(folder), slash = k && folder[k - 1] != '/';
	char *path = malloc(k + slash + n + 1);

	if (!path)
		return NULL;
	memcpy(path, folder, k);
	memcpy(path + k, "/", slash);
	memcpy(path + k + slash, name, n);
	path[k + slash + n] = 0;
	return path;
}

/* ---- where members come from ---- */

static enum moe_err open_archive(struct moe_shard *s, struct moe_diag *d)
{
	struct moe_archive_options o = {.max_member_nbytes = MOE_SHARD_MEMBER_NBYTES, .no_sandbox = s->o.no_sandbox, .suffixes = s->suffixes};
	size_t n = 3;

	memcpy(s->suffixes, (const char *[]){".json", ".txt", ".tsv"}, n * sizeof *s->suffixes);
	for (const char *const *p = moe_picture_suffixes; *p && n + 1 < MOST_SUFFIXES; p++)
		s->suffixes[n++] = *p;
	if (!strcmp(s->path, "-"))
		o.timeout_ms = INPUT_TIMEOUT_MS;
	return moe_archive_open(&s->archive, s->path, &o, d);
}

static enum moe_err archive_member(struct moe_shard *s, struct member *m, struct moe_diag *d)
{
	struct moe_member got;
	enum moe_err err = moe_archive_next(s->archive, &got, &m->failure);

	if (err == MOE_END)
		return MOE_END;
	m->name = moe_strdup(got.name);
	m->n = got.nbytes;
	m->bytes = moe_archive_take(s->archive);
	return m->name ? MOE_OK : no_memory(d);
}

/* Lists come first, then bytewise: the members of a key, which share its bytes and the dot, are neighbours. */
static int by_bytes(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	int list = (part_of(y) == PART_LISTING) - (part_of(x) == PART_LISTING);

	return list ? list : strcmp(x, y);
}

static bool is_regular(DIR *dir, const struct dirent *e)
{
	struct stat st;

	return e->d_type == DT_REG || ((e->d_type == DT_UNKNOWN || e->d_type == DT_LNK) && !fstatat(dirfd(dir), e->d_name, &st, 0) && S_ISREG(st.st_mode));
}

static enum moe_err open_folder(struct moe_shard *s, struct moe_diag *d)
{
	struct names *f = &s->names;
	enum moe_err err = MOE_OK;
	struct dirent *e;
	DIR *dir = opendir(s->path);

	if (!dir)
		return moe_fail_errno(d, "cannot open the folder");
	for (errno = 0; !err && (e = readdir(dir)); errno = 0) {
		if (e->d_name[0] == '.' || part_of(e->d_name) == PART_NONE || !is_regular(dir, e))
			continue;
		err = moe_grow(&f->name, &f->cap, f->n + 1, sizeof *f->name, d);
		if (!err && !(f->name[f->n++] = moe_strdup(e->d_name))) {
			f->n--;
			err = no_memory(d);
		}
	}
	if (!err && errno)              /* part of a folder must not pass for the whole */
		err = moe_fail_errno(d, "cannot read the folder");
	closedir(dir);
	if (f->n)
		qsort(f->name, f->n, sizeof *f->name, by_bytes);
	return err;
}

/* The bytes of a regular file; what is wrong goes to m->failure. */
static void read_member(struct member *m, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		moe_fail_errno(&m->failure, "cannot open");
	else if (!S_ISREG(st.st_mode))
		moe_fail(&m->failure, MOE_EINPUT, "not a regular file");
	else if (moe_read_file(path, MOE_SHARD_MEMBER_NBYTES, (char **)&m->bytes, &m->n, &m->failure))
		m->bytes = NULL;
}

static enum moe_err folder_member(struct moe_shard *s, struct member *m, struct moe_diag *d)
{
	char *path;

	if (s->names.next == s->names.n)
		return MOE_END;
	m->name = s->names.name[s->names.next++];
	path = join(s->path, m->name, strlen(m->name));
	if (!path)
		return no_memory(d);
	read_member(m, path);
	free(path);
	return MOE_OK;
}

static enum moe_err next_member(struct moe_shard *s, struct member *m, struct moe_diag *d)
{
	if (s->ahead.name) {
		*m = s->ahead;
		s->ahead = (struct member){0};
		return MOE_OK;
	}
	*m = (struct member){0};
	return s->kind == ARCHIVE ? archive_member(s, m, d) : folder_member(s, m, d);
}

/* ---- items ---- */

static enum moe_err set_failure(struct moe_item *item, const struct moe_diag *failure, struct moe_diag *d)
{
	if (item->failure)
		return MOE_OK;
	item->failure = malloc(sizeof *item->failure);
	if (!item->failure)
		return no_memory(d);
	*item->failure = *failure;
	item->failure->path[0] = 0;     /* the item's name says it */
	return MOE_OK;
}

static enum moe_err fail_item(struct moe_item *item, const char *text, struct moe_diag *d)
{
	struct moe_diag failure = {0};

	moe_fail(&failure, MOE_EINPUT, "%s", text);
	return set_failure(item, &failure, d);
}

/* An item for a failure of the shard as a whole, or of its list. */
static enum moe_err failed_item(struct moe_shard *s, struct moe_item *item, const char *name, const struct moe_diag *failure, struct moe_diag *d)
{
	*item = (struct moe_item){.name = name ? join(shown_path(s), name, strlen(name)) : moe_strdup(shown_path(s))};
	return item->name ? set_failure(item, failure, d) : no_memory(d);
}

static enum moe_err begin_item(struct moe_shard *s, const char *name, struct moe_diag *d)
{
	size_t n = key_length(name);

	s->key = strndup(name, n);
	s->now = (struct moe_item){.name = join(shown_path(s), name, n)};
	return s->key && s->now.name ? MOE_OK : no_memory(d);
}

/* Makes the member part of the item at hand. */
static enum moe_err add_member(struct moe_shard *s, struct member *m, struct moe_diag *d)
{
	enum part part = part_of(m->name);
	struct moe_item *item = &s->now;

	if (m->failure.code)
		return set_failure(item, &m->failure, d);
	if (!m->bytes && !(m->bytes = calloc(1, 1)))    /* of an empty member */
		return no_memory(d);
	if (part == PART_PICTURE) {
		if (item->picture)
			return fail_item(item, "two pictures of one name", d);
		item->picture = m->bytes;
		item->n_picture = m->n;
		s->picture_name = m->name;
		m->name = NULL;
	} else {
		if (item->text)
			return fail_item(item, "two texts of one name", d);
		item->form = part == PART_JSON ? MOE_ITEM_JSON : MOE_ITEM_PLAIN;
		item->text = (char *)m->bytes;
		item->n_text = m->n;
	}
	m->bytes = NULL;
	return MOE_OK;
}

static enum moe_err give_row(struct moe_item *item, struct moe_listing_row *r, struct moe_diag *d)
{
	r->used = true;
	if (!r->text)
		return fail_item(item, "its line of the list has no answer", d);
	item->form = MOE_ITEM_LINE;
	item->n_text = r->n_text;
	item->text = malloc(r->n_text + 1);
	if (!item->text)
		return no_memory(d);
	memcpy(item->text, r->text, r->n_text);
	return MOE_OK;
}

/* Gives a picture without a text that of the list. */
static enum moe_err look_up(struct moe_shard *s, struct moe_diag *d)
{
	size_t n = s->listing_folder ? strlen(s->listing_folder) : 0;
	struct moe_listing_row *r;

	if (!s->listing_folder || !s->picture_name || strncmp(s->picture_name, s->listing_folder, n))
		return MOE_OK;
	r = moe_listing_find(&s->listing, s->picture_name + n, strlen(s->picture_name + n));
	if (!r)
		return MOE_OK;
	r->used = true;
	return s->now.text || s->now.failure ? MOE_OK : give_row(&s->now, r, d);
}

static enum moe_err finish_item(struct moe_shard *s, struct moe_item *item, struct moe_diag *d)
{
	enum moe_err err = look_up(s, d);

	*item = s->now;
	s->now = (struct moe_item){0};
	free(s->key);
	free(s->picture_name);
	s->key = s->picture_name = NULL;
	return err;
}

/* A list among the members. MOE_AGAIN: it is read. */
static enum moe_err take_listing(struct moe_shard *s, struct member *m, struct moe_item *item, struct moe_diag *d)
{
	struct moe_diag failure = m->failure;
	enum moe_err err;

	if (!failure.code && s->listing_folder)
		moe_fail(&failure, MOE_EINPUT, "a second list (.tsv) in one place");
	if (failure.code)
		return failed_item(s, item, m->name, &failure, d);
	s->listing_folder = strndup(m->name, (size_t)(base_name(m->name) - m->name));
	err = moe_listing_read(&s->listing, (char *)m->bytes, m->n, &failure);
	m->bytes = NULL;
	if (!s->listing_folder)
		return no_memory(d);
	if (err == MOE_EINPUT)
		return failed_item(s, item, m->name, &failure, d);
	return err ? moe_fail(d, err, "%s", failure.text) : MOE_AGAIN;
}

/* Files of the list that were not there. */
static enum moe_err missed_row(struct moe_shard *s, struct moe_item *item, struct moe_diag *d)
{
	while (s->next_row < s->listing.n) {
		const struct moe_listing_row *r = &s->listing.row[s->next_row++];
		struct moe_diag failure = {0};
		char *name;
		enum moe_err err;
		if (r->used)
			continue;
		moe_fail(&failure, MOE_EINPUT, "line %zu of the list names it, but it does not come behind the list", r->line);
		name = strndup(r->file, r->n_file);
		err = name ? failed_item(s, item, name, &failure, d) : no_memory(d);
		free(name);
		return err;
	}
	return MOE_END;
}

/* What the member does to the item at hand. MOE_AGAIN: nothing is complete yet. */
static enum moe_err use_member(struct moe_shard *s, struct member *m, struct moe_item *item, struct moe_diag *d)
{
	bool other = s->key && (!*m->name || part_of(m->name) == PART_LISTING || strlen(s->key) != key_length(m->name) || strncmp(s->key, m->name, strlen(s->key)));

	if (other) {
		s->ahead = *m;
		*m = (struct member){0};
		return finish_item(s, item, d);
	}
	if (!*m->name)                  /* a failure of the archive */
		return failed_item(s, item, NULL, &m->failure, d);
	if (part_of(m->name) == PART_LISTING)
		return take_listing(s, m, item, d);
	if (!s->key)
		MOE_TRY(begin_item(s, m->name, d));
	MOE_TRY(add_member(s, m, d));
	return MOE_AGAIN;
}

static enum moe_err gathered_next(struct moe_shard *s, struct moe_item *item, struct moe_diag *d)
{
	enum moe_err err = MOE_AGAIN;

	while (err == MOE_AGAIN) {
		struct member m;
		err = next_member(s, &m, d);
		if (err == MOE_END)
			err = s->key ? finish_item(s, item, d) : missed_row(s, item, d);
		else if (!err)
			err = use_member(s, &m, item, d);
		member_clear(&m);
	}
	return err;
}

/* ---- a list by itself ---- */

static enum moe_err open_listing(struct moe_shard *s, struct moe_diag *d)
{
	char *bytes;
	size_t n;

	MOE_TRY(moe_read_file(s->path, MOE_SHARD_MEMBER_NBYTES, &bytes, &n, d));
	return moe_listing_read(&s->listing, bytes, n, d);
}

/* Where a listed file lies: by its own path, beside the list, or in the folder of the list's name. */
static char *listed_path(const struct moe_shard *s, const struct moe_listing_row *r)
{
	size_t n = (size_t)(base_name(s->path) - s->path);
	char *folder = strndup(s->path, n), *path = NULL;
	struct stat st;

	if (folder && r->n_file)
		path = *r->file == '/' ? strndup(r->file, r->n_file) : join(folder, r->file, r->n_file);
	free(folder);
	if (!path || !stat(path, &st))
		return path;
	folder = strndup(s->path, strlen(s->path) - strlen(".tsv"));
	if (folder && *r->file != '/') {
		char *other = join(folder, r->file, r->n_file);
		if (other && !stat(other, &st)) {
			free(path);
			path = other;
		} else {
			free(other);
		}
	}
	free(folder);
	return path;
}

static enum moe_err listing_next(struct moe_shard *s, struct moe_item *item, struct moe_diag *d)
{
	struct moe_listing_row *r;
	struct member m = {0};

	if (s->next_row == s->listing.n)
		return MOE_END;
	r = &s->listing.row[s->next_row++];
	item->name = listed_path(s, r);
	if (!item->name && !r->n_file) {
		moe_fail(&m.failure, MOE_EINPUT, "line %zu names no file", r->line);
		return failed_item(s, item, NULL, &m.failure, d);
	}
	if (!item->name)
		return no_memory(d);
	read_member(&m, item->name);
	if (m.failure.code)
		return set_failure(item, &m.failure, d);
	item->picture = m.bytes;
	item->n_picture = m.n;
	return give_row(item, r, d);
}

/* ---- all together ---- */

static enum moe_err look_at(struct moe_shard *s, struct moe_diag *d)
{
	struct stat st;

	if (strcmp(s->path, "-")) {
		if (stat(s->path, &st))
			return moe_fail_errno(d, "cannot open");
		if (S_ISDIR(st.st_mode)) {
			s->kind = FOLDER;
			return open_folder(s, d);
		}
		if (ends_in(s->path, ".tsv")) {
			s->kind = LISTING;
			return open_listing(s, d);
		}
		if (!ends_in(s->path, ".tar") && !ends_in(s->path, ".tar.gz") && !ends_in(s->path, ".tgz") && !ends_in(s->path, ".zip"))
			return moe_fail(d, MOE_EINPUT, "neither a folder nor a .tar, .tar.gz, .tgz, .zip or .tsv");
	}
	s->kind = ARCHIVE;
	return open_archive(s, d);
}

enum moe_err moe_shard_next(struct moe_shard *s, struct moe_item *item, struct moe_diag *d)
{
	struct moe_diag failure = {0};
	enum moe_err err;

	*item = (struct moe_item){0};
	if (s->kind == UNSEEN && look_at(s, &failure)) {
		s->kind = DONE;
		return failed_item(s, item, NULL, &failure, d);
	}
	if (s->kind == DONE)
		return MOE_END;
	err = s->kind == LISTING ? listing_next(s, item, d) : gathered_next(s, item, d);
	if (err)
		moe_item_clear(item);
	return err;
}

uint32_t moe_item_crc(uint32_t crc, const struct moe_item *item)
{
	crc = libdeflate_crc32(crc, item->name, strlen(item->name) + 1);
	crc = libdeflate_crc32(crc, item->failure ? "!" : "", 1);
	if (item->text)
		crc = libdeflate_crc32(crc, item->text, item->n_text);
	if (item->picture)
		crc = libdeflate_crc32(crc, item->picture, item->n_picture);
	return crc;
}
