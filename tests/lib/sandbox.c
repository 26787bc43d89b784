/* The system-call filter, and the server with workers of this test's own. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/sandbox.h"
#include "sys/server.h"

/* ---- the filter: each of these runs in a child that is confined ---- */

static int memory(void)
{
	char *p = malloc(64 << 20);

	memset(p, 1, 64 << 20);
	p = realloc(p, 128 << 20);
	free(p);
	return p ? 0 : 1;
}
static int too_much(void)
{
	volatile char *p = malloc((size_t)1 << 30);

	return p ? 1 : 0;
}
static int open_file(void) { return open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES ? 0 : 1; }
static int create_file(void) { return open("/tmp/moe-must-not-exist", O_WRONLY | O_CREAT, 0600) < 0 ? 0 : 1; }
static int use_stat(void)
{
	struct stat st;

	return stat("/etc/passwd", &st) < 0 ? 0 : 1;
}
static int make_socket(void) { return socket(AF_UNIX, SOCK_STREAM, 0) < 0; }
static int fork_once(void) { return fork() < 0; }
static int run_program(void) { return execl("/bin/true", "true", NULL); }
static int kill_parent(void) { return kill(getppid(), 0); }
static int map_code(void) { return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED; }
static int protect_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}
static int advise(void)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return madvise(p, 4096, MADV_DONTNEED) < 0 && errno == EACCES ? 0 : 1;
}
#ifdef __x86_64__
static int x32_call(void) { return (int)syscall(0x40000000 | SYS_write, 1, "", 0); }
#else
static int x32_call(void) { return kill_parent(); }
#endif
static int burn(void)
{
	for (volatile unsigned turning = 1; turning;)
		;
	return 0;
}

