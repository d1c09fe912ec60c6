/* trace.h: what happens in this process, with vector clocks, as lines of JSON: `surfctl trace merge` makes of several
 * processes' files a log that ShiViz (https://bestchai.bitbucket.io/shiviz/) shows.
 *
 *   {"TracerIdentity":"node1","TraceID":7,"Tag":"PutRecvd","Body":{...},"VectorClock":{"node1":12,"surfctl-4711":3}}
 *
 * Clocks travel with every message between processes that trace (rpc/trace.h). One trace per process, as with its log;
 * thread-safe. Off, an event costs one comparison. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Read only, and only for TRACE. */
extern bool trace_on;

/* Before the first connection. Lines are appended; `host` is a word (trace_host_valid). */
enum err trace_open(const char *path, const char *host, struct err_text *why) MUST_USE;
/* "NAME-PID", for programs of which several run. */
enum err trace_open_client(const char *path, const char *name, struct err_text *why) MUST_USE;

/* The body as json_pack makes it of `format`, an object. id: what belongs together over several processes; 0: nothing.
 */
void trace_event(uint64_t id, const char *tag, const char *format, ...);
#define TRACE(id, tag, ...)                                                                                            \
    do {                                                                                                               \
        if (trace_on)                                                                                                  \
            trace_event(id, tag, __VA_ARGS__);                                                                         \
    } while (0)

/* The id of a command: the same wherever it is met. */
uint64_t trace_command_id(uint64_t session, uint64_t number);
