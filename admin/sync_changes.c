#include "admin/sync.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proto/wire_changes.h"
#include "sync/local.h"

#define TRY_NS (2 * NS_PER_S) /* the leader answers within half a second, if only that there is nothing */
#define RETRY_NS (200 * NS_PER_MS)
#define SETTLE_MS 100          /* one change is often followed by others, */
#define SETTLE_MAX_NS NS_PER_S /* but some follow for ever */
#define WATCHED (IN_CREATE | IN_ATTRIB | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF)

struct sync_changes {
    int inotify, root; /* root: the watch of the directory itself */
    struct wire_changes_query query;
    struct rpc_channel *leader; /* NULL: to be looked for */
    struct arena arena;
};

static void forget_leader(struct sync_changes *w)
{
    if (w->leader)
        rpc_channel_free(w->leader);
    w->leader = NULL;
}

void sync_changes_end(struct sync_command *c)
{
    if (!c->changes)
        return;
    forget_leader(c->changes);
    arena_free(&c->changes->arena);
    close(c->changes->inotify);
    free(c->changes);
    c->changes = NULL;
}

void sync_changes_directory(void *context, struct slice path)
{
    struct sync_command *c = context;
    enum err e = ERR_OK;
    char name[64];
    int fd = c->changes ? sync_local_open_directory(c->base, path, true, false, &e) : -1;
    if (fd < 0)
        return;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int watch = inotify_add_watch(c->changes->inotify, name, WATCHED | IN_ONLYDIR);
    if (watch < 0 && errno == ENOSPC)
        fprintf(stderr, "surfctl: %s: too many directories to watch (fs.inotify.max_user_watches)\n",
                admin_text(c->a, path));
    if (path.size == 0)
        c->changes->root = watch;
    close(fd);
}

/* ---- here ---- */

static bool is_own(const struct sync_changes *w, const struct inotify_event *event)
{
    if (event->len == 0)
        return false;
    return strncmp(event->name, SYNC_OWN_PREFIX, strlen(SYNC_OWN_PREFIX)) == 0 ||
           (event->wd == w->root && strcmp(event->name, SYNC_INDEX_NAME) == 0);
}

static bool drain(struct sync_changes *w)
{
    _Alignas(struct inotify_event) char buffer[16384];
    bool changed = false;
    ssize_t n;
    while ((n = read(w->inotify, buffer, sizeof buffer)) > 0) {
        for (char *at = buffer; at < buffer + n;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;
            changed = changed || !(is_own(w, event) || (event->mask & IN_IGNORED));
            at += sizeof *event + event->len;
        }
    }
    return changed;
}

static bool changed_here(struct sync_changes *w, int timeout_ms)
{
    struct pollfd p = {.fd = w->inotify, .events = POLLIN};
    bool changed = false;
    if (poll(&p, 1, timeout_ms) <= 0)
        return false;
    int64_t until_ns = clock_boot_ns() + SETTLE_MAX_NS;
    while (drain(w)) {
        changed = true;
        if (clock_boot_ns() >= until_ns)
            break;
        (void)poll(&p, 1, SETTLE_MS);
    }
    return changed;
}

/* ---- on the server ---- */

static bool find_leader(struct sync_command *c)
{
    struct survey s;
    struct err_text why = {""};
    arena_reset(&c->a->arena);
    if (survey_take(c->a, &s, &why) == ERR_OK && s.leader)
        c->changes->leader = admin_channel(c->a, s.leader->address, TRY_NS, &why);
    return c->changes->leader != NULL;
}

static bool is_others(const struct sync_command *c, const struct wire_changes *changes)
{
    for (unsigned i = 0; i < changes->count; i++)
        if (!slice_equal(changes->list[i].client, slice_str(c->client_name)))
            return true;
    return changes->missed_upto > 0;
}

/* Waits for about half a second; *ret_reached false: nobody could be asked. */
static bool changed_there(struct sync_command *c, bool *ret_reached)
{
    struct sync_changes *w = c->changes;
    struct slice message;
    struct wire_changes changes;
    struct err_text why = {""};
    *ret_reached = false;
    if (!w->leader && !find_leader(c))
        return false;
    arena_reset(&c->a->arena);
    enum err e = admin_call(c->a, w->leader, METHOD_META_CHANGES, wire_changes_query_encode(&w->query, &c->a->arena),
                            TRY_NS, &message, &why);
    if (e == ERR_OK)
        e = wire_changes_decode(message, &c->a->arena, &changes, &why);
    if (e != ERR_OK) {
        forget_leader(w);
        return false;
    }
    *ret_reached = true;
    bool began = w->query.from_now;
    w->query.after = changes.through;
    w->query.from_now = false;
    return began || is_others(c, &changes);
}

enum err sync_changes_begin(struct sync_command *c, struct err_text *why)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0)
        return err_explain(why, err_from_errno(errno), "changes can't be watched: %s", strerror(errno));
    c->changes = MEM_NEW(struct sync_changes);
    c->changes->inotify = fd;
    c->changes->root = -1;
    c->changes->query.from_now = true;
    bool reached;
    (void)changed_there(c, &reached); /* where the changes begin; else the first answer counts as one */
    return ERR_OK;
}

void sync_changes_wait(struct sync_command *c, int64_t timeout_ns)
{
    int64_t until_ns = clock_boot_ns() + timeout_ns;
    while (!rpc_cancel_fired(c->cancel) && clock_boot_ns() < until_ns) {
        bool reached;
        if (changed_there(c, &reached) || changed_here(c->changes, reached ? 0 : (int)(RETRY_NS / NS_PER_MS)))
            return;
    }
}
