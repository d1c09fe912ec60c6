/* types.h: what goes into and comes out of the replicated state machine: commands, queries and their replies. Plain
 * structs without ownership: slices and arrays are borrowed from the decoder's or the query's arena. They travel
 * through proto/wire_meta.h, which validates everything that these comments bound.
 *
 * Times are int64 nanoseconds since the Unix epoch. Modes are st_mode: type and permission bits as in <sys/stat.h>.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/limits.h"

#define META_ROOT_INO 1u /* root directory of the export `default` */
#define META_EXPORT_DEFAULT "default"
#define META_LINK_MAX 65535u
#define META_SIZE_MAX INT64_MAX
#define META_REPLICAS_DEFAULT 3u
#define META_LEVEL_FIRST 1u                       /* of programs that don't say theirs (meta/level.h) */
#define META_ACL_ACCESS "system.posix_acl_access" /* the extended attributes that hold access control lists */
#define META_ACL_DEFAULT "system.posix_acl_default"

struct meta_attr {
    uint64_t ino;
    uint32_t mode, uid, gid, nlink;
    uint32_t rdev;      /* as new_encode_dev; character and block devices */
    uint32_t xattrs;    /* how many extended attributes: 0 saves asking for one */
    uint64_t size;      /* bytes; a directory's is its number of entries */
    uint64_t allocated; /* bytes covered by extents that are not holes */
    int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
    uint64_t version;    /* +1 with every committed change of contents or size */
    uint64_t content_id; /* names the current contents' extents; changes with truncation to 0 */
};

/* A run of file bytes. A hole has an all-zero block id and block_offset 0. Extents of a reply are in file order and
 * don't overlap; bytes below the size that no extent covers are a hole too. */
struct meta_extent {
    uint64_t file_offset, length; /* length > 0; file_offset + length <= META_SIZE_MAX */
    struct sha256 block;
    uint32_t block_offset; /* block_offset + length <= LIMIT_BLOCK_BYTES unless a hole */
};
static inline bool meta_extent_is_hole(const struct meta_extent *e)
{
    static const struct sha256 zero;
    return sha256_equal(&e->block, &zero);
}
/* The bytes [from, to) of it, which lie within. */
static inline struct meta_extent meta_extent_part(const struct meta_extent *e, uint64_t from, uint64_t to)
{
    struct meta_extent r = *e;
    r.file_offset = from;
    r.length = to - from;
    if (!meta_extent_is_hole(e))
        r.block_offset = e->block_offset + (uint32_t)(from - e->file_offset);
    return r;
}
/* A block whose bytes are in the metadata until they are on its block servers (meta/inline_block.c). ino and version
 * say which commit brought them, or brought them last. */
struct meta_inline_block {
    struct sha256 id;
    uint64_t ino, version;
    struct slice data; /* 1..LIMIT_INLINE_BYTES; its SHA-256 is the id. Empty in a command */
};
/* As with relatime in mount(8): at most once a day, but for the first read after a change. */
#define META_ATIME_AGE_NS (24 * 3600 * UINT64_C(1000000000))
static inline bool meta_atime_is_due(const struct meta_attr *a, int64_t now_ns)
{
    return now_ns > a->atime_ns && (a->atime_ns <= a->mtime_ns || a->atime_ns <= a->ctime_ns ||
                                    (uint64_t)now_ns - (uint64_t)a->atime_ns >= META_ATIME_AGE_NS);
}

/* Blocks that were put with `put` must not be named any more at `now`: blockstore/collect.h says why. */
static inline bool meta_epoch_is_stale(uint64_t put, uint64_t now)
{
    return now > 1 && put < now - 1;
}

/* What META_BLOCK_SERVER does. All but the first are an administrator's, of a server that is registered. */
enum meta_server_change {
    META_SERVER_REGISTER = 0, /* address and weight; what an administrator has set stays */
    META_SERVER_DRAIN,        /* NOT_POSSIBLE for the last one that is not drained */
    META_SERVER_UNDRAIN,
    META_SERVER_WEIGHT,
    META_SERVER_REMOVE
};
#define META_SERVER_CHANGE_LAST META_SERVER_REMOVE
#define META_WEIGHT_MAX (UINT64_C(1) << 50) /* that an administrator may give; placement's limit is 2^56 */

