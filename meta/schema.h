/* schema.h: the rows of the state machine in RocksDB, one column family.
 *
 * Keys begin with one byte for the table; integers are big-endian, so that rows of one directory or file are neighbours
 * and in order. Values begin with a format version (1; `m`: 2). All of it is a storage format: fields are only added.
 *
 * clang-format off
 *   key                      value
 *   i ino                    inode: attributes, target (symlinks), one of its names
 *   d parent, cookie, name   child ino, type. cookie = SipHash(cluster key, name), 63 bits, never 0 to 2
 *   x content id, end        extent that ends at this file offset: length, block id, offset in block. By its end, so
 *                            that one seek finds the first one that overlaps or touches a range
 *   r block id               reference count: how many extents name the block (merged; zero is as good as no row)
 *   b block id               inline block: the commit that brought it, its bytes
 *   s session                export root, client, nonce, opened, highest acknowledged and highest sequence
 *   q session, sequence      the reply to that request (window of LIMIT_REPLY_WINDOW). Not below the session's row:
 *                            acknowledged replies leave many tombstones, which a list of sessions must not walk over
 *   e nonce                  session that was opened with it (while it lives)
 *   a ino, name              extended attribute: its value
 *   o ino                    unlinked inode that may be open somewhere
 *   g content id             dead contents, to be reaped: where their extents end
 *   f ino                    file that a commit has fragmented: the version which that commit has made
 *   c "e" name               export: root ino, options
 *   c "b" id                 block server: weight, address, zone
 *   c "k"                    cluster id, cookie key, replicas, version of the block server map
 *   c "l"                    level (meta/level.h); none: 1. Read before any other row, whose format it may change
 *   c "m"                    members of the raft group: index of the entry, the configuration as raft encodes it
 *   c "n"                    what META_NEXT leaves, in tests
 *   l ino, kind, place       advisory lock, held or waited for. Places count from 0 and are used again: locks come
 *                            and go all day, and a list of them must not walk over what was removed
 *   h session, ino, kind     the session has a lock there, or waits for one
 *   w session, place         a lock that the session waits for: where it is
 *   k key                    key/value space: version, type, time to live, when it expires, value
 *   t time, key              the key expires then
 *   m                        applied index and its term, next id, last time, inodes, bytes, chain hash; the collection
 *                            epoch (op_epoch.c); bytes of the inline blocks; keys, and bytes of keys and values
 * clang-format on
 *
 * Inode numbers and content ids come from one counter, so a file's first content id is its inode number. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "meta/types.h"

#define SCHEMA_KEY_MAX (1 + 8 + 8 + LIMIT_NAME_BYTES)
#define SCHEMA_COOKIE_FIRST 3u
#define SCHEMA_TABLE_BLOCK_REF 'r'
#define SCHEMA_TABLE_INLINE_BLOCK 'b'

struct schema_key {
    uint8_t bytes[SCHEMA_KEY_MAX];
    size_t size;
};

/* Of the rows `k` and `t`. A type of its own, since all others are copied often and are short. */
struct schema_kv_key {
    size_t size;
    uint8_t bytes[1 + 8 + LIMIT_KV_KEY_BYTES];
};
static inline struct slice schema_kv_slice(const struct schema_kv_key *k)
{
    return SLICE(k->bytes, k->size);
}

struct schema_key schema_inode(uint64_t ino);
struct schema_key schema_dentry(uint64_t parent, uint64_t cookie, struct slice name);
struct schema_key schema_dentry_prefix(uint64_t parent);
struct schema_key schema_extent(uint64_t content_id, uint64_t end);
struct schema_key schema_block_ref(const struct sha256 *block);
struct schema_key schema_inline_block(const struct sha256 *block);
struct schema_key schema_session(uint64_t session);
struct schema_key schema_reply(uint64_t session, uint64_t seq);
struct schema_key schema_nonce(const uint8_t nonce[16]);
struct schema_key schema_xattr(uint64_t ino, struct slice name); /* an empty name: before all of the inode */
struct schema_key schema_orphan(uint64_t ino);
struct schema_key schema_garbage(uint64_t content_id);
struct schema_key schema_fragmented(uint64_t ino);
struct schema_key schema_lock(uint64_t ino, enum meta_lock_kind kind, uint32_t place);
struct schema_key schema_lock_prefix(uint64_t ino, enum meta_lock_kind kind);
struct schema_key schema_lock_mark(uint64_t session, uint64_t ino, enum meta_lock_kind kind);
struct schema_key schema_lock_wait(uint64_t session, uint32_t place);
void schema_kv(struct slice key, struct schema_kv_key *ret);
void schema_kv_expiry(int64_t expires_ns, struct slice key, struct schema_kv_key *ret);
struct schema_key schema_kv_expiry_from(int64_t expires_ns); /* before all that expire then */
struct schema_key schema_export(struct slice name);
struct schema_key schema_block_server(uint32_t id);
struct schema_key schema_cluster(void);
struct schema_key schema_members(void);
struct schema_key schema_level(void);
struct schema_key schema_next(void);
struct schema_key schema_meta(void);

/* The first key behind all that begin with the first prefix_size bytes of this one. */
struct schema_key schema_prefix_end(const struct schema_key *key, size_t prefix_size);
/* The u64 that begins `skip` bytes into a key. */
uint64_t schema_key_u64(struct slice key, size_t skip);
/* The place that ends the key of a lock or of one that is waited for; ERR_CORRUPT for a key of another size. */
enum err schema_key_place(struct slice key, size_t skip, uint32_t *ret) MUST_USE;

