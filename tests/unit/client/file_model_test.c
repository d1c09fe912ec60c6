/* Random operations on open files against an array of bytes: one thread over two mounts with faults, and many threads.
 */
#include "file_fixture.h"

#include <stdlib.h>

#define SPACE (4 * (size_t)MIB)

struct model {
    uint8_t *bytes;
    size_t size;
};

struct run {
    struct fixture *fixture;
    struct prng prng;
    uint64_t seed;
    int step;
    struct model model;
    uint64_t ino;
    struct open_file *a; /* the writer's, on mount a */
    uint8_t *buffer;
};

static void check(struct run *r, bool good, const char *what)
{
    if (!good)
        fail_msg("seed %llu, step %d: %s", (unsigned long long)r->seed, r->step, what);
}

/* Mostly small, sometimes whole chunks; often at the end or over the seam of two chunks. */
static void choose(struct run *r, uint64_t *ret_offset, size_t *ret_size)
{
    static const size_t sizes[] = {1, 100, 4096, 50000, MIB, MIB + 4096};
    size_t size = 1 + prng_below(&r->prng, sizes[prng_below(&r->prng, ARRAY_SIZE(sizes))]);
    uint64_t offset = prng_below(&r->prng, SPACE - size);
    switch (prng_below(&r->prng, 5)) {
    case 0:
        offset = MIN(r->model.size, SPACE - size);
        break;
    case 1:
        offset = prng_below(&r->prng, 4) * MIB;
        size = prng_below(&r->prng, 2) ? MIB : size;
        break;
    case 2:
        offset = MIB * (1 + prng_below(&r->prng, 3)) - size / 2;
        break;
    }
    *ret_offset = MIN(offset, SPACE - 1);
    *ret_size = MIN(size, SPACE - *ret_offset);
}

static void do_write(struct run *r)
{
    uint64_t offset;
    size_t size;
    choose(r, &offset, &size);
    uint64_t value = prng_next(&r->prng);
    for (size_t k = 0; k < size; k++)
        r->model.bytes[offset + k] = (uint8_t)(value >> (k % 7 * 8)) + (uint8_t)(k >> 12);
    r->model.size = MAX(r->model.size, offset + size);
    write_it(r->a, offset, r->model.bytes + offset, size);
}

static void do_read(struct run *r)
{
    uint64_t offset;
    size_t size;
    choose(r, &offset, &size);
    size_t expected = offset >= r->model.size ? 0 : MIN(size, r->model.size - offset);
    memset(r->buffer, 0xee, size);
    check(r, read_it(r->a, offset, r->buffer, size) == expected, "a read has the wrong length");
    check(r, memcmp(r->buffer, r->model.bytes + offset, expected) == 0, "a read gave wrong bytes");
}

static void do_truncate(struct run *r)
{
    static const int zero_often = 3;
    uint64_t size = prng_below(&r->prng, (uint64_t)zero_often) == 0 ? 0 : prng_below(&r->prng, SPACE);
    struct meta_command command = {.op = META_SETATTR, .setattr = {.ino = r->ino, .mask = META_SET_SIZE, .size = size}};
    struct meta_reply reply;
    check(r, file_truncate(r->fixture->a.files, &command, NULL, &reply) == ERR_OK && reply.status == ERR_OK,
          "a truncation failed");
    if (size < r->model.size)
        memset(r->model.bytes + size, 0, r->model.size - size);
    r->model.size = size;
}

static void do_append(struct run *r)
{
    size_t size = 1 + prng_below(&r->prng, 3000);
    if (r->model.size + size > SPACE)
        return;
    memset(r->model.bytes + r->model.size, (int)prng_next(&r->prng), size);
    struct open_file *h = open_it(&r->fixture->a, r->ino, O_WRONLY | O_APPEND);
    write_it(h, 0, r->model.bytes + r->model.size, size);
    file_close(h);
    r->model.size += size;
}

/* As the kernel hands over a write of up to 1 MiB from a buffer that doesn't begin with a page; the second piece may
 * not come, or something else before it. */
static void do_append_in_pieces(struct run *r)
{
    size_t first = MIB - 1 - prng_below(&r->prng, 4095), second = prng_below(&r->prng, MIB - first + 1);
    if (r->model.size + first + second > SPACE)
        return;
    struct open_file *h = open_it(&r->fixture->a, r->ino, O_WRONLY | O_APPEND);
    uint64_t at = r->model.size;
    for (size_t k = 0; k < first + second; k++)
        r->model.bytes[at + k] = (uint8_t)(k / 1000 + r->seed);
    write_it(h, at, r->model.bytes + at, first);
    r->model.size += first;
    if (prng_below(&r->prng, 3) == 0)
        do_read(r);
    if (second > 0)
        write_it(h, at + first, r->model.bytes + at + first, second);
    r->model.size += second;
    file_close(h);
}

