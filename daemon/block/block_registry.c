#include "daemon/block/block_registry.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void block_registry_clear(struct block_registry *r)
{
    *r = (struct block_registry){0};
}

struct block_registry_entry *block_registry_find(struct block_registry *r, uint32_t id)
{
    for (unsigned i = 0; i < r->count; i++)
        if (r->entries[i].id == id)
            return &r->entries[i];
    return NULL;
}

/* NULL when there are too many. */
static struct block_registry_entry *find_or_add(struct block_registry *r, uint32_t id)
{
    struct block_registry_entry *e = block_registry_find(r, id);
    if (e || r->count == LIMIT_BLOCK_SERVERS)
        return e;
    e = &r->entries[r->count++];
    *e = (struct block_registry_entry){.id = id};
    return e;
}

void block_registry_registered(struct block_registry *r, const struct meta_block_server *server)
{
    struct block_registry_entry *e = find_or_add(r, server->id);
    if (e)
        e->server = *server;
}

void block_registry_changed(struct block_registry *r, const struct meta_block_server *by)
{
    struct block_registry_entry *e = find_or_add(r, by->id);
    if (!e)
        return;
    struct meta_block_server *s = &e->server;
    switch (by->change) {
    case META_SERVER_REGISTER:
        s->id = by->id;
        snprintf(s->address, sizeof s->address, "%s", by->address);
        snprintf(s->zone, sizeof s->zone, "%s", by->zone);
        if (!s->weight_fixed)
            s->weight = by->weight;
        break;
    case META_SERVER_DRAIN:
    case META_SERVER_UNDRAIN:
        s->draining = by->change == META_SERVER_DRAIN;
        break;
    case META_SERVER_WEIGHT:
        s->weight = by->weight;
        s->weight_fixed = true;
        break;
    case META_SERVER_REMOVE:
        *s = (struct meta_block_server){0};
        break;
    }
}

bool block_registry_reporting(const struct block_registry_entry *e, int64_t now_ns)
{
    return e->reported_ns > 0 && now_ns - e->reported_ns < BLOCK_REGISTRY_RECENT_NS;
}

static bool weight_changed(uint64_t old, uint64_t now)
{
    return (now > old ? now - old : old - now) > old / 10;
}

enum err block_registry_report(struct block_registry *r, uint32_t id, const char *address,
                               const struct block_report *report, int64_t now_ns, struct meta_block_server *ret,
                               bool *ret_register, struct err_text *why)
{
    struct block_registry_entry *e = find_or_add(r, id);
    if (!e)
        return err_explain(why, ERR_NOSPC, "block server %u at %.100s is over the limit of %u", id, address,
                           LIMIT_BLOCK_SERVERS);
    if (block_registry_reporting(e, now_ns) && strcmp(e->reported_address, address) != 0)
        return err_explain(why, ERR_EXIST,
                           "block server id %u is used by both %.80s and %.80s: give one of them another --id", id,
                           e->reported_address, address);
    e->reported_ns = now_ns;
    e->report = *report;
    snprintf(e->reported_address, sizeof e->reported_address, "%s", address);

    struct meta_block_server server = {.id = id, .weight = MAX(report->disk_total / MIB, 1)};
    snprintf(server.address, sizeof server.address, "%s", address);
    snprintf(server.zone, sizeof server.zone, "%s", report->zone);
    bool other_weight = !e->server.weight_fixed && weight_changed(e->server.weight, server.weight);
    bool changed = e->server.id == 0 || strcmp(e->server.address, address) != 0 || other_weight ||
                   strcmp(e->server.zone, report->zone) != 0;
    *ret_register = changed && !e->proposed;
    if (*ret_register) {
        *ret = server;
        e->proposed = true;
    }
    return ERR_OK;
}

void block_registry_settled(struct block_registry *r, uint32_t id)
{
    struct block_registry_entry *e = block_registry_find(r, id);
    if (e)
        e->proposed = false;
}
