#include "replica/orphans.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

/* A session that has not answered. Its id is that of a log entry, which is never so long. */
struct asked {
    uint64_t session : 63, asked : 1;
};

struct orphan {
    uint64_t ino;
    struct list_node ready; /* in orphans.ready when nobody is waited for */
    size_t count;
    struct asked sessions[];
};

struct orphans {
    bool (*ask)(void *context, uint64_t session, uint64_t ino);
    void *context;
    struct map_u64 sessions; /* session -> anything */
    struct map_u64 map;      /* ino -> struct orphan */
    struct list ready;
};

struct orphans *orphans_new(bool (*ask)(void *context, uint64_t session, uint64_t ino), void *context)
{
    struct orphans *o = MEM_NEW(struct orphans);
    o->ask = ask;
    o->context = context;
    list_init(&o->ready);
    return o;
}

void orphans_clear(struct orphans *o)
{
    size_t at = 0;
    uint64_t ino;
    void *value;
    while (map_u64_next(&o->map, &at, &ino, &value))
        free(value);
    map_u64_free(&o->map);
    map_u64_free(&o->sessions);
    list_init(&o->ready);
}

void orphans_free(struct orphans *o)
{
    if (!o)
        return;
    orphans_clear(o);
    free(o);
}

void orphans_session(struct orphans *o, uint64_t session)
{
    map_u64_put(&o->sessions, session, o);
}

static void answered(struct orphans *o, struct orphan *orphan, uint64_t session)
{
    for (size_t i = 0; i < orphan->count; i++) {
        if (orphan->sessions[i].session != session)
            continue;
        orphan->sessions[i] = orphan->sessions[--orphan->count];
        if (orphan->count == 0)
            list_push_back(&o->ready, &orphan->ready);
        return;
    }
}

void orphans_session_ended(struct orphans *o, uint64_t session)
{
    size_t at = 0;
    uint64_t ino;
    void *value;
    map_u64_remove(&o->sessions, session);
    while (map_u64_next(&o->map, &at, &ino, &value))
        answered(o, value, session);
}

static struct asked *find(struct orphan *orphan, uint64_t session)
{
    for (size_t i = 0; i < orphan->count; i++)
        if (orphan->sessions[i].session == session)
            return &orphan->sessions[i];
    return NULL;
}

/* again: what it was asked for may not have reached it. */
static void ask_for_all(struct orphans *o, uint64_t session, bool again)
{
    size_t at = 0;
    uint64_t ino;
    void *value;
    bool room = true;
    while (map_u64_next(&o->map, &at, &ino, &value)) {
        struct asked *a = find(value, session);
        if (!a || (a->asked && !again))
            continue;
        room = room && o->ask(o->context, session, ino);
        a->asked = room;
    }
}

void orphans_session_back(struct orphans *o, uint64_t session)
{
    ask_for_all(o, session, true);
}

void orphans_session_room(struct orphans *o, uint64_t session)
{
    ask_for_all(o, session, false);
}

void orphans_add(struct orphans *o, uint64_t ino)
{
    if (map_u64_get(&o->map, ino))
        return;
    struct orphan *orphan = mem_alloc(sizeof *orphan + o->sessions.count * sizeof orphan->sessions[0]);
    *orphan = (struct orphan){.ino = ino};
    list_node_init(&orphan->ready);
    map_u64_put(&o->map, ino, orphan);
    size_t at = 0;
    uint64_t session;
    void *value;
    while (map_u64_next(&o->sessions, &at, &session, &value)) {
        struct asked *a = &orphan->sessions[orphan->count++];
        *a = (struct asked){.session = session};
        a->asked = o->ask(o->context, session, ino);
    }
    if (orphan->count == 0)
        list_push_back(&o->ready, &orphan->ready);
}

void orphans_not_open(struct orphans *o, uint64_t session, const uint64_t *inos, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct orphan *orphan = map_u64_get(&o->map, inos[i]);
        if (orphan)
            answered(o, orphan, session);
    }
}

unsigned orphans_take(struct orphans *o, uint64_t *inos, unsigned max)
{
    unsigned count = 0;
    for (struct list_node *n; count < max && (n = list_pop_front(&o->ready));) {
        struct orphan *orphan = container_of(n, struct orphan, ready);
        inos[count++] = orphan->ino;
        map_u64_remove(&o->map, orphan->ino);
        free(orphan);
    }
    return count;
}

size_t orphans_count(const struct orphans *o)
{
    return o->map.count;
}
