#include "tests/sim/member.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/sim/checks.h"
#include "tests/sim/disk.h"
#include "tests/sim/levels.h"
#include "tests/sim/network.h"

#define WALL_BASE_NS (INT64_C(1700000000) * NS_PER_S)
#define BOOT_BASE_MAX_NS (1000 * NS_PER_S)
#define SEGMENT_BYTES (2 * KIB) /* a few entries: so that the log is cut often */
#define WRITE_BUFFER_BYTES                                                                                             \
    (4 * MIB) /* never full within a seed: the state is flushed only when the replica says so                          \
               */

/* ---- clocks ---- */

int64_t member_boot_ns(const struct member *m)
{
    int64_t passed = m->world->now_ns - m->since_ns;
    return m->boot_base_ns + passed + passed / 1000 * m->drift_ppm / 1000;
}

void member_drift(struct member *m, int64_t drift_ppm)
{
    m->boot_base_ns = member_boot_ns(m);
    m->since_ns = m->world->now_ns;
    m->drift_ppm = drift_ppm;
}

/* The world's moment at which the member's clock shows at least this; a little late rather than early. */
static int64_t world_moment_ns(const struct member *m, int64_t boot_ns)
{
    int64_t left = boot_ns - member_boot_ns(m);
    return left <= 0 ? m->world->now_ns : m->world->now_ns + left - left / 1000 * m->drift_ppm / 1001 + NS_PER_US;
}

/* ---- what its replica asks for ---- */

static int64_t env_boot_ns(void *context)
{
    return member_boot_ns(context);
}

static int64_t env_wall_ns(void *context)
{
    const struct member *m = context;
    return WALL_BASE_NS + m->world->now_ns + m->wall_offset_ns;
}

static void env_random(void *context, void *to, size_t size)
{
    struct member *m = context;
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (uint8_t)prng_next(&m->world->prng);
}

static void env_send(void *context, const struct replica_message *message)
{
    struct member *m = context;
    if (m->dying)
        return;
    checks_sends(m->world, m, message);
    network_send(m->world, message, m->identity);
}

static bool env_persist(void *context, uint64_t number, const struct raft_update *u)
{
    struct member *m = context;
    if (!m->dying)
        disk_persist(m, number, u);
    return number % 2 == 0; /* a member works with either */
}

static void env_compact(void *context, uint64_t index)
{
    disk_compact(context, index);
}

struct member_work {
    struct list_node link;
    struct replica_work *work;
    bool ran;
};

static void take_part(struct member_work *w)
{
    if (!w->ran) {
        w->ran = true;
        w->work->run(w->work);
        return;
    }
    list_remove(&w->link);
    w->work->done(w->work);
    free(w);
}

struct work_event {
    struct event event;
    struct member_work *work;
};

static void work_later(struct member *m, struct member_work *work);

static void work_due(struct world *w, struct event *e)
{
    struct work_event *we = container_of(e, struct work_event, event);
    struct member *m = w->members[e->member];
    bool ran = we->work->ran;
    trace_whose(m->index);
    trace(w, m->index, "%s work", ran ? "ends" : "does");
    if (!ran)
        work_later(m, we->work);
    take_part(we->work);
    if (!ran)
        checks_copied(w, m);
    member_settle(w, m);
}

static void work_later(struct member *m, struct member_work *work)
{
    struct work_event *e = MEM_NEW(struct work_event);
    e->event = (struct event){.member = m->index, .life = m->life, .run = work_due};
    e->work = work;
    struct world *w = m->world;
    int64_t delay_ns = work->work->soon ? work->ran ? 0 : world_between_ns(w, w->plan.disk_min_ns, w->plan.disk_max_ns)
                                        : world_between_ns(w, 0, 50 * NS_PER_MS);
    world_after(w, delay_ns, &e->event);
}

static void env_work(void *context, struct replica_work *work)
{
    struct member *m = context;
    struct member_work *mine = MEM_NEW(struct member_work);
    mine->work = work;
    list_push_back(&m->works, &mine->link);
    checks_copied(m->world, m);
    work_later(m, mine);
}

