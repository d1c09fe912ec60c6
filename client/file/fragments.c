#include "client/file/fragments.h"

#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "client/file/layout.h"

/* One that is longer is read well enough by itself. It is left alone at the ends of a part, so that what is appended in
 * small pieces doesn't have all that was there before rewritten each time. */
#define LONG_BYTES (128u * KIB)
#define LEAST_ROWS_SAVED 32u

static void take_pieces(const struct meta_extent *extents, unsigned count, uint64_t from, uint64_t to,
                        struct fragments *f)
{
    f->count = 0;
    for (unsigned n = 0; n < count && f->count < LIMIT_REWRITE_EXTENTS; n++) {
        const struct meta_extent *e = &extents[n];
        uint64_t begin = MAX(e->file_offset, from), end = MIN(e->file_offset + e->length, to);
        if (begin >= end || meta_extent_is_hole(e) || (f->count == 0 && end - begin >= LONG_BYTES))
            continue;
        struct meta_extent *piece = &f->pieces[f->count++];
        *piece = *e;
        piece->file_offset = begin;
        piece->length = end - begin;
        piece->block_offset += (uint32_t)(begin - e->file_offset);
    }
    while (f->count > 0 && f->pieces[f->count - 1].length >= LONG_BYTES)
        f->count--;
}

static unsigned different_blocks(const struct fragments *f)
{
    struct map_bytes seen = {0};
    for (unsigned n = 0; n < f->count; n++)
        map_bytes_put(&seen, SLICE(f->pieces[n].block.bytes, SHA256_SIZE), (void *)(uintptr_t)1);
    unsigned count = (unsigned)seen.count;
    map_bytes_free(&seen);
    return count;
}

/* How many extents there are afterwards: one for each run between holes. */
static unsigned runs(const struct fragments *f)
{
    unsigned count = 0;
    for (unsigned n = 0; n < f->count; n++)
        count += n == 0 || f->pieces[n - 1].file_offset + f->pieces[n - 1].length != f->pieces[n].file_offset;
    return count;
}

bool fragments_find(const struct meta_extent *extents, unsigned count, uint64_t from, uint64_t to,
                    unsigned least_blocks, struct fragments *ret)
{
    CHECK(from <= to && to - from <= LIMIT_BLOCK_BYTES);
    while (from < to) {
        take_pieces(extents, count, from, to, ret);
        if (ret->count == 0)
            return false;
        const struct meta_extent *last = &ret->pieces[ret->count - 1];
        ret->from = ret->pieces[0].file_offset;
        ret->to = last->file_offset + last->length;
        if (different_blocks(ret) >= least_blocks || ret->count - runs(ret) >= LEAST_ROWS_SAVED)
            return true;
        if (ret->count < LIMIT_REWRITE_EXTENTS)
            return false;
        from = ret->to; /* there are more than fit in one part, and these are well as they are */
    }
    return false;
}
