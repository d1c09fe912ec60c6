/* xattr.c: rows of extended attributes. */
#include "base/check.h"
#include "meta/store.h"

enum err xattr_get(struct meta *m, uint64_t ino, struct slice name, struct slice *ret, bool *ret_found)
{
    struct schema_key key = schema_xattr(ino, name);
    struct slice value = {0};
    TRY(store_get(m, &key, &value, ret_found));
    return *ret_found ? row_xattr_decode(value, ret) : ERR_OK;
}

enum err xattr_put(struct meta *m, struct row_inode *i, struct slice name, struct slice value, bool was_there)
{
    struct schema_key key = schema_xattr(i->attr.ino, name);
    CHECK(name.size > 0 && name.size <= LIMIT_XATTR_NAME_BYTES && value.size <= LIMIT_XATTR_VALUE_BYTES);
    if (!was_there) {
        if (i->attr.xattrs >= LIMIT_XATTRS || i->xattr_list_bytes + name.size + 1 > LIMIT_XATTR_LIST_BYTES)
            return ERR_NOSPC;
        i->attr.xattrs++;
        i->xattr_list_bytes += (uint32_t)name.size + 1;
    }
    row_xattr_encode(value, &m->scratch);
    store_put_scratch(m, &key);
    return ERR_OK;
}

void xattr_delete(struct meta *m, struct row_inode *i, struct slice name)
{
    struct schema_key key = schema_xattr(i->attr.ino, name);
    CHECK(i->attr.xattrs > 0 && i->xattr_list_bytes > name.size);
    i->attr.xattrs--;
    i->xattr_list_bytes -= (uint32_t)name.size + 1;
    store_delete(m, &key);
}

enum err xattr_delete_all(struct meta *m, const struct row_inode *i)
{
    if (i->attr.xattrs == 0)
        return ERR_OK;
    struct schema_key first = schema_xattr(i->attr.ino, SLICE(NULL, 0));
    struct store_range range;
    struct slice key, value;
    unsigned count = 0;
    store_range_open_prefix(m, &range, &first, first.size);
    for (; store_range_get(&range, &key, &value) && count < i->attr.xattrs; store_range_next(&range), count++) {
        struct schema_key at = schema_xattr(i->attr.ino, slice_sub(key, first.size, key.size - first.size));
        store_delete(m, &at);
    }
    TRY(store_range_close(&range));
    return count == i->attr.xattrs ? ERR_OK : ERR_CORRUPT;
}
