/* The other members of the metastore: connections, hellos, raft messages. */
#include <string.h>

#define LOG_MODULE "members"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/methods.h"
#include "proto/wire_raft.h"

#define RECONNECT_NS (500 * NS_PER_MS)

/* conn_tag of a connection: role in the upper half, node id (0: none) in the lower. */
#define TAG(role, id) (((uint64_t)(role) << 32) | (id))

struct held_message {
    struct list_node link;
    uint64_t sequence; /* to be sent when the log thread has done this */
    uint32_t to;
    struct bytes message, payload;
};

struct slice node_hello(struct node *n)
{
    struct wire_hello hello = {.role = WIRE_ROLE_NODE,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .node_id = n->config.id,
                               .name = slice_str("surfd")};
    const uint8_t *cluster_id = n->dir ? datadir_cluster_id(n->dir) : NULL;
    if (cluster_id) {
        hello.has_cluster_id = true;
        memcpy(hello.cluster_id, cluster_id, sizeof hello.cluster_id);
    }
    arena_reset(&n->hello_arena);
    return wire_hello_encode(&hello, &n->hello_arena);
}

void node_update_hello(struct node *n)
{
    struct slice hello = node_hello(n);
    rpc_server_set_hello(n->server, hello);
    for (unsigned i = 0; i < n->member_count; i++)
        if (n->members[i].peer)
            rpc_peer_set_hello(n->members[i].peer, hello);
}

enum err node_check_hello(const struct node *n, struct slice encoded, struct wire_hello *ret, struct err_text *why)
{
    struct arena arena = {0};
    enum err e = wire_hello_decode(encoded, &arena, ret, why);
    ret->name = SLICE(NULL, 0); /* lives in the arena */
    arena_free(&arena);
    TRY(e);
    if (ret->version_min > WIRE_VERSION_MAX || ret->version_max < WIRE_VERSION_MIN)
        return err_explain(why, ERR_PROTOCOL, "it speaks versions %u to %u, this node %u to %u", ret->version_min,
                           ret->version_max, WIRE_VERSION_MIN, WIRE_VERSION_MAX);
    const uint8_t *own = n->dir ? datadir_cluster_id(n->dir) : NULL;
    if (ret->has_cluster_id && own && memcmp(ret->cluster_id, own, sizeof ret->cluster_id) != 0)
        return err_explain(why, ERR_WRONG_CLUSTER, "it belongs to another cluster (%08x..., this one is %08x...)",
                           get_u32be(ret->cluster_id), get_u32be(own));
    return ERR_OK;
}

/* A member that has just come back is not to wait for the end of our back-off. Rarely, so that two members that both
 * connect at the same moment don't break each other's attempts for ever. */
static void reconnect_to(struct member *m)
{
    int64_t now_ns = clock_boot_ns();
    if (!m->peer || rpc_peer_connected(m->peer) || now_ns - m->reconnected_ns < RECONNECT_NS || m->node->crashed)
        return;
    m->reconnected_ns = now_ns;
    rpc_peer_disconnect(m->peer);
    rpc_peer_send(m->peer, METHOD_RAFT, SLICE(NULL, 0), SLICE(NULL, 0));
}

/* Of whoever connects to us. */
enum err node_on_hello(void *context, struct slice encoded, uint64_t *ret_tag, struct err_text *why)
{
    struct node *n = context;
    struct wire_hello hello;
    TRY(node_check_hello(n, encoded, &hello, why));
    if (hello.role == WIRE_ROLE_NODE && hello.node_id == n->config.id && n->member_count > 1)
        return err_explain(why, ERR_WRONG_NODE, "it says that it is node %u, which is this one", hello.node_id);
    *ret_tag = TAG(hello.role, hello.role == WIRE_ROLE_NODE ? hello.node_id : 0);
    struct member *m = hello.role == WIRE_ROLE_NODE ? node_member(n, hello.node_id) : NULL;
    if (m) {
        m->inbound++;
        reconnect_to(m);
    }
    return ERR_OK;
}

void node_on_close(void *context, uint64_t tag)
{
    struct member *m = node_member(context, (uint32_t)tag);
    if (m && tag >> 32 == WIRE_ROLE_NODE)
        m->inbound--;
}

/* Of the member that we connected to. */
static enum err on_member_hello(void *context, struct slice encoded, struct err_text *why)
{
    struct member *m = context;
    struct wire_hello hello;
    enum err e = node_check_hello(m->node, encoded, &hello, why);
    if (e == ERR_OK && (hello.role != WIRE_ROLE_NODE || hello.node_id != m->id))
        e = err_explain(why, ERR_WRONG_NODE, "node %u answers there", hello.node_id);
    if (e != ERR_OK && !m->refused)
        log_warn("member %u at %s refused: %s", m->id, m->address.text, why->text);
    m->refused = e != ERR_OK;
    return e;
}

