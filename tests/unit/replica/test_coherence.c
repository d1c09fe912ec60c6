/* The leader's leases and the caches of some mounts, with messages that take their time and overtake each other: nobody
 * ever believes less than what somebody has been told.
 *
 *   unit_replica_coherence [FIRST COUNT]   seeds */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/prng.h"
#include "client/meta/known.h"
#include "replica/leases.h"

#define MOUNTS 3u
#define INODES 4u
#define NAMES 2u
#define STEPS 3000u
#define FIRST_INDEX 10u
#define LONG_NS (3600 * NS_PER_S)

static uint64_t first_seed = 1, seeds = 150;

/* An answer on its way to a mount, or, before that, one that waits. A name leads to the number of its last change, as a
 * file's size does. */
struct answer {
    struct lease_waiter waiter;
    struct list_node link; /* on its way */
    struct world *world;
    unsigned mount, ino, name;
    bool change, of_name;
    uint64_t index, value;
    struct meta_grant grant;
    /* What a look-up brings along: the other name of the directory, and another inode. */
    bool along;
    unsigned other;
    uint64_t second_value, other_value;
};

/* A change that was made. */
struct history {
    unsigned mount, ino, name;
    bool of_name;
    bool heard; /* by who made it: before, its other threads may see what was before */
};

struct mount_state {
    struct known *known;
    uint64_t attachment; /* as the mount knows it */
    uint64_t attempts;
    uint64_t heeded; /* acknowledged on its next question */
    bool asking;     /* a question for notices is on its way: what it acknowledges is */
    uint64_t acknowledging;
    /* What it must believe, if it believes anything. */
    uint64_t seen[INODES], seen_name[INODES][NAMES];
};

struct world {
    struct prng prng;
    struct leases *leases;
    struct mount_state mounts[MOUNTS];
    uint64_t index, value[INODES], name[INODES][NAMES];
    struct list under_way, waiting;
    struct history history[STEPS + FIRST_INDEX + 1]; /* by index */
    uint64_t told[INODES], told_name[INODES][NAMES];
    uint64_t answers, hits;
};

static void nothing_attr(void *context, uint64_t ino, bool may_believe)
{
    (void)context, (void)ino, (void)may_believe;
}

static void nothing(void *context)
{
    (void)context;
}

static void nothing_session(void *context, uint64_t session)
{
    (void)context, (void)session;
}

static uint64_t session_of(unsigned mount)
{
    return mount + 1;
}

static struct slice name_of(unsigned name)
{
    return name ? slice_str("one") : slice_str("two");
}

/* The newest change up to `told` that the mount must know of: not one of its own that it has not heard of. */
static uint64_t must_know(const struct world *w, unsigned mount, const struct answer *a, uint64_t told)
{
    for (uint64_t i = told; i > FIRST_INDEX; i--) {
        const struct history *h = &w->history[i];
        bool about = h->ino == a->ino && (!a->of_name || (h->of_name && h->name == a->name));
        if (about && (h->mount != mount || h->heard))
            return i;
    }
    return 0;
}

/* Something has been told to somebody: from now on nobody may believe less. */
static void becomes_visible(struct world *w, const struct answer *a)
{
    uint64_t *told = a->of_name ? &w->told_name[a->ino][a->name] : &w->told[a->ino];
    *told = MAX(*told, a->value);
    for (unsigned m = 0; m < MOUNTS; m++) {
        uint64_t *seen = a->of_name ? &w->mounts[m].seen_name[a->ino][a->name] : &w->mounts[m].seen[a->ino];
        *seen = MAX(*seen, must_know(w, m, a, *told));
    }
}

static void becomes_visible_along(struct world *w, const struct answer *a)
{
    struct answer second = {
        .mount = a->mount, .ino = a->ino, .name = 1 - a->name, .of_name = true, .value = a->second_value};
    struct answer other = {.mount = a->mount, .ino = a->other, .value = a->other_value};
    becomes_visible(w, &second);
    becomes_visible(w, &other);
}

/* An inode that is changing is not waited for, but left out (replica/visible.c). */
static void grant(struct world *w, struct answer *a)
{
    uint64_t inos[2] = {a->ino + 1, a->other + 1};
    a->along =
        !a->change && a->of_name && a->value != 0 && a->other != a->ino && !leases_is_changing(w->leases, inos[1]);
    a->second_value = w->name[a->ino][1 - a->name];
    a->other_value = w->value[a->other];
    leases_grant(w->leases, session_of(a->mount), inos, a->along ? 2 : 1, false, &a->grant);
    if (a->along)
        becomes_visible_along(w, a);
}

