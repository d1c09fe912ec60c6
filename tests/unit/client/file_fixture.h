/* file_fixture.h: mounts of one cluster, as far as open files go. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <fcntl.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/prng.h"
#include "cluster.h"

struct mount {
    struct meta_client *meta;
    struct block_client *blocks;
    struct open_files *files;
    atomic_uint stale; /* calls of on_stale */
};

static inline void mount_on_stale(void *context, uint64_t ino)
{
    (void)ino;
    atomic_fetch_add(&((struct mount *)context)->stale, 1);
}

/* With the rest of the options as given. */
static inline void mount_open_as(struct mount *m, struct cluster *c, struct file_options options)
{
    memset(m, 0, sizeof *m);
    m->meta = cluster_connect(c, 0);
    m->blocks = block_client_new(m->meta, 0);
    options.readahead_bytes = 4 * MIB;
    options.on_stale = mount_on_stale;
    options.context = m;
    m->files = open_files_new(m->meta, m->blocks, &options);
}

static inline void mount_open_with(struct mount *m, struct cluster *c, size_t cache_bytes, size_t dirty_bytes,
                                   bool atime)
{
    mount_open_as(m, c, (struct file_options){.cache_bytes = cache_bytes, .dirty_bytes = dirty_bytes, .atime = atime});
}

static inline void mount_open(struct mount *m, struct cluster *c, size_t cache_bytes, size_t dirty_bytes)
{
    mount_open_with(m, c, cache_bytes, dirty_bytes, false);
}

static inline void mount_close(struct mount *m)
{
    open_files_free(m->files, 5 * NS_PER_S);
    block_client_free(m->blocks);
    meta_client_close(m->meta);
}

struct fixture {
    struct cluster cluster;
    struct mount a, b;
};

static inline struct fixture *fixture_start_with(bool atime)
{
    struct fixture *f = MEM_NEW(struct fixture);
    cluster_start(&f->cluster, 3);
    mount_open_with(&f->a, &f->cluster, 8 * MIB, 64 * MIB, atime);
    mount_open_with(&f->b, &f->cluster, 8 * MIB, 64 * MIB, atime);
    return f;
}

static inline struct fixture *fixture_start(void)
{
    return fixture_start_with(false);
}

static inline void fixture_end(struct fixture *f)
{
    mount_close(&f->a);
    mount_close(&f->b);
    cluster_stop(&f->cluster);
    free(f);
}

static inline struct open_file *open_it(struct mount *m, uint64_t ino, int flags)
{
    struct open_file *h;
    bool keep;
    assert_int_equal(file_open(m->files, ino, flags, NULL, NULL, &h, &keep), ERR_OK);
    return h;
}

static inline struct open_file *create_it(struct mount *m, const char *name)
{
    struct meta_attr attr;
    struct open_file *h;
    bool keep;
    uint64_t ino = cluster_create(m->meta, name, &attr);
    assert_int_equal(file_open(m->files, ino, O_RDWR, &attr, NULL, &h, &keep), ERR_OK);
    return h;
}

static inline void write_it(struct open_file *h, uint64_t offset, const void *data, size_t size)
{
    assert_int_equal(file_write(h, offset, data, size, NULL), ERR_OK);
}

static inline size_t read_it(struct open_file *h, uint64_t offset, void *to, size_t size)
{
    size_t got = 0;
    assert_int_equal(file_read(h, offset, to, size, NULL, &got), ERR_OK);
    return got;
}

static inline enum err clone_it(struct open_file *from, uint64_t from_offset, struct open_file *to, uint64_t to_offset,
                                uint64_t length, uint64_t *ret_done)
{
    return file_clone((struct file_place){from, from_offset}, (struct file_place){to, to_offset}, length, false, NULL,
                      ret_done);
}

static inline void *fire_soon(void *cancel)
{
    nanosleep(&(struct timespec){.tv_nsec = 50 * NS_PER_MS}, NULL);
    rpc_cancel_fire(cancel);
    return NULL;
}

static inline enum err fsync_broken_off(struct open_file *h)
{
    struct rpc_cancel *cancel = rpc_cancel_new();
    pthread_t thread;
    pthread_create(&thread, NULL, fire_soon, cancel);
    enum err e = file_fsync(h, cancel);
    pthread_join(thread, NULL);
    rpc_cancel_free(cancel);
    return e;
}

/* The whole file as this mount sees it is exactly these bytes. */
static inline void expect_file(struct mount *m, uint64_t ino, const uint8_t *bytes, size_t size)
{
    struct open_file *h = open_it(m, ino, O_RDONLY);
    uint8_t *got = mem_alloc(size + 100);
    size_t at = 0, n;
    while ((n = read_it(h, at, got + at, MIN(size + 100 - at, (size_t)300000))) > 0)
        at += n;
    assert_int_equal(at, size);
    for (size_t k = 0; k < size; k++)
        if (got[k] != bytes[k])
            fail_msg("byte %zu is %u instead of %u", k, got[k], bytes[k]);
    free(got);
    file_close(h);
}

/* Opens and closes it: whether the kernel is told to keep its pages. */
static inline bool reopen_keeps(struct mount *m, uint64_t ino)
{
    struct open_file *h;
    bool keep;
    assert_int_equal(file_open(m->files, ino, O_RDONLY, NULL, NULL, &h, &keep), ERR_OK);
    file_close(h);
    return keep;
}
