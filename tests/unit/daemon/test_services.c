/* What a node answers, from outside: real processes, one small cluster per test. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/prng.h"
#include "cluster_client.h"
#include "cluster_nodes.h"
#include "proto/methods.h"
#include "proto/wire_block.h"
#include "proto/wire_meta.h"

#define PATIENCE_NS (20 * NS_PER_S)

static struct cluster_nodes nodes;
static struct cluster_client client;
static char dir[64];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test_services_XXXXXX");
    assert_non_null(mkdtemp(dir));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned id = 1; id <= nodes.count; id++)
        if (nodes.nodes[id].pid > 0) {
            int status = cluster_node_end(&nodes, id, SIGTERM);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                fail_msg("node %u ended with wait status %d", id, status);
        }
    cluster_client_close(&client);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return getenv("KEEP") ? 0 : system(command);
}

static void choose_ports(unsigned count)
{
    uint16_t ports[LIMIT_NODES + 1];
    cluster_nodes_init(&nodes, getenv("SURFD"), dir, count);
    for (unsigned id = 1; id <= count; id++)
        ports[id] = nodes.nodes[id].port;
    cluster_client_init(&client, ports, count);
}

static void start(unsigned count, const char *const *extra)
{
    choose_ports(count);
    for (unsigned i = 0; extra && extra[i]; i++)
        nodes.extra[i] = extra[i];
    for (unsigned id = 1; id <= count; id++)
        cluster_node_start(&nodes, id);
}

static struct wire_admin_state state_of(unsigned id)
{
    struct wire_admin_state s;
    int64_t begun = clock_boot_ns();
    while (cluster_client_state(&client, id, 20, &s) != ERR_OK) {
        assert_true(clock_boot_ns() - begun < PATIENCE_NS);
        usleep(5000);
    }
    return s;
}

#define WAIT_UNTIL(condition)                                                                                          \
    for (int64_t begun_ = clock_boot_ns(); !(condition); usleep(5000))                                                 \
        if (clock_boot_ns() - begun_ > PATIENCE_NS)                                                                    \
            fail_msg("waited in vain for %s", #condition);

static enum err once(unsigned id, unsigned method, struct slice message, struct slice payload, struct slice *ret,
                     struct slice *ret_payload)
{
    *ret = *ret_payload = SLICE(NULL, 0);
    return cluster_client_once(&client, id, method, message, payload, ret, ret_payload);
}

static const struct slice nothing;

static struct meta_query_reply query_cluster(void)
{
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply reply;
    cluster_client_query(&client, &query, &reply);
    assert_int_equal(reply.status, ERR_OK);
    return reply;
}

static enum err put(unsigned id, const struct sha256 *ids, const uint32_t *sizes, unsigned count, struct slice payload,
                    bool durable)
{
    struct wire_block_put p = {.durable = durable, .ids = ids, .sizes = sizes, .count = count};
    struct slice message, data;
    return once(id, METHOD_BLOCK_PUT, wire_block_put_encode(&p, &client.arena), payload, &message, &data);
}

static void test_blocks(void **state)
{
    (void)state;
    enum { COUNT = 5 };
    start(1, NULL);
    struct prng prng;
    prng_seed(&prng, 1);
    static uint8_t data[COUNT][LIMIT_BLOCK_BYTES];
    struct sha256 ids[COUNT + 1];
    uint32_t size = LIMIT_BLOCK_BYTES;
    (void)state_of(1);
    for (unsigned i = 0; i < COUNT; i++) {
        for (size_t at = 0; at < sizeof data[i]; at += 8)
            put_u64be(data[i] + at, prng_next(&prng));
        sha256_of(SLICE(data[i], size), &ids[i]);
        assert_int_equal(put(1, &ids[i], &size, 1, SLICE(data[i], size), i % 2), ERR_OK);
    }
    memset(&ids[COUNT], 0xaa, sizeof ids[COUNT]);
    assert_int_equal(put(1, &ids[1], &size, 1, SLICE(data[0], size), true), ERR_CORRUPT);
    assert_int_equal(put(1, &ids[1], &size, 1, SLICE(data[0], size - 1), true), ERR_PROTOCOL);
    const uint32_t small[2] = {3, 5};
    struct sha256 small_ids[2];
    sha256_of(slice_str("abc"), &small_ids[0]), sha256_of(slice_str("defgh"), &small_ids[1]);
    assert_int_equal(put(1, small_ids, small, 2, slice_str("abcdefgh"), true), ERR_OK);

    struct slice message, payload;
    struct err_text why;
    assert_int_equal(once(1, METHOD_BLOCK_SYNC, nothing, nothing, &message, &payload), ERR_OK);
    struct wire_block_ack ack;
    assert_int_equal(wire_block_ack_decode(message, &client.arena, &ack, &why), ERR_OK);
    assert_true(ack.boot_id != 0);

    struct wire_block_ids ask = {.ids = ids, .count = COUNT + 1};
    struct slice encoded = wire_block_ids_encode(&ask, &client.arena);
    assert_int_equal(once(1, METHOD_BLOCK_HAS, encoded, nothing, &message, &payload), ERR_OK);
    struct wire_block_present present;
    assert_int_equal(wire_block_present_decode(message, &client.arena, &present, &why), ERR_OK);
    assert_true(present.boot_id == ack.boot_id);
    assert_int_equal(present.count, COUNT + 1);
    for (unsigned i = 0; i <= COUNT; i++)
        assert_int_equal(present.present[i], i < COUNT);

    /* Several together are no more than one large one: what is behind it is left out, as the absent one is. */
    assert_int_equal(once(1, METHOD_BLOCK_GET, encoded, nothing, &message, &payload), ERR_OK);
    struct wire_block_sizes sizes;
    assert_int_equal(wire_block_sizes_decode(message, payload.size, &client.arena, &sizes, &why), ERR_OK);
    assert_int_equal(sizes.count, COUNT + 1);
    for (unsigned i = 0; i <= COUNT; i++)
        assert_true(sizes.sizes[i] == (i < 1 ? LIMIT_BLOCK_BYTES : WIRE_BLOCK_ABSENT));
    assert_memory_equal(payload.data, data[0], LIMIT_BLOCK_BYTES);
    for (unsigned i = 1; i <= COUNT; i++) {
        struct wire_block_ids one = {.ids = &ids[i], .count = 1};
        assert_int_equal(
            once(1, METHOD_BLOCK_GET, wire_block_ids_encode(&one, &client.arena), nothing, &message, &payload), ERR_OK);
        assert_int_equal(payload.size, i < COUNT ? LIMIT_BLOCK_BYTES : 0);
        if (i < COUNT)
            assert_memory_equal(payload.data, data[i], LIMIT_BLOCK_BYTES);
    }
    assert_int_equal(once(1, METHOD_BLOCK_INFO, nothing, nothing, &message, &payload), ERR_OK);
    struct wire_block_info info;
    assert_int_equal(wire_block_info_decode(message, &client.arena, &info, &why), ERR_OK);
    assert_int_equal(info.node_id, 1);
    assert_true(info.disk_total > 0 && info.boot_id == ack.boot_id);
}

