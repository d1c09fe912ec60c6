/* Own copies that are bad, or that somebody says are: one after the other is read, and if it is wrong or missing where
 * it should be, good bytes are fetched from another server, checked and written. What no server has now is asked for
 * again, less and less often. */
#include <string.h>

#define LOG_MODULE "keeper"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/block/block_keeper.h"
#include "proto/methods.h"

static void fetch_next(struct block_keeper *k);

void block_keeper_suspect(struct node *n, const struct sha256 *ids, unsigned count)
{
    struct block_keeper *k = n->keeper;
    if (!k || k->closing)
        return;
    struct keeper_heal *h = &k->heal;
    int64_t now_ns = clock_boot_ns();
    if (now_ns - h->allowance_ns > NS_PER_S) {
        h->allowance_ns = now_ns;
        h->allowance = KEEPER_SUSPECTS_PER_S;
    }
    /* Half of the room is for what the scrub finds. */
    for (unsigned i = 0; i < count && h->allowance > 0 && h->suspects.count < SUSPECTS_MAX / 2; i++, h->allowance--)
        (void)suspects_add(&h->suspects, &ids[i], false);
    keeper_heal_go(k);
}

/* ---- the end of one ---- */

static void drop(struct block_keeper *k)
{
    suspects_drop(&k->heal.suspects);
    keeper_heal_go(k);
}

static void try_again_later(struct block_keeper *k)
{
    struct keeper_heal *h = &k->heal;
    char hex[65];
    sha256_hex(&h->id, hex);
    bool is_news = suspects_later(&h->suspects, clock_boot_ns());
    if (is_news && block_store_failed(k->node->blocks) == ERR_OK)
        log_error("block %s: no server that answers has a good copy", hex);
    keeper_heal_go(k);
}

static void give_up_for_now(struct block_keeper *k)
{
    suspects_pause(&k->heal.suspects);
}

/* ---- good bytes ---- */

static void on_replace(uv_work_t *work)
{
    struct block_keeper *k = work->data;
    struct keeper_heal *h = &k->heal;
    h->result = block_store_replace(k->node->blocks, &h->id, bytes_slice(&h->data));
}

static void on_replaced(uv_work_t *work, int cancelled)
{
    struct block_keeper *k = work->data;
    struct keeper_heal *h = &k->heal;
    char hex[65];
    CHECK(cancelled == 0);
    h->worker = false;
    sha256_hex(&h->id, hex);
    if (!keeper_active(k)) {
        give_up_for_now(k);
    } else if (h->result == ERR_OK) {
        log_info("block %s: healed", hex);
        suspects_healed(&h->suspects);
        keeper_heal_go(k);
    } else if (h->result == ERR_CORRUPT || h->result == ERR_INVAL) {
        fetch_next(k); /* that server's copy is bad too; its own scrub will find it */
    } else {
        log_error("block %s: %s", hex, err_message(h->result));
        try_again_later(k);
    }
}

static void on_fetched(void *context, const struct rpc_response *response)
{
    struct block_keeper *k = context;
    struct keeper_heal *h = &k->heal;
    struct wire_block_sizes sizes;
    struct err_text why;
    if (!keeper_active(k)) {
        give_up_for_now(k);
        return;
    }
    arena_reset(&k->arena);
    bool there =
        response->status == ERR_OK &&
        wire_block_sizes_decode(response->message, response->payload.size, &k->arena, &sizes, &why) == ERR_OK &&
        sizes.count == 1 && sizes.sizes[0] != WIRE_BLOCK_ABSENT;
    if (!there) {
        h->unanswered = h->unanswered || response->status != ERR_OK;
        fetch_next(k);
        return;
    }
    bytes_clear(&h->data);
    bytes_append(&h->data, response->payload);
    upkeep_pace_spend(&k->pace, response->payload.size, clock_boot_ns());
    h->worker = true;
    CHECK(uv_queue_work(k->node->loop, &h->work, on_replace, on_replaced) == 0);
}

