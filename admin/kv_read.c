/* kv_read.c: surfctl kv get, mget, list. */
#include <inttypes.h>
#include <stdio.h>

#include "admin/kv.h"
#include "base/clock.h"
#include "base/mem.h"

static json_t *value_json(const struct meta_kv_entry *e, bool *ret_text)
{
    if (e->type == META_KV_BYTES)
        return kv_json_bytes(e->value, ret_text);
    json_t *list = json_array(), *encoded = json_array();
    struct cursor c = cursor_of(e->value);
    struct slice element;
    *ret_text = true;
    while (kv_list_next(&c, &element)) {
        bool is_text;
        json_array_append_new(list, kv_json_bytes(element, &is_text));
        json_array_append_new(encoded, kv_json_base64(element));
        *ret_text = *ret_text && is_text;
    }
    /* One element that is no text makes all of them base64: who reads them needs one rule only. */
    json_decref(*ret_text ? encoded : list);
    return *ret_text ? list : encoded;
}

static json_t *entry_json(const struct meta_kv_entry *e, bool with_value)
{
    json_t *answer = json_object();
    kv_json_set(answer, "key", e->key);
    json_object_set_new(answer, "found", json_boolean(e->found));
    if (!e->found)
        return answer;
    json_object_set_new(answer, "version", json_integer((json_int_t)e->version));
    json_object_set_new(answer, "type", json_string(e->type == META_KV_LIST ? "list" : "bytes"));
    json_object_set_new(answer, "bytes", json_integer((json_int_t)e->size));
    json_object_set_new(answer, "ttl", e->ttl_ns ? json_real((double)e->ttl_ns / 1e9) : json_null());
    if (with_value) {
        bool is_text;
        json_t *value = value_json(e, &is_text);
        json_object_set_new(answer, is_text ? "value" : "value_base64", value);
    }
    json_object_set_new(answer, "index", json_integer((json_int_t)e->index));
    return answer;
}

static void print_value(const struct meta_kv_entry *e, bool raw)
{
    struct cursor c = cursor_of(e->value);
    struct slice element = e->value;
    while (e->type == META_KV_BYTES || kv_list_next(&c, &element)) {
        if (element.size > 0)
            fwrite(element.data, 1, element.size, stdout);
        if (!raw || e->type == META_KV_LIST)
            putchar('\n');
        if (e->type == META_KV_BYTES)
            return;
    }
}

static int end_of_output(void)
{
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int run_get(struct admin *a, struct meta_client *c, struct kv_arguments *args)
{
    struct meta_kv_entry entry;
    enum err e = kv_get(c, args->words[0], NULL, &a->arena, &entry);
    if (e == ERR_INVAL)
        return admin_usage(a, "a key has 1 to %u bytes", LIMIT_KV_KEY_BYTES);
    if (e != ERR_OK)
        return kv_fail(a, e, args->words[0], NULL);
    if (a->json)
        return admin_print_json(entry_json(&entry, true));
    print_value(&entry, args->given & KV_OPTION_RAW);
    return end_of_output();
}

static int run_mget(struct admin *a, struct meta_client *c, struct kv_arguments *args)
{
    struct meta_kv_entry entries[LIMIT_KV_KEYS];
    enum err e = kv_get_many(c, args->words, args->count, NULL, &a->arena, entries);
    bool all = true;
    json_t *answer = a->json ? json_array() : NULL;
    if (e == ERR_INVAL)
        return admin_usage(a, "a key has 1 to %u bytes", LIMIT_KV_KEY_BYTES);
    if (e != ERR_OK)
        return kv_fail(a, e, slice_str("all"), NULL);
    for (unsigned i = 0; i < args->count; i++) {
        all = all && entries[i].found;
        if (a->json) {
            json_array_append_new(answer, entry_json(&entries[i], true));
            continue;
        }
        printf("%s%s", admin_text(a, entries[i].key), entries[i].found ? " = " : " is not there\n");
        if (entries[i].found)
            print_value(&entries[i], false);
    }
    int code = a->json ? admin_print_json(answer) : end_of_output();
    return code == EXIT_DONE && !all ? EXIT_ABSENT : code;
}

static void print_entry(struct admin *a, const struct meta_kv_entry *e, bool with_value)
{
    printf("%s  version %" PRIu64 ", %s of %" PRIu64 " bytes", admin_text(a, e->key), e->version,
           e->type == META_KV_LIST ? "a list" : "value", e->size);
    if (e->ttl_ns > 0)
        printf(", for %.3f s, %.3f s left", (double)e->ttl_ns / 1e9, (double)(e->expires_ns - clock_wall_ns()) / 1e9);
    putchar('\n');
    if (with_value)
        print_value(e, false);
}

static int run_list(struct admin *a, struct meta_client *c, struct kv_arguments *args)
{
    struct slice prefix = args->count > 0 ? args->words[0] : SLICE(NULL, 0), after = args->after;
    bool with_values = args->given & KV_OPTION_VALUES;
    uint64_t left = args->max ? args->max : UINT64_MAX;
    json_t *answer = a->json ? json_array() : NULL;
    struct kv_page page = {.end = false};
    struct arena arenas[2] = {{0}};
    enum err e = ERR_OK;
    for (unsigned turn = 0; e == ERR_OK && !page.end && left > 0; turn++) {
        struct arena *arena = &arenas[turn % 2]; /* `after` is in the other one */
        arena_reset(arena);
        e = kv_list(c, prefix, after, (unsigned)MIN(left, (uint64_t)LIMIT_KV_LIST_ENTRIES), with_values, NULL, arena,
                    &page);
        for (unsigned i = 0; e == ERR_OK && i < page.count; i++) {
            if (a->json)
                json_array_append_new(answer, entry_json(&page.entries[i], with_values));
            else
                print_entry(a, &page.entries[i], with_values);
        }
        left -= e == ERR_OK ? page.count : 0;
        after = page.last;
    }
    arena_free(&arenas[0]);
    arena_free(&arenas[1]);
    if (e != ERR_OK)
        return kv_fail(a, e, prefix, NULL);
    return a->json ? admin_print_json(answer) : end_of_output();
}

const struct kv_command kv_command_get = {"get", "KEY [--raw]", KV_OPTION_RAW, 1, 1, run_get};
const struct kv_command kv_command_mget = {"mget", "KEY...", 0, 1, LIMIT_KV_KEYS, run_mget};
const struct kv_command kv_command_list = {
    "list",  "[PREFIX] [--values] [--after KEY] [--max N]", KV_OPTION_VALUES | KV_OPTION_AFTER | KV_OPTION_MAX, 0, 1,
    run_list};
