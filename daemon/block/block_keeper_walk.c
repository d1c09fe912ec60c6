/* Repair. A walk goes through this server's blocks in the order of their ids, a batch at a time: it asks the other
 * owners which of them they have, and copies to those that lack some what is this server's to copy
 * (blockstore/upkeep.h). Each copy is read and hashed before it is sent, and durable when the other side has answered;
 * one frame is under way at a time. */
#include <string.h>

#define LOG_MODULE "keeper"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/block/block_keeper.h"
#include "proto/methods.h"

#define RETRY_NS (2 * NS_PER_S) /* at least, before a walk that could not do everything is repeated */

static void list_batch(struct block_keeper *k);
static void push_next(struct block_keeper *k);
static void vet_next(struct block_keeper *k);

static bool goes_on(struct block_keeper *k)
{
    return keeper_active(k) && !k->news.waits;
}

void keeper_walk_stop(struct block_keeper *k)
{
    k->walk.running = false;
    if (k->walk.told)
        k->short_due_ns = clock_boot_ns();
    if (!k->closing)
        keeper_walk_due(k, 0, "the comparison was broken off");
}

static void finish(struct block_keeper *k)
{
    struct keeper_walk *w = &k->walk;
    int64_t took_ns = clock_boot_ns() - w->begun_ns;
    w->running = false;
    k->last_failed = w->failed;
    k->last_unsure = w->unsure;
    k->told.walks++;
    k->told.walk_ended_ns = (uint64_t)clock_wall_ns();
    k->told.walk_ns = (uint64_t)took_ns;
    k->told.walk_blocks = w->blocks;
    keeper_strays_end(k);
    log_info("%llu blocks compared with the other servers' in %.3f s; %llu could not be copied, %llu not be asked for",
             (unsigned long long)w->blocks, (double)took_ns / (double)NS_PER_S, (unsigned long long)w->failed,
             (unsigned long long)w->unsure);
    if (w->retry && w->told)
        k->short_due_ns = clock_boot_ns() + MAX(RETRY_NS, took_ns);
    if (w->retry)
        keeper_walk_due(k, MAX(RETRY_NS, took_ns), "not everything could be done");
    /* Whoever drains this server waits to hear that it has none left. */
    else if (w->strays_removed > 0 && k->map.self < k->map.count && k->map.servers[k->map.self].last)
        keeper_walk_due(k, 0, "this server is drained, and copies went");
}

/* ---- what is here ---- */

static void on_list(uv_work_t *work)
{
    struct block_keeper *k = work->data;
    struct keeper_walk *w = &k->walk;
    unsigned skipped = 0; /* the others, who have these blocks too, are told that they are absent here, and copy them */
    struct repair_batch *b = &w->batch;
    w->listed = keeper_list(k, &w->after, b->capacity, b->ids, &b->count, &skipped);
    for (unsigned i = 0; w->listed == ERR_OK && i < b->count; i++)
        b->touched[i] = block_store_touched(k->node->blocks, &b->ids[i]);
    if (w->listed == ERR_OK)
        block_store_measure(k->node->blocks, b->ids, b->count, &w->batch_bytes, &w->batch_stored_bytes);
}

static void on_answered(void *context, const struct rpc_response *response);

static void ask_server(struct block_keeper *k, unsigned server)
{
    struct keeper_walk *w = &k->walk;
    arena_reset(&k->arena);
    struct sha256 *ids = arena_alloc(&k->arena, KEEPER_BATCH * sizeof *ids);
    struct wire_block_ids question = {.ids = ids, .count = repair_batch_question(&w->batch, server, ids)};
    if (question.count == 0)
        return;
    w->calls++;
    rpc_peer_call(k->servers[server]->peer, METHOD_BLOCK_HAS, wire_block_ids_encode(&question, &k->arena),
                  SLICE(NULL, 0), clock_boot_ns() + KEEPER_ASK_DEADLINE_NS, on_answered, &w->slots[server]);
}

