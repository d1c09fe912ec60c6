/* inline_mover.h: inline blocks (meta/inline_block.c) on their way to the block servers: many with one put and one
 * command, in the background, some time after the commit that brought them.
 *
 * What this mount has committed is moved within a second, as far as block servers can be reached. What others have left
 * behind, since they were killed, is found and moved too: each mount looks for blocks that have been inline for long.
 * Nothing is lost when nobody moves them: they are as durable as the metadata. Thread-safe; one thread of its own. */
#pragma once

#include "client/block/block_client.h"

struct inline_mover;

/* stop ends calls that are under way; it is the caller's. look_ns: how often to look for what others have left behind;
 * what is there at two looks in a row is moved. 0: every 10 s. */
struct inline_mover *inline_mover_new(struct meta_client *meta, struct block_client *blocks, struct rpc_cancel *stop,
                                      int64_t look_ns);
/* Moves first what this mount has committed, unless stop has fired or fires; what others have left behind not. */
void inline_mover_free(struct inline_mover *m);
/* So many bytes more may be committed inline. No: the block servers don't keep up, and it is they who must be waited
 * for. */
bool inline_mover_has_room(struct inline_mover *m, size_t bytes);
/* A commit has brought the block, and has made this version of this inode. Takes a reference of its own. */
void inline_mover_add(struct inline_mover *m, struct block_buffer *block, uint64_t ino, uint64_t version);
