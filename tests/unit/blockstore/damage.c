/* Damage to the files of a closed store: an open or a verification says so, and wrong bytes never pass as right ones.
 */
#include "tests/unit/blockstore/fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prng.h"

#define BLOCKS 12u
#define BLOCK_BYTES 20000u

static void work_blocks(const char *path)
{
    struct block_store *s = must_open(path);
    for (unsigned i = 0; i < BLOCKS; i++)
        must_put(s, i, BLOCK_BYTES, true);
}

/* Blocks in the log; or `flushed`, as an open does with what it finds there, in a table and a blob file. */
static void make_template(char path[64], bool flushed)
{
    directory_make(path);
    run_killed("work_blocks", path);
    if (flushed)
        block_store_close(must_open(path));
}

static void copy_template(const char *from, char path[64])
{
    char command[200];
    directory_make(path);
    snprintf(command, sizeof command, "cp -r '%s/.' '%s'", from, path);
    assert_int_equal(system(command), 0);
}

/* The file with this suffix that has the most bytes. */
static void find_file(const char *path, const char *suffix, char file[512])
{
    DIR *d = opendir(path);
    assert_non_null(d);
    off_t size = -1;
    for (struct dirent *e; (e = readdir(d));) {
        size_t length = strlen(e->d_name);
        char name[512];
        struct stat info;
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (length < strlen(suffix) || strcmp(e->d_name + length - strlen(suffix), suffix) != 0 ||
            stat(name, &info) != 0 || info.st_size <= size)
            continue;
        size = info.st_size;
        snprintf(file, 512, "%s", name);
    }
    closedir(d);
    if (size < 0)
        fail_msg("no %s file", suffix);
}

static off_t file_size(const char *file)
{
    struct stat info;
    assert_int_equal(stat(file, &info), 0);
    return info.st_size;
}

static void flip(const char *file, off_t at)
{
    int fd = open(file, O_RDWR);
    uint8_t byte = 0;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x20;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Opens, and looks at each block: how many are intact, refused as corrupt, or gone; a refused open counts all refused.
 */
struct verdict {
    unsigned intact, corrupt, gone;
};
static struct verdict examine(const char *path)
{
    struct verdict v = {0};
    struct block_store_options options = {0};
    struct block_store *s = NULL;
    struct err_text why = {""};
    enum err e = block_store_open(path, &options, &s, &why);
    if (e != ERR_OK) {
        if (e != ERR_CORRUPT || why.text[0] == 0)
            fail_msg("open: %s: %s", err_name(e), why.text);
        v.corrupt = BLOCKS;
        return v;
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct block b;
        struct bytes got = {0};
        block_make(&b, i, BLOCK_BYTES);
        e = block_store_verify(s, &b.id);
        enum err get = block_store_get(s, &b.id, &got);
        bool right = get == ERR_OK && slice_equal(bytes_slice(&got), bytes_slice(&b.data));
        if ((e == ERR_OK) != right)
            fail_msg("block %u: verify says %s, get %s", i, err_name(e), err_name(get));
        if (e == ERR_OK)
            v.intact++;
        else if (e == ERR_NOT_FOUND)
            v.gone++;
        else if (e == ERR_CORRUPT)
            v.corrupt++;
        else
            fail_msg("block %u: %s", i, err_name(e));
        bytes_free(&got);
        block_free(&b);
    }
    block_store_close(s);
    return v;
}

static void test_flips(void **state)
{
    (void)state;
    const char *const suffixes[] = {".blob", ".sst", ".log"};
    struct prng p;
    prng_seed(&p, 11);
    for (unsigned k = 0; k < 3; k++) {
        bool flushed = k < 2;
        unsigned noticed = 0, rounds = k == 0 ? 12 : 25;
        char whole[64];
        make_template(whole, flushed);
        for (unsigned n = 0; n < rounds; n++) {
            char path[64], file[512];
            copy_template(whole, path);
            find_file(path, suffixes[k], file);
            off_t at = (off_t)prng_below(&p, (uint64_t)file_size(file));
            flip(file, at);
            struct verdict v = examine(path);
            if (v.gone > 0)
                fail_msg("%s at %ld: %u blocks are gone without a word", suffixes[k], (long)at, v.gone);
            noticed += v.corrupt > 0;
            directory_remove(path);
        }
        directory_remove(whole);
        printf("%s: %u flips, %u noticed, the others harmless\n", suffixes[k], rounds, noticed);
        assert_in_range(noticed, rounds / 3, rounds);
    }
}

static void test_lengths(void **state)
{
    (void)state;
    const char *const suffixes[] = {".blob", ".sst"};
    char whole[64];
    make_template(whole, true);
    for (unsigned k = 0; k < 2; k++)
        for (unsigned n = 0; n < 4; n++) {
            char path[64], file[512];
            copy_template(whole, path);
            find_file(path, suffixes[k], file);
            off_t size = file_size(file);
            assert_int_equal(n == 3 ? unlink(file) : truncate(file, n == 0 ? size - 1 : n == 1 ? size / 2 : 0), 0);
            struct verdict v = examine(path);
            if (v.gone > 0 || v.corrupt == 0)
                fail_msg("%s cut (%u): %u intact, %u corrupt, %u gone", suffixes[k], n, v.intact, v.corrupt, v.gone);
            directory_remove(path);
        }
    directory_remove(whole);
}

/* The last record of the log torn by a power cut: it was never acknowledged, and what was before it is there. */
static void test_torn_log(void **state)
{
    (void)state;
    char whole[64];
    make_template(whole, false);
    for (unsigned n = 1; n <= 4; n++) {
        char path[64], file[512];
        copy_template(whole, path);
        find_file(path, ".log", file);
        assert_int_equal(truncate(file, file_size(file) - (off_t)(n * n * 1000)), 0);
        struct verdict v = examine(path);
        assert_int_equal(v.intact, BLOCKS - 1);
        assert_int_equal(v.gone, 1);
        directory_remove(path);
    }
    directory_remove(whole);
}

static void flip_every(const char *file, off_t step)
{
    for (off_t at = step / 2; at < file_size(file); at += step)
        flip(file, at);
}

/* Bad bytes are replaced by good ones, by the healer and by whoever puts them; also after an open. */
static void test_replace(void **state)
{
    (void)state;
    char path[64], file[512];
    make_template(path, true);
    find_file(path, ".blob", file);
    flip_every(file, BLOCK_BYTES / 2);
    struct block_store *s = must_open(path);
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct block b, other;
        block_make(&b, i, BLOCK_BYTES);
        block_make(&other, i + 1000, BLOCK_BYTES);
        assert_int_equal(block_store_verify(s, &b.id), ERR_CORRUPT);
        assert_int_equal(block_store_replace(s, &b.id, bytes_slice(&other.data)), ERR_CORRUPT);
        if (i % 2 == 0)
            assert_int_equal(block_store_put(s, &b.id, bytes_slice(&b.data), i % 4 == 0), ERR_OK);
        else
            assert_int_equal(block_store_replace(s, &b.id, bytes_slice(&b.data)), ERR_OK);
        assert_int_equal(block_store_verify(s, &b.id), ERR_OK);
        assert_int_equal(block_store_replace(s, &other.id, bytes_slice(&other.data)), ERR_OK);
        assert_int_equal(block_store_verify(s, &other.id), ERR_OK);
        block_free(&b);
        block_free(&other);
    }
    block_store_close(s);
    assert_int_equal(examine(path).intact, BLOCKS);
    directory_remove(path);
}

