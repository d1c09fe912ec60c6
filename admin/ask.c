/* ask.c: surfctl as one that asks: client/survey/asker.h and client/survey/survey.h with what the command line said. */
#include "admin/admin.h"

static struct asker asker_of(struct admin *a)
{
    return (struct asker){.servers = a->servers,
                          .server_count = a->server_count,
                          .timeout_ns = a->timeout_ns,
                          .name = "surfctl",
                          .arena = &a->arena};
}

struct rpc_channel *admin_channel(struct admin *a, const char *address, int64_t timeout_ns, struct err_text *why)
{
    struct asker asker = asker_of(a);
    return asker_channel(&asker, address, timeout_ns, why);
}

enum err admin_call(struct admin *a, struct rpc_channel *channel, unsigned method, struct slice message,
                    int64_t timeout_ns, struct slice *ret_message, struct err_text *why)
{
    struct asker asker = asker_of(a);
    return asker_call(&asker, channel, method, message, timeout_ns, ret_message, why);
}

enum err admin_ask(struct admin *a, const char *address, unsigned method, struct slice message, int64_t timeout_ns,
                   struct slice *ret_message, struct err_text *why)
{
    struct asker asker = asker_of(a);
    return asker_ask(&asker, address, method, message, timeout_ns, ret_message, why);
}

enum err admin_ask_state(struct admin *a, const char *address, unsigned log_entries, int64_t timeout_ns,
                         struct wire_admin_state *ret, struct err_text *why)
{
    struct asker asker = asker_of(a);
    return asker_state(&asker, address, log_entries, timeout_ns, ret, why);
}

enum err admin_ask_leader(struct admin *a, unsigned method, struct slice message, struct err_text *why)
{
    struct slice answer;
    return admin_ask_leader_for(a, method, message, &answer, why);
}

enum err admin_ask_leader_for(struct admin *a, unsigned method, struct slice message, struct slice *ret_message,
                              struct err_text *why)
{
    struct asker asker = asker_of(a);
    return survey_ask_leader(&asker, method, message, ret_message, why);
}

enum err survey_take(struct admin *a, struct survey *ret, struct err_text *why)
{
    struct asker asker = asker_of(a);
    return survey_ask(&asker, ret, why);
}

enum err survey_take_with_leader(struct admin *a, struct survey *ret, struct err_text *why)
{
    TRY(survey_take(a, ret, why));
    return ret->leader ? ERR_OK : err_explain(why, ERR_NO_LEADER, "no leader, who would know");
}
