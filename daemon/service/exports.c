/* An administrator sets options of an export, or asks for them. Both go through the log: so the answer is of the
 * moment, and comes from whoever really leads. */
#include "base/mem.h"
#include "daemon/node.h"

struct change {
    struct node *node;
    struct rpc_request *request;
    struct wire_admin_export asked;
};

static void change_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct change *c = context;
    if (status == ERR_OK)
        status = reply->status;
    if (status == ERR_OK) {
        struct wire_admin_export told = {
            .name = c->asked.name, .mask = META_EXPORT_OPTIONS_ALL, .options = reply->export_options};
        rpc_reply(c->request, ERR_OK, wire_admin_export_encode(&told, &c->request->arena), NULL);
    } else {
        service_refuse(c->node, c->request, status, NULL);
    }
    free(c);
}

void service_exports(struct node *n, struct rpc_request *request)
{
    struct wire_admin_export asked;
    struct err_text why;
    if (!n->leader_ready) {
        service_refuse(n, request, service_not_leader(n), NULL);
        return;
    }
    enum err e = wire_admin_export_decode(request->message, &request->arena, &asked, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    struct meta_command command = {.op = META_EXPORT,
                                   .export = {.name = asked.name, .mask = asked.mask, .options = asked.options}};
    struct change *c = MEM_NEW(struct change);
    *c = (struct change){.node = n, .request = request, .asked = asked};
    replica_propose_own(n->replica, &command, change_done, c);
}
