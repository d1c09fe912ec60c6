/* world.c: chance, the queue of events, and the network. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/raft_sim/sim.h"

unsigned sim_voters(const struct sim *s)
{
    unsigned voters = 0;
    for (unsigned i = 0; i < s->config.count; i++)
        voters += s->config.members[i].voter;
    return voters;
}

bool sim_chance(struct sim *s, unsigned per_1000)
{
    return prng_below(&s->prng, 1000) < per_1000;
}

int64_t sim_between(struct sim *s, int64_t low, int64_t high)
{
    return low + (int64_t)prng_below(&s->prng, (uint64_t)(high - low) + 1);
}

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

static void swap(struct sim_event *a, struct sim_event *b)
{
    struct sim_event c = *a;
    *a = *b;
    *b = c;
}

void sim_post(struct sim *s, int64_t at_ns, enum sim_event_type type, uint32_t node, struct sim_message *message)
{
    if (s->event_count == s->event_capacity) {
        s->event_capacity = MAX(2 * s->event_capacity, (size_t)256);
        s->events = mem_realloc(s->events, s->event_capacity * sizeof *s->events);
    }
    size_t i = s->event_count++;
    s->events[i] = (struct sim_event){.at_ns = MAX(at_ns, s->now_ns),
                                      .order = s->event_order++,
                                      .type = type,
                                      .node = node,
                                      .incarnation = node != 0 ? s->nodes[node].incarnation : 0,
                                      .message = message};
    for (; i > 0 && before(&s->events[i], &s->events[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&s->events[i], &s->events[(i - 1) / 2]);
}

bool sim_take(struct sim *s, struct sim_event *ret)
{
    if (s->event_count == 0)
        return false;
    *ret = s->events[0];
    s->events[0] = s->events[--s->event_count];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < s->event_count; k++)
            if (before(&s->events[k], &s->events[least]))
                least = k;
        if (least == i)
            break;
        swap(&s->events[i], &s->events[least]);
        i = least;
    }
    return true;
}

struct sim_message *sim_message_copy(const struct raft_message *m)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < m->entry_count; i++)
        bytes += m->entries[i].data.size;
    struct sim_message *copy = mem_alloc(sizeof *copy + m->entry_count * sizeof *copy->entries + bytes);
    copy->m = *m;
    copy->m.entries = copy->entries;
    uint8_t *data = (uint8_t *)&copy->entries[m->entry_count];
    for (unsigned i = 0; i < m->entry_count; i++) {
        copy->entries[i] = m->entries[i];
        size_t size = m->entries[i].data.size;
        if (size > 0)
            memcpy(data, m->entries[i].data.data, size);
        copy->entries[i].data = SLICE(data, size);
        data += size;
    }
    return copy;
}

static int64_t delay(struct sim *s)
{
    if (sim_chance(s, s->temper.slow))
        return sim_between(s, 0, s->temper.slow_ns);
    return sim_between(s, 10000, s->temper.delay_ns);
}

void sim_send(struct sim *s, struct sim_message *message)
{
    struct raft_message *m = &message->m;
    CHECK(m->to >= 1 && m->to <= s->node_count && m->from != m->to);
    check_promise(s, m);
    if (s->nodes[m->from].suspended || s->cut[m->from][m->to] || (!s->healing && sim_chance(s, s->temper.loss))) {
        free(message);
        return;
    }
    if (!s->healing && m->entry_count > 1 && sim_chance(s, s->temper.cut))
        /* As smaller batches would go, of which the later ones are lost. */
        m->entry_count = sim_chance(s, 500) ? m->entry_count - 1 : (unsigned)sim_between(s, 1, m->entry_count - 1);
    if (!s->healing && sim_chance(s, s->temper.duplicate))
        sim_post(s, s->now_ns + delay(s), SIM_MESSAGE, m->to, sim_message_copy(m));
    sim_post(s, s->now_ns + delay(s), SIM_MESSAGE, m->to, message);
}

struct sim_entry *sim_log_at(const struct sim_log *l, uint64_t index)
{
    CHECK(index >= 1 && index <= l->last);
    return &l->entries[index];
}

void sim_log_set(struct sim_log *l, const struct raft_entry *e)
{
    CHECK(e->index == l->last + 1 && e->data.size <= SIM_DATA_BYTES);
    if (e->index >= l->capacity) {
        l->capacity = MAX(2 * l->capacity, (uint64_t)64);
        l->entries = mem_realloc(l->entries, l->capacity * sizeof *l->entries);
    }
    l->last++;
    struct sim_entry *to = &l->entries[e->index];
    *to = (struct sim_entry){.term = e->term, .type = e->type, .size = (uint32_t)e->data.size};
    if (e->data.size > 0)
        memcpy(to->data, e->data.data, e->data.size);
}
