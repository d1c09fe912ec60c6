/* op_session.c: a session begins and ends. */
#include <string.h>

#include "meta/store.h"

static enum err export_root(struct meta *m, struct slice name, uint64_t *ret)
{
    struct schema_key key = schema_export(name);
    struct slice value = {0};
    bool found;
    TRY(store_get(m, &key, &value, &found));
    if (!found)
        return ERR_NO_EXPORT;
    if (value.size != 9)
        return ERR_CORRUPT;
    *ret = get_u64be(value.data + 1);
    return ERR_OK;
}

OP(session_open)
{
    struct row_session s = {
        .opened_ns = m->time_ns, .export = c->session_open.export, .client = c->session_open.client};
    struct row_inode root;
    struct schema_key nonce = schema_nonce(c->session_open.nonce);
    struct slice value = {0};
    bool found;
    TRY_OP(export_root(m, c->session_open.export, &s.root_ino));
    TRY_OP(inode_get_named(m, s.root_ino, &root));
    uint64_t id = m->next.applied;
    TRY_OP(store_get(m, &nonce, &value, &found));
    if (found) {
        /* The client asks again because it did not get the answer. */
        if (value.size != 8)
            return ERR_CORRUPT;
        id = get_u64be(value.data);
    } else {
        memcpy(s.nonce, c->session_open.nonce, 16);
        session_put(m, id, &s);
        bytes_u64(&m->scratch, id);
        store_put_scratch(m, &nonce);
    }
    *r = (struct meta_reply){.session = id, .attr = root.attr, .has_attr = true};
    return ERR_OK;
}

/* Rows of one orphan's end: two marks, the inode, its garbage mark. */
#define ORPHANS_PER_END (LIMIT_COMMAND_ROWS / 8)

static enum err release_orphans(struct meta *m, struct row_session *s, uint64_t session, bool *ret_more)
{
    uint64_t inos[ORPHANS_PER_END];
    unsigned count = 0;
    struct schema_key from = schema_orphan(session, 0);
    struct store_range range;
    struct slice key, value;
    *ret_more = false;
    store_range_open_prefix(m, &range, &from, 9);
    for (; store_range_get(&range, &key, &value); store_range_next(&range)) {
        if (count == ORPHANS_PER_END) {
            *ret_more = true;
            break;
        }
        inos[count++] = schema_key_u64(key, 9);
    }
    TRY(store_range_close(&range));
    for (unsigned i = 0; i < count; i++)
        TRY(orphan_release(m, s, session, inos[i]));
    return ERR_OK;
}

static enum err delete_replies(struct meta *m, uint64_t session, const struct row_session *s)
{
    struct schema_key first = schema_reply(session, s->acked), last = schema_reply(session, s->last_seq);
    struct schema_key end = schema_prefix_end(&last, last.size);
    struct store_range range;
    struct slice key, value;
    store_range_open(m, &range, &first, &end);
    for (; store_range_get(&range, &key, &value); store_range_next(&range)) {
        struct schema_key reply = schema_reply(session, schema_key_u64(key, 9));
        store_delete(m, &reply);
    }
    return store_range_close(&range);
}

OP(session_end)
{
    uint64_t id = c->session_end.session;
    struct row_session s;
    bool found, more;
    TRY_OP(session_get(m, id, &s, &found));
    if (!found)
        return outcome(r, ERR_SESSION_EXPIRED);
    TRY_OP(release_orphans(m, &s, id, &more));
    if (more) {
        session_put(m, id, &s);
    } else {
        struct schema_key nonce = schema_nonce(s.nonce);
        TRY_OP(delete_replies(m, id, &s));
        session_delete(m, id);
        store_delete(m, &nonce);
    }
    *r = (struct meta_reply){.session = id, .more = more};
    return ERR_OK;
}
