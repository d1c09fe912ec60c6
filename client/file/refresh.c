/* refresh.c: what locks need of open files (client/lock/locks.h). */
#include "client/file/internal.h"

enum err file_refresh(struct open_file *h, const struct meta_attr *attr, struct rpc_cancel *cancel)
{
    struct file_inode *i = h->inode;
    struct open_files *t = i->files;
    pthread_mutex_lock(&i->lock);
    bool current = attr && attr->version == i->attr.version && attr->content_id == i->attr.content_id;
    pthread_mutex_unlock(&i->lock);
    if (!current)
        TRY(inode_refresh(i, cancel));
    pthread_mutex_lock(&i->lock);
    uint64_t version = i->attr.version, old;
    pthread_mutex_unlock(&i->lock);
    bool right = exchange_kernel_version(t, i->ino, version, &old) && old == version;
    if (t->options.drop_pages)
        t->options.drop_pages(t->options.context, i->ino, !right);
    return ERR_OK;
}

void open_file_refuse(struct open_file *h)
{
    atomic_store(&h->refused, true);
    /* What the kernel has it gives without asking, also what it has read just before. */
    inode_pages_are_wrong(h->inode);
}
