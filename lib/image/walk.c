#include "image/walk.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "image/probe.h"
#include "io/source.h"

enum { LONGEST_PATH = 64 << 10, LIST_BUFFER = 64 << 10 };

struct origin { char *path; bool list; char separator; uint64_t stride, limit; };        /* stride 0: all items */

/* A list being read: bytes at..end of buf are unread. */
struct list {
	struct moe_source *source;
	char separator, *line, *buf;
	size_t at, end, n_line, cap_line;
	bool ended, standard_input;
};

/* From the inside out: the open archive or folder is emptied first, then the list that named it, then the next origin. */
struct walk_folder { char *path, **names; size_t n, cap, next; };

struct moe_walk {
	const struct moe_feed_options *o;
	struct origin *origins;
	size_t n_origins, cap_origins, next_origin;
	uint64_t in_origin;                     /* items that the origin has had so far */
	struct list list;
	struct walk_folder folder;
	struct moe_archive *archive;
	char *archive_path;
	struct moe_archive_counts archived;     /* counts of the archives that are closed */
	uint64_t passed_over, special;
	bool input_used;                        /* standard input has been promised to one source */
	int stop;                               /* readable: wait for nothing any more */
};

enum moe_err moe_walk_new(struct moe_walk **out, const struct moe_feed_options *o, struct moe_diag *d)
{
	struct moe_walk *w = calloc(1, sizeof *w);

	if (!w)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	w->o = o;
	w->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->stop < 0) {
		free(w);
		return moe_fail_errno(d, "cannot make an event");
	}
	*out = w;
	return MOE_OK;
}

static void close_folder(struct walk_folder *f)
{
	for (size_t i = f->next; i < f->n; i++)
		free(f->names[i]);
	free(f->names);
	free(f->path);
	*f = (struct walk_folder){0};
}

static void close_list(struct list *l)
{
	moe_source_close(l->source);
	free(l->buf);
	free(l->line);
	*l = (struct list){0};
}

static void close_archive(struct moe_walk *w)
{
	struct moe_archive_counts c = {0};

	if (w->archive)
		moe_archive_counts(w->archive, &c);
	w->archived.passed_over += c.passed_over;
	w->archived.special += c.special;
	moe_archive_close(w->archive);
	free(w->archive_path);
	w->archive = NULL;
	w->archive_path = NULL;
}

void moe_walk_free(struct moe_walk *w)
{
	if (!w)
		return;
	close_archive(w);
	close_folder(&w->folder);
	close_list(&w->list);
	for (size_t i = 0; i < w->n_origins; i++)
		free(w->origins[i].path);
	free(w->origins);
	close(w->stop);
	free(w);
}

enum moe_err moe_walk_add(struct moe_walk *w, const char *path, bool list, char separator, struct moe_diag *d)
{
	struct origin o = {.list = list, .separator = separator};

	MOE_TRY(moe_grow(&w->origins, &w->cap_origins, w->n_origins + 1, sizeof *w->origins, d));
	o.path = moe_strdup(path);
	if (!o.path)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	w->origins[w->n_origins++] = o;
	return MOE_OK;
}

void moe_walk_sample(struct moe_walk *w, uint64_t stride, uint64_t limit)
{
	w->origins[w->n_origins - 1].stride = stride;
	w->origins[w->n_origins - 1].limit = limit;
}

/* Is the item that comes now one of those that are wanted of its origin? */
static bool sampled(struct moe_walk *w)
{
	const struct origin *o = &w->origins[w->next_origin - 1];
	uint64_t i = w->in_origin++;

	return !o->stride || (i % o->stride == 0 && i / o->stride < o->limit);
}

void moe_walk_stop(struct moe_walk *w)
{
	if (eventfd_write(w->stop, 1))
		return;
}

