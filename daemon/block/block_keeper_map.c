/* The map of the block servers, and who of them answers. A metastore member reads the map from its own state, another
 * node, and one that was a member, asks the leader when it hears of a new version. A map that is old for a while does
 * no harm: copies are only added by it, and removed only with the consent of servers that go by the same one
 * (block_keeper_stray.c). */
#include <string.h>

#define LOG_MODULE "keeper"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/block/block_keeper.h"
#include "meta/meta.h"
#include "proto/methods.h"
#include "proto/wire_meta.h"

/* ---- news of the map ---- */

static uint64_t latest_version(const struct block_keeper *k)
{
    return k->news.waits ? k->news.version : k->map.version;
}

static void take_map(struct block_keeper *k, const struct meta_query_reply *reply)
{
    struct keeper_news *news = &k->news;
    unsigned count = reply->cluster.server_count;
    if (reply->cluster.map_version <= latest_version(k) || count > LIMIT_BLOCK_SERVERS)
        return;
    news->waits = true;
    news->version = reply->cluster.map_version;
    news->replicas = reply->cluster.replicas;
    news->count = count;
    if (count > 0)
        memcpy(news->servers, reply->cluster.servers, count * sizeof news->servers[0]);
}

static void read_own_map(struct block_keeper *k)
{
    struct meta *meta = replica_meta(k->node->replica);
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply reply;
    arena_reset(&k->arena);
    if (meta && meta_initialised(meta) && meta_query(meta, &query, &k->arena, &reply) == ERR_OK &&
        reply.status == ERR_OK)
        take_map(k, &reply);
}

static void on_map(void *context, const struct rpc_response *response)
{
    struct block_keeper *k = context;
    struct meta_query_reply reply;
    struct err_text why;
    k->asking_map = false;
    arena_reset(&k->arena);
    if (response->status == ERR_OK &&
        wire_meta_query_reply_decode(response->message, &k->arena, &reply, &why) == ERR_OK && reply.status == ERR_OK)
        take_map(k, &reply);
}

void block_keeper_map_told(struct node *n, uint64_t version, struct rpc_peer *from)
{
    struct block_keeper *k = n->keeper;
    if (!k || k->closing || k->asking_map || version <= latest_version(k))
        return;
    k->asking_map = true;
    arena_reset(&k->arena);
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    rpc_peer_call(from, METHOD_META_QUERY, wire_meta_query_encode(&query, &k->arena), SLICE(NULL, 0),
                  clock_boot_ns() + KEEPER_PROBE_DEADLINE_NS, on_map, k);
}

/* ---- the map in force ---- */

static enum err on_server_hello(void *context, struct slice encoded, struct err_text *why)
{
    struct keeper_server *s = context;
    struct wire_hello hello;
    TRY(node_check_hello(s->keeper->node, encoded, &hello, why));
    /* Copies are made and removed by the word of this server and no other. */
    return hello.node_id == s->id ? ERR_OK : err_explain(why, ERR_WRONG_NODE, "node %u answers there", hello.node_id);
}

/* As a client of block servers: who says hello as a node is taken for a member of the metastore. */
static struct slice keeper_hello(struct block_keeper *k)
{
    struct wire_hello hello = {.role = WIRE_ROLE_CLIENT,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .name = slice_str("surfd")};
    const uint8_t *cluster_id = datadir_cluster_id(k->node->dir);
    if (cluster_id) {
        hello.has_cluster_id = true;
        memcpy(hello.cluster_id, cluster_id, sizeof hello.cluster_id);
    }
    arena_reset(&k->arena);
    return wire_hello_encode(&hello, &k->arena);
}

static void server_free(struct keeper_server *s)
{
    if (!s)
        return;
    if (s->peer)
        rpc_peer_free(s->peer);
    free(s);
}

/* The same server at the same address keeps what is known of it. */
static struct keeper_server *server_kept(struct block_keeper *k, const struct meta_block_server *from)
{
    for (unsigned i = 0; i < k->map.count; i++)
        if (k->servers[i] && k->map.servers[i].id == from->id && strcmp(k->addresses[i], from->address) == 0) {
            struct keeper_server *s = k->servers[i];
            k->servers[i] = NULL;
            return s;
        }
    return NULL;
}

static struct keeper_server *server_new(struct block_keeper *k, const struct meta_block_server *from)
{
    struct keeper_server *s = MEM_NEW(struct keeper_server);
    struct rpc_address address;
    s->keeper = k;
    s->id = from->id;
    s->answered_ns = clock_boot_ns(); /* its silence begins now */
    if (from->id == k->node->config.id)
        s->up = true;
    else if (rpc_address_parse(from->address, &address, NULL) == ERR_OK)
        s->peer = rpc_peer_new(k->node->loop, &address, keeper_hello(k), on_server_hello, s);
    return s;
}

