/* What survives a crash, what two replicas have in common, and what damaged files lead to. */
#include "tests/unit/meta/commands.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prng.h"
#include "meta/store.h"

#define ROOT META_ROOT_INO
#define SEED 7u
#define STEPS 600u
#define DIRECTORIES 8u
#define NAMES 12u

/* ---- a fixed stream of commands: command `index` is a function of the index alone ---- */

struct step {
    struct meta_command c;
    char name[8], new_name[8];
    struct meta_extent extents[3];
};

static uint64_t directory_of(struct prng *p)
{
    /* Index 1 makes the root (inode 1), index 2 the session, the next ones inodes 2, 3, ... */
    return ROOT + prng_below(p, DIRECTORIES + 1);
}

static void step_commit(struct step *s, struct prng *p)
{
    uint64_t at = prng_below(p, 2000);
    s->c.op = META_COMMIT;
    s->c.commit.ino = ROOT + DIRECTORIES + 1 + prng_below(p, 60);
    s->c.commit.extents = s->extents;
    s->c.commit.extent_count = 1 + (unsigned)prng_below(p, 3);
    for (unsigned i = 0; i < s->c.commit.extent_count; i++) {
        uint64_t length = 1 + prng_below(p, 300);
        s->extents[i] = extent_of(at, length, 1 + (uint32_t)prng_below(p, 20), (uint32_t)prng_below(p, 1000));
        at += length + prng_below(p, 200);
    }
}

static void step_make(uint64_t index, struct step *s)
{
    struct prng p;
    *s = (struct step){0};
    prng_seed(&p, SEED * 1000003 + index);
    prng_next(&p);
    snprintf(s->name, sizeof s->name, "n%u", (unsigned)prng_below(&p, NAMES));
    snprintf(s->new_name, sizeof s->new_name, "n%u", (unsigned)prng_below(&p, NAMES));
    if (index == 1) {
        s->c = (struct meta_command){.op = META_INIT, .init = {.cluster_id = {1}, .cookie_key = {2}}};
    } else if (index == 2) {
        s->c.op = META_SESSION_OPEN;
        s->c.session_open.export = slice_str(META_EXPORT_DEFAULT);
        s->c.session_open.client = slice_str("test");
    } else {
        if (index < 3 + DIRECTORIES) {
            snprintf(s->name, sizeof s->name, "d%u", (unsigned)index);
            s->c = make_command(META_MKDIR, ROOT, s->name, 0755);
        } else {
            switch (prng_below(&p, 8)) {
            case 0:
            case 1:
                s->c = make_command(META_CREATE, directory_of(&p), s->name, 0644);
                break;
            case 2:
                s->c = unlink_command(META_UNLINK, directory_of(&p), s->name);
                s->c.unlink.open_unknown = prng_below(&p, 2);
                break;
            case 3:
                s->c = rename_command(directory_of(&p), s->name, directory_of(&p), s->new_name, 0);
                break;
            case 4:
                s->c = size_command(ROOT + DIRECTORIES + 1 + prng_below(&p, 60), prng_below(&p, 2000));
                break;
            case 5:
                s->c = make_command(META_MKDIR, directory_of(&p), s->name, 0755);
                break;
            default:
                step_commit(s, &p);
            }
        }
        s->c.session = 2;
        s->c.seq = index - 2;
        uint64_t unknown = prng_below(&p, 10); /* replies that the client may still ask for */
        s->c.acked = index - 3 - MIN(index - 3, unknown);
    }
    s->c.time_ns = (int64_t)index * 1000;
}

