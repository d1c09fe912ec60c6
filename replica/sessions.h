/* sessions.h: when each session was last heard of: the leader's memory, never replicated. Pure; the caller gives the
 * time (clock_boot_ns), one thread. Bounded by the number of sessions that the replicated state holds. */
#pragma once

#include "base/map.h"

struct sessions {
    struct map_u64 map; /* id -> struct session */
};

/* Starts its time; a session that is known just counts as heard of. */
void sessions_add(struct sessions *s, uint64_t id, int64_t now_ns);
void sessions_remove(struct sessions *s, uint64_t id);
/* False: not known. */
bool sessions_touch(struct sessions *s, uint64_t id, int64_t now_ns);
/* Known, and its end is not under way. */
bool sessions_is_alive(const struct sessions *s, uint64_t id);
/* -1: not known */
int64_t sessions_silent_ns(const struct sessions *s, uint64_t id, int64_t now_ns);
/* One session that has been silent for timeout_ns and was not returned before; its end is then under way. 0: none. If
 * the attempt to end it fails, sessions_retry makes it eligible again. */
uint64_t sessions_next_expired(struct sessions *s, int64_t now_ns, int64_t timeout_ns);
void sessions_retry(struct sessions *s, uint64_t id);
void sessions_clear(struct sessions *s);
