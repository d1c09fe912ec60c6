/* The key/value space against one in an array: random changes, one or several in a command, with times that pass, keys
 * that expire and are removed or not, and states that are closed and opened. */
#include "tests/unit/meta/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/prng.h"

#define KEYS 6u
#define STEPS 1500u
#define SEEDS 12u
#define VALUE_MAX 64u

struct model_key {
    bool there; /* it may have expired */
    enum meta_kv_type type;
    uint64_t version;
    int64_t ttl_ns, expires_ns;
    uint8_t value[VALUE_MAX * STEPS];
    size_t size;
};

struct model {
    struct fixture *f;
    struct prng p;
    struct model_key keys[KEYS], before[KEYS];
    uint64_t refusals;
};

static const char *const names[KEYS] = {"a", "a/", "a/1", "a/2", "b", "\xff\xff"}; /* in order */

static bool is_live(const struct model_key *k, int64_t now_ns)
{
    return k->there && (k->expires_ns == 0 || k->expires_ns > now_ns);
}

static struct slice value_of(const struct model_key *k)
{
    return SLICE(k->value, k->size);
}

/* ---- what is asked ---- */

static struct slice random_value(struct model *m, enum meta_kv_type type)
{
    struct bytes list = {0};
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)prng_next(&m->p);
    struct slice some = SLICE(bytes, prng_below(&m->p, sizeof bytes));
    if (type == META_KV_BYTES)
        return arena_slice(&m->f->arena, some);
    for (uint64_t left = prng_below(&m->p, 3); left > 0; left--)
        bytes_blob(&list, some);
    struct slice value = arena_slice(&m->f->arena, bytes_slice(&list));
    bytes_free(&list);
    return value;
}

static struct meta_kv_change random_change(struct model *m, unsigned key)
{
    const struct model_key *k = &m->keys[key];
    bool right = prng_below(&m->p, 4) > 0; /* what is expected is mostly what is there */
    struct meta_kv_change c = {.kind = (enum meta_kv_kind)prng_between(&m->p, META_KV_PUT, META_KV_KIND_LAST),
                               .type = META_KV_BYTES,
                               .key = slice_str(names[key])};
    if (c.kind == META_KV_CAS || (c.kind == META_KV_DELETE && prng_below(&m->p, 2)))
        c.expected_version = right && k->there ? k->version : 1 + prng_below(&m->p, m->f->index);
    if (c.kind == META_KV_CAS_VALUE) {
        c.type = right && k->there ? k->type : META_KV_BYTES;
        c.expected_value = right && k->there ? arena_slice(&m->f->arena, value_of(k)) : slice_str("x");
    } else if (c.kind != META_KV_APPEND && c.kind != META_KV_DELETE && prng_below(&m->p, 2)) {
        c.type = META_KV_LIST;
    }
    if (c.kind != META_KV_DELETE) {
        c.value = random_value(m, c.type);
        c.ttl_ns = prng_below(&m->p, 3) ? 0 : (int64_t)prng_between(&m->p, 1, 20) * FIXTURE_STEP_NS / 2;
    }
    return c;
}

/* ---- what is to happen ---- */

static enum err expected_outcome(const struct meta_kv_change *c, const struct model_key *k)
{
    bool needs = c->kind == META_KV_CAS || c->kind == META_KV_CAS_VALUE || c->kind == META_KV_DELETE;
    if (needs && !k)
        return ERR_NOT_FOUND;
    if (c->kind == META_KV_SET && k)
        return ERR_EXIST;
    if (c->expected_version > 0 && c->expected_version != k->version)
        return ERR_VERSION;
    if (c->kind == META_KV_APPEND && k && k->type != META_KV_LIST)
        return ERR_WRONG_TYPE;
    if (c->kind == META_KV_CAS_VALUE && k->type != c->type)
        return ERR_WRONG_TYPE;
    return c->kind == META_KV_CAS_VALUE && !slice_equal(value_of(k), c->expected_value) ? ERR_VERSION : ERR_OK;
}

static void carry_out(struct model_key *k, const struct meta_kv_change *c, bool live, uint64_t index, int64_t now_ns)
{
    if (c->kind == META_KV_DELETE) {
        k->there = false;
        return;
    }
    bool grows = c->kind == META_KV_APPEND;
    k->version = live ? k->version + 1 : index;
    if (!grows || !live || c->ttl_ns > 0) {
        k->ttl_ns = c->ttl_ns;
        k->expires_ns = c->ttl_ns > 0 ? now_ns + c->ttl_ns : 0;
    }
    if (!grows || !live)
        k->size = 0;
    k->type = grows ? META_KV_LIST : c->type;
    k->there = true;
    if (grows) {
        put_u32be(k->value + k->size, (uint32_t)c->value.size);
        k->size += 4;
    }
    assert_true(k->size + c->value.size <= sizeof k->value);
    if (c->value.size > 0)
        memcpy(k->value + k->size, c->value.data, c->value.size);
    k->size += c->value.size;
}

