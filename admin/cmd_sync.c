/* cmd_sync.c: a directory is made the same as the export, without a mount. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "admin/sync.h"
#include "base/clock.h"
#include "base/mem.h"

#define USAGE "surfctl sync [-m ADDR] [--export NAME] [--dry-run] [--links] [--watch] [--json] BASE_DIR [BLOCK_SIZE]"
#define DEFAULT_BLOCK_BYTES LIMIT_BLOCK_BYTES
#define CACHE_BYTES (64 * MIB) /* every block is read once */
#define DIRTY_BYTES (32 * MIB)
#define CLOSE_NS (5 * NS_PER_S)
#define WATCH_NS INT64_C(3600000000000) /* of quiet; then it looks once more in any case */
#define AFTER_FAILURE_NS (1 * NS_PER_S)

/* ---- arguments ---- */

static bool parse_block_size(struct sync_command *c, const char *text)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != 0 || value == 0 || value > LIMIT_BLOCK_BYTES) {
        (void)admin_usage(c->a, "%.100s: not a block size from 1 to %u bytes", text, LIMIT_BLOCK_BYTES);
        return false;
    }
    c->block_bytes = (uint32_t)value;
    return true;
}

static bool parse_servers(struct sync_command *c, const char *text)
{
    struct err_text why;
    if (rpc_address_parse_list(text, c->a->servers, LIMIT_NODES, &c->a->server_count, &why) == ERR_OK)
        return true;
    (void)admin_usage(c->a, "%s", why.text);
    return false;
}

static bool parse(struct sync_command *c, int argc, char **argv)
{
    bool only_words = false;
    unsigned words = 0;
    for (int i = 0; i < argc; i++) {
        const char *text = argv[i];
        bool has_next = i + 1 < argc;
        if (!only_words && strcmp(text, "--") == 0) {
            only_words = true;
        } else if (!only_words && (strcmp(text, "--dry-run") == 0 || strcmp(text, "-n") == 0)) {
            c->dry_run = true;
        } else if (!only_words && strcmp(text, "--links") == 0) {
            c->links = true;
        } else if (!only_words && (strcmp(text, "--watch") == 0 || strcmp(text, "-w") == 0)) {
            c->watch = true;
        } else if (!only_words && strcmp(text, "-m") == 0 && has_next) {
            if (!parse_servers(c, argv[++i]))
                return false;
        } else if (!only_words && strcmp(text, "--export") == 0 && has_next) {
            c->export_name = argv[++i];
        } else if ((!only_words && text[0] == '-') || words == 2) {
            (void)admin_usage(c->a, "sync: %.200s is not understood: " USAGE, text);
            return false;
        } else if (words++ == 0) {
            c->path = text;
        } else if (!parse_block_size(c, text)) {
            return false;
        }
    }
    if (!c->path || c->path[0] == 0)
        (void)admin_usage(c->a, "sync: a directory is needed: " USAGE);
    else if (c->dry_run && c->watch)
        (void)admin_usage(c->a, "sync: --dry-run and --watch are not for the same run");
    return c->path && c->path[0] != 0 && !(c->dry_run && c->watch);
}

/* ---- signals ---- */

struct signals {
    sigset_t set;
    struct rpc_cancel *cancel;
    pthread_t thread;
};

/* The first one ends the run in order, the second one at once. */
static void *signals_main(void *p)
{
    struct signals *s = p;
    for (unsigned count = 0;; count++) {
        int number;
        if (sigwait(&s->set, &number) != 0)
            continue;
        if (number == SIGUSR1)
            return NULL;
        if (count > 0)
            _exit(EXIT_FAILED);
        rpc_cancel_fire(s->cancel);
    }
}

/* Before any other thread is there, which all have the signals blocked then. */
static bool signals_begin(struct signals *s, struct rpc_cancel *cancel)
{
    s->cancel = cancel;
    admin_block_ends(&s->set);
    sigaddset(&s->set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &s->set, NULL);
    return pthread_create(&s->thread, NULL, signals_main, s) == 0;
}

static void signals_end(struct signals *s)
{
    pthread_kill(s->thread, SIGUSR1);
    pthread_join(s->thread, NULL);
}

/* ---- the directory ---- */

static enum err open_base(struct sync_command *c, struct err_text *why)
{
    c->base = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->base < 0)
        return err_explain(why, err_from_errno(errno), "%.180s: %s", c->path, strerror(errno));
    if (flock(c->base, LOCK_EX | LOCK_NB) == 0)
        return ERR_OK;
    return errno == EWOULDBLOCK ? err_explain(why, ERR_LOCKED, "%.180s is being synced by another process", c->path)
                                : err_explain(why, err_from_errno(errno), "%.180s: %s", c->path, strerror(errno));
}

