/* Configuration: what is taken, and that each refusal says the offending value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rate.h"
#include "daemon/config.h"

static struct config c;
static struct err_text why;

static int setup(void **state)
{
    (void)state;
    config_init(&c);
    why.text[0] = 0;
    return 0;
}

static void set(const char *key, const char *value)
{
    if (config_set(&c, key, value, &why) != ERR_OK)
        fail_msg("%s=%s: %s", key, value, why.text);
}

static void refused(const char *key, const char *value)
{
    assert_int_not_equal(config_set(&c, key, value, &why), ERR_OK);
    if (!strstr(why.text, value))
        fail_msg("%s=%s: the value is not in: %s", key, value, why.text);
}

static void finishes(void)
{
    if (config_finish(&c, &why) != ERR_OK)
        fail_msg("%s", why.text);
}

static void finish_refused(const char *word)
{
    assert_int_not_equal(config_finish(&c, &why), ERR_OK);
    if (!strstr(why.text, word))
        fail_msg("\"%s\" is not in: %s", word, why.text);
}

static void test_defaults(void **state)
{
    (void)state;
    finishes();
    assert_int_equal(c.roles, WIRE_NODE_META | WIRE_NODE_BLOCK);
    assert_int_equal(c.id, 1);
    assert_int_equal(c.port, 8080);
    assert_string_equal(c.data, "surfd-data");
    assert_string_equal(c.bind_host, "127.0.0.1");
    assert_string_equal(c.advertise.text, "127.0.0.1:8080");
    assert_int_equal(c.peer_count, 1);
    assert_int_equal(c.peers[0].id, 1);
    assert_int_equal(c.session_timeout_s, 60);
}

static void test_values(void **state)
{
    (void)state;
    set("role", "meta");
    set("id", "2");
    set("peers", "3=127.0.0.1:9003,1=127.0.0.1:9001,2=127.0.0.1:9002");
    set("block-servers", "127.0.0.1:7001,127.0.0.1:7002");
    set("election", "manual");
    set("reads", "readindex");
    set("session-timeout", "5");
    set("connections", "16");
    finishes();
    assert_int_equal(c.port, 9002); /* from the own entry */
    assert_int_equal(c.connections, 16);
    assert_int_equal(c.peer_count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(c.peers[i].id, i + 1);
    assert_int_equal(c.block_server_count, 2);
    assert_string_equal(c.advertise.text, "127.0.0.1:9002");
}

static void test_rates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t rate;
    } good[] = {{"0", 0}, {"1", 1}, {"0K", 0}, {"3K", 3 * KIB}, {"50M", 50 * MIB}, {"1024G", RATE_MAX}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        set("repair-rate", good[i].text);
        set("scrub-rate", good[i].text);
        assert_true(c.repair_rate == good[i].rate && c.scrub_rate == good[i].rate);
    }
    static const char *const bad[] = {
        "", "M", "-1", "1m", "1T", "1MB", "1 M", "1025G", "0x1", "99999999999999", "1099511627777"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused("repair-rate", bad[i]);
    refused("repair-delay", "0");
    refused("repair-interval", "0");
    refused("stray-age", "x");
    refused("collect-interval", "0");
    refused("collect-interval", "1.5");
    set("collect-interval", "2");
    assert_int_equal(c.collect_interval_s, 2);
    set("repair-delay", "1");
    set("rebuild-blocks", "true");
    assert_true(c.rebuild_blocks && c.repair_delay_s == 1);
    set("role", "meta");
    assert_int_equal(config_finish(&c, &why), ERR_CONFIG);
}

