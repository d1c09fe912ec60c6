/* block_registry.h: the leader's knowledge of the block servers: what is registered in the replicated state, and what
 * each reported last. Pure; the caller gives the time (clock_boot_ns), one thread. */
#pragma once

#include "meta/types.h"
#include "proto/wire_block.h"

#define BLOCK_REGISTRY_RECENT_NS (10 * INT64_C(1000000000)) /* a report counts as current for this long */

struct block_report {
    uint64_t blocks, block_bytes, disk_total, disk_free; /* bytes */
    uint64_t disk_kept;
    bool full, failed; /* as wire_block_info */
    struct wire_block_upkeep upkeep;
    char zone[LIMIT_ZONE_BYTES + 1];
};

struct block_registry_entry {
    struct meta_block_server server; /* as registered; id 0: not yet */
    bool proposed;                   /* a registration is under way */
    int64_t reported_ns;             /* 0: never */
    char reported_address[LIMIT_ADDRESS_BYTES + 1];
    struct block_report report;
    uint32_t id;
};

struct block_registry {
    struct block_registry_entry entries[LIMIT_BLOCK_SERVERS];
    unsigned count;
};

void block_registry_clear(struct block_registry *r);
/* What the replicated state says. */
void block_registry_registered(struct block_registry *r, const struct meta_block_server *server);
/* A command has been applied to it. */
void block_registry_changed(struct block_registry *r, const struct meta_block_server *by);
struct block_registry_entry *block_registry_find(struct block_registry *r, uint32_t id);
/* Takes a report. ERR_OK with *ret_register: `*ret` is to be registered (new, or address, zone or weight have changed);
 * the entry is marked `proposed` until block_registry_settled. ERR_EXIST when another address reports under this id at
 * the same time, ERR_NOSPC over LIMIT_BLOCK_SERVERS, both with why. */
enum err block_registry_report(struct block_registry *r, uint32_t id, const char *address,
                               const struct block_report *report, int64_t now_ns, struct meta_block_server *ret,
                               bool *ret_register, struct err_text *why) MUST_USE;
void block_registry_settled(struct block_registry *r, uint32_t id);
bool block_registry_reporting(const struct block_registry_entry *e, int64_t now_ns);