static void try_to_tell(struct answer *a)
{
    struct world *w = a->world;
    uint64_t ino = a->ino + 1, index = a->change ? a->index : w->index;
    if (leases_must_wait(w->leases, &ino, 1, index, clock_boot_ns(), &a->waiter))
        return;
    if (!a->change) {
        a->index = w->index;
        a->value = a->of_name ? w->name[a->ino][a->name] : w->value[a->ino];
    }
    /* What has waited is of a state that may not be the present one. */
    if (a->index == w->index && !leases_is_changing(w->leases, ino))
        grant(w, a);
    becomes_visible(w, a);
    list_push_back(&w->under_way, &a->link);
}

static void on_ready(struct lease_waiter *waiter)
{
    try_to_tell(container_of(waiter, struct answer, waiter));
}

static void ask(struct world *w, bool change)
{
    struct answer *a = MEM_NEW(struct answer);
    a->waiter.ready = on_ready;
    list_node_init(&a->waiter.link);
    list_node_init(&a->link);
    a->world = w;
    a->change = change;
    a->mount = (unsigned)prng_below(&w->prng, MOUNTS);
    a->ino = (unsigned)prng_below(&w->prng, INODES);
    a->name = (unsigned)prng_below(&w->prng, NAMES);
    a->of_name = prng_below(&w->prng, 2);
    a->other = (unsigned)prng_below(&w->prng, INODES);
    if (change) {
        a->index = ++w->index;
        a->value = a->index;
        w->history[a->index] =
            (struct history){.mount = a->mount, .ino = a->ino, .name = a->name, .of_name = a->of_name};
        w->value[a->ino] = a->index; /* a new name changes the directory too */
        if (a->of_name)
            w->name[a->ino][a->name] = a->index;
        leases_changed(w->leases, session_of(a->mount), a->index, a->ino + 1, clock_boot_ns());
    }
    try_to_tell(a);
}

static struct meta_attr attr_of(uint64_t ino, uint64_t value)
{
    return (struct meta_attr){.ino = ino, .nlink = 1, .size = value};
}

static struct meta_query_reply look_up_reply(const struct answer *a, struct meta_dirent entries[2])
{
    struct meta_query_reply r = {.status = a->value ? ERR_OK : ERR_NOENT,
                                 .attr = attr_of(a->value, 0),
                                 .has_attr = a->value != 0,
                                 .entries = entries,
                                 .index = a->index,
                                 .grant = a->grant};
    if (a->along)
        entries[r.entry_count++] = (struct meta_dirent){
            .name = slice_str("other"), .ino = a->other + 1, .attr = attr_of(a->other + 1, a->other_value)};
    if (a->along && a->second_value != 0)
        entries[r.entry_count++] = (struct meta_dirent){
            .name = name_of(1 - a->name), .ino = a->second_value, .attr = attr_of(a->second_value, 0)};
    return r;
}

static void deliver(struct world *w, struct answer *a)
{
    struct mount_state *m = &w->mounts[a->mount];
    uint64_t ino = a->ino + 1;
    if (a->change) {
        struct meta_command c = {.op = META_SETATTR, .setattr.ino = ino};
        struct meta_reply r = {.attr = attr_of(ino, a->value), .has_attr = true, .index = a->index, .grant = a->grant};
        if (a->of_name) {
            c = (struct meta_command){.op = META_LINK,
                                      .link = {.ino = a->value, .parent = ino, .name = name_of(a->name)}};
            r = (struct meta_reply){.attr = attr_of(1000 + a->value, 0),
                                    .has_attr = true,
                                    .parent = attr_of(ino, a->value),
                                    .has_parent = true,
                                    .index = a->index,
                                    .grant = a->grant};
        }
        known_learn_reply(m->known, &c, &r);
        w->history[a->index].heard = true;
        becomes_visible(w, a);
    } else {
        struct meta_dirent entries[2];
        struct meta_query q = {.op = META_QUERY_GETATTR, .ino = ino};
        struct meta_query_reply r = {
            .attr = attr_of(ino, a->value), .has_attr = true, .index = a->index, .grant = a->grant};
        if (a->of_name) {
            q = (struct meta_query){.op = META_QUERY_LOOKUP, .ino = ino, .name = name_of(a->name), .max_count = 2};
            r = look_up_reply(a, entries);
        }
        known_learn_query(m->known, &q, &r);
    }
    w->answers++;
    free(a);
}

static void deliver_any(struct world *w)
{
    size_t count = 0;
    list_for_each (n, &w->under_way)
        count++;
    if (count == 0)
        return;
    size_t at = (size_t)prng_below(&w->prng, count);
    list_for_each_safe (n, &w->under_way) {
        if (at-- > 0)
            continue;
        list_remove(n);
        deliver(w, container_of(n, struct answer, link));
        return;
    }
}

