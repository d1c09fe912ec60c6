/* surf-bench-meta: how long the state takes for many files, what memory it needs for them, and how long an open takes.
 *
 *   surf-bench-meta [--files N] [--in-each N] [--directory PATH]
 * Makes N files in directories of 1000 (or --in-each), each with a commit of one extent, with a flush whenever a member
 * would flush; then opens the state anew, as a restart does, looks up files and lists pages of directories at random.
 * PATH (default: a fresh one below /tmp) is removed afterwards. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/prng.h"
#include "bench/memory.h"
#include "meta/meta.h"

#define FLUSH_EVERY 100000u /* entries: about as often as a member cuts its log */

struct state {
    struct meta *meta;
    uint64_t index, session, seq;
    uint64_t files, in_each; /* of them in each directory */
    struct prng prng;
};

static void fatal(const char *what, enum err e)
{
    fprintf(stderr, "surf-bench-meta: %s: %s\n", what, err_message(e));
    exit(1);
}

static void report(const char *what, int64_t since_ns, uint64_t count)
{
    double seconds = (double)(clock_boot_ns() - since_ns) / NS_PER_S;
    printf("%-8s %8.2f s", what, seconds);
    if (count > 0)
        printf(" %9.0f /s", (double)count / seconds);
    printf("   RSS %" PRIu64 " MiB, peak %" PRIu64 " MiB\n", memory_kib("VmRSS:") / 1024, memory_kib("VmHWM:") / 1024);
}

static void must_open(struct state *s, const char *path)
{
    struct meta_options options = {.path = path};
    struct err_text why = {""};
    if (meta_open(&options, &s->meta, &why) != ERR_OK) {
        fprintf(stderr, "%s\n", why.text);
        exit(1);
    }
}

static struct meta_reply apply(struct state *s, struct meta_command c)
{
    struct meta_reply r;
    if (s->session != 0) {
        c.session = s->session;
        c.acked = s->seq;
        c.seq = ++s->seq;
    }
    c.time_ns = (int64_t)++s->index * 1000;
    enum err e = meta_apply(s->meta, s->index, 1, &c, &r);
    if (e != ERR_OK || r.status != ERR_OK)
        fatal("a command", e != ERR_OK ? e : r.status);
    if (s->index % FLUSH_EVERY == 0 && meta_flush(s->meta, false) != ERR_OK)
        fatal("a flush", ERR_IO);
    return r;
}

static uint64_t make(struct state *s, enum meta_op op, uint64_t parent, const char *name, uint32_t mode)
{
    struct meta_command c = {.op = op,
                             .make = {.parent = parent, .name = slice_str(name), .mode = mode, .exclusive = true}};
    return apply(s, c).attr.ino;
}

static void begin(struct state *s)
{
    apply(s, (struct meta_command){.op = META_INIT, .init = {.cluster_id = {1}, .cookie_key = {2}}});
    struct meta_command open = {.op = META_SESSION_OPEN};
    open.session_open.export = slice_str(META_EXPORT_DEFAULT);
    open.session_open.client = slice_str("bench");
    s->session = apply(s, open).session;
}

static void make_files(struct state *s)
{
    uint64_t directory = 0;
    char name[32];
    for (uint64_t i = 0; i < s->files; i++) {
        if (i % s->in_each == 0) {
            snprintf(name, sizeof name, "directory-%06" PRIu64, i / s->in_each);
            directory = make(s, META_MKDIR, META_ROOT_INO, name, 0755);
        }
        snprintf(name, sizeof name, "file-%09" PRIu64, i);
        uint64_t ino = make(s, META_CREATE, directory, name, 0644);
        struct meta_extent e = {.length = 4096};
        for (size_t at = 0; at < sizeof e.block.bytes; at += 8)
            put_u64be(e.block.bytes + at, prng_next(&s->prng));
        apply(s, (struct meta_command){
                     .op = META_COMMIT,
                     .commit = {.ino = ino, .extents = &e, .extent_count = 1, .size_at_least = e.length}});
    }
}

static void must_query(struct state *s, const struct meta_query *q, struct arena *arena, struct meta_query_reply *ret)
{
    enum err e = meta_query(s->meta, q, arena, ret);
    if (e != ERR_OK || ret->status != ERR_OK)
        fatal("a query", e != ERR_OK ? e : ret->status);
}

