/* session.c: sessions and the unlinked inodes that they keep alive. */
#include "base/check.h"
#include "meta/store.h"

enum err session_begin(struct meta *m, uint64_t id, bool *ret_found)
{
    TRY(session_get(m, id, &m->own, ret_found));
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

static void put_mark(struct meta *m, const struct schema_key *key)
{
    bytes_u8(&m->scratch, 1);
    store_put_scratch(m, key);
}

enum err orphan_add(struct meta *m, uint64_t session, uint64_t ino)
{
    struct row_session s;
    bool found;
    TRY(session_get(m, session, &s, &found));
    CHECK(found); /* a command of an unknown session does not get this far */
    s.orphans++;
    session_put(m, session, &s);
    struct schema_key key = schema_orphan(session, ino), reverse = schema_orphan_of(ino, session);
    put_mark(m, &key);
    put_mark(m, &reverse);
    return ERR_OK;
}

enum err orphan_is_held(struct meta *m, uint64_t session, uint64_t ino, struct arena *a, bool *ret)
{
    struct schema_key key = schema_orphan(session, ino);
    struct slice value = {0};
    return store_read(m, &key, a, &value, ret);
}

/* Whether a session other than this one holds the inode. */
static enum err held_by_another(struct meta *m, uint64_t ino, uint64_t session, bool *ret)
{
    struct schema_key from = schema_orphan_of(ino, 0);
    struct store_range range;
    struct slice key, value;
    *ret = false;
    store_range_open_prefix(m, &range, &from, 9);
    for (; !*ret && store_range_get(&range, &key, &value); store_range_next(&range))
        *ret = schema_key_u64(key, 9) != session;
    return store_range_close(&range);
}

enum err orphan_release(struct meta *m, struct row_session *s, uint64_t session, uint64_t ino)
{
    struct schema_key key = schema_orphan(session, ino), reverse = schema_orphan_of(ino, session);
    struct slice value = {0};
    bool found, held;
    TRY(store_get(m, &key, &value, &found));
    if (!found)
        return ERR_OK;
    store_delete(m, &key);
    store_delete(m, &reverse);
    CHECK(s->orphans > 0);
    s->orphans--;
    TRY(held_by_another(m, ino, session, &held));
    if (held)
        return ERR_OK;
    struct row_inode i;
    enum err e = inode_get(m, ino, &i);
    if (e == ERR_OK && i.attr.nlink == 0)
        inode_remove(m, &i);
    return e == ERR_STALE ? ERR_OK : e;
}
