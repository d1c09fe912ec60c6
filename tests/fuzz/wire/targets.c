#include "tests/fuzz/wire/targets.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/fuzz/wire/samples.h"

static struct slice join(struct arena *a, uint32_t number, struct slice message, struct slice payload)
{
    uint8_t *to = arena_alloc(a, 4 + message.size + payload.size);
    put_u32be(to, number);
    if (message.size > 0)
        memcpy(to + 4, message.data, message.size);
    if (payload.size > 0)
        memcpy(to + 4 + message.size, payload.data, payload.size);
    return SLICE(to, 4 + message.size + payload.size);
}

/* A copy without slack behind it, so that a sanitizer sees the first byte that is read too far. */
static uint8_t *exact(struct slice s)
{
    return s.size > 0 ? mem_dup(s.data, s.size) : mem_zalloc(1);
}

static bool refused(enum err e, const struct err_text *why)
{
    if (e == ERR_OK)
        return false;
    CHECK((e == ERR_PROTOCOL || e == ERR_LEVEL) && why->text[0]);
    return true;
}

#define SIMPLE_RUN(name, type, decode)                                                                                 \
    static bool run_##name(struct slice input)                                                                         \
    {                                                                                                                  \
        struct arena a = {0};                                                                                          \
        struct err_text why = {{0}};                                                                                   \
        struct type value, again;                                                                                      \
        uint8_t *copy = exact(input);                                                                                  \
        bool accepted = !refused(decode(SLICE(copy, input.size), &a, &value, &why), &why);                             \
        if (accepted) {                                                                                                \
            struct slice first = name##_encode(&value, &a);                                                            \
            CHECK(decode(first, &a, &again, &why) == ERR_OK);                                                          \
            CHECK(slice_equal(first, name##_encode(&again, &a)));                                                      \
        }                                                                                                              \
        arena_free(&a);                                                                                                \
        free(copy);                                                                                                    \
        return accepted;                                                                                               \
    }
#define SIMPLE(name, type) SIMPLE_RUN(name, type, name##_decode)

SIMPLE(wire_hello, wire_hello)
SIMPLE(wire_meta_command, meta_command)
SIMPLE(wire_meta_reply, meta_reply)
SIMPLE(wire_meta_query, meta_query)
SIMPLE(wire_meta_query_reply, meta_query_reply)
SIMPLE(wire_keepalive, wire_keepalive)
SIMPLE(wire_durable_ack, durability_ack)
SIMPLE(wire_keepalive_reply, wire_keepalive_reply)
SIMPLE(wire_notices, wire_notices)
SIMPLE(wire_notices_query, wire_notices_query)
SIMPLE(wire_changes, wire_changes)
SIMPLE(wire_changes_query, wire_changes_query)
SIMPLE(wire_kv_events, wire_kv_events)
SIMPLE(wire_kv_events_query, wire_kv_events_query)
SIMPLE(wire_block_ack, wire_block_ack)
SIMPLE(wire_block_present, wire_block_present)
SIMPLE(wire_block_info, wire_block_info)
SIMPLE(wire_admin_state_query, wire_admin_state_query)
SIMPLE(wire_admin_state, wire_admin_state)
SIMPLE(wire_admin_crash, wire_admin_crash)
SIMPLE(wire_admin_nodes, wire_admin_nodes)
SIMPLE(wire_admin_server_change, wire_admin_server_change)
SIMPLE(wire_admin_export, wire_admin_export)
SIMPLE(wire_admin_replicas, wire_admin_replicas)
SIMPLE(wire_members, wire_members)
SIMPLE(wire_files_query, meta_files_query)
SIMPLE(wire_files, meta_files)
SIMPLE(wire_check_query, wire_check_query)
SIMPLE(wire_check, wire_check)
SIMPLE(wire_ids_query, wire_ids_query)
SIMPLE(wire_ids, wire_ids)

static enum err error_decode(struct slice s, struct arena *a, struct wire_error *ret, struct err_text *why)
{
    (void)why;
    wire_error_decode(s, a, ret);
    return ERR_OK;
}
SIMPLE_RUN(wire_error, wire_error, error_decode)

static enum err ids_decode(struct slice s, struct arena *a, struct wire_block_ids *ret, struct err_text *why)
{
    return wire_block_ids_decode(s, LIMIT_HASHES_PER_FRAME, a, ret, why);
}
SIMPLE_RUN(wire_block_ids, wire_block_ids, ids_decode)

/* The decoders that are told the payload's size. */
static _Thread_local size_t payload_size;

static enum err put_decode(struct slice s, struct arena *a, struct wire_block_put *ret, struct err_text *why)
{
    return wire_block_put_decode(s, payload_size, a, ret, why);
}
SIMPLE_RUN(wire_block_put, wire_block_put, put_decode)

static enum err sizes_decode(struct slice s, struct arena *a, struct wire_block_sizes *ret, struct err_text *why)
{
    return wire_block_sizes_decode(s, payload_size, a, ret, why);
}
SIMPLE_RUN(wire_block_sizes, wire_block_sizes, sizes_decode)

static bool with_payload_size(struct slice input, bool (*run)(struct slice))
{
    struct cursor c = cursor_of(input);
    payload_size = cursor_u32(&c);
    return cursor_ok(&c) && run(slice_sub(input, 4, input.size - 4));
}
static bool run_block_put(struct slice input)
{
    return with_payload_size(input, run_wire_block_put);
}
static bool run_block_sizes(struct slice input)
{
    return with_payload_size(input, run_wire_block_sizes);
}

static bool run_raft(struct slice input)
{
    struct cursor c = cursor_of(input);
    uint32_t size = cursor_u32(&c);
    struct slice message = cursor_take(&c, size);
    if (!cursor_ok(&c))
        return false;
    struct slice payload = slice_sub(input, 4 + size, input.size - 4 - size);
    struct arena a = {0};
    struct err_text why = {{0}};
    struct raft_message value, again;
    uint8_t *message_copy = exact(message), *payload_copy = exact(payload);
    bool accepted = !refused(
        wire_raft_decode(SLICE(message_copy, message.size), SLICE(payload_copy, payload.size), &a, &value, &why), &why);
    if (accepted) {
        struct slice first[2], second[2];
        wire_raft_encode(&value, &a, &first[0], &first[1]);
        CHECK(slice_equal(first[1], payload));
        CHECK(wire_raft_decode(first[0], first[1], &a, &again, &why) == ERR_OK);
        wire_raft_encode(&again, &a, &second[0], &second[1]);
        CHECK(slice_equal(first[0], second[0]) && slice_equal(first[1], second[1]));
    }
    arena_free(&a);
    free(message_copy), free(payload_copy);
    return accepted;
}

#define MAKE(name, type, ...)                                                                                          \
    static struct slice make_##name(struct prng *p, struct arena *a)                                                   \
    {                                                                                                                  \
        struct type value = {0};                                                                                       \
        __VA_ARGS__;                                                                                                   \
        return name##_encode(&value, a);                                                                               \
    }
#define FEW 6

MAKE(wire_hello, wire_hello, sample_hello(p, a, &value))
MAKE(wire_error, wire_error, sample_error(p, a, &value))
MAKE(wire_meta_command, meta_command,
     sample_command(p, a, (enum meta_op)prng_between(p, META_INIT, META_OP_LAST), &value))
MAKE(wire_meta_reply, meta_reply, sample_reply(p, a, &value))
MAKE(wire_meta_query, meta_query,
     sample_query(p, a, (enum meta_query_op)prng_between(p, META_QUERY_LOOKUP, META_QUERY_LAST), &value))
MAKE(wire_meta_query_reply, meta_query_reply, sample_query_reply(p, a, FEW, &value))
MAKE(wire_durable_ack, durability_ack, value.id = 1 + (uint32_t)prng_below(p, 9),
     value.term = sample_u64(p, 1, UINT64_MAX), value.config_index = prng_next(p),
     value.voters = 1 + (unsigned)prng_below(p, LIMIT_NODES), value.leader = prng_below(p, 2))
MAKE(wire_keepalive, wire_keepalive, value.session = sample_u64(p, 1, UINT64_MAX))
MAKE(wire_keepalive_reply, wire_keepalive_reply, value.map_version = prng_next(p), value.session_timeout_ms = 60000)
MAKE(wire_notices, wire_notices, sample_notices(p, a, FEW, &value))
MAKE(wire_notices_query, wire_notices_query, sample_notices_query(p, a, FEW, &value))
MAKE(wire_changes, wire_changes, sample_changes(p, a, FEW, &value))
MAKE(wire_changes_query, wire_changes_query, sample_changes_query(p, a, &value))
MAKE(wire_kv_events, wire_kv_events, sample_kv_events(p, a, FEW, &value))
MAKE(wire_kv_events_query, wire_kv_events_query, sample_kv_events_query(p, a, &value))
MAKE(wire_block_ack, wire_block_ack, value.boot_id = prng_next(p))
MAKE(wire_block_ids, wire_block_ids, value.count = (unsigned)prng_between(p, 1, FEW),
     value.ids = (const void *)sample_bytes(p, a, FEW * 32, FEW * 32).data, value.sure = prng_below(p, 2))
MAKE(wire_block_present, wire_block_present, sample_block_present(p, a, (unsigned)prng_below(p, 50), &value))
MAKE(wire_block_info, wire_block_info, sample_block_info(p, a, &value))
MAKE(wire_admin_state_query, wire_admin_state_query, value.log_entries = (uint32_t)prng_below(p, 101))
MAKE(wire_admin_state, wire_admin_state, sample_admin_state(p, a, FEW, &value))
MAKE(wire_admin_crash, wire_admin_crash, value.kill = prng_below(p, 2))
MAKE(wire_files_query, meta_files_query, sample_files_query(p, a, &value))
MAKE(wire_files, meta_files, sample_files(p, a, FEW, &value))
MAKE(wire_check_query, wire_check_query, sample_check_query(p, a, FEW, &value))
MAKE(wire_check, wire_check, sample_check(p, a, FEW, &value))
MAKE(wire_ids_query, wire_ids_query, sample_ids_query(p, a, FEW, &value))
MAKE(wire_ids, wire_ids, sample_ids_page(p, a, FEW, &value))
MAKE(wire_admin_nodes, wire_admin_nodes, static const uint32_t ids[] = {1, 2, 3, 900000}; value.ids = ids;
     value.count = (unsigned)prng_below(p, 5))
MAKE(wire_admin_server_change, wire_admin_server_change,
     value.change = (enum meta_server_change)prng_between(p, META_SERVER_DRAIN, META_SERVER_CHANGE_LAST),
     value.id = (uint32_t)sample_u64(p, 1, UINT32_MAX), value.lost = prng_below(p, 2),
     value.weight = value.change == META_SERVER_WEIGHT ? sample_u64(p, 1, META_WEIGHT_MAX) : 0)
MAKE(wire_admin_export, wire_admin_export, value.name = sample_bytes(p, a, 1, LIMIT_EXPORT_BYTES);
     value.mask = (uint32_t)prng_below(p, META_EXPORT_OPTIONS_ALL + 1);
     value.options = value.mask & (uint32_t)prng_next(p))
MAKE(wire_admin_replicas, wire_admin_replicas, value.count = (uint32_t)prng_between(p, 1, LIMIT_REPLICAS))
MAKE(wire_members, wire_members, value.map_version = prng_next(p), value.count = (unsigned)prng_below(p, 5);
     for (unsigned i = 0; i < value.count; i++) value.list[i].id = i + 1, value.list[i].address = sample_address(p, a))

static struct slice make_raft(struct prng *p, struct arena *a)
{
    struct raft_message m;
    struct slice message, payload;
    enum raft_message_type type = (enum raft_message_type)prng_between(p, RAFT_MSG_PREVOTE, RAFT_MSG_LAST);
    if (prng_below(p, 2))
        type = RAFT_MSG_APPEND;
    sample_raft(p, a, type, type == RAFT_MSG_APPEND ? (unsigned)prng_below(p, FEW) : 0, &m);
    wire_raft_encode(&m, a, &message, &payload);
    return join(a, (uint32_t)message.size, message, payload);
}
static struct slice make_block_put(struct prng *p, struct arena *a)
{
    struct wire_block_put put;
    size_t size;
    sample_block_put(p, a, (unsigned)prng_between(p, 1, FEW), &put, &size);
    return join(a, (uint32_t)size, wire_block_put_encode(&put, a), SLICE(NULL, 0));
}
static struct slice make_block_sizes(struct prng *p, struct arena *a)
{
    struct wire_block_sizes sizes;
    size_t size;
    sample_block_sizes(p, a, (unsigned)prng_below(p, FEW), &sizes, &size);
    return join(a, (uint32_t)size, wire_block_sizes_encode(&sizes, a), SLICE(NULL, 0));
}

const struct wire_target wire_targets[] = {
    {"hello", run_wire_hello, make_wire_hello},
    {"error", run_wire_error, make_wire_error},
    {"raft", run_raft, make_raft},
    {"meta_command", run_wire_meta_command, make_wire_meta_command},
    {"meta_reply", run_wire_meta_reply, make_wire_meta_reply},
    {"meta_query", run_wire_meta_query, make_wire_meta_query},
    {"meta_query_reply", run_wire_meta_query_reply, make_wire_meta_query_reply},
    {"durable_ack", run_wire_durable_ack, make_wire_durable_ack},
    {"keepalive", run_wire_keepalive, make_wire_keepalive},
    {"keepalive_reply", run_wire_keepalive_reply, make_wire_keepalive_reply},
    {"notices", run_wire_notices, make_wire_notices},
    {"notices_query", run_wire_notices_query, make_wire_notices_query},
    {"changes", run_wire_changes, make_wire_changes},
    {"changes_query", run_wire_changes_query, make_wire_changes_query},
    {"kv_events", run_wire_kv_events, make_wire_kv_events},
    {"kv_events_query", run_wire_kv_events_query, make_wire_kv_events_query},
    {"block_put", run_block_put, make_block_put},
    {"block_ack", run_wire_block_ack, make_wire_block_ack},
    {"block_ids", run_wire_block_ids, make_wire_block_ids},
    {"block_sizes", run_block_sizes, make_block_sizes},
    {"block_present", run_wire_block_present, make_wire_block_present},
    {"block_info", run_wire_block_info, make_wire_block_info},
    {"admin_state_query", run_wire_admin_state_query, make_wire_admin_state_query},
    {"admin_state", run_wire_admin_state, make_wire_admin_state},
    {"admin_crash", run_wire_admin_crash, make_wire_admin_crash},
    {"admin_nodes", run_wire_admin_nodes, make_wire_admin_nodes},
    {"admin_server_change", run_wire_admin_server_change, make_wire_admin_server_change},
    {"admin_replicas", run_wire_admin_replicas, make_wire_admin_replicas},
    {"admin_export", run_wire_admin_export, make_wire_admin_export},
    {"members", run_wire_members, make_wire_members},
    {"files_query", run_wire_files_query, make_wire_files_query},
    {"files", run_wire_files, make_wire_files},
    {"check_query", run_wire_check_query, make_wire_check_query},
    {"check", run_wire_check, make_wire_check},
    {"ids_query", run_wire_ids_query, make_wire_ids_query},
    {"ids", run_wire_ids, make_wire_ids},
};
const unsigned wire_target_count = ARRAY_SIZE(wire_targets);

const struct wire_target *wire_target_named(const char *name)
{
    for (unsigned i = 0; i < wire_target_count; i++)
        if (strcmp(wire_targets[i].name, name) == 0)
            return &wire_targets[i];
    CHECK(!"a target of that name");
}
