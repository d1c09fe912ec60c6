#include "meta/store.h"

OP(block_server)
{
    const struct meta_block_server *b = &c->block_server;
    struct schema_key key = schema_block_server(b->id), any = schema_block_server(0);
    struct store_range range;
    struct slice row_key, value;
    unsigned count = 0;
    bool known = false;
    enum err e = ERR_OK;
    store_range_open_prefix(m, &range, &any, 2);
    for (; e == ERR_OK && store_range_get(&range, &row_key, &value); store_range_next(&range)) {
        struct meta_block_server other;
        e = row_block_server_decode(row_key, value, &other);
        known = known || other.id == b->id;
        count++;
    }
    enum err closed = store_range_close(&range);
    TRY_OP(e);
    TRY_OP(closed);
    if (!known && count >= LIMIT_BLOCK_SERVERS)
        return outcome(r, ERR_NOSPC);
    row_block_server_encode(b, &m->scratch);
    store_put_scratch(m, &key);
    m->next_cluster.map_version++;
    m->cluster_changed = true;
    return outcome(r, ERR_OK);
}