/* Among blocks that are new and others that are whole; what they came to is what is there. */
static void test_put_many_over_bad_ones(void **state)
{
    (void)state;
    char path[64], file[512];
    struct block blocks[BLOCKS + 1];
    struct sha256 ids[BLOCKS + 1];
    struct slice datas[BLOCKS + 1];
    int64_t bytes, stored;
    make_template(path, true);
    find_file(path, ".blob", file);
    flip_every(file, 3 * BLOCK_BYTES);
    struct block_store *s = must_open(path);
    unsigned bad = 0;
    for (unsigned i = 0; i <= BLOCKS; i++) {
        block_make(&blocks[i], i, BLOCK_BYTES);
        ids[i] = blocks[i].id;
        datas[i] = bytes_slice(&blocks[i].data);
        bad += block_store_verify(s, &ids[i]) == ERR_CORRUPT;
    }
    assert_in_range(bad, 1, BLOCKS - 1);
    assert_int_equal(block_store_put_many(s, ids, datas, BLOCKS + 1, true), ERR_OK);
    block_store_net(s, &bytes, &stored);
    assert_int_equal(bytes, BLOCK_BYTES);
    for (unsigned i = 0; i <= BLOCKS; i++) {
        assert_int_equal(block_store_verify(s, &ids[i]), ERR_OK);
        block_free(&blocks[i]);
    }
    block_store_close(s);
    directory_remove(path);
}

/* What a damaged table says of its blocks can't be read: they count as absent, and a put writes them. */
static void test_put_over_damaged_rows(void **state)
{
    (void)state;
    char path[64], file[512];
    make_template(path, true);
    find_file(path, ".sst", file);
    flip(file, 100); /* in the first block of rows, which holds them all */
    struct block_store *s = must_open(path);
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct block b;
        bool there = true;
        block_make(&b, i, BLOCK_BYTES);
        assert_int_equal(block_store_verify(s, &b.id), ERR_CORRUPT);
        assert_int_equal(block_store_has(s, &b.id, 1, &there), ERR_OK);
        assert_false(there);
        assert_int_equal(block_store_put(s, &b.id, bytes_slice(&b.data), true), ERR_OK);
        assert_int_equal(block_store_verify(s, &b.id), ERR_OK);
        block_free(&b);
    }
    block_store_close(s);
    directory_remove(path);
}

int main(int argc, char **argv)
{
    const struct killed_work works[] = {{"work_blocks", work_blocks}};
    killed_main(argc, argv, works, ARRAY_SIZE(works));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flips),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_torn_log),
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_put_many_over_bad_ones),
        cmocka_unit_test(test_put_over_damaged_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
