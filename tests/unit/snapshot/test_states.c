/* Real states: copied, sent in pieces, installed and used, until both members hold the same. */
#include "tests/unit/snapshot/fixture.h"

#include <stdio.h>
#include <string.h>

#define LOG_MODULE "test"
#include "base/log.h"
#include "base/mem.h"
#include "snapshot/sink.h"
#include "snapshot/state_dir.h"
#include "tests/unit/meta/commands.h"

#define ROOT META_ROOT_INO

/* Two members: the one that sends, with a fixture around its state, and the one that receives. */
struct pair {
    struct place place;
    struct fixture sender;
    struct state_dir state;
    struct meta *receiver;
};

static struct meta *open_state(const char *path)
{
    struct meta_options options = {.path = path};
    struct err_text why = {""};
    struct meta *m = NULL;
    if (meta_open(&options, &m, &why) != ERR_OK)
        fail_msg("%s", why.text);
    return m;
}

static int pair_setup(void **state)
{
    struct pair *p = MEM_NEW(struct pair);
    struct err_text why;
    place_make(&p->place);
    fixture_open(&p->sender);
    assert_int_equal(state_dir_open(place_of(&p->place, "base"), &p->state, &why), ERR_OK);
    p->receiver = open_state(p->state.path);
    *state = p;
    return 0;
}

static int pair_teardown(void **state)
{
    struct pair *p = *state;
    meta_close(p->receiver);
    fixture_close(&p->sender);
    place_remove(&p->place);
    free(p);
    return 0;
}

static void make_some(struct fixture *f, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", i);
        uint64_t ino = must_make(f, META_CREATE, ROOT, name, 0644);
        do_write(f, ino, 0, 4096, 1 + i % 50, 0);
        if (i % 3 == 0)
            do_unlink(f, ROOT, name);
    }
}

static void must_checkpoint(struct meta *m, const char *path)
{
    struct err_text why = {""};
    if (meta_write_out(m) != ERR_OK || meta_checkpoint(m, path, &why) != ERR_OK)
        fail_msg("%s", why.text);
}

/* The sender's state into the receiver's directory, which becomes the current one. */
static void transfer(struct pair *p)
{
    struct arena arena = {0};
    struct meta_snapshot_info info;
    struct err_text why = {""};
    struct snapshot_source *source = NULL;
    struct snapshot_sink *sink = NULL;
    struct bytes b = {0};
    const char *outgoing = place_of(&p->place, "outgoing"), *path = NULL;
    must_checkpoint(p->sender.meta, outgoing);
    assert_int_equal(meta_inspect(outgoing, &arena, &info, &why), ERR_OK);
    assert_int_equal(info.index, p->sender.index);
    assert_int_equal(snapshot_source_open(outgoing, info.index, info.term, &source, &why), ERR_OK);
    snapshot_manifest_encode(snapshot_source_manifest(source), &b);
    assert_int_equal(snapshot_sink_open(place_of(&p->place, "base/incoming"), bytes_slice(&b), &sink, &why), ERR_OK);
    unsigned file;
    for (uint64_t offset; snapshot_sink_next(sink, &file, &offset);) {
        assert_int_equal(snapshot_source_read(source, file, offset, &b), ERR_OK);
        assert_int_equal(snapshot_sink_write(sink, file, offset, bytes_slice(&b)), ERR_OK);
    }
    if (snapshot_sink_finish(sink, &path, &why) != ERR_OK)
        fail_msg("%s", why.text);
    meta_close(p->receiver);
    if (state_dir_install(&p->state, path, info.index, info.term, &why) != ERR_OK)
        fail_msg("%s", why.text);
    p->receiver = open_state(p->state.path);
    snapshot_sink_close(sink);
    snapshot_source_close(source);
    assert_int_equal(state_dir_remove(outgoing), ERR_OK);
    bytes_free(&b);
    arena_free(&arena);
}

static void assert_same_state(struct meta *a, struct meta *b)
{
    struct sha256 states[2], chains[2];
    struct err_text why = {""};
    assert_int_equal(meta_state_hash(a, &states[0]), ERR_OK);
    assert_int_equal(meta_state_hash(b, &states[1]), ERR_OK);
    meta_chain_hash(a, &chains[0]);
    meta_chain_hash(b, &chains[1]);
    assert_true(sha256_equal(&states[0], &states[1]));
    assert_true(sha256_equal(&chains[0], &chains[1]));
    assert_int_equal(meta_applied_index(a), meta_applied_index(b));
    assert_int_equal(meta_applied_term(a), meta_applied_term(b));
    if (meta_verify(b, &why) != ERR_OK)
        fail_msg("%s", why.text);
}

