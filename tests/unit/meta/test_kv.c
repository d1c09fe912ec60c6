/* The key/value space: what each change does, versions, expiry, pages. */
#include "tests/unit/meta/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meta/store.h"

#define SECOND_NS ((int64_t)FIXTURE_STEP_NS)

static struct meta_reply change(struct fixture *f, const struct meta_kv_change *c, unsigned count)
{
    return fixture_call(f, (struct meta_command){.op = META_KV, .kv = {.changes = c, .count = count}});
}

static struct meta_kv_change change_of(enum meta_kv_kind kind, const char *key, const char *value)
{
    return (struct meta_kv_change){
        .kind = kind, .type = META_KV_BYTES, .key = slice_str(key), .value = slice_str(value)};
}

static struct meta_reply put(struct fixture *f, const char *key, const char *value, int64_t ttl_ns)
{
    struct meta_kv_change c = change_of(META_KV_PUT, key, value);
    c.ttl_ns = ttl_ns;
    return change(f, &c, 1);
}

static struct meta_reply set(struct fixture *f, const char *key, const char *value)
{
    struct meta_kv_change c = change_of(META_KV_SET, key, value);
    return change(f, &c, 1);
}

static struct meta_reply cas(struct fixture *f, const char *key, uint64_t version, const char *value)
{
    struct meta_kv_change c = change_of(META_KV_CAS, key, value);
    c.expected_version = version;
    return change(f, &c, 1);
}

static struct meta_reply append(struct fixture *f, const char *key, const char *element)
{
    struct meta_kv_change c = change_of(META_KV_APPEND, key, element);
    return change(f, &c, 1);
}

static struct meta_reply delete (struct fixture *f, const char *key, uint64_t version)
{
    struct meta_kv_change c = change_of(META_KV_DELETE, key, "");
    c.expected_version = version;
    return change(f, &c, 1);
}

static struct meta_kv_entry get(struct fixture *f, const char *key)
{
    struct slice keys[] = {slice_str(key)};
    struct meta_query_reply r =
        fixture_query(f, (struct meta_query){.op = META_QUERY_KV_GET, .keys = keys, .key_count = 1});
    assert_status(r, ERR_OK);
    assert_int_equal(r.kv_count, 1);
    return r.kv[0];
}

static void assert_value(struct fixture *f, const char *key, const char *value)
{
    struct meta_kv_entry e = get(f, key);
    assert_true(e.found);
    assert_true(slice_equal(e.value, slice_str(value)));
    assert_int_equal(e.size, strlen(value));
}

static void each_change_does_what_it_says(void **state)
{
    struct fixture *f = *state;
    assert_status(cas(f, "k", 1, "x"), ERR_NOT_FOUND);
    assert_status(delete (f, "k", 0), ERR_NOT_FOUND);
    struct meta_reply r = set(f, "k", "one");
    assert_status(r, ERR_OK);
    uint64_t version = r.kv_version;
    r = set(f, "k", "two");
    assert_status(r, ERR_EXIST);
    assert_int_equal(r.kv_version, version);
    assert_value(f, "k", "one");
    assert_status(cas(f, "k", version + 1, "two"), ERR_VERSION);
    r = cas(f, "k", version, "two");
    assert_status(r, ERR_OK);
    assert_int_equal(r.kv_version, version + 1);
    r = put(f, "k", "three", 0);
    assert_int_equal(r.kv_version, version + 2);
    struct meta_kv_change by_value = change_of(META_KV_CAS_VALUE, "k", "four");
    by_value.expected_value = slice_str("two");
    assert_status(change(f, &by_value, 1), ERR_VERSION);
    by_value.expected_value = slice_str("three");
    assert_status(change(f, &by_value, 1), ERR_OK);
    assert_value(f, "k", "four");
    assert_status(append(f, "k", "x"), ERR_WRONG_TYPE);
    assert_status(delete (f, "k", version), ERR_VERSION);
    assert_status(delete (f, "k", version + 3), ERR_OK);
    assert_false(get(f, "k").found);
    assert_int_equal(f->meta->state.kv_keys, 0);
    assert_int_equal(f->meta->state.kv_bytes, 0);
}

