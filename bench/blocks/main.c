/* surf-bench-blocks: what memory and time a store of many blocks takes, and all that a block server does with all of
 * them: the comparison with other servers, the scrub, and the collection of garbage. Sizes are small, so that many keys
 * take little disk: 100 GiB are 100,000 blocks of 1 MiB, and at worst ten million of 10 KiB.
 *
 *   surf-bench-blocks [--blocks N] [--size BYTES] [--directory PATH]
 * PATH (default: a fresh one below /tmp) is removed afterwards. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/prng.h"
#include "bench/memory.h"
#include "blockstore/collect.h"
#include "blockstore/repair.h"
#include "blockstore/store.h"

#define PUT_BLOCKS 64u /* in one frame, as clients put small ones */
#define SYNC_BLOCKS 65536u
#define BATCH 2048u
#define SERVERS 3u
#define EPOCH_BLOCKS 200000u /* that are put in one epoch of collection */

struct bench {
    struct block_store *store;
    uint64_t blocks;
    size_t size;
};

static void fatal(const char *what, enum err e)
{
    fprintf(stderr, "surf-bench-blocks: %s: %s\n", what, err_message(e));
    exit(1);
}

static void must(const char *what, enum err e)
{
    if (e != ERR_OK)
        fatal(what, e);
}

static void report(const char *what, int64_t since_ns, uint64_t count)
{
    double seconds = (double)(clock_boot_ns() - since_ns) / NS_PER_S;
    printf("%-28s %8.2f s %9.0f /s   RSS %" PRIu64 " MiB, peak %" PRIu64 " MiB\n", what, seconds,
           (double)count / seconds, memory_kib("VmRSS:") / 1024, memory_kib("VmHWM:") / 1024);
    fflush(stdout);
}

/* Bytes that don't compress, which need not be kept: they follow from the number. */
static void make_block(const struct bench *b, uint64_t number, uint8_t *data, struct sha256 *ret_id)
{
    struct prng prng;
    prng_seed(&prng, number);
    for (size_t at = 0; at < b->size; at += sizeof(uint64_t)) {
        uint64_t word = prng_next(&prng);
        memcpy(data + at, &word, MIN(sizeof word, b->size - at));
    }
    sha256_of(SLICE(data, b->size), ret_id);
}

static void put_all(struct bench *b)
{
    int64_t begun_ns = clock_boot_ns();
    struct sha256 ids[PUT_BLOCKS];
    struct slice datas[PUT_BLOCKS];
    _cleanup_free_ uint8_t *data = mem_alloc(PUT_BLOCKS * b->size);
    uint64_t unsynced = 0;
    for (uint64_t at = 0; at < b->blocks; at += PUT_BLOCKS) {
        unsigned count = (unsigned)MIN((uint64_t)PUT_BLOCKS, b->blocks - at);
        for (unsigned i = 0; i < count; i++) {
            make_block(b, at + i, data + i * b->size, &ids[i]);
            datas[i] = SLICE(data + i * b->size, b->size);
        }
        block_store_touch(b->store, ids, count, 2 + at / EPOCH_BLOCKS);
        must("put", block_store_put_many(b->store, ids, datas, count, false));
        unsynced += count;
        if (unsynced >= SYNC_BLOCKS) {
            must("sync", block_store_sync(b->store));
            unsynced = 0;
        }
    }
    must("sync", block_store_sync(b->store));
    report("put", begun_ns, b->blocks);
}

/* What a walk reads and decides when all others have everything. */
static void walk(struct bench *b)
{
    int64_t begun_ns = clock_boot_ns();
    struct upkeep_map map = {.version = 1, .count = SERVERS, .replicas = SERVERS};
    struct repair_batch batch;
    struct sha256 after = {{0}}, ids[BATCH];
    uint8_t present[BATCH];
    uint64_t met = 0, bytes, stored;
    for (unsigned i = 0; i < SERVERS; i++)
        map.servers[i] = (struct placement_server){.id = i + 1, .weight = 100};
    memset(present, 1, sizeof present);
    repair_batch_init(&batch, &map, BATCH);
    for (;;) {
        must("list", block_store_inventory(b->store, &after, BATCH, batch.ids, &batch.count));
        if (batch.count == 0)
            break;
        for (unsigned i = 0; i < batch.count; i++)
            batch.touched[i] = block_store_touched(b->store, &batch.ids[i]);
        block_store_measure(b->store, batch.ids, batch.count, &bytes, &stored);
        repair_batch_begin(&batch);
        for (unsigned s = 1; s < SERVERS; s++)
            if (!repair_batch_answer(&batch, s, present, repair_batch_question(&batch, s, ids)))
                fatal("answer", ERR_PROTOCOL);
        repair_batch_decide(&batch, false);
        after = batch.ids[batch.count - 1];
        met += batch.count;
    }
    repair_batch_free(&batch);
    report("comparison with others", begun_ns, met);
    if (met != b->blocks)
        fatal("not all blocks were met", ERR_CORRUPT);
}

