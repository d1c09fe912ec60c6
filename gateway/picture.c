#include "gateway/picture.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define EVENTS 64u

struct event {
    int64_t time_ns;
    char text[160];
};

struct last_node {
    uint32_t id;
    const char *state; /* survey_state_name's, which are constants */
    unsigned ignored;
};

struct last_server {
    uint32_t id;
    bool reporting, draining;
};

struct picture {
    struct event events[EVENTS]; /* a ring */
    unsigned event_count;        /* that ever were */
    bool known;                  /* there was one before, to compare with */
    bool silent;
    uint32_t leader;
    struct last_node nodes[SURVEY_NODES];
    unsigned node_count;
    struct last_server servers[LIMIT_BLOCK_SERVERS];
    unsigned server_count;
};

struct picture *picture_new(void)
{
    return MEM_NEW(struct picture);
}

void picture_free(struct picture *p)
{
    free(p);
}

PRINTF_LIKE(3, 4) static void note(struct picture *p, int64_t now_ns, const char *format, ...)
{
    struct event *e = &p->events[p->event_count++ % EVENTS];
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    e->time_ns = now_ns;
}

static void note_leader(struct picture *p, const struct survey *s, int64_t now_ns)
{
    uint32_t leader = s->leader ? s->leader->id : 0;
    if (leader != p->leader && leader)
        note(p, now_ns, "Node %u leads, in term %llu", leader, (unsigned long long)s->leader->state.term);
    else if (leader != p->leader)
        note(p, now_ns, survey_majority_serves(s) ? "There is no leader" : "There is no quorum");
    p->leader = leader;
}

static void note_nodes(struct picture *p, const struct survey *s, int64_t now_ns)
{
    for (unsigned i = 0; i < s->count; i++) {
        const struct survey_node *n = &s->nodes[i];
        const struct last_node *last = NULL;
        for (unsigned k = 0; k < p->node_count && !last; k++)
            last = p->nodes[k].id == n->id ? &p->nodes[k] : NULL;
        const char *state = survey_state_name(n);
        bool leads = strcmp(state, "LEADER") == 0; /* which is told already */
        if (!last)
            note(p, now_ns, "Node %u is there: %s", n->id, state);
        else if (strcmp(last->state, state) != 0 && !leads)
            note(p, now_ns, "Node %u: %s, was %s", n->id, state, last->state);
        if (last && n->reachable && last->ignored != n->state.unreachable_count)
            note(p, now_ns, n->state.unreachable_count ? "Node %u ignores %u others" : "Node %u hears everybody", n->id,
                 n->state.unreachable_count);
    }
    p->node_count = s->count;
    for (unsigned i = 0; i < s->count; i++)
        p->nodes[i] = (struct last_node){.id = s->nodes[i].id,
                                         .state = survey_state_name(&s->nodes[i]),
                                         .ignored = s->nodes[i].state.unreachable_count};
}

static void note_servers(struct picture *p, const struct survey *s, int64_t now_ns)
{
    if (!s->leader)
        return; /* who would know */
    const struct wire_admin_state *best = &s->leader->state;
    for (unsigned i = 0; i < best->block_server_count; i++) {
        const struct wire_admin_block_server *b = &best->block_servers[i];
        const struct last_server *last = NULL;
        for (unsigned k = 0; k < p->server_count && !last; k++)
            last = p->servers[k].id == b->id ? &p->servers[k] : NULL;
        if (last && last->reporting != b->reporting)
            note(p, now_ns, "Block server %u %s", b->id, b->reporting ? "reports again" : "does not report");
        if (last && last->draining != b->draining)
            note(p, now_ns, "Block server %u is %s", b->id, b->draining ? "drained" : "not drained any more");
    }
    p->server_count = MIN(best->block_server_count, LIMIT_BLOCK_SERVERS);
    for (unsigned i = 0; i < p->server_count; i++)
        p->servers[i] = (struct last_server){best->block_servers[i].id, best->block_servers[i].reporting,
                                             best->block_servers[i].draining};
}

