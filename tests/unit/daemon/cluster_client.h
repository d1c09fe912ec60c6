/* cluster_client.h: a metastore client of a test, as simple as one can be: finds the leader, repeats a command under
 * its number until it is answered. One thread. */
#pragma once

#include "meta/types.h"
#include "proto/wire_admin.h"
#include "rpc/channel.h"

struct cluster_client {
    struct rpc_channel *channels[LIMIT_NODES + 1]; /* by node id */
    unsigned count, leader;
    uint64_t session, seq;
    struct arena arena; /* of requests and replies; reset with each call */
    uint64_t retries;
};

/* Connects to nothing yet. */
void cluster_client_init(struct cluster_client *c, const uint16_t *ports, unsigned count);
/* And opens a session. */
void cluster_client_open(struct cluster_client *c, const uint16_t *ports, unsigned count);
void cluster_client_close(struct cluster_client *c);
/* The outcome, whatever it takes. Aborts when there is none within a minute. */
void cluster_client_call(struct cluster_client *c, struct meta_command *command, struct meta_reply *ret);
void cluster_client_query(struct cluster_client *c, struct meta_query *query, struct meta_query_reply *ret);
void cluster_client_keepalive(struct cluster_client *c);
/* Of one node; lives until the next call. */
enum err cluster_client_state(struct cluster_client *c, unsigned node, unsigned log_entries,
                              struct wire_admin_state *ret) MUST_USE;
/* One call of one node, once: its status; message and payload live until the next call. */
enum err cluster_client_once(struct cluster_client *c, unsigned node, unsigned method, struct slice message,
                             struct slice payload, struct slice *ret_message, struct slice *ret_payload) MUST_USE;
enum err cluster_client_admin(struct cluster_client *c, unsigned node, unsigned method, struct slice message) MUST_USE;
