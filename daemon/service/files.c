/* The tree as this member has it, page by page: read by a worker from a snapshot of the state, whoever leads, and also
 * while this node is crashed. Nothing is kept between two pages. */
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/wire_files.h"

struct files_page { /* in the arena of its request, which is the worker's while it runs */
    struct node *node;
    struct rpc_request *request;
    struct meta_files_query query;
    struct replica_look look;
    atomic_bool stop;
    enum err result;
    struct slice message;
};

static bool on_row(void *context)
{
    const struct files_page *p = context;
    return atomic_load_explicit(&p->stop, memory_order_relaxed);
}

static void on_look(struct replica_look *look, struct meta *view)
{
    struct files_page *p = container_of(look, struct files_page, look);
    struct meta_check check = {.on_row = on_row, .context = p};
    struct meta_files files = {0};
    p->result = meta_files(view, &check, &p->query, &p->request->arena, &files);
    if (p->result == ERR_OK)
        p->message = wire_files_encode(&files, &p->request->arena);
}

static void refuse(struct node *n, struct rpc_request *request, enum err e)
{
    const char *text = e == ERR_NOENT      ? "its state has no such path"
                       : e == ERR_INVAL    ? "where the page is to begin is not below the path"
                       : e == ERR_BUSY_NOW ? "its state is being looked at already, or about to be replaced"
                                           : NULL;
    service_refuse(n, request, e, text);
}

static void on_looked(struct replica_look *look)
{
    struct files_page *p = container_of(look, struct files_page, look);
    if (p->result == ERR_OK)
        rpc_reply(p->request, ERR_OK, p->message, NULL);
    else
        refuse(p->node, p->request, p->result == ERR_CANCELLED ? ERR_BUSY_NOW : p->result);
}

void service_files(struct node *n, struct rpc_request *request)
{
    struct files_page *p = arena_zalloc(&request->arena, sizeof *p);
    struct err_text why;
    if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    enum err e = wire_files_query_decode(request->message, &request->arena, &p->query, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    p->node = n, p->request = request;
    p->look = (struct replica_look){.run = on_look, .done = on_looked, .stop = &p->stop};
    e = replica_look(n->replica, &p->look);
    if (e != ERR_OK)
        refuse(n, request, e);
}
