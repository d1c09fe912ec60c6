#include "daemon/config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rate.h"

void config_init(struct config *c)
{
    *c = (struct config){
        .roles = WIRE_NODE_META | WIRE_NODE_BLOCK,
        .port = CONFIG_PORT_DEFAULT,
        .id = 1,
        .data = "surfd-data",
        .election = RAFT_ELECTION_AUTO,
        .reads = RAFT_READS_LEASE,
        .session_timeout_s = 60,
        .log_size_mib = 64,
        .log_entries = 100000,
        .disk_reserve_mib = 128,
        .repair_delay_s = 300,
        .repair_interval_s = 3600,
        .stray_age_s = 600,
        .collect_interval_s = 60,
        .repair_rate = 50 * MIB,
        .scrub_rate = 10 * MIB,
    };
}

/* Decimal digits only, so that "0x1", "-1", " 1" and "" are refused. */
enum err config_parse_number(const char *text, unsigned low, unsigned high, unsigned *ret, const char *what,
                             struct err_text *why)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long value = digits > 0 && digits <= 9 && text[digits] == 0 ? strtoul(text, NULL, 10) : ULONG_MAX;
    if (value < low || value > high)
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is not %s from %u to %u", text, what, low, high);
    *ret = (unsigned)value;
    return ERR_OK;
}

enum err config_parse_switch(const char *text, bool *ret, struct err_text *why)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is neither true nor false", text);
    *ret = text[0] == 't';
    return ERR_OK;
}

static enum err set_role(struct config *c, const char *value, struct err_text *why)
{
    if (strcmp(value, "meta") == 0)
        c->roles = WIRE_NODE_META;
    else if (strcmp(value, "block") == 0)
        c->roles = WIRE_NODE_BLOCK;
    else if (strcmp(value, "both") == 0)
        c->roles = WIRE_NODE_META | WIRE_NODE_BLOCK;
    else
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is none of meta, block, both", value);
    return ERR_OK;
}

static enum err set_port(struct config *c, const char *value, struct err_text *why)
{
    unsigned port;
    TRY(config_parse_number(value, 1, 65535, &port, "a port", why));
    c->port = (uint16_t)port;
    c->port_given = true;
    return ERR_OK;
}

static enum err set_localhost(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_switch(value, &c->localhost, why);
}

static enum err set_debug(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_switch(value, &c->debug, why);
}

static enum err set_insecure(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_switch(value, &c->insecure_listen, why);
}

static enum err set_id(struct config *c, const char *value, struct err_text *why)
{
    unsigned id;
    TRY(config_parse_number(value, 1, CONFIG_ID_MAX, &id, "a node id", why));
    c->id = id;
    c->id_given = true;
    return ERR_OK;
}

static enum err set_data(struct config *c, const char *value, struct err_text *why)
{
    size_t size = strlen(value);
    /* Names below it are appended, and must still fit in a path. */
    if (size == 0 || size >= sizeof c->data - 64)
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is not a directory's path", value);
    memcpy(c->data, value, size + 1);
    return ERR_OK;
}

static enum err add_peer(struct config *c, const char *item, struct err_text *why)
{
    char id_text[16];
    const char *equals = strchr(item, '=');
    if (!equals || (size_t)(equals - item) >= sizeof id_text)
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is not ID=HOST:PORT", item);
    memcpy(id_text, item, (size_t)(equals - item));
    id_text[equals - item] = 0;

    struct config_peer peer;
    unsigned id;
    TRY(config_parse_number(id_text, 1, CONFIG_ID_MAX, &id, "a node id", why));
    peer.id = id;
    TRY(rpc_address_parse(equals + 1, &peer.address, why));
    if (c->peer_count == LIMIT_NODES)
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is over the limit of %u members", item, LIMIT_NODES);
    for (unsigned i = 0; i < c->peer_count; i++) {
        if (c->peers[i].id == id)
            return err_explain(why, ERR_CONFIG, "id %u is there twice: %.60s and %.60s", id, c->peers[i].address.text,
                               peer.address.text);
        if (c->peers[i].address.port == peer.address.port && strcmp(c->peers[i].address.host, peer.address.host) == 0)
            return err_explain(why, ERR_CONFIG, "%.100s is the address of both %u and %u", peer.address.text,
                               c->peers[i].id, id);
    }
    unsigned at = c->peer_count++;
    for (; at > 0 && c->peers[at - 1].id > id; at--)
        c->peers[at] = c->peers[at - 1];
    c->peers[at] = peer;
    return ERR_OK;
}

