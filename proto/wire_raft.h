/* wire_raft.h: raft messages. The entries travel in the payload, in our own compact form with a checksum64 that the
 * message carries: no copy through protobuf. */
#pragma once

#include "proto/wire_common.h"
#include "raft/raft.h"

void wire_raft_encode(const struct raft_message *m, struct arena *a, struct slice *ret_message,
                      struct slice *ret_payload);
/* The entries' data borrow from payload. Bounds: LIMIT_RAFT_BATCH_ENTRIES, LIMIT_COMMAND_BYTES; indexes consecutive. */
enum err wire_raft_decode(struct slice message, struct slice payload, struct arena *a, struct raft_message *ret,
                          struct err_text *why) MUST_USE;
