/* op_reap.c: removes a bounded part of contents that no inode names any more: as many of the oldest as fit in one
 * command, beginning with the one that the leader named. */
#include "meta/store.h"

#define REAP_CONTENTS_MAX 512u
#define ROWS_PER_EXTENT 2u /* the extent and the count of its block */
#define ROWS_SPARE 16u

/* The queued contents from `first` on. */
static enum err queued_from(struct meta *m, uint64_t first, uint64_t ids[REAP_CONTENTS_MAX], unsigned *ret_count,
                            bool *ret_more)
{
    struct schema_key from = schema_garbage(first);
    struct store_range range;
    struct slice key, value;
    *ret_count = 0;
    *ret_more = false;
    store_range_open_prefix(m, &range, &from, 1);
    for (; store_range_get(&range, &key, &value) && !*ret_more; store_range_next(&range)) {
        if (*ret_count == REAP_CONTENTS_MAX)
            *ret_more = true;
        else
            ids[(*ret_count)++] = schema_key_u64(key, 1);
    }
    return store_range_close(&range);
}

OP(reap)
{
    uint64_t ids[REAP_CONTENTS_MAX];
    unsigned count;
    bool more;
    TRY_OP(queued_from(m, c->reap.content_id, ids, &count, &more));
    if (count == 0 || ids[0] != c->reap.content_id)
        return outcome(r, ERR_NOT_FOUND);
    for (unsigned i = 0; i < count; i++) {
        if (m->rows + ROWS_SPARE >= LIMIT_COMMAND_ROWS) {
            more = true;
            break;
        }
        /* The bytes were taken off the counts when the contents died. */
        uint64_t end;
        TRY_OP(
            content_trim(m, ids[i], 0, (LIMIT_COMMAND_ROWS - m->rows - ROWS_SPARE) / ROWS_PER_EXTENT + 1, NULL, &end));
        if (end > 0) {
            more = true;
            break;
        }
        struct schema_key key = schema_garbage(ids[i]);
        store_delete(m, &key);
    }
    *r = (struct meta_reply){.more = more};
    return ERR_OK;
}
