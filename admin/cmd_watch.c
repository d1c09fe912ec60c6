/* cmd_watch.c: what changes in the tree, as it is committed. Asks the leader for what came after the last change that
 * was printed; when there is another leader, goes on with that one. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proto/wire_changes.h"

#define TRY_NS (2 * NS_PER_S) /* the leader answers within half a second, if only that there is nothing */
#define RETRY_NS (200 * NS_PER_MS)

struct watch {
    struct admin *a;
    struct wire_changes_query query;
    struct rpc_channel *leader; /* NULL: to be looked for */
    sigset_t ends;
    bool begun;   /* where it begins has been said */
    bool waiting; /* that there is no leader has been said */
};

/* ---- arguments ---- */

/* As the feed writes paths: no slash at the end, none doubled; the root is empty. */
static bool parse_path(struct watch *w, const char *text)
{
    if (text[0] != '/' || strlen(text) > WIRE_CHANGE_PATH_BYTES) {
        (void)admin_usage(w->a, "%.200s: a path in the export begins with '/'", text);
        return false;
    }
    char *path = arena_str(&w->a->arena, slice_str(text)), *to = path;
    for (const char *from = text; *from;) {
        while (*from == '/')
            from++;
        size_t size = strcspn(from, "/");
        if ((size == 1 && from[0] == '.') || (size == 2 && from[0] == '.' && from[1] == '.')) {
            (void)admin_usage(w->a, "%.200s: a path without . and .. is needed", text);
            return false;
        }
        if (size > 0) {
            *to++ = '/';
            memcpy(to, from, size);
            to += size;
        }
        from += size;
    }
    w->query.path = SLICE(path, to - path);
    return true;
}

static bool parse_index(struct watch *w, const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != 0 || value > INT64_MAX) {
        (void)admin_usage(w->a, "--from %.100s: not the index of a change", text);
        return false;
    }
    w->query.after = value;
    w->query.from_now = false;
    return true;
}

static bool parse(struct watch *w, int argc, char **argv)
{
    bool has_path = false;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--from") == 0 && i + 1 < argc) {
            if (!parse_index(w, argv[++i]))
                return false;
        } else if (strncmp(argv[i], "--from=", 7) == 0) {
            if (!parse_index(w, argv[i] + 7))
                return false;
        } else if (argv[i][0] == '-' || has_path) {
            (void)admin_usage(w->a, "watch: %.200s is not understood: surfctl watch [PATH] [--from INDEX] [--json]",
                              argv[i]);
            return false;
        } else if (!parse_path(w, argv[i])) {
            return false;
        } else {
            has_path = true;
        }
    }
    return true;
}

/* ---- output ---- */

static const char *time_text(int64_t time_ns, char text[40])
{
    time_t seconds = (time_t)(time_ns / NS_PER_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t used = strftime(text, 40, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + used, 40 - used, ".%09dZ", (int)(time_ns % NS_PER_S));
    return text;
}

static const char *type_text(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "symlink";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    case S_IFCHR:
    case S_IFBLK:
        return "device";
    default:
        return "unknown";
    }
}

static void print_change_json(const struct wire_change *c)
{
    char text[40];
    json_t *line = json_pack("{s:I, s:s, s:s, s:o, s:I, s:s, s:o, s:I}", "index", (json_int_t)c->index, "time",
                             time_text(c->time_ns, text), "op", wire_change_name(c->op), "path",
                             c->path.size > 0 ? json_slice(c->path) : json_null(), "inode", (json_int_t)c->ino, "type",
                             type_text(c->mode), "mount", c->client.size > 0 ? json_slice(c->client) : json_null(),
                             "session", (json_int_t)c->session);
    if (c->op == WIRE_CHANGE_RENAME || c->op == WIRE_CHANGE_EXCHANGE)
        json_object_set_new(line, "new_path", c->new_path.size > 0 ? json_slice(c->new_path) : json_null());
    admin_print_json_line(line);
}

