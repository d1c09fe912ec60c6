/* What is decided of one path, for each state of it here, in the index and on the server; and of paths that are in each
 * other's way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "sync/plan.h"

/* Contents are told apart by a letter; '-' is an absent file. */
static struct sha256 hashes[128];

static struct sha256 *hash_of(char contents)
{
    memset(&hashes[(size_t)contents], contents, sizeof hashes[0]);
    return &hashes[(size_t)contents];
}

struct state {
    char local;
    char row; /* '0': a tombstone */
    uint64_t row_version;
    uint64_t remote_version; /* 0: not there */
    uint64_t tombstone;
    bool replaced;
};

static struct sync_step decide(struct arena *a, struct state s)
{
    struct slice path = slice_str("f");
    struct sync_local local = {.path = path, .hashes = hash_of(s.local), .hash_count = 1};
    struct sync_row row = {.path = path,
                           .version = s.row_version,
                           .deleted = s.row == '0',
                           .hashes = hash_of(s.row),
                           .hash_count = s.row != '0'};
    struct sync_remote remote = {.path = path,
                                 .there = s.remote_version > 0,
                                 .version = s.remote_version,
                                 .tombstone = s.tombstone,
                                 .replaced = s.replaced};
    struct sync_index index = {.rows = &row, .count = s.row != '-'};
    struct sync_trees trees = {.locals = &local,
                               .local_count = s.local != '-',
                               .remotes = &remote,
                               .remote_count = s.remote_version > 0 || s.tombstone > 0,
                               .index = &index};
    struct sync_step *steps;
    size_t count;
    sync_plan(&trees, a, &steps, &count);
    assert_int_equal(count, 1);
    return steps[0];
}

static void expect(struct state s, enum sync_action action, uint64_t version, bool discards)
{
    struct arena a = {0};
    struct sync_step step = decide(&a, s);
    if (step.action != action || step.version != version || step.discards != discards)
        fail_msg("local %c row %c,%llu remote %llu,%llu: %s version %llu discards %d", s.local, s.row,
                 (unsigned long long)s.row_version, (unsigned long long)s.remote_version,
                 (unsigned long long)s.tombstone, sync_action_name(step.action), (unsigned long long)step.version,
                 step.discards);
    arena_free(&a);
}

/* Of a file with the same contents on both sides. */
static enum sync_action attributes_decide(uint32_t mode, int64_t mtime_ns, int64_t here_ns, int64_t there_ns,
                                          bool is_ours)
{
    struct arena a = {0};
    struct slice path = slice_str("f");
    struct sync_local local = {
        .path = path, .mode = mode, .is_ours = is_ours, .identity = {.mtime_ns = mtime_ns, .ctime_ns = here_ns}};
    struct sync_remote remote = {
        .path = path, .there = true, .version = 3, .mode = 0244, .mtime_ns = 7000000123, .ctime_ns = there_ns};
    struct sync_row row = {.path = path, .version = 3};
    struct sync_index index = {.rows = &row, .count = 1, .as_of_ns = 500};
    struct sync_trees trees = {
        .locals = &local, .local_count = 1, .remotes = &remote, .remote_count = 1, .index = &index, .written_ns = 90};
    struct sync_step *steps;
    size_t count;
    sync_plan(&trees, &a, &steps, &count);
    assert_int_equal(count, 1);
    enum sync_action action = steps[0].action;
    assert_int_equal(steps[0].version, 3);
    arena_free(&a);
    return action;
}

static void only_the_attributes_differ(void **state)
{
    (void)state;
    assert_int_equal(attributes_decide(0644, 7000000123, 91, 500, true), SYNC_KEEP);
    assert_int_equal(attributes_decide(0600, 7000000123, 91, 500, true), SYNC_GIVE);
    assert_int_equal(attributes_decide(0644, 7000000124, 91, 500, true), SYNC_GIVE);
    assert_int_equal(attributes_decide(0644, 7000000124, 91, 501, true), SYNC_ADOPT);
    assert_int_equal(attributes_decide(0644, 7000000124, 90, 500, true), SYNC_ADOPT);
    assert_int_equal(attributes_decide(0600, 1, 91, 500, false), SYNC_KEEP);
    /* Times that are kept less exactly here. */
    assert_int_equal(attributes_decide(0644, 7000000000, 91, 500, true), SYNC_KEEP);
    assert_int_equal(attributes_decide(0644, 6000000000, 91, 500, true), SYNC_KEEP);
    assert_int_equal(attributes_decide(0644, 5000000000, 91, 500, true), SYNC_GIVE);
    assert_int_equal(attributes_decide(0644, 7000000100, 91, 500, true), SYNC_KEEP);
}

