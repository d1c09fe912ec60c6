/* The block server's methods. The store blocks on its disk: each request takes one hop to a worker thread and back. */
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "service"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "meta/meta.h"
#include "proto/methods.h"
#include "proto/wire_block.h"
#include "proto/wire_check.h"

/* One request on a worker thread; lives in its arena. While the worker runs, the request's arena is the worker's. */
struct block_work {
    uv_work_t work;
    struct node *node;
    struct block_store *store;
    struct rpc_request *request;
    size_t charged_bytes;
    struct wire_block_put put;
    struct wire_block_ids ids;
    struct wire_ids_query page; /* of INVENTORY */
    struct repair_mark mark;    /* as of the request, for a sure answer */
    /* the result */
    bool *present;               /* of HAS */
    uint64_t read_bytes;         /* of a sure one */
    const struct sha256 *unread; /* one of GET that is here and can't be read */
    enum err status;
    struct slice message;
    struct bytes payload;
};

static struct slice encode_ack(struct block_work *w)
{
    struct wire_block_ack ack = {.boot_id = block_store_boot_id(w->store)};
    return wire_block_ack_encode(&ack, &w->request->arena);
}

static void work_put(struct block_work *w)
{
    const struct wire_block_put *put = &w->put;
    struct slice *datas = arena_alloc(&w->request->arena, put->count * sizeof *datas);
    size_t at = 0;
    for (unsigned i = 0; i < put->count; i++) {
        datas[i] = slice_sub(w->request->payload, at, put->sizes[i]);
        at += put->sizes[i];
    }
    block_store_touch(w->store, put->ids, put->count, put->epoch);
    w->status = put->count == 1 ? block_store_put(w->store, put->ids, datas[0], put->durable)
                                : block_store_put_many(w->store, put->ids, datas, put->count, put->durable);
    if (w->status == ERR_OK)
        w->message = encode_ack(w);
}

/* Of several blocks so many that they are no more to send than one large block may be: the client asks again for those
 * behind them, and an answer takes no longer than it may before the client asks others. */
static void work_get(struct block_work *w)
{
    struct wire_block_sizes sizes = {.count = w->ids.count};
    uint32_t *each = arena_alloc(&w->request->arena, w->ids.count * sizeof *each);
    _cleanup_(bytes_free) struct bytes one = {0};
    bool full = false;
    for (unsigned i = 0; i < w->ids.count; i++) {
        struct bytes *to = w->ids.count == 1 ? &w->payload : &one;
        each[i] = WIRE_BLOCK_ABSENT;
        if (full)
            continue;
        enum err e = block_store_get(w->store, &w->ids.ids[i], to);
        if (e != ERR_OK && e != ERR_NOT_FOUND) {
            /* Another server has a copy: a block that this one can't read is as good as absent here. */
            char id[65];
            sha256_hex(&w->ids.ids[i], id);
            log_error("block %s can't be read: %s", id, err_message(e));
            w->unread = &w->ids.ids[i];
        }
        if (e != ERR_OK)
            bytes_clear(to);
        full = to == &one && w->payload.size + one.size > LIMIT_BLOCK_BYTES;
        if (e != ERR_OK || full)
            continue;
        each[i] = (uint32_t)to->size;
        if (to == &one)
            bytes_append(&w->payload, bytes_slice(&one));
    }
    sizes.sizes = each;
    w->message = wire_block_sizes_encode(&sizes, &w->request->arena);
    w->status = ERR_OK;
}

static void work_has(struct block_work *w)
{
    w->present = arena_zalloc(&w->request->arena, w->ids.count);
    if (w->ids.epoch > 0)
        block_store_touch(w->store, w->ids.ids, w->ids.count, w->ids.epoch);
    if (!w->ids.sure) {
        w->status = block_store_has(w->store, w->ids.ids, w->ids.count, w->present);
        return;
    }
    _cleanup_(bytes_free) struct bytes one = {0};
    for (unsigned i = 0; i < w->ids.count; i++) {
        bytes_clear(&one);
        w->present[i] = block_store_get_verified(w->store, &w->ids.ids[i], &one) == ERR_OK;
        w->read_bytes += one.size;
    }
    w->status = block_store_sync(w->store);
}

