#include "fusefs/request.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "client/moment.h"
#include "fusefs/caller.h"
#include "fusefs/privilege.h"

#define IDLE_MAX 64u /* cancels kept for reuse */
#define CANCEL_ALL_EVERY_NS (100 * NS_PER_MS)

struct cancel_slot {
    struct list_node node;
    struct rpc_cancel *cancel;
};

static void on_interrupt(fuse_req_t req, void *data)
{
    (void)req;
    struct request *r = data;
    pthread_mutex_lock(&r->all->lock);
    r->interrupted = true;
    pthread_cond_signal(&r->all->changed);
    pthread_mutex_unlock(&r->all->lock);
}

/* When a request is to be cancelled, or INT64_MAX; *ret_look: when that is to be asked again, or INT64_MAX. */
static int64_t due_ns(struct requests *all, struct request *r, int64_t now, int64_t *ret_look)
{
    *ret_look = INT64_MAX;
    if (all->cancel_all || (r->interrupted && r->waits))
        return now;
    /* Who was killed with several open files does not get a second for each. */
    int64_t look = r->begun_ns + (r->closes != 0 && r->closes == all->dying ? 0 : REQUEST_INTERRUPT_NS);
    enum caller_state state = r->closes != 0 && now >= look ? caller_state(r->closes) : CALLER_RUNS;
    if (state == CALLER_KILLED) {
        all->dying = r->closes;
        return now;
    }
    if (r->interrupted)
        return r->begun_ns + REQUEST_INTERRUPT_NS;
    if (r->looks != 0 && now >= look) {
        if (caller_unmounts(r->looks))
            return now;
        r->looks = 0;
    }
    if (r->closes != 0 || r->looks != 0)
        *ret_look = MAX(look, now + REQUEST_LOOK_NS);
    return state == CALLER_EXITS ? r->begun_ns + REQUEST_EXIT_NS : INT64_MAX;
}

/* Fires what is due; returns when the next one may be. With the lock held. Nobody wakes us for files that are closed:
 * most of these requests are over soon. */
static int64_t fire_due(struct requests *all)
{
    int64_t now = clock_boot_ns(), next = now + REQUEST_INTERRUPT_NS;
    list_for_each (n, &all->active) {
        struct request *r = container_of(n, struct request, node);
        if (rpc_cancel_fired(r->caller.cancel))
            continue;
        int64_t look, due = due_ns(all, r, now, &look);
        if (due <= now)
            rpc_cancel_fire(r->caller.cancel);
        next = MIN(next, MIN(due <= now ? INT64_MAX : due, look));
    }
    return all->cancel_all ? now + CANCEL_ALL_EVERY_NS : next;
}

static void *watch(void *context)
{
    struct requests *all = context;
    pthread_mutex_lock(&all->lock);
    while (!all->stopping) {
        int64_t next = fire_due(all);
        moment_wait_for(&all->changed, &all->lock, MAX(next - clock_boot_ns(), NS_PER_MS));
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

void requests_init(struct requests *all)
{
    pthread_mutex_init(&all->lock, NULL);
    moment_cond_init(&all->changed);
    list_init(&all->active);
    list_init(&all->idle);
    thread_start(&all->thread, watch, all);
}

static void free_slot(struct cancel_slot *s)
{
    rpc_cancel_free(s->cancel);
    free(s);
}

void requests_close(struct requests *all)
{
    pthread_mutex_lock(&all->lock);
    all->stopping = true;
    pthread_cond_signal(&all->changed);
    pthread_mutex_unlock(&all->lock);
    pthread_join(all->thread, NULL);
    CHECK(list_empty(&all->active));
    for (struct list_node *n; (n = list_pop_front(&all->idle));)
        free_slot(container_of(n, struct cancel_slot, node));
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
}

void requests_cancel_all(struct requests *all)
{
    pthread_mutex_lock(&all->lock);
    all->cancel_all = true;
    pthread_cond_signal(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

void request_begin(struct request *r, struct requests *all, fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    *r = (struct request){.all = all, .req = req, .begun_ns = clock_boot_ns()};
    pthread_mutex_lock(&all->lock);
    struct list_node *idle = list_pop_front(&all->idle);
    if (idle) {
        all->idle_count--;
        r->slot = container_of(idle, struct cancel_slot, node);
    } else {
        r->slot = MEM_NEW(struct cancel_slot);
        list_node_init(&r->slot->node);
        r->slot->cancel = rpc_cancel_new();
    }
    r->caller = (struct surf_caller){.uid = ctx->uid,
                                     .gid = ctx->gid,
                                     .umask = ctx->umask,
                                     .kills_set_id = privilege_kills_set_id(),
                                     .cancel = r->slot->cancel};
    list_push_back(&all->active, &r->node);
    pthread_mutex_unlock(&all->lock);
    fuse_req_interrupt_func(req, on_interrupt, r);
}

void request_waits(struct request *r)
{
    pthread_mutex_lock(&r->all->lock);
    r->waits = true;
    pthread_cond_signal(&r->all->changed);
    pthread_mutex_unlock(&r->all->lock);
}

void request_closes(struct request *r)
{
    pthread_mutex_lock(&r->all->lock);
    r->closes = fuse_req_ctx(r->req)->pid;
    if (r->closes == r->all->dying)
        pthread_cond_signal(&r->all->changed);
    pthread_mutex_unlock(&r->all->lock);
}

void request_looks_at_mountpoint(struct request *r)
{
    pthread_mutex_lock(&r->all->lock);
    r->looks = fuse_req_ctx(r->req)->pid;
    pthread_mutex_unlock(&r->all->lock);
}

void request_end(struct request *r)
{
    struct requests *all = r->all;
    /* After this no interrupt comes any more. */
    fuse_req_interrupt_func(r->req, NULL, NULL);
    pthread_mutex_lock(&all->lock);
    list_remove(&r->node);
    bool reuse = !rpc_cancel_fired(r->slot->cancel) && all->idle_count < IDLE_MAX;
    if (reuse) {
        list_push_front(&all->idle, &r->slot->node);
        all->idle_count++;
    }
    pthread_mutex_unlock(&all->lock);
    if (!reuse)
        free_slot(r->slot);
}
