/* log.h: one line per event on stderr: time, level, module, message. Thread-safe. Values are never secrets.
 * A line is written with one write(2), control characters in it are replaced. */
#pragma once

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level); /* lines below it are dropped; INFO at start */
void log_set_name(const char *name);      /* e.g. "surfd[2]"; copied */
int log_enabled(enum log_level level);
/* From now on lines go to the system's log, which listens on this socket (LOG_SYSTEM), and not to stderr. They are lost
 * while nobody does: waiting for a log daemon could mean waiting for oneself. Once, before there are other threads. */
#define LOG_SYSTEM "/dev/log"
void log_to_system(const char *path);
void log_write(enum log_level level, const char *module, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_debug(...) (log_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, LOG_MODULE, __VA_ARGS__) : (void)0)
#define log_info(...) log_write(LOG_INFO, LOG_MODULE, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, LOG_MODULE, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, LOG_MODULE, __VA_ARGS__)
/* Each .c file that logs defines LOG_MODULE, e.g. #define LOG_MODULE "raftlog", before it includes this. */
