/* Leases as the leader keeps them: who waits, for what, and for how long at most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/log.h"
#include "replica/leases.h"

#define MS INT64_C(1000000)
#define DRIFT (100 * MS)
#define TERM (META_LEASE_TERM_NS + DRIFT)

struct waiting {
    struct lease_waiter waiter;
    unsigned ready;
};

struct fixture {
    struct leases *leases;
    unsigned noticed, woken, rooms;
    int64_t now_ns;
};

static void on_noticed(void *context, uint64_t session)
{
    struct fixture *f = context;
    (void)session;
    f->noticed++;
}

static void on_wake(void *context)
{
    struct fixture *f = context;
    f->woken++;
}

static void on_room(void *context, uint64_t session)
{
    struct fixture *f = context;
    f->rooms++;
    (void)!leases_orphaned(f->leases, session, UINT64_MAX); /* as somebody does who has more to tell */
}

static void on_ready(struct lease_waiter *w)
{
    container_of(w, struct waiting, waiter)->ready++;
}

static void open_fixture(struct fixture *f)
{
    *f = (struct fixture){.now_ns = 1000 * MS};
    f->leases = leases_new(&(struct lease_options){
        .drift_ns = DRIFT, .context = f, .noticed = on_noticed, .wake = on_wake, .room = on_room});
    leases_begin(f->leases, 3, f->now_ns, f->now_ns);
}

static struct waiting waiter(void)
{
    struct waiting w = {.waiter.ready = on_ready};
    list_node_init(&w.waiter.link);
    return w;
}

static bool must_wait(struct fixture *f, uint64_t ino, uint64_t index, struct waiting *w)
{
    *w = waiter();
    return leases_must_wait(f->leases, &ino, 1, index, f->now_ns, &w->waiter);
}

static struct meta_grant grant(struct fixture *f, uint64_t session, uint64_t ino, bool writer)
{
    struct meta_grant g;
    leases_grant(f->leases, session, &ino, 1, writer, &g);
    return g;
}

static void holders_are_waited_for(void **state)
{
    (void)state;
    struct fixture f;
    struct waiting w;
    open_fixture(&f);
    uint64_t a = leases_attach(f.leases, 1, 1, true, f.now_ns), b = leases_attach(f.leases, 2, 2, true, f.now_ns);
    assert_true(a != b && a != 0);
    assert_int_equal(grant(&f, 1, 7, false).attachment, a);
    assert_int_equal(grant(&f, 2, 7, false).attachment, b);

    leases_changed(f.leases, 1, 10, 7, f.now_ns); /* by the first: the second is told */
    assert_int_equal(f.noticed, 1);
    assert_true(leases_is_changing(f.leases, 7));
    assert_false(must_wait(&f, 8, 10, &w));
    assert_false(must_wait(&f, 7, 9, &w)); /* a state of before */
    assert_true(must_wait(&f, 7, 10, &w));

    struct meta_notice notice;
    uint64_t seq;
    assert_int_equal(leases_take(f.leases, 1, 0, &notice, 1, &seq), 0);
    assert_int_equal(leases_take(f.leases, 2, 0, &notice, 1, &seq), 1);
    assert_int_equal(notice.kind, META_NOTICE_CHANGED);
    assert_int_equal(notice.ino, 7);
    leases_acknowledge(f.leases, 2, a, seq, f.now_ns); /* of another attachment: nothing */
    assert_true(leases_is_changing(f.leases, 7));
    leases_acknowledge(f.leases, 2, b, seq + 1, f.now_ns); /* of what was not told: nothing */
    assert_true(leases_is_changing(f.leases, 7));
    leases_acknowledge(f.leases, 2, b, seq, f.now_ns);
    assert_false(leases_is_changing(f.leases, 7));
    assert_int_equal(w.ready, 0); /* not in the middle of something */
    leases_release(f.leases);
    assert_int_equal(w.ready, 1);

    /* The second holds nothing any more, the first still does. */
    leases_changed(f.leases, 2, 11, 7, f.now_ns);
    assert_int_equal(f.noticed, 2);
    assert_int_equal(leases_take(f.leases, 1, 0, &notice, 1, &seq), 1);
    leases_end(f.leases);
    leases_free(f.leases);
}

