/* budget.h: what requests under way take of a server's memory, of all connections that can be made to wait. It outlives
 * the server: requests do. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct rpc_budget {
    size_t bytes, most;
    bool is_short; /* since bytes came to most, until they are a quarter below that */
    unsigned users;
};

struct rpc_budget *rpc_budget_new(size_t most); /* with one user */
void rpc_budget_leave(struct rpc_budget *b);    /* the last user frees it */
void rpc_budget_set(struct rpc_budget *b, size_t most);
/* Who takes is a user, until it gives the same back. Nothing is refused. */
void rpc_budget_take(struct rpc_budget *b, size_t bytes);
void rpc_budget_give(struct rpc_budget *b, size_t bytes);
