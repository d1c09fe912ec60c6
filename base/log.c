#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_BYTES 2048
#define SYSTEM_FACILITY_DAEMON (3 << 3)

static atomic_int log_level = LOG_INFO;
static pthread_mutex_t log_name_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_name[64] = "surf"; /* protected by log_name_lock */
static int system_fd = -1;         /* with system_path: set before there are threads */
static struct sockaddr_un system_path = {.sun_family = AF_UNIX};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level, level, memory_order_relaxed);
}

void log_set_name(const char *name)
{
    pthread_mutex_lock(&log_name_lock);
    snprintf(log_name, sizeof log_name, "%s", name);
    pthread_mutex_unlock(&log_name_lock);
}

void log_to_system(const char *path)
{
    snprintf(system_path.sun_path, sizeof system_path.sun_path, "%s", path);
    system_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* In the form of RFC 3164. The address goes with each line, since log daemons are started anew. */
static void send_to_system(enum log_level level, const char *text, int size)
{
    static const int severities[] = {7, 6, 4, 3};
    char message[LOG_LINE_BYTES + 128], when[32];
    time_t now = time(NULL);
    struct tm parts;
    strftime(when, sizeof when, "%b %e %H:%M:%S", localtime_r(&now, &parts));
    pthread_mutex_lock(&log_name_lock);
    int wrote = snprintf(message, sizeof message, "<%d>%s %s[%d]: %.*s", SYSTEM_FACILITY_DAEMON | severities[level],
                         when, log_name, (int)getpid(), size, text);
    pthread_mutex_unlock(&log_name_lock);
    if (wrote > 0)
        (void)!sendto(system_fd, message, (size_t)wrote, MSG_NOSIGNAL, (const struct sockaddr *)&system_path,
                      sizeof system_path);
}

int log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

void log_write(enum log_level level, const char *module, const char *format, ...)
{
    static const char *const words[] = {"DEBUG", "INFO", "WARN", "ERROR"};
    if (!log_enabled(level))
        return;
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);

    char line[LOG_LINE_BYTES];
    size_t room = sizeof line - 1; /* one for the newline */
    size_t at = strftime(line, room, "%Y-%m-%dT%H:%M:%S", &parts);
    pthread_mutex_lock(&log_name_lock);
    int wrote =
        snprintf(line + at, room - at, ".%03ldZ %s %s %s: ", now.tv_nsec / 1000000, log_name, words[level], module);
    pthread_mutex_unlock(&log_name_lock);
    if (wrote > 0)
        at += (size_t)wrote < room - at ? (size_t)wrote : room - at - 1;
    size_t message = at, tag = strlen(module) + 2, module_at = at > tag ? at - tag : 0;
    va_list args;
    va_start(args, format);
    wrote = vsnprintf(line + at, room - at, format, args);
    va_end(args);
    if (wrote > 0)
        at += (size_t)wrote < room - at ? (size_t)wrote : room - at - 1;
    for (size_t i = message; i < at; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    if (system_fd >= 0) {
        send_to_system(level, line + module_at, (int)(at - module_at));
        return;
    }
    line[at++] = '\n';
    if (write(STDERR_FILENO, line, at) < 0)
        return; /* nowhere to say so */
}

bool log_pace_allows(struct log_pace *p, int64_t now_ns)
{
    /* What was left out is told first: a new span begins with the next line after that. */
    if (p->left_out == 0 && now_ns - p->since_ns >= LOG_PACE_NS)
        *p = (struct log_pace){.since_ns = now_ns};
    if (p->written < LOG_PACE_LINES)
        p->written++;
    else
        p->left_out++;
    return p->left_out == 0;
}

unsigned log_pace_left_out(struct log_pace *p, int64_t now_ns)
{
    unsigned count = p->left_out;
    if (count == 0 || now_ns - p->since_ns < LOG_PACE_NS)
        return 0;
    *p = (struct log_pace){.since_ns = now_ns};
    return count;
}
