/* session.c: rows of sessions. */
#include "base/check.h"
#include "meta/store.h"

enum err session_begin(struct meta *m, uint64_t id, bool *ret_found)
{
    TRY(session_get(m, id, &m->own, ret_found));
    /* Its end may take several steps: what it held is going, so it must not act as if it had it. */
    *ret_found = *ret_found && !m->own.ending;
    m->own_id = *ret_found ? id : 0;
    m->own_before = m->own;
    return ERR_OK;
}

enum err session_get(struct meta *m, uint64_t id, struct row_session *ret, bool *ret_found)
{
    if (id != 0 && id == m->own_id) {
        *ret = m->own;
        *ret_found = true;
        return ERR_OK;
    }
    struct schema_key key = schema_session(id);
    struct slice value = {0};
    TRY(store_get(m, &key, &value, ret_found));
    return *ret_found ? row_session_decode(value, ret) : ERR_OK;
}

void session_put(struct meta *m, uint64_t id, const struct row_session *s)
{
    if (id == m->own_id) {
        m->own = *s;
        return;
    }
    struct schema_key key = schema_session(id);
    row_session_encode(s, &m->scratch);
    store_put_scratch(m, &key);
}

void session_delete(struct meta *m, uint64_t id)
{
    struct schema_key key = schema_session(id);
    store_delete(m, &key);
    if (id == m->own_id)
        m->own_id = 0;
}

void session_end_apply(struct meta *m)
{
    if (m->own_id == 0)
        return;
    uint64_t id = m->own_id;
    m->own_id = 0;
    session_put(m, id, &m->own);
}
