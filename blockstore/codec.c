#include "blockstore/codec.h"

#include <pthread.h>
#include <zstd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"

#define LEVEL (-1)          /* a quarter less work than 1 for a few percent of the size: docs/PERFORMANCE.md */
#define SMALLEST_BYTES 512u /* less than that is stored beside its row, many to a page */
#define SAMPLE_BYTES 2048u
#define SAMPLES 4u

/* A thread's own, until it ends: to make and clear them takes three times as long as to compress 4 KiB. */
struct contexts {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *expand;
};

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void contexts_free(void *p)
{
    struct contexts *c = p;
    ZSTD_freeCCtx(c->compress);
    ZSTD_freeDCtx(c->expand);
    free(c);
}

static void make_key(void)
{
    CHECK(pthread_key_create(&key, contexts_free) == 0);
}

static struct contexts *contexts(void)
{
    CHECK(pthread_once(&key_once, make_key) == 0);
    struct contexts *c = pthread_getspecific(key);
    if (c)
        return c;
    c = MEM_NEW(struct contexts);
    c->compress = ZSTD_createCCtx();
    c->expand = ZSTD_createDCtx();
    CHECK(c->compress && c->expand && pthread_setspecific(key, c) == 0);
    return c;
}

/* Saves less than an eighth. */
static bool is_too_large(size_t compressed, size_t size)
{
    return ZSTD_isError(compressed) || compressed > size - size / 8;
}

/* Whether any of some short pieces, evenly spread, gets smaller: text, tables and zeros do at once, what is compressed
 * or encrypted already never does. */
static bool looks_compressible(ZSTD_CCtx *context, struct slice block)
{
    uint8_t out[ZSTD_COMPRESSBOUND(SAMPLE_BYTES)];
    size_t step = (block.size - SAMPLE_BYTES) / (SAMPLES - 1);
    for (unsigned i = 0; i < SAMPLES; i++)
        if (!is_too_large(ZSTD_compressCCtx(context, out, sizeof out, block.data + i * step, SAMPLE_BYTES, LEVEL),
                          SAMPLE_BYTES))
            return true;
    return false;
}

enum codec codec_encode(struct slice block, struct bytes *to)
{
    CHECK(block.size <= LIMIT_BLOCK_BYTES);
    if (block.size < SMALLEST_BYTES)
        return CODEC_NONE;
    ZSTD_CCtx *context = contexts()->compress;
    if (block.size > SAMPLES * SAMPLE_BYTES && !looks_compressible(context, block))
        return CODEC_NONE;
    /* What doesn't fit in here does not pay. */
    size_t room = block.size - block.size / 8;
    bytes_clear(to);
    (void)bytes_extend(to, room);
    size_t size = ZSTD_compressCCtx(context, to->data, room, block.data, block.size, LEVEL);
    if (is_too_large(size, block.size))
        return CODEC_NONE;
    to->size = size;
    return CODEC_ZSTD;
}

enum err codec_decode(enum codec codec, struct slice stored, size_t size, struct bytes *to)
{
    bytes_clear(to);
    if (size > LIMIT_BLOCK_BYTES)
        return ERR_CORRUPT;
    if (codec == CODEC_NONE) {
        bytes_append(to, stored);
        return stored.size == size ? ERR_OK : ERR_CORRUPT;
    }
    (void)bytes_extend(to, size);
    return ZSTD_decompressDCtx(contexts()->expand, to->data, size, stored.data, stored.size) == size ? ERR_OK
                                                                                                     : ERR_CORRUPT;
}
