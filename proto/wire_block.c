#include "proto/wire_block.h"

#include "meta/types.h"

#include "proto/block_parts.h"
#include "proto/pack.h"

#define IDS_BYTES (LIMIT_HASHES_PER_FRAME * SHA256_SIZE + KIB)
_Static_assert(IDS_BYTES <= LIMIT_FRAME_MESSAGE_BYTES, "ids fit in a frame");
_Static_assert(sizeof(struct sha256) == SHA256_SIZE && _Alignof(struct sha256) == 1, "ids are read in place");
_Static_assert(LIMIT_HASHES_PER_FRAME >= LIMIT_BLOCKS_PER_FRAME, "any list of blocks is a list of hashes");

static enum err ids_read(const char *field, ProtobufCBinaryData ids, unsigned max_count, const struct sha256 **ret,
                         unsigned *ret_count, struct err_text *why)
{
    if (ids.len % SHA256_SIZE != 0)
        return wire_refuse(field, ids.len, "a multiple of 32 bytes", why);
    TRY(wire_check_count(field, ids.len / SHA256_SIZE, 1, max_count, why));
    *ret = (const struct sha256 *)(const void *)ids.data;
    *ret_count = (unsigned)(ids.len / SHA256_SIZE);
    return ERR_OK;
}

struct slice wire_block_put_encode(const struct wire_block_put *p, struct arena *a)
{
    CHECK(p->count >= 1 && p->count <= LIMIT_BLOCKS_PER_FRAME);
    Surf__BlockPut m = SURF__BLOCK_PUT__INIT;
    m.durable = p->durable;
    m.ids = wire_binary(p->ids, (size_t)p->count * SHA256_SIZE);
    m.n_size = p->count;
    m.size = wire_unconst(p->sizes);
    m.epoch = p->epoch;
    return wire_pack(&m.base, a);
}

enum err wire_block_put_decode(struct slice s, size_t payload_size, struct arena *a, struct wire_block_put *ret,
                               struct err_text *why)
{
    WIRE_UNPACK(Surf__BlockPut, surf__block_put, "block put", s, WIRE_SMALL_BYTES, a, m);
    struct wire_block_put p = {.durable = m->durable, .sizes = m->size, .epoch = m->epoch};
    TRY(ids_read("block put.ids", m->ids, LIMIT_BLOCKS_PER_FRAME, &p.ids, &p.count, why));
    if (m->n_size != p.count)
        return wire_refuse("block put.sizes elements", m->n_size, "as many as ids", why);
    size_t sum = 0;
    for (unsigned i = 0; i < p.count; i++) {
        TRY(wire_check_range("block put.size", p.sizes[i], 1, LIMIT_BLOCK_BYTES, why));
        sum += p.sizes[i];
    }
    if (sum != payload_size)
        return wire_refuse("block put.payload size", payload_size, "the sum of the sizes", why);
    *ret = p;
    return ERR_OK;
}

struct slice wire_block_ack_encode(const struct wire_block_ack *p, struct arena *a)
{
    Surf__BlockAck m = SURF__BLOCK_ACK__INIT;
    m.boot_id = p->boot_id;
    return wire_pack(&m.base, a);
}

enum err wire_block_ack_decode(struct slice s, struct arena *a, struct wire_block_ack *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__BlockAck, surf__block_ack, "block ack", s, WIRE_SMALL_BYTES, a, m);
    ret->boot_id = m->boot_id;
    return ERR_OK;
}

struct slice wire_block_ids_encode(const struct wire_block_ids *p, struct arena *a)
{
    CHECK(p->count >= 1 && p->count <= LIMIT_HASHES_PER_FRAME);
    Surf__BlockIds m = SURF__BLOCK_IDS__INIT;
    m.ids = wire_binary(p->ids, (size_t)p->count * SHA256_SIZE);
    m.sure = p->sure;
    m.epoch = p->epoch;
    return wire_pack(&m.base, a);
}

enum err wire_block_ids_decode(struct slice s, unsigned max_count, struct arena *a, struct wire_block_ids *ret,
                               struct err_text *why)
{
    WIRE_UNPACK(Surf__BlockIds, surf__block_ids, "block ids", s, IDS_BYTES, a, m);
    struct wire_block_ids p = {.sure = m->sure, .epoch = m->epoch};
    TRY(ids_read("block ids", m->ids, p.sure ? MIN(max_count, LIMIT_BLOCKS_PER_FRAME) : max_count, &p.ids, &p.count,
                 why));
    *ret = p;
    return ERR_OK;
}

/* On the wire 0 stands for an absent block: no block is empty, and UINT32_MAX would cost five bytes. */
struct slice wire_block_sizes_encode(const struct wire_block_sizes *p, struct arena *a)
{
    CHECK(p->count <= LIMIT_BLOCKS_PER_FRAME);
    uint32_t sizes[LIMIT_BLOCKS_PER_FRAME];
    for (unsigned i = 0; i < p->count; i++) {
        CHECK(p->sizes[i] == WIRE_BLOCK_ABSENT || (p->sizes[i] > 0 && p->sizes[i] <= LIMIT_BLOCK_BYTES));
        sizes[i] = p->sizes[i] == WIRE_BLOCK_ABSENT ? 0 : p->sizes[i];
    }
    Surf__BlockSizes m = SURF__BLOCK_SIZES__INIT;
    m.n_size = p->count;
    m.size = sizes;
    return wire_pack(&m.base, a);
}

