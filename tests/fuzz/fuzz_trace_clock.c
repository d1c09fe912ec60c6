/* Fuzzes vector clocks of other processes, which come in front of rpc's messages: one is taken whole or not at all, no
 * count ever falls, and what comes of it can be sent again. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "fuzz.h"
#include "trace/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace_clock clock, before, again;
    struct bytes sent = {0};
    uint8_t *input = mem_dup(data, size); /* of this size exactly */
    trace_clock_init(&clock, "own");
    trace_clock_tick(&clock);
    before = clock;
    /* Twice the first half, so that hosts are met which are known. */
    enum err first = trace_clock_merge(&clock, SLICE(input, size / 2)),
             e = trace_clock_merge(&clock, SLICE(input, size));
    CHECK((e == ERR_OK || e == ERR_PROTOCOL) && (first == ERR_OK || first == ERR_PROTOCOL));
    CHECK(e == ERR_OK || first == ERR_OK || memcmp(&clock, &before, sizeof clock) == 0);
    free(input);
    CHECK(clock.count >= 1 && clock.count <= TRACE_HOSTS && clock.hosts[0].events == 1);
    for (unsigned i = 0; i < clock.count; i++)
        CHECK(trace_host_valid(slice_str(clock.hosts[i].name)));
    trace_clock_encode(&clock, &sent);
    trace_clock_init(&again, "other");
    CHECK(trace_clock_merge(&again, bytes_slice(&sent)) == ERR_OK);
    CHECK(again.count == MIN(clock.count + 1, TRACE_HOSTS));
    bytes_free(&sent);
    return 0;
}
