#include "trace/command.h"

#include <stdio.h>

#include "base/mem.h"

static const char *change_name(const struct meta_kv_change *c)
{
    switch (c->kind) {
    case META_KV_PUT:
        return "Put";
    case META_KV_SET:
        return "Set";
    case META_KV_CAS:
    case META_KV_CAS_VALUE:
        return "Cas";
    case META_KV_APPEND:
        return "Append";
    case META_KV_DELETE:
        return "Delete";
    }
    return "Change";
}

static void take_key(struct trace_operation *o, struct slice key)
{
    size_t size = MIN(key.size, sizeof o->key - 1);
    for (size_t i = 0; i < size; i++)
        o->key[i] = key.data[i] >= ' ' && key.data[i] < 0x7f ? (char)key.data[i] : '?';
}

struct trace_operation trace_of_command(const struct meta_command *c)
{
    bool one = c->op == META_KV && c->kv.count == 1;
    struct trace_operation o = {.id = trace_command_id(c->session, c->seq),
                                .name = one ? change_name(&c->kv.changes[0]) : "Change"};
    if (c->op == META_KV && c->kv.count > 0)
        take_key(&o, c->kv.changes[0].key);
    return o;
}

struct trace_operation trace_of_query(const struct meta_query *q, uint64_t number)
{
    struct trace_operation o = {.name = NULL};
    if (q->op != META_QUERY_KV_GET || q->key_count == 0)
        return o;
    /* Queries have no numbers of their own on the wire, so what belongs together is told by the clocks only. */
    o = (struct trace_operation){.id = trace_command_id(q->session, number), .name = "Get"};
    take_key(&o, q->keys[0]);
    return o;
}

void trace_operation(const struct trace_operation *o, const char *end, const char *detail)
{
    char tag[48];
    if (!trace_on || !o->name)
        return;
    snprintf(tag, sizeof tag, "%s%s", o->name, end);
    trace_event(o->id, tag, "{s:s*, s:s*}", "key", o->key[0] ? o->key : NULL, "detail", detail);
}