static void do_allocate(struct run *r)
{
    static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};
    int mode = modes[prng_below(&r->prng, ARRAY_SIZE(modes))];
    uint64_t offset;
    size_t size;
    choose(r, &offset, &size);
    check(r, file_allocate(r->a, mode, offset, size, false, NULL) == ERR_OK, "fallocate failed");
    if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
        memset(r->model.bytes + offset, 0, size); /* behind the end there are zeros anyway */
    if (!(mode & FALLOC_FL_KEEP_SIZE))
        r->model.size = MAX(r->model.size, offset + size);
}

static void do_copy(struct run *r)
{
    uint64_t from, to, done = 0;
    size_t size, other;
    choose(r, &from, &size);
    choose(r, &to, &other);
    size = MIN(size, other);
    uint64_t distance = from < to ? to - from : from - to;
    enum err e = clone_it(r->a, from, r->a, to, size, &done);
    if (distance < size) {
        check(r, e == ERR_INVAL, "ranges that overlap were not refused");
        return;
    }
    uint64_t expected = from >= r->model.size ? 0 : MIN(size, r->model.size - from);
    check(r, e == ERR_OK && done == expected, "a copy has the wrong length");
    memmove(r->model.bytes + to, r->model.bytes + from, expected);
    if (expected > 0)
        r->model.size = MAX(r->model.size, to + expected);
}

/* What is called a hole has no bytes but zeros. */
static void do_seek(struct run *r)
{
    uint64_t offset = prng_below(&r->prng, SPACE), data = 0, hole = 0;
    enum err e = file_seek(r->a, offset, true, NULL, &data);
    check(r, e == ERR_OK || e == ERR_NOT_FOUND, "data was not looked for");
    check(r, e != ERR_OK || (data >= offset && data < r->model.size), "data behind the end");
    uint64_t zeros_to = e == ERR_OK ? data : r->model.size;
    for (uint64_t k = offset; k < zeros_to; k++)
        check(r, r->model.bytes[k] == 0, "a byte in a hole");
    e = file_seek(r->a, offset, false, NULL, &hole);
    check(r, e == (offset < r->model.size ? ERR_OK : ERR_NOT_FOUND), "no hole");
    check(r, e != ERR_OK || (hole >= offset && hole <= r->model.size), "a hole behind the end");
}

static void *fire_at_once(void *p)
{
    nanosleep(&(struct timespec){.tv_nsec = 3 * NS_PER_MS}, NULL);
    rpc_cancel_fire(p);
    return NULL;
}

/* Broken off somewhere; whatever came of it, the bytes are the same. */
static void do_broken_commit(struct run *r)
{
    struct cluster *c = &r->fixture->cluster;
    unsigned which = (unsigned)prng_below(&r->prng, 3);
    bool silent = which == 0;
    atomic_store(&c->meta_silent, silent);
    for (unsigned i = 0; !silent && i < 2; i++)
        server_set(&c->servers[i], which == 1 ? SERVER_REFUSES : SERVER_SILENT);
    struct rpc_cancel *cancel = rpc_cancel_new();
    pthread_t thread;
    pthread_create(&thread, NULL, fire_at_once, cancel);
    enum err e = file_fsync(r->a, cancel);
    check(r, e == ERR_OK || e == ERR_CANCELLED, "a commit that was broken off failed");
    pthread_join(thread, NULL);
    rpc_cancel_free(cancel);
    atomic_store(&c->meta_silent, 0);
    for (unsigned i = 0; i < 3; i++)
        server_set(&c->servers[i], SERVER_WELL);
}

static void do_fault(struct run *r)
{
    struct fake_server *s = &r->fixture->cluster.servers[prng_below(&r->prng, 3)];
    static const enum server_fault faults[] = {SERVER_REFUSES, SERVER_LACKS, SERVER_LIES};
    for (unsigned i = 0; i < 3; i++)
        server_set(&r->fixture->cluster.servers[i], SERVER_WELL);
    if (prng_below(&r->prng, 2))
        server_set(s, faults[prng_below(&r->prng, ARRAY_SIZE(faults))]);
    else
        server_restart(s);
}

static void do_reopen(struct run *r)
{
    assert_int_equal(file_flush(r->a, NULL), ERR_OK);
    file_close(r->a);
    expect_file(&r->fixture->b, r->ino, r->model.bytes, r->model.size);
    r->a = open_it(&r->fixture->a, r->ino, O_RDWR);
}

