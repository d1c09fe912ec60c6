/* The members of the metastore: connections, hellos, messages. */
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "members"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/methods.h"
#include "proto/wire_replica.h"

#define RECONNECT_NS (500 * NS_PER_MS)

/* conn_tag of a connection: the role of who is there, and of a node its id and which of its selves it is. */
#define TAG(role, self, id) (((uint64_t)(role) << 48) | ((uint64_t)(self) << 32) | (id))
#define NO_SELF NODE_SELVES

/* ---- hellos ---- */

struct slice node_hello(struct node *n)
{
    struct wire_hello hello = {.role = WIRE_ROLE_NODE,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .node_id = n->config.id,
                               .name = slice_str("surfd"),
                               .address = slice_str(n->config.advertise.text)};
    const uint8_t *cluster_id = n->dir ? datadir_cluster_id(n->dir) : NULL;
    if (cluster_id) {
        hello.has_cluster_id = true;
        memcpy(hello.cluster_id, cluster_id, sizeof hello.cluster_id);
    }
    if (n->dir)
        memcpy(hello.identity, datadir_uuid(n->dir), sizeof hello.identity);
    arena_reset(&n->hello_arena);
    return wire_hello_encode(&hello, &n->hello_arena);
}

void node_update_hello(struct node *n)
{
    struct slice hello = node_hello(n);
    rpc_server_set_hello(n->server, hello);
    for (unsigned i = 0; i < NODE_MEMBERS_MAX; i++)
        if (n->members[i].peer)
            rpc_peer_set_hello(n->members[i].peer, hello);
}

static enum err decode_hello(const struct node *n, struct slice encoded, struct arena *arena, struct wire_hello *ret,
                             struct err_text *why)
{
    TRY(wire_hello_decode(encoded, arena, ret, why));
    if (ret->version_min > WIRE_VERSION_MAX || ret->version_max < WIRE_VERSION_MIN)
        return err_explain(why, ERR_PROTOCOL, "it speaks versions %u to %u, this node %u to %u", ret->version_min,
                           ret->version_max, WIRE_VERSION_MIN, WIRE_VERSION_MAX);
    const uint8_t *own = n->dir ? datadir_cluster_id(n->dir) : NULL;
    if (ret->has_cluster_id && own && memcmp(ret->cluster_id, own, sizeof ret->cluster_id) != 0)
        return err_explain(why, ERR_WRONG_CLUSTER, "it belongs to another cluster (%08x..., this one is %08x...)",
                           get_u32be(ret->cluster_id), get_u32be(own));
    return ERR_OK;
}

enum err node_check_hello(const struct node *n, struct slice encoded, struct wire_hello *ret, struct err_text *why)
{
    struct arena arena = {0};
    enum err e = decode_hello(n, encoded, &arena, ret, why);
    ret->name = ret->address = SLICE(NULL, 0); /* they live in the arena */
    arena_free(&arena);
    return e;
}

/* ---- places ---- */

struct member *node_member(struct node *n, uint32_t id)
{
    for (unsigned i = 0; i < NODE_MEMBERS_MAX && id != 0; i++)
        if (n->members[i].id == id)
            return &n->members[i];
    return NULL;
}

struct member *node_member_next(struct node *n, unsigned *at)
{
    while (*at < NODE_MEMBERS_MAX) {
        struct member *m = &n->members[(*at)++];
        if (m->id != 0 && m->current && m->peer)
            return m;
    }
    return NULL;
}

/* Its calls under way end here, and who made them asks another member at once: not this one. */
static void drop_peer(struct member *m)
{
    struct rpc_peer *peer = m->peer;
    m->peer = NULL;
    rpc_peer_free(peer);
}

static void release(struct member *m)
{
    drop_peer(m);
    *m = (struct member){.id = 0};
}

static enum err on_member_hello(void *context, struct slice encoded, struct err_text *why);

static bool speaks_to_us(const struct member *m)
{
    bool speaks = false;
    for (unsigned i = 0; i < NODE_SELVES; i++)
        speaks = speaks || m->selves[i].inbound > 0;
    return speaks;
}

/* A place for a member at that address; NULL: there is none left, or the address is none. */
static struct member *place(struct node *n, uint32_t id, struct slice address)
{
    char text[LIMIT_ADDRESS_BYTES + 1];
    struct rpc_address parsed;
    struct member *m = node_member(n, id);
    snprintf(text, sizeof text, "%.*s", (int)MIN(address.size, (size_t)LIMIT_ADDRESS_BYTES),
             (const char *)address.data);
    if (rpc_address_parse(text, &parsed, NULL) != ERR_OK)
        return m;
    for (unsigned i = 0; i < NODE_MEMBERS_MAX && !m; i++)
        if (n->members[i].id == 0 || (!n->members[i].current && !speaks_to_us(&n->members[i]))) {
            m = &n->members[i];
            release(m);
        }
    if (!m)
        return NULL;
    bool moved = m->id != 0 && strcmp(m->address.text, parsed.text) != 0;
    if (moved)
        drop_peer(m);
    m->node = n;
    m->id = id;
    m->address = parsed;
    bool self = id == n->config.id && (n->config.roles & WIRE_NODE_META);
    if (!m->peer && !self)
        m->peer = rpc_peer_new(n->loop, &m->address, node_hello(n), on_member_hello, m);
    return m;
}

