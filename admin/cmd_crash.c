/* cmd_crash.c: makes a node look like a dead machine: it refuses all service and keeps its state. With --kill its
 * process ends itself at once. */
#include <string.h>
#include <sysexits.h>

#include "admin/cmd_node.h"

static int run_crash(struct admin *a, int argc, char **argv)
{
    struct wire_admin_crash crash = {.kill = false};
    const char *id = NULL;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--kill") == 0) {
            crash.kill = true;
        } else if (!id) {
            id = argv[i];
        } else {
            return admin_usage(a, "crash: %s: one node at a time", argv[i]);
        }
    }
    if (!id)
        return admin_usage(a, "crash: which node?");
    struct survey s;
    const struct survey_node *n;
    uint32_t number;
    if (!admin_parse_node(a, id, &number))
        return EX_USAGE;
    struct err_text why = {""};
    enum err e = survey_take(a, &s, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    n = survey_find(&s, number, &why);
    if (!n)
        return admin_fail(a, ERR_NO_NODE, &why);
    if (!crash.kill && n->reachable && n->state.crashed)
        return admin_done(a, "node %u is crashed already", n->id);
    e = node_ask(a, n, METHOD_ADMIN_CRASH, wire_admin_crash_encode(&crash, &a->arena), &why);
    /* A process that kills itself doesn't answer. */
    if (crash.kill && (e == ERR_CLOSED || e == ERR_OK))
        return admin_done(a, "node %u: its process is killed", n->id);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    return admin_done(a, "node %u is crashed: it refuses service and keeps its state", n->id);
}

const struct admin_command command_crash = {"crash", "[--kill] N", "node N refuses service; --kill: it ends", 1,
                                            2,       run_crash};