static void apply_news(struct block_keeper *k)
{
    struct keeper_news *news = &k->news;
    struct keeper_server *servers[LIMIT_BLOCK_SERVERS];
    for (unsigned i = 0; i < news->count; i++) {
        servers[i] = server_kept(k, &news->servers[i]);
        if (!servers[i])
            servers[i] = server_new(k, &news->servers[i]);
        servers[i]->index = i;
    }
    for (unsigned i = 0; i < k->map.count; i++)
        server_free(k->servers[i]);
    k->map.count = k->map.self = news->count;
    for (unsigned i = 0; i < news->count; i++) {
        k->servers[i] = servers[i];
        k->map.servers[i] = (struct placement_server){.id = news->servers[i].id,
                                                      .weight = news->servers[i].weight,
                                                      .zone = placement_zone(news->servers[i].zone),
                                                      .last = news->servers[i].draining};
        memcpy(k->addresses[i], news->servers[i].address, sizeof k->addresses[i]);
        k->map.health[i] = keeper_server_is_well(servers[i]) ? UPKEEP_UP : UPKEEP_SILENT;
        if (news->servers[i].id == k->node->config.id)
            k->map.self = i;
    }
    k->map.version = news->version;
    k->map.replicas = news->replicas;
    news->waits = false;
    keeper_walk_due(k, 0, "the map of the block servers has changed");
    k->again_due_ns = clock_boot_ns() + KEEPER_NEWS_NS;
}

/* ---- who answers ---- */

bool keeper_server_is_well(const struct keeper_server *s)
{
    return s->up && !s->failed;
}

bool keeper_server_ready(struct keeper_server *s)
{
    if (s->up && s->peer && !rpc_peer_connected(s->peer))
        keeper_server_failed(s); /* when it is there again, a walk looks what it has missed */
    return s->up && s->peer;
}

void keeper_server_failed(struct keeper_server *s)
{
    s->up = false;
    s->probed_ns = 0;
}

static void on_probed(void *context, const struct rpc_response *response)
{
    struct keeper_server *s = context;
    struct block_keeper *k = s->keeper;
    struct wire_block_info info;
    struct err_text why;
    s->probing = false;
    if (k->closing)
        return;
    arena_reset(&k->arena);
    bool well = response->status == ERR_OK &&
                wire_block_info_decode(response->message, &k->arena, &info, &why) == ERR_OK &&
                info.node_id == k->map.servers[s->index].id;
    bool was_up = s->up;
    s->up = well;
    if (!well)
        return;
    s->failed = info.failed;
    if (s->full && !info.full) {
        keeper_walk_due(k, 0, "a block server has room again");
        k->short_due_ns = MAX(k->short_due_ns, clock_boot_ns() + KEEPER_SHORT_NS);
    }
    s->full = info.full;
    if (!s->failed)
        s->answered_ns = clock_boot_ns();
    if (!was_up) {
        keeper_walk_due(k, 0, "a block server answers again");
        /* Whose duty it is goes first; else copies would be made twice. */
        if (k->short_due_ns > 0)
            k->short_due_ns = MAX(k->short_due_ns, clock_boot_ns() + KEEPER_SHORT_NS);
    }
    if (was_up && s->boot_id != info.boot_id)
        keeper_walk_due(k, 0, "a block server was started anew");
    s->boot_id = info.boot_id;
}

static void probe(struct keeper_server *s, int64_t now_ns)
{
    if (!s->peer || s->probing || now_ns - s->probed_ns < KEEPER_PROBE_NS)
        return;
    s->probing = true;
    s->probed_ns = now_ns;
    rpc_peer_call(s->peer, METHOD_BLOCK_INFO, SLICE(NULL, 0), SLICE(NULL, 0), now_ns + KEEPER_PROBE_DEADLINE_NS,
                  on_probed, s);
}

void keeper_map_tick(struct block_keeper *k)
{
    int64_t now_ns = clock_boot_ns(), delay_ns = (int64_t)k->node->config.repair_delay_s * NS_PER_S;
    if (node_has_state(k->node))
        read_own_map(k);
    if (k->news.waits && !k->walk.running && !k->heal.suspects.healing)
        apply_news(k);
    for (unsigned i = 0; i < k->map.count; i++) {
        struct keeper_server *s = k->servers[i];
        enum upkeep_health health = upkeep_health_of(keeper_server_is_well(s), s->answered_ns, now_ns, delay_ns);
        probe(s, now_ns);
        /* Who doesn't answer that small question is not waited for with larger ones. */
        if (s->peer && !s->up && !s->probing && (k->walk.calls > 0 || k->heal.suspects.healing))
            rpc_peer_disconnect(s->peer);
        if (health == k->map.health[i])
            continue;
        if (health == UPKEEP_AWAY) {
            log_warn("block server %u is away: others take its copies", k->map.servers[i].id);
            keeper_walk_due(k, 0, "a block server is away");
        }
        k->map.health[i] = health;
    }
}

void keeper_map_close(struct block_keeper *k)
{
    for (unsigned i = 0; i < k->map.count; i++) {
        server_free(k->servers[i]);
        k->servers[i] = NULL;
    }
    k->map.count = k->map.self = 0;
}