static void a_state_arrives_whole(void **state)
{
    struct pair *p = *state;
    make_some(&p->sender, 0, 300);
    transfer(p);
    assert_same_state(p->sender.meta, p->receiver);
    uint64_t flushed = 0;
    assert_int_equal(meta_flushed_index(p->receiver, &flushed), ERR_OK);
    assert_int_equal(flushed, p->sender.index); /* it survives a crash as it came */
}

/* The receiver applies what follows the snapshot, and asks once more what was asked before it. */
static void it_is_gone_on_with(void **state)
{
    struct pair *p = *state;
    make_some(&p->sender, 0, 50);
    struct meta_command c = make_command(META_CREATE, ROOT, "twice", 0644);
    c.session = p->sender.session, c.acked = p->sender.seq, c.seq = ++p->sender.seq;
    struct meta_reply first = fixture_apply(&p->sender, c), again;
    assert_status(first, ERR_OK);
    transfer(p);
    again = fixture_apply(&p->sender, c); /* a repetition of the request */
    assert_int_equal(again.attr.ino, first.attr.ino);
    c.time_ns = p->sender.time_ns;
    assert_int_equal(meta_apply(p->receiver, p->sender.index, 1, &c, &again), ERR_OK);
    assert_status(again, ERR_OK);
    assert_int_equal(again.attr.ino, first.attr.ino);
    assert_same_state(p->sender.meta, p->receiver);
}

/* What the receiver held before is gone, also what the sender has deleted since. */
static void nothing_of_the_older_state_is_left(void **state)
{
    struct pair *p = *state;
    make_some(&p->sender, 0, 100);
    transfer(p);
    for (unsigned i = 1; i < 100; i += 3) {
        char name[16];
        snprintf(name, sizeof name, "f%u", i);
        assert_status(do_unlink(&p->sender, ROOT, name), ERR_OK);
    }
    reap_all(&p->sender);
    make_some(&p->sender, 200, 220);
    transfer(p);
    assert_same_state(p->sender.meta, p->receiver);
    assert_int_equal(p->state.number, 3);
}

static void the_members_travel_along(void **state)
{
    struct pair *p = *state;
    struct arena arena = {0};
    struct slice config;
    uint64_t index;
    transfer(p);
    assert_int_equal(meta_config(p->receiver, &arena, &config, &index), ERR_OK);
    assert_int_equal(index, 0);
    assert_int_equal(meta_apply_config(p->sender.meta, ++p->sender.index, 9, slice_str("four members")), ERR_OK);
    uint64_t at = p->sender.index;
    make_some(&p->sender, 0, 3);
    transfer(p);
    assert_int_equal(meta_config(p->receiver, &arena, &config, &index), ERR_OK);
    assert_int_equal(index, at);
    assert_true(slice_equal(config, slice_str("four members")));
    arena_free(&arena);
}

/* Commands go on while a copy is made, as on a leader; the copy is a state that there was. */
static void a_copy_is_of_one_moment(void **state)
{
    struct pair *p = *state;
    make_some(&p->sender, 0, 100);
    const char *path = place_of(&p->place, "copy");
    must_checkpoint(p->sender.meta, path);
    uint64_t index = p->sender.index;
    struct sha256 then, found;
    assert_int_equal(meta_state_hash(p->sender.meta, &then), ERR_OK);
    make_some(&p->sender, 100, 200);
    assert_int_equal(meta_flush(p->sender.meta, true), ERR_OK);
    struct meta *copy = open_state(path);
    assert_int_equal(meta_applied_index(copy), index);
    assert_int_equal(meta_state_hash(copy, &found), ERR_OK);
    assert_true(sha256_equal(&then, &found));
    meta_close(copy);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, pair_setup, pair_teardown)

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(a_state_arrives_whole),    TEST(it_is_gone_on_with),      TEST(nothing_of_the_older_state_is_left),
        TEST(the_members_travel_along), TEST(a_copy_is_of_one_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
