/* Which directory holds the state, whatever moment a crash comes at. The calls that change directories go through
 * wrappers (--wrap), which copy everything as it is before each of them: these copies are what a crash would leave. */
#include "tests/unit/snapshot/fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MODULE "test"
#include "base/log.h"
#include "base/mem.h"
#include "snapshot/state_dir.h"

#define STEPS_MAX 64u

static struct {
    struct place *place; /* NULL: nothing is watched */
    unsigned steps;
    bool inside; /* a copy is being made */
} watched;

static const char *step_path(unsigned step)
{
    char name[32];
    snprintf(name, sizeof name, "step-%u", step);
    return place_of(watched.place, name);
}

static void step(void)
{
    if (!watched.place || watched.inside)
        return;
    watched.inside = true;
    assert_true(watched.steps < STEPS_MAX);
    copy_tree(place_of(watched.place, "base"), step_path(watched.steps++));
    watched.inside = false;
}

#define WRAP(name, parameters, arguments)                                                                              \
    int __real_##name parameters;                                                                                      \
    int __wrap_##name parameters;                                                                                      \
    int __wrap_##name parameters                                                                                       \
    {                                                                                                                  \
        step();                                                                                                        \
        return __real_##name arguments;                                                                                \
    }
WRAP(rename, (const char *from, const char *to), (from, to))
WRAP(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(unlinkat, (int directory, const char *name, int flags), (directory, name, flags))
WRAP(rmdir, (const char *path), (path))
WRAP(mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(fsync, (int fd), (fd))
WRAP(fdatasync, (int fd), (fd))

static void watch(struct place *p)
{
    watched.place = p;
    watched.steps = 0;
}

static void watch_end(void)
{
    step(); /* as it is in the end */
    watched.inside = true;
}

static int setup(void **state)
{
    struct place *p = MEM_NEW(struct place);
    memset(&watched, 0, sizeof watched);
    place_make(p);
    put_directory(place_of(p, "base"));
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    watched.place = NULL;
    place_remove(p);
    free(p);
    return 0;
}

static struct state_dir must_open(const char *base)
{
    struct state_dir d;
    struct err_text why = {""};
    if (state_dir_open(base, &d, &why) != ERR_OK)
        fail_msg("%s: %s", base, why.text);
    return d;
}

static void refused(const char *base, const char *word)
{
    struct state_dir d;
    struct err_text why = {""};
    assert_int_equal(state_dir_open(base, &d, &why), ERR_CORRUPT);
    if (!strstr(why.text, word))
        fail_msg("\"%s\" does not say \"%s\"", why.text, word);
}

/* A state: what RocksDB would have there. */
static void put_state(const char *path, const char *content)
{
    char file[PATH_MAX];
    if (!is_there(path))
        put_directory(path);
    snprintf(file, sizeof file, "%s/CURRENT", path);
    put_text(file, content);
    snprintf(file, sizeof file, "%s/000007.sst", path);
    put_text(file, content);
}

static bool holds(const char *path, const char *content)
{
    _cleanup_(bytes_free) struct bytes b = {0};
    char file[PATH_MAX];
    static const char *const names[] = {"CURRENT", "000007.sst"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        if (!is_there(file))
            return false;
        get_file(file, &b);
        if (!slice_equal(bytes_slice(&b), slice_str(content)))
            return false;
    }
    return true;
}

static struct state_dir open_with_state(struct place *p, const char *content)
{
    struct state_dir d = must_open(place_of(p, "base"));
    put_state(d.path, content);
    return d;
}

static void put_incoming(struct place *p, const char *content)
{
    if (!is_there(place_of(p, "base/incoming")))
        put_directory(place_of(p, "base/incoming"));
    put_state(place_of(p, "base/incoming/files"), content);
}

static void install(struct place *p, struct state_dir *d, uint64_t index, uint64_t term)
{
    struct err_text why = {""};
    if (state_dir_install(d, place_of(p, "base/incoming/files"), index, term, &why) != ERR_OK)
        fail_msg("%s", why.text);
}

static void the_first_one_is_empty(void **state)
{
    struct place *p = *state;
    struct state_dir d = must_open(place_of(p, "base"));
    assert_int_equal(d.number, 1);
    assert_false(d.reset_due);
    assert_string_equal(d.path, place_of(p, "base/meta-1"));
    assert_true(is_there(d.path));
    d = must_open(place_of(p, "base")); /* nothing was put there yet */
    put_state(d.path, "one");
    d = must_open(place_of(p, "base"));
    assert_true(holds(d.path, "one"));
    assert_int_equal(d.number, 1);
}

static void an_installed_one_takes_its_place(void **state)
{
    struct place *p = *state;
    struct err_text why = {""};
    struct state_dir d = open_with_state(p, "old");
    put_incoming(p, "new");
    install(p, &d, 100, 7);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(d.number, 2);
        assert_true(d.reset_due);
        assert_int_equal(d.index, 100);
        assert_int_equal(d.term, 7);
        assert_true(holds(d.path, "new"));
        assert_false(is_there(place_of(p, "base/meta-1")));
        d = must_open(place_of(p, "base"));
    }
    assert_int_equal(state_dir_settle(&d, &why), ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_false(d.reset_due);
        assert_int_equal(d.number, 2);
        d = must_open(place_of(p, "base"));
    }
    put_incoming(p, "newer");
    install(p, &d, 200, 8);
    assert_int_equal(d.number, 3);
    assert_true(holds(must_open(place_of(p, "base")).path, "newer"));
}

/* The copies made meanwhile: each opens as the old state or the new one, and from some step on as the new one. */
static void check_steps(const char *old, const char *new)
{
    bool was_new = false;
    assert_true(watched.steps >= 6);
    for (unsigned i = 0; i < watched.steps; i++) {
        char base[PATH_MAX];
        snprintf(base, sizeof base, "%s", step_path(i));
        for (unsigned again = 0; again < 2; again++) {
            struct state_dir d = must_open(base);
            bool is_new = holds(d.path, new);
            if (!is_new && !holds(d.path, old))
                fail_msg("step %u: neither the old state nor the new one", i);
            if (was_new && !is_new)
                fail_msg("step %u: the old state once more", i);
            if (is_new && (!d.reset_due || d.index != 100 || d.term != 7))
                fail_msg("step %u: no reset is due", i);
            if (!is_new && d.reset_due)
                fail_msg("step %u: a reset of the old one", i);
            was_new = is_new;
        }
        assert_true(i > 0 || !was_new);
    }
    assert_true(was_new);
}

static void a_crash_while_installing_leaves_one_of_the_two(void **state)
{
    struct place *p = *state;
    struct state_dir d = open_with_state(p, "old");
    put_incoming(p, "new");
    watch(p);
    install(p, &d, 100, 7);
    watch_end();
    check_steps("old", "new");
}

/* ... and what such a crash leaves, is installed over later. */
static void installing_goes_on_after_any_crash(void **state)
{
    struct place *p = *state;
    struct state_dir d = open_with_state(p, "old");
    put_incoming(p, "new");
    watch(p);
    install(p, &d, 100, 7);
    watch_end();
    struct err_text why = {""};
    for (unsigned i = 0; i < watched.steps; i++) {
        char base[PATH_MAX], from[PATH_MAX];
        snprintf(base, sizeof base, "%s", step_path(i));
        d = must_open(base);
        assert_true(snprintf(from, sizeof from, "%s/other", base) < PATH_MAX);
        put_state(from, "newer");
        uint64_t number = d.number;
        assert_int_equal(state_dir_install(&d, from, 300, 9, &why), ERR_OK);
        assert_int_equal(d.number, number + 1);
        d = must_open(base);
        assert_true(holds(d.path, "newer") && d.index == 300 && d.term == 9);
    }
}

static void a_crash_while_making_the_first_one_does_no_harm(void **state)
{
    struct place *p = *state;
    watch(p);
    must_open(place_of(p, "base"));
    watch_end();
    assert_true(watched.steps >= 5);
    for (unsigned i = 0; i < watched.steps; i++) {
        char base[PATH_MAX];
        snprintf(base, sizeof base, "%s", step_path(i));
        struct state_dir d = must_open(base);
        assert_int_equal(d.number, 1);
        assert_false(d.reset_due);
        assert_true(is_there(d.path));
    }
}

static void a_crash_while_settling_keeps_the_state(void **state)
{
    struct place *p = *state;
    struct err_text why = {""};
    struct state_dir d = open_with_state(p, "old");
    put_incoming(p, "new");
    install(p, &d, 100, 7);
    watch(p);
    assert_int_equal(state_dir_settle(&d, &why), ERR_OK);
    watch_end();
    bool settled = false;
    for (unsigned i = 0; i < watched.steps; i++) {
        char base[PATH_MAX];
        snprintf(base, sizeof base, "%s", step_path(i));
        d = must_open(base);
        assert_true(holds(d.path, "new"));
        assert_true(!settled || !d.reset_due);
        settled = !d.reset_due;
    }
    assert_true(settled);
}

static void leftovers_go_and_what_is_coming_stays(void **state)
{
    struct place *p = *state;
    open_with_state(p, "one");
    put_incoming(p, "half");
    put_state(place_of(p, "base/meta-2"), "never current");
    put_state(place_of(p, "base/meta-17"), "never current");
    put_state(place_of(p, "base/outgoing-0123"), "sent");
    put_state(place_of(p, "base/outgoing-0123.tmp"), "being made");
    put_text(place_of(p, "base/other"), "not ours");
    struct state_dir d = must_open(place_of(p, "base"));
    assert_true(holds(d.path, "one"));
    assert_false(is_there(place_of(p, "base/meta-2")));
    assert_false(is_there(place_of(p, "base/meta-17")));
    assert_false(is_there(place_of(p, "base/outgoing-0123")));
    assert_false(is_there(place_of(p, "base/outgoing-0123.tmp")));
    assert_true(is_there(place_of(p, "base/other")));
    assert_true(holds(place_of(p, "base/incoming/files"), "half"));
}

/* ---- what is lost is no empty state ---- */

static void a_lost_directory_is_refused(void **state)
{
    struct place *p = *state;
    struct state_dir d = open_with_state(p, "one");
    remove_tree(d.path);
    refused(place_of(p, "base"), "surfd --rebuild");
    assert_false(is_there(d.path));
}

static void a_lost_current_is_refused(void **state)
{
    struct place *p = *state;
    struct state_dir d = open_with_state(p, "one");
    assert_int_equal(unlink(place_of(p, "base/meta-1/CURRENT")), 0);
    refused(place_of(p, "base"), "CURRENT");
    put_state(d.path, "one");
    put_incoming(p, "new");
    install(p, &d, 100, 7);
    assert_int_equal(unlink(place_of(p, "base/meta-2/CURRENT")), 0);
    assert_int_equal(unlink(place_of(p, "base/meta-2/000007.sst")), 0);
    refused(place_of(p, "base"), "CURRENT"); /* an installed one is never empty */
}

static void a_lost_or_damaged_number_is_refused(void **state)
{
    struct place *p = *state;
    struct state_dir d = open_with_state(p, "one");
    _cleanup_(bytes_free) struct bytes whole = {0};
    get_file(place_of(p, "base/state"), &whole);
    for (size_t i = 0; i < whole.size; i++) {
        whole.data[i] ^= 0x20;
        put_file(place_of(p, "base/state"), bytes_slice(&whole));
        refused(place_of(p, "base"), "state");
        whole.data[i] ^= 0x20;
        put_file(place_of(p, "base/state"), SLICE(whole.data, i));
        refused(place_of(p, "base"), "state");
    }
    assert_int_equal(unlink(place_of(p, "base/state")), 0);
    refused(place_of(p, "base"), "missing");
    assert_true(holds(d.path, "one")); /* and nothing was touched */
}

static void an_install_that_fails_changes_nothing(void **state)
{
    struct place *p = *state;
    struct err_text why = {""};
    struct state_dir d = open_with_state(p, "old"), before = d;
    assert_int_not_equal(state_dir_install(&d, place_of(p, "base/nothing"), 5, 5, &why), ERR_OK);
    assert_true(strlen(why.text) > 10);
    assert_memory_equal(&d, &before, sizeof d);
    assert_true(holds(must_open(place_of(p, "base")).path, "old"));
    /* Where the new one is to be, there is something that can't go. */
    put_incoming(p, "new");
    put_directory(place_of(p, "base/meta-2"));
    put_directory(place_of(p, "base/meta-2/inner"));
    assert_int_not_equal(state_dir_install(&d, place_of(p, "base/incoming/files"), 5, 5, &why), ERR_OK);
    assert_memory_equal(&d, &before, sizeof d);
    remove_tree(place_of(p, "base/meta-2"));
    assert_true(holds(must_open(place_of(p, "base")).path, "old"));
}

static void removing_takes_files_only(void **state)
{
    struct place *p = *state;
    assert_int_equal(state_dir_remove(place_of(p, "base/nothing")), ERR_OK);
    put_state(place_of(p, "base/x"), "x");
    assert_int_equal(state_dir_remove(place_of(p, "base/x")), ERR_OK);
    assert_false(is_there(place_of(p, "base/x")));
    put_text(place_of(p, "base/file"), "x");
    assert_int_not_equal(state_dir_remove(place_of(p, "base/file")), ERR_OK);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    log_set_level((enum log_level)(LOG_ERROR + 1));
    const struct CMUnitTest tests[] = {
        TEST(the_first_one_is_empty),
        TEST(an_installed_one_takes_its_place),
        TEST(a_crash_while_installing_leaves_one_of_the_two),
        TEST(installing_goes_on_after_any_crash),
        TEST(a_crash_while_making_the_first_one_does_no_harm),
        TEST(a_crash_while_settling_keeps_the_state),
        TEST(leftovers_go_and_what_is_coming_stays),
        TEST(a_lost_directory_is_refused),
        TEST(a_lost_current_is_refused),
        TEST(a_lost_or_damaged_number_is_refused),
        TEST(an_install_that_fails_changes_nothing),
        TEST(removing_takes_files_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
