#include "tests/unit/meta/commands.h"

#include "base/mem.h"
#include "meta/store.h"

int setup(void **state)
{
    struct fixture *f = MEM_NEW(struct fixture);
    fixture_open(f);
    *state = f;
    return 0;
}

int teardown(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    free(f);
    return 0;
}

struct meta_command make_command(enum meta_op op, uint64_t parent, const char *name, uint32_t mode)
{
    struct meta_command c = {.op = op};
    c.make.parent = parent;
    c.make.name = slice_str(name);
    c.make.mode = mode;
    c.make.uid = 7;
    c.make.gid = 8;
    c.make.exclusive = true;
    if (op == META_SYMLINK)
        c.make.target = slice_str("target");
    return c;
}

struct meta_command unlink_command(enum meta_op op, uint64_t parent, const char *name)
{
    struct meta_command c = {.op = op};
    c.unlink.parent = parent;
    c.unlink.name = slice_str(name);
    return c;
}

struct meta_command rename_command(uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
                                   uint32_t flags)
{
    struct meta_command c = {.op = META_RENAME};
    c.rename.parent = parent;
    c.rename.name = slice_str(name);
    c.rename.new_parent = new_parent;
    c.rename.new_name = slice_str(new_name);
    c.rename.flags = flags;
    return c;
}

struct meta_command commit_command(uint64_t ino, const struct meta_extent *extents, unsigned count)
{
    struct meta_command c = {.op = META_COMMIT};
    c.commit.ino = ino;
    c.commit.extents = extents;
    c.commit.extent_count = count;
    return c;
}

struct meta_command size_command(uint64_t ino, uint64_t size)
{
    struct meta_command c = {.op = META_SETATTR};
    c.setattr.ino = ino;
    c.setattr.mask = META_SET_SIZE;
    c.setattr.size = size;
    return c;
}

uint64_t must_make(struct fixture *f, enum meta_op op, uint64_t parent, const char *name, uint32_t mode)
{
    struct meta_reply r = fixture_call(f, make_command(op, parent, name, mode));
    assert_status(r, ERR_OK);
    assert_true(r.has_attr);
    return r.attr.ino;
}

struct meta_attr must_getattr(struct fixture *f, uint64_t ino)
{
    struct meta_query_reply r = do_getattr(f, ino);
    assert_status(r, ERR_OK);
    assert_true(r.has_attr);
    return r.attr;
}

uint64_t ino_of(struct fixture *f, uint64_t parent, const char *name)
{
    struct meta_query_reply r = do_lookup(f, parent, name);
    if (r.status == ERR_NOENT)
        return 0;
    assert_status(r, ERR_OK);
    return r.attr.ino;
}

unsigned rows_of(struct fixture *f, char table)
{
    struct schema_key from = {.bytes = {(uint8_t)table}, .size = 1};
    struct store_range range;
    struct slice key, value;
    unsigned count = 0;
    store_range_open_prefix(f->meta, &range, &from, 1);
    for (; store_range_get(&range, &key, &value); store_range_next(&range))
        count++;
    assert_int_equal(store_range_close(&range), ERR_OK);
    return count;
}

uint64_t references_of(struct fixture *f, uint32_t block)
{
    struct meta_extent e = extent_of(0, 1, block, 0);
    struct schema_key key = schema_block_ref(&e.block);
    struct slice value = {0};
    bool found;
    assert_int_equal(store_read(f->meta, &key, &f->arena, &value, &found), ERR_OK);
    if (!found)
        return 0;
    int64_t count;
    assert_int_equal(row_count_decode(value, &count), ERR_OK);
    assert_true(count >= 0);
    return (uint64_t)count;
}
