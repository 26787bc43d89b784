/* A filter of our own in classic BPF rather than libseccomp: thirty comparisons need no compiler, no library to load at
 * every start of a small tool, and no allocation in the process that is being confined. */
#include "sys/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __has_feature            /* clang's way; gcc 12 has the macros */
#define HAS(feature) __has_feature(feature)
#else
#define HAS(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS(address_sanitizer) || HAS(thread_sanitizer)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

bool moe_sandbox_real(void) { return !SANITIZED; }

/* Bytes of address space in use, from /proc; 0 when it cannot be read. */
static uint64_t mapped(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t less(uint64_t a, uint64_t b) { return a < b ? a : b; }

static int limit(int what, uint64_t soft, uint64_t hard)
{
	struct rlimit now, want;

	if (getrlimit(what, &now))
		return errno;
	want.rlim_cur = less(now.rlim_max, soft);
	want.rlim_max = less(now.rlim_max, hard);
	return setrlimit(what, &want) ? errno : 0;
}

int moe_sandbox_limit(const struct moe_sandbox_limits *l)
{
	uint64_t all = mapped() + l->memory;
	int err = limit(RLIMIT_CORE, 0, 0);

	if (!err)
		err = limit(RLIMIT_CPU, l->cpu_seconds, l->cpu_seconds + 1ull);         /* SIGXCPU, then SIGKILL */
	if (!err)
		err = limit(RLIMIT_FSIZE, 0, 0);
	if (!err && !SANITIZED)
		err = limit(RLIMIT_AS, all, all);
	if (!err)
		err = limit(RLIMIT_NOFILE, 0, 0);
	return err;
}

#ifdef ARCH

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define GIVE(action) BPF_STMT(BPF_RET | BPF_K, (action))
/* The action when the loaded number equals `nr`. */
#define CALL(nr, action) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), GIVE(action)
#define ALLOW(name) CALL(__NR_##name, SECCOMP_RET_ALLOW)
#define REFUSE(name) CALL(__NR_##name, SECCOMP_RET_ERRNO | EACCES)
/* Memory that can be executed is never mapped; for calls whose third argument is the protection. */
#define ALLOW_DATA(name) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4), \
	LOAD(offsetof(struct seccomp_data, args[2])), \
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1), \
	GIVE(SECCOMP_RET_KILL_PROCESS), \
	GIVE(SECCOMP_RET_ALLOW)

/* Numbers are compared in whole, so the calls of the x32 ABI (bit 30 set) are among those that kill. */
static struct sock_filter filter[] = {
	LOAD(offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
	GIVE(SECCOMP_RET_KILL_PROCESS),
	LOAD(offsetof(struct seccomp_data, nr)),
	ALLOW(read), ALLOW(write), ALLOW(lseek), ALLOW(close),
	ALLOW(brk), ALLOW(munmap), ALLOW(mremap),
	ALLOW_DATA(mmap),
	ALLOW_DATA(mprotect),
	ALLOW(exit), ALLOW(exit_group), ALLOW(rt_sigreturn), ALLOW(restart_syscall),
	ALLOW(futex), ALLOW(getrandom), ALLOW(clock_gettime), ALLOW(gettimeofday),
	REFUSE(openat), REFUSE(newfstatat), REFUSE(faccessat), REFUSE(readlinkat),
	REFUSE(madvise),        /* the allocator's hints; root could poison memory with it */
#ifdef __NR_open
	REFUSE(open), REFUSE(stat), REFUSE(access), REFUSE(readlink),
#endif
	GIVE(SECCOMP_RET_KILL_PROCESS),
};

int moe_sandbox_enter(void)
{
	struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};

	if (SANITIZED)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? errno : 0;
}

#else

int moe_sandbox_enter(void) { return SANITIZED ? 0 : ENOSYS; }

#endif