/* Calls `add` for every item of a comma-separated list; an empty list or item is refused by `add`. */
static enum err for_each_item(struct config *c, const char *value,
                              enum err (*add)(struct config *, const char *, struct err_text *), struct err_text *why)
{
    _cleanup_free_ char *copy = mem_strdup(value);
    for (char *item = copy; item;) {
        char *comma = strchr(item, ',');
        if (comma)
            *comma = 0;
        TRY(add(c, item, why));
        item = comma ? comma + 1 : NULL;
    }
    return ERR_OK;
}

static enum err set_peers(struct config *c, const char *value, struct err_text *why)
{
    c->peer_count = 0;
    return for_each_item(c, value, add_peer, why);
}

enum err config_add_block_server(struct config *c, const char *address, struct err_text *why)
{
    struct rpc_address parsed;
    TRY(rpc_address_parse(address, &parsed, why));
    for (unsigned i = 0; i < c->block_server_count; i++)
        if (strcmp(c->block_servers[i].text, parsed.text) == 0)
            return err_explain(why, ERR_CONFIG, "block server %.100s is there twice", address);
    if (c->block_server_count == LIMIT_BLOCK_SERVERS)
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is over the limit of %u block servers", address,
                           LIMIT_BLOCK_SERVERS);
    c->block_servers[c->block_server_count++] = parsed;
    return ERR_OK;
}

static enum err set_block_servers(struct config *c, const char *value, struct err_text *why)
{
    c->block_server_count = 0;
    return for_each_item(c, value, config_add_block_server, why);
}

static enum err set_election(struct config *c, const char *value, struct err_text *why)
{
    if (strcmp(value, "auto") != 0 && strcmp(value, "manual") != 0)
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is neither auto nor manual", value);
    c->election = value[0] == 'a' ? RAFT_ELECTION_AUTO : RAFT_ELECTION_MANUAL;
    return ERR_OK;
}

static enum err set_reads(struct config *c, const char *value, struct err_text *why)
{
    if (strcmp(value, "lease") != 0 && strcmp(value, "readindex") != 0)
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is neither lease nor readindex", value);
    c->reads = value[0] == 'l' ? RAFT_READS_LEASE : RAFT_READS_READINDEX;
    return ERR_OK;
}

static enum err set_advertise(struct config *c, const char *value, struct err_text *why)
{
    TRY(rpc_address_parse(value, &c->advertise, why));
    c->has_advertise = true;
    return ERR_OK;
}

static enum err set_session_timeout(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_number(value, CONFIG_SESSION_TIMEOUT_MIN_S, CONFIG_SESSION_TIMEOUT_MAX_S, &c->session_timeout_s,
                               "a number of seconds", why);
}

static enum err set_join(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_switch(value, &c->join, why);
}

static enum err set_rebuild(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_switch(value, &c->rebuild, why);
}

static enum err set_log_size(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_number(value, CONFIG_LOG_SIZE_MIN_MIB, CONFIG_LOG_SIZE_MAX_MIB, &c->log_size_mib,
                               "a size in MiB", why);
}

static enum err set_log_entries(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_number(value, CONFIG_LOG_ENTRIES_MIN, CONFIG_LOG_ENTRIES_MAX, &c->log_entries,
                               "a number of entries", why);
}

static enum err set_disk_reserve(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_number(value, 0, CONFIG_DISK_RESERVE_MAX_MIB, &c->disk_reserve_mib, "a size in MiB", why);
}

static enum err set_connections(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_number(value, CONFIG_CONNECTIONS_MIN, CONFIG_CONNECTIONS_MAX, &c->connections,
                               "a number of connections", why);
}

static enum err parse_rate(const char *text, uint64_t *ret, struct err_text *why)
{
    if (!rate_parse(text, ret))
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is not a number of bytes per second, as 50M or 0", text);
    return ERR_OK;
}

static enum err set_repair_rate(struct config *c, const char *value, struct err_text *why)
{
    return parse_rate(value, &c->repair_rate, why);
}

