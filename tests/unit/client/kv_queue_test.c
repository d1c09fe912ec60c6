/* The queue of operations on keys: each has one completion, however the metastore behaves, and nothing is unbounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>
#include <poll.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/kv/kv_queue.h"
#include "meta_fake.h"

#define PATIENCE_NS (20 * NS_PER_S)
#define ROOM 64u

struct world {
    struct fake_state state;
    struct fake_node node;
    struct meta_client *client;
    struct kv_queue *queue;
};

static int set_up(void **state)
{
    struct world *w = MEM_NEW(struct world);
    struct meta_attr root;
    struct err_text why;
    fake_state_init(&w->state);
    fake_node_start(&w->node, &w->state);
    struct meta_client_options options = {.servers = &w->node.address,
                                          .server_count = 1,
                                          .export_name = "default",
                                          .client_name = "test",
                                          .open_timeout_ns = PATIENCE_NS};
    assert_int_equal(meta_client_open(&options, &w->client, &root, &why), ERR_OK);
    struct kv_queue_options queue = {.client = w->client, .under_way = 8, .room = ROOM};
    assert_int_equal(kv_queue_open(&queue, &w->queue), ERR_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kv_queue_close(w->queue);
    meta_client_close(w->client);
    fake_node_stop(&w->node);
    pthread_mutex_destroy(&w->state.lock);
    free(w);
    return 0;
}

static enum err submit(struct world *w, uint64_t *ret_id)
{
    struct meta_kv_change change = {
        .kind = META_KV_PUT, .type = META_KV_BYTES, .key = slice_str("k"), .value = slice_str("v")};
    return kv_queue_change(w->queue, &change, 1, ret_id);
}

static bool is_readable(struct world *w)
{
    struct pollfd fd = {.fd = kv_queue_fd(w->queue), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

static uint64_t effects(struct world *w)
{
    pthread_mutex_lock(&w->state.lock);
    uint64_t count = w->state.effects;
    pthread_mutex_unlock(&w->state.lock);
    return count;
}

static void each_operation_has_one_completion(void **state)
{
    struct world *w = *state;
    struct kv_completion *c;
    bool seen[201] = {false};
    unsigned submitted = 0, taken = 0;
    assert_int_equal(kv_queue_take(w->queue, 0, &c), ERR_TIMEOUT);
    assert_false(is_readable(w));
    for (uint64_t id; taken < 200;) {
        if (submitted < 200 && submit(w, &id) == ERR_OK) {
            assert_int_equal(id, ++submitted);
            continue;
        }
        assert_true(submitted - taken == ROOM || submitted == 200); /* what is not taken is bounded */
        assert_int_equal(kv_queue_take(w->queue, PATIENCE_NS, &c), ERR_OK);
        assert_int_equal(c->status, ERR_OK);
        assert_true(c->id >= 1 && c->id <= 200 && !seen[c->id]);
        seen[c->id] = true;
        taken++;
        kv_completion_free(c);
    }
    assert_false(is_readable(w));
    assert_int_equal(effects(w), 200);
}

static void the_descriptor_says_whether_there_is_something(void **state)
{
    struct world *w = *state;
    struct kv_completion *c;
    uint64_t id;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(submit(w, &id), ERR_OK);
    assert_int_equal(kv_queue_drain(w->queue, PATIENCE_NS), ERR_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(is_readable(w));
        assert_int_equal(kv_queue_take(w->queue, 0, &c), ERR_OK);
        kv_completion_free(c);
    }
    assert_false(is_readable(w));
    assert_int_equal(kv_queue_take(w->queue, 1000000, &c), ERR_TIMEOUT);
}

static void what_is_asked_again_happens_once(void **state)
{
    struct world *w = *state;
    uint64_t id;
    atomic_store(&w->node.mode, FAKE_DROPS); /* it takes effect, and the answer is lost */
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(submit(w, &id), ERR_OK);
    for (int64_t end = clock_boot_ns() + PATIENCE_NS; effects(w) < 8;) {
        assert_true(clock_boot_ns() < end);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    atomic_store(&w->node.mode, FAKE_SERVES);
    assert_int_equal(kv_queue_drain(w->queue, PATIENCE_NS), ERR_OK);
    for (unsigned i = 0; i < 8; i++) {
        struct kv_completion *c;
        assert_int_equal(kv_queue_take(w->queue, 0, &c), ERR_OK);
        assert_int_equal(c->status, ERR_OK);
        kv_completion_free(c);
    }
    assert_int_equal(effects(w), 8);
    assert_true(w->state.repeats > 0);
}

static void what_can_not_be_is_told_by_a_completion(void **state)
{
    struct world *w = *state;
    struct meta_kv_change changes[2] = {{.kind = META_KV_PUT, .type = META_KV_BYTES, .key = slice_str("k")},
                                        {.kind = META_KV_PUT, .type = META_KV_BYTES, .key = slice_str("k")}};
    static struct slice keys[LIMIT_KV_KEYS + 1];
    struct kv_completion *c;
    uint64_t id;
    assert_int_equal(kv_queue_change(w->queue, changes, 2, &id), ERR_OK);
    assert_int_equal(kv_queue_take(w->queue, PATIENCE_NS, &c), ERR_OK);
    assert_int_equal(c->status, ERR_INVAL);
    assert_int_equal(c->changed.refused, 1);
    kv_completion_free(c);
    for (unsigned i = 0; i <= LIMIT_KV_KEYS; i++)
        keys[i] = slice_str("k");
    assert_int_equal(kv_queue_get(w->queue, keys, LIMIT_KV_KEYS + 1, &id), ERR_OK);
    assert_int_equal(kv_queue_take(w->queue, PATIENCE_NS, &c), ERR_OK);
    assert_int_equal(c->status, ERR_TOO_BIG);
    kv_completion_free(c);
    assert_int_equal(kv_queue_get(w->queue, keys, 0, &id), ERR_OK);
    assert_int_equal(kv_queue_take(w->queue, PATIENCE_NS, &c), ERR_OK);
    assert_int_equal(c->status, ERR_INVAL);
    kv_completion_free(c);
    assert_int_equal(effects(w), 0);
    assert_int_equal(kv_queue_open(&(struct kv_queue_options){.client = w->client, .under_way = 257}, &w->queue),
                     ERR_INVAL);
}

static void closing_does_not_wait_for_the_cluster(void **state)
{
    struct world *w = *state;
    uint64_t id;
    atomic_store(&w->node.mode, FAKE_SILENT);
    for (unsigned i = 0; i < ROOM; i++)
        assert_int_equal(submit(w, &id), ERR_OK);
    assert_int_equal(submit(w, &id), ERR_BUSY_NOW);
    assert_int_equal(kv_queue_drain(w->queue, 10000000), ERR_TIMEOUT);
    int64_t begun_ns = clock_boot_ns();
    kv_queue_close(w->queue);
    w->queue = NULL;
    assert_true(clock_boot_ns() - begun_ns < PATIENCE_NS / 2);
    atomic_store(&w->node.mode, FAKE_SERVES);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_operation_has_one_completion),     TEST(the_descriptor_says_whether_there_is_something),
        TEST(what_is_asked_again_happens_once),      TEST(what_can_not_be_is_told_by_a_completion),
        TEST(closing_does_not_wait_for_the_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