static int status_of(int (*fn)(void))
{
	struct moe_sandbox_limits l = {.memory = 512 << 20, .cpu_seconds = 1};
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(moe_sandbox_limit(&l) || moe_sandbox_enter() ? 99 : fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_filter(void **state)
{
	static int (*const fine[])(void) = {memory, too_much, open_file, create_file, use_stat, advise};
	static int (*const fatal[])(void) = {make_socket, fork_once, run_program, kill_parent, map_code, protect_code, x32_call};

	(void)state;
	if (!moe_sandbox_real())
		skip();
	for (unsigned i = 0; i < sizeof fine / sizeof *fine; i++)
		if (status_of(fine[i]))
			fail_msg("fine[%u]: status %x", i, (unsigned)status_of(fine[i]));
	for (unsigned i = 0; i < sizeof fatal / sizeof *fatal; i++) {
		int status = status_of(fatal[i]);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("fatal[%u]: status %x", i, (unsigned)status);
	}
	assert_int_equal(WTERMSIG(status_of(burn)), SIGXCPU);
}

/* ---- the server ---- */

enum { TELL_FDS = 1, TELL_FILE, DIE, SLEEP, CLOSE_AND_SPIN };

/* Answers a byte with a byte, and does as some bytes say. */
static void echo(int socket, int file)
{
	uint8_t c, n = 0;

	while (moe_work_read(socket, &c, 1)) {
		switch (c) {
		case TELL_FDS:
			for (int fd = 0; fd < 200; fd++)
				n += fcntl(fd, F_GETFD) >= 0;
			c = n;
			break;
		case TELL_FILE:
			if (read(file, &c, 1) != 1)
				c = 0;
			break;
		case DIE:
			_exit(7);
		case SLEEP:
			for (volatile unsigned i = 0;; i++)
				;
		case CLOSE_AND_SPIN:
			close(socket);
			for (volatile unsigned i = 0;; i++)
				;
		default:
			break;
		}
		moe_work_write(socket, &c, 1);
	}
}

static bool never(void) { return false; }

static const struct moe_work table[MOE_N_WORK] = {
	[MOE_WORK_PICTURES] = {.run = echo, .memory = 64 << 20, .cpu_seconds = 100},
	[MOE_WORK_ARCHIVE] = {.prepare = never, .run = echo, .memory = 64 << 20, .cpu_seconds = 100},
};

static uint8_t say(struct moe_worker *w, uint8_t c)
{
	uint64_t deadline = moe_now_ms() + 5000;

	assert_int_equal(moe_worker_send(w, &c, 1, deadline), MOE_OK);
	assert_int_equal(moe_worker_receive(w, &c, 1, deadline), MOE_OK);
	return c;
}

static void fails(uint8_t c, unsigned timeout_ms, enum moe_err want, const char *text)
{
	struct moe_worker w;
	struct moe_diag d = {0};
	enum moe_err err;

	assert_int_equal(moe_worker_start(&w, MOE_WORK_PICTURES, -1, false, &d), MOE_OK);
	assert_int_equal(say(&w, 100), 100);
	assert_int_equal(moe_worker_send(&w, &c, 1, moe_now_ms() + timeout_ms), MOE_OK);
	err = moe_worker_receive(&w, &c, 1, moe_now_ms() + timeout_ms);
	assert_int_equal(err, want);
	assert_int_equal(moe_worker_fail(&w, err, "tester", timeout_ms, &d), MOE_EINPUT);
	if (!strstr(d.text, text))
		fail_msg("'%s' does not say '%s'", d.text, text);
	assert_int_equal(w.fd, -1);
}

static void test_worker(void **state)
{
	struct moe_worker w[40];
	struct moe_diag d = {0};

	(void)state;
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(moe_worker_start(&w[i], MOE_WORK_PICTURES, -1, false, &d), MOE_OK);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(say(&w[i], (uint8_t)(50 + i)), 50 + i);
	for (unsigned i = 0; i < 40; i++)
		moe_worker_end(&w[i], NULL);
	fails(DIE, 5000, MOE_END, "ended early (exit status 7)");
	fails(SLEEP, 50, MOE_AGAIN, "the tester took longer than 0.05 s");
	fails(CLOSE_AND_SPIN, 5000, MOE_END, "broke off or was killed");
}

/* A worker has 0, 1, 2 (going nowhere), its socket, and the file that came along. */
static void test_descriptors(void **state)
{
	struct moe_worker w;
	struct moe_diag d = {0};
	FILE *f = tmpfile();

	(void)state;
	fputc('x', f);
	rewind(f);
	assert_int_equal(moe_worker_start(&w, MOE_WORK_PICTURES, -1, true, &d), MOE_OK);
	assert_int_equal(say(&w, TELL_FDS), 4);
	moe_worker_end(&w, NULL);
	assert_int_equal(moe_worker_start(&w, MOE_WORK_PICTURES, fileno(f), true, &d), MOE_OK);
	assert_int_equal(say(&w, TELL_FDS), 5);
	moe_worker_end(&w, NULL);
	assert_int_equal(moe_worker_start(&w, MOE_WORK_PICTURES, fileno(f), false, &d), MOE_OK);
	assert_int_equal(say(&w, TELL_FILE), 'x');
	moe_worker_end(&w, NULL);
	fclose(f);
}

/* Where no descriptor is left for the worker's socket, that is said, and the next start works. */
static void test_no_descriptor(void **state)
{
	struct rlimit old, none;
	struct moe_worker w;
	struct moe_diag d = {0};
	int lowest = dup(0);

	(void)state;
	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = (rlim_t)lowest;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(moe_worker_start(&w, MOE_WORK_PICTURES, -1, false, &d), MOE_EIO);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_string_equal(d.text, "cannot start a decoder: Too many open files");
	assert_int_equal(moe_worker_start(&w, MOE_WORK_PICTURES, -1, false, &d), MOE_OK);
	assert_int_equal(say(&w, 100), 100);
	moe_worker_end(&w, NULL);
}

static void test_unprepared(void **state)
{
	struct moe_worker w;
	struct moe_diag d = {0};
	uint8_t c;
	enum moe_err err;

	(void)state;
	assert_int_equal(moe_worker_start(&w, MOE_WORK_ARCHIVE, -1, false, &d), MOE_OK);
	err = moe_worker_receive(&w, &c, 1, moe_now_ms() + 5000);
	assert_int_equal(err, MOE_EIO);
	assert_int_equal(moe_worker_fail(&w, err, "tester", 5000, &d), MOE_EIO);
	assert_string_equal(d.text, "the tester cannot be loaded");
}

/* Neither there nor a zombie that nobody has collected. */
static bool gone(pid_t pid)
{
	char path[64], state = 'Z';
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'Z';
	fclose(f);
	return state == 'Z' || state == 'X';
}

/* A program that is killed leaves nothing behind, not even a worker that spins. */
static void test_death(void **state)
{
	int pair[2], status;
	pid_t child, worker;

	(void)state;
	assert_int_equal(pipe(pair), 0);
	moe_server_stop();
	child = fork();
	if (!child) {
		struct moe_worker w;
		uint8_t c = SLEEP;
		if (moe_server_start(table, NULL) || moe_worker_start(&w, MOE_WORK_PICTURES, -1, false, NULL) ||
		    moe_worker_send(&w, &c, 1, moe_now_ms() + 1000) || write(pair[1], &w.pid, sizeof w.pid) != sizeof w.pid)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(pair[0], &worker, sizeof worker), sizeof worker);
	assert_false(gone(worker));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	for (int i = 0; i < 500 && !gone(worker); i++)
		usleep(10000);
	assert_true(gone(worker));
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(moe_server_start(table, NULL), MOE_OK);
}

static void test_not_started(void **state)
{
	struct moe_worker w;
	struct moe_diag d = {0};

	(void)state;
	moe_server_stop();
	assert_int_equal(moe_worker_start(&w, MOE_WORK_PICTURES, -1, false, &d), MOE_EUSAGE);
	moe_worker_end(&w, NULL);
	assert_int_equal(moe_server_start(table, NULL), MOE_OK);
	assert_int_equal(moe_server_start(table, NULL), MOE_OK);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filter), cmocka_unit_test(test_worker), cmocka_unit_test(test_descriptors), cmocka_unit_test(test_no_descriptor),
		cmocka_unit_test(test_unprepared),
		cmocka_unit_test(test_death), cmocka_unit_test(test_not_started),
	};

	if (moe_server_start(table, NULL))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