static void lists_grow_at_their_end_up_to_the_limit(void **state)
{
    struct fixture *f = *state;
    assert_status(append(f, "l", "cat"), ERR_OK);
    assert_status(append(f, "l", ""), ERR_OK);
    struct meta_kv_entry e = get(f, "l");
    assert_int_equal(e.type, META_KV_LIST);
    assert_true(slice_equal(e.value, SLICE("\0\0\0\3cat\0\0\0", 11)));
    char *large = mem_zalloc(LIMIT_KV_VALUE_BYTES);
    memset(large, 'x', LIMIT_KV_VALUE_BYTES - 1);
    struct meta_kv_change c = {.kind = META_KV_APPEND, .type = META_KV_BYTES, .key = slice_str("l")};
    c.value = SLICE(large, LIMIT_KV_VALUE_BYTES - 11 - 4 + 1);
    assert_status(change(f, &c, 1), ERR_TOO_BIG);
    c.value.size--;
    assert_status(change(f, &c, 1), ERR_OK);
    assert_int_equal(get(f, "l").size, LIMIT_KV_VALUE_BYTES);
    free(large);
}

static void a_version_is_never_used_twice(void **state)
{
    struct fixture *f = *state;
    uint64_t last = 0;
    for (int i = 0; i < 5; i++) {
        struct meta_reply r = set(f, "k", "x");
        assert_true(r.kv_version > last);
        for (int k = 0; k < 3; k++)
            last = put(f, "k", "y", 0).kv_version;
        assert_status(delete (f, "k", last), ERR_OK);
    }
    /* An expired one too. */
    last = put(f, "k", "x", SECOND_NS / 2).kv_version;
    assert_true(set(f, "k", "y").kv_version > last);
}

static void several_changes_happen_together_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    set(f, "b", "there");
    struct meta_kv_change c[] = {change_of(META_KV_PUT, "a", "1"), change_of(META_KV_SET, "b", "2"),
                                 change_of(META_KV_PUT, "c", "3")};
    struct meta_reply r = change(f, c, 3);
    assert_status(r, ERR_EXIST);
    assert_int_equal(r.kv_refused, 1);
    assert_false(get(f, "a").found);
    unsigned count;
    (void)meta_kv_events(f->meta, &count);
    assert_int_equal(count, 0);
    c[1].kind = META_KV_PUT;
    assert_status(change(f, c, 3), ERR_OK);
    const struct meta_kv_event *events = meta_kv_events(f->meta, &count);
    assert_int_equal(count, 3);
    assert_true(events[2].kind == META_KV_CHANGED && slice_equal(events[2].key, slice_str("c")));
    struct slice keys[] = {slice_str("a"), slice_str("b"), slice_str("x"), slice_str("c")};
    struct meta_query_reply q =
        fixture_query(f, (struct meta_query){.op = META_QUERY_KV_GET, .keys = keys, .key_count = 4});
    assert_true(q.kv[0].found && q.kv[1].found && !q.kv[2].found && q.kv[3].found);
    assert_true(slice_equal(q.kv[1].value, slice_str("2")));
}

static void a_repeated_request_gets_its_first_answer(void **state)
{
    struct fixture *f = *state;
    struct meta_kv_change c = change_of(META_KV_APPEND, "l", "x");
    struct meta_command command = {.op = META_KV, .kv = {.changes = &c, .count = 1}};
    struct meta_reply first = fixture_call(f, command);
    command.session = f->session, command.seq = f->seq, command.acked = f->seq - 1;
    struct meta_reply again = fixture_apply(f, command);
    assert_status(again, ERR_OK);
    assert_int_equal(again.kv_version, first.kv_version);
    assert_int_equal(get(f, "l").size, 5);
    assert_status(set(f, "l", "x"), ERR_EXIST);
    struct meta_kv_change refused = change_of(META_KV_SET, "l", "x");
    command = (struct meta_command){.op = META_KV, .kv = {.changes = &refused, .count = 1}};
    command.session = f->session, command.seq = f->seq, command.acked = f->seq - 1;
    again = fixture_apply(f, command);
    assert_status(again, ERR_EXIST);
    assert_int_equal(again.kv_version, first.kv_version);
}

