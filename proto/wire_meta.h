/* wire_meta.h: commands and queries of the metastore. The encoded command is also the data of a log entry, so its
 * protobuf form is a storage format: fields are only ever added. */
#pragma once

#include "meta/types.h"
#include "proto/wire_common.h"

struct slice wire_meta_command_encode(const struct meta_command *c, struct arena *a);
enum err wire_meta_command_decode(struct slice s, struct arena *a, struct meta_command *ret,
                                  struct err_text *why) MUST_USE;

struct slice wire_meta_reply_encode(const struct meta_reply *r, struct arena *a);
enum err wire_meta_reply_decode(struct slice s, struct arena *a, struct meta_reply *ret, struct err_text *why) MUST_USE;

struct slice wire_meta_query_encode(const struct meta_query *q, struct arena *a);
enum err wire_meta_query_decode(struct slice s, struct arena *a, struct meta_query *ret, struct err_text *why) MUST_USE;

/* An entry without attributes has attr.ino 0. Sessions beyond WIRE_SESSIONS are left out. */
#define WIRE_SESSIONS 4096u
struct slice wire_meta_query_reply_encode(const struct meta_query_reply *r, struct arena *a);
enum err wire_meta_query_reply_decode(struct slice s, struct arena *a, struct meta_query_reply *ret,
                                      struct err_text *why) MUST_USE;

struct wire_keepalive {
    uint64_t session;
    uint64_t attachment; /* the present one, to be renewed; 0: none */
    uint64_t attach;     /* with attachment 0: begin one, nothing is kept here; counts up in a session. 0: don't */
    bool keeps;          /* with attach: it wants grants; else it is told of unlinked inodes only */
};
struct wire_keepalive_reply {
    uint64_t map_version; /* of META_QUERY_CLUSTER */
    uint64_t attachment;  /* renewed or new; 0: there is none, what was kept must not be believed */
    uint32_t session_timeout_ms;
    struct wire_members members;
};
struct slice wire_keepalive_encode(const struct wire_keepalive *k, struct arena *a);
enum err wire_keepalive_decode(struct slice s, struct arena *a, struct wire_keepalive *ret,
                               struct err_text *why) MUST_USE;
struct slice wire_keepalive_reply_encode(const struct wire_keepalive_reply *k, struct arena *a);
enum err wire_keepalive_reply_decode(struct slice s, struct arena *a, struct wire_keepalive_reply *ret,
                                     struct err_text *why) MUST_USE;

/* Asks for notices, and is held until there are some or a moment has passed. */
struct wire_notices_query {
    uint64_t session, attachment;
    uint64_t acknowledged;   /* all notices up to this number have been heeded */
    uint64_t *released;      /* orphans of such notices that are not open here and won't be */
    unsigned released_count; /* <= WIRE_NOTICES */
};
#define WIRE_NOTICES 4096u
struct wire_notices {
    uint64_t seq; /* the number of the last one; without any, what was acknowledged */
    struct meta_notice *list;
    unsigned count; /* <= WIRE_NOTICES */
};
struct slice wire_notices_query_encode(const struct wire_notices_query *q, struct arena *a);
enum err wire_notices_query_decode(struct slice s, struct arena *a, struct wire_notices_query *ret,
                                   struct err_text *why) MUST_USE;
struct slice wire_notices_encode(const struct wire_notices *n, struct arena *a);
enum err wire_notices_decode(struct slice s, struct arena *a, struct wire_notices *ret, struct err_text *why) MUST_USE;