static void decide(struct block_keeper *k);

static void ask(struct block_keeper *k)
{
    struct keeper_walk *w = &k->walk;
    repair_batch_begin(&w->batch);
    /* Of one whose store has failed nothing counts: it can't heal what is bad of that, and takes no copies. */
    for (unsigned s = 0; s < k->map.count; s++)
        if (s != k->map.self && keeper_server_ready(k->servers[s]) && !k->servers[s]->failed)
            ask_server(k, s);
    if (w->calls == 0)
        decide(k);
}

static void on_listed(uv_work_t *work, int cancelled)
{
    struct block_keeper *k = work->data;
    struct keeper_walk *w = &k->walk;
    CHECK(cancelled == 0);
    w->worker = w->listing = false;
    if (!goes_on(k)) {
        keeper_walk_stop(k);
    } else if (w->listed != ERR_OK) {
        log_error("own blocks can't be listed: %s", err_message(w->listed));
        w->retry = true;
        finish(k);
    } else if (w->batch.count == 0) {
        k->measured = true;
        k->base_bytes = (int64_t)w->bytes - w->net_bytes;
        k->base_stored_bytes = (int64_t)w->stored_bytes - w->net_stored_bytes;
        finish(k);
    } else {
        w->after = w->batch.ids[w->batch.count - 1];
        w->blocks += w->batch.count;
        w->bytes += w->batch_bytes, w->stored_bytes += w->batch_stored_bytes;
        ask(k);
    }
}

static void list_batch(struct block_keeper *k)
{
    k->walk.worker = k->walk.listing = true;
    CHECK(uv_queue_work(k->node->loop, &k->walk.work, on_list, on_listed) == 0);
}

void keeper_walk_next_batch(struct block_keeper *k)
{
    if (goes_on(k))
        list_batch(k);
    else
        keeper_walk_stop(k);
}

/* ---- who has it ---- */

static enum err take_answer(struct block_keeper *k, unsigned server, const struct rpc_response *response)
{
    struct keeper_walk *w = &k->walk;
    struct wire_block_present present;
    struct err_text why;
    TRY(response->status);
    arena_reset(&k->arena);
    TRY(wire_block_present_decode(response->message, &k->arena, &present, &why));
    return repair_batch_answer(&w->batch, server, present.present, present.count) ? ERR_OK : ERR_PROTOCOL;
}

static void on_answered(void *context, const struct rpc_response *response)
{
    const struct walk_call *call = context;
    struct block_keeper *k = call->keeper;
    struct keeper_walk *w = &k->walk;
    w->calls--;
    if (!k->closing && take_answer(k, call->server, response) != ERR_OK) {
        keeper_server_failed(k->servers[call->server]);
        w->retry = true;
    }
    if (w->calls > 0)
        return;
    if (goes_on(k))
        decide(k);
    else
        keeper_walk_stop(k);
}

static void decide(struct block_keeper *k)
{
    repair_batch_decide(&k->walk.batch, k->walk.told);
    vet_next(k);
}

/* ---- what is not garbage ---- */

static void on_vetted(struct block_keeper *k)
{
    struct keeper_walk *w = &k->walk;
    const struct keeper_refs *r = &w->refs;
    if (!goes_on(k)) {
        keeper_walk_stop(k);
        return;
    }
    w->retry = w->retry || r->status != ERR_OK;
    repair_batch_vetted(&w->batch, r->status == ERR_OK ? r->referenced : NULL, r->epoch);
    vet_next(k);
}

/* The next of those that are to be copied: whether they are worth it. */
static void vet_next(struct block_keeper *k)
{
    struct keeper_walk *w = &k->walk;
    w->refs.count = repair_batch_vet(&w->batch, w->refs.ids);
    if (w->refs.count > 0) {
        keeper_refs_ask(k, &w->refs, on_vetted);
        return;
    }
    w->unsure += w->batch.unsure;
    push_next(k);
}

