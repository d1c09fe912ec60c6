#include "tests/unit/raft/cluster.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

struct cluster_node *cluster_node(struct cluster *c, uint32_t id)
{
    CHECK(id >= 1 && id <= c->node_count);
    return &c->nodes[id - 1];
}

static struct raft_entry *copy_entries(const struct raft_entry *entries, unsigned count)
{
    if (count == 0)
        return NULL;
    struct raft_entry *copy = mem_dup(entries, count * sizeof *copy);
    for (unsigned i = 0; i < count; i++)
        if (copy[i].data.size > 0)
            copy[i].data.data = mem_dup(entries[i].data.data, entries[i].data.size);
    return copy;
}

static void drop_data(struct raft_entry *e)
{
    void *data = NULL;
    if (e->data.size > 0)
        memcpy(&data, &e->data.data, sizeof data);
    free(data);
    e->data = SLICE(NULL, 0);
}

static void free_entries(struct raft_entry *entries, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        drop_data(&entries[i]);
    free(entries);
}

/* ---- disk ---- */

static enum err storage_read(void *context, uint64_t from, unsigned max_count, size_t max_bytes,
                             struct raft_entry *ret_entries, unsigned *ret_count)
{
    struct cluster_node *n = context;
    size_t bytes = 0;
    unsigned count = 0;
    CHECK(from > n->compacted && from <= n->disk.last);
    for (; count < max_count && from + count <= n->disk.last && (count == 0 || bytes < max_bytes); count++) {
        ret_entries[count] = n->disk.entries[from + count];
        bytes += ret_entries[count].data.size;
    }
    n->storage_reads++;
    *ret_count = count;
    return ERR_OK;
}

static enum err storage_term(void *context, uint64_t index, uint64_t *ret_term)
{
    const struct cluster_node *n = context;
    CHECK(index >= n->compacted && index <= n->disk.last);
    *ret_term = n->disk.entries[index].term;
    return ERR_OK;
}

static void cut_disk(struct cluster_node *n, uint64_t after)
{
    for (; n->disk.last > after; n->disk.last--)
        drop_data(&n->disk.entries[n->disk.last]);
}

/* The entry at `index` isn't there any more; what is known of it is its term. */
static void reset_disk(struct cluster_node *n, uint64_t index, uint64_t term)
{
    cut_disk(n, 0);
    CHECK(index < CLUSTER_LOG_MAX);
    n->disk.entries[index] = (struct raft_entry){.index = index, .term = term};
    n->disk.last = n->compacted = index;
}

static void end_write(struct cluster *c, struct cluster_node *n)
{
    struct cluster_write w = n->writes[0];
    memmove(n->writes, n->writes + 1, --n->write_count * sizeof w);
    if (w.reset) {
        reset_disk(n, w.reset_index, w.reset_term);
        n->reset_due = n->reset_due && w.reset_index != n->applied;
    }
    if (w.truncate)
        cut_disk(n, w.truncate_after);
    if (w.hard_changed)
        n->disk_hard = w.hard;
    for (unsigned i = 0; i < w.entry_count; i++) {
        CHECK(w.entries[i].index == n->disk.last + 1 && n->disk.last + 1 < CLUSTER_LOG_MAX);
        n->disk.entries[++n->disk.last] = w.entries[i];
    }
    free(w.entries);
    for (unsigned i = 0; i < c->flight_count; i++)
        if (c->flight[i].m.from == n->id && c->flight[i].waits_for == w.number)
            c->flight[i].waits_for = 0;
    uint64_t last = n->disk.last;
    cluster_step(
        c, n->id,
        (struct raft_event){
            .type = RAFT_EVENT_PERSISTED,
            .persisted = {.index = last, .term = last > 0 ? n->disk.entries[last].term : 0, .hard = n->disk_hard}});
}

void cluster_persist(struct cluster *c, uint32_t id, unsigned count)
{
    struct cluster_node *n = cluster_node(c, id);
    for (; count > 0 && n->write_count > 0; count--)
        end_write(c, n);
}

/* ---- steps ---- */

