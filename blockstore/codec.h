/* codec.h: a block's bytes as they are stored: as they are, or compressed where that pays. Pure; any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

enum codec {
    CODEC_NONE = 0,
    CODEC_ZSTD = 1 /* one zstd frame */
};
#define CODEC_LAST CODEC_ZSTD

/* How the block is to be stored; for ZSTD its bytes replace *to. What looks incompressible in a few samples is left as
 * it is without another look, and so is what would save less than an eighth. */
enum codec codec_encode(struct slice block, struct bytes *to);
/* size: of the block, at most LIMIT_BLOCK_BYTES. Replaces *to. CORRUPT: that is not what was encoded. */
enum err codec_decode(enum codec codec, struct slice stored, size_t size, struct bytes *to) MUST_USE;
