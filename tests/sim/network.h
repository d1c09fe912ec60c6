/* network.h: messages between members and clients. Each may be lost, doubled, late or out of order; a link may be cut
 * one way. Endpoints: members by id - 1, then clients. */
#pragma once

#include "replica/replica.h"
#include "tests/sim/world.h"

/* From a member to another, copied; identity: of the sender's data directory. */
void network_send(struct world *w, const struct replica_message *m, const uint8_t identity[16]);

enum request_kind { REQUEST_COMMAND, REQUEST_QUERY, REQUEST_KEEPALIVE, REQUEST_DURABLE };
/* A client's request or its answer. `try` tells an answer to an earlier try from one to this. */
struct packet {
    enum request_kind kind;
    uint32_t member, client; /* indexes */
    uint64_t operation, try;
    bool forward;     /* a read that any member may answer */
    uint64_t session; /* of a keepalive */
    struct slice message;
    /* of an answer */
    enum err status;
    struct durability_ack ack; /* DURABLE */
    uint32_t leader;           /* NOT_LEADER: the index of whom the member takes for it; WORLD_NOBODY */
};
void network_request(struct world *w, const struct packet *p);
void network_answer(struct world *w, const struct packet *p);

/* A new meaning of the links; cut is one way. */
void network_cut(struct world *w, uint32_t from, uint32_t to);
void network_heal(struct world *w);
