/* block_parts.h: parts that messages of block servers and of administration share. Private to proto/. */
#pragma once

#include "proto/block.pb-c.h"
#include "proto/wire_block.h"

void wire_upkeep_fill(Surf__BlockUpkeep *m, const struct wire_block_upkeep *u);
/* m NULL: an older server's, all zero. */
enum err wire_upkeep_read(const Surf__BlockUpkeep *m, struct wire_block_upkeep *ret, struct err_text *why) MUST_USE;
