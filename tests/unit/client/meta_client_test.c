/* The metadata client against metastore nodes that misbehave on order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/meta/meta_client.h"
#include "meta_fake.h"

#define PATIENCE_NS (20 * NS_PER_S)
#define AWAIT(condition)                                                                                               \
    for (int64_t end_ = clock_boot_ns() + PATIENCE_NS; !(condition);) {                                                \
        assert_true(clock_boot_ns() < end_);                                                                           \
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);                                                       \
    }

struct world {
    struct fake_state state;
    struct fake_node a, b;
    struct meta_client *client;
    atomic_uint expired, waiting;
    char waited_for[1024];
    bool tells_not_done;
};

static void on_expired(void *context, uint64_t session)
{
    (void)session;
    struct world *w = context;
    atomic_fetch_add(&w->expired, 1);
}

static void on_waiting(void *context, const char *text)
{
    struct world *w = context;
    snprintf(w->waited_for, sizeof w->waited_for, "%s", text);
    atomic_fetch_add(&w->waiting, 1);
}

static struct world *new_world(void)
{
    struct world *w = MEM_NEW(struct world);
    fake_state_init(&w->state);
    fake_node_start(&w->a, &w->state);
    fake_node_start(&w->b, &w->state);
    return w;
}

static enum err open_client(struct world *w, const struct rpc_address *servers, size_t count, int64_t soft_ns,
                            struct err_text *why)
{
    struct meta_attr root;
    struct meta_client_options options = {.servers = servers,
                                          .server_count = count,
                                          .export_name = "default",
                                          .client_name = "test",
                                          .open_timeout_ns = soft_ns ? soft_ns : PATIENCE_NS,
                                          .soft_timeout_ns = soft_ns,
                                          .tells_not_done = w->tells_not_done,
                                          .on_expired = on_expired,
                                          .on_waiting = on_waiting,
                                          .context = w};
    enum err e = meta_client_open(&options, &w->client, &root, why);
    if (e == ERR_OK)
        assert_int_equal(root.ino, META_ROOT_INO);
    return e;
}

static void open_both(struct world *w)
{
    struct err_text why;
    struct rpc_address servers[2] = {w->a.address, w->b.address};
    assert_int_equal(open_client(w, servers, 2, 0, &why), ERR_OK);
}

static void free_world(struct world *w)
{
    meta_client_close(w->client);
    fake_node_stop(&w->a);
    fake_node_stop(&w->b);
    pthread_mutex_destroy(&w->state.lock);
    free(w);
}

static enum err mkdir_call(struct world *w, struct rpc_cancel *cancel, struct meta_reply *reply)
{
    struct meta_command c = {.op = META_MKDIR,
                             .make = {.parent = 1, .name = slice_str("d"), .mode = 040755, .exclusive = true}};
    return meta_client_call(w->client, &c, cancel, reply);
}

static uint64_t locked(struct world *w, const uint64_t *field)
{
    pthread_mutex_lock(&w->state.lock);
    uint64_t value = *field;
    pthread_mutex_unlock(&w->state.lock);
    return value;
}

static void set_mode(struct fake_node *n, enum fake_mode mode, enum err refusal)
{
    atomic_store(&n->refusal, refusal);
    atomic_store(&n->mode, mode);
}

static void test_follows_the_hint(void **state)
{
    (void)state;
    struct world *w = new_world();
    strcpy(w->b.hint, w->a.address.text);
    set_mode(&w->b, FAKE_REFUSES, ERR_NOT_LEADER);
    struct err_text why;
    /* Only the follower is known. */
    assert_int_equal(open_client(w, &w->b.address, 1, 0, &why), ERR_OK);
    unsigned asked = atomic_load(&w->b.requests);
    assert_int_equal(asked, 1);
    struct meta_reply reply;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(mkdir_call(w, NULL, &reply), ERR_OK);
        assert_int_equal(reply.status, ERR_OK);
    }
    /* The leader is remembered. */
    assert_int_equal(atomic_load(&w->b.requests), asked);
    assert_int_equal(locked(w, &w->state.effects), 10);
    assert_int_equal(locked(w, &w->state.acked), 9);
    /* And found again when it has moved, or says that it doesn't know. */
    set_mode(&w->a, FAKE_REFUSES, ERR_NO_LEADER);
    set_mode(&w->b, FAKE_SERVES, ERR_OK);
    assert_int_equal(mkdir_call(w, NULL, &reply), ERR_OK);
    assert_int_equal(locked(w, &w->state.effects), 11);
    free_world(w);
}

struct heal {
    struct world *w;
    unsigned from;
};

static void *heal_when_asked(void *context)
{
    struct heal *heal = context;
    while (atomic_load(&heal->w->a.requests) + atomic_load(&heal->w->b.requests) < heal->from + 5)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    set_mode(&heal->w->a, FAKE_SERVES, ERR_OK);
    set_mode(&heal->w->b, FAKE_SERVES, ERR_OK);
    return NULL;
}

