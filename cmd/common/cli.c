#include "common/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/progress.h"
#include "io/hub.h"
#include "io/map.h"
#include "kernel/kernel.h"
#include "sys/cpu.h"

enum { MESSAGE = 768 };

struct cli cli;

/* A file was cut while it was mapped: name it and end, instead of a crash. Only async-signal-safe calls. */
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
	static const char text[] = ": the file changed while it was in use\n";
	const char *path = moe_map_name(info->si_addr), *name = cli.tool ? cli.tool->name : "moe";
	struct iovec line[] = {{(void *)(uintptr_t)name, strlen(name)}, {(void *)(uintptr_t)": ", 2}, {(void *)(uintptr_t)path, path ? strlen(path) : 0},
			       {(void *)(uintptr_t)text, sizeof text - 1}};

	(void)context;
	if (!path) {
		signal(sig, SIG_DFL);
		raise(sig);
		return;
	}
	if (writev(STDERR_FILENO, line, 4) < 0)
		_exit(EXIT_CANNOT);
	_exit(EXIT_CANNOT);
}

void cli_open_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			_exit(EXIT_CANNOT);
}

/* Grows the stack by n kilobytes and back. */
static void reach_down(size_t n)
{
	volatile char kilobyte[1024];

	kilobyte[0] = 0;
	if (n)
		reach_down(n - 1);
	kilobyte[1023] = kilobyte[0];
}

/* The stack is as large as it will be before other memory is asked for: where the address space is limited, that is refused in words, while a stack that
 * cannot grow ends the program. */
static void grow_stack(void)
{
	enum { ENOUGH = 256 };  /* kilobytes */
	struct rlimit limit;

	if (!getrlimit(RLIMIT_STACK, &limit))
		reach_down(limit.rlim_cur / 2048 < ENOUGH ? limit.rlim_cur / 2048 : ENOUGH);
}

void cli_start(int argc, char **argv)
{
	struct sigaction bus = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
	size_t n = 1;

	grow_stack();
	cli_open_standard();
	signal(SIGPIPE, SIG_DFL);       /* some parents ignore it; filters must end when nobody reads */
	signal(SIGXFSZ, SIG_IGN);       /* a file limit is then an error of write */
	sigaction(SIGBUS, &bus, NULL);
	for (int i = 0; i < argc; i++)
		n += strlen(argv[i]) + 1;
	cli.command = calloc(n, 1);
	for (int i = 0; cli.command && i < argc; i++) {
		const char *word = argv[i];
		if (!i && strrchr(word, '/'))
			word = strrchr(word, '/') + 1;
		strcat(strcat(cli.command, i ? " " : ""), word);
	}
	for (char *p = cli.command; p && *p; p++)       /* one line of tab-separated fields, valid UTF-8 */
		if ((unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f)
			*p = '?';
}

static void say(const char *fmt, va_list ap)
{
	char line[MESSAGE];
	int n = snprintf(line, sizeof line, "%s: ", cli.tool ? cli.tool->name : "moe");
	int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
	size_t len = (size_t)n + (size_t)(m < 0 ? 0 : m);

	if (len > sizeof line - 2)
		len = sizeof line - 2;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[len] = '\n';
	progress_clear();
	fflush(stdout);
	if (write(STDERR_FILENO, line, len + 1) < 0)
		return;
}

void cli_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void cli_note(void *arg, const char *text)
{
	(void)arg;
	if (!cli.quiet)
		cli_say("%s", text);
}

/* Outputs that are not complete. However the program exits, no temporary file stays behind. */
static struct moe_sink *unfinished[4];

static void abandon_unfinished(void)
{
	for (size_t i = 0; i < sizeof unfinished / sizeof *unfinished; i++)
		moe_sink_abandon(unfinished[i]);
}

_Noreturn void cli_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	abandon_unfinished();
	_exit(EXIT_CANNOT);     /* at once: other threads may be running, and what is buffered for an abandoned file must not be written */
}

_Noreturn void cli_die(const struct moe_diag *d)
{
	char text[MESSAGE];

	cli_fail("%s", moe_diag_string(d, text, sizeof text));
}

void cli_check(enum moe_err err, const struct moe_diag *d)
{
	if (err)
		cli_die(d);
}

