/* kv.h: the key/value space of the cluster: blocking calls. One space for the whole cluster, whatever the export.
 *
 * Keys are 1..LIMIT_KV_KEY_BYTES bytes of any kind, ordered as memcmp orders them, shorter first. A value is bytes or a
 * list of byte strings, of at most LIMIT_KV_VALUE_BYTES (a list: with 4 bytes for each element).
 *
 * Every change of a key raises its version by one. A new key begins above all versions that it ever had, so a version
 * is never used twice, also not by a key that was deleted and made again: a version that is seen again means that
 * nothing has changed. Versions are at least 1, and the same on all members.
 *
 * A time to live counts from the moment when the change is in the log, by the clock of the leader that put it there. A
 * key that has expired is as good as deleted. Every change replaces the time to live (0: none); only an append with 0
 * leaves it as it was.
 *
 * All calls are linearizable, block until the cluster has answered, and are repeated until then under one number, so
 * that a change happens once (meta_client.h). Beside the errors below all of them give ERR_CANCELLED (`cancel` may be
 * NULL), ERR_TIMEOUT (of a soft client), ERR_SESSION_EXPIRED; after these a change may have happened or not, and after
 * ERR_NOT_DONE (meta_client.h) it has not. ERR_INVAL
 * or ERR_TOO_BIG before anything is sent: a key, a value, a count or a time to live beyond its limit. Thread-safe. */
#pragma once

#include "client/meta/meta_client.h"

struct kv_value {
    enum meta_kv_type type;
    struct slice bytes; /* META_KV_LIST: as kv_list_add makes it */
    int64_t ttl_ns;     /* 0: it doesn't expire; <= META_KV_TTL_MAX_NS */
};

/* Elements of a list. kv_list_next is false at the end. */
void kv_list_add(struct bytes *list, struct slice element);
bool kv_list_next(struct cursor *list, struct slice *ret);

/* ERR_NOT_FOUND. The value lives in the arena; ret->key is the caller's. */
enum err kv_get(struct meta_client *c, struct slice key, struct rpc_cancel *cancel, struct arena *arena,
                struct meta_kv_entry *ret) MUST_USE;
/* All as of one moment; ret[i] is of keys[i], its `found` says whether it is there. count is 1..LIMIT_KV_KEYS.
 * ERR_TOO_BIG: the values are more than LIMIT_KV_REPLY_BYTES together; ask for fewer. */
enum err kv_get_many(struct meta_client *c, const struct slice *keys, unsigned count, struct rpc_cancel *cancel,
                     struct arena *arena, struct meta_kv_entry *ret) MUST_USE;

/* Whatever was there is replaced. *ret_version (NULL is allowed, also below): of the key now. */
enum err kv_put(struct meta_client *c, struct slice key, const struct kv_value *value, struct rpc_cancel *cancel,
                uint64_t *ret_version) MUST_USE;
/* The same for several keys, without their versions: done when enough members have it on disk, ahead of its place in
 * the order of all changes, where the cluster has durability logs (surfd --durability-log); *ret_early says whether it
 * was that. At most KV_EARLY_KEYS keys and KV_EARLY_BYTES can be. */
#define KV_EARLY_KEYS 8u
#define KV_EARLY_BYTES (48 * KIB)
enum err kv_put_early(struct meta_client *c, const struct meta_kv_change *puts, unsigned count,
                      struct rpc_cancel *cancel, bool *ret_early) MUST_USE;
/* Only a new key: ERR_EXIST. */
enum err kv_set(struct meta_client *c, struct slice key, const struct kv_value *value, struct rpc_cancel *cancel,
                uint64_t *ret_version) MUST_USE;
/* Only where the key has this version, which becomes one more: ERR_VERSION, ERR_NOT_FOUND. */
enum err kv_cas(struct meta_client *c, struct slice key, uint64_t expected_version, const struct kv_value *value,
                struct rpc_cancel *cancel, uint64_t *ret_version) MUST_USE;
/* Only where the key's value, of the same type, is `expected`: ERR_VERSION, ERR_NOT_FOUND, ERR_WRONG_TYPE. */
enum err kv_cas_value(struct meta_client *c, struct slice key, struct slice expected, const struct kv_value *value,
                      struct rpc_cancel *cancel, uint64_t *ret_version) MUST_USE;
/* One element to the end of a list; a key that isn't there becomes a list of it. Costs the members as much as writing
 * the list anew, though only the element travels. ERR_WRONG_TYPE: the value is no list;
 * ERR_TOO_BIG: the list would be beyond its limit. */
enum err kv_append(struct meta_client *c, struct slice key, struct slice element, int64_t ttl_ns,
                   struct rpc_cancel *cancel, uint64_t *ret_version) MUST_USE;
/* ERR_NOT_FOUND; ERR_VERSION when expected_version is not 0 and the key has another. */
enum err kv_delete(struct meta_client *c, struct slice key, uint64_t expected_version,
                   struct rpc_cancel *cancel) MUST_USE;

/* Several changes in one step: all of them or none. No key may be in it twice (ERR_INVAL); count is
 * 1..LIMIT_KV_KEYS, keys and values are at most LIMIT_KV_CHANGES_BYTES together (ERR_TOO_BIG). Errors as above, of the
 * first change that is not possible. */
struct kv_changed {
    uint64_t version; /* of the last changed key; after a refusal that of the key in the way, 0 if there is none */
    unsigned refused; /* which of the changes was not possible */
};
/* ret_changed is also written with ERR_VERSION, ERR_EXIST, ERR_NOT_FOUND, ERR_WRONG_TYPE and ERR_TOO_BIG (then
 * `refused` may also be `count`: it is too much as a whole). NULL is allowed. */
enum err kv_change(struct meta_client *c, const struct meta_kv_change *changes, unsigned count,
                   struct rpc_cancel *cancel, struct kv_changed *ret_changed) MUST_USE;

/* Keys that begin with `prefix` (empty: all) and come behind `after` (empty: from the first), in order, as of one
 * moment. A page may be short, or even empty, with more behind it: then go on after `last`. */
struct kv_page {
    struct meta_kv_entry *entries; /* in the arena */
    unsigned count;
    bool end;          /* there is nothing behind these */
    struct slice last; /* not at the end: the next page's `after`; in the arena */
};
/* max_count 0: LIMIT_KV_LIST_ENTRIES. Without values, entries tell their sizes. */
enum err kv_list(struct meta_client *c, struct slice prefix, struct slice after, unsigned max_count, bool with_values,
                 struct rpc_cancel *cancel, struct arena *arena, struct kv_page *ret) MUST_USE;

/* Changes of keys in the order of the log. `at` of the first question is an index that an answer told (meta_kv_entry
 * and changes carry theirs), or KV_WATCH_NOW; after that it goes on by itself. */
#define KV_WATCH_NOW UINT64_MAX
struct kv_watch {
    struct slice prefix; /* the caller's; empty: all keys */
    uint64_t at;
};
struct kv_events {
    const struct meta_kv_event *list; /* in the arena */
    unsigned count;
    uint64_t missed_upto; /* not 0: events up to this index are not known any more; list the keys, then go on */
};
/* Returns when there is something to tell, or with nothing after about half a second; from KV_WATCH_NOW at once, with
 * nothing but where that is. A leader serves 256 of all kinds of watches at a time; more wait. */
enum err kv_watch_next(struct meta_client *c, struct kv_watch *w, struct rpc_cancel *cancel, struct arena *arena,
                       struct kv_events *ret) MUST_USE;
