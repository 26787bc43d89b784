#include "image/feed.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "image/decoder_priv.h"
#include "image/walk.h"
#include "io/source.h"
#include "sys/thread.h"

enum { WINDOW = 16, MAX_WINDOW = 65536, MAX_THREADS = 256 };

/* With threads: each takes the next item of the walk, one thread at a time and in order, decodes it with a worker of its own, and puts it
 * into the ring, where the caller takes items by their number. */
struct moe_feed {
	struct moe_feed_options o;
	struct moe_walk *walk;
	struct moe_decoder *dec;                /* without threads */
	bool begun;

	pthread_t *threads;
	unsigned n_threads;
	pthread_mutex_t walking;                /* held from waiting for room to the item's number; taken before `lock` */
	pthread_mutex_t lock;                   /* all below */
	pthread_cond_t changed;
	struct slot { struct moe_feed_item item; bool full; } *ring;
	uint64_t n_taken, n_given;              /* items numbered by threads; handed to the caller */
	uint64_t n_end;                         /* the number that does not exist any more, UINT64_MAX while unknown */
	uint64_t waiting_nbytes;                /* decoded pixels in the ring */
	struct moe_diag fatal;
	bool stop;
	struct moe_feed_counts counts;
};

enum moe_err moe_feed_server_start(struct moe_diag *d)
{
	static struct moe_work table[MOE_N_WORK];

	table[MOE_WORK_PICTURES] = moe_decode_work;
	table[MOE_WORK_ARCHIVE] = moe_archive_work;
	return moe_server_start(table, d);
}

enum moe_err moe_feed_new(struct moe_feed **out, const struct moe_feed_options *o, struct moe_diag *d)
{
	struct moe_feed *f = calloc(1, sizeof *f);
	enum moe_err err;

	if (!f)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	f->o = *o;
	if (!f->o.window)
		f->o.window = WINDOW;
	if (!f->o.window_nbytes)
		f->o.window_nbytes = 256 << 20;
	f->o.decode.no_sandbox |= f->o.archive.no_sandbox;
	f->o.archive.no_sandbox = f->o.decode.no_sandbox;
	f->n_end = UINT64_MAX;
	if (f->o.window > MAX_WINDOW || f->o.threads > MAX_THREADS)
		err = moe_fail(d, MOE_EUSAGE, "a window of %u items and %u threads: at most %d and %d", f->o.window, f->o.threads, MAX_WINDOW, MAX_THREADS);
	else
		err = moe_walk_new(&f->walk, &f->o, d);
	if (err) {
		free(f);
		return err;
	}
	pthread_mutex_init(&f->walking, NULL);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	*out = f;
	return MOE_OK;
}

void moe_feed_item_clear(struct moe_feed_item *item)
{
	free(item->label);
	free(item->picture.rgb);
	*item = (struct moe_feed_item){0};
}

enum moe_err moe_feed_add(struct moe_feed *f, const char *path, struct moe_diag *d) { return moe_walk_add(f->walk, path, false, 0, d); }

enum moe_err moe_feed_add_list(struct moe_feed *f, const char *path, char separator, struct moe_diag *d)
{
	return moe_walk_add(f->walk, path, true, separator, d);
}

static uint64_t pixels_nbytes(const struct moe_feed_item *item)
{
	return item->picture.rgb ? (uint64_t)item->picture.width * item->picture.height * 3 : 0;
}

/* How many items a source has, and the first failure among them, which may be that of the source itself. */
static enum moe_err count_items(const struct moe_feed_options *like, const char *path, bool list, char separator, uint64_t *n, struct moe_diag *failure,
				struct moe_diag *d)
{
	struct moe_feed_options o = {.labels_only = true, .archive = like->archive, .decode = like->decode};
	struct moe_feed_item item;
	struct moe_feed *f;
	enum moe_err err;

	*n = 0;
	MOE_TRY(moe_feed_new(&f, &o, d));
	err = list ? moe_feed_add_list(f, path, separator, d) : moe_feed_add(f, path, d);
	while (!err && !(err = moe_feed_next(f, &item, d))) {
		if (item.failure.code && !failure->code)
			*failure = item.failure;
		++*n;
		moe_feed_item_clear(&item);
	}
	moe_feed_free(f);
	return err == MOE_END ? MOE_OK : err;
}

