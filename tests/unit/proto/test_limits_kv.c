/* As test_limits.c: what is said of the key/value space. */
#include "by_hand.h"

struct raw_change {
    uint64_t kind, type;
    size_t key, value, expected;
    uint64_t version, ttl_ns;
    const char *list;
    char first; /* of the key */
};

static struct slice change(const struct raw_change *c)
{
    struct slice key = filled(c->key, c->first ? c->first : 'k');
    number(1, c->kind), number(2, c->type), blob(3, key);
    blob(4, c->list ? SLICE(c->list, c->value) : filled(c->value, 'v'));
    number(5, c->version), blob(6, filled(c->expected, 'e')), number(7, c->ttl_ns);
    return written();
}

static enum err changes(const struct raw_change *c, unsigned count)
{
    struct meta_command got;
    struct slice parts[LIMIT_KV_KEYS + 1];
    for (unsigned i = 0; i < count; i++) {
        struct raw_change one = *c;
        one.first = (char)(i + 1);
        parts[i] = change(count > 1 ? &one : c);
    }
    for (unsigned i = 0; i < count; i++)
        blob(1, parts[i]);
    struct slice body = written();
    number(1, META_KV), blob(56, body);
    return wire_meta_command_decode(written(), &a, &got, &why);
}
#define ONE(...) changes(&(struct raw_change){__VA_ARGS__}, 1)

static void test_changes(void **state)
{
    (void)state;
    accepted(ONE(.kind = META_KV_PUT, .type = META_KV_BYTES, .key = LIMIT_KV_KEY_BYTES, .value = LIMIT_KV_VALUE_BYTES));
    accepted(ONE(.kind = META_KV_PUT, .type = META_KV_BYTES, .key = 1, .value = 0, .ttl_ns = META_KV_TTL_MAX_NS));
    accepted(ONE(.kind = META_KV_CAS, .type = META_KV_BYTES, .key = 1, .value = 1, .version = 1));
    accepted(ONE(.kind = META_KV_DELETE, .type = META_KV_BYTES, .key = 1, .value = 0));
    accepted(ONE(.kind = META_KV_SET, .type = META_KV_LIST, .key = 1, .value = 9, .list = "\0\0\0\1x\0\0\0\0"));
    refused(ONE(.kind = 0, .type = META_KV_BYTES, .key = 1), "kind", "0");
    refused(ONE(.kind = META_KV_KIND_LAST + 1, .type = META_KV_BYTES, .key = 1), "kind", "7");
    refused(ONE(.kind = META_KV_PUT, .type = 0, .key = 1), "type", "0");
    refused(ONE(.kind = META_KV_PUT, .type = META_KV_TYPE_LAST + 1, .key = 1), "type", "3");
    refused(ONE(.kind = META_KV_APPEND, .type = META_KV_LIST, .key = 1), "type", "2");
    refused(ONE(.kind = META_KV_PUT, .type = META_KV_BYTES, .key = 0), "key", "0");
    refused(ONE(.kind = META_KV_PUT, .type = META_KV_BYTES, .key = LIMIT_KV_KEY_BYTES + 1), "key", "1025");
    refused(ONE(.kind = META_KV_PUT, .type = META_KV_BYTES, .key = 1, .value = LIMIT_KV_VALUE_BYTES + 1), "value",
            "1048577");
    refused(ONE(.kind = META_KV_DELETE, .type = META_KV_BYTES, .key = 1, .value = 1), "value", "1");
    refused(ONE(.kind = META_KV_CAS, .type = META_KV_BYTES, .key = 1, .value = 1), "expected_version", "0");
    refused(ONE(.kind = META_KV_PUT, .type = META_KV_BYTES, .key = 1, .value = 1, .version = 7), "expected_version",
            "7");
    refused(ONE(.kind = META_KV_PUT, .type = META_KV_BYTES, .key = 1, .value = 1, .expected = 3), "expected_value",
            "3");
    refused(ONE(.kind = META_KV_PUT, .type = META_KV_BYTES, .key = 1, .ttl_ns = (uint64_t)META_KV_TTL_MAX_NS + 1),
            "ttl_ns", "3153600000000000001");
    refused(ONE(.kind = META_KV_DELETE, .type = META_KV_BYTES, .key = 1, .ttl_ns = 1), "ttl_ns", "1");
    refused(ONE(.kind = META_KV_PUT, .type = META_KV_LIST, .key = 1, .value = 5, .list = "\0\0\0\2x"), "value", "5");
    refused(ONE(.kind = META_KV_PUT, .type = META_KV_LIST, .key = 1, .value = 3, .list = "\0\0\0"), "value", "3");
    /* Each may be as large as it likes, but not all of them. */
    refused(ONE(.kind = META_KV_CAS_VALUE, .type = META_KV_BYTES, .key = 1, .value = LIMIT_KV_VALUE_BYTES,
                .expected = LIMIT_KV_VALUE_BYTES),
            "command", "");
    refused(ONE(.kind = META_KV_CAS_VALUE, .type = META_KV_BYTES, .key = 1, .value = LIMIT_KV_VALUE_BYTES,
                .expected = 32 * KIB),
            "bytes", "1081345");
}

