#include "proto/wire_files.h"

#include "proto/files.pb-c.h"
#include "proto/pack.h"

_Static_assert(META_FILES_PAGE_BYTES + META_FILES_PLACE_BYTES + META_FILE_BLOCKS_MAX * SHA256_SIZE +
                       META_FILES_MAX * 128 + META_FILES_PLACE_BYTES <=
                   LIMIT_FRAME_MESSAGE_BYTES,
               "a full page fits in a frame");

struct slice wire_files_query_encode(const struct meta_files_query *q, struct arena *a)
{
    CHECK(q->path.size <= META_FILE_PATH_BYTES && q->after.size <= META_FILES_PLACE_BYTES);
    CHECK(q->max > 0 && q->max <= META_FILES_MAX && q->blocks_max <= META_FILE_BLOCKS_MAX);
    Surf__FilesQuery m = SURF__FILES_QUERY__INIT;
    m.path = wire_binary_of(q->path), m.after = wire_binary_of(q->after);
    m.max = q->max, m.blocks_max = q->blocks_max;
    return wire_pack(&m.base, a);
}

enum err wire_files_query_decode(struct slice s, struct arena *a, struct meta_files_query *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__FilesQuery, surf__files_query, "files query", s, WIRE_SMALL_BYTES, a, m);
    struct meta_files_query q = {
        .path = wire_slice(m->path), .after = wire_slice(m->after), .max = m->max, .blocks_max = m->blocks_max};
    TRY(wire_check_size("files query.path", q.path, 0, META_FILE_PATH_BYTES, why));
    TRY(wire_check_size("files query.after", q.after, 0, META_FILES_PLACE_BYTES, why));
    TRY(wire_check_range("files query.max", m->max, 1, META_FILES_MAX, why));
    TRY(wire_check_range("files query.blocks_max", m->blocks_max, 0, META_FILE_BLOCKS_MAX, why));
    *ret = q;
    return ERR_OK;
}

struct slice wire_files_encode(const struct meta_files *f, struct arena *a)
{
    CHECK(f->count <= META_FILES_MAX && f->next.size <= META_FILES_PLACE_BYTES);
    Surf__Files m = SURF__FILES__INIT;
    Surf__File *files = arena_alloc(a, (f->count + 1) * sizeof *files);
    m.file = arena_alloc(a, (f->count + 1) * sizeof *m.file);
    m.n_file = f->count;
    m.index = f->index, m.left_out = f->left_out;
    m.next = wire_binary_of(f->next);
    for (unsigned i = 0; i < f->count; i++) {
        const struct meta_file *from = &f->files[i];
        Surf__File *to = &files[i];
        CHECK(from->path.size <= META_FILE_PATH_BYTES && from->block_count <= META_FILE_BLOCKS_MAX);
        surf__file__init(to);
        to->path = wire_binary_of(from->path);
        to->ino = from->ino, to->mode = from->mode, to->nlink = from->nlink;
        to->size = from->size, to->version = from->version, to->mtime_ns = from->mtime_ns;
        to->extents = from->extent_count, to->extents_more = from->extents_more;
        to->blocks = wire_binary(from->blocks, from->block_count * SHA256_SIZE);
        m.file[i] = to;
    }
    return wire_pack(&m.base, a);
}

static enum err file_read(const Surf__File *m, struct meta_file *ret, struct err_text *why)
{
    struct meta_file f = {.path = wire_slice(m->path),
                          .ino = m->ino,
                          .size = m->size,
                          .version = m->version,
                          .mode = m->mode,
                          .nlink = m->nlink,
                          .mtime_ns = m->mtime_ns,
                          .extent_count = m->extents,
                          .extents_more = m->extents_more,
                          .blocks = (const struct sha256 *)(const void *)m->blocks.data,
                          .block_count = (unsigned)(m->blocks.len / SHA256_SIZE)};
    TRY(wire_check_size("file.path", f.path, 1, META_FILE_PATH_BYTES, why));
    if (m->blocks.len % SHA256_SIZE != 0)
        return wire_refuse("file.blocks bytes", m->blocks.len, "a multiple of 32", why);
    TRY(wire_check_count("file.blocks", m->blocks.len / SHA256_SIZE, 0, META_FILE_BLOCKS_MAX, why));
    *ret = f;
    return ERR_OK;
}

enum err wire_files_decode(struct slice s, struct arena *a, struct meta_files *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__Files, surf__files, "files", s, LIMIT_FRAME_MESSAGE_BYTES, a, m);
    TRY(wire_check_count("files.file", m->n_file, 0, META_FILES_MAX, why));
    TRY(wire_check_size("files.next", wire_slice(m->next), 0, META_FILES_PLACE_BYTES, why));
    struct meta_file *files = arena_alloc(a, (m->n_file + 1) * sizeof *files);
    for (size_t i = 0; i < m->n_file; i++)
        TRY(file_read(m->file[i], &files[i], why));
    *ret = (struct meta_files){.files = files,
                               .count = (unsigned)m->n_file,
                               .index = m->index,
                               .left_out = m->left_out,
                               .next = wire_slice(m->next)};
    return ERR_OK;
}
