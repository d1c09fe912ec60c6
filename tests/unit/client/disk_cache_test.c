/* Blocks on a local disk: what is kept comes back, what is damaged does not, the bound holds for all who share it, and
 * what was used lately stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/block/disk_cache.h"

#define AWAIT(condition)                                                                                               \
    do {                                                                                                               \
        int64_t await_until_ = clock_boot_ns() + 10 * NS_PER_S;                                                        \
        while (!(condition)) {                                                                                         \
            if (clock_boot_ns() > await_until_)                                                                        \
                fail_msg("waited in vain for " #condition);                                                            \
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);                                                   \
        }                                                                                                              \
    } while (0)

static char directory[64];

static int start(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/surf-disk-cache-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int end(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

static struct disk_cache *open_it(uint64_t bytes)
{
    struct disk_cache *c;
    struct err_text why;
    if (disk_cache_open(directory, bytes, &c, &why) != ERR_OK)
        fail_msg("%s", why.text);
    return c;
}

static struct disk_cache_stats stats_of(struct disk_cache *c)
{
    struct disk_cache_stats s;
    disk_cache_stats(c, &s);
    return s;
}

static struct block_buffer *block_of(uint32_t number, size_t size)
{
    uint8_t *data = mem_zalloc(size);
    put_u32be(data, number);
    return block_buffer_new(data, size);
}

static void put(struct disk_cache *c, uint32_t number, size_t size)
{
    struct block_buffer *b = block_of(number, size);
    struct disk_cache_stats before = stats_of(c);
    disk_cache_put(c, b);
    block_buffer_unref(b);
    AWAIT(stats_of(c).written + stats_of(c).dropped > before.written + before.dropped);
}

static bool has(struct disk_cache *c, uint32_t number, size_t size)
{
    struct block_buffer *b = block_of(number, size), *got = disk_cache_get(c, &b->id);
    bool found = got;
    if (got)
        assert_true(slice_equal(got->data, b->data));
    block_buffer_unref(got);
    block_buffer_unref(b);
    return found;
}

static void path_of(uint32_t number, size_t size, char path[256])
{
    char hex[65];
    struct block_buffer *b = block_of(number, size);
    sha256_hex(&b->id, hex);
    snprintf(path, 256, "%s/surffs-cache/%.2s/%s", directory, hex, hex);
    block_buffer_unref(b);
}

static void what_is_kept_comes_back(void **state)
{
    (void)state;
    struct disk_cache *c = open_it(DISK_CACHE_BYTES_MIN);
    assert_false(has(c, 1, 100));
    put(c, 1, 100);
    put(c, 2, MIB);
    assert_true(has(c, 1, 100) && has(c, 2, MIB));
    disk_cache_free(c);
    c = open_it(DISK_CACHE_BYTES_MIN);
    struct disk_cache *other = open_it(DISK_CACHE_BYTES_MIN);
    assert_true(has(c, 1, 100) && has(c, 2, MIB));
    put(other, 3, 5000);
    assert_true(has(c, 3, 5000));
    assert_int_equal(stats_of(c).bad, 0);
    disk_cache_free(c);
    disk_cache_free(other);
}

static void damage_is_no_block(void **state)
{
    (void)state;
    char path[256];
    struct disk_cache *c = open_it(DISK_CACHE_BYTES_MIN);
    put(c, 1, 5000);
    path_of(1, 5000, path);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "?", 1, 4000), 1);
    close(fd);
    assert_false(has(c, 1, 5000));
    assert_int_equal(stats_of(c).bad, 1);
    assert_int_equal(access(path, F_OK), -1);
    put(c, 1, 5000);
    assert_true(has(c, 1, 5000));
    assert_int_equal(truncate(path, 0), 0);
    assert_false(has(c, 1, 5000));
    put(c, 1, 5000);
    assert_int_equal(truncate(path, 3 * MIB), 0);
    assert_false(has(c, 1, 5000));
    assert_int_equal(stats_of(c).bad, 3);
    /* A way out of the directory is not followed, and a pipe is not waited for. */
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_false(has(c, 1, 5000));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(has(c, 1, 5000));
    disk_cache_free(c);
}

