/* kv_change.c: surfctl kv put, set, cas, append, delete, mput. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/kv.h"
#include "base/clock.h"
#include "base/mem.h"

#define FAST_PREPARE_NS (3 * NS_PER_S)

static int done(struct admin *a, struct slice key, uint64_t version)
{
    if (!a->json) {
        printf("version %" PRIu64 "\n", version);
        return EXIT_DONE;
    }
    json_t *answer = json_pack("{s:I}", "version", (json_int_t)version);
    kv_json_set(answer, "key", key);
    return admin_print_json(answer);
}

/* All of standard input, or of it what shows that it is too much. */
static bool read_input(struct admin *a, struct slice *ret)
{
    size_t room = LIMIT_KV_VALUE_BYTES + 1, used = 0;
    uint8_t *data = arena_alloc(&a->arena, room);
    while (used < room) {
        ssize_t got = read(STDIN_FILENO, data + used, room - used);
        if (got < 0)
            return false;
        if (got == 0)
            break;
        used += (size_t)got;
    }
    *ret = SLICE(data, used);
    return true;
}

/* A word of the command line: "-" is standard input. */
static bool take_bytes(struct admin *a, struct slice word, struct slice *ret)
{
    *ret = word;
    return !slice_equal(word, slice_str("-")) || read_input(a, ret);
}

/* The words from `first` on: one value, or with --list the elements of one. False: it was said what is wrong. */
static bool take_value(struct admin *a, const struct kv_arguments *args, unsigned first, struct kv_value *ret)
{
    struct bytes list = {0};
    *ret = (struct kv_value){.type = META_KV_BYTES, .ttl_ns = args->ttl_ns};
    if (args->given & KV_OPTION_LIST) {
        for (unsigned i = first; i < args->count; i++)
            kv_list_add(&list, args->words[i]);
        ret->type = META_KV_LIST;
        ret->bytes = arena_slice(&a->arena, bytes_slice(&list));
        bytes_free(&list);
        return true;
    }
    if (args->count != first + 1) {
        (void)admin_usage(a, "one value is needed; with --list, any number of elements");
        return false;
    }
    if (take_bytes(a, args->words[first], &ret->bytes))
        return true;
    (void)admin_fail(a, ERR_IO, &(struct err_text){"standard input can't be read"});
    return false;
}

static int change_one(struct admin *a, struct meta_client *c, const struct meta_kv_change *change)
{
    struct kv_changed changed = {0};
    enum err e = kv_change(c, change, 1, NULL, &changed);
    if (e == ERR_INVAL)
        return admin_usage(a, "a key has 1 to %u bytes", LIMIT_KV_KEY_BYTES);
    if (e == ERR_OK && change->kind == META_KV_DELETE && !a->json)
        return admin_done(a, "it had version %" PRIu64, changed.version);
    return e == ERR_OK ? done(a, change->key, changed.version) : kv_fail(a, e, change->key, &changed);
}

static int put_fast(struct admin *a, struct meta_client *c, const struct meta_kv_change *puts, unsigned count)
{
    bool early;
    meta_client_put_prepare(c, FAST_PREPARE_NS);
    enum err e = kv_put_early(c, puts, count, NULL, &early);
    if (e == ERR_INVAL)
        return admin_usage(a, "keys have 1 to %u bytes, and each may be there once", LIMIT_KV_KEY_BYTES);
    if (e != ERR_OK)
        return kv_fail(a, e, puts[0].key, &(struct kv_changed){.version = 0});
    return a->json ? admin_print_json(json_pack("{s:b}", "early", early))
                   : admin_done(a, early ? "durable, ahead of its order" : "done in the ordinary way");
}

static int change_value(struct admin *a, struct meta_client *c, const struct kv_arguments *args, unsigned first,
                        struct meta_kv_change *change)
{
    struct kv_value value;
    if (!take_value(a, args, first, &value))
        return 64;
    change->key = args->words[0];
    change->type = value.type;
    change->value = value.bytes;
    change->ttl_ns = value.ttl_ns;
    if (args->given & KV_OPTION_FAST)
        return put_fast(a, c, change, 1);
    return change_one(a, c, change);
}

static int run_put(struct admin *a, struct meta_client *c, struct kv_arguments *args)
{
    return change_value(a, c, args, 1, &(struct meta_kv_change){.kind = META_KV_PUT});
}