static void test_block_servers_register(void **state)
{
    (void)state;
    start(3, NULL);
    WAIT_UNTIL(query_cluster().cluster.server_count == 3);
    struct meta_query_reply reply = query_cluster();
    for (unsigned i = 0; i < 3; i++) {
        char address[32];
        snprintf(address, sizeof address, "127.0.0.1:%u", nodes.nodes[i + 1].port);
        assert_int_equal(reply.cluster.servers[i].id, i + 1);
        assert_string_equal(reply.cluster.servers[i].address, address);
        assert_true(reply.cluster.servers[i].weight > 0);
    }
    /* Another leader learns of them too. */
    unsigned old = state_of(1).leader;
    assert_int_equal(cluster_client_admin(&client, old % 3 + 1, METHOD_ADMIN_LEADER, nothing), ERR_OK);
    struct wire_admin_state s;
    unsigned reporting;
    do {
        s = state_of(old % 3 + 1);
        reporting = 0;
        for (unsigned i = 0; i < s.block_server_count; i++)
            reporting += s.block_servers[i].reporting;
    } while (reporting < 3 && usleep(5000) == 0);
    assert_int_equal(s.role, RAFT_LEADER);
    assert_true(s.block_servers[2].disk_total > 0);
}

/* A metastore without blocks: one block server is named to it, one names it, one has an id that is taken. */
static void test_block_servers_apart(void **state)
{
    (void)state;
    choose_ports(4);
    char named[32], metastore[32];
    snprintf(named, sizeof named, "127.0.0.1:%u", nodes.nodes[2].port);
    snprintf(metastore, sizeof metastore, "1=127.0.0.1:%u", nodes.nodes[1].port);
    const char *const meta[] = {"-s", "meta", named, NULL}, *const alone[] = {"-s", "block", NULL},
                      *const reports[] = {"-s", "block", "--peers", metastore, NULL},
                      *const taken[] = {"-s", "block", "--peers", metastore, "--id", "2", NULL};
    cluster_node_start_as(&nodes, 1, meta);
    cluster_node_start_as(&nodes, 2, alone);
    WAIT_UNTIL(query_cluster().cluster.server_count == 1);
    cluster_node_start_as(&nodes, 3, reports);
    cluster_node_start_as(&nodes, 4, taken);
    WAIT_UNTIL(query_cluster().cluster.server_count == 2);
    assert_string_equal(query_cluster().cluster.servers[0].address, named);

    struct slice message, payload;
    struct wire_error why;
    assert_int_equal(once(1, METHOD_BLOCK_SYNC, nothing, nothing, &message, &payload), ERR_NO_METHOD);
    assert_int_equal(once(2, METHOD_BLOCK_SYNC, nothing, nothing, &message, &payload), ERR_OK);
    assert_int_equal(once(2, METHOD_META_QUERY, nothing, nothing, &message, &payload), ERR_NO_METHOD);
    wire_error_decode(message, &client.arena, &why);
    assert_non_null(memmem(why.text.data, why.text.size, "no metastore", 12));
    assert_int_equal(once(3, METHOD_ADMIN_LEADER, nothing, nothing, &message, &payload), ERR_NO_METHOD);
    struct wire_admin_state s = state_of(3);
    assert_int_equal(s.roles, WIRE_NODE_BLOCK);
    assert_true(s.disk_total > 0);
    /* The one with the id of another is not taken; its log line and the leader's say so. */
    assert_int_equal(state_of(4).node_id, 2);
    assert_int_equal(query_cluster().cluster.server_count, 2);
}

