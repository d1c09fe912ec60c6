/* What happens, in lines. The log of the code under test goes the same way, with simulated time. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "tests/sim/world.h"

static struct world *current;
static uint32_t whose = WORLD_NOBODY;

void trace_attach(struct world *w)
{
    current = w;
    whose = WORLD_NOBODY;
}

void trace_whose(uint32_t endpoint)
{
    whose = endpoint;
}

static void name_of(uint32_t endpoint, char to[TRACE_NAME_BYTES])
{
    if (endpoint == WORLD_NOBODY)
        snprintf(to, TRACE_NAME_BYTES, "world");
    else if (endpoint < WORLD_MEMBERS)
        snprintf(to, TRACE_NAME_BYTES, "member %u", endpoint + 1);
    else
        snprintf(to, TRACE_NAME_BYTES, "client %u", endpoint - WORLD_MEMBERS + 1);
}

void trace(struct world *w, uint32_t endpoint, const char *format, ...)
{
    char text[400], name[TRACE_NAME_BYTES];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t size = MIN((size_t)MAX(length, 0), sizeof text - 1);
    w->trace_hash = checksum64(SLICE(text, size), w->trace_hash ^ (uint64_t)w->now_ns ^ endpoint);
    if (!w->trace)
        return;
    name_of(endpoint, name);
    fprintf(w->out, "%11.3f  %-8s  %s\n", (double)w->now_ns / 1e6, name, text);
}

void world_fail(struct world *w, const char *format, ...)
{
    char text[4600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    program_found(w, text);
}

/* ---- in place of base/check.c and base/log.c ---- */

noreturn void check_failed(const char *file, int line, const char *expression)
{
    if (current)
        world_fail(current, "%s:%d: CHECK(%s)", file, line, expression);
    fprintf(stderr, "%s:%d: CHECK(%s)\n", file, line, expression);
    abort();
}

void log_set_level(enum log_level level)
{
    (void)level;
}

void log_set_name(const char *name)
{
    (void)name;
}

int log_enabled(enum log_level level)
{
    return current && current->trace && level >= LOG_INFO;
}

/* Not part of the hash: paths and sizes of files are in it. */
void log_write(enum log_level level, const char *module, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char name[TRACE_NAME_BYTES];
    va_list args;
    name_of(whose, name);
    fprintf(current->out, "%11.3f  %-8s    [%s] ", (double)current->now_ns / 1e6, name, module);
    va_start(args, format);
    vfprintf(current->out, format, args);
    va_end(args);
    fputc('\n', current->out);
}
