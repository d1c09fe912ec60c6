/* op_clone.c: bytes of one file become bytes of another, or of another place in it: the same blocks are named once
 * more, so no contents move. A bounded piece at a time; holes are copied as holes. */
#include <sys/stat.h>

#include "base/mem.h"
#include "meta/extent.h"
#include "meta/store.h"

/* What is in the source's range, in file order, in the arena of the apply. */
struct piece {
    struct meta_extent *extents;
    unsigned count;
    uint64_t length; /* of the range that was looked at: shorter than asked for when there are more extents */
};

static enum err read_piece(struct meta *m, uint64_t content_id, uint64_t from, uint64_t length, struct piece *ret)
{
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    struct piece p = {.extents = arena_alloc(&m->arena, LIMIT_CLONE_EXTENTS * sizeof *p.extents), .length = length};
    content_range_open(m, &range, content_id, from, from + length);
    for (; store_range_get(&range, &key, &value); store_range_next(&range)) {
        struct meta_extent extent;
        e = row_extent_decode(key, value, &extent);
        if (e != ERR_OK || extent.file_offset >= from + length)
            break;
        if (p.count == LIMIT_CLONE_EXTENTS) {
            p.length = extent.file_offset - from;
            break;
        }
        p.extents[p.count++] = extent;
    }
    enum err closed = store_range_close(&range);
    TRY(e);
    TRY(closed);
    *ret = p;
    return ERR_OK;
}

static struct meta_extent moved_part(const struct meta_extent *e, uint64_t from, uint64_t to, uint64_t new_offset)
{
    uint64_t begin = MAX(e->file_offset, from), end = MIN(e->file_offset + e->length, to);
    struct meta_extent part = meta_extent_part(e, begin, end);
    part.file_offset = begin - from + new_offset;
    return part;
}

static enum err put_hole(struct content_cutter *cutter, uint64_t from, uint64_t to)
{
    if (from == to)
        return ERR_OK;
    return content_replace(cutter, &(struct meta_extent){.file_offset = from, .length = to - from});
}

static enum err put_piece(struct meta *m, const struct piece *p, uint64_t from, struct meta_attr *a, uint64_t offset)
{
    struct content_cutter cutter;
    enum err e = ERR_OK;
    uint64_t done = offset, end = offset + p->length;
    content_begin(&cutter, m, a->content_id, offset, end, &a->allocated);
    cutter.size = a->size;
    for (unsigned n = 0; e == ERR_OK && n < p->count; n++) {
        struct meta_extent part = moved_part(&p->extents[n], from, from + p->length, offset);
        e = put_hole(&cutter, done, part.file_offset);
        if (e == ERR_OK)
            e = content_replace(&cutter, &part);
        done = part.file_offset + part.length;
    }
    if (e == ERR_OK)
        e = put_hole(&cutter, done, end);
    enum err ended = content_end(&cutter);
    if (cutter.fragments)
        fragmented_put(m, a->ino, a->version + 1);
    return e != ERR_OK ? e : ended;
}

static enum err check_regular(const struct meta_attr *a)
{
    if (S_ISREG(a->mode))
        return ERR_OK;
    return S_ISDIR(a->mode) ? ERR_ISDIR : ERR_INVAL;
}

static bool overlap(uint64_t a, uint64_t b, uint64_t length)
{
    return a < b ? b - a < length : a - b < length;
}

static enum err take(struct meta *m, const struct meta_command *c, struct row_inode *source, struct row_inode *i,
                     struct meta_reply *r)
{
    if (i->attr.nlink == 0)
        return outcome(r, ERR_STALE);
    if (c->clone.version <= i->attr.version)
        return outcome(r, ERR_INVAL);
    i->attr.version = c->clone.version;
    i->attr.ctime_ns = m->time_ns;
    if (source->attr.ino != i->attr.ino) {
        inode_drop_contents(m, i);
        /* The source's id names rows that are now ino's; it gets the fresh one, under which there are none. */
        uint64_t empty_id = i->attr.content_id;
        i->attr.content_id = source->attr.content_id;
        i->attr.allocated = source->attr.allocated;
        i->attr.size = source->attr.size;
        i->attr.mtime_ns = m->time_ns;
        source->attr.content_id = empty_id;
        source->attr.allocated = source->attr.size = 0;
        source->attr.version++;
        source->attr.ctime_ns = source->attr.mtime_ns = m->time_ns;
        if (c->clone.kill_set_id)
            privilege_kill_set_id(&i->attr);
        TRY(privilege_kill_capability(m, i));
        inode_put(m, source);
    }
    inode_put(m, i);
    *r = (struct meta_reply){.attr = i->attr, .has_attr = true, .offset = i->attr.size};
    return ERR_OK;
}

OP(clone)
{
    struct row_inode source, i;
    uint64_t from = c->clone.source_offset, offset = c->clone.offset, length = c->clone.length;
    TRY_OP(inode_get(m, c->clone.source, &source));
    TRY_OP(inode_get(m, c->clone.ino, &i));
    TRY_OP(check_regular(&source.attr));
    TRY_OP(check_regular(&i.attr));
    if (length == 0 || length > META_SIZE_MAX || from > META_SIZE_MAX - length || offset > META_SIZE_MAX - length)
        return outcome(r, ERR_INVAL);
    if (c->clone.has_expected_version && c->clone.expected_version != i.attr.version) {
        *r = (struct meta_reply){.status = ERR_VERSION, .attr = i.attr, .has_attr = true};
        return ERR_OK;
    }
    if (c->clone.take)
        return take(m, c, &source, &i, r);
    if (c->clone.source == c->clone.ino && overlap(from, offset, length))
        return outcome(r, ERR_INVAL);
    struct piece p = {0};
    if (from < source.attr.size) {
        TRY_OP(read_piece(m, source.attr.content_id, from, MIN(length, source.attr.size - from), &p));
        TRY_OP(put_piece(m, &p, from, &i.attr, offset));
        i.attr.size = MAX(i.attr.size, offset + p.length);
        i.attr.version++;
        i.attr.ctime_ns = i.attr.mtime_ns = m->time_ns;
        if (c->clone.kill_set_id)
            privilege_kill_set_id(&i.attr);
        TRY(privilege_kill_capability(m, &i));
        inode_put(m, &i);
    }
    *r = (struct meta_reply){.attr = i.attr, .has_attr = true, .offset = p.length};
    return ERR_OK;
}
