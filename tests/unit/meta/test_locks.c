/* Advisory locks: who gets what, who waits, and what becomes of it. */
#include "tests/unit/meta/commands.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "meta/lock_rows.h"

#define END META_SIZE_MAX
#define P META_LOCK_POSIX
#define F META_LOCK_FLOCK
#define R META_LOCK_READ
#define W META_LOCK_WRITE
#define U META_LOCK_UNLOCK

struct client {
    uint64_t session, seq;
};

static struct client new_client(struct fixture *f, unsigned nonce)
{
    struct meta_reply r = fixture_open_session(f, nonce);
    assert_status(r, ERR_OK);
    return (struct client){.session = r.session};
}

static struct meta_reply call(struct fixture *f, struct client *c, struct meta_command command)
{
    command.session = c->session;
    command.acked = c->seq;
    command.seq = ++c->seq;
    return fixture_apply(f, command);
}

static struct meta_reply lock(struct fixture *f, struct client *c, uint64_t ino, enum meta_lock_kind kind,
                              enum meta_lock_type type, uint64_t owner, uint64_t start, uint64_t end, bool wait)
{
    struct meta_command command = {
        .op = META_LOCK,
        .lock = {.ino = ino,
                 .lock = {.kind = kind, .type = type, .start = start, .end = end, .owner = owner, .pid = 100},
                 .wait = wait}};
    return call(f, c, command);
}

static struct meta_reply flock_(struct fixture *f, struct client *c, uint64_t ino, enum meta_lock_type type,
                                uint64_t owner, bool wait)
{
    return lock(f, c, ino, F, type, owner, 0, END, wait);
}

static struct meta_reply cancel(struct fixture *f, struct client *c, const struct meta_reply *waiting)
{
    return call(f, c,
                (struct meta_command){.op = META_LOCK_CANCEL,
                                      .lock_cancel = {.ticket = waiting->ticket, .place = waiting->place}});
}

static struct meta_query_reply ask(struct fixture *f, const struct client *c, uint64_t ino,
                                   const struct meta_reply *waiting)
{
    return fixture_query(f, (struct meta_query){.op = META_QUERY_LOCK_WAIT,
                                                .session = c->session,
                                                .ino = ino,
                                                .ticket = waiting->ticket,
                                                .place = waiting->place});
}

static bool waits(struct fixture *f, const struct client *c, uint64_t ino, const struct meta_reply *waiting)
{
    struct meta_query_reply r = ask(f, c, ino, waiting);
    assert_status(r, ERR_OK);
    return r.waiting;
}

static struct meta_lock test(struct fixture *f, const struct client *c, uint64_t ino, enum meta_lock_type type,
                             uint64_t owner, uint64_t start, uint64_t end)
{
    struct meta_query_reply r = fixture_query(
        f, (struct meta_query){.op = META_QUERY_LOCK_TEST,
                               .session = c->session,
                               .ino = ino,
                               .lock = {.kind = P, .type = type, .start = start, .end = end, .owner = owner}});
    assert_status(r, ERR_OK);
    return r.lock;
}

static struct meta_session_info info_of(struct fixture *f, uint64_t session)
{
    struct meta_query_reply r =
        fixture_query(f, (struct meta_query){.op = META_QUERY_SESSIONS, .session = session - 1, .max_count = 1});
    assert_int_equal(r.session_count, 1);
    assert_int_equal(r.sessions[0].id, session);
    return r.sessions[0];
}