static void test_many_changes(void **state)
{
    (void)state;
    accepted(changes(&(struct raw_change){.kind = META_KV_PUT, .type = META_KV_BYTES, .key = 1, .value = 8 * KIB},
                     LIMIT_KV_KEYS));
    refused(changes(&(struct raw_change){.kind = META_KV_PUT, .type = META_KV_BYTES, .key = 1}, 0), "changes", "0");
    refused(changes(&(struct raw_change){.kind = META_KV_PUT, .type = META_KV_BYTES, .key = 1}, LIMIT_KV_KEYS + 1),
            "changes", "129");
    struct raw_change same = {.kind = META_KV_PUT, .type = META_KV_BYTES, .key = 5, .value = 5};
    struct slice one = change(&same);
    struct meta_command got;
    blob(1, one), blob(1, one);
    struct slice body = written();
    number(1, META_KV), blob(56, body);
    refused(wire_meta_command_decode(written(), &a, &got, &why), "key", "1");
}

static enum err get(unsigned count, size_t key_bytes)
{
    struct meta_query q;
    number(1, META_QUERY_KV_GET);
    for (unsigned i = 0; i < count; i++)
        blob(40, filled(key_bytes, 'k'));
    return wire_meta_query_decode(written(), &a, &q, &why);
}

static enum err list(enum meta_query_op op, size_t prefix, size_t after, unsigned max_count)
{
    struct meta_query q;
    number(1, op), number(3, 1), number(8, max_count);
    blob(41, filled(prefix, 'p')), blob(42, filled(after, 'a'));
    return wire_meta_query_decode(written(), &a, &q, &why);
}

static void test_queries(void **state)
{
    (void)state;
    accepted(get(LIMIT_KV_KEYS, LIMIT_KV_KEY_BYTES));
    refused(get(0, 1), "keys", "0");
    refused(get(LIMIT_KV_KEYS + 1, 1), "keys", "129");
    refused(get(1, 0), "key", "0");
    refused(get(1, LIMIT_KV_KEY_BYTES + 1), "key", "1025");
    accepted(list(META_QUERY_KV_LIST, LIMIT_KV_KEY_BYTES, LIMIT_KV_KEY_BYTES, LIMIT_KV_LIST_ENTRIES));
    refused(list(META_QUERY_KV_LIST, LIMIT_KV_KEY_BYTES + 1, 0, 0), "prefix", "1025");
    refused(list(META_QUERY_KV_LIST, 0, LIMIT_KV_KEY_BYTES + 1, 0), "after", "1025");
    refused(list(META_QUERY_KV_LIST, 0, 0, LIMIT_KV_LIST_ENTRIES + 1), "max_count", "1025");
    refused(list(META_QUERY_GETATTR, 3, 0, 0), "prefix", "3");
}

static enum err entries(unsigned count, uint64_t type, size_t value, uint64_t size)
{
    struct meta_query_reply r;
    number(2, type), blob(3, filled(value, 'v')), number(4, size), number(5, 1);
    struct slice entry = written();
    for (unsigned i = 0; i < count; i++)
        blob(40, entry);
    return wire_meta_query_reply_decode(written(), &a, &r, &why);
}

static enum err events(unsigned count, uint64_t kind, size_t key)
{
    struct wire_kv_events e;
    number(3, kind), blob(5, filled(key, 'k'));
    struct slice event = written();
    for (unsigned i = 0; i < count; i++)
        blob(3, event);
    return wire_kv_events_decode(written(), &a, &e, &why);
}

static void test_answers(void **state)
{
    (void)state;
    accepted(entries(1, META_KV_BYTES, LIMIT_KV_VALUE_BYTES, LIMIT_KV_VALUE_BYTES));
    accepted(entries(LIMIT_KV_LIST_ENTRIES, META_KV_BYTES, 0, 5));
    refused(entries(LIMIT_KV_LIST_ENTRIES + 1, META_KV_BYTES, 0, 5), "kv", "1025");
    refused(entries(1, 3, 0, 5), "type", "3");
    refused(entries(1, META_KV_BYTES, 6, 5), "value", "6");
    refused(entries(1, META_KV_BYTES, 0, LIMIT_KV_VALUE_BYTES + 1), "size", "1048577");
    refused(entries(1, META_KV_LIST, 5, 5), "value", "5");
    accepted(events(WIRE_KV_EVENTS, META_KV_EVENT_LAST, LIMIT_KV_KEY_BYTES));
    refused(events(WIRE_KV_EVENTS + 1, 1, 1), "event", "513");
    refused(events(1, 0, 1), "kind", "0");
    refused(events(1, 4, 1), "kind", "4");
    refused(events(1, 1, 0), "key", "0");
    struct wire_kv_events_query q;
    blob(3, filled(LIMIT_KV_KEY_BYTES + 1, 'p'));
    refused(wire_kv_events_query_decode(written(), &a, &q, &why), "prefix", "1025");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(test_changes), TEST(test_many_changes), TEST(test_queries),
                                       TEST(test_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
