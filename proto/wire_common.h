/* wire_common.h: what every conversation starts with and how errors explain themselves.
 *
 * For all wire_*.h: encoders write into the arena and never fail (structs within their limits are CHECKed). Decoders
 * validate everything that the structs' headers bound and answer ERR_PROTOCOL with `why` (commands and queries of a
 * newer program: ERR_LEVEL); what they return is borrowed from the arena or from the input. protobuf-c allocates from
 * the arena only. Pure, thread-safe. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"

#define WIRE_VERSION_MIN 1u
#define WIRE_VERSION_MAX 1u

enum wire_hello_role { WIRE_ROLE_NODE = 1, WIRE_ROLE_CLIENT = 2, WIRE_ROLE_ADMIN = 3 };

struct wire_hello {
    enum wire_hello_role role;
    uint32_t version_min, version_max;
    uint32_t node_id;    /* of a node; else 0 */
    bool has_cluster_id; /* a node knows it once META_INIT was applied; a client once it has asked */
    uint8_t cluster_id[16];
    struct slice name;    /* for log lines; <= 255 bytes */
    uint8_t identity[16]; /* of a node's data directory; zero: not told */
    struct slice address; /* HOST:PORT where others reach a node; empty: not told */
};
struct slice wire_hello_encode(const struct wire_hello *h, struct arena *a);
enum err wire_hello_decode(struct slice s, struct arena *a, struct wire_hello *ret, struct err_text *why) MUST_USE;

/* The metastore's members, in the order of their ids. */
struct wire_members {
    uint64_t map_version; /* of the block servers; only in the answer to their reports, else 0: not told */
    uint64_t epoch;       /* of collection; in answers to those reports and to keepalives, else 0: not told */
    uint64_t released;    /* only in the answer to those reports: as in META_QUERY_BLOCK_REFS */
    unsigned count;       /* <= LIMIT_NODES */
    struct {
        uint32_t id;
        struct slice address;
    } list[LIMIT_NODES];
};
struct slice wire_members_encode(const struct wire_members *m, struct arena *a);
enum err wire_members_decode(struct slice s, struct arena *a, struct wire_members *ret, struct err_text *why) MUST_USE;

#define WIRE_TEXT_BYTES 1023u /* text for people: longer ones are cut by the encoder */

/* The message of a RESPONSE whose status is not OK and whose method has no reply of its own. */
struct wire_error {
    uint32_t leader_id;          /* 0: not known */
    struct slice leader_address; /* HOST:PORT; empty: not known */
    struct slice text;           /* for people; may be empty */
    bool not_done;               /* of a CALL: who answers has not put it into the log, and won't; else it may have */
};
struct slice wire_error_encode(const struct wire_error *e, struct arena *a);
/* Never fails: a detail that can't be read is an empty one. */
void wire_error_decode(struct slice s, struct arena *a, struct wire_error *ret);
