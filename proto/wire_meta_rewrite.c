/* wire_meta_rewrite.c: rewrites of fragmented extents, and the files that need them. */
#include <string.h>

#include "proto/meta_parts.h"

void wire_rewrite_fill(Surf__CommandRewrite *m, Surf__Extents *extents, const struct meta_command *c, struct arena *a)
{
    CHECK(c->rewrite.extent_count <= LIMIT_REWRITE_EXTENTS && c->rewrite.length <= LIMIT_BLOCK_BYTES);
    m->ino = c->rewrite.ino;
    m->offset = c->rewrite.offset;
    m->length = c->rewrite.length;
    m->version = c->rewrite.version;
    m->epoch = c->rewrite.epoch;
    if (c->rewrite.length == 0)
        return;
    wire_extents_fill(extents, c->rewrite.extents, c->rewrite.extent_count, a);
    m->extents = extents;
    m->block = wire_binary(c->rewrite.block.bytes, SHA256_SIZE);
}

enum err wire_rewrite_read(const Surf__CommandRewrite *m, struct arena *a, struct meta_command *c, struct err_text *why)
{
    size_t block_size = m->length > 0 ? SHA256_SIZE : 0;
    struct meta_extent *extents = NULL;
    unsigned count = 0;
    TRY(wire_check_range("command.rewrite.ino", m->ino, 1, UINT64_MAX, why));
    TRY(wire_check_range("command.rewrite.length", m->length, 0, LIMIT_BLOCK_BYTES, why));
    TRY(wire_check_range("command.rewrite.offset", m->offset, 0, META_SIZE_MAX - m->length, why));
    TRY(wire_check_size("command.rewrite.block", wire_slice(m->block), block_size, block_size, why));
    TRY(wire_extents_read(m->extents, "command.rewrite.extents", LIMIT_REWRITE_EXTENTS, a, &extents, &count, why));
    TRY(wire_check_count("command.rewrite.extents", count, m->length > 0, m->length > 0 ? LIMIT_REWRITE_EXTENTS : 0,
                         why));
    c->rewrite.ino = m->ino;
    c->rewrite.offset = m->offset;
    c->rewrite.length = m->length;
    c->rewrite.extents = extents;
    c->rewrite.extent_count = count;
    c->rewrite.epoch = m->epoch;
    c->rewrite.version = m->version;
    if (block_size > 0)
        memcpy(c->rewrite.block.bytes, m->block.data, block_size);
    return ERR_OK;
}

void wire_fragmented_fill(Surf__QueryReply *m, const struct meta_query_reply *r, struct arena *a)
{
    unsigned count = r->fragmented_count;
    CHECK(count <= LIMIT_FRAGMENTED);
    if (count == 0)
        return;
    m->n_fragmented_ino = m->n_fragmented_version = count;
    m->fragmented_ino = arena_alloc(a, count * sizeof *m->fragmented_ino);
    m->fragmented_version = arena_alloc(a, count * sizeof *m->fragmented_version);
    for (unsigned i = 0; i < count; i++) {
        m->fragmented_ino[i] = r->fragmented[i].ino;
        m->fragmented_version[i] = r->fragmented[i].version;
    }
}

enum err wire_fragmented_read(const Surf__QueryReply *m, struct arena *a, struct meta_query_reply *r,
                              struct err_text *why)
{
    size_t count = m->n_fragmented_ino;
    uint64_t before = 0;
    TRY(wire_check_count("query reply.fragmented", count, 0, LIMIT_FRAGMENTED, why));
    TRY(wire_check_count("query reply.fragmented_version", m->n_fragmented_version, count, count, why));
    if (count == 0)
        return ERR_OK;
    r->fragmented = arena_alloc(a, count * sizeof *r->fragmented);
    r->fragmented_count = (unsigned)count;
    for (size_t i = 0; i < count; i++) {
        if (m->fragmented_ino[i] <= before)
            return wire_refuse("query reply.fragmented", m->fragmented_ino[i], "above the one before it", why);
        before = m->fragmented_ino[i];
        r->fragmented[i] = (struct meta_fragmented){.ino = before, .version = m->fragmented_version[i]};
    }
    return ERR_OK;
}
