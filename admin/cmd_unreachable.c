/* cmd_unreachable.c: partitions without a firewall: a node ignores raft messages from others, one way; heal ends it. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "admin/cmd_node.h"

static void add_id(struct wire_admin_nodes *to, uint32_t *ids, uint32_t id)
{
    for (unsigned i = 0; i < to->count; i++)
        if (ids[i] == id)
            return;
    ids[to->count++] = id;
}

static int run_unreachable(struct admin *a, int argc, char **argv)
{
    uint32_t number, id, ids[LIMIT_NODES];
    struct wire_admin_nodes from = {.ids = ids};
    if (!admin_parse_node(a, argv[0], &number))
        return EX_USAGE;
    for (int i = 1; i < argc; i++) {
        if (!admin_parse_node(a, argv[i], &id))
            return EX_USAGE;
        add_id(&from, ids, id);
    }
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take(a, &s, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    e = node_check_raft(&s, number, true, &why);
    for (unsigned i = 0; e == ERR_OK && i < from.count; i++)
        e = node_check_raft(&s, ids[i], false, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    const struct survey_node *n = survey_find(&s, number, &why);
    e = node_ask(a, n, METHOD_ADMIN_UNREACHABLE, wire_admin_nodes_encode(&from, &a->arena), &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    char list[LIMIT_NODES * 12] = "";
    for (unsigned i = 0; i < from.count; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%u", i ? ", " : "", ids[i]);
    return from.count ? admin_done(a, "node %u ignores raft messages from %s; surfctl heal ends it", n->id, list)
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
