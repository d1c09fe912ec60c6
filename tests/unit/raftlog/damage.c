/* Damage to a log's files: an open gives all acknowledged entries or refuses, and a refusal changes nothing. */
#include "tests/unit/raftlog/fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define LOG_MODULE "test"
#include "base/log.h"

enum history { APPENDED, TRUNCATED, COMPACTED, RESET, RESET_AND_EMPTY, HISTORIES };

static void must_reset(struct raftlog *l, struct model *m, uint64_t index)
{
    struct raftlog_batch b = {.reset = true, .reset_index = index, .reset_term = m->hard.term};
    assert_int_equal(raftlog_write(l, &b), ERR_OK);
    model_apply(m, &b);
}

static void make_history(struct raftlog *l, struct model *m, enum history h)
{
    for (unsigned i = 0; i < 9; i++)
        must_append(l, m, 1 + i / 4, 1 + i % 3);
    if (h == TRUNCATED)
        must_truncate_append(l, m, m->last - 4, 5, 3);
    if (h == COMPACTED)
        assert_int_equal(raftlog_compact(l, m->last - 3, &m->compacted), ERR_OK);
    if (h == RESET || h == RESET_AND_EMPTY)
        must_reset(l, m, m->last + 5);
    if (h != APPENDED && h != RESET_AND_EMPTY)
        for (unsigned i = 0; i < 4; i++)
            must_append(l, m, m->hard.term, 1 + i);
}

/* A small log of a few segments, closed, or as a kill -9 leaves it. */
static void make_log(struct sim_disk *d, struct model *m, enum history h, bool closed)
{
    sim_disk_init(d, 5);
    struct raftlog_options o = sim_options(d, 1024);
    struct raftlog *l = must_open(&o, NULL);
    *m = (struct model){0};
    make_history(l, m, h);
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

struct counts {
    unsigned cases, refused;
};

/* Every byte of every file in turn: one bit flipped; the file cut there; and every 64 bytes a sector of zeros, the form
 * that a lost write takes. judge fails the test when anything acknowledged is gone without a word. */
static void rot(enum history h, bool closed, struct counts *flips, struct counts *cuts, struct counts *zeros)
{
    struct sim_disk whole;
    struct model m;
    make_log(&whole, &m, h, closed);
    for (unsigned i = 0; i < whole.current.count; i++) {
        const char *name = whole.current.all[i].name;
        size_t size = whole.current.all[i].file->current.size;
        for (size_t at = 0; at < size; at++)
            for (unsigned kind = 0; kind < (at % 64 ? 2u : 3u); kind++) {
                struct sim_disk d;
                sim_disk_copy(&d, &whole);
                struct bytes *content = sim_disk_content(&d, name);
                struct counts *c = kind == 0 ? flips : kind == 1 ? cuts : zeros;
                if (kind == 0)
                    content->data[at] ^= (uint8_t)(1u << (at % 8));
                else if (kind == 1)
                    content->size = at;
                else
                    memset(content->data + at, 0, MIN((size_t)SIM_SECTOR_BYTES, size - at));
                c->cases++;
                c->refused += judge(&d, &m, name, at);
                sim_disk_free(&d);
            }
    }
    sim_disk_free(&whole);
}

static void damage_is_refused_or_harmless(void **state)
{
    (void)state;
    for (enum history h = 0; h < HISTORIES; h++)
        for (unsigned closed = 0; closed < 2; closed++) {
            struct counts flips = {0}, cuts = {0}, zeros = {0};
            rot(h, closed, &flips, &cuts, &zeros);
            printf("history %u, %s: flips %u, refused %u; cuts %u, %u; zeros %u, %u; silent losses 0\n", h,
                   closed ? "closed" : "killed", flips.cases, flips.refused, cuts.cases, cuts.refused, zeros.cases,
                   zeros.refused);
            /* Both happen, or the test looks at nothing. */
            assert_in_range(flips.refused, 20, flips.cases - 100);
            assert_in_range(cuts.refused, 20, cuts.cases - 100);
            assert_true(zeros.refused > 0 && zeros.refused < zeros.cases);
        }
}

static void test_missing_files(void **state)
{
    (void)state;
    struct sim_disk whole;
    struct model m;
    make_log(&whole, &m, APPENDED, true);
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
        cmocka_unit_test(damage_is_refused_or_harmless),
        cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_middle_with_stale_marker),
        cmocka_unit_test(test_read_of_damaged_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
