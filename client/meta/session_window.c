#include "client/meta/session_window.h"

#include <string.h>

#include "base/check.h"

void session_window_init(struct session_window *w)
{
    memset(w, 0, sizeof *w);
    w->next = w->lowest = 1;
}

bool session_window_has_room(const struct session_window *w)
{
    return w->under_way < SESSION_WINDOW_UNDER_WAY && w->next - w->lowest < LIMIT_REPLY_WINDOW;
}

uint64_t session_window_take(struct session_window *w)
{
    CHECK(session_window_has_room(w));
    bool *slot = &w->outstanding[w->next % LIMIT_REPLY_WINDOW];
    CHECK(!*slot);
    *slot = true;
    w->under_way++;
    return w->next++;
}

void session_window_finish(struct session_window *w, uint64_t seq)
{
    CHECK(seq >= w->lowest && seq < w->next && w->outstanding[seq % LIMIT_REPLY_WINDOW]);
    w->outstanding[seq % LIMIT_REPLY_WINDOW] = false;
    w->under_way--;
    while (w->lowest < w->next && !w->outstanding[w->lowest % LIMIT_REPLY_WINDOW])
        w->lowest++;
}

uint64_t session_window_acked(const struct session_window *w)
{
    return w->lowest - 1;
}
