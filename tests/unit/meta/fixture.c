#include "tests/unit/meta/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/mem.h"

#include <cmocka.h>

static void open_state(struct fixture *f)
{
    struct meta_options options = {.path = f->path, .level_max = f->level_max};
    struct err_text why = {""};
    if (meta_open(&options, &f->meta, &why) != ERR_OK) {
        print_error("%s\n", why.text);
        fail();
    }
    f->index = meta_applied_index(f->meta);
}

void fixture_open_empty(struct fixture *f)
{
    *f = (struct fixture){.time_ns = FIXTURE_TIME_NS};
    snprintf(f->path, sizeof f->path, "/tmp/surf-meta-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    open_state(f);
}

void fixture_open(struct fixture *f)
{
    fixture_open_empty(f);
    assert_status(fixture_init(f), ERR_OK);
    struct meta_reply r = fixture_open_session(f, 1);
    assert_status(r, ERR_OK);
    f->session = r.session;
}

void fixture_reopen(struct fixture *f)
{
    meta_close(f->meta);
    open_state(f);
}

void fixture_verify(struct fixture *f)
{
    struct err_text why = {""};
    if (meta_verify(f->meta, &why) != ERR_OK) {
        print_error("%s\n", why.text);
        fail();
    }
}

void fixture_remove(struct fixture *f)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", f->path);
    assert_int_equal(system(command), 0);
    arena_free(&f->arena);
}

void fixture_close(struct fixture *f)
{
    fixture_verify(f);
    meta_close(f->meta);
    fixture_remove(f);
}

struct meta_reply fixture_apply(struct fixture *f, struct meta_command c)
{
    struct meta_reply r;
    c.time_ns = f->time_ns += FIXTURE_STEP_NS;
    assert_int_equal(meta_apply(f->meta, ++f->index, 1, &c, &r), ERR_OK);
    return r;
}

struct meta_reply fixture_call(struct fixture *f, struct meta_command c)
{
    c.session = f->session;
    c.acked = f->seq;
    c.seq = ++f->seq;
    return fixture_apply(f, c);
}

struct meta_reply fixture_init(struct fixture *f)
{
    return fixture_apply(
        f, (struct meta_command){.op = META_INIT, .init = {.cluster_id = {1, 2, 3}, .cookie_key = {4, 5, 6}}});
}

struct meta_reply fixture_open_session(struct fixture *f, unsigned nonce)
{
    struct meta_command c = {.op = META_SESSION_OPEN};
    c.session_open.export = slice_str(META_EXPORT_DEFAULT);
    c.session_open.client = slice_str("test:/mnt");
    put_u32be(c.session_open.nonce, nonce);
    return fixture_apply(f, c);
}

struct meta_reply fixture_end_session(struct fixture *f, uint64_t session)
{
    return fixture_apply(f, (struct meta_command){.op = META_SESSION_END, .session_end.session = session});
}

static struct meta_reply make(struct fixture *f, enum meta_op op, uint64_t parent, const char *name, uint32_t mode,
                              const char *target)
{
    struct meta_command c = {
        .op = op,
        .make = {.parent = parent, .name = slice_str(name), .mode = mode, .uid = 1000, .gid = 1000, .exclusive = true}};
    if (target)
        c.make.target = slice_str(target);
    return fixture_call(f, c);
}

struct meta_reply make_file(struct fixture *f, uint64_t parent, const char *name)
{
    return make(f, META_CREATE, parent, name, 0644, NULL);
}

struct meta_reply make_directory(struct fixture *f, uint64_t parent, const char *name)
{
    return make(f, META_MKDIR, parent, name, 0755, NULL);
}

struct meta_reply make_symlink(struct fixture *f, uint64_t parent, const char *name, const char *target)
{
    return make(f, META_SYMLINK, parent, name, 0, target);
}