static void test_elections_by_hand(void **state)
{
    (void)state;
    static const char *const manual[] = {"--election", "manual", NULL};
    start(3, manual);
    for (unsigned id = 1; id <= 3; id++)
        assert_int_equal(state_of(id).term, 0);
    usleep(1200 * 1000); /* longer than any election timer */
    for (unsigned id = 1; id <= 3; id++) {
        assert_int_equal(state_of(id).term, 0);
        assert_true(state_of(id).election_manual);
    }
    struct slice message, payload;
    assert_int_equal(once(1, METHOD_ADMIN_HEARTBEAT, nothing, nothing, &message, &payload), ERR_NO_LEADER);
    assert_int_equal(cluster_client_admin(&client, 1, METHOD_ADMIN_LEADER, nothing), ERR_OK);
    assert_int_equal(cluster_client_admin(&client, 1, METHOD_ADMIN_HEARTBEAT, nothing), ERR_OK);
    WAIT_UNTIL(state_of(2).leader == 1 && state_of(3).leader == 1);
    for (unsigned id = 1; id <= 3; id++) {
        struct wire_admin_state s = state_of(id);
        assert_int_equal(s.term, 1);
        assert_int_equal(s.role, id == 1 ? RAFT_LEADER : RAFT_FOLLOWER);
    }
    assert_int_equal(once(2, METHOD_ADMIN_HEARTBEAT, nothing, nothing, &message, &payload), ERR_NOT_LEADER);
    struct wire_error hint;
    wire_error_decode(message, &client.arena, &hint);
    assert_int_equal(hint.leader_id, 1);
    assert_int_equal(cluster_client_admin(&client, 3, METHOD_ADMIN_LEADER, nothing), ERR_OK);
    assert_int_equal(cluster_client_admin(&client, 3, METHOD_ADMIN_HEARTBEAT, nothing), ERR_OK);
    WAIT_UNTIL(state_of(1).role == RAFT_FOLLOWER && state_of(1).term == 2 && state_of(2).term == 2);
    assert_int_equal(state_of(3).role, RAFT_LEADER);
    WAIT_UNTIL(state_of(3).has_cluster_id);
}

