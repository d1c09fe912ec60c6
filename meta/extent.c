#include "meta/extent.h"

#include <inttypes.h>

unsigned extent_subtract(const struct meta_extent *old, uint64_t from, uint64_t to, struct meta_extent ret[2])
{
    uint64_t begin = old->file_offset, end = old->file_offset + old->length;
    unsigned count = 0;
    if (to <= begin || from >= end || from >= to) {
        ret[count++] = *old;
        return count;
    }
    if (from > begin)
        ret[count++] = meta_extent_part(old, begin, from);
    if (to < end)
        ret[count++] = meta_extent_part(old, to, end);
    return count;
}

bool extent_merge(const struct meta_extent *a, const struct meta_extent *b, struct meta_extent *ret)
{
    if (a->file_offset + a->length != b->file_offset || !sha256_equal(&a->block, &b->block))
        return false;
    if (!meta_extent_is_hole(a) && a->block_offset + a->length != b->block_offset)
        return false;
    *ret = *a;
    ret->length = a->length + b->length;
    return true;
}

enum err extent_validate(const struct meta_extent *e, struct err_text *why)
{
    if (e->length == 0 || e->length > META_SIZE_MAX || e->file_offset > META_SIZE_MAX - e->length)
        return err_explain(why, ERR_INVAL, "extent at %" PRIu64 " of %" PRIu64 " bytes: out of range", e->file_offset,
                           e->length);
    if (meta_extent_is_hole(e)) {
        if (e->block_offset != 0)
            return err_explain(why, ERR_INVAL, "hole with block offset %" PRIu32, e->block_offset);
    } else if (e->length > LIMIT_BLOCK_BYTES || e->block_offset > LIMIT_BLOCK_BYTES - e->length) {
        return err_explain(why, ERR_INVAL, "extent of %" PRIu64 " bytes at %" PRIu32 " reaches out of its block",
                           e->length, e->block_offset);
    }
    return ERR_OK;
}

enum err extent_validate_list(const struct meta_extent *list, unsigned count, struct err_text *why)
{
    for (unsigned i = 0; i < count; i++) {
        TRY(extent_validate(&list[i], why));
        if (i > 0 && list[i].file_offset < list[i - 1].file_offset + list[i - 1].length)
            return err_explain(why, ERR_INVAL, "extent at %" PRIu64 " is not behind the one before",
                               list[i].file_offset);
    }
    return ERR_OK;
}
