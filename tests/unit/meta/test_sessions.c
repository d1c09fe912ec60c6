/* Sessions: exactly-once, the window, and the unlinked files that a session keeps alive. */
#include "tests/unit/meta/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "meta/store.h"

#define ROOT META_ROOT_INO

/* With the numbers given. */
static struct meta_reply send(struct fixture *f, struct meta_command c, uint64_t session, uint64_t seq, uint64_t acked)
{
    c.session = session;
    c.seq = seq;
    c.acked = acked;
    return fixture_apply(f, c);
}

static uint64_t new_session(struct fixture *f, unsigned nonce)
{
    struct meta_reply r = fixture_open_session(f, nonce);
    assert_status(r, ERR_OK);
    assert_true(r.attr.ino == ROOT);
    return r.session;
}

static uint64_t inodes(struct fixture *f)
{
    return fixture_query(f, (struct meta_query){.op = META_QUERY_STATFS}).statfs.inodes;
}

/* ---- exactly once ---- */

static void a_retry_gets_the_first_reply(void **state)
{
    struct fixture *f = *state;
    uint64_t s = new_session(f, 2);
    struct meta_command create = make_command(META_CREATE, ROOT, "f", 0644);
    struct meta_reply first = send(f, create, s, 1, 0);
    assert_status(first, ERR_OK);
    struct meta_reply again = send(f, create, s, 1, 0);
    assert_status(again, ERR_OK);
    assert_true(again.has_attr && again.attr.ino == first.attr.ino && again.attr.ctime_ns == first.attr.ctime_ns);
    assert_true(again.has_parent && again.parent.size == first.parent.size);
    assert_int_equal(must_getattr(f, ROOT).size, 1);
    /* Even when the world has changed since, and also from another leader after a restart. */
    assert_status(do_unlink(f, ROOT, "f"), ERR_OK);
    assert_int_equal(meta_flush(f->meta, true), ERR_OK);
    fixture_reopen(f);
    again = send(f, create, s, 1, 0);
    assert_int_equal(again.attr.ino, first.attr.ino);
    assert_int_equal(ino_of(f, ROOT, "f"), 0);
}

static void failures_are_remembered_too(void **state)
{
    struct fixture *f = *state;
    uint64_t s = new_session(f, 2);
    struct meta_command unlink = unlink_command(META_UNLINK, ROOT, "f");
    assert_status(send(f, unlink, s, 1, 0), ERR_NOENT);
    must_make(f, META_CREATE, ROOT, "f", 0644);
    assert_status(send(f, unlink, s, 1, 0), ERR_NOENT);
    assert_true(ino_of(f, ROOT, "f") != 0);
    assert_status(send(f, unlink, s, 2, 0), ERR_OK);
    assert_status(send(f, unlink, s, 1, 0), ERR_NOENT);
    assert_status(send(f, unlink, s, 2, 0), ERR_OK);
    /* VERSION carries attributes, and PARTIAL is a reply like any other. */
    uint64_t ino = must_make(f, META_CREATE, ROOT, "g", 0644);
    struct meta_command c = commit_command(ino, NULL, 0);
    c.commit.has_expected_version = true;
    c.commit.expected_version = 9;
    assert_status(send(f, c, s, 3, 0), ERR_VERSION);
    struct meta_reply again = send(f, c, s, 3, 0);
    assert_status(again, ERR_VERSION);
    assert_true(again.has_attr && again.attr.ino == ino);
}

static void a_retried_append_is_placed_once(void **state)
{
    struct fixture *f = *state;
    uint64_t s = new_session(f, 2), ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    struct meta_extent e = extent_of(0, 10, 1, 0);
    struct meta_command c = commit_command(ino, &e, 1);
    c.commit.append = true;
    send(f, c, s, 1, 0);
    struct meta_reply second = send(f, c, s, 2, 0), again = send(f, c, s, 2, 0);
    assert_int_equal(second.offset, 10);
    assert_int_equal(again.offset, 10);
    assert_int_equal(must_getattr(f, ino).size, 20);
}