static void turn(struct world *w, struct event *e)
{
    struct member *m = w->members[e->member];
    m->wake_due = false;
    trace_whose(m->index);
    uint64_t applied = meta_applied_index(replica_meta(m->replica));
    replica_turn(m->replica);
    if (replica_meta(m->replica) && meta_applied_index(replica_meta(m->replica)) != applied)
        checks_installed(w, m);
    member_settle(w, m);
}

static void env_wake(void *context)
{
    struct member *m = context;
    if (m->wake_due || m->dying)
        return;
    m->wake_due = true;
    struct event *e = MEM_NEW(struct event);
    *e = (struct event){.member = m->index, .life = m->life, .run = turn};
    world_after(m->world, world_between_ns(m->world, 0, 100 * NS_PER_US), e);
}

static void env_role_changed(void *context)
{
    struct member *m = context;
    if (m->dying || !m->replica)
        return;
    struct replica_status status;
    replica_status(m->replica, &status);
    m->role = status.raft.role, m->term = status.raft.term, m->leader = status.raft.leader;
    trace(m->world, m->index, "term %llu: %s, leader %u", (unsigned long long)m->term, raft_role_name(m->role),
          m->leader);
    checks_role(m->world, m);
}

static void env_leader_ready(void *context)
{
    struct member *m = context;
    trace(m->world, m->index, "is ready to lead");
}

static void env_config_changed(void *context, const struct raft_config *config)
{
    struct member *m = context;
    char text[200] = "";
    size_t used = 0;
    for (unsigned i = 0; i < config->count && used < sizeof text - 20; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " %u%s%s%s", config->members[i].id,
                                 config->members[i].voter ? "" : "l", config->members[i].old_voter ? "o" : "",
                                 config->members[i].leaving ? "-" : "");
    trace(m->world, m->index, "members%s:%s", config->joint ? " (joint)" : "", text);
}

static void env_applied(void *context, const struct meta_command *command, const struct meta_reply *reply)
{
    struct member *m = context;
    checks_applied(m->world, m, command, reply);
}

static enum err env_cluster_id(void *context, const uint8_t id[16], struct err_text *why)
{
    struct member *m = context;
    (void)why;
    checks_cluster_id(m->world, m, id);
    m->known_cluster = true;
    return ERR_OK;
}

static void env_fault(void *context, const char *text)
{
    struct member *m = context;
    m->faulted = true;
    trace(m->world, m->index, "is out of service: %s", text);
    checks_fault(m->world, m, text);
}

static void env_noticed(void *context, uint64_t session)
{
    (void)context, (void)session; /* simulated clients keep nothing yet */
}

static const struct replica_env env_table = {.boot_ns = env_boot_ns,
                                             .wall_ns = env_wall_ns,
                                             .random = env_random,
                                             .send = env_send,
                                             .persist = env_persist,
                                             .compact = env_compact,
                                             .work = env_work,
                                             .wake = env_wake,
                                             .role_changed = env_role_changed,
                                             .leader_ready = env_leader_ready,
                                             .config_changed = env_config_changed,
                                             .applied = env_applied,
                                             .noticed = env_noticed,
                                             .cluster_id = env_cluster_id,
                                             .fault = env_fault};

/* ---- time ---- */

static void tick(struct world *w, struct event *e)
{
    struct member *m = w->members[e->member];
    if (m->tick_at_ns == e->at_ns || m->tick_at_ns <= w->now_ns)
        m->tick_at_ns = INT64_MAX;
    trace_whose(m->index);
    replica_tick(m->replica);
    member_settle(w, m);
}

void member_settle(struct world *w, struct member *m)
{
    if (!m->replica)
        return;
    int64_t deadline_ns = replica_deadline_ns(m->replica);
    if (deadline_ns == INT64_MAX)
        return;
    int64_t at_ns = world_moment_ns(m, deadline_ns);
    if (at_ns >= m->tick_at_ns)
        return;
    m->tick_at_ns = at_ns;
    struct event *e = MEM_NEW(struct event);
    *e = (struct event){.member = m->index, .life = m->life, .run = tick};
    world_at(w, at_ns, e);
}

