/* Checks of this member's own state, for surfctl fsck. One at a time, on a worker; who began it asks how far it is. The
 * result of the last one stays until another begins. */
#include <string.h>

#define LOG_MODULE "check"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/wire_check.h"

#define REFERENCES_PAGE 2048u /* ids in one answer, which is found on the loop's thread */
_Static_assert(META_PROBLEMS_KEPT <= WIRE_CHECK_PROBLEMS && META_BLOCK_USES_MAX <= WIRE_CHECK_USES,
               "what was found can be told");

struct state_check {
    struct node *node;
    struct replica_look look;
    struct meta_check check;
    atomic_bool stop;
    atomic_ullong rows; /* read so far */
    uint64_t ticket;
    bool running;
    enum wire_check_kind kind;
    struct sha256 blocks[LIMIT_BLOCKS_PER_FRAME];
    unsigned block_count;
    /* the worker's while it runs, then the result */
    enum err result;
    struct meta_report report;
    struct meta_block_use uses[META_BLOCK_USES_MAX];
    unsigned use_count;
    struct arena arena; /* of the paths */
};

static bool on_row(void *context)
{
    struct state_check *c = context;
    atomic_fetch_add_explicit(&c->rows, 1, memory_order_relaxed);
    return atomic_load_explicit(&c->stop, memory_order_relaxed);
}

static void on_look(struct replica_look *look, struct meta *view)
{
    struct state_check *c = container_of(look, struct state_check, look);
    if (c->kind == WIRE_CHECK_STATE)
        c->result = meta_check(view, &c->check, &c->report);
    else
        c->result = meta_block_uses(view, &c->check, c->blocks, c->block_count, META_BLOCK_USES_MAX, &c->arena, c->uses,
                                    &c->use_count);
}

static void on_looked(struct replica_look *look)
{
    struct state_check *c = container_of(look, struct state_check, look);
    c->running = false;
    if (c->result == ERR_OK && c->report.problem_count > 0)
        log_error("the state of entry %llu is not sound: %llu problems, the first: %s",
                  (unsigned long long)c->report.index, (unsigned long long)c->report.problem_count,
                  c->report.problems[0].text);
}

static enum err begin(struct node *n, const struct wire_check_query *q)
{
    if (!n->state_check)
        n->state_check = MEM_NEW(struct state_check);
    struct state_check *c = n->state_check;
    if (c->running)
        return ERR_BUSY_NOW;
    uint64_t ticket = c->ticket != 0 ? c->ticket + 1 : (uint64_t)n->started_ns | 1; /* not one of an earlier start */
    arena_free(&c->arena);
    *c = (struct state_check){.node = n, .ticket = ticket, .kind = q->kind, .block_count = q->count};
    c->check = (struct meta_check){.on_row = on_row, .context = c};
    c->look = (struct replica_look){.run = on_look, .done = on_looked, .stop = &c->stop};
    if (q->count > 0)
        memcpy(c->blocks, q->blocks, q->count * sizeof *q->blocks);
    TRY(replica_look(n->replica, &c->look));
    c->running = true;
    return ERR_OK;
}

static void add_result(const struct state_check *c, struct arena *a, struct wire_check *ret)
{
    const struct meta_report *r = &c->report;
    struct slice *problems = arena_alloc(a, META_PROBLEMS_KEPT * sizeof *problems);
    struct wire_check_use *uses = arena_alloc(a, (c->use_count + 1) * sizeof *uses);
    for (unsigned i = 0; i < MIN(r->problem_count, META_PROBLEMS_KEPT); i++)
        problems[ret->problems_told++] = slice_str(r->problems[i].text);
    for (unsigned i = 0; i < c->use_count; i++)
        uses[i] = (struct wire_check_use){c->uses[i].block, c->uses[i].ino, c->uses[i].offset, c->uses[i].path};
    ret->problems = problems, ret->problem_count = r->problem_count;
    ret->uses = uses, ret->use_count = c->use_count;
    ret->has_hashes = c->kind == WIRE_CHECK_STATE;
    ret->chain = r->chain, ret->state = r->state;
    ret->unread = r->unread != ERR_OK;
#define X(name) ret->name = r->name;
    WIRE_CHECK_NUMBERS(X)
#undef X
}

void service_check(struct node *n, struct rpc_request *request)
{
    struct wire_check_query query;
    struct err_text why = {""};
    if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    enum err e = wire_check_query_decode(request->message, &request->arena, &query, &why);
    if (e == ERR_OK && query.ticket == 0)
        e = begin(n, &query);
    const struct state_check *c = n->state_check;
    if (e == ERR_OK && query.ticket != 0 && (!c || query.ticket != c->ticket))
        e = err_explain(&why, ERR_NOT_FOUND, "that check is not known here any more");
    if (e == ERR_OK && !c->running && c->result != ERR_OK)
        e = err_explain(&why, c->result, "the check was not ended: %s", err_message(c->result));
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text[0] ? why.text : NULL);
        return;
    }
    struct wire_check reply = {.ticket = c->ticket, .running = c->running, .rows = c->rows};
    if (!c->running)
        add_result(c, &request->arena, &reply);
    rpc_reply(request, ERR_OK, wire_check_encode(&reply, &request->arena), NULL);
}

void service_check_free(struct node *n)
{
    if (!n->state_check)
        return;
    arena_free(&n->state_check->arena);
    free(n->state_check);
    n->state_check = NULL;
}

/* ---- which blocks files name ---- */

struct references {
    struct replica_read read;
    struct rpc_request *request;
    struct wire_ids_query query;
};

static enum err find_references(struct meta *m, const struct wire_ids_query *q, struct arena *a, struct wire_ids *ret)
{
    unsigned max = q->count > 0 ? q->count : MIN(q->max, REFERENCES_PAGE);
    struct sha256 *ids = arena_alloc(a, max * sizeof *ids);
    *ret = (struct wire_ids){.ids = ids, .through = q->upto};
    if (q->count == 0)
        return meta_server_blocks(m, &q->after, &q->upto, max, ids, &ret->count, &ret->through);
    bool *are = arena_alloc(a, q->count * sizeof *are);
    TRY(meta_are_server_blocks(m, q->ids, q->count, are));
    for (unsigned i = 0; i < q->count; i++)
        if (are[i])
            ids[ret->count++] = q->ids[i];
    return ERR_OK;
}

static void references_done(struct replica_read *read, enum err status)
{
    struct references *r = container_of(read, struct references, read);
    struct rpc_request *request = r->request;
    struct node *n = read->context;
    struct wire_ids reply;
    if (status == ERR_OK)
        status = find_references(replica_meta(n->replica), &r->query, &request->arena, &reply);
    if (status == ERR_OK)
        rpc_reply(request, ERR_OK, wire_ids_encode(&reply, &request->arena), NULL);
    else
        service_refuse(n, request, status, NULL);
}

/* Of the newest state, as the leader that is confirmed to be it has it. */
void service_references(struct node *n, struct rpc_request *request)
{
    struct references *r = arena_zalloc(&request->arena, sizeof *r);
    struct err_text why;
    if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    if (!n->leader_ready) {
        service_refuse(n, request, service_not_leader(n), NULL);
        return;
    }
    enum err e = wire_ids_query_decode(request->message, &request->arena, &r->query, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    r->request = request;
    r->read.done = references_done;
    r->read.context = n;
    replica_read(n->replica, &r->read, false);
}