static void one_step(struct run *r)
{
    switch (prng_below(&r->prng, 32)) {
    case 0:
        do_truncate(r);
        break;
    case 1:
        assert_int_equal(file_fsync(r->a, NULL), ERR_OK);
        break;
    case 2:
        do_append(r);
        break;
    case 3:
        do_broken_commit(r);
        break;
    case 4:
        do_fault(r);
        break;
    case 5:
        do_reopen(r);
        break;
    case 24:
    case 25:
    case 26:
        do_allocate(r);
        break;
    case 27:
    case 28:
        do_copy(r);
        break;
    case 29:
        do_seek(r);
        break;
    case 30:
        do_append_in_pieces(r);
        break;
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
        do_write(r);
        break;
    default:
        do_read(r);
    }
}

static void run_seed(uint64_t seed, int steps, size_t dirty_bytes)
{
    struct run r = {.seed = seed};
    r.fixture = MEM_NEW(struct fixture);
    cluster_start(&r.fixture->cluster, 3);
    mount_open_as(&r.fixture->a, &r.fixture->cluster,
                  (struct file_options){.cache_bytes = 2 * MIB,
                                        .dirty_bytes = dirty_bytes,
                                        .atime = true,
                                        .inline_bytes = seed & 2 ? LIMIT_INLINE_BYTES : 0,
                                        .inline_look_ns = seed & 4 ? 5 * NS_PER_MS : 0});
    mount_open(&r.fixture->b, &r.fixture->cluster, MIB, dirty_bytes);
    r.model.bytes = mem_zalloc(SPACE);
    r.buffer = mem_alloc(SPACE);
    prng_seed(&r.prng, seed);
    r.a = create_it(&r.fixture->a, "model");
    r.ino = open_file_ino(r.a);
    for (r.step = 0; r.step < steps; r.step++)
        one_step(&r);
    do_reopen(&r);
    expect_file(&r.fixture->a, r.ino, r.model.bytes, r.model.size);
    file_close(r.a);
    free(r.model.bytes);
    free(r.buffer);
    fixture_end(r.fixture);
}

static unsigned seeds(unsigned usual)
{
    const char *text = getenv("SURF_TEST_SEEDS");
    return text ? (unsigned)atoi(text) : usual;
}

static void one_file_is_like_an_array(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= seeds(8); seed++)
        run_seed(seed, 150, seed % 2 ? 64 * MIB : 3 * MIB);
}

/* ---- many threads ----
 *
 * Each writer owns every fourth record of a file and writes records whose bytes all have the same stamp, which grows.
 * Whoever reads a record after stamp n was written finds n or a later one, never a mixture. */

#define WRITERS 4u
#define RECORD 1500u
#define RECORDS 2000u
#define STAMPS 250u

struct shared {
    struct fixture *fixture;
    uint64_t ino;
    atomic_uint written[RECORDS]; /* the stamp that every reader of the same mount must find, at least */
    atomic_bool over;
    atomic_int failure; /* the line */
};

#define EXPECT(shared, condition)                                                                                      \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            atomic_store(&(shared)->failure, __LINE__);                                                                \
    } while (0)

struct worker {
    struct shared *shared;
    unsigned number;
    pthread_t thread;
};

static void *writer_main(void *p)
{
    struct worker *w = p;
    struct shared *s = w->shared;
    struct prng prng;
    prng_seed(&prng, w->number);
    struct open_file *h;
    bool keep;
    uint8_t record[RECORD];
    if (file_open(s->fixture->a.files, s->ino, O_RDWR, NULL, NULL, &h, &keep) != ERR_OK) {
        EXPECT(s, false);
        return NULL;
    }
    for (unsigned stamp = 1; stamp <= STAMPS && !atomic_load(&s->failure); stamp++) {
        unsigned at = (unsigned)prng_below(&prng, RECORDS / WRITERS) * WRITERS + w->number;
        unsigned next = atomic_load(&s->written[at]) + 1;
        memset(record, (int)next, sizeof record);
        EXPECT(s, file_write(h, (uint64_t)at * RECORD, record, sizeof record, NULL) == ERR_OK);
        atomic_store(&s->written[at], next);
        if (prng_below(&prng, 40) == 0)
            EXPECT(s, file_fsync(h, NULL) == ERR_OK);
        if (w->number == 0 && prng_below(&prng, 50) == 0) {
            EXPECT(s, file_flush(h, NULL) == ERR_OK);
            file_close(h);
            if (file_open(s->fixture->a.files, s->ino, O_RDWR, NULL, NULL, &h, &keep) != ERR_OK) {
                EXPECT(s, false);
                return NULL;
            }
        }
    }
    EXPECT(s, file_flush(h, NULL) == ERR_OK);
    file_close(h);
    return NULL;
}