static enum err open_export(struct sync_command *c, struct err_text *why)
{
    char host[64] = "";
    if (c->surf)
        return ERR_OK;
    gethostname(host, sizeof host - 1);
    snprintf(c->client_name, sizeof c->client_name, "%s:sync:%d:%.150s", host, (int)getpid(), c->path);
    struct surf_options options = {.servers = c->a->servers,
                                   .server_count = c->a->server_count,
                                   .export_name = c->export_name,
                                   .client_name = c->client_name,
                                   .mount_timeout_ns = c->a->timeout_ns,
                                   .soft_timeout_ns = c->a->timeout_ns,
                                   .cache_bytes = CACHE_BYTES,
                                   .dirty_bytes = DIRTY_BYTES};
    return surf_open_export(&options, &c->surf, why);
}

/* The cluster's id, and the export in it. */
static void name_owner(const struct sync_command *c, char owner[SYNC_OWNER_BYTES])
{
    uint8_t id[16];
    size_t at = 0;
    surf_cluster(c->surf, id);
    for (size_t i = 0; i < sizeof id; i++)
        at += (size_t)snprintf(owner + at, SYNC_OWNER_BYTES - at, "%02x", id[i]);
    snprintf(owner + at, SYNC_OWNER_BYTES - at, ":/%.255s", c->export_name);
}

static void close_export(struct sync_command *c)
{
    surf_close_export(c->surf, CLOSE_NS);
    c->surf = NULL;
}

/* ---- running ---- */

static int run_once(struct sync_command *c)
{
    struct sync_counts counts = {0};
    struct err_text why = {""};
    mode_t mask = umask(0);
    umask(mask);
    sync_output_begin(c);
    enum err e = open_export(c, &why);
    if (e == ERR_OK) {
        char owner[SYNC_OWNER_BYTES];
        name_owner(c, owner);
        struct sync_options o = {.surf = c->surf,
                                 .owner = owner,
                                 .caller = {.uid = getuid(), .gid = getgid(), .umask = mask, .cancel = c->cancel},
                                 .base = c->base,
                                 .block_bytes = c->block_bytes,
                                 .dry_run = c->dry_run,
                                 .links = c->links,
                                 .on_step = sync_output_step,
                                 .on_left_out = sync_output_left_out,
                                 .on_progress = sync_output_progress,
                                 .on_directory = c->watch ? sync_changes_directory : NULL,
                                 .context = c};
        e = sync_run(&o, c->watch ? &c->memory : NULL, &counts, &why);
    }
    if (e != ERR_OK)
        close_export(c); /* its session may have ended */
    c->is_behind = e != ERR_OK || counts.failed > 0;
    return sync_output_end(c, &counts, e, &why);
}

static int run_watching(struct sync_command *c)
{
    struct err_text why = {""};
    enum err e = sync_changes_begin(c, &why);
    if (e != ERR_OK)
        return admin_fail(c->a, e, &why);
    while (!rpc_cancel_fired(c->cancel)) {
        (void)run_once(c);
        sync_changes_wait(c, c->is_behind ? AFTER_FAILURE_NS : WATCH_NS);
    }
    sync_changes_end(c);
    return EXIT_DONE;
}

static int run_sync(struct admin *a, int argc, char **argv)
{
    struct sync_command c = {.a = a, .export_name = "default", .block_bytes = DEFAULT_BLOCK_BYTES, .base = -1};
    struct signals signals;
    struct err_text why = {""};
    if (!parse(&c, argc, argv))
        return EX_USAGE;
    enum err e = open_base(&c, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    c.cancel = rpc_cancel_new();
    if (!signals_begin(&signals, c.cancel))
        return admin_fail(a, ERR_NOMEM, &why);
    int code = c.watch ? run_watching(&c) : run_once(&c);
    close_export(&c);
    signals_end(&signals);
    sync_memory_free(&c.memory);
    rpc_cancel_free(c.cancel);
    close(c.base);
    return code;
}

const struct admin_command command_sync = {"sync",
                                           "[-m ADDR] [--export NAME] [--dry-run] [--watch] BASE_DIR [BLOCK_SIZE]",
                                           "make a directory the same as the export, without a mount",
                                           0,
                                           12,
                                           run_sync};