static void requests_may_arrive_out_of_order(void **state)
{
    struct fixture *f = *state;
    uint64_t s = new_session(f, 2);
    char name[16];
    for (unsigned seq = 20; seq > 0; seq--) {
        snprintf(name, sizeof name, "%u", seq);
        assert_status(send(f, make_command(META_CREATE, ROOT, name, 0644), s, seq, 0), ERR_OK);
    }
    assert_int_equal(must_getattr(f, ROOT).size, 20);
    assert_status(send(f, make_command(META_CREATE, ROOT, "7", 0644), s, 7, 0), ERR_OK);
    assert_int_equal(must_getattr(f, ROOT).size, 20);
}

static void the_window_has_limits(void **state)
{
    struct fixture *f = *state;
    uint64_t s = new_session(f, 2);
    struct meta_command mkdir = make_command(META_MKDIR, ROOT, "d", 0755);
    assert_status(send(f, mkdir, s, 0, 0), ERR_SEQUENCE);
    assert_status(send(f, mkdir, s, 5, 5), ERR_SEQUENCE);
    assert_status(send(f, mkdir, s, 5, 6), ERR_SEQUENCE);
    assert_status(send(f, mkdir, s, LIMIT_REPLY_WINDOW + 1, 0), ERR_SEQUENCE);
    assert_int_equal(must_getattr(f, ROOT).size, 0);
    assert_status(send(f, mkdir, s, LIMIT_REPLY_WINDOW, 0), ERR_OK);
    assert_status(send(f, mkdir, s, LIMIT_REPLY_WINDOW + 1, 1), ERR_EXIST);
    /* What was acknowledged can't be asked for again; a late request with an older acknowledgement is fine. */
    assert_status(send(f, mkdir, s, 1, 0), ERR_SEQUENCE);
    assert_status(send(f, mkdir, s, 2, 0), ERR_EXIST);
    assert_status(send(f, mkdir, s, LIMIT_REPLY_WINDOW + 2, 1), ERR_SEQUENCE);
    assert_status(send(f, mkdir, s, LIMIT_REPLY_WINDOW, 1), ERR_OK); /* the remembered one */
}

static void numbers_at_the_end_of_their_range(void **state)
{
    struct fixture *f = *state;
    uint64_t s = new_session(f, 2);
    struct meta_command c = unlink_command(META_UNLINK, ROOT, "nothing");
    unsigned before = rows_of(f, 's');
    assert_status(send(f, c, s, 1, 0), ERR_NOENT);
    assert_status(send(f, c, s, UINT64_MAX, 0), ERR_SEQUENCE);
    assert_status(send(f, c, s, UINT64_MAX, UINT64_MAX), ERR_SEQUENCE);
    assert_status(send(f, c, s, 1, 0), ERR_NOENT);   /* the remembered one */
    (void)send(f, c, s, UINT64_MAX, UINT64_MAX - 1); /* may be refused, must end */
    assert_status(send(f, c, s, 0, UINT64_MAX), ERR_SEQUENCE);
    assert_status(fixture_end_session(f, s), ERR_OK);
    assert_int_equal(rows_of(f, 's'), before - 1);
}

static void acknowledged_replies_are_forgotten(void **state)
{
    struct fixture *f = *state;
    uint64_t s = new_session(f, 2);
    unsigned before = rows_of(f, 'q');
    struct meta_command c = unlink_command(META_UNLINK, ROOT, "nothing");
    for (uint64_t seq = 1; seq <= LIMIT_REPLY_WINDOW; seq++)
        assert_status(send(f, c, s, seq, 0), ERR_NOENT);
    assert_int_equal(rows_of(f, 'q'), before + LIMIT_REPLY_WINDOW);
    assert_status(send(f, c, s, LIMIT_REPLY_WINDOW + 1, LIMIT_REPLY_WINDOW), ERR_NOENT);
    assert_int_equal(rows_of(f, 'q'), before + 1);
    /* An acknowledgement of more than was ever asked for. */
    assert_status(send(f, c, s, 1ull << 50, (1ull << 50) - 1), ERR_NOENT);
    assert_int_equal(rows_of(f, 'q'), before + 1);
    assert_status(send(f, c, s, LIMIT_REPLY_WINDOW + 2, 0), ERR_SEQUENCE);
}