int cli_close_stdout(void)
{
	progress_clear();
	if (fflush(stdout) || ferror(stdout) || (fclose(stdout) && errno != EBADF)) {
		cli_say("standard output: cannot write: %s", strerror(errno));
		return EXIT_CANNOT;
	}
	return EXIT_DONE;
}

void cli_cpu(void)
{
	enum { WIDE = MOE_CPU_AVX2 | MOE_CPU_AVX512, DOT = WIDE | MOE_CPU_AVX_VNNI | MOE_CPU_VNNI | MOE_CPU_BF16 };
	static const struct { const char *name; unsigned mask; } levels[] = {
		{"c", 0}, {"avx2", MOE_CPU_AVX2}, {"avx-vnni", MOE_CPU_AVX2 | MOE_CPU_AVX_VNNI}, {"avx512", WIDE}, {"vnni", DOT}, {"amx", DOT | MOE_CPU_AMX},
	};

	if (!cli.cpu)
		return;
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
		if (!strcmp(cli.cpu, levels[i].name)) {
			moe_cpu_mask(levels[i].mask);
			return;
		}
	cli_fail("--cpu %s: expected c, avx2, avx-vnni, avx512, vnni or amx", cli.cpu);
}

struct moe_pool *cli_pool(void)
{
	const char *env = getenv("MOE_THREADS");
	struct moe_pool *pool;

	if (!cli.threads && env) {
		char *end;
		long n = strtol(env, &end, 10);
		if (!*env || *end || n < 1 || n > 1024)
			cli_fail("$MOE_THREADS is \"%s\", expected a whole number from 1 to 1024", env);
		cli.threads = n;
	}
	if (!cli.threads)
		cli.threads = (long)moe_cpu_count();
	pool = moe_pool_new((unsigned)cli.threads);
	if (!pool)
		cli_fail("out of memory");
	return pool;
}

char *cli_share(const char *name)
{
	char self[PATH_MAX], *slash, *path;
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n < 0)
		cli_fail("cannot find the program's own folder: %s", strerror(errno));
	self[n] = 0;
	slash = strrchr(self, '/');
	if (slash)
		*slash = 0;
	if (asprintf(&path, "%s/../share/moe/%s", self, name) < 0)
		cli_fail("out of memory");
	return path;
}

const char *cli_model_path(const char *model)
{
	struct moe_hub hub = {getenv("HF_HUB_CACHE"), getenv("HF_HOME"), getenv("XDG_CACHE_HOME"), getenv("HOME")};
	static char *directory[2];      /* kept to the end of the program, which names two models at most */
	static size_t n;
	struct moe_diag d = {0};

	if (!access(model, F_OK) || !moe_hub_is_name(model))
		return model;
	cli_check(moe_hub_find(&directory[n % 2], model, &hub, &d), &d);
	cli.hub_name = model;
	return directory[n++ % 2];
}

/* The model that is used where none is named: a folder of share/. */
static const char default_model[] = "models/look";

const char *cli_model_directory(void)
{
	const char *env = getenv("MOE_MODEL");

	if (!cli.model && env && *env)
		cli.model = env;
	if (!cli.model)
		cli.model = cli_share(default_model);
	cli.model = cli_model_path(cli.model);
	if (access(cli.model, F_OK))
		cli_fail("%s: no such model directory (give a folder or the name ORG/NAME of one in the hub's local cache, with -m or $MOE_MODEL)", cli.model);
	return cli.model;
}

struct moe_model *cli_model(void)
{
	struct moe_diag d = {0};
	char *families = cli_share("families");
	struct moe_spec_options o = {
		.directory = cli_model_directory(), .families = families, .family_file = cli.family, .config_only = cli.config_only,
	};
	struct moe_model *m;
	char text[MESSAGE];

	if (moe_model_open(&m, &o, &d)) {
		if (cli.hub_name && d.code == MOE_EIO)
			cli_fail("%s (`hf download %.*s` fetches what is missing)", moe_diag_string(&d, text, sizeof text), (int)strcspn(cli.hub_name, "@"),
				 cli.hub_name);
		cli_die(&d);
	}
	free(families);
	if (m->packfile_wrong[0] && !cli.quiet && !cli.packs)
		cli_say("%s: it is not used (moe-convert --pack makes it anew)", m->packfile_wrong);
	return m;
}

