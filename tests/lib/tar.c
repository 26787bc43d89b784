/* Archives that are written: members as they are read back, and failures. */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>

#include "io/tar.h"
#include "lib_data.h"

static void write_two(const char *path)
{
	struct moe_diag d = {0};
	struct moe_tar *t;
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);

	assert_true(fd >= 0);
	expect_ok(&d, moe_tar_new(&t, fd, &d));
	expect_ok(&d, moe_tar_add(t, "00000000.png", "abc", 3, &d));
	expect_ok(&d, moe_tar_add(t, "00000000.json", "", 0, &d));
	expect_ok(&d, moe_tar_finish(t, &d));
	close(fd);
}

static void test_members(void **state)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	uint8_t *one, *two;
	size_t n, m;
	char bytes[8];

	(void)state;
	write_two(scratch("a.tar"));
	write_two(scratch("b.tar"));
	one = read_bytes(scratch("a.tar"), &n);
	two = read_bytes(scratch("b.tar"), &m);
	assert_true(n == m && n == 10240);
	assert_memory_equal(one, two, n);
	archive_read_support_format_tar(a);
	assert_int_equal(archive_read_open_memory(a, one, n), 0);
	assert_int_equal(archive_read_next_header(a, &e), 0);
	assert_string_equal(archive_entry_pathname(e), "00000000.png");
	assert_int_equal(archive_entry_mtime(e), 0);
	assert_int_equal(archive_entry_perm(e), 0644);
	assert_int_equal(archive_entry_uid(e), 0);
	assert_int_equal(archive_read_data(a, bytes, sizeof bytes), 3);
	assert_memory_equal(bytes, "abc", 3);
	assert_int_equal(archive_read_next_header(a, &e), 0);
	assert_string_equal(archive_entry_pathname(e), "00000000.json");
	assert_int_equal(archive_entry_size(e), 0);
	assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_EOF);
	archive_read_free(a);
	free(one);
	free(two);
}

static void test_full(void **state)
{
	struct moe_diag d = {0};
	struct moe_tar *t;
	int fd = open("/dev/full", O_WRONLY);

	(void)state;
	expect_ok(&d, moe_tar_new(&t, fd, &d));
	expect_ok(&d, moe_tar_add(t, "a", "abc", 3, &d));       /* one block is gathered first */
	expect_fail(&d, moe_tar_finish(t, &d), MOE_EIO, "No space left");
	moe_diag_clear(&d);
	expect_ok(&d, moe_tar_new(&t, fd, &d));
	moe_tar_abandon(t);
	moe_tar_abandon(NULL);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_members), cmocka_unit_test(test_full)};

	return cmocka_run_group_tests_name("tar", tests, NULL, scratch_remove);
}