/* ---- sessions ---- */

static void an_open_that_is_repeated_gives_the_same_session(void **state)
{
    struct fixture *f = *state;
    uint64_t a = new_session(f, 2), b = new_session(f, 3);
    assert_true(a == f->index - 1 && b == f->index);
    assert_int_equal(new_session(f, 2), a);
    assert_status(fixture_end_session(f, a), ERR_OK);
    uint64_t c = new_session(f, 2);
    assert_true(c != a && c == f->index);
    struct meta_command open = {.op = META_SESSION_OPEN};
    open.session_open.export = slice_str("other");
    assert_status(fixture_apply(f, open), ERR_NO_EXPORT);
}

static void an_ended_session_is_unknown(void **state)
{
    struct fixture *f = *state;
    uint64_t s = new_session(f, 2);
    struct meta_command c = make_command(META_CREATE, ROOT, "f", 0644);
    assert_status(send(f, c, s, 1, 0), ERR_OK);
    assert_status(fixture_end_session(f, s), ERR_OK);
    assert_status(send(f, c, s, 1, 0), ERR_SESSION_EXPIRED); /* also what it had an answer for */
    assert_status(send(f, c, s, 2, 1), ERR_SESSION_EXPIRED);
    assert_status(send(f, c, 999999, 1, 0), ERR_SESSION_EXPIRED);
    assert_status(fixture_end_session(f, s), ERR_SESSION_EXPIRED);
    assert_int_equal(must_getattr(f, ROOT).size, 1);
}

static void a_session_can_end_itself(void **state)
{
    struct fixture *f = *state;
    unsigned before = rows_of(f, 's'), nonces = rows_of(f, 'e');
    uint64_t s = new_session(f, 2);
    assert_status(send(f, make_command(META_CREATE, ROOT, "f", 0644), s, 1, 0), ERR_OK);
    assert_status(send(f, make_command(META_CREATE, ROOT, "g", 0644), s, 2, 0), ERR_OK);
    struct meta_command end = {.op = META_SESSION_END, .session_end.session = s};
    assert_status(send(f, end, s, 3, 1), ERR_OK);
    assert_int_equal(rows_of(f, 's'), before);
    assert_int_equal(rows_of(f, 'e'), nonces);
}

static void sessions_are_listed_in_pages(void **state)
{
    struct fixture *f = *state;
    uint64_t ids[20], at = 0;
    ids[0] = f->session;
    for (unsigned i = 1; i < ARRAY_SIZE(ids); i++) {
        ids[i] = new_session(f, 100 + i);
        for (uint64_t seq = 1; seq <= i; seq++)
            assert_status(send(f, unlink_command(META_UNLINK, ROOT, "x"), ids[i], seq, 0), ERR_NOENT);
    }
    unsigned seen = 0;
    for (bool end = false; !end;) {
        struct meta_query_reply r =
            fixture_query(f, (struct meta_query){.op = META_QUERY_SESSIONS, .session = at, .max_count = 3});
        assert_status(r, ERR_OK);
        end = r.end;
        for (unsigned i = 0; i < r.session_count; i++, seen++) {
            at = r.sessions[i].id;
            assert_int_equal(at, ids[seen]);
            assert_int_equal(r.sessions[i].last_seq, seen);
            assert_true(slice_equal(r.sessions[i].export, slice_str(META_EXPORT_DEFAULT)));
            assert_true(slice_equal(r.sessions[i].client, slice_str("test:/mnt")));
        }
    }
    assert_int_equal(seen, ARRAY_SIZE(ids));
    struct meta_query_reply r = fixture_query(f, (struct meta_query){.op = META_QUERY_SESSIONS, .session = UINT64_MAX});
    assert_true(r.end && r.session_count == 0);
}

