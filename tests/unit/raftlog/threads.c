/* Readers on several threads while the writer appends, truncates, rolls and compacts. Meant for TSan. */
#include "tests/unit/raftlog/fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/mem.h"

#define LOG_MODULE "test"
#include "base/log.h"

#define READERS 3u
#define ROUNDS 400u

struct shared {
    struct raftlog *log;
    atomic_bool stop;
    atomic_uint reads;
};

/* Whatever is read is an entry that was written whole: its data follows from its index and term. */
static void check_entry(const struct raft_entry *e, uint64_t index)
{
    _cleanup_(bytes_free) struct bytes data = {0};
    entry_data(index, e->term, &data);
    if (e->index != index || !slice_equal(e->data, bytes_slice(&data))) {
        fprintf(stderr, "index %llu: something else was read\n", (unsigned long long)index);
        abort(); /* cmocka's assertions belong to the main thread */
    }
}

static void *reader(void *arg)
{
    struct shared *s = arg;
    struct bytes buffer = {0};
    struct raft_entry entries[8];
    struct prng p;
    prng_seed(&p, 42);
    while (!atomic_load(&s->stop)) {
        struct raftlog_bounds b;
        raftlog_bounds(s->log, &b);
        if (b.last_index == b.compacted_index)
            continue;
        uint64_t at = prng_between(&p, b.compacted_index + 1, b.last_index), term;
        unsigned count = 0;
        enum err e = raftlog_read(s->log, at, 8, 2000, &buffer, entries, &count);
        for (unsigned i = 0; e == ERR_OK && i < count; i++)
            check_entry(&entries[i], at + i);
        enum err t = raftlog_term(s->log, at, &term);
        if ((e != ERR_OK && e != ERR_NOT_FOUND) || (t != ERR_OK && t != ERR_NOT_FOUND))
            abort();
        atomic_fetch_add(&s->reads, 1);
    }
    bytes_free(&buffer);
    return NULL;
}

static void write_rounds(struct shared *s, struct model *m)
{
    for (unsigned n = 0; n < ROUNDS; n++) {
        if (n % 6 == 5 && m->last > m->compacted)
            must_truncate_append(s->log, m, m->last - MIN(m->last - m->compacted, n % 13), m->hard.term + 1, 2);
        else
            must_append(s->log, m, m->hard.term ? m->hard.term : 1, 1 + n % 5);
        if (n % 29 == 28)
            assert_int_equal(raftlog_compact(s->log, m->last * 9 / 10, &m->compacted), ERR_OK);
        unsigned seen = atomic_load(&s->reads);
        while (n % 50 == 49 && atomic_load(&s->reads) == seen)
            ; /* let the readers take part, however slow they are */
    }
}

static void test_readers_and_writer(void **state)
{
    (void)state;
    char path[] = "/tmp/surf-raftlog-XXXXXX";
    assert_non_null(mkdtemp(path));
    struct raftlog_options o = {.files = file_table_system(), .path = path, .segment_bytes = 8192, .identity = {7}};
    struct shared s = {.log = must_open(&o, NULL)};
    struct model m = {0};
    pthread_t threads[READERS];
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader, &s), 0);
    write_rounds(&s, &m);
    atomic_store(&s.stop, true);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&s.reads) >= ROUNDS / 50);
    assert_true(model_matches(s.log, &m, true));
    raftlog_close(s.log);
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_readers_and_writer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
