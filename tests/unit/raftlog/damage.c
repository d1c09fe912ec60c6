/* Damage to a log's files: an open gives all acknowledged entries or refuses, and a refusal changes nothing. */
#include "tests/unit/raftlog/fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define LOG_MODULE "test"
#include "base/log.h"

/* A small log of a few segments, closed, or as a kill -9 leaves it. */
static void make_log(struct sim_disk *d, struct model *m, bool closed)
{
    sim_disk_init(d, 5);
    struct raftlog_options o = sim_options(d, 1024);
    struct raftlog *l = must_open(&o, NULL);
    *m = (struct model){0};
    for (unsigned i = 0; i < 9; i++)
        must_append(l, m, 1 + i / 4, 1 + i % 3);
    if (closed) {
        raftlog_close(l);
        return;
    }
    struct sim_disk copy; /* what is there while the log is still open: a kill -9 */
    sim_disk_copy(&copy, d);
    raftlog_close(l);
    sim_disk_free(d);
    sim_disk_init(d, 5);
    for (unsigned i = 0; i < copy.current.count; i++) {
        struct file_table_file *file;
        assert_int_equal(d->table.open(d, (struct file_table_dir *)(void *)d, copy.current.all[i].name, true, &file),
                         ERR_OK);
        const struct bytes *content = &copy.current.all[i].file->current;
        assert_int_equal(d->table.write(d, file, 0, content->data, content->size), ERR_OK);
        d->table.close(d, file);
    }
    sim_disk_crash(d, SIM_CRASH_KEEP);
    sim_disk_free(&copy);
}

static bool disks_equal(const struct sim_disk *a, const struct sim_disk *b)
{
    if (a->current.count != b->current.count)
        return false;
    for (unsigned i = 0; i < a->current.count; i++)
        if (strcmp(a->current.all[i].name, b->current.all[i].name) != 0 ||
            !slice_equal(bytes_slice(&a->current.all[i].file->current), bytes_slice(&b->current.all[i].file->current)))
            return false;
    return true;
}

/* Opens the damaged disk. True when it was refused. */
static bool judge(struct sim_disk *d, const struct model *m, const char *name, uint64_t at)
{
    struct sim_disk before;
    sim_disk_copy(&before, d);
    struct raftlog_options o = sim_options(d, 1024);
    struct raftlog *l = NULL;
    struct raft_restart r;
    struct err_text why = {""};
    enum err e = raftlog_open(&o, &l, &r, &why);
    bool refused = e != ERR_OK;
    if (refused) {
        if (e != ERR_CORRUPT && e != ERR_WRONG_NODE)
            fail_msg("%s at %" PRIu64 ": %s: %s", name, at, err_name(e), why.text);
        if (!disks_equal(&before, d))
            fail_msg("%s at %" PRIu64 ": refused, but something was changed: %s", name, at, why.text);
        if (why.text[0] == 0)
            fail_msg("%s at %" PRIu64 ": refused without a word", name, at);
    } else {
        if (!model_matches(l, m, true))
            fail_msg("%s at %" PRIu64 ": opened, but with other entries", name, at);
        raftlog_close(l);
    }
    sim_disk_free(&before);
    return refused;
}

static void flip_every_byte(bool closed)
{
    struct sim_disk whole;
    struct model m;
    make_log(&whole, &m, closed);
    unsigned cases = 0, refused = 0;
    for (unsigned i = 0; i < whole.current.count; i++) {
        const char *name = whole.current.all[i].name;
        size_t size = whole.current.all[i].file->current.size;
        for (size_t at = 0; at < size; at++) {
            struct sim_disk d;
            sim_disk_copy(&d, &whole);
            sim_disk_content(&d, name)->data[at] ^= (uint8_t)(1u << (at % 8));
            cases++;
            refused += judge(&d, &m, name, at);
            sim_disk_free(&d);
        }
    }
    assert_in_range(refused, 1000, cases - 1000); /* both happen, or the test looks at nothing */
    printf("%u bytes flipped, %u refused, the others harmless\n", cases, refused);
    sim_disk_free(&whole);
}

static void test_flips_after_close(void **state)
{
    (void)state;
    flip_every_byte(true);
}

static void test_flips_after_kill(void **state)
{
    (void)state;
    flip_every_byte(false);
}

static void test_every_length(void **state)
{
    (void)state;
    struct sim_disk whole;
    struct model m;
    make_log(&whole, &m, false);
    unsigned cases = 0, refused = 0;
    for (unsigned i = 0; i < whole.current.count; i++) {
        const char *name = whole.current.all[i].name;
        for (size_t size = 0; size < whole.current.all[i].file->current.size; size++) {
            struct sim_disk d;
            sim_disk_copy(&d, &whole);
            sim_disk_content(&d, name)->size = size;
            cases++;
            refused += judge(&d, &m, name, size);
            sim_disk_free(&d);
        }
    }
    assert_in_range(refused, 1000, cases - 100);
    printf("%u lengths, %u refused, the others harmless\n", cases, refused);
    sim_disk_free(&whole);
}

