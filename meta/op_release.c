#include "meta/store.h"

OP(release)
{
    struct row_session s;
    bool found;
    TRY_OP(session_get(m, c->session, &s, &found));
    if (!found)
        return outcome(r, ERR_SESSION_EXPIRED);
    for (unsigned i = 0; i < c->release.count; i++)
        TRY_OP(orphan_release(m, &s, c->session, c->release.inos[i]));
    session_put(m, c->session, &s);
    return outcome(r, ERR_OK);
}
