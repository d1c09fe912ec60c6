/* op_session.c: a session begins and ends. */
#include <string.h>

#include "meta/lock_rows.h"
#include "meta/store.h"

OP(session_open)
{
    struct row_session s = {.opened_ns = m->time_ns,
                            .export = c->session_open.export,
                            .client = c->session_open.client,
                            .attaches = c->session_open.attaches};
    struct row_inode root;
    struct row_export row;
    struct schema_key nonce = schema_nonce(c->session_open.nonce);
    struct slice value = {0};
    bool found;
    TRY_OP(export_get(m, c->session_open.export, &row));
    s.root_ino = row.root_ino;
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
    *r = (struct meta_reply){.session = id, .export_options = row.options, .attr = root.attr, .has_attr = true};
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
    bool found, more = false;
    TRY_OP(session_get(m, id, &s, &found));
    if (!found)
        return outcome(r, ERR_SESSION_EXPIRED);
    /* From the first step on: its locks are going, and who finds them gone must not have to fear its late writes. */
    s.ending = true;
    session_put(m, id, &s);
    TRY_OP(lock_session_end(m, id, &more));
    TRY_OP(session_get(m, id, &s, &found));
    if (!more) {
        struct schema_key nonce = schema_nonce(s.nonce);
        TRY_OP(delete_replies(m, id, &s));
        session_delete(m, id);
        store_delete(m, &nonce);
    }
    *r = (struct meta_reply){.session = id, .more = more};
    return ERR_OK;
}