void member_receive(struct world *w, struct member *m, const struct replica_message *message,
                    const uint8_t identity[16])
{
    if (!m->replica)
        return;
    trace_whose(m->index);
    trace(w, m->index, "gets %u/%u from %u: term %llu index %llu commit %llu round %llu entries %u%s",
          (unsigned)message->type, (unsigned)message->raft.type, message->from, (unsigned long long)message->raft.term,
          (unsigned long long)message->raft.index, (unsigned long long)message->raft.commit,
          (unsigned long long)message->raft.round, message->raft.entry_count, message->raft.reject ? " reject" : "");
    replica_receive(m->replica, message, identity);
    member_settle(w, m);
}

/* ---- beginnings and ends ---- */

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d));) {
        char inner[PATH_MAX];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0)
            remove_tree(inner);
    }
    closedir(d);
    CHECK(rmdir(path) == 0);
}

static void bootstrap(const struct world *w, struct raft_config *ret)
{
    *ret = (struct raft_config){.count = w->plan.members};
    for (unsigned i = 0; i < w->plan.members; i++) {
        ret->members[i].id = i + 1;
        ret->members[i].voter = true;
        snprintf(ret->members[i].address, sizeof ret->members[i].address, "m%u:1", i + 1);
    }
}

void member_start(struct world *w, struct member *m)
{
    CHECK(!m->replica);
    const struct plan *plan = &w->plan;
    struct replica_options options = {.id = m->index + 1,
                                      .data = m->path,
                                      .files = &m->disk.table,
                                      .durability = plan->durability ? REPLICA_DURABILITY_ON : REPLICA_DURABILITY_NONE,
                                      .durability_files = &m->durability_disk.table,
                                      .known_cluster = m->known_cluster,
                                      .election = RAFT_ELECTION_AUTO,
                                      .reads = plan->read_index ? RAFT_READS_READINDEX : RAFT_READS_LEASE,
                                      .election_timeout_ns = plan->election_timeout_ns,
                                      .heartbeat_ns = plan->heartbeat_ns,
                                      .lease_drift_ns = plan->election_timeout_ns / 8,
                                      .session_timeout_ns = plan->session_timeout_ns,
                                      .log_bytes = MIB,
                                      .log_entries = plan->log_entries,
                                      .log_keep_entries = plan->log_entries / 5,
                                      .segment_bytes = SEGMENT_BYTES,
                                      .raft_cache_bytes = 64 * KIB,
                                      .meta_cache_bytes = MIB,
                                      .meta_write_buffer_bytes = WRITE_BUFFER_BYTES,
                                      .lose_unflushed = true,
                                      .level_max = m->level_max,
                                      .apply_slice_ns = NS_PER_MS};
    struct replica_env env = env_table;
    struct err_text why = {""};
    env.context = m;
    memcpy(options.identity, m->identity, sizeof options.identity);
    if (!m->waits)
        bootstrap(w, &options.bootstrap);
    m->dying = false;
    m->role = RAFT_FOLLOWER, m->leader = 0;
    m->tick_at_ns = INT64_MAX;
    m->wake_due = false;
    trace_whose(m->index);
    enum err e = replica_open(&options, &env, &m->replica, &why);
    if (e != ERR_OK) {
        m->replica = NULL;
        m->faulted = true;
        trace(w, m->index, "does not start: %s", err_name(e));
        checks_refused(w, m, why.text);
        return;
    }
    struct raftlog_bounds bounds;
    raftlog_bounds(replica_log(m->replica), &bounds);
    m->written = (struct replica_log_result){.hard = bounds.hard};
    trace(w, m->index, "starts: log %llu to %llu, applied %llu, term %llu, vote %u",
          (unsigned long long)bounds.compacted_index + 1, (unsigned long long)bounds.last_index,
          (unsigned long long)meta_applied_index(replica_meta(m->replica)), (unsigned long long)bounds.hard.term,
          bounds.hard.vote);
    checks_started(w, m);
    member_settle(w, m);
}

