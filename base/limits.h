/* limits.h: the limits that more than one folder must agree on, in one place and related at compile time. */
#pragma once

#define KIB 1024u
#define MIB (1024u * KIB)

#define LIMIT_BLOCK_BYTES (1 * MIB) /* a block */
#define LIMIT_NAME_BYTES 255u       /* a file name */
#define LIMIT_SYMLINK_BYTES 4095u   /* a symbolic link's target */
#define LIMIT_EXPORT_BYTES 63u      /* an export's name */
#define LIMIT_ADDRESS_BYTES 255u    /* HOST:PORT */
#define LIMIT_ZONE_BYTES 32u        /* name of a zone of block servers */
#define LIMIT_NODES 9u              /* voters and learners */
#define LIMIT_BLOCK_SERVERS 64u
#define LIMIT_REPLICAS 7u
#define LIMIT_COMMIT_EXTENTS 1024u /* extents in one commit of contents */
#define LIMIT_REWRITE_EXTENTS 512u /* extents that are rewritten as one block */
#define LIMIT_FRAGMENTED 256u      /* fragmented files in one answer */
/* Blocks whose bytes are in the metadata until they are on the block servers. */
#define LIMIT_INLINE_BYTES (16 * KIB)       /* of one commit */
#define LIMIT_INLINE_BLOCKS 16u             /* of one commit */
#define LIMIT_INLINE_TOTAL_BYTES (64 * MIB) /* of the whole metastore, rows included */
#define LIMIT_INLINE_REPLY_BYTES (512 * KIB)
#define LIMIT_MOVED_BLOCKS 256u     /* of one MOVED, and of one reply */
#define LIMIT_CLONE_EXTENTS 512u    /* extents that one clone copies */
#define LIMIT_COMMAND_ROWS 4096u    /* rows that one command may touch */
#define LIMIT_REPLY_WINDOW 1024u    /* cached replies of a session */
#define LIMIT_BLOCK_REFS 1024u      /* blocks in one question for references */
#define LIMIT_RELEASE 256u          /* unlinked inodes of one RELEASE */
#define LIMIT_READS 64u             /* times of access of one READS: a bit for each in its reply */
#define LIMIT_READDIR_ENTRIES 1024u /* entries in one readdir reply */
#define LIMIT_LOOK_AHEAD 256u       /* entries that one look-up brings along */
#define LIMIT_LAYOUT_EXTENTS 1024u  /* extents in one layout reply */
#define LIMIT_FILE_LOCKS 1500u      /* locks of one kind on one inode; one that is waited for counts three times */
#define LIMIT_SESSION_LOCKS 65536u  /* locks of a session, on all inodes */
#define LIMIT_SESSION_WAITS 512u    /* locks that a session waits for */

/* Extended attributes of one inode: what Linux passes on, and so few that all go with it in one command. */
#define LIMIT_XATTR_NAME_BYTES 255u
#define LIMIT_XATTR_VALUE_BYTES (64 * KIB)
#define LIMIT_XATTR_LIST_BYTES (64 * KIB) /* the names, each with a NUL */
#define LIMIT_XATTRS 1024u

/* The key/value space. */
#define LIMIT_KV_KEY_BYTES 1024u
#define LIMIT_KV_VALUE_BYTES (1 * MIB)
#define LIMIT_KV_KEYS 128u                                       /* in one change of several, and in one question */
#define LIMIT_KV_CHANGES_BYTES (LIMIT_KV_VALUE_BYTES + 32 * KIB) /* keys and values of one command */
#define LIMIT_KV_REPLY_BYTES (LIMIT_KV_VALUE_BYTES + 256 * KIB)  /* keys and values of one answer */
#define LIMIT_KV_LIST_ENTRIES 1024u                              /* of one page */
#define LIMIT_KV_EXPIRE 256u                                     /* keys that one command removes */