static void test_missing_files(void **state)
{
    (void)state;
    struct sim_disk whole;
    struct model m;
    make_log(&whole, &m, true);
    for (unsigned i = 0; i < whole.current.count; i++) {
        struct sim_disk d;
        sim_disk_copy(&d, &whole);
        const char *name = whole.current.all[i].name;
        bool unused = false; /* the next segment, made ahead */
        uint8_t any = 0;
        for (size_t at = 0; at < d.current.all[i].file->current.size; at++)
            any |= d.current.all[i].file->current.data[at];
        unused = any == 0;
        assert_int_equal(d.table.remove(&d, NULL, name), ERR_OK);
        sim_disk_crash(&d, SIM_CRASH_KEEP);
        bool refused = judge(&d, &m, name, 0);
        if (refused == unused)
            fail_msg("%s removed: %s", name, refused ? "refused" : "opened");
        sim_disk_free(&d);
    }
    sim_disk_free(&whole);
}

/* Zeroed sectors: the form that a lost write takes. */
static void test_zeroed_sectors(void **state)
{
    (void)state;
    struct sim_disk whole;
    struct model m;
    make_log(&whole, &m, false);
    for (unsigned i = 0; i < whole.current.count; i++) {
        const char *name = whole.current.all[i].name;
        size_t size = whole.current.all[i].file->current.size;
        for (size_t at = 0; at < size; at += 128) {
            struct sim_disk d;
            sim_disk_copy(&d, &whole);
            memset(sim_disk_content(&d, name)->data + at, 0, MIN((size_t)SIM_SECTOR_BYTES, size - at));
            judge(&d, &m, name, at);
            sim_disk_free(&d);
        }
    }
    sim_disk_free(&whole);
}

/* With a marker that the power cut made stale, damage that a later record follows is still no torn tail. */
static void test_middle_with_stale_marker(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 1 << 16);
    struct raftlog *l = must_open(&o, NULL);
    struct model m = {0};
    must_append(l, &m, 1, 1); /* syncs the marker, as the segment is begun */
    struct sim_disk early;
    sim_disk_copy(&early, &d);
    for (unsigned i = 0; i < 5; i++)
        must_append(l, &m, 1, 2);
    raftlog_close(l);
    struct bytes *marker = sim_disk_content(&d, "marker");
    memcpy(marker->data, sim_disk_content(&early, "marker")->data, marker->size);

    char name[FILE_TABLE_NAME_BYTES] = "segment-0000000000000001";
    size_t end = sim_disk_content(&d, name)->size;
    while (sim_disk_content(&d, name)->data[end - 1] == 0)
        end--;
    unsigned refused = 0, opened = 0;
    for (size_t at = 0; at < end; at++) {
        struct sim_disk damaged;
        sim_disk_copy(&damaged, &d);
        sim_disk_content(&damaged, name)->data[at] ^= 0x10;
        struct raftlog_options damaged_options = sim_options(&damaged, 1 << 16);
        struct raft_restart r;
        struct err_text why = {""};
        struct raftlog *damaged_log = NULL;
        enum err e = raftlog_open(&damaged_options, &damaged_log, &r, &why);
        if (e == ERR_OK) { /* only the last write may look torn */
            opened++;
            assert_true(r.last_index >= m.last - 2);
            raftlog_close(damaged_log);
        } else {
            refused++;
            assert_int_equal(e, ERR_CORRUPT);
            assert_non_null(strstr(why.text, name));
            assert_non_null(strstr(why.text, "offset"));
        }
        sim_disk_free(&damaged);
    }
    assert_true(refused > 500 && opened > 50);
    sim_disk_free(&early);
    sim_disk_free(&d);
}

/* A record of an acknowledged entry that is damaged while the log is open. */
static void test_read_of_damaged_record(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 1 << 16);
    struct raftlog *l = must_open(&o, NULL);
    struct model m = {0};
    must_append(l, &m, 1, 5);
    sim_disk_content(&d, "segment-0000000000000001")->data[64 + 16] ^= 1;
    struct bytes buffer = {0};
    struct raft_entry e;
    unsigned count;
    assert_int_equal(raftlog_read(l, 1, 1, 1000, &buffer, &e, &count), ERR_CORRUPT);
    assert_int_equal(raftlog_read(l, 2, 1, 1000, &buffer, &e, &count), ERR_OK);
    bytes_free(&buffer);
    raftlog_close(l);
    sim_disk_free(&d);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flips_after_close),      cmocka_unit_test(test_flips_after_kill),
        cmocka_unit_test(test_every_length),           cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_zeroed_sectors),         cmocka_unit_test(test_middle_with_stale_marker),
        cmocka_unit_test(test_read_of_damaged_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
