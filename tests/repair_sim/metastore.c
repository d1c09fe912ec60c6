/* The metastore, as far as it concerns blocks: which are named, the epoch, and the maps of the block servers. */
#include <string.h>

#include "base/check.h"
#include "tests/repair_sim/world.h"

#define EPOCHS_FIRST 5u
#define WEIGHT_BITS 10u

static void remember(struct world *w, struct answer now)
{
    if (w->history_count == HISTORY)
        memmove(w->history, w->history + 1, --w->history_count * sizeof w->history[0]);
    w->history[w->history_count++] = now;
}

struct answer metastore_now(const struct world *w)
{
    return w->history[w->history_count - 1];
}

struct answer metastore_answer(struct world *w, bool may_lag)
{
    if (may_lag && chance(w, 30))
        return w->history[below(w, w->history_count)];
    return metastore_now(w);
}

void metastore_raise_epoch(struct world *w)
{
    struct answer now = metastore_now(w);
    now.epoch++;
    remember(w, now);
}

bool metastore_commit(struct world *w, unsigned block, uint64_t epoch, unsigned relied)
{
    struct answer now = metastore_now(w);
    if (epoch + 1 < now.epoch)
        return false;
    if (!(now.named & BIT(block))) {
        w->named_times[block]++;
        w->counted[block] = 0;
        w->count_epoch[block] = 0;
    }
    w->counted[block] |= relied;
    w->count_epoch[block] = epoch > w->count_epoch[block] ? epoch : w->count_epoch[block];
    now.named |= BIT(block);
    remember(w, now);
    w->commits++;
    return true;
}

void metastore_unname(struct world *w, unsigned block)
{
    struct answer now = metastore_now(w);
    now.named &= ~BIT(block);
    w->counted[block] = 0;
    remember(w, now);
}

/* ---- maps ---- */

unsigned map_index(const struct map *m, unsigned slot)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->slots[i] == slot)
            return i;
    return m->count;
}

static void map_add(struct world *w, struct map *m, unsigned slot)
{
    m->slots[m->count] = slot;
    m->servers[m->count++] = (struct placement_server){.id = slot + 1, .weight = 1 + below(w, 1u << WEIGHT_BITS)};
    w->servers[slot].registered = true;
}

static void map_remove(struct map *m, unsigned index)
{
    m->count--;
    memmove(m->slots + index, m->slots + index + 1, (m->count - index) * sizeof m->slots[0]);
    memmove(m->servers + index, m->servers + index + 1, (m->count - index) * sizeof m->servers[0]);
}

static unsigned drained(const struct map *m)
{
    unsigned count = 0;
    for (unsigned i = 0; i < m->count; i++)
        count += m->servers[i].last;
    return count;
}

static void publish(struct world *w, const struct map *m)
{
    CHECK(w->map_count < MAPS_MAX);
    w->maps[w->map_count++] = *m;
    w->maps_made++;
}

/* As `surfctl blocks remove`: one that is drained and has been stopped. What it had is lost to the others. */
static bool try_remove(struct world *w, struct map *m, unsigned index)
{
    unsigned slot = m->slots[index];
    struct server *s = &w->servers[slot];
    if (!m->servers[index].last || s->up)
        return false;
    for (unsigned b = 0; b < BLOCKS; b++)
        if ((s->here & BIT(b)) && !fault_may_take(w, slot, b))
            return false;
    for (unsigned b = 0; b < BLOCKS; b++)
        w->counted[b] &= ~BIT(slot);
    for (unsigned c = 0; c < CLIENTS; c++)
        w->clients[c].relied &= ~BIT(slot);
    for (unsigned i = 0; i < w->message_count; i++)
        w->messages[i].relied &= ~BIT(slot);
    s->here = s->bad = s->synced = s->mended = s->removed = 0;
    s->registered = false;
    map_remove(m, index);
    return true;
}

void metastore_map_change(struct world *w)
{
    if (w->map_count == MAPS_MAX - 1)
        return;
    struct map m = w->maps[w->map_count - 1];
    unsigned index = below(w, m.count), slot = below(w, SERVERS);
    /* In some worlds only: most have as many copies for ever, and more time for what goes wrong then. */
    if (w->seed % 4 == 0 && chance(w, 15))
        m.replicas = 1 + below(w, 3);
    switch (below(w, 6)) {
    case 0:
        if (w->servers[slot].registered)
            return;
        map_add(w, &m, slot);
        server_start(w, slot);
        break;
    case 1:
    case 2:
        if (!m.servers[index].last && drained(&m) + 1 == m.count)
            return;
        m.servers[index].last = !m.servers[index].last;
        break;
    case 3:
        m.servers[index].weight = 1 + below(w, 1u << WEIGHT_BITS);
        break;
    case 4:
        m.servers[index].zone = below(w, 3);
        break;
    default:
        if (m.count < 2 || !try_remove(w, &m, index))
            return;
    }
    publish(w, &m);
    seeds_trace("map %u: %u servers, %u drained, %u copies", w->map_count - 1, m.count, drained(&m), m.replicas);
}

void metastore_map_end(struct world *w)
{
    struct map m = w->maps[w->map_count - 1];
    for (unsigned i = 0; i < m.count; i++)
        m.servers[i].last = m.servers[i].last && i % 2 != 0;
    publish(w, &m);
}

void metastore_begin(struct world *w)
{
    for (unsigned b = 0; b < BLOCKS; b++) {
        uint64_t words[] = {w->seed, b};
        sha256_of(SLICE((const uint8_t *)words, sizeof words), &w->blocks[b]);
    }
    memset(w->counted, 0, sizeof w->counted);
    memset(w->named_times, 0, sizeof w->named_times);
    w->history_count = 0;
    remember(w, (struct answer){.epoch = EPOCHS_FIRST});
    struct map m = {.replicas = 1 + below(w, 3)};
    unsigned count = 2 + below(w, SERVERS - 1);
    for (unsigned slot = 0; slot < count; slot++)
        map_add(w, &m, slot);
    w->map_count = 1;
    publish(w, &m);
}
