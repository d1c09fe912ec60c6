/* Walks and the removal of strays, as daemon/block/block_keeper_walk.c and block_keeper_stray.c drive
 * blockstore/repair.h. */
#include <string.h>

#include "base/check.h"
#include "base/plant.h"
#include "tests/repair_sim/world.h"

bool server_readable(const struct server *s, unsigned block)
{
    return (s->here & ~s->bad & BIT(block)) != 0;
}

bool server_durable(const struct server *s, unsigned block)
{
    return (s->here & s->synced & ~s->bad & ~s->mended & BIT(block)) != 0;
}

void server_sync(struct server *s)
{
    s->synced |= s->here;
    s->mended = 0;
    s->removed = 0;
}

void server_remove(struct server *s, unsigned blocks)
{
    s->removed |= s->here & s->synced & ~s->bad & ~s->mended & blocks;
    s->here &= ~blocks;
    s->bad &= s->here;
    s->synced &= s->here;
    s->mended &= s->here;
}

unsigned server_slot(const struct world *w, const struct server *s, unsigned index)
{
    return w->maps[s->map.version].slots[index];
}

unsigned block_number(const struct world *w, const struct sha256 *id)
{
    for (unsigned b = 0; b < BLOCKS; b++)
        if (sha256_equal(&w->blocks[b], id))
            return b;
    CHECK(false);
}

void server_take_map(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    const struct map *m = &w->maps[s->news];
    s->map.version = s->news;
    s->map.count = m->count;
    s->map.replicas = m->replicas;
    s->map.self = map_index(m, number);
    memcpy(s->map.servers, m->servers, sizeof m->servers);
    for (unsigned i = 0; i < m->count; i++)
        s->map.health[i] = UPKEEP_UP;
    s->news = 0;
}

static bool goes_on(const struct server *s)
{
    return s->map.self < s->map.count && s->news == 0;
}

static void stop(struct server *s)
{
    s->walk = WALK_NONE;
    s->walk_call = 0;
    s->walk_calls = 0;
    s->batch.sure_count = 0;
    memset(s->vouched, 0, sizeof s->vouched);
}

void walk_forget(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    stop(s);
    s->removals = (struct repair_removals){0};
    strays_close(&s->strays);
    s->strays = (struct strays){0};
}

static bool is_ready(const struct world *w, const struct server *s, unsigned index)
{
    return index != s->map.self && s->map.health[index] == UPKEEP_UP && w->servers[server_slot(w, s, index)].up;
}

/* ---- who has it ---- */

static void begin(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    struct repair_batch *b = &s->batch;
    b->count = 0;
    for (unsigned n = 0; n < BLOCKS; n++)
        if (s->here & BIT(n)) {
            b->ids[b->count] = w->blocks[n];
            b->touched[b->count++] = touch_of(&s->touches, &w->blocks[n]);
        }
    strays_walk_begin(&s->strays);
    s->walk = WALK_ASKING;
    s->told = chance(w, 10);
    s->walk_call = ++w->calls;
    repair_batch_begin(b);
    for (unsigned i = 0; i < s->map.count; i++) {
        struct sha256 ids[BLOCKS];
        struct message m = {.kind = MESSAGE_HAS, .from = number, .to = server_slot(w, s, i), .number = s->walk_call};
        if (!is_ready(w, s, i))
            continue;
        m.count = repair_batch_question(b, i, ids);
        for (unsigned n = 0; n < m.count; n++)
            m.blocks[n] = block_number(w, &ids[n]);
        if (m.count == 0)
            continue;
        s->walk_calls++;
        message_send(w, m);
    }
}

void walk_answered(struct world *w, const struct message *m, bool well)
{
    struct server *s = &w->servers[m->from];
    if (s->walk == WALK_NONE || m->number != s->walk_call)
        return;
    s->walk_calls--;
    unsigned index = map_index(&w->maps[s->map.version], m->to);
    if (!well || index == s->map.count)
        return;
    if (m->kind == MESSAGE_HAS)
        CHECK(repair_batch_answer(&s->batch, index, m->present, m->count));
    else if (m->kind == MESSAGE_SURE)
        repair_batch_sure_answer(&s->batch, index, m->map_version, m->present, m->count);
}

/* ---- copies ---- */

static void vet(struct world *w, struct server *s)
{
    struct sha256 ids[BLOCKS];
    if (repair_batch_vet(&s->batch, ids) == 0) {
        s->walk = WALK_COPYING;
        return;
    }
    s->walk_answer = metastore_answer(w, s->touches.begun);
    touch_begin_at(&s->touches, s->walk_answer.epoch);
    s->walk = WALK_VETTING;
}

static void vetted(struct world *w, struct server *s)
{
    uint8_t referenced[BLOCKS];
    struct repair_batch *b = &s->batch;
    for (unsigned i = 0; i < b->vetted_count; i++)
        referenced[i] = (s->walk_answer.named & BIT(block_number(w, &b->ids[b->vetted[i]]))) != 0;
    repair_batch_vetted(b, chance(w, 5) ? NULL : referenced, s->walk_answer.epoch);
    s->walk = WALK_DECIDED;
}

static void send_copy(struct world *w, unsigned number, unsigned block)
{
    struct server *s = &w->servers[number];
    uint64_t touched = s->batch.frame_touched;
    for (unsigned i = 0; i < s->map.count; i++) {
        if (!(s->batch.frame_to & UPKEEP_BIT(i)) || !is_ready(w, s, i))
            continue;
        s->walk_calls++;
        message_send(w, (struct message){.kind = MESSAGE_COPY,
                                         .from = number,
                                         .to = server_slot(w, s, i),
                                         .number = s->walk_call,
                                         .blocks = {block},
                                         .count = 1,
                                         .epoch = touched == TOUCH_UNKNOWN ? 0 : touched,
                                         .named_times = w->named_times[block]});
    }
}