/* The owner's ranges of one inode as text, in order: "r0-9 w10-19". */
static const char *ranges(struct fixture *f, uint64_t ino, const struct client *c, uint64_t owner)
{
    static char text[512];
    struct lock_file file;
    size_t used = 0;
    uint64_t from = 0;
    text[0] = 0;
    assert_int_equal(lock_file_open(&file, f->meta, ino, P), ERR_OK);
    for (bool more = true; more;) {
        const struct row_lock *next = NULL;
        for (unsigned i = 0; i < file.now.count; i++) {
            const struct row_lock *r = &file.now.entries[i].row;
            if (r->session == c->session && r->lock.owner == owner && r->ticket == 0 && r->lock.start >= from &&
                (!next || r->lock.start < next->lock.start))
                next = r;
        }
        more = next;
        if (next) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%c%llu-%llu", used ? " " : "",
                                     next->lock.type == R ? 'r' : 'w', (unsigned long long)next->lock.start,
                                     (unsigned long long)next->lock.end);
            from = next->lock.end + 1;
        }
    }
    lock_file_close(&file);
    return text;
}

static void ranges_split_and_merge(void **state)
{
    struct fixture *f = *state;
    struct client a = new_client(f, 2);
    uint64_t ino = must_make(f, META_CREATE, META_ROOT_INO, "f", 0644);
    assert_status(lock(f, &a, ino, P, W, 1, 10, 19, false), ERR_OK);
    assert_status(lock(f, &a, ino, P, W, 1, 20, 29, false), ERR_OK);
    assert_string_equal(ranges(f, ino, &a, 1), "w10-29");
    struct meta_reply r = lock(f, &a, ino, P, R, 1, 15, 24, false);
    assert_int_equal(r.held, 3);
    assert_string_equal(ranges(f, ino, &a, 1), "w10-14 r15-24 w25-29");
    assert_status(lock(f, &a, ino, P, U, 1, 12, 12, false), ERR_OK);
    assert_string_equal(ranges(f, ino, &a, 1), "w10-11 w13-14 r15-24 w25-29");
    assert_status(lock(f, &a, ino, P, R, 1, 25, 40, false), ERR_OK);
    assert_string_equal(ranges(f, ino, &a, 1), "w10-11 w13-14 r15-40");
    assert_status(lock(f, &a, ino, P, W, 1, 0, END, false), ERR_OK);
    assert_string_equal(ranges(f, ino, &a, 1), "w0-9223372036854775807");
    assert_status(lock(f, &a, ino, P, U, 1, 5, END, false), ERR_OK);
    assert_string_equal(ranges(f, ino, &a, 1), "w0-4");
    r = lock(f, &a, ino, P, U, 1, 0, END, false);
    assert_int_equal(r.held, 0);
    assert_string_equal(ranges(f, ino, &a, 1), "");
    assert_int_equal(rows_of(f, 'l') + rows_of(f, 'h') + rows_of(f, 'w'), 0);
}

static void owners_hinder_one_another(void **state)
{
    struct fixture *f = *state;
    struct client a = new_client(f, 2), b = new_client(f, 3);
    uint64_t ino = must_make(f, META_CREATE, META_ROOT_INO, "f", 0644);
    assert_status(lock(f, &a, ino, P, R, 1, 0, 9, false), ERR_OK);
    assert_status(lock(f, &b, ino, P, R, 1, 5, 14, false), ERR_OK);
    assert_status(lock(f, &b, ino, P, W, 1, 9, 9, false), ERR_WOULD_BLOCK);
    assert_status(lock(f, &a, ino, P, W, 2, 12, 12, false), ERR_WOULD_BLOCK);
    assert_status(lock(f, &a, ino, P, W, 2, 15, 20, false), ERR_OK);
    /* Whoever asks sees the first one in his way, and the number of a process of its own machine only. */
    struct meta_lock in_way = test(f, &b, ino, W, 1, 0, END);
    assert_true(in_way.type == R && in_way.start == 0 && in_way.end == 9 && in_way.pid == 0 && in_way.owner == 0);
    in_way = test(f, &a, ino, R, 1, 13, END);
    assert_true(in_way.type == W && in_way.start == 15 && in_way.end == 20 && in_way.pid == 100);
    assert_int_equal(test(f, &a, ino, R, 1, 21, END).type, U);
    assert_int_equal(info_of(f, a.session).locks, 2);
    assert_int_equal(info_of(f, b.session).locks, 1);
    /* A lock of a file that is not there; giving one up is always possible. */
    assert_status(lock(f, &a, 999, P, R, 1, 0, 9, false), ERR_STALE);
    assert_status(lock(f, &a, 999, P, U, 1, 0, 9, false), ERR_OK);
}