struct member *node_member_told(struct node *n, uint32_t id, struct slice address)
{
    return id == 0 || address.size == 0 ? NULL : place(n, id, address);
}

static void begin_set(struct node *n)
{
    for (unsigned i = 0; i < NODE_MEMBERS_MAX; i++)
        n->members[i].current = false;
}

/* Who is no member any more and doesn't speak to us is forgotten. */
static void end_set(struct node *n)
{
    for (unsigned i = 0; i < NODE_MEMBERS_MAX; i++)
        if (n->members[i].id != 0 && !n->members[i].current && !speaks_to_us(&n->members[i]))
            release(&n->members[i]);
}

void node_members_set(struct node *n, const struct raft_config *config)
{
    begin_set(n);
    for (unsigned i = 0; i < config->count; i++) {
        struct member *m = place(n, config->members[i].id, slice_str(config->members[i].address));
        if (m)
            m->current = true;
    }
    end_set(n);
}

void node_members_learn(struct node *n, const struct wire_members *members)
{
    if (members->count == 0)
        return;
    begin_set(n);
    for (unsigned i = 0; i < members->count; i++) {
        struct member *m = place(n, members->list[i].id, members->list[i].address);
        if (m)
            m->current = true;
    }
    end_set(n);
}

void node_members_describe(const struct node *n, struct wire_members *ret)
{
    *ret = (struct wire_members){0};
    for (unsigned i = 0; i < NODE_MEMBERS_MAX && ret->count < LIMIT_NODES; i++) {
        const struct member *m = &n->members[i];
        if (m->id == 0 || !m->current)
            continue;
        unsigned at = ret->count++;
        for (; at > 0 && ret->list[at - 1].id > m->id; at--)
            ret->list[at] = ret->list[at - 1];
        ret->list[at].id = m->id;
        ret->list[at].address = slice_str(m->address.text);
    }
}

/* ---- connections ---- */

/* A member that has just come back is not to wait for the end of our back-off. Rarely, so that two members that both
 * connect at the same moment don't break each other's attempts for ever. */
static void reconnect_to(struct member *m)
{
    int64_t now_ns = clock_boot_ns();
    if (!m->peer || rpc_peer_connected(m->peer) || now_ns - m->reconnected_ns < RECONNECT_NS ||
        !node_in_service(m->node))
        return;
    m->reconnected_ns = now_ns;
    rpc_peer_disconnect(m->peer);
    rpc_peer_send(m->peer, METHOD_RAFT, SLICE(NULL, 0), SLICE(NULL, 0));
}

/* The place of a data directory among those that speak to us under this id. NO_SELF: there is none left. */
static unsigned self_of(struct member *m, const uint8_t identity[16])
{
    unsigned at = NO_SELF;
    for (unsigned i = 0; i < NODE_SELVES; i++) {
        if (m->selves[i].inbound > 0 && memcmp(m->selves[i].identity, identity, sizeof m->selves[i].identity) == 0)
            return i;
        if (m->selves[i].inbound == 0)
            at = i;
    }
    if (at != NO_SELF)
        memcpy(m->selves[at].identity, identity, sizeof m->selves[at].identity);
    return at;
}

/* One that is not a member here may be one all the same, which a longer log than ours knows: it must be answered. */
static unsigned hear_hello(struct node *n, const struct wire_hello *hello)
{
    struct member *m = node_member(n, hello->node_id);
    if (!m && n->replica && hello->address.size > 0)
        m = place(n, hello->node_id, hello->address);
    unsigned self = m ? self_of(m, hello->identity) : NO_SELF;
    if (m && self == NO_SELF)
        log_warn("more than %u data directories speak to us as node %u: this one is not listened to", NODE_SELVES,
                 m->id);
    if (self == NO_SELF)
        return self;
    m->selves[self].inbound++;
    reconnect_to(m);
    return self;
}