static int run_set(struct admin *a, struct meta_client *c, struct kv_arguments *args)
{
    return change_value(a, c, args, 1, &(struct meta_kv_change){.kind = META_KV_SET});
}

static bool parse_version(struct admin *a, struct slice word, uint64_t *ret)
{
    const char *text = arena_str(&a->arena, word);
    char *end;
    *ret = strtoull(text, &end, 10);
    if (word.size > 0 && word.size < 20 && text[0] >= '0' && text[0] <= '9' && *end == 0 && *ret > 0)
        return true;
    (void)admin_usage(a, "%.40s: not a version (a number from 1)", text);
    return false;
}

static int run_cas(struct admin *a, struct meta_client *c, struct kv_arguments *args)
{
    struct meta_kv_change change = {.kind = META_KV_CAS};
    if (args->given & KV_OPTION_IF_VALUE) {
        change.kind = META_KV_CAS_VALUE;
        change.expected_value = args->if_value;
        return change_value(a, c, args, 1, &change);
    }
    return parse_version(a, args->words[1], &change.expected_version) ? change_value(a, c, args, 2, &change) : 64;
}

static int run_append(struct admin *a, struct meta_client *c, struct kv_arguments *args)
{
    return change_value(a, c, args, 1, &(struct meta_kv_change){.kind = META_KV_APPEND});
}

static int run_delete(struct admin *a, struct meta_client *c, struct kv_arguments *args)
{
    struct meta_kv_change change = {.kind = META_KV_DELETE, .type = META_KV_BYTES, .key = args->words[0]};
    if (args->count == 2 && !parse_version(a, args->words[1], &change.expected_version))
        return 64;
    return change_one(a, c, &change);
}

static int run_mput(struct admin *a, struct meta_client *c, struct kv_arguments *args)
{
    struct meta_kv_change changes[LIMIT_KV_KEYS];
    struct kv_changed changed = {0};
    unsigned count = args->count / 2;
    if (args->count % 2 != 0)
        return admin_usage(a, "kv mput: a key without a value: surfctl kv mput %s", kv_command_mput.usage);
    for (unsigned i = 0; i < count; i++)
        changes[i] = (struct meta_kv_change){.kind = META_KV_PUT,
                                             .type = META_KV_BYTES,
                                             .key = args->words[2 * i],
                                             .value = args->words[2 * i + 1],
                                             .ttl_ns = args->ttl_ns};
    if (args->given & KV_OPTION_FAST)
        return put_fast(a, c, changes, count);
    enum err e = kv_change(c, changes, count, NULL, &changed);
    if (e == ERR_INVAL)
        return admin_usage(a, "kv mput: keys have 1 to %u bytes, and each may be there once", LIMIT_KV_KEY_BYTES);
    if (e != ERR_OK)
        return kv_fail(a, e, changed.refused < count ? changes[changed.refused].key : slice_str("all"), &changed);
    return admin_done(a, "%u keys", count);
}

const struct kv_command kv_command_put = {"put",
                                          "KEY VALUE|- [--ttl SECONDS] [--fast] | KEY --list [ELEMENT...]",
                                          KV_OPTION_TTL | KV_OPTION_LIST | KV_OPTION_FAST,
                                          1,
                                          KV_WORDS,
                                          run_put};
const struct kv_command kv_command_set = {
    "set",  "KEY VALUE|- [--ttl SECONDS] | KEY --list [ELEMENT...]", KV_OPTION_TTL | KV_OPTION_LIST, 1, KV_WORDS,
    run_set};
const struct kv_command kv_command_cas = {"cas",
                                          "KEY VERSION VALUE|- [--ttl SECONDS] | KEY --if-value OLD VALUE|-",
                                          KV_OPTION_TTL | KV_OPTION_LIST | KV_OPTION_IF_VALUE,
                                          2,
                                          KV_WORDS,
                                          run_cas};
const struct kv_command kv_command_append = {"append",  "KEY ELEMENT|- [--ttl SECONDS]", KV_OPTION_TTL, 2, 2,
                                             run_append};
const struct kv_command kv_command_delete = {"delete", "KEY [VERSION]", 0, 1, 2, run_delete};
const struct kv_command kv_command_mput = {
    "mput",  "KEY VALUE [KEY VALUE...] [--ttl SECONDS] [--fast]", KV_OPTION_TTL | KV_OPTION_FAST, 2, 2 * LIMIT_KV_KEYS,
    run_mput};
