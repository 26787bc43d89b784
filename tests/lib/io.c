/* Byte sources, sinks and mappings: what is read is what was written, and a failure leaves nothing behind. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>

#include "io/map.h"
#include "io/sink.h"
#include "lib_data.h"

/* ---- sources ---- */

enum { N_DATA = 300000 };

static uint8_t data[N_DATA];

/* Compresses badly, so that the packed form spans several of the source's own buffers. */
static int fill(void **state)
{
	uint64_t random = 5;

	(void)state;
	for (size_t i = 0; i < N_DATA; i++)
		data[i] = (uint8_t)(next_random(&random) % 200);
	return 0;
}

/* Appends n bytes as one gzip member; returns the new length. */
static size_t add_gzip(uint8_t *to, size_t at, size_t cap, const void *from, size_t n)
{
	z_stream z = {.next_in = (uint8_t *)from, .avail_in = (uInt)n, .next_out = to + at, .avail_out = (uInt)(cap - at)};

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return at + z.total_out;
}

/* Reads to the end in pieces; returns the bytes that came. */
static enum moe_err drain(struct moe_source *s, size_t piece, uint8_t *to, size_t cap, size_t *n, struct moe_diag *d)
{
	size_t got = 1;

	for (*n = 0; got; *n += got) {
		enum moe_err err;
		assert_true(*n < cap);
		err = moe_source_read(s, to + *n, piece < cap - *n ? piece : cap - *n, &got, d);
		if (err)
			return err;
		assert_true(got <= piece);
	}
	return MOE_OK;
}

static void expect_source(struct moe_source *s, size_t piece, const uint8_t *want, size_t n_want)
{
	uint8_t *got = malloc(n_want + 100);
	struct moe_diag d = {0};
	size_t n;

	expect_ok(&d, drain(s, piece, got, n_want + 100, &n, &d));
	assert_int_equal(n, n_want);
	assert_memory_equal(got, want, n);
	expect_ok(&d, moe_source_read(s, got, 1, &n, &d));
	assert_int_equal(n, 0);         /* the end stays the end */
	moe_source_close(s);
	free(got);
}

static struct moe_source *on_memory(const void *p, size_t n)
{
	struct moe_diag d = {0};
	struct moe_source *s;

	expect_ok(&d, moe_source_memory(&s, p, n, "memory", &d));
	assert_int_equal(moe_source_descriptor(s), -1);
	assert_true(moe_source_ready(s));
	return s;
}

static struct moe_source *on_file(const void *p, size_t n)
{
	struct moe_diag d = {0};
	struct moe_source *s;

	write_bytes(scratch("data"), p, n);
	expect_ok(&d, moe_source_open(&s, scratch("data"), &d));
	assert_string_equal(moe_source_name(s), scratch("data"));
	return s;
}

/* A pipe that is fed by a child in small writes. */
static struct moe_source *on_pipe(const uint8_t *p, size_t n, pid_t *pid)
{
	struct moe_diag d = {0};
	struct moe_source *s;
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	*pid = fork();
	if (!*pid) {
		close(fd[0]);
		for (size_t i = 0, step = 1; i < n; i += step, step = step * 3 % 5000)
			if (write(fd[1], p + i, step < n - i ? step : n - i) < 0)
				_exit(1);
		_exit(0);
	}
	close(fd[1]);
	expect_ok(&d, moe_source_fd(&s, fd[0], "pipe", &d));
	assert_int_equal(moe_source_descriptor(s), fd[0]);
	return s;
}

