/* The durability log on a disk that loses power, turns bits and fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/mem.h"
#include "durability/log.h"
#include "tests/unit/raftlog/sim_files.h"

struct fixture {
    struct sim_disk disk;
    struct durability_log *log;
};

static enum err try_open(struct fixture *f)
{
    struct err_text why = {""};
    struct durability_log_options options = {.files = &f->disk.table, .path = "d", .identity = {7}};
    return durability_log_open(&options, &f->log, &why);
}

static void reopen(struct fixture *f)
{
    durability_log_close(f->log);
    f->log = NULL;
    assert_int_equal(try_open(f), ERR_OK);
}

static int set_up(void **state)
{
    struct fixture *f = MEM_NEW(struct fixture);
    sim_disk_init(&f->disk, 1);
    assert_int_equal(try_open(f), ERR_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    durability_log_close(f->log);
    sim_disk_free(&f->disk);
    free(f);
    return 0;
}

static enum err add(struct fixture *f, uint64_t seq, uint64_t key, bool exclusive)
{
    uint64_t number;
    char text[24];
    snprintf(text, sizeof text, "put %llu", (unsigned long long)seq);
    struct durability_put put = {.term = seq / 100 + 1, .session = 1, .seq = seq, .command = slice_str(text)};
    return durability_log_add(f->log, &put, &key, 1, exclusive, &number);
}

static enum err write_all(struct fixture *f)
{
    struct durability_write *w = durability_log_write_begin(f->log);
    if (!w)
        return ERR_OK;
    assert_null(durability_log_write_begin(f->log));
    durability_log_write(f->log, w);
    return durability_log_write_end(f->log, w);
}

static void assert_seqs(struct fixture *f, const uint64_t *seqs, unsigned count)
{
    struct arena a = {0};
    struct durability_copy copy;
    durability_log_copy(f->log, &a, &copy);
    assert_int_equal(copy.count, count);
    for (unsigned i = 0; i < count; i++) {
        char text[24];
        snprintf(text, sizeof text, "put %llu", (unsigned long long)seqs[i]);
        assert_int_equal(copy.puts[i].seq, seqs[i]);
        assert_true(slice_equal(copy.puts[i].command, slice_str(text)));
    }
    arena_free(&a);
}
#define ASSERT_SEQS(f, ...)                                                                                            \
    assert_seqs(f, (const uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void test_what_was_written_is_there_again(void **state)
{
    struct fixture *f = *state;
    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(add(f, seq, seq, true), ERR_OK);
    assert_int_equal(durability_log_written(f->log), 0);
    assert_int_equal(write_all(f), ERR_OK);
    assert_int_equal(durability_log_written(f->log), 3);
    durability_log_remove(f->log, 1, 1);
    assert_int_equal(add(f, 4, 4, true), ERR_OK);
    assert_int_equal(write_all(f), ERR_OK);
    reopen(f);
    ASSERT_SEQS(f, 2, 3, 4); /* the record of 4 says that the log counts from 2 on */
}

static void test_refusals(void **state)
{
    struct fixture *f = *state;
    uint64_t number, keys[DURABILITY_KEYS_MAX + 1] = {0};
    assert_int_equal(add(f, 1, 5, true), ERR_OK);
    assert_int_equal(add(f, 1, 6, false), ERR_EXIST);
    assert_int_equal(add(f, 2, 5, true), ERR_EXIST);
    assert_int_equal(add(f, 2, 5, false), ERR_OK);
    struct durability_put put = {.session = 1, .seq = 3, .command = slice_str("x")};
    assert_int_equal(durability_log_add(f->log, &put, keys, DURABILITY_KEYS_MAX + 1, false, &number), ERR_TOO_BIG);
    put.command.size = DURABILITY_COMMAND_BYTES + 1;
    assert_int_equal(durability_log_add(f->log, &put, keys, 1, false, &number), ERR_TOO_BIG);
}

