/* cmd_restore.c: ends a simulated crash; the node is a follower then. */
#include "admin/cmd_node.h"

static int run_restore(struct admin *a, int argc, char **argv)
{
    (void)argc;
    struct survey s;
    const struct survey_node *n;
    int code = node_request(a, argv[0], METHOD_ADMIN_RESTORE, SLICE(NULL, 0), &s, &n);
    return code == EXIT_DONE ? admin_done(a, "node %u is restored", n->id) : code;
}

const struct admin_command command_restore = {"restore", "N", "ends the crash of node N", 1, 1, run_restore};
