/* What only the leader's memory holds: sessions' times, block servers' reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "daemon/block/block_registry.h"
#include "replica/sessions.h"

#define S NS_PER_S

static void test_sessions(void **state)
{
    (void)state;
    struct sessions s = {0};
    assert_false(sessions_touch(&s, 5, 0));
    assert_int_equal(sessions_silent_ns(&s, 5, 0), -1);
    sessions_add(&s, 5, 10 * S);
    sessions_add(&s, 6, 10 * S);
    assert_true(sessions_touch(&s, 5, 20 * S));
    assert_int_equal(sessions_silent_ns(&s, 5, 21 * S), 1 * S);
    assert_int_equal(sessions_next_expired(&s, 69 * S, 60 * S), 0);
    assert_int_equal(sessions_next_expired(&s, 70 * S, 60 * S), 6);
    assert_int_equal(sessions_next_expired(&s, 70 * S, 60 * S), 0); /* its end is under way */
    sessions_retry(&s, 6);
    assert_int_equal(sessions_next_expired(&s, 71 * S, 60 * S), 6);
    sessions_remove(&s, 6);
    sessions_retry(&s, 6);
    assert_int_equal(sessions_next_expired(&s, 79 * S, 60 * S), 0);
    assert_int_equal(sessions_next_expired(&s, 80 * S, 60 * S), 5);
    sessions_clear(&s);
    assert_false(sessions_touch(&s, 5, 0));
}

static struct block_registry registry;
static struct err_text why;

static enum err report(uint32_t id, const char *address, uint64_t total_mib, int64_t now_ns, bool *registers)
{
    struct block_report r = {.disk_total = total_mib * MIB, .disk_free = 1};
    struct meta_block_server server;
    *registers = false;
    enum err e = block_registry_report(&registry, id, address, &r, now_ns, &server, registers, &why);
    if (*registers) {
        assert_int_equal(server.id, id);
        assert_string_equal(server.address, address);
        assert_true(server.weight >= 1);
    }
    return e;
}

static void registered(uint32_t id, const char *address, uint64_t weight)
{
    struct meta_block_server server = {.id = id, .weight = weight};
    strcpy(server.address, address);
    block_registry_registered(&registry, &server);
    block_registry_settled(&registry, id);
}

static void test_registration(void **state)
{
    (void)state;
    bool registers;
    block_registry_clear(&registry);
    assert_int_equal(report(1, "a:1", 1000, 1 * S, &registers), ERR_OK);
    assert_true(registers);
    assert_int_equal(report(1, "a:1", 1000, 2 * S, &registers), ERR_OK);
    assert_false(registers); /* one is under way */
    registered(1, "a:1", 1000);
    assert_int_equal(report(1, "a:1", 1100, 3 * S, &registers), ERR_OK);
    assert_false(registers); /* 10 % are not worth it */
    assert_int_equal(report(1, "a:1", 1101, 4 * S, &registers), ERR_OK);
    assert_true(registers);
    registered(1, "a:1", 1101);
    assert_int_equal(report(1, "a:1", 0, 5 * S, &registers), ERR_OK);
    assert_true(registers);
    block_registry_settled(&registry, 1); /* that attempt failed: the next report tries again */
    assert_int_equal(report(1, "a:1", 0, 6 * S, &registers), ERR_OK);
    assert_true(registers);
}

static void test_two_servers_with_one_id(void **state)
{
    (void)state;
    bool registers;
    block_registry_clear(&registry);
    registered(1, "a:1", 1000);
    assert_int_equal(report(1, "a:1", 1000, 100 * S, &registers), ERR_OK);
    assert_int_equal(report(1, "b:1", 1000, 105 * S, &registers), ERR_EXIST);
    assert_false(registers);
    assert_non_null(strstr(why.text, "a:1"));
    assert_non_null(strstr(why.text, "b:1"));
    assert_true(block_registry_reporting(block_registry_find(&registry, 1), 109 * S));
    assert_false(block_registry_reporting(block_registry_find(&registry, 1), 110 * S));
    /* The first one is silent by now: it has moved. */
    assert_int_equal(report(1, "b:1", 1000, 110 * S, &registers), ERR_OK);
    assert_true(registers);
}

static void test_limit(void **state)
{
    (void)state;
    bool registers;
    block_registry_clear(&registry);
    for (uint32_t id = 1; id <= LIMIT_BLOCK_SERVERS; id++)
        assert_int_equal(report(id, "a:1", 10, S, &registers), ERR_OK);
    assert_int_equal(report(LIMIT_BLOCK_SERVERS + 1, "z:1", 10, S, &registers), ERR_NOSPC);
    assert_non_null(strstr(why.text, "z:1"));
    assert_int_equal(report(7, "a:1", 10, S, &registers), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_registration),
        cmocka_unit_test(test_two_servers_with_one_id),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
