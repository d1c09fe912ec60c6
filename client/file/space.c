/* space.c: the space of a file: holes made and looked for, sizes, and contents shared between files. All of it is
 * the metastore's: what is dirty here is committed first, so that it knows the file as this mount sees it. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/mem.h"
#include "client/file/internal.h"

static bool can_write(const struct open_file *h)
{
    return (h->flags & O_ACCMODE) != O_RDONLY;
}

static bool can_read(const struct open_file *h)
{
    return (h->flags & O_ACCMODE) != O_WRONLY;
}

/* A change of several commands under the inode's turn. Each names the version that it expects, as those of a commit of
 * contents do: one that was broken off can't take effect after what is written later. */
struct change {
    struct file_inode *inode;
    struct rpc_cancel *cancel;
    bool kill_set_id;
    uint64_t before;     /* the version when it began */
    unsigned commands;   /* that took effect */
    struct meta_attr at; /* the file as last told */
};

static enum err change_begin(struct change *c, struct file_inode *i, bool kill_set_id, struct rpc_cancel *cancel)
{
    TRY(inode_commit(i, cancel));
    pthread_mutex_lock(&i->lock);
    enum err e = inode_take_turn(i, cancel);
    if (e == ERR_OK)
        *c = (struct change){
            .inode = i, .cancel = cancel, .kill_set_id = kill_set_id, .before = i->attr.version, .at = i->attr};
    pthread_mutex_unlock(&i->lock);
    return e;
}

/* e: how it went. After an error some of it may still happen. */
static void change_end(struct change *c, enum err e)
{
    struct file_inode *i = c->inode;
    pthread_mutex_lock(&i->lock);
    if (c->commands > 0)
        inode_take_attr(i, &c->at);
    if (e != ERR_OK)
        layout_forget(&i->layout);
    inode_end_turn(i);
    pthread_mutex_unlock(&i->lock);
    if (c->commands > 0)
        inode_own_change(i, c->before, c->commands, c->at.version);
}

/* One command, made for the version c->at. ERR_VERSION: others have written meanwhile, c->at is the file now, and the
 * command is to be made anew. */
static enum err change_call(struct change *c, struct meta_command *command, struct meta_reply *ret)
{
    TRY(meta_client_call(c->inode->files->meta, command, c->cancel, ret));
    if (ret->status != ERR_OK && ret->status != ERR_VERSION)
        return ret->status;
    if (!ret->has_attr)
        return ERR_PROTOCOL;
    c->commands += ret->status == ERR_OK && ret->attr.version != c->at.version;
    c->at = ret->attr;
    return ret->status;
}

/* ---- fallocate ---- */

static enum err resize_at_least(struct change *c, uint64_t size)
{
    enum err e = ERR_OK;
    struct meta_reply reply;
    do {
        struct meta_command command = {.op = META_COMMIT,
                                       .commit = {.ino = c->inode->ino,
                                                  .size_at_least = size,
                                                  .has_expected_version = true,
                                                  .expected_version = c->at.version,
                                                  .kill_set_id = c->kill_set_id}};
        e = change_call(c, &command, &reply);
    } while (e == ERR_VERSION);
    return e;
}

/* Holes don't reach behind the end of file, which they would move. */
static enum err make_holes(struct change *c, uint64_t from, uint64_t to)
{
    uint64_t most = to - from;
    struct meta_reply reply;
    while (from < to && from < c->at.size) {
        struct meta_extent hole = {.file_offset = from, .length = MIN(MIN(to, c->at.size) - from, most)};
        struct meta_command command = {.op = META_COMMIT,
                                       .commit = {.ino = c->inode->ino,
                                                  .extents = &hole,
                                                  .extent_count = 1,
                                                  .has_expected_version = true,
                                                  .expected_version = c->at.version,
                                                  .kill_set_id = c->kill_set_id}};
        enum err e = change_call(c, &command, &reply);
        if (e == ERR_OK)
            from += hole.length;
        else if (e == ERR_SPLIT && hole.length > 1)
            most = hole.length / 2;
        else if (e != ERR_VERSION)
            return e;
    }
    return ERR_OK;
}

enum err file_allocate(struct open_file *h, int mode, uint64_t offset, uint64_t length, bool kill_set_id,
                       struct rpc_cancel *cancel)
{
    bool keeps_size = mode & FALLOC_FL_KEEP_SIZE, punches = mode & FALLOC_FL_PUNCH_HOLE;
    bool zeroes = punches || (mode & FALLOC_FL_ZERO_RANGE);
    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
        return ERR_NOTSUP;
    if (punches && (!keeps_size || (mode & FALLOC_FL_ZERO_RANGE)))
        return ERR_NOTSUP;
    if (atomic_load(&h->refused))
        return ERR_IO;
    if (!can_write(h))
        return ERR_BADF;
    if (length == 0)
        return ERR_INVAL;
    if (length > META_SIZE_MAX || offset > META_SIZE_MAX - length)
        return ERR_FBIG;
    struct change c;
    TRY(change_begin(&c, h->inode, kill_set_id, cancel));
    /* Blocks are shared and named by their contents: there is nothing that could be reserved. */
    enum err e = zeroes ? make_holes(&c, offset, offset + length) : ERR_OK;
    if (e == ERR_OK && !keeps_size && c.at.size < offset + length)
        e = resize_at_least(&c, offset + length);
    /* As with local file systems it counts as a change, with new times, and a program loses what it may do. */
    if (e == ERR_OK && c.commands == 0)
        e = resize_at_least(&c, 0);
    change_end(&c, e);
    return e;
}

