/* A voter's word on a put that is in its durability log. */
#include "proto/wire_durable.h"
#include "proto/meta.pb-c.h"
#include "proto/pack.h"

struct slice wire_durable_ack_encode(const struct durability_ack *ack, struct arena *a)
{
    CHECK(ack->id > 0 && ack->term > 0 && ack->voters >= 1 && ack->voters <= LIMIT_NODES);
    Surf__DurableAck m = SURF__DURABLE_ACK__INIT;
    m.id = ack->id;
    m.term = ack->term;
    m.config_index = ack->config_index;
    m.voters = ack->voters;
    m.leader = ack->leader;
    return wire_pack(&m.base, a);
}

enum err wire_durable_ack_decode(struct slice s, struct arena *a, struct durability_ack *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__DurableAck, surf__durable_ack, "durable ack", s, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_range("durable ack.id", m->id, 1, UINT32_MAX, why));
    TRY(wire_check_range("durable ack.term", m->term, 1, UINT64_MAX, why));
    TRY(wire_check_range("durable ack.voters", m->voters, 1, LIMIT_NODES, why));
    *ret = (struct durability_ack){
        .id = m->id, .term = m->term, .config_index = m->config_index, .voters = m->voters, .leader = m->leader};
    return ERR_OK;
}
