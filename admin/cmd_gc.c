/* cmd_gc.c: garbage goes now: the leader raises the epoch of collection until every block server can have removed what
 * no file named when it was asked. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/mem.h"

#define LOOK_NS (200 * NS_PER_MS)
#define EPOCHS_UNTIL_TAKEN 2u /* after the epoch in which it was asked for */

struct run {
    struct survey before, now;
    uint64_t target; /* epoch: who has looked as of it is done */
    uint64_t looked; /* the sum of what was told, to see whether anything goes on */
    int64_t until_ns;
};

/* By that epoch all is gone; and as of the one when it was asked for, when nothing had to wait. */
static bool is_done(const struct wire_admin_block_server *b, uint64_t target)
{
    const struct wire_block_upkeep *u = &b->upkeep;
    bool nothing_waits = u->collect_waiting == 0 && u->collect_epoch + EPOCHS_UNTIL_TAKEN >= target;
    return !b->reporting || u->collect_epoch >= target || nothing_waits;
}

static bool all_done(const struct wire_admin_state *s, uint64_t target)
{
    bool done = true;
    for (unsigned i = 0; i < s->block_server_count; i++)
        done = done && is_done(&s->block_servers[i], target);
    return done;
}

static uint64_t looked_so_far(const struct wire_admin_state *s)
{
    uint64_t sum = s->epoch;
    for (unsigned i = 0; i < s->block_server_count; i++) {
        const struct wire_block_upkeep *u = &s->block_servers[i].upkeep;
        sum += u->collections + u->collected_blocks;
    }
    return sum;
}

/* Until nothing has happened for a request's time. */
static enum err await(struct admin *a, struct run *r, struct err_text *why)
{
    r->until_ns = clock_boot_ns() + a->timeout_ns;
    for (;;) {
        enum err e = survey_take_with_leader(a, &r->now, why);
        const struct wire_admin_state *s = e == ERR_OK ? &r->now.leader->state : NULL;
        if (s && all_done(s, r->target))
            return ERR_OK;
        bool works = s && looked_so_far(s) != r->looked;
        for (unsigned i = 0; s && i < s->block_server_count; i++)
            works = works || s->block_servers[i].upkeep.collecting;
        if (works) {
            r->looked = looked_so_far(s);
            r->until_ns = clock_boot_ns() + a->timeout_ns;
        } else if (clock_boot_ns() > r->until_ns) {
            return e != ERR_OK ? e : err_explain(why, ERR_TIMEOUT, "the block servers do not get on with it");
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}

static enum err collect(struct admin *a, struct run *r, struct err_text *why)
{
    TRY(survey_take_with_leader(a, &r->before, why));
    TRY(admin_ask_leader(a, METHOD_ADMIN_COLLECT, SLICE(NULL, 0), why));
    TRY(survey_take_with_leader(a, &r->now, why));
    const struct wire_admin_state *s = &r->now.leader->state;
    if (s->epoch_hurry == 0)
        return err_explain(why, ERR_NO_LEADER, "another node leads now: ask again");
    r->target = s->epoch_hurry;
    return await(a, r, why);
}

struct removed {
    uint64_t blocks, bytes;
};

/* Since it was asked for; a server that was started anew meanwhile counts from its start. */
static struct removed removed_by(const struct run *r, const struct wire_admin_block_server *now)
{
    struct removed all = {now->upkeep.collected_blocks, now->upkeep.collected_bytes};
    const struct wire_admin_state *s = &r->before.leader->state;
    for (unsigned i = 0; i < s->block_server_count; i++) {
        const struct wire_block_upkeep *u = &s->block_servers[i].upkeep;
        if (s->block_servers[i].id != now->id || u->collected_blocks > all.blocks || u->collected_bytes > all.bytes)
            continue;
        all.blocks -= u->collected_blocks;
        all.bytes -= u->collected_bytes;
    }
    return all;
}

static int print_json(const struct run *r)
{
    const struct wire_admin_state *s = &r->now.leader->state;
    json_t *servers = json_array();
    for (unsigned i = 0; i < s->block_server_count; i++) {
        const struct wire_admin_block_server *b = &s->block_servers[i];
        struct removed gone = removed_by(r, b);
        json_array_append_new(servers, json_pack("{s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:f}", "id", (json_int_t)b->id,
                                                 "up", b->reporting, "epoch", (json_int_t)b->upkeep.collect_epoch,
                                                 "blocks", (json_int_t)b->upkeep.collect_blocks, "removed",
                                                 (json_int_t)gone.blocks, "removed_bytes", (json_int_t)gone.bytes,
                                                 "waiting", (json_int_t)b->upkeep.collect_waiting, "seconds",
                                                 (double)b->upkeep.collect_ns / (double)NS_PER_S));
    }
    return admin_print_json(json_pack("{s:I, s:o}", "epoch", (json_int_t)s->epoch, "servers", servers));
}

static int print_text(struct admin *a, const struct run *r)
{
    const struct wire_admin_state *s = &r->now.leader->state;
    char bytes[32];
    for (unsigned i = 0; i < s->block_server_count; i++) {
        const struct wire_admin_block_server *b = &s->block_servers[i];
        struct removed gone = removed_by(r, b);
        printf("%4u  %-22s ", b->id, admin_text(a, b->address));
        if (!b->reporting) {
            printf("NOT REPORTING\n");
            continue;
        }
        printf("%" PRIu64 " blocks looked at in %.3f s, %" PRIu64 " removed (%s)", b->upkeep.collect_blocks,
               (double)b->upkeep.collect_ns / (double)NS_PER_S, gone.blocks, admin_bytes(gone.bytes, bytes));
        if (b->upkeep.collect_waiting > 0)
            printf(", %" PRIu64 " that no file names were put just now", b->upkeep.collect_waiting);
        printf("\n");
    }
    return EXIT_DONE;
}

static int run_gc(struct admin *a, int argc, char **argv)
{
    (void)argc, (void)argv;
    struct run *r = arena_zalloc(&a->arena, sizeof *r);
    struct err_text why = {""};
    enum err e = collect(a, r, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    return a->json ? print_json(r) : print_text(a, r);
}

const struct admin_command command_gc = {"gc", "", "blocks that no file names are removed now", 0, 0, run_gc};