/* Every entry is a second later than the one before. */
static void keys_expire_by_the_time_in_the_log(void **state)
{
    struct fixture *f = *state;
    put(f, "k", "x", 3 * SECOND_NS);
    int64_t next_ns;
    assert_int_equal(meta_kv_expiry(f->meta, INT64_MAX, &next_ns), ERR_OK);
    assert_int_equal(next_ns, f->time_ns + 3 * SECOND_NS);
    put(f, "other", "x", 0);
    put(f, "other", "x", 0);
    assert_true(get(f, "k").found);
    assert_int_equal(get(f, "k").ttl_ns, 3 * SECOND_NS);
    assert_int_equal(meta_apply_nothing(f->meta, ++f->index, 1), ERR_OK); /* no entry of a leader: no time passes */
    assert_true(get(f, "k").found);
    put(f, "other", "x", 0);
    assert_false(get(f, "k").found);
    assert_int_equal(f->meta->state.kv_keys, 2); /* it is only as good as gone */
    struct meta_reply r = fixture_apply(f, (struct meta_command){.op = META_KV_EXPIRE});
    assert_status(r, ERR_OK);
    assert_false(r.more);
    unsigned count;
    const struct meta_kv_event *events = meta_kv_events(f->meta, &count);
    assert_int_equal(count, 1);
    assert_true(events[0].kind == META_KV_EXPIRED && slice_equal(events[0].key, slice_str("k")));
    assert_int_equal(f->meta->state.kv_keys, 1);
    assert_int_equal(rows_of(f, 't'), 0);
    assert_int_equal(meta_kv_expiry(f->meta, INT64_MAX, &next_ns), ERR_OK);
    assert_int_equal(next_ns, INT64_MAX);
}

static void a_change_replaces_the_time_to_live(void **state)
{
    struct fixture *f = *state;
    struct meta_reply r = put(f, "k", "x", 2 * SECOND_NS);
    assert_status(cas(f, "k", r.kv_version, "y"), ERR_OK);
    struct meta_kv_change c = change_of(META_KV_APPEND, "l", "x");
    c.ttl_ns = 4 * SECOND_NS;
    change(f, &c, 1);
    assert_status(append(f, "l", "y"), ERR_OK); /* keeps it */
    assert_value(f, "k", "y");
    assert_int_equal(get(f, "k").ttl_ns, 0);
    assert_int_equal(get(f, "l").ttl_ns, 4 * SECOND_NS);
    assert_int_equal(rows_of(f, 't'), 1);
    put(f, "k", "z", 0);
    put(f, "k", "z", 0);
    assert_true(get(f, "l").found);
    put(f, "k", "z", 0);
    assert_false(get(f, "l").found);
    assert_status(append(f, "l", "again"), ERR_OK); /* over the rest of the old one */
    assert_int_equal(get(f, "l").size, 9);
    assert_int_equal(rows_of(f, 't'), 0);
}

static void many_expire_in_bounded_steps(void **state)
{
    struct fixture *f = *state;
    char key[16];
    unsigned steps = 0, made = LIMIT_KV_EXPIRE * 2 + 10;
    for (unsigned i = 0; i < made; i++) {
        snprintf(key, sizeof key, "k%u", i);
        put(f, key, "x", 10000 * SECOND_NS);
    }
    f->time_ns += 20000 * SECOND_NS;
    for (bool more = true; more; steps++) {
        struct meta_reply r = fixture_apply(f, (struct meta_command){.op = META_KV_EXPIRE});
        assert_status(r, ERR_OK);
        more = r.more;
        fixture_verify(f);
        assert_false(get(f, "k500").found);
    }
    assert_int_equal(steps, 3);
    assert_int_equal(f->meta->state.kv_keys, 0);
}

static void pages_hold_all_keys_with_the_prefix_in_order(void **state)
{
    struct fixture *f = *state;
    char key[16], after[16] = "";
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "p/%03u", i);
        put(f, key, key, i % 10 == 9 ? SECOND_NS / 2 : 0);
    }
    put(f, "o", "", 0);
    put(f, "p", "", 0);
    put(f, "p0", "", 0);
    unsigned seen = 0;
    for (bool end = false; !end;) {
        struct meta_query_reply r = fixture_query(f, (struct meta_query){.op = META_QUERY_KV_LIST,
                                                                         .prefix = slice_str("p/"),
                                                                         .after = slice_str(after),
                                                                         .max_count = 7,
                                                                         .with_values = seen % 2 == 0});
        assert_status(r, ERR_OK);
        assert_true(r.kv_count <= 7);
        for (unsigned i = 0; i < r.kv_count; i++, seen++) {
            snprintf(after, sizeof after, "p/%03u", seen / 9 * 10 + seen % 9);
            assert_true(slice_equal(r.kv[i].key, slice_str(after)));
            assert_int_equal(r.kv[i].size, 5);
        }
        end = r.end;
    }
    assert_int_equal(seen, 90);
    struct meta_query_reply r = fixture_query(
        f, (struct meta_query){.op = META_QUERY_KV_LIST, .prefix = slice_str("p"), .after = slice_str("q")});
    assert_true(r.end && r.kv_count == 0);
    r = fixture_query(f, (struct meta_query){.op = META_QUERY_KV_LIST, .prefix = SLICE("\xff\xff", 2)});
    assert_true(r.end && r.kv_count == 0);
    r = fixture_query(f, (struct meta_query){.op = META_QUERY_KV_LIST});
    assert_true(r.end && r.kv_count == 93);
}

