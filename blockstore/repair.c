#include "blockstore/repair.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/plant.h"
#include "blockstore/collect.h"
#include "blockstore/touch.h"

void repair_batch_init(struct repair_batch *b, const struct upkeep_map *map, unsigned capacity)
{
    *b = (struct repair_batch){.map = map, .capacity = capacity};
    b->ids = mem_alloc(capacity * sizeof *b->ids);
    b->touched = mem_alloc(capacity * sizeof *b->touched);
    b->owners = mem_alloc(capacity * sizeof *b->owners);
    b->answered = mem_alloc(capacity * sizeof *b->answered);
    b->have = mem_alloc(capacity * sizeof *b->have);
    b->push = mem_alloc(capacity * sizeof *b->push);
    b->strays = mem_alloc(capacity * sizeof *b->strays);
}

void repair_batch_free(struct repair_batch *b)
{
    free(b->ids);
    free(b->touched);
    free(b->owners);
    free(b->answered);
    free(b->have);
    free(b->push);
    free(b->strays);
}

/* ---- who has it ---- */

void repair_batch_begin(struct repair_batch *b)
{
    CHECK(b->count <= b->capacity);
    b->unsure = 0;
    b->next = 0;
    for (unsigned i = 0; i < b->count; i++) {
        struct upkeep_owners owners;
        upkeep_owners_of(b->map, &b->ids[i], &owners);
        b->owners[i] = owners.set;
        b->answered[i] = b->have[i] = b->push[i] = 0;
    }
}

unsigned repair_batch_question(const struct repair_batch *b, unsigned server, struct sha256 *ret_ids)
{
    unsigned count = 0;
    for (unsigned i = 0; i < b->count; i++)
        if (b->owners[i] & UPKEEP_BIT(server))
            ret_ids[count++] = b->ids[i];
    return count;
}

bool repair_batch_answer(struct repair_batch *b, unsigned server, const uint8_t *present, unsigned count)
{
    unsigned at = 0;
    for (unsigned i = 0; i < b->count; i++)
        at += (b->owners[i] & UPKEEP_BIT(server)) != 0;
    if (at != count)
        return false;
    at = 0;
    for (unsigned i = 0; i < b->count; i++) {
        if (!(b->owners[i] & UPKEEP_BIT(server)))
            continue;
        b->answered[i] |= UPKEEP_BIT(server);
        if (present[at++])
            b->have[i] |= UPKEEP_BIT(server);
    }
    return true;
}

void repair_batch_decide(struct repair_batch *b, bool told)
{
    b->next = b->vet_next = 0;
    b->stray_count = b->stray_next = 0;
    for (unsigned i = 0; i < b->count; i++) {
        struct upkeep_owners owners;
        struct upkeep_duty duty;
        upkeep_owners_of(b->map, &b->ids[i], &owners);
        if (owners.set != b->owners[i]) { /* somebody has just gone or come, and a walk is due */
            b->unsure++;
            continue;
        }
        upkeep_duty_of(b->map, &owners, b->answered[i], b->have[i], &duty);
        b->push[i] = told ? duty.lacking : duty.push;
        b->unsure += duty.unsure != 0;
        if (duty.is_stray)
            b->strays[b->stray_count++] = i;
    }
}

/* ---- what is not garbage ---- */

unsigned repair_batch_vet(struct repair_batch *b, struct sha256 *ret_ids)
{
    b->vetted_count = 0;
    for (; b->vet_next < b->count && b->vetted_count < REPAIR_VET_MAX; b->vet_next++)
        if (b->push[b->vet_next]) {
            ret_ids[b->vetted_count] = b->ids[b->vet_next];
            b->vetted[b->vetted_count++] = b->vet_next;
        }
    return b->vetted_count;
}

void repair_batch_vetted(struct repair_batch *b, const uint8_t *referenced, uint64_t epoch)
{
    uint64_t limit = collect_limit(epoch);
    for (unsigned i = 0; i < b->vetted_count; i++) {
        unsigned at = b->vetted[i];
        if (!referenced) {
            b->unsure++;
            b->push[at] = 0;
        } else if (!referenced[i] && b->touched[at] < limit) {
            b->push[at] = 0; /* what one server has removed, another must not bring back */
        }
    }
}