static void a_cluster_that_is_not_formed_waits(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open_empty(&f);
    assert_status(fixture_open_session(&f, 1), ERR_NO_LEADER);
    assert_status(do_getattr(&f, ROOT), ERR_NO_LEADER);
    assert_false(meta_initialised(f.meta));
    struct meta_query_reply r = fixture_query(&f, (struct meta_query){.op = META_QUERY_SESSIONS});
    assert_true(r.status == ERR_OK && r.session_count == 0);
    assert_status(fixture_init(&f), ERR_OK);
    assert_true(meta_initialised(f.meta));
    assert_status(fixture_init(&f), ERR_EXIST);
    assert_status(fixture_open_session(&f, 1), ERR_OK);
    fixture_close(&f);
}

static void block_servers_are_registered(void **state)
{
    struct fixture *f = *state;
    uint64_t version = fixture_query(f, (struct meta_query){.op = META_QUERY_CLUSTER}).cluster.map_version;
    for (uint32_t id = LIMIT_BLOCK_SERVERS; id > 0; id--) {
        struct meta_command c = {.op = META_BLOCK_SERVER, .block_server = {.id = id, .address = "h:1", .weight = id}};
        assert_status(fixture_apply(f, c), ERR_OK);
    }
    struct meta_command c = {.op = META_BLOCK_SERVER, .block_server = {.id = 1, .address = "h:2", .weight = 9}};
    assert_status(fixture_apply(f, c), ERR_OK);
    c.block_server.id = LIMIT_BLOCK_SERVERS + 1;
    assert_status(fixture_apply(f, c), ERR_NOSPC);
    struct meta_query_reply r = fixture_query(f, (struct meta_query){.op = META_QUERY_CLUSTER});
    assert_int_equal(r.cluster.map_version, version + LIMIT_BLOCK_SERVERS + 1);
    assert_int_equal(r.cluster.server_count, LIMIT_BLOCK_SERVERS);
    for (uint32_t i = 0; i < LIMIT_BLOCK_SERVERS; i++)
        assert_int_equal(r.cluster.servers[i].id, i + 1);
    assert_string_equal(r.cluster.servers[0].address, "h:2");
}

static enum err change_server(struct fixture *f, uint32_t id, enum meta_server_change change, uint64_t weight)
{
    struct meta_command c = {
        .op = META_BLOCK_SERVER,
        .block_server = {.id = id, .address = "h:1", .weight = weight, .change = change, .draining = true}};
    return fixture_apply(f, c).status;
}

