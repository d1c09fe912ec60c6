/* What the state knows of the raft group, and copies of it. */
#include "tests/unit/meta/commands.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "meta/store.h"

#define ROOT META_ROOT_INO

static void copy_path(const struct fixture *f, const char *suffix, char to[96])
{
    snprintf(to, 96, "%s%s", f->path, suffix);
}

static void remove_copy(const char *path)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

static struct meta *open_copy(const char *path)
{
    struct meta_options options = {.path = path};
    struct err_text why = {""};
    struct meta *m = NULL;
    if (meta_open(&options, &m, &why) != ERR_OK)
        fail_msg("%s", why.text);
    return m;
}

/* ---- terms, members, chain hashes ---- */

static void each_entry_leaves_its_term(void **state)
{
    struct fixture *f = *state;
    struct meta_command c = make_command(META_CREATE, ROOT, "a", 0644);
    struct meta_reply r;
    assert_int_equal(meta_applied_term(f->meta), 1);
    c.session = f->session, c.seq = ++f->seq;
    assert_int_equal(meta_apply(f->meta, ++f->index, 4, &c, &r), ERR_OK);
    assert_int_equal(meta_applied_term(f->meta), 4);
    c.seq = ++f->seq;
    assert_int_equal(meta_apply(f->meta, ++f->index, 5, &c, &r), ERR_OK);
    assert_status(r, ERR_EXIST); /* a refused one as well */
    assert_int_equal(meta_applied_term(f->meta), 5);
    assert_int_equal(meta_apply_nothing(f->meta, ++f->index, 6), ERR_OK);
    assert_int_equal(meta_applied_term(f->meta), 6);
    assert_int_equal(meta_apply_config(f->meta, ++f->index, 7, slice_str("x")), ERR_OK);
    assert_int_equal(meta_applied_term(f->meta), 7);
    assert_int_equal(meta_flush(f->meta, true), ERR_OK);
    fixture_reopen(f);
    assert_int_equal(meta_applied_term(f->meta), 7);
}

static void an_empty_state_has_no_term_and_no_members(void **state)
{
    (void)state;
    struct fixture f;
    struct slice config = SLICE((const uint8_t *)"x", 1);
    uint64_t index = 5;
    fixture_open_empty(&f);
    assert_int_equal(meta_applied_term(f.meta), 0);
    assert_int_equal(meta_config(f.meta, &f.arena, &config, &index), ERR_OK);
    assert_int_equal(index, 0);
    assert_int_equal(config.size, 0);
    fixture_close(&f);
}

static void the_newest_members_are_kept(void **state)
{
    struct fixture *f = *state;
    struct slice config;
    uint64_t index, first = ++f->index;
    struct sha256 before, after;
    meta_chain_hash(f->meta, &before);
    assert_int_equal(meta_apply_config(f->meta, first, 2, slice_str("one two three")), ERR_OK);
    meta_chain_hash(f->meta, &after);
    assert_false(sha256_equal(&before, &after));
    make_file(f, ROOT, "a");
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(meta_config(f->meta, &f->arena, &config, &index), ERR_OK);
        assert_int_equal(index, first);
        assert_true(slice_equal(config, slice_str("one two three")));
        assert_int_equal(meta_flush(f->meta, true), ERR_OK);
        fixture_reopen(f);
    }
    assert_int_equal(meta_apply_config(f->meta, ++f->index, 2, slice_str("four")), ERR_OK);
    assert_int_equal(meta_config(f->meta, &f->arena, &config, &index), ERR_OK);
    assert_int_equal(index, f->index);
    assert_true(slice_equal(config, slice_str("four")));
}

/* Another configuration at the same index is another history. */
static void the_chain_hash_covers_the_members(void **state)
{
    (void)state;
    struct sha256 chains[3];
    static const char *const configs[] = {"one", "two", "one"};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture f;
        fixture_open_empty(&f);
        fixture_init(&f);
        assert_int_equal(meta_apply_config(f.meta, ++f.index, 1, slice_str(configs[i])), ERR_OK);
        meta_chain_hash(f.meta, &chains[i]);
        fixture_close(&f);
    }
    assert_false(sha256_equal(&chains[0], &chains[1]));
    assert_true(sha256_equal(&chains[0], &chains[2]));
}

static uint64_t chain_now(const struct meta *m)
{
    struct sha256 h;
    meta_chain_hash(m, &h);
    return get_u64be(h.bytes);
}

