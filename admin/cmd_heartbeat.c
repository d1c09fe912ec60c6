/* cmd_heartbeat.c: one round of replication, for clusters whose elections are by hand (SendHeartbeat). */
#include "admin/cmd_node.h"

static int run_heartbeat(struct admin *a, int argc, char **argv)
{
    (void)argc;
    struct survey s;
    const struct survey_node *n;
    int code = node_request(a, argv[0], METHOD_ADMIN_HEARTBEAT, SLICE(NULL, 0), &s, &n);
    return code == EXIT_DONE ? admin_done(a, "node %u sent a round of heartbeats", n->id) : code;
}

const struct admin_command command_heartbeat = {"heartbeat", "N", "one round of replication by leader N",
                                                1,           1,   run_heartbeat};
