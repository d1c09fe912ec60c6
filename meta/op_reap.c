/* op_reap.c: removes a bounded part of contents that no inode names any more. */
#include "meta/store.h"

#define REAP_EXTENTS_MAX (LIMIT_COMMAND_ROWS / 2 - 8)

OP(reap)
{
    struct schema_key key = schema_garbage(c->reap.content_id);
    struct slice value = {0};
    bool found;
    TRY_OP(store_get(m, &key, &value, &found));
    if (!found)
        return outcome(r, ERR_NOT_FOUND);
    /* The bytes were taken off the counts when the contents died. */
    uint64_t end;
    TRY_OP(content_trim(m, c->reap.content_id, 0, REAP_EXTENTS_MAX, NULL, &end));
    if (end == 0)
        store_delete(m, &key);
    *r = (struct meta_reply){.more = end > 0};
    return ERR_OK;
}
