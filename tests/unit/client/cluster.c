#include "cluster.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proto/methods.h"
#include "proto/wire_block.h"
#include "proto/wire_meta.h"

/* ---- a loop with a server on its own thread ---- */

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

static void on_closed(void *context)
{
    (void)context;
}

static void on_wake(uv_async_t *async)
{
    struct fake_loop *l = async->data;
    if (!atomic_load(&l->stopping))
        return;
    rpc_server_close(l->server, on_closed, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static void *run(void *context)
{
    struct fake_loop *l = context;
    uv_run(&l->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void loop_start(struct fake_loop *l, uint32_t id, void *context,
                       void (*on_request)(void *context, struct rpc_request *request))
{
    struct arena arena = {0};
    struct err_text why;
    struct wire_hello hello = {.role = WIRE_ROLE_NODE,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .node_id = id,
                               .name = slice_str("fake")};
    struct rpc_server_callbacks callbacks = {.context = context, .on_hello = on_hello, .on_request = on_request};
    CHECK(uv_loop_init(&l->loop) == 0);
    CHECK(uv_async_init(&l->loop, &l->wake, on_wake) == 0);
    l->wake.data = l;
    CHECK(rpc_server_listen(&l->loop, "127.0.0.1", 0, wire_hello_encode(&hello, &arena), &callbacks, &l->server,
                            &why) == ERR_OK);
    arena_free(&arena);
    snprintf(l->address, sizeof l->address, "127.0.0.1:%u", rpc_server_port(l->server));
    CHECK(pthread_create(&l->thread, NULL, run, l) == 0);
}

static void loop_stop(struct fake_loop *l)
{
    atomic_store(&l->stopping, true);
    uv_async_send(&l->wake);
    pthread_join(l->thread, NULL);
    CHECK(uv_loop_close(&l->loop) == 0);
}

/* ---- block servers ---- */

struct fake_block {
    struct sha256 id;
    struct bytes data;
    bool durable;
};

static struct fake_block *find(struct fake_server *s, const struct sha256 *id)
{
    return map_bytes_get(&s->blocks, SLICE(id->bytes, SHA256_SIZE));
}

static void block_free(struct fake_block *b)
{
    bytes_free(&b->data);
    free(b);
}

struct delayed {
    uv_timer_t timer;
    struct fake_server *server;
    struct wire_block_put put; /* to be done only now; count 0: none */
    struct rpc_request *request;
    enum err status;
    struct slice message; /* in the request's arena */
    struct bytes payload;
};

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void store(struct fake_server *s, const struct rpc_request *request, const struct wire_block_put *put)
{
    size_t at = 0;
    for (unsigned i = 0; i < put->count; i++) {
        struct slice data = slice_sub(request->payload, at, put->sizes[i]);
        struct sha256 id;
        at += put->sizes[i];
        sha256_of(data, &id);
        CHECK(sha256_equal(&id, &put->ids[i]));
        struct fake_block *b = find(s, &id);
        if (!b) {
            b = MEM_NEW(struct fake_block);
            b->id = id;
            bytes_append(&b->data, data);
            map_bytes_put(&s->blocks, SLICE(b->id.bytes, SHA256_SIZE), b);
        }
        b->durable |= put->durable;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct delayed *d = timer->data;
    pthread_mutex_lock(&d->server->lock);
    store(d->server, d->request, &d->put);
    pthread_mutex_unlock(&d->server->lock);
    rpc_reply(d->request, d->status, d->message, &d->payload);
    bytes_free(&d->payload);
    uv_close((uv_handle_t *)timer, on_timer_closed);
}

static struct delayed *answer(struct fake_server *s, struct rpc_request *request, int delay_ms, enum err status,
                              struct slice message, struct bytes *payload)
{
    struct bytes none = {0};
    if (!payload)
        payload = &none;
    if (delay_ms == 0) {
        rpc_reply(request, status, message, payload);
        bytes_free(payload);
        return NULL;
    }
    struct delayed *d = MEM_NEW(struct delayed);
    *d = (struct delayed){.server = s, .request = request, .status = status, .message = message, .payload = *payload};
    *payload = (struct bytes){0};
    d->timer.data = d;
    uv_timer_init(&s->base.loop, &d->timer);
    uv_timer_start(&d->timer, on_timer, (uint64_t)delay_ms, 0);
    return d;
}

static struct slice ack(struct fake_server *s, struct rpc_request *request)
{
    struct wire_block_ack a = {.boot_id = s->boot_id};
    return wire_block_ack_encode(&a, &request->arena);
}

static void on_put(struct fake_server *s, struct rpc_request *request)
{
    struct wire_block_put put;
    struct err_text why;
    CHECK(wire_block_put_decode(request->message, request->payload.size, &request->arena, &put, &why) == ERR_OK);
    atomic_fetch_add(&s->puts, 1);
    atomic_fetch_add(&s->durable_puts, put.durable);
    atomic_fetch_add(&s->put_blocks, put.count);
    /* A slow server has not even begun when others have answered. */
    int delay_ms = atomic_load(&s->put_delay_ms);
    if (delay_ms == 0)
        store(s, request, &put);
    struct delayed *d = answer(s, request, delay_ms, ERR_OK, ack(s, request), NULL);
    if (d)
        d->put = put;
}

static void on_get(struct fake_server *s, struct rpc_request *request)
{
    struct wire_block_ids ids;
    struct err_text why;
    CHECK(wire_block_ids_decode(request->message, LIMIT_BLOCKS_PER_FRAME, &request->arena, &ids, &why) == ERR_OK);
    atomic_fetch_add(&s->gets, 1);
    uint32_t *sizes = arena_alloc(&request->arena, ids.count * sizeof *sizes);
    struct bytes payload = {0};
    bool full = false; /* as a real one, what is behind is left out */
    for (unsigned i = 0; i < ids.count; i++) {
        struct fake_block *b = atomic_load(&s->fault) == SERVER_LACKS ? NULL : find(s, &ids.ids[i]);
        full = full || (b && payload.size > 0 && payload.size + b->data.size > LIMIT_BLOCK_BYTES);
        b = full ? NULL : b;
        sizes[i] = b ? (uint32_t)b->data.size : WIRE_BLOCK_ABSENT;
        if (b)
            bytes_append(&payload, bytes_slice(&b->data));
        if (b && atomic_load(&s->fault) == SERVER_LIES)
            payload.data[payload.size - 1] ^= 1;
    }
    struct wire_block_sizes reply = {.sizes = sizes, .count = ids.count};
    answer(s, request, atomic_load(&s->get_delay_ms), ERR_OK, wire_block_sizes_encode(&reply, &request->arena),
           &payload);
}

/* What is durable by it is what was there when it came. */
static void on_sync(struct fake_server *s, struct rpc_request *request)
{
    atomic_fetch_add(&s->syncs, 1);
    size_t at = 0;
    struct slice key;
    void *value;
    while (map_bytes_next(&s->blocks, &at, &key, &value))
        ((struct fake_block *)value)->durable = true;
    answer(s, request, atomic_load(&s->sync_delay_ms), ERR_OK, ack(s, request), NULL);
}

static void on_info(struct fake_server *s, struct rpc_request *request)
{
    struct wire_block_info info = {.node_id = s->id,
                                   .address = slice_str(s->base.address),
                                   .boot_id = s->boot_id,
                                   .disk_total = 3000,
                                   .disk_free = atomic_load(&s->disk_free),
                                   .disk_kept = atomic_load(&s->disk_kept),
                                   .full = atomic_load(&s->full)};
    answer(s, request, 0, ERR_OK, wire_block_info_encode(&info, &request->arena), NULL);
}

static void serve(struct fake_server *s, struct rpc_request *request)
{
    if (request->method == METHOD_BLOCK_PUT)
        on_put(s, request);
    else if (request->method == METHOD_BLOCK_GET)
        on_get(s, request);
    else if (request->method == METHOD_BLOCK_SYNC)
        on_sync(s, request);
    else
        on_info(s, request);
}

static void on_block_request(void *context, struct rpc_request *request)
{
    struct fake_server *s = context;
    pthread_mutex_lock(&s->lock);
    while (atomic_load(&s->fault) == SERVER_STOPPED)
        pthread_cond_wait(&s->changed, &s->lock);
    int fault = atomic_load(&s->fault);
    bool writes = request->method == METHOD_BLOCK_PUT || request->method == METHOD_BLOCK_SYNC;
    if (fault == SERVER_SILENT) {
        rpc_release(request);
    } else if (fault == SERVER_REFUSES || (fault == SERVER_FULL && writes)) {
        atomic_fetch_add(&s->refused, 1);
        rpc_reply(request, fault == SERVER_FULL ? ERR_NOSPC : ERR_CRASHED, SLICE(NULL, 0), NULL);
    } else {
        serve(s, request);
    }
    pthread_mutex_unlock(&s->lock);
}

void server_set(struct fake_server *s, enum server_fault fault)
{
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->fault, fault);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void server_restart(struct fake_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->boot_id += 1000;
    size_t at = 0;
    struct slice key;
    void *value;
    while (map_bytes_next(&s->blocks, &at, &key, &value)) {
        struct fake_block *b = value;
        if (!b->durable) {
            map_bytes_remove(&s->blocks, key);
            block_free(b);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

bool server_has(struct fake_server *s, const struct sha256 *id)
{
    pthread_mutex_lock(&s->lock);
    bool has = find(s, id) != NULL;
    pthread_mutex_unlock(&s->lock);
    return has;
}

bool server_has_durably(struct fake_server *s, const struct sha256 *id)
{
    pthread_mutex_lock(&s->lock);
    struct fake_block *b = find(s, id);
    bool has = b && b->durable;
    pthread_mutex_unlock(&s->lock);
    return has;
}

void server_drop(struct fake_server *s, const struct sha256 *id)
{
    pthread_mutex_lock(&s->lock);
    struct fake_block *b = map_bytes_remove(&s->blocks, SLICE(id->bytes, SHA256_SIZE));
    if (b)
        block_free(b);
    pthread_mutex_unlock(&s->lock);
}

unsigned cluster_copies(struct cluster *c, const struct sha256 *id, bool durable)
{
    unsigned copies = 0;
    for (unsigned i = 0; i < c->server_count; i++)
        copies += durable ? server_has_durably(&c->servers[i], id) : server_has(&c->servers[i], id);
    return copies;
}

static void server_start(struct fake_server *s, uint32_t id)
{
    s->id = id;
    s->boot_id = id;
    atomic_store(&s->disk_free, 1500);
    CHECK(pthread_mutex_init(&s->lock, NULL) == 0);
    CHECK(pthread_cond_init(&s->changed, NULL) == 0);
    loop_start(&s->base, id, s, on_block_request);
}

static void server_stop(struct fake_server *s)
{
    server_set(s, SERVER_WELL);
    loop_stop(&s->base);
    size_t at = 0;
    struct slice key;
    void *value;
    while (map_bytes_next(&s->blocks, &at, &key, &value)) {
        map_bytes_remove(&s->blocks, key);
        block_free(value);
    }
    map_bytes_free(&s->blocks);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
}

/* ---- the metastore ---- */

static void on_call(struct cluster *c, struct rpc_request *request)
{
    struct meta_command command;
    struct meta_reply reply;
    struct err_text why;
    CHECK(wire_meta_command_decode(request->message, &request->arena, &command, &why) == ERR_OK);
    command.time_ns = clock_wall_ns();
    atomic_fetch_add(&c->commands, 1);
    atomic_fetch_add(&c->commits, command.op == META_COMMIT);
    CHECK(meta_apply(c->meta, ++c->index, 1, &command, &reply) == ERR_OK);
    if (command.op == META_COMMIT && atomic_load(&c->commit_delay_ms) > 0)
        nanosleep(&(struct timespec){.tv_nsec = atomic_load(&c->commit_delay_ms) * NS_PER_MS}, NULL);
    rpc_reply(request, ERR_OK, wire_meta_reply_encode(&reply, &request->arena), NULL);
}

static void on_query(struct cluster *c, struct rpc_request *request)
{
    struct meta_query query;
    struct meta_query_reply reply = {0};
    struct err_text why;
    CHECK(wire_meta_query_decode(request->message, &request->arena, &query, &why) == ERR_OK);
    atomic_fetch_add(&c->queries, 1);
    atomic_fetch_add(&c->layouts, query.op == META_QUERY_LAYOUT);
    CHECK(meta_query(c->meta, &query, &request->arena, &reply) == ERR_OK);
    rpc_reply(request, ERR_OK, wire_meta_query_reply_encode(&reply, &request->arena), NULL);
}

static void on_meta_request(void *context, struct rpc_request *request)
{
    struct cluster *c = context;
    pthread_mutex_lock(&c->meta_lock);
    if (atomic_load(&c->meta_silent)) {
        atomic_fetch_add(&c->dropped, request->method == METHOD_META_QUERY);
        rpc_release(request);
    } else if (request->method == METHOD_META_CALL) {
        on_call(c, request);
    } else if (request->method == METHOD_META_QUERY) {
        on_query(c, request);
    } else {
        struct wire_keepalive_reply reply = {.map_version = c->map_version, .session_timeout_ms = 60000};
        rpc_reply(request, ERR_OK, wire_keepalive_reply_encode(&reply, &request->arena), NULL);
    }
    pthread_mutex_unlock(&c->meta_lock);
}

static void apply(struct cluster *c, struct meta_command *command)
{
    struct meta_reply reply;
    command->time_ns = clock_wall_ns();
    CHECK(meta_apply(c->meta, ++c->index, 1, command, &reply) == ERR_OK && reply.status == ERR_OK);
}

void cluster_raise_epoch(struct cluster *c, unsigned times)
{
    pthread_mutex_lock(&c->meta_lock);
    for (unsigned i = 0; i < times; i++) {
        struct meta_collection now;
        meta_collection(c->meta, &now);
        apply(c, &(struct meta_command){.op = META_EPOCH, .epoch.after = now.epoch});
    }
    pthread_mutex_unlock(&c->meta_lock);
}

void cluster_end_session(struct cluster *c, uint64_t session)
{
    pthread_mutex_lock(&c->meta_lock);
    apply(c, &(struct meta_command){.op = META_SESSION_END, .session_end.session = session});
    pthread_mutex_unlock(&c->meta_lock);
}

static void place(struct cluster *c, unsigned i, const char *address)
{
    struct meta_command command = {.op = META_BLOCK_SERVER, .block_server = {.id = i + 1, .weight = 1}};
    snprintf(command.block_server.address, sizeof command.block_server.address, "%s", address);
    apply(c, &command);
}

void cluster_misplace(struct cluster *c, unsigned i, unsigned instead)
{
    pthread_mutex_lock(&c->meta_lock);
    place(c, i, c->servers[instead].base.address);
    pthread_mutex_unlock(&c->meta_lock);
}

static void meta_prepare(struct cluster *c)
{
    struct err_text why;
    snprintf(c->meta_path, sizeof c->meta_path, "/tmp/surf-client-test-XXXXXX");
    CHECK(mkdtemp(c->meta_path));
    struct meta_options options = {.path = c->meta_path};
    CHECK(meta_open(&options, &c->meta, &why) == ERR_OK);
    apply(c, &(struct meta_command){.op = META_INIT, .init = {.cluster_id = {1}, .cookie_key = {2}}});
    for (unsigned i = 0; i < c->server_count; i++)
        place(c, i, c->servers[i].base.address);
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply reply = {0};
    struct arena arena = {0};
    CHECK(meta_query(c->meta, &query, &arena, &reply) == ERR_OK);
    c->map_version = reply.cluster.map_version;
    arena_free(&arena);
}

void cluster_start(struct cluster *c, unsigned servers)
{
    memset(c, 0, sizeof *c);
    CHECK(servers <= CLUSTER_SERVERS);
    CHECK(pthread_mutex_init(&c->meta_lock, NULL) == 0);
    c->server_count = servers;
    for (unsigned i = 0; i < servers; i++)
        server_start(&c->servers[i], i + 1);
    meta_prepare(c);
    loop_start(&c->meta_base, 9, c, on_meta_request);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void cluster_stop(struct cluster *c)
{
    for (unsigned i = 0; i < c->server_count; i++)
        server_stop(&c->servers[i]);
    loop_stop(&c->meta_base);
    meta_close(c->meta);
    nftw(c->meta_path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    pthread_mutex_destroy(&c->meta_lock);
}

struct meta_client *cluster_connect(struct cluster *c, int64_t soft_timeout_ns)
{
    struct rpc_address address;
    struct err_text why = {""};
    struct meta_attr root;
    struct meta_client *m;
    CHECK(rpc_address_parse(c->meta_base.address, &address, &why) == ERR_OK);
    struct meta_client_options options = {.servers = &address,
                                          .server_count = 1,
                                          .export_name = META_EXPORT_DEFAULT,
                                          .client_name = "test",
                                          .open_timeout_ns = 10 * NS_PER_S,
                                          .soft_timeout_ns = soft_timeout_ns};
    CHECK(meta_client_open(&options, &m, &root, &why) == ERR_OK);
    return m;
}

uint64_t cluster_create(struct meta_client *m, const char *name, struct meta_attr *ret)
{
    struct meta_command command = {
        .op = META_CREATE,
        .make = {.parent = META_ROOT_INO, .name = slice_str(name), .mode = S_IFREG | 0644, .exclusive = true}};
    struct meta_reply reply;
    CHECK(meta_client_call(m, &command, NULL, &reply) == ERR_OK && reply.status == ERR_OK && reply.has_attr);
    *ret = reply.attr;
    return reply.attr.ino;
}