static void the_two_kinds_do_not_meet(void **state)
{
    struct fixture *f = *state;
    struct client a = new_client(f, 2), b = new_client(f, 3);
    uint64_t ino = must_make(f, META_CREATE, META_ROOT_INO, "f", 0644);
    assert_status(lock(f, &a, ino, P, W, 1, 0, END, false), ERR_OK);
    assert_status(flock_(f, &b, ino, W, 1, false), ERR_OK);
    assert_status(flock_(f, &a, ino, R, 1, false), ERR_WOULD_BLOCK);
    assert_status(flock_(f, &b, ino, R, 1, false), ERR_OK);
    assert_status(flock_(f, &a, ino, R, 1, false), ERR_OK);
}

static void who_waits_gets_it_in_order(void **state)
{
    struct fixture *f = *state;
    struct client a = new_client(f, 2), b = new_client(f, 3);
    uint64_t ino = must_make(f, META_CREATE, META_ROOT_INO, "f", 0644);
    unsigned count;
    assert_status(lock(f, &a, ino, P, W, 1, 0, 9, false), ERR_OK);
    struct meta_reply first = lock(f, &b, ino, P, W, 1, 0, 4, true), second = lock(f, &a, ino, P, R, 2, 2, 9, true);
    struct meta_reply third = lock(f, &b, ino, P, R, 3, 5, 5, true);
    assert_true(first.ticket && second.ticket && third.ticket && first.held == 0);
    assert_true(waits(f, &b, ino, &first) && waits(f, &a, ino, &second) && waits(f, &b, ino, &third));
    assert_int_equal(info_of(f, b.session).waits, 2);
    /* The second is behind the first in time and in its way in place; the third fits beside both. */
    assert_status(lock(f, &a, ino, P, U, 1, 0, END, false), ERR_OK);
    const uint64_t *grants = meta_lock_grants(f->meta, &count);
    assert_int_equal(count, 2);
    assert_true(grants[0] == first.ticket && grants[1] == third.ticket);
    assert_true(!waits(f, &b, ino, &first) && waits(f, &a, ino, &second) && !waits(f, &b, ino, &third));
    assert_true(ask(f, &b, ino, &first).attr.ino == ino);
    fixture_verify(f);
    assert_status(lock(f, &b, ino, P, U, 1, 0, 4, false), ERR_OK);
    assert_false(waits(f, &a, ino, &second));
    assert_int_equal(rows_of(f, 'w'), 0);
    /* A write lock that becomes a read lock lets readers in. */
    assert_status(lock(f, &a, ino, P, W, 7, 20, 29, false), ERR_OK);
    first = lock(f, &b, ino, P, R, 8, 25, 25, true);
    assert_status(lock(f, &a, ino, P, R, 7, 25, 29, false), ERR_OK);
    assert_false(waits(f, &b, ino, &first));
}

static void cancelled_or_held_never_both(void **state)
{
    struct fixture *f = *state;
    struct client a = new_client(f, 2), b = new_client(f, 3);
    uint64_t ino = must_make(f, META_CREATE, META_ROOT_INO, "f", 0644);
    assert_status(lock(f, &a, ino, P, W, 1, 0, 9, false), ERR_OK);
    struct meta_reply waiting = lock(f, &b, ino, P, W, 1, 0, 9, true);
    assert_status(cancel(f, &b, &waiting), ERR_OK);
    assert_status(cancel(f, &b, &waiting), ERR_NOT_FOUND);
    assert_status(lock(f, &a, ino, P, U, 1, 0, 9, false), ERR_OK);
    assert_string_equal(ranges(f, ino, &b, 1), "");
    assert_status(lock(f, &a, ino, P, W, 1, 0, 9, false), ERR_OK);
    waiting = lock(f, &b, ino, P, W, 1, 0, 9, true);
    assert_status(lock(f, &a, ino, P, U, 1, 0, 9, false), ERR_OK);
    assert_status(cancel(f, &b, &waiting), ERR_NOT_FOUND);
    assert_string_equal(ranges(f, ino, &b, 1), "w0-9");
    /* The place is used again: an old ticket cancels nothing. */
    struct meta_reply other = lock(f, &a, ino, P, W, 1, 0, 9, true);
    assert_int_equal(other.place, waiting.place);
    other.ticket = waiting.ticket;
    assert_status(cancel(f, &a, &other), ERR_NOT_FOUND);
}

