/* cmd_unreachable.c: partitions without a firewall: a node ignores raft messages from others, one way; heal ends it. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "admin/cmd_node.h"

static int run_unreachable(struct admin *a, int argc, char **argv)
{
    uint32_t number, ids[LIMIT_NODES];
    struct wire_admin_nodes from = {.ids = ids};
    if (!admin_parse_node(a, argv[0], &number))
        return EX_USAGE;
    for (int i = 1; i < argc; i++)
        if (!admin_parse_node(a, argv[i], &ids[from.count++]))
            return EX_USAGE;
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take(a, &s, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    const struct survey_node *n = survey_find(&s, number, &why);
    if (!n)
        return admin_fail(a, ERR_NO_NODE, &why);
    for (unsigned i = 0; i < from.count; i++)
        if (!survey_find(&s, ids[i], &why))
            return admin_fail(a, ERR_NO_NODE, &why);
    struct slice answer;
    e = admin_ask(a, n->address, METHOD_ADMIN_UNREACHABLE, wire_admin_nodes_encode(&from, &a->arena), a->timeout_ns,
                  &answer, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    return from.count ? admin_done(a, "node %u ignores raft messages from %u more nodes", n->id, from.count)
                      : admin_done(a, "node %u hears everybody", n->id);
}

const struct admin_command command_unreachable = {
    "unreachable", "N [FROM...]", "node N ignores these nodes; none: no more", 1, 1 + LIMIT_NODES, run_unreachable};

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
    char missed[256] = "";
    for (unsigned i = 0; i < s.count; i++) {
        const struct survey_node *n = &s.nodes[i];
        if (n->reachable && !(n->state.roles & WIRE_NODE_META))
            continue;
        e = n->reachable ? admin_ask(a, n->address, METHOD_ADMIN_UNREACHABLE, message, a->timeout_ns, &answer, &why)
                         : ERR_UNREACHABLE;
        if (e == ERR_OK) {
            healed++;
            continue;
        }
        size_t used = strlen(missed);
        snprintf(missed + used, sizeof missed - used, "%s%u", used ? ", " : "; not reached: ", n->id);
    }
    return admin_done(a, "%u nodes hear everybody%s", healed, missed);
}

const struct admin_command command_heal = {"heal", "", "all nodes hear everybody again", 0, 0, run_heal};
