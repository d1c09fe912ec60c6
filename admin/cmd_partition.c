/* cmd_partition.c: partitions for people who have no firewall at hand: nodes ignore each other's messages. */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "admin/cmd_node.h"
#include "base/mem.h"

struct group {
    uint32_t ids[LIMIT_NODES];
    unsigned count;
};

static bool is_in(const struct group *g, uint32_t id)
{
    for (unsigned i = 0; i < g->count; i++)
        if (g->ids[i] == id)
            return true;
    return false;
}

/* These nodes ignore those. ERR_OK, or the first failure. */
static enum err ignore(struct admin *a, const struct survey *s, const struct group *who, const struct group *whom,
                       struct err_text *why)
{
    struct wire_admin_nodes nodes = {.ids = whom->ids, .count = whom->count};
    struct slice message = wire_admin_nodes_encode(&nodes, &a->arena);
    for (unsigned i = 0; i < who->count && whom->count > 0; i++)
        TRY(node_ask(a, survey_find(s, who->ids[i], why), METHOD_ADMIN_UNREACHABLE, message, why));
    return ERR_OK;
}

static int run_isolate(struct admin *a, int argc, char **argv)
{
    (void)argc;
    struct group one = {.count = 1}, others = {.count = 0};
    struct survey s;
    struct err_text why = {""};
    if (!admin_parse_node(a, argv[0], &one.ids[0]))
        return EX_USAGE;
    enum err e = survey_take(a, &s, &why);
    if (e == ERR_OK)
        e = node_check_raft(&s, one.ids[0], true, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    for (unsigned i = 0; i < s.count && others.count < LIMIT_NODES; i++)
        if (s.nodes[i].id != one.ids[0] && s.nodes[i].reachable && (s.nodes[i].state.roles & WIRE_NODE_META))
            others.ids[others.count++] = s.nodes[i].id;
    e = ignore(a, &s, &one, &others, &why);
    if (e == ERR_OK)
        e = ignore(a, &s, &others, &one, &why);
    return e == ERR_OK ? admin_done(a, "node %u and the other %u ignore each other; surfctl heal ends it", one.ids[0],
                                    others.count)
                       : admin_fail(a, e, &why);
}

const struct admin_command command_isolate = {"isolate", "N", "node N and all others ignore each other",
                                              1,         1,   run_isolate};

static bool parse_group(struct admin *a, const char *text, struct group *ret)
{
    _cleanup_free_ char *copy = mem_strdup(text);
    for (char *item = copy; item;) {
        char *comma = strchr(item, ',');
        if (comma)
            *comma = 0;
        if (ret->count == LIMIT_NODES) {
            (void)admin_usage(a, "%s: more than %u nodes", text, LIMIT_NODES);
            return false;
        }
        if (!admin_parse_node(a, item, &ret->ids[ret->count]))
            return false;
        ret->count++;
        item = comma ? comma + 1 : NULL;
    }
    return true;
}

static int run_partition(struct admin *a, int argc, char **argv)
{
    struct group first = {.count = 0}, second = {.count = 0};
    bool one_way = argc == 2 && strcmp(argv[1], "--one-way") == 0;
    if (argc == 2 && !one_way)
        return admin_usage(a, "partition %s: the command is surfctl partition 1,2/3,4,5 [--one-way]", argv[1]);
    _cleanup_free_ char *copy = mem_strdup(argv[0]);
    char *slash = strchr(copy, '/');
    if (!slash || strchr(slash + 1, '/'))
        return admin_usage(a, "partition %s: two groups of nodes with one / between them, as in 1,2/3,4,5", argv[0]);
    *slash = 0;
    if (!parse_group(a, copy, &first) || !parse_group(a, slash + 1, &second))
        return EX_USAGE;
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take(a, &s, &why);
    for (unsigned i = 0; e == ERR_OK && i < first.count + second.count; i++) {
        uint32_t id = i < first.count ? first.ids[i] : second.ids[i - first.count];
        if (is_in(&first, id) && is_in(&second, id))
            return admin_usage(a, "partition %s: node %u is on both sides", argv[0], id);
        e = node_check_raft(&s, id, !one_way || is_in(&second, id), &why);
    }
    if (e == ERR_OK)
        e = ignore(a, &s, &second, &first, &why);
    if (e == ERR_OK && !one_way)
        e = ignore(a, &s, &first, &second, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    return one_way ? admin_done(a, "%s does not hear %s; surfctl heal ends it", slash + 1, copy)
                   : admin_done(a, "%s and %s do not hear each other; surfctl heal ends it", copy, slash + 1);
}

const struct admin_command command_partition = {
    "partition", "A,B/C,D [--one-way]", "the groups ignore each other, or the second ignores the first", 1,
    2,           run_partition};