/* Of letters, digits and "._-"; may be empty. */
static inline bool meta_zone_valid(struct slice zone)
{
    for (size_t i = 0; i < zone.size; i++) {
        uint8_t c = zone.data[i], lower = c | 32u;
        if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return zone.size <= LIMIT_ZONE_BYTES;
}

struct meta_block_server {
    uint32_t id;                           /* the node's id, > 0 */
    char address[LIMIT_ADDRESS_BYTES + 1]; /* HOST:PORT, where clients reach it */
    char zone[LIMIT_ZONE_BYTES + 1];       /* what fails together, as a rack; "": it is a zone of its own */
    uint64_t weight;                       /* capacity in MiB, at least 1 */
    bool draining;                         /* it owns no block: what it has is copied to others */
    bool weight_fixed;                     /* by an administrator */
    enum meta_server_change change;        /* in a command; elsewhere REGISTER */
};

/* ---- commands: changes, ordered by the log ---- */

enum meta_op {
    META_INIT = 1,     /* the first command of a cluster: root, cluster id, cookie key; a second one is EXIST */
    META_SESSION_OPEN, /* -> reply.session (the log index), attr of the export's root; NO_EXPORT */
    META_SESSION_END,  /* goodbye of a client, or expiry proposed by the leader */
    META_SETATTR,      /* also truncation; STALE when the inode is gone */
    META_CREATE,       /* regular file */
    META_MKDIR,
    META_MKNOD, /* fifo, socket, device, regular */
    META_SYMLINK,
    META_LINK,
    META_UNLINK,
    META_RMDIR,
    META_RENAME,
    META_COMMIT,       /* contents */
    META_RELEASE,      /* this session has closed these unlinked inodes */
    META_REAP,         /* proposed by the leader: remove a bounded part of queued dead contents */
    META_BLOCK_SERVER, /* a block server registers, or an administrator changes it (enum meta_server_change) */
    META_LOCK,         /* flock and fcntl locks: to take, change, give up, or wait for; STALE when the inode is gone */
    META_LOCK_CANCEL,  /* wait no longer; NOT_FOUND: it is not waited for any more, the owner has it */
    META_SETXATTR,     /* an extended attribute, or an access control list (meta/acl.h) */
    META_REMOVEXATTR,
    META_CLONE,  /* bytes of one file become bytes of another, by naming the same blocks */
    META_MOVED,  /* inline blocks are durable on a majority of their block servers: the metadata may let go of them */
    META_EXPORT, /* an administrator's: options of an export are set, or told -> reply.export_options; NO_EXPORT */
    META_EPOCH,  /* the next epoch of collection (blockstore/collect.h); proposed by the leader */
    META_KV,     /* changes of the key/value space, all of them or none */
    META_KV_EXPIRE, /* proposed by the leader: a bounded number of keys that have expired go */
    META_READS,     /* times of access of inodes that were read: set where they are due -> reply.set */
    META_REWRITE,   /* a fragmented part of a file is named as one block that holds the same bytes */
    META_SET_LEVEL, /* proposed by the leader: every member knows the next level (meta/level.h) */
    META_REPLICAS,  /* an administrator's: how many copies each block shall have */
    META_NEXT       /* stands for what a program of the level behind META_LEVEL_MAX will know; for tests */
};
#define META_OP_LAST META_NEXT
const char *meta_op_name(enum meta_op op); /* "unknown" for what is none */

enum meta_setattr_mask {
    META_SET_MODE = 1 << 0,
    META_SET_UID = 1 << 1,
    META_SET_GID = 1 << 2,
    META_SET_SIZE = 1 << 3,
    META_SET_ATIME = 1 << 4,
    META_SET_MTIME = 1 << 5, /* with the values given */
    META_SET_ATIME_NOW = 1 << 6,
    META_SET_MTIME_NOW = 1 << 7,
    META_SET_CTIME = 1 << 8,
    META_SET_READ = 1 << 9,     /* alone: as one of READS, which came later; a log may hold it */
    META_KILL_SET_ID = 1 << 10, /* with SIZE: by someone who must not leave a program set-user-ID */
    /* By someone who is not of the file's group: its set-group-ID bit goes, whether the group may execute it or not. */
    META_KILL_SET_GID = 1 << 11
};
enum meta_xattr_flags {
    META_XATTR_CREATE = 1,   /* EXIST when it is there */
    META_XATTR_REPLACE = 2,  /* NODATA when it is not */
    META_XATTR_KILL_SGID = 4 /* an access ACL by someone who is not of the group: the set-group-ID bit goes */
};
enum meta_export_options {
    META_EXPORT_ROOT_SQUASH = 1 /* mounts let uid 0 do what anybody may (fusefs/squash.h) */
};
#define META_EXPORT_OPTIONS_ALL META_EXPORT_ROOT_SQUASH
enum meta_rename_flags { META_RENAME_NOREPLACE = 1, META_RENAME_EXCHANGE = 2 };

/* Advisory locks. The two kinds know nothing of each other. An owner is a process's table of files (POSIX) or an open
 * file (flock) of one session; its own locks don't hinder it. */
enum meta_lock_kind {
    META_LOCK_POSIX = 1, /* fcntl: ranges, which split and merge */
    META_LOCK_FLOCK      /* the whole file */
};
enum meta_lock_type { META_LOCK_READ = 1, META_LOCK_WRITE, META_LOCK_UNLOCK };
struct meta_lock {
    enum meta_lock_kind kind;
    enum meta_lock_type type;
    uint64_t start, end; /* inclusive; start <= end <= META_SIZE_MAX; a flock has 0 and META_SIZE_MAX */
    uint64_t owner;
    uint32_t pid; /* as its mount knows it; only for GETLK */
};

/* The key/value space. A version is never used twice for a key: each change adds one, and a new key begins with the
 * index of its entry, which is above all that it had before. */
#define META_KV_TTL_MAX_NS (INT64_C(36500) * 24 * 3600 * 1000000000)
enum meta_kv_type {
    META_KV_BYTES = 1,
    META_KV_LIST /* byte strings, each with its length (u32) before it */
};
#define META_KV_TYPE_LAST META_KV_LIST
enum meta_kv_kind {
    META_KV_PUT = 1,   /* whatever is there */
    META_KV_SET,       /* EXIST when it is there */
    META_KV_CAS,       /* VERSION when it has another version than expected; NOT_FOUND */
    META_KV_CAS_VALUE, /* VERSION when it has another value than expected; WRONG_TYPE, NOT_FOUND */
    META_KV_APPEND,    /* value is an element for the end of the list; WRONG_TYPE, TOO_BIG */
    META_KV_DELETE     /* NOT_FOUND; VERSION when expected_version is not 0 and another */
};
#define META_KV_KIND_LAST META_KV_DELETE
struct meta_kv_change {
    enum meta_kv_kind kind;
    enum meta_kv_type type;      /* of value, but for APPEND and DELETE, which have no type: BYTES */
    struct slice key;            /* 1..LIMIT_KV_KEY_BYTES */
    struct slice value;          /* <= LIMIT_KV_VALUE_BYTES; a list must be one. DELETE: empty */
    uint64_t expected_version;   /* CAS, DELETE; else 0 */
    struct slice expected_value; /* CAS_VALUE; else empty. It counts as a value does for LIMIT_KV_CHANGES_BYTES */
    int64_t ttl_ns;              /* 0..META_KV_TTL_MAX_NS; 0: none (APPEND: as it was) */
};
/* Whether the bytes are elements with their lengths before them. */
static inline bool meta_kv_list_valid(struct slice list)
{
    struct cursor c = cursor_of(list);
    while (cursor_ok(&c) && c.at < c.end)
        (void)cursor_blob(&c, LIMIT_KV_VALUE_BYTES);
    return cursor_ok(&c);
}
struct meta_kv_entry {
    struct slice key;
    bool found; /* else nothing of the following is set but index */
    enum meta_kv_type type;
    struct slice value; /* empty where only keys were asked for */
    uint64_t size;      /* of the value, bytes */
    uint64_t version;
    int64_t ttl_ns;     /* as it was given; 0: none */
    int64_t expires_ns; /* by the time in the log; 0: never */
    uint64_t index;     /* of the state that was asked: a watch may begin here */
};
enum meta_kv_event_kind { META_KV_CHANGED = 1, META_KV_DELETED, META_KV_EXPIRED };
#define META_KV_EVENT_LAST META_KV_EXPIRED
struct meta_kv_event {
    enum meta_kv_event_kind kind;
    uint64_t index;   /* of the entry that did it; several events may have the same one */
    int64_t time_ns;  /* of that entry */
    uint64_t version; /* of the key; DELETED, EXPIRED: its last one */
    struct slice key;
};

/* An inode was read. Told late, it must not undo a time that was set since: it counts only if ctime_ns is still that of
 * the inode. */
struct meta_read {
    uint64_t ino;
    int64_t ns, ctime_ns;
};

struct meta_command {
    enum meta_op op;
    /* Exactly once: session 0 is for the leader's own commands, which are idempotent by themselves. seq counts from 1
     * per session; the client has the replies up to and including `acked` (acked < seq <= acked + LIMIT_REPLY_WINDOW).
     */
    uint64_t session, seq, acked;
    int64_t time_ns; /* stamped by the leader */
    union {
        struct {
            uint8_t cluster_id[16], cookie_key[16];
        } init;
        struct {
            struct slice export; /* 1..LIMIT_EXPORT_BYTES */
            struct slice client; /* for people: host and mountpoint; <= 255 bytes */
            bool attaches;       /* it will ask for notices (replica/leases.h), and may open files */
            uint8_t nonce[16];   /* an open that is repeated with the nonce of a live session returns that session */
        } session_open;
        struct {
            uint64_t session;
        } session_end;
        struct {
            uint64_t ino;
            uint32_t mask; /* meta_setattr_mask */
            uint32_t mode, uid, gid;
            uint64_t size;
            int64_t atime_ns, mtime_ns;
            int64_t
                ctime_ns; /* READ: of the state that was read. If it still is, and meta_atime_is_due, atime is set */
        } setattr;
        struct { /* CREATE, MKDIR, MKNOD, SYMLINK */
            uint64_t parent;
            struct slice name; /* 1..LIMIT_NAME_BYTES, no '/', no NUL, not "." or ".." */
            uint32_t mode, uid, gid, rdev;
            uint32_t umask; /* taken from the mode, unless the parent has a default ACL, which counts instead */
            bool exclusive; /* CREATE: EXIST when there; else an existing regular file is returned with `existed` */
            struct slice target; /* SYMLINK: 1..LIMIT_SYMLINK_BYTES */
        } make;
        struct {
            uint64_t ino, parent;
            struct slice name;
        } link;
        struct { /* UNLINK, RMDIR */
            uint64_t parent;
            struct slice name; /* a regular file that loses its last link becomes an orphan, until RELEASE */
            /* UNLINK: VERSION (with attr in the reply) when another inode has that name, or another version. Ino 0:
             * whatever it is. */
            uint64_t expected_ino, expected_version;
        } unlink;
        struct {
            uint64_t parent, new_parent;
            struct slice name, new_name;
            uint32_t flags; /* meta_rename_flags */
        } rename;
        struct {
            uint64_t ino;
            const struct meta_extent *extents; /* in file order, not overlapping; replace those bytes */
            unsigned extent_count;             /* <= LIMIT_COMMIT_EXTENTS */
            uint64_t size_at_least;            /* the size becomes max(size, this, end of the extents) */
            bool append;                       /* extents count from the end of file as of apply (one run from 0) */
            bool has_expected_version;
            uint64_t expected_version; /* VERSION (with attr in the reply) when it differs; nothing changed */
            bool has_mtime;            /* else time_ns */
            int64_t mtime_ns;
            bool kill_set_id; /* written by someone who must not leave a program set-user-ID */
            /* Blocks that come along and are on no block server yet. BUSY: there are too many of these at the moment;
             * nothing changed. */
            const struct slice *inlined; /* 1..LIMIT_INLINE_BYTES in all */
            unsigned inlined_count;      /* <= LIMIT_INLINE_BLOCKS */
            /* Lowest epoch with which the extents' blocks were put: STALE_EPOCH, and nothing changed, when that is too
             * long ago, and a block server may have taken one of them for garbage. UINT64_MAX: all are inline. */
            uint64_t epoch;
        } commit;
        struct {
            const struct meta_inline_block *blocks; /* as they were brought; of others nothing is let go */
            unsigned count;                         /* <= LIMIT_MOVED_BLOCKS */
        } moved;
        struct { /* bounded: reply.offset says how many bytes were done; SPLIT: nothing was, ask for fewer */
            uint64_t source, ino;           /* may be the same; then the ranges must not overlap (INVAL) */
            uint64_t source_offset, offset; /* offset + length <= META_SIZE_MAX, likewise source_offset */
            uint64_t length;                /* > 0; nothing is done behind the end of the source */
            bool has_expected_version;
            uint64_t expected_version; /* of ino; as in commit */
            bool kill_set_id;          /* of ino; as in commit */
            /* ino gets all contents of the source in place of its own, in one step however large they are, and the
             * source has none afterwards. length is META_SIZE_MAX, and there is an expected version. ino's becomes
             * `version`: INVAL when that is not a later one. Both may be the same: then only the version is set.
             * STALE: ino has no name any more. */
            bool take;
            uint64_t version;
        } clone;
        struct {
            const struct meta_read *list; /* those that are gone are passed over */
            unsigned count;               /* 1..LIMIT_READS */
        } reads;
        struct {
            const uint64_t *inos; /* orphans that no session has open; the leader's command (replica/orphans.h) */
            unsigned count;       /* <= LIMIT_RELEASE */
        } release;
        struct {
            uint64_t content_id;
        } reap;
        struct {
            uint64_t after; /* the epoch that this one follows; AGAIN when it is over */
            bool look;      /* the block servers are to look for garbage even if nothing is known to be */
        } epoch;
        struct meta_block_server block_server;
        /* Nobody sees it: size, times and version stay. VERSION, and nothing changed, when the extents differ. */
        struct {
            uint64_t ino;
            uint64_t offset; /* the block holds the bytes of [offset, offset + length), zeros where there are holes */
            uint32_t length; /* <= LIMIT_BLOCK_BYTES; 0: nothing is rewritten */
            /* All that is named there, cut to the range, as it has to be: in file order, without holes. */
            const struct meta_extent *extents;
            unsigned extent_count; /* <= LIMIT_REWRITE_EXTENTS */
            struct sha256 block;
            uint64_t epoch; /* as in commit */
            /* length 0: all of the file that is worth it has been rewritten, as of this version of it. When a commit
             * has fragmented it since, it stays listed. */
            uint64_t version;
        } rewrite;
        struct {
            uint64_t ino;
            struct meta_lock lock;
            /* When others hold it: reply.ticket, and the lock is given when its turn comes (LOCK_WAIT tells); else
             * WOULD_BLOCK. DEADLK: an owner that holds it waits for this one. NOLCK: too many. */
            bool wait;
        } lock;
        struct {
            uint64_t ticket;
            uint32_t place; /* both as replied */
        } lock_cancel;
        struct { /* SETXATTR, REMOVEXATTR. An access ACL (meta/acl.h) sets the mode too */
            uint64_t ino;
            struct slice name;  /* 1..LIMIT_XATTR_NAME_BYTES, no NUL */
            struct slice value; /* SETXATTR: <= LIMIT_XATTR_VALUE_BYTES */
            uint32_t flags;     /* SETXATTR: meta_xattr_flags */
        } xattr;
        struct {
            struct slice name;      /* 1..LIMIT_EXPORT_BYTES */
            uint32_t mask, options; /* meta_export_options: which are set, and to what; options are of the mask */
        } export;
        struct {
            uint32_t level; /* the state's level and one; EXIST when it is there already, INVAL for another */
        } set_level;
        struct {
            uint32_t count; /* 1..LIMIT_REPLICAS */
        } replicas;
        struct {
            const struct meta_kv_change *changes; /* of different keys; LIMIT_KV_CHANGES_BYTES in all */
            unsigned count;                       /* 1..LIMIT_KV_KEYS */
        } kv;
    };
};

/* ---- leases (replica/leases.h): what mounts may believe without asking ---- */

#define META_LEASE_TERM_NS INT64_C(2000000000) /* a client counts it from when it sent a renewal */

/* What goes with an answer: what it says of inodes may be believed under this attachment, unless one of them is named
 * by a notice with a number above seq. attachment 0: nothing may be believed. */
struct meta_grant {
    uint64_t attachment, seq;
};
enum meta_notice_kind {
    META_NOTICE_CHANGED = 1, /* the inode is not as it was: nothing that is kept of it may be believed */
    META_NOTICE_WANTED,      /* somebody else looks at a file that is open for writing here: commit it soon */
    META_NOTICE_ORPHANED,    /* it is unlinked: say when it isn't open here any more */
    META_NOTICE_REWRITTEN    /* its bytes are in other blocks now: ask for the extents again */
};
#define META_NOTICE_LAST META_NOTICE_REWRITTEN
struct meta_notice {
    enum meta_notice_kind kind;
    uint64_t ino;
};

struct meta_reply {
    enum err status;
    struct meta_attr attr; /* of the inode made or changed (unlink, rename: the one that lost a link, or moved) */
    bool has_attr;
    struct meta_attr parent; /* of the directory changed (rename: new parent) */
    bool has_parent;
    bool existed;              /* CREATE */
    bool orphaned;             /* UNLINK: attr.ino, RENAME: replaced.ino is an orphan now */
    struct meta_attr replaced; /* RENAME over a name: the inode that was there (nlink after it) */
    bool has_replaced;
    uint64_t session;        /* SESSION_OPEN */
    uint32_t export_options; /* SESSION_OPEN, EXPORT: meta_export_options */
    uint64_t offset;         /* COMMIT with append: where the run was placed; CLONE: bytes done */
    bool more;               /* REAP, SESSION_END, KV_EXPIRE: rows are left; RELEASE: orphans of the list are left */
    uint64_t ticket;         /* LOCK: it is waited for, under this number; 0: it is not */
    uint32_t place;          /* LOCK with a ticket: where the metastore finds it */
    uint32_t held;           /* LOCK, LOCK_CANCEL: locks of this kind that the owner has on the inode now */
    uint64_t kv_version;     /* KV: of the last key that was changed, or of the one in the way (0: it isn't there) */
    uint32_t kv_refused;     /* KV, where status says that it was not possible: which of the changes */
    /* Not kept, but of the moment when it is sent. */
    uint64_t index; /* applied up to here; orders what is told of an inode */
    bool repeated;  /* the kept reply: its attributes are of an earlier entry */
    uint64_t set;   /* READS: bit n says that the time of number n of the list was set; nothing else was changed */
    uint64_t epoch; /* of collection */
    struct meta_grant grant;
};

/* ---- queries: reads of one applied state ---- */

enum meta_query_op {
    META_QUERY_LOOKUP = 1, /* parent, name -> attr; NOENT, NOTDIR, STALE (no such parent) */
    META_QUERY_GETATTR,    /* ino -> attr; STALE. An orphan is there until it is released: nlink 0 */
    META_QUERY_OPEN,       /* ino -> attr and the extents from offset 0, up to max_count */
    META_QUERY_READLINK,   /* ino -> target; INVAL when not a symlink */
    META_QUERY_READDIR,    /* ino, cookie -> entries */
    META_QUERY_LAYOUT,     /* ino, offset, length -> extents that overlap, attr */
    META_QUERY_STATFS,
    META_QUERY_CLUSTER, /* cluster id, block servers, replicas */
    META_QUERY_SESSIONS,
    META_QUERY_LOCK_TEST,  /* ino, lock -> the first lock that is in its way, or type UNLOCK */
    META_QUERY_LOCK_WAIT,  /* ino, ticket, place -> waiting, or the lock is held, with attr. The answer to `waiting`
                              comes when that changes or after half a second. SESSION_EXPIRED */
    META_QUERY_GETXATTR,   /* ino, name -> xattr: the value; NODATA */
    META_QUERY_LISTXATTR,  /* ino -> xattr: the names, each with a NUL behind it */
    META_QUERY_INLINE,     /* block -> inlined: that one, if it is there; next_block: those behind it, by id */
    META_QUERY_BLOCK_REFS, /* blocks -> referenced, released */
    META_QUERY_KV_GET,     /* keys -> kv: an entry for each, without its key. TOO_BIG: they don't fit in one answer */
    META_QUERY_KV_LIST, /* prefix, after, max_count, with_values -> kv: entries in order, and end. The last one may be
                          there only for its key: found is false, and the page goes on behind it */
    META_QUERY_FRAGMENTED, /* ino -> fragmented: files behind that one that commits have fragmented */
    META_QUERY_EXTENTS /* as LAYOUT, but it is no look at the file: nothing is granted, its writers don't hear of it,
                          and no inline blocks come along */
};
#define META_QUERY_LAST META_QUERY_EXTENTS
/* It names an inode. */
static inline bool meta_query_of_inode(enum meta_query_op op)
{
    return op <= META_QUERY_LAYOUT || (op >= META_QUERY_LOCK_TEST && op <= META_QUERY_LISTXATTR) ||
           op == META_QUERY_EXTENTS;
}

struct meta_query {
    enum meta_query_op op;
    uint64_t session; /* 0: none */
    uint64_t ino;     /* LOOKUP: the parent */
    struct slice name;
    /* READDIR: 0 from the start, else the last entry's cookie. "." and ".." are the client's own. LOOKUP: what comes
     * along follows the entry with this cookie instead of the name; 0: the name */
    uint64_t cookie;
    uint64_t offset, length;
    /* <= LIMIT_READDIR_ENTRIES, LIMIT_LAYOUT_EXTENTS or LIMIT_KV_LIST_ENTRIES; 0: that limit. LOOKUP: so many other
     * entries, <= LIMIT_LOOK_AHEAD, come along with a name that is there, with their attributes: those that follow it
     * in the order of the directory, and from its start when it ends. There may be fewer; some can't be told just then.
     */
    unsigned max_count;
    bool with_attr;        /* READDIR: attributes of each entry (readdirplus) */
    bool writer;           /* OPEN: for writing */
    bool any_member;       /* a follower may answer, from its own state, when it has made sure that it is new enough */
    struct meta_lock lock; /* LOCK_TEST */
    uint64_t ticket;       /* LOCK_WAIT */
    uint32_t place;
    struct sha256 block;         /* INLINE */
    bool next_block;             /* INLINE */
    const struct sha256 *blocks; /* BLOCK_REFS: 1..LIMIT_BLOCK_REFS */
    unsigned block_count;
    const struct slice *keys; /* KV_GET: 1..LIMIT_KV_KEYS */
    unsigned key_count;
    struct slice prefix, after; /* KV_LIST: each <= LIMIT_KV_KEY_BYTES; empty: of all keys, from the first */
    bool with_values;           /* KV_LIST */
};

struct meta_dirent {
    struct slice name;
    uint64_t ino, cookie;
    uint32_t type_mode;    /* S_IFMT part */
    struct meta_attr attr; /* when asked for */
};

struct meta_session_info {
    uint64_t id, last_seq;
    struct slice export, client;
    int64_t opened_ns;
    uint64_t locks, waits; /* held, and waited for */
    bool attaches;
};

struct meta_fragmented {
    uint64_t ino, version; /* that the last such commit has made; the inode may be gone */
};

struct meta_query_reply {
    enum err status;
    struct meta_attr attr;
    bool has_attr;
    struct slice target;         /* READLINK */
    struct slice xattr;          /* GETXATTR, LISTXATTR; <= LIMIT_XATTR_VALUE_BYTES */
    struct meta_dirent *entries; /* READDIR, in cookie order; LOOKUP, without cookies */
    unsigned entry_count;
    uint64_t ahead_cookie;       /* LOOKUP: of the last of the entries, to go on behind it; 0: not told */
    bool end;                    /* READDIR, LAYOUT, OPEN, INLINE, FRAGMENTED, EXTENTS, KV_LIST: nothing beyond these */
    uint64_t parent_ino;         /* READDIR: of the directory asked for, for ".." */
    struct meta_extent *extents; /* OPEN, LAYOUT, EXTENTS */
    unsigned extent_count;
    struct meta_inline_block *inlined; /* INLINE; OPEN, LAYOUT: of these extents, though perhaps not all */
    unsigned inlined_count;            /* <= LIMIT_MOVED_BLOCKS, with LIMIT_INLINE_REPLY_BYTES */
    struct {
        uint64_t inodes, bytes; /* in use: inodes, and bytes covered by extents */
    } statfs;
    struct {
        uint8_t id[16];
        unsigned replicas;
        uint64_t map_version;              /* changes with the block servers */
        struct meta_block_server *servers; /* by id */
        unsigned server_count;             /* <= LIMIT_BLOCK_SERVERS */
    } cluster;
    struct meta_session_info *sessions;
    unsigned session_count;
    struct meta_lock lock; /* LOCK_TEST: owner 0; pid 0 when it is another session's */
    bool waiting;          /* LOCK_WAIT */
    uint8_t *referenced;   /* BLOCK_REFS: for each block, 1 when an extent names it, else 0 */
    unsigned referenced_count;
    struct meta_fragmented *fragmented; /* FRAGMENTED, by inode */
    unsigned fragmented_count;          /* <= LIMIT_FRAGMENTED */
    uint64_t released;                  /* BLOCK_REFS: how often an extent has let go of its block so far */
    struct meta_kv_entry *kv;
    unsigned kv_count; /* KV_GET: as many as asked for; KV_LIST: <= LIMIT_KV_LIST_ENTRIES */
    uint64_t index;    /* as in meta_reply */
    uint64_t epoch;    /* of collection, in the state that was asked */
    struct meta_grant grant;
};

/* ---- the tree as a table, page by page, for people who look at the state of one member (files.c) ---- */

#define META_FILES_MAX 256u       /* in a page */
#define META_FILE_BLOCKS_MAX 256u /* of a file that are told by their ids */
#define META_FILE_PATH_BYTES 4096u
#define META_FILES_PAGE_BYTES (512 * KIB) /* of paths and block ids: a page that has as many is full */
/* Where a page ended may be the path of what was looked at and is too long to be told. */
#define META_FILES_PLACE_BYTES (META_FILE_PATH_BYTES + 1 + LIMIT_NAME_BYTES)

struct meta_file {
    struct slice path; /* from the root of the export, with a / in front */
    uint64_t ino, size, version;
    uint32_t mode, nlink;
    int64_t mtime_ns;
    uint64_t extent_count;       /* of a regular file */
    bool extents_more;           /* there are more: so many were counted */
    const struct sha256 *blocks; /* of its first extents, in their order */
    unsigned block_count;
};
struct meta_files_query {
    struct slice path;   /* a file, or a directory with all below it; empty, or / alone: everything */
    struct slice after;  /* where the last page ended; empty: from the beginning */
    unsigned max;        /* 1..META_FILES_MAX */
    unsigned blocks_max; /* of each file; <= META_FILE_BLOCKS_MAX */
};
struct meta_files {
    const struct meta_file
        *files; /* a directory in front of what it holds; names of a directory in no order for people */
    unsigned count;
    uint64_t index;    /* of the last entry that the state had applied */
    unsigned left_out; /* paths longer than META_FILE_PATH_BYTES */
    struct slice next; /* empty: this was the last page. A page may be empty, and not be the last one */
};
