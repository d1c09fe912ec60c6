/* chaos_clients.c: clients that change and read keys as fast as they are answered, and have every answer judged. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/chaos.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client/kv/kv.h"

#define PAUSE_MAX_NS (3 * NS_PER_MS) /* between two operations of a client */
#define PADDING_MAX 300u             /* bytes of a value behind its token */
#define POLL_NS (20 * NS_PER_MS)
#define AT_ONCE 4u /* registers of one get_many */

struct chaos_client {
    struct chaos_work *work;
    struct meta_client *client;
    struct rpc_cancel *cancel;
    struct prng prng;
    uint64_t next_token;
    struct arena arena;
    pthread_t thread;
    pthread_mutex_t lock;
    struct chaos_counts counts;         /* under the lock */
    uint64_t versions[CHAOS_REGISTERS]; /* that it has seen last, for cas */
};

/* ---- keys and values ---- */

/* Registers, then lists; in the arena. */
static struct slice key_of(struct chaos_work *w, unsigned key, struct arena *a)
{
    char text[96];
    int size = snprintf(text, sizeof text, "%s%c%u", w->prefix, key < CHAOS_REGISTERS ? 'r' : 'l', key);
    return arena_slice(a, SLICE(text, (size_t)size));
}

static struct kv_value value_of(struct chaos_client *c, uint64_t token)
{
    size_t size = sizeof token + prng_below(&c->prng, PADDING_MAX);
    uint8_t *bytes = arena_alloc(&c->arena, size);
    memset(bytes, (int)(token & 0xff), size);
    memcpy(bytes, &token, sizeof token);
    return (struct kv_value){.type = META_KV_BYTES, .bytes = SLICE(bytes, size)};
}

/* The token of a value as value_of makes it; 0: it is none, so somebody has spoilt it. */
static uint64_t token_of(struct slice value)
{
    uint64_t token;
    if (value.size < sizeof token)
        return 0;
    memcpy(&token, value.data, sizeof token);
    for (size_t i = sizeof token; i < value.size; i++)
        if (value.data[i] != (token & 0xff))
            return 0;
    return token;
}

/* ---- operations ---- */

/* A change has ended: told, refused or unknown. */
static void changed(struct chaos_client *c, unsigned key, uint64_t floor, uint64_t before, enum err e, uint64_t version,
                    uint64_t token)
{
    struct chaos_check *check = c->work->check;
    bool is_refusal = e == ERR_VERSION || e == ERR_EXIST || e == ERR_NOT_FOUND;
    if (e == ERR_OK && key < CHAOS_REGISTERS)
        chaos_check_wrote(check, key, floor, before, version, token);
    else if (e == ERR_OK)
        chaos_check_appended(check, key, floor, version, token);
    else if (is_refusal)
        chaos_check_refused(check, token);
    if (e == ERR_OK && key < CHAOS_REGISTERS)
        c->versions[key] = version;
    pthread_mutex_lock(&c->lock);
    c->counts.writes += e == ERR_OK;
    c->counts.refused += is_refusal;
    c->counts.unknown += e != ERR_OK && !is_refusal;
    pthread_mutex_unlock(&c->lock);
}

static void change_register(struct chaos_client *c, unsigned key, bool conditional)
{
    uint64_t token = c->next_token++, version = 0, before = conditional ? c->versions[key] : 0;
    struct slice name = key_of(c->work, key, &c->arena);
    struct kv_value value = value_of(c, token);
    uint64_t floor = chaos_check_floor(c->work->check, key);
    enum err e = before != 0 ? kv_cas(c->client, name, before, &value, c->cancel, &version)
                             : kv_put(c->client, name, &value, c->cancel, &version);
    changed(c, key, floor, before, e, version, token);
}

static void append(struct chaos_client *c)
{
    uint64_t number = atomic_fetch_add(&c->work->appends, 1) / CHAOS_LIST_ELEMENTS;
    if (number >= CHAOS_LISTS)
        return;
    unsigned key = CHAOS_REGISTERS + (unsigned)number;
    uint64_t token = c->next_token++, version = 0, floor = chaos_check_floor(c->work->check, key);
    enum err e =
        kv_append(c->client, key_of(c->work, key, &c->arena), SLICE(&token, sizeof token), 0, c->cancel, &version);
    changed(c, key, floor, 0, e, version, token);
}

