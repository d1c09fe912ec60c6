/* Rows that RocksDB does not have yet: reads, scans both ways and counts over them and it, against an array. */
#include <stdio.h>

#include "base/mem.h"
#include "base/prng.h"
#include "meta/store.h"
#include "tests/unit/meta/commands.h"

#define KEYS 400u
#define COUNTS 40u /* the first keys are counts */
#define COMMANDS 1500u
#define NONE (-1)

static int model[KEYS]; /* the value's size, or the count; NONE: no row */
static struct prng prng;

static struct schema_key key_of(unsigned i)
{
    struct schema_key key = {.bytes = {1, (uint8_t)(i >> 8), (uint8_t)i}, .size = 3};
    return key;
}

static unsigned number_of(struct slice key)
{
    assert_int_equal(key.size, 3);
    return ((unsigned)key.data[1] << 8) + key.data[2];
}

static void assert_row(unsigned i, struct slice value)
{
    int64_t count;
    if (i >= COUNTS) {
        assert_int_equal(value.size, model[i]);
        for (size_t n = 0; n < value.size; n++)
            assert_int_equal(value.data[n], (uint8_t)model[i]);
        return;
    }
    assert_int_equal(row_count_decode(value, &count), ERR_OK);
    assert_int_equal(count, MAX(model[i], 0));
}

/* A count of zero may be a row or none. */
static bool must_be(unsigned i)
{
    return i < COUNTS ? model[i] > 0 : model[i] != NONE;
}

static bool may_be(unsigned i)
{
    return i < COUNTS || model[i] != NONE;
}

static void change_some(struct meta *m, unsigned changes)
{
    store_clear(m);
    for (unsigned n = 0; n < changes; n++) {
        unsigned i = (unsigned)prng_below(&prng, KEYS);
        struct schema_key key = key_of(i);
        if (i < COUNTS) {
            int change = prng_below(&prng, 2) == 0 || model[i] <= 0 ? 1 : -1;
            store_count(m, &key, change);
            model[i] = MAX(model[i], 0) + change;
        } else if (prng_below(&prng, 3) == 0) {
            store_delete(m, &key);
            model[i] = NONE;
        } else {
            model[i] = (int)prng_below(&prng, 200);
            for (int k = 0; k < model[i]; k++)
                bytes_u8(&m->scratch, (uint8_t)model[i]);
            store_put_scratch(m, &key);
        }
    }
    store_count_settle(m);
    assert_int_equal(store_commit(m), ERR_OK);
    arena_reset(&m->arena);
}

static void expect_one(struct meta *m, struct arena *a, unsigned i)
{
    struct schema_key key = key_of(i);
    struct slice value = {0};
    bool found;
    assert_int_equal(store_read(m, &key, a, &value, &found), ERR_OK);
    assert_true(found ? may_be(i) : !must_be(i));
    if (found)
        assert_row(i, value);
}

static void expect_forwards(struct meta *m, unsigned from, unsigned to, unsigned sought)
{
    struct schema_key lower = key_of(from), upper = key_of(to), at = key_of(sought);
    struct store_range range;
    struct slice key, value;
    unsigned next = sought;
    store_range_open_unplaced(m, &range, &lower, &upper);
    store_range_seek(&range, &at);
    for (; store_range_get(&range, &key, &value); store_range_next(&range)) {
        unsigned i = number_of(key);
        assert_in_range(i, next, to - 1);
        for (; next < i; next++)
            assert_false(must_be(next));
        assert_true(may_be(i));
        assert_row(i, value);
        next = i + 1;
    }
    for (; next < to; next++)
        assert_false(must_be(next));
    assert_int_equal(store_range_close(&range), ERR_OK);
}

static void expect_backwards(struct meta *m, unsigned from, unsigned to)
{
    struct schema_key lower = key_of(from), upper = key_of(to);
    struct store_range range;
    struct slice key, value;
    unsigned behind = to;
    store_range_open_last(m, &range, &lower, &upper);
    for (; store_range_get(&range, &key, &value); store_range_previous(&range)) {
        unsigned i = number_of(key);
        assert_in_range(i, from, behind - 1);
        for (; behind > i + 1; behind--)
            assert_false(must_be(behind - 1));
        assert_true(may_be(i));
        assert_row(i, value);
        behind = i;
    }
    for (; behind > from; behind--)
        assert_false(must_be(behind - 1));
    assert_int_equal(store_range_close(&range), ERR_OK);
}

