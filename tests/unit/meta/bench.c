/* bench.c: what one apply or query costs, on one thread, without raft.
 *
 *   bench_meta [FILES]      default 100000 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "base/prng.h"
#include "tests/unit/meta/fixture.h"

static struct fixture f;

struct timer {
    int64_t wall_ns, cpu_ns;
};

/* CPU time of this thread: RocksDB's background work is not in it. */
static int64_t thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static struct timer timer_begin(void)
{
    return (struct timer){clock_boot_ns(), thread_cpu_ns()};
}

static void report(const char *what, struct timer t, unsigned count)
{
    printf("%-50s %10.2f us, %10.2f us of CPU\n", what, (double)(clock_boot_ns() - t.wall_ns) / 1e3 / count,
           (double)(thread_cpu_ns() - t.cpu_ns) / 1e3 / count);
    fflush(stdout);
}

static void name_of(char name[32], unsigned i)
{
    snprintf(name, 32, "file-%u", i);
}

static void fill(struct meta_extent *e, struct prng *p, uint64_t offset, uint64_t length)
{
    *e = (struct meta_extent){.file_offset = offset, .length = length};
    for (unsigned i = 0; i < 4; i++)
        put_u64be(e->block.bytes + 8 * i, prng_next(p) | 1);
}

static struct meta_reply commit(uint64_t ino, const struct meta_extent *extents, unsigned count)
{
    const struct meta_extent *last = &extents[count - 1];
    struct meta_command c = {
        .op = META_COMMIT,
        .commit = {
            .ino = ino, .extents = extents, .extent_count = count, .size_at_least = last->file_offset + last->length}};
    return fixture_call(&f, c);
}

static uint64_t bench_names(unsigned files, struct prng *p)
{
    char name[32];
    uint64_t directory = make_directory(&f, META_ROOT_INO, "d").attr.ino, first = 0;
    struct timer t = timer_begin();
    for (unsigned i = 0; i < files; i++) {
        name_of(name, i);
        struct meta_reply r = make_file(&f, directory, name);
        first = i == 0 ? r.attr.ino : first;
    }
    report("create", t, files);
    t = timer_begin();
    for (unsigned i = 0; i < files; i++) {
        arena_reset(&f.arena);
        name_of(name, (unsigned)prng_below(p, files));
        do_lookup(&f, directory, name);
    }
    report("lookup, random", t, files);
    t = timer_begin();
    for (unsigned i = 0; i < files; i++) {
        arena_reset(&f.arena);
        do_getattr(&f, first + prng_below(p, files));
    }
    report("getattr, random", t, files);
    t = timer_begin();
    unsigned along = 0;
    for (unsigned i = 0; along < files; i++) {
        arena_reset(&f.arena);
        name_of(name, (unsigned)prng_below(p, files));
        along += fixture_query(&f, (struct meta_query){.op = META_QUERY_LOOKUP,
                                                       .ino = directory,
                                                       .name = slice_str(name),
                                                       .max_count = LIMIT_LOOK_AHEAD})
                     .entry_count;
    }
    report("what a lookup brings along, per entry", t, along);
    t = timer_begin();
    struct meta_query q = {.op = META_QUERY_READDIR, .ino = directory, .with_attr = true};
    for (unsigned seen = 0; seen < files;) {
        arena_reset(&f.arena);
        struct meta_query_reply r = fixture_query(&f, q);
        seen += r.entry_count;
        q.cookie = r.entries[r.entry_count - 1].cookie;
    }
    report("readdir with attributes, per entry", t, files);
    return first;
}

static void bench_contents(unsigned files, uint64_t first, struct prng *p)
{
    static struct meta_extent extents[LIMIT_COMMIT_EXTENTS];
    struct timer t = timer_begin();
    for (unsigned i = 0; i < files; i++) {
        fill(&extents[0], p, 0, 4096);
        commit(first + i, extents, 1);
    }
    report("commit of a first extent", t, files);

    uint64_t ino = make_file(&f, META_ROOT_INO, "appended").attr.ino;
    unsigned appends = files;
    t = timer_begin();
    for (unsigned i = 0; i < appends; i++) {
        fill(&extents[0], p, (uint64_t)i * 4096, 4096);
        commit(ino, extents, 1);
    }
    report("commit of 4 KiB behind the last, to one file", t, appends);
    t = timer_begin();
    for (unsigned i = 0; i < files; i++) {
        fill(&extents[0], p, prng_below(p, appends) * 4096, 4096);
        commit(ino, extents, 1);
    }
    report("commit of 4 KiB over others, random", t, files);
    t = timer_begin();
    for (unsigned i = 0; i < files; i++) {
        arena_reset(&f.arena);
        fixture_query(&f,
                      (struct meta_query){
                          .op = META_QUERY_LAYOUT, .ino = ino, .offset = prng_below(p, appends) * 4096, .length = 1});
    }
    report("layout of one extent, random", t, files);

    uint64_t big = make_file(&f, META_ROOT_INO, "big").attr.ino;
    for (unsigned round = 0; round < 2; round++) {
        t = timer_begin();
        for (unsigned n = 0; n < 20; n++) {
            for (unsigned i = 0; i < 512; i++)
                fill(&extents[i], p, ((uint64_t)n * 512 + i) * LIMIT_BLOCK_BYTES, LIMIT_BLOCK_BYTES);
            commit(big, extents, 512);
        }
        report(round ? "commit of 512 blocks over others" : "commit of 512 blocks", t, 20);
    }
    t = timer_begin();
    do_remove(&f, META_ROOT_INO, "appended");
    report("unlink of a file of many extents", t, 1);
    t = timer_begin();
    unsigned commands = reap_all(&f);
    report("reaping it, per command", t, commands);
}

static void bench_removal(unsigned files)
{
    char name[32];
    uint64_t directory = do_lookup(&f, META_ROOT_INO, "d").attr.ino;
    struct timer t = timer_begin();
    for (unsigned i = 0; i < files; i++) {
        name_of(name, i);
        do_remove(&f, directory, name);
    }
    report("unlink", t, files);
    t = timer_begin();
    report("reaping, per command", t, reap_all(&f));
    t = timer_begin();
    fixture_end_session(&f, f.session);
    report("end of a session", t, 1);
    t = timer_begin();
    fixture_query(&f, (struct meta_query){.op = META_QUERY_SESSIONS});
    report("list of sessions", t, 1);
}

int main(int argc, char **argv)
{
    unsigned files = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
    struct prng p;
    prng_seed(&p, 1);
    if (files == 0)
        return fprintf(stderr, "usage: bench_meta [FILES]\n"), 64;
    fixture_open(&f);
    uint64_t first = bench_names(files, &p);
    bench_contents(files, first, &p);
    bench_removal(files);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("peak memory %ld MiB\n", usage.ru_maxrss / 1024);
    meta_close(f.meta);
    fixture_remove(&f);
    return 0;
}
