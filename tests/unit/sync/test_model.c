/* Several clients and a server in arrays: random edits, runs that are planned on an old view, broken off in the middle,
 * or lose their index. Whatever happened, nothing on the server is overwritten that its writer did not know, versions
 * only grow, and when the edits are over everybody has the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/prng.h"
#include "sync/plan.h"

/* In order. One is a file below another, if that is a directory. */
static const char *const paths[] = {"a", "b", "b/x", "b/y", "c", "c/d", "c/d/e"};
#define PATHS ARRAY_SIZE(paths)
#define CLIENTS 3u

struct row {
    bool there, deleted;
    uint64_t version, contents;
};
struct client {
    uint64_t files[PATHS]; /* contents; 0: not there */
    struct row rows[PATHS];
};
struct model {
    struct prng prng;
    uint64_t files[PATHS], versions[PATHS], tombstones[PATHS];
    uint64_t highest[PATHS]; /* version that the path ever had */
    struct client clients[CLIENTS];
    uint64_t next;
    struct arena arena;
};

static bool is_above(size_t a, size_t b)
{
    size_t size = strlen(paths[a]);
    return strncmp(paths[a], paths[b], size) == 0 && paths[b][size] == '/';
}

static bool may_be(const uint64_t *files, size_t p)
{
    for (size_t i = 0; i < PATHS; i++)
        if (files[i] && (is_above(i, p) || is_above(p, i)))
            return false;
    return true;
}

static struct sha256 *hash_of(struct model *m, uint64_t contents)
{
    struct sha256 *h = arena_zalloc(&m->arena, sizeof *h);
    memcpy(h->bytes, &contents, sizeof contents);
    return h;
}

/* ---- a run ---- */

static size_t path_of(struct slice path)
{
    for (size_t p = 0; p < PATHS; p++)
        if (slice_equal(path, slice_str(paths[p])))
            return p;
    fail_msg("a path that is none");
    return 0;
}

static void plan(struct model *m, const struct client *c, struct sync_step **ret, size_t *ret_count)
{
    struct sync_local *locals = arena_zalloc(&m->arena, PATHS * sizeof *locals);
    struct sync_remote *remotes = arena_zalloc(&m->arena, PATHS * sizeof *remotes);
    struct sync_index *index = arena_zalloc(&m->arena, sizeof *index);
    struct sync_trees t = {.locals = locals, .remotes = remotes, .index = index};
    index->rows = arena_zalloc(&m->arena, PATHS * sizeof *index->rows);
    for (size_t p = 0; p < PATHS; p++) {
        struct slice path = slice_str(paths[p]);
        const struct row *row = &c->rows[p];
        if (c->files[p])
            locals[t.local_count++] =
                (struct sync_local){.path = path, .hashes = hash_of(m, c->files[p]), .hash_count = 1};
        if (m->files[p] || m->tombstones[p])
            remotes[t.remote_count++] = (struct sync_remote){
                .path = path, .there = m->files[p] != 0, .version = m->versions[p], .tombstone = m->tombstones[p]};
        if (row->there)
            index->rows[index->count++] = (struct sync_row){.path = path,
                                                            .version = row->version,
                                                            .deleted = row->deleted,
                                                            .hashes = hash_of(m, row->contents),
                                                            .hash_count = !row->deleted};
    }
    sync_plan(&t, &m->arena, ret, ret_count);
}

static void bury(struct model *m, struct client *c, size_t p, uint64_t version)
{
    m->tombstones[p] = MAX(m->tombstones[p], version);
    c->rows[p] = (struct row){.there = true, .deleted = true, .version = version};
}

static void download(struct model *m, struct client *c, size_t p, uint64_t was)
{
    /* As the program does: a file that is not what was looked at stays. */
    if (m->files[p] == 0 || c->files[p] != was || (!was && !may_be(c->files, p)))
        return;
    c->files[p] = m->files[p];
    c->rows[p] = (struct row){.there = true, .version = m->versions[p], .contents = m->files[p]};
}

static void upload(struct model *m, struct client *c, const struct sync_step *s, size_t p, uint64_t was)
{
    bool expected = s->remote && s->remote->there;
    if (c->files[p] != was || (!expected && m->files[p] == 0 && !may_be(m->files, p)))
        return;
    if (expected ? m->files[p] == 0 || m->versions[p] != s->remote->version : m->files[p] != 0) {
        download(m, c, p, was);
        return;
    }
    if (s->version <= m->highest[p])
        fail_msg("%s: version %llu after %llu", paths[p], (unsigned long long)s->version,
                 (unsigned long long)m->highest[p]);
    m->files[p] = was;
    m->highest[p] = m->versions[p] = s->version;
    m->tombstones[p] = 0;
    c->rows[p] = (struct row){.there = true, .version = s->version, .contents = was};
}