struct meta_reply do_link(struct fixture *f, uint64_t ino, uint64_t parent, const char *name)
{
    return fixture_call(
        f, (struct meta_command){.op = META_LINK, .link = {.ino = ino, .parent = parent, .name = slice_str(name)}});
}

struct meta_reply do_unlink(struct fixture *f, uint64_t parent, const char *name)
{
    return fixture_call(
        f, (struct meta_command){.op = META_UNLINK, .unlink = {.parent = parent, .name = slice_str(name)}});
}

struct meta_reply do_rmdir(struct fixture *f, uint64_t parent, const char *name)
{
    return fixture_call(f,
                        (struct meta_command){.op = META_RMDIR, .unlink = {.parent = parent, .name = slice_str(name)}});
}

struct meta_reply do_rename(struct fixture *f, uint64_t parent, const char *name, uint64_t new_parent,
                            const char *new_name, uint32_t flags)
{
    return fixture_call(f, (struct meta_command){.op = META_RENAME,
                                                 .rename = {.parent = parent,
                                                            .new_parent = new_parent,
                                                            .name = slice_str(name),
                                                            .new_name = slice_str(new_name),
                                                            .flags = flags}});
}

struct meta_reply do_truncate(struct fixture *f, uint64_t ino, uint64_t size)
{
    return fixture_call(
        f, (struct meta_command){.op = META_SETATTR, .setattr = {.ino = ino, .mask = META_SET_SIZE, .size = size}});
}

struct meta_reply do_release(struct fixture *f, uint64_t ino)
{
    return fixture_apply(f, (struct meta_command){.op = META_RELEASE, .release = {.inos = &ino, .count = 1}});
}

struct meta_reply do_remove(struct fixture *f, uint64_t parent, const char *name)
{
    struct meta_reply r = do_unlink(f, parent, name);
    if (r.orphaned)
        assert_int_equal(do_release(f, r.attr.ino).status, ERR_OK);
    return r;
}

struct meta_extent extent_of(uint64_t offset, uint64_t length, uint32_t block, uint32_t block_offset)
{
    struct meta_extent e = {.file_offset = offset, .length = length, .block_offset = block_offset};
    put_u32be(e.block.bytes, block);
    return e;
}

struct meta_reply do_write(struct fixture *f, uint64_t ino, uint64_t offset, uint64_t length, uint32_t block,
                           uint32_t block_offset)
{
    struct meta_extent e = extent_of(offset, length, block, block_offset);
    return fixture_call(
        f, (struct meta_command){
               .op = META_COMMIT,
               .commit = {.ino = ino, .extents = &e, .extent_count = 1, .size_at_least = block ? offset + length : 0}});
}

unsigned reap_all(struct fixture *f)
{
    unsigned commands = 0;
    struct meta_command c = {.op = META_REAP};
    while (meta_reap_pending(f->meta, &c.reap.content_id)) {
        assert_status(fixture_apply(f, c), ERR_OK);
        commands++;
    }
    return commands;
}

struct meta_query_reply fixture_query(struct fixture *f, struct meta_query q)
{
    struct meta_query_reply r;
    assert_int_equal(meta_query(f->meta, &q, &f->arena, &r), ERR_OK);
    return r;
}

enum err checkpoint(struct fixture *f, const char *path, struct err_text *why)
{
    TRY(meta_write_out(f->meta));
    return meta_checkpoint(f->meta, path, why);
}

struct meta_query_reply do_lookup(struct fixture *f, uint64_t parent, const char *name)
{
    return fixture_query(f, (struct meta_query){.op = META_QUERY_LOOKUP, .ino = parent, .name = slice_str(name)});
}

struct meta_query_reply do_getattr(struct fixture *f, uint64_t ino)
{
    return fixture_query(f, (struct meta_query){.op = META_QUERY_GETATTR, .ino = ino});
}

struct meta_query_reply do_layout(struct fixture *f, uint64_t ino)
{
    return fixture_query(f, (struct meta_query){.op = META_QUERY_LAYOUT, .ino = ino, .length = UINT64_MAX});
}