static void test_crash_and_restore(void **state)
{
    (void)state;
    start(3, NULL);
    WAIT_UNTIL(state_of(1).leader != 0);
    unsigned leader = state_of(1).leader, other = leader % 3 + 1;
    struct slice message, payload;
    struct wire_admin_crash crash = {0};
    assert_int_equal(
        cluster_client_admin(&client, leader, METHOD_ADMIN_CRASH, wire_admin_crash_encode(&crash, &client.arena)),
        ERR_OK);
    struct wire_admin_state s = state_of(leader);
    assert_true(s.crashed);
    assert_int_equal(s.role, RAFT_FOLLOWER);
    uint64_t last = s.last;
    WAIT_UNTIL(state_of(other).leader != 0 && state_of(other).leader != leader);
    static const unsigned methods[] = {METHOD_META_CALL,    METHOD_META_QUERY,   METHOD_META_KEEPALIVE,
                                       METHOD_BLOCK_GET,    METHOD_BLOCK_SYNC,   METHOD_BLOCK_INFO,
                                       METHOD_BLOCK_REPORT, METHOD_ADMIN_LEADER, METHOD_ADMIN_HEARTBEAT};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        assert_int_equal(once(leader, methods[i], nothing, nothing, &message, &payload), ERR_CRASHED);
        struct wire_error why;
        wire_error_decode(message, &client.arena, &why);
        assert_true(why.text.size > 0);
    }
    assert_int_equal(state_of(leader).last, last);
    assert_int_equal(cluster_client_admin(&client, leader, METHOD_ADMIN_RESTORE, nothing), ERR_OK);
    WAIT_UNTIL(state_of(leader).applied == state_of(other).applied && state_of(leader).leader != 0);
    assert_false(state_of(leader).crashed);
}

static void test_ignored_members(void **state)
{
    (void)state;
    start(3, NULL);
    WAIT_UNTIL(state_of(1).leader != 0);
    unsigned leader = state_of(1).leader;
    uint32_t others[2] = {leader % 3 + 1, (leader + 1) % 3 + 1}, own = (uint32_t)leader, unknown = 77;
    struct wire_admin_nodes nodes_of = {.ids = others, .count = 2};
    struct slice message, payload;
    for (int bad = 0; bad < 2; bad++) {
        struct wire_admin_nodes list = {.ids = bad ? &own : &unknown, .count = 1};
        assert_int_equal(once(leader, METHOD_ADMIN_UNREACHABLE, wire_admin_nodes_encode(&list, &client.arena), nothing,
                              &message, &payload),
                         ERR_NO_NODE);
    }
    assert_int_equal(cluster_client_admin(&client, leader, METHOD_ADMIN_UNREACHABLE,
                                          wire_admin_nodes_encode(&nodes_of, &client.arena)),
                     ERR_OK);
    assert_int_equal(state_of(leader).unreachable_count, 2);
    /* It hears nobody, notices that it has no majority, and another one leads. */
    WAIT_UNTIL(state_of(leader).role != RAFT_LEADER);
    WAIT_UNTIL(state_of(others[0]).leader != 0 && state_of(others[0]).leader != leader);
    nodes_of.count = 0;
    assert_int_equal(cluster_client_admin(&client, leader, METHOD_ADMIN_UNREACHABLE,
                                          wire_admin_nodes_encode(&nodes_of, &client.arena)),
                     ERR_OK);
    WAIT_UNTIL(state_of(leader).applied == state_of(others[0]).applied && state_of(leader).leader != 0);
}

static void open_session(void)
{
    struct meta_command open = {.op = META_SESSION_OPEN};
    struct meta_reply reply;
    open.session_open.export = slice_str(META_EXPORT_DEFAULT);
    open.session_open.client = slice_str("test");
    random_bytes(open.session_open.nonce, sizeof open.session_open.nonce);
    cluster_client_call(&client, &open, &reply);
    assert_int_equal(reply.status, ERR_OK);
    client.session = reply.session;
}

static enum err keepalive(unsigned id)
{
    struct wire_keepalive k = {.session = client.session};
    struct slice message, payload;
    enum err e = once(id, METHOD_META_KEEPALIVE, wire_keepalive_encode(&k, &client.arena), nothing, &message, &payload);
    if (e == ERR_OK) {
        struct wire_keepalive_reply reply;
        struct err_text why;
        assert_int_equal(wire_keepalive_reply_decode(message, &client.arena, &reply, &why), ERR_OK);
        assert_int_equal(reply.session_timeout_ms, 2000);
    }
    return e;
}

static void test_silent_sessions_end(void **state)
{
    (void)state;
    static const char *const short_timeout[] = {"--session-timeout", "2", NULL};
    start(1, short_timeout);
    open_session();
    /* Longer than the time-out, but never silent for so long. */
    for (int64_t begun = clock_boot_ns(); clock_boot_ns() - begun < 3 * NS_PER_S; usleep(300 * 1000))
        assert_int_equal(keepalive(1), ERR_OK);
    /* The session outlives its leader's process. */
    cluster_node_end(&nodes, 1, SIGKILL);
    cluster_node_start(&nodes, 1);
    WAIT_UNTIL(keepalive(1) == ERR_OK);
    WAIT_UNTIL(state_of(1).session_count == 0);
    assert_int_equal(keepalive(1), ERR_SESSION_EXPIRED);
    struct meta_command command = {.op = META_MKDIR};
    struct meta_reply reply;
    command.make.parent = META_ROOT_INO;
    command.make.name = slice_str("late");
    command.make.mode = S_IFDIR | 0755;
    cluster_client_call(&client, &command, &reply);
    assert_int_equal(reply.status, ERR_SESSION_EXPIRED);
}

