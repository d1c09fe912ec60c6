/* A block server tells the leader of itself every two seconds, and at once when there may be another leader. The first
 * report registers it. */
#include <string.h>

#define LOG_MODULE "blocks"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/methods.h"
#include "proto/wire_block.h"

#define REPORT_MS 2000u
#define REPORT_SOON_MS 20u
#define REPORT_DEADLINE_NS (1 * NS_PER_S)

struct block_reporter {
    struct node *node;
    uv_timer_t timer;
    uv_work_t work;
    struct block_store_stat stat; /* the worker's, while work is under way */
    bool work_under_way, call_under_way, again;
    enum err complaint; /* the last refusal that was logged */
    unsigned at, hops;  /* which member is asked, and how many were in this round */
    uint32_t asked;     /* the same by its id */
    struct arena arena;
};

static void on_timer(uv_timer_t *timer);

static void schedule(struct block_reporter *r, uint64_t delay_ms)
{
    if (!r->node->stopping)
        uv_timer_start(&r->timer, on_timer, delay_ms, 0);
}

static void report(struct block_reporter *r);

static void ask_next(struct block_reporter *r)
{
    r->at++;
    if (++r->hops < NODE_MEMBERS_MAX)
        report(r);
}

static void follow_hint(struct block_reporter *r, struct slice message)
{
    struct wire_error error;
    arena_reset(&r->arena);
    wire_error_decode(message, &r->arena, &error);
    struct member *leader = node_member(r->node, error.leader_id);
    if (!leader && !node_has_state(r->node)) /* all that it knew may have been members once */
        leader = node_member_told(r->node, error.leader_id, error.leader_address);
    if (!leader) {
        ask_next(r);
        return;
    }
    r->at = (unsigned)(leader - r->node->members);
    if (++r->hops < NODE_MEMBERS_MAX)
        report(r);
}

/* The members, the map of the block servers and the collection's epoch, for one that has no state to read them from. */
static void learn_cluster(struct block_reporter *r, struct slice message)
{
    struct wire_members members;
    struct err_text why;
    arena_reset(&r->arena);
    if (node_has_state(r->node) || wire_members_decode(message, &r->arena, &members, &why) != ERR_OK)
        return;
    node_members_learn(r->node, &members);
    block_keeper_epoch_told(r->node, members.epoch, members.released);
    struct member *leader = r->asked == 0 ? NULL : node_member(r->node, r->asked);
    if (leader && leader->peer)
        block_keeper_map_told(r->node, members.map_version, leader->peer);
}

static void on_answer(void *context, const struct rpc_response *response)
{
    struct block_reporter *r = context;
    r->call_under_way = false;
    if (!node_in_service(r->node))
        return;
    if (r->again) {
        r->again = false;
        schedule(r, REPORT_SOON_MS);
    } else if (response->status == ERR_NOT_LEADER) {
        follow_hint(r, response->message);
    } else if (err_class(response->status) == ERR_CLASS_LEADER || err_class(response->status) == ERR_CLASS_WAIT) {
        ask_next(r);
    } else if (response->status != r->complaint && response->status != ERR_OK) {
        struct wire_error error;
        arena_reset(&r->arena);
        wire_error_decode(response->message, &r->arena, &error);
        log_warn("this block server is refused: %.*s", (int)error.text.size, (const char *)error.text.data);
        r->complaint = response->status;
    } else if (response->status == ERR_OK) {
        r->complaint = ERR_OK;
        learn_cluster(r, response->message);
    }
}

static void report(struct block_reporter *r)
{
    struct node *n = r->node;
    struct wire_block_info info;
    service_block_info(n, &info);
    if (n->role == RAFT_LEADER) {
        struct err_text why;
        if (n->leader_ready)
            (void)!node_registry_report(n, &info, n->config.advertise.text, &why);
        return;
    }
    struct member *m = node_member(n, n->leader);
    for (unsigned i = 0; i < NODE_MEMBERS_MAX && !(m && m->peer); i++)
        m = &n->members[(r->at + i) % NODE_MEMBERS_MAX];
    if (!m || !m->peer)
        return; /* a single member, which does not lead yet */
    r->at = (unsigned)(m - n->members);
    r->call_under_way = true;
    r->asked = m->id;
    arena_reset(&r->arena);
    rpc_peer_call(m->peer, METHOD_BLOCK_REPORT, wire_block_info_encode(&info, &r->arena), SLICE(NULL, 0),
                  clock_boot_ns() + REPORT_DEADLINE_NS, on_answer, r);
}

static void on_work(uv_work_t *work)
{
    struct block_reporter *r = work->data;
    block_store_stat(r->node->blocks, &r->stat);
}

static void on_work_done(uv_work_t *work, int cancelled)
{
    struct block_reporter *r = work->data;
    struct node *n = r->node;
    CHECK(cancelled == 0);
    r->work_under_way = false;
    n->block_stat = r->stat;
    if (!node_in_service(n) || r->call_under_way)
        return;
    r->hops = 0;
    report(r);
}

/* A new member has a cluster when it has applied something of the cluster's state. Before, it may never be taken in,
 * and nobody shall put copies there meanwhile. */
static bool waits_to_be_taken_in(const struct node *n)
{
    return n->replica && n->config.join && !datadir_cluster_id(n->dir);
}

static void on_timer(uv_timer_t *timer)
{
    struct block_reporter *r = timer->data;
    schedule(r, REPORT_MS);
    if (r->work_under_way || !node_in_service(r->node) || waits_to_be_taken_in(r->node))
        return;
    r->work_under_way = true;
    CHECK(uv_queue_work(r->node->loop, &r->work, on_work, on_work_done) == 0);
}

void block_reporter_now(struct node *n)
{
    struct block_reporter *r = n->reporter;
    if (!r || n->stopping)
        return;
    r->again = r->call_under_way;
    schedule(r, REPORT_SOON_MS);
}

void block_reporter_open(struct node *n)
{
    struct block_reporter *r = n->reporter = MEM_NEW(struct block_reporter);
    r->node = n;
    r->timer.data = r->work.data = r;
    block_store_stat(n->blocks, &n->block_stat);
    CHECK(uv_timer_init(n->loop, &r->timer) == 0);
    schedule(r, 0);
}

void block_reporter_close(struct node *n)
{
    if (n->reporter)
        uv_close((uv_handle_t *)&n->reporter->timer, NULL);
}

void block_reporter_free(struct node *n)
{
    if (!n->reporter)
        return;
    arena_free(&n->reporter->arena);
    free(n->reporter);
    n->reporter = NULL;
}
