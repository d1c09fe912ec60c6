/* Blocks that come along with commits: they are there until they are said to be moved, and by the right one; bounds,
 * and what is told of them with extents. */
#include "tests/unit/meta/commands.h"

#include <string.h>

#include "base/mem.h"
#include "meta/store.h"

#define ROOT META_ROOT_INO

static struct sha256 id_of(struct slice data)
{
    struct sha256 id;
    sha256_of(data, &id);
    return id;
}

/* Writes the data at an offset of the file, inline. */
static struct meta_reply write_inline(struct fixture *f, uint64_t ino, uint64_t offset, struct slice data)
{
    struct meta_extent e = {.file_offset = offset, .length = data.size, .block = id_of(data)};
    struct meta_command c = commit_command(ino, &e, 1);
    c.commit.inlined = &data;
    c.commit.inlined_count = 1;
    return fixture_call(f, c);
}

static struct meta_query_reply find(struct fixture *f, struct slice data)
{
    struct meta_query_reply r = fixture_query(f, (struct meta_query){.op = META_QUERY_INLINE, .block = id_of(data)});
    assert_status(r, ERR_OK);
    assert_true(r.end);
    if (r.inlined_count > 0)
        assert_true(slice_equal(r.inlined[0].data, data));
    return r;
}

static struct meta_reply moved(struct fixture *f, struct slice data, uint64_t ino, uint64_t version)
{
    struct meta_inline_block b = {.id = id_of(data), .ino = ino, .version = version};
    return fixture_call(f, (struct meta_command){.op = META_MOVED, .moved = {.blocks = &b, .count = 1}});
}

static void a_block_stays_until_it_is_moved(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    struct slice data = slice_str("contents"), other = slice_str("other");
    struct meta_reply r = write_inline(f, ino, 0, data);
    assert_status(r, ERR_OK);
    struct meta_query_reply found = find(f, data);
    assert_int_equal(found.inlined_count, 1);
    assert_true(found.inlined[0].ino == ino && found.inlined[0].version == r.attr.version);
    assert_int_equal(find(f, other).inlined_count, 0);
    struct meta_query_reply layout = do_layout(f, ino);
    assert_int_equal(layout.inlined_count, 1);
    assert_true(slice_equal(layout.inlined[0].data, data));
    fixture_verify(f);

    assert_int_equal(meta_flush(f->meta, true), ERR_OK);
    fixture_reopen(f);
    assert_int_equal(find(f, data).inlined_count, 1);
    assert_status(moved(f, other, ino, r.attr.version), ERR_OK);
    assert_int_equal(find(f, data).inlined_count, 1);
    assert_status(moved(f, data, ino, r.attr.version), ERR_OK);
    assert_int_equal(find(f, data).inlined_count, 0);
    assert_int_equal(rows_of(f, 'b'), 0);
    layout = do_layout(f, ino);
    assert_int_equal(layout.inlined_count, 0);
    assert_int_equal(layout.extent_count, 1);
    assert_status(moved(f, data, ino, r.attr.version), ERR_OK);
}

/* Whoever has moved the first one's bytes knows nothing of what has become of these copies since. */
static void who_brings_it_again_is_waited_for(void **state)
{
    struct fixture *f = *state;
    uint64_t first = must_make(f, META_CREATE, ROOT, "f", 0644), second = must_make(f, META_CREATE, ROOT, "g", 0644);
    struct slice data = slice_str("the same");
    struct meta_reply a = write_inline(f, first, 0, data);
    assert_status(do_remove(f, ROOT, "f"), ERR_OK);
    reap_all(f);
    struct meta_reply b = write_inline(f, second, 0, data), c = write_inline(f, second, 100, data);
    assert_int_equal(rows_of(f, 'b'), 1);
    assert_status(moved(f, data, first, a.attr.version), ERR_OK);
    assert_status(moved(f, data, second, b.attr.version), ERR_OK);
    assert_int_equal(find(f, data).inlined_count, 1);
    assert_status(moved(f, data, second, c.attr.version), ERR_OK);
    assert_int_equal(find(f, data).inlined_count, 0);
}