enum err wire_block_sizes_decode(struct slice s, size_t payload_size, struct arena *a, struct wire_block_sizes *ret,
                                 struct err_text *why)
{
    WIRE_UNPACK(Surf__BlockSizes, surf__block_sizes, "block sizes", s, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_count("block sizes", m->n_size, 0, LIMIT_BLOCKS_PER_FRAME, why));
    size_t sum = 0;
    for (size_t i = 0; i < m->n_size; i++) {
        TRY(wire_check_range("block sizes.size", m->size[i], 0, LIMIT_BLOCK_BYTES, why));
        sum += m->size[i];
        if (m->size[i] == 0)
            m->size[i] = WIRE_BLOCK_ABSENT;
    }
    if (sum != payload_size)
        return wire_refuse("block sizes.payload size", payload_size, "the sum of the sizes", why);
    *ret = (struct wire_block_sizes){.sizes = m->size, .count = (unsigned)m->n_size};
    return ERR_OK;
}

struct slice wire_block_present_encode(const struct wire_block_present *p, struct arena *a)
{
    CHECK(p->count <= LIMIT_HASHES_PER_FRAME);
    Surf__BlockPresent m = SURF__BLOCK_PRESENT__INIT;
    m.boot_id = p->boot_id;
    m.present = wire_binary(p->present, p->count);
    m.map_version = p->map_version;
    m.read_bytes = p->read_bytes;
    return wire_pack(&m.base, a);
}

enum err wire_block_present_decode(struct slice s, struct arena *a, struct wire_block_present *ret,
                                   struct err_text *why)
{
    WIRE_UNPACK(Surf__BlockPresent, surf__block_present, "block present", s, IDS_BYTES, a, m);
    TRY(wire_check_count("block present", m->present.len, 0, LIMIT_HASHES_PER_FRAME, why));
    for (size_t i = 0; i < m->present.len; i++)
        TRY(wire_check_range("block present.present", m->present.data[i], 0, 1, why));
    *ret = (struct wire_block_present){.boot_id = m->boot_id,
                                       .present = m->present.data,
                                       .count = (unsigned)m->present.len,
                                       .map_version = m->map_version,
                                       .read_bytes = m->read_bytes};
    return ERR_OK;
}

void wire_upkeep_fill(Surf__BlockUpkeep *m, const struct wire_block_upkeep *u)
{
    CHECK(u->walk_position <= WIRE_UPKEEP_WHOLE && u->scrub_position <= WIRE_UPKEEP_WHOLE);
    surf__block_upkeep__init(m);
    m->walking = u->walking, m->walk_due = u->walk_due;
#define X(name) m->name = u->name;
    WIRE_UPKEEP_NUMBERS(X)
#undef X
}

enum err wire_upkeep_read(const Surf__BlockUpkeep *m, struct wire_block_upkeep *ret, struct err_text *why)
{
    struct wire_block_upkeep u = {0};
    if (m) {
        TRY(wire_check_range("upkeep.walk_position", m->walk_position, 0, WIRE_UPKEEP_WHOLE, why));
        TRY(wire_check_range("upkeep.scrub_position", m->scrub_position, 0, WIRE_UPKEEP_WHOLE, why));
        u.walking = m->walking, u.walk_due = m->walk_due;
#define X(name) u.name = m->name;
        WIRE_UPKEEP_NUMBERS(X)
#undef X
    }
    *ret = u;
    return ERR_OK;
}

struct slice wire_block_info_encode(const struct wire_block_info *p, struct arena *a)
{
    CHECK(p->node_id > 0 && wire_address_valid(p->address) && meta_zone_valid(p->zone));
    Surf__BlockInfo m = SURF__BLOCK_INFO__INIT;
    m.node_id = p->node_id;
    m.address = wire_binary_of(p->address);
    m.zone = wire_binary_of(p->zone);
    m.boot_id = p->boot_id;
    m.blocks = p->blocks;
    m.block_bytes = p->block_bytes;
    m.disk_total = p->disk_total;
    m.disk_free = p->disk_free;
    m.disk_kept = p->disk_kept;
    m.full = p->full;
    m.failed = p->failed;
    Surf__BlockUpkeep upkeep;
    wire_upkeep_fill(&upkeep, &p->upkeep);
    m.upkeep = &upkeep;
    return wire_pack(&m.base, a);
}

enum err wire_block_info_decode(struct slice s, struct arena *a, struct wire_block_info *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__BlockInfo, surf__block_info, "block info", s, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_range("block info.node_id", m->node_id, 1, UINT32_MAX, why));
    TRY(wire_check_address("block info.address", wire_slice(m->address), why));
    TRY(wire_check_zone("block info.zone", wire_slice(m->zone), why));
    struct wire_block_upkeep upkeep;
    TRY(wire_upkeep_read(m->upkeep, &upkeep, why));
    *ret = (struct wire_block_info){
        .node_id = m->node_id,
        .address = wire_slice(m->address),
        .zone = wire_slice(m->zone),
        .boot_id = m->boot_id,
        .blocks = m->blocks,
        .block_bytes = m->block_bytes,
        .disk_total = m->disk_total,
        .disk_free = m->disk_free,
        .disk_kept = m->disk_kept,
        .full = m->full,
        .failed = m->failed,
        .upkeep = upkeep,
    };
    return ERR_OK;
}
