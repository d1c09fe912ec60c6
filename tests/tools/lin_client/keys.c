/* keys.c: registers and lists in the key/value space: the keys f0, f1, ... */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "client/kv/kv.h"
#include "tests/tools/lin_client/lin_client.h"

static const enum err no_error[] = {ERR_OK}, cas_errors[] = {ERR_VERSION, ERR_OK};

static struct slice key_of(unsigned object, char text[16])
{
    snprintf(text, 16, "f%u", object);
    return slice_str(text);
}

/* Whoever comes first makes it; the others find it, whatever it is by then. */
enum err client_set_up_key(struct client *c, unsigned object)
{
    char key[16];
    const struct kv_value zero = {.type = META_KV_BYTES, .bytes = slice_str("0")};
    if (c->operate == client_operate_kv_list)
        return ERR_OK;
    enum err e = kv_set(surf_meta(c->surf), key_of(object, key), &zero, NULL, NULL);
    return e == ERR_EXIST ? ERR_OK : e;
}

static enum err read_register(struct client *c, struct slice key, char value[32])
{
    struct meta_kv_entry entry;
    struct arena arena = {0};
    enum err e = kv_get(surf_meta(c->surf), key, NULL, &arena, &entry);
    if (e == ERR_OK)
        snprintf(value, 32, "%.*s", (int)entry.value.size, (const char *)entry.value.data);
    arena_free(&arena);
    return e;
}

void client_operate_kv_register(struct client *c)
{
    unsigned object = (unsigned)prng_below(&c->prng, c->objects);
    struct meta_client *meta = surf_meta(c->surf);
    char what[96], more[32] = "", key[16], value[32];
    key_of(object, key);
    if (client_looks(c)) {
        snprintf(what, sizeof what, "read %s", key);
        client_note_call(c, what);
        enum err e = read_register(c, slice_str(key), more);
        if (e == ERR_OK)
            snprintf(c->last[object], sizeof c->last[object], "%s", more);
        client_note_answer(c, what, e, no_error, more);
        return;
    }
    snprintf(value, sizeof value, "%" PRIu32, client_tag(c));
    const struct kv_value to = {.type = META_KV_BYTES, .bytes = slice_str(value)};
    const char *expected = c->last[object];
    if (expected[0] && prng_below(&c->prng, 2)) {
        snprintf(what, sizeof what, "cas %s %s %s", key, expected, value);
        client_note_call(c, what);
        enum err e = kv_cas_value(meta, slice_str(key), slice_str(expected), &to, NULL, NULL);
        client_note_answer(c, what, e, cas_errors, "");
    } else {
        snprintf(what, sizeof what, "write %s %s", key, value);
        client_note_call(c, what);
        client_note_answer(c, what, kv_put(meta, slice_str(key), &to, NULL, NULL), no_error, "");
    }
}

static enum err read_list(struct client *c, struct slice key, struct bytes *ret)
{
    struct meta_kv_entry entry;
    struct arena arena = {0};
    enum err e = kv_get(surf_meta(c->surf), key, NULL, &arena, &entry);
    if (e == ERR_OK) {
        struct cursor list = cursor_of(entry.value);
        for (struct slice element; kv_list_next(&list, &element);) {
            bytes_append(ret, element);
            bytes_append(ret, slice_str(" "));
        }
    }
    arena_free(&arena);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

void client_operate_kv_list(struct client *c)
{
    unsigned object = (unsigned)prng_below(&c->prng, c->objects);
    char what[64], key[16], tag[16];
    key_of(object, key);
    if (!client_looks(c)) {
        snprintf(tag, sizeof tag, "%" PRIu32, client_tag(c));
        snprintf(what, sizeof what, "append %s %s", key, tag);
        client_note_call(c, what);
        enum err e = kv_append(surf_meta(c->surf), slice_str(key), slice_str(tag), 0, NULL, NULL);
        client_note_answer(c, what, e, no_error, "");
    } else {
        _cleanup_(bytes_free) struct bytes tags = {0};
        snprintf(what, sizeof what, "list %s", key);
        client_note_call(c, what);
        enum err e = read_list(c, slice_str(key), &tags);
        bytes_append(&tags, SLICE("", 1));
        client_note_answer(c, what, e, no_error, (const char *)tags.data);
    }
}