static void test_bad_values(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"port", "0x1"},
        {"port", "99999"},
        {"port", "0"},
        {"port", "-1"},
        {"port", " 1"},
        {"port", "1 "},
        {"port", "99999999999"},
        {"role", "both!"},
        {"id", "0"},
        {"id", "-1"},
        {"id", "x"},
        {"id", "65536"},
        {"election", "maybe"},
        {"reads", "stale"},
        {"debug", "yes"},
        {"session-timeout", "1"},
        {"connections", "15"},
        {"connections", "65537"},
        {"connections", "many"},
        {"peers", "1=localhost"},
        {"peers", "x=127.0.0.1:1"},
        {"peers", "127.0.0.1:1"},
        {"peers", "=127.0.0.1:1"},
        {"advertise", "host"},
        {"block-servers", "nonsense"},
        {"prot", "prot"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (strcmp(bad[i][0], "peers") == 0 || strcmp(bad[i][0], "block-servers") == 0 ||
            strcmp(bad[i][0], "advertise") == 0) {
            assert_int_not_equal(config_set(&c, bad[i][0], bad[i][1], &why), ERR_OK);
            assert_true(why.text[0] != 0);
        } else {
            refused(bad[i][0], bad[i][1]);
        }
    }
    refused("port", "");
    refused("peers", "");
    assert_int_not_equal(config_set(&c, "peers", "1=127.0.0.1:1,,2=127.0.0.1:2", &why), ERR_OK);
    assert_int_not_equal(config_set(&c, "peers", "1=127.0.0.1:1,1=127.0.0.1:2", &why), ERR_OK);
    assert_non_null(strstr(why.text, "twice"));
    assert_int_not_equal(config_set(&c, "peers", "1=127.0.0.1:1,2=127.0.0.1:1", &why), ERR_OK);
}

static void test_peers_without_this_node(void **state)
{
    (void)state;
    set("peers", "2=127.0.0.1:9001");
    finish_refused("id 1");
}

static void test_peers_say_another_port(void **state)
{
    (void)state;
    set("port", "9005");
    set("peers", "1=127.0.0.1:9001,2=127.0.0.1:9002");
    finish_refused("9005");
}

static void test_block_server_rules(void **state)
{
    (void)state;
    set("role", "block");
    set("id", "1");
    set("peers", "1=127.0.0.1:9001");
    finish_refused("1=127.0.0.1:9001");
    set("id", "7");
    finishes();
    assert_int_equal(c.peer_count, 1);
    assert_int_equal(config_add_block_server(&c, "127.0.0.1:7001", &why), ERR_OK);
    finish_refused("127.0.0.1:7001");
    assert_int_not_equal(config_add_block_server(&c, "127.0.0.1:7001", &why), ERR_OK);
}

static void test_joining(void **state)
{
    (void)state;
    set("join", "true");
    finish_refused("id"); /* the first one's would be the default */
    set("id", "4");
    finishes();
    assert_int_equal(c.peer_count, 0);
}

static void test_listening_beyond_loopback(void **state)
{
    (void)state;
    set("insecure-listen-everywhere-without-tls", "true");
    finish_refused("127.0.0.1:8080"); /* which others would take for themselves */
    set("insecure-listen-everywhere-without-tls", "false");
    set("advertise", "192.0.2.1:8080");
    finish_refused("insecure");
    set("insecure-listen-everywhere-without-tls", "true");
    finishes();
    assert_string_equal(c.bind_host, "::");
    set("localhost", "true");
    finish_refused("192.0.2.1:8080");
    assert_true(config_host_is_loopback("127.3.2.1") && config_host_is_loopback("::1") &&
                config_host_is_loopback("localhost"));
    assert_false(config_host_is_loopback("128.0.0.1") || config_host_is_loopback("example.org") ||
                 config_host_is_loopback(""));
}

static char file_path[] = "/tmp/test_config_XXXXXX";