void picture_note(struct picture *p, const struct survey *s, int64_t now_ns)
{
    unsigned before = p->event_count;
    note_nodes(p, s, now_ns);
    note_servers(p, s, now_ns);
    if (!p->known)
        p->event_count = before; /* nothing has changed yet */
    note_leader(p, s, now_ns);
    p->known = true, p->silent = false;
}

void picture_note_silence(struct picture *p, int64_t now_ns)
{
    if (!p->silent)
        note(p, now_ns, "No node answers");
    p->silent = true;
}

json_t *picture_events(const struct picture *p)
{
    json_t *list = json_array();
    unsigned count = MIN(p->event_count, EVENTS);
    for (unsigned i = 1; i <= count; i++) {
        const struct event *e = &p->events[(p->event_count - i) % EVENTS];
        json_array_append_new(
            list, json_pack("{s:f, s:s}", "time_s", (double)e->time_ns / (double)NS_PER_S, "text", e->text));
    }
    return list;
}

/* What the leader says of how far it has got with a member. */
static void add_progress(json_t *o, const struct survey *s, uint32_t id)
{
    const struct wire_admin_state *view = survey_best(s);
    for (unsigned i = 0; i < view->peer_count; i++) {
        const struct wire_admin_peer *p = &view->peers[i];
        if (p->id != id)
            continue;
        json_object_set_new(o, "voter", json_boolean(p->voter));
        if (s->leader)
            json_object_set_new(o, "match", json_integer((json_int_t)p->match));
        json_object_set_new(o, "needs_snapshot", json_boolean(p->needs_snapshot));
    }
}

/* Since its start, by method: {"META_CALL": {"count", "failed", "took_us"}}; who looks twice knows the rate. */
static json_t *work_json(const struct wire_admin_activity *a)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < a->work_count; i++) {
        const struct wire_admin_work *w = &a->work[i];
        json_object_set_new(o, rpc_method_name(w->method),
                            json_pack("{s:I, s:I, s:I}", "count", (json_int_t)w->count, "failed", (json_int_t)w->failed,
                                      "took_us", (json_int_t)w->took_us));
    }
    return o;
}

static void add_node(json_t *o, const struct survey *s, const struct survey_node *n)
{
    const struct wire_admin_state *t = &n->state;
    add_progress(o, s, n->id);
    if (!n->reachable)
        return;
    json_t *ignored = json_array();
    for (unsigned i = 0; i < t->unreachable_count; i++)
        json_array_append_new(ignored, json_integer(t->unreachable[i]));
    json_object_set_new(o, "ignores", ignored);
    json_object_set_new(o, "crashed", json_boolean(t->crashed));
    json_object_set_new(o, "suspended", json_slice(t->suspended));
    json_object_set_new(o, "version", json_slice(t->version));
    json_object_set_new(o, "uptime_s", json_integer(t->uptime_ns / NS_PER_S));
    json_object_set_new(o, "compacted", json_integer((json_int_t)t->compacted));
    json_object_set_new(o, "log_bytes", json_integer((json_int_t)t->log_bytes));
    json_object_set_new(o, "disk_free", json_integer((json_int_t)t->disk_free));
    json_object_set_new(o, "disk_total", json_integer((json_int_t)t->disk_total));
    json_object_set_new(o, "work", work_json(&t->activity));
    json_object_set_new(o, "lease_holders", json_integer((json_int_t)t->activity.lease_holders));
    json_object_set_new(o, "leased_inodes", json_integer((json_int_t)t->activity.leased_inodes));
    if (t->snapshot_total_bytes > 0)
        json_object_set_new(o, "snapshot",
                            json_pack("{s:I, s:I}", "bytes", (json_int_t)t->snapshot_bytes, "total",
                                      (json_int_t)t->snapshot_total_bytes));
}

json_t *picture_json(const struct survey *s)
{
    json_t *o = survey_json(s), *nodes = json_object_get(o, "nodes"), *node;
    size_t i;
    json_array_foreach(nodes, i, node) add_node(node, s, &s->nodes[i]);
    return o;
}
