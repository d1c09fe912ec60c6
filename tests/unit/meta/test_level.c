/* The level of the state: how it rises, what needs it, and what a program does that doesn't know it. */
#include "tests/unit/meta/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meta/level.h"
#include "meta/store.h"

#define NEXT (META_LEVEL_MAX + 1)

static void reopen_as(struct fixture *f, uint32_t level_max)
{
    f->level_max = level_max;
    fixture_reopen(f);
}

static struct meta_reply set_level(struct fixture *f, uint32_t level)
{
    return fixture_apply(f, (struct meta_command){.op = META_SET_LEVEL, .set_level.level = level});
}

static enum err open_error(const char *path, uint32_t level_max, struct err_text *why)
{
    struct meta_options options = {.path = path, .level_max = level_max};
    struct meta *m = NULL;
    enum err e = meta_open(&options, &m, why);
    if (e == ERR_OK)
        meta_close(m);
    return e;
}

static void every_command_has_a_level(void **state)
{
    (void)state;
    for (int op = 1; op <= META_OP_LAST; op++) {
        struct meta_command c = {.op = (enum meta_op)op};
        uint32_t level = meta_level_of(&c);
        if (op == META_SET_LEVEL)
            assert_int_equal(level, 0); /* the one that it sets */
        else if (op == META_NEXT)
            assert_int_equal(level, NEXT);
        else
            assert_in_range(level, META_LEVEL_FIRST, META_LEVEL_MAX);
    }
    struct meta_command c = {.op = META_SET_LEVEL, .set_level.level = 7};
    assert_int_equal(meta_level_of(&c), 7);
}

static void the_level_only_rises_one_at_a_time(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(meta_level(f->meta), META_LEVEL_FIRST);
    reopen_as(f, META_LEVEL_FIRST + 2);
    assert_status(set_level(f, META_LEVEL_FIRST), ERR_EXIST);
    assert_status(set_level(f, META_LEVEL_FIRST + 2), ERR_INVAL);
    assert_int_equal(meta_level(f->meta), META_LEVEL_FIRST);
    assert_status(set_level(f, META_LEVEL_FIRST + 1), ERR_OK);
    assert_int_equal(meta_level(f->meta), META_LEVEL_FIRST + 1);
    assert_status(set_level(f, META_LEVEL_FIRST + 1), ERR_EXIST); /* two leaders meant the same one */
    assert_status(set_level(f, META_LEVEL_FIRST), ERR_EXIST);
    assert_status(set_level(f, META_LEVEL_FIRST + 2), ERR_OK);
    fixture_reopen(f);
    assert_int_equal(meta_level(f->meta), META_LEVEL_FIRST + 2);
}

static void a_command_waits_for_its_level(void **state)
{
    struct fixture *f = *state;
    reopen_as(f, NEXT);
    assert_status(fixture_call(f, (struct meta_command){.op = META_NEXT}), ERR_LEVEL);
    for (uint32_t level = META_LEVEL_FIRST + 1; level <= NEXT; level++)
        assert_status(set_level(f, level), ERR_OK);
    assert_status(fixture_call(f, (struct meta_command){.op = META_NEXT}), ERR_OK);
}

static void what_an_older_program_does_not_know_is_not_applied(void **state)
{
    struct fixture *f = *state;
    struct meta_reply r;
    struct meta_command next = {.op = META_NEXT}, raise = {.op = META_SET_LEVEL, .set_level.level = META_LEVEL_MAX + 1};
    uint64_t applied = meta_applied_index(f->meta);
    assert_int_equal(meta_apply(f->meta, applied + 1, 1, &next, &r), ERR_LEVEL);
    assert_int_equal(meta_apply(f->meta, applied + 1, 1, &raise, &r), ERR_LEVEL);
    assert_int_equal(meta_applied_index(f->meta), applied);
}

static void a_state_of_a_higher_level_is_not_opened(void **state)
{
    struct fixture *f = *state;
    struct err_text why = {""};
    reopen_as(f, META_LEVEL_MAX + 1);
    for (uint32_t level = META_LEVEL_FIRST + 1; level <= META_LEVEL_MAX + 1; level++)
        assert_status(set_level(f, level), ERR_OK);
    assert_int_equal(meta_flush(f->meta, true), ERR_OK);
    meta_close(f->meta);
    assert_int_equal(open_error(f->path, 0, &why), ERR_LEVEL);
    assert_non_null(strstr(why.text, "a newer surfd is needed"));
    assert_int_equal(open_error(f->path, META_LEVEL_MAX + 1, &why), ERR_OK);
    assert_int_equal(open_error(f->path, META_LEVEL_MAX + 2, &why), ERR_OK);
    struct meta_options options = {.path = f->path, .level_max = f->level_max};
    assert_int_equal(meta_open(&options, &f->meta, &why), ERR_OK);
}

static void a_snapshot_carries_the_level(void **state)
{
    struct fixture *f = *state;
    struct meta_snapshot_info info;
    struct err_text why = {""};
    char path[96], command[128];
    snprintf(path, sizeof path, "%s.copy", f->path);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    reopen_as(f, META_LEVEL_FIRST + 1);
    assert_int_equal(checkpoint(f, path, &why), ERR_OK);
    assert_int_equal(meta_inspect(path, &f->arena, &info, &why), ERR_OK);
    assert_int_equal(info.level, META_LEVEL_FIRST);
    assert_int_equal(system(command), 0);
    assert_status(set_level(f, META_LEVEL_FIRST + 1), ERR_OK);
    assert_int_equal(checkpoint(f, path, &why), ERR_OK);
    assert_int_equal(meta_inspect(path, &f->arena, &info, &why), ERR_OK);
    assert_int_equal(info.level, META_LEVEL_FIRST + 1);
    assert_int_equal(open_error(path, META_LEVEL_FIRST + 1, &why), ERR_OK);
    assert_int_equal(open_error(path, META_LEVEL_FIRST, &why), ERR_LEVEL);
    assert_int_equal(system(command), 0);
}

static void states_of_different_levels_differ(void **state)
{
    struct fixture *f = *state;
    struct sha256 before, after;
    reopen_as(f, META_LEVEL_FIRST + 1);
    assert_int_equal(meta_state_hash(f->meta, &before), ERR_OK);
    struct sha256 chain, nothing;
    assert_status(set_level(f, META_LEVEL_FIRST), ERR_EXIST);
    meta_chain_hash(f->meta, &nothing);
    assert_status(set_level(f, META_LEVEL_FIRST + 1), ERR_OK);
    meta_chain_hash(f->meta, &chain);
    assert_int_equal(meta_state_hash(f->meta, &after), ERR_OK);
    assert_false(sha256_equal(&before, &after));
    assert_false(sha256_equal(&chain, &nothing));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_has_a_level),   TEST(the_level_only_rises_one_at_a_time),
        TEST(a_command_waits_for_its_level),           TEST(what_an_older_program_does_not_know_is_not_applied),
        TEST(a_state_of_a_higher_level_is_not_opened), TEST(a_snapshot_carries_the_level),
        TEST(states_of_different_levels_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