static enum err set_scrub_rate(struct config *c, const char *value, struct err_text *why)
{
    return parse_rate(value, &c->scrub_rate, why);
}

static enum err set_repair_delay(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_number(value, 1, CONFIG_UPKEEP_MAX_S, &c->repair_delay_s, "a number of seconds", why);
}

static enum err set_repair_interval(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_number(value, 1, CONFIG_UPKEEP_MAX_S, &c->repair_interval_s, "a number of seconds", why);
}

static enum err set_collect_interval(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_number(value, 1, CONFIG_UPKEEP_MAX_S, &c->collect_interval_s, "a number of seconds", why);
}

static enum err set_stray_age(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_number(value, 1, CONFIG_UPKEEP_MAX_S, &c->stray_age_s, "a number of seconds", why);
}

static enum err set_durability_log(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_switch(value, &c->durability_log, why);
}

static enum err set_rebuild_blocks(struct config *c, const char *value, struct err_text *why)
{
    return config_parse_switch(value, &c->rebuild_blocks, why);
}

static enum err set_trace(struct config *c, const char *value, struct err_text *why)
{
    if (value[0] == 0 || strlen(value) >= sizeof c->trace)
        return err_explain(why, ERR_CONFIG, "\"%.100s\" is not a file's path", value);
    strcpy(c->trace, value);
    return ERR_OK;
}

static enum err set_zone(struct config *c, const char *value, struct err_text *why)
{
    struct slice zone = slice_str(value);
    if (!meta_zone_valid(zone))
        return err_explain(why, ERR_CONFIG,
                           "\"%.100s\" is not a zone's name: up to %u letters, digits, \".\", \"_\" and \"-\"", value,
                           LIMIT_ZONE_BYTES);
    memcpy(c->zone, zone.data, zone.size);
    c->zone[zone.size] = 0;
    return ERR_OK;
}

static const struct {
    const char *name;
    enum err (*set)(struct config *c, const char *value, struct err_text *why);
} keys[] = {
    {"role", set_role},
    {"port", set_port},
    {"localhost", set_localhost},
    {"debug", set_debug},
    {"id", set_id},
    {"data", set_data},
    {"peers", set_peers},
    {"block-servers", set_block_servers},
    {"election", set_election},
    {"reads", set_reads},
    {"advertise", set_advertise},
    {"session-timeout", set_session_timeout},
    {"join", set_join},
    {"rebuild", set_rebuild},
    {"log-size", set_log_size},
    {"log-entries", set_log_entries},
    {"disk-reserve", set_disk_reserve},
    {"connections", set_connections},
    {"repair-delay", set_repair_delay},
    {"repair-rate", set_repair_rate},
    {"repair-interval", set_repair_interval},
    {"stray-age", set_stray_age},
    {"collect-interval", set_collect_interval},
    {"scrub-rate", set_scrub_rate},
    {"rebuild-blocks", set_rebuild_blocks},
    {"durability-log", set_durability_log},
    {"zone", set_zone},
    {"trace", set_trace},
    {"insecure-listen-everywhere-without-tls", set_insecure},
};

enum err config_set(struct config *c, const char *key, const char *value, struct err_text *why)
{
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (strcmp(keys[i].name, key) == 0)
            return keys[i].set(c, value, why);
    enum err e = config_gateway_set(c, key, value, why);
    return e == ERR_NOT_FOUND ? err_explain(why, ERR_CONFIG, "\"%.100s\" is not a key", key) : e;
}

bool config_host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static const struct config_peer *own_peer(const struct config *c)
{
    for (unsigned i = 0; i < c->peer_count; i++)
        if (c->peers[i].id == c->id)
            return &c->peers[i];
    return NULL;
}

static enum err check_peers(struct config *c, struct err_text *why)
{
    const struct config_peer *own = own_peer(c);
    if (!(c->roles & WIRE_NODE_META)) {
        if (own)
            return err_explain(
                why, ERR_CONFIG,
                "peers lists %u=%.100s, but node %u is a block server only: peers are the metastore's members", own->id,
                own->address.text, c->id);
        return ERR_OK;
    }
    if (c->peer_count == 0 || (c->join && !own))
        return ERR_OK;
    if (!own)
        return err_explain(why, ERR_CONFIG, "peers does not list this node's own id %u%s", c->id,
                           c->id_given ? "" : ", which it has since no id is given");
    if (c->port_given && own->address.port != c->port)
        return err_explain(why, ERR_CONFIG, "peers says %u=%.100s, but this node %u is to listen on port %u", own->id,
                           own->address.text, c->id, c->port);
    c->port = own->address.port;
    return ERR_OK;
}

