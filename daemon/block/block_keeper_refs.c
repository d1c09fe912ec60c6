/* Which blocks are named by files: asked of this node's own state, when it has one, else of a member of the metastore.
 * Either has made sure first that it is new enough, so an answer is of a state at least as new as the question. */
#include <string.h>

#define LOG_MODULE "keeper"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/block/block_keeper.h"
#include "proto/methods.h"
#include "proto/wire_meta.h"

static enum err take(struct keeper_refs *r, const struct meta_query_reply *reply)
{
    TRY(reply->status);
    if (reply->referenced_count != r->count || reply->epoch == 0)
        return ERR_PROTOCOL;
    memcpy(r->referenced, reply->referenced, r->count);
    r->epoch = reply->epoch;
    block_store_epoch(r->keeper->node->blocks, reply->epoch);
    return ERR_OK;
}

static void end(struct keeper_refs *r, enum err status)
{
    r->under_way = false;
    r->status = status;
    r->done(r->keeper);
}

static void end_if_answered(struct keeper_refs *r)
{
    if (!r->answered)
        return;
    r->answered = false;
    end(r, r->own_status);
}

void keeper_refs_on_timer(uv_timer_t *timer)
{
    struct block_keeper *k = timer->data;
    end_if_answered(&k->walk.refs);
    end_if_answered(&k->heal.refs);
    end_if_answered(&k->collect.refs);
}

/* In the middle of a step of the replica, which must not be asked the next question there. */
static void on_own_answer(struct replica_query *query, enum err status)
{
    struct keeper_refs *r = query->context;
    r->own_status = status == ERR_OK ? take(r, &query->reply) : status;
    r->answered = true;
    if (!r->keeper->closing)
        uv_timer_start(&r->keeper->refs_timer, keeper_refs_on_timer, 0, 0);
}

static void on_answer(void *context, const struct rpc_response *response)
{
    struct keeper_refs *r = context;
    struct meta_query_reply reply;
    struct err_text why;
    enum err e = response->status;
    arena_reset(&r->arena);
    if (e == ERR_OK)
        e = wire_meta_query_reply_decode(response->message, &r->arena, &reply, &why);
    if (e == ERR_OK)
        e = take(r, &reply);
    end(r, e);
}

/* The members take turns: any of them can answer. */
static struct member *next_member(struct keeper_refs *r)
{
    struct node *n = r->keeper->node;
    for (unsigned i = 0; i < NODE_MEMBERS_MAX; i++) {
        struct member *m = &n->members[r->member++ % NODE_MEMBERS_MAX];
        if (m->id != 0 && m->peer && rpc_peer_connected(m->peer))
            return m;
    }
    return NULL;
}

void keeper_refs_ask(struct block_keeper *k, struct keeper_refs *r, void (*done)(struct block_keeper *k))
{
    struct node *n = k->node;
    CHECK(!r->under_way && r->count >= 1 && r->count <= KEEPER_REFS);
    const struct meta_query query = {
        .op = META_QUERY_BLOCK_REFS, .any_member = true, .blocks = r->ids, .block_count = r->count};
    r->keeper = k;
    r->done = done;
    r->under_way = true;
    arena_reset(&r->arena);
    if (node_has_state(n)) {
        r->own = (struct replica_query){.query = query, .arena = &r->arena, .done = on_own_answer, .context = r};
        replica_query(n->replica, &r->own);
        return;
    }
    struct member *m = next_member(r);
    if (!m) {
        end(r, ERR_UNREACHABLE);
        return;
    }
    rpc_peer_call(m->peer, METHOD_META_QUERY, wire_meta_query_encode(&query, &r->arena), SLICE(NULL, 0),
                  clock_boot_ns() + KEEPER_ASK_DEADLINE_NS, on_answer, r);
}