/* Behind rows that can't be listed nothing is told of either. */
static void work_inventory(struct block_work *w)
{
    const struct wire_ids_query *q = &w->page;
    struct sha256 *ids = arena_alloc(&w->request->arena, q->max * sizeof *ids);
    unsigned count = 0, told = 0;
    w->status = block_store_inventory(w->store, &q->after, q->max, ids, &count);
    if (w->status != ERR_OK)
        return;
    while (told < count && memcmp(ids[told].bytes, q->upto.bytes, SHA256_SIZE) <= 0)
        told++;
    struct wire_ids reply = {
        .ids = ids, .count = told, .through = told == count && count > 0 ? ids[count - 1] : q->upto};
    w->message = wire_ids_encode(&reply, &w->request->arena);
}

/* On the loop's thread, where it is known which map of the servers is in force. */
static struct slice encode_present(struct block_work *w)
{
    _Static_assert(sizeof(bool) == sizeof(uint8_t), "a list of bools travels as bytes");
    struct wire_block_present reply = {.boot_id = block_store_boot_id(w->store),
                                       .present = (const uint8_t *)w->present,
                                       .count = w->ids.count,
                                       .read_bytes = w->read_bytes,
                                       .map_version = w->ids.sure ? block_keeper_version_since(w->node, w->mark) : 0};
    return wire_block_present_encode(&reply, &w->request->arena);
}

static void on_work(uv_work_t *work)
{
    struct block_work *w = work->data;
    switch (w->request->method) {
    case METHOD_BLOCK_PUT:
        work_put(w);
        break;
    case METHOD_BLOCK_GET:
        work_get(w);
        break;
    case METHOD_BLOCK_HAS:
        work_has(w);
        break;
    case METHOD_BLOCK_INVENTORY:
        work_inventory(w);
        break;
    default:
        w->status = block_store_sync(w->store);
        if (w->status == ERR_OK)
            w->message = encode_ack(w);
    }
}

static void on_work_done(uv_work_t *work, int cancelled)
{
    struct block_work *w = work->data;
    struct node *n = w->node;
    CHECK(cancelled == 0);
    n->block_bytes_in_flight -= w->charged_bytes;
    n->block_moves -= w->charged_bytes > 0;
    enum err state = n->crashed || n->no_space.text[0] ? ERR_CRASHED : w->status;
    if (w->unread)
        block_keeper_suspect(n, w->unread, 1);
    if (state == ERR_OK && w->present)
        w->message = encode_present(w);
    struct bytes payload = w->payload; /* w is gone with the request */
    if (state == ERR_OK)
        rpc_reply(w->request, ERR_OK, w->message, &payload);
    else
        service_refuse(n, w->request, state, NULL);
    bytes_free(&payload);
}

static enum err decode(struct block_work *w, struct err_text *why)
{
    struct rpc_request *r = w->request;
    switch (r->method) {
    case METHOD_BLOCK_PUT:
        w->charged_bytes = r->payload.size;
        return wire_block_put_decode(r->message, r->payload.size, &r->arena, &w->put, why);
    case METHOD_BLOCK_GET:
        /* Not known before it is read; most ask for one. */
        w->charged_bytes = LIMIT_BLOCK_BYTES;
        return wire_block_ids_decode(r->message, LIMIT_BLOCKS_PER_FRAME, &r->arena, &w->ids, why);
    case METHOD_BLOCK_HAS:
        w->mark = block_keeper_mark(w->node);
        TRY(wire_block_ids_decode(r->message, LIMIT_HASHES_PER_FRAME, &r->arena, &w->ids, why));
        w->charged_bytes = w->ids.sure ? LIMIT_BLOCK_BYTES : 0; /* one after the other is read */
        return ERR_OK;
    case METHOD_BLOCK_INVENTORY:
        return wire_ids_query_decode(r->message, &r->arena, &w->page, why);
    default:
        return ERR_OK;
    }
}