static void print_change(struct admin *a, const struct wire_change *c)
{
    char text[40];
    printf("%" PRIu64 " %s %-8s ", c->index, time_text(c->time_ns, text), wire_change_name(c->op));
    if (c->path.size > 0)
        printf("%s", admin_text(a, c->path));
    else
        printf("inode %" PRIu64, c->ino);
    if (c->new_path.size > 0)
        printf(" %s %s", c->op == WIRE_CHANGE_EXCHANGE ? "<->" : "->", admin_text(a, c->new_path));
    if (c->client.size > 0)
        printf(" (%s)\n", admin_text(a, c->client));
    else
        printf(" (session %" PRIu64 ")\n", c->session);
}

static void print_all(struct watch *w, const struct wire_changes *changes)
{
    if (!w->begun && w->query.from_now)
        fprintf(stderr, "surfctl: watching from %" PRIu64 "\n", changes->through);
    w->begun = true;
    if (changes->missed_upto > 0 && w->a->json)
        admin_print_json_line(json_pack("{s:I}", "missed_upto", (json_int_t)changes->missed_upto));
    else if (changes->missed_upto > 0)
        fprintf(stderr, "surfctl: changes up to %" PRIu64 " were missed\n", changes->missed_upto);
    for (unsigned i = 0; i < changes->count; i++) {
        if (w->a->json)
            print_change_json(&changes->list[i]);
        else
            print_change(w->a, &changes->list[i]);
    }
}

/* ---- asking ---- */

static void find_leader(struct watch *w)
{
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take(w->a, &s, &why);
    if (e == ERR_OK && s.leader) {
        w->leader = admin_channel(w->a, s.leader->address, TRY_NS, &why);
        w->waiting = false;
        return;
    }
    if (!w->waiting)
        fprintf(stderr, "surfctl: waiting for a leader%s%s\n", why.text[0] ? ": " : "", why.text);
    w->waiting = true;
    nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
}

static void forget_leader(struct watch *w)
{
    if (w->leader)
        rpc_channel_free(w->leader);
    w->leader = NULL;
}

/* Signals end the program in here only. */
static enum err ask(struct watch *w, struct wire_changes *ret, struct err_text *why)
{
    struct slice message;
    sigprocmask(SIG_UNBLOCK, &w->ends, NULL);
    if (!w->leader)
        find_leader(w);
    enum err e = !w->leader ? ERR_NO_LEADER
                            : admin_call(w->a, w->leader, METHOD_META_CHANGES,
                                         wire_changes_query_encode(&w->query, &w->a->arena), TRY_NS, &message, why);
    sigprocmask(SIG_BLOCK, &w->ends, NULL);
    if (e == ERR_OK)
        e = wire_changes_decode(message, &w->a->arena, ret, why);
    return e;
}

/* Whether another try, or another node, may do better. */
static bool is_passing(enum err e)
{
    return e != ERR_BUSY_NOW && e != ERR_NO_METHOD && e != ERR_PROTOCOL && e != ERR_IO && e != ERR_CORRUPT;
}

static int watch(struct watch *w)
{
    for (;;) {
        struct err_text why = {""};
        struct wire_changes changes;
        enum err e = ask(w, &changes, &why);
        if (e == ERR_OK) {
            print_all(w, &changes);
            if (fflush(stdout) != 0)
                return EXIT_FAILED; /* nobody reads it any more */
            w->query.after = changes.through;
            w->query.from_now = false;
        } else if (is_passing(e)) {
            if (w->leader)
                nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
            forget_leader(w);
        } else {
            return admin_fail(w->a, e, &why);
        }
        arena_reset(&w->a->arena);
    }
}

static int run_watch(struct admin *a, int argc, char **argv)
{
    struct watch w = {.a = a, .query.from_now = true};
    _cleanup_(bytes_free) struct bytes path = {0};
    if (!parse(&w, argc, argv))
        return EX_USAGE;
    /* The arena is emptied after each answer. */
    bytes_append(&path, w.query.path);
    w.query.path = bytes_slice(&path);
    admin_end_when_unblocked(&w.ends);
    int code = watch(&w);
    forget_leader(&w);
    return code;
}

const struct admin_command command_watch = {"watch",  "[PATH] [--from INDEX]", "print what changes in the tree", 0, 4,
                                            run_watch};