enum moe_math cli_math(const struct moe_model *m)
{
	enum moe_math math = cli.math ? moe_math_find(cli.math) : moe_math_default(m);

	if (math == MOE_N_MATHS)
		cli_fail("--math %s: exact and fast are known", cli.math);
	return math;
}

struct moe_identity cli_identity(const struct moe_model *m, const char *tokenizer)
{
	return (struct moe_identity){
		.model = m ? m->fingerprint : NULL, .router = m ? &m->spec->router : NULL, .tokenizer = tokenizer, .any_model = cli.any_model,
		.math = m ? cli_math(m) : MOE_MATH_EXACT, .program = cli.no_pg ? NULL : cli.tool->name, .command = cli.command,
	};
}

/* Stages that share few CPUs do best when each works off all that waits for it, rather than being preempted by the one that it has just woken: no
 * preemption on waking and, since Linux 6.12, longer slices. */
static void share_cpus(void)
{
	struct {        /* sched_setattr(2), for which the C library has neither name nor type */
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t slice_ns, deadline, period;
	} a = {.size = sizeof a, .policy = SCHED_BATCH, .slice_ns = 20000000};

	if (sched_getscheduler(0) != SCHED_OTHER)
		return;
	a.nice = getpriority(PRIO_PROCESS, 0);
	syscall(SYS_sched_setattr, 0, &a, 0);
}

struct moe_reader *cli_reader(const char *path)
{
	struct moe_diag d = {0};
	struct moe_source *s;
	struct moe_reader *r;

	if ((!path || !strcmp(path, "-")) && isatty(STDIN_FILENO))
		opt_usage(cli.tool);
	share_cpus();
	cli_check(moe_source_open(&s, path ? path : "-", &d), &d);
	cli_check(moe_reader_new(&r, s, &d), &d);
	return r;
}

struct moe_sink *cli_sink(const char *path)
{
	static size_t n;
	struct moe_diag d = {0};

	if (!n)
		atexit(abandon_unfinished);
	cli_check(moe_sink_open(&unfinished[n], path, &d), &d);
	return unfinished[n++];         /* a program opens three at most: its output, its statistics and its trace */
}

void cli_finish(struct moe_sink *sink, enum moe_err err, struct moe_diag *d)
{
	cli_check(err, d);
	for (size_t i = 0; i < sizeof unfinished / sizeof *unfinished; i++)
		if (unfinished[i] == sink)
			unfinished[i] = NULL;
	cli_check(moe_sink_commit(sink, d), d);
}

FILE *cli_text(const char *path, struct moe_sink **sink)
{
	FILE *f = stdout;

	*sink = cli_sink(path ? path : "-");
	if (moe_sink_descriptor(*sink) != STDOUT_FILENO)
		f = fdopen(dup(moe_sink_descriptor(*sink)), "w");
	if (!f)
		cli_fail("%s: %s", path, strerror(errno));
	return f;
}

void cli_finish_text(FILE *f, struct moe_sink *sink, enum moe_err err, struct moe_diag *d)
{
	if (!err && (fflush(f) || ferror(f) || (f != stdout && fclose(f))))
		err = moe_fail_errno(d, "cannot write");
	cli_finish(sink, err, d);
}

struct moe_writer *cli_writer(struct moe_sink **sink)
{
	struct moe_diag d = {0};
	struct moe_writer *w;

	if (!cli.output && isatty(STDOUT_FILENO))
		cli_fail("a tensor stream is not written to a terminal: pipe it into the next program, into moe-view, or use -o FILE");
	*sink = cli_sink(cli.output ? cli.output : "-");
	cli_check(moe_writer_new(&w, moe_sink_descriptor(*sink), &d), &d);
	if (cli.output)
		moe_writer_name(w, cli.output);
	return w;
}

int cli_filter(const struct moe_stage *s, const struct moe_model *m)
{
	struct moe_diag d = {0};
	struct moe_sink *sink;
	struct moe_reader *in = cli_reader(NULL);
	struct moe_output out = {.writer = cli_writer(&sink)};
	struct moe_identity id = cli_identity(m, NULL);
	enum moe_err err = moe_stage_loop(in, &out, s, &id, &d);

	cli_finish(sink, err, &d);
	moe_reader_free(in);
	moe_writer_free(out.writer);
	moe_account_free(&out.account);
	return EXIT_DONE;
}
