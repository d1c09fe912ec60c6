/* gateway.h: other ways to a cluster than the mount, as part of surfd: HTTP (http_*.c) and a text protocol
 * (text_*.c).
 *
 * A gateway is a client as any mount is: it has a session of its own, opened at the first request that needs one, and
 * reaches the cluster through the client library, so that finding the leader, repeating and failing over are the
 * client's. It runs in threads of its own and shares nothing with the node but the process. Requests wait for the
 * cluster at most GATEWAY_PATIENCE_NS; then they are told so.
 *
 * Called by one thread. What can't be had at start (an address that is in use) is refused with a reason; afterwards no
 * failure of a gateway ends the process. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/clock.h"
#include "rpc/address.h"

#define GATEWAY_PATIENCE_NS (5 * NS_PER_S)
#define GATEWAY_NAMES 16u /* host names by which pages may be asked for */

enum gateway_files {
    GATEWAY_FILES_PUBLIC, /* what everybody may read by its permissions */
    GATEWAY_FILES_ALL,
    GATEWAY_FILES_NONE
};

struct gateway_http_options {
    uint16_t port;                      /* 0: off */
    char host[LIMIT_ADDRESS_BYTES + 1]; /* an IP address to listen on */
    bool admin;                         /* also callers who are not on this machine may crash nodes and the like */
    enum gateway_files files;
    char names[GATEWAY_NAMES][LIMIT_ADDRESS_BYTES + 1]; /* allowed in Host, beside addresses and localhost */
    unsigned name_count;
};

struct gateway_text_options {
    uint16_t port;                      /* 0: off */
    char host[LIMIT_ADDRESS_BYTES + 1]; /* an IP address to listen on */
};

struct gateway_options {
    uint32_t node_id;
    struct rpc_address own;                  /* this node */
    struct rpc_address servers[LIMIT_NODES]; /* members of the metastore, this node first if it is one; at least one */
    size_t server_count;
    const atomic_bool *crashed;     /* while it is set the node is to look dead: no service but administration */
    const _Atomic uint32_t *leader; /* of the metastore, as this node knows; 0: none */
    struct gateway_http_options http;
    struct gateway_text_options text;
};

struct gateway;

/* EXISTS_IN_USE, ADDRESS, NOMEM, ... with why. */
enum err gateway_open(const struct gateway_options *options, struct gateway **ret, struct err_text *why) MUST_USE;
/* Ends requests that are under way (they are answered 503), ends the session. NULL is allowed. The own node should
 * still be serving: leaving a cluster that doesn't answer takes up to some seconds. */
void gateway_close(struct gateway *g);
