#include "fusefs/terminate.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "fusefs/mount.h"
#include "fusefs/stats.h"

#define LOG_MODULE "surffs"
#include "base/log.h"

#define GRACE_NS (2 * NS_PER_S)
#define KICK_EVERY_NS (20 * NS_PER_MS)

static sigset_t awaited;                /* constant after terminate_init */
static _Atomic(struct mount *) serving; /* NULL before and after the loop */
static atomic_bool served;
static atomic_bool stats_wanted; /* asked for, and not logged yet: it may be asked before there is what to count */
static _Atomic int64_t asked_ns;
static pthread_t loop_thread; /* valid while serving */

/* Its only purpose is to interrupt the loop's wait. */
static void on_kick(int number)
{
    (void)number;
}

static void end_loop(struct mount *m, int number)
{
    log_info("signal %d (%s): unmounting", number, strsignal(number));
    fuse_session_exit(m->session);
    bool cancelled = false;
    while (!atomic_load(&served)) {
        /* libfuse looks at its exit flag only when its wait is interrupted, and one signal can come too early. */
        pthread_kill(loop_thread, SIGUSR1);
        nanosleep(&(struct timespec){.tv_nsec = KICK_EVERY_NS}, NULL);
        if (!cancelled && clock_boot_ns() - atomic_load(&asked_ns) > GRACE_NS) {
            log_warn("operations are still waiting for the cluster: they are cancelled");
            requests_cancel_all(&m->requests);
            cancelled = true;
        }
    }
}

/* Whoever comes second, the signal or the mount, finds the other. */
static void log_wanted_stats(void)
{
    struct mount *m = atomic_load(&serving);
    if (m && atomic_exchange(&stats_wanted, false))
        stats_log(m);
}

static void *wait_for_signals(void *context)
{
    (void)context;
    for (;;) {
        int number;
        if (sigwait(&awaited, &number) != 0)
            continue;
        if (number == SIGUSR2) {
            atomic_store(&stats_wanted, true);
            log_wanted_stats();
            continue;
        }
        if (atomic_load(&asked_ns) == 0)
            atomic_store(&asked_ns, clock_boot_ns());
        struct mount *m = atomic_load(&serving);
        if (m)
            end_loop(m, number);
        else if (!atomic_load(&served))
            _exit(128 + number);
    }
    return NULL;
}

void terminate_init(void)
{
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGTERM);
    sigaddset(&awaited, SIGINT);
    sigaddset(&awaited, SIGHUP);
    sigaddset(&awaited, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &awaited, NULL);
    struct sigaction kick = {.sa_handler = on_kick}, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGUSR1, &kick, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    pthread_t thread;
    thread_start(&thread, wait_for_signals, NULL);
    pthread_detach(thread);
}

void terminate_serve(struct mount *m)
{
    loop_thread = pthread_self();
    atomic_store(&serving, m);
    log_wanted_stats();
}

void terminate_served(void)
{
    atomic_store(&served, true);
    atomic_store(&serving, NULL);
}

int64_t terminate_asked_ns(void)
{
    return atomic_load(&asked_ns);
}
