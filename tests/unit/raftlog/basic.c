/* Round trips of the log, on the real disk and on the simulated one. */
#include "tests/unit/raftlog/fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static void test_empty(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 4096);
    struct raft_restart r;
    struct raftlog *l = must_open(&o, &r);
    assert_true(r.fresh);
    assert_int_equal(r.last_index, 0);
    assert_int_equal(r.hard.term, 0);
    uint64_t term;
    assert_int_equal(raftlog_term(l, 0, &term), ERR_OK);
    assert_int_equal(term, 0);
    assert_int_equal(raftlog_term(l, 1, &term), ERR_NOT_FOUND);
    struct bytes buffer = {0};
    struct raft_entry e;
    unsigned count;
    assert_int_equal(raftlog_read(l, 1, 1, 100, &buffer, &e, &count), ERR_NOT_FOUND);
    raftlog_close(l);
    l = must_open(&o, &r);
    assert_true(r.fresh);
    struct raftlog_batch b = {.hard_state_changed = true, .hard = {.term = 3, .vote = 2}};
    assert_int_equal(raftlog_write(l, &b), ERR_OK);
    raftlog_close(l);
    l = must_open(&o, &r);
    assert_false(r.fresh); /* it may have voted */
    assert_int_equal(r.hard.term, 3);
    assert_int_equal(r.hard.vote, 2);
    raftlog_close(l);
    raftlog_close(NULL);
    bytes_free(&buffer);
    sim_disk_free(&d);
}

static void reopen(struct raftlog **l, const struct raftlog_options *o, const struct model *m)
{
    struct raft_restart r;
    raftlog_close(*l);
    *l = must_open(o, &r);
    assert_int_equal(r.last_index, m->last);
    assert_int_equal(r.compacted_index, m->compacted);
    assert_int_equal(r.hard.term, m->hard.term);
    assert_int_equal(r.hard.vote, m->hard.vote);
    assert_true(model_matches(*l, m, true));
}

static void play(const struct raftlog_options *o)
{
    struct model m = {0};
    struct raftlog *l = must_open(o, NULL);
    for (unsigned i = 0; i < 40; i++)
        must_append(l, &m, 1 + i / 10, 1 + i % 7);
    assert_true(model_matches(l, &m, true));
    struct raftlog_bounds b;
    raftlog_bounds(l, &b);
    assert_true(b.segments > 3);
    reopen(&l, o, &m);

    must_truncate_append(l, &m, m.last - 2, 5, 3); /* within the last segment, or next to it */
    assert_true(model_matches(l, &m, true));
    must_truncate_append(l, &m, m.last / 2, 6, 0); /* over several segments */
    assert_true(model_matches(l, &m, true));
    must_append(l, &m, 6, 5);
    reopen(&l, o, &m);
    must_truncate_append(l, &m, m.last, 6, 4); /* nothing to cut */
    for (unsigned i = 0; i < 20; i++)
        must_append(l, &m, 7, 5);

    uint64_t compacted = 0;
    assert_int_equal(raftlog_compact(l, m.last / 2, &compacted), ERR_OK);
    assert_in_range(compacted, 1, m.last / 2);
    m.compacted = compacted;
    assert_true(model_matches(l, &m, true));
    reopen(&l, o, &m);
    uint64_t term;
    assert_int_equal(raftlog_term(l, compacted - 1, &term), ERR_NOT_FOUND);
    assert_int_equal(raftlog_compact(l, m.last, &compacted), ERR_OK);
    assert_true(compacted < m.last);
    m.compacted = compacted;
    must_truncate_append(l, &m, compacted, 8, 0); /* down to nothing */
    assert_true(model_matches(l, &m, true));
    reopen(&l, o, &m);
    must_append(l, &m, 8, 50);
    reopen(&l, o, &m);
    raftlog_close(l);
}

static void test_play_sim(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 4096);
    play(&o);
    sim_disk_free(&d);
}

static void test_play_disk(void **state)
{
    (void)state;
    char path[] = "/tmp/surf-raftlog-XXXXXX";
    assert_non_null(mkdtemp(path));
    char inner[64];
    snprintf(inner, sizeof inner, "%s/log", path);
    struct raftlog_options o = {.files = file_table_system(), .path = inner, .segment_bytes = 4096, .identity = {7}};
    play(&o);
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

static void test_read_limits(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 1 << 20);
    struct raftlog *l = must_open(&o, NULL);
    struct model m = {0};
    must_append(l, &m, 1, 100);
    struct bytes buffer = {0};
    struct raft_entry e[100];
    unsigned count;
    assert_int_equal(raftlog_read(l, 1, 100, SIZE_MAX, &buffer, e, &count), ERR_OK);
    assert_int_equal(count, 100);
    assert_int_equal(raftlog_read(l, 51, 7, SIZE_MAX, &buffer, e, &count), ERR_OK);
    assert_int_equal(count, 7);
    assert_int_equal(e[6].index, 57);
    assert_int_equal(raftlog_read(l, 51, 100, 1, &buffer, e, &count), ERR_OK);
    assert_int_equal(count, 1); /* at least one */
    assert_int_equal(raftlog_read(l, 1, 100, 1000, &buffer, e, &count), ERR_OK);
    assert_in_range(count, 1, 99);
    assert_in_range(buffer.size, 1, 1000);
    assert_int_equal(raftlog_read(l, 101, 1, 1, &buffer, e, &count), ERR_NOT_FOUND);
    assert_int_equal(raftlog_read(l, 0, 1, 1, &buffer, e, &count), ERR_NOT_FOUND);
    bytes_free(&buffer);
    raftlog_close(l);
    sim_disk_free(&d);
}

