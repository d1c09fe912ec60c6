#include "meta_fake.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proto/methods.h"
#include "proto/wire_meta.h"

static enum err on_hello(void *context, struct slice hello, uint64_t *ret_tag, struct err_text *why)
{
    (void)context;
    struct arena arena = {0};
    struct wire_hello h;
    enum err e = wire_hello_decode(hello, &arena, &h, why);
    arena_free(&arena);
    *ret_tag = 0;
    return e;
}

static void refuse(struct fake_node *n, struct rpc_request *request, enum err e, bool not_done)
{
    struct wire_error error = {.leader_address = slice_str(n->hint), .not_done = not_done};
    rpc_reply(request, e, wire_error_encode(&error, &request->arena), NULL);
}

struct deferred {
    uv_timer_t timer;
    struct fake_node *node;
    struct rpc_request *request;
};

static void on_freed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_deferred(uv_timer_t *timer)
{
    struct deferred *d = timer->data;
    refuse(d->node, d->request, (enum err)atomic_load(&d->node->refusal), true);
    uv_close((uv_handle_t *)timer, on_freed);
}

static void defer(struct fake_node *n, struct rpc_request *request)
{
    struct deferred *d = MEM_NEW(struct deferred);
    d->node = n;
    d->request = request;
    d->timer.data = d;
    CHECK(uv_timer_init(&n->loop, &d->timer) == 0);
    CHECK(uv_timer_start(&d->timer, on_deferred, FAKE_DEFERS_MS, 0) == 0);
}

/* With the state's lock held. */
static void apply(struct fake_state *s, const struct meta_command *c, struct meta_reply *reply)
{
    reply->attr = (struct meta_attr){.ino = META_ROOT_INO, .mode = 040755, .nlink = 2};
    reply->has_attr = true;
    if (c->op == META_SESSION_OPEN && s->no_export) {
        reply->status = ERR_NO_EXPORT;
    } else if (c->op == META_SESSION_OPEN) {
        s->session = reply->session = ++s->next_session;
        s->sessions_opened++;
        memset(s->done, 0, sizeof s->done);
        s->acked = 0;
    } else if (c->op == META_SESSION_END) {
        s->sessions_ended += c->session_end.session == s->session;
    } else if (c->session != s->session) {
        reply->status = ERR_SESSION_EXPIRED;
    } else {
        CHECK(c->seq > 0 && c->seq < FAKE_SEQUENCES && c->seq > c->acked && c->seq <= c->acked + LIMIT_REPLY_WINDOW);
        s->repeats += s->done[c->seq];
        s->effects += !s->done[c->seq];
        s->done[c->seq] = true;
        s->acked = c->acked > s->acked ? c->acked : s->acked;
        s->last_seq = c->seq;
        reply->attr.ino = 1000 + c->seq;
    }
}

static struct slice answer(struct fake_node *n, struct rpc_request *request, enum err *ret_status)
{
    struct fake_state *s = n->state;
    struct err_text why;
    struct arena *a = &request->arena;
    *ret_status = ERR_OK;
    if (request->method == METHOD_META_CALL) {
        struct meta_command command;
        struct meta_reply reply = {0};
        CHECK(wire_meta_command_decode(request->message, a, &command, &why) == ERR_OK);
        apply(s, &command, &reply);
        return wire_meta_reply_encode(&reply, a);
    }
    if (request->method == METHOD_META_KEEPALIVE) {
        struct wire_keepalive k;
        CHECK(wire_keepalive_decode(request->message, a, &k, &why) == ERR_OK);
        *ret_status = k.session == s->session ? ERR_OK : ERR_SESSION_EXPIRED;
        struct wire_keepalive_reply reply = {.map_version = s->map_version, .session_timeout_ms = 60000};
        return *ret_status == ERR_OK ? wire_keepalive_reply_encode(&reply, a) : (struct slice){0};
    }
    struct meta_query query;
    CHECK(request->method == METHOD_META_QUERY);
    CHECK(wire_meta_query_decode(request->message, a, &query, &why) == ERR_OK);
    static struct meta_block_server servers[2] = {{.id = 1, .address = "127.0.0.1:1", .weight = 1},
                                                  {.id = 2, .address = "127.0.0.1:2", .weight = 1}};
    struct meta_query_reply reply = {0};
    if (query.op == META_QUERY_CLUSTER) {
        reply.cluster.replicas = 3;
        reply.cluster.map_version = s->map_version;
        reply.cluster.servers = servers;
        reply.cluster.server_count = (unsigned)s->servers;
    } else {
        reply.attr = (struct meta_attr){.ino = query.ino, .mode = 0100644, .nlink = 1};
        reply.has_attr = true;
    }
    return wire_meta_query_reply_encode(&reply, a);
}

static void on_request(void *context, struct rpc_request *request)
{
    struct fake_node *n = context;
    int mode = atomic_load(&n->mode);
    if (mode == FAKE_REFUSES) {
        refuse(n, request, (enum err)atomic_load(&n->refusal), false);
    } else if (mode == FAKE_DEFERS) {
        defer(n, request);
    } else {
        enum err status;
        pthread_mutex_lock(&n->state->lock);
        struct slice message = answer(n, request, &status);
        pthread_mutex_unlock(&n->state->lock);
        if (mode == FAKE_DROPS) {
            /* Once: the next connection is served. */
            atomic_store(&n->mode, FAKE_SERVES);
            rpc_server_drop_connections(n->server, INT64_MAX);
            rpc_release(request);
        } else if (mode == FAKE_SILENT) {
            rpc_release(request);
        } else {
            rpc_reply(request, status, message, NULL);
        }
    }
    atomic_fetch_add(&n->requests, 1);
}

static void on_closed(void *context)
{
    (void)context;
}

static void on_stop(uv_async_t *async)
{
    struct fake_node *n = async->data;
    rpc_server_close(n->server, on_closed, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static void *run(void *context)
{
    struct fake_node *n = context;
    uv_run(&n->loop, UV_RUN_DEFAULT);
    return NULL;
}

void fake_state_init(struct fake_state *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->next_session = 41;
    s->map_version = 1;
    s->servers = 1;
}

void fake_node_start(struct fake_node *n, struct fake_state *s)
{
    memset(n, 0, sizeof *n);
    n->state = s;
    CHECK(uv_loop_init(&n->loop) == 0);
    CHECK(uv_async_init(&n->loop, &n->stop, on_stop) == 0);
    n->stop.data = n;
    struct arena arena = {0};
    struct wire_hello hello = {.role = WIRE_ROLE_NODE,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .node_id = 1,
                               .name = slice_str("fake")};
    struct rpc_server_callbacks callbacks = {.context = n, .on_hello = on_hello, .on_request = on_request};
    struct err_text why;
    CHECK(rpc_server_listen(&n->loop, "127.0.0.1", 0, wire_hello_encode(&hello, &arena), &callbacks, &n->server,
                            &why) == ERR_OK);
    arena_free(&arena);
    char text[64];
    snprintf(text, sizeof text, "127.0.0.1:%u", rpc_server_port(n->server));
    CHECK(rpc_address_parse(text, &n->address, &why) == ERR_OK);
    CHECK(pthread_create(&n->thread, NULL, run, n) == 0);
}

void fake_node_stop(struct fake_node *n)
{
    uv_async_send(&n->stop);
    pthread_join(n->thread, NULL);
    CHECK(uv_loop_close(&n->loop) == 0);
}
