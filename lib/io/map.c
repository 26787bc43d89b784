#include "io/map.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"

enum { LARGE_PAGE = 2 << 20 };

static struct moe_map *all;     /* changed only by the main thread, while models are opened and closed */

static enum moe_err map_fd(struct moe_map *m, int fd, struct moe_diag *d)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st))
		return moe_fail_errno(d, "cannot stat");
	if (!S_ISREG(st.st_mode))
		return moe_fail(d, MOE_EIO, "is not a regular file");
	m->nbytes = (size_t)st.st_size;
	if (!m->nbytes)
		return MOE_OK;
	p = mmap(NULL, m->nbytes, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return moe_fail_errno(d, "cannot map %zu bytes", m->nbytes);
	m->bytes = p;
	return MOE_OK;
}

enum moe_err moe_map_open(struct moe_map **out, const char *path, struct moe_diag *d)
{
	struct moe_map *m = calloc(1, sizeof *m);
	enum moe_err err;
	int fd;

	if (!m || !(m->path = moe_strdup(path))) {
		free(m);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);     /* a FIFO in a model's folder must not be waited for */
	err = fd < 0 ? moe_fail_errno(d, "cannot open") : map_fd(m, fd, d);
	if (fd >= 0)
		close(fd);
	if (err) {
		moe_diag_path(d, path);
		free(m->path);
		free(m);
		return err;
	}
	m->next = all;
	all = m;
	*out = m;
	return MOE_OK;
}

void moe_map_close(struct moe_map *m)
{
	if (!m)
		return;
	for (struct moe_map **at = &all; *at; at = &(*at)->next)
		if (*at == m) {
			*at = m->next;
			break;
		}
	if (m->nbytes)
		munmap((void *)m->bytes, m->nbytes);
	free(m->path);
	free(m);
}

void moe_map_release(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	for (const struct moe_map *m = all; m; m = m->next)
		if (p >= m->bytes && (size_t)(p - m->bytes) < m->nbytes) {
			size_t begin = (size_t)(p - m->bytes) / LARGE_PAGE * LARGE_PAGE, end = moe_min(m->nbytes, moe_round_up((size_t)(p - m->bytes) + n, LARGE_PAGE));
			madvise((void *)(uintptr_t)(m->bytes + begin), end - begin, MADV_DONTNEED);
			return;
		}
}

const char *moe_map_name(const void *address)
{
	const uint8_t *p = address;

	for (const struct moe_map *m = all; m; m = m->next)
		if (p >= m->bytes && (size_t)(p - m->bytes) < m->nbytes)
			return m->path;
	return NULL;
}
