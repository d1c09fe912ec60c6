/* surffs: mounts an export. The start, in order: options and mountpoint are checked, the session with the metastore is
 * opened, the kernel mounts; when it has got its INIT answer, the mount is up and the parent process returns. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "fusefs/kernel_cache.h"
#include "fusefs/mount.h"
#include "fusefs/mountpoint.h"
#include "fusefs/terminate.h"

#define LOG_MODULE "surffs"
#include "base/log.h"
#include "trace/trace.h"

#define THREADS_IDLE 10u
/* Every request that waits for the cluster occupies a thread, and one must be left to read interrupts. */
#define THREADS_MAX 4096u
#define CLOSE_NS (10 * NS_PER_S)
#define SETTLE_NS (1 * NS_PER_S)
#define READ_AHEAD_KB "1024"

static int ready_fd = -1; /* to the waiting parent */
static int log_fd = -1;

static int fail(const char *text)
{
    fprintf(stderr, "surffs: %s\n", text);
    return 1;
}

/* Until the mount is up, each second; said again only when there is something new. */
static void on_waiting(void *context, const char *text)
{
    static char last[1024];
    (void)context;
    if (strncmp(last, text, sizeof last - 1) == 0)
        return;
    snprintf(last, sizeof last, "%s", text);
    fprintf(stderr, "surffs: %s\n", text);
}

static void on_stale(void *context, uint64_t ino)
{
    struct mount *m = context;
    invalidator_add(&m->invalidator, ino);
}

static void drop_pages(void *context, uint64_t ino, bool are_old)
{
    struct mount *m = context;
    if (are_old)
        (void)fuse_lowlevel_notify_inval_inode(m->session, ino, 0, 0);
    invalidator_settle(&m->invalidator, ino, clock_boot_ns() + SETTLE_NS);
}

static bool pages_are_old(void *context, uint64_t ino)
{
    struct mount *m = context;
    return !surf_pages_are_current(m->surf, ino);
}

/* ---- becoming a daemon ---- */

/* In the parent: returns the exit code when the child is up or has failed. */
static int wait_for_child(pid_t child, int fd)
{
    char ready;
    ssize_t got;
    do {
        got = read(fd, &ready, 1);
    } while (got < 0 && errno == EINTR);
    if (got == 1)
        return 0;
    int status;
    if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return WEXITSTATUS(status);
    return fail("the mounting process has ended unexpectedly");
}

/* Returns in the child only. Before any thread exists. */
static void start_child(void)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        exit(fail("no pipe"));
    pid_t child = fork();
    if (child < 0)
        exit(fail("no further process"));
    if (child > 0) {
        close(fds[1]);
        exit(wait_for_child(child, fds[0]));
    }
    close(fds[0]);
    ready_fd = fds[1];
    setsid();
    if (chdir("/") != 0)
        exit(fail("can't enter /"));
}

/* A log file or a journal's socket stays; a terminal or a pipe would be kept open for as long as the mount is there. */
static bool keeps_stderr(void)
{
    struct stat st;
    return fstat(STDERR_FILENO, &st) == 0 && (S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode));
}

static void leave_terminal(const struct options *o)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (log_fd >= 0)
        dup2(log_fd, STDERR_FILENO);
    else if (!o->foreground && !keeps_stderr() && null >= 0) {
        log_to_system(LOG_SYSTEM);
        dup2(null, STDERR_FILENO);
    }
    if (!o->foreground && null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    if (null >= 0)
        close(null);
}

/* ---- the mount ---- */

/* The kernel starts with 128 KiB whatever it is told. Only mountinfo is read: the mount itself must not be touched from
 * here. */
static void raise_read_ahead(const char *mountpoint)
{
    char device[32], path[80];
    if (!mountpoint_device(mountpoint, device, sizeof device))
        return;
    snprintf(path, sizeof path, "/sys/class/bdi/%s/read_ahead_kb", device);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, READ_AHEAD_KB, strlen(READ_AHEAD_KB)) < 0)
        log_debug("%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void on_up(struct mount *m)
{
    kernel_cache_open(m);
    raise_read_ahead(m->options->mountpoint);
    log_info("%s is mounted on %s", m->options->source, m->options->mountpoint);
    leave_terminal(m->options);
    if (ready_fd >= 0) {
        char ready = 1;
        if (write(ready_fd, &ready, 1) != 1)
            log_warn("the waiting process has gone");
        close(ready_fd);
        ready_fd = -1;
    }
}

/* Nobody waits for an answer any more. */
static void on_gone(struct mount *m)
{
    requests_cancel_all(&m->requests);
}

static int serve(struct mount *m)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    CHECK(config);
    fuse_loop_cfg_set_clone_fd(config, 0);
    fuse_loop_cfg_set_idle_threads(config, THREADS_IDLE);
    fuse_loop_cfg_set_max_threads(config, THREADS_MAX);
    int result = fuse_session_loop_mt(m->session, config);
    fuse_loop_cfg_destroy(config);
    return result;
}

static int run(struct mount *m)
{
    char *arguments[] = {(char[]){"surffs"}, (char[]){"-o"}, (char *)m->options->kernel.data, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, arguments);
    m->session = fuse_session_new(&args, &mount_ops, sizeof mount_ops, m);
    fuse_opt_free_args(&args);
    if (!m->session)
        return fail("libfuse refuses the mount options");
    int result = 1;
    if (fuse_session_mount(m->session, m->options->mountpoint) != 0) {
        fprintf(stderr, "surffs: can't mount on %s\n", m->options->mountpoint);
    } else if (mount_io_install(m) != 0) {
        atomic_store(&m->mounted, true);
        fail("libfuse refuses our reads and writes");
    } else {
        atomic_store(&m->mounted, true);
        invalidator_set_session(&m->invalidator, m->session);
        invalidator_set_session(&m->listing_invalidator, m->session);
        terminate_serve(m);
        result = serve(m) == 0 ? 0 : 1;
        terminate_served();
    }
    return result;
}