static void test_settled_terms_go(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(add(f, 1, 1, true), ERR_OK);   /* of term 1 */
    assert_int_equal(add(f, 301, 2, true), ERR_OK); /* of term 4 */
    durability_log_settle(f->log, 4);
    ASSERT_SEQS(f, 301);
    assert_int_equal(write_all(f), ERR_OK);
    reopen(f);
    ASSERT_SEQS(f, 301);
    assert_int_equal(durability_log_settled(f->log), 4);
}

/* One put that nobody applies must not make the log full for the others, nor lose its place. */
static void test_one_that_stays(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(add(f, 1, 1, true), ERR_OK);
    for (uint64_t seq = 2; seq < 20 * DURABILITY_PUTS_MAX; seq++) {
        assert_int_equal(add(f, seq, 2, true), ERR_OK);
        if (seq % 100 == 0)
            assert_int_equal(write_all(f), ERR_OK);
        durability_log_remove(f->log, 1, seq);
    }
    assert_int_equal(add(f, 9, 2, true), ERR_OK);
    assert_int_equal(write_all(f), ERR_OK);
    uint64_t bytes = 0;
    for (unsigned i = 0; i < f->disk.current.count; i++)
        bytes += f->disk.current.all[i].file->current.size;
    assert_true(bytes < 4 * DURABILITY_SEGMENT_BYTES);
    reopen(f);
    /* Those in between count again: whoever opens the log knows which of them have been applied. */
    struct arena a = {0};
    struct durability_copy copy;
    durability_log_copy(f->log, &a, &copy);
    assert_true(copy.count >= 2 && copy.count <= DURABILITY_PUTS_MAX);
    assert_int_equal(copy.puts[0].seq, 1);
    assert_int_equal(copy.puts[copy.count - 1].seq, 9);
    arena_free(&a);
}

static void test_full(void **state)
{
    struct fixture *f = *state;
    uint64_t seq = 1;
    while (seq < 2 * DURABILITY_PUTS_MAX && add(f, seq, seq, true) == ERR_OK)
        seq++;
    assert_int_equal(add(f, seq, seq, true), ERR_BUSY_NOW);
    assert_int_equal(durability_log_count(f->log), DURABILITY_PUTS_MAX);
    assert_int_equal(write_all(f), ERR_OK);
    reopen(f);
    assert_int_equal(durability_log_count(f->log), DURABILITY_PUTS_MAX);
    for (uint64_t i = 1; i < seq; i++)
        durability_log_remove(f->log, 1, i);
    assert_int_equal(add(f, seq, seq, true), ERR_OK);
}

static void test_full_of_bytes(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ uint8_t *data = mem_zalloc(DURABILITY_COMMAND_BYTES);
    struct durability_put put = {.term = 1, .session = 1, .command = SLICE(data, DURABILITY_COMMAND_BYTES)};
    uint64_t number, key = 1;
    enum err e = ERR_OK;
    while (e == ERR_OK && put.seq < 100) {
        put.seq++;
        e = durability_log_add(f->log, &put, &key, 1, false, &number);
    }
    assert_int_equal(e, ERR_BUSY_NOW);
    struct arena a = {0};
    struct bytes to = {0};
    struct durability_copy copy;
    durability_log_copy(f->log, &a, &copy);
    durability_copy_encode(&copy, &to);
    assert_true(to.size <= DURABILITY_LIVE_BYTES && to.size > DURABILITY_LIVE_BYTES / 2);
    bytes_free(&to);
    arena_free(&a);
}

/* The power goes while a batch is written: what was durable before is there, the rest in whole records or not at all.
 */