/* Frames are counted, then read: a source that can be read only once has none. */
static enum moe_err check_twice(const char *path, struct moe_diag *d)
{
	struct stat st;
	bool input = !strcmp(path, "-");
	enum moe_err err = MOE_OK;

	if (!input && stat(path, &st))
		err = moe_fail_errno(d, "cannot open");
	else if (input || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		err = moe_fail(d, MOE_EUSAGE, "frames are chosen from a folder or a file; what can be read only once must be written to a file first");
	if (err)
		moe_diag_path(d, input ? "standard input" : path);
	return err;
}

enum moe_err moe_feed_add_frames(struct moe_feed *f, const char *path, bool list, char separator, uint64_t n, struct moe_diag *d)
{
	struct moe_diag failure = {0};
	uint64_t items;

	if (!n)
		return moe_fail(d, MOE_EUSAGE, "a video without frames");
	MOE_TRY(check_twice(path, d));
	MOE_TRY(count_items(&f->o, path, list, separator, &items, &failure, d));
	if (items < n && failure.code) {        /* what could not be counted is the reason */
		if (d && !d->code)
			*d = failure;
		return failure.code;
	}
	if (items < n) {
		enum moe_err err = moe_fail(d, MOE_EINPUT, "%llu picture%s, but %llu frames are asked for", (unsigned long long)items, items == 1 ? "" : "s",
					    (unsigned long long)n);
		moe_diag_path(d, path);
		return err;
	}
	MOE_TRY(moe_walk_add(f->walk, path, list, separator, d));
	moe_walk_sample(f->walk, items / n, n);
	return MOE_OK;
}

/* Reads and decodes what the walk found, and takes it apart. */
static void make_item(const struct moe_feed_options *o, struct moe_decoder *dec, struct moe_walk_item *from, struct moe_feed_item *item)
{
	char *file = NULL;
	enum moe_err err = from->failure.code;

	*item = (struct moe_feed_item){.label = from->label, .failure = from->failure};
	from->label = NULL;
	if (!err && !o->labels_only) {
		if (from->path)
			err = moe_read_file(from->path, MOE_FEED_FILE_LIMIT, &file, &from->n, &item->failure);
		if (!err)
			err = moe_decoder_run(dec, from->path ? (void *)file : from->bytes, from->n, &item->picture, &item->failure);
		free(file);
	}
	if (err)
		moe_diag_path(&item->failure, item->label);
	moe_walk_item_clear(from);
}

/* ---- threads ---- */

/* Waits for room in the window, then takes the next item and its number. False: there is nothing more to do. */
static bool take_next(struct moe_feed *f, struct moe_walk_item *from, uint64_t *number)
{
	struct moe_diag d = {0};
	enum moe_err err;
	bool stop;

	pthread_mutex_lock(&f->lock);
	while (!f->stop && f->n_taken - f->n_given >= f->o.window)
		pthread_cond_wait(&f->changed, &f->lock);
	/* The item that the caller waits for is begun whatever the others weigh. */
	while (!f->stop && f->waiting_nbytes > f->o.window_nbytes && f->n_taken > f->n_given)
		pthread_cond_wait(&f->changed, &f->lock);
	stop = f->stop || f->n_end != UINT64_MAX;
	pthread_mutex_unlock(&f->lock);
	if (stop)
		return false;
	err = moe_walk_next(f->walk, from, &d);
	pthread_mutex_lock(&f->lock);
	moe_walk_counts(f->walk, &f->counts.passed_over, &f->counts.special);
	if (err) {
		f->n_end = f->n_taken;
		if (err != MOE_END)
			f->fatal = d;
	}
	*number = f->n_taken;
	f->n_taken += !err;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	return !err;
}

static void put(struct moe_feed *f, uint64_t number, const struct moe_feed_item *item)
{
	struct slot *s = &f->ring[number % f->o.window];

	pthread_mutex_lock(&f->lock);
	s->item = *item;
	s->full = true;
	f->waiting_nbytes += pixels_nbytes(item);
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

/* Ends the iteration behind the items that are numbered already. */
static void give_up(struct moe_feed *f, const struct moe_diag *d)
{
	pthread_mutex_lock(&f->lock);
	if (f->n_end == UINT64_MAX) {
		f->n_end = f->n_taken;
		f->fatal = *d;
	}
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void *work(void *arg)
{
	struct moe_feed *f = arg;
	struct moe_decoder *dec = NULL;
	struct moe_walk_item from;
	struct moe_feed_item item;
	struct moe_diag d = {0};
	uint64_t number;
	bool more = true;

	if (moe_decoder_new(&dec, &f->o.decode, &d)) {
		give_up(f, &d);
		return NULL;
	}
	while (more) {
		pthread_mutex_lock(&f->walking);
		more = take_next(f, &from, &number);
		pthread_mutex_unlock(&f->walking);
		if (more) {
			make_item(&f->o, dec, &from, &item);
			put(f, number, &item);
		}
	}
	moe_decoder_free(dec);
	return NULL;
}

/* Signals are the program's, not the threads'. Fewer threads than asked for will do; none: the caller decodes. */
static void start_threads(struct moe_feed *f)
{
	sigset_t all, old;

	f->ring = calloc(f->o.window, sizeof *f->ring);
	f->threads = calloc(f->o.threads, sizeof *f->threads);
	if (!f->ring || !f->threads)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (f->n_threads < f->o.threads && moe_thread_start(&f->threads[f->n_threads], work, f))
		f->n_threads++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static enum moe_err take_from_ring(struct moe_feed *f, struct moe_feed_item *item, struct moe_diag *d)
{
	struct slot *s = &f->ring[f->n_given % f->o.window];
	enum moe_err err = MOE_OK;

	pthread_mutex_lock(&f->lock);
	while (!s->full && f->n_given != f->n_end)
		pthread_cond_wait(&f->changed, &f->lock);
	if (s->full) {
		*item = s->item;
		*s = (struct slot){0};
		f->waiting_nbytes -= pixels_nbytes(item);
		item->index = f->n_given++;
	} else {
		err = f->fatal.code ? moe_fail(d, f->fatal.code, "%s", f->fatal.text) : MOE_END;
	}
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	return err;
}

/* ---- the caller ---- */

static enum moe_err make_next(struct moe_feed *f, struct moe_feed_item *item, struct moe_diag *d)
{
	struct moe_walk_item from;

	if (!f->dec)
		MOE_TRY(moe_decoder_new(&f->dec, &f->o.decode, d));
	MOE_TRY(moe_walk_next(f->walk, &from, d));
	make_item(&f->o, f->dec, &from, item);
	item->index = f->n_given++;
	return MOE_OK;
}

enum moe_err moe_feed_next(struct moe_feed *f, struct moe_feed_item *item, struct moe_diag *d)
{
	*item = (struct moe_feed_item){0};
	if (!f->begun && f->o.threads && !f->o.labels_only)
		start_threads(f);
	f->begun = true;
	MOE_TRY(f->n_threads ? take_from_ring(f, item, d) : make_next(f, item, d));
	f->counts.items++;
	f->counts.failed += item->failure.code != MOE_OK;
	return MOE_OK;
}

void moe_feed_counts(struct moe_feed *f, struct moe_feed_counts *out)
{
	pthread_mutex_lock(&f->lock);
	if (!f->n_threads)
		moe_walk_counts(f->walk, &f->counts.passed_over, &f->counts.special);
	*out = f->counts;
	pthread_mutex_unlock(&f->lock);
}

void moe_feed_free(struct moe_feed *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	moe_walk_stop(f->walk);
	for (unsigned i = 0; i < f->n_threads; i++)
		pthread_join(f->threads[i], NULL);
	for (unsigned i = 0; f->ring && i < f->o.window; i++)
		moe_feed_item_clear(&f->ring[i].item);
	moe_decoder_free(f->dec);
	moe_walk_free(f->walk);
	pthread_mutex_destroy(&f->walking);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->changed);
	free(f->ring);
	free(f->threads);
	free(f);
}
