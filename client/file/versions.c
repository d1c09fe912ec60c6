/* versions.c: of which version is what is here of a file, and what the kernel's pages hold; asking for newer. */
#include "base/mem.h"
#include "client/file/internal.h"

#define KERNEL_VERSIONS_MAX 65536u

bool inode_is_stale(const struct file_inode *i)
{
    return i->changes_seen < i->changes;
}

bool exchange_kernel_version(struct open_files *t, uint64_t ino, uint64_t version, uint64_t *ret_old)
{
    pthread_mutex_lock(&t->lock);
    uintptr_t old = (uintptr_t)map_u64_get(&t->kernel_versions, ino);
    if (!old && t->kernel_versions.count >= KERNEL_VERSIONS_MAX)
        map_u64_free(&t->kernel_versions); /* forgetting costs a re-read at most */
    map_u64_put(&t->kernel_versions, ino, (void *)(uintptr_t)(version + 1));
    pthread_mutex_unlock(&t->lock);
    *ret_old = old ? old - 1 : 0;
    return old != 0;
}

bool inode_pages_are_current(struct file_inode *i)
{
    struct open_files *t = i->files;
    pthread_mutex_lock(&t->lock);
    uintptr_t pages = (uintptr_t)map_u64_get(&t->kernel_versions, i->ino);
    pthread_mutex_lock(&i->lock);
    bool current = pages == i->attr.version + 1;
    pthread_mutex_unlock(&i->lock);
    pthread_mutex_unlock(&t->lock);
    return current;
}

bool file_pages_are_current(struct open_files *t, uint64_t ino)
{
    struct file_inode *i = inode_find(t, ino);
    if (!i)
        return false;
    bool current = inode_pages_are_current(i);
    inode_leave(i);
    return current;
}

void inode_own_change(struct file_inode *i, uint64_t before, unsigned changes, uint64_t version)
{
    struct open_files *t = i->files;
    pthread_mutex_lock(&t->lock);
    uintptr_t old = (uintptr_t)map_u64_get(&t->kernel_versions, i->ino);
    bool undisturbed = old == before + 1 && version == before + changes;
    if (undisturbed)
        map_u64_put(&t->kernel_versions, i->ino, (void *)(uintptr_t)(version + 1));
    else
        map_u64_remove(&t->kernel_versions, i->ino);
    pthread_mutex_unlock(&t->lock);
    if (old && !undisturbed && t->options.on_stale)
        t->options.on_stale(t->options.context, i->ino);
}

void inode_pages_are_wrong(struct file_inode *i)
{
    struct open_files *t = i->files;
    pthread_mutex_lock(&t->lock);
    map_u64_remove(&t->kernel_versions, i->ino);
    pthread_mutex_unlock(&t->lock);
    if (t->options.on_stale)
        t->options.on_stale(t->options.context, i->ino);
}

uint64_t inode_size_now(const struct file_inode *i)
{
    uint64_t size = MAX(i->attr.size + i->staged_size, MAX(dirty_end(&i->dirty), dirty_end(&i->committing)));
    const struct list *lists[] = {&i->full, &i->full_committing};
    for (unsigned l = 0; l < 2; l++)
        list_for_each (n, lists[l])
            size = MAX(size, (container_of(n, struct full_chunk, node)->index + 1) * CHUNK_BYTES);
    return size;
}

void inode_take_attr(struct file_inode *i, const struct meta_attr *attr)
{
    if (attr->version < i->attr.version)
        return; /* an answer that was overtaken */
    if (attr->version != i->attr.version || attr->content_id != i->attr.content_id)
        layout_forget(&i->layout);
    i->attr = *attr;
    i->size = inode_size_now(i);
}

void inode_take_changes(struct file_inode *i, const struct meta_attr *attr, unsigned changes,
                        const struct meta_extent *extents, unsigned count)
{
    struct layout known = {0};
    bool undisturbed = attr->version == i->attr.version + changes && attr->content_id == i->attr.content_id;
    if (undisturbed) {
        known = i->layout;
        i->layout = (struct layout){0};
    }
    inode_take_attr(i, attr);
    if (!undisturbed)
        return;
    layout_free(&i->layout);
    i->layout = known;
    layout_replace(&i->layout, extents, count);
}

enum err inode_ask_open(struct file_inode *i, bool writer, struct rpc_cancel *cancel)
{
    struct arena a = {0};
    struct meta_query query = {.op = META_QUERY_OPEN, .ino = i->ino, .max_count = 64, .writer = writer};
    struct meta_query_reply reply;
    pthread_mutex_lock(&i->lock);
    i->refresh = false;
    uint64_t changes = i->changes; /* one that comes from now on may not be in the answer */
    pthread_mutex_unlock(&i->lock);
    enum err e = meta_client_query(i->files->meta, &query, cancel, &a, &reply);
    if (e == ERR_OK)
        e = reply.status;
    if (e == ERR_OK && !reply.has_attr)
        e = ERR_PROTOCOL;
    if (e == ERR_OK)
        inline_learn(i->files, &reply);
    pthread_mutex_lock(&i->lock);
    if (e == ERR_OK) {
        if (changes > i->changes_seen)
            layout_forget(&i->layout); /* pieces may have been merged, which makes no new version */
        i->changes_seen = MAX(i->changes_seen, changes);
        inode_take_attr(i, &reply.attr);
        if (reply.attr.version == i->attr.version) {
            uint64_t known = UINT64_MAX;
            if (!reply.end)
                known = reply.extent_count ? reply.extents[reply.extent_count - 1].file_offset +
                                                 reply.extents[reply.extent_count - 1].length
                                           : 0;
            layout_learn(&i->layout, 0, known, reply.extents, reply.extent_count);
        }
    }
    pthread_mutex_unlock(&i->lock);
    arena_free(&a);
    return e;
}

enum err inode_refresh(struct file_inode *i, struct rpc_cancel *cancel)
{
    pthread_mutex_lock(&i->lock);
    bool writer = i->writers > 0;
    pthread_mutex_unlock(&i->lock);
    return inode_ask_open(i, writer, cancel);
}

static bool kernel_has_version(struct open_files *t, uint64_t ino, uint64_t version)
{
    pthread_mutex_lock(&t->lock);
    bool has = (uintptr_t)map_u64_get(&t->kernel_versions, ino) == version + 1;
    pthread_mutex_unlock(&t->lock);
    return has;
}

/* Where the blocks are is not asked of what the kernel has pages of: mostly nothing will be read. */
bool inode_is_current(struct file_inode *i)
{
    struct meta_attr attr;
    if (!i->files->options.known || !known_attr(i->files->options.known, i->ino, &attr))
        return false;
    bool in_kernel = kernel_has_version(i->files, i->ino, attr.version);
    pthread_mutex_lock(&i->lock);
    bool complete = attr.version == i->attr.version && attr.content_id == i->attr.content_id &&
                    attr.size == i->attr.size && layout_knows(&i->layout, 0, MAX(attr.size, (uint64_t)1));
    bool current = !inode_is_stale(i) && (complete || (in_kernel && attr.version >= i->attr.version));
    if (current)
        inode_take_attr(i, &attr); /* times may be newer */
    pthread_mutex_unlock(&i->lock);
    return current;
}
