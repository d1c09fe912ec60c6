/* kv.h: what the parts of `surfctl kv` share. */
#pragma once

#include "admin/admin.h"
#include "client/kv/kv.h"

#define EXIT_ABSENT 3  /* the key is not there */
#define EXIT_REFUSED 4 /* it is there, or has another version, value or type */

#define KV_WORDS (2 * LIMIT_KV_KEYS + 2u)

enum kv_option {
    KV_OPTION_TTL = 1 << 0,
    KV_OPTION_LIST = 1 << 1,
    KV_OPTION_VALUES = 1 << 2,
    KV_OPTION_RAW = 1 << 3,
    KV_OPTION_AFTER = 1 << 4,
    KV_OPTION_MAX = 1 << 5,
    KV_OPTION_FROM = 1 << 6,
    KV_OPTION_IF_VALUE = 1 << 7,
    KV_OPTION_FAST = 1 << 8
};

/* A command line, understood. */
struct kv_arguments {
    unsigned given; /* enum kv_option */
    struct slice words[KV_WORDS];
    unsigned count;
    int64_t ttl_ns;
    struct slice after, if_value;
    unsigned max;
    uint64_t from;
};

struct kv_command {
    const char *name, *usage;
    unsigned options, min, max; /* enum kv_option that it takes; words */
    int (*run)(struct admin *a, struct meta_client *c, struct kv_arguments *args);
};
extern const struct kv_command kv_command_get, kv_command_mget, kv_command_list, kv_command_put, kv_command_set,
    kv_command_cas, kv_command_append, kv_command_delete, kv_command_mput, kv_command_watch;

/* A failure that has to do with this key (may be empty), and its exit code. */
int kv_fail(struct admin *a, enum err e, struct slice key, const struct kv_changed *changed);
/* {"key": ...}, or "key_base64" where it is no text. */
void kv_json_set(json_t *object, const char *name, struct slice bytes);
json_t *kv_json_bytes(struct slice bytes, bool *ret_text); /* false: base64 */
json_t *kv_json_base64(struct slice bytes);