/* ---- copy_file_range ---- */

static enum err clone_pieces(struct change *c, const struct meta_command *whole, uint64_t *ret_done)
{
    uint64_t done = 0, most = whole->clone.length;
    enum err e = ERR_OK;
    struct meta_reply reply;
    while (e == ERR_OK && done < whole->clone.length) {
        struct meta_command command = *whole;
        command.clone.source_offset += done;
        command.clone.offset += done;
        command.clone.length = MIN(whole->clone.length - done, most);
        command.clone.has_expected_version = true;
        command.clone.expected_version = c->at.version;
        e = change_call(c, &command, &reply);
        if (e == ERR_OK && reply.offset == 0)
            break; /* the end of the source */
        if (e == ERR_OK) {
            done += reply.offset;
        } else if (e == ERR_SPLIT && command.clone.length > 1) {
            most = command.clone.length / 2;
            e = ERR_OK;
        } else if (e == ERR_VERSION) {
            e = ERR_OK;
        }
    }
    *ret_done = done;
    return e;
}

enum err file_clone(struct file_place from, struct file_place to, uint64_t length, bool kill_set_id,
                    struct rpc_cancel *cancel, uint64_t *ret_done)
{
    if (atomic_load(&from.file->refused) || atomic_load(&to.file->refused))
        return ERR_IO;
    if (!can_read(from.file) || !can_write(to.file) || (to.file->flags & O_APPEND))
        return ERR_BADF;
    if (from.offset > META_SIZE_MAX || to.offset > META_SIZE_MAX)
        return ERR_FBIG;
    length = MIN(length, META_SIZE_MAX - MAX(from.offset, to.offset));
    uint64_t distance = from.offset < to.offset ? to.offset - from.offset : from.offset - to.offset;
    if (from.file->inode == to.file->inode && distance < length)
        return ERR_INVAL;
    if (from.file->inode != to.file->inode)
        TRY(inode_commit(from.file->inode, cancel));
    struct change c;
    TRY(change_begin(&c, to.file->inode, kill_set_id, cancel));
    if (from.file->inode == to.file->inode) /* what it grows by is not to be copied too */
        length = MIN(length, c.at.size > from.offset ? c.at.size - from.offset : 0);
    struct meta_command whole = {.op = META_CLONE,
                                 .clone = {.source = from.file->inode->ino,
                                           .ino = to.file->inode->ino,
                                           .source_offset = from.offset,
                                           .offset = to.offset,
                                           .length = length,
                                           .kill_set_id = kill_set_id}};
    uint64_t done;
    enum err e = clone_pieces(&c, &whole, &done);
    change_end(&c, e);
    if (e != ERR_OK && done == 0)
        return e;
    *ret_done = done;
    return ERR_OK;
}

/* ---- SEEK_DATA and SEEK_HOLE; under the lock ---- */

/* The first byte from `at` on that has data, or that has none. False: the layout is not known at *at, up to where it
 * was searched. */
static bool search(const struct layout *l, bool data, uint64_t size, uint64_t *at)
{
    while (*at < size) {
        if (!layout_knows(l, *at, *at + 1))
            return false;
        unsigned n = layout_find(l, *at);
        bool there = n < l->count && l->extents[n].file_offset <= *at && !meta_extent_is_hole(&l->extents[n]);
        if (there == data)
            return true;
        uint64_t known_to = layout_known_to(l, *at), next = known_to;
        if (n < l->count && l->extents[n].file_offset <= *at)
            next = l->extents[n].file_offset + l->extents[n].length;
        else if (n < l->count)
            next = l->extents[n].file_offset;
        *at = MIN(next, known_to);
    }
    return true;
}

enum err file_seek(struct open_file *h, uint64_t offset, bool data, struct rpc_cancel *cancel, uint64_t *ret)
{
    struct file_inode *i = h->inode;
    TRY(inode_commit(i, cancel));
    pthread_mutex_lock(&i->lock);
    bool stale = inode_is_stale(i);
    pthread_mutex_unlock(&i->lock);
    if (stale)
        TRY(inode_refresh(i, cancel));
    uint64_t at = offset;
    pthread_mutex_lock(&i->lock);
    while (!search(&i->layout, data, i->attr.size, &at)) {
        pthread_mutex_unlock(&i->lock);
        TRY(inode_learn_layout(i, at, cancel));
        pthread_mutex_lock(&i->lock);
    }
    uint64_t size = i->attr.size;
    pthread_mutex_unlock(&i->lock);
    if (offset >= size || (data && at >= size))
        return ERR_NOT_FOUND;
    *ret = MIN(at, size);
    return ERR_OK;
}
