#include "gateway/text_run.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "client/kv/kv.h"

#define LOG_MODULE "text"
#include "base/log.h"

static void say(struct bytes *to, const char *format, ...) PRINTF_LIKE(2, 3);
static void say(struct bytes *to, const char *format, ...)
{
    char text[128];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bytes_append(to, SLICE(text, (size_t)size));
    bytes_append(to, slice_str("\r\n"));
}

static void say_failure(struct bytes *to, enum err e)
{
    switch (e) {
    case ERR_NOT_FOUND:
        say(to, "ERR_NOT_FOUND");
        return;
    case ERR_EXIST:
    case ERR_VERSION:
        say(to, "ERR_VERSION");
        return;
    default:
        log_debug("a command failed: %s", err_message(e));
        say(to, "ERR_INTERNAL");
    }
}

/* Rounded up: a key that others have given less than a second is not one of those that stay for ever. */
static int64_t seconds_of(int64_t ttl_ns)
{
    return ttl_ns / NS_PER_S + (ttl_ns % NS_PER_S > 0);
}

static void get(struct meta_client *meta, const struct text_command *c, struct rpc_cancel *cancel, struct bytes *answer)
{
    struct arena arena = {0};
    struct meta_kv_entry entry;
    enum err e = kv_get(meta, bytes_slice(&c->key), cancel, &arena, &entry);
    if (e == ERR_OK && entry.type != META_KV_BYTES)
        e = ERR_WRONG_TYPE;
    if (e != ERR_OK) {
        say_failure(answer, e);
    } else {
        if (c->verb == TEXT_GETM)
            say(answer, "VALUE %" PRIu64 " %" PRId64 " %zu", entry.version, seconds_of(entry.ttl_ns), entry.value.size);
        else
            say(answer, "VALUE %zu", entry.value.size);
        bytes_append(answer, entry.value);
        bytes_append(answer, slice_str("\r\n"));
    }
    arena_free(&arena);
}

/* No key has version 0. */
static enum err cas_nothing(struct meta_client *meta, struct slice key, struct rpc_cancel *cancel)
{
    struct arena arena = {0};
    struct meta_kv_entry entry;
    enum err e = kv_get(meta, key, cancel, &arena, &entry);
    arena_free(&arena);
    return e == ERR_OK ? ERR_VERSION : e;
}

static enum err change(struct meta_client *meta, const struct text_command *c, struct rpc_cancel *cancel,
                       uint64_t *ret_version)
{
    struct slice key = bytes_slice(&c->key);
    struct kv_value value = {
        .type = META_KV_BYTES, .bytes = bytes_slice(&c->value), .ttl_ns = (int64_t)c->expiry_s * NS_PER_S};
    if (c->verb == TEXT_SET)
        return kv_set(meta, key, &value, cancel, ret_version);
    if (c->version == 0)
        return cas_nothing(meta, key, cancel);
    return kv_cas(meta, key, c->version, &value, cancel, ret_version);
}

void text_run(struct gateway_session *session, const struct text_command *c, struct bytes *answer)
{
    struct rpc_cancel *cancel = gateway_session_cancel(session);
    struct surf *surf;
    uint64_t version = 0;
    enum err e = gateway_session_get(session, &surf, NULL);
    if (e != ERR_OK) {
        say_failure(answer, ERR_TIMEOUT);
        return;
    }
    struct meta_client *meta = surf_meta(surf);
    if (c->verb == TEXT_GET || c->verb == TEXT_GETM) {
        get(meta, c, cancel, answer);
        return;
    }
    e = c->verb == TEXT_DELETE ? kv_delete(meta, bytes_slice(&c->key), 0, cancel) : change(meta, c, cancel, &version);
    if (e != ERR_OK)
        say_failure(answer, e);
    else if (c->verb == TEXT_DELETE)
        say(answer, "DELETED");
    else
        say(answer, "OK %" PRIu64, version);
}
