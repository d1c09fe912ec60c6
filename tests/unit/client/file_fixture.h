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

static inline void mount_open(struct mount *m, struct cluster *c, size_t cache_bytes, size_t dirty_bytes)
{
    memset(m, 0, sizeof *m);
    m->meta = cluster_connect(c, 0);
    m->blocks = block_client_new(m->meta, 0);
    struct file_options options = {.cache_bytes = cache_bytes,
                                   .dirty_bytes = dirty_bytes,
                                   .readahead_bytes = 4 * MIB,
                                   .on_stale = mount_on_stale,
                                   .context = m};
    m->files = open_files_new(m->meta, m->blocks, &options);
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

static inline struct fixture *fixture_start(void)
{
    struct fixture *f = MEM_NEW(struct fixture);
    cluster_start(&f->cluster, 3);
    mount_open(&f->a, &f->cluster, 8 * MIB, 64 * MIB);
    mount_open(&f->b, &f->cluster, 8 * MIB, 64 * MIB);
    return f;
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
