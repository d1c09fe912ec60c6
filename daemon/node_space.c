/* Disk space that runs out. A write that fails for want of space is final for a node, since nobody knows what of it is
 * on the disk; so the node steps aside while there is still room for what is under way, and comes back by itself. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#define LOG_MODULE "space"
#include "base/log.h"
#include "daemon/node.h"

/* No blocks are taken any more while there is still so many times the reserve: contents must leave room for metadata,
 * by which alone they can be removed. */
#define BLOCKS_RESERVES 2u
/* It comes back with this much more than the reserve, so that it doesn't go back and forth. */
#define RETURN_PART 4u

uint64_t node_space_kept(const struct node *n)
{
    return BLOCKS_RESERVES * (uint64_t)n->config.disk_reserve_mib * MIB;
}

static void limit_blocks(struct node *n, uint64_t available, uint64_t reserve)
{
    uint64_t wanted = node_space_kept(n) + (n->blocks_full ? reserve / RETURN_PART : 0);
    bool full = available < wanted, changed = full != n->blocks_full;
    if (changed)
        log_warn("%llu MiB are free in %s: %s", (unsigned long long)(available / MIB), n->config.data,
                 full ? "no more blocks are taken" : "blocks are taken again");
    n->blocks_full = full;
    if (changed)
        block_reporter_now(n);
}

void node_space_second(struct node *n)
{
    struct statvfs s;
    uint64_t reserve = (uint64_t)n->config.disk_reserve_mib * MIB;
    if (reserve == 0 || n->fault.text[0])
        return;
    if (statvfs(n->config.data, &s) != 0) {
        log_warn("%s: %s", n->config.data, strerror(errno));
        return;
    }
    uint64_t available = (uint64_t)s.f_bavail * s.f_frsize;
    bool aside = n->no_space.text[0] != 0;
    limit_blocks(n, available, reserve);
    if (!aside && available < reserve) {
        (void)!err_explain(
            &n->no_space, ERR_NOSPC,
            "%llu MiB are free in %.120s, less than the reserve of %u MiB: out of service until there is "
            "more",
            (unsigned long long)(available / MIB), n->config.data, n->config.disk_reserve_mib);
        log_error("%s", n->no_space.text);
        node_service_changed(n);
    } else if (aside && available >= reserve + reserve / RETURN_PART) {
        log_warn("%llu MiB are free in %s: back in service", (unsigned long long)(available / MIB), n->config.data);
        n->no_space.text[0] = 0;
        node_service_changed(n);
    }
}