static void large_values_end_a_page_early(void **state)
{
    struct fixture *f = *state;
    char *large = mem_zalloc(LIMIT_KV_VALUE_BYTES + 1), key[16], after[16] = "";
    memset(large, 'x', LIMIT_KV_VALUE_BYTES);
    for (unsigned i = 0; i < 6; i++) {
        snprintf(key, sizeof key, "k%u", i);
        put(f, key, large, 0);
    }
    free(large);
    for (unsigned values = 0; values < 2; values++) {
        unsigned seen = 0, pages = 0;
        after[0] = 0;
        for (bool end = false; !end; pages++) {
            struct meta_query_reply r = fixture_query(
                f, (struct meta_query){.op = META_QUERY_KV_LIST, .after = slice_str(after), .with_values = values});
            assert_true(r.kv_count > 0);
            for (unsigned i = 0; i < r.kv_count; i++)
                seen += r.kv[i].found;
            snprintf(after, sizeof after, "%.*s", (int)r.kv[r.kv_count - 1].key.size,
                     (const char *)r.kv[r.kv_count - 1].key.data);
            end = r.end;
        }
        assert_int_equal(seen, 6);
        assert_int_equal(pages, values ? 6 : 2);
    }
    struct slice keys[] = {slice_str("k1"), slice_str("k2")};
    assert_status(fixture_query(f, (struct meta_query){.op = META_QUERY_KV_GET, .keys = keys, .key_count = 2}),
                  ERR_TOO_BIG);
}

static void a_check_finds_what_does_not_agree(void **state)
{
    struct fixture *f = *state;
    struct err_text why;
    put(f, "k", "x", 1000 * SECOND_NS);
    put(f, "l", "y", 0);
    fixture_verify(f);
    struct schema_kv_key at;
    schema_kv(slice_str("l"), &at);
    char *message = NULL;
    assert_int_equal(meta_write_out(f->meta), ERR_OK);
    rocksdb_delete(f->meta->db, f->meta->write, (const char *)at.bytes, at.size, &message);
    assert_null(message);
    assert_int_equal(meta_verify(f->meta, &why), ERR_CORRUPT);
    assert_non_null(strstr(why.text, "2 keys with 4 bytes are counted, 1 with 2"));
    f->meta->state.kv_keys = 1, f->meta->state.kv_bytes = 2;
    schema_kv_expiry(get(f, "k").expires_ns, slice_str("k"), &at);
    assert_int_equal(meta_write_out(f->meta), ERR_OK);
    rocksdb_delete(f->meta->db, f->meta->write, (const char *)at.bytes, at.size, &message);
    assert_null(message);
    assert_int_equal(meta_verify(f->meta, &why), ERR_CORRUPT);
    assert_non_null(strstr(why.text, "key/value space"));
    assert_int_equal(meta_write_out(f->meta), ERR_OK);
    rocksdb_put(f->meta->db, f->meta->write, (const char *)at.bytes, at.size, "", 0, &message);
    assert_null(message);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_change_does_what_it_says),
        TEST(lists_grow_at_their_end_up_to_the_limit),
        TEST(a_version_is_never_used_twice),
        TEST(several_changes_happen_together_or_not_at_all),
        TEST(a_repeated_request_gets_its_first_answer),
        TEST(keys_expire_by_the_time_in_the_log),
        TEST(a_change_replaces_the_time_to_live),
        TEST(many_expire_in_bounded_steps),
        TEST(pages_hold_all_keys_with_the_prefix_in_order),
        TEST(large_values_end_a_page_early),
        TEST(a_check_finds_what_does_not_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
