#include "admin/chaos_check.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"

struct key {
    uint64_t floor;
    struct map_u64 tokens; /* register: version -> token */
    /* list */
    struct bytes longest; /* u64 tokens, the longest that was read */
    struct map_u64 acked; /* tokens whose append was acknowledged */
    uint64_t base;        /* version - elements */
    bool has_base;
};
struct chaos_check {
    pthread_mutex_t lock;
    unsigned key_count, registers;
    struct key *keys;
    struct map_u64 refused;
    unsigned violations;
    struct err_text first;
};

/* Maps hold pointers; 64 bits of a token fit where a pointer does. */
_Static_assert(sizeof(void *) == sizeof(uint64_t), "tokens are kept in maps");
static void *of_token(uint64_t token)
{
    return (void *)(uintptr_t)token;
}
static uint64_t to_token(void *value)
{
    return (uint64_t)(uintptr_t)value;
}

struct chaos_check *chaos_check_new(unsigned registers, unsigned lists)
{
    struct chaos_check *c = MEM_NEW(struct chaos_check);
    CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    c->registers = registers;
    c->key_count = registers + lists;
    c->keys = mem_zalloc(c->key_count * sizeof *c->keys);
    return c;
}

void chaos_check_free(struct chaos_check *c)
{
    for (unsigned i = 0; i < c->key_count; i++) {
        map_u64_free(&c->keys[i].tokens);
        map_u64_free(&c->keys[i].acked);
        bytes_free(&c->keys[i].longest);
    }
    map_u64_free(&c->refused);
    free(c->keys);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

unsigned chaos_check_violations(struct chaos_check *c)
{
    pthread_mutex_lock(&c->lock);
    unsigned violations = c->violations;
    pthread_mutex_unlock(&c->lock);
    return violations;
}

const char *chaos_check_first(struct chaos_check *c)
{
    return c->first.text; /* written once */
}

static void violate(struct chaos_check *c, unsigned key, const char *what, uint64_t version, uint64_t other)
{
    if (c->violations++ == 0)
        (void)!err_explain(&c->first, ERR_CORRUPT, "key %u: %s (%" PRIu64 ", %" PRIu64 ")", key, what, version, other);
}

uint64_t chaos_check_floor(struct chaos_check *c, unsigned key)
{
    CHECK(key < c->key_count);
    pthread_mutex_lock(&c->lock);
    uint64_t floor = c->keys[key].floor;
    pthread_mutex_unlock(&c->lock);
    return floor;
}

static void raise_floor(struct key *k, uint64_t version)
{
    k->floor = MAX(k->floor, version);
}

static void match(struct chaos_check *c, unsigned key, uint64_t version, uint64_t token)
{
    struct key *k = &c->keys[key];
    if (token == 0) {
        violate(c, key, "a value that nobody has written: version, token", version, token);
        return;
    }
    uint64_t known = to_token(map_u64_get(&k->tokens, version));
    if (known != 0 && known != token)
        violate(c, key, "one version has two values: tokens", known, token);
    if (map_u64_get(&c->refused, token))
        violate(c, key, "a refused change is there: version, token", version, token);
    map_u64_put(&k->tokens, version, of_token(token));
}

void chaos_check_wrote(struct chaos_check *c, unsigned key, uint64_t floor, uint64_t before, uint64_t version,
                       uint64_t token)
{
    CHECK(key < c->registers && token != 0);
    pthread_mutex_lock(&c->lock);
    if (version <= floor)
        violate(c, key, "a change came before what had been seen: its version, seen", version, floor);
    if (before != 0 && version != before + 1)
        violate(c, key, "a conditional change did not follow its condition: its version, named", version, before);
    match(c, key, version, token);
    raise_floor(&c->keys[key], version);
    pthread_mutex_unlock(&c->lock);
}

void chaos_check_refused(struct chaos_check *c, uint64_t token)
{
    pthread_mutex_lock(&c->lock);
    map_u64_put(&c->refused, token, of_token(token));
    pthread_mutex_unlock(&c->lock);
}

void chaos_check_read(struct chaos_check *c, unsigned key, uint64_t floor, uint64_t version, uint64_t token)
{
    CHECK(key < c->registers);
    pthread_mutex_lock(&c->lock);
    if (version < floor)
        violate(c, key, "a stale read: read version, seen before", version, floor);
    if (version != 0)
        match(c, key, version, token);
    raise_floor(&c->keys[key], version);
    pthread_mutex_unlock(&c->lock);
}

void chaos_check_appended(struct chaos_check *c, unsigned list, uint64_t floor, uint64_t version, uint64_t token)
{
    CHECK(list >= c->registers && list < c->key_count && token != 0);
    pthread_mutex_lock(&c->lock);
    struct key *k = &c->keys[list];
    if (version <= floor)
        violate(c, list, "an append came before what had been seen: its version, seen", version, floor);
    map_u64_put(&k->acked, token, of_token(token));
    raise_floor(k, version);
    pthread_mutex_unlock(&c->lock);
}

/* What is new at the end of a list. */
static void extend(struct chaos_check *c, unsigned list, const uint64_t *tokens, size_t from, size_t count)
{
    struct key *k = &c->keys[list];
    for (size_t i = from; i < count; i++) {
        if (tokens[i] == 0) {
            violate(c, list, "an element that nobody has appended: token, place", tokens[i], i);
            continue;
        }
        if (map_u64_get(&c->refused, tokens[i]))
            violate(c, list, "a refused append is there: token, place", tokens[i], i);
        if (map_u64_put(&k->tokens, tokens[i], of_token(tokens[i])))
            violate(c, list, "an element is there twice: token, place", tokens[i], i);
    }
    bytes_append(&k->longest, SLICE(tokens + from, (count - from) * sizeof *tokens));
}

void chaos_check_read_list(struct chaos_check *c, unsigned list, uint64_t floor, uint64_t version,
                           const uint64_t *tokens, size_t count)
{
    CHECK(list >= c->registers && list < c->key_count);
    pthread_mutex_lock(&c->lock);
    struct key *k = &c->keys[list];
    if (version < floor)
        violate(c, list, "a stale list: read version, seen before", version, floor);
    if (version != 0 && (k->has_base ? version - count != k->base : version < count))
        violate(c, list, "a list has lost or doubled elements: version, elements", version, count);
    if (version != 0 && !k->has_base) {
        k->base = version - count;
        k->has_base = true;
    }
    size_t known = k->longest.size / sizeof *tokens, common = MIN(known, count);
    if (common > 0 && memcmp(k->longest.data, tokens, common * sizeof *tokens) != 0)
        violate(c, list, "a list has other elements than before: version, elements", version, count);
    else if (count > known)
        extend(c, list, tokens, known, count);
    raise_floor(k, version);
    pthread_mutex_unlock(&c->lock);
}

unsigned chaos_check_end(struct chaos_check *c)
{
    pthread_mutex_lock(&c->lock);
    for (unsigned list = c->registers; list < c->key_count; list++) {
        struct key *k = &c->keys[list];
        size_t at = 0;
        uint64_t token;
        void *value;
        while (map_u64_next(&k->acked, &at, &token, &value))
            if (!map_u64_get(&k->tokens, token))
                violate(c, list, "an acknowledged append is not there: token, elements", token,
                        k->longest.size / sizeof token);
    }
    unsigned violations = c->violations;
    pthread_mutex_unlock(&c->lock);
    return violations;
}