void moe_walk_counts(const struct moe_walk *w, uint64_t *passed_over, uint64_t *special)
{
	struct moe_archive_counts c = {0};

	if (w->archive)
		moe_archive_counts(w->archive, &c);
	*passed_over = w->passed_over + w->archived.passed_over + c.passed_over;
	*special = w->special + w->archived.special + c.special;
}

void moe_walk_item_clear(struct moe_walk_item *item)
{
	free(item->label);
	free(item->path);
	free(item->bytes);
	*item = (struct moe_walk_item){0};
}

/* ---- items ---- */

static enum moe_err set_label(struct moe_walk_item *item, const char *label, struct moe_diag *d)
{
	item->label = moe_strdup(label);
	return item->label ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

static enum moe_err file_item(struct moe_walk_item *item, const char *path, struct moe_diag *d)
{
	MOE_TRY(set_label(item, path, d));
	item->path = moe_strdup(path);
	return item->path ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

/* An item for what is recorded in its `failure`. */
static enum moe_err failed_item(struct moe_walk_item *item, const char *path, struct moe_diag *d)
{
	moe_diag_path(&item->failure, path);
	return set_label(item, path, d);
}

/* ---- folders ---- */

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool is_regular(DIR *dir, const struct dirent *e)
{
	struct stat st;

	if (e->d_type == DT_REG)
		return true;
	if (e->d_type != DT_UNKNOWN && e->d_type != DT_LNK)
		return false;
	return !fstatat(dirfd(dir), e->d_name, &st, 0) && S_ISREG(st.st_mode);
}

/* Keeps the entry if it is a picture by its name, else counts it. */
static enum moe_err folder_entry(struct moe_walk *w, DIR *dir, const struct dirent *e, struct moe_diag *d)
{
	struct walk_folder *f = &w->folder;

	if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
		return MOE_OK;
	if (!is_regular(dir, e)) {
		w->special++;
		return MOE_OK;
	}
	if (e->d_name[0] == '.' || !moe_picture_named(e->d_name)) {
		w->passed_over++;
		return MOE_OK;
	}
	MOE_TRY(moe_grow(&f->names, &f->cap, f->n + 1, sizeof *f->names, d));
	f->names[f->n] = moe_strdup(e->d_name);
	return f->names[f->n++] ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

static enum moe_err open_folder(struct moe_walk *w, const char *path, struct moe_diag *d)
{
	struct walk_folder *f = &w->folder;
	enum moe_err err = MOE_OK;
	struct dirent *e;
	DIR *dir = opendir(path);

	if (!dir)
		return moe_fail_errno(d, "cannot open the folder");
	f->path = moe_strdup(path);
	if (!f->path)
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	for (errno = 0; !err && (e = readdir(dir)); errno = 0)
		err = folder_entry(w, dir, e, d);
	if (!err && errno)              /* part of a folder must not pass for the whole */
		err = moe_fail_errno(d, "cannot read the folder");
	closedir(dir);
	if (err)
		close_folder(f);
	else if (f->n)
		qsort(f->names, f->n, sizeof *f->names, by_bytes);
	return err;
}

static enum moe_err folder_next(struct walk_folder *f, struct moe_walk_item *item, struct moe_diag *d)
{
	char *name = f->names[f->next++];
	size_t n = strlen(f->path), k = strlen(name), slash = n && f->path[n - 1] != '/';
	char *path = malloc(n + slash + k + 1);

	if (path) {
		memcpy(path, f->path, n);
		memcpy(path + n, "/", slash);
		memcpy(path + n + slash, name, k + 1);
	}
	free(name);
	item->path = path;
	return path ? set_label(item, path, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
}

/* ---- archives ---- */

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n > k && !strcasecmp(s + n - k, end);
}

static bool is_archive(const char *path)
{
	return ends_in(path, ".tar") || ends_in(path, ".tar.gz") || ends_in(path, ".tgz") || ends_in(path, ".zip");
}

bool moe_feed_holds_many(const char *path)
{
	struct stat st;

	return is_archive(path) || (!stat(path, &st) && S_ISDIR(st.st_mode));
}

static enum moe_err open_archive(struct moe_walk *w, const char *path, struct moe_diag *d)
{
	struct moe_archive_options o = w->o->archive;

