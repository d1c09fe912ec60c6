#include "tests/model/rewrites.h"

#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/mem.h"

/* What is in [from, to) by the state machine, cut to it; *to comes back smaller when that is too much. */
static unsigned look(struct meta *meta, uint64_t ino, uint64_t from, uint64_t *to, struct meta_extent *ret)
{
    struct arena a = {0};
    struct meta_query query = {.op = META_QUERY_EXTENTS, .ino = ino, .offset = from, .length = *to - from};
    struct meta_query_reply reply;
    unsigned count = 0;
    CHECK(meta_query(meta, &query, &a, &reply) == ERR_OK);
    for (; count < reply.extent_count && count < REWRITE_EXTENTS_MAX; count++) {
        struct meta_extent *e = &ret[count];
        *e = reply.extents[count];
        uint64_t begin = MAX(e->file_offset, from), end = MIN(e->file_offset + e->length, *to);
        e->block_offset += (uint32_t)(begin - e->file_offset);
        e->file_offset = begin;
        e->length = end - begin;
    }
    if (count < reply.extent_count)
        *to = reply.extents[count].file_offset;
    arena_free(&a);
    return count;
}

void rewrite_choose(struct meta *meta, struct prng *p, uint64_t ino, uint32_t block,
                    struct meta_extent to[REWRITE_EXTENTS_MAX], struct meta_command *c)
{
    uint64_t from = prng_below(p, MODEL_BYTES), end = from + 1 + prng_below(p, MODEL_BYTES - from);
    unsigned count = look(meta, ino, from, &end, to);
    c->rewrite.ino = ino;
    c->rewrite.epoch = UINT64_MAX;
    if (prng_below(p, 10) == 0)
        return; /* that all has been done */
    c->rewrite.offset = from;
    c->rewrite.length = (uint32_t)(end - from);
    put_u32be(c->rewrite.block.bytes, block);
    if (count > 0)
        switch (prng_below(p, 12)) {
        case 0:
            to[prng_below(p, count)].block_offset ^= 1;
            break;
        case 1:
            put_u32be(to[prng_below(p, count)].block.bytes, block);
            break;
        case 2: /* as if a hole had been there */
            count--;
            break;
        case 3: /* bytes of whose extent nothing is said */
            c->rewrite.length += 1 + (uint32_t)prng_below(p, 50);
            break;
        default:
            break;
        }
    c->rewrite.extents = to;
    c->rewrite.extent_count = count;
}

static bool is_as_expected(const struct model_inode *n, const struct meta_command *c)
{
    struct model_byte expected[MODEL_BYTES];
    memset(expected, 0, sizeof expected);
    for (unsigned e = 0; e < c->rewrite.extent_count; e++) {
        const struct meta_extent *x = &c->rewrite.extents[e];
        for (uint64_t b = 0; b < x->length; b++)
            expected[x->file_offset + b] =
                (struct model_byte){get_u32be(x->block.bytes), x->block_offset + (uint32_t)b};
    }
    for (uint64_t b = c->rewrite.offset; b < MIN(c->rewrite.offset + c->rewrite.length, (uint64_t)MODEL_BYTES); b++)
        if (n->bytes[b].block != expected[b].block || n->bytes[b].at != expected[b].at)
            return false;
    return true;
}

struct model_outcome model_rewrite(struct model *m, const struct meta_command *c)
{
    if (c->rewrite.length == 0)
        return (struct model_outcome){.status = ERR_OK};
    if (c->rewrite.extent_count == 0)
        return (struct model_outcome){.status = ERR_INVAL};
    unsigned i = model_find(m, c->rewrite.ino);
    if (!i)
        return (struct model_outcome){.status = ERR_STALE};
    struct model_inode *n = &m->inodes[i];
    if (!S_ISREG(n->mode))
        return (struct model_outcome){.status = S_ISDIR(n->mode) ? ERR_ISDIR : ERR_INVAL};
    if (!is_as_expected(n, c))
        return (struct model_outcome){.status = ERR_VERSION};
    for (unsigned e = 0; e < c->rewrite.extent_count; e++)
        for (uint64_t b = 0; b < c->rewrite.extents[e].length; b++) {
            uint64_t at = c->rewrite.extents[e].file_offset + b;
            n->bytes[at] = (struct model_byte){get_u32be(c->rewrite.block.bytes), (uint32_t)(at - c->rewrite.offset)};
        }
    return (struct model_outcome){.status = ERR_OK};
}
