/* inline.c: small contents that come with their commit, and from there into the metadata: one durable step instead
 * of two. The mover puts them on the block servers afterwards. */
#include "base/mem.h"
#include "client/file/internal.h"

bool inline_fits(struct open_files *t, struct block_buffer *const *blocks, unsigned count,
                 struct slice ret[LIMIT_INLINE_BLOCKS])
{
    size_t bytes = 0;
    for (unsigned n = 0; n < count; n++)
        bytes += blocks[n]->data.size;
    if (count == 0 || count > LIMIT_INLINE_BLOCKS || bytes > MIN(t->options.inline_bytes, (size_t)LIMIT_INLINE_BYTES))
        return false;
    for (unsigned n = 0; n < count; n++)
        ret[n] = blocks[n]->data;
    return inline_mover_has_room(t->mover, bytes);
}

void inline_committed(struct open_files *t, struct block_buffer *const *blocks, unsigned count,
                      const struct meta_attr *attr)
{
    for (unsigned n = 0; n < count; n++)
        inline_mover_add(t->mover, blocks[n], attr->ino, attr->version);
}

void inline_learn(struct open_files *t, const struct meta_query_reply *reply)
{
    for (unsigned n = 0; n < reply->inlined_count; n++) {
        struct slice data = reply->inlined[n].data;
        struct block_buffer *block = block_buffer_new(mem_dup(data.data, data.size), data.size);
        block_cache_insert(t->cache, block);
        block_buffer_unref(block);
    }
}
