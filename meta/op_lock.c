/* op_lock.c: advisory locks are taken, changed, given up and waited for. */
#include "base/mem.h"
#include "meta/lock_rows.h"

static enum err finish(struct lock_file *f, const struct meta_command *c, struct meta_reply *r)
{
    const struct meta_lock *lock = &c->lock.lock;
    struct row_session s;
    bool found;
    unsigned before = lock_list_weight(&f->before), now = lock_list_weight(&f->now);
    /* Also an unlock may be one too many, when it splits a range. */
    if (now > LIMIT_FILE_LOCKS && now > before)
        return ERR_NOLCK;
    TRY(lock_file_save(f));
    TRY(session_get(f->m, c->session, &s, &found));
    if (found && s.locks > LIMIT_SESSION_LOCKS && now > before)
        return ERR_NOLCK;
    r->held = lock_list_held(&f->now, c->session, lock->owner);
    return ERR_OK;
}

static enum err begin_to_wait(struct lock_file *f, const struct meta_command *c, struct meta_reply *r)
{
    struct meta *m = f->m;
    const struct meta_lock *lock = &c->lock.lock;
    struct row_lock row = {.lock = *lock, .session = c->session, .ticket = m->next.applied};
    bool freed = false, deadlock = false;
    if (lock->kind == META_LOCK_POSIX)
        TRY(lock_would_deadlock(f, c->session, lock, &deadlock));
    if (deadlock)
        return ERR_DEADLK;
    TRY(lock_wait_place(m, c->session, &row.wait_place));
    if (lock->kind == META_LOCK_FLOCK) {
        /* As everywhere, a flock is changed by giving it up first: two that want to make their read locks write locks
         * would wait for each other for ever. */
        struct meta_lock unlock = *lock;
        unlock.type = META_LOCK_UNLOCK;
        freed = lock_list_set(&f->now, c->session, &unlock);
    }
    lock_list_add(&f->now, &row, LOCK_LIST_NEW);
    lock_file_touch(f, c->session);
    if (freed)
        lock_file_grant(f);
    struct schema_key key = schema_lock_wait(c->session, row.wait_place);
    row_lock_wait_encode(
        &(struct row_lock_wait){.ino = f->ino, .owner = lock->owner, .ticket = row.ticket, .kind = lock->kind},
        &m->scratch);
    store_put_scratch(m, &key);
    r->ticket = row.ticket;
    r->place = row.wait_place;
    return finish(f, c, r);
}

static enum err lock_or_wait(struct lock_file *f, const struct meta_command *c, struct meta_reply *r)
{
    const struct meta_lock *lock = &c->lock.lock;
    bool hindered = lock->type != META_LOCK_UNLOCK && lock_list_conflict(&f->now, c->session, lock) < f->now.count;
    if (hindered)
        return c->lock.wait ? begin_to_wait(f, c, r) : ERR_WOULD_BLOCK;
    lock_file_touch(f, c->session);
    if (lock_list_set(&f->now, c->session, lock))
        lock_file_grant(f);
    return finish(f, c, r);
}

OP(lock)
{
    struct lock_file f = {0};
    struct row_inode inode;
    struct meta_reply reply = {0};
    /* A lock can be given up when its file has gone. */
    bool unlock = c->lock.lock.type == META_LOCK_UNLOCK;
    if (!unlock)
        TRY_OP(inode_get(m, c->lock.ino, &inode));
    enum err e = lock_file_open(&f, m, c->lock.ino, c->lock.lock.kind);
    if (e == ERR_OK)
        e = lock_or_wait(&f, c, &reply);
    lock_file_close(&f);
    TRY_OP(e);
    if (!unlock) {
        reply.attr = inode.attr;
        reply.has_attr = true;
    }
    *r = reply;
    return ERR_OK;
}

static enum err stop_waiting(struct lock_file *f, uint64_t session, uint64_t owner, uint64_t ticket, uint32_t place,
                             struct meta_reply *r)
{
    unsigned at = 0;
    while (at < f->now.count && f->now.entries[at].row.ticket != ticket)
        at++;
    if (at == f->now.count)
        return ERR_CORRUPT; /* the session's row says that it is there */
    struct schema_key key = schema_lock_wait(session, place);
    lock_list_remove(&f->now, at);
    lock_file_touch(f, session);
    store_delete(f->m, &key);
    TRY(lock_file_save(f));
    r->held = lock_list_held(&f->now, session, owner);
    return ERR_OK;
}

OP(lock_cancel)
{
    struct row_lock_wait row;
    struct lock_file f = {0};
    bool found;
    TRY_OP(lock_wait_get(m, c->session, c->lock_cancel.place, &row, &found));
    if (!found || row.ticket != c->lock_cancel.ticket)
        return outcome(r, ERR_NOT_FOUND);
    *r = (struct meta_reply){0};
    enum err e = lock_file_open(&f, m, row.ino, row.kind);
    if (e == ERR_OK)
        e = stop_waiting(&f, c->session, row.owner, row.ticket, c->lock_cancel.place, r);
    lock_file_close(&f);
    return e;
}