/* ---- copies ---- */

bool repair_batch_frame(struct repair_batch *b)
{
    while (b->next < b->count && !b->push[b->next])
        b->next++;
    b->frame_count = 0;
    if (b->next == b->count)
        return false;
    b->frame_to = b->push[b->next];
    b->frame_touched = b->touched[b->next];
    for (unsigned i = b->next; i < b->count && b->frame_count < REPAIR_FRAME_MAX; i++)
        if (b->push[i] == b->frame_to && b->touched[i] == b->frame_touched)
            b->frame[b->frame_count++] = i;
    return true;
}

void repair_batch_copied(struct repair_batch *b, unsigned index)
{
    b->push[index] = 0;
}

unsigned repair_batch_left(const struct repair_batch *b)
{
    unsigned left = 0;
    for (unsigned i = b->next; i < b->count; i++)
        left += b->push[i] != 0;
    return left;
}

/* ---- strays ---- */

void repair_batch_strays(struct repair_batch *b, struct strays *strays, int64_t now_ns, int64_t age_ns)
{
    unsigned old = 0;
    for (unsigned i = 0; i < b->stray_count; i++) {
        unsigned at = b->strays[i];
        if (now_ns - strays_meet(strays, &b->ids[at], now_ns) >= age_ns && b->touched[at] != TOUCH_UNKNOWN)
            b->strays[old++] = at;
    }
    b->stray_count = old;
    b->stray_next = 0;
}

unsigned repair_batch_sure(struct repair_batch *b, struct sha256 *ret_ids)
{
    b->sure_count = 0;
    b->sure_answered = 0;
    if (b->stray_next == b->stray_count)
        return 0;
    b->sure_owners = b->owners[b->strays[b->stray_next]];
    b->sure_touched = b->touched[b->strays[b->stray_next]];
    for (; b->stray_next < b->stray_count && b->sure_count < REPAIR_SURE_MAX; b->stray_next++) {
        unsigned at = b->strays[b->stray_next];
        if (b->owners[at] != b->sure_owners || b->touched[at] != b->sure_touched)
            break;
        ret_ids[b->sure_count] = b->ids[at];
        b->sure_yes[b->sure_count] = 0;
        b->sure[b->sure_count++] = at;
    }
    return b->sure_count;
}

void repair_batch_sure_answer(struct repair_batch *b, unsigned server, uint64_t map_version, const uint8_t *present,
                              unsigned count)
{
    uint64_t bit = UPKEEP_BIT(server);
    if (count != b->sure_count || !(b->sure_owners & bit) || (b->sure_answered & bit))
        return;
    if (map_version != b->map->version && !PLANTED(REPAIR_STRAY_BY_ANY_MAP))
        return;
    b->sure_answered |= bit;
    for (unsigned i = 0; i < count; i++)
        b->sure_yes[i] += present[i] != 0;
}

unsigned repair_batch_sure_end(struct repair_batch *b, struct sha256 *ret_ids)
{
    unsigned owners = (unsigned)__builtin_popcountll(b->sure_owners), count = 0;
    unsigned needed = PLANTED(REPAIR_STRAY_OWNER_LACKS_IT) ? 1 : owners;
    for (unsigned i = 0; i < b->sure_count; i++)
        if (b->sure_yes[i] >= needed) {
            ret_ids[count] = b->ids[b->sure[i]];
            b->sure[count++] = b->sure[i];
        }
    b->sure_count = count;
    return count;
}

struct repair_mark repair_mark_of(const struct repair_removals *r, uint64_t map_version)
{
    return (struct repair_mark){.map_version = r->under_way ? 0 : map_version, .removals = r->begun};
}

uint64_t repair_mark_version(const struct repair_removals *r, uint64_t map_version, struct repair_mark mark)
{
    struct repair_mark now = repair_mark_of(r, map_version);
    if (PLANTED(REPAIR_MARK_FORGOTTEN))
        return map_version;
    return now.map_version == mark.map_version && now.removals == mark.removals ? mark.map_version : 0;
}
