#include "blockstore/suspects.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

#define AGAIN_FIRST_NS (2 * NS_PER_S)
#define AGAIN_DOUBLINGS_MAX 8u /* about nine minutes */
#define GIVE_WAY_TRIES 3u      /* who has been tried so often makes room for others; the next scrub finds it again */

static void remove_at(struct suspects *s, unsigned at)
{
    s->list[at] = s->list[--s->count];
}

/* While one is being healed its place is kept. */
static bool make_room(struct suspects *s)
{
    unsigned most = 0;
    for (unsigned i = 0; i < s->count; i++)
        if (s->list[i].tries > s->list[most].tries)
            most = i;
    if (s->healing || s->list[most].tries < GIVE_WAY_TRIES)
        return false;
    remove_at(s, most);
    return true;
}

bool suspects_add(struct suspects *s, const struct sha256 *id, bool bad)
{
    for (unsigned i = 0; i < s->count; i++)
        if (sha256_equal(&s->list[i].id, id)) {
            s->list[i].bad = s->list[i].bad || bad;
            return true;
        }
    if (s->count == SUSPECTS_MAX && !make_room(s))
        return false;
    s->list[s->count++] = (struct suspect){.id = *id, .bad = bad};
    return true;
}

const struct suspect *suspects_begin(struct suspects *s, int64_t now_ns)
{
    CHECK(!s->healing);
    for (s->at = 0; s->at < s->count; s->at++)
        if (s->list[s->at].next_ns <= now_ns) {
            s->healing = true;
            return &s->list[s->at];
        }
    return NULL;
}

bool suspects_is_bad(struct suspects *s)
{
    CHECK(s->healing);
    struct suspect *it = &s->list[s->at];
    bool news = !it->found;
    s->found += news;
    it->bad = it->found = true;
    return news;
}

void suspects_drop(struct suspects *s)
{
    CHECK(s->healing);
    s->healing = false;
    remove_at(s, s->at);
}

void suspects_healed(struct suspects *s)
{
    (void)suspects_is_bad(s);
    s->healed++;
    suspects_drop(s);
}

void suspects_is_good(struct suspects *s)
{
    CHECK(s->healing);
    s->healed += s->list[s->at].found;
    suspects_drop(s);
}

bool suspects_later(struct suspects *s, int64_t now_ns)
{
    CHECK(s->healing);
    struct suspect *it = &s->list[s->at];
    s->healing = false;
    it->next_ns = now_ns + (AGAIN_FIRST_NS << MIN(it->tries, AGAIN_DOUBLINGS_MAX));
    return it->tries++ == 0;
}

void suspects_pause(struct suspects *s)
{
    s->healing = false;
}

unsigned suspects_bad(const struct suspects *s)
{
    unsigned bad = 0;
    for (unsigned i = 0; i < s->count; i++)
        bad += s->list[i].bad;
    return bad;
}
