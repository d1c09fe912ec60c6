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
};
struct wire_keepalive_reply {
    uint64_t map_version; /* of META_QUERY_CLUSTER */
    uint32_t session_timeout_ms;
    struct wire_members members;
};
struct slice wire_keepalive_encode(const struct wire_keepalive *k, struct arena *a);
enum err wire_keepalive_decode(struct slice s, struct arena *a, struct wire_keepalive *ret,
                               struct err_text *why) MUST_USE;
struct slice wire_keepalive_reply_encode(const struct wire_keepalive_reply *k, struct arena *a);
enum err wire_keepalive_reply_decode(struct slice s, struct arena *a, struct wire_keepalive_reply *ret,
                                     struct err_text *why) MUST_USE;
