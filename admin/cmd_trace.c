/* cmd_trace.c: several processes' traces as one log, in the form that ShiViz reads: its regular expression, an empty
 * line, then for each event a line with host and clock and one with what happened. Lines are those of trace/trace.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "base/map.h"
#include "base/mem.h"

#define LINE_BYTES_MAX (256 * 1024u)
#define EVENTS_MAX 10000000u

struct event {
    json_t *line;
    const char *host;
    uint64_t number; /* of its own host's events */
    uint64_t sum;    /* of its clock: grows along every causal path, so that sorting by it keeps the order */
};
struct merge {
    struct event *events;
    size_t count, capacity;
};

static void merge_free(struct merge *m)
{
    for (size_t i = 0; i < m->count; i++)
        json_decref(m->events[i].line);
    free(m->events);
}

/* NULL: it is an event; else what is wrong with it. */
static const char *take_event(json_t *line, struct event *ret)
{
    const char *tag, *host, *key;
    json_t *clock, *body, *value;
    json_int_t id;
    if (json_unpack(line, "{s:s, s:I, s:s, s:o, s:o}", "TracerIdentity", &host, "TraceID", &id, "Tag", &tag, "Body",
                    &body, "VectorClock", &clock) != 0)
        return "not an event of a trace: TracerIdentity, TraceID, Tag, Body and VectorClock are needed";
    if (!json_is_object(clock) || json_object_size(clock) == 0)
        return "VectorClock is no object with hosts";
    if (strpbrk(host, " \t") || host[0] == 0)
        return "TracerIdentity is not one word";
    *ret = (struct event){.line = line, .host = host};
    json_object_foreach(clock, key, value)
    {
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return "a host's count in VectorClock is no number";
        ret->sum += (uint64_t)json_integer_value(value);
        if (strcmp(key, host) == 0)
            ret->number = (uint64_t)json_integer_value(value);
    }
    return ret->number > 0 ? NULL : "the own host is not in VectorClock";
}

static enum err add_line(struct merge *m, const char *text, size_t size, struct err_text *why)
{
    json_error_t error;
    json_t *line = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    struct event event;
    const char *wrong = line ? take_event(line, &event) : error.text;
    if (!wrong && m->count == EVENTS_MAX)
        wrong = "too many events";
    if (wrong) {
        json_decref(line);
        return err_explain(why, ERR_INVAL, "%.150s", wrong);
    }
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 1024;
        m->events = mem_realloc(m->events, m->capacity * sizeof *m->events);
    }
    m->events[m->count++] = event;
    return ERR_OK;
}

static enum err add_file(struct merge *m, const char *path, struct err_text *why)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_explain(why, ERR_NOT_FOUND, "%.200s: %s", path, strerror(errno));
    char *line = mem_alloc(LINE_BYTES_MAX);
    enum err e = ERR_OK;
    for (unsigned long number = 1; e == ERR_OK && fgets(line, LINE_BYTES_MAX, f); number++) {
        size_t size = strlen(line);
        struct err_text reason = {""};
        bool whole = size > 0 && line[size - 1] == '\n';
        if (!whole && feof(f))
            break; /* its writer was killed in the middle of it */
        e = whole ? add_line(m, line, size, &reason)
                  : err_explain(&reason, ERR_TOO_BIG, "longer than %u bytes", LINE_BYTES_MAX);
        if (e != ERR_OK)
            e = err_explain(why, e, "%.80s:%lu: %.150s", path, number, reason.text);
    }
    if (e == ERR_OK && ferror(f))
        e = err_explain(why, ERR_IO, "%.200s: %s", path, strerror(errno));
    fclose(f);
    free(line);
    return e;
}

static int in_causal_order(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    if (x->sum != y->sum)
        return x->sum < y->sum ? -1 : 1;
    int hosts = strcmp(x->host, y->host);
    return hosts ? hosts : (x->number > y->number) - (x->number < y->number);
}

/* ShiViz wants the events of each host without a gap: a trace that goes on in a second run of a process is two hosts.
 */
static enum err check_numbers(const struct merge *m, struct err_text *why)
{
    struct map_bytes seen = {0};
    enum err e = ERR_OK;
    for (size_t i = 0; i < m->count && e == ERR_OK; i++) {
        struct event *event = &m->events[i];
        struct event *before = map_bytes_put(&seen, slice_str(event->host), event);
        uint64_t expected = before ? before->number + 1 : 1;
        if (event->number != expected)
            e = err_explain(why, ERR_INVAL,
                            "%.60s: event %" PRIu64 " where %" PRIu64
                            " should be: a file is missing, or holds two runs",
                            event->host, event->number, expected);
    }
    map_bytes_free(&seen);
    return e;
}

static void print_event(const struct event *event)
{
    char *clock = json_dumps(json_object_get(event->line, "VectorClock"), 0);
    char *body = json_dumps(json_object_get(event->line, "Body"), JSON_COMPACT);
    printf("%s %s\n%" JSON_INTEGER_FORMAT " %s %s\n", event->host, clock,
           json_integer_value(json_object_get(event->line, "TraceID")),
           json_string_value(json_object_get(event->line, "Tag")), body);
    free(clock);
    free(body);
}

static int run_trace(struct admin *a, int argc, char **argv)
{
    struct merge m = {0};
    struct err_text why = {""};
    enum err e = ERR_OK;
    if (strcmp(argv[0], "merge") != 0)
        return admin_usage(a, "trace %s: the command is surfctl trace merge FILE...", argv[0]);
    for (int i = 1; i < argc && e == ERR_OK; i++)
        e = add_file(&m, argv[i], &why);
    if (m.count > 0)
        qsort(m.events, m.count, sizeof *m.events, in_causal_order);
    if (e == ERR_OK)
        e = check_numbers(&m, &why);
    if (e == ERR_OK) {
        printf("(?<host>\\S*) (?<clock>{.*})\\n(?<event>.*)\n\n");
        for (size_t i = 0; i < m.count; i++)
            print_event(&m.events[i]);
        if (fflush(stdout) != 0)
            e = err_explain(&why, ERR_IO, "standard output: %s", strerror(errno));
    }
    merge_free(&m);
    return e == ERR_OK ? EXIT_DONE : admin_fail(a, e, &why);
}

const struct admin_command command_trace = {"trace", "merge FILE...", "traces as one log for ShiViz",
                                            2,       1 << 20,         run_trace};
