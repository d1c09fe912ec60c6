#include "proto/meta_parts.h"

void wire_attr_fill(Surf__Attr *m, const struct meta_attr *attr)
{
    surf__attr__init(m);
    m->ino = attr->ino;
    m->mode = attr->mode;
    m->uid = attr->uid;
    m->gid = attr->gid;
    m->nlink = attr->nlink;
    m->rdev = attr->rdev;
    m->size = attr->size;
    m->allocated = attr->allocated;
    m->atime_ns = attr->atime_ns;
    m->mtime_ns = attr->mtime_ns;
    m->ctime_ns = attr->ctime_ns;
    m->btime_ns = attr->btime_ns;
    m->version = attr->version;
    m->content_id = attr->content_id;
    m->xattrs = attr->xattrs;
}

enum err wire_attr_read(const Surf__Attr *m, const char *field, struct meta_attr *ret, struct err_text *why)
{
    if (m->ino == 0 || m->mode > WIRE_MODE_MAX || m->size > META_SIZE_MAX || m->allocated > META_SIZE_MAX)
        return err_explain(why, ERR_PROTOCOL, "%s: inode %llu, mode 0%o, size %llu or allocated %llu is out of range",
                           field, (unsigned long long)m->ino, m->mode, (unsigned long long)m->size,
                           (unsigned long long)m->allocated);
    TRY(wire_check_range(field, m->xattrs, 0, LIMIT_XATTRS, why));
    *ret = (struct meta_attr){
        .ino = m->ino,
        .mode = m->mode,
        .uid = m->uid,
        .gid = m->gid,
        .nlink = m->nlink,
        .rdev = m->rdev,
        .size = m->size,
        .allocated = m->allocated,
        .atime_ns = m->atime_ns,
        .mtime_ns = m->mtime_ns,
        .ctime_ns = m->ctime_ns,
        .btime_ns = m->btime_ns,
        .version = m->version,
        .content_id = m->content_id,
        .xattrs = m->xattrs,
    };
    return ERR_OK;
}

static const struct sha256 hole_id;

void wire_extents_fill(Surf__Extents *m, const struct meta_extent *extents, unsigned count, struct arena *a)
{
    surf__extents__init(m);
    if (count == 0)
        return;
    uint64_t *gaps = arena_alloc(a, 2 * count * sizeof *gaps), *lengths = gaps + count;
    struct sha256 *blocks = arena_alloc(a, count * sizeof *blocks);
    uint32_t *offsets = arena_alloc(a, count * sizeof *offsets);
    unsigned with_block = 0;
    uint64_t end = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct meta_extent *e = &extents[i];
        CHECK(e->file_offset >= end && e->length > 0);
        CHECK(e->file_offset <= META_SIZE_MAX && e->length <= META_SIZE_MAX - e->file_offset);
        bool hole = sha256_equal(&e->block, &hole_id);
        gaps[i] = e->file_offset - end;
        lengths[i] = e->length * 2 + hole;
        end = e->file_offset + e->length;
        if (hole) {
            CHECK(e->block_offset == 0);
            continue;
        }
        CHECK(e->block_offset <= LIMIT_BLOCK_BYTES && e->length <= LIMIT_BLOCK_BYTES - e->block_offset);
        blocks[with_block] = e->block;
        offsets[with_block++] = e->block_offset;
    }
    m->n_gap = count, m->gap = gaps;
    m->n_length_hole = count, m->length_hole = lengths;
    m->block = wire_binary(blocks, with_block * sizeof *blocks);
    m->n_block_offset = with_block, m->block_offset = offsets;
}

static enum err extent_read(const Surf__Extents *m, unsigned i, uint64_t end, size_t *with_block, struct meta_extent *e,
                            struct err_text *why)
{
    uint64_t length = m->length_hole[i] / 2;
    if (m->gap[i] > META_SIZE_MAX - end)
        return wire_refuse("extent.gap", m->gap[i], "within the largest file", why);
    uint64_t offset = end + m->gap[i];
    TRY(wire_check_range("extent.length", length, 1, META_SIZE_MAX - offset, why));
    *e = (struct meta_extent){.file_offset = offset, .length = length};
    if (m->length_hole[i] & 1)
        return ERR_OK;
    if (*with_block >= m->n_block_offset)
        return wire_refuse("extent.block_offset elements", m->n_block_offset, "one for each extent with a block", why);
    e->block_offset = m->block_offset[*with_block];
    memcpy(&e->block, m->block.data + *with_block * SHA256_SIZE, SHA256_SIZE);
    (*with_block)++;
    TRY(wire_check_range("extent.block_offset", e->block_offset, 0, LIMIT_BLOCK_BYTES - 1, why));
    TRY(wire_check_range("extent.length", length, 1, LIMIT_BLOCK_BYTES - e->block_offset, why));
    if (sha256_equal(&e->block, &hole_id))
        return err_explain(why, ERR_PROTOCOL, "extent.block of element %u is all zero, but it is not marked as a hole",
                           i);
    return ERR_OK;
}