static void expect_everywhere(const uint8_t *bytes, size_t n, const uint8_t *want, size_t n_want)
{
	static const size_t pieces[] = {1, 7, 4096, 1 << 20};
	int fd, status;
	pid_t pid;

	for (size_t i = n > 1000; i < 4; i++) {
		expect_source(on_memory(bytes, n), pieces[i], want, n_want);
		expect_source(on_file(bytes, n), pieces[i], want, n_want);
	}
	struct moe_source *s = on_pipe(bytes, n, &pid);
	fd = moe_source_descriptor(s);
	expect_source(s, 1000, want, n_want);
	assert_int_equal(close(fd), 0);         /* it stayed the caller's */
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

static void test_plain(void **state)
{
	(void)state;
	for (size_t n = 0; n < 4; n++)
		expect_everywhere(data, n, data, n);
	expect_everywhere(data, N_DATA, data, N_DATA);
	expect_everywhere((const uint8_t *)"\x1f", 1, (const uint8_t *)"\x1f", 1);
	expect_everywhere((const uint8_t *)"\x1f\x8a", 2, (const uint8_t *)"\x1f\x8a", 2);
}

static void test_gzip(void **state)
{
	static uint8_t packed[N_DATA + 1000], zeros[N_DATA];
	size_t n;

	(void)state;
	n = add_gzip(packed, 0, sizeof packed, data, N_DATA);
	assert_true(n > 150000);
	expect_everywhere(packed, n, data, N_DATA);
	n = add_gzip(packed, 0, sizeof packed, "", 0);
	expect_everywhere(packed, n, data, 0);
	n = add_gzip(packed, 0, sizeof packed, zeros, N_DATA);
	expect_everywhere(packed, n, zeros, N_DATA);
}

static void test_gzip_members(void **state)
{
	static uint8_t packed[N_DATA + 1000];
	size_t n = add_gzip(packed, 0, sizeof packed, data, 1000);

	(void)state;
	n = add_gzip(packed, n, sizeof packed, "", 0);
	n = add_gzip(packed, n, sizeof packed, data + 1000, 1);
	n = add_gzip(packed, n, sizeof packed, data + 1001, N_DATA - 1001);
	n = add_gzip(packed, n, sizeof packed, "", 0);
	expect_everywhere(packed, n, data, N_DATA);
}

static enum moe_err read_packed(const uint8_t *p, size_t n, struct moe_diag *d)
{
	uint8_t out[5000], *copy = malloc(n + 1), *tight = realloc(memcpy(copy, p, n), n ? n : 1);
	struct moe_source *s = on_memory(tight, n);
	enum moe_err err;
	size_t got;

	memset(d, 0, sizeof *d);
	err = drain(s, 600, out, sizeof out, &got, d);
	moe_source_close(s);
	free(tight);
	return err;
}

/* Cut anywhere behind its magic, a gzip file is an error; only between members it ends. */
static void test_gzip_truncated(void **state)
{
	static uint8_t packed[4000];
	size_t first = add_gzip(packed, 0, sizeof packed, data, 1500), n = add_gzip(packed, first, sizeof packed, data, 500);
	struct moe_diag d;

	(void)state;
	for (size_t cut = 2; cut < n; cut++) {
		enum moe_err err = read_packed(packed, cut, &d);
		if (cut == first)
			expect_ok(&d, err);
		else
			expect_fail(&d, err, MOE_EINPUT, "memory: gzip: the file ends inside");
	}
}

/* Every flipped bit of the data or the check value is noticed; those of the header's time and system do not matter. */
static void test_gzip_damaged(void **state)
{
	static uint8_t packed[4000];
	size_t n = add_gzip(packed, 0, sizeof packed, data, 1500);
	struct moe_diag d;

	(void)state;
	for (size_t bit = 80; bit < 8 * n; bit++) {
		if (bit / 8 == n - 9)
			continue;       /* the data end somewhere in this byte, the rest of it is padding */
		packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (read_packed(packed, n, &d) != MOE_EINPUT || !strstr(d.text, "gzip"))
			fail_msg("bit %zu: %s", bit, say(&d));
		packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	memcpy(packed + n, "garbage", 7);
	expect_fail(&d, read_packed(packed, n + 7, &d), MOE_EINPUT, "gzip");
	packed[n] = 0;
	expect_fail(&d, read_packed(packed, n + 1, &d), MOE_EINPUT, "gzip");
}

static void test_open_fails(void **state)
{
	struct moe_source *s;
	struct moe_diag d = {0};

	(void)state;
	expect_fail(&d, moe_source_open(&s, scratch("nowhere"), &d), MOE_EIO, "nowhere: cannot open: No such file");
	moe_diag_clear(&d);
	expect_fail(&d, moe_source_open(&s, scratch(""), &d), MOE_EIO, "is a directory");
	moe_source_close(NULL);
}

static void test_read_fails(void **state)
{
	struct moe_source *s;
	struct moe_diag d = {0};
	int fd = open("/dev/null", O_WRONLY);
	size_t got;
	char c;

	(void)state;
	expect_ok(&d, moe_source_fd(&s, fd, "write only", &d));
	expect_fail(&d, moe_source_read(s, &c, 1, &got, &d), MOE_EIO, "write only: cannot read");
	moe_source_close(s);
	close(fd);
}

/* A read gives what is there: it does not wait for more. In a child with an alarm. */
static int read_what_is_there(size_t n)
{
	struct moe_source *s;
	struct moe_diag d = {0};
	int fd[2];
	size_t got = 0;
	char buf[8];

	alarm(SLOW ? 20 : 2);
	if (pipe(fd) || moe_source_fd(&s, fd[0], "pipe", &d) || moe_source_ready(s))
		return 1;
	if (write(fd[1], "abcdefgh", n) != (ssize_t)n || !moe_source_ready(s))
		return 1;
	for (size_t all = 0; all < n; all += got)
		if (moe_source_read(s, buf, 8, &got, &d) || !got || memcmp(buf, &"abcdefgh"[all], got))
			return 1;
	return moe_source_ready(s);
}

static void test_does_not_wait(void **state)
{
	int status;

	(void)state;
	for (size_t n = 8; n; n--) {
		pid_t pid = fork();
		if (!pid)
			_exit(read_what_is_there(n));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status)
			fail_msg("%zu bytes are there: %s", n, WIFSIGNALED(status) ? "the read waits for more" : "not read");
	}
}

static void test_read_file(void **state)
{
	struct moe_diag d = {0};
	uint8_t packed[200];
	size_t n, n_packed = add_gzip(packed, 0, sizeof packed, "abc", 3);
	char *bytes;

	(void)state;
	write_bytes(scratch("data"), data, 5000);
	expect_ok(&d, moe_read_file(scratch("data"), 5000, &bytes, &n, &d));
	assert_int_equal(n, 5000);
	assert_memory_equal(bytes, data, 5000);
	assert_int_equal(bytes[5000], 0);
	free(bytes);
	expect_fail(&d, moe_read_file(scratch("data"), 4999, &bytes, &n, &d), MOE_ENOMEM, "data: larger than 4999 bytes");
	moe_diag_clear(&d);
	write_bytes(scratch("data"), "", 0);
	expect_ok(&d, moe_read_file(scratch("data"), 0, &bytes, &n, &d));
	assert_int_equal(n, 0);
	assert_int_equal(bytes[0], 0);
	free(bytes);
	write_bytes(scratch("data"), packed, n_packed);         /* as it is, not unpacked */
	expect_ok(&d, moe_read_file(scratch("data"), 1000, &bytes, &n, &d));
	assert_int_equal(n, n_packed);
	free(bytes);
	expect_fail(&d, moe_read_file(scratch("nowhere"), 1000, &bytes, &n, &d), MOE_EIO, "nowhere");
}

/* ---- sinks ---- */

static size_t count_files(void)
{
	DIR *dir = opendir(scratch("out"));
	size_t n = 0;

	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));)
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(dir);
	return n;
}

