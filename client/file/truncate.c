/* truncate.c: truncations by this mount. One has the inode's turn, as a commit has. What is dirty when the size becomes
 * 0 is not committed first; it is set aside, and goes when it is known that the truncation has happened.
 *
 * One whose caller had to leave (interrupted, or out of time) may still happen until the metadata client knows its
 * outcome. Until then it keeps the turn: nothing that is written later can be committed before it and go with it, and
 * who syncs or closes waits to hear whether what he has written is gone because he wanted so, or lost. Whoever waits
 * for the turn looks for the outcome, and so does the flusher. */
#include "base/mem.h"
#include "client/file/internal.h"

/* With the turn, which ends. result, r: of the command. True: the file has changed. */
static bool end(struct file_inode *i, const struct truncation *c, enum err result, const struct meta_reply *r)
{
    bool told = result == ERR_OK && r->has_attr, done = told && r->status == ERR_OK;
    bool changed = done || (told && r->status == ERR_PARTIAL);
    if (c->set_aside && done)
        inode_drop_aside(i);
    else if (c->set_aside)
        inode_put_back(i);
    if (c->staged && done)
        inode_drop_staged(i);
    if (changed)
        inode_take_attr(i, &r->attr);
    else
        layout_forget(&i->layout);
    if (done && c->to_nothing && i->attr.version == r->attr.version)
        layout_learn(&i->layout, 0, UINT64_MAX, NULL, 0);
    i->size = inode_size_now(i);
    inode_end_turn(i);
    return changed;
}

void inode_settle(struct file_inode *i)
{
    enum err result;
    struct meta_reply reply;
    bool changed = false;
    pthread_mutex_lock(&i->lock);
    struct truncation left = i->left;
    if (left.seq != 0 && meta_client_outcome(i->files->meta, left.session, left.seq, &result, &reply)) {
        i->left = (struct truncation){0};
        changed = end(i, &left, result, &reply);
    }
    pthread_mutex_unlock(&i->lock);
    if (changed) /* the kernel has been told that it had failed */
        inode_pages_are_wrong(i);
}

enum err inode_await_settled(struct file_inode *i, struct rpc_cancel *cancel)
{
    enum err e = ERR_OK;
    pthread_mutex_lock(&i->lock);
    if (i->left.seq != 0) {
        e = inode_take_turn(i, cancel);
        if (e == ERR_OK)
            inode_end_turn(i);
    }
    pthread_mutex_unlock(&i->lock);
    return e;
}

/* The turn, and what it is to take away. Under the lock. */
static enum err begin(struct file_inode *i, bool to_nothing, struct rpc_cancel *cancel, struct truncation *ret)
{
    TRY(inode_take_turn(i, cancel));
    struct truncation c = {.to_nothing = to_nothing, .staged = to_nothing && i->staged};
    c.set_aside = to_nothing && (!dirty_empty(&i->dirty) || !list_empty(&i->full));
    enum err e = c.set_aside ? inode_set_aside(i, cancel) : ERR_OK;
    if (e == ERR_OK)
        *ret = c;
    else
        inode_end_turn(i);
    return e;
}

static enum err truncate_open(struct file_inode *i, struct meta_command *setattr, struct rpc_cancel *cancel,
                              struct meta_reply *ret)
{
    struct truncation c;
    if (setattr->setattr.size > 0)
        TRY(inode_commit(i, cancel));
    pthread_mutex_lock(&i->lock);
    enum err e = begin(i, setattr->setattr.size == 0, cancel, &c);
    bool known = i->attr.ino != 0; /* else it was not open lately, and no pages are to be kept */
    uint64_t before = i->attr.version;
    pthread_mutex_unlock(&i->lock);
    TRY(e);
    setattr->seq = 0;
    e = meta_client_call_kept(i->files->meta, setattr, cancel, ret);
    bool leaves = (e == ERR_CANCELLED || e == ERR_TIMEOUT) && setattr->seq != 0, changed = false;
    pthread_mutex_lock(&i->lock);
    if (leaves) {
        c.session = setattr->session;
        c.seq = setattr->seq;
        i->left = c;
    } else {
        changed = end(i, &c, e, ret);
    }
    pthread_mutex_unlock(&i->lock);
    if (leaves)
        flush_wake(i->files);
    if (changed && known)
        inode_own_change(i, before, 1, ret->attr.version);
    return e;
}

enum err file_truncate(struct open_files *t, struct meta_command *setattr, struct rpc_cancel *cancel,
                       struct meta_reply *ret)
{
    struct file_inode *i = inode_use(t, setattr->setattr.ino); /* also of one that isn't open: it may be left */
    pthread_mutex_lock(&i->lock);
    if (i->kill_set_id || i->kill_committing) /* what was written may be dropped, that it was written stays so */
        setattr->setattr.mask |= META_KILL_SET_ID;
    pthread_mutex_unlock(&i->lock);
    enum err e = truncate_open(i, setattr, cancel, ret);
    inode_leave(i);
    return e;
}