/* ---- copies ---- */

/* Those of a set that take blocks. When one has room again, a walk brings it what it lacks. */
static uint64_t with_room(const struct block_keeper *k, uint64_t set)
{
    for (unsigned s = 0; s < k->map.count; s++)
        if (k->servers[s]->full)
            set &= ~UPKEEP_BIT(s);
    return set;
}

static void on_read(uv_work_t *work)
{
    struct block_keeper *k = work->data;
    struct keeper_walk *w = &k->walk;
    uint64_t limit = k->pace.rate ? MIN((uint64_t)KEEPER_FRAME_BYTES, k->pace.rate / 4) : KEEPER_FRAME_BYTES;
    _cleanup_(bytes_free) struct bytes one = {0};
    bytes_clear(&w->payload);
    for (w->frame_read = 0; w->frame_read < w->frame_count; w->frame_read++) {
        const struct sha256 *id = &w->batch.ids[w->batch.frame[w->frame_read]];
        if (w->payload.size > 0 && w->payload.size >= limit)
            return;
        bool good = block_store_get_verified(k->node->blocks, id, &one) == ERR_OK;
        w->frame_sizes[w->frame_read] = good ? (uint32_t)one.size : 0;
        if (good)
            bytes_append(&w->payload, bytes_slice(&one));
    }
}

static void on_copied(void *context, const struct rpc_response *response);
static void frame_over(struct block_keeper *k);

static void send_frame(struct block_keeper *k, const struct wire_block_put *put)
{
    struct keeper_walk *w = &k->walk;
    struct slice message = wire_block_put_encode(put, &k->arena);
    uint64_t to = with_room(k, w->batch.frame_to);
    w->frame_refused = to != w->batch.frame_to;
    for (unsigned s = 0; s < k->map.count; s++) {
        if (!(to & UPKEEP_BIT(s)))
            continue;
        if (!keeper_server_ready(k->servers[s])) {
            w->frame_failed |= UPKEEP_BIT(s);
            continue;
        }
        w->calls++;
        upkeep_pace_spend(&k->pace, w->payload.size, clock_boot_ns());
        rpc_peer_call(k->servers[s]->peer, METHOD_BLOCK_PUT, message, bytes_slice(&w->payload),
                      clock_boot_ns() + KEEPER_ASK_DEADLINE_NS, on_copied, &w->slots[s]);
    }
}

static void on_frame_read(uv_work_t *work, int cancelled)
{
    struct block_keeper *k = work->data;
    struct keeper_walk *w = &k->walk;
    CHECK(cancelled == 0);
    w->worker = false;
    if (!goes_on(k)) {
        keeper_walk_stop(k);
        return;
    }
    arena_reset(&k->arena);
    struct sha256 *ids = arena_alloc(&k->arena, REPAIR_FRAME_MAX * sizeof *ids);
    unsigned count = 0;
    for (unsigned f = 0; f < w->frame_read; f++) {
        unsigned i = w->batch.frame[f];
        repair_batch_copied(&w->batch, i);
        if (w->frame_sizes[f] > 0) {
            ids[count] = w->batch.ids[i];
            w->frame_sizes[count++] = w->frame_sizes[f];
            continue;
        }
        /* Another one has it, perhaps: this copy is healed, and the next walk copies it. */
        (void)suspects_add(&k->heal.suspects, &w->batch.ids[i], true);
        w->failed++;
        w->retry = true;
    }
    w->frame_failed = 0;
    w->frame_refused = false;
    w->frame_count = count;
    struct wire_block_put put = {.durable = true,
                                 .ids = ids,
                                 .sizes = w->frame_sizes,
                                 .count = count,
                                 .epoch = w->batch.frame_touched == TOUCH_UNKNOWN ? 0 : w->batch.frame_touched};
    if (count > 0)
        send_frame(k, &put);
    if (w->calls == 0)
        frame_over(k);
}

