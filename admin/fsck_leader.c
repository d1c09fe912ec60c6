#include <stdio.h>
#include <time.h>

#include "admin/fsck.h"
#include "base/clock.h"

#define TRY_NS (5 * NS_PER_S)
#define RETRY_NS (50 * NS_PER_MS)

void fsck_pause(int64_t span_ns)
{
    nanosleep(&(struct timespec){.tv_sec = span_ns / NS_PER_S, .tv_nsec = span_ns % NS_PER_S}, NULL);
}

void fsck_leader_close(struct fsck *f)
{
    if (f->leader)
        rpc_channel_free(f->leader);
    f->leader = NULL;
}

/* Whether another try, or another node, may do better. */
static bool is_passing(enum err e)
{
    return err_class(e) == ERR_CLASS_LEADER || err_class(e) == ERR_CLASS_WAIT || err_class(e) == ERR_CLASS_RETRY;
}

enum err fsck_ask_leader(struct fsck *f, unsigned method, struct slice message, struct slice *ret, struct err_text *why)
{
    int64_t until_ns = clock_boot_ns() + f->a->timeout_ns;
    struct admin scratch = *f->a;
    enum err e = ERR_NO_LEADER;
    for (;;) {
        struct survey s;
        struct admin looking = *f->a;
        looking.arena = (struct arena){0};
        if (!f->leader) {
            e = survey_take_with_leader(&looking, &s, why);
            if (e == ERR_OK)
                f->leader = admin_channel(&looking, s.leader->address, TRY_NS, why);
            arena_free(&looking.arena);
        }
        if (f->leader) {
            scratch.arena = f->arena;
            e = admin_call(&scratch, f->leader, method, message, TRY_NS, ret, why);
            f->arena = scratch.arena;
        }
        if (e == ERR_OK || !is_passing(e) || clock_boot_ns() > until_ns)
            return e;
        fsck_leader_close(f);
        fsck_pause(RETRY_NS);
    }
}