/* Up to the index; every tenth is an entry that changes nothing, or reaps. */
static void run_to(struct meta *m, uint64_t index)
{
    while (meta_applied_index(m) < index) {
        struct step s;
        struct meta_reply r;
        uint64_t next = meta_applied_index(m) + 1;
        enum err e;
        step_make(next, &s);
        if (next % 20 == 10) {
            e = meta_apply_nothing(m, next, 1);
        } else if (next % 20 == 0) {
            struct meta_command reap = {.op = META_REAP, .time_ns = s.c.time_ns};
            (void)meta_reap_pending(m, &reap.reap.content_id);
            e = meta_apply(m, next, 1, &reap, &r);
        } else {
            e = meta_apply(m, next, 1, &s.c, &r);
        }
        if (e != ERR_OK)
            abort(); /* may be in a child */
    }
}

struct hashes {
    struct sha256 state, chain;
};

static struct hashes hashes_of(struct meta *m)
{
    struct hashes h;
    struct err_text why = {""};
    assert_int_equal(meta_state_hash(m, &h.state), ERR_OK);
    meta_chain_hash(m, &h.chain);
    if (meta_verify(m, &why) != ERR_OK)
        fail_msg("%s", why.text);
    return h;
}

static void assert_same(struct hashes a, struct hashes b)
{
    assert_true(sha256_equal(&a.chain, &b.chain));
    assert_true(sha256_equal(&a.state, &b.state));
}

static void directory_make(char path[64])
{
    snprintf(path, 64, "/tmp/surf-meta-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static void directory_remove(const char *path)
{
    char command[256];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

static struct meta *must_open(const char *path)
{
    struct meta_options options = {.path = path};
    struct meta *m = NULL;
    struct err_text why = {""};
    if (meta_open(&options, &m, &why) != ERR_OK) {
        fprintf(stderr, "%s\n", why.text);
        abort();
    }
    return m;
}

static struct hashes undisturbed(uint64_t index)
{
    char path[64];
    directory_make(path);
    struct meta *m = must_open(path);
    run_to(m, index);
    struct hashes h = hashes_of(m);
    meta_close(m);
    directory_remove(path);
    return h;
}

/* ---- a process that dies. It is this program, started anew: RocksDB's threads don't survive a fork. ---- */

struct report {
    uint64_t flushed, applied;
};

/* Applies from where it is to `to`, with a flush at flush_at; says what was durable, and dies. */
static void child(const char *path, uint64_t flush_at, uint64_t to)
{
    struct meta *m = must_open(path);
    struct report r;
    if (flush_at > 0) {
        run_to(m, flush_at);
        if (meta_flush(m, true) != ERR_OK)
            _exit(2);
    }
    run_to(m, to);
    r.applied = meta_applied_index(m);
    if (meta_flushed_index(m, &r.flushed) != ERR_OK || write(STDOUT_FILENO, &r, sizeof r) != sizeof r)
        _exit(3);
    _exit(0);
}

static struct report run_killed(const char *path, uint64_t flush_at, uint64_t to)
{
    char numbers[2][24];
    int pipes[2], status = 0;
    struct report r;
    assert_int_equal(pipe(pipes), 0);
    snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)flush_at);
    snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)to);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        execl("/proc/self/exe", "child", path, numbers[0], numbers[1], (char *)NULL);
        _exit(1);
    }
    close(pipes[1]);
    ssize_t got = read(pipes[0], &r, sizeof r);
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || got != (ssize_t)sizeof r)
        fail_msg("the child ended with status 0x%x", (unsigned)status);
    return r;
}

static void after_a_crash_the_flushed_index_is_the_applied_one(void **state)
{
    (void)state;
    struct hashes want = undisturbed(STEPS);
    static const uint64_t flush_at[] = {0, 1, 2, 37, 599};
    for (size_t i = 0; i < ARRAY_SIZE(flush_at); i++) {
        char path[64];
        directory_make(path);
        struct report r = run_killed(path, flush_at[i], STEPS - (flush_at[i] == 37 ? 100 : 0));
        assert_int_equal(r.flushed, flush_at[i]);
        struct meta *m = must_open(path);
        uint64_t flushed;
        assert_int_equal(meta_applied_index(m), r.flushed);
        assert_int_equal(meta_flushed_index(m, &flushed), ERR_OK);
        assert_int_equal(flushed, r.flushed);
        assert_true(meta_initialised(m) == (r.flushed > 0));
        run_to(m, STEPS);
        assert_same(hashes_of(m), want);
        meta_close(m);
        directory_remove(path);
    }
}