static enum err read_list(struct chaos_client *c, unsigned key)
{
    struct meta_kv_entry entry = {0};
    uint64_t floor = chaos_check_floor(c->work->check, key);
    enum err e = kv_get(c->client, key_of(c->work, key, &c->arena), c->cancel, &c->arena, &entry);
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    uint64_t *tokens = arena_alloc(&c->arena, (entry.value.size / sizeof(uint32_t) + 1) * sizeof *tokens);
    size_t count = 0;
    struct cursor list = cursor_of(entry.value);
    struct slice element;
    while (e == ERR_OK && kv_list_next(&list, &element)) {
        tokens[count] = 0;
        if (element.size == sizeof *tokens)
            memcpy(&tokens[count], element.data, sizeof *tokens);
        count++;
    }
    chaos_check_read_list(c->work->check, key, floor, e == ERR_OK ? entry.version : 0, tokens, count);
    return ERR_OK;
}

/* One by itself, or some of one moment. */
static enum err read_registers(struct chaos_client *c, unsigned first, unsigned count)
{
    struct slice names[CHAOS_REGISTERS];
    struct meta_kv_entry entries[CHAOS_REGISTERS];
    uint64_t floors[CHAOS_REGISTERS];
    for (unsigned i = 0; i < count; i++) {
        unsigned key = (first + i) % CHAOS_REGISTERS;
        names[i] = key_of(c->work, key, &c->arena);
        floors[i] = chaos_check_floor(c->work->check, key);
    }
    TRY(kv_get_many(c->client, names, count, c->cancel, &c->arena, entries));
    for (unsigned i = 0; i < count; i++) {
        unsigned key = (first + i) % CHAOS_REGISTERS;
        const struct meta_kv_entry *e = &entries[i];
        c->versions[key] = e->found ? e->version : 0;
        chaos_check_read(c->work->check, key, floors[i], c->versions[key], e->found ? token_of(e->value) : 0);
    }
    return ERR_OK;
}

static void one_operation(struct chaos_client *c)
{
    unsigned key = (unsigned)prng_below(&c->prng, CHAOS_REGISTERS), kind = (unsigned)prng_below(&c->prng, 100);
    uint64_t lists = atomic_load(&c->work->appends) / CHAOS_LIST_ELEMENTS + 1;
    unsigned list = CHAOS_REGISTERS + (unsigned)prng_below(&c->prng, MIN(lists, (uint64_t)CHAOS_LISTS));
    int64_t begun_ns = clock_boot_ns();
    enum err read = ERR_AGAIN;
    if (kind < 25)
        change_register(c, key, false);
    else if (kind < 50)
        change_register(c, key, true);
    else if (kind < 62)
        append(c);
    else if (kind < 66)
        read = read_list(c, list);
    else
        read = read_registers(c, key, kind < 76 ? AT_ONCE : 1);
    int64_t took_ns = clock_boot_ns() - begun_ns;
    pthread_mutex_lock(&c->lock);
    c->counts.reads += read == ERR_OK;
    c->counts.longest_ns = MAX(c->counts.longest_ns, took_ns);
    pthread_mutex_unlock(&c->lock);
    arena_reset(&c->arena);
}

static void *client_main(void *p)
{
    struct chaos_client *c = p;
    while (!atomic_load(&c->work->stop)) {
        one_operation(c);
        nanosleep(&(struct timespec){.tv_nsec = (long)prng_below(&c->prng, PAUSE_MAX_NS)}, NULL);
    }
    atomic_fetch_sub(&c->work->running, 1);
    return NULL;
}

/* ---- all of them ---- */

