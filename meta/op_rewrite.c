/* op_rewrite.c: a fragmented part of a file is named as one block. Its bytes stay what they are, so nothing of the
 * inode changes; the only precondition is that its extents are those that the block was made of. Ids of blocks say what
 * is in them: it does not matter whether the extents were different ones in between. */
#include <sys/stat.h>

#include "base/mem.h"
#include "base/plant.h"
#include "meta/extent.h"
#include "meta/store.h"

static bool is_the_same(const struct meta_extent *a, const struct meta_extent *b)
{
    return a->file_offset == b->file_offset && a->length == b->length && a->block_offset == b->block_offset &&
           sha256_equal(&a->block, &b->block);
}

static struct meta_extent cut_to(const struct meta_extent *e, uint64_t from, uint64_t to)
{
    struct meta_extent part = *e;
    uint64_t begin = MAX(e->file_offset, from), end = MIN(e->file_offset + e->length, to);
    part.file_offset = begin;
    part.length = end - begin;
    part.block_offset += (uint32_t)(begin - e->file_offset);
    return part;
}

/* ERR_VERSION when what is there is not what is expected. */
static enum err compare(struct meta *m, uint64_t content_id, const struct meta_command *c)
{
    uint64_t from = c->rewrite.offset, to = from + c->rewrite.length;
    struct store_range range;
    struct slice key, value;
    unsigned count = 0;
    enum err e = ERR_OK;
    content_range_open(m, &range, content_id, from, to);
    for (; e == ERR_OK && store_range_get(&range, &key, &value); store_range_next(&range)) {
        struct meta_extent extent;
        e = row_extent_decode(key, value, &extent);
        if (e != ERR_OK || extent.file_offset >= to)
            break;
        struct meta_extent part = cut_to(&extent, from, to);
        if (count == c->rewrite.extent_count || !is_the_same(&part, &c->rewrite.extents[count]))
            e = ERR_VERSION;
        count++;
    }
    enum err closed = store_range_close(&range);
    TRY(e);
    TRY(closed);
    return count == c->rewrite.extent_count ? ERR_OK : ERR_VERSION;
}

/* Extents that follow one another become one; holes between them stay holes. */
static enum err replace(struct meta *m, const struct meta_command *c, uint64_t content_id, uint64_t *allocated)
{
    const struct meta_extent *list = c->rewrite.extents;
    uint64_t from = c->rewrite.offset;
    struct content_cutter cutter;
    enum err e = ERR_OK;
    content_begin(&cutter, m, content_id, from, from + c->rewrite.length, allocated);
    for (unsigned n = 0; e == ERR_OK && n < c->rewrite.extent_count;) {
        struct meta_extent run = {.file_offset = list[n].file_offset,
                                  .block = c->rewrite.block,
                                  .block_offset = (uint32_t)(list[n].file_offset - from)};
        for (; n < c->rewrite.extent_count && list[n].file_offset == run.file_offset + run.length; n++)
            run.length += list[n].length;
        e = content_replace(&cutter, &run);
    }
    enum err ended = content_end(&cutter);
    return e != ERR_OK ? e : ended;
}

static enum err validate(const struct meta_command *c)
{
    struct err_text why;
    uint64_t from = c->rewrite.offset, length = c->rewrite.length;
    unsigned count = c->rewrite.extent_count;
    const struct meta_extent *list = c->rewrite.extents;
    TRY(extent_validate_list(list, count, &why));
    for (unsigned n = 0; n < count; n++)
        if (meta_extent_is_hole(&list[n]))
            return ERR_INVAL;
    bool inside = count > 0 && count <= LIMIT_REWRITE_EXTENTS && length <= LIMIT_BLOCK_BYTES &&
                  from <= META_SIZE_MAX - length && list[0].file_offset >= from &&
                  list[count - 1].file_offset + list[count - 1].length <= from + length;
    return inside ? ERR_OK : ERR_INVAL;
}

OP(rewrite)
{
    struct row_inode i;
    *r = (struct meta_reply){0};
    if (c->rewrite.length == 0)
        return fragmented_remove(m, c->rewrite.ino, c->rewrite.version);
    TRY_OP(validate(c));
    TRY_OP(inode_get(m, c->rewrite.ino, &i));
    if (!S_ISREG(i.attr.mode))
        return outcome(r, S_ISDIR(i.attr.mode) ? ERR_ISDIR : ERR_INVAL);
    if (meta_epoch_is_stale(c->rewrite.epoch, m->state.epoch) && !PLANTED(COLLECT_STALE_REWRITE))
        return outcome(r, ERR_STALE_EPOCH);
    if (!PLANTED(META_REWRITE_BLIND))
        TRY_OP(compare(m, i.attr.content_id, c));
    uint64_t allocated = i.attr.allocated;
    TRY_OP(replace(m, c, i.attr.content_id, &allocated));
    if (allocated != i.attr.allocated)
        return ERR_CORRUPT;
    touch_wrote(m, i.attr.ino); /* who knows its extents is told */
    return ERR_OK;
}