static void many_crashes_in_a_row(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    uint64_t durable = 0;
    for (uint64_t to = 50; to <= STEPS; to += 50) {
        /* Every other life ends before it has flushed anything. */
        uint64_t flush_at = to / 50 % 2 ? 0 : to - 20;
        struct report r = run_killed(path, flush_at, to);
        assert_int_equal(r.applied, to);
        if (flush_at > 0)
            durable = flush_at;
        assert_int_equal(r.flushed, durable);
    }
    struct meta *m = must_open(path);
    assert_int_equal(meta_applied_index(m), durable);
    run_to(m, STEPS);
    assert_same(hashes_of(m), undisturbed(STEPS));
    meta_close(m);
    directory_remove(path);
}

static void closing_loses_nothing_that_was_flushed(void **state)
{
    (void)state;
    char path[64];
    uint64_t flushed;
    directory_make(path);
    struct meta *m = must_open(path);
    run_to(m, 100);
    assert_int_equal(meta_flushed_index(m, &flushed), ERR_OK);
    assert_int_equal(flushed, 0);
    assert_int_equal(meta_flush(m, true), ERR_OK);
    assert_int_equal(meta_flushed_index(m, &flushed), ERR_OK);
    assert_int_equal(flushed, 100);
    run_to(m, 150);
    assert_int_equal(meta_flushed_index(m, &flushed), ERR_OK);
    assert_int_equal(flushed, 100);
    meta_close(m);
    m = must_open(path);
    assert_true(meta_applied_index(m) == 100 || meta_applied_index(m) == 150);
    run_to(m, STEPS);
    assert_same(hashes_of(m), undisturbed(STEPS));
    meta_close(m);
    directory_remove(path);
}

/* ---- determinism ---- */

static void replicas_agree_at_every_index(void **state)
{
    (void)state;
    char paths[2][64];
    struct meta *m[2];
    for (unsigned i = 0; i < 2; i++) {
        directory_make(paths[i]);
        m[i] = must_open(paths[i]);
    }
    for (uint64_t index = 1; index <= STEPS; index++) {
        struct sha256 chains[2];
        for (unsigned i = 0; i < 2; i++) {
            run_to(m[i], index);
            meta_chain_hash(m[i], &chains[i]);
        }
        if (!sha256_equal(&chains[0], &chains[1]))
            fail_msg("seed %u, index %llu", SEED, (unsigned long long)index);
        /* One of them is busy with flushing and compaction, and restarts now and then. */
        if (index % 50 == 0)
            assert_int_equal(meta_flush(m[1], true), ERR_OK);
        if (index % 100 == 0) {
            rocksdb_compact_range(m[1]->db, NULL, 0, NULL, 0);
            assert_same(hashes_of(m[0]), hashes_of(m[1]));
        }
        if (index % 150 == 0) {
            meta_close(m[1]);
            m[1] = must_open(paths[1]);
            assert_int_equal(meta_applied_index(m[1]), index);
        }
    }
    assert_same(hashes_of(m[0]), hashes_of(m[1]));
    for (unsigned i = 0; i < 2; i++) {
        meta_close(m[i]);
        directory_remove(paths[i]);
    }
}