enum err wire_extents_read(const Surf__Extents *m, const char *field, unsigned max_count, struct arena *a,
                           struct meta_extent **ret, unsigned *ret_count, struct err_text *why)
{
    if (!m || (m->n_gap == 0 && m->n_length_hole == 0 && m->block.len == 0 && m->n_block_offset == 0)) {
        *ret = NULL;
        *ret_count = 0;
        return ERR_OK;
    }
    TRY(wire_check_count(field, m->n_gap, 1, max_count, why));
    if (m->n_length_hole != m->n_gap)
        return wire_refuse("extent.length_hole elements", m->n_length_hole, "as many as of gap", why);
    if (m->block.len != m->n_block_offset * SHA256_SIZE)
        return wire_refuse("extent.block bytes", m->block.len, "32 for each element of block_offset", why);
    unsigned count = (unsigned)m->n_gap;
    struct meta_extent *extents = arena_alloc(a, count * sizeof *extents);
    size_t with_block = 0;
    uint64_t end = 0;
    for (unsigned i = 0; i < count; i++) {
        TRY(extent_read(m, i, end, &with_block, &extents[i], why));
        end = extents[i].file_offset + extents[i].length;
    }
    if (with_block != m->n_block_offset)
        return wire_refuse("extent.block_offset elements", m->n_block_offset, "one for each extent with a block", why);
    *ret = extents;
    *ret_count = count;
    return ERR_OK;
}

void wire_server_fill(Surf__BlockServer *m, const struct meta_block_server *server)
{
    surf__block_server__init(m);
    struct slice address = slice_str(server->address);
    CHECK(server->id > 0 && server->weight > 0 && wire_address_valid(address) &&
          meta_zone_valid(slice_str(server->zone)));
    m->id = server->id;
    m->address = wire_binary_of(address);
    m->zone = wire_binary_of(slice_str(server->zone));
    m->weight = server->weight;
    m->draining = server->draining;
    m->weight_fixed = server->weight_fixed;
    m->change = server->change;
}

enum err wire_server_read(const Surf__BlockServer *m, struct meta_block_server *ret, struct err_text *why)
{
    TRY(wire_check_range("block_server.id", m->id, 1, UINT32_MAX, why));
    TRY(wire_check_range("block_server.weight", m->weight, 1, UINT64_MAX, why));
    TRY(wire_check_address("block_server.address", wire_slice(m->address), why));
    TRY(wire_check_zone("block_server.zone", wire_slice(m->zone), why));
    TRY(wire_check_range("block_server.change", m->change, 0, META_SERVER_CHANGE_LAST, why));
    ret->id = m->id;
    ret->weight = m->weight;
    ret->draining = m->draining;
    ret->weight_fixed = m->weight_fixed;
    ret->change = (enum meta_server_change)m->change;
    memset(ret->address, 0, sizeof ret->address);
    memcpy(ret->address, m->address.data, m->address.len);
    memset(ret->zone, 0, sizeof ret->zone);
    if (m->zone.len > 0)
        memcpy(ret->zone, m->zone.data, m->zone.len);
    return ERR_OK;
}

void wire_lock_fill(Surf__Lock *m, const struct meta_lock *lock)
{
    CHECK(lock->start <= lock->end && lock->end <= META_SIZE_MAX);
    surf__lock__init(m);
    m->kind = lock->kind;
    m->type = lock->type;
    m->start = lock->start;
    m->end = lock->end;
    m->owner = lock->owner;
    m->pid = lock->pid;
}

enum err wire_lock_read(const Surf__Lock *m, const char *field, struct meta_lock *ret, struct err_text *why)
{
    if (!m || m->kind < META_LOCK_POSIX || m->kind > META_LOCK_FLOCK || m->type < META_LOCK_READ ||
        m->type > META_LOCK_UNLOCK || m->start > m->end || m->end > META_SIZE_MAX)
        return err_explain(why, ERR_PROTOCOL, "%s: kind %u, type %u or the range is not that of a lock", field,
                           m ? m->kind : 0, m ? m->type : 0);
    if (m->kind == META_LOCK_FLOCK && (m->start != 0 || m->end != META_SIZE_MAX))
        return err_explain(why, ERR_PROTOCOL, "%s: a flock of a part of the file", field);
    *ret = (struct meta_lock){
        .kind = (enum meta_lock_kind)m->kind,
        .type = (enum meta_lock_type)m->type,
        .start = m->start,
        .end = m->end,
        .owner = m->owner,
        .pid = m->pid,
    };
    return ERR_OK;
}

void wire_reads_fill(Surf__CommandReads *m, const struct meta_read *list, unsigned count, struct arena *a)
{
    CHECK(count > 0 && count <= LIMIT_READS);
    m->ino = arena_alloc(a, count * sizeof *m->ino);
    m->ns = arena_alloc(a, count * sizeof *m->ns);
    m->ctime_ns = arena_alloc(a, count * sizeof *m->ctime_ns);
    m->n_ino = m->n_ns = m->n_ctime_ns = count;
    for (unsigned i = 0; i < count; i++) {
        m->ino[i] = list[i].ino;
        m->ns[i] = list[i].ns;
        m->ctime_ns[i] = list[i].ctime_ns;
    }
}

enum err wire_reads_read(const Surf__CommandReads *m, struct arena *a, const struct meta_read **ret,
                         unsigned *ret_count, struct err_text *why)
{
    size_t count = m->n_ino;
    TRY(wire_check_count("command.reads.ino", count, 1, LIMIT_READS, why));
    TRY(wire_check_count("command.reads.ns", m->n_ns, count, count, why));
    TRY(wire_check_count("command.reads.ctime_ns", m->n_ctime_ns, count, count, why));
    struct meta_read *list = arena_alloc(a, count * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        TRY(wire_check_range("command.reads.ino", m->ino[i], 1, UINT64_MAX, why));
        list[i] = (struct meta_read){.ino = m->ino[i], .ns = m->ns[i], .ctime_ns = m->ctime_ns[i]};
    }
    *ret = list;
    *ret_count = (unsigned)count;
    return ERR_OK;
}