/* One batch is one write and one sync of the segment, and one write without a sync of the marker. */
static void test_cost_of_a_batch(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 1 << 20);
    struct raftlog *l = must_open(&o, NULL);
    struct model m = {0};
    must_append(l, &m, 1, 3);
    uint64_t before = d.calls;
    must_append(l, &m, 1, 1);
    assert_int_equal(d.calls - before, 3);
    before = d.calls;
    must_append(l, &m, 1, 100);
    assert_int_equal(d.calls - before, 3);
    raftlog_close(l);
    sim_disk_free(&d);
}

/* A roll finds the next segment ready: one write and one sync, and the marker's. */
static void test_cost_of_a_roll(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 64 << 10);
    struct raftlog *l = must_open(&o, NULL);
    struct model m = {0};
    must_append(l, &m, 1, 1);
    for (unsigned rolls = 0; rolls < 3;) {
        struct raftlog_bounds b, after;
        raftlog_bounds(l, &b);
        uint64_t before = d.calls;
        must_append(l, &m, 1, 1);
        raftlog_bounds(l, &after);
        if (after.segments == b.segments)
            continue;
        rolls++;
        assert_int_equal(d.calls - before, 4);
    }
    raftlog_close(l);
    sim_disk_free(&d);
}

static void test_wrong_node(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 4096);
    struct raftlog *l = must_open(&o, NULL);
    struct model m = {0};
    must_append(l, &m, 1, 3);
    raftlog_close(l);
    o.identity[9] ^= 1;
    struct raft_restart r;
    struct err_text why = {""};
    assert_int_equal(raftlog_open(&o, &l, &r, &why), ERR_WRONG_NODE);
    assert_non_null(strstr(why.text, "another member"));
    o.identity[9] ^= 1;
    l = must_open(&o, NULL);
    assert_true(model_matches(l, &m, true));
    raftlog_close(l);
    sim_disk_free(&d);
}

static void test_bad_segment_size(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 10);
    struct raftlog *l;
    struct raft_restart r;
    struct err_text why = {""};
    assert_int_equal(raftlog_open(&o, &l, &r, &why), ERR_CONFIG);
    assert_non_null(strstr(why.text, "10 bytes"));
    sim_disk_free(&d);
}

/* A batch that is larger than several segments. */
static void test_large_batch(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 4096);
    struct raftlog *l = must_open(&o, NULL);
    struct model m = {0};
    must_append(l, &m, 1, 400);
    assert_true(model_matches(l, &m, true));
    reopen(&l, &o, &m);
    raftlog_close(l);
    sim_disk_free(&d);
}

struct overtaking {
    struct raftlog *log;
    struct model *model;
    uint64_t after;
    unsigned count;
};

static void overtake(void *arg)
{
    struct overtaking *o = arg;
    must_truncate_append(o->log, o->model, o->after, o->model->hard.term + 1, o->count);
}

/* A truncation between a reader's look at the index and its read of the file. */
static void test_read_overtaken_by_truncation(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options options = sim_options(&d, 1 << 16);
    struct raftlog *l = must_open(&options, NULL);
    struct model m = {0};
    must_append(l, &m, 1, 20);
    struct overtaking o = {.log = l, .model = &m, .after = 10, .count = 10};
    struct bytes buffer = {0}, data = {0};
    struct raft_entry e[8];
    unsigned count;
    d.before_read = overtake, d.before_read_arg = &o;
    assert_int_equal(raftlog_read(l, 15, 3, SIZE_MAX, &buffer, e, &count), ERR_OK);
    assert_int_equal(e[0].term, 2);
    entry_data(15, 2, &data);
    assert_true(slice_equal(e[0].data, bytes_slice(&data)));
    o.count = 0;
    d.before_read = overtake, d.before_read_arg = &o;
    assert_int_equal(raftlog_read(l, 15, 3, SIZE_MAX, &buffer, e, &count), ERR_NOT_FOUND);
    bytes_free(&buffer);
    bytes_free(&data);
    raftlog_close(l);
    sim_disk_free(&d);
}

/* After a clean stop the segments are not written again. */
static void test_cost_of_an_open(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 4096);
    struct raftlog *l = must_open(&o, NULL);
    struct model m = {0};
    must_append(l, &m, 1, 30);
    raftlog_close(l);
    uint64_t before = d.calls;
    l = must_open(&o, NULL);
    uint64_t clean = d.calls - before;
    d.dead_after = d.calls;
    raftlog_close(l);
    sim_disk_crash(&d, SIM_CRASH_KEEP);
    l = must_open(&o, NULL);
    assert_int_equal(d.calls, clean + 4); /* read, write, zeros, sync */
    raftlog_close(l);
    sim_disk_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),           cmocka_unit_test(test_play_sim),
        cmocka_unit_test(test_play_disk),       cmocka_unit_test(test_read_limits),
        cmocka_unit_test(test_cost_of_a_batch), cmocka_unit_test(test_cost_of_a_roll),
        cmocka_unit_test(test_wrong_node),      cmocka_unit_test(test_bad_segment_size),
        cmocka_unit_test(test_large_batch),     cmocka_unit_test(test_read_overtaken_by_truncation),
        cmocka_unit_test(test_cost_of_an_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