/* A worker's work can't be left half way here, as it can in a process that is killed: it is done before the end. */
static void close_replica(struct member *m)
{
    struct replica_status status;
    replica_status(m->replica, &status);
    m->world->counts.snapshots += status.snapshots_installed;
    m->world->counts.recovered += status.puts_recovered;
    m->dying = true;
    trace_whose(m->index);
    replica_stop(m->replica);
    list_for_each (node, &m->works) {
        struct member_work *work = container_of(node, struct member_work, link);
        work->ran = work->ran || work->work->soon; /* one write and one sync: they never came to it */
    }
    for (struct list_node *node; (node = list_first(&m->works));)
        take_part(container_of(node, struct member_work, link));
    replica_close(m->replica, false);
    m->replica = NULL;
    m->life++;
    disk_drop(m);
}

void member_crash(struct world *w, struct member *m, enum member_crash how)
{
    if (!m->replica)
        return;
    w->counts.crashes++;
    trace(w, m->index, "crashes (%s)", how == MEMBER_CRASH_POWER ? "power" : "process");
    close_replica(m);
    sim_disk_crash(&m->disk, how == MEMBER_CRASH_POWER ? SIM_CRASH_RANDOM : SIM_CRASH_KEEP);
    sim_disk_crash(&m->durability_disk, how == MEMBER_CRASH_POWER ? SIM_CRASH_RANDOM : SIM_CRASH_KEEP);
    m->paused_until_ns = 0;
}

/* What is drawn for a world without durability logs is what it was before there were any. */
static void init_durability_disk(struct world *w, struct member *m)
{
    sim_disk_init(&m->durability_disk, w->plan.durability ? prng_next(&w->prng) : 1);
}

static void new_identity(struct member *m)
{
    env_random(m, m->identity, sizeof m->identity);
}

void member_wipe(struct world *w, struct member *m)
{
    member_crash(w, m, MEMBER_CRASH_POWER);
    trace(w, m->index, "loses its disk");
    sim_disk_free(&m->disk);
    sim_disk_init(&m->disk, prng_next(&w->prng));
    sim_disk_free(&m->durability_disk);
    init_durability_disk(w, m);
    remove_tree(m->path);
    CHECK(mkdir(m->path, 0700) == 0);
    new_identity(m);
    m->waits = true;
    m->known_cluster = m->faulted = m->rotten = false;
    checks_wiped(w, m);
}

void member_new(struct world *w)
{
    struct member *m = MEM_NEW(struct member);
    m->world = w;
    m->index = w->member_count;
    m->life = 1;
    m->waits = m->index >= w->plan.members;
    snprintf(m->path, sizeof m->path, "%s/m%u", w->directory, m->index + 1);
    remove_tree(m->path);
    CHECK(mkdir(m->path, 0700) == 0);
    list_init(&m->jobs);
    list_init(&m->works);
    new_identity(m);
    levels_choose(w, m);
    m->boot_base_ns = world_between_ns(w, 0, BOOT_BASE_MAX_NS);
    m->drift_ppm = w->plan.clock_faults ? (int64_t)prng_below(&w->prng, 50001) : 0;
    m->wall_offset_ns = w->plan.clock_faults ? world_between_ns(w, 0, 60 * NS_PER_S) : 0;
    sim_disk_init(&m->disk, prng_next(&w->prng));
    init_durability_disk(w, m);
    w->members[w->member_count++] = m;
    member_start(w, m);
}

void member_free(struct world *w, struct member *m)
{
    (void)w;
    if (m->replica)
        close_replica(m);
    sim_disk_free(&m->disk);
    sim_disk_free(&m->durability_disk);
    remove_tree(m->path);
    free(m);
}

bool member_up(const struct member *m)
{
    return m->replica && !m->faulted;
}