static void recent_chain_hashes_are_known(void **state)
{
    struct fixture *f = *state;
    uint64_t from = f->index, chain, to = from + META_CHAINS_KEPT + 100;
    _cleanup_free_ uint64_t *want = mem_zalloc((to + 1) * sizeof *want);
    want[from] = chain_now(f->meta);
    for (uint64_t index = from + 1; index <= to; index++) {
        assert_int_equal(meta_apply_nothing(f->meta, index, 1), ERR_OK);
        want[index] = chain_now(f->meta);
    }
    f->index = to;
    for (uint64_t index = 0; index <= to + 2; index++) {
        bool known = index <= to && to - index < META_CHAINS_KEPT;
        assert_true(meta_chain_at(f->meta, index, &chain) == known);
        assert_true(!known || chain == want[index]);
    }
    assert_false(meta_chain_at(f->meta, UINT64_MAX, &chain));
    assert_int_equal(meta_flush(f->meta, true), ERR_OK);
    fixture_reopen(f); /* only that of the applied one is known now */
    assert_true(meta_chain_at(f->meta, to, &chain));
    assert_int_equal(chain, want[to]);
    assert_false(meta_chain_at(f->meta, to - 1, &chain));
    assert_false(meta_chain_at(f->meta, to + 1, &chain));
    assert_false(meta_chain_at(f->meta, 0, &chain));
}

/* ---- a close like a crash ---- */

static void what_was_not_flushed_is_lost_on_request(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t flushed;
    fixture_open_empty(&f);
    meta_close(f.meta);
    struct meta_options options = {.path = f.path, .lose_unflushed = true};
    assert_int_equal(meta_open(&options, &f.meta, NULL), ERR_OK);
    fixture_init(&f);
    fixture_open_session(&f, 1);
    assert_int_equal(meta_flush(f.meta, false), ERR_OK); /* waits all the same, so that seeds replay */
    assert_int_equal(meta_flushed_index(f.meta, &flushed), ERR_OK);
    assert_int_equal(flushed, 2);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(meta_apply_nothing(f.meta, ++f.index, 1), ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        meta_close(f.meta);
        assert_int_equal(meta_open(&options, &f.meta, NULL), ERR_OK);
        assert_int_equal(meta_applied_index(f.meta), 2);
    }
    fixture_close(&f);
}

/* ---- copies ---- */

static void a_copy_is_refused_where_there_is_something(void **state)
{
    struct fixture *f = *state;
    char path[96];
    struct err_text why = {""};
    copy_path(f, "-copy", path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(meta_checkpoint(f->meta, path, &why), ERR_EXIST);
    assert_non_null(strstr(why.text, path));
    assert_int_equal(rmdir(path), 0); /* nothing was put there */
    assert_int_equal(meta_checkpoint(f->meta, "/proc/no/such/place", &why), ERR_IO);
    assert_int_equal(checkpoint(f, path, &why), ERR_OK);
    remove_copy(path);
}

static void a_copy_tells_what_it_holds(void **state)
{
    struct fixture *f = *state;
    char path[96];
    struct err_text why = {""};
    struct meta_snapshot_info info;
    copy_path(f, "-copy", path);
    make_file(f, ROOT, "a");
    assert_int_equal(checkpoint(f, path, &why), ERR_OK);
    assert_int_equal(meta_inspect(path, &f->arena, &info, &why), ERR_OK);
    assert_int_equal(info.index, f->index);
    assert_int_equal(info.term, 1);
    assert_int_equal(info.config_index, 0);
    assert_int_equal(info.config.size, 0);
    remove_copy(path);
    assert_int_equal(meta_apply_config(f->meta, ++f->index, 3, slice_str("members")), ERR_OK);
    assert_int_equal(meta_apply_nothing(f->meta, ++f->index, 4), ERR_OK);
    assert_int_equal(checkpoint(f, path, &why), ERR_OK);
    assert_int_equal(meta_inspect(path, &f->arena, &info, &why), ERR_OK);
    assert_int_equal(info.index, f->index);
    assert_int_equal(info.term, 4);
    assert_int_equal(info.config_index, f->index - 1);
    assert_true(slice_equal(info.config, slice_str("members")));
    remove_copy(path);
}

static unsigned list(const char *path, char names[][64], unsigned max)
{
    unsigned count = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) && count < max;)
        if (e->d_name[0] != '.')
            snprintf(names[count++], 64, "%.60s", e->d_name);
    closedir(d);
    return count;
}

/* A copy's checksums are taken after it was looked at: looking must not change it. */
static void looking_into_a_copy_changes_nothing(void **state)
{
    struct fixture *f = *state;
    char path[96], kept[112], command[256];
    struct err_text why = {""};
    struct meta_snapshot_info info;
    copy_path(f, "-copy", path);
    snprintf(kept, sizeof kept, "%s-kept", path);
    for (unsigned i = 0; i < 20; i++) {
        char name[8];
        snprintf(name, sizeof name, "f%u", i);
        make_file(f, ROOT, name);
    }
    assert_int_equal(checkpoint(f, path, &why), ERR_OK);
    snprintf(command, sizeof command, "cp -r '%s' '%s'", path, kept);
    assert_int_equal(system(command), 0);
    assert_int_equal(meta_inspect(path, &f->arena, &info, &why), ERR_OK);
    snprintf(command, sizeof command, "diff -r '%s' '%s'", path, kept);
    assert_int_equal(system(command), 0);
    remove_copy(path);
    remove_copy(kept);
}