static void finish(struct mount *m)
{
    int64_t left = CLOSE_NS;
    if (terminate_asked_ns())
        left = MAX(CLOSE_NS - (clock_boot_ns() - terminate_asked_ns()), NS_PER_S);
    invalidator_set_session(&m->invalidator, NULL);
    invalidator_set_session(&m->listing_invalidator, NULL);
    /* What is dirty first: when the mount has gone, people expect it to be safe. */
    surf_close_export(m->surf, left);
    if (m->session && atomic_load(&m->mounted))
        fuse_session_unmount(m->session);
    bool closed = invalidator_close(&m->invalidator);
    closed = invalidator_close(&m->listing_invalidator) && closed;
    if (m->session && closed)
        fuse_session_destroy(m->session);
    requests_close(&m->requests);
    last_told_close(&m->last_told);
    listings_close(&m->listings);
    if (atomic_load(&m->mounted))
        log_info("%s is unmounted", m->options->mountpoint);
}

static int open_and_run(const struct options *o)
{
    static struct mount mount; /* static: detached signal handling may look at it until the process is gone */
    struct mount *m = &mount;
    m->options = o;
    m->on_up = on_up;
    m->on_gone = on_gone;
    char host[64] = "", name[sizeof host + PATH_MAX];
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "%s:%s", host, o->mountpoint);
    struct surf_options surf = {.servers = o->servers,
                                .server_count = o->server_count,
                                .export_name = o->export_name,
                                .client_name = name,
                                .mount_timeout_ns = o->mount_timeout_ns,
                                .soft_timeout_ns = o->soft_timeout_ns,
                                .atime = !o->no_atime && !o->read_only,
                                .read_from_any = o->read_from_any,
                                .no_ahead = o->no_ahead,
                                .no_inline = o->no_inline,
                                .no_merge = o->no_merge || o->read_only,
                                .merge_after_ns = o->merge_after_ns,
                                .cache_bytes = o->cache_bytes,
                                .dirty_bytes = o->dirty_bytes,
                                .disk_cache = o->disk_cache[0] ? o->disk_cache : NULL,
                                .disk_cache_bytes = o->disk_cache_bytes,
                                .caches = true,
                                .inodes_max = o->inodes_max,
                                .forget_attr = kernel_cache_forget_attr,
                                .forget_names = kernel_cache_forget_names,
                                .detached = kernel_cache_detached,
                                .on_waiting = on_waiting,
                                .on_stale = on_stale,
                                .drop_pages = drop_pages,
                                .context = m};
    requests_init(&m->requests);
    last_told_init(&m->last_told);
    listings_init(&m->listings);
    invalidator_init(&m->invalidator, pages_are_old, m);
    invalidator_init(&m->listing_invalidator, NULL, NULL);
    struct err_text why = {0};
    if (surf_open_export(&surf, &m->surf, &why) != ERR_OK) {
        fprintf(stderr, "surffs: %s: %s\n", o->source, why.text);
        (void)invalidator_close(&m->invalidator);
        (void)invalidator_close(&m->listing_invalidator);
        requests_close(&m->requests);
        last_told_close(&m->last_told);
        listings_close(&m->listings);
        return 1;
    }
    listings_set_surf(&m->listings, m->surf);
    int result = run(m);
    finish(m);
    return result;
}

static int remount(const struct options *o)
{
    /* The kernel replaces all of them. */
    unsigned long flags = (mountpoint_flags(o->mountpoint) & ~o->remount_clears) | o->remount_sets;
    if (mount("surffs", o->mountpoint, NULL, MS_REMOUNT | flags, NULL) == 0)
        return 0;
    fprintf(stderr, "surffs: can't remount %s: %s\n", o->mountpoint, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    static struct options o;
    struct err_text why;
    options_parse(&o, argc, argv);
    log_set_name("surffs");
    log_set_level(o.debug ? LOG_DEBUG : LOG_INFO);
    if (mountpoint_check(o.mountpoint, sizeof o.mountpoint, o.remount, &why) != ERR_OK)
        return fail(why.text);
    if (o.log_path[0] && (log_fd = open(o.log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) < 0) {
        fprintf(stderr, "surffs: log=%s: %s\n", o.log_path, strerror(errno));
        return 1;
    }
    if (o.fake)
        return 0;
    if (o.remount)
        return remount(&o);
    if (!o.foreground)
        start_child();
    /* Memory that the kernel asks us to write back must not wait for ourselves. Needs a capability; a help, not a must.
     */
    (void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    /* Buffers of blocks are used again, not mapped anew, page by page, for each block. */
    mallopt(M_MMAP_THRESHOLD, 2 * LIMIT_BLOCK_BYTES);
    mallopt(M_TRIM_THRESHOLD, 16 * LIMIT_BLOCK_BYTES);
    terminate_init();
    if (o.trace_path[0] && trace_open_client(o.trace_path, "surffs", &why) != ERR_OK)
        return fail(why.text);
    int result = open_and_run(&o);
    options_close(&o);
    return result;
}