static void remove_letter(struct cluster *c, unsigned at)
{
    free_entries(c->flight[at].entries, c->flight[at].m.entry_count);
    memmove(&c->flight[at], &c->flight[at + 1], (--c->flight_count - at) * sizeof c->flight[0]);
}

static bool are_apart(struct cluster *c, uint32_t from, uint32_t to)
{
    return to > c->node_count || cluster_node(c, from)->alone || cluster_node(c, to)->alone || c->cut[from][to];
}

static void post(struct cluster *c, const struct cluster_node *n, const struct raft_message *m)
{
    if (are_apart(c, n->id, m->to))
        return;
    CHECK(c->flight_count < CLUSTER_FLIGHT_MAX);
    struct cluster_letter *l = &c->flight[c->flight_count++];
    *l = (struct cluster_letter){.m = *m, .entries = copy_entries(m->entries, m->entry_count)};
    l->m.entries = l->entries;
    l->waits_for = m->after_persist && n->write_count > 0 ? n->write_number : 0;
}

static void take_update(struct cluster *c, struct cluster_node *n, const struct raft_update *u)
{
    if (u->reset || u->truncate || u->hard_state_changed || u->entry_count > 0) {
        CHECK(n->write_count < CLUSTER_WRITES_MAX);
        n->writes[n->write_count++] = (struct cluster_write){.number = ++n->write_number,
                                                             .reset = u->reset,
                                                             .reset_index = u->reset_index,
                                                             .reset_term = u->reset_term,
                                                             .truncate = u->truncate,
                                                             .truncate_after = u->truncate_after,
                                                             .hard_changed = u->hard_state_changed,
                                                             .hard = u->hard,
                                                             .entries = copy_entries(u->entries, u->entry_count),
                                                             .entry_count = u->entry_count};
    }
    for (unsigned i = 0; i < u->message_count; i++)
        post(c, n, &u->messages[i]);
    for (unsigned i = 0; i < u->read_count; i++) {
        CHECK(n->read_count < CLUSTER_READS_MAX);
        n->reads[n->read_count++] = u->reads[i];
    }
    n->deadline_ns = u->deadline_ns;
}

static void apply(struct cluster_node *n, const struct raft_entry *entries, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (entries[i].type == RAFT_ENTRY_CONFIG) {
            CHECK(raft_config_decode(entries[i].data, &n->applied_config) == ERR_OK);
            n->applied_config_index = entries[i].index;
        }
    n->applied = entries[count - 1].index;
    n->applied_term = entries[count - 1].term;
}

enum err cluster_step(struct cluster *c, uint32_t id, struct raft_event event)
{
    struct cluster_node *n = cluster_node(c, id);
    struct raft_update u;
    CHECK(n->raft);
    event.now_ns = c->now_ns;
    raft_step(n->raft, &event, &u);
    if (c->out)
        cluster_print_update(c->out, n, &u);
    take_update(c, n, &u);
    enum err status = u.status;
    uint64_t proposed = u.proposed_index, apply_to = 0;
    if (u.committed_count > 0) {
        CHECK(u.committed[0].index == n->applied + 1);
        apply_to = u.committed[u.committed_count - 1].index;
    }
    if (apply_to > 0) {
        apply(n, u.committed, u.committed_count);
        cluster_step(c, id, (struct raft_event){.type = RAFT_EVENT_APPLIED, .applied = {.index = apply_to}});
    }
    while (!n->held && n->write_count > 0)
        end_write(c, n);
    n->status = status;
    n->proposed_index = proposed;
    return status;
}

enum err cluster_tick(struct cluster *c, uint32_t id)
{
    return cluster_step(c, id, (struct raft_event){.type = RAFT_EVENT_TICK});
}

enum err cluster_timeout(struct cluster *c, uint32_t id)
{
    int64_t deadline = cluster_node(c, id)->deadline_ns;
    CHECK(deadline < INT64_MAX);
    c->now_ns = MAX(c->now_ns, deadline);
    return cluster_tick(c, id);
}

enum err cluster_campaign(struct cluster *c, uint32_t id)
{
    return cluster_step(c, id, (struct raft_event){.type = RAFT_EVENT_CAMPAIGN});
}