static void copy(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    if (!repair_batch_frame(&s->batch)) {
        repair_batch_strays(&s->batch, &s->strays, w->now, w->stray_age);
        s->walk = WALK_SURE;
        s->batch.sure_count = 0;
        return;
    }
    s->walk_call = ++w->calls;
    for (unsigned f = 0; f < s->batch.frame_count; f++) {
        unsigned at = s->batch.frame[f], block = block_number(w, &s->batch.ids[at]);
        repair_batch_copied(&s->batch, at);
        if (server_readable(s, block))
            send_copy(w, number, block);
        else if (s->here & BIT(block))
            (void)suspects_add(&s->suspects, &w->blocks[block], true);
    }
}

/* ---- strays ---- */

static void ask_sure(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    struct sha256 ids[REPAIR_SURE_MAX];
    unsigned count = goes_on(s) ? repair_batch_sure(&s->batch, ids) : 0;
    if (count == 0) {
        (void)strays_walk_end(&s->strays);
        stop(s);
        return;
    }
    struct message m = {.kind = MESSAGE_SURE, .from = number, .count = count, .epoch = s->batch.sure_touched};
    m.number = s->walk_call = ++w->calls;
    memset(s->vouched, 0, sizeof s->vouched);
    for (unsigned i = 0; i < count; i++) {
        m.blocks[i] = block_number(w, &ids[i]);
        for (unsigned n = 0; n < s->map.count; n++)
            s->vouched[m.blocks[i]] |= s->batch.sure_owners & UPKEEP_BIT(n) ? BIT(server_slot(w, s, n)) : 0;
    }
    for (unsigned i = 0; i < s->map.count; i++)
        if ((s->batch.sure_owners & UPKEEP_BIT(i)) && is_ready(w, s, i)) {
            m.to = server_slot(w, s, i);
            s->walk_calls++;
            message_send(w, m);
        }
}

/* Every owner that could be asked has answered. */
static void sure(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    struct sha256 ids[REPAIR_SURE_MAX];
    bool leaves[REPAIR_SURE_MAX];
    if (s->leaver != 0)
        return; /* it waits for the collection */
    unsigned count = repair_batch_sure_end(&s->batch, ids);
    if (count == 0) {
        s->batch.sure_count = 0;
        return;
    }
    s->removals.under_way = true;
    s->removals.begun++;
    s->leaver = 1;
    s->leaving = 0;
    (void)touch_leave(&s->touches, ids, count, collect_stray_limit(s->batch.sure_touched), leaves);
    for (unsigned i = 0; i < count; i++) {
        strays_forget(&s->strays, &ids[i]);
        s->leaving |= leaves[i] ? BIT(block_number(w, &ids[i])) : 0;
    }
    s->walk = WALK_LEAVING;
}

/* Who counted on the stray counts on the owners, all of which have it. */
static void count_on_owners(struct world *w, unsigned number, unsigned block)
{
    unsigned owners = w->servers[number].vouched[block], self = BIT(number);
    for (unsigned i = 0; i < SERVERS; i++)
        if (w->servers[i].vouched[block] & self)
            w->servers[i].vouched[block] = (w->servers[i].vouched[block] & ~self) | owners;
    if (w->counted[block] & self)
        w->counted[block] = (w->counted[block] & ~self) | owners;
    for (unsigned c = 0; c < CLIENTS; c++)
        if (w->clients[c].block == block && (w->clients[c].relied & self))
            w->clients[c].relied = (w->clients[c].relied & ~self) | owners;
    for (unsigned i = 0; i < w->message_count; i++) {
        struct message *m = &w->messages[i];
        if (m->blocks[0] != block)
            continue;
        /* A client that this copy was acknowledged to, and that hears of it only now. */
        bool has_looked = m->kind != MESSAGE_COMMIT && is_from_client(m) && m->to == number && m->stage >= STAGE_DONE;
        if (has_looked && m->relied == 0 && m->present[0])
            m->relied = self;
        if (m->relied & self)
            m->relied = (m->relied & ~self) | owners;
    }
}

static void remove_strays(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    seeds_trace("server %u removes strays %#x by map %llu", number, s->here & s->leaving,
                (unsigned long long)s->map.version);
    w->strays_removed += (unsigned)__builtin_popcount(s->here & s->leaving);
    server_remove(s, s->leaving);
    for (unsigned b = 0; b < BLOCKS; b++)
        if (s->leaving & BIT(b))
            count_on_owners(w, number, b);
    touch_left(&s->touches);
    s->leaver = 0;
    s->removals.under_way = false;
    s->batch.sure_count = 0;
    s->walk = WALK_SURE;
    world_check(w, "the removal of a stray");
}

void walk_step(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    if (s->walk_calls > 0)
        return;
    if (s->walk != WALK_SURE && s->walk != WALK_LEAVING && !goes_on(s)) {
        stop(s);
        return;
    }
    switch (s->walk) {
    case WALK_NONE:
        return begin(w, number);
    case WALK_ASKING:
        repair_batch_decide(&s->batch, s->told);
        s->walk = WALK_DECIDED;
        return;
    case WALK_DECIDED:
        return vet(w, s);
    case WALK_VETTING:
        return vetted(w, s);
    case WALK_COPYING:
        return copy(w, number);
    case WALK_SURE:
        return s->batch.sure_count > 0 ? sure(w, number) : ask_sure(w, number);
    case WALK_LEAVING:
        return remove_strays(w, number);
    }
}