static void block_servers_are_changed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(change_server(f, 1, META_SERVER_DRAIN, 1), ERR_NOENT);
    assert_int_equal(change_server(f, 1, META_SERVER_REGISTER, 100), ERR_OK);
    assert_int_equal(change_server(f, 1, META_SERVER_DRAIN, 1), ERR_NOT_POSSIBLE);
    assert_int_equal(change_server(f, 2, META_SERVER_REGISTER, 100), ERR_OK);
    assert_int_equal(change_server(f, 1, META_SERVER_DRAIN, 1), ERR_OK);
    assert_int_equal(change_server(f, 2, META_SERVER_DRAIN, 1), ERR_NOT_POSSIBLE);
    assert_int_equal(change_server(f, 2, META_SERVER_WEIGHT, 7), ERR_OK);
    /* Who registers again leaves that alone. */
    assert_int_equal(change_server(f, 1, META_SERVER_REGISTER, 200), ERR_OK);
    assert_int_equal(change_server(f, 2, META_SERVER_REGISTER, 200), ERR_OK);
    struct meta_query_reply r = fixture_query(f, (struct meta_query){.op = META_QUERY_CLUSTER});
    const struct meta_block_server *one = &r.cluster.servers[0], *two = &r.cluster.servers[1];
    assert_int_equal(r.cluster.server_count, 2);
    assert_true(one->draining && !one->weight_fixed && one->weight == 200);
    assert_true(!two->draining && two->weight_fixed && two->weight == 7);
    uint64_t version = r.cluster.map_version;
    assert_int_equal(change_server(f, 1, META_SERVER_UNDRAIN, 1), ERR_OK);
    assert_int_equal(change_server(f, 2, META_SERVER_REMOVE, 1), ERR_OK);
    assert_int_equal(change_server(f, 2, META_SERVER_REMOVE, 1), ERR_NOENT);
    r = fixture_query(f, (struct meta_query){.op = META_QUERY_CLUSTER});
    assert_int_equal(r.cluster.server_count, 1);
    assert_int_equal(r.cluster.map_version, version + 2);
    assert_false(r.cluster.servers[0].draining);
}

static void time_always_goes_on(void **state)
{
    struct fixture *f = *state;
    struct meta_attr first = fixture_call(f, make_command(META_CREATE, ROOT, "a", 0644)).attr;
    f->time_ns -= 3600 * (int64_t)FIXTURE_STEP_NS; /* another leader with a slow clock */
    struct meta_reply second = fixture_call(f, make_command(META_CREATE, ROOT, "b", 0644));
    assert_true(second.attr.ctime_ns == first.ctime_ns + 1 && second.parent.mtime_ns == second.attr.ctime_ns);
    struct meta_reply third = fixture_call(f, make_command(META_CREATE, ROOT, "c", 0644));
    assert_true(third.parent.mtime_ns > second.parent.mtime_ns && third.parent.ctime_ns > second.parent.ctime_ns);
}

/* ---- orphans ---- */

static void an_unlinked_file_lives_until_it_is_released(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644), other = must_make(f, META_CREATE, ROOT, "g", 0644);
    struct meta_extent e = extent_of(0, 10, 1, 0);
    assert_status(fixture_call(f, commit_command(ino, &e, 1)), ERR_OK);
    assert_status(do_link(f, ino, ROOT, "f2"), ERR_OK);
    assert_false(do_unlink(f, ROOT, "f").orphaned); /* it has another name */
    struct meta_reply r = do_unlink(f, ROOT, "f2");
    assert_true(r.orphaned && r.attr.nlink == 0);
    assert_int_equal(inodes(f), 3);
    /* It can still be written, and opened by who has it open (which the client knows). */
    assert_status(fixture_call(f, commit_command(ino, &e, 1)), ERR_OK);
    assert_status(fixture_query(f, (struct meta_query){.op = META_QUERY_OPEN, .ino = ino}), ERR_OK);
    /* The end of a session, or a release of something else, changes nothing. */
    assert_status(fixture_end_session(f, new_session(f, 2)), ERR_OK);
    assert_status(do_release(f, ROOT), ERR_OK);
    assert_status(do_release(f, other), ERR_OK);
    assert_int_equal(must_getattr(f, ino).nlink, 0);
    assert_int_equal(must_getattr(f, other).nlink, 1);
    uint64_t found[2] = {0}, twice[] = {ino, ino};
    unsigned count;
    assert_int_equal(meta_orphans(f->meta, 0, found, 2, &count), ERR_OK);
    assert_true(count == 1 && found[0] == ino);
    assert_int_equal(meta_orphans(f->meta, ino + 1, found, 2, &count), ERR_OK);
    assert_int_equal(count, 0);
    struct meta_command c = {.op = META_RELEASE, .release = {.inos = twice, .count = 2}};
    assert_status(fixture_apply(f, c), ERR_OK);
    assert_status(do_getattr(f, ino), ERR_STALE);
    assert_int_equal(inodes(f), 2);
    assert_int_equal(rows_of(f, 'o'), 0);
    assert_int_equal(reap_all(f), 1);
}