enum err cluster_propose(struct cluster *c, uint32_t id, const char *text)
{
    struct raft_entry e = {.type = RAFT_ENTRY_COMMAND, .data = SLICE((const uint8_t *)text, strlen(text))};
    return cluster_step(c, id, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .propose = {&e, 1}});
}

enum err cluster_read(struct cluster *c, uint32_t id, uint64_t read)
{
    return cluster_step(c, id, (struct raft_event){.type = RAFT_EVENT_READ, .read = {.id = read}});
}

enum err cluster_read_forward(struct cluster *c, uint32_t id, uint64_t read)
{
    return cluster_step(c, id, (struct raft_event){.type = RAFT_EVENT_READ, .read = {.id = read, .forward = true}});
}

enum err cluster_heartbeat(struct cluster *c, uint32_t id)
{
    return cluster_step(c, id, (struct raft_event){.type = RAFT_EVENT_HEARTBEAT});
}

enum err cluster_transfer(struct cluster *c, uint32_t id, uint32_t target)
{
    return cluster_step(c, id, (struct raft_event){.type = RAFT_EVENT_TRANSFER, .transfer = {.target = target}});
}

enum err cluster_step_down(struct cluster *c, uint32_t id)
{
    return cluster_step(c, id, (struct raft_event){.type = RAFT_EVENT_STEP_DOWN});
}

enum err cluster_compact(struct cluster *c, uint32_t id, uint64_t index)
{
    CHECK(index <= cluster_node(c, id)->applied);
    cluster_node(c, id)->compacted = index;
    return cluster_step(c, id, (struct raft_event){.type = RAFT_EVENT_COMPACTED, .compacted = {.index = index}});
}

enum err cluster_change(struct cluster *c, uint32_t id, const struct raft_config *config)
{
    return cluster_step(c, id, (struct raft_event){.type = RAFT_EVENT_CHANGE, .change = {.config = config}});
}

void cluster_take_snapshot(struct cluster *c, uint32_t id, struct cluster_snapshot *ret)
{
    const struct cluster_node *n = cluster_node(c, id);
    *ret = (struct cluster_snapshot){.index = n->applied,
                                     .term = n->applied_term,
                                     .config = n->applied_config,
                                     .config_index = n->applied_config_index};
}

bool cluster_install(struct cluster *c, uint32_t id, const struct cluster_snapshot *s)
{
    struct cluster_node *n = cluster_node(c, id);
    if (!raft_wants_snapshot(n->raft, s->index, s->term))
        return false;
    n->applied = s->index;
    n->applied_term = s->term;
    n->applied_config = s->config;
    n->applied_config_index = s->config_index;
    n->reset_due = true;
    cluster_step(
        c, id,
        (struct raft_event){
            .type = RAFT_EVENT_INSTALLED,
            .installed = {.index = s->index, .term = s->term, .config = &s->config, .config_index = s->config_index}});
    return true;
}

enum err cluster_receive(struct cluster *c, struct raft_message m)
{
    return cluster_step(c, m.to, (struct raft_event){.type = RAFT_EVENT_MESSAGE, .message = &m});
}

void cluster_advance(struct cluster *c, int64_t ns)
{
    c->now_ns += ns;
}

/* ---- messages ---- */

static bool matches(const struct cluster_letter *l, uint32_t from, uint32_t to)
{
    return l->waits_for == 0 && !l->shelved && (from == 0 || l->m.from == from) && (to == 0 || l->m.to == to);
}

/* Hands over the first that matches among the first `among`; how many are gone or have been passed over. */
static bool deliver_one(struct cluster *c, uint32_t from, uint32_t to, unsigned *among)
{
    for (unsigned i = 0; i < *among; i++) {
        if (!matches(&c->flight[i], from, to))
            continue;
        struct cluster_letter l = c->flight[i];
        c->flight[i].entries = NULL;
        c->flight[i].m.entry_count = 0;
        remove_letter(c, i);
        (*among)--;
        if (cluster_node(c, l.m.to)->raft && !are_apart(c, l.m.from, l.m.to))
            cluster_receive(c, l.m);
        free_entries(l.entries, l.m.entry_count);
        return true;
    }
    return false;
}

