/* Every block that files name, in the order of ids, a page at a time. A page is what the leader's newest state names;
 * what is written behind the page meanwhile is not looked at, and what is removed is found out when it is missed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/fsck.h"
#include "base/mem.h"
#include "blockstore/placement.h"
#include "proto/wire_meta.h"

#define PROGRESS_PARTS 65536u

/* Those that were in the map before keep their place, their connection and what was found of them: sets of servers are
 * by place. One that is in the map no more owns nothing. */
static struct fsck_server *place_for(struct fsck *f, uint32_t id)
{
    for (unsigned i = 0; i < f->server_count; i++)
        if (f->servers[i].id == id)
            return &f->servers[i];
    if (f->server_count == LIMIT_BLOCK_SERVERS)
        return NULL;
    struct fsck_server *s = &f->servers[f->server_count++];
    *s = (struct fsck_server){.id = id};
    return s;
}

static void take_server(struct fsck *f, const struct meta_block_server *from)
{
    struct fsck_server *s = place_for(f, from->id);
    if (!s)
        return;
    if (strcmp(s->address, from->address) != 0) {
        if (s->channel)
            rpc_channel_free(s->channel);
        s->channel = NULL;
        snprintf(s->address, sizeof s->address, "%s", from->address);
    }
    s->weight = from->weight;
    s->zone = placement_zone(from->zone);
    s->draining = from->draining;
}

enum err fsck_map(struct fsck *f, struct err_text *why)
{
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply reply;
    struct slice answer;
    TRY(fsck_ask_leader(f, METHOD_META_QUERY, wire_meta_query_encode(&query, &f->arena), &answer, why));
    TRY(wire_meta_query_reply_decode(answer, &f->arena, &reply, why));
    if (reply.status != ERR_OK)
        return err_explain(why, reply.status, "%s", err_message(reply.status));
    f->replicas = reply.cluster.replicas;
    for (unsigned i = 0; i < f->server_count; i++)
        f->servers[i].draining = true;
    for (unsigned i = 0; i < reply.cluster.server_count; i++)
        take_server(f, &reply.cluster.servers[i]);
    return ERR_OK;
}

void fsck_owners(const struct fsck *f, struct fsck_block *b)
{
    struct placement_server servers[LIMIT_BLOCK_SERVERS];
    unsigned order[LIMIT_BLOCK_SERVERS];
    for (unsigned i = 0; i < f->server_count; i++)
        servers[i] = (struct placement_server){.id = f->servers[i].id,
                                               .weight = f->servers[i].weight,
                                               .zone = f->servers[i].zone,
                                               .last = f->servers[i].draining};
    placement_order(servers, f->server_count, &b->id, order);
    b->owners = placement_owners(servers, f->server_count, order, f->replicas);
}

bool fsck_block_is_well(const struct fsck_block *b)
{
    return b->owners != 0 && (b->good & b->owners) == b->owners;
}

uint64_t fsck_everybody(const struct fsck *f)
{
    return f->server_count == LIMIT_BLOCK_SERVERS ? UINT64_MAX : FSCK_BIT(f->server_count) - 1;
}

bool fsck_block_is_lost(const struct fsck *f, const struct fsck_block *b)
{
    return b->good == 0 && (b->bad | b->absent) == fsck_everybody(f);
}

/* Servers that don't answer are told of as such, and not for each of their blocks. A block that has no good copy on
 * those that do answer is doubted all the same. */
static bool is_doubted(const struct fsck *f, const struct fsck_block *b)
{
    uint64_t silent = 0;
    for (unsigned i = 0; i < f->server_count; i++)
        if (f->servers[i].why.text[0])
            silent |= FSCK_BIT(i);
    return !fsck_block_is_well(b) && ((b->owners & ~silent & ~b->good) != 0 || b->good == 0);
}

static void judge_page(struct fsck *f, const struct fsck_block *blocks, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct fsck_block *b = &blocks[i];
        uint64_t unasked = b->ask & ~(b->good | b->bad | b->absent);
        f->blocks++;
        f->copies += (unsigned)__builtin_popcountll(b->good);
        for (unsigned s = 0; s < f->server_count; s++)
            f->servers[s].unchecked += (unasked & FSCK_BIT(s)) != 0;
        if (!is_doubted(f, b))
            continue;
        if (f->doubt_count == FSCK_DOUBTS_MAX) {
            f->doubts_dropped++;
            continue;
        }
        if (f->doubt_count % FSCK_PAGE_BLOCKS == 0)
            f->doubts = mem_realloc(f->doubts, (f->doubt_count + FSCK_PAGE_BLOCKS) * sizeof *f->doubts);
        f->doubts[f->doubt_count++] = *b;
    }
}

static void print_progress(const struct fsck *f, const struct sha256 *through)
{
    unsigned position = (unsigned)through->bytes[0] << 8 | through->bytes[1];
    if (f->progress)
        fprintf(stderr, "\rsurfctl: %" PRIu64 " blocks checked, %.0f%%%s", f->blocks,
                (double)(position + 1) * 100 / PROGRESS_PARTS, position + 1 == PROGRESS_PARTS ? "\n" : "");
}

enum err fsck_blocks(struct fsck *f, struct err_text *why)
{
    struct fsck_range range = {.after = {{0}}};
    struct sha256 last;
    memset(last.bytes, 0xff, sizeof last.bytes);
    while (memcmp(range.after.bytes, last.bytes, SHA256_SIZE) < 0) {
        struct wire_ids_query query = {.after = range.after, .upto = last, .max = FSCK_PAGE_BLOCKS};
        struct wire_ids page;
        struct slice answer;
        arena_reset(&f->arena);
        TRY(fsck_map(f, why));
        TRY(fsck_ask_leader(f, METHOD_ADMIN_REFERENCES, wire_ids_query_encode(&query, &f->arena), &answer, why));
        TRY(wire_ids_decode(answer, &f->arena, &page, why));
        if (memcmp(page.through.bytes, range.after.bytes, SHA256_SIZE) <= 0)
            return err_explain(why, ERR_PROTOCOL, "the leader lists the blocks without end");
        struct fsck_block *blocks = arena_zalloc(&f->arena, (page.count + 1) * sizeof *blocks);
        for (unsigned i = 0; i < page.count; i++) {
            blocks[i].id = page.ids[i];
            fsck_owners(f, &blocks[i]);
            blocks[i].ask = blocks[i].owners;
        }
        range.upto = page.through;
        fsck_ask_blocks(f, blocks, page.count, &range);
        judge_page(f, blocks, page.count);
        range.after = page.through;
        print_progress(f, &range.after);
    }
    return ERR_OK;
}