static void scrub(struct bench *b, uint64_t most)
{
    int64_t begun_ns = clock_boot_ns();
    struct sha256 after = {{0}}, ids[PUT_BLOCKS];
    unsigned count = 0;
    uint64_t read = 0;
    _cleanup_(bytes_free) struct bytes data = {0};
    while (read < most) {
        must("list", block_store_inventory(b->store, &after, PUT_BLOCKS, ids, &count));
        if (count == 0)
            break;
        for (unsigned i = 0; i < count; i++)
            must("read", block_store_get_verified(b->store, &ids[i], &data));
        after = ids[count - 1];
        read += count;
    }
    report(most < b->blocks ? "scrub (a part)" : "scrub", begun_ns, read);
}

/* As if no file named any of them; those of the last epochs stay. */
static void collect(struct bench *b, const char *what, uint64_t limit)
{
    int64_t begun_ns = clock_boot_ns();
    struct sha256 after = {{0}}, ids[BLOCK_STORE_COLLECT_MAX];
    unsigned count = 0;
    uint64_t met = 0, removed = 0;
    for (;;) {
        struct block_store_removed gone;
        must("list", block_store_inventory(b->store, &after, BLOCK_STORE_COLLECT_MAX, ids, &count));
        if (count == 0)
            break;
        after = ids[count - 1];
        met += count;
        must("collect", block_store_collect(b->store, ids, count, limit, &gone));
        removed += gone.blocks;
    }
    report(what, begun_ns, met);
    printf("%-28s %8" PRIu64 " blocks\n", "  removed", removed);
}

static void run(struct bench *b, const char *path)
{
    struct block_store_options options = {0};
    struct err_text why = {""};
    struct block_store_stat stat;
    if (block_store_open(path, &options, &b->store, &why) != ERR_OK)
        fatal(why.text, ERR_IO);
    block_store_epoch(b->store, 1);
    put_all(b);
    walk(b);
    scrub(b, 1000000);
    block_store_close(b->store);
    int64_t begun_ns = clock_boot_ns();
    if (block_store_open(path, &options, &b->store, &why) != ERR_OK)
        fatal(why.text, ERR_IO);
    block_store_epoch(b->store, 1 + b->blocks / EPOCH_BLOCKS);
    report("opened anew", begun_ns, b->blocks);
    walk(b);
    collect(b, "collection, nothing goes", 0);
    collect(b, "collection, everything goes", UINT64_MAX - 1);
    begun_ns = clock_boot_ns();
    must("compact", block_store_compact(b->store));
    report("compaction", begun_ns, b->blocks);
    block_store_stat(b->store, &stat);
    printf("%-28s %8" PRIu64 " MiB on disk\n", "  left", stat.block_bytes / MIB);
    block_store_close(b->store);
}

int main(int argc, char **argv)
{
    struct bench b = {.blocks = 100000, .size = 1024};
    char fresh[] = "/tmp/surf-bench-blocks-XXXXXX", command[4200];
    const char *path = NULL;
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--blocks") == 0)
            b.blocks = strtoull(argv[i + 1], NULL, 0);
        else if (strcmp(argv[i], "--size") == 0)
            b.size = strtoull(argv[i + 1], NULL, 0);
        else if (strcmp(argv[i], "--directory") == 0)
            path = argv[i + 1];
    if (b.blocks == 0 || b.size == 0 || b.size > LIMIT_BLOCK_BYTES) {
        fprintf(stderr, "usage: surf-bench-blocks [--blocks N] [--size BYTES] [--directory PATH]\n");
        return 64;
    }
    if (!path && !mkdtemp(fresh))
        return 71;
    path = path ? path : fresh;
    printf("%" PRIu64 " blocks of %zu bytes\n", b.blocks, b.size);
    run(&b, path);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command) == 0 ? 0 : 1;
}
