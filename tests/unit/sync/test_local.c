/* Files of the synced directory: replaced as a whole or not at all, and never through a link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "sync/link.h"
#include "sync/scan.h"

struct fixture {
    char path[64];
    int base;
};

static int setup(void **state)
{
    static struct fixture f;
    strcpy(f.path, "/tmp/surf-sync-local-XXXXXX");
    assert_non_null(mkdtemp(f.path));
    f.base = open(f.path, O_RDONLY | O_DIRECTORY);
    assert_true(f.base >= 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    close(f->base);
    snprintf(command, sizeof command, "rm -r %s", f->path);
    return system(command);
}

static void write_file(struct fixture *f, const char *path, const char *text)
{
    int fd = openat(f->base, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void expect_file(struct fixture *f, const char *path, const char *text)
{
    char is[256];
    int fd = openat(f->base, path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t size = read(fd, is, sizeof is);
    close(fd);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(is, text, strlen(text));
}

static struct sync_identity identity_of(struct fixture *f, const char *path)
{
    struct sync_identity identity;
    uint32_t mode;
    enum err e;
    int fd = sync_local_open_file(f->base, slice_str(path), &identity, &mode, &e);
    assert_true(fd >= 0);
    close(fd);
    return identity;
}

static enum err put(struct fixture *f, const char *path, const char *text, const struct sync_identity *was)
{
    struct sync_temporary t;
    TRY(sync_temporary_begin(f->base, slice_str(path), &t));
    TRY(sync_local_write_all(t.fd, text, strlen(text)));
    return sync_temporary_commit(&t, 0640, was);
}

static void files_are_replaced_if_they_are_what_they_were(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, "d/e/file", "one", NULL), ERR_OK);
    expect_file(f, "d/e/file", "one");
    assert_int_equal(put(f, "d/e/file", "two", NULL), ERR_AGAIN);
    struct sync_identity was = identity_of(f, "d/e/file");
    assert_int_equal(put(f, "d/e/file", "two", &was), ERR_OK);
    expect_file(f, "d/e/file", "two");
    assert_int_equal(put(f, "d/e/file", "three", &was), ERR_AGAIN);
    assert_int_equal(sync_local_delete(f->base, slice_str("d/e/file"), &was), ERR_AGAIN);
    was = identity_of(f, "d/e/file");
    write_file(f, "d/e/file", "edited");
    assert_int_equal(put(f, "d/e/file", "three", &was), ERR_AGAIN);
    expect_file(f, "d/e/file", "edited");
    was = identity_of(f, "d/e/file");
    assert_int_equal(sync_local_delete(f->base, slice_str("d/e/file"), &was), ERR_OK);
    assert_int_equal(put(f, "d/e/file", "four", &was), ERR_AGAIN);
    sync_local_remove_directory(f->base, slice_str("d/e"));
    assert_false(sync_local_is_directory(f->base, slice_str("d/e"))); /* no temporary file was left */
    assert_true(sync_local_is_directory(f->base, slice_str("d")));
}

static void links_are_not_followed(void **state)
{
    struct fixture *f = *state;
    struct sync_identity identity, was;
    uint32_t mode;
    enum err e = ERR_OK;
    assert_int_equal(mkdirat(f->base, "outside", 0755), 0);
    write_file(f, "outside/file", "secret");
    was = identity_of(f, "outside/file");
    assert_int_equal(mkdirat(f->base, "in", 0755), 0);
    assert_int_equal(symlinkat("../outside", f->base, "in/dir"), 0);
    assert_int_equal(symlinkat("../outside/file", f->base, "in/file"), 0);
    assert_int_equal(mkfifoat(f->base, "in/fifo", 0644), 0);
    int base = openat(f->base, "in", O_RDONLY | O_DIRECTORY);
    assert_true(sync_local_open_file(base, slice_str("file"), &identity, &mode, &e) < 0);
    assert_int_equal(e, ERR_LOOP);
    assert_true(sync_local_open_file(base, slice_str("dir/file"), &identity, &mode, &e) < 0);
    assert_true(sync_local_open_file(base, slice_str("fifo"), &identity, &mode, &e) < 0);
    assert_int_equal(e, ERR_INVAL);
    struct sync_temporary t;
    assert_int_not_equal(sync_temporary_begin(base, slice_str("dir/new"), &t), ERR_OK);
    assert_int_equal(sync_temporary_begin(base, slice_str("file"), &t), ERR_OK);
    assert_int_equal(sync_temporary_commit(&t, 0644, &was), ERR_AGAIN);
    assert_int_not_equal(sync_local_delete(base, slice_str("dir/file"), &was), ERR_OK);
    assert_int_equal(sync_local_delete(base, slice_str("file"), &was), ERR_AGAIN);
    assert_false(sync_local_is_directory(base, slice_str("dir")));
    expect_file(f, "outside/file", "secret");
    close(base);
}

