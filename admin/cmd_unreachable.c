/* cmd_unreachable.c: partitions without a firewall: a node ignores raft messages from others, one way; heal ends it. */
#include <sysexits.h>

#include "admin/cmd_node.h"

static int run_unreachable(struct admin *a, int argc, char **argv)
{
    uint32_t ids[LIMIT_NODES];
    struct wire_admin_nodes from = {.ids = ids};
    for (int i = 1; i < argc; i++)
        if (!admin_parse_node(argv[i], &ids[from.count++]))
            return EX_USAGE;
    struct survey s;
    const struct survey_node *n;
    int code = node_request(a, argv[0], METHOD_ADMIN_UNREACHABLE, wire_admin_nodes_encode(&from, &a->arena), &s, &n);
    if (code != EXIT_DONE)
        return code;
    return from.count ? admin_done(a, "node %u ignores raft messages from %u more nodes", n->id, from.count)
                      : admin_done(a, "node %u hears everybody", n->id);
}

const struct admin_command command_unreachable = {
    "unreachable",   "N [FROM...]",  "node N ignores raft messages from these nodes too; none: hears everybody", 1,
    1 + LIMIT_NODES, run_unreachable};

static int run_heal(struct admin *a, int argc, char **argv)
{
    (void)argc, (void)argv;
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take(a, &s, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    struct wire_admin_nodes none = {0};
    struct slice message = wire_admin_nodes_encode(&none, &a->arena), answer;
    unsigned healed = 0;
    for (unsigned i = 0; i < s.count; i++) {
        if (!s.nodes[i].reachable || !(s.nodes[i].state.roles & WIRE_NODE_META))
            continue;
        e = admin_ask(a, s.nodes[i].address, METHOD_ADMIN_UNREACHABLE, message, a->timeout_ns, &answer, &why);
        if (e != ERR_OK)
            return admin_fail(a, e, &why);
        healed++;
    }
    return admin_done(a, "%u nodes hear everybody", healed);
}

const struct admin_command command_heal = {"heal", "", "all nodes hear everybody again", 0, 0, run_heal};
