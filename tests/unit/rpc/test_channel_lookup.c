/* Names of hosts, where name servers take questions and answer none: getaddrinfo is a function of this file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netdb.h>

#include "channel_tests.h"
#include "rpc/channel_internal.h"
#include "rpc/lookup.h"
#include "rpc/peer.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool hangs;             /* protected by lock */
static atomic_uint asked, now; /* in all, and under way */

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret);

/* Names that begin with "absent" are not there, all others are this machine. */
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret)
{
    if (hints->ai_flags & AI_NUMERICHOST)
        return __real_getaddrinfo(host, port, hints, ret);
    atomic_fetch_add(&asked, 1);
    atomic_fetch_add(&now, 1);
    pthread_mutex_lock(&lock);
    while (hangs)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    atomic_fetch_sub(&now, 1);
    return strncmp(host, "absent", 6) == 0 ? EAI_NONAME : __real_getaddrinfo("127.0.0.1", port, hints, ret);
}

static void hang(bool on)
{
    pthread_mutex_lock(&lock);
    hangs = on;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (!on)
        AWAIT(atomic_load(&now) == 0);
}

static struct rpc_channel *channel_to_name(const char *name)
{
    char text[64];
    struct rpc_address a;
    snprintf(text, sizeof text, "%s:%u", name, server.port);
    assert_int_equal(rpc_address_parse(text, &a, NULL), ERR_OK);
    return channel_to(&a);
}

static void test_a_name(void **state)
{
    (void)state;
    struct rpc_channel *c = channel_to_name("host");
    assert_int_equal(echo(c), ERR_OK);
    rpc_channel_free(c);
    c = channel_to_name("absent");
    struct err_text why;
    assert_int_equal(echo(c), ERR_UNREACHABLE);
    rpc_channel_explain(c, ERR_UNREACHABLE, &why);
    assert_non_null(strstr(why.text, "can't resolve \"absent\""));
    rpc_channel_free(c);
}

static void test_an_interrupt_ends_the_call(void **state)
{
    (void)state;
    struct rpc_channel *c = channel_to_name("interrupted");
    struct rpc_cancel *cancel = rpc_cancel_new();
    struct canceller canceller = {cancel, &now};
    pthread_t thread;
    hang(true);
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &canceller), 0);
    assert_int_equal(call(c, FIXTURE_ECHO, slice_str("x"), INT64_MAX, cancel), ERR_CANCELLED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&now), 1); /* it is still being looked up */
    rpc_cancel_free(cancel);
    rpc_channel_free(c);
    hang(false);
}

static void test_a_deadline_ends_the_call(void **state)
{
    (void)state;
    hang(true);
    unsigned before = atomic_load(&asked);
    struct rpc_channel *c = channel_to_name("slow");
    for (int i = 0; i < 50; i++)
        assert_int_equal(call(c, FIXTURE_ECHO, slice_str("x"), in_ms(5), NULL), ERR_TIMEOUT);
    struct rpc_channel *other = channel_to_name("slow");
    assert_int_equal(call(other, FIXTURE_ECHO, slice_str("x"), in_ms(5), NULL), ERR_TIMEOUT);
    /* Who tries again waits for the same answer, and who comes a little too late finds it. */
    hang(false);
    assert_int_equal(echo(c), ERR_OK);
    assert_int_equal(echo(other), ERR_OK);
    assert_in_range(atomic_load(&asked) - before, 1, 2);
    rpc_channel_free(c);
    rpc_channel_free(other);
}

static void test_the_time_to_connect_is_said(void **state)
{
    (void)state;
    struct rpc_address a;
    assert_int_equal(rpc_address_parse("unheard:1", &a, NULL), ERR_OK);
    struct rpc_channel_options options = {
        .address = a, .hello = slice_str("client"), .connect_timeout_ns = 20 * NS_PER_MS};
    struct rpc_channel *c = rpc_channel_new(&options);
    struct err_text why;
    hang(true);
    assert_int_equal(echo(c), ERR_UNREACHABLE);
    rpc_channel_explain(c, ERR_UNREACHABLE, &why);
    assert_non_null(strstr(why.text, "no name server says where \"unheard\" is"));
    hang(false);
    rpc_channel_free(c);
}

