/* op_commit.c: new contents for exactly the byte ranges that were written. Never conflicts unless asked to. */
#include <sys/stat.h>

#include "base/mem.h"
#include "meta/extent.h"
#include "meta/store.h"

static enum err place(struct content_cutter *cutter, struct meta_extent e, uint64_t base, uint64_t *end)
{
    if (e.file_offset > META_SIZE_MAX - base || e.length > META_SIZE_MAX - base - e.file_offset)
        return ERR_FBIG;
    e.file_offset += base;
    *end = MAX(*end, e.file_offset + e.length);
    return content_replace(cutter, &e);
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
    uint64_t base = c->commit.append ? i.attr.size : 0, end = 0;
    struct content_cutter cutter;
    content_begin(&cutter, m, i.attr.content_id, &i.attr.allocated);
    for (unsigned n = 0; n < c->commit.extent_count; n++)
        TRY_OP(place(&cutter, c->commit.extents[n], base, &end));
    TRY_OP(content_end(&cutter));
    /* Nothing may lie behind the end of file: it would come to light when the file grows. */
    i.attr.size = MAX(i.attr.size, MAX(end, c->commit.append ? 0 : c->commit.size_at_least));
    i.attr.version++;
    i.attr.ctime_ns = m->time_ns;
    i.attr.mtime_ns = c->commit.has_mtime ? c->commit.mtime_ns : m->time_ns;
    inode_put(m, &i);
    *r = (struct meta_reply){.attr = i.attr, .has_attr = true, .offset = base};
    return ERR_OK;
}