static uint64_t bytes_there(void)
{
    uint64_t total = 0;
    for (unsigned n = 0; n < 256; n++) {
        char path[128];
        snprintf(path, sizeof path, "%s/surffs-cache/%02x", directory, n);
        DIR *d = opendir(path);
        for (struct dirent *e; (e = readdir(d));) {
            struct stat s;
            if (e->d_name[0] != '.' && fstatat(dirfd(d), e->d_name, &s, 0) == 0)
                total += ((uint64_t)s.st_size + 4095) / 4096 * 4096;
        }
        closedir(d);
    }
    return total;
}

static void the_bound_is_kept(void **state)
{
    (void)state;
    struct disk_cache *a = open_it(DISK_CACHE_BYTES_MIN), *b = open_it(DISK_CACHE_BYTES_MIN);
    for (uint32_t n = 0; n < 60; n++) {
        put(n % 2 ? a : b, n, MIB / 2);
        assert_true(bytes_there() <= DISK_CACHE_BYTES_MIN);
    }
    assert_true(bytes_there() > DISK_CACHE_BYTES_MIN / 2);
    assert_true(stats_of(a).evicted + stats_of(b).evicted > 0);
    disk_cache_free(a);
    disk_cache_free(b);
}

/* Of many files in each folder those go that nobody has read since. */
static void what_was_used_lately_stays(void **state)
{
    (void)state;
    struct disk_cache *c = open_it(DISK_CACHE_BYTES_MIN);
    uint32_t count = (uint32_t)(DISK_CACHE_BYTES_MIN / 4096) - 100;
    for (uint32_t n = 0; n < count; n++)
        put(c, n, 4096);
    assert_int_equal(stats_of(c).written, count);
    for (uint32_t n = 0; n < count; n++) { /* all are of long ago, but for every fourth */
        char path[256];
        path_of(n, 4096, path);
        struct timespec times[] = {{.tv_sec = 1000000}, {.tv_nsec = UTIME_OMIT}};
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
        if (n % 4 == 0)
            assert_true(has(c, n, 4096));
    }
    for (uint32_t n = 0; n < 300; n++)
        put(c, count + n, 4096);
    assert_true(stats_of(c).evicted > 0);
    unsigned used = 0, unused = 0;
    for (uint32_t n = 0; n < count; n++) {
        char path[256];
        path_of(n, 4096, path);
        unsigned *gone = n % 4 == 0 ? &used : &unused;
        *gone += access(path, F_OK) != 0;
    }
    assert_true(unused > 20 * used);
    disk_cache_free(c);
}

static void bad_places_are_refused(void **state)
{
    (void)state;
    struct disk_cache *c;
    struct err_text why;
    assert_int_equal(disk_cache_open(directory, DISK_CACHE_BYTES_MIN - 1, &c, &why), ERR_INVAL);
    assert_non_null(strstr(why.text, "16 MiB"));
    assert_int_equal(disk_cache_open("/tmp/not/there", DISK_CACHE_BYTES_MIN, &c, &why), ERR_INVAL);
    assert_non_null(strstr(why.text, "/tmp/not/there"));
    assert_int_equal(disk_cache_open("/dev/null", DISK_CACHE_BYTES_MIN, &c, &why), ERR_INVAL);
    assert_int_equal(disk_cache_open("/proc", DISK_CACHE_BYTES_MIN, &c, &why), ERR_INVAL);
}

static void a_folder_of_others_is_refused(void **state)
{
    (void)state;
    char path[128];
    struct disk_cache *c;
    struct err_text why;
    snprintf(path, sizeof path, "%s/surffs-cache", directory);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(disk_cache_open(directory, DISK_CACHE_BYTES_MIN, &c, &why), ERR_INVAL);
    assert_non_null(strstr(why.text, "others"));
    assert_int_equal(chmod(path, 0755), 0);
    if (geteuid() == 0) { /* who else could give it away */
        assert_int_equal(chown(path, 12345, 12345), 0);
        assert_int_equal(disk_cache_open(directory, DISK_CACHE_BYTES_MIN, &c, &why), ERR_INVAL);
        assert_int_equal(chown(path, 0, 0), 0);
    }
    disk_cache_free(open_it(DISK_CACHE_BYTES_MIN));
}

int main(void)
{
    log_set_level(LOG_ERROR);
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(what_is_kept_comes_back),    TEST(damage_is_no_block),     TEST(the_bound_is_kept),
        TEST(what_was_used_lately_stays), TEST(bad_places_are_refused), TEST(a_folder_of_others_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