#define LIMIT_COMMAND_BYTES (LIMIT_KV_VALUE_BYTES + 64 * KIB) /* an encoded command: one raft entry's data */
#define LIMIT_RAFT_BATCH_BYTES LIMIT_COMMAND_BYTES            /* entries' data in one AppendEntries or one log write */
#define LIMIT_RAFT_BATCH_ENTRIES 4096u
#define LIMIT_RAFT_INFLIGHT_BATCHES 64u /* AppendEntries under way to one follower */
#define LIMIT_RAFT_UNCOMMITTED_BYTES (64 * MIB)

#define LIMIT_FRAME_MESSAGE_BYTES (2 * MIB) /* protobuf part of a frame */
#define LIMIT_FRAME_PAYLOAD_BYTES (4 * MIB) /* raw part of a frame */
#define LIMIT_BLOCKS_PER_FRAME 256u         /* blocks in one PutBlocks/GetBlocks */
#define LIMIT_HASHES_PER_FRAME 16384u
#define LIMIT_CONNECTIONS 4096u
#define LIMIT_REQUESTS_PER_CONNECTION 1024u

_Static_assert(LIMIT_COMMIT_EXTENTS * 128 <= LIMIT_COMMAND_BYTES, "a full commit fits in a command");
_Static_assert(LIMIT_COMMIT_EXTENTS * 128 + LIMIT_INLINE_BYTES + LIMIT_INLINE_BLOCKS * 8 <= LIMIT_COMMAND_BYTES,
               "with inline blocks too");
_Static_assert(LIMIT_REWRITE_EXTENTS * 128 <= LIMIT_COMMAND_BYTES, "what a rewrite expects fits in a command");
_Static_assert(LIMIT_REWRITE_EXTENTS * 2 * 2 + 16 + LIMIT_REPLY_WINDOW <= LIMIT_COMMAND_ROWS,
               "the rows that go and those that come, with the counts of their blocks");
_Static_assert(LIMIT_LOOK_AHEAD <= LIMIT_READDIR_ENTRIES, "what comes along fits where a page of a directory does");
_Static_assert(LIMIT_MOVED_BLOCKS * 64 <= LIMIT_COMMAND_BYTES, "a list of moved blocks fits in a command");
_Static_assert(LIMIT_INLINE_REPLY_BYTES + 64 * LIMIT_MOVED_BLOCKS + 64 * LIMIT_LAYOUT_EXTENTS <=
                   LIMIT_FRAME_MESSAGE_BYTES,
               "a layout and its inline blocks fit in a frame");
_Static_assert(LIMIT_XATTR_VALUE_BYTES + 1024 <= LIMIT_COMMAND_BYTES, "an attribute's value fits in a command");
_Static_assert(LIMIT_KV_CHANGES_BYTES + LIMIT_KV_KEYS * 64 <= LIMIT_COMMAND_BYTES, "a full change fits in a command");
_Static_assert(LIMIT_KV_KEY_BYTES + LIMIT_KV_VALUE_BYTES <= LIMIT_KV_CHANGES_BYTES, "so does the largest value");
_Static_assert(LIMIT_KV_REPLY_BYTES + LIMIT_KV_LIST_ENTRIES * 128 + LIMIT_KV_KEY_BYTES <= LIMIT_FRAME_MESSAGE_BYTES,
               "a page of keys and values fits in a frame");
_Static_assert(LIMIT_KV_KEYS *(LIMIT_KV_KEY_BYTES + 64) <= LIMIT_KV_REPLY_BYTES, "keys that are asked for fit too");
_Static_assert(LIMIT_XATTRS * 2 <= LIMIT_COMMAND_ROWS, "they go in one command");
_Static_assert(LIMIT_COMMAND_BYTES <= LIMIT_RAFT_BATCH_BYTES, "a command fits in a batch");
_Static_assert(LIMIT_RAFT_BATCH_BYTES <= LIMIT_FRAME_PAYLOAD_BYTES, "a batch fits in a frame");
_Static_assert(LIMIT_BLOCK_BYTES <= LIMIT_FRAME_PAYLOAD_BYTES, "a block fits in a frame");
_Static_assert(LIMIT_HASHES_PER_FRAME * 40 <= LIMIT_FRAME_MESSAGE_BYTES, "a list of hashes fits in a frame");
