#include "replica/sessions.h"

#include "base/mem.h"

struct session {
    int64_t heard_ns;
    bool ending;
};

void sessions_add(struct sessions *s, uint64_t id, int64_t now_ns)
{
    if (sessions_touch(s, id, now_ns))
        return;
    struct session *session = MEM_NEW(struct session);
    session->heard_ns = now_ns;
    map_u64_put(&s->map, id, session);
}

void sessions_remove(struct sessions *s, uint64_t id)
{
    free(map_u64_remove(&s->map, id));
}

bool sessions_touch(struct sessions *s, uint64_t id, int64_t now_ns)
{
    struct session *session = map_u64_get(&s->map, id);
    if (session)
        session->heard_ns = now_ns;
    return session;
}

bool sessions_is_alive(const struct sessions *s, uint64_t id)
{
    const struct session *session = map_u64_get(&s->map, id);
    return session && !session->ending;
}

int64_t sessions_silent_ns(const struct sessions *s, uint64_t id, int64_t now_ns)
{
    const struct session *session = map_u64_get(&s->map, id);
    return session ? now_ns - session->heard_ns : -1;
}

uint64_t sessions_next_expired(struct sessions *s, int64_t now_ns, int64_t timeout_ns)
{
    size_t at = 0;
    uint64_t id;
    void *value;
    while (map_u64_next(&s->map, &at, &id, &value)) {
        struct session *session = value;
        if (!session->ending && now_ns - session->heard_ns >= timeout_ns) {
            session->ending = true;
            return id;
        }
    }
    return 0;
}

void sessions_retry(struct sessions *s, uint64_t id)
{
    struct session *session = map_u64_get(&s->map, id);
    if (session)
        session->ending = false;
}

void sessions_clear(struct sessions *s)
{
    size_t at = 0;
    uint64_t id;
    void *value;
    while (map_u64_next(&s->map, &at, &id, &value))
        free(value);
    map_u64_free(&s->map);
}
