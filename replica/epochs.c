/* Epochs of collection (blockstore/collect.h): the leader raises the epoch while there may be garbage that the block
 * servers can't take yet. A cluster in which nothing is removed writes no entries for it. */
#define LOG_MODULE "leader"
#include "base/log.h"
#include "base/mem.h"
#include "replica/internal.h"

/* What was let go of in one epoch may be taken by an answer of the second one after it. */
#define EPOCHS_UNTIL_TAKEN 2u

static bool is_wanted(const struct replica *r, const struct meta_collection *c)
{
    bool let_go = c->released_epoch > 0 && c->epoch < c->released_epoch + EPOCHS_UNTIL_TAKEN;
    return let_go || r->epoch_waited_for || c->epoch < r->epoch_hurry;
}

static void epoch_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct replica *r = context;
    r->epoch_proposed = false;
    if (status == ERR_OK && reply->status == ERR_OK)
        log_debug("epoch %llu of collection", (unsigned long long)reply->epoch);
}

void epochs_second(struct replica *r)
{
    struct meta_collection c;
    meta_collection(r->meta, &c);
    int64_t now_ns = replica_now_ns(r), interval_ns = r->options.collect_interval_ns;
    bool due = c.epoch < r->epoch_hurry || (interval_ns > 0 && now_ns >= r->epoch_at_ns);
    if (!r->leader_ready || r->epoch_proposed || c.epoch == 0 || !due || !is_wanted(r, &c))
        return;
    struct meta_command command = {.op = META_EPOCH, .epoch.after = c.epoch};
    r->epoch_proposed = true;
    r->epoch_waited_for = false; /* who still waits says so again */
    r->epoch_at_ns = now_ns + interval_ns;
    replica_propose_own(r, &command, epoch_done, r);
}

void epochs_leader_ready(struct replica *r)
{
    /* When the last one rose is not known: a whole interval is never too soon. */
    r->epoch_at_ns = replica_now_ns(r) + r->options.collect_interval_ns;
    r->epoch_proposed = r->epoch_waited_for = false;
    r->epoch_hurry = 0;
}

void replica_garbage_waits(struct replica *r)
{
    r->epoch_waited_for = true;
}

struct collecting {
    struct replica *replica;
    void (*done)(void *context, enum err status);
    void *context;
};

static void collect_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct collecting *now = context;
    struct replica *r = now->replica;
    if (status == ERR_OK)
        status = reply->status;
    if (status == ERR_OK && r->epoch_hurry < reply->epoch + EPOCHS_UNTIL_TAKEN)
        r->epoch_hurry = reply->epoch + EPOCHS_UNTIL_TAKEN;
    now->done(now->context, status);
    free(now);
}

void replica_collect_now(struct replica *r, void (*done)(void *context, enum err status), void *context)
{
    struct meta_collection c;
    meta_collection(r->meta, &c);
    struct meta_command command = {.op = META_EPOCH, .epoch = {.after = c.epoch, .look = true}};
    struct collecting *now = MEM_NEW(struct collecting);
    *now = (struct collecting){.replica = r, .done = done, .context = context};
    replica_propose_own(r, &command, collect_done, now);
}
