/* world.c: chance, the queue of events, and the network. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/raft_sim/sim.h"

unsigned sim_voters(const struct sim *s)
{
    unsigned voters = 0;
    const struct raft_config *c = sim_config(s->committed_config);
    for (unsigned i = 0; i < c->count; i++)
        voters += c->members[i].voter;
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

void sim_post_event(struct sim *s, struct sim_event e)
{
    if (s->event_count == s->event_capacity) {
        s->event_capacity = MAX(2 * s->event_capacity, (size_t)256);
        s->events = mem_realloc(s->events, s->event_capacity * sizeof *s->events);
    }
    e.at_ns = MAX(e.at_ns, s->now_ns);
    e.order = s->event_order++;
    e.incarnation = e.node != 0 ? s->nodes[e.node].incarnation : 0;
    size_t i = s->event_count++;
    s->events[i] = e;
    for (; i > 0 && before(&s->events[i], &s->events[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&s->events[i], &s->events[(i - 1) / 2]);
}

void sim_post(struct sim *s, int64_t at_ns, enum sim_event_type type, uint32_t node, struct sim_message *message)
{
    sim_post_event(s, (struct sim_event){.at_ns = at_ns, .type = type, .node = node, .message = message});
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

static struct sim_message *copy_letter(const struct sim_message *message)
{
    struct sim_message *copy = sim_message_copy(&message->m);
    copy->from_identity = message->from_identity;
    copy->to_identity = message->to_identity;
    return copy;
}

void sim_send(struct sim *s, struct sim_message *message)
{
    struct raft_message *m = &message->m;
    CHECK(m->to >= 1 && m->to <= s->node_count && m->from != m->to);
    message->from_identity = s->nodes[m->from].identity;
    message->to_identity = s->nodes[m->to].identity;
    check_promise(s, m);
    if (s->nodes[m->from].suspended || s->cut[m->from][m->to] || (!s->healing && sim_chance(s, s->temper.loss))) {
        free(message);
        return;
    }
    if (!s->healing && m->entry_count > 1 && sim_chance(s, s->temper.cut))
        /* As smaller batches would go, of which the later ones are lost. */
        m->entry_count = sim_chance(s, 500) ? m->entry_count - 1 : (unsigned)sim_between(s, 1, m->entry_count - 1);
    if (!s->healing && sim_chance(s, s->temper.duplicate))
        sim_post(s, s->now_ns + delay(s), SIM_MESSAGE, m->to, copy_letter(message));
    sim_post(s, s->now_ns + delay(s), SIM_MESSAGE, m->to, message);
}

struct sim_entry *sim_log_at(const struct sim_log *l, uint64_t index)
{
    CHECK(index >= 1 && index <= l->last);
    return &l->entries[index];
}

void sim_log_set(struct sim_log *l, const struct raft_entry *e)
{
    CHECK(e->index == l->last + 1);
    if (e->index >= l->capacity) {
        l->capacity = MAX(2 * l->capacity, (uint64_t)64);
        l->entries = mem_realloc(l->entries, l->capacity * sizeof *l->entries);
    }
    l->last++;
    struct sim_entry *to = &l->entries[e->index];
    *to = (struct sim_entry){.term = e->term, .type = e->type, .size = (uint32_t)e->data.size};
    if (e->type == RAFT_ENTRY_CONFIG) {
        uint64_t number = sim_config_number(e->data);
        to->size = sizeof number;
        memcpy(to->data, &number, sizeof number);
        return;
    }
    CHECK(e->data.size <= SIM_DATA_BYTES);
    if (e->data.size > 0)
        memcpy(to->data, e->data.data, e->data.size);
}

void sim_log_reset(const struct sim *s, struct sim_log *l, uint64_t index)
{
    CHECK(index <= s->committed.last);
    l->last = 0;
    for (uint64_t i = 1; i <= index; i++) {
        const struct sim_entry *e = sim_log_at(&s->committed, i);
        sim_log_set(l, &(struct raft_entry){.index = i, .term = e->term, .type = e->type, .data = sim_entry_data(e)});
    }
}

/* ---- configurations ---- */

static struct sim_config {
    struct bytes encoded;
    struct raft_config config;
} * configs; /* number n at n - 1 */
static uint64_t config_count, config_capacity;

uint64_t sim_config_number(struct slice encoded)
{
    for (uint64_t i = config_count; i > 0; i--)
        if (slice_equal(bytes_slice(&configs[i - 1].encoded), encoded))
            return i;
    if (config_count == config_capacity) {
        config_capacity = MAX(2 * config_capacity, (uint64_t)16);
        configs = mem_realloc(configs, config_capacity * sizeof *configs);
    }
    struct sim_config *c = &configs[config_count++];
    *c = (struct sim_config){.encoded = {0}};
    bytes_append(&c->encoded, encoded);
    CHECK(raft_config_decode(encoded, &c->config) == ERR_OK);
    return config_count;
}

const struct raft_config *sim_config(uint64_t number)
{
    CHECK(number >= 1 && number <= config_count);
    return &configs[number - 1].config;
}

void sim_configs_close(void)
{
    while (config_count > 0)
        bytes_free(&configs[--config_count].encoded);
    free(configs);
    configs = NULL;
    config_capacity = 0;
}

struct slice sim_entry_data(const struct sim_entry *e)
{
    if (e->type != RAFT_ENTRY_CONFIG)
        return SLICE(e->data, e->size);
    uint64_t number;
    memcpy(&number, e->data, sizeof number);
    CHECK(number >= 1 && number <= config_count);
    return bytes_slice(&configs[number - 1].encoded);
}