static void *reader_main(void *p)
{
    struct worker *w = p;
    struct shared *s = w->shared;
    struct prng prng;
    prng_seed(&prng, 100 + w->number);
    struct open_file *h;
    bool keep;
    uint8_t record[RECORD];
    if (file_open(s->fixture->a.files, s->ino, O_RDONLY, NULL, NULL, &h, &keep) != ERR_OK) {
        EXPECT(s, false);
        return NULL;
    }
    while (!atomic_load(&s->over) && !atomic_load(&s->failure)) {
        unsigned at = (unsigned)prng_below(&prng, RECORDS);
        uint64_t from = (uint64_t)at * RECORD;
        /* A record over the seam of two chunks is written in two pieces. */
        if (from / MIB != (from + RECORD - 1) / MIB)
            continue;
        unsigned least = atomic_load(&s->written[at]);
        size_t got;
        EXPECT(s, file_read(h, from, record, sizeof record, NULL, &got) == ERR_OK);
        unsigned most = atomic_load(&s->written[at]) + 1;
        if (got < sizeof record) {
            EXPECT(s, least == 0);
            continue;
        }
        EXPECT(s, record[0] >= least && record[0] <= most);
        for (unsigned k = 1; k < RECORD; k++)
            EXPECT(s, record[k] == record[0]);
    }
    file_close(h);
    return NULL;
}

/* Attributes, commits and faults in between. */
static void *disturber_main(void *p)
{
    struct worker *w = p;
    struct shared *s = w->shared;
    for (unsigned k = 0; !atomic_load(&s->over); k++) {
        struct fake_server *server = &s->fixture->cluster.servers[k % 3];
        struct arena arena = {0};
        struct meta_query query = {.op = META_QUERY_GETATTR, .ino = s->ino};
        struct meta_query_reply reply;
        EXPECT(s, meta_client_query(s->fixture->a.meta, &query, NULL, &arena, &reply) == ERR_OK);
        file_overlay_attr(s->fixture->a.files, &reply.attr);
        arena_free(&arena);
        if (k % 4 == 0)
            EXPECT(s, file_commit_ino(s->fixture->a.files, s->ino, NULL) == ERR_OK);
        if (k % 4 == 1)
            server_set(server, SERVER_REFUSES);
        nanosleep(&(struct timespec){.tv_nsec = 2 * NS_PER_MS}, NULL);
        if (k % 4 == 2)
            server_restart(server);
        server_set(server, SERVER_WELL);
    }
    return NULL;
}

static void many_threads_see_their_writes(void **state)
{
    (void)state;
    struct fixture *f = MEM_NEW(struct fixture);
    struct shared *s = MEM_NEW(struct shared);
    cluster_start(&f->cluster, 3);
    mount_open_with(&f->a, &f->cluster, MIB, 2 * MIB, true);
    mount_open(&f->b, &f->cluster, MIB, 2 * MIB);
    s->fixture = f;
    struct open_file *h = create_it(&f->a, "shared");
    s->ino = open_file_ino(h);
    struct worker workers[WRITERS + 3];
    for (unsigned i = 0; i < ARRAY_SIZE(workers); i++) {
        workers[i] = (struct worker){.shared = s, .number = i};
        pthread_create(&workers[i].thread, NULL,
                       i < WRITERS       ? writer_main
                       : i < WRITERS + 2 ? reader_main
                                         : disturber_main,
                       &workers[i]);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(workers[i].thread, NULL);
    atomic_store(&s->over, true);
    for (unsigned i = WRITERS; i < ARRAY_SIZE(workers); i++)
        pthread_join(workers[i].thread, NULL);
    assert_int_equal(atomic_load(&s->failure), 0);
    file_close(h);
    uint8_t *bytes = mem_zalloc((size_t)RECORDS * RECORD);
    size_t size = 0;
    for (unsigned at = 0; at < RECORDS; at++) {
        unsigned stamp = atomic_load(&s->written[at]);
        memset(bytes + (size_t)at * RECORD, (int)stamp, RECORD);
        size = stamp ? (size_t)(at + 1) * RECORD : size;
    }
    expect_file(&f->b, s->ino, bytes, size);
    free(bytes);
    free(s);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_file_is_like_an_array),
        cmocka_unit_test(many_threads_see_their_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
