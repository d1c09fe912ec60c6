#define LOG_MODULE "trace"
#include "trace/trace.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "rpc/trace.h"
#include "trace/clock.h"

#define TAIL_BYTES 65536 /* more than any line has */

bool trace_on;

/* One per process. A file that can't be written ends the trace, not the process. */
static struct {
    pthread_mutex_t lock;
    FILE *file;
    struct trace_clock clock;
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_send(struct bytes *clock)
{
    pthread_mutex_lock(&trace.lock);
    trace_clock_encode(&trace.clock, clock);
    pthread_mutex_unlock(&trace.lock);
}

static void on_receive(struct slice clock)
{
    pthread_mutex_lock(&trace.lock);
    (void)!trace_clock_merge(&trace.clock, clock); /* one that is none changes nothing */
    pthread_mutex_unlock(&trace.lock);
}

/* False: this is no line of this host's trace. */
static bool take_clock(json_t *line)
{
    const char *host, *name;
    json_t *clock, *count;
    if (json_unpack(line, "{s:s, s:o}", "TracerIdentity", &host, "VectorClock", &clock) != 0 ||
        strcmp(host, trace.clock.hosts[0].name) != 0 || !json_is_integer(json_object_get(clock, host)))
        return false;
    trace.clock.hosts[0].events = (uint64_t)json_integer_value(json_object_get(clock, host));
    json_object_foreach(clock, name, count) if (trace_host_valid(slice_str(name)) && json_is_integer(count))
        trace_clock_merge_one(&trace.clock, slice_str(name), (uint64_t)json_integer_value(count));
    return true;
}

/* Whether it is what is left of a line of this host's trace. */
static bool is_cut_line(struct slice s)
{
    char begins[TRACE_HOST_BYTES + 32];
    int size = snprintf(begins, sizeof begins, "{\"TracerIdentity\":\"%s\"", trace.clock.hosts[0].name);
    return memcmp(s.data, begins, MIN(s.size, (size_t)size)) == 0;
}

/* A process that was started again goes on where its trace ends: the same host, whose events have no gap. What was cut
 * off in the middle of a line goes; nothing of a file that is no such trace does. */
static enum err go_on(const char *path, struct err_text *why)
{
    char tail[TAIL_BYTES];
    int fd = fileno(trace.file);
    off_t size = lseek(fd, 0, SEEK_END), from = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
    ssize_t got = size > 0 ? pread(fd, tail, sizeof tail, from) : 0;
    if (size < 0 || got < 0)
        return err_explain(why, ERR_IO, "trace %.200s: %s", path, strerror(errno));
    size_t end = (size_t)got;
    while (end > 0 && tail[end - 1] != '\n')
        end--;
    size_t begin = end > 0 ? end - 1 : 0;
    while (begin > 0 && tail[begin - 1] != '\n')
        begin--;
    bool is_ours = from == 0 && is_cut_line(SLICE((const uint8_t *)tail, (size_t)got));
    if (end > 0) {
        json_t *line = json_loadb(tail + begin, end - begin, 0, NULL);
        is_ours = take_clock(line);
        json_decref(line);
    }
    if (!is_ours)
        return err_explain(why, ERR_INVAL, "trace %.100s: it does not end as a trace of %s does", path,
                           trace.clock.hosts[0].name);
    if (end < (size_t)got && ftruncate(fd, from + (off_t)end) != 0)
        return err_explain(why, ERR_IO, "trace %.200s: %s", path, strerror(errno));
    return ERR_OK;
}

enum err trace_open(const char *path, const char *host, struct err_text *why)
{
    static const struct rpc_tracer tracer = {on_send, on_receive};
    CHECK(!trace.file);
    trace.file = fopen(path, "a+e");
    if (!trace.file)
        return err_explain(why, ERR_IO, "trace %.200s: %s", path, strerror(errno));
    trace_clock_init(&trace.clock, host);
    TRY(go_on(path, why));
    rpc_set_tracer(&tracer);
    trace_on = true;
    return ERR_OK;
}

enum err trace_open_client(const char *path, const char *name, struct err_text *why)
{
    char host[TRACE_HOST_BYTES + 1];
    snprintf(host, sizeof host, "%s-%d", name, (int)getpid());
    return trace_open(path, host, why);
}

static json_t *clock_json(void)
{
    json_t *clock = json_object();
    for (unsigned i = 0; i < trace.clock.count; i++)
        json_object_set_new(clock, trace.clock.hosts[i].name, json_integer((json_int_t)trace.clock.hosts[i].events));
    return clock;
}

void trace_event(uint64_t id, const char *tag, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    json_t *body = json_vpack_ex(NULL, 0, format, args);
    va_end(args);
    CHECK(body);
    pthread_mutex_lock(&trace.lock);
    if (trace.file) {
        trace_clock_tick(&trace.clock);
        json_t *line = json_pack("{s:s, s:I, s:s, s:o, s:o}", "TracerIdentity", trace.clock.hosts[0].name, "TraceID",
                                 (json_int_t)id, "Tag", tag, "Body", body, "VectorClock", clock_json());
        bool written =
            json_dumpf(line, trace.file, JSON_COMPACT) == 0 && putc('\n', trace.file) != EOF && fflush(trace.file) == 0;
        json_decref(line);
        if (!written) {
            log_warn("the trace ends here: %s", strerror(errno));
            fclose(trace.file);
            trace.file = NULL;
        }
    } else {
        json_decref(body);
    }
    pthread_mutex_unlock(&trace.lock);
}

uint64_t trace_command_id(uint64_t session, uint64_t number)
{
    uint8_t bytes[16];
    put_u64be(bytes, session);
    put_u64be(bytes + 8, number);
    return checksum64(SLICE(bytes, sizeof bytes), 0) >> 1; /* JSON's integers have a sign */
}