/* ---- values. Decoders give ERR_CORRUPT for what no encoder wrote. ---- */

struct row_inode {
    struct meta_attr attr;
    /* A name that it has in this directory: a directory's only one (the root has none), and of several links one that
     * may have been forgotten since (empty; parent is 0 then). It finds the path of an inode; names are decided by the
     * rows of their directories. */
    uint64_t parent;
    struct slice name;         /* borrowed */
    struct slice target;       /* symlinks; borrowed */
    uint32_t xattr_list_bytes; /* the names of its extended attributes, each with a NUL */
};
struct row_dentry {
    uint64_t ino;
    uint32_t type_mode;
};
struct row_session {
    uint64_t root_ino, acked, last_seq;
    int64_t opened_ns;
    bool attaches;
    uint8_t nonce[16];
    struct slice export, client;
    uint64_t locks, waits; /* held, and waited for */
    bool ending;           /* its end is under way: nothing may be done in its name any more */
};
struct row_lock {
    struct meta_lock lock;
    uint64_t session;
    uint64_t ticket;     /* 0: held; else waited for, in the order of these */
    uint32_t wait_place; /* of the session's row that says so */
};
struct row_lock_wait {
    uint64_t ino, owner, ticket;
    enum meta_lock_kind kind;
};
struct row_kv {
    enum meta_kv_type type;
    uint64_t version;
    int64_t ttl_ns, expires_ns; /* 0: it doesn't expire */
    struct slice value;         /* borrowed */
};
struct row_export {
    uint64_t root_ino;
    uint32_t options; /* meta_export_options */
};
struct row_cluster {
    uint8_t id[16], cookie_key[16];
    uint32_t replicas;
    uint64_t map_version;
};
struct row_meta {
    uint64_t applied, term, next_id, inodes, bytes;
    uint64_t inline_bytes; /* what the inline blocks take: never over LIMIT_INLINE_TOTAL_BYTES */
    int64_t last_time_ns;
    struct sha256 chain;
    uint64_t epoch;             /* of collection, from 1 on (0: no cluster yet) */
    uint64_t released;          /* how often an extent has let go of its block */
    uint64_t released_epoch;    /* when one did so last */
    uint64_t kv_keys, kv_bytes; /* in the key/value space, expired ones that are not removed yet included */
};

void row_inode_encode(const struct row_inode *r, struct bytes *to);
enum err row_inode_decode(struct slice s, struct row_inode *ret) MUST_USE;
void row_dentry_encode(const struct row_dentry *r, struct bytes *to);
enum err row_dentry_decode(struct slice s, struct row_dentry *ret) MUST_USE;
void row_extent_encode(const struct meta_extent *r, struct bytes *to);
enum err row_extent_decode(struct slice key, struct slice s, struct meta_extent *ret) MUST_USE;
void row_xattr_encode(struct slice value, struct bytes *to);
enum err row_xattr_decode(struct slice s, struct slice *ret) MUST_USE; /* borrowed */
/* References of a block; also the change that is merged into it. */
void row_count_encode(int64_t count, struct bytes *to);
enum err row_count_decode(struct slice s, int64_t *ret) MUST_USE;
void row_inline_block_encode(const struct meta_inline_block *r, struct bytes *to);
/* The data is borrowed from the value. */
enum err row_inline_block_decode(struct slice key, struct slice s, struct meta_inline_block *ret) MUST_USE;
/* No extent of the dead contents reaches behind this offset. */
void row_garbage_encode(uint64_t end, struct bytes *to);
enum err row_garbage_decode(struct slice s, uint64_t *ret_end) MUST_USE;
void row_fragmented_encode(uint64_t version, struct bytes *to);
enum err row_fragmented_decode(struct slice s, uint64_t *ret_version) MUST_USE;
void row_session_encode(const struct row_session *r, struct bytes *to);
enum err row_session_decode(struct slice s, struct row_session *ret) MUST_USE;
void row_lock_encode(const struct row_lock *r, struct bytes *to);
/* The kind is in the key. */
enum err row_lock_decode(struct slice s, enum meta_lock_kind kind, struct row_lock *ret) MUST_USE;
void row_lock_wait_encode(const struct row_lock_wait *r, struct bytes *to);
enum err row_lock_wait_decode(struct slice s, struct row_lock_wait *ret) MUST_USE;
void row_kv_encode(const struct row_kv *r, struct bytes *to);
enum err row_kv_decode(struct slice s, struct row_kv *ret) MUST_USE;
void row_block_server_encode(const struct meta_block_server *r, struct bytes *to);
enum err row_block_server_decode(struct slice key, struct slice s, struct meta_block_server *ret) MUST_USE;
void row_export_encode(const struct row_export *r, struct bytes *to);
enum err row_export_decode(struct slice s, struct row_export *ret) MUST_USE;
void row_cluster_encode(const struct row_cluster *r, struct bytes *to);
enum err row_cluster_decode(struct slice s, struct row_cluster *ret) MUST_USE;
/* config is borrowed. */
void row_members_encode(uint64_t index, struct slice config, struct bytes *to);
enum err row_members_decode(struct slice s, uint64_t *ret_index, struct slice *ret_config) MUST_USE;
void row_level_encode(uint32_t level, struct bytes *to);
enum err row_level_decode(struct slice s, uint32_t *ret) MUST_USE;
void row_meta_encode(const struct row_meta *r, struct bytes *to);
enum err row_meta_decode(struct slice s, struct row_meta *ret) MUST_USE;
void row_reply_encode(const struct meta_reply *r, struct bytes *to);
enum err row_reply_decode(struct slice s, struct meta_reply *ret) MUST_USE;
