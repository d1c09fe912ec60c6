/* Connections from which nothing whole comes are shut down; others are left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/http_connections.h"

#define TIMEOUT_NS (100 * NS_PER_MS)
#define NEVER_NS (INT64_C(3600) * NS_PER_S)

/* Whether the other end is told of an end within so many milliseconds. */
static bool ends(int fd, int within_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char c;
    return poll(&p, 1, within_ms) == 1 && read(fd, &c, 1) == 0;
}

static void test_who_says_nothing_is_shut_down(void **state)
{
    (void)state;
    struct http_connections *t = http_connections_new(TIMEOUT_NS, NEVER_NS);
    int idle[2], busy[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, idle), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, busy), 0);
    struct http_connection *b = http_connection_open(t, busy[0]);
    http_connection_rests(t, b); /* its answer takes as long as it takes */
    struct http_connection *a = http_connection_open(t, idle[0]);
    assert_int_equal(http_connections_count(t), 2);
    assert_true(ends(idle[1], 10000));
    assert_int_equal(http_connections_expired(t), 1);
    assert_false(ends(busy[1], 0));
    http_connection_await(t, b); /* and after that the next request is awaited */
    assert_true(ends(busy[1], 10000));
    http_connection_close(t, a);
    http_connection_close(t, b);
    assert_int_equal(http_connections_count(t), 0);
    http_connections_free(t);
    for (int i = 0; i < 2; i++)
        close(idle[i]), close(busy[i]);
}

static void test_who_reads_nothing_is_shut_down(void **state)
{
    (void)state;
    struct http_connections *t = http_connections_new(NEVER_NS, TIMEOUT_NS);
    int slow[2], next[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, slow), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, next), 0);
    struct http_connection *a = http_connection_open(t, slow[0]), *b = http_connection_open(t, next[0]);
    http_connection_sends(t, a);
    assert_true(ends(slow[1], 10000));
    assert_false(ends(next[1], 0)); /* its request may take longer */
    http_connection_sends(t, b);
    http_connection_rests(t, b); /* it has read all that there was, and we have no more yet */
    http_connection_close(t, a);
    assert_int_equal(http_connections_expired(t), 1);
    http_connection_sends(t, b);
    assert_true(ends(next[1], 10000));
    http_connection_close(t, b);
    http_connections_free(t);
    for (int i = 0; i < 2; i++)
        close(slow[i]), close(next[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_who_says_nothing_is_shut_down),
                                       cmocka_unit_test(test_who_reads_nothing_is_shut_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
