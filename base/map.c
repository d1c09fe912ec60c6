#include "base/map.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

/* Both maps use linear probing over a power of two, at most 3/4 used. An empty slot has value NULL; a removed one has
 * the address of `removed`, so that probing goes on over it. */
#define MAP_CAPACITY_MIN 16u
static char removed;
#define REMOVED ((void *)&removed)

static bool slot_is_live(const void *value)
{
    return value && value != REMOVED;
}

/* SplitMix64's finaliser: consecutive keys spread over the table. */
static uint64_t mix_u64(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

struct map_u64_slot {
    uint64_t key;
    void *value;
};

static struct map_u64_slot *map_u64_find(const struct map_u64 *m, uint64_t key)
{
    if (m->capacity == 0)
        return NULL;
    for (size_t i = mix_u64(key) & (m->capacity - 1);; i = (i + 1) & (m->capacity - 1)) {
        struct map_u64_slot *slot = &m->slots[i];
        if (!slot->value)
            return NULL;
        if (slot->value != REMOVED && slot->key == key)
            return slot;
    }
}

static void map_u64_place(struct map_u64 *m, uint64_t key, void *value)
{
    size_t i = mix_u64(key) & (m->capacity - 1);
    while (m->slots[i].value)
        i = (i + 1) & (m->capacity - 1);
    m->slots[i] = (struct map_u64_slot){key, value};
}

static size_t map_capacity_for(size_t count)
{
    size_t capacity = MAP_CAPACITY_MIN;
    while (capacity / 2 < count + 1)
        capacity *= 2;
    return capacity;
}

void *map_u64_get(const struct map_u64 *m, uint64_t key)
{
    struct map_u64_slot *slot = map_u64_find(m, key);
    return slot ? slot->value : NULL;
}

void *map_u64_put(struct map_u64 *m, uint64_t key, void *value)
{
    CHECK(value);
    struct map_u64_slot *slot = map_u64_find(m, key);
    if (slot) {
        void *old = slot->value;
        slot->value = value;
        return old;
    }
    if ((m->used + 1) * 4 > m->capacity * 3) {
        struct map_u64 bigger = {.capacity = map_capacity_for(m->count), .count = m->count, .used = m->count};
        bigger.slots = mem_zalloc(bigger.capacity * sizeof *bigger.slots);
        for (size_t i = 0; i < m->capacity; i++)
            if (slot_is_live(m->slots[i].value))
                map_u64_place(&bigger, m->slots[i].key, m->slots[i].value);
        free(m->slots);
        *m = bigger;
    }
    map_u64_place(m, key, value);
    m->count++, m->used++;
    return NULL;
}

void *map_u64_remove(struct map_u64 *m, uint64_t key)
{
    struct map_u64_slot *slot = map_u64_find(m, key);
    if (!slot)
        return NULL;
    void *old = slot->value;
    slot->value = REMOVED;
    m->count--;
    return old;
}

bool map_u64_next(const struct map_u64 *m, size_t *at, uint64_t *ret_key, void **ret_value)
{
    while (*at < m->capacity) {
        const struct map_u64_slot *slot = &m->slots[(*at)++];
        if (slot_is_live(slot->value)) {
            *ret_key = slot->key;
            *ret_value = slot->value;
            return true;
        }
    }
    return false;
}

void map_u64_free(struct map_u64 *m)
{
    free(m->slots);
    *m = (struct map_u64){0};
}

struct map_bytes_slot {
    struct slice key;
    uint64_t hash;
    void *value;
};

static struct map_bytes_slot *map_bytes_find(const struct map_bytes *m, struct slice key, uint64_t hash)
{
    if (m->capacity == 0)
        return NULL;
    for (size_t i = hash & (m->capacity - 1);; i = (i + 1) & (m->capacity - 1)) {
        struct map_bytes_slot *slot = &m->slots[i];
        if (!slot->value)
            return NULL;
        if (slot->value != REMOVED && slot->hash == hash && slice_equal(slot->key, key))
            return slot;
    }
}

static void map_bytes_place(struct map_bytes *m, struct map_bytes_slot slot)
{
    size_t i = slot.hash & (m->capacity - 1);
    while (m->slots[i].value)
        i = (i + 1) & (m->capacity - 1);
    m->slots[i] = slot;
}

void *map_bytes_get(const struct map_bytes *m, struct slice key)
{
    struct map_bytes_slot *slot = map_bytes_find(m, key, checksum64(key, 0));
    return slot ? slot->value : NULL;
}

void *map_bytes_put(struct map_bytes *m, struct slice key, void *value)
{
    CHECK(value);
    uint64_t hash = checksum64(key, 0);
    struct map_bytes_slot *slot = map_bytes_find(m, key, hash);
    if (slot) {
        void *old = slot->value;
        *slot = (struct map_bytes_slot){key, hash, value};
        return old;
    }
    if ((m->used + 1) * 4 > m->capacity * 3) {
        struct map_bytes bigger = {.capacity = map_capacity_for(m->count), .count = m->count, .used = m->count};
        bigger.slots = mem_zalloc(bigger.capacity * sizeof *bigger.slots);
        for (size_t i = 0; i < m->capacity; i++)
            if (slot_is_live(m->slots[i].value))
                map_bytes_place(&bigger, m->slots[i]);
        free(m->slots);
        *m = bigger;
    }
    map_bytes_place(m, (struct map_bytes_slot){key, hash, value});
    m->count++, m->used++;
    return NULL;
}

void *map_bytes_remove(struct map_bytes *m, struct slice key)
{
    struct map_bytes_slot *slot = map_bytes_find(m, key, checksum64(key, 0));
    if (!slot)
        return NULL;
    void *old = slot->value;
    slot->value = REMOVED;
    m->count--;
    return old;
}

bool map_bytes_next(const struct map_bytes *m, size_t *at, struct slice *ret_key, void **ret_value)
{
    while (*at < m->capacity) {
        const struct map_bytes_slot *slot = &m->slots[(*at)++];
        if (slot_is_live(slot->value)) {
            *ret_key = slot->key;
            *ret_value = slot->value;
            return true;
        }
    }
    return false;
}

void map_bytes_free(struct map_bytes *m)
{
    free(m->slots);
    *m = (struct map_bytes){0};
}
