/* Early puts where the machine has no room for the thread that they want. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>
#include <errno.h>

#include "base/clock.h"
#include "client/meta/meta_client.h"
#include "meta_fake.h"

static atomic_bool refuses;

int __real_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *), void *context);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *), void *context);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *), void *context)
{
    return atomic_load(&refuses) ? EAGAIN : __real_pthread_create(ret, attributes, run, context);
}

static void puts_are_ordinary_without_it(void **state)
{
    (void)state;
    struct fake_state metastore;
    struct fake_node node;
    struct meta_client *client;
    struct meta_attr root;
    struct err_text why;
    fake_state_init(&metastore);
    fake_node_start(&node, &metastore);
    struct meta_client_options options = {.servers = &node.address,
                                          .server_count = 1,
                                          .export_name = "default",
                                          .client_name = "test",
                                          .open_timeout_ns = 20 * NS_PER_S};
    assert_int_equal(meta_client_open(&options, &client, &root, &why), ERR_OK);
    struct meta_kv_change change = {.kind = META_KV_PUT, .type = META_KV_BYTES, .key = slice_str("k")};
    struct meta_command command = {.op = META_KV, .kv = {.changes = &change, .count = 1}};
    struct meta_reply reply;
    bool early = true;
    atomic_store(&refuses, true);
    int64_t begun_ns = clock_boot_ns();
    meta_client_put_prepare(client, 60 * NS_PER_S);
    assert_true(clock_boot_ns() - begun_ns < 30 * NS_PER_S); /* there is nobody to wait for */
    assert_int_equal(meta_client_put(client, &command, NULL, &reply, &early), ERR_OK);
    assert_false(early);
    assert_int_equal(metastore.effects, 1);
    meta_client_close(client);
    fake_node_stop(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(puts_are_ordinary_without_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
