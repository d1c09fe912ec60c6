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

struct meta_attr {
    uint64_t ino;
    uint32_t mode, uid, gid, nlink;
    uint32_t rdev;      /* as new_encode_dev; character and block devices */
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
bool meta_extent_is_hole(const struct meta_extent *e);

struct meta_block_server {
    uint32_t id;                           /* the node's id, > 0 */
    char address[LIMIT_ADDRESS_BYTES + 1]; /* HOST:PORT, where clients reach it */
    uint64_t weight;                       /* capacity in MiB, at least 1 */
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
    META_COMMIT,      /* contents */
    META_RELEASE,     /* this session has closed these unlinked inodes */
    META_REAP,        /* proposed by the leader: remove a bounded part of queued dead contents */
    META_BLOCK_SERVER /* a block server registers: id, address, weight; repeated with changes */
};
#define META_OP_LAST META_BLOCK_SERVER
const char *meta_op_name(enum meta_op op);

enum meta_setattr_mask {
    META_SET_MODE = 1 << 0,
    META_SET_UID = 1 << 1,
    META_SET_GID = 1 << 2,
    META_SET_SIZE = 1 << 3,
    META_SET_ATIME = 1 << 4,
    META_SET_MTIME = 1 << 5, /* with the values given */
    META_SET_ATIME_NOW = 1 << 6,
    META_SET_MTIME_NOW = 1 << 7,
    META_SET_CTIME = 1 << 8
};
enum meta_rename_flags { META_RENAME_NOREPLACE = 1, META_RENAME_EXCHANGE = 2 };

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
        } setattr;
        struct { /* CREATE, MKDIR, MKNOD, SYMLINK */
            uint64_t parent;
            struct slice name; /* 1..LIMIT_NAME_BYTES, no '/', no NUL, not "." or ".." */
            uint32_t mode, uid, gid, rdev;
            bool exclusive; /* CREATE: EXIST when there; else an existing regular file is returned with `existed` */
            struct slice target; /* SYMLINK: 1..LIMIT_SYMLINK_BYTES */
        } make;
        struct {
            uint64_t ino, parent;
            struct slice name;
        } link;
        struct { /* UNLINK, RMDIR */
            uint64_t parent;
            struct slice name;
            /* Inodes that this session has open: if the last link of one of them goes, it stays as an orphan of this
             * session until RELEASE or the session's end. open_unknown: there are more than fit; keep any. */
            const uint64_t *open_inos;
            unsigned open_count; /* <= LIMIT_OPEN_HINTS */
            bool open_unknown;
        } unlink;
        struct {
            uint64_t parent, new_parent;
            struct slice name, new_name;
            uint32_t flags;            /* meta_rename_flags */
            const uint64_t *open_inos; /* as in unlink, for the one that is replaced */
            unsigned open_count;
            bool open_unknown;
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
        } commit;
        struct {
            const uint64_t *inos;
            unsigned count; /* <= LIMIT_OPEN_HINTS */
        } release;
        struct {
            uint64_t content_id;
        } reap;
        struct meta_block_server block_server;
    };
};

struct meta_reply {
    enum err status;
    struct meta_attr attr; /* of the inode made or changed (unlink, rename: the one that lost a link, or moved) */
    bool has_attr;
    struct meta_attr parent; /* of the directory changed (rename: new parent) */
    bool has_parent;
    bool existed;              /* CREATE */
    bool orphaned;             /* UNLINK, RENAME: attr.ino lost its last link and is kept for this session */
    struct meta_attr replaced; /* RENAME over a name: the inode that was there (nlink after it) */
    bool has_replaced;
    uint64_t session; /* SESSION_OPEN */
    uint64_t offset;  /* COMMIT with append: where the run was placed */
    bool more;        /* REAP: rows are left */
};

/* ---- queries: reads of one applied state ---- */

enum meta_query_op {
    META_QUERY_LOOKUP = 1, /* parent, name -> attr; NOENT, NOTDIR, STALE (no such parent) */
    META_QUERY_GETATTR,  /* ino -> attr; STALE. An orphan counts as there only for a session that holds it, or while any
                            does */
    META_QUERY_OPEN,     /* ino -> attr and the extents from offset 0, up to max_count */
    META_QUERY_READLINK, /* ino -> target; INVAL when not a symlink */
    META_QUERY_READDIR,  /* ino, cookie -> entries */
    META_QUERY_LAYOUT,   /* ino, offset, length -> extents that overlap, attr */
    META_QUERY_STATFS,
    META_QUERY_CLUSTER, /* cluster id, block servers, replicas */
    META_QUERY_SESSIONS
};
#define META_QUERY_LAST META_QUERY_SESSIONS

struct meta_query {
    enum meta_query_op op;
    uint64_t session; /* 0: none */
    uint64_t ino;     /* LOOKUP: the parent */
    struct slice name;
    uint64_t cookie; /* READDIR: 0 from the start, else the last entry's cookie. "." and ".." are the client's own */
    uint64_t offset, length;
    unsigned max_count; /* <= LIMIT_READDIR_ENTRIES or LIMIT_LAYOUT_EXTENTS; 0: that limit */
    bool with_attr;     /* READDIR: attributes of each entry (readdirplus) */
    bool any_member;    /* a follower may answer, from its own state, when it has made sure that it is new enough */
};

struct meta_dirent {
    struct slice name;
    uint64_t ino, cookie;
    uint32_t type_mode;    /* S_IFMT part */
    struct meta_attr attr; /* when asked for */
};

struct meta_session_info {
    uint64_t id, last_seq, orphans;
    struct slice export, client;
    int64_t opened_ns;
};

struct meta_query_reply {
    enum err status;
    struct meta_attr attr;
    bool has_attr;
    struct slice target;         /* READLINK */
    struct meta_dirent *entries; /* READDIR, in cookie order */
    unsigned entry_count;
    bool end;                    /* READDIR, LAYOUT, OPEN: nothing beyond these */
    uint64_t parent_ino;         /* READDIR: of the directory asked for, for ".." */
    struct meta_extent *extents; /* OPEN, LAYOUT */
    unsigned extent_count;
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
};
