#include "sys/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* The number behind `key` in a file of lines "KEY NUMBER"; an empty key: the file's first number. False when there is none ("max"). */
static int read_number(const char *path, const char *key, uint64_t *out)
{
	FILE *f = fopen(path, "re");
	char line[256];
	int found = 0;

	while (f && !found && fgets(line, sizeof line, f))
		if (!strncmp(line, key, strlen(key)))
			found = sscanf(line + strlen(key), " %llu", (unsigned long long *)out) == 1;
	if (f)
		fclose(f);
	return found;
}

/* The folder of the process's control group (version 2). */
static int group_folder(char *path, size_t cap)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[512];
	int found = 0;

	while (f && !found && fgets(line, sizeof line, f))
		if (!strncmp(line, "0::", 3)) {
			line[strcspn(line, "\n")] = 0;
			found = snprintf(path, cap, "/sys/fs/cgroup%s", line + 3) < (int)cap;
		}
	if (f)
		fclose(f);
	return found;
}

/* What the control group leaves: its limit less what it holds, of which file pages can be dropped. */
static uint64_t group_room(void)
{
	char folder[600], path[640];
	uint64_t limit, used = 0, files = 0;

	if (!group_folder(folder, sizeof folder))
		return UINT64_MAX;
	snprintf(path, sizeof path, "%s/memory.max", folder);
	if (!read_number(path, "", &limit))
		return UINT64_MAX;
	snprintf(path, sizeof path, "%s/memory.current", folder);
	read_number(path, "", &used);
	snprintf(path, sizeof path, "%s/memory.stat", folder);
	read_number(path, "file ", &files);
	used -= files < used ? files : used;
	return limit > used ? limit - used : 0;
}

uint64_t moe_memory_available(void)
{
	uint64_t system = UINT64_MAX, group = group_room(), least;
	struct rlimit r;

	if (read_number("/proc/meminfo", "MemAvailable:", &system))
		system *= 1024;
	least = system < group ? system : group;
	if (!getrlimit(RLIMIT_AS, &r) && r.rlim_cur != RLIM_INFINITY && r.rlim_cur < least)
		least = r.rlim_cur;
	return least;
}

/* A size of this process in bytes; 0 when it is not told. */
static uint64_t own(const char *key)
{
	uint64_t kib = 0;

	read_number("/proc/self/status", key, &kib);
	return kib * 1024;
}

uint64_t moe_memory_peak(void) { return own("VmHWM:"); }

uint64_t moe_memory_now(void) { return own("RssAnon:"); }
