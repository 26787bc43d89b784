#include "common/progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/cli.h"

static struct {
	bool asked, wanted, shown;
	double start, last;
} p;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void put(const char *line, int n)
{
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		p.wanted = false;
}

/* Is it time for a line? *elapsed: seconds since the first question. */
static bool is_due(bool wanted, double *elapsed)
{
	double t;

	if (!p.asked) {
		p.asked = true;
		p.wanted = wanted && !cli.quiet && isatty(STDERR_FILENO);
		p.start = p.wanted ? now() : 0;
	}
	if (!p.wanted || (t = now()) - p.start < 1 || t - p.last < 0.2)
		return false;
	p.last = t;
	p.shown = true;
	*elapsed = t - p.start;
	return true;
}

void progress_show(uint64_t done, const char *things)
{
	char line[96];
	double elapsed;

	if (is_due(!isatty(STDOUT_FILENO), &elapsed))   /* where the answers themselves are seen, they are progress enough */
		put(line, snprintf(line, sizeof line, "\r%llu %s, %.0f a second\033[K", (unsigned long long)done, things, (double)done / elapsed));
}

void progress_line(const char *text)
{
	char line[256];
	double elapsed;
	int n;

	if (!is_due(true, &elapsed))
		return;
	n = snprintf(line, sizeof line, "\r%s\033[K", text);
	put(line, n < (int)sizeof line ? n : (int)sizeof line - 1);
}

void progress_clear(void)
{
	if (p.shown)
		put("\r\033[K", 4);
	p.shown = false;
}

void progress_bytes(void *arg, uint64_t done, uint64_t all)
{
	char of[40];

	(void)arg;
	snprintf(of, sizeof of, "of %llu MB", (unsigned long long)(all / 1000000));
	progress_show(done / 1000000, of);
}