static void change(struct model *m)
{
    struct meta_kv_change changes[KEYS];
    unsigned count = 0, one = prng_below(&m->p, 2) ? (unsigned)prng_below(&m->p, KEYS) : KEYS;
    for (unsigned i = 0; i < KEYS; i++)
        if (i == one || (one == KEYS && (prng_below(&m->p, 2) || (i == KEYS - 1 && count == 0))))
            changes[count++] = random_change(m, i);
    struct meta_reply r =
        fixture_call(m->f, (struct meta_command){.op = META_KV, .kv = {.changes = changes, .count = count}});
    enum err expected = ERR_OK;
    uint64_t version = 0;
    unsigned at = 0;
    memcpy(m->before, m->keys, sizeof m->keys);
    for (; at < count && expected == ERR_OK; at++) {
        unsigned key = 0;
        while (!slice_equal(changes[at].key, slice_str(names[key])))
            key++;
        struct model_key *k = &m->keys[key];
        bool live = is_live(k, m->f->time_ns);
        version = live ? k->version : 0;
        expected = expected_outcome(&changes[at], live ? k : NULL);
        if (expected == ERR_OK)
            carry_out(k, &changes[at], live, m->f->index, m->f->time_ns);
        if (expected == ERR_OK && changes[at].kind != META_KV_DELETE)
            version = k->version;
    }
    assert_status(r, expected);
    assert_int_equal(r.kv_version, version);
    if (expected == ERR_OK)
        return;
    assert_int_equal(r.kv_refused, at - 1);
    memcpy(m->keys, m->before, sizeof m->keys);
    m->refusals++;
}

/* ---- what is there ---- */

static void assert_entry(const struct model *m, unsigned key, const struct meta_kv_entry *e)
{
    const struct model_key *k = &m->keys[key];
    assert_int_equal(e->version, k->version);
    assert_int_equal(e->type, k->type);
    assert_int_equal(e->ttl_ns, k->ttl_ns);
    assert_int_equal(e->expires_ns, k->expires_ns);
    assert_int_equal(e->size, k->size);
}

static void look(struct model *m)
{
    struct slice keys[KEYS];
    struct slice prefix = prng_below(&m->p, 2) ? slice_str("a/") : SLICE(NULL, 0);
    unsigned listed = 0;
    for (unsigned i = 0; i < KEYS; i++)
        keys[i] = slice_str(names[i]);
    struct meta_query_reply r =
        fixture_query(m->f, (struct meta_query){.op = META_QUERY_KV_GET, .keys = keys, .key_count = KEYS});
    assert_status(r, ERR_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        assert_int_equal(r.kv[i].found, is_live(&m->keys[i], m->f->time_ns));
        if (!r.kv[i].found)
            continue;
        assert_entry(m, i, &r.kv[i]);
        assert_true(slice_equal(r.kv[i].value, value_of(&m->keys[i])));
    }
    r = fixture_query(m->f, (struct meta_query){.op = META_QUERY_KV_LIST, .prefix = prefix});
    assert_status(r, ERR_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        bool has_prefix = prefix.size == 0 || (i >= 1 && i <= 3);
        if (!has_prefix || !is_live(&m->keys[i], m->f->time_ns))
            continue;
        assert_true(listed < r.kv_count && slice_equal(r.kv[listed].key, slice_str(names[i])));
        assert_entry(m, i, &r.kv[listed++]);
    }
    assert_int_equal(listed, r.kv_count);
    assert_true(r.end);
}

static void expire(struct model *m)
{
    assert_status(fixture_apply(m->f, (struct meta_command){.op = META_KV_EXPIRE}), ERR_OK);
    int64_t next_ns, expected_ns = INT64_MAX;
    for (unsigned i = 0; i < KEYS; i++) {
        struct model_key *k = &m->keys[i];
        k->there = is_live(k, m->f->time_ns);
        if (k->there && k->expires_ns > 0)
            expected_ns = MIN(expected_ns, k->expires_ns);
    }
    assert_int_equal(meta_kv_expiry(m->f->meta, INT64_MAX, &next_ns), ERR_OK);
    assert_int_equal(next_ns, expected_ns);
}

static void it_is_as_the_model(void **state)
{
    struct fixture *f = *state;
    uint64_t refusals = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct model *m = MEM_NEW(struct model);
        m->f = f;
        prng_seed(&m->p, seed);
        for (unsigned i = 0; i < KEYS; i++) /* what the seed before left */
            fixture_call(f,
                         (struct meta_command){.op = META_KV,
                                               .kv = {.changes = &(struct meta_kv_change){.kind = META_KV_DELETE,
                                                                                          .type = META_KV_BYTES,
                                                                                          .key = slice_str(names[i])},
                                                      .count = 1}});
        for (unsigned step = 0; step < STEPS; step++) {
            arena_reset(&f->arena);
            uint64_t kind = prng_below(&m->p, 20);
            if (kind < 17)
                change(m);
            else
                expire(m);
            if (kind == 19 && prng_below(&m->p, 10) == 0)
                fixture_reopen(f);
            look(m);
        }
        fixture_verify(f);
        refusals += m->refusals;
        free(m);
    }
    assert_true(refusals > SEEDS * STEPS / 10 && refusals < SEEDS * STEPS * 3 / 4); /* both happen */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(it_is_as_the_model, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