void cluster_deliver(struct cluster *c, uint32_t from, uint32_t to)
{
    unsigned among = c->flight_count;
    while (deliver_one(c, from, to, &among))
        ;
}

void cluster_settle(struct cluster *c)
{
    for (unsigned rounds = 0;; rounds++) {
        unsigned all = c->flight_count;
        CHECK(rounds < 10000); /* they never stop talking */
        if (!deliver_one(c, 0, 0, &all))
            return;
    }
}

unsigned cluster_drop(struct cluster *c, uint32_t from, uint32_t to)
{
    unsigned dropped = 0;
    for (unsigned i = 0; i < c->flight_count;)
        if (matches(&c->flight[i], from, to)) {
            remove_letter(c, i);
            dropped++;
        } else {
            i++;
        }
    return dropped;
}

void cluster_shelve(struct cluster *c, uint32_t from, uint32_t to)
{
    for (unsigned i = 0; i < c->flight_count; i++)
        if (matches(&c->flight[i], from, to))
            c->flight[i].shelved = true;
}

void cluster_shelve_copies(struct cluster *c, uint32_t from, uint32_t to)
{
    for (unsigned i = 0, count = c->flight_count; i < count; i++) {
        if (!matches(&c->flight[i], from, to))
            continue;
        CHECK(c->flight_count < CLUSTER_FLIGHT_MAX);
        struct cluster_letter *l = &c->flight[c->flight_count++];
        *l = c->flight[i];
        l->m.entries = l->entries = copy_entries(l->entries, l->m.entry_count);
        l->shelved = true;
    }
}

void cluster_unshelve(struct cluster *c)
{
    for (unsigned i = 0; i < c->flight_count; i++)
        c->flight[i].shelved = false;
}

const struct raft_message *cluster_find(const struct cluster *c, enum raft_message_type type, uint32_t from,
                                        uint32_t to)
{
    for (unsigned i = c->flight_count; i > 0; i--)
        if (matches(&c->flight[i - 1], from, to) && (type == 0 || c->flight[i - 1].m.type == type))
            return &c->flight[i - 1].m;
    return NULL;
}

unsigned cluster_count(const struct cluster *c, enum raft_message_type type, uint32_t from, uint32_t to)
{
    unsigned count = 0;
    for (unsigned i = 0; i < c->flight_count; i++)
        count += matches(&c->flight[i], from, to) && (type == 0 || c->flight[i].m.type == type);
    return count;
}

/* ---- life ---- */

void cluster_open(struct cluster *c, unsigned voters, unsigned learners, enum raft_election election,
                  enum raft_reads reads)
{
    CHECK(voters + learners <= LIMIT_NODES);
    *c = (struct cluster){.election = election, .reads = reads, .cache_bytes = 1 << 20, .now_ns = 1000000000};
    /* The nodes' addresses stay what they are when others come. */
    c->nodes = mem_zalloc(LIMIT_NODES * sizeof *c->nodes);
    for (uint32_t id = 1; id <= voters + learners; id++)
        c->config.members[c->config.count++] = (struct raft_member){.id = id, .voter = id <= voters};
    while (c->node_count < voters + learners)
        cluster_node(c, cluster_add(c))->applied_config = c->config;
}

uint32_t cluster_add(struct cluster *c)
{
    CHECK(c->node_count < LIMIT_NODES);
    struct cluster_node *n = &c->nodes[c->node_count++];
    n->id = c->node_count;
    n->cluster = c;
    return n->id;
}

/* A snapshot was installed, and the log had not been emptied when the member crashed. */
static void finish_reset(struct cluster_node *n)
{
    if (!n->reset_due)
        return;
    reset_disk(n, n->applied, n->applied_term);
    if (n->disk_hard.term < n->applied_term)
        n->disk_hard = (struct raft_hard_state){.term = n->applied_term};
    n->reset_due = false;
}

