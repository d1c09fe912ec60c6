#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

struct held {
    struct list_node node;
    struct rpc_request *request;
};

static enum err on_hello(void *context, struct slice hello, uint64_t *ret_tag, struct err_text *why)
{
    struct fixture *f = context;
    if (f->refuse_hello)
        return err_explain(why, ERR_WRONG_CLUSTER, "hello \"%.*s\" is not welcome", (int)hello.size,
                           (const char *)hello.data);
    *ret_tag = hello.size;
    return ERR_OK;
}

static void reply_echo(struct rpc_request *r)
{
    struct bytes payload = {0};
    bytes_append(&payload, r->payload);
    rpc_reply(r, ERR_OK, r->message, &payload);
}

static void release_all(struct fixture *f)
{
    struct list_node *node;
    while ((node = list_pop_front(&f->held))) {
        struct held *h = container_of(node, struct held, node);
        reply_echo(h->request);
        free(h);
        atomic_fetch_sub(&f->held_count, 1);
    }
}

static void reply_big(struct rpc_request *r)
{
    struct cursor c = cursor_of(r->message);
    uint32_t size = cursor_u32(&c);
    struct bytes payload = {0};
    CHECK(cursor_done(&c));
    uint8_t *to = bytes_extend(&payload, size);
    for (uint32_t i = 0; i < size; i++)
        to[i] = fixture_byte(i);
    rpc_reply(r, ERR_OK, SLICE(NULL, 0), &payload);
}

static void reply_sum(struct rpc_request *r)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->payload.size; i++)
        sum += r->payload.data[i];
    uint8_t *text = arena_alloc(&r->arena, 8);
    put_u64be(text, sum);
    rpc_reply(r, ERR_OK, SLICE(text, 8), NULL);
}

static void on_request(void *context, struct rpc_request *r)
{
    struct fixture *f = context;
    atomic_fetch_add(&f->request_count, 1);
    CHECK(r->conn && !r->gone && r->oneway == (r->method == FIXTURE_NOTE));
    switch (r->method) {
    case FIXTURE_ECHO:
        reply_echo(r);
        break;
    case FIXTURE_FAIL:
        rpc_reply(r, ERR_EXIST, slice_str("detail"), NULL);
        break;
    case FIXTURE_HOLD: {
        struct held *h = MEM_NEW(struct held);
        h->request = r;
        list_push_front(&f->held, &h->node);
        atomic_fetch_add(&f->held_count, 1);
        break;
    }
    case FIXTURE_RELEASE:
        release_all(f);
        rpc_reply(r, ERR_OK, SLICE(NULL, 0), NULL);
        break;
    case FIXTURE_BIG:
        reply_big(r);
        break;
    case FIXTURE_SUM:
        reply_sum(r);
        break;
    case FIXTURE_SINK:
        rpc_reply(r, ERR_OK, SLICE(NULL, 0), NULL);
        break;
    case FIXTURE_SOURCE: {
        struct bytes payload = {0};
        (void)bytes_extend(&payload, get_u32be(r->message.data));
        rpc_reply(r, ERR_OK, SLICE(NULL, 0), &payload);
        break;
    }
    case FIXTURE_DROP:
        rpc_server_drop_connections(f->server, INT64_MAX);
        CHECK(r->gone && !r->conn);
        rpc_reply(r, ERR_OK, SLICE(NULL, 0), NULL);
        break;
    case FIXTURE_DROP_OLD:
        rpc_server_drop_connections(f->server, (int64_t)get_u64be(r->message.data));
        rpc_reply(r, ERR_OK, SLICE(NULL, 0), NULL);
        break;
    case FIXTURE_FULL: {
        uint8_t full = rpc_server_backlog_full(f->server);
        rpc_reply(r, ERR_OK, SLICE(&full, 1), NULL);
        break;
    }
    case FIXTURE_NOTE:
        if (r->message.size >= 8)
            atomic_store(&f->last_note, get_u64be(r->message.data));
        atomic_fetch_add(&f->note_count, 1);
        rpc_release(r);
        break;
    default:
        rpc_reply(r, ERR_NO_METHOD, SLICE(NULL, 0), NULL);
    }
}

static bool is_important(void *context, uint64_t tag)
{
    (void)context;
    return tag == strlen(FIXTURE_IMPORTANT);
}