static void test_what_was_acknowledged_survives(void **state)
{
    (void)state;
    start(1, NULL);
    open_session();
    struct meta_command command = {.op = META_MKDIR};
    struct meta_reply reply;
    command.make.parent = META_ROOT_INO;
    command.make.name = slice_str("kept");
    command.make.mode = S_IFDIR | 0755;
    cluster_client_call(&client, &command, &reply);
    assert_int_equal(reply.status, ERR_OK);
    /* Behind it others may come, as that of the block server. */
    struct wire_admin_state s = state_of(1);
    assert_true(s.log_count >= 3 && s.log[s.log_count - 1].index <= s.last);
    bool logged = false;
    for (unsigned i = 0; i < s.log_count; i++)
        logged |= memmem(s.log[i].text.data, s.log[i].text.size, "kept", 4) != NULL;
    assert_true(logged);
    for (int round = 0; round < 2; round++) {
        int status = cluster_node_end(&nodes, 1, round ? SIGTERM : SIGKILL);
        assert_true(!round || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
        cluster_node_start(&nodes, 1);
        struct meta_query query = {.op = META_QUERY_LOOKUP, .ino = META_ROOT_INO, .name = slice_str("kept")};
        struct meta_query_reply found;
        cluster_client_query(&client, &query, &found);
        assert_int_equal(found.status, ERR_OK);
        assert_int_equal(found.attr.ino, reply.attr.ino);
    }
    struct wire_admin_crash crash = {.kill = true};
    struct slice message, payload;
    (void)state_of(1);
    assert_int_not_equal(
        once(1, METHOD_ADMIN_CRASH, wire_admin_crash_encode(&crash, &client.arena), nothing, &message, &payload),
        ERR_OK);
    int status;
    assert_int_equal(waitpid(nodes.nodes[1].pid, &status, 0), nodes.nodes[1].pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    nodes.nodes[1].pid = 0;
}

static void test_rubbish_is_refused(void **state)
{
    (void)state;
    const uint64_t seed = 5;
    struct prng prng;
    prng_seed(&prng, seed);
    start(1, NULL);
    open_session();
    for (int i = 0; i < 3000; i++) {
        uint8_t bytes[64];
        for (size_t at = 0; at < sizeof bytes; at++)
            bytes[at] = (uint8_t)prng_next(&prng);
        struct slice message, payload, rubbish = SLICE(bytes, prng_below(&prng, sizeof bytes + 1));
        unsigned method = (unsigned)prng_below(&prng, METHOD_ADMIN_UNREACHABLE + 10);
        if (method == METHOD_ADMIN_CRASH) /* two bytes of rubbish may well ask for it */
            continue;
        arena_reset(&client.arena);
        enum err e = once(1, method, rubbish, rubbish, &message, &payload);
        if (e == ERR_TIMEOUT || e == ERR_CLOSED || e == ERR_UNREACHABLE)
            fail_msg("seed %llu, round %d, method %u: %s", (unsigned long long)seed, i, method, err_name(e));
    }
    assert_true(nodes.nodes[1].pid > 0 && kill(nodes.nodes[1].pid, 0) == 0);
    WAIT_UNTIL(state_of(1).role == RAFT_LEADER);
    /* Commands that are only the leader's are not for clients. */
    struct meta_command own[] = {{.op = META_INIT},
                                 {.op = META_REAP},
                                 {.op = META_BLOCK_SERVER, .block_server = {.id = 1, .address = "a:1", .weight = 1}}};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        struct slice message, payload;
        assert_int_equal(
            once(1, METHOD_META_CALL, wire_meta_command_encode(&own[i], &client.arena), nothing, &message, &payload),
            ERR_PERM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_block_servers_register, setup, teardown),
        cmocka_unit_test_setup_teardown(test_block_servers_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_elections_by_hand, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crash_and_restore, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ignored_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silent_sessions_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_acknowledged_survives, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rubbish_is_refused, setup, teardown),
    };
    if (!getenv("SURFD")) {
        fprintf(stderr, "SURFD in the environment must name the daemon\n");
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
