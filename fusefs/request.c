#include "fusefs/request.h"

#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

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

/* Fires what is due; returns when the next one is, 0: nothing is foreseen. With the lock held. */
static int64_t fire_due(struct requests *all)
{
    int64_t now = clock_boot_ns(), next = 0;
    list_for_each (n, &all->active) {
        struct request *r = container_of(n, struct request, node);
        if (!(r->interrupted || all->cancel_all) || rpc_cancel_fired(r->caller.cancel))
            continue;
        int64_t due = all->cancel_all ? now : r->begun_ns + REQUEST_INTERRUPT_NS;
        if (due <= now)
            rpc_cancel_fire(r->caller.cancel);
        else if (next == 0 || due < next)
            next = due;
    }
    if (all->cancel_all)
        next = now + CANCEL_ALL_EVERY_NS;
    return next;
}

static void *watch(void *context)
{
    struct requests *all = context;
    pthread_mutex_lock(&all->lock);
    while (!all->stopping) {
        int64_t next = fire_due(all);
        if (next == 0) {
            pthread_cond_wait(&all->changed, &all->lock);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t at = until.tv_sec * NS_PER_S + until.tv_nsec + MAX(next - clock_boot_ns(), NS_PER_MS);
        until = (struct timespec){.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
        pthread_cond_timedwait(&all->changed, &all->lock, &until);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

void requests_init(struct requests *all)
{
    pthread_mutex_init(&all->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&all->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    list_init(&all->active);
    list_init(&all->idle);
    CHECK(pthread_create(&all->thread, NULL, watch, all) == 0);
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
    r->caller = (struct surf_caller){.uid = ctx->uid, .gid = ctx->gid, .cancel = r->slot->cancel};
    list_push_back(&all->active, &r->node);
    pthread_mutex_unlock(&all->lock);
    fuse_req_interrupt_func(req, on_interrupt, r);
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