static void on_close(void *context, uint64_t tag)
{
    struct fixture *f = context;
    CHECK(tag > 0);
    atomic_fetch_add(&f->close_count, 1);
}

static void on_reply(void *context, unsigned method, enum err status, int64_t took_ns)
{
    struct fixture *f = context;
    CHECK(method != FIXTURE_NOTE && took_ns >= 0 && took_ns < clock_boot_ns());
    atomic_fetch_add(&f->reply_count, 1);
    atomic_fetch_add(&f->failed_count, status != ERR_OK);
}

static void on_closed(void *context)
{
    struct fixture *f = context;
    release_all(f); /* requests outlive the server */
    uv_close((uv_handle_t *)&f->wake, NULL);
}

static void on_wake(uv_async_t *handle)
{
    struct fixture *f = handle->data;
    if (atomic_exchange(&f->drop, false))
        rpc_server_drop_connections(f->server, INT64_MAX);
    if (atomic_exchange(&f->release, false))
        release_all(f);
    if (atomic_exchange(&f->stop, false))
        rpc_server_close(f->server, on_closed, f);
}

static void *run(void *context)
{
    struct fixture *f = context;
    uv_run(&f->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&f->loop) == 0);
    return NULL;
}

static void prepare(struct fixture *f, uint16_t port)
{
    memset(f, 0, sizeof *f);
    list_init(&f->held);
    CHECK(uv_loop_init(&f->loop) == 0);
    CHECK(uv_async_init(&f->loop, &f->wake, on_wake) == 0);
    f->wake.data = f;
    struct rpc_server_callbacks callbacks = {.context = f,
                                             .on_hello = on_hello,
                                             .on_request = on_request,
                                             .is_important = is_important,
                                             .on_close = on_close,
                                             .on_reply = on_reply};
    struct err_text why = {""};
    enum err e = rpc_server_listen(&f->loop, "127.0.0.1", port, slice_str("server"), &callbacks, &f->server, &why);
    if (e != ERR_OK)
        fprintf(stderr, "%s\n", why.text);
    CHECK(e == ERR_OK);
    f->port = rpc_server_port(f->server);
    char text[64];
    snprintf(text, sizeof text, "127.0.0.1:%u", f->port);
    CHECK(rpc_address_parse(text, &f->address, &why) == ERR_OK);
}

static void go(struct fixture *f)
{
    CHECK(pthread_create(&f->thread, NULL, run, f) == 0);
}

void fixture_start(struct fixture *f, uint16_t port)
{
    prepare(f, port);
    go(f);
}

void fixture_start_refusing(struct fixture *f)
{
    prepare(f, 0);
    f->refuse_hello = true;
    go(f);
}

void fixture_start_with_pumps(struct fixture *f, const struct rpc_pump_factory *pumps)
{
    prepare(f, 0);
    rpc_server_set_pumps(f->server, pumps);
    go(f);
}

void fixture_start_hasty(struct fixture *f, int64_t hello_ns, int64_t frame_ns)
{
    prepare(f, 0);
    rpc_server_set_timeouts(f->server, hello_ns, frame_ns);
    go(f);
}

void fixture_start_narrow(struct fixture *f, size_t incomplete_bytes)
{
    prepare(f, 0);
    rpc_server_set_incomplete(f->server, incomplete_bytes);
    go(f);
}

void fixture_start_tight(struct fixture *f, size_t request_bytes)
{
    prepare(f, 0);
    rpc_server_set_requests(f->server, request_bytes);
    go(f);
}

void fixture_start_terse(struct fixture *f, size_t backlog_bytes)
{
    prepare(f, 0);
    rpc_server_set_backlog(f->server, backlog_bytes);
    go(f);
}

void fixture_start_small(struct fixture *f, unsigned connections)
{
    prepare(f, 0);
    rpc_server_set_connections(f->server, connections);
    go(f);
}

static void wake(struct fixture *f, atomic_bool *what)
{
    atomic_store(what, true);
    uv_async_send(&f->wake);
}

void fixture_drop(struct fixture *f)
{
    wake(f, &f->drop);
}

void fixture_release(struct fixture *f)
{
    wake(f, &f->release);
}

void fixture_stop(struct fixture *f)
{
    wake(f, &f->stop);
    CHECK(pthread_join(f->thread, NULL) == 0);
}
