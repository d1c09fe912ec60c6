/* SurfFS's metastore, over its own protocol. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/prng.h"
#include "bench/raft/driver.h"
#include "proto/methods.h"
#include "proto/wire_meta.h"
#include "rpc/peer.h"

#define CALL_NS (10 * NS_PER_S)
#define KEEPALIVE_MS 5000u

struct surf;

struct client {
    struct surf *surf;
    struct rpc_peer *peer;
    unsigned number;
    uint64_t session, seq;
    char name[40];
};

struct surf {
    struct driver *driver;
    struct rpc_address addresses[LIMIT_NODES];
    size_t address_count, at; /* at: who leads, as far as known */
    struct rpc_peer *peers[CONNECTIONS_MAX];
    struct client *clients;
    unsigned open;
    bool keys; /* keys and values in place of symbolic links */
    char value[4001];
    uint8_t hello[256];
    struct slice hello_slice;
    struct arena arena;
};

static void open_session(struct client *c);

static void connect_all(struct surf *s)
{
    for (unsigned i = 0; i < s->driver->connections; i++) {
        rpc_peer_free(s->peers[i]);
        s->peers[i] = rpc_peer_new(&s->driver->loop, &s->addresses[s->at], s->hello_slice, NULL, NULL);
    }
    for (unsigned i = 0; i < s->driver->clients; i++)
        s->clients[i].peer = s->peers[i % s->driver->connections];
}

static void on_session(void *context, const struct rpc_response *response)
{
    struct client *c = context;
    struct surf *s = c->surf;
    struct meta_reply reply;
    struct err_text why;
    struct arena a = {0};
    if (response->status != ERR_OK && c->number == 0 && s->at + 1 < s->address_count) {
        s->at++; /* the first client looks for the leader */
        connect_all(s);
        open_session(c);
        return;
    }
    if (response->status != ERR_OK || wire_meta_reply_decode(response->message, &a, &reply, &why) != ERR_OK ||
        reply.status != ERR_OK) {
        driver_failed(s->driver, "no session: %s", err_message(response->status));
        return;
    }
    arena_free(&a);
    c->session = reply.session;
    if (++s->open == s->driver->clients)
        driver_ready(s->driver);
    else
        open_session(&s->clients[c->number + 1]);
}

static void open_session(struct client *c)
{
    struct surf *s = c->surf;
    struct meta_command command = {.op = META_SESSION_OPEN};
    command.session_open.export = slice_str(META_EXPORT_DEFAULT);
    command.session_open.client = slice_str("surf-bench-raft");
    random_bytes(command.session_open.nonce, sizeof command.session_open.nonce);
    arena_reset(&s->arena);
    rpc_peer_call(c->peer, METHOD_META_CALL, wire_meta_command_encode(&command, &s->arena), SLICE(NULL, 0),
                  clock_boot_ns() + CALL_NS, on_session, c);
}

static void *open_surf(struct driver *d)
{
    struct surf *s = MEM_NEW(struct surf);
    struct err_text why = {""};
    s->driver = d;
    if (rpc_address_parse_list(d->servers, s->addresses, LIMIT_NODES, &s->address_count, &why) != ERR_OK) {
        driver_failed(d, "%s", why.text);
        return s;
    }
    memset(s->value, 'v', d->value_bytes);
    struct wire_hello hello = {.role = WIRE_ROLE_CLIENT,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .name = slice_str("surf-bench-raft")};
    struct slice encoded = wire_hello_encode(&hello, &s->arena);
    memcpy(s->hello, encoded.data, encoded.size);
    s->hello_slice = SLICE(s->hello, encoded.size);
    s->clients = mem_zalloc(d->clients * sizeof *s->clients);
    for (unsigned i = 0; i < d->clients; i++)
        s->clients[i] = (struct client){.surf = s, .number = i};
    connect_all(s);
    open_session(&s->clients[0]);
    return s;
}

static void on_put(void *context, const struct rpc_response *response)
{
    struct client *c = context;
    struct meta_reply reply = {0};
    struct err_text why;
    struct arena a = {0};
    if (response->status != ERR_OK || wire_meta_reply_decode(response->message, &a, &reply, &why) != ERR_OK ||
        reply.status != ERR_OK) {
        driver_failed(c->surf->driver, "put: %s, %s", err_message(response->status), err_message(reply.status));
        return;
    }
    arena_free(&a);
    driver_done(c->surf->driver, c->number);
}

static void on_get(void *context, const struct rpc_response *response)
{
    struct client *c = context;
    struct meta_query_reply reply = {0};
    struct err_text why;
    struct arena a = {0};
    if (response->status != ERR_OK || wire_meta_query_reply_decode(response->message, &a, &reply, &why) != ERR_OK ||
        (reply.status != ERR_OK && reply.status != ERR_NOENT)) {
        driver_failed(c->surf->driver, "get: %s, %s", err_message(response->status), err_message(reply.status));
        return;
    }
    arena_free(&a);
    driver_done(c->surf->driver, c->number);
}

static void *open_keys(struct driver *d)
{
    struct surf *s = open_surf(d);
    s->keys = true;
    return s;
}

static void get(struct surf *s, struct client *c)
{
    const struct slice key = slice_str("bench");
    struct meta_query lookup = {
        .op = META_QUERY_LOOKUP, .session = c->session, .ino = META_ROOT_INO, .name = slice_str("bench")};
    struct meta_query get_key = {.op = META_QUERY_KV_GET, .session = c->session, .keys = &key, .key_count = 1};
    rpc_peer_call(c->peer, METHOD_META_QUERY, wire_meta_query_encode(s->keys ? &get_key : &lookup, &s->arena),
                  SLICE(NULL, 0), clock_boot_ns() + CALL_NS, on_get, c);
}

static void begin(void *context, unsigned number)
{
    struct surf *s = context;
    struct client *c = &s->clients[number];
    struct driver *d = s->driver;
    arena_reset(&s->arena);
    if (d->operation == OPERATION_GET) {
        get(s, c);
        return;
    }
    c->seq++;
    snprintf(c->name, sizeof c->name, "b%llx.%llx", (unsigned long long)c->session, (unsigned long long)c->seq);
    struct meta_command command = {.op = META_SYMLINK,
                                   .session = c->session,
                                   .seq = c->seq,
                                   .acked = c->seq - 1,
                                   .make = {.parent = META_ROOT_INO,
                                            .name = slice_str(c->name),
                                            .mode = 0120777,
                                            .exclusive = true,
                                            .target = SLICE(s->value, d->value_bytes)}};
    const struct meta_kv_change put = {.kind = META_KV_PUT,
                                       .type = META_KV_BYTES,
                                       .key = slice_str(c->name),
                                       .value = SLICE(s->value, d->value_bytes)};
    struct meta_command put_key = {
        .op = META_KV, .session = c->session, .seq = c->seq, .acked = c->seq - 1, .kv = {.changes = &put, .count = 1}};
    rpc_peer_call(c->peer, METHOD_META_CALL, wire_meta_command_encode(s->keys ? &put_key : &command, &s->arena),
                  SLICE(NULL, 0), clock_boot_ns() + CALL_NS, on_put, c);
}

static void close_surf(void *context)
{
    struct surf *s = context;
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
        rpc_peer_free(s->peers[i]);
    uv_run(&s->driver->loop, UV_RUN_NOWAIT);
    free(s->clients);
    arena_free(&s->arena);
    free(s);
}

const struct target target_surf = {open_surf, begin, close_surf};
const struct target target_keys = {open_keys, begin, close_surf};