/* From the next server in the block's order that answers. */
static void fetch_next(struct block_keeper *k)
{
    struct keeper_heal *h = &k->heal;
    if (block_store_failed(k->node->blocks) != ERR_OK) { /* whatever bytes come can't be written */
        try_again_later(k);
        return;
    }
    for (; h->order_next < k->map.count; h->order_next++) {
        struct keeper_server *s = k->servers[h->order[h->order_next]];
        if (s->index == k->map.self)
            continue;
        if (!keeper_server_ready(s)) {
            h->unanswered = true;
            continue;
        }
        struct wire_block_ids ids = {.ids = &h->id, .count = 1};
        h->order_next++;
        arena_reset(&k->arena);
        rpc_peer_call(s->peer, METHOD_BLOCK_GET, wire_block_ids_encode(&ids, &k->arena), SLICE(NULL, 0),
                      clock_boot_ns() + KEEPER_ASK_DEADLINE_NS, on_fetched, k);
        return;
    }
    /* A block that is absent here and everywhere is nobody's: whoever spoke of it was wrong. */
    if (h->suspects.list[h->suspects.at].bad || h->unanswered)
        try_again_later(k);
    else
        drop(k);
}

/* ---- the next one ---- */

/* It should be here, and isn't: unless it has just been removed because no file names it. */
static void on_named(struct block_keeper *k)
{
    struct keeper_heal *h = &k->heal;
    const struct keeper_refs *r = &h->refs;
    if (!keeper_active(k))
        give_up_for_now(k);
    else if (r->status != ERR_OK)
        try_again_later(k);
    else if (!r->referenced[0] && block_store_touched(k->node->blocks, &h->id) < collect_limit(r->epoch))
        drop(k);
    else
        fetch_next(k);
}

static void ask_whether_named(struct block_keeper *k)
{
    k->heal.refs.ids[0] = k->heal.id;
    k->heal.refs.count = 1;
    keeper_refs_ask(k, &k->heal.refs, on_named);
}

static void on_verify(uv_work_t *work)
{
    struct block_keeper *k = work->data;
    k->heal.result = block_store_verify(k->node->blocks, &k->heal.id);
}

static void on_verified(uv_work_t *work, int cancelled)
{
    struct block_keeper *k = work->data;
    struct keeper_heal *h = &k->heal;
    CHECK(cancelled == 0);
    h->worker = false;
    if (!keeper_active(k)) {
        give_up_for_now(k);
        return;
    }
    bool absent = h->result == ERR_NOT_FOUND;
    if (h->result == ERR_OK) { /* a put was quicker, or another reader saw what has been healed since */
        suspects_is_good(&h->suspects);
        keeper_heal_go(k);
        return;
    }
    if (absent && !h->owner) {
        drop(k);
        return;
    }
    if (!absent && suspects_is_bad(&h->suspects)) {
        char hex[65];
        sha256_hex(&h->id, hex);
        log_warn("block %s: the copy here is bad (%s)", hex, err_message(h->result));
    }
    if (absent)
        ask_whether_named(k);
    else
        fetch_next(k);
}

void keeper_heal_go(struct block_keeper *k)
{
    struct keeper_heal *h = &k->heal;
    int64_t now_ns = clock_boot_ns();
    if (h->suspects.healing || h->suspects.count == 0 || !keeper_active(k) || k->news.waits)
        return;
    int64_t wait_ns = upkeep_pace_wait_ns(&k->pace, now_ns);
    if (wait_ns > 0) {
        uv_timer_start(&k->heal_timer, keeper_heal_on_timer, (uint64_t)(wait_ns / NS_PER_MS) + 1, 0);
        return;
    }
    const struct suspect *suspect = suspects_begin(&h->suspects, now_ns);
    if (!suspect)
        return;
    struct upkeep_owners owners;
    h->unanswered = false;
    h->id = suspect->id;
    upkeep_owners_of(&k->map, &h->id, &owners);
    h->owner = (owners.set & UPKEEP_BIT(k->map.self)) != 0;
    memcpy(h->order, owners.order, sizeof h->order);
    h->order_next = 0;
    h->worker = true;
    h->work.data = k;
    CHECK(uv_queue_work(k->node->loop, &h->work, on_verify, on_verified) == 0);
}

void keeper_heal_on_timer(uv_timer_t *timer)
{
    keeper_heal_go(timer->data);
}

void keeper_heal_free(struct block_keeper *k)
{
    bytes_free(&k->heal.data);
    arena_free(&k->heal.refs.arena);
}