static void circles_are_refused(void **state)
{
    struct fixture *f = *state;
    struct client a = new_client(f, 2), b = new_client(f, 3);
    uint64_t x = must_make(f, META_CREATE, META_ROOT_INO, "x", 0644);
    uint64_t y = must_make(f, META_CREATE, META_ROOT_INO, "y", 0644);
    assert_status(lock(f, &a, x, P, W, 1, 0, 9, false), ERR_OK);
    assert_status(lock(f, &b, y, P, W, 1, 0, 9, false), ERR_OK);
    assert_status(lock(f, &b, x, P, W, 2, 20, 29, false), ERR_OK);
    struct meta_reply one = lock(f, &a, y, P, R, 1, 0, 0, true), two = lock(f, &b, y, P, R, 2, 5, 5, true);
    assert_true(one.ticket && two.ticket);
    assert_status(lock(f, &b, x, P, W, 1, 5, 25, true), ERR_DEADLK);
    assert_status(lock(f, &b, x, P, W, 1, 5, 25, false), ERR_WOULD_BLOCK);
    assert_int_equal(lock(f, &b, x, P, W, 1, 12, 15, true).ticket, 0);
    /* Without one of those who wait it is no circle any more. */
    assert_status(cancel(f, &a, &one), ERR_OK);
    struct meta_reply r = lock(f, &b, x, P, W, 1, 0, 0, true);
    assert_status(r, ERR_OK);
    assert_true(r.ticket != 0);
    /* flock knows no circles. */
    assert_status(flock_(f, &a, x, R, 1, false), ERR_OK);
    assert_status(flock_(f, &b, y, W, 1, false), ERR_OK);
    assert_true(flock_(f, &a, y, W, 1, true).ticket != 0);
    assert_true(flock_(f, &b, x, W, 1, true).ticket != 0);
}

static void two_readers_that_want_to_write(void **state)
{
    struct fixture *f = *state;
    struct client a = new_client(f, 2), b = new_client(f, 3);
    uint64_t ino = must_make(f, META_CREATE, META_ROOT_INO, "f", 0644);
    assert_status(flock_(f, &a, ino, R, 1, false), ERR_OK);
    assert_status(flock_(f, &b, ino, R, 1, false), ERR_OK);
    struct meta_reply r = flock_(f, &a, ino, W, 1, false);
    assert_status(r, ERR_WOULD_BLOCK);
    /* flock: the read lock goes first, so one of them gets on. */
    struct meta_reply first = flock_(f, &a, ino, W, 1, true);
    assert_true(first.ticket != 0 && first.held == 0);
    struct meta_reply second = flock_(f, &b, ino, W, 1, true);
    assert_int_equal(second.ticket, 0);
    assert_status(flock_(f, &b, ino, U, 1, false), ERR_OK);
    assert_false(waits(f, &a, ino, &first));
    assert_status(flock_(f, &a, ino, U, 1, false), ERR_OK);
    /* fcntl: the second is told. */
    assert_status(lock(f, &a, ino, P, R, 1, 0, 9, false), ERR_OK);
    assert_status(lock(f, &b, ino, P, R, 1, 0, 9, false), ERR_OK);
    first = lock(f, &a, ino, P, W, 1, 0, 9, true);
    assert_int_equal(first.held, 1);
    assert_status(lock(f, &b, ino, P, W, 1, 0, 9, true), ERR_DEADLK);
}