/* All that the frame went to have answered. */
static void frame_over(struct block_keeper *k)
{
    struct keeper_walk *w = &k->walk;
    if (w->frame_failed || w->frame_refused)
        w->failed += w->frame_count;
    w->retry = w->retry || w->frame_failed;
    if (goes_on(k))
        push_next(k);
    else
        keeper_walk_stop(k);
}

static void on_copied(void *context, const struct rpc_response *response)
{
    const struct walk_call *call = context;
    struct block_keeper *k = call->keeper;
    struct keeper_walk *w = &k->walk;
    w->calls--;
    if (response->status == ERR_OK) {
        k->told.copied_blocks += w->frame_count;
        k->told.copied_bytes += w->payload.size;
    } else {
        w->frame_failed |= UPKEEP_BIT(call->server);
        if (!k->closing && err_class(response->status) == ERR_CLASS_LEADER)
            keeper_server_failed(k->servers[call->server]);
    }
    if (w->calls == 0)
        frame_over(k);
}

/* The next blocks that go to the same servers, and were touched last at the same time, in one frame. */
static bool next_frame(struct block_keeper *k)
{
    struct keeper_walk *w = &k->walk;
    while (repair_batch_frame(&w->batch)) {
        if (with_room(k, w->batch.frame_to) != 0)
            return true;
        for (unsigned f = 0; f < w->batch.frame_count; f++)
            repair_batch_copied(&w->batch, w->batch.frame[f]);
        w->failed += w->batch.frame_count;
    }
    return false;
}

static void push_next(struct block_keeper *k)
{
    struct keeper_walk *w = &k->walk;
    if (!next_frame(k)) {
        w->position = upkeep_position(&w->after, WIRE_UPKEEP_WHOLE);
        keeper_strays_begin(k);
        return;
    }
    int64_t wait_ns = upkeep_pace_wait_ns(&k->pace, clock_boot_ns());
    if (wait_ns > 0) {
        uv_timer_start(&k->walk_timer, keeper_walk_on_timer, (uint64_t)(wait_ns / NS_PER_MS) + 1, 0);
        return;
    }
    w->position = upkeep_position(&w->batch.ids[w->batch.next], WIRE_UPKEEP_WHOLE);
    w->frame_count = w->batch.frame_count;
    w->worker = true;
    CHECK(uv_queue_work(k->node->loop, &w->work, on_read, on_frame_read) == 0);
}

void keeper_walk_on_timer(uv_timer_t *timer)
{
    struct block_keeper *k = timer->data;
    if (goes_on(k))
        push_next(k);
    else
        keeper_walk_stop(k);
}

/* ---- begin and end ---- */

void keeper_walk_begin(struct block_keeper *k)
{
    struct keeper_walk *w = &k->walk;
    if (!w->batch.ids) {
        repair_batch_init(&w->batch, &k->map, KEEPER_BATCH);
        for (unsigned s = 0; s < LIMIT_BLOCK_SERVERS; s++)
            w->slots[s] = (struct walk_call){.keeper = k, .server = s};
        w->work.data = k;
    }
    w->running = true;
    w->retry = false;
    memset(&w->after, 0, sizeof w->after);
    w->begun_ns = clock_boot_ns();
    strays_walk_begin(&k->strays);
    w->blocks = w->failed = w->unsure = w->strays_removed = 0;
    w->bytes = w->stored_bytes = 0;
    block_store_net(k->node->blocks, &w->net_bytes, &w->net_stored_bytes);
    w->position = 0;
    k->stray_due_ns = 0;
    list_batch(k);
}

void keeper_walk_free(struct block_keeper *k)
{
    struct keeper_walk *w = &k->walk;
    repair_batch_free(&w->batch);
    bytes_free(&w->payload);
    arena_free(&w->refs.arena);
}