/* Nothing else is opened through a mount: a fifo that is unlinked goes at once. */
static void only_files_become_orphans(void **state)
{
    struct fixture *f = *state;
    struct meta_command c = make_command(META_MKNOD, ROOT, "fifo", S_IFIFO | 0644);
    uint64_t ino = fixture_call(f, c).attr.ino;
    assert_false(do_unlink(f, ROOT, "fifo").orphaned);
    assert_status(do_getattr(f, ino), ERR_STALE);
}

static void the_end_of_a_session_takes_its_replies(void **state)
{
    struct fixture *f = *state;
    uint64_t s = new_session(f, 2);
    for (unsigned i = 0; i + 1 < LIMIT_REPLY_WINDOW; i++) /* as many as there can be */
        assert_status(send(f, unlink_command(META_UNLINK, ROOT, "x"), s, 1 + i, 0), ERR_NOENT);
    assert_status(fixture_end_session(f, s), ERR_OK);
    assert_true(f->meta->rows <= LIMIT_COMMAND_ROWS);
    fixture_verify(f);
    assert_status(send(f, unlink_command(META_UNLINK, ROOT, "x"), s, 1, 0), ERR_SESSION_EXPIRED);
    assert_int_equal(rows_of(f, 'q'), 0);
}

static void statfs_counts_inodes_and_bytes(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    must_make(f, META_MKDIR, ROOT, "d", 0755);
    must_make(f, META_SYMLINK, ROOT, "l", 0);
    assert_status(do_link(f, ino, ROOT, "again"), ERR_OK);
    struct meta_extent e = extent_of(0, 1000, 1, 0);
    assert_status(fixture_call(f, commit_command(ino, &e, 1)), ERR_OK);
    struct meta_query_reply r = fixture_query(f, (struct meta_query){.op = META_QUERY_STATFS});
    assert_int_equal(r.statfs.inodes, 4);
    assert_int_equal(r.statfs.bytes, 1000);
    assert_int_equal(meta_flush(f->meta, true), ERR_OK);
    fixture_reopen(f);
    assert_status(do_truncate(f, ino, 400), ERR_OK);
    assert_status(do_rmdir(f, ROOT, "d"), ERR_OK);
    r = fixture_query(f, (struct meta_query){.op = META_QUERY_STATFS});
    assert_int_equal(r.statfs.inodes, 3);
    assert_int_equal(r.statfs.bytes, 400);
    assert_status(do_remove(f, ROOT, "f"), ERR_OK);
    assert_status(do_remove(f, ROOT, "again"), ERR_OK);
    r = fixture_query(f, (struct meta_query){.op = META_QUERY_STATFS});
    assert_int_equal(r.statfs.inodes, 2);
    assert_int_equal(r.statfs.bytes, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_retry_gets_the_first_reply),
        TEST(failures_are_remembered_too),
        TEST(a_retried_append_is_placed_once),
        TEST(requests_may_arrive_out_of_order),
        TEST(the_window_has_limits),
        TEST(numbers_at_the_end_of_their_range),
        TEST(acknowledged_replies_are_forgotten),
        TEST(an_open_that_is_repeated_gives_the_same_session),
        TEST(an_ended_session_is_unknown),
        TEST(a_session_can_end_itself),
        TEST(sessions_are_listed_in_pages),
        cmocka_unit_test(a_cluster_that_is_not_formed_waits),
        TEST(block_servers_are_registered),
        TEST(block_servers_are_changed),
        TEST(time_always_goes_on),
        TEST(an_unlinked_file_lives_until_it_is_released),
        TEST(the_end_of_a_session_takes_its_replies),
        TEST(only_files_become_orphans),
        TEST(statfs_counts_inodes_and_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