static enum err load(const char *text, size_t size)
{
    FILE *f = fopen(file_path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    return config_load_file(&c, file_path, &why);
}

static void test_http(void **state)
{
    (void)state;
    assert_int_equal(c.http.port, 0);
    set("http-port", "8090");
    set("http-address", "127.0.0.2");
    set("http-files", "none");
    set("http-names", "one.example,two");
    set("http-admin", "true");
    assert_int_equal(config_finish(&c, &why), ERR_OK);
    assert_int_equal(c.http.port, 8090);
    assert_string_equal(c.http.host, "127.0.0.2");
    assert_int_equal(c.http.files, GATEWAY_FILES_NONE);
    assert_int_equal(c.http.name_count, 2);
    assert_string_equal(c.http.names[1], "two");
    assert_true(c.http.admin);
    refused("http-port", "65536");
    refused("http-address", "example.org");
    refused("http-files", "some");
    refused("http-names", "a,,b");
    refused("http-names", "a:80");
    refused("http-names", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17");
    refused("http-admin", "yes");
    set("http-address", "192.0.2.1");
    assert_int_equal(config_finish(&c, &why), ERR_CONFIG);
    assert_non_null(strstr(why.text, "192.0.2.1"));
    set("insecure-listen-everywhere-without-tls", "true");
    set("advertise", "192.0.2.1:8080");
    assert_int_equal(config_finish(&c, &why), ERR_OK);
}

static void test_file(void **state)
{
    (void)state;
    static const char text[] = "# a comment\n"
                               "role: both\n"
                               "id: 2\n"
                               "peers:\n  1: 127.0.0.1:9001\n  2: 127.0.0.1:9002\n"
                               "block-servers: [127.0.0.1:7001, 127.0.0.1:7002]\n"
                               "debug: true\n";
    if (load(text, strlen(text)) != ERR_OK)
        fail_msg("%s", why.text);
    assert_int_equal(c.id, 2);
    assert_int_equal(c.peer_count, 2);
    assert_int_equal(c.block_server_count, 2);
    assert_true(c.debug);
    set("id", "1"); /* as a flag, afterwards */
    finishes();
    assert_int_equal(c.port, 9001);
    assert_int_equal(load("", 0), ERR_OK);
    assert_int_equal(load("peers: [1=127.0.0.1:1]\n", 23), ERR_OK);
}

static void test_bad_file(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"port: seven\n", ":1: port", "seven"},
        {"id: 1\n\nprot: 1\n", ":3: prot", "prot"},
        {"port: [1, 2]\n", ":1: port", "plain value"},
        {"port: {a: 1}\n", ":1: port", "plain value"},
        {"peers: [[1]]\n", ":1: peers", "plain value"},
        {"id: 1\nid: 2\n", ":2: id", "twice"},
        {"[1, 2]\n", ":1: ", "mapping"},
        {"{", "", "YAML"},
        {"[x]: 1\n", ":1: ", "key"},
        {"port: \"1\\02\"\n", ":1: port", "plain value"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        config_init(&c);
        assert_int_not_equal(load(bad[i][0], strlen(bad[i][0])), ERR_OK);
        for (int word = 1; word < 3; word++)
            if (!strstr(why.text, bad[i][word]))
                fail_msg("%s: \"%s\" is not in: %s", bad[i][0], bad[i][word], why.text);
        assert_non_null(strstr(why.text, file_path));
    }
    assert_int_not_equal(load("\0", 1), ERR_OK);
    assert_int_not_equal(config_load_file(&c, "/no/such/file", &why), ERR_OK);
    assert_non_null(strstr(why.text, "/no/such/file"));
    assert_int_not_equal(config_load_file(&c, "/tmp", &why), ERR_OK);
    static char big[CONFIG_FILE_BYTES + 1];
    memset(big, '#', sizeof big);
    assert_int_not_equal(load(big, sizeof big), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, setup),
        cmocka_unit_test_setup(test_values, setup),
        cmocka_unit_test_setup(test_rates, setup),
        cmocka_unit_test_setup(test_bad_values, setup),
        cmocka_unit_test_setup(test_peers_without_this_node, setup),
        cmocka_unit_test_setup(test_peers_say_another_port, setup),
        cmocka_unit_test_setup(test_block_server_rules, setup),
        cmocka_unit_test_setup(test_joining, setup),
        cmocka_unit_test_setup(test_listening_beyond_loopback, setup),
        cmocka_unit_test_setup(test_http, setup),
        cmocka_unit_test_setup(test_file, setup),
        cmocka_unit_test_setup(test_bad_file, setup),
    };
    int fd = mkstemp(file_path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file_path);
    return failed;
}
