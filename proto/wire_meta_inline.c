/* wire_meta_inline.c: blocks whose bytes are in the metadata, in commands and in answers. */
#include <string.h>

#include "proto/meta_parts.h"

void wire_inlined_fill(Surf__CommandCommit *m, const struct slice *inlined, unsigned count, struct arena *a)
{
    CHECK(count <= LIMIT_INLINE_BLOCKS);
    if (count == 0)
        return;
    m->inlined = arena_alloc(a, count * sizeof *m->inlined);
    m->n_inlined = count;
    for (unsigned i = 0; i < count; i++)
        m->inlined[i] = wire_binary_of(inlined[i]);
}

enum err wire_inlined_read(const Surf__CommandCommit *m, struct arena *a, const struct slice **ret, unsigned *ret_count,
                           struct err_text *why)
{
    TRY(wire_check_count("command.commit.inlined", m->n_inlined, 0, LIMIT_INLINE_BLOCKS, why));
    struct slice *list = arena_alloc(a, MAX(m->n_inlined, (size_t)1) * sizeof *list);
    size_t left = LIMIT_INLINE_BYTES;
    for (size_t i = 0; i < m->n_inlined; i++) {
        list[i] = wire_slice(m->inlined[i]);
        TRY(wire_check_size("command.commit.inlined", list[i], 1, left, why));
        left -= list[i].size;
    }
    *ret = list;
    *ret_count = (unsigned)m->n_inlined;
    return ERR_OK;
}

void wire_moved_fill(Surf__CommandMoved *m, const struct meta_inline_block *blocks, unsigned count, struct arena *a)
{
    CHECK(count <= LIMIT_MOVED_BLOCKS);
    if (count == 0)
        return;
    uint8_t *ids = arena_alloc(a, count * SHA256_SIZE);
    m->ino = arena_alloc(a, count * sizeof *m->ino);
    m->version = arena_alloc(a, count * sizeof *m->version);
    m->block = wire_binary(ids, count * SHA256_SIZE);
    m->n_ino = m->n_version = count;
    for (unsigned i = 0; i < count; i++) {
        memcpy(ids + i * SHA256_SIZE, blocks[i].id.bytes, SHA256_SIZE);
        m->ino[i] = blocks[i].ino;
        m->version[i] = blocks[i].version;
    }
}

enum err wire_moved_read(const Surf__CommandMoved *m, struct arena *a, const struct meta_inline_block **ret,
                         unsigned *ret_count, struct err_text *why)
{
    size_t count = m->n_ino;
    TRY(wire_check_count("command.moved.ino", count, 0, LIMIT_MOVED_BLOCKS, why));
    TRY(wire_check_count("command.moved.version", m->n_version, count, count, why));
    TRY(wire_check_size("command.moved.block", wire_slice(m->block), count * SHA256_SIZE, count * SHA256_SIZE, why));
    struct meta_inline_block *blocks = arena_zalloc(a, MAX(count, (size_t)1) * sizeof *blocks);
    for (size_t i = 0; i < count; i++) {
        TRY(wire_check_range("command.moved.ino", m->ino[i], 1, UINT64_MAX, why));
        memcpy(blocks[i].id.bytes, m->block.data + i * SHA256_SIZE, SHA256_SIZE);
        blocks[i].ino = m->ino[i];
        blocks[i].version = m->version[i];
    }
    *ret = blocks;
    *ret_count = (unsigned)count;
    return ERR_OK;
}

void wire_inline_blocks_fill(Surf__QueryReply *m, const struct meta_query_reply *r, struct arena *a)
{
    CHECK(r->inlined_count <= LIMIT_MOVED_BLOCKS);
    if (r->inlined_count == 0)
        return;
    Surf__InlineBlock *blocks = arena_alloc(a, r->inlined_count * sizeof *blocks);
    m->inlined = arena_alloc(a, r->inlined_count * sizeof(Surf__InlineBlock *));
    m->n_inlined = r->inlined_count;
    for (unsigned i = 0; i < r->inlined_count; i++) {
        m->inlined[i] = &blocks[i];
        surf__inline_block__init(&blocks[i]);
        blocks[i].ino = r->inlined[i].ino;
        blocks[i].version = r->inlined[i].version;
        blocks[i].data = wire_binary_of(r->inlined[i].data);
    }
}

enum err wire_inline_blocks_read(const Surf__QueryReply *m, struct arena *a, struct meta_query_reply *r,
                                 struct err_text *why)
{
    TRY(wire_check_count("query reply.inlined", m->n_inlined, 0, LIMIT_MOVED_BLOCKS, why));
    if (m->n_inlined == 0)
        return ERR_OK;
    struct meta_inline_block *blocks = arena_alloc(a, m->n_inlined * sizeof *blocks);
    for (size_t i = 0; i < m->n_inlined; i++) {
        const Surf__InlineBlock *from = m->inlined[i];
        blocks[i] =
            (struct meta_inline_block){.ino = from->ino, .version = from->version, .data = wire_slice(from->data)};
        TRY(wire_check_size("query reply.inlined.data", blocks[i].data, 1, LIMIT_INLINE_BYTES, why));
        /* Which block it is follows from the bytes: nobody can be told wrong ones. */
        sha256_of(blocks[i].data, &blocks[i].id);
    }
    r->inlined = blocks;
    r->inlined_count = (unsigned)m->n_inlined;
    return ERR_OK;
}