static enum err choose_advertise(struct config *c, struct err_text *why)
{
    if (c->has_advertise)
        return ERR_OK;
    const struct config_peer *own = own_peer(c);
    if (own) {
        c->advertise = own->address;
        return ERR_OK;
    }
    char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%u", c->port);
    if (c->insecure_listen && !c->localhost)
        return err_explain(
            why, ERR_CONFIG,
            "other machines would be told to reach node %u at %s: advertise says where it is, as HOST:PORT, "
            "unless its own entry in peers does",
            c->id, text);
    return rpc_address_parse(text, &c->advertise, why);
}

static enum err check_joining(const struct config *c, struct err_text *why)
{
    bool others = c->peer_count > (own_peer(c) ? 1u : 0u);
    if ((c->join || c->rebuild) && !(c->roles & WIRE_NODE_META))
        return err_explain(why, ERR_CONFIG, "%s is for the metastore, and node %u is a block server only",
                           c->join ? "join" : "rebuild", c->id);
    if (c->zone[0] && !(c->roles & WIRE_NODE_BLOCK))
        return err_explain(why, ERR_CONFIG, "zone %s is for a block server, and node %u is none", c->zone, c->id);
    if (c->rebuild_blocks && !(c->roles & WIRE_NODE_BLOCK))
        return err_explain(why, ERR_CONFIG, "rebuild-blocks is for a block server, and node %u is none", c->id);
    if (c->durability_log && !(c->roles & WIRE_NODE_META))
        return err_explain(why, ERR_CONFIG, "durability-log is for a member of the metastore, and node %u is none",
                           c->id);
    if (c->join && c->rebuild)
        return err_explain(why, ERR_CONFIG,
                           "join and rebuild together: join is for a new member, rebuild for one that "
                           "lost its data");
    if (c->join && !c->id_given)
        return err_explain(why, ERR_CONFIG, "join needs an id that no other node has or had");
    if (c->rebuild && !others)
        return err_explain(why, ERR_CONFIG, "rebuild needs the other members, and peers names none but node %u", c->id);
    return ERR_OK;
}

enum err config_finish(struct config *c, struct err_text *why)
{
    TRY(check_joining(c, why));
    if (!(c->roles & WIRE_NODE_META) && c->block_server_count > 0)
        return err_explain(why, ERR_CONFIG,
                           "%.100s: a block server takes no addresses of block servers; they are for a metastore",
                           c->block_servers[0].text);
    TRY(check_peers(c, why));
    TRY(choose_advertise(c, why));
    if (!config_host_is_loopback(c->advertise.host)) {
        if (c->localhost)
            return err_explain(why, ERR_CONFIG, "%.100s is not a loopback address, but localhost was asked for",
                               c->advertise.text);
        if (!c->insecure_listen)
            return err_explain(
                why, ERR_CONFIG,
                "%.80s is not a loopback address: without certificates surfd binds to loopback only, unless "
                "--insecure-listen-everywhere-without-tls is given",
                c->advertise.text);
    }
    bool everywhere = c->insecure_listen && !c->localhost;
    if (everywhere)
        snprintf(c->bind_host, sizeof c->bind_host, "::");
    else
        snprintf(c->bind_host, sizeof c->bind_host, "%s", strchr(c->advertise.host, ':') ? "::1" : "127.0.0.1");
    if (!everywhere && inet_addr(c->advertise.host) != INADDR_NONE)
        snprintf(c->bind_host, sizeof c->bind_host, "%s", c->advertise.host); /* e.g. 127.0.0.2 */
    if ((c->roles & WIRE_NODE_META) && c->peer_count == 0 && !c->join)
        c->peers[c->peer_count++] = (struct config_peer){c->id, c->advertise};
    return config_gateway_finish(c, why);
}
