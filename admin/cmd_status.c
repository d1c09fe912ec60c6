/* cmd_status.c: the whole cluster on one page, also when most of it is gone. */
#include "admin/admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>

/* The leader says so; the node itself takes no part any more, and knows nothing of it. */
static bool is_foreign(const struct survey *s, uint32_t id)
{
    const struct wire_admin_state *leader = s->leader ? &s->leader->state : NULL;
    for (unsigned i = 0; leader && i < leader->peer_count; i++)
        if (leader->peers[i].id == id)
            return leader->peers[i].foreign;
    return false;
}

/* level: of the cluster. Only programs that know another one are told of. */
static void print_nodes(struct admin *a, const struct survey *s, uint32_t level)
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
            printf(" %8" PRIu64 " %10" PRIu64 " %10" PRIu64 " %8" PRIu64, t->term, t->commit, t->applied,
                   survey_behind(s, n));
        if ((t->roles & WIRE_NODE_META) && t->level_max != level)
            printf("  knows level %" PRIu32, t->level_max);
        if (t->fault.size > 0)
            printf("  %s", admin_text(a, t->fault));
        if (t->suspended.size > 0)
            printf("  %s", admin_text(a, t->suspended));
        if (is_foreign(s, n->id))
            printf("  NOT THE DATA IT HAD: start it once with --rebuild");
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
            printf("about %" PRIu64 " blocks, %s; disk %s, %s free%s\n", b->blocks, admin_bytes(b->block_bytes, bytes),
                   admin_bytes(b->disk_total, total), admin_bytes(b->disk_free, available),
                   admin_takes_none(b->full, b->failed));
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
        return admin_print_json(survey_json(&s));
    const struct wire_admin_state *best = survey_best(&s);
    printf("cluster ");
    for (unsigned i = 0; best->has_cluster_id && i < sizeof best->cluster_id; i++)
        printf("%02x", best->cluster_id[i]);
    if (best->has_cluster_id)
        printf(", level %" PRIu32, best->level);
    if (s.leader)
        printf("%s, leader: node %u\n\n", best->has_cluster_id ? "" : "not formed yet", s.leader->id);
    else
        printf("%s, %s\n\n", best->has_cluster_id ? "" : "not formed yet",
               survey_majority_serves(&s) ? "NO LEADER now: the nodes that serve do not follow one"
                                          : "NO QUORUM: too few metastore nodes serve");
    print_nodes(a, &s, best->level);
    print_block_servers(best);
    printf("\nsessions\n");
    sessions_print(a, best);
    printf("\n%" PRIu64 " inodes; ", best->inodes);
    space_print(best);
    return EXIT_DONE;
}

const struct admin_command command_status = {"status", "", "the whole cluster", 0, 0, run_status};