static void test_refusals_of_all_kinds_are_waited_out(void **state)
{
    (void)state;
    static const enum err refusals[] = {ERR_NOT_LEADER, ERR_NO_LEADER, ERR_CRASHED,
                                        ERR_BUSY_NOW,   ERR_AGAIN,     ERR_SHUTDOWN};
    struct world *w = new_world();
    open_both(w);
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        unsigned before = atomic_load(&w->a.requests) + atomic_load(&w->b.requests);
        set_mode(&w->a, FAKE_REFUSES, refusals[i]);
        set_mode(&w->b, FAKE_REFUSES, refusals[i]);
        struct meta_query query = {.op = META_QUERY_GETATTR, .ino = 7};
        struct meta_query_reply reply;
        struct arena arena = {0};
        struct rpc_cancel *cancel = rpc_cancel_new();
        pthread_t thread;
        /* Refused several times, then served. */
        struct heal heal = {w, before};
        assert_int_equal(pthread_create(&thread, NULL, heal_when_asked, &heal), 0);
        assert_int_equal(meta_client_query(w->client, &query, cancel, &arena, &reply), ERR_OK);
        assert_int_equal(reply.attr.ino, 7);
        pthread_join(thread, NULL);
        rpc_cancel_free(cancel);
        arena_free(&arena);
    }
    free_world(w);
}

static void test_a_lost_reply_is_not_a_second_effect(void **state)
{
    (void)state;
    struct world *w = new_world();
    open_both(w);
    struct meta_reply reply;
    for (int i = 1; i <= 20; i++) {
        set_mode(&w->a, FAKE_DROPS, ERR_OK);
        set_mode(&w->b, FAKE_DROPS, ERR_OK);
        assert_int_equal(mkdir_call(w, NULL, &reply), ERR_OK);
        assert_int_equal(reply.attr.ino, 1000 + i);
        assert_int_equal(locked(w, &w->state.effects), i);
    }
    assert_true(locked(w, &w->state.repeats) >= 20);
    free_world(w);
}

static void *fire(void *context)
{
    struct world *w = ((void **)context)[0];
    AWAIT(locked(w, &w->state.effects) == 1);
    rpc_cancel_fire(((void **)context)[1]);
    return NULL;
}

static void test_a_cancelled_command_is_resolved(void **state)
{
    (void)state;
    struct world *w = new_world();
    open_both(w);
    set_mode(&w->a, FAKE_SILENT, ERR_OK);
    set_mode(&w->b, FAKE_SILENT, ERR_OK);
    struct rpc_cancel *cancel = rpc_cancel_new();
    void *context[2] = {w, cancel};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fire, context), 0);
    struct meta_reply reply;
    int64_t begun = clock_boot_ns();
    assert_int_equal(mkdir_call(w, cancel, &reply), ERR_CANCELLED);
    assert_true(clock_boot_ns() - begun < PATIENCE_NS / 2);
    pthread_join(thread, NULL);
    set_mode(&w->a, FAKE_SERVES, ERR_OK);
    set_mode(&w->b, FAKE_SERVES, ERR_OK);
    /* The window moves on: number 1 becomes acknowledged without anybody having waited for it. */
    AWAIT((mkdir_call(w, NULL, &reply) == ERR_OK) && locked(w, &w->state.acked) >= 1);
    assert_int_equal(locked(w, &w->state.effects), locked(w, &w->state.last_seq));
    rpc_cancel_free(cancel);
    free_world(w);
}

static void test_an_expired_session_is_not_continued(void **state)
{
    (void)state;
    struct world *w = new_world();
    open_both(w);
    uint64_t first = meta_client_session(w->client);
    struct meta_reply reply;
    assert_int_equal(mkdir_call(w, NULL, &reply), ERR_OK);
    pthread_mutex_lock(&w->state.lock);
    w->state.session = 0;
    pthread_mutex_unlock(&w->state.lock);
    assert_int_equal(mkdir_call(w, NULL, &reply), ERR_SESSION_EXPIRED);
    assert_int_equal(locked(w, &w->state.effects), 1);
    /* The next one waits for a new session. */
    assert_int_equal(mkdir_call(w, NULL, &reply), ERR_OK);
    assert_int_equal(reply.attr.ino, 1001);
    assert_int_not_equal(meta_client_session(w->client), first);
    assert_int_equal(atomic_load(&w->expired), 1);
    assert_int_equal(locked(w, &w->state.sessions_opened), 2);
    free_world(w);
}

static bool sees_second_server(struct world *w)
{
    const struct cluster_map *now = meta_client_map_get(w->client);
    bool seen = now->version == 2 && now->server_count == 2;
    meta_client_map_release(w->client, now);
    return seen;
}

static void test_a_keepalive_notices(void **state)
{
    (void)state;
    struct world *w = new_world();
    open_both(w);
    const struct cluster_map *map = meta_client_map_get(w->client);
    assert_int_equal(map->server_count, 1);
    pthread_mutex_lock(&w->state.lock);
    w->state.map_version = 2;
    w->state.servers = 2;
    pthread_mutex_unlock(&w->state.lock);
    AWAIT(sees_second_server(w));
    /* A snapshot stays as it is. */
    assert_int_equal(map->server_count, 1);
    meta_client_map_release(w->client, map);
    pthread_mutex_lock(&w->state.lock);
    w->state.session = 0;
    pthread_mutex_unlock(&w->state.lock);
    AWAIT(atomic_load(&w->expired) == 1);
    AWAIT(locked(w, &w->state.sessions_opened) == 2);
    free_world(w);
}

