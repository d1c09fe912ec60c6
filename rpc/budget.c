#include "rpc/budget.h"

#include "base/check.h"
#include "base/mem.h"

struct rpc_budget *rpc_budget_new(size_t most)
{
    struct rpc_budget *b = MEM_NEW(struct rpc_budget);
    b->most = most;
    b->users = 1;
    return b;
}

void rpc_budget_leave(struct rpc_budget *b)
{
    if (--b->users > 0)
        return;
    CHECK(b->bytes == 0);
    free(b);
}

/* With the quarter it is not for every request that goes that all who wait are looked at. */
static void judge(struct rpc_budget *b)
{
    if (b->bytes >= b->most)
        b->is_short = true;
    else if (b->bytes <= b->most - b->most / 4)
        b->is_short = false;
}

void rpc_budget_set(struct rpc_budget *b, size_t most)
{
    b->most = most;
    judge(b);
}

void rpc_budget_take(struct rpc_budget *b, size_t bytes)
{
    b->users++;
    b->bytes += bytes;
    judge(b);
}

void rpc_budget_give(struct rpc_budget *b, size_t bytes)
{
    CHECK(b->bytes >= bytes);
    b->bytes -= bytes;
    judge(b);
    rpc_budget_leave(b);
}
