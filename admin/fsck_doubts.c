/* What was not as it should be is looked at again: whether the block is still named, who owns it now, and who has it.
 * A block that was just written gets its last copies after its commit, and one that was just removed goes at some time.
 * With --repair the servers are told of what they lack, and look for good bytes on the others. */
#include <stdlib.h>
#include <string.h>

#include "admin/fsck.h"
#include "base/clock.h"
#include "base/mem.h"

#define PAUSE_FIRST_NS (5 * NS_PER_MS)
#define PAUSE_MAX_NS (500 * NS_PER_MS)
#define TELL_EVERY_NS (1 * NS_PER_S)

static int by_id(const void *a, const void *b)
{
    return memcmp(((const struct fsck_block *)a)->id.bytes, ((const struct fsck_block *)b)->id.bytes, SHA256_SIZE);
}

/* Those that nobody names any more are none. */
static enum err drop_unnamed(struct fsck *f, struct err_text *why)
{
    unsigned kept = 0;
    for (unsigned from = 0; from < f->doubt_count; from += FSCK_PAGE_BLOCKS) {
        unsigned count = MIN(FSCK_PAGE_BLOCKS, f->doubt_count - from);
        struct sha256 *ids = arena_alloc(&f->arena, count * sizeof *ids);
        struct wire_ids_query query = {.max = count, .ids = ids, .count = count};
        struct wire_ids named;
        struct slice answer;
        memset(query.upto.bytes, 0xff, sizeof query.upto.bytes);
        for (unsigned i = 0; i < count; i++)
            ids[i] = f->doubts[from + i].id;
        TRY(fsck_ask_leader(f, METHOD_ADMIN_REFERENCES, wire_ids_query_encode(&query, &f->arena), &answer, why));
        TRY(wire_ids_decode(answer, &f->arena, &named, why));
        for (unsigned i = 0, n = 0; i < count && n < named.count; i++)
            if (sha256_equal(&f->doubts[from + i].id, &named.ids[n])) {
                f->doubts[kept++] = f->doubts[from + i];
                n++;
            }
    }
    f->doubt_count = kept;
    return ERR_OK;
}

/* Asks the owners; and everybody, where no owner has it. */
static void ask_again(struct fsck *f)
{
    for (unsigned s = 0; s < f->server_count; s++)
        f->servers[s].why.text[0] = 0;
    for (unsigned i = 0; i < f->doubt_count; i++) {
        struct fsck_block *b = &f->doubts[i];
        fsck_owners(f, b);
        b->ask = b->owners;
        b->good = b->bad = b->absent = 0;
    }
    fsck_ask_blocks(f, f->doubts, f->doubt_count, NULL);
    bool none = false;
    for (unsigned i = 0; i < f->doubt_count; i++) {
        struct fsck_block *b = &f->doubts[i];
        b->ask = b->good ? 0 : fsck_everybody(f) & ~b->owners;
        none = none || b->ask;
    }
    if (none)
        fsck_ask_blocks(f, f->doubts, f->doubt_count, NULL);
}

static void drop_well(struct fsck *f)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < f->doubt_count; i++)
        if (!fsck_block_is_well(&f->doubts[i]))
            f->doubts[kept++] = f->doubts[i];
    f->healed += f->doubt_count - kept;
    f->doubt_count = kept;
}

enum err fsck_doubts(struct fsck *f, struct err_text *why)
{
    int64_t until_ns = clock_boot_ns() + f->wait_ns, pause_ns = PAUSE_FIRST_NS, tell_ns = 0;
    if (f->doubt_count > 0)
        qsort(f->doubts, f->doubt_count, sizeof *f->doubts, by_id);
    while (f->doubt_count > 0) {
        arena_reset(&f->arena);
        TRY(fsck_map(f, why));
        TRY(drop_unnamed(f, why));
        ask_again(f);
        drop_well(f);
        int64_t now_ns = clock_boot_ns();
        if (f->doubt_count == 0 || now_ns >= until_ns)
            break;
        if (f->repair && now_ns >= tell_ns) {
            fsck_tell_suspects(f, f->doubts, f->doubt_count);
            tell_ns = now_ns + TELL_EVERY_NS;
        }
        fsck_pause(pause_ns);
        pause_ns = MIN(pause_ns * 2, PAUSE_MAX_NS);
    }
    /* One that was removed between the questions is not lost. */
    return f->doubt_count > 0 ? drop_unnamed(f, why) : ERR_OK;
}
