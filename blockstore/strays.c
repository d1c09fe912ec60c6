#include "blockstore/strays.h"

#include <stdlib.h>

#include "base/mem.h"

struct stray {
    struct sha256 id;
    int64_t seen_ns;
    uint64_t walk; /* the last that met it */
};

static uint64_t key_of(const struct sha256 *id)
{
    return get_u64be(id->bytes);
}

void strays_walk_begin(struct strays *s)
{
    s->walk++;
}

int64_t strays_meet(struct strays *s, const struct sha256 *id, int64_t now_ns)
{
    struct stray *known = map_u64_get(&s->known, key_of(id));
    if (!known && s->known.count >= STRAYS_MAX)
        return now_ns;
    if (!known) {
        known = MEM_NEW(struct stray);
        *known = (struct stray){.id = *id, .seen_ns = now_ns};
        map_u64_put(&s->known, key_of(id), known);
    } else if (!sha256_equal(&known->id, id)) {
        return now_ns;
    }
    known->walk = s->walk;
    return known->seen_ns;
}

void strays_forget(struct strays *s, const struct sha256 *id)
{
    free(map_u64_remove(&s->known, key_of(id)));
}

int64_t strays_walk_end(struct strays *s)
{
    size_t at = 0;
    uint64_t key;
    void *value;
    int64_t first_ns = INT64_MAX;
    while (map_u64_next(&s->known, &at, &key, &value)) {
        struct stray *stray = value;
        if (stray->walk == s->walk) {
            first_ns = MIN(first_ns, stray->seen_ns);
            continue;
        }
        map_u64_remove(&s->known, key);
        free(stray);
    }
    return first_ns;
}

void strays_close(struct strays *s)
{
    strays_walk_begin(s); /* none was met in this one */
    (void)strays_walk_end(s);
    map_u64_free(&s->known);
}