enum err chaos_work_begin(struct chaos_work *w, unsigned clients, int64_t open_timeout_ns, struct err_text *why)
{
    w->check = chaos_check_new(CHAOS_REGISTERS, CHAOS_LISTS);
    w->clients = mem_zalloc(clients * sizeof *w->clients);
    for (; w->client_count < clients; w->client_count++) {
        struct chaos_client *c = &w->clients[w->client_count];
        struct meta_client_options options = {.servers = w->servers,
                                              .server_count = w->server_count,
                                              .export_name = META_EXPORT_DEFAULT,
                                              .client_name = "surfctl chaos",
                                              .open_timeout_ns = open_timeout_ns,
                                              .read_from_any = w->client_count % 2 == 1};
        struct meta_attr root;
        TRY(meta_client_open(&options, &c->client, &root, why));
        c->work = w;
        c->cancel = rpc_cancel_new();
        c->next_token = ((uint64_t)w->client_count + 1) << 40;
        prng_seed(&c->prng, w->seed * CHAOS_CLIENTS_MAX + w->client_count);
        CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    }
    for (unsigned i = 0; i < clients; i++) {
        atomic_fetch_add(&w->running, 1);
        CHECK(pthread_create(&w->clients[i].thread, NULL, client_main, &w->clients[i]) == 0);
    }
    return ERR_OK;
}

bool chaos_work_stop(struct chaos_work *w, int64_t timeout_ns)
{
    int64_t end_ns = clock_boot_ns() + timeout_ns;
    atomic_store(&w->stop, true);
    while (atomic_load(&w->running) > 0 && clock_boot_ns() < end_ns)
        nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    bool all_ended = atomic_load(&w->running) == 0;
    for (unsigned i = 0; i < w->client_count; i++) {
        struct chaos_client *c = &w->clients[i];
        if (!all_ended)
            rpc_cancel_fire(c->cancel);
        if (c->thread)
            pthread_join(c->thread, NULL);
        c->thread = 0;
    }
    return all_ended;
}

enum err chaos_work_judge(struct chaos_work *w, unsigned *ret_violations, struct err_text *why)
{
    struct chaos_client *c = &w->clients[0];
    uint64_t lists = MIN(atomic_load(&w->appends) / CHAOS_LIST_ELEMENTS + 1, (uint64_t)CHAOS_LISTS);
    enum err e = read_registers(c, 0, CHAOS_REGISTERS);
    for (unsigned i = 0; i < lists && e == ERR_OK; i++) {
        e = read_list(c, CHAOS_REGISTERS + i);
        arena_reset(&c->arena);
    }
    if (e != ERR_OK)
        return err_explain(why, e, "the last reads: %s", err_message(e));
    *ret_violations = chaos_check_end(w->check);
    return ERR_OK;
}

enum err chaos_work_tidy(struct chaos_work *w)
{
    struct chaos_client *c = &w->clients[0];
    uint64_t lists = MIN(atomic_load(&w->appends) / CHAOS_LIST_ELEMENTS + 1, (uint64_t)CHAOS_LISTS);
    for (unsigned key = 0; key < CHAOS_REGISTERS + lists; key++) {
        enum err e = kv_delete(c->client, key_of(w, key, &c->arena), 0, c->cancel);
        if (e != ERR_OK && e != ERR_NOT_FOUND)
            return e;
        arena_reset(&c->arena);
    }
    return ERR_OK;
}

void chaos_work_count(struct chaos_work *w, struct chaos_counts *ret)
{
    *ret = (struct chaos_counts){0};
    for (unsigned i = 0; i < w->client_count; i++) {
        struct chaos_client *c = &w->clients[i];
        pthread_mutex_lock(&c->lock);
        ret->reads += c->counts.reads;
        ret->writes += c->counts.writes;
        ret->refused += c->counts.refused;
        ret->unknown += c->counts.unknown;
        ret->longest_ns = MAX(ret->longest_ns, c->counts.longest_ns);
        pthread_mutex_unlock(&c->lock);
    }
}

void chaos_work_end(struct chaos_work *w)
{
    for (unsigned i = 0; i < w->client_count; i++) {
        struct chaos_client *c = &w->clients[i];
        meta_client_close(c->client);
        rpc_cancel_free(c->cancel);
        pthread_mutex_destroy(&c->lock);
        arena_free(&c->arena);
    }
    free(w->clients);
    if (w->check)
        chaos_check_free(w->check);
}
