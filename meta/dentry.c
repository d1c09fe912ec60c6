#include "base/check.h"
#include "meta/store.h"

uint64_t dentry_cookie(const struct row_cluster *cluster, struct slice name)
{
    uint64_t cookie = siphash64(cluster->cookie_key, name) >> 1;
    return cookie < SCHEMA_COOKIE_FIRST ? SCHEMA_COOKIE_FIRST : cookie;
}

enum err dentry_get(struct meta *m, uint64_t parent, struct slice name, struct row_dentry *ret, bool *ret_found)
{
    struct schema_key key = schema_dentry(parent, dentry_cookie(&m->cluster, name), name);
    struct slice value = {0};
    TRY(store_get(m, &key, &value, ret_found));
    return *ret_found ? row_dentry_decode(value, ret) : ERR_OK;
}

void dentry_put(struct meta *m, uint64_t parent, struct slice name, const struct row_inode *child)
{
    struct schema_key key = schema_dentry(parent, dentry_cookie(&m->cluster, name), name);
    struct row_dentry row = {.ino = child->attr.ino, .type_mode = child->attr.mode & 0170000};
    row_dentry_encode(&row, &m->scratch);
    store_put_scratch(m, &key);
}

void dentry_delete(struct meta *m, uint64_t parent, struct slice name)
{
    struct schema_key key = schema_dentry(parent, dentry_cookie(&m->cluster, name), name);
    store_delete(m, &key);
}

void dentry_parent_changed(struct meta *m, struct row_inode *parent, int entries, int subdirectories)
{
    CHECK((int64_t)parent->attr.size + entries >= 0);
    parent->attr.size = (uint64_t)((int64_t)parent->attr.size + entries);
    parent->attr.nlink = (uint32_t)((int64_t)parent->attr.nlink + subdirectories);
    parent->attr.mtime_ns = parent->attr.ctime_ns = m->time_ns;
    inode_put(m, parent);
}
