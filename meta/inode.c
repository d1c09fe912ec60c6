#include <sys/stat.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/store.h"

static enum err decode(struct slice value, bool found, struct row_inode *ret)
{
    return found ? row_inode_decode(value, ret) : ERR_STALE;
}

enum err inode_get(struct meta *m, uint64_t ino, struct row_inode *ret)
{
    struct schema_key key = schema_inode(ino);
    struct slice value = {0};
    bool found;
    touch_seen(m, ino);
    TRY(store_get(m, &key, &value, &found));
    return decode(value, found, ret);
}

enum err inode_read(struct meta *m, uint64_t ino, struct arena *a, struct row_inode *ret)
{
    touch_seen(m, ino);
    return inode_peek(m, ino, a, ret);
}

enum err inode_peek(struct meta *m, uint64_t ino, struct arena *a, struct row_inode *ret)
{
    struct schema_key key = schema_inode(ino);
    struct slice value = {0};
    bool found;
    TRY(store_read(m, &key, a, &value, &found));
    return decode(value, found, ret);
}

enum err inode_get_named(struct meta *m, uint64_t ino, struct row_inode *ret)
{
    enum err e = inode_get(m, ino, ret);
    return e == ERR_STALE ? ERR_CORRUPT : e;
}

enum err inode_read_named(struct meta *m, uint64_t ino, struct arena *a, struct row_inode *ret)
{
    enum err e = inode_read(m, ino, a, ret);
    return e == ERR_STALE ? ERR_CORRUPT : e;
}

enum err inode_get_directory(struct meta *m, uint64_t ino, struct row_inode *ret)
{
    TRY(inode_get(m, ino, ret));
    return S_ISDIR(ret->attr.mode) ? ERR_OK : ERR_NOTDIR;
}

void inode_put(struct meta *m, const struct row_inode *i)
{
    struct schema_key key = schema_inode(i->attr.ino);
    touch_wrote(m, i->attr.ino);
    row_inode_encode(i, &m->scratch);
    store_put_scratch(m, &key);
}

void inode_make(struct meta *m, uint32_t mode, uint32_t uid, uint32_t gid, struct row_inode *ret)
{
    *ret = (struct row_inode){.attr = {.ino = m->next.next_id++,
                                       .mode = mode,
                                       .uid = uid,
                                       .gid = gid,
                                       .nlink = S_ISDIR(mode) ? 2 : 1,
                                       .atime_ns = m->time_ns,
                                       .mtime_ns = m->time_ns,
                                       .ctime_ns = m->time_ns,
                                       .btime_ns = m->time_ns}};
    ret->attr.content_id = ret->attr.ino;
    m->next.inodes++;
}

static void queue_contents(struct meta *m, const struct meta_attr *a)
{
    if (!S_ISREG(a->mode) || a->allocated == 0)
        return;
    struct schema_key key = schema_garbage(a->content_id);
    row_garbage_encode(a->size, &m->scratch);
    store_put_scratch(m, &key);
    m->garbage_from = MIN(m->garbage_from, a->content_id);
    CHECK(m->next.bytes >= a->allocated);
    m->next.bytes -= a->allocated;
}

void inode_drop_contents(struct meta *m, struct row_inode *i)
{
    queue_contents(m, &i->attr);
    i->attr.allocated = 0;
    i->attr.content_id = m->next.next_id++;
}

enum err inode_remove(struct meta *m, const struct row_inode *i)
{
    TRY(xattr_delete_all(m, i));
    queue_contents(m, &i->attr);
    struct schema_key key = schema_inode(i->attr.ino);
    touch_wrote(m, i->attr.ino);
    store_delete(m, &key);
    CHECK(m->next.inodes > 0);
    m->next.inodes--;
    return ERR_OK;
}

enum err inode_drop_link(struct meta *m, struct row_inode *i, uint64_t parent, struct slice name, bool *ret_orphaned)
{
    CHECK(i->attr.nlink > 0 && !S_ISDIR(i->attr.mode));
    if (i->parent == parent && slice_equal(i->name, name))
        i->parent = 0, i->name = SLICE(NULL, 0);
    i->attr.nlink--;
    i->attr.ctime_ns = m->time_ns;
    *ret_orphaned = i->attr.nlink == 0 && S_ISREG(i->attr.mode); /* nothing else is opened through a mount */
    if (*ret_orphaned)
        orphan_add(m, i->attr.ino);
    if (i->attr.nlink == 0 && !*ret_orphaned)
        return inode_remove(m, i);
    inode_put(m, i);
    return ERR_OK;
}
