/* cmd_status.c: the whole cluster on one page, also when most of it is gone. */
#include "admin/admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>

#include "base/clock.h"

/* How many committed entries this node has yet to apply. */
static uint64_t behind(const struct survey *s, const struct survey_node *n)
{
    uint64_t ahead = s->leader ? s->leader->state.commit : n->state.commit;
    return ahead > n->state.applied ? ahead - n->state.applied : 0;
}

static json_t *node_json(const struct survey *survey, const struct survey_node *n)
{
    json_t *o =
        json_pack("{s:I, s:s, s:s}", "id", (json_int_t)n->id, "address", n->address, "state", survey_state_name(n));
    const struct wire_admin_state *s = &n->state;
    if (!n->reachable) {
        json_object_set_new(o, "error", json_slice(slice_str(n->why.text)));
        return o;
    }
    json_object_set_new(o, "roles", roles_json(s->roles));
    json_object_set_new(o, "term", json_integer((json_int_t)s->term));
    json_object_set_new(o, "commit", json_integer((json_int_t)s->commit));
    json_object_set_new(o, "applied", json_integer((json_int_t)s->applied));
    json_object_set_new(o, "behind", json_integer((json_int_t)behind(survey, n)));
    json_object_set_new(o, "last", json_integer((json_int_t)s->last));
    json_object_set_new(o, "pid", json_integer((json_int_t)s->pid));
    json_object_set_new(o, "fault", json_slice(s->fault));
    return o;
}

/* Whose knowledge of block servers and sessions counts: the leader's, or else anybody's. */
static const struct wire_admin_state *best_state(const struct survey *s)
{
    if (s->leader)
        return &s->leader->state;
    for (unsigned i = 0; i < s->count; i++)
        if (s->nodes[i].reachable && (s->nodes[i].state.roles & WIRE_NODE_META))
            return &s->nodes[i].state;
    return &s->nodes[0].state;
}

static json_t *block_server_json(const struct wire_admin_block_server *b)
{
    return json_pack("{s:I, s:o, s:b, s:I, s:I, s:I, s:I}", "id", (json_int_t)b->id, "address", json_slice(b->address),
                     "reporting", b->reporting, "blocks", (json_int_t)b->blocks, "block_bytes",
                     (json_int_t)b->block_bytes, "disk_total", (json_int_t)b->disk_total, "disk_free",
                     (json_int_t)b->disk_free);
}

static json_t *session_json(const struct wire_admin_session *s)
{
    return json_pack("{s:I, s:o, s:o, s:I, s:I, s:f}", "id", (json_int_t)s->id, "client", json_slice(s->client),
                     "export", json_slice(s->export), "last_seq", (json_int_t)s->last_seq, "orphans",
                     (json_int_t)s->orphans, "silent_s",
                     s->silent_ns < 0 ? -1.0 : (double)s->silent_ns / (double)NS_PER_S);
}

static int print_json(const struct survey *s)
{
    const struct wire_admin_state *best = best_state(s);
    json_t *nodes = json_array(), *servers = json_array(), *sessions = json_array();
    for (unsigned i = 0; i < s->count; i++)
        json_array_append_new(nodes, node_json(s, &s->nodes[i]));
    for (unsigned i = 0; i < best->block_server_count; i++)
        json_array_append_new(servers, block_server_json(&best->block_servers[i]));
    for (unsigned i = 0; i < best->session_count; i++)
        json_array_append_new(sessions, session_json(&best->sessions[i]));
    json_t *leader = s->leader ? json_integer((json_int_t)s->leader->id) : json_null();
    json_t *cluster = best->has_cluster_id ? json_hex(SLICE(best->cluster_id, sizeof best->cluster_id)) : json_null();
    return admin_print_json(json_pack("{s:o, s:o, s:b, s:o, s:o, s:o, s:I, s:I}", "cluster_id", cluster, "leader",
                                      leader, "quorum", survey_has_quorum(s), "nodes", nodes, "block_servers", servers,
                                      "sessions", sessions, "inodes", (json_int_t)best->inodes, "file_bytes",
                                      (json_int_t)best->file_bytes));
}

static void print_nodes(struct admin *a, const struct survey *s)
{
    printf("%4s  %-22s %-11s %-11s %8s %10s %10s %8s\n", "node", "address", "roles", "state", "term", "commit",
           "applied", "behind");
    for (unsigned i = 0; i < s->count; i++) {
        const struct survey_node *n = &s->nodes[i];
        const struct wire_admin_state *t = &n->state;
        printf("%4u  %-22s ", n->id, n->address);
        if (!n->reachable) {
            printf("%-11s %-11s %s\n", "?", survey_state_name(n), admin_text(a, slice_str(n->why.text)));
            continue;
        }
        const char *roles = t->roles == (WIRE_NODE_META | WIRE_NODE_BLOCK) ? "meta,block"
                            : t->roles & WIRE_NODE_META                    ? "meta"
                                                                           : "block";
        printf("%-11s %-11s", roles, survey_state_name(n));
        if (t->roles & WIRE_NODE_META)
            printf(" %8" PRIu64 " %10" PRIu64 " %10" PRIu64 " %8" PRIu64, t->term, t->commit, t->applied, behind(s, n));
        if (t->fault.size > 0)
            printf("  %s", admin_text(a, t->fault));
        printf("\n");
    }
}

static void print_block_servers(const struct wire_admin_state *best)
{
    char bytes[32], total[32], available[32];
    printf("\nblock servers\n");
    for (unsigned i = 0; i < best->block_server_count; i++) {
        const struct wire_admin_block_server *b = &best->block_servers[i];
        printf("%4u  %-22.*s ", b->id, (int)b->address.size, (const char *)b->address.data);
        if (b->reporting)
            printf("about %" PRIu64 " blocks, %s; disk %s, %s free\n", b->blocks, admin_bytes(b->block_bytes, bytes),
                   admin_bytes(b->disk_total, total), admin_bytes(b->disk_free, available));
        else
            printf("not reporting\n");
    }
}

static int run_status(struct admin *a, int argc, char **argv)
{
    (void)argc, (void)argv;
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take(a, &s, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    if (a->json)
        return print_json(&s);
    const struct wire_admin_state *best = best_state(&s);
    printf("cluster ");
    for (unsigned i = 0; best->has_cluster_id && i < sizeof best->cluster_id; i++)
        printf("%02x", best->cluster_id[i]);
    if (s.leader)
        printf("%s, leader: node %u\n\n", best->has_cluster_id ? "" : "not formed yet", s.leader->id);
    else
        printf("%s, %s\n\n", best->has_cluster_id ? "" : "not formed yet",
               survey_has_quorum(&s) ? "no leader now" : "NO QUORUM: too few metastore nodes serve");
    print_nodes(a, &s);
    print_block_servers(best);
    printf("\nsessions\n");
    for (unsigned i = 0; i < best->session_count; i++) {
        const struct wire_admin_session *t = &best->sessions[i];
        printf("%10" PRIu64 "  %s (export %s)", t->id, admin_text(a, t->client), admin_text(a, t->export));
        if (t->silent_ns >= 0)
            printf(", heard %.1f s ago", (double)t->silent_ns / (double)NS_PER_S);
        printf("\n");
    }
    char bytes[32];
    printf("\n%" PRIu64 " inodes, %s in files\n", best->inodes, admin_bytes(best->file_bytes, bytes));
    return EXIT_DONE;
}

const struct admin_command command_status = {"status", "", "the whole cluster", 0, 0, run_status};
