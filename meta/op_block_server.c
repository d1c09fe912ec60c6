#include "meta/store.h"

#include <string.h>

/* The row as it is after the change. */
static struct meta_block_server changed(const struct meta_block_server *old, const struct meta_block_server *by)
{
    struct meta_block_server row = *old;
    switch (by->change) {
    case META_SERVER_REGISTER:
        memcpy(row.address, by->address, sizeof row.address);
        memcpy(row.zone, by->zone, sizeof row.zone);
        if (!row.weight_fixed)
            row.weight = by->weight;
        break;
    case META_SERVER_DRAIN:
    case META_SERVER_UNDRAIN:
        row.draining = by->change == META_SERVER_DRAIN;
        break;
    case META_SERVER_WEIGHT:
        row.weight = by->weight;
        row.weight_fixed = true;
        break;
    case META_SERVER_REMOVE:
        break;
    }
    return row;
}

OP(block_server)
{
    const struct meta_block_server *b = &c->block_server;
    struct schema_key key = schema_block_server(b->id), any = schema_block_server(0);
    struct store_range range;
    struct slice row_key, value;
    unsigned count = 0, others = 0; /* others that own blocks */
    bool known = false;
    struct meta_block_server row = {.id = b->id, .weight = b->weight};
    memcpy(row.address, b->address, sizeof row.address);
    memcpy(row.zone, b->zone, sizeof row.zone);
    enum err e = ERR_OK;
    store_range_open_prefix(m, &range, &any, 2);
    for (; e == ERR_OK && store_range_get(&range, &row_key, &value); store_range_next(&range)) {
        struct meta_block_server other;
        e = row_block_server_decode(row_key, value, &other);
        count++;
        if (other.id != b->id)
            others += !other.draining;
        else if (e == ERR_OK)
            known = true, row = changed(&other, b);
    }
    enum err closed = store_range_close(&range);
    TRY_OP(e);
    TRY_OP(closed);
    if (!known && b->change != META_SERVER_REGISTER)
        return outcome(r, ERR_NOENT);
    if (!known && count >= LIMIT_BLOCK_SERVERS)
        return outcome(r, ERR_NOSPC);
    if (b->change == META_SERVER_DRAIN && others == 0)
        return outcome(r, ERR_NOT_POSSIBLE);
    if (b->change == META_SERVER_REMOVE) {
        store_delete(m, &key);
    } else {
        row_block_server_encode(&row, &m->scratch);
        store_put_scratch(m, &key);
    }
    m->next_cluster.map_version++;
    m->cluster_changed = true;
    return outcome(r, ERR_OK);
}