void service_block_info(struct node *n, struct wire_block_info *ret)
{
    *ret = (struct wire_block_info){.node_id = n->config.id,
                                    .address = slice_str(n->config.advertise.text),
                                    .zone = slice_str(n->config.zone),
                                    .boot_id = block_store_boot_id(n->blocks),
                                    .blocks = n->block_stat.blocks,
                                    .block_bytes = n->block_stat.block_bytes,
                                    .disk_total = n->block_stat.disk_total,
                                    .disk_free = n->block_stat.disk_free,
                                    .disk_kept = node_space_kept(n),
                                    .full = n->blocks_full,
                                    .failed = block_store_failed(n->blocks) != ERR_OK};
    block_keeper_describe(n, &ret->upkeep);
}

static void take_suspects(struct node *n, struct rpc_request *request)
{
    struct wire_block_ids ids;
    struct err_text why;
    enum err e = wire_block_ids_decode(request->message, LIMIT_BLOCKS_PER_FRAME, &request->arena, &ids, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    block_keeper_suspect(n, ids.ids, ids.count);
    rpc_reply(request, ERR_OK, SLICE(NULL, 0), NULL);
}

void service_block(struct node *n, struct rpc_request *request)
{
    if (!service_has_role(n, request, WIRE_NODE_BLOCK))
        return;
    if (request->method == METHOD_BLOCK_INFO) {
        struct wire_block_info info;
        service_block_info(n, &info);
        rpc_reply(request, ERR_OK, wire_block_info_encode(&info, &request->arena), NULL);
        return;
    }
    if (request->method == METHOD_BLOCK_SUSPECT) {
        take_suspects(n, request);
        return;
    }
    if (request->method == METHOD_BLOCK_SHORT) {
        block_keeper_short(n);
        rpc_reply(request, ERR_OK, SLICE(NULL, 0), NULL);
        return;
    }
    struct block_work *w = arena_zalloc(&request->arena, sizeof *w);
    *w = (struct block_work){.work.data = w, .node = n, .store = n->blocks, .request = request};
    struct err_text why;
    enum err e = decode(w, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    if (request->method == METHOD_BLOCK_PUT && n->blocks_full) {
        service_refuse(n, request, ERR_NOSPC, NULL);
        return;
    }
    /* What others don't read is more than enough in memory. */
    if (request->method == METHOD_BLOCK_GET && rpc_server_backlog_full(n->server)) {
        service_refuse(n, request, ERR_BUSY_NOW, NULL);
        return;
    }
    if (n->block_bytes_in_flight > 0 && n->block_bytes_in_flight + w->charged_bytes > NODE_BLOCK_BYTES_IN_FLIGHT) {
        service_refuse(n, request, ERR_BUSY_NOW, NULL);
        return;
    }
    n->block_bytes_in_flight += w->charged_bytes;
    n->block_moves += w->charged_bytes > 0;
    if (w->charged_bytes > 0)
        node_memory_used(n);
    CHECK(uv_queue_work(n->loop, &w->work, on_work, on_work_done) == 0);
}

static uint64_t map_version(struct node *n, struct arena *a)
{
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply reply;
    bool known = meta_query(replica_meta(n->replica), &query, a, &reply) == ERR_OK && reply.status == ERR_OK;
    return known ? reply.cluster.map_version : 0;
}

void service_block_report(struct node *n, struct rpc_request *request)
{
    if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    if (!n->leader_ready) {
        service_refuse(n, request, service_not_leader(n), NULL);
        return;
    }
    struct wire_block_info info;
    struct err_text why;
    enum err e = wire_block_info_decode(request->message, &request->arena, &info, &why);
    if (e == ERR_OK)
        e = node_registry_report(n, &info, arena_str(&request->arena, info.address), &why);
    struct wire_members members;
    node_members_describe(n, &members);
    members.map_version = map_version(n, &request->arena);
    struct meta_collection collection;
    meta_collection(replica_meta(n->replica), &collection);
    members.epoch = collection.epoch;
    members.released = collection.released;
    if (e == ERR_OK)
        rpc_reply(request, ERR_OK, wire_members_encode(&members, &request->arena), NULL);
    else
        service_refuse(n, request, e, why.text);
}