static void test_lookups_are_bounded(void **state)
{
    (void)state;
    enum { NAMES = RPC_LOOKUPS + 20 };
    struct rpc_channel *c[NAMES];
    unsigned before = atomic_load(&asked);
    hang(true);
    for (unsigned i = 0; i < NAMES; i++) {
        char name[32];
        snprintf(name, sizeof name, "host%u", i);
        c[i] = channel_to_name(name);
        assert_int_equal(call(c[i], FIXTURE_ECHO, slice_str("x"), in_ms(5), NULL),
                         i < RPC_LOOKUPS ? ERR_TIMEOUT : ERR_UNREACHABLE);
    }
    AWAIT(atomic_load(&now) == RPC_LOOKUPS);
    assert_int_equal(atomic_load(&asked) - before, RPC_LOOKUPS);
    /* Addresses need none. */
    struct rpc_channel *numeric = channel_to(&server.address);
    assert_int_equal(echo(numeric), ERR_OK);
    rpc_channel_free(numeric);
    hang(false);
    for (unsigned i = 0; i < NAMES; i++) {
        assert_int_equal(echo(c[i]), ERR_OK);
        rpc_channel_free(c[i]);
    }
}

#define NOT_ANSWERED ERR_NO_METHOD

static void on_answer(void *context, const struct rpc_response *response)
{
    *(enum err *)context = response->status;
}

/* One call by a peer to a name of the server, whose loop runs until `until` is not zero any more, or the call ended. */
static struct rpc_peer *peer_asks(uv_loop_t *loop, const char *name, enum err *status, atomic_uint *until)
{
    char text[64];
    struct rpc_address a;
    snprintf(text, sizeof text, "%s:%u", name, server.port);
    assert_int_equal(rpc_address_parse(text, &a, NULL), ERR_OK);
    assert_int_equal(uv_loop_init(loop), 0);
    struct rpc_peer *p = rpc_peer_new(loop, &a, slice_str("peer"), NULL, NULL);
    *status = NOT_ANSWERED;
    rpc_peer_call(p, FIXTURE_ECHO, slice_str("x"), SLICE(NULL, 0), in_ms(20000), on_answer, status);
    AWAIT((uv_run(loop, UV_RUN_NOWAIT), *status != NOT_ANSWERED || (until && atomic_load(until) > 0)));
    return p;
}

static void peer_ends(uv_loop_t *loop, struct rpc_peer *p)
{
    rpc_peer_free(p);
    AWAIT(!uv_run(loop, UV_RUN_NOWAIT));
    assert_int_equal(uv_loop_close(loop), 0);
}

static void test_a_peer_finds_a_name(void **state)
{
    (void)state;
    uv_loop_t loop;
    enum err status;
    peer_ends(&loop, peer_asks(&loop, "peer", &status, NULL));
    assert_int_equal(status, ERR_OK);
}

/* A node that stops does not wait for name servers, nor does what it leaves behind need its loop. */
static void test_a_peer_leaves_its_lookup(void **state)
{
    (void)state;
    uv_loop_t loop;
    enum err status;
    hang(true);
    peer_ends(&loop, peer_asks(&loop, "left", &status, &now));
    assert_int_equal(status, ERR_CLOSED);
    assert_int_equal(atomic_load(&now), 1);
    hang(false);
    peer_ends(&loop, peer_asks(&loop, "left", &status, NULL)); /* what has just been found counts */
    assert_int_equal(status, ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name),
        cmocka_unit_test(test_an_interrupt_ends_the_call),
        cmocka_unit_test(test_a_deadline_ends_the_call),
        cmocka_unit_test(test_the_time_to_connect_is_said),
        cmocka_unit_test(test_lookups_are_bounded),
        cmocka_unit_test(test_a_peer_finds_a_name),
        cmocka_unit_test(test_a_peer_leaves_its_lookup),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
