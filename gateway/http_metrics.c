/* http_metrics.c: /metrics: this node, in the text format of Prometheus. What only the leader knows (how block servers
 * keep their blocks) is told by the leader. */
#include "gateway/http_metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gateway/http.h"
#include "gateway/http_counters.h"

#define METRICS_TIMEOUT_NS (2 * NS_PER_S)

void metric_begin(struct bytes *to, const char *name, const char *type, const char *help)
{
    metric_print(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metric_print(struct bytes *to, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bytes_append(to, slice_str(text));
}

struct metric {
    const char *name, *type, *help;
    uint64_t value;
};

static void print_all(struct bytes *to, const struct metric *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        metric_begin(to, list[i].name, list[i].type, list[i].help);
        metric_print(to, "%s %" PRIu64 "\n", list[i].name, list[i].value);
    }
}

static void print_node(const struct wire_admin_state *s, struct bytes *to)
{
    const struct metric list[] = {
        {"surf_up_seconds", "counter", "Since the node was started.", (uint64_t)(s->uptime_ns / NS_PER_S)},
        {"surf_crashed", "gauge", "1: it refuses service, as it was asked to.", s->crashed},
        {"surf_out_of_service", "gauge", "1: it has a fault, or has stepped aside.",
         s->fault.size + s->suspended.size > 0},
        {"surf_disk_free_bytes", "gauge", "On the disk of the block store.", s->disk_free},
        {"surf_disk_kept_bytes", "gauge", "Of what is free: not for blocks.", s->disk_kept},
        {"surf_blocks_full", "gauge", "1: no blocks are taken, for want of space.", s->blocks_full},
        {"surf_blocks_failed", "gauge", "1: no blocks are taken, since a write of the store failed.", s->blocks_failed},
        {"surf_disk_total_bytes", "gauge", "Of the disk of the block store.", s->disk_total},
        {"surf_own_blocks", "gauge", "In this node's block store, about.", s->blocks},
        {"surf_own_block_bytes", "gauge", "That this node's block store takes.", s->block_bytes},
    };
    metric_begin(to, "surf_info", "gauge", "The node and its version.");
    metric_print(to, "surf_info{node=\"%u\",version=\"%.*s\"} 1\n", s->node_id, (int)s->version.size,
                 (const char *)s->version.data);
    print_all(to, list, ARRAY_SIZE(list));
}

static void print_raft(const struct wire_admin_state *s, struct bytes *to)
{
    const struct metric list[] = {
        {"surf_raft_role", "gauge", "0 follower, 1 candidate, 2 leader.",
         s->role == RAFT_LEADER     ? 2
         : s->role == RAFT_FOLLOWER ? 0
                                    : 1},
        {"surf_raft_term", "counter", "The current term.", s->term},
        {"surf_raft_leader", "gauge", "The leader's id; 0: not known.", s->leader},
        {"surf_raft_commit_index", "counter", "Entries that are known to be committed.", s->commit},
        {"surf_raft_applied_index", "counter", "Entries that the state has.", s->applied},
        {"surf_raft_persisted_index", "counter", "Entries that are on this disk.", s->persisted},
        {"surf_raft_last_index", "counter", "Entries that there are here.", s->last},
        {"surf_raft_log_bytes", "gauge", "Of the log on disk.", s->log_bytes},
        {"surf_raft_log_writes_total", "counter", "Synced writes of entries.", s->log_writes},
        {"surf_raft_snapshots_installed_total", "counter", "Snapshots that this member took.", s->snapshots_installed},
        {"surf_level", "gauge", "The level of the cluster, as far as this state has applied.", s->level},
        {"surf_level_max", "gauge", "Up to which level this node's program goes.", s->level_max},
        {"surf_inodes", "gauge", "Files, directories and the like.", s->inodes},
        {"surf_file_bytes", "gauge", "Of all files.", s->file_bytes},
        {"surf_sessions", "gauge", "Mounts and other clients.", s->session_count},
    };
    print_all(to, list, ARRAY_SIZE(list));
    uint64_t locks = 0, waits = 0;
    for (unsigned i = 0; i < s->session_count; i++)
        locks += s->sessions[i].locks, waits += s->sessions[i].waits;
    const struct metric of_sessions[] = {{"surf_locks", "gauge", "Advisory locks that are held.", locks},
                                         {"surf_lock_waits", "gauge", "That are waited for.", waits}};
    print_all(to, of_sessions, ARRAY_SIZE(of_sessions));
    if (s->role != RAFT_LEADER)
        return;
    metric_begin(to, "surf_raft_match_index", "counter", "What a member has of the log, as the leader knows.");
    for (unsigned i = 0; i < s->peer_count; i++)
        metric_print(to, "surf_raft_match_index{member=\"%u\"} %" PRIu64 "\n", s->peers[i].id, s->peers[i].match);
}

#define OF_METHOD(name, type, help, format, value)                                                                     \
    do {                                                                                                               \
        metric_begin(to, name, type, help);                                                                            \
        for (unsigned i = 0; i < s->activity.work_count; i++) {                                                        \
            const struct wire_admin_work *w = &s->activity.work[i];                                                    \
            metric_print(to, name "{method=\"%s\"} " format "\n", rpc_method_name(w->method), value);                  \
        }                                                                                                              \
    } while (0)

static void print_activity(const struct wire_admin_state *s, struct bytes *to)
{
    OF_METHOD("surf_requests_total", "counter", "Requests of clients and nodes that were answered.", "%" PRIu64,
              w->count);
    OF_METHOD("surf_requests_failed_total", "counter", "Those that were refused, as by who doesn't lead.", "%" PRIu64,
              w->failed);
    OF_METHOD("surf_requests_seconds_total", "counter", "How long the node had them.", "%.6f",
              (double)w->took_us / 1e6);
    const struct metric list[] = {
        {"surf_lease_holders", "gauge", "Mounts that keep what they were told; of the leader, as the following.",
         s->activity.lease_holders},
        {"surf_leased_inodes", "gauge", "Inodes that somebody keeps.", s->activity.leased_inodes},
        {"surf_lease_changes_waiting", "gauge", "Changes whose answer waits for a mount.", s->activity.changes_waiting},
        {"surf_leases_granted_total", "counter", "Inodes that were told of.", s->activity.leases_granted},
        {"surf_lease_notices_total", "counter", "Notices of changes.", s->activity.notices},
        {"surf_leases_expired_total", "counter", "Mounts that did not acknowledge in time.",
         s->activity.leases_expired},
    };
    if (s->roles & WIRE_NODE_META)
        print_all(to, list, ARRAY_SIZE(list));
}

/* One number of every block server. */
#define SERVERS(name, type, help, value)                                                                               \
    do {                                                                                                               \
        metric_begin(to, name, type, help);                                                                            \
        for (unsigned i = 0; i < s->block_server_count; i++) {                                                         \
            const struct wire_admin_block_server *b = &s->block_servers[i];                                            \
            metric_print(to, name "{server=\"%u\"} %" PRIu64 "\n", b->id, (uint64_t)(value));                          \
        }                                                                                                              \
    } while (0)

static uint64_t percent_of(uint64_t position)
{
    return position * 100 / WIRE_UPKEEP_WHOLE;
}

static void print_block_servers(const struct wire_admin_state *s, struct bytes *to)
{
    SERVERS("surf_block_server_reporting", "gauge", "1: it has reported within 10 s.", b->reporting);
    SERVERS("surf_block_server_draining", "gauge", "1: its blocks go elsewhere.", b->draining);
    SERVERS("surf_blocks", "gauge", "Copies of blocks, about.", b->blocks);
    SERVERS("surf_block_bytes", "gauge", "That its blocks take.", b->block_bytes);
    SERVERS("surf_block_server_disk_free_bytes", "gauge", "On its disk.", b->disk_free);
    SERVERS("surf_block_server_full", "gauge", "1: it takes no blocks, for want of space.", b->full);
    SERVERS("surf_block_server_failed", "gauge", "1: it takes no blocks, since a write failed.", b->failed);
    SERVERS("surf_block_server_disk_total_bytes", "gauge", "Of its disk.", b->disk_total);
    SERVERS("surf_blocks_under_replicated", "gauge", "Known to lack a copy.", b->upkeep.short_blocks);
    SERVERS("surf_blocks_unsure", "gauge", "With an owner that does not answer.", b->upkeep.unsure_blocks);
    SERVERS("surf_blocks_bad", "gauge", "Bad copies that are not healed yet.", b->upkeep.bad_now);
    SERVERS("surf_repair_running", "gauge", "1: it compares its blocks with others'.", b->upkeep.walking);
    SERVERS("surf_repair_due", "gauge", "1: something has changed since the last whole comparison.",
            b->upkeep.walk_due);
    SERVERS("surf_repair_done_percent", "gauge", "How far the comparison under way is.",
            percent_of(b->upkeep.walk_position));
    SERVERS("surf_repair_eta_seconds", "gauge", "Until its end; 0: none is under way, or it is not known.",
            b->upkeep.walking ? b->upkeep.walk_eta_s : 0);
    SERVERS("surf_repair_limit_bytes_per_second", "gauge", "That may be copied; 0: no limit.", b->upkeep.repair_rate);
    SERVERS("surf_repair_strays_removed_total", "counter", "Copies that belong elsewhere.", b->upkeep.strays_removed);
    SERVERS("surf_repair_copied_blocks_total", "counter", "Copied to other servers.", b->upkeep.copied_blocks);
    SERVERS("surf_repair_copied_bytes_total", "counter", "Copied to other servers.", b->upkeep.copied_bytes);
    SERVERS("surf_scrub_done_percent", "gauge", "How far this pass is.", percent_of(b->upkeep.scrub_position));
    SERVERS("surf_scrub_eta_seconds", "gauge", "Until its end.", b->upkeep.scrub_eta_s);
    SERVERS("surf_scrub_limit_bytes_per_second", "gauge", "That may be read; 0: it is off.", b->upkeep.scrub_rate);
    SERVERS("surf_scrub_read_bytes_total", "counter", "Read to find bad copies.", b->upkeep.scrubbed_bytes);
    SERVERS("surf_scrub_passes_total", "counter", "Times that it has read everything.", b->upkeep.scrub_passes);
    SERVERS("surf_scrub_bad_total", "counter", "Bad copies that were found.", b->upkeep.bad_found);
    SERVERS("surf_scrub_healed_total", "counter", "Bad copies that were replaced.", b->upkeep.bad_healed);
    SERVERS("surf_blocks_given_bytes", "gauge", "Of its blocks, as they were given; about.", b->upkeep.unique_bytes);
    SERVERS("surf_blocks_stored_bytes", "gauge", "The same, compressed where that pays.", b->upkeep.stored_bytes);
    SERVERS("surf_gc_removed_blocks_total", "counter", "Blocks that no file named.", b->upkeep.collected_blocks);
    SERVERS("surf_gc_removed_bytes_total", "counter", "Of blocks that no file named.", b->upkeep.collected_bytes);
}

static void print_process(const struct http_server *server, struct bytes *to)
{
    unsigned long pages = 0, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm) {
        if (fscanf(statm, "%lu %lu", &pages, &resident) != 2)
            pages = resident = 0;
        fclose(statm);
    }
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    const struct metric list[] = {
        {"process_resident_memory_bytes", "gauge", "Memory of surfd.", resident * page_bytes},
        {"process_virtual_memory_bytes", "gauge", "Addresses of surfd.", pages * page_bytes},
        {"surf_http_connections", "gauge", "Open now.", http_connections_count(server->connections)},
        {"surf_http_connections_expired_total", "counter",
         "Closed since no whole request came, or an answer was not read, in time.",
         http_connections_expired(server->connections)},
        {"surf_http_held_bytes", "gauge", "Of requests and answers under way.", atomic_load(&server->held_bytes)},
    };
    print_all(to, list, ARRAY_SIZE(list));
}

void http_metrics_run(struct http_request *r)
{
    struct asker asker = gateway_session_asker(r->server->session, &r->arena);
    struct wire_admin_state s;
    struct err_text why = {""};
    struct bytes to = {0};
    enum err e = asker_state(&asker, r->server->options->own.text, 0, METRICS_TIMEOUT_NS, &s, &why);
    if (e == ERR_OK) {
        print_node(&s, &to);
        print_activity(&s, &to);
        if (s.roles & WIRE_NODE_META)
            print_raft(&s, &to);
        if (s.role == RAFT_LEADER)
            print_block_servers(&s, &to);
    }
    metric_begin(&to, "surf_answers", "gauge", "1: the node told of itself; else this is of its HTTP gateway alone.");
    metric_print(&to, "surf_answers %u\n", e == ERR_OK);
    print_process(r->server, &to);
    http_counters_print(r->server->counters, &to);
    http_answer_bytes(r, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &to);
}