static void who_is_silent_is_waited_for_one_term(void **state)
{
    (void)state;
    struct fixture f;
    struct waiting w;
    open_fixture(&f);
    uint64_t b = leases_attach(f.leases, 2, 3, true, f.now_ns);
    (void)grant(&f, 2, 7, false);
    leases_changed(f.leases, 1, 10, 7, f.now_ns);
    assert_true(must_wait(&f, 7, 10, &w));
    /* It goes on renewing, but doesn't acknowledge: after a while that is not accepted. */
    int64_t changed_ns = f.now_ns, last_ns = f.now_ns;
    for (; f.now_ns < changed_ns + 5 * TERM; f.now_ns += 100 * MS) {
        if (leases_renew(f.leases, 2, b, f.now_ns))
            last_ns = f.now_ns;
        leases_tick(f.leases, f.now_ns);
        leases_release(f.leases);
        if (w.ready)
            break;
    }
    assert_true(w.ready == 1 && f.now_ns <= last_ns + TERM + 100 * MS);
    assert_true(last_ns <= changed_ns + LEASE_ANSWER_NS + 100 * MS);
    assert_false(leases_renew(f.leases, 2, b, f.now_ns));
    assert_false(leases_is_attached(f.leases, 2, b));
    assert_int_equal(grant(&f, 2, 8, false).attachment, 0);
    assert_true(leases_attach(f.leases, 2, 4, true, f.now_ns) > b);
    leases_end(f.leases);
    leases_free(f.leases);
}

static void a_new_leader_waits_for_all(void **state)
{
    (void)state;
    struct fixture f;
    struct waiting w;
    open_fixture(&f);
    leases_begin(f.leases, 4, f.now_ns, f.now_ns);
    leases_expect(f.leases, 1);
    leases_expect(f.leases, 2);
    assert_true(must_wait(&f, 7, 1, &w));
    leases_attach(f.leases, 1, 5, true, f.now_ns);
    leases_release(f.leases);
    assert_int_equal(w.ready, 0);
    leases_detach(f.leases, 2); /* its session has ended */
    leases_release(f.leases);
    assert_int_equal(w.ready, 1);
    assert_false(must_wait(&f, 7, 1, &w));

    leases_begin(f.leases, 5, f.now_ns, f.now_ns);
    leases_expect(f.leases, 1);
    assert_true(must_wait(&f, 7, 1, &w));
    assert_int_equal(leases_deadline_ns(f.leases), f.now_ns + TERM);
    f.now_ns += TERM;
    leases_tick(f.leases, f.now_ns);
    leases_release(f.leases);
    assert_int_equal(w.ready, 1);
    assert_false(must_wait(&f, 7, 1, &w));
    leases_end(f.leases);
    assert_true(must_wait(&f, 7, 1, &w)); /* whoever does not lead tells nobody */
    leases_begin(f.leases, 6, f.now_ns, f.now_ns);
    leases_release(f.leases);
    assert_int_equal(w.ready, 1);
    leases_end(f.leases);
    leases_free(f.leases);
}

static void attaching_anew_drops_what_was_held(void **state)
{
    (void)state;
    struct fixture f;
    struct waiting w;
    open_fixture(&f);
    leases_attach(f.leases, 2, 6, true, f.now_ns);
    (void)grant(&f, 2, 7, false);
    leases_changed(f.leases, 1, 10, 7, f.now_ns);
    assert_true(must_wait(&f, 7, 10, &w));
    leases_attach(f.leases, 2, 7, true, f.now_ns);
    leases_release(f.leases);
    assert_int_equal(w.ready, 1);
    assert_int_equal(leases_attach(f.leases, 2, 1, true, f.now_ns), 0); /* one that comes late */
    unsigned noticed = f.noticed;
    (void)grant(&f, 2, 8, false);
    leases_attach(f.leases, 2, 8, true, f.now_ns);
    leases_changed(f.leases, 1, 11, 8, f.now_ns);
    assert_int_equal(f.noticed, noticed);
    leases_end(f.leases);
    leases_free(f.leases);
}

