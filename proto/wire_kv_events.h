/* wire_kv_events.h: what happens in the key/value space, for who watches it. */
#pragma once

#include "meta/types.h"
#include "proto/wire_common.h"

/* Asks for what came after an index, and is held until there is something or a moment has passed. */
struct wire_kv_events_query {
    uint64_t after;
    bool from_now;       /* in place of after: answered at once, with no events and where they begin */
    struct slice prefix; /* <= LIMIT_KV_KEY_BYTES; empty: of all keys */
};
#define WIRE_KV_EVENTS 512u
_Static_assert(LIMIT_KV_EXPIRE <= WIRE_KV_EVENTS && LIMIT_KV_KEYS <= WIRE_KV_EVENTS, "an entry's events fit in one");
_Static_assert(WIRE_KV_EVENTS *(LIMIT_KV_KEY_BYTES + 64) <= LIMIT_FRAME_MESSAGE_BYTES, "and that in a frame");
struct wire_kv_events {
    uint64_t through;     /* everything up to this index has been looked at: the next question's `after` */
    uint64_t missed_upto; /* events up to this index are not known any more; 0: none are missing */
    const struct meta_kv_event *list;
    unsigned count; /* <= WIRE_KV_EVENTS */
};

struct slice wire_kv_events_query_encode(const struct wire_kv_events_query *q, struct arena *a);
enum err wire_kv_events_query_decode(struct slice s, struct arena *a, struct wire_kv_events_query *ret,
                                     struct err_text *why) MUST_USE;
struct slice wire_kv_events_encode(const struct wire_kv_events *e, struct arena *a);
enum err wire_kv_events_decode(struct slice s, struct arena *a, struct wire_kv_events *ret,
                               struct err_text *why) MUST_USE;
