/* Addresses as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <string.h>

#include "base/mem.h"
#include "rpc/address.h"

static void test_good(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        unsigned port;
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1", 8080},
        {"localhost:1", "localhost", 1},
        {"[::1]:65535", "::1", 65535},
        {"node-1.example.org:20000", "node-1.example.org", 20000},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rpc_address a;
        assert_int_equal(rpc_address_parse(cases[i].text, &a, NULL), ERR_OK);
        assert_string_equal(a.text, cases[i].text);
        assert_string_equal(a.host, cases[i].host);
        assert_int_equal(a.port, cases[i].port);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",          "host",    ":8080",       "host:",   "host:0",   "host:65536", "host:99999999999",
        "host:80x",  "host:-1", "host:+1",     "host: 1", "::1:8080", "[::1]",      "[::1]8080",
        "[::1:8080", "[]:8080", "a b:80",      "a\n:80",  "a,b:80",   "a/b:80",     "[a]b:80",
        "host:0x10", "@:80",    "\xc3\xa4:80",
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rpc_address a = {.port = 7};
        struct err_text why = {""};
        assert_int_equal(rpc_address_parse(cases[i], &a, &why), ERR_ADDRESS);
        assert_int_equal(a.port, 7);
        assert_non_null(strstr(why.text, cases[i]));
    }
    char longest[LIMIT_ADDRESS_BYTES + 2];
    struct rpc_address a;
    memset(longest, 'h', sizeof longest);
    memcpy(longest + LIMIT_ADDRESS_BYTES - 3, ":80", 4);
    assert_int_equal(rpc_address_parse(longest, &a, NULL), ERR_OK);
    assert_string_equal(a.text, longest);
    memcpy(longest + LIMIT_ADDRESS_BYTES - 3, ":808", 5);
    assert_int_equal(rpc_address_parse(longest, &a, NULL), ERR_ADDRESS);
}

static void test_lists(void **state)
{
    (void)state;
    struct rpc_address a[3];
    size_t count = 9;
    struct err_text why;
    assert_int_equal(rpc_address_parse_list("h:1,[::1]:2,i:3", a, 3, &count, &why), ERR_OK);
    assert_int_equal(count, 3);
    assert_string_equal(a[1].text, "[::1]:2");
    assert_int_equal(a[2].port, 3);
    static const char *const bad[] = {"", "h:1,", ",h:1", "h:1,,h:2", "h:1,h:2,h:3,h:4", "h:1 ,h:2"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(rpc_address_parse_list(bad[i], a, 3, &count, &why), ERR_ADDRESS);
        assert_int_equal(count, 3);
    }
}

static void test_resolve(void **state)
{
    (void)state;
    struct rpc_address a;
    struct sockaddr_storage to;
    socklen_t size;
    struct err_text why;
    assert_int_equal(rpc_address_parse("localhost:8080", &a, NULL), ERR_OK);
    assert_int_equal(rpc_address_resolve(&a, &to, &size, &why), ERR_OK);
    assert_int_equal(to.ss_family, AF_INET);
    assert_int_equal(ntohs(((struct sockaddr_in *)&to)->sin_port), 8080);
    assert_int_equal(rpc_address_parse("[::1]:81", &a, NULL), ERR_OK);
    assert_int_equal(rpc_address_resolve(&a, &to, &size, &why), ERR_OK);
    assert_int_equal(to.ss_family, AF_INET6);
    assert_int_equal(rpc_address_parse("999.1.1.1.invalid:81", &a, NULL), ERR_OK);
    assert_int_equal(rpc_address_resolve(&a, &to, &size, &why), ERR_ADDRESS);
    assert_non_null(strstr(why.text, "999.1.1.1.invalid"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_resolve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