static void test_torn_tail(void **state)
{
    struct fixture *f = *state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        durability_log_close(f->log);
        sim_disk_free(&f->disk);
        sim_disk_init(&f->disk, seed);
        assert_int_equal(try_open(f), ERR_OK);
        for (uint64_t seq = 1; seq <= 2; seq++) {
            assert_int_equal(add(f, seq, seq, true), ERR_OK);
            assert_int_equal(write_all(f), ERR_OK);
        }
        for (uint64_t seq = 3; seq <= 40; seq++)
            assert_int_equal(add(f, seq, seq, true), ERR_OK);
        f->disk.dead_after = f->disk.calls + 1 + seed % 2;
        enum err ignored = write_all(f);
        (void)ignored;
        durability_log_close(f->log);
        f->log = NULL;
        sim_disk_crash(&f->disk, SIM_CRASH_RANDOM);
        assert_int_equal(try_open(f), ERR_OK);
        unsigned count = durability_log_count(f->log);
        assert_true(count >= 2 && count <= 40);
        uint64_t seqs[40];
        for (unsigned i = 0; i < count; i++)
            seqs[i] = i + 1;
        assert_seqs(f, seqs, count);
        assert_int_equal(add(f, 100, 100, true), ERR_OK);
        assert_int_equal(write_all(f), ERR_OK);
    }
}

static void test_turned_bits_are_found(void **state)
{
    struct fixture *f = *state;
    for (uint64_t seq = 1; seq <= 4; seq++) {
        assert_int_equal(add(f, seq, seq, true), ERR_OK);
        assert_int_equal(write_all(f), ERR_OK);
    }
    durability_log_close(f->log);
    f->log = NULL;
    struct sim_disk whole;
    sim_disk_copy(&whole, &f->disk);
    unsigned tried = 0;
    for (unsigned i = 0; i < whole.current.count; i++) {
        if (strncmp(whole.current.all[i].name, "segment-", 8) != 0)
            continue;
        const struct bytes *content = &whole.current.all[i].file->current;
        for (size_t at = 64; at < content->size && at < 700; at += 5) {
            if (content->data[at] == 0)
                continue; /* perhaps behind the end */
            sim_disk_free(&f->disk);
            sim_disk_copy(&f->disk, &whole);
            sim_disk_content(&f->disk, whole.current.all[i].name)->data[at] ^= 4;
            assert_int_not_equal(try_open(f), ERR_OK);
            f->log = NULL;
            tried++;
        }
    }
    assert_true(tried > 20);
    sim_disk_free(&f->disk);
    sim_disk_copy(&f->disk, &whole);
    sim_disk_free(&whole);
    assert_int_equal(try_open(f), ERR_OK);
}

static void test_error_is_final(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(add(f, 1, 1, true), ERR_OK);
    assert_int_equal(write_all(f), ERR_OK);
    assert_int_equal(add(f, 2, 2, true), ERR_OK);
    f->disk.fail_at = f->disk.calls + 2; /* the sync */
    f->disk.fail_with = ERR_IO;
    assert_int_equal(write_all(f), ERR_IO);
    assert_int_equal(add(f, 3, 3, true), ERR_OK);
    assert_int_equal(write_all(f), ERR_IO);
    assert_int_equal(durability_log_written(f->log), 1);
}

/* A disk that takes its time, while what was taken is applied and leaves. */
static void test_what_waits_for_the_disk_is_bounded(void **state)
{
    struct fixture *f = *state;
    static const uint8_t large[DURABILITY_COMMAND_BYTES];
    const unsigned fit = DURABILITY_LIVE_BYTES / sizeof large;
    unsigned taken = 0;
    enum err e = ERR_OK;
    for (uint64_t seq = 1; seq <= 4 * fit && e == ERR_OK; seq++) {
        uint64_t number, key = seq;
        struct durability_put put = {.term = 1, .session = 1, .seq = seq, .command = SLICE(large, sizeof large)};
        e = durability_log_add(f->log, &put, &key, 1, false, &number);
        taken += e == ERR_OK;
        durability_log_remove(f->log, 1, seq);
    }
    assert_int_equal(e, ERR_BUSY_NOW);
    assert_true(taken >= fit / 2 && taken <= fit);
    assert_int_equal(write_all(f), ERR_OK);
    assert_int_equal(add(f, 1000, 7, false), ERR_OK);
    assert_int_equal(write_all(f), ERR_OK);
    reopen(f);
    assert_seqs(f, (const uint64_t[]){1000}, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_written_is_there_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settled_terms_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_that_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_of_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_waits_for_the_disk_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_torn_tail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_turned_bits_are_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_error_is_final, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
