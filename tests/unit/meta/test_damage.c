/* What damaged files and rows lead to: an error, never another state or answer. */
#include "tests/unit/meta/steps.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prng.h"
#include "meta/store.h"

static void make_files(char path[64])
{
    directory_make(path);
    struct meta *m = must_open(path);
    for (uint64_t index = 200; index <= STEPS; index += 200) {
        run_to(m, index);
        assert_int_equal(meta_flush(m, true), ERR_OK);
    }
    meta_close(m);
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* The names of the files that hold state. */
static unsigned list_files(const char *path, char names[][64], unsigned max)
{
    DIR *d = opendir(path);
    assert_non_null(d);
    unsigned count = 0;
    for (struct dirent *e; (e = readdir(d)) && count < max;)
        if (ends_with(e->d_name, ".sst") || strncmp(e->d_name, "MANIFEST", 8) == 0 || strcmp(e->d_name, "CURRENT") == 0)
            snprintf(names[count++], 64, "%.60s", e->d_name);
    closedir(d);
    return count;
}

static void copy_directory(const char *from, const char *to)
{
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s'", to, from, to);
    assert_int_equal(system(command), 0);
}

/* Opens, reads and changes everything: an error at any point, or the state as it was. */
static enum err use(const char *path, struct err_text *why, struct hashes *ret)
{
    struct meta_options options = {.path = path};
    struct meta *m = NULL;
    TRY(meta_open(&options, &m, why));
    enum err e = meta_state_hash(m, &ret->state);
    if (e == ERR_OK)
        e = meta_verify(m, why);
    meta_chain_hash(m, &ret->chain);
    struct step s;
    struct meta_reply r;
    uint64_t index = meta_applied_index(m) + 1;
    step_make(index, &s);
    if (e == ERR_OK)
        e = meta_apply(m, index, 1, &s.c, &r);
    struct arena arena = {0};
    struct meta_query_reply reply;
    for (uint64_t ino = ROOT; e == ERR_OK && ino < ROOT + DIRECTORIES; ino++) {
        struct meta_query q = {.op = META_QUERY_READDIR, .ino = ino, .with_attr = true};
        e = meta_query(m, &q, &arena, &reply);
    }
    arena_free(&arena);
    meta_close(m);
    return e;
}

static void damaged_files_are_errors(void **state)
{
    (void)state;
    char good[64], path[80], names[16][64];
    struct prng p;
    prng_seed(&p, SEED);
    make_files(good);
    snprintf(path, sizeof path, "%s.damaged", good);
    struct hashes want, got;
    struct err_text why = {""};
    copy_directory(good, path);
    assert_int_equal(use(path, &why, &want), ERR_OK);
    unsigned count = list_files(good, names, 16), found = 0, rounds = 0;
    assert_true(count >= 3);
    for (unsigned i = 0; i < count; i++)
        for (unsigned kind = 0; kind < 6; kind++, rounds++) {
            char file[160];
            struct stat st;
            copy_directory(good, path);
            snprintf(file, sizeof file, "%s/%.63s", path, names[i]);
            assert_int_equal(stat(file, &st), 0);
            off_t at = (off_t)prng_below(&p, (uint64_t)st.st_size);
            if (kind < 2) {
                assert_int_equal(truncate(file, kind == 0 ? 0 : at), 0);
            } else {
                FILE *f = fopen(file, "r+");
                assert_non_null(f);
                fseek(f, at, SEEK_SET);
                int byte = fgetc(f);
                fseek(f, at, SEEK_SET);
                fputc(byte ^ (1 << prng_below(&p, 8)), f);
                fclose(f);
            }
            why.text[0] = 0;
            enum err e = use(path, &why, &got);
            /* A flip in padding or statistics harms nothing; a MANIFEST cut short may be an earlier state. */
            if (e == ERR_OK && ends_with(names[i], ".sst"))
                assert_same(got, want);
            if (e != ERR_OK) {
                found++;
                if (e != ERR_CORRUPT && e != ERR_IO)
                    fail_msg("%s, kind %u, at %lld: %s %s", names[i], kind, (long long)at, err_name(e), why.text);
            }
        }
    assert_true(found > rounds / 2);
    copy_directory(good, path);
    directory_remove(path);
    directory_remove(good);
}

#define REPLIES 40u

/* The replies to the commands that follow, up to the first error. Nothing is flushed at the end: that may lead to a
 * compaction, and RocksDB pauses for a second after each that meets an error. */
static unsigned replies_after(const char *path, struct meta_reply replies[REPLIES], enum err *ret)
{
    struct meta_options options = {.path = path, .lose_unflushed = true};
    struct meta *m = NULL;
    unsigned count = 0;
    *ret = meta_open(&options, &m, NULL);
    while (*ret == ERR_OK && count < REPLIES) {
        struct step s;
        uint64_t index = meta_applied_index(m) + 1;
        step_make(index, &s);
        memset(&replies[count], 0, sizeof replies[count]);
        *ret = meta_apply(m, index, 1, &s.c, &replies[count]);
        count += *ret == ERR_OK;
    }
    meta_close(m);
    return count;
}

static void flip_bit(const char *file, uint64_t at, unsigned bit)
{
    FILE *f = fopen(file, "r+");
    assert_non_null(f);
    fseek(f, (long)at, SEEK_SET);
    int byte = fgetc(f);
    fseek(f, (long)at, SEEK_SET);
    fputc(byte ^ (int)(1u << bit), f);
    fclose(f);
}

/* Not the structs: they have padding. */
static bool same_reply(const struct meta_reply *a, const struct meta_reply *b)
{
    struct bytes x = {0}, y = {0};
    row_reply_encode(a, &x);
    row_reply_encode(b, &y);
    bool same = slice_equal(bytes_slice(&x), bytes_slice(&y));
    bytes_free(&x);
    bytes_free(&y);
    return same;
}

static void flip_and_apply(const char *good, const char *path, const char *name, const struct meta_reply *want,
                           unsigned counts[3])
{
    char file[160];
    struct stat st;
    copy_directory(good, path);
    snprintf(file, sizeof file, "%s/%.63s", path, name);
    assert_int_equal(stat(file, &st), 0);
    for (uint64_t at = 0; at < (uint64_t)st.st_size; at += MAX((uint64_t)st.st_size / 60, 1)) {
        struct meta_reply got[REPLIES];
        enum err e;
        copy_directory(good, path);
        flip_bit(file, at, at % 8);
        unsigned count = replies_after(path, got, &e);
        counts[0]++;
        counts[1] += e != ERR_OK;
        if (e != ERR_OK && e != ERR_CORRUPT && e != ERR_IO)
            fail_msg("%s at %llu: %s", name, (unsigned long long)at, err_name(e));
        for (unsigned i = 0; i < count; i++)
            if (!same_reply(&got[i], &want[i]))
                counts[2]++;
    }
}

/* A flipped bit in a table is an error of the whole apply, never an answer: an answer that the other members don't give
 * would be a divergence. */
static void no_flipped_bit_becomes_an_answer(void **state)
{
    (void)state;
    char good[64], path[80], names[16][64];
    struct meta_reply want[REPLIES];
    unsigned counts[3] = {0};
    enum err e;
    make_files(good);
    snprintf(path, sizeof path, "%s.damaged", good);
    copy_directory(good, path);
    assert_int_equal(replies_after(path, want, &e), REPLIES);
    unsigned count = list_files(good, names, 16);
    for (unsigned i = 0; i < count; i++)
        if (ends_with(names[i], ".sst"))
            flip_and_apply(good, path, names[i], want, counts);
    printf("%u bits flipped, %u found, %u wrong answers\n", counts[0], counts[1], counts[2]);
    assert_true(counts[0] > 100 && counts[1] > counts[0] / 2);
    assert_int_equal(counts[2], 0);
    directory_remove(path);
    directory_remove(good);
}

static void a_damaged_row_of_the_index_is_an_error_with_words(void **state)
{
    struct fixture *f = *state;
    struct schema_key key = schema_meta();
    char *message = NULL;
    struct bytes kept = {0};
    row_meta_encode(&f->meta->state, &kept);
    assert_int_equal(meta_write_out(f->meta), ERR_OK);
    rocksdb_put(f->meta->db, f->meta->write, (const char *)key.bytes, key.size, "\1short", 6, &message);
    assert_null(message);
    assert_int_equal(meta_flush(f->meta, true), ERR_OK);
    meta_close(f->meta);
    struct meta_options options = {.path = f->path};
    struct meta *m = NULL;
    struct err_text why = {""};
    assert_int_equal(meta_open(&options, &m, &why), ERR_CORRUPT);
    assert_true(strlen(why.text) > 10);
    assert_null(m);
    fixture_remove(f);
    fixture_open(f);
    bytes_free(&kept);
}

/* The counts of blocks are merged by a callback of ours, which must not take what is no count for one. */
static void a_damaged_count_is_corrupt(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } wrong[] = {{"", 0},
                 {"\1", 1},
                 {"\1\0\0\0\0\0\0\0", 8},
                 {"\2\0\0\0\0\0\0\0\0", 9},
                 {"\1\x7f\xff\xff\xff\xff\xff\xff\xff", 9}};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct fixture f;
        struct meta_extent e = extent_of(0, 10, 1, 0);
        struct schema_key key = schema_block_ref(&e.block);
        struct err_text why = {""};
        char *message = NULL;
        fixture_open(&f);
        uint64_t ino = must_make(&f, META_CREATE, ROOT, "f", 0644);
        assert_int_equal(meta_write_out(f.meta), ERR_OK);
        rocksdb_put(f.meta->db, f.meta->write, (const char *)key.bytes, key.size, wrong[i].bytes, wrong[i].size,
                    &message);
        assert_null(message);
        assert_status(fixture_call(&f, commit_command(ino, &e, 1)), ERR_OK); /* does not read it */
        assert_int_equal(meta_verify(f.meta, &why), ERR_CORRUPT);
        assert_true(strlen(why.text) > 10);
        meta_close(f.meta);
        fixture_remove(&f);
    }
}

static void a_directory_in_use_is_locked(void **state)
{
    struct fixture *f = *state;
    struct meta_options options = {.path = f->path};
    struct meta *m = NULL;
    struct err_text why = {""};
    assert_int_equal(meta_open(&options, &m, &why), ERR_LOCKED);
    assert_true(strlen(why.text) > 10);
    options.path = "/proc/no/such/place";
    assert_int_not_equal(meta_open(&options, &m, &why), ERR_OK);
    assert_null(m);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_files_are_errors),
        cmocka_unit_test(no_flipped_bit_becomes_an_answer),
        TEST(a_damaged_row_of_the_index_is_an_error_with_words),
        cmocka_unit_test(a_damaged_count_is_corrupt),
        TEST(a_directory_in_use_is_locked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
