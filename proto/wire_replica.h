/* wire_replica.h: what metastore members say to each other. Entries, manifests, pieces of snapshots and durability logs
 * travel in the payload, with a checksum64 that the message carries. */
#pragma once

#include "proto/wire_common.h"
#include "replica/message.h"

void wire_replica_encode(const struct replica_message *m, struct arena *a, struct slice *ret_message,
                         struct slice *ret_payload);
/* Slices borrow from message and payload. */
enum err wire_replica_decode(struct slice message, struct slice payload, struct arena *a, struct replica_message *ret,
                             struct err_text *why) MUST_USE;
