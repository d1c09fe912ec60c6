/* op_commit.c: new contents for exactly the byte ranges that were written. Never conflicts unless asked to. */
#include <sys/stat.h>

#include "base/mem.h"
#include "meta/extent.h"
#include "meta/store.h"

/* A commit of so many short extents leaves a fragmented file, whatever was there before. */
#define SHORT_EXTENTS_MAX 7u

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
    unsigned short_count = 0;
    enum err e = ERR_OK;
    content_begin(&cutter, m, a->content_id, base + extents[0].file_offset, end, &a->allocated);
    cutter.size = a->size;
    for (unsigned n = 0; e == ERR_OK && n < count; n++) {
        struct meta_extent placed = extents[n];
        placed.file_offset += base;
        e = content_replace(&cutter, &placed);
        short_count += !meta_extent_is_hole(&placed) && placed.length < CONTENT_SHORT_BYTES;
    }
    enum err ended = content_end(&cutter);
    if (cutter.fragments || short_count > SHORT_EXTENTS_MAX)
        fragmented_put(m, a->ino, a->version + 1);
    *ret_end = end;
    return e != ERR_OK ? e : ended;
}

/* The writer has shown its own programs the time of the write as mtime and as ctime: both stay what they were seen to
 * be. Unless ctime would then not move on, or be of a clock that is ahead of the leader's. */
static void set_times(struct meta_attr *a, const struct meta_command *c, int64_t now_ns)
{
    int64_t mtime_ns = c->commit.has_mtime ? c->commit.mtime_ns : now_ns;
    a->mtime_ns = mtime_ns;
    a->ctime_ns = mtime_ns > a->ctime_ns && mtime_ns < now_ns ? mtime_ns : now_ns;
}

static bool names_blocks(const struct meta_command *c)
{
    for (unsigned i = 0; i < c->commit.extent_count; i++)
        if (!meta_extent_is_hole(&c->commit.extents[i]))
            return true;
    return false;
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
    if (names_blocks(c) && meta_epoch_is_stale(c->commit.epoch, m->state.epoch) && !PLANTED(COLLECT_STALE_COMMIT))
        return outcome(r, ERR_STALE_EPOCH);
    if (c->commit.size_at_least > META_SIZE_MAX)
        return outcome(r, ERR_FBIG);
    for (unsigned n = 0; n < c->commit.inlined_count; n++)
        TRY_OP(inline_block_put(m, i.attr.ino, i.attr.version + 1, c->commit.inlined[n]));
    uint64_t base = c->commit.append ? i.attr.size : 0, end;
    TRY_OP(replace(m, &i.attr, c->commit.extents, c->commit.extent_count, base, &end));
    /* Nothing may lie behind the end of file: it would come to light when the file grows. */
    i.attr.size = MAX(i.attr.size, MAX(end, c->commit.append ? 0 : c->commit.size_at_least));
    i.attr.version++;
    set_times(&i.attr, c, m->time_ns);
    if (c->commit.kill_set_id)
        privilege_kill_set_id(&i.attr);
    TRY(privilege_kill_capability(m, &i));
    inode_put(m, &i);
    *r = (struct meta_reply){.attr = i.attr, .has_attr = true, .offset = base};
    return ERR_OK;
}
