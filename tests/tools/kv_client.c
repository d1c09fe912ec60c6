/* kv_client.c: the key/value space by client/kv/kv_queue.h, for the system tests.
 *
 *   surf-kv-client -m ADDR,... [--under-way N] appends KEY WORD COUNT   WORD-1, WORD-2, ... to a list
 *   surf-kv-client -m ADDR,... [--under-way N] puts PREFIX COUNT        PREFIX-1 = 1, ...; then each is read back
 *   surf-kv-client -m ADDR,... counter KEY COUNT                        adds 1 so many times, by get and cas
 *   surf-kv-client -m ADDR,... timed PREFIX COUNT                       puts PREFIX-1 = 1, ... one after the other
 *   surf-kv-client -m ADDR,... early PREFIX COUNT                       the same by kv_put_early
 *   surf-kv-client -m ADDR,... reread KEY COUNT                         KEY = 1, 2, ... by kv_put_early; each is read
 *                                                                       back at once
 *
 * A line for each completion, as it comes: id, outcome, version; of the last three: number, "early" or "ordinary",
 * microseconds. Ends with 0 when all have come and were good. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/kv/kv_queue.h"

#define OPEN_NS (60 * NS_PER_S)
#define TAKE_MS 120000

struct program {
    struct meta_client *client;
    unsigned under_way;
    unsigned good, bad;
};

static int usage(void)
{
    fprintf(stderr, "usage: surf-kv-client -m ADDR,... [--under-way N] appends KEY WORD COUNT | puts PREFIX COUNT | "
                    "counter KEY COUNT | timed PREFIX COUNT | early PREFIX COUNT | reread KEY COUNT\n");
    return 64;
}

/* One completion, awaited by its file descriptor. */
static bool take(struct program *p, struct kv_queue *q)
{
    struct pollfd fd = {.fd = kv_queue_fd(q), .events = POLLIN};
    struct kv_completion *c;
    if (poll(&fd, 1, TAKE_MS) != 1 || kv_queue_take(q, 0, &c) != ERR_OK) {
        fprintf(stderr, "surf-kv-client: no completion came\n");
        return false;
    }
    bool found = c->count == 0 || c->entries[0].found;
    printf("%" PRIu64 " %s %" PRIu64 "\n", c->id, found ? err_name(c->status) : "NOT_FOUND", c->changed.version);
    fflush(stdout);
    if (c->status == ERR_OK && found)
        p->good++;
    else
        p->bad++;
    kv_completion_free(c);
    return true;
}

enum operation { APPEND, PUT, GET };

static enum err submit(struct kv_queue *q, enum operation operation, const char *key, const char *word, unsigned number)
{
    char value[80], name[80];
    uint64_t id;
    struct slice read_key;
    struct meta_kv_change change = {.type = META_KV_BYTES};
    snprintf(value, sizeof value, "%s-%u", word, number);
    snprintf(name, sizeof name, "%s-%u", key, number);
    change.kind = operation == APPEND ? META_KV_APPEND : META_KV_PUT;
    change.key = slice_str(operation == APPEND ? key : name);
    change.value = slice_str(value);
    read_key = change.key;
    return operation == GET ? kv_queue_get(q, &read_key, 1, &id) : kv_queue_change(q, &change, 1, &id);
}

static int run_queue(struct program *p, enum operation operation, const char *key, const char *word, unsigned count)
{
    struct kv_queue_options options = {.client = p->client, .under_way = p->under_way, .room = 64};
    struct kv_queue *q;
    unsigned submitted = 0, good = p->good;
    bool alive = kv_queue_open(&options, &q) == ERR_OK;
    if (!alive)
        return 1;
    while (alive && p->good + p->bad - good < count) {
        enum err e = submitted < count ? submit(q, operation, key, word, submitted + 1) : ERR_BUSY_NOW;
        if (e == ERR_OK)
            submitted++;
        else
            alive = take(p, q);
    }
    kv_queue_close(q);
    return alive && p->bad == 0 ? 0 : 1;
}

static enum err add_one(struct program *p, struct slice key)
{
    struct meta_kv_entry entry;
    struct arena arena = {0};
    char text[32];
    for (;;) {
        arena_reset(&arena);
        enum err e = kv_get(p->client, key, NULL, &arena, &entry);
        unsigned long long now = 0;
        if (e == ERR_OK)
            snprintf(text, sizeof text, "%.*s", (int)entry.value.size, (const char *)entry.value.data);
        if (e == ERR_OK)
            now = strtoull(text, NULL, 10);
        snprintf(text, sizeof text, "%llu", now + 1);
        const struct kv_value value = {.type = META_KV_BYTES, .bytes = slice_str(text)};
        if (e == ERR_OK)
            e = kv_cas(p->client, key, entry.version, &value, NULL, NULL);
        else if (e == ERR_NOT_FOUND)
            e = kv_set(p->client, key, &value, NULL, NULL);
        if (e != ERR_VERSION && e != ERR_EXIST) {
            arena_free(&arena);
            return e;
        }
    }
}

