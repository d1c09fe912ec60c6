/* lock_waits.c: what sessions wait for, by session: places, and who waits for whom. */
#include "base/mem.h"
#include "meta/lock_rows.h"

/* Who is looked at in the search for a cycle: as many as a row of processes that wait for one another may be long. */
#define OWNERS_MAX 64u

enum err lock_wait_get(struct meta *m, uint64_t session, uint32_t place, struct row_lock_wait *ret, bool *ret_found)
{
    struct schema_key key = schema_lock_wait(session, place);
    struct slice value = {0};
    TRY(store_get(m, &key, &value, ret_found));
    return *ret_found ? row_lock_wait_decode(value, ret) : ERR_OK;
}

/* Goes through the session's rows; *ret_free is the first place that none has. */
static enum err each_wait(struct meta *m, uint64_t session,
                          enum err (*function)(void *context, const struct row_lock_wait *row), void *context,
                          uint32_t *ret_free)
{
    struct schema_key from = schema_lock_wait(session, 0);
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    uint32_t next = 0;
    store_range_open_prefix(m, &range, &from, 9);
    for (; e == ERR_OK && store_range_get(&range, &key, &value); store_range_next(&range)) {
        struct row_lock_wait row;
        uint32_t place;
        e = row_lock_wait_decode(value, &row);
        if (e == ERR_OK)
            e = schema_key_place(key, 9, &place);
        if (e == ERR_OK && place == next)
            next++;
        if (e == ERR_OK && function)
            e = function(context, &row);
    }
    enum err closed = store_range_close(&range);
    TRY(e);
    TRY(closed);
    *ret_free = next;
    return ERR_OK;
}

enum err lock_wait_place(struct meta *m, uint64_t session, uint32_t *ret)
{
    uint32_t place;
    TRY(each_wait(m, session, NULL, NULL, &place));
    if (place >= LIMIT_SESSION_WAITS)
        return ERR_NOLCK;
    *ret = place;
    return ERR_OK;
}

/* ---- cycles ---- */

struct owner {
    uint64_t session, owner;
};
struct search {
    struct meta *m;
    struct owner from;               /* who wants to wait */
    struct owner owners[OWNERS_MAX]; /* whom he would wait for, and whom they wait for */
    unsigned count, at;
    bool found;
};

static void search_add(struct search *s, const struct row_lock *held)
{
    struct owner o = {held->session, held->lock.owner};
    if (o.session == s->from.session && o.owner == s->from.owner)
        s->found = true;
    for (unsigned i = 0; i < s->count; i++)
        if (s->owners[i].session == o.session && s->owners[i].owner == o.owner)
            return;
    if (s->count < OWNERS_MAX)
        s->owners[s->count++] = o;
}

static void search_add_holders(struct search *s, const struct lock_list *l, uint64_t session,
                               const struct meta_lock *lock)
{
    for (unsigned i = 0; i < l->count; i++)
        if (lock_is_in_the_way(&l->entries[i].row, session, lock))
            search_add(s, &l->entries[i].row);
}

static enum err search_wait(void *context, const struct row_lock_wait *row)
{
    struct search *s = context;
    const struct owner *o = &s->owners[s->at];
    if (row->kind != META_LOCK_POSIX || row->owner != o->owner || s->found)
        return ERR_OK;
    struct lock_file f;
    enum err e = lock_file_open(&f, s->m, row->ino, row->kind);
    for (unsigned i = 0; e == ERR_OK && i < f.now.count; i++)
        if (f.now.entries[i].row.ticket == row->ticket)
            search_add_holders(s, &f.now, o->session, &f.now.entries[i].row.lock);
    lock_file_close(&f);
    return e;
}

enum err lock_would_deadlock(const struct lock_file *f, uint64_t session, const struct meta_lock *lock, bool *ret)
{
    struct search s = {.m = f->m, .from = {session, lock->owner}};
    uint32_t place;
    search_add_holders(&s, &f->now, session, lock);
    for (; s.at < s.count && !s.found; s.at++)
        TRY(each_wait(f->m, s.owners[s.at].session, search_wait, &s, &place));
    *ret = s.found;
    return ERR_OK;
}

/* ---- queries ---- */

enum err query_lock_test(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct lock_file f;
    (void)a;
    enum err e = lock_file_open(&f, m, q->ino, q->lock.kind);
    if (e == ERR_OK) {
        unsigned at = lock_list_conflict(&f.now, q->session, &q->lock);
        r->lock = q->lock;
        r->lock.type = META_LOCK_UNLOCK;
        r->lock.pid = 0;
        if (at < f.now.count) {
            r->lock = f.now.entries[at].row.lock;
            /* A number of another machine would name somebody else here. */
            if (f.now.entries[at].row.session != q->session)
                r->lock.pid = 0;
        }
        r->lock.owner = 0;
    }
    lock_file_close(&f);
    return e;
}

enum err query_lock_wait(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct schema_key session_key = schema_session(q->session), key = schema_lock_wait(q->session, q->place);
    struct row_session session;
    struct row_lock_wait row;
    struct row_inode inode;
    struct slice value = {0};
    bool found;
    TRY(store_read(m, &session_key, a, &value, &found));
    if (found)
        TRY(row_session_decode(value, &session));
    if (!found || session.ending)
        return ERR_SESSION_EXPIRED;
    TRY(store_read(m, &key, a, &value, &found));
    if (found)
        TRY(row_lock_wait_decode(value, &row));
    if (found && row.ticket == q->ticket) {
        r->waiting = true;
        return ERR_OK;
    }
    enum err e = inode_read(m, q->ino, a, &inode);
    r->has_attr = e == ERR_OK;
    if (r->has_attr)
        r->attr = inode.attr;
    return e == ERR_STALE ? ERR_OK : e; /* the lock is held all the same */
}
