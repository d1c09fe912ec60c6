/* What malloc keeps for the next block is given back to the system when there was none for some seconds. In between it
 * is not: memory that comes fresh for each block costs more than everything else that is done with a block. It is done
 * again after twice the time, and so on for a while: what happens in the background, as RocksDB's flushes, frees later.
 */
#include <malloc.h>

#include "base/check.h"
#include "base/clock.h"
#include "blockstore/store.h"
#include "daemon/node.h"

#define IDLE_NS (5 * NS_PER_S)
#define TRIMS 6u

static void trim(uv_work_t *work)
{
    struct node *n = work->data;
    block_store_rest(n->blocks);
    malloc_trim(0);
}

static void trimmed(uv_work_t *work, int status)
{
    struct node *n = work->data;
    CHECK(status == 0);
    n->trim_running = false;
}

void node_memory_used(struct node *n)
{
    n->blocks_used_ns = clock_boot_ns();
    n->trims = 0;
}

void node_memory_second(struct node *n)
{
    if (n->block_moves > 0)
        node_memory_used(n);
    if (n->blocks_used_ns == 0 || n->trim_running || clock_boot_ns() - n->blocks_used_ns < IDLE_NS << n->trims)
        return;
    if (++n->trims == TRIMS)
        n->blocks_used_ns = 0;
    n->trim_running = true;
    n->trim_work.data = n;
    CHECK(uv_queue_work(n->loop, &n->trim_work, trim, trimmed) == 0);
}
