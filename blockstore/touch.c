#include "blockstore/touch.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/plant.h"

#define CAPACITY_FIRST 1024u

static uint64_t key_of(const struct sha256 *id)
{
    uint64_t key = get_u64be(id->bytes);
    return key == 0 ? 1 : key;
}

void touch_init(struct touch_table *t)
{
    *t = (struct touch_table){.begun = PLANTED(COLLECT_RESTART_FORGETS)};
}

void touch_close(struct touch_table *t)
{
    for (unsigned i = 0; i < TOUCH_EPOCHS; i++)
        free(t->sets[i].keys);
}

void touch_begin_at(struct touch_table *t, uint64_t epoch)
{
    if (!t->begun)
        t->floor = MAX(t->floor, epoch);
    t->begun = true;
}

/* ---- one epoch's ---- */

/* Where the key is, or would be. */
static size_t place_of(const struct touch_set *s, uint64_t key)
{
    size_t at = (size_t)key & (s->capacity - 1);
    while (s->keys[at] != 0 && s->keys[at] != key)
        at = (at + 1) & (s->capacity - 1);
    return at;
}

static bool set_has(const struct touch_set *s, uint64_t key)
{
    return s->count > 0 && s->keys[place_of(s, key)] == key;
}

static void set_grow(struct touch_set *s)
{
    struct touch_set larger = *s;
    larger.capacity = MAX(2 * s->capacity, CAPACITY_FIRST);
    larger.keys = mem_zalloc(larger.capacity * sizeof *larger.keys);
    for (size_t i = 0; i < s->capacity; i++)
        if (s->keys[i] != 0)
            larger.keys[place_of(&larger, s->keys[i])] = s->keys[i];
    free(s->keys);
    *s = larger;
}

static void set_add(struct touch_set *s, uint64_t key)
{
    if (2 * (s->count + 1) > s->capacity)
        set_grow(s);
    size_t at = place_of(s, key);
    s->count += s->keys[at] == 0;
    s->keys[at] = key;
}

/* Its blocks are touched in its epoch like all of which nothing is known. */
static void set_drop(struct touch_table *t, struct touch_set *s)
{
    if (s->epoch > t->floor && s->count > 0)
        t->floor = s->epoch;
    free(s->keys);
    *s = (struct touch_set){0};
}

/* ---- */

static struct touch_set *set_for(struct touch_table *t, uint64_t epoch)
{
    struct touch_set *oldest = &t->sets[0];
    for (unsigned i = 0; i < TOUCH_EPOCHS; i++) {
        if (t->sets[i].epoch == epoch)
            return &t->sets[i];
        if (t->sets[i].epoch < oldest->epoch)
            oldest = &t->sets[i];
    }
    /* Not a new one in place of a later one: who brings an old epoch is late, and its block counts as touched in the
     * oldest that is kept. */
    if (epoch < oldest->epoch)
        return oldest;
    set_drop(t, oldest);
    oldest->epoch = epoch;
    return oldest;
}

void touch_note(struct touch_table *t, const struct sha256 *id, uint64_t epoch)
{
    uint64_t key = key_of(id);
    CHECK(!touch_is_leaving(t, id));
    if (epoch <= t->floor)
        return;
    struct touch_set *s = set_for(t, epoch);
    set_add(s, key);
    if (s->count >= TOUCH_MAX)
        set_drop(t, s);
}

uint64_t touch_of(const struct touch_table *t, const struct sha256 *id)
{
    uint64_t key = key_of(id), latest = t->floor;
    if (!t->begun)
        return TOUCH_UNKNOWN;
    for (unsigned i = 0; i < TOUCH_EPOCHS; i++)
        if (t->sets[i].epoch > latest && set_has(&t->sets[i], key))
            latest = t->sets[i].epoch;
    return latest;
}

unsigned touch_leave(struct touch_table *t, const struct sha256 *ids, unsigned count, uint64_t limit, bool *ret_leaves)
{
    CHECK(count <= TOUCH_LEAVING_MAX && t->leaving_count == 0);
    for (unsigned i = 0; i < count; i++) {
        ret_leaves[i] = touch_of(t, &ids[i]) < limit || PLANTED(COLLECT_NO_RECHECK);
        if (ret_leaves[i])
            t->leaving[t->leaving_count++] = key_of(&ids[i]);
    }
    return t->leaving_count;
}

void touch_left(struct touch_table *t)
{
    t->leaving_count = 0;
}

bool touch_is_leaving(const struct touch_table *t, const struct sha256 *id)
{
    uint64_t key = key_of(id);
    for (unsigned i = 0; i < t->leaving_count; i++)
        if (t->leaving[i] == key)
            return true;
    return false;
}