static void writers_hear_of_readers(void **state)
{
    (void)state;
    struct fixture f;
    struct meta_notice notice;
    uint64_t seq;
    open_fixture(&f);
    leases_attach(f.leases, 1, 9, true, f.now_ns);
    leases_attach(f.leases, 2, 10, true, f.now_ns);
    struct meta_grant g = grant(&f, 1, 7, true);
    assert_int_equal(f.noticed, 0);
    (void)grant(&f, 2, 7, false);
    assert_int_equal(leases_take(f.leases, 1, g.seq, &notice, 1, &seq), 1);
    assert_int_equal(notice.kind, META_NOTICE_WANTED);
    (void)grant(&f, 2, 7, false); /* it holds it already */
    assert_int_equal(f.noticed, 1);
    (void)grant(&f, 2, 7, true); /* now both write */
    assert_int_equal(f.noticed, 3);
    leases_end(f.leases);
    leases_free(f.leases);
}

/* Its extents are others, and all else stays: who knows them is told, believes the rest on, and is not waited for. */
static void a_rewrite_is_told_and_not_waited_for(void **state)
{
    (void)state;
    struct fixture f;
    struct meta_notice notice;
    struct waiting w;
    uint64_t seq;
    open_fixture(&f);
    leases_attach(f.leases, 1, 9, true, f.now_ns);
    uint64_t b = leases_attach(f.leases, 2, 10, true, f.now_ns);
    (void)grant(&f, 1, 7, false);
    struct meta_grant g = grant(&f, 2, 7, false);
    leases_rewritten(f.leases, 3, 8);
    assert_int_equal(f.noticed, 0);
    leases_rewritten(f.leases, 1, 7);
    assert_int_equal(f.noticed, 1);
    assert_false(leases_is_changing(f.leases, 7));
    assert_false(must_wait(&f, 7, 10, &w));
    assert_int_equal(leases_take(f.leases, 2, g.seq, &notice, 1, &seq), 1);
    assert_int_equal(notice.kind, META_NOTICE_REWRITTEN);
    leases_acknowledge(f.leases, 2, b, seq, f.now_ns);
    leases_changed(f.leases, 1, 11, 7, f.now_ns); /* it has kept what it holds */
    assert_int_equal(leases_take(f.leases, 2, seq, &notice, 1, &seq), 1);
    assert_int_equal(notice.kind, META_NOTICE_CHANGED);
    leases_end(f.leases);
    leases_free(f.leases);
}

/* Whoever asks a member that has just won, before it has applied anything of its own, is not forgotten. */
static void a_leader_that_never_was(void **state)
{
    (void)state;
    struct fixture f;
    struct waiting w;
    open_fixture(&f);
    leases_end(f.leases);
    assert_true(must_wait(&f, 7, 1, &w));
    leases_end(f.leases);
    leases_release(f.leases);
    assert_int_equal(w.ready, 1);
    leases_free(f.leases);
}

static void many_notices_come_in_parts(void **state)
{
    (void)state;
    struct fixture f;
    struct meta_notice notices[10];
    uint64_t seq = 0, told = 0;
    open_fixture(&f);
    uint64_t a = leases_attach(f.leases, 1, 11, true, f.now_ns);
    for (uint64_t ino = 1; ino <= 100; ino++) {
        (void)grant(&f, 1, ino, false);
        leases_changed(f.leases, 2, ino, ino, f.now_ns);
    }
    for (unsigned count; (count = leases_take(f.leases, 1, seq, notices, 10, &seq)) > 0;) {
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(notices[i].ino, ++told);
        leases_acknowledge(f.leases, 1, a, seq, f.now_ns);
    }
    assert_int_equal(told, 100);
    struct leases_status status;
    leases_status(f.leases, f.now_ns, &status);
    assert_int_equal(status.waiting_changes, 0);
    assert_int_equal(status.held_inodes, 0);
    leases_end(f.leases);
    leases_free(f.leases);
}

static unsigned count_waiting(struct fixture *f, uint64_t session, uint64_t acknowledged)
{
    struct meta_notice notices[LEASE_NOTICES_MAX];
    uint64_t seq = acknowledged;
    unsigned sum = 0;
    for (unsigned count; (count = leases_take(f->leases, session, seq, notices, LEASE_NOTICES_MAX, &seq)) > 0;)
        sum += count;
    return sum;
}

