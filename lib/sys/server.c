#include "sys/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/sandbox.h"

/* What the program and the server say to each other; both are the same program, so plain structs will do. */
enum { ASK_START, ASK_END, ASK_FORGET };       /* forget: end without an answer */

struct ask { uint32_t what, kind, no_sandbox; int32_t pid; };
struct answer { int32_t err, pid, status; };

enum { NOT_PREPARED = 255 };

static struct {
	int fd;
	pid_t pid;
	pthread_mutex_t lock;           /* one question at a time */
} server = {.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t moe_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Sends one message with an optional descriptor. */
static bool send_with(int socket, const void *bytes, size_t n, int fd)
{
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = n};
	union { char room[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = {0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r;

	if (fd >= 0) {
		struct cmsghdr *c = &control.align;
		m.msg_control = control.room;
		m.msg_controllen = sizeof control.room;
		*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	while ((r = sendmsg(socket, &m, MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	return r == (ssize_t)n;
}

/* Receives one message of n bytes; *fd is the descriptor that came along, or -1. */
static bool receive_with(int socket, void *bytes, size_t n, int *fd)
{
	struct iovec iov = {.iov_base = bytes, .iov_len = n};
	union { char room[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = {0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	struct cmsghdr *c;
	ssize_t r;

	*fd = -1;
	while ((r = recvmsg(socket, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		;
	if (r >= 0 && (c = CMSG_FIRSTHDR(&m)) && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof *fd))
		memcpy(fd, CMSG_DATA(c), sizeof *fd);
	return r == (ssize_t)n;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* ---- the worker ---- */

/* The first byte tells the program how the confinement went; there is no other way to say it from inside. */
static _Noreturn void work(const struct moe_work *w, int socket, int file, bool no_sandbox)
{
	struct moe_sandbox_limits limits = {.memory = w->memory, .cpu_seconds = w->cpu_seconds};
	uint8_t hello = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "moe-worker");
	if (w->prepare && !w->prepare())
		hello = NOT_PREPARED;
	if (!hello) {
		int err = moe_sandbox_limit(&limits);
		hello = no_sandbox ? 0 : (uint8_t)err;  /* without a sandbox, what limits there can be */
	}
	if (!hello && !no_sandbox)
		hello = (uint8_t)moe_sandbox_enter();
	if (moe_work_write(socket, &hello, 1) && !hello)
		w->run(socket, file);
	_exit(hello ? 1 : 0);
}

bool moe_work_read(int fd, void *bytes, size_t n)
{
	while (n) {
		ssize_t r = read(fd, bytes, n);
		if (r == 0 || (r < 0 && errno != EINTR))
			return false;
		if (r > 0) {
			bytes = (char *)bytes + r;
			n -= (size_t)r;
		}
	}
	return true;
}

bool moe_work_write(int fd, const void *bytes, size_t n)
{
	while (n) {
		ssize_t r = write(fd, bytes, n);
		if (r < 0 && errno != EINTR)
			return false;
		if (r > 0) {
			bytes = (const char *)bytes + r;
			n -= (size_t)r;
		}
	}
	return true;
}

/* ---- the server ---- */

static void close_all_but(int keep)
{
	if ((keep <= 3 || !close_range(3, (unsigned)keep - 1, 0)) && !close_range((unsigned)keep + 1, ~0u, 0))
		return;
	for (int fd = 3; fd < 65536; fd++)      /* kernels before 5.9 */
		if (fd != keep)
			close(fd);
}

/* Descriptors 0 to 2 lead nowhere; the program's own must not be held open, or its readers would never see the end. */
static void detach(int control)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd < 3; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			close(fd);
	close_all_but(control);
	if (chdir("/"))
		return;
}

/* Only the end of the program ends the server: a key press at the terminal may be something that the program survives. */
static void settle_signals(void)
{
	static const int ignored[] = {SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2};
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGXCPU, SIGCHLD};
	sigset_t none;

	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
		signal(ignored[i], SIG_IGN);
	for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
		signal(fatal[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Forks a worker and hands out the program's end of its socket in *fd. */
static struct answer start_worker(int control, const struct moe_work *table, const struct ask *q, int file, int *fd)
{
	struct answer a = {0};
	int pair[2];

	*fd = -1;
	if (q->kind >= MOE_N_WORK || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		a.err = q->kind >= MOE_N_WORK ? EINVAL : errno;
		return a;
	}
	a.pid = fork();
	if (!a.pid) {
		close(control);
		close(pair[0]);
		work(&table[q->kind], pair[1], file, q->no_sandbox);
	}
	if (a.pid < 0)
		a.err = errno;
	close(pair[1]);
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	*fd = pair[0];
	return a;
}

/* The program asks for the end of a worker once, so the pid is still its own: dead or alive, it is kept until this wait. */
static struct answer end_worker(const struct ask *q)
{
	struct answer a = {.pid = q->pid};

	kill(q->pid, SIGKILL);
	while (waitpid(q->pid, &a.status, 0) < 0)
		if (errno != EINTR) {
			a.err = errno;
			break;
		}
	return a;
}

static _Noreturn void serve(int control, const struct moe_work *table, pid_t parent)
{
	struct ask q;
	int file, fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "moe-server");
	settle_signals();
	detach(control);
	while (getppid() == parent && receive_with(control, &q, sizeof q, &file)) {
		struct answer a;
		fd = -1;
		if (q.what == ASK_START)
			a = start_worker(control, table, &q, file, &fd);
		else
			a = end_worker(&q);
		close_fd(file);
		if (q.what == ASK_FORGET)
			continue;
		if (!send_with(control, &a, sizeof a, a.err ? -1 : fd))
			break;
		close_fd(fd);
	}
	_exit(0);
}

/* A program may be started with its standard descriptors closed; what is printed must not end up in the socket. */
static bool clear_of_standard(int *fd)
{
	int other;

	if (*fd > 2)
		return true;
	other = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
	if (other < 0)
		return false;
	close(*fd);
	*fd = other;
	return true;
}

enum moe_err moe_server_start(const struct moe_work *table, struct moe_diag *d)
{
	pid_t self = getpid();
	int pair[2];

	if (server.fd >= 0)
		return MOE_OK;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return moe_fail_errno(d, "cannot make the decoder's socket");
	if (!clear_of_standard(&pair[0]) || !clear_of_standard(&pair[1]) || (server.pid = fork()) < 0) {
		moe_fail_errno(d, "cannot fork the decoder's server");
		close(pair[0]);
		close(pair[1]);
		return MOE_EIO;
	}
	if (!server.pid)
		serve(pair[1], table, self);
	close(pair[1]);
	server.fd = pair[0];
	return MOE_OK;
}

void moe_server_stop(void)
{
	pthread_mutex_lock(&server.lock);
	if (server.fd >= 0) {
		close(server.fd);
		server.fd = -1;
		while (waitpid(server.pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	pthread_mutex_unlock(&server.lock);
}

/* ---- the program's side ---- */

static bool ask(const struct ask *q, int file, struct answer *a, int *fd)
{
	bool ok;

	pthread_mutex_lock(&server.lock);
	ok = send_with(server.fd, q, sizeof *q, file) && receive_with(server.fd, a, sizeof *a, fd);
	pthread_mutex_unlock(&server.lock);
	return ok;
}

static void tell(const struct ask *q)
{
	pthread_mutex_lock(&server.lock);
	send_with(server.fd, q, sizeof *q, -1);
	pthread_mutex_unlock(&server.lock);
}

enum moe_err moe_worker_start(struct moe_worker *w, enum moe_work_kind kind, int file, bool no_sandbox, struct moe_diag *d)
{
	struct ask q = {.what = ASK_START, .kind = kind, .no_sandbox = no_sandbox};
	struct answer a;

	*w = (struct moe_worker){.fd = -1};
	if (server.fd < 0)
		return moe_fail(d, MOE_EUSAGE, "the decoder's server was not started");
	if (!ask(&q, file, &a, &w->fd))
		return moe_fail(d, MOE_EIO, "the decoder's server has ended");
	if (a.err) {
		errno = a.err;
		return moe_fail_errno(d, "cannot start a decoder");
	}
	w->pid = a.pid;
	if (w->fd < 0) {        /* the system drops a descriptor for which there is no room */
		tell(&(struct ask){.what = ASK_FORGET, .pid = a.pid});
		errno = EMFILE;
		return moe_fail_errno(d, "cannot start a decoder");
	}
	return MOE_OK;
}

void moe_worker_end(struct moe_worker *w, int *status)
{
	struct ask q = {.what = status ? ASK_END : ASK_FORGET, .pid = w->pid};
	struct answer a;
	int none;

	if (status)
		*status = 0;
	if (w->fd < 0)
		return;
	close(w->fd);
	w->fd = -1;
	if (!status)
		tell(&q);
	else if (ask(&q, -1, &a, &none))
		*status = a.status;
}

bool moe_worker_silent(const struct moe_worker *w)
{
	char c;

	return recv(w->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* Waits until the socket is ready for `events`. */
static enum moe_err await(int fd, short events, uint64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now = moe_now_ms();
		int r;
		if (now >= deadline)
			return MOE_AGAIN;
		r = poll(&p, 1, deadline - now > 1 << 30 ? 1 << 30 : (int)(deadline - now));
		if (r > 0)
			return MOE_OK;
		if (r < 0 && errno != EINTR)
			return MOE_EIO;
	}
}

enum moe_err moe_worker_send(struct moe_worker *w, const void *bytes, size_t n, uint64_t deadline)
{
	while (n) {
		ssize_t r = send(w->fd, bytes, n, MSG_NOSIGNAL);
		if (r > 0) {
			bytes = (const char *)bytes + r;
			n -= (size_t)r;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			MOE_TRY(await(w->fd, POLLOUT, deadline));
		} else if (errno != EINTR) {
			return errno == EPIPE || errno == ECONNRESET ? MOE_END : MOE_EIO;
		}
	}
	return MOE_OK;
}

static enum moe_err receive(int fd, void *bytes, size_t n, uint64_t deadline)
{
	while (n) {
		ssize_t r = recv(fd, bytes, n, 0);
		if (r > 0) {
			bytes = (char *)bytes + r;
			n -= (size_t)r;
		} else if (r == 0 || errno == ECONNRESET) {
			return MOE_END;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			MOE_TRY(await(fd, POLLIN, deadline));
		} else if (errno != EINTR) {
			return MOE_EIO;
		}
	}
	return MOE_OK;
}

static enum moe_err meet(struct moe_worker *w, uint64_t deadline)
{
	uint8_t hello;

	if (!w->met) {
		MOE_TRY(receive(w->fd, &hello, 1, deadline));
		w->refusal = hello;
		w->met = true;
	}
	return w->refusal ? MOE_EIO : MOE_OK;
}

enum moe_err moe_worker_receive(struct moe_worker *w, void *bytes, size_t n, uint64_t deadline)
{
	MOE_TRY(meet(w, deadline));
	return receive(w->fd, bytes, n, deadline);
}

static enum moe_err tell_signal(int signal_no, const char *who, struct moe_diag *d)
{
	switch (signal_no) {
	case SIGSYS:
		return moe_fail(d, MOE_EINPUT, "the %s made a forbidden system call (signal %d)", who, signal_no);
	case SIGXCPU:
		return moe_fail(d, MOE_EINPUT, "the %s used too much processor time", who);
	case SIGKILL:
		return moe_fail(d, MOE_EINPUT, "the %s broke off or was killed", who);
	default:
		return moe_fail(d, MOE_EINPUT, "the %s crashed (signal %d)", who, signal_no);
	}
}

enum moe_err moe_worker_fail(struct moe_worker *w, enum moe_err err, const char *who, unsigned timeout_ms, struct moe_diag *d)
{
	int status;

	/* A failed send says less than the byte that may be waiting. */
	if (err == MOE_END && !w->met && meet(w, moe_now_ms() + 1000) == MOE_AGAIN)
		err = MOE_AGAIN;
	moe_worker_end(w, &status);
	if (w->refusal == NOT_PREPARED)
		return moe_fail(d, MOE_EIO, "the %s cannot be loaded", who);
	if (w->refusal)
		return moe_fail(d, MOE_EIO, "the %s cannot be confined on this system (%s); --no-sandbox does without", who, strerror(w->refusal));
	if (err == MOE_AGAIN)
		return moe_fail(d, MOE_EINPUT, "the %s took longer than %.3g s", who, timeout_ms / 1e3);
	if (err != MOE_END)
		return moe_fail(d, MOE_EIO, "the connection to the %s broke", who);
	if (WIFSIGNALED(status))
		return tell_signal(WTERMSIG(status), who, d);
	return moe_fail(d, MOE_EINPUT, "the %s ended early (exit status %d)", who, WEXITSTATUS(status));
}