static void a_session_takes_its_locks_along(void **state)
{
    struct fixture *f = *state;
    struct client a = new_client(f, 2), b = new_client(f, 3);
    uint64_t ino = must_make(f, META_CREATE, META_ROOT_INO, "f", 0644);
    assert_status(lock(f, &a, ino, P, W, 1, 0, 9, false), ERR_OK);
    assert_status(flock_(f, &a, ino, W, 9, false), ERR_OK);
    struct meta_reply p = lock(f, &b, ino, P, R, 1, 0, 9, true), q = flock_(f, &b, ino, R, 9, true);
    struct meta_reply own = lock(f, &a, ino, P, R, 2, 0, 9, true);
    assert_true(own.ticket != 0);
    struct meta_reply end = fixture_end_session(f, a.session);
    assert_status(end, ERR_OK);
    assert_false(end.more);
    assert_true(!waits(f, &b, ino, &p) && !waits(f, &b, ino, &q));
    assert_int_equal(ask(f, &a, ino, &own).status, ERR_SESSION_EXPIRED);
    fixture_verify(f);
}

static void a_long_end_comes_in_steps(void **state)
{
    enum { FILES = 2000 };
    struct fixture *f = *state;
    struct client a = new_client(f, 2), b = new_client(f, 3);
    uint64_t ino = must_make(f, META_CREATE, META_ROOT_INO, "f", 0644), last = 0;
    assert_status(flock_(f, &a, ino, W, 1, false), ERR_OK);
    for (unsigned i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        last = must_make(f, META_CREATE, META_ROOT_INO, name, 0644);
        assert_status(lock(f, &a, last, P, W, 1, 0, 9, false), ERR_OK);
    }
    struct meta_reply waiting = lock(f, &b, last, P, W, 1, 0, 9, true), r = fixture_end_session(f, a.session);
    assert_status(r, ERR_OK);
    assert_true(r.more);
    fixture_verify(f);
    /* From the first step on it can do nothing any more, least of all write what it locked. */
    assert_status(call(f, &a, make_command(META_MKDIR, META_ROOT_INO, "d", 0755)), ERR_SESSION_EXPIRED);
    unsigned steps = 1;
    for (; r.more; steps++)
        r = fixture_end_session(f, a.session);
    assert_in_range(steps, 3, 50);
    assert_false(waits(f, &b, last, &waiting));
    assert_status(flock_(f, &b, ino, W, 1, false), ERR_OK);
}

static void there_are_limits(void **state)
{
    struct fixture *f = *state;
    struct client a = new_client(f, 2), b = new_client(f, 3);
    uint64_t ino = must_make(f, META_CREATE, META_ROOT_INO, "f", 0644);
    for (unsigned i = 0; i < LIMIT_FILE_LOCKS; i++)
        assert_status(lock(f, &a, ino, P, W, 1, 4 * i, 4 * i + 2, false), ERR_OK);
    assert_status(lock(f, &a, ino, P, W, 1, 100000, 100001, false), ERR_NOLCK);
    assert_status(lock(f, &a, ino, P, U, 1, 1, 1, false), ERR_NOLCK);
    assert_status(lock(f, &b, ino, P, W, 1, 0, 0, true), ERR_NOLCK);
    assert_status(lock(f, &a, ino, P, W, 1, 3, 3, false), ERR_OK);
    /* All of it goes in one command, and whoever waits gets it in the same. */
    assert_status(lock(f, &a, ino, P, U, 1, 0, 99, false), ERR_OK);
    struct meta_reply waiting = lock(f, &b, ino, P, W, 1, 100, 5000, true);
    assert_true(waiting.ticket != 0);
    assert_status(lock(f, &a, ino, P, U, 1, 0, END, false), ERR_OK);
    assert_false(waits(f, &b, ino, &waiting));
    for (unsigned i = 0; i < LIMIT_SESSION_WAITS; i++)
        assert_true(lock(f, &a, ino, P, R, 10 + i, 100 + i % 2, 200, true).ticket != 0 || i > LIMIT_FILE_LOCKS / 3 - 2);
    assert_int_equal(lock(f, &b, ino, P, U, 1, 0, END, false).held, 0);
    assert_int_equal(info_of(f, a.session).waits, 0);
    uint64_t other = must_make(f, META_CREATE, META_ROOT_INO, "g", 0644);
    assert_status(flock_(f, &b, ino, W, 1, false), ERR_OK);
    assert_status(flock_(f, &b, other, W, 1, false), ERR_OK);
    for (unsigned i = 0; i < LIMIT_SESSION_WAITS; i++)
        assert_true(flock_(f, &a, i % 2 ? ino : other, R, 10 + i, true).ticket != 0);
    assert_status(flock_(f, &a, ino, R, 9999, true), ERR_NOLCK);
}

