#include "fusefs/interrupt.h"

#include <pthread.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"

#define MIN_AGE_NS (1 * NS_PER_S)

struct interrupt_slot {
    struct interrupts *all;
    struct list_node node;     /* in all->slots; protected by all->lock */
    struct rpc_cancel *cancel; /* replaced by the owner after it has fired */
    bool busy, wanted;         /* protected by all->lock; wanted: interrupted, waits for its age */
    int64_t begun_ns;          /* protected by all->lock */
};

struct interrupts {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* something is wanted, or stopping */
    struct list slots;      /* protected by lock */
    bool shutdown, stopping;
    pthread_t timer;
    pthread_key_t key;
};

static void slot_free(void *p)
{
    struct interrupt_slot *slot = p;
    pthread_mutex_lock(&slot->all->lock);
    list_remove(&slot->node);
    pthread_mutex_unlock(&slot->all->lock);
    rpc_cancel_free(slot->cancel);
    free(slot);
}

/* Fires what is due; the time of the next, or 0. Under the lock. */
static int64_t fire_due(struct interrupts *all, int64_t now_ns)
{
    int64_t next = 0;
    list_for_each (node, &all->slots) {
        struct interrupt_slot *slot = container_of(node, struct interrupt_slot, node);
        if (!slot->busy || !(slot->wanted || all->shutdown) || rpc_cancel_fired(slot->cancel))
            continue;
        int64_t due = all->shutdown ? now_ns : slot->begun_ns + MIN_AGE_NS;
        if (due <= now_ns)
            rpc_cancel_fire(slot->cancel);
        else if (next == 0 || due < next)
            next = due;
    }
    return next;
}

static void *timer_main(void *p)
{
    struct interrupts *all = p;
    pthread_mutex_lock(&all->lock);
    while (!all->stopping) {
        int64_t next = fire_due(all, clock_boot_ns());
        if (next == 0) {
            pthread_cond_wait(&all->changed, &all->lock);
        } else {
            int64_t wait = MAX(next - clock_boot_ns(), NS_PER_MS);
            struct timespec until;
            clock_gettime(CLOCK_MONOTONIC, &until);
            int64_t at = (int64_t)until.tv_sec * NS_PER_S + until.tv_nsec + wait;
            until = (struct timespec){.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
            pthread_cond_timedwait(&all->changed, &all->lock, &until);
        }
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

struct interrupts *interrupts_new(void)
{
    struct interrupts *all = MEM_NEW(struct interrupts);
    list_init(&all->slots);
    pthread_mutex_init(&all->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&all->changed, &attr);
    pthread_condattr_destroy(&attr);
    CHECK(pthread_key_create(&all->key, slot_free) == 0);
    CHECK(pthread_create(&all->timer, NULL, timer_main, all) == 0);
    return all;
}

void interrupts_shutdown(struct interrupts *all)
{
    pthread_mutex_lock(&all->lock);
    all->shutdown = true;
    pthread_cond_signal(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

void interrupts_free(struct interrupts *all)
{
    if (!all)
        return;
    pthread_mutex_lock(&all->lock);
    all->stopping = true;
    pthread_cond_signal(&all->changed);
    pthread_mutex_unlock(&all->lock);
    pthread_join(all->timer, NULL);
    struct interrupt_slot *mine = pthread_getspecific(all->key);
    if (mine)
        slot_free(mine);
    pthread_key_delete(all->key);
    CHECK(list_empty(&all->slots)); /* the threads that worked on requests have ended */
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

struct interrupt_slot *interrupt_begin(struct interrupts *all)
{
    struct interrupt_slot *slot = pthread_getspecific(all->key);
    if (!slot) {
        slot = MEM_NEW(struct interrupt_slot);
        slot->all = all;
        slot->cancel = rpc_cancel_new();
        pthread_mutex_lock(&all->lock);
        list_push_back(&all->slots, &slot->node);
        pthread_mutex_unlock(&all->lock);
        CHECK(pthread_setspecific(all->key, slot) == 0);
    }
    pthread_mutex_lock(&all->lock);
    if (rpc_cancel_fired(slot->cancel)) {
        rpc_cancel_free(slot->cancel);
        slot->cancel = rpc_cancel_new();
    }
    slot->busy = true;
    slot->wanted = false;
    slot->begun_ns = clock_boot_ns();
    if (all->shutdown)
        rpc_cancel_fire(slot->cancel);
    pthread_mutex_unlock(&all->lock);
    return slot;
}

struct rpc_cancel *interrupt_cancel_of(struct interrupt_slot *slot)
{
    return slot->cancel;
}

void interrupt_request(struct interrupt_slot *slot)
{
    pthread_mutex_lock(&slot->all->lock);
    if (slot->busy) {
        slot->wanted = true;
        pthread_cond_signal(&slot->all->changed);
    }
    pthread_mutex_unlock(&slot->all->lock);
}

void interrupt_end(struct interrupt_slot *slot)
{
    pthread_mutex_lock(&slot->all->lock);
    slot->busy = false;
    pthread_mutex_unlock(&slot->all->lock);
}
