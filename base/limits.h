/* limits.h: the limits that more than one folder must agree on, in one place and related at compile time. */
#pragma once

#define KIB 1024u
#define MIB (1024u * KIB)

#define LIMIT_BLOCK_BYTES (1 * MIB) /* a block */
#define LIMIT_NAME_BYTES 255u       /* a file name */
#define LIMIT_SYMLINK_BYTES 4095u   /* a symbolic link's target */
#define LIMIT_EXPORT_BYTES 63u      /* an export's name */
#define LIMIT_ADDRESS_BYTES 255u    /* HOST:PORT */
#define LIMIT_NODES 9u              /* voters and learners */
#define LIMIT_BLOCK_SERVERS 64u
#define LIMIT_REPLICAS 7u
#define LIMIT_COMMIT_EXTENTS 1024u  /* extents in one commit of contents */
#define LIMIT_COMMAND_ROWS 4096u    /* rows that one command may touch */
#define LIMIT_REPLY_WINDOW 1024u    /* cached replies of a session */
#define LIMIT_OPEN_HINTS 256u       /* inodes in the open-here list of an unlink */
#define LIMIT_READDIR_ENTRIES 1024u /* entries in one readdir reply */
#define LIMIT_LAYOUT_EXTENTS 1024u  /* extents in one layout reply */

#define LIMIT_COMMAND_BYTES (256 * KIB)  /* an encoded command: one raft entry's data */
#define LIMIT_RAFT_BATCH_BYTES (1 * MIB) /* entries' data in one AppendEntries or one log write */
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
_Static_assert(LIMIT_COMMAND_BYTES <= LIMIT_RAFT_BATCH_BYTES, "a command fits in a batch");
_Static_assert(LIMIT_RAFT_BATCH_BYTES <= LIMIT_FRAME_PAYLOAD_BYTES, "a batch fits in a frame");
_Static_assert(LIMIT_BLOCK_BYTES <= LIMIT_FRAME_PAYLOAD_BYTES, "a block fits in a frame");
_Static_assert(LIMIT_HASHES_PER_FRAME * 40 <= LIMIT_FRAME_MESSAGE_BYTES, "a list of hashes fits in a frame");
