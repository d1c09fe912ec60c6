/* clock.h: vector clocks (Fidge 1988, Mattern 1989): for each host how many of its events are known. Pure.
 *
 * On the wire: u16 count, then for each host u8 length, the name, u64 events. Names are words of printable characters.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#define TRACE_HOST_BYTES 48u
#define TRACE_HOSTS 128u /* in a clock; of more the first are kept */

struct trace_clock {
    unsigned count;
    struct trace_clock_host {
        char name[TRACE_HOST_BYTES + 1];
        uint64_t events;
    } hosts[TRACE_HOSTS]; /* the own one first */
};

/* 1..TRACE_HOST_BYTES letters, digits, '.', '-', '_'. */
bool trace_host_valid(struct slice name);
void trace_clock_init(struct trace_clock *c, const char *host);
void trace_clock_tick(struct trace_clock *c);
void trace_clock_encode(const struct trace_clock *c, struct bytes *to);
/* One host's count; its name must be valid. */
void trace_clock_merge_one(struct trace_clock *c, struct slice name, uint64_t events);
/* Of each host the more. ERR_PROTOCOL: it is no clock, and nothing was taken. What it says of the own host is not
 * believed beyond what is known here. */
enum err trace_clock_merge(struct trace_clock *c, struct slice encoded) MUST_USE;
