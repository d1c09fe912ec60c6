/* place.c: who somebody is and where something is, for people who watch. Not queries: nobody is granted anything. */
#include "meta/store.h"

enum err meta_place(struct meta *m, uint64_t ino, struct arena *arena, struct meta_place *ret)
{
    struct schema_key key = schema_inode(ino);
    struct slice value = {0};
    struct row_inode row = {0};
    bool found;
    TRY(store_read(m, &key, arena, &value, &found));
    if (found)
        TRY(row_inode_decode(value, &row));
    *ret = (struct meta_place){.parent = row.parent, .name = row.name};
    return ERR_OK;
}

enum err meta_request_is_over(struct meta *m, uint64_t session, uint64_t seq, bool *ret)
{
    struct arena arena = {0};
    struct schema_key key = schema_session(session), reply = schema_reply(session, seq);
    struct slice value = {0};
    struct row_session row = {0};
    bool found;
    enum err e = store_read(m, &key, &arena, &value, &found);
    if (e == ERR_OK && found)
        e = row_session_decode(value, &row);
    /* A session's id is the index of the entry that opened it, which may be one that this member has not applied yet.
     */
    bool over = found ? row.ending || seq <= row.acked : session <= m->state.applied;
    if (e == ERR_OK && found && !over)
        e = store_read(m, &reply, &arena, &value, &over);
    arena_free(&arena);
    *ret = over;
    return e;
}

enum err meta_session_client(struct meta *m, uint64_t session, struct arena *arena, struct slice *ret)
{
    struct schema_key key = schema_session(session);
    struct slice value = {0};
    struct row_session row = {0};
    bool found;
    TRY(store_read(m, &key, arena, &value, &found));
    if (found)
        TRY(row_session_decode(value, &row));
    *ret = row.client;
    return ERR_OK;
}