/* A file of a copy is the same one as the state's, by another name; this gives the copy one of its own. */
static void own_file(const char *file)
{
    char command[1024];
    snprintf(command, sizeof command, "cp '%s' '%s.own' && mv '%s.own' '%s'", file, file, file, file);
    assert_int_equal(system(command), 0);
}

static void what_is_no_copy_is_told_apart(void **state)
{
    struct fixture *f = *state;
    char path[96], names[16][64];
    struct err_text why = {""};
    struct meta_snapshot_info info;
    copy_path(f, "-copy", path);
    assert_int_equal(meta_inspect(path, &f->arena, &info, &why), ERR_NOT_FOUND);
    assert_true(strlen(why.text) > 10);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(meta_inspect(path, &f->arena, &info, &why), ERR_NOT_FOUND);
    assert_int_equal(rmdir(path), 0);
    make_file(f, ROOT, "a");
    assert_int_equal(checkpoint(f, path, &why), ERR_OK);
    unsigned count = list(path, names, 16), damaged = 0;
    for (unsigned i = 0; i < count; i++) {
        char file[192];
        snprintf(file, sizeof file, "%.95s/%.63s", path, names[i]);
        struct stat s;
        assert_int_equal(stat(file, &s), 0);
        if (strncmp(names[i], "OPTIONS", 7) == 0 || s.st_size == 0)
            continue; /* not needed for reading */
        remove_copy(path);
        assert_int_equal(checkpoint(f, path, &why), ERR_OK);
        if (stat(file, &s) != 0)
            continue; /* each copy has a MANIFEST of its own */
        own_file(file);
        assert_int_equal(truncate(file, s.st_size / 3), 0);
        why.text[0] = 0;
        enum err e = meta_inspect(path, &f->arena, &info, &why);
        assert_true((e == ERR_CORRUPT || e == ERR_IO) && why.text[0]);
        damaged++;
    }
    assert_true(damaged >= 2);
    remove_copy(path);
}

struct copier {
    struct meta *meta;
    const char *path;
    enum err error;
    struct err_text why;
};

static void *copy_run(void *arg)
{
    struct copier *c = arg;
    c->error = meta_checkpoint(c->meta, c->path, &c->why);
    return NULL;
}

/* A worker makes the copy while the owner applies: what it holds was the state at one index, whole. */
static void copies_are_made_while_entries_are_applied(void **state)
{
    struct fixture *f = *state;
    char path[96];
    unsigned between = 0;
    copy_path(f, "-copy", path);
    for (unsigned round = 0, n = 0; round < 12; round++) {
        struct copier c = {.meta = f->meta, .path = path};
        pthread_t thread;
        uint64_t before = f->index, chain;
        assert_int_equal(meta_write_out(f->meta), ERR_OK);
        assert_int_equal(pthread_create(&thread, NULL, copy_run, &c), 0);
        for (unsigned i = 0; i < 400; i++, n++) {
            char name[16];
            snprintf(name, sizeof name, "f%u", n);
            uint64_t ino = make_file(f, ROOT, name).attr.ino;
            do_write(f, ino, 0, 100, 1 + n % 20, 0);
            if (n % 2)
                do_remove(f, ROOT, name);
        }
        pthread_join(thread, NULL);
        if (c.error != ERR_OK)
            fail_msg("%s", c.why.text);
        struct meta *copy = open_copy(path);
        struct err_text why = {""};
        uint64_t index = meta_applied_index(copy);
        assert_in_range(index, before, f->index);
        between += index > before && index < f->index;
        assert_true(meta_chain_at(f->meta, index, &chain));
        assert_int_equal(chain, chain_now(copy));
        if (meta_verify(copy, &why) != ERR_OK)
            fail_msg("%s", why.text);
        meta_close(copy);
        remove_copy(path);
    }
    printf("%u of 12 copies are of an index in between\n", between);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_entry_leaves_its_term),
        cmocka_unit_test(an_empty_state_has_no_term_and_no_members),
        TEST(the_newest_members_are_kept),
        cmocka_unit_test(the_chain_hash_covers_the_members),
        TEST(recent_chain_hashes_are_known),
        cmocka_unit_test(what_was_not_flushed_is_lost_on_request),
        TEST(a_copy_is_refused_where_there_is_something),
        TEST(a_copy_tells_what_it_holds),
        TEST(looking_into_a_copy_changes_nothing),
        TEST(what_is_no_copy_is_told_apart),
        TEST(copies_are_made_while_entries_are_applied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
