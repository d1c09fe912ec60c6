/* op_commit.c: new contents for exactly the byte ranges that were written. Never conflicts unless asked to. */
#include <sys/stat.h>

#include "base/mem.h"
#include "meta/extent.h"
#include "meta/store.h"

/* The extents take the place of what was in their ranges; *ret_end is where the last one ends. */
static enum err replace(struct meta *m, struct meta_attr *a, const struct meta_extent *extents, unsigned count,
                        uint64_t base, uint64_t *ret_end)
{
    *ret_end = 0;
    if (count == 0)
        return ERR_OK;
    const struct meta_extent *last = &extents[count - 1];
    if (last->file_offset + last->length > META_SIZE_MAX - base)
        return ERR_FBIG;
    uint64_t end = base + last->file_offset + last->length;
    struct content_cutter cutter;
    enum err e = ERR_OK;
    content_begin(&cutter, m, a->content_id, base + extents[0].file_offset, end, &a->allocated);
    for (unsigned n = 0; e == ERR_OK && n < count; n++) {
        struct meta_extent placed = extents[n];
        placed.file_offset += base;
        e = content_replace(&cutter, &placed);
    }
    enum err ended = content_end(&cutter);
    *ret_end = end;
    return e != ERR_OK ? e : ended;
}

OP(commit)
{
    struct row_inode i;
    struct err_text why;
    TRY_OP(inode_get(m, c->commit.ino, &i));
    if (!S_ISREG(i.attr.mode))
        return outcome(r, S_ISDIR(i.attr.mode) ? ERR_ISDIR : ERR_INVAL);
    if (c->commit.has_expected_version && c->commit.expected_version != i.attr.version) {
        *r = (struct meta_reply){.status = ERR_VERSION, .attr = i.attr, .has_attr = true};
        return ERR_OK;
    }
    TRY_OP(extent_validate_list(c->commit.extents, c->commit.extent_count, &why));
    if (c->commit.size_at_least > META_SIZE_MAX)
        return outcome(r, ERR_FBIG);
    uint64_t base = c->commit.append ? i.attr.size : 0, end;
    TRY_OP(replace(m, &i.attr, c->commit.extents, c->commit.extent_count, base, &end));
    /* Nothing may lie behind the end of file: it would come to light when the file grows. */
    i.attr.size = MAX(i.attr.size, MAX(end, c->commit.append ? 0 : c->commit.size_at_least));
    i.attr.version++;
    i.attr.ctime_ns = m->time_ns;
    i.attr.mtime_ns = c->commit.has_mtime ? c->commit.mtime_ns : m->time_ns;
    inode_put(m, &i);
    *r = (struct meta_reply){.attr = i.attr, .has_attr = true, .offset = base};
    return ERR_OK;
}
