/* When an unlinked inode is released: when every session has said once that it isn't open there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/prng.h"
#include "replica/orphans.h"

struct asked {
    unsigned count;
    uint64_t session, ino; /* of the last */
    unsigned refused;      /* so many of the next can't be asked for */
};

static bool on_ask(void *context, uint64_t session, uint64_t ino)
{
    struct asked *a = context;
    if (a->refused > 0) {
        a->refused--;
        return false;
    }
    *a = (struct asked){a->count + 1, session, ino, 0};
    return true;
}

static uint64_t take(struct orphans *o)
{
    uint64_t ino = 0;
    (void)orphans_take(o, &ino, 1);
    return ino;
}

static void without_sessions_it_goes_at_once(void **state)
{
    (void)state;
    struct asked asked = {0};
    struct orphans *o = orphans_new(on_ask, &asked);
    orphans_add(o, 7);
    assert_int_equal(take(o), 7);
    assert_int_equal(take(o), 0);
    assert_int_equal(orphans_count(o), 0);
    orphans_free(o);
}

static void all_are_asked_once_and_waited_for(void **state)
{
    (void)state;
    struct asked asked = {0};
    struct orphans *o = orphans_new(on_ask, &asked);
    uint64_t ino = 7, other = 8;
    orphans_session(o, 1);
    orphans_session(o, 2);
    orphans_add(o, ino);
    orphans_add(o, ino);
    assert_int_equal(asked.count, 2);
    orphans_session(o, 3); /* has come later: it can't have it open */
    orphans_not_open(o, 1, &ino, 1);
    orphans_not_open(o, 1, &ino, 1);
    orphans_not_open(o, 2, &other, 1);
    assert_int_equal(take(o), 0);
    orphans_not_open(o, 2, &ino, 1);
    assert_int_equal(take(o), ino);
    orphans_not_open(o, 2, &ino, 1);
    assert_int_equal(take(o), 0);
    orphans_free(o);
}

static void who_comes_back_is_asked_again_and_who_ends_is_not_waited_for(void **state)
{
    (void)state;
    struct asked asked = {0};
    struct orphans *o = orphans_new(on_ask, &asked);
    uint64_t ino = 7;
    orphans_session(o, 1);
    orphans_session(o, 2);
    orphans_add(o, ino);
    orphans_not_open(o, 1, &ino, 1);
    orphans_session_back(o, 1);
    assert_int_equal(asked.count, 2);
    orphans_session_back(o, 2);
    assert_int_equal(asked.count, 3);
    assert_true(asked.session == 2 && asked.ino == ino);
    assert_int_equal(take(o), 0);
    orphans_session_ended(o, 2);
    assert_int_equal(take(o), ino);
    orphans_add(o, 9); /* only 1 is asked now */
    assert_int_equal(asked.count, 4);
    orphans_clear(o);
    assert_int_equal(orphans_count(o), 0);
    orphans_free(o);
}

static void who_had_no_room_is_asked_for_the_rest(void **state)
{
    (void)state;
    struct asked asked = {0};
    struct orphans *o = orphans_new(on_ask, &asked);
    orphans_session(o, 1);
    orphans_add(o, 7);
    asked.refused = 2;
    orphans_add(o, 8);
    orphans_add(o, 9);
    assert_int_equal(asked.count, 1);
    orphans_session_room(o, 2); /* nobody waits for it */
    assert_int_equal(asked.count, 1);
    orphans_session_room(o, 1); /* 8 and 9 */
    assert_int_equal(asked.count, 3);
    orphans_session_room(o, 1);
    assert_int_equal(asked.count, 3);

    /* After the first refusal it isn't gone on, and what it has been asked for before counts no more. */
    asked.refused = 1;
    orphans_session_back(o, 1);
    assert_int_equal(asked.count, 3);
    orphans_session_room(o, 1);
    assert_int_equal(asked.count, 6);
    uint64_t inos[] = {7, 8, 9};
    orphans_not_open(o, 1, inos, 3);
    assert_true(take(o) != 0 && take(o) != 0 && take(o) != 0);
    assert_int_equal(orphans_count(o), 0);
    orphans_free(o);
}

/* In any order of answers, returns and ends: released exactly when nobody is waited for. */
static void random_answers(void **state)
{
    (void)state;
    enum { SESSIONS = 5, INOS = 6 };
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct asked asked = {0};
        struct orphans *o = orphans_new(on_ask, &asked);
        struct prng p;
        prng_seed(&p, seed);
        bool alive[SESSIONS] = {false}, waits[INOS][SESSIONS] = {{false}}, there[INOS] = {false};
        for (unsigned step = 0; step < 200; step++) {
            uint64_t s = prng_below(&p, SESSIONS), i = prng_below(&p, INOS), ino = i + 1;
            switch (prng_below(&p, 6)) {
            case 0:
                alive[s] = true;
                orphans_session(o, s + 1);
                break;
            case 1:
                alive[s] = false;
                orphans_session_ended(o, s + 1);
                for (unsigned n = 0; n < INOS; n++)
                    waits[n][s] = false;
                break;
            case 2:
                if (!there[i])
                    for (unsigned n = 0; n < SESSIONS; n++)
                        waits[i][n] = alive[n];
                there[i] = true;
                orphans_add(o, ino);
                break;
            case 3:
                orphans_session_back(o, s + 1);
                break;
            default:
                waits[i][s] = false;
                orphans_not_open(o, s + 1, &ino, 1);
                break;
            }
            for (uint64_t got; (got = take(o)) != 0;) {
                assert_true(there[got - 1]);
                for (unsigned n = 0; n < SESSIONS; n++)
                    assert_false(waits[got - 1][n]);
                there[got - 1] = false;
            }
            size_t left = 0;
            for (unsigned n = 0; n < INOS; n++)
                left += there[n];
            assert_int_equal(orphans_count(o), left);
        }
        orphans_free(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_sessions_it_goes_at_once),
        cmocka_unit_test(all_are_asked_once_and_waited_for),
        cmocka_unit_test(who_comes_back_is_asked_again_and_who_ends_is_not_waited_for),
        cmocka_unit_test(who_had_no_room_is_asked_for_the_rest),
        cmocka_unit_test(random_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