static void it_goes_with_no_file(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    struct slice data = slice_str("short life");
    struct meta_reply r = write_inline(f, ino, 0, data);
    assert_status(do_remove(f, ROOT, "f"), ERR_OK);
    reap_all(f);
    assert_int_equal(find(f, data).inlined_count, 1); /* counts of who names it are not read in an apply */
    fixture_verify(f);
    assert_status(moved(f, data, ino, r.attr.version), ERR_OK);
    assert_int_equal(rows_of(f, 'b'), 0);
}

static void a_refused_commit_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    struct slice data = slice_str("never");
    struct meta_extent e = {.length = data.size, .block = id_of(data)};
    struct meta_command c = commit_command(ino, &e, 1);
    c.commit.inlined = &data;
    c.commit.inlined_count = 1;
    c.commit.has_expected_version = true;
    c.commit.expected_version = 77;
    assert_status(fixture_call(f, c), ERR_VERSION);
    c.commit.has_expected_version = false;
    e.file_offset = META_SIZE_MAX - data.size;
    e.length = 1;
    c.commit.append = true;
    assert_status(do_truncate(f, ino, 10), ERR_OK);
    assert_status(fixture_call(f, c), ERR_FBIG);
    assert_int_equal(rows_of(f, 'b'), 0);
    fixture_verify(f);
}

/* Many small commits: the whole of them is bounded, and a bounded part is told at once. */
static void there_is_a_bound_for_all(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644), count = 0;
    static uint8_t bytes[LIMIT_INLINE_BYTES];
    struct slice data = SLICE(bytes, sizeof bytes);
    struct meta_reply r;
    for (;; count++) {
        put_u64be(bytes, count);
        r = write_inline(f, ino, 0, data);
        if (r.status != ERR_OK)
            break;
    }
    assert_status(r, ERR_BUSY);
    assert_true(count * sizeof bytes <= LIMIT_INLINE_TOTAL_BYTES &&
                count * (sizeof bytes + 1024) > LIMIT_INLINE_TOTAL_BYTES - 2 * LIMIT_INLINE_BYTES);
    assert_int_equal(rows_of(f, 'b'), count);
    put_u64be(bytes, 0);
    assert_status(write_inline(f, ino, 0, data), ERR_OK); /* that one is there */

    struct meta_query all = {.op = META_QUERY_INLINE, .next_block = true};
    uint64_t told = 0;
    for (bool end = false; !end;) {
        struct meta_query_reply page = fixture_query(f, all);
        uint64_t size = 0;
        assert_in_range(page.inlined_count, 1, LIMIT_MOVED_BLOCKS);
        for (unsigned i = 0; i < page.inlined_count; i++) {
            assert_true(i == 0 || memcmp(&page.inlined[i - 1].id, &page.inlined[i].id, SHA256_SIZE) < 0);
            size += page.inlined[i].data.size;
        }
        assert_true(size <= LIMIT_INLINE_REPLY_BYTES);
        told += page.inlined_count;
        end = page.end;
        all.block = page.inlined[page.inlined_count - 1].id;
        struct meta_inline_block list[LIMIT_MOVED_BLOCKS];
        memcpy(list, page.inlined, page.inlined_count * sizeof *list);
        assert_status(fixture_call(f, (struct meta_command){.op = META_MOVED,
                                                            .moved = {.blocks = list, .count = page.inlined_count}}),
                      ERR_OK);
        arena_reset(&f->arena);
    }
    assert_int_equal(told, count);
    assert_int_equal(rows_of(f, 'b'), 0);
    fixture_verify(f);
    put_u64be(bytes, count);
    assert_status(write_inline(f, ino, 0, data), ERR_OK);
}

static void an_answer_with_extents_is_bounded(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    static uint8_t bytes[LIMIT_INLINE_BYTES];
    for (uint64_t i = 0; i < 100; i++) {
        put_u64be(bytes, i);
        assert_status(write_inline(f, ino, i * sizeof bytes, SLICE(bytes, sizeof bytes)), ERR_OK);
    }
    struct meta_query_reply r = do_layout(f, ino);
    assert_int_equal(r.extent_count, 100);
    assert_in_range(r.inlined_count, 8, LIMIT_INLINE_REPLY_BYTES / LIMIT_INLINE_BYTES);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_block_stays_until_it_is_moved),
        TEST(who_brings_it_again_is_waited_for),
        TEST(it_goes_with_no_file),
        TEST(a_refused_commit_leaves_nothing),
        TEST(there_is_a_bound_for_all),
        TEST(an_answer_with_extents_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
