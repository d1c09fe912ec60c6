#include "trace/clock.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "rpc/frame.h"

#define ENTRY_BYTES_MAX (1 + TRACE_HOST_BYTES + 8)
_Static_assert(2 + TRACE_HOSTS * ENTRY_BYTES_MAX <= FRAME_CLOCK_BYTES, "every clock fits into a frame");

bool trace_host_valid(struct slice name)
{
    if (name.size < 1 || name.size > TRACE_HOST_BYTES)
        return false;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_word && c != '.' && c != '-' && c != '_')
            return false;
    }
    return true;
}

void trace_clock_init(struct trace_clock *c, const char *host)
{
    CHECK(trace_host_valid(slice_str(host)));
    *c = (struct trace_clock){.count = 1};
    memcpy(c->hosts[0].name, host, strlen(host));
}

void trace_clock_tick(struct trace_clock *c)
{
    c->hosts[0].events++;
}

void trace_clock_encode(const struct trace_clock *c, struct bytes *to)
{
    bytes_u16(to, (uint16_t)c->count);
    for (unsigned i = 0; i < c->count; i++) {
        size_t size = strlen(c->hosts[i].name);
        bytes_u8(to, (uint8_t)size);
        bytes_append(to, SLICE(c->hosts[i].name, size));
        bytes_u64(to, c->hosts[i].events);
    }
}

void trace_clock_merge_one(struct trace_clock *c, struct slice name, uint64_t events)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (!slice_equal(slice_str(c->hosts[i].name), name))
            continue;
        if (i > 0)
            c->hosts[i].events = MAX(c->hosts[i].events, events);
        return;
    }
    if (c->count == TRACE_HOSTS)
        return;
    struct trace_clock_host *h = &c->hosts[c->count++];
    *h = (struct trace_clock_host){.events = events};
    memcpy(h->name, name.data, name.size);
}

enum err trace_clock_merge(struct trace_clock *c, struct slice encoded)
{
    struct {
        struct slice name;
        uint64_t events;
    } hosts[TRACE_HOSTS];
    struct cursor in = cursor_of(encoded);
    unsigned count = cursor_u16(&in);
    if (count > TRACE_HOSTS)
        return ERR_PROTOCOL;
    for (unsigned i = 0; i < count; i++) {
        hosts[i].name = cursor_take(&in, cursor_u8(&in));
        hosts[i].events = cursor_u64(&in);
        if (!cursor_ok(&in) || !trace_host_valid(hosts[i].name))
            return ERR_PROTOCOL;
    }
    if (!cursor_done(&in))
        return ERR_PROTOCOL;
    for (unsigned i = 0; i < count; i++)
        trace_clock_merge_one(c, hosts[i].name, hosts[i].events);
    return ERR_OK;
}
