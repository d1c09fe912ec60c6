/* cmd_leader.c: makes a node the leader (SetLeader): a transfer when there is a leader, else it campaigns. */
#include "admin/cmd_node.h"

static int run_leader(struct admin *a, int argc, char **argv)
{
    (void)argc;
    struct survey s;
    const struct survey_node *n;
    int code = node_request(a, argv[0], METHOD_ADMIN_LEADER, SLICE(NULL, 0), &s, &n);
    return code == EXIT_DONE ? admin_done(a, "node %u leads", n->id) : code;
}

const struct admin_command command_leader = {"leader", "N", "node N becomes leader", 1, 1, run_leader};