static void one_path(void **state)
{
    (void)state;
    /* local, row, its version, remote version, tombstone, replaced */
    expect((struct state){'a', '-', 0, 0, 0, false}, SYNC_UPLOAD, 1, false);
    expect((struct state){'a', '-', 0, 0, 4, false}, SYNC_UPLOAD, 5, false);
    expect((struct state){'a', '0', 2, 0, 2, false}, SYNC_UPLOAD, 3, false);
    expect((struct state){'a', '0', 6, 0, 2, false}, SYNC_UPLOAD, 7, false);
    expect((struct state){'-', '-', 0, 3, 0, false}, SYNC_DOWNLOAD, 3, false);
    expect((struct state){'a', '-', 0, 1, 0, false}, SYNC_DOWNLOAD, 1, true);
    expect((struct state){'a', 'a', 1, 1, 0, false}, SYNC_KEEP, 1, false);
    expect((struct state){'b', 'a', 1, 1, 0, false}, SYNC_UPLOAD, 2, false);
    expect((struct state){'-', 'a', 1, 1, 0, false}, SYNC_DELETE_REMOTE, 2, false);
    expect((struct state){'a', 'a', 1, 2, 0, false}, SYNC_DOWNLOAD, 2, false);
    expect((struct state){'b', 'a', 1, 2, 0, false}, SYNC_DOWNLOAD, 2, true);
    expect((struct state){'-', 'a', 1, 2, 0, false}, SYNC_DOWNLOAD, 2, false);
    expect((struct state){'b', 'a', 5, 2, 0, false}, SYNC_DOWNLOAD, 2, true);
    expect((struct state){'a', 'a', 1, 1, 0, true}, SYNC_DOWNLOAD, 1, false);
    expect((struct state){'b', 'a', 1, 1, 0, true}, SYNC_DOWNLOAD, 1, true);
    expect((struct state){'-', 'a', 1, 1, 0, true}, SYNC_DOWNLOAD, 1, false);
    expect((struct state){'a', '0', 2, 3, 2, false}, SYNC_DOWNLOAD, 3, true);
    expect((struct state){'-', '0', 2, 1, 0, false}, SYNC_DOWNLOAD, 1, false);
    expect((struct state){'a', 'a', 1, 0, 2, false}, SYNC_DELETE_LOCAL, 2, false);
    expect((struct state){'a', 'a', 1, 0, 0, false}, SYNC_DELETE_LOCAL, 2, false);
    expect((struct state){'b', 'a', 1, 0, 5, false}, SYNC_DELETE_LOCAL, 5, true);
    expect((struct state){'-', 'a', 1, 0, 0, false}, SYNC_BURY, 2, false);
    expect((struct state){'-', 'a', 1, 0, 2, false}, SYNC_KEEP, 2, false);
    expect((struct state){'-', '0', 2, 0, 0, false}, SYNC_KEEP, 2, false);
    expect((struct state){'-', '0', 2, 0, 6, false}, SYNC_KEEP, 6, false);
    expect((struct state){'-', '-', 0, 0, 2, false}, SYNC_KEEP, 2, false);
}

static void plan_of(struct arena *a, const char *const *locals, const char *const *remotes, const char *left_out,
                    struct sync_step **ret, size_t *ret_count)
{
    struct sync_local *l = arena_zalloc(a, 8 * sizeof *l);
    struct sync_remote *r = arena_zalloc(a, 8 * sizeof *r);
    static struct sync_index index;
    struct sync_trees trees = {.locals = l, .remotes = r, .index = &index};
    struct map_bytes out = {0};
    for (; *locals; locals++)
        l[trees.local_count++] = (struct sync_local){.path = slice_str(*locals)};
    for (; *remotes; remotes++)
        r[trees.remote_count++] = (struct sync_remote){.path = slice_str(*remotes), .there = true, .version = 1};
    if (left_out)
        map_bytes_put(&out, slice_str(left_out), a);
    trees.left_out = &out;
    sync_plan(&trees, a, ret, ret_count);
    map_bytes_free(&out);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void files_in_the_way_of_directories(void **state)
{
    (void)state;
    struct arena a = {0};
    struct sync_step *steps;
    size_t count;
    plan_of(&a, LIST("a", "a-b", "c/d/e"), LIST("a/b", "a/b-c", "c"), NULL, &steps, &count);
    assert_int_equal(count, 6);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(steps[i].action, slice_equal(steps[i].path, slice_str("a-b")) ? SYNC_UPLOAD : SYNC_BLOCKED);
    arena_free(&a);
}

static void what_is_left_out_is_not_touched(void **state)
{
    (void)state;
    struct arena a = {0};
    struct sync_step *steps;
    size_t count;
    plan_of(&a, LIST("x"), LIST("l", "l-", "l/in/side"), "l", &steps, &count);
    assert_int_equal(count, 4);
    assert_int_equal(steps[0].action, SYNC_BLOCKED);
    assert_int_equal(steps[1].action, SYNC_DOWNLOAD);
    assert_int_equal(steps[2].action, SYNC_BLOCKED);
    assert_int_equal(steps[3].action, SYNC_UPLOAD);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_attributes_differ),
        cmocka_unit_test(one_path),
        cmocka_unit_test(files_in_the_way_of_directories),
        cmocka_unit_test(what_is_left_out_is_not_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