/* It goes on renewing, which is all that it does: what others do with its file is told up to a bound. */
static void who_fetches_nothing_is_not_told_for_ever(void **state)
{
    (void)state;
    struct fixture f;
    struct waiting w;
    open_fixture(&f);
    uint64_t a = leases_attach(f.leases, 1, 1, true, f.now_ns);
    (void)grant(&f, 1, 7, true);
    (void)grant(&f, 1, 8, false);
    unsigned renewed = 0;
    for (uint64_t number = 1; number <= 2 * LEASE_WAITING_MAX; number++) {
        leases_attach(f.leases, 2, number, true, f.now_ns);
        (void)grant(&f, 2, 7, false); /* WANTED */
        leases_rewritten(f.leases, 2, 8);
        renewed += leases_renew(f.leases, 1, a, f.now_ns);
    }
    assert_int_equal(count_waiting(&f, 1, 0), LEASE_WAITING_MAX);
    assert_true(renewed > 0 && renewed <= LEASE_WAITING_MAX);
    assert_false(leases_is_attached(f.leases, 1, a));
    assert_int_equal(grant(&f, 1, 9, false).attachment, 0);

    /* What it believes all the same is waited for until its term is over. */
    leases_changed(f.leases, 2, 10, 8, f.now_ns);
    assert_true(must_wait(&f, 8, 10, &w));
    f.now_ns += TERM - 1;
    leases_tick(f.leases, f.now_ns);
    leases_release(f.leases);
    assert_int_equal(w.ready, 0);
    f.now_ns += 1;
    leases_tick(f.leases, f.now_ns);
    leases_release(f.leases);
    assert_int_equal(w.ready, 1);
    assert_int_equal(count_waiting(&f, 1, 0), 0);
    leases_end(f.leases);
    leases_free(f.leases);
}

/* Of unlinked inodes there may be any number: who is told of some of them at a time keeps its lease. */
static void orphans_wait_for_room(void **state)
{
    (void)state;
    struct fixture f;
    struct meta_notice notice;
    uint64_t seq;
    open_fixture(&f);
    assert_false(leases_orphaned(f.leases, 1, 1)); /* it is not attached */
    uint64_t a = leases_attach(f.leases, 1, 1, false, f.now_ns);
    for (uint64_t ino = 1; ino <= LEASE_WAITING_MAX; ino++)
        assert_true(leases_orphaned(f.leases, 1, ino));
    assert_false(leases_orphaned(f.leases, 1, 1));
    assert_false(leases_orphaned(f.leases, 1, 2));
    assert_int_equal(count_waiting(&f, 1, 0), LEASE_WAITING_MAX);
    assert_true(leases_is_attached(f.leases, 1, a) && leases_renew(f.leases, 1, a, f.now_ns));

    leases_acknowledge(f.leases, 1, a, LEASE_WAITING_MAX / 2 - 1, f.now_ns);
    assert_int_equal(f.rooms, 0);
    leases_acknowledge(f.leases, 1, a, LEASE_WAITING_MAX / 2, f.now_ns);
    assert_int_equal(f.rooms, 1);
    assert_int_equal(leases_take(f.leases, 1, LEASE_WAITING_MAX, &notice, 1, &seq), 1);
    assert_true(notice.kind == META_NOTICE_ORPHANED && notice.ino == UINT64_MAX);
    leases_acknowledge(f.leases, 1, a, seq, f.now_ns);
    assert_int_equal(f.rooms, 1);
    leases_end(f.leases);
    leases_free(f.leases);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holders_are_waited_for),
        cmocka_unit_test(who_is_silent_is_waited_for_one_term),
        cmocka_unit_test(a_new_leader_waits_for_all),
        cmocka_unit_test(attaching_anew_drops_what_was_held),
        cmocka_unit_test(writers_hear_of_readers),
        cmocka_unit_test(a_leader_that_never_was),
        cmocka_unit_test(many_notices_come_in_parts),
        cmocka_unit_test(a_rewrite_is_told_and_not_waited_for),
        cmocka_unit_test(who_fetches_nothing_is_not_told_for_ever),
        cmocka_unit_test(orphans_wait_for_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