static void the_chain_hash_tells_histories_apart(void **state)
{
    (void)state;
    char paths[2][64];
    struct meta *m[2];
    struct sha256 chains[2];
    for (unsigned i = 0; i < 2; i++) {
        directory_make(paths[i]);
        m[i] = must_open(paths[i]);
        run_to(m[i], 3 + i); /* the other one has one more */
    }
    assert_int_equal(meta_apply_nothing(m[0], 4, 1), ERR_OK);
    run_to(m[0], 9);
    run_to(m[1], 9);
    for (unsigned i = 0; i < 2; i++)
        meta_chain_hash(m[i], &chains[i]);
    assert_false(sha256_equal(&chains[0], &chains[1]));
    for (unsigned i = 0; i < 2; i++) {
        meta_close(m[i]);
        directory_remove(paths[i]);
    }
}

/* ---- damage ---- */

static void make_files(char path[64])
{
    directory_make(path);
    struct meta *m = must_open(path);
    for (uint64_t index = 200; index <= STEPS; index += 200) {
        run_to(m, index);
        assert_int_equal(meta_flush(m, true), ERR_OK);
    }
    meta_close(m);
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* The names of the files that hold state. */
static unsigned list_files(const char *path, char names[][64], unsigned max)
{
    DIR *d = opendir(path);
    assert_non_null(d);
    unsigned count = 0;
    for (struct dirent *e; (e = readdir(d)) && count < max;)
        if (ends_with(e->d_name, ".sst") || strncmp(e->d_name, "MANIFEST", 8) == 0 || strcmp(e->d_name, "CURRENT") == 0)
            snprintf(names[count++], 64, "%.60s", e->d_name);
    closedir(d);
    return count;
}

static void copy_directory(const char *from, const char *to)
{
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s'", to, from, to);
    assert_int_equal(system(command), 0);
}

/* Opens, reads and changes everything: an error at any point, or the state as it was. */
static enum err use(const char *path, struct err_text *why, struct hashes *ret)
{
    struct meta_options options = {.path = path};
    struct meta *m = NULL;
    TRY(meta_open(&options, &m, why));
    enum err e = meta_state_hash(m, &ret->state);
    if (e == ERR_OK)
        e = meta_verify(m, why);
    meta_chain_hash(m, &ret->chain);
    struct step s;
    struct meta_reply r;
    uint64_t index = meta_applied_index(m) + 1;
    step_make(index, &s);
    if (e == ERR_OK)
        e = meta_apply(m, index, 1, &s.c, &r);
    struct arena arena = {0};
    struct meta_query_reply reply;
    for (uint64_t ino = ROOT; e == ERR_OK && ino < ROOT + DIRECTORIES; ino++) {
        struct meta_query q = {.op = META_QUERY_READDIR, .ino = ino, .with_attr = true};
        e = meta_query(m, &q, &arena, &reply);
    }
    arena_free(&arena);
    meta_close(m);
    return e;
}

static void damaged_files_are_errors(void **state)
{
    (void)state;
    char good[64], path[80], names[16][64];
    struct prng p;
    prng_seed(&p, SEED);
    make_files(good);
    snprintf(path, sizeof path, "%s.damaged", good);
    struct hashes want, got;
    struct err_text why = {""};
    copy_directory(good, path);
    assert_int_equal(use(path, &why, &want), ERR_OK);
    unsigned count = list_files(good, names, 16), found = 0, rounds = 0;
    assert_true(count >= 3);
    for (unsigned i = 0; i < count; i++)
        for (unsigned kind = 0; kind < 6; kind++, rounds++) {
            char file[160];
            struct stat st;
            copy_directory(good, path);
            snprintf(file, sizeof file, "%s/%.63s", path, names[i]);
            assert_int_equal(stat(file, &st), 0);
            off_t at = (off_t)prng_below(&p, (uint64_t)st.st_size);
            if (kind < 2) {
                assert_int_equal(truncate(file, kind == 0 ? 0 : at), 0);
            } else {
                FILE *f = fopen(file, "r+");
                assert_non_null(f);
                fseek(f, at, SEEK_SET);
                int byte = fgetc(f);
                fseek(f, at, SEEK_SET);
                fputc(byte ^ (1 << prng_below(&p, 8)), f);
                fclose(f);
            }
            why.text[0] = 0;
            enum err e = use(path, &why, &got);
            /* A flip in padding or statistics harms nothing; a MANIFEST cut short may be an earlier state. */
            if (e == ERR_OK && ends_with(names[i], ".sst"))
                assert_same(got, want);
            if (e != ERR_OK) {
                found++;
                if (e != ERR_CORRUPT && e != ERR_IO)
                    fail_msg("%s, kind %u, at %lld: %s %s", names[i], kind, (long long)at, err_name(e), why.text);
            }
        }
    assert_true(found > rounds / 2);
    copy_directory(good, path);
    directory_remove(path);
    directory_remove(good);
}

static void a_damaged_row_of_the_index_is_an_error_with_words(void **state)
{
    struct fixture *f = *state;
    struct schema_key key = schema_meta();
    char *message = NULL;
    struct bytes kept = {0};
    row_meta_encode(&f->meta->state, &kept);
    rocksdb_put(f->meta->db, f->meta->write, (const char *)key.bytes, key.size, "\1short", 6, &message);
    assert_null(message);
    assert_int_equal(meta_flush(f->meta, true), ERR_OK);
    meta_close(f->meta);
    struct meta_options options = {.path = f->path};
    struct meta *m = NULL;
    struct err_text why = {""};
    assert_int_equal(meta_open(&options, &m, &why), ERR_CORRUPT);
    assert_true(strlen(why.text) > 10);
    assert_null(m);
    fixture_remove(f);
    fixture_open(f);
    bytes_free(&kept);
}

/* The counts of blocks are merged by a callback of ours, which must not take what is no count for one. */
static void a_damaged_count_is_corrupt(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } wrong[] = {{"", 0},
                 {"\1", 1},
                 {"\1\0\0\0\0\0\0\0", 8},
                 {"\2\0\0\0\0\0\0\0\0", 9},
                 {"\1\x7f\xff\xff\xff\xff\xff\xff\xff", 9}};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct fixture f;
        struct meta_extent e = extent_of(0, 10, 1, 0);
        struct schema_key key = schema_block_ref(&e.block);
        struct err_text why = {""};
        char *message = NULL;
        fixture_open(&f);
        uint64_t ino = must_make(&f, META_CREATE, ROOT, "f", 0644);
        rocksdb_put(f.meta->db, f.meta->write, (const char *)key.bytes, key.size, wrong[i].bytes, wrong[i].size,
                    &message);
        assert_null(message);
        assert_status(fixture_call(&f, commit_command(ino, &e, 1)), ERR_OK); /* does not read it */
        assert_int_equal(meta_verify(f.meta, &why), ERR_CORRUPT);
        assert_true(strlen(why.text) > 10);
        meta_close(f.meta);
        fixture_remove(&f);
    }
}

static void a_directory_in_use_is_locked(void **state)
{
    struct fixture *f = *state;
    struct meta_options options = {.path = f->path};
    struct meta *m = NULL;
    struct err_text why = {""};
    assert_int_equal(meta_open(&options, &m, &why), ERR_LOCKED);
    assert_true(strlen(why.text) > 10);
    options.path = "/proc/no/such/place";
    assert_int_not_equal(meta_open(&options, &m, &why), ERR_OK);
    assert_null(m);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(int argc, char **argv)
{
    if (argc == 4)
        child(argv[1], strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_crash_the_flushed_index_is_the_applied_one),
        cmocka_unit_test(many_crashes_in_a_row),
        cmocka_unit_test(closing_loses_nothing_that_was_flushed),
        cmocka_unit_test(replicas_agree_at_every_index),
        cmocka_unit_test(the_chain_hash_tells_histories_apart),
        cmocka_unit_test(damaged_files_are_errors),
        TEST(a_damaged_row_of_the_index_is_an_error_with_words),
        cmocka_unit_test(a_damaged_count_is_corrupt),
        TEST(a_directory_in_use_is_locked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
