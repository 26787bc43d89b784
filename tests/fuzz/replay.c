/* Runs a fuzz target on the files that are named, or that lie in the folders that are named. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The file's bytes end at the end of their memory, so that sanitizers and valgrind see a read behind it. */
static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *bytes = NULL;
	long n;

	if (!f || fseek(f, 0, SEEK_END) || (n = ftell(f)) < 0 || fseek(f, 0, SEEK_SET) || !(bytes = malloc((size_t)n + !n)) ||
	    fread(bytes, 1, (size_t)n, f) != (size_t)n) {
		perror(path);
		exit(2);
	}
	fclose(f);
	LLVMFuzzerTestOneInput(bytes, (size_t)n);
	free(bytes);
	return 1;
}

static int run_path(const char *path)
{
	struct dirent **e;
	int n = scandir(path, &e, NULL, alphasort), ran = 0;

	if (n < 0)
		return run_file(path);
	for (int i = 0; i < n; i++) {
		char file[4096];
		snprintf(file, sizeof file, "%s/%s", path, e[i]->d_name);
		ran += e[i]->d_name[0] != '.' ? run_file(file) : 0;
		free(e[i]);
	}
	free(e);
	return ran;
}

int main(int argc, char **argv)
{
	int ran = 0;

	for (int i = 1; i < argc; i++)
		ran += run_path(argv[i]);
	printf("%d inputs\n", ran);
	return ran ? 0 : 2;
}