static void expect_file(const char *name, const char *text)
{
	size_t n;
	uint8_t *bytes = read_bytes(scratch(name), &n);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(bytes, text, n);
	free(bytes);
}

static struct moe_sink *write_sink(const char *name, const char *text)
{
	struct moe_sink *s;
	struct moe_diag d = {0};
	struct iovec iov[3] = {{(void *)text, 1}, {"", 0}, {(void *)(text + 1), strlen(text) - 1}};

	expect_ok(&d, moe_sink_open(&s, scratch(name), &d));
	expect_ok(&d, moe_write_all(moe_sink_descriptor(s), iov, 3, &d));
	return s;
}

static int count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_replace(void **state)
{
	struct moe_diag d = {0};
	struct moe_sink *s;
	struct stat st;
	mode_t mask = umask(027);
	int n_open = count_descriptors();

	(void)state;
	assert_int_equal(mkdir(scratch("out"), 0700), 0);
	s = write_sink("out/a", "first");
	assert_int_equal(access(scratch("out/a"), F_OK), -1);   /* not before it is complete */
	expect_ok(&d, moe_sink_commit(s, &d));
	expect_file("out/a", "first");
	assert_int_equal(stat(scratch("out/a"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	s = write_sink("out/a", "second");
	expect_file("out/a", "first");
	moe_sink_abandon(s);
	expect_file("out/a", "first");
	assert_int_equal(count_files(), 1);
	expect_ok(&d, moe_sink_commit(write_sink("out/a", "third"), &d));
	expect_file("out/a", "third");
	s = write_sink("out/a", "fourth");
	expect_file("out/a", "third");
	expect_ok(&d, moe_sink_commit_early(s, &d));
	expect_file("out/a", "fourth");
	expect_ok(&d, moe_sink_settle(scratch("out/a"), &d));
	expect_ok(&d, moe_sink_settle("-", &d));
	assert_int_equal(count_files(), 1);
	assert_int_equal(count_descriptors(), n_open);
	moe_sink_abandon(NULL);
	umask(mask);
}

/* What replaces a file has its mode; what a link leads to is replaced, not the link. */
static void test_replace_keeps(void **state)
{
	struct moe_diag d = {0};
	struct moe_sink *s;
	struct stat st;

	(void)state;
	write_bytes(scratch("private"), "old", 3);
	assert_int_equal(chmod(scratch("private"), 0600), 0);
	assert_int_equal(symlink("private", scratch("link")), 0);
	assert_int_equal(symlink("nowhere", scratch("dangling")), 0);
	expect_ok(&d, moe_sink_commit(write_sink("link", "new"), &d));
	expect_file("private", "new");
	assert_int_equal(lstat(scratch("link"), &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat(scratch("private"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	expect_fail(&d, moe_sink_open(&s, scratch("dangling"), &d), MOE_EIO, "dangling: cannot open for writing: No such file");
}

/* /dev/fd/N is what is open there, at the place where it stands; it is not the name of a file that could be replaced. */
static void test_named_descriptor(void **state)
{
	struct moe_diag d = {0};
	struct moe_sink *s;
	char name[32];
	struct iovec iov = {"after", 5};
	int fd = open(scratch("log"), O_CREAT | O_RDWR, 0600);

	(void)state;
	assert_int_equal(write(fd, "before ", 7), 7);
	snprintf(name, sizeof name, "/dev/fd/%d", fd);
	expect_ok(&d, moe_sink_open(&s, name, &d));
	expect_ok(&d, moe_write_all(moe_sink_descriptor(s), &iov, 1, &d));
	expect_ok(&d, moe_sink_commit(s, &d));
	assert_int_equal(write(fd, " all", 4), 4);
	close(fd);
	expect_file("log", "before after all");
	expect_ok(&d, moe_sink_open(&s, "/dev/stdout", &d));
	moe_sink_abandon(s);
	assert_true(fcntl(STDOUT_FILENO, F_GETFD) >= 0);
	expect_fail(&d, moe_sink_open(&s, "/proc/self/fd/999999", &d), MOE_EIO, "/proc/self/fd/999999: cannot open for writing");
}

/* A commit that fails leaves the old file and nothing else: here the name has become a folder. */
static void test_commit_fails(void **state)
{
	struct moe_diag d = {0};
	struct moe_sink *s = write_sink("out/b", "text");
	int n_open = count_descriptors();

	(void)state;
	assert_int_equal(mkdir(scratch("out/b"), 0700), 0);
	expect_fail(&d, moe_sink_commit(s, &d), MOE_EIO, "out/b: cannot rename");
	assert_int_equal(count_files(), 2);
	assert_int_equal(count_descriptors(), n_open - 1);
	assert_int_equal(rmdir(scratch("out/b")), 0);
	moe_diag_clear(&d);
	s = write_sink("out/b", "text");
	close(moe_sink_descriptor(s));          /* the disk is gone: fsync fails */
	expect_fail(&d, moe_sink_commit(s, &d), MOE_EIO, "out/b: cannot sync");
	assert_int_equal(count_files(), 1);
}

static void test_sink_open_fails(void **state)
{
	struct moe_diag d = {0};
	struct moe_sink *s;

	(void)state;
	expect_fail(&d, moe_sink_open(&s, scratch("nowhere/a"), &d), MOE_EIO, "nowhere/a: cannot create");
	moe_diag_clear(&d);
	expect_fail(&d, moe_sink_open(&s, scratch("out"), &d), MOE_EIO, "out: cannot open for writing");
}

/* Devices are written in place, and a full one is an error. */
static void test_full(void **state)
{
	struct moe_diag d = {0};
	struct moe_sink *s;
	struct iovec iov = {"x", 1};

	(void)state;
	if (access("/dev/full", W_OK))
		skip();
	expect_ok(&d, moe_sink_open(&s, "/dev/full", &d));
	expect_fail(&d, moe_write_all(moe_sink_descriptor(s), &iov, 1, &d), MOE_EIO, "cannot write: No space left");
	moe_sink_abandon(s);
	assert_int_equal(access("/dev/full", W_OK), 0);
	moe_diag_clear(&d);
	expect_ok(&d, moe_sink_open(&s, "/dev/null", &d));
	expect_ok(&d, moe_sink_commit(s, &d));
	assert_int_equal(access("/dev/null", W_OK), 0);
}

/* More pieces than one writev takes, through a pipe that takes them in parts. */
static void test_write_all(void **state)
{
	enum { N = 3000, EACH = 100 };
	struct iovec *iov = calloc(N, sizeof *iov);
	struct moe_diag d = {0};
	int fd[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fd), 0);
	pid = fork();
	if (!pid) {
		uint8_t *got = malloc(N * EACH);
		size_t n = 0;
		ssize_t r;
		close(fd[1]);
		while ((r = read(fd[0], got + n, 777)) > 0)
			n += (size_t)r;
		_exit(n != N * EACH || memcmp(got, data, n));
	}
	close(fd[0]);
	for (size_t i = 0; i < N; i++)
		iov[i] = (struct iovec){data + i * EACH, EACH};
	expect_ok(&d, moe_write_all(fd[1], iov, N, &d));
	close(fd[1]);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	free(iov);
}

/* Both ends wait, although their descriptors do not block. */
static void test_not_blocking(void **state)
{
	struct moe_diag d = {0};
	struct moe_source *s;
	struct iovec iov = {data, N_DATA};
	size_t n;
	uint8_t *got = malloc(N_DATA + 1);
	int fd[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(fd, O_NONBLOCK), 0);
	pid = fork();
	if (!pid) {
		close(fd[0]);
		usleep(20000);
		_exit(moe_write_all(fd[1], &iov, 1, NULL));
	}
	close(fd[1]);
	expect_ok(&d, moe_source_fd(&s, fd[0], "pipe", &d));
	expect_ok(&d, drain(s, 50000, got, N_DATA + 1, &n, &d));
	assert_int_equal(n, N_DATA);
	assert_memory_equal(got, data, n);
	moe_source_close(s);
	close(fd[0]);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	free(got);
}

static void test_broken_pipe(void **state)
{
	struct moe_diag d = {0};
	struct iovec iov = {"x", 1};
	int fd[2];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(fd), 0);
	close(fd[0]);
	expect_fail(&d, moe_write_all(fd[1], &iov, 1, &d), MOE_EIO, "Broken pipe");
	close(fd[1]);
}

/* ---- mappings ---- */

static void test_map(void **state)
{
	struct moe_diag d = {0};
	struct moe_map *a, *b, *none;

	(void)state;
	write_bytes(scratch("a"), data, 10000);
	write_bytes(scratch("b"), data + 10000, 5000);
	write_bytes(scratch("none"), "", 0);
	expect_ok(&d, moe_map_open(&a, scratch("a"), &d));
	expect_ok(&d, moe_map_open(&b, scratch("b"), &d));
	expect_ok(&d, moe_map_open(&none, scratch("none"), &d));
	assert_int_equal(none->nbytes, 0);
	assert_int_equal(a->nbytes, 10000);
	assert_memory_equal(a->bytes, data, 10000);
	assert_memory_equal(b->bytes, data + 10000, 5000);
	assert_string_equal(moe_map_name(a->bytes + 9999), scratch("a"));
	assert_string_equal(moe_map_name(b->bytes), scratch("b"));
	assert_null(moe_map_name(&d));
	assert_null(moe_map_name(NULL));
	moe_map_close(b);
	assert_string_equal(moe_map_name(a->bytes), scratch("a"));
	moe_map_close(a);
	moe_map_close(none);
	moe_map_close(NULL);
	assert_null(moe_map_name(data));
	expect_fail(&d, moe_map_open(&a, scratch("nowhere"), &d), MOE_EIO, "nowhere: cannot open");
	moe_diag_clear(&d);
	expect_fail(&d, moe_map_open(&a, scratch(""), &d), MOE_EIO, "is not a regular file");
	moe_diag_clear(&d);
	expect_fail(&d, moe_map_open(&a, "/dev/null", &d), MOE_EIO, "/dev/null: is not a regular file");
	assert_int_equal(mkfifo(scratch("fifo"), 0600), 0);
	moe_diag_clear(&d);
	expect_fail(&d, moe_map_open(&a, scratch("fifo"), &d), MOE_EIO, "fifo: is not a regular file");
}

static const char *expected_name;

static void on_bus_error(int signal_number, siginfo_t *info, void *context)
{
	const char *name = moe_map_name(info->si_addr);

	(void)signal_number;
	(void)context;
	_exit(name && !strcmp(name, expected_name) ? 42 : 43);
}

/* A file that shrinks while it is mapped: the handler can name it. */
static int read_shrunk(const char *path)
{
	struct sigaction act = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
	struct moe_map *m;
	volatile uint8_t byte;

	expected_name = path;
	sigaction(SIGBUS, &act, NULL);
	if (moe_map_open(&m, path, NULL) || truncate(path, 100))
		return 1;
	byte = m->bytes[m->nbytes - 1];
	(void)byte;
	return 2;
}

static void test_shrinking_file(void **state)
{
	char path[256];
	int status;
	pid_t pid;

	(void)state;
	snprintf(path, sizeof path, "%s", scratch("shrinks"));
	write_bytes(path, data, 100000);
	pid = fork();
	if (!pid)
		_exit(read_shrunk(path));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain), cmocka_unit_test(test_gzip), cmocka_unit_test(test_gzip_members), cmocka_unit_test(test_gzip_truncated),
		cmocka_unit_test(test_gzip_damaged), cmocka_unit_test(test_open_fails), cmocka_unit_test(test_read_fails),
		cmocka_unit_test(test_does_not_wait),
		cmocka_unit_test(test_read_file), cmocka_unit_test(test_replace), cmocka_unit_test(test_commit_fails), cmocka_unit_test(test_replace_keeps),
		cmocka_unit_test(test_named_descriptor), cmocka_unit_test(test_not_blocking),
		cmocka_unit_test(test_sink_open_fails),
		cmocka_unit_test(test_full), cmocka_unit_test(test_write_all), cmocka_unit_test(test_broken_pipe), cmocka_unit_test(test_map),
		cmocka_unit_test(test_shrinking_file),
	};

	return cmocka_run_group_tests(tests, fill, scratch_remove);
}
