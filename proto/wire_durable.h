/* wire_durable.h: a voter's word on a put that is in its durability log (METHOD_META_DURABLE). */
#pragma once

#include "durability/quorum.h"
#include "proto/wire_common.h"

struct slice wire_durable_ack_encode(const struct durability_ack *ack, struct arena *a);
enum err wire_durable_ack_decode(struct slice s, struct arena *a, struct durability_ack *ret,
                                 struct err_text *why) MUST_USE;