	o.names_only = w->o->labels_only;
	o.suffixes = moe_picture_suffixes;
	w->archive_path = moe_strdup(path);
	if (!w->archive_path)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	return moe_archive_open(&w->archive, path, &o, d);
}

static const char *base_name(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash ? slash + 1 : name;
}

/* A failure names the archive and the member. */
static void blame_member(struct moe_diag *failure, const char *archive, const char *name)
{
	char path[sizeof failure->path];
	size_t n = moe_min(strlen(archive), sizeof path - 2), k = moe_min(strlen(name), sizeof path - 2 - n);

	memcpy(path, archive, n);
	path[n] = '/';
	memcpy(path + n + 1, name, k);
	path[n + 1 + k] = 0;
	moe_diag_path(failure, k ? path : archive);
}

/* MOE_AGAIN: the archive is through. */
static enum moe_err archive_next(struct moe_walk *w, struct moe_walk_item *item, struct moe_diag *d)
{
	struct moe_member m;
	enum moe_err err = moe_archive_next(w->archive, &m, &item->failure);

	if (err == MOE_END) {
		close_archive(w);
		return MOE_AGAIN;
	}
	if (err)
		blame_member(&item->failure, w->archive_path, m.name);
	item->n = m.nbytes;
	item->bytes = moe_archive_take(w->archive);
	return set_label(item, m.name[0] ? base_name(m.name) : w->archive_path, d);
}

/* ---- lists ---- */

static enum moe_err open_list(struct moe_walk *w, const struct origin *o, struct moe_diag *d)
{
	struct list *l = &w->list;

	if (!strcmp(o->path, "-") && w->input_used)
		return moe_fail(d, MOE_EUSAGE, "standard input was read already");
	l->buf = malloc(LIST_BUFFER);
	if (!l->buf)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_source_open(&l->source, o->path, d));
	if (!strcmp(o->path, "-"))
		w->input_used = true;
	l->separator = o->separator;
	return MOE_OK;
}

/* Waits for the list's next bytes, or for the order to stop; true: read on. */
static bool may_read(struct moe_walk *w)
{
	struct pollfd p[2] = {{.fd = moe_source_descriptor(w->list.source), .events = POLLIN}, {.fd = w->stop, .events = POLLIN}};
	bool ready = moe_source_ready(w->list.source);

	while (poll(p, 2, ready ? 0 : -1) < 0)
		;
	return !p[1].revents;
}

static enum moe_err fill_list(struct moe_walk *w, struct moe_diag *d)
{
	struct list *l = &w->list;

	l->at = l->end = 0;
	if (!may_read(w)) {
		l->ended = true;
		return MOE_OK;
	}
	MOE_TRY(moe_source_read(l->source, l->buf, LIST_BUFFER, &l->end, d));
	l->ended = !l->end;
	return MOE_OK;
}

/* Appends up to `n` bytes to the line; what is above the limit is dropped, but noticed. */
static enum moe_err extend_line(struct list *l, size_t n, struct moe_diag *d)
{
	size_t keep = moe_min(n, LONGEST_PATH + 1 - l->n_line);

	MOE_TRY(moe_grow(&l->line, &l->cap_line, l->n_line + keep + 1, 1, d));
	memcpy(l->line + l->n_line, l->buf + l->at, keep);
	l->n_line += keep;
	l->line[l->n_line] = 0;
	return MOE_OK;
}

/* The next line that is not empty into l->line; MOE_END after the last. A last line without a separator counts. */
static enum moe_err next_line(struct moe_walk *w, struct moe_diag *d)
{
	struct list *l = &w->list;