/* The mount's question arrives at the leader, and the answer at the mount, at different times. */
static void notices(struct world *w, unsigned mount)
{
    struct mount_state *m = &w->mounts[mount];
    if (!m->asking) {
        m->asking = true;
        m->acknowledging = m->heeded;
        return;
    }
    m->asking = false;
    leases_acknowledge(w->leases, session_of(mount), m->attachment, m->acknowledging, clock_boot_ns());
    struct meta_notice list[3];
    uint64_t seq;
    unsigned count = leases_take(w->leases, session_of(mount), m->acknowledging, list, 3, &seq);
    known_heed(m->known, list, count, seq);
    m->heeded = seq;
}

static void attach(struct world *w, unsigned mount)
{
    struct mount_state *m = &w->mounts[mount];
    known_detach(m->known);
    m->attachment = leases_attach(w->leases, session_of(mount), ++m->attempts, true, clock_boot_ns());
    m->heeded = m->acknowledging = 0;
    m->asking = false;
    known_attach(m->known, m->attachment, clock_boot_ns() + LONG_NS);
}

static void check(struct world *w, uint64_t seed, unsigned step)
{
    for (unsigned m = 0; m < MOUNTS; m++)
        for (unsigned i = 0; i < INODES; i++) {
            struct mount_state *s = &w->mounts[m];
            struct meta_attr attr;
            if (known_attr(s->known, i + 1, &attr)) {
                w->hits++;
                if (attr.size < s->seen[i])
                    fail_msg("seed %" PRIu64 ", step %u: mount %u believes %" PRIu64 " of inode %u, which is %" PRIu64
                             " for all to see",
                             seed, step, m, attr.size, i + 1, s->seen[i]);
            }
            for (unsigned n = 0; n < NAMES; n++) {
                unsigned ahead;
                uint64_t cookie;
                enum known_name known = known_lookup(s->known, i + 1, name_of(n), &attr, &ahead, &cookie);
                if (known == KNOWN_ABSENT && s->seen_name[i][n] > 0)
                    fail_msg("seed %" PRIu64 ", step %u: mount %u does not see name %u of %u", seed, step, m, n, i + 1);
                if (known == KNOWN_THERE && attr.ino < s->seen_name[i][n])
                    fail_msg("seed %" PRIu64 ", step %u: mount %u sees an old name %u of %u", seed, step, m, n, i + 1);
            }
        }
}

static void one_seed(uint64_t seed, uint64_t *hits, uint64_t *answers)
{
    static struct world w;
    w = (struct world){.index = FIRST_INDEX};
    prng_seed(&w.prng, seed);
    list_init(&w.under_way);
    w.leases = leases_new(
        &(struct lease_options){.drift_ns = LONG_NS, .context = &w, .noticed = nothing_session, .wake = nothing});
    leases_begin(w.leases, 1, 0, clock_boot_ns());
    for (unsigned m = 0; m < MOUNTS; m++) {
        w.mounts[m].known = known_new(&(struct known_options){.inodes_max = prng_below(&w.prng, 2) ? 3 : 1000,
                                                              .forget_attr = nothing_attr,
                                                              .forget_names = nothing,
                                                              .detached = nothing});
        attach(&w, m);
    }
    unsigned changes = 5 + (unsigned)prng_below(&w.prng, 20);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned what = (unsigned)prng_below(&w.prng, 100);
        if (what < changes)
            ask(&w, true);
        else if (what < 45)
            ask(&w, false);
        else if (what < 75)
            deliver_any(&w);
        else if (what < 99)
            notices(&w, (unsigned)prng_below(&w.prng, MOUNTS));
        else if (prng_below(&w.prng, 4) == 0)
            attach(&w, (unsigned)prng_below(&w.prng, MOUNTS));
        leases_release(w.leases);
        check(&w, seed, step);
    }
    /* All is told in the end. */
    for (unsigned m = 0; m < MOUNTS; m++)
        attach(&w, m);
    leases_release(w.leases);
    for (struct list_node *n; (n = list_pop_front(&w.under_way));)
        deliver(&w, container_of(n, struct answer, link));
    struct leases_status status;
    leases_status(w.leases, clock_boot_ns(), &status);
    assert_int_equal(status.waiting_changes, 0);
    *hits += w.hits;
    *answers += w.answers;
    leases_end(w.leases);
    leases_free(w.leases);
    for (unsigned m = 0; m < MOUNTS; m++)
        known_free(w.mounts[m].known);
}

static void nobody_believes_less_than_was_told(void **state)
{
    (void)state;
    uint64_t hits = 0, answers = 0;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++)
        one_seed(seed, &hits, &answers);
    printf("%" PRIu64 " seeds, %" PRIu64 " answers, %" PRIu64 " times something was believed\n", seeds, answers, hits);
    assert_true(hits > answers); /* else it would prove little */
}

int main(int argc, char **argv)
{
    if (argc == 3)
        first_seed = strtoull(argv[1], NULL, 10), seeds = strtoull(argv[2], NULL, 10);
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_believes_less_than_was_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
