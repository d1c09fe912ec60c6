#include "admin/cmd_node.h"

#include <sysexits.h>

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
    struct slice answer;
    e = admin_ask(a, (*ret_node)->address, method, message, a->timeout_ns, &answer, &why);
    return e == ERR_OK ? EXIT_DONE : admin_fail(a, e, &why);
}
