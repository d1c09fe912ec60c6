/* schema.h: the rows of the state machine in RocksDB, one column family.
 *
 * Keys begin with one byte for the table; integers are big-endian, so that rows of one directory or file are neighbours
 * and in order. Values begin with a format version (1). All of it is a storage format: fields are only added.
 *
 * clang-format off
 *   key                      value
 *   i ino                    inode: attributes, parent (directories), target (symlinks)
 *   d parent, cookie, name   child ino, type. cookie = SipHash(cluster key, name), 63 bits, never 0 to 2
 *   x content id, end        extent that ends at this file offset: length, block id, offset in block. By its end, so
 *                            that one seek finds the first one that overlaps or touches a range
 *   r block id               reference count: how many extents name the block (merged; zero is as good as no row)
 *   s session                export root, client, nonce, opened, highest acknowledged and highest sequence, orphans
 *   q session, sequence      the reply to that request (window of LIMIT_REPLY_WINDOW). Not below the session's row:
 *                            acknowledged replies leave many tombstones, which a list of sessions must not walk over
 *   e nonce                  session that was opened with it (while it lives)
 *   o session, ino           unlinked inode that this session keeps alive
 *   p ino, session           the same, by inode
 *   g content id             dead contents, to be reaped: where their extents end
 *   c "e" name               export: root ino
 *   c "b" id                 block server: weight, address
 *   c "k"                    cluster id, cookie key, replicas, version of the block server map
 *   c "m"                    members of the raft group: index of the entry, the configuration as raft encodes it
 *   m                        applied index and its term, next id, last time, inodes, bytes, chain hash
 * clang-format on
 *
 * Room is left for a (extended attributes), l (locks), k (key/value).
 *
 * Inode numbers and content ids come from one counter, so a file's first content id is its inode number. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "meta/types.h"

#define SCHEMA_KEY_MAX (1 + 8 + 8 + LIMIT_NAME_BYTES)
#define SCHEMA_COOKIE_FIRST 3u
#define SCHEMA_TABLE_BLOCK_REF 'r'

struct schema_key {
    uint8_t bytes[SCHEMA_KEY_MAX];
    size_t size;
};

struct schema_key schema_inode(uint64_t ino);
struct schema_key schema_dentry(uint64_t parent, uint64_t cookie, struct slice name);
struct schema_key schema_dentry_prefix(uint64_t parent);
struct schema_key schema_extent(uint64_t content_id, uint64_t end);
struct schema_key schema_block_ref(const struct sha256 *block);
struct schema_key schema_session(uint64_t session);
struct schema_key schema_reply(uint64_t session, uint64_t seq);
struct schema_key schema_nonce(const uint8_t nonce[16]);
struct schema_key schema_orphan(uint64_t session, uint64_t ino);
struct schema_key schema_orphan_of(uint64_t ino, uint64_t session);
struct schema_key schema_garbage(uint64_t content_id);
struct schema_key schema_export(struct slice name);
struct schema_key schema_block_server(uint32_t id);
struct schema_key schema_cluster(void);
struct schema_key schema_members(void);
struct schema_key schema_meta(void);

/* The first key behind all that begin with the first prefix_size bytes of this one. */
struct schema_key schema_prefix_end(const struct schema_key *key, size_t prefix_size);
/* The u64 that begins `skip` bytes into a key. */
uint64_t schema_key_u64(struct slice key, size_t skip);

/* ---- values. Decoders give ERR_CORRUPT for what no encoder wrote. ---- */

struct row_inode {
    struct meta_attr attr;
    uint64_t parent;     /* directories */
    struct slice target; /* symlinks; borrowed */
};
struct row_dentry {
    uint64_t ino;
    uint32_t type_mode;
};
struct row_session {
    uint64_t root_ino, acked, last_seq, orphans;
    int64_t opened_ns;
    uint8_t nonce[16];
    struct slice export, client;
};
struct row_cluster {
    uint8_t id[16], cookie_key[16];
    uint32_t replicas;
    uint64_t map_version;
};
struct row_meta {
    uint64_t applied, term, next_id, inodes, bytes;
    int64_t last_time_ns;
    struct sha256 chain;
};

void row_inode_encode(const struct row_inode *r, struct bytes *to);
enum err row_inode_decode(struct slice s, struct row_inode *ret) MUST_USE;
void row_dentry_encode(const struct row_dentry *r, struct bytes *to);
enum err row_dentry_decode(struct slice s, struct row_dentry *ret) MUST_USE;
void row_extent_encode(const struct meta_extent *r, struct bytes *to);
enum err row_extent_decode(struct slice key, struct slice s, struct meta_extent *ret) MUST_USE;
/* References of a block; also the change that is merged into it. */
void row_count_encode(int64_t count, struct bytes *to);
enum err row_count_decode(struct slice s, int64_t *ret) MUST_USE;
/* No extent of the dead contents reaches behind this offset. */
void row_garbage_encode(uint64_t end, struct bytes *to);
enum err row_garbage_decode(struct slice s, uint64_t *ret_end) MUST_USE;
void row_session_encode(const struct row_session *r, struct bytes *to);
enum err row_session_decode(struct slice s, struct row_session *ret) MUST_USE;
void row_block_server_encode(const struct meta_block_server *r, struct bytes *to);
enum err row_block_server_decode(struct slice key, struct slice s, struct meta_block_server *ret) MUST_USE;
void row_cluster_encode(const struct row_cluster *r, struct bytes *to);
enum err row_cluster_decode(struct slice s, struct row_cluster *ret) MUST_USE;
/* config is borrowed. */
void row_members_encode(uint64_t index, struct slice config, struct bytes *to);
enum err row_members_decode(struct slice s, uint64_t *ret_index, struct slice *ret_config) MUST_USE;
void row_meta_encode(const struct row_meta *r, struct bytes *to);
enum err row_meta_decode(struct slice s, struct row_meta *ret) MUST_USE;
void row_reply_encode(const struct meta_reply *r, struct bytes *to);
enum err row_reply_decode(struct slice s, struct meta_reply *ret) MUST_USE;
