/* What a snapshot consists of, as it travels. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "snapshot/source.h"

#define MANIFEST_FORMAT 1u
#define FILE_BYTES_MIN 18u /* of an encoded file, its name one letter long */

void snapshot_manifest_encode(const struct snapshot_manifest *m, struct bytes *to)
{
    CHECK(m->count <= SNAPSHOT_FILES_MAX);
    bytes_u32(to, MANIFEST_FORMAT);
    bytes_u64(to, m->index);
    bytes_u64(to, m->term);
    bytes_u32(to, m->count);
    for (unsigned i = 0; i < m->count; i++) {
        size_t length = strlen(m->files[i].name);
        bytes_u8(to, (uint8_t)length);
        bytes_append(to, SLICE((const uint8_t *)m->files[i].name, length));
        bytes_u64(to, m->files[i].size);
        bytes_u64(to, m->files[i].checksum);
    }
}

bool snapshot_name_is_plain(struct slice name)
{
    if (name.size == 0 || name.size > SNAPSHOT_NAME_BYTES || name.data[0] == '.')
        return false;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '.' && c != '-' &&
            c != '_')
            return false;
    }
    return true;
}

static enum err decode_files(struct cursor *c, struct snapshot_manifest *m)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < m->count; i++) {
        struct snapshot_file *f = &m->files[i];
        struct slice name = cursor_take(c, cursor_u8(c));
        f->size = cursor_u64(c);
        f->checksum = cursor_u64(c);
        if (!cursor_ok(c) || !snapshot_name_is_plain(name) || f->size > UINT64_MAX / 2 - total)
            return ERR_CORRUPT;
        total += f->size;
        memcpy(f->name, name.data, name.size);
        if (i > 0 && strcmp(m->files[i - 1].name, f->name) >= 0)
            return ERR_CORRUPT;
    }
    return cursor_done(c) ? ERR_OK : ERR_CORRUPT;
}

enum err snapshot_manifest_decode(struct slice s, struct snapshot_manifest *ret)
{
    struct cursor c = cursor_of(s);
    struct snapshot_manifest m = {.count = 0};
    unsigned format = cursor_u32(&c);
    m.index = cursor_u64(&c);
    m.term = cursor_u64(&c);
    m.count = cursor_u32(&c);
    if (!cursor_ok(&c) || format != MANIFEST_FORMAT || m.count > SNAPSHOT_FILES_MAX ||
        s.size < (size_t)m.count * FILE_BYTES_MIN)
        return ERR_CORRUPT;
    m.files = mem_zalloc((m.count + 1) * sizeof *m.files);
    enum err e = decode_files(&c, &m);
    if (e != ERR_OK)
        snapshot_manifest_free(&m);
    else
        *ret = m;
    return e;
}

void snapshot_manifest_free(struct snapshot_manifest *m)
{
    free(m->files);
    *m = (struct snapshot_manifest){.count = 0};
}

uint64_t snapshot_manifest_bytes(const struct snapshot_manifest *m)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < m->count; i++)
        total += m->files[i].size;
    return total;
}