static void do_step(struct model *m, struct client *c, const struct sync_step *s)
{
    size_t p = path_of(s->path);
    uint64_t was = 0;
    if (s->local)
        memcpy(&was, s->local->hashes[0].bytes, sizeof was);
    switch (s->action) {
    case SYNC_KEEP:
        if (!s->local)
            c->rows[p] = (struct row){.there = true, .deleted = true, .version = s->version};
        return;
    case SYNC_UPLOAD:
        upload(m, c, s, p, was);
        return;
    case SYNC_DOWNLOAD:
        download(m, c, p, was);
        return;
    case SYNC_DELETE_LOCAL:
        if (c->files[p] != was)
            return;
        c->files[p] = 0;
        bury(m, c, p, s->version);
        return;
    case SYNC_DELETE_REMOTE:
        if (m->files[p] && m->versions[p] != s->remote->version) {
            download(m, c, p, was);
            return;
        }
        m->files[p] = 0;
        m->highest[p] = MAX(m->highest[p], s->version);
        bury(m, c, p, s->version);
        return;
    case SYNC_BURY:
        bury(m, c, p, s->version);
        return;
    case SYNC_ADOPT: /* the model has no attributes, and no directories */
    case SYNC_GIVE:
    case SYNC_MAKE_LOCAL:
    case SYNC_MAKE_REMOTE:
    case SYNC_REMOVE_LOCAL:
    case SYNC_REMOVE_REMOTE:
    case SYNC_BLOCKED:
        return;
    }
}

static void run_steps(struct model *m, struct client *c, const struct sync_step *steps, size_t count, bool breaks_off)
{
    static const enum sync_action order[] = {SYNC_DELETE_LOCAL, SYNC_DELETE_REMOTE, SYNC_BURY,
                                             SYNC_DOWNLOAD,     SYNC_UPLOAD,        SYNC_KEEP};
    struct client before = *c;
    for (size_t kind = 0; kind < ARRAY_SIZE(order); kind++) {
        for (size_t i = 0; i < count; i++) {
            if (steps[i].action != order[kind])
                continue;
            if (breaks_off && prng_below(&m->prng, 4) == 0) {
                memcpy(c->rows, before.rows, sizeof before.rows); /* killed: the index is the old one */
                return;
            }
            do_step(m, c, &steps[i]);
        }
    }
}

static void edit(struct model *m, struct client *c)
{
    size_t p = prng_below(&m->prng, PATHS);
    if (c->files[p] && prng_below(&m->prng, 3) == 0)
        c->files[p] = 0;
    else if (c->files[p] || may_be(c->files, p))
        c->files[p] = ++m->next;
}

static void random_run(struct model *m, bool breaks_off)
{
    struct client *c = &m->clients[prng_below(&m->prng, CLIENTS)], *other = &m->clients[prng_below(&m->prng, CLIENTS)];
    struct sync_step *steps, *others;
    size_t count, other_count;
    plan(m, c, &steps, &count);
    if (prng_below(&m->prng, 3) == 0 && other != c) {
        plan(m, other, &others, &other_count);
        run_steps(m, other, others, other_count, breaks_off);
    }
    if (prng_below(&m->prng, 5) == 0)
        edit(m, c);
    run_steps(m, c, steps, count, breaks_off && prng_below(&m->prng, 3) == 0);
    arena_reset(&m->arena);
}

/* Who is told of a clash has to decide: here, for the server. */
static void settle(struct model *m, struct client *c)
{
    struct sync_step *steps;
    size_t count;
    plan(m, c, &steps, &count);
    for (size_t i = 0; i < count; i++)
        if (steps[i].action == SYNC_BLOCKED && steps[i].local)
            c->files[path_of(steps[i].path)] = 0;
    plan(m, c, &steps, &count);
    run_steps(m, c, steps, count, false);
    arena_reset(&m->arena);
}

static void expect_agreement(struct model *m, uint64_t seed)
{
    for (unsigned n = 0; n < CLIENTS; n++) {
        const struct client *c = &m->clients[n];
        for (size_t p = 0; p < PATHS; p++) {
            const struct row *row = &c->rows[p];
            bool same = c->files[p] == m->files[p];
            if (same && m->files[p])
                same = row->there && !row->deleted && row->version == m->versions[p];
            if (same && !m->files[p] && m->tombstones[p])
                same = row->there && row->deleted && row->version == m->tombstones[p];
            if (!same)
                fail_msg("seed %llu: client %u does not agree on %s", (unsigned long long)seed, n, paths[p]);
        }
    }
}

static void everybody_agrees_in_the_end(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        _cleanup_free_ struct model *m = MEM_NEW(struct model);
        prng_seed(&m->prng, seed);
        bool breaks_off = seed % 2;
        for (unsigned step = 0; step < 40; step++) {
            if (prng_below(&m->prng, 2))
                edit(m, &m->clients[prng_below(&m->prng, CLIENTS)]);
            else
                random_run(m, breaks_off);
        }
        for (unsigned round = 0; round < 3; round++)
            for (unsigned n = 0; n < CLIENTS; n++)
                settle(m, &m->clients[n]);
        expect_agreement(m, seed);
        arena_free(&m->arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everybody_agrees_in_the_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