static void close_unverified(struct fixture *f)
{
    meta_close(f->meta);
    fixture_remove(f);
}

static void reads_and_scans_see_both(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open_empty(&f);
    struct meta *m = f.meta;
    unsigned written_out = 0;
    prng_seed(&prng, 11);
    for (unsigned i = 0; i < KEYS; i++)
        model[i] = NONE;
    for (unsigned n = 0; n < COMMANDS; n++) {
        size_t before = m->recent.count;
        /* Some have so many that they go past the recent rows. */
        change_some(m, n % 100 == 99 ? 300 : (unsigned)prng_between(&prng, 0, 12));
        written_out += m->recent.count < before;
        if (prng_below(&prng, 200) == 0)
            assert_int_equal(meta_write_out(m), ERR_OK);
        unsigned from = (unsigned)prng_below(&prng, KEYS), to = from + 1 + (unsigned)prng_below(&prng, KEYS - from);
        expect_one(m, &f.arena, from);
        expect_forwards(m, from, to, from + (unsigned)prng_below(&prng, to - from));
        expect_backwards(m, from, to);
        arena_reset(&f.arena);
    }
    expect_forwards(m, 0, KEYS, 0);
    assert_true(written_out > 10);
    close_unverified(&f);
}

static void a_count_without_sense_is_an_error(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open_empty(&f);
    struct meta *m = f.meta;
    struct schema_key key = key_of(0);
    struct slice value;
    bool found;
    char *message = NULL;
    rocksdb_put(m->db, m->write, (const char *)key.bytes, key.size, "?", 1, &message);
    assert_null(message);
    store_clear(m);
    store_count(m, &key, 1);
    store_count_settle(m);
    assert_int_equal(store_commit(m), ERR_OK);
    assert_int_equal(store_read(m, &key, &f.arena, &value, &found), ERR_CORRUPT);
    struct schema_key upper = key_of(1);
    struct store_range range;
    struct slice at;
    int64_t count;
    store_range_open(m, &range, &key, &upper);
    assert_true(store_range_get(&range, &at, &value));
    assert_int_equal(row_count_decode(value, &count), ERR_CORRUPT);
    assert_int_equal(store_range_close(&range), ERR_OK);
    recent_clear(&m->recent);
    close_unverified(&f);
}

static void reopen_after_crash(struct fixture *f)
{
    struct meta_options options = {.path = f->path, .lose_unflushed = true};
    struct err_text why;
    meta_close(f->meta);
    assert_int_equal(meta_open(&options, &f->meta, &why), ERR_OK);
    f->index = meta_applied_index(f->meta);
}

/* A crash loses the newest rows as it loses RocksDB's memory: what is left is the state of an earlier index, whole. */
static void a_crash_leaves_an_earlier_state(void **state)
{
    struct fixture *f = *state;
    char name[16];
    uint64_t chains[300], flushed;
    unsigned made = 0, lost = 0;
    reopen_after_crash(f);
    for (; made < ARRAY_SIZE(chains); made++) {
        snprintf(name, sizeof name, "f%u", made);
        must_make(f, META_CREATE, META_ROOT_INO, name, 0644);
        assert_true(meta_chain_at(f->meta, f->index, &chains[made]));
        if (made == 200)
            assert_int_equal(meta_flush(f->meta, true), ERR_OK);
    }
    uint64_t first = f->index - made + 1, last = f->index;
    assert_int_equal(meta_flushed_index(f->meta, &flushed), ERR_OK);
    assert_int_equal(flushed, first + 200);
    reopen_after_crash(f);
    uint64_t now = meta_applied_index(f->meta), chain;
    assert_in_range(now, flushed, last);
    assert_true(meta_chain_at(f->meta, now, &chain));
    assert_int_equal(chain, chains[now - first]);
    for (unsigned i = 0; i < made; i++) {
        snprintf(name, sizeof name, "f%u", i);
        lost += ino_of(f, META_ROOT_INO, name) == 0;
    }
    assert_int_equal(lost, last - now);
}

