/* cluster_nodes.h: surfd processes of a test, on loopback ports of their own. Ended by pid only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/limits.h"

struct cluster_nodes {
    char surfd[512], dir[512], peers[512];
    const char *extra[8]; /* more flags; NULL at the end */
    unsigned count;
    struct cluster_node {
        uint16_t port;
        pid_t pid;            /* 0: not running */
    } nodes[LIMIT_NODES + 1]; /* by id */
};

/* Picks ports that are free now. */
void cluster_nodes_init(struct cluster_nodes *c, const char *surfd, const char *dir, unsigned count);
void cluster_node_start(struct cluster_nodes *c, unsigned id);
/* With arguments of the test's own, behind -l, -p, --id and --data; NULL at the end. */
void cluster_node_start_as(struct cluster_nodes *c, unsigned id, const char *const *arguments);
/* Returns its wait status. */
int cluster_node_end(struct cluster_nodes *c, unsigned id, int signal);
/* CPU time so far in ns, and resident bytes. */
void cluster_node_usage(const struct cluster_nodes *c, unsigned id, int64_t *ret_cpu_ns, uint64_t *ret_rss);
