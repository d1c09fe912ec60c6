#include "admin/cmd_node.h"

#include <sysexits.h>

enum err node_ask(struct admin *a, const struct survey_node *n, unsigned method, struct slice message,
                  struct err_text *why)
{
    struct slice answer;
    struct err_text said = {""};
    enum err e = admin_ask(a, n->address, method, message, a->timeout_ns, &answer, &said);
    if (e == ERR_UNREACHABLE || e == ERR_TIMEOUT)
        return err_explain(why, e, "node %u: %.300s", n->id, said.text);
    *why = said;
    return e;
}

enum err node_check_raft(const struct survey *s, uint32_t id, bool told, struct err_text *why)
{
    const struct survey_node *n = survey_find(s, id, why);
    if (!n)
        return ERR_NO_NODE;
    if (told && !n->reachable)
        return err_explain(why, ERR_UNREACHABLE, "node %u: %.300s; nothing was changed", id, n->why.text);
    if (n->reachable && !(n->state.roles & WIRE_NODE_META))
        return err_explain(why, ERR_NO_METHOD, "node %u has no metastore, and sends no raft messages", id);
    return ERR_OK;
}

int node_request(struct admin *a, const char *id_text, unsigned method, struct slice message, struct survey *ret_survey,
                 const struct survey_node **ret_node)
{
    uint32_t id;
    if (!admin_parse_node(a, id_text, &id))
        return EX_USAGE;
    struct err_text why = {""};
    enum err e = survey_take(a, ret_survey, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    *ret_node = survey_find(ret_survey, id, &why);
    if (!*ret_node)
        return admin_fail(a, ERR_NO_NODE, &why);
    e = node_ask(a, *ret_node, method, message, &why);
    return e == ERR_OK ? EXIT_DONE : admin_fail(a, e, &why);
}