/* The directory of a file that is drawn. */
static uint64_t draw(struct state *s, struct arena *arena, uint64_t *ret_file)
{
    char name[32];
    struct meta_query_reply r;
    *ret_file = prng_below(&s->prng, s->files);
    snprintf(name, sizeof name, "directory-%06" PRIu64, *ret_file / s->in_each);
    struct meta_query q = {.op = META_QUERY_LOOKUP, .ino = META_ROOT_INO, .name = slice_str(name)};
    arena_reset(arena);
    must_query(s, &q, arena, &r);
    return r.attr.ino;
}

static void look_up(struct state *s, uint64_t count)
{
    struct arena arena = {0};
    for (uint64_t i = 0; i < count; i++) {
        char name[32];
        struct meta_query_reply r;
        uint64_t file, directory = draw(s, &arena, &file);
        snprintf(name, sizeof name, "file-%09" PRIu64, file);
        struct meta_query q = {.op = META_QUERY_LOOKUP, .ino = directory, .name = slice_str(name)};
        must_query(s, &q, &arena, &r);
    }
    arena_free(&arena);
}

/* Pages with attributes, each from somewhere in a directory. */
static void list(struct state *s, uint64_t pages)
{
    struct arena arena = {0};
    for (uint64_t i = 0; i < pages; i++) {
        struct meta_query_reply r;
        uint64_t file, directory = draw(s, &arena, &file);
        struct meta_query q = {
            .op = META_QUERY_READDIR, .ino = directory, .cookie = prng_next(&s->prng) >> 1, .with_attr = true};
        must_query(s, &q, &arena, &r);
    }
    arena_free(&arena);
}

/* A copy for a snapshot, and a look into it. */
static void copy(struct state *s, const char *path)
{
    char to[300];
    struct arena arena = {0};
    struct err_text why = {""};
    struct meta_snapshot_info info;
    snprintf(to, sizeof to, "%s/copy", path);
    int64_t since = clock_boot_ns();
    enum err e = meta_write_out(s->meta);
    if (e == ERR_OK)
        e = meta_checkpoint(s->meta, to, &why);
    if (e == ERR_OK)
        e = meta_inspect(to, &arena, &info, &why);
    if (e != ERR_OK)
        fatal(why.text, e);
    report("copy", since, 0);
    arena_free(&arena);
}

static void run(const char *path, uint64_t files, uint64_t in_each)
{
    struct state s = {.files = files, .in_each = in_each};
    prng_seed(&s.prng, 1);
    must_open(&s, path);
    begin(&s);
    int64_t since = clock_boot_ns();
    make_files(&s);
    report("make", since, files);
    since = clock_boot_ns();
    if (meta_flush(s.meta, true) != ERR_OK)
        fatal("a flush", ERR_IO);
    report("flush", since, 0);
    since = clock_boot_ns();
    meta_close(s.meta);
    report("close", since, 0);

    since = clock_boot_ns();
    must_open(&s, path);
    report("open", since, 0);
    if (meta_applied_index(s.meta) != s.index)
        fatal("the applied index", ERR_CORRUPT);
    since = clock_boot_ns();
    look_up(&s, 100000);
    report("look up", since, 100000);
    since = clock_boot_ns();
    list(&s, 1000);
    report("page", since, 1000);
    copy(&s, path);
    meta_close(s.meta);
}

int main(int argc, char **argv)
{
    char path[256] = "/tmp/surf-bench-meta-XXXXXX", command[300];
    uint64_t files = 1000000, in_each = 1000;
    bool own = true;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--files") == 0)
            files = strtoull(argv[i + 1], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--in-each") == 0)
            in_each = strtoull(argv[i + 1], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--directory") == 0)
            own = snprintf(path, sizeof path, "%s", argv[i + 1]) < 0;
        else
            files = 0;
    }
    if (files == 0 || in_each == 0)
        return fprintf(stderr, "usage: surf-bench-meta [--files N] [--in-each N] [--directory PATH]\n"), 64;
    if (own ? !mkdtemp(path) : mkdir(path, 0700) != 0)
        fatal(path, ERR_EXIST);
    run(path, files, in_each);
    snprintf(command, sizeof command, "rm -r '%s'", path);
    return system(command) == 0 ? 0 : 1;
}