	l->n_line = 0;
	for (;;) {
		char *stop;
		size_t n;
		if (l->at == l->end && !l->ended)
			MOE_TRY(fill_list(w, d));
		if (l->ended)
			return l->n_line ? MOE_OK : MOE_END;
		stop = memchr(l->buf + l->at, l->separator, l->end - l->at);
		n = stop ? (size_t)(stop - l->buf) - l->at : l->end - l->at;
		MOE_TRY(extend_line(l, n, d));
		l->at += n + (stop != NULL);
		if (stop && l->n_line)
			return MOE_OK;
	}
}

/* ---- all together ---- */

static enum moe_err input_item(struct moe_walk *w, struct moe_walk_item *item, struct moe_diag *d)
{
	if (w->input_used) {
		moe_fail(&item->failure, MOE_EUSAGE, "standard input was read already");
		return failed_item(item, "-", d);
	}
	w->input_used = true;
	return file_item(item, "-", d);
}

/* Begins a path. MOE_AGAIN: it was opened, and its items come next. */
static enum moe_err begin(struct moe_walk *w, const char *path, struct moe_walk_item *item, struct moe_diag *d)
{
	struct stat st;
	enum moe_err err;

	if (!strcmp(path, "-"))
		return input_item(w, item, d);
	if (stat(path, &st)) {
		moe_fail_errno(&item->failure, "cannot open");
		return failed_item(item, path, d);
	}
	if (!S_ISDIR(st.st_mode) && !is_archive(path))
		return file_item(item, path, d);
	err = S_ISDIR(st.st_mode) ? open_folder(w, path, &item->failure) : open_archive(w, path, &item->failure);
	if (!err)
		return MOE_AGAIN;
	close_archive(w);
	return failed_item(item, path, d);
}

static enum moe_err bad_line(struct list *l, const char *what, struct moe_walk_item *item, struct moe_diag *d)
{
	l->line[moe_min(l->n_line, 64)] = 0;
	moe_fail(&item->failure, MOE_EINPUT, "%s", what);
	return failed_item(item, l->line, d);
}

static enum moe_err list_next(struct moe_walk *w, struct moe_walk_item *item, struct moe_diag *d)
{
	enum moe_err err = next_line(w, &item->failure);

	if (!err && w->list.n_line > LONGEST_PATH)
		return bad_line(&w->list, "a path of more than 65536 bytes", item, d);
	if (!err && strlen(w->list.line) != w->list.n_line)
		return bad_line(&w->list, "a path with a NUL in it: are the paths separated by NUL?", item, d);
	if (!err)
		return begin(w, w->list.line, item, d);
	if (err != MOE_END)
		err = failed_item(item, moe_source_name(w->list.source), d);
	else
		err = MOE_AGAIN;
	close_list(&w->list);
	return err;
}

static enum moe_err origin_next(struct moe_walk *w, struct moe_walk_item *item, struct moe_diag *d)
{
	const struct origin *o = &w->origins[w->next_origin++];

	w->in_origin = 0;
	if (!o->list)
		return begin(w, o->path, item, d);
	if (!open_list(w, o, &item->failure))
		return MOE_AGAIN;
	close_list(&w->list);
	return failed_item(item, o->path, d);
}

enum moe_err moe_walk_next(struct moe_walk *w, struct moe_walk_item *item, struct moe_diag *d)
{
	enum moe_err err = MOE_AGAIN;

	*item = (struct moe_walk_item){0};
	while (err == MOE_AGAIN) {
		if (w->archive)
			err = archive_next(w, item, d);
		else if (w->folder.next < w->folder.n)
			err = folder_next(&w->folder, item, d);
		else if (close_folder(&w->folder), w->list.source)
			err = list_next(w, item, d);
		else if (w->next_origin < w->n_origins)
			err = origin_next(w, item, d);
		else
			err = MOE_END;
		if (!err && !sampled(w)) {
			moe_walk_item_clear(item);
			err = MOE_AGAIN;
		}
	}
	if (err)
		moe_walk_item_clear(item);
	return err;
}