/* Rows are used again: a day of short locks leaves no more of them than were held at one time. */
static void places_are_used_again(void **state)
{
    struct fixture *f = *state;
    struct client a = new_client(f, 2), b = new_client(f, 3);
    uint64_t ino = must_make(f, META_CREATE, META_ROOT_INO, "f", 0644);
    for (unsigned i = 0; i < 500; i++) {
        assert_status(lock(f, &a, ino, P, W, i, 0, 9, false), ERR_OK);
        struct meta_reply r = lock(f, &b, ino, P, W, i, 0, 9, true);
        assert_int_equal(r.place, 0);
        assert_status(lock(f, &a, ino, P, U, i, 0, END, false), ERR_OK);
        assert_status(lock(f, &b, ino, P, U, i, 0, END, false), ERR_OK);
        struct lock_file file;
        assert_status(lock(f, &a, ino, P, R, i, 0, 9, false), ERR_OK);
        assert_int_equal(lock_file_open(&file, f->meta, ino, P), ERR_OK);
        assert_true(file.now.count == 1 && file.now.entries[0].place < 2);
        lock_file_close(&file);
        assert_status(lock(f, &a, ino, P, U, i, 0, END, false), ERR_OK);
    }
}

static void a_retry_waits_once(void **state)
{
    struct fixture *f = *state;
    struct client a = new_client(f, 2), b = new_client(f, 3);
    uint64_t ino = must_make(f, META_CREATE, META_ROOT_INO, "f", 0644);
    assert_status(flock_(f, &a, ino, W, 1, false), ERR_OK);
    struct meta_reply first = flock_(f, &b, ino, W, 1, true);
    b.seq--;
    struct meta_command command = {
        .op = META_LOCK, .session = b.session, .seq = b.seq + 1, .acked = b.seq, .lock = {.ino = ino, .wait = true}};
    command.lock.lock = (struct meta_lock){.kind = F, .type = W, .end = END, .owner = 1};
    struct meta_reply again = fixture_apply(f, command);
    assert_true(again.ticket == first.ticket && again.place == first.place);
    assert_int_equal(info_of(f, b.session).waits, 1);
    assert_int_equal(meta_flush(f->meta, true), ERR_OK);
    fixture_reopen(f);
    assert_true(waits(f, &b, ino, &first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ranges_split_and_merge, setup, teardown),
        cmocka_unit_test_setup_teardown(owners_hinder_one_another, setup, teardown),
        cmocka_unit_test_setup_teardown(the_two_kinds_do_not_meet, setup, teardown),
        cmocka_unit_test_setup_teardown(who_waits_gets_it_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled_or_held_never_both, setup, teardown),
        cmocka_unit_test_setup_teardown(circles_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(two_readers_that_want_to_write, setup, teardown),
        cmocka_unit_test_setup_teardown(a_session_takes_its_locks_along, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_end_comes_in_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(there_are_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(places_are_used_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_retry_waits_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