static void test_soft_gives_up(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct err_text why;
    struct rpc_address servers[2] = {w->a.address, w->b.address};
    assert_int_equal(open_client(w, servers, 2, 300 * NS_PER_MS, &why), ERR_OK);
    set_mode(&w->a, FAKE_REFUSES, ERR_NO_LEADER);
    set_mode(&w->b, FAKE_REFUSES, ERR_NO_LEADER);
    struct meta_reply reply;
    int64_t begun = clock_boot_ns();
    assert_int_equal(mkdir_call(w, NULL, &reply), ERR_TIMEOUT);
    assert_true(clock_boot_ns() - begun >= 300 * NS_PER_MS);
    set_mode(&w->a, FAKE_SERVES, ERR_OK);
    AWAIT(locked(w, &w->state.effects) == 1);
    free_world(w);
}

/* Who refuses takes a while to say so, and says that it is not done: no last try goes out whose answer nobody would
 * await. */
static void test_what_everybody_refuses_is_not_done(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct err_text why;
    w->tells_not_done = true;
    assert_int_equal(open_client(w, &w->a.address, 1, 400 * NS_PER_MS, &why), ERR_OK);
    set_mode(&w->a, FAKE_DEFERS, ERR_NO_LEADER);
    for (unsigned i = 0; i < 10; i++) {
        struct meta_reply reply;
        assert_int_equal(mkdir_call(w, NULL, &reply), ERR_NOT_DONE);
    }
    free_world(w);
}

static void test_a_silent_leader_is_left(void **state)
{
    (void)state;
    struct world *w = new_world();
    open_both(w);
    struct meta_reply reply;
    assert_int_equal(mkdir_call(w, NULL, &reply), ERR_OK);
    /* The other one goes on naming it for a while. */
    strcpy(w->b.hint, w->a.address.text);
    set_mode(&w->a, FAKE_SILENT, ERR_OK);
    set_mode(&w->b, FAKE_REFUSES, ERR_NOT_LEADER);
    unsigned before = atomic_load(&w->b.requests);
    struct heal heal = {w, atomic_load(&w->a.requests) + before};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, heal_when_asked, &heal), 0);
    assert_int_equal(mkdir_call(w, NULL, &reply), ERR_OK);
    pthread_join(thread, NULL);
    assert_true(atomic_load(&w->b.requests) > before + 1);
    assert_int_equal(locked(w, &w->state.effects), 2);
    free_world(w);
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct err_text why;
    fake_node_stop(&w->b);
    assert_int_equal(open_client(w, &w->b.address, 1, 1500 * NS_PER_MS, &why), ERR_TIMEOUT);
    assert_non_null(strstr(why.text, w->b.address.text));
    assert_non_null(strstr(w->waited_for, w->b.address.text));
    assert_in_range(atomic_load(&w->waiting), 1, 2);
    fake_node_start(&w->b, &w->state);
    w->client = NULL;
    free_world(w);
}

static void test_no_such_export(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct err_text why;
    w->state.no_export = true;
    assert_int_equal(open_client(w, &w->a.address, 1, 0, &why), ERR_NO_EXPORT);
    assert_non_null(strstr(why.text, "default"));
    free_world(w);
}

struct storm {
    struct world *w;
    atomic_uint done;
    atomic_bool stop;
};

static void *storm_thread(void *context)
{
    struct storm *s = context;
    for (int i = 0; i < 300; i++) {
        struct meta_reply reply;
        assert_int_equal(mkdir_call(s->w, NULL, &reply), ERR_OK);
        atomic_fetch_add(&s->done, 1);
    }
    return NULL;
}

static void test_many_threads_over_dropped_connections(void **state)
{
    (void)state;
    struct world *w = new_world();
    open_both(w);
    struct storm s = {.w = w};
    pthread_t threads[8];
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, storm_thread, &s), 0);
    for (unsigned i = 1; i <= 10; i++) {
        AWAIT(atomic_load(&s.done) >= i * 200);
        set_mode(&w->a, FAKE_DROPS, ERR_OK);
        set_mode(&w->b, FAKE_DROPS, ERR_OK);
    }
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(locked(w, &w->state.effects), 8 * 300);
    free_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follows_the_hint),
        cmocka_unit_test(test_refusals_of_all_kinds_are_waited_out),
        cmocka_unit_test(test_a_lost_reply_is_not_a_second_effect),
        cmocka_unit_test(test_a_cancelled_command_is_resolved),
        cmocka_unit_test(test_an_expired_session_is_not_continued),
        cmocka_unit_test(test_a_keepalive_notices),
        cmocka_unit_test(test_soft_gives_up),
        cmocka_unit_test(test_what_everybody_refuses_is_not_done),
        cmocka_unit_test(test_a_silent_leader_is_left),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_no_such_export),
        cmocka_unit_test(test_many_threads_over_dropped_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
