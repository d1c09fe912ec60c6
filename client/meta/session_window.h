/* session_window.h: the numbers of a session's commands. Pure: no thread, no clock.
 *
 * Numbers count from 1. A number is outstanding from session_window_take until session_window_finish; what lies below
 * the lowest outstanding one is acknowledged to the metastore, which then forgets those replies. It keeps
 * LIMIT_REPLY_WINDOW of them, so a number may be at most that far above what is acknowledged. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"

#define SESSION_WINDOW_UNDER_WAY (LIMIT_REPLY_WINDOW / 2)

struct session_window {
    uint64_t next;                        /* the number to be given out next */
    uint64_t lowest;                      /* lowest outstanding one; == next when there is none */
    unsigned under_way;                   /* outstanding ones */
    bool outstanding[LIMIT_REPLY_WINDOW]; /* by number % LIMIT_REPLY_WINDOW */
};

void session_window_init(struct session_window *w);
/* False: too many are under way, or the oldest one stands too far back. */
bool session_window_has_room(const struct session_window *w);
/* There must be room. */
uint64_t session_window_take(struct session_window *w);
void session_window_finish(struct session_window *w, uint64_t seq);
/* Every reply up to and including this number has come. */
uint64_t session_window_acked(const struct session_window *w);