static void note_left_out(void *context, struct slice path, enum err e, const char *why)
{
    (void)path, (void)e, (void)why;
    ++*(unsigned *)context;
}

static void scan(struct fixture *f, bool looks_only, unsigned *ret_left_out)
{
    struct arena a = {0};
    struct sync_index index = {0};
    struct sync_scanned found;
    struct err_text why;
    *ret_left_out = 0;
    struct sync_scan s = {.base = f->base,
                          .block_bytes = 4096,
                          .looks_only = looks_only,
                          .index = &index,
                          .on_left_out = note_left_out,
                          .context = ret_left_out};
    assert_int_equal(sync_scan(&s, &a, &found, &why), ERR_OK);
    assert_int_equal(found.file_count, 1);
    assert_true(slice_equal(found.files[0].path, slice_str("file")));
    arena_free(&a);
}

/* What a run that was killed has left goes with the next one that is not only to look; what somebody else has called
 * alike never does. */
static void only_own_files_are_tidied_away(void **state)
{
    struct fixture *f = *state;
    static const char *const others[] = {".surfsync-notes", ".surfsyncrc", ".surfsync-1-2.txt", ".surfsync-1-",
                                         ".surfsync-link-0123456789abcdef"};
    static const char link_left[] = ".surfsync-link-fedcba9876543210", other_link[] = ".surfsync-1-2";
    unsigned left_out;
    struct sync_temporary t;
    write_file(f, "file", "a");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        write_file(f, others[i], others[i]);
    assert_int_equal(symlinkat("file", f->base, link_left), 0);
    assert_int_equal(symlinkat("file", f->base, other_link), 0);
    assert_int_equal(sync_temporary_begin(f->base, slice_str("other"), &t), ERR_OK);
    scan(f, true, &left_out);
    assert_int_equal(faccessat(f->base, t.temporary, F_OK, 0), 0);
    assert_int_equal(faccessat(f->base, link_left, F_OK, 0), 0);
    assert_int_equal(left_out, 6);
    scan(f, false, &left_out);
    assert_int_not_equal(faccessat(f->base, t.temporary, F_OK, 0), 0);
    assert_int_not_equal(faccessat(f->base, link_left, F_OK, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(faccessat(f->base, other_link, F_OK, 0), 0);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        expect_file(f, others[i], others[i]);
    sync_temporary_drop(&t);
}

static void hashes_do_not_depend_on_how_the_bytes_come(void **state)
{
    (void)state;
    uint8_t data[1000];
    struct arena a = {0};
    struct sync_hasher whole, pieces;
    struct sha256 last;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    for (uint32_t block = 1; block <= 1001; block += 50) {
        sync_hasher_begin(&whole, &a, block);
        sync_hasher_add(&whole, SLICE(data, sizeof data));
        sync_hasher_end(&whole);
        sync_hasher_begin(&pieces, &a, block);
        for (size_t at = 0, size = 1; at < sizeof data; at += size, size = size % 97 + 13)
            sync_hasher_add(&pieces, SLICE(data + at, at + size < sizeof data ? size : sizeof data - at));
        sync_hasher_end(&pieces);
        assert_int_equal(whole.count, (sizeof data + block - 1) / block);
        assert_true(sync_hashes_equal(whole.hashes, whole.count, pieces.hashes, pieces.count));
        size_t rest = (sizeof data - 1) % block + 1;
        sha256_of(SLICE(data + sizeof data - rest, rest), &last);
        assert_true(sha256_equal(&whole.hashes[whole.count - 1], &last));
    }
    arena_free(&a);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

static enum err check_link(const char *path, const char *target)
{
    struct err_text why = {""};
    return sync_link_check(slice_str(path), slice_str(target), &why);
}

static void links_that_stay_inside(void **state)
{
    (void)state;
    const char *const inside[] = {"a",      "a/b",   "./a",   "../a",   "..",   "../../a",
                                  ".././a", "a/...", "..a/b", "..//..", "a//b/"};
    const char *const outside[] = {"",     "/",      "/a",        "../../..",     "../../../a",
                                   "a/..", "a/../b", "../a/../b", "./../../../a", ".//../../.."};
    for (size_t i = 0; i < ARRAY_SIZE(inside); i++)
        assert_int_equal(check_link("d/e/link", inside[i]), ERR_OK);
    for (size_t i = 0; i < ARRAY_SIZE(outside); i++)
        assert_int_equal(check_link("d/e/link", outside[i]), ERR_INVAL);
    assert_int_equal(check_link("link", ".."), ERR_INVAL);
    assert_int_equal(sync_link_check(slice_str("link"), SLICE("a\0b", 3), NULL), ERR_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_are_replaced_if_they_are_what_they_were),
        TEST(links_are_not_followed),
        TEST(only_own_files_are_tidied_away),
        cmocka_unit_test(links_that_stay_inside),
        cmocka_unit_test(hashes_do_not_depend_on_how_the_bytes_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
