/* Each member checks its own state, all at the same time. Members that were at the same index must have the same. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "admin/fsck.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

#define POLL_FIRST_NS (1 * NS_PER_MS)
#define POLL_MAX_NS (200 * NS_PER_MS)
#define BEGINNINGS_MAX 5u /* a check that a snapshot or a restart ends is begun anew */

struct asking {
    struct admin admin; /* with an arena of its own */
    struct fsck_member *member;
    uint64_t committed; /* as the leader said before: a member that is not that far is given time to catch up */
    int64_t until_ns;
    struct slice answer;
    pthread_t thread;
};

static enum err ask(struct asking *q, struct rpc_channel *channel, uint64_t ticket, struct wire_check *ret)
{
    struct wire_check_query query = {.ticket = ticket, .kind = WIRE_CHECK_STATE};
    struct err_text *why = &q->member->why;
    arena_reset(&q->admin.arena);
    TRY(admin_call(&q->admin, channel, METHOD_ADMIN_CHECK, wire_check_query_encode(&query, &q->admin.arena),
                   q->admin.timeout_ns, &q->answer, why));
    return wire_check_decode(q->answer, &q->admin.arena, ret, why);
}

/* One that somebody else has begun is waited for. */
static enum err check_once(struct asking *q, struct rpc_channel *channel, uint64_t *ret_index)
{
    struct wire_check check = {.running = true};
    int64_t pause_ns = POLL_FIRST_NS, until_ns = clock_boot_ns() + q->admin.timeout_ns;
    while (check.running) {
        enum err e = ask(q, channel, check.ticket, &check);
        if (e != ERR_OK && (e != ERR_BUSY_NOW || clock_boot_ns() > until_ns))
            return e;
        if (check.running)
            fsck_pause(pause_ns);
        pause_ns = MIN(pause_ns * 2, POLL_MAX_NS);
    }
    *ret_index = check.index;
    return ERR_OK;
}

static enum err check_newest(struct asking *q, struct rpc_channel *channel)
{
    int64_t pause_ns = POLL_FIRST_NS;
    for (unsigned ended = 0;;) {
        uint64_t index = 0;
        enum err e = check_once(q, channel, &index);
        if ((e == ERR_CANCELLED || e == ERR_NOT_FOUND) && ++ended < BEGINNINGS_MAX)
            continue;
        q->member->behind = 0;
        if (e != ERR_OK || index >= q->committed)
            return e;
        q->member->behind = q->committed - index;
        if (clock_boot_ns() >= q->until_ns)
            return err_explain(&q->member->why, ERR_TIMEOUT,
                               "it is behind: entry %" PRIu64 " of %" PRIu64 " is the last that it has applied", index,
                               q->committed);
        fsck_pause(pause_ns);
        pause_ns = MIN(pause_ns * 2, POLL_MAX_NS);
    }
}

static void *member_main(void *p)
{
    struct asking *q = p;
    struct rpc_channel *channel = admin_channel(&q->admin, q->member->address, q->admin.timeout_ns, &q->member->why);
    if (!channel)
        return NULL;
    enum err e = check_newest(q, channel);
    rpc_channel_free(channel);
    if (e == ERR_OK)
        q->member->why.text[0] = 0;
    else if (!q->member->why.text[0])
        (void)err_explain(&q->member->why, e, "%s", err_message(e));
    return NULL;
}

static void compare(struct fsck *f)
{
    for (unsigned i = 0; i < f->member_count; i++)
        for (unsigned j = 0; j < i; j++) {
            const struct fsck_member *a = &f->members[j], *b = &f->members[i];
            if (a->why.text[0] || b->why.text[0] || a->check.unread || b->check.unread ||
                a->check.index != b->check.index || !a->check.has_hashes || !b->check.has_hashes)
                continue;
            bool same =
                sha256_equal(&a->check.chain, &b->check.chain) && sha256_equal(&a->check.state, &b->check.state);
            if (!same && f->difference_count < LIMIT_NODES)
                (void)err_explain(&f->differences[f->difference_count++], ERR_CORRUPT,
                                  "members %u and %u have different states of entry %" PRIu64, a->id, b->id,
                                  a->check.index);
        }
}

static enum err take_members(struct fsck *f, uint64_t *ret_committed, struct err_text *why)
{
    struct survey s;
    int64_t until_ns = clock_boot_ns() + f->a->timeout_ns;
    enum err e;
    while ((e = survey_take_with_leader(f->a, &s, why)) == ERR_NO_LEADER && clock_boot_ns() < until_ns)
        fsck_pause(POLL_MAX_NS);
    TRY(e);
    const struct wire_admin_state *leader = &s.leader->state;
    *ret_committed = leader->commit;
    for (unsigned i = 0; i < leader->peer_count && f->member_count < LIMIT_NODES; i++) {
        struct fsck_member *m = &f->members[f->member_count++];
        *m = (struct fsck_member){.id = leader->peers[i].id,
                                  .address = arena_str(&f->a->arena, leader->peers[i].address)};
    }
    return ERR_OK;
}

enum err fsck_state(struct fsck *f, struct err_text *why)
{
    struct asking asking[LIMIT_NODES];
    uint64_t committed = 0;
    TRY(take_members(f, &committed, why));
    for (unsigned i = 0; i < f->member_count; i++) {
        asking[i] = (struct asking){.admin = {.timeout_ns = f->a->timeout_ns},
                                    .member = &f->members[i],
                                    .committed = committed,
                                    .until_ns = clock_boot_ns() + f->wait_ns};
        CHECK(pthread_create(&asking[i].thread, NULL, member_main, &asking[i]) == 0);
    }
    for (unsigned i = 0; i < f->member_count; i++) {
        struct fsck_member *m = asking[i].member;
        pthread_join(asking[i].thread, NULL);
        enum err e = m->why.text[0] ? ERR_OK
                                    : wire_check_decode(arena_slice(&f->a->arena, asking[i].answer), &f->a->arena,
                                                        &m->check, &m->why);
        if (e != ERR_OK && !m->why.text[0])
            (void)err_explain(&m->why, e, "%s", err_message(e));
        arena_free(&asking[i].admin.arena);
    }
    compare(f);
    return ERR_OK;
}
