/* op_reap.c: removes a bounded part of contents that no inode names any more: as many of the oldest as fit in one
 * command, beginning with the one that the leader named. */
#include "meta/store.h"

#define REAP_CONTENTS_MAX 512u
#define ROWS_PER_EXTENT 2u /* the extent and the count of its block */
/* Well below what a command may touch: nobody waits for it, but everybody waits while it is applied. */
#define REAP_ROWS_MAX 1024u

struct dead {
    uint64_t content_id, end; /* no extent reaches behind end */
};

/* The queued contents from `first` on. */
static enum err queued_from(struct meta *m, uint64_t first, struct dead list[REAP_CONTENTS_MAX], unsigned *ret_count,
                            bool *ret_more)
{
    struct schema_key from = schema_garbage(first);
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    *ret_count = 0;
    *ret_more = false;
    store_range_open_prefix(m, &range, &from, 1);
    for (; e == ERR_OK && !*ret_more && store_range_get(&range, &key, &value); store_range_next(&range)) {
        if (*ret_count == REAP_CONTENTS_MAX) {
            *ret_more = true;
        } else {
            struct dead *d = &list[(*ret_count)++];
            d->content_id = schema_key_u64(key, 1);
            e = row_garbage_decode(value, &d->end);
        }
    }
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}

OP(reap)
{
    struct dead list[REAP_CONTENTS_MAX];
    unsigned count;
    bool more;
    TRY_OP(queued_from(m, c->reap.content_id, list, &count, &more));
    if (count == 0 || list[0].content_id != c->reap.content_id)
        return outcome(r, ERR_NOT_FOUND);
    for (unsigned i = 0; i < count; i++) {
        struct schema_key key = schema_garbage(list[i].content_id);
        if (m->rows >= REAP_ROWS_MAX) {
            more = true;
            break;
        }
        /* The bytes were taken off the counts when the contents died. */
        uint64_t end;
        unsigned max = (REAP_ROWS_MAX - m->rows) / ROWS_PER_EXTENT + 1;
        TRY_OP(content_trim(m, list[i].content_id, 0, list[i].end, max, NULL, &end));
        if (end > 0) {
            row_garbage_encode(end, &m->scratch);
            store_put_scratch(m, &key);
            more = true;
            break;
        }
        store_delete(m, &key);
    }
    *r = (struct meta_reply){.more = more};
    return ERR_OK;
}