/* Of whoever connects to us. */
enum err node_on_hello(void *context, struct slice encoded, uint64_t *ret_tag, struct err_text *why)
{
    struct node *n = context;
    struct wire_hello hello;
    _cleanup_(arena_free) struct arena arena = {0};
    TRY(decode_hello(n, encoded, &arena, &hello, why));
    bool of_node = hello.role == WIRE_ROLE_NODE;
    bool own_identity = n->dir && memcmp(hello.identity, datadir_uuid(n->dir), sizeof hello.identity) == 0;
    if (of_node && hello.node_id == n->config.id && !own_identity)
        return err_explain(why, ERR_WRONG_NODE, "it says that it is node %u, which is this one", hello.node_id);
    *ret_tag = of_node ? TAG(hello.role, hear_hello(n, &hello), hello.node_id) : TAG(hello.role, NO_SELF, 0);
    return ERR_OK;
}

uint32_t node_of_tag(uint64_t tag)
{
    return (uint32_t)tag;
}

static unsigned role_of_tag(uint64_t tag)
{
    return (unsigned)(tag >> 48);
}

static struct member_self *self_of_tag(struct node *n, uint64_t tag)
{
    struct member *m = node_member(n, node_of_tag(tag));
    unsigned self = (uint16_t)(tag >> 32);
    return m && self < NODE_SELVES && m->selves[self].inbound > 0 ? &m->selves[self] : NULL;
}

const uint8_t *node_identity_of_tag(struct node *n, uint64_t tag)
{
    const struct member_self *self = self_of_tag(n, tag);
    return self ? self->identity : NULL;
}

bool node_is_important(void *context, uint64_t tag)
{
    (void)context;
    return role_of_tag(tag) == WIRE_ROLE_NODE || role_of_tag(tag) == WIRE_ROLE_ADMIN;
}

void node_on_close(void *context, uint64_t tag)
{
    struct node *n = context;
    struct member_self *self = self_of_tag(n, tag);
    if (!self)
        return;
    self->inbound--;
    if (n->replica && !n->stopping)
        end_set(n);
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
    begin_set(n);
    const struct raft_config *config = n->replica ? replica_config(n->replica) : NULL;
    if (config && config->count > 0) {
        node_members_set(n, config);
        return;
    }
    /* A block server, or a member that is not one yet: these are whom it may ask. */
    for (unsigned i = 0; i < n->config.peer_count; i++) {
        struct member *m = place(n, n->config.peers[i].id, slice_str(n->config.peers[i].address.text));
        if (m)
            m->current = true;
    }
}

void node_members_close(struct node *n)
{
    for (unsigned i = 0; i < NODE_MEMBERS_MAX; i++)
        release(&n->members[i]);
}

void node_members_connect(struct node *n)
{
    unsigned at = 0;
    for (struct member *m; (m = node_member_next(n, &at));)
        if (!rpc_peer_connected(m->peer))
            rpc_peer_send(m->peer, METHOD_RAFT, SLICE(NULL, 0), SLICE(NULL, 0));
}

bool node_members_connected(const struct node *n)
{
    for (unsigned i = 0; i < NODE_MEMBERS_MAX; i++) {
        const struct member *m = &n->members[i];
        if (m->current && m->peer && (!rpc_peer_connected(m->peer) || !speaks_to_us(m)))
            return false;
    }
    return true;
}

/* ---- messages ---- */

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
    log_info("messages of %u members are ignored", n->unreachable_count);
}

void node_send(void *context, const struct replica_message *m)
{
    struct node *n = context;
    struct member *to = node_member(n, m->to);
    if (!to || !to->peer || n->crashed)
        return;
    struct slice message, payload;
    arena_reset(&n->send_arena);
    wire_replica_encode(m, &n->send_arena, &message, &payload);
    node_trace_message(m, true);
    rpc_peer_send(to->peer, METHOD_RAFT, message, payload);
}

/* Of a node's connection only, and only what it says of itself. An empty message just keeps the connection. */
void node_receive(struct node *n, struct rpc_request *request)
{
    struct replica_message m;
    struct err_text why;
    uint32_t from = node_of_tag(request->conn_tag);
    const uint8_t *identity = node_identity_of_tag(n, request->conn_tag);
    bool usable = request->oneway && request->message.size > 0 && n->replica && !n->crashed;
    if (usable && identity && !node_is_unreachable(n, from)) {
        enum err e = wire_replica_decode(request->message, request->payload, &request->arena, &m, &why);
        if (e == ERR_OK && (m.from != from || m.to != n->config.id))
            e = err_explain(&why, ERR_WRONG_NODE, "from %u to %u, but it came from %u", m.from, m.to, from);
        if (e == ERR_OK) {
            node_trace_message(&m, false);
            replica_receive(n->replica, &m, identity);
        } else
            log_warn("a message of member %u is refused: %s", from, why.text);
    }
    if (request->oneway)
        rpc_release(request);
    else
        rpc_reply(request, ERR_PROTOCOL, SLICE(NULL, 0), NULL);
}