static int run_counter(struct program *p, const char *key, unsigned count)
{
    for (unsigned i = 1; i <= count; i++) {
        enum err e = add_one(p, slice_str(key));
        printf("%u %s\n", i, err_name(e));
        fflush(stdout);
        if (e != ERR_OK)
            return 1;
    }
    return 0;
}

enum manner { TIMED, EARLY, REREAD };

static enum err put_one(struct program *p, enum manner manner, struct slice key, struct slice text, bool *ret_early)
{
    const struct kv_value value = {.type = META_KV_BYTES, .bytes = text};
    const struct meta_kv_change put = {.kind = META_KV_PUT, .type = META_KV_BYTES, .key = key, .value = text};
    *ret_early = false;
    return manner == TIMED ? kv_put(p->client, key, &value, NULL, NULL)
                           : kv_put_early(p->client, &put, 1, NULL, ret_early);
}

static enum err reread(struct program *p, struct slice key, struct slice text)
{
    struct arena arena = {0};
    struct meta_kv_entry entry;
    enum err e = kv_get(p->client, key, NULL, &arena, &entry);
    if (e == ERR_OK && !slice_equal(entry.value, text))
        e = ERR_VERSION;
    arena_free(&arena);
    return e;
}

static int run_puts(struct program *p, enum manner manner, const char *word, unsigned count)
{
    if (manner != TIMED)
        meta_client_put_prepare(p->client, OPEN_NS);
    for (unsigned i = 1; i <= count; i++) {
        char name[80], text[16];
        bool early;
        snprintf(name, sizeof name, "%s-%u", word, i);
        snprintf(text, sizeof text, "%u", i);
        struct slice key = slice_str(manner == REREAD ? word : name);
        int64_t begun_ns = clock_boot_ns();
        enum err e = put_one(p, manner, key, slice_str(text), &early);
        int64_t took_ns = clock_boot_ns() - begun_ns;
        if (e == ERR_OK && manner == REREAD)
            e = reread(p, key, slice_str(text));
        if (e != ERR_OK) {
            fprintf(stderr, "surf-kv-client: put %u: %s\n", i, err_message(e));
            return 1;
        }
        printf("%u %s %" PRId64 "\n", i, early ? "early" : "ordinary", took_ns / 1000);
        fflush(stdout);
    }
    return 0;
}

static bool parse_count(const char *text, unsigned *ret)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *ret = (unsigned)value;
    return text[0] >= '0' && text[0] <= '9' && *end == 0 && value <= 1000000;
}

static int run(struct program *p, int argc, char **argv)
{
    unsigned count;
    if (argc == 4 && strcmp(argv[0], "appends") == 0 && parse_count(argv[3], &count))
        return run_queue(p, APPEND, argv[1], argv[2], count);
    if (argc == 3 && strcmp(argv[0], "puts") == 0 && parse_count(argv[2], &count)) {
        int code = run_queue(p, PUT, argv[1], "v", count);
        return code ? code : run_queue(p, GET, argv[1], "v", count);
    }
    if (argc == 3 && strcmp(argv[0], "counter") == 0 && parse_count(argv[2], &count))
        return run_counter(p, argv[1], count);
    static const char *const manners[] = {[TIMED] = "timed", [EARLY] = "early", [REREAD] = "reread"};
    for (unsigned i = 0; i < ARRAY_SIZE(manners); i++)
        if (argc == 3 && strcmp(argv[0], manners[i]) == 0 && parse_count(argv[2], &count))
            return run_puts(p, (enum manner)i, argv[1], count);
    return usage();
}

int main(int argc, char **argv)
{
    static struct rpc_address servers[LIMIT_NODES];
    struct meta_client_options options = {.servers = servers,
                                          .export_name = META_EXPORT_DEFAULT,
                                          .client_name = "surf-kv-client",
                                          .open_timeout_ns = OPEN_NS};
    struct program p = {.under_way = 0};
    struct meta_attr root;
    struct err_text why = {""};
    int at = 1;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (strcmp(argv[at], "-m") == 0 &&
            rpc_address_parse_list(argv[at + 1], servers, LIMIT_NODES, &options.server_count, &why) == ERR_OK)
            continue;
        if (strcmp(argv[at], "--under-way") != 0 || !parse_count(argv[at + 1], &p.under_way))
            return usage();
    }
    if (options.server_count == 0 || at == argc)
        return usage();
    enum err e = meta_client_open(&options, &p.client, &root, &why);
    if (e != ERR_OK) {
        fprintf(stderr, "surf-kv-client: %s: %s\n", err_message(e), why.text);
        return 1;
    }
    int code = run(&p, argc - at, argv + at);
    meta_client_close(p.client);
    return code;
}