/* RocksDB refuses all writes once one has failed; so does this handle, which sees what was flushed. */
static rocksdb_t *refuse_writes(struct meta *m, const char *path)
{
    rocksdb_t *db = m->db;
    char *message = NULL;
    assert_int_equal(meta_flush(m, true), ERR_OK);
    m->db = rocksdb_open_for_read_only(m->options, path, 0, &message);
    assert_null(message);
    return db;
}

static void allow_writes(struct meta *m, rocksdb_t *db)
{
    rocksdb_close(m->db);
    m->db = db;
}

static enum err create(struct fixture *f, const char *name, struct meta_reply *ret)
{
    struct meta_command c = make_command(META_CREATE, META_ROOT_INO, name, 0644);
    c.session = f->session, c.seq = f->seq + 1, c.acked = f->seq;
    TRY(meta_apply(f->meta, f->index + 1, 1, &c, ret));
    f->index++, f->seq++;
    return ERR_OK;
}

static void what_cannot_be_written_is_not_applied(void **state)
{
    struct fixture *f = *state;
    struct meta *m = f->meta;
    struct meta_reply r;
    char name[16];
    unsigned made = 0;
    enum err e = ERR_OK;
    rocksdb_t *db = refuse_writes(m, f->path);
    for (; e == ERR_OK && made < 1000; made++) {
        snprintf(name, sizeof name, "f%u", made);
        e = create(f, name, &r);
    }
    assert_int_equal(e, ERR_IO);
    assert_true(made > 20);
    assert_int_equal(meta_applied_index(m), f->index);
    assert_int_equal(ino_of(f, META_ROOT_INO, name), 0);
    assert_int_equal(must_getattr(f, META_ROOT_INO).size, made - 1);
    assert_null(meta_view_open(m));
    assert_int_equal(meta_flush(m, true), ERR_IO);
    allow_writes(m, db);
    assert_int_equal(create(f, name, &r), ERR_OK);
    assert_status(r, ERR_OK);
    assert_int_equal(must_getattr(f, META_ROOT_INO).size, made);
}

/* The recent row is the first that is found where an older one can't be read. */
static void dead_contents_that_cannot_be_read_are_not_passed_over(void **state)
{
    struct fixture *f = *state;
    struct meta *m = f->meta;
    uint64_t first = must_make(f, META_CREATE, META_ROOT_INO, "first", 0644), id;
    uint64_t second = must_make(f, META_CREATE, META_ROOT_INO, "second", 0644);
    assert_status(do_write(f, first, 0, 100, 1, 0), ERR_OK);
    assert_status(do_write(f, second, 0, 100, 2, 0), ERR_OK);
    struct schema_key key = schema_garbage(must_getattr(f, first).content_id);
    assert_status(do_remove(f, META_ROOT_INO, "first"), ERR_OK);
    struct slice kept;
    bool found;
    assert_int_equal(store_read(m, &key, &f->arena, &kept, &found), ERR_OK);
    assert_true(found);
    assert_int_equal(meta_write_out(m), ERR_OK);
    char *message = NULL;
    rocksdb_merge(m->db, m->write, (const char *)key.bytes, key.size, "?", 1,
                  &message); /* no count: an error to read */
    assert_null(message);
    assert_status(do_remove(f, META_ROOT_INO, "second"), ERR_OK);
    assert_false(meta_reap_pending(m, &id));
    rocksdb_put(m->db, m->write, (const char *)key.bytes, key.size, (const char *)kept.data, kept.size, &message);
    assert_null(message);
    assert_true(meta_reap_pending(m, &id));
    assert_int_equal(id, schema_key_u64(SLICE(key.bytes, key.size), 1));
    assert_int_equal(reap_all(f), 1);
    assert_int_equal(rows_of(f, 'g'), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_scans_see_both),
        cmocka_unit_test(a_count_without_sense_is_an_error),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_not_applied, setup, teardown),
        cmocka_unit_test_setup_teardown(dead_contents_that_cannot_be_read_are_not_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(a_crash_leaves_an_earlier_state, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