void node_members_open(struct node *n)
{
    struct slice hello = node_hello(n);
    for (unsigned i = 0; i < n->config.peer_count; i++) {
        struct member *m = &n->members[n->member_count++];
        *m = (struct member){.node = n, .id = n->config.peers[i].id, .address = n->config.peers[i].address};
        if (m->id == n->config.id && n->meta)
            continue;
        m->peer = rpc_peer_new(n->loop, &m->address, hello, on_member_hello, m);
    }
}

void node_members_close(struct node *n)
{
    for (unsigned i = 0; i < n->member_count; i++) {
        if (n->members[i].peer)
            rpc_peer_free(n->members[i].peer);
        n->members[i].peer = NULL;
    }
}

void node_members_connect(struct node *n)
{
    for (unsigned i = 0; i < n->member_count; i++)
        if (n->members[i].peer && !rpc_peer_connected(n->members[i].peer))
            rpc_peer_send(n->members[i].peer, METHOD_RAFT, SLICE(NULL, 0), SLICE(NULL, 0));
}

bool node_members_connected(const struct node *n)
{
    for (unsigned i = 0; i < n->member_count; i++)
        if (n->members[i].peer && (!rpc_peer_connected(n->members[i].peer) || n->members[i].inbound == 0))
            return false;
    return true;
}

struct member *node_member(struct node *n, uint32_t id)
{
    for (unsigned i = 0; i < n->member_count; i++)
        if (n->members[i].id == id)
            return &n->members[i];
    return NULL;
}

bool node_is_unreachable(const struct node *n, uint32_t id)
{
    for (unsigned i = 0; i < n->unreachable_count; i++)
        if (n->unreachable[i] == id)
            return true;
    return false;
}

void node_ignore(struct node *n, const uint32_t *ids, unsigned count)
{
    if (count == 0)
        n->unreachable_count = 0;
    for (unsigned i = 0; i < count; i++)
        if (!node_is_unreachable(n, ids[i]) && n->unreachable_count < LIMIT_NODES)
            n->unreachable[n->unreachable_count++] = ids[i];
    log_info("raft messages of %u members are ignored", n->unreachable_count);
}

void node_send(struct node *n, const struct raft_message *m, bool hold)
{
    struct member *to = node_member(n, m->to);
    if (!to || !to->peer || n->crashed || n->fault.text[0])
        return;
    struct slice message, payload;
    arena_reset(&n->send_arena);
    wire_raft_encode(m, &n->send_arena, &message, &payload);
    if (!hold) {
        rpc_peer_send(to->peer, METHOD_RAFT, message, payload);
        return;
    }
    struct held_message *held = MEM_NEW(struct held_message);
    held->sequence = n->persist_pushed;
    held->to = m->to;
    bytes_append(&held->message, message);
    bytes_append(&held->payload, payload);
    list_push_back(&n->held_messages, &held->link);
}

static void held_free(struct held_message *held)
{
    bytes_free(&held->message);
    bytes_free(&held->payload);
    free(held);
}

void node_messages_persisted(struct node *n)
{
    while (!list_empty(&n->held_messages)) {
        struct held_message *held = container_of(list_first(&n->held_messages), struct held_message, link);
        if (held->sequence > n->persist_done)
            return;
        list_remove(&held->link);
        struct member *to = node_member(n, held->to);
        if (!n->crashed)
            rpc_peer_send(to->peer, METHOD_RAFT, bytes_slice(&held->message), bytes_slice(&held->payload));
        held_free(held);
    }
}

void node_drop_held_messages(struct node *n)
{
    for (struct list_node *node; (node = list_pop_front(&n->held_messages));)
        held_free(container_of(node, struct held_message, link));
}

/* Of a member's connection only, and only what it says of itself. */
void node_receive(struct node *n, struct rpc_request *request)
{
    struct raft_message m;
    struct err_text why;
    uint32_t from = (uint32_t)request->conn_tag;
    bool usable = request->oneway && n->raft && !n->crashed && !n->fault.text[0];
    if (usable && (request->conn_tag >> 32 != WIRE_ROLE_NODE || !node_member(n, from))) {
        log_warn("a raft message of node %u, which is not a member, is ignored", from);
    } else if (usable && !node_is_unreachable(n, from)) {
        enum err e = wire_raft_decode(request->message, request->payload, &request->arena, &m, &why);
        if (e == ERR_OK && (m.from != from || m.to != n->config.id))
            e = err_explain(&why, ERR_WRONG_NODE, "from %u to %u, but it came from %u", m.from, m.to, from);
        if (e == ERR_OK) {
            struct raft_event event = {.type = RAFT_EVENT_MESSAGE, .message = &m};
            (void)!node_step(n, &event);
        } else {
            log_warn("a raft message of member %u is refused: %s", from, why.text);
        }
    }
    if (request->oneway)
        rpc_release(request);
    else
        rpc_reply(request, ERR_PROTOCOL, SLICE(NULL, 0), NULL);
}
