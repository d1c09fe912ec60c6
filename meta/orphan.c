/* orphan.c: unlinked inodes, which live until the leader knows that no mount has them open (replica/orphans.h). */
#include "meta/store.h"

#define ROWS_PER_ORPHAN 4u /* besides its extended attributes */

void orphan_add(struct meta *m, uint64_t ino)
{
    struct schema_key key = schema_orphan(ino);
    bytes_u8(&m->scratch, 1);
    store_put_scratch(m, &key);
}

enum err orphan_release(struct meta *m, uint64_t ino)
{
    struct schema_key key = schema_orphan(ino);
    struct slice value = {0};
    struct row_inode i;
    bool found;
    TRY(store_get(m, &key, &value, &found));
    if (!found)
        return ERR_OK;
    TRY(inode_get_named(m, ino, &i));
    if (i.attr.nlink > 0)
        return ERR_CORRUPT;
    if (m->rows + ROWS_PER_ORPHAN + i.attr.xattrs > STORE_OPERATION_ROWS)
        return ERR_SPLIT;
    store_delete(m, &key);
    return inode_remove(m, &i);
}

enum err meta_orphans(struct meta *m, uint64_t from, uint64_t *inos, unsigned max, unsigned *ret_count)
{
    struct schema_key first = schema_orphan(from);
    struct store_range range;
    struct slice key, value;
    *ret_count = 0;
    store_range_open_prefix(m, &range, &first, 1);
    for (; *ret_count < max && store_range_get(&range, &key, &value); store_range_next(&range))
        inos[(*ret_count)++] = schema_key_u64(key, 1);
    return store_range_close(&range);
}
