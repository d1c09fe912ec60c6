#include "proto/wire_common.h"

#include "proto/common.pb-c.h"
#include "proto/pack.h"

#define HELLO_NAME_BYTES 255u

struct slice wire_hello_encode(const struct wire_hello *h, struct arena *a)
{
    CHECK(h->name.size <= HELLO_NAME_BYTES);
    Surf__Hello m = SURF__HELLO__INIT;
    m.role = h->role;
    m.version_min = h->version_min;
    m.version_max = h->version_max;
    m.node_id = h->node_id;
    if (h->has_cluster_id)
        m.cluster_id = wire_binary(h->cluster_id, sizeof h->cluster_id);
    m.name = wire_binary_of(h->name);
    if (h->role == WIRE_ROLE_NODE)
        m.identity = wire_binary(h->identity, sizeof h->identity);
    m.address = wire_binary_of(h->address);
    return wire_pack(&m.base, a);
}

enum err wire_hello_decode(struct slice s, struct arena *a, struct wire_hello *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__Hello, surf__hello, "hello", s, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_range("hello.role", m->role, WIRE_ROLE_NODE, WIRE_ROLE_ADMIN, why));
    TRY(wire_check_range("hello.version_min", m->version_min, 1, UINT32_MAX, why));
    TRY(wire_check_range("hello.version_max", m->version_max, m->version_min, UINT32_MAX, why));
    if ((m->role == WIRE_ROLE_NODE) != (m->node_id > 0))
        return wire_refuse("hello.node_id", m->node_id, "over 0 for a node and 0 for others", why);
    if (m->cluster_id.len > 0)
        TRY(wire_check_size("hello.cluster_id", wire_slice(m->cluster_id), 16, 16, why));
    TRY(wire_check_size("hello.name", wire_slice(m->name), 0, HELLO_NAME_BYTES, why));
    if (m->identity.len > 0)
        TRY(wire_check_size("hello.identity", wire_slice(m->identity), 16, 16, why));
    if (m->address.len > 0 && !wire_address_valid(wire_slice(m->address)))
        return wire_refuse("hello.address size", m->address.len, "that of a HOST:PORT", why);

    *ret = (struct wire_hello){
        .role = (enum wire_hello_role)m->role,
        .version_min = m->version_min,
        .version_max = m->version_max,
        .node_id = m->node_id,
        .has_cluster_id = m->cluster_id.len > 0,
        .name = wire_slice(m->name),
        .address = wire_slice(m->address),
    };
    if (m->identity.len > 0)
        memcpy(ret->identity, m->identity.data, sizeof ret->identity);
    if (ret->has_cluster_id)
        memcpy(ret->cluster_id, m->cluster_id.data, sizeof ret->cluster_id);
    return ERR_OK;
}

struct slice wire_members_encode(const struct wire_members *m, struct arena *a)
{
    CHECK(m->count <= LIMIT_NODES);
    Surf__Members wire = SURF__MEMBERS__INIT;
    uint32_t ids[LIMIT_NODES];
    ProtobufCBinaryData addresses[LIMIT_NODES];
    for (unsigned i = 0; i < m->count; i++) {
        ids[i] = m->list[i].id;
        addresses[i] = wire_binary_of(m->list[i].address);
    }
    wire.n_id = wire.n_address = m->count;
    wire.id = ids, wire.address = addresses;
    wire.map_version = m->map_version;
    wire.epoch = m->epoch;
    wire.released = m->released;
    return wire_pack(&wire.base, a);
}

enum err wire_members_decode(struct slice s, struct arena *a, struct wire_members *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__Members, surf__members, "members", s, WIRE_SMALL_BYTES, a, m);
    struct wire_members members = {
        .count = (unsigned)m->n_id, .map_version = m->map_version, .epoch = m->epoch, .released = m->released};
    TRY(wire_check_count("members.id", m->n_id, 0, LIMIT_NODES, why));
    TRY(wire_check_count("members.address", m->n_address, m->n_id, m->n_id, why));
    for (unsigned i = 0; i < members.count; i++) {
        TRY(wire_check_range("members.id", m->id[i], 1, UINT32_MAX, why));
        members.list[i].id = m->id[i];
        members.list[i].address = wire_slice(m->address[i]);
        if (!wire_address_valid(members.list[i].address))
            return wire_refuse("members.address size", members.list[i].address.size, "that of a HOST:PORT", why);
    }
    *ret = members;
    return ERR_OK;
}

struct slice wire_error_encode(const struct wire_error *e, struct arena *a)
{
    CHECK(e->leader_address.size <= LIMIT_ADDRESS_BYTES);
    Surf__Error m = SURF__ERROR__INIT;
    m.leader_id = e->leader_id;
    m.leader_address = wire_binary_of(e->leader_address);
    m.text = wire_binary_cut(e->text, WIRE_TEXT_BYTES);
    m.not_done = e->not_done;
    return wire_pack(&m.base, a);
}

static enum err error_decode(struct slice s, struct arena *a, struct wire_error *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__Error, surf__error, "error", s, WIRE_SMALL_BYTES, a, m);
    if (wire_address_valid(wire_slice(m->leader_address))) {
        ret->leader_id = m->leader_id;
        ret->leader_address = wire_slice(m->leader_address);
    } else if (m->leader_address.len == 0) {
        ret->leader_id = m->leader_id;
    }
    ret->not_done = m->not_done;
    ret->text = SLICE(m->text.data, MIN(m->text.len, (size_t)WIRE_TEXT_BYTES));
    return ERR_OK;
}

void wire_error_decode(struct slice s, struct arena *a, struct wire_error *ret)
{
    *ret = (struct wire_error){0};
    if (error_decode(s, a, ret, NULL) != ERR_OK)
        *ret = (struct wire_error){0};
}
