#include "base/check.h"
#include "base/mem.h"
#include "client/lock/locks_internal.h"
#include "client/moment.h"

#define LOG_MODULE "locks"
#include "base/log.h"

struct lock_owner *lock_owner_find(struct locks *l, uint64_t ino, enum meta_lock_kind kind, uint64_t owner)
{
    struct list *owners = map_u64_get(&l->inodes, ino);
    if (!owners)
        return NULL;
    list_for_each (n, owners) {
        struct lock_owner *o = container_of(n, struct lock_owner, node);
        if (o->kind == kind && o->owner == owner)
            return o;
    }
    return NULL;
}

struct lock_owner *lock_owner_enter(struct locks *l, uint64_t ino, enum meta_lock_kind kind, uint64_t owner)
{
    struct lock_owner *o = lock_owner_find(l, ino, kind, owner);
    if (!o) {
        struct list *owners = map_u64_get(&l->inodes, ino);
        if (!owners) {
            owners = MEM_NEW(struct list);
            list_init(owners);
            map_u64_put(&l->inodes, ino, owners);
        }
        o = MEM_NEW(struct lock_owner);
        o->ino = ino;
        o->kind = kind;
        o->owner = owner;
        list_push_back(owners, &o->node);
    }
    o->users++;
    return o;
}

static void owner_free(struct lock_owner *o)
{
    free(o->handles);
    free(o);
}

void lock_owner_leave(struct locks *l, struct lock_owner *o)
{
    CHECK(o->users > 0);
    o->users--;
    /* One that is lost is remembered until it is closed: it must not think that it still has its lock. */
    if (o->users > 0 || o->session != 0 || o->lost || o->unresolved > 0)
        return;
    struct list *owners = map_u64_get(&l->inodes, o->ino);
    list_remove(&o->node);
    if (list_empty(owners)) {
        map_u64_remove(&l->inodes, o->ino);
        free(owners);
    }
    owner_free(o);
}

enum err lock_owner_begin(struct locks *l, struct lock_owner *o, struct rpc_cancel *cancel)
{
    while (o->active || o->jobs > 0 || o->unresolved > 0)
        TRY(moment_wait(&l->changed, &l->lock, cancel));
    o->active = true;
    return ERR_OK;
}

void lock_owner_end(struct locks *l, struct lock_owner *o)
{
    CHECK(o->active);
    o->active = false;
    pthread_cond_broadcast(&l->changed);
}

bool lock_owner_has_handle(const struct lock_owner *o, const struct open_file *h)
{
    for (unsigned i = 0; i < o->handle_count; i++)
        if (o->handles[i] == h)
            return true;
    return false;
}

void lock_owner_forget_handle(struct lock_owner *o, const struct open_file *h)
{
    for (unsigned i = 0; i < o->handle_count;)
        if (o->handles[i] == h)
            o->handles[i] = o->handles[--o->handle_count];
        else
            i++;
}

void lock_owner_holds(struct lock_owner *o, uint64_t session, struct open_file *h)
{
    o->session = session;
    if (session == 0) {
        o->handle_count = 0;
        return;
    }
    if (lock_owner_has_handle(o, h))
        return;
    if (o->handle_count == o->handle_capacity) {
        o->handle_capacity = MAX(2 * o->handle_capacity, 2u);
        o->handles = mem_realloc(o->handles, o->handle_capacity * sizeof(struct open_file *));
    }
    o->handles[o->handle_count++] = h;
}

void lock_owner_lose(struct lock_owner *o)
{
    log_error("inode %llu: a lock is lost with its session; I/O of who held it fails until the file is closed",
              (unsigned long long)o->ino);
    for (unsigned i = 0; i < o->handle_count; i++)
        open_file_refuse(o->handles[i]);
    o->session = 0;
    o->lost = true;
}

void lock_table_free(struct locks *l)
{
    size_t at = 0;
    uint64_t ino;
    void *value;
    while (map_u64_next(&l->inodes, &at, &ino, &value)) {
        struct list *owners = value;
        for (struct list_node *n; (n = list_pop_front(owners));)
            owner_free(container_of(n, struct lock_owner, node));
        free(owners);
    }
    map_u64_free(&l->inodes);
}
