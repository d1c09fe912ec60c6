/* cmd_state.c: one node in detail; it answers also while it is crashed. */
#include "admin/state_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"

#define LOG_ENTRIES_DEFAULT 10u

static json_t *state_json(const struct survey_node *n, const struct wire_admin_state *s)
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
                   {"last_term", s->last_term},
                   {"compacted", s->compacted},
                   {"flushed", s->flushed},
                   {"level", s->level},
                   {"level_max", s->level_max},
                   {"leader", s->leader},
                   {"vote", s->vote},
                   {"inodes", s->inodes},
                   {"file_bytes", s->file_bytes},
                   {"log_bytes", s->log_bytes},
                   {"blocks", s->blocks},
                   {"block_bytes", s->block_bytes},
                   {"disk_total", s->disk_total},
                   {"disk_free", s->disk_free},
                   {"disk_kept", s->disk_kept},
                   {"pid", s->pid},
                   {"config_index", s->config_index},
                   {"snapshots_installed", s->snapshots_installed},
                   {"snapshot_bytes", s->snapshot_bytes},
                   {"snapshot_total_bytes", s->snapshot_total_bytes},
                   {"hashes_compared", s->hashes_compared},
                   {"puts_taken", s->puts_taken},
                   {"puts_acknowledged", s->puts_acknowledged},
                   {"puts_recovered", s->puts_recovered},
                   {"puts_waiting", s->puts_waiting},
                   {"log_segments", s->log_segments},
                   {"log_writes", s->log_writes}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        json_object_set_new(o, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    json_object_set_new(o, "roles", roles_json(s->roles));
    json_object_set_new(o, "blocks_full", json_boolean(s->blocks_full));
    json_object_set_new(o, "blocks_failed", json_boolean(s->blocks_failed));
    json_object_set_new(o, "election", json_string(s->election_manual ? "manual" : "auto"));
    json_object_set_new(o, "chain_hash", json_hex(s->chain_hash));
    json_object_set_new(o, "fault", json_slice(s->fault));
    json_object_set_new(o, "suspended", json_slice(s->suspended));
    json_object_set_new(o, "version", json_slice(s->version));
    json_object_set_new(o, "uptime_s", json_real((double)s->uptime_ns / (double)NS_PER_S));
    return o;
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
        printf("blocks: about %" PRIu64 ", %s; disk %s, %s free%s\n", s->blocks, admin_bytes(s->block_bytes, bytes),
               admin_bytes(s->disk_total, total), admin_bytes(s->disk_free, available),
               admin_takes_none(s->blocks_full, s->blocks_failed));
    for (unsigned i = 0; i < s->log_count; i++)
        printf("%10" PRIu64 "  term %-6" PRIu64 " %s\n", s->log[i].index, s->log[i].term,
               admin_text(a, s->log[i].text));
}

struct arguments {
    uint32_t id;
    uint64_t log_entries;
    bool with_files;
    struct state_files files;
};

/* EXIT_DONE, or what the usage error gave. */
static int parse_arguments(struct admin *a, int argc, char **argv, struct arguments *ret)
{
    if (!admin_parse_node(a, argv[0], &ret->id))
        return EX_USAGE;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--files") == 0) {
            ret->with_files = true;
            bool has_path = value && strncmp(value, "--", 2) != 0;
            ret->files.path = has_path ? value : "";
            i += has_path;
        } else if (strcmp(argv[i], "--log") == 0) {
            if (!admin_parse_option(a, argv[i++], value, 0, WIRE_ADMIN_LOG_ENTRIES, &ret->log_entries))
                return EX_USAGE;
        } else if (strcmp(argv[i], "--limit") == 0) {
            if (!admin_parse_option(a, argv[i++], value, 1, STATE_FILES_LIMIT_MAX, &ret->files.limit))
                return EX_USAGE;
        } else if (strcmp(argv[i], "--after") == 0 && value) {
            ret->files.after = argv[++i];
        } else {
            return admin_usage(a, "state: %s: the command is surfctl state %s", argv[i], command_state.arguments);
        }
    }
    return EXIT_DONE;
}

static int run_state(struct admin *a, int argc, char **argv)
{
    struct arguments wanted = {.log_entries = LOG_ENTRIES_DEFAULT,
                               .files = {.path = "", .after = "", .limit = STATE_FILES_LIMIT}};
    int code = parse_arguments(a, argc, argv, &wanted);
    if (code != EXIT_DONE)
        return code;
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take(a, &s, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    const struct survey_node *n = survey_find(&s, wanted.id, &why);
    if (!n)
        return admin_fail(a, ERR_NO_NODE, &why);
    if (!n->reachable)
        return admin_fail(a, err_explain(&why, ERR_UNREACHABLE, "node %u: %.300s", n->id, n->why.text), &why);
    struct survey_node detailed = *n;
    e = admin_ask_state(a, n->address, (unsigned)wanted.log_entries, a->timeout_ns, &detailed.state, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    json_t *o = a->json ? state_json(&detailed, &detailed.state) : NULL;
    if (!o && !wanted.with_files)
        print_text(a, &detailed, &detailed.state);
    if (wanted.with_files)
        e = state_files_tell(a, n->address, &wanted.files, o, &why);
    if (e == ERR_OK)
        return o ? admin_print_json(o) : EXIT_DONE;
    json_decref(o);
    return admin_fail(a, e, &why);
}

const struct admin_command command_state = {
    "state",
    "N [--log K] [--files [PATH] [--limit K] [--after PLACE]]",
    "one node, with its last K log entries (10), and the files that it knows of",
    1,
    8,
    run_state};
