/* log.h: one line per event on stderr: time, level, module, message. Thread-safe. Values are never secrets.
 * A line is written with one write(2), control characters in it are replaced. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level); /* lines below it are dropped; INFO at start */
void log_set_name(const char *name);      /* e.g. "surfd[2]"; copied */
int log_enabled(enum log_level level);
/* From now on lines go to the system's log, which listens on this socket (LOG_SYSTEM), and not to stderr. They are lost
 * while nobody does: waiting for a log daemon could mean waiting for oneself. Once, before there are other threads. */
#define LOG_SYSTEM "/dev/log"
void log_to_system(const char *path);
/* Of lines that others can cause as often as they like, LOG_PACE_LINES in LOG_PACE_NS are written, the others counted.
 * All zeros at first; times are the caller's, from any clock that doesn't go back. Not thread-safe. */
#define LOG_PACE_LINES 8u
#define LOG_PACE_NS INT64_C(10000000000)
struct log_pace {
    int64_t since_ns; /* when the span began */
    unsigned written, left_out;
};
bool log_pace_allows(struct log_pace *p, int64_t now_ns);
/* Of a span that is over: how many were left out, to be said in their place. They are not told of again. */
unsigned log_pace_left_out(struct log_pace *p, int64_t now_ns);

void log_write(enum log_level level, const char *module, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_debug(...) (log_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, LOG_MODULE, __VA_ARGS__) : (void)0)
#define log_info(...) log_write(LOG_INFO, LOG_MODULE, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, LOG_MODULE, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, LOG_MODULE, __VA_ARGS__)
/* Each .c file that logs defines LOG_MODULE, e.g. #define LOG_MODULE "raftlog", before it includes this. */