void cluster_start(struct cluster *c, uint32_t id)
{
    struct cluster_node *n = cluster_node(c, id);
    finish_reset(n);
    struct raft_options options = {.id = id,
                                   .election = c->election,
                                   .reads = c->reads,
                                   .election_timeout_ns = CLUSTER_ELECTION_NS,
                                   .heartbeat_ns = CLUSTER_HEARTBEAT_NS,
                                   .lease_drift_ns = CLUSTER_DRIFT_NS,
                                   .seed = id,
                                   .cache_bytes = c->cache_bytes};
    struct raft_restart restart = {.hard = n->disk_hard,
                                   .compacted_index = n->compacted,
                                   .compacted_term = n->disk.entries[n->compacted].term,
                                   .last_index = n->disk.last,
                                   .applied_index = n->applied,
                                   .config = n->applied_config,
                                   .config_index = n->applied_config_index,
                                   .fresh = !n->ever_started};
    memcpy(options.identity, n->identity, sizeof options.identity);
    struct raft_storage storage = {.context = n, .read = storage_read, .term = storage_term};
    struct err_text why;
    CHECK(!n->raft);
    CHECK(raft_open(&options, &restart, &storage, c->now_ns, &n->raft, &why) == ERR_OK);
    n->ever_started = true;
    cluster_tick(c, id);
}

void cluster_start_all(struct cluster *c)
{
    for (uint32_t id = 1; id <= c->node_count; id++)
        cluster_start(c, id);
}

void cluster_crash(struct cluster *c, uint32_t id)
{
    struct cluster_node *n = cluster_node(c, id);
    raft_close(n->raft);
    n->raft = NULL;
    for (unsigned i = 0; i < n->write_count; i++)
        free_entries(n->writes[i].entries, n->writes[i].entry_count);
    n->write_count = 0;
    for (unsigned i = 0; i < c->flight_count;)
        if (c->flight[i].m.from == id && c->flight[i].waits_for != 0)
            remove_letter(c, i);
        else
            i++;
}

void cluster_wipe(struct cluster *c, uint32_t id)
{
    struct cluster_node *n = cluster_node(c, id);
    CHECK(!n->raft);
    cut_disk(n, 0);
    *n = (struct cluster_node){.id = id, .cluster = c, .held = n->held, .alone = n->alone};
}

void cluster_fill(struct cluster *c, uint32_t id, struct raft_hard_state hard, const uint64_t *terms, unsigned count)
{
    struct cluster_node *n = cluster_node(c, id);
    CHECK(!n->raft);
    n->disk_hard = hard;
    n->ever_started = true;
    for (unsigned i = 0; i < count; i++) {
        n->disk.last++;
        n->disk.entries[n->disk.last] =
            (struct raft_entry){.index = n->disk.last, .term = terms[i], .type = RAFT_ENTRY_NOOP};
    }
}

void cluster_close(struct cluster *c)
{
    for (uint32_t id = 1; id <= c->node_count; id++) {
        cluster_crash(c, id);
        cut_disk(cluster_node(c, id), 0);
    }
    while (c->flight_count > 0)
        remove_letter(c, c->flight_count - 1);
    free(c->nodes);
}

struct raft_status cluster_status(struct cluster *c, uint32_t id)
{
    struct raft_status s;
    CHECK(cluster_node(c, id)->raft);
    raft_status(cluster_node(c, id)->raft, &s);
    return s;
}

void cluster_elect(struct cluster *c, uint32_t id)
{
    /* The first try may only teach it the others' term. */
    for (unsigned i = 0; i < 3 && cluster_status(c, id).role != RAFT_LEADER; i++) {
        cluster_advance(c, 2 * CLUSTER_ELECTION_NS);
        if (c->election == RAFT_ELECTION_MANUAL)
            cluster_campaign(c, id);
        else
            cluster_tick(c, id);
        cluster_settle(c);
    }
    CHECK(cluster_status(c, id).role == RAFT_LEADER);
    cluster_heartbeat(c, id); /* the others learn of the commit */
    cluster_settle(c);
    CHECK(cluster_status(c, id).committed == cluster_status(c, id).last);
}
