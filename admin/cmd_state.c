/* cmd_state.c: one node in detail; it answers also while it is crashed. */
#include "admin/admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"

#define LOG_ENTRIES_DEFAULT 10u

static int print_json(const struct survey_node *n, const struct wire_admin_state *s)
{
    json_t *log = json_array(), *unreachable = json_array();
    for (unsigned i = 0; i < s->log_count; i++)
        json_array_append_new(log, json_pack("{s:I, s:I, s:o}", "index", (json_int_t)s->log[i].index, "term",
                                             (json_int_t)s->log[i].term, "text", json_slice(s->log[i].text)));
    for (unsigned i = 0; i < s->unreachable_count; i++)
        json_array_append_new(unreachable, json_integer(s->unreachable[i]));
    json_t *o = json_pack("{s:I, s:s, s:s, s:b, s:o, s:o}", "id", (json_int_t)s->node_id, "address", n->address,
                          "state", survey_state_name(n), "crashed", s->crashed, "log", log, "unreachable", unreachable);
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"term", s->term},
                   {"commit", s->commit},
                   {"applied", s->applied},
                   {"persisted", s->persisted},
                   {"last", s->last},
                   {"compacted", s->compacted},
                   {"flushed", s->flushed},
                   {"leader", s->leader},
                   {"vote", s->vote},
                   {"inodes", s->inodes},
                   {"file_bytes", s->file_bytes},
                   {"log_bytes", s->log_bytes},
                   {"blocks", s->blocks},
                   {"block_bytes", s->block_bytes},
                   {"disk_total", s->disk_total},
                   {"disk_free", s->disk_free},
                   {"pid", s->pid},
                   {"config_index", s->config_index},
                   {"snapshots_installed", s->snapshots_installed},
                   {"snapshot_bytes", s->snapshot_bytes},
                   {"snapshot_total_bytes", s->snapshot_total_bytes},
                   {"hashes_compared", s->hashes_compared},
                   {"log_segments", s->log_segments}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        json_object_set_new(o, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    json_object_set_new(o, "roles", roles_json(s->roles));
    json_object_set_new(o, "election", json_string(s->election_manual ? "manual" : "auto"));
    json_object_set_new(o, "chain_hash", json_hex(s->chain_hash));
    json_object_set_new(o, "fault", json_slice(s->fault));
    json_object_set_new(o, "suspended", json_slice(s->suspended));
    json_object_set_new(o, "version", json_slice(s->version));
    json_object_set_new(o, "uptime_s", json_real((double)s->uptime_ns / (double)NS_PER_S));
    return admin_print_json(o);
}

static void print_text(struct admin *a, const struct survey_node *n, const struct wire_admin_state *s)
{
    char bytes[32], total[32], available[32];
    printf("node %u at %s: %s", s->node_id, n->address, survey_state_name(n));
    if (s->fault.size > 0)
        printf(" (%s)", admin_text(a, s->fault));
    if (s->suspended.size > 0)
        printf(" (%s)", admin_text(a, s->suspended));
    printf("\nversion %s, pid %u, up %.0f s\n", admin_text(a, s->version), s->pid,
           (double)s->uptime_ns / (double)NS_PER_S);
    if (s->roles & WIRE_NODE_META) {
        printf("term %" PRIu64 ", leader %u, vote %u, election %s\n", s->term, s->leader, s->vote,
               s->election_manual ? "manual" : "auto");
        printf("commit %" PRIu64 ", applied %" PRIu64 ", persisted %" PRIu64 ", last %" PRIu64 ", compacted %" PRIu64
               ", flushed %" PRIu64 "\n",
               s->commit, s->applied, s->persisted, s->last, s->compacted, s->flushed);
        printf("log: %s in %u segments\n", admin_bytes(s->log_bytes, bytes), s->log_segments);
        if (s->snapshot_total_bytes > 0)
            printf("snapshot of entry %" PRIu64 " from node %u: %s of %s\n", s->snapshot_index, s->snapshot_from,
                   admin_bytes(s->snapshot_bytes, bytes), admin_bytes(s->snapshot_total_bytes, total));
        printf("files: %" PRIu64 " inodes, %s\n", s->inodes, admin_bytes(s->file_bytes, bytes));
        if (s->unreachable_count > 0) {
            printf("ignores raft messages from:");
            for (unsigned i = 0; i < s->unreachable_count; i++)
                printf(" %u", s->unreachable[i]);
            printf("\n");
        }
    }
    if (s->roles & WIRE_NODE_BLOCK)
        printf("blocks: about %" PRIu64 ", %s; disk %s, %s free\n", s->blocks, admin_bytes(s->block_bytes, bytes),
               admin_bytes(s->disk_total, total), admin_bytes(s->disk_free, available));
    for (unsigned i = 0; i < s->log_count; i++)
        printf("%10" PRIu64 "  term %-6" PRIu64 " %s\n", s->log[i].index, s->log[i].term,
               admin_text(a, s->log[i].text));
}

static int run_state(struct admin *a, int argc, char **argv)
{
    uint32_t id;
    unsigned long entries = LOG_ENTRIES_DEFAULT;
    if (!admin_parse_node(a, argv[0], &id))
        return EX_USAGE;
    if (argc != 1) {
        char *end = NULL;
        if (argc == 3 && strcmp(argv[1], "--log") == 0)
            entries = strtoul(argv[2], &end, 10);
        if (!end || end == argv[2] || *end != 0 || entries > WIRE_ADMIN_LOG_ENTRIES)
            return admin_usage(a, "state: %s: usage: state N [--log 0..%u]", argv[argc - 1], WIRE_ADMIN_LOG_ENTRIES);
    }
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take(a, &s, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    const struct survey_node *n = survey_find(&s, id, &why);
    if (!n)
        return admin_fail(a, ERR_NO_NODE, &why);
    struct survey_node detailed = *n;
    e = admin_ask_state(a, n->address, (unsigned)entries, a->timeout_ns, &detailed.state, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    if (a->json)
        return print_json(&detailed, &detailed.state);
    print_text(a, &detailed, &detailed.state);
    return EXIT_DONE;
}

const struct admin_command command_state = {"state", "N [--log K]", "one node, with its last K log entries (10)", 1,
                                            3,       run_state};
