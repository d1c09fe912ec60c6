/* cmd_blocks.c: how the blocks are kept: whether each has its copies, and what repair and scrub are doing about it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/mem.h"

/* Nothing is known to be missing, and every server has looked since the last change. What is missing on one whose store
 * has failed nobody counts. */
static bool is_settled(const struct wire_admin_block_server *b)
{
    return b->reporting && !b->failed && !b->upkeep.walking && !b->upkeep.walk_due;
}

struct totals {
    uint64_t short_blocks, unsure_blocks, bad;
    bool settled;
};

static struct totals totals_of(const struct wire_admin_state *s)
{
    struct totals t = {.settled = true};
    for (unsigned i = 0; i < s->block_server_count; i++) {
        const struct wire_admin_block_server *b = &s->block_servers[i];
        t.settled = t.settled && is_settled(b);
        t.short_blocks += b->upkeep.short_blocks;
        t.unsure_blocks += b->upkeep.unsure_blocks;
        t.bad += b->upkeep.bad_now;
    }
    return t;
}

static int print_json(const struct wire_admin_state *s)
{
    struct totals t = totals_of(s);
    json_t *servers = json_array();
    for (unsigned i = 0; i < s->block_server_count; i++)
        json_array_append_new(servers, block_server_json(&s->block_servers[i]));
    return admin_print_json(json_pack("{s:b, s:i, s:I, s:I, s:I, s:o, s:o}", "settled", t.settled, "replicas",
                                      (int)s->replicas, "short_blocks", (json_int_t)t.short_blocks, "unsure_blocks",
                                      (json_int_t)t.unsure_blocks, "bad_now", (json_int_t)t.bad, "space", space_json(s),
                                      "servers", servers));
}

static const char *rate_text(uint64_t rate, const char *none, char text[40])
{
    char bytes[32];
    if (rate == 0)
        snprintf(text, 40, "%s", none);
    else
        snprintf(text, 40, "at most %s/s", admin_bytes(rate, bytes));
    return text;
}

static void print_walk(const struct wire_block_upkeep *u)
{
    char bytes[32], rate[40];
    printf("      repair: ");
    if (u->walking)
        printf("comparing, %.0f%% done", (double)u->walk_position * 100 / WIRE_UPKEEP_WHOLE);
    if (u->walking && u->walk_eta_s > 0)
        printf(", about %" PRIu64 " s to go", u->walk_eta_s);
    if (u->walking)
        printf("; ");
    else if (u->walk_due)
        printf("to compare soon; ");
    if (u->walk_ended_ns > 0)
        printf("%" PRIu64 " blocks compared %.0f s ago in %.1f s; ", u->walk_blocks,
               (double)(clock_wall_ns() - (int64_t)u->walk_ended_ns) / (double)NS_PER_S,
               (double)u->walk_ns / (double)NS_PER_S);
    if (u->short_blocks > 0)
        printf("%" PRIu64 " to be copied; ", u->short_blocks);
    if (u->unsure_blocks > 0)
        printf("%" PRIu64 " with an owner that does not answer; ", u->unsure_blocks);
    printf("%" PRIu64 " copied (%s), %" PRIu64 " removed where they don't belong; %s\n", u->copied_blocks,
           admin_bytes(u->copied_bytes, bytes), u->strays_removed, rate_text(u->repair_rate, "no limit", rate));
}

static void print_scrub(const struct wire_block_upkeep *u)
{
    char bytes[32], rate[40];
    printf("      scrub: ");
    if (u->scrub_rate > 0 && u->scrub_position == WIRE_UPKEEP_WHOLE)
        printf("at rest; ");
    else if (u->scrub_rate > 0)
        printf("%.0f%%, about %" PRIu64 " s to go; ", (double)u->scrub_position * 100 / WIRE_UPKEEP_WHOLE,
               u->scrub_eta_s);
    printf("%" PRIu64 " %s, %s read; %" PRIu64 " bad copies found, %" PRIu64 " healed", u->scrub_passes,
           u->scrub_passes == 1 ? "pass" : "passes", admin_bytes(u->scrubbed_bytes, bytes), u->bad_found,
           u->bad_healed);
    if (u->bad_now > 0)
        printf(", %" PRIu64 " BAD NOW", u->bad_now);
    printf("; %s\n", rate_text(u->scrub_rate, "off", rate));
}

static void print_collection(const struct wire_block_upkeep *u)
{
    char bytes[32];
    printf("      garbage: ");
    if (u->collecting)
        printf("being looked for; ");
    if (u->collect_ended_ns > 0)
        printf("%" PRIu64 " blocks looked at %.0f s ago in %.1f s, as of epoch %" PRIu64 "; ", u->collect_blocks,
               (double)(clock_wall_ns() - (int64_t)u->collect_ended_ns) / (double)NS_PER_S,
               (double)u->collect_ns / (double)NS_PER_S, u->collect_epoch);
    if (u->collect_waiting > 0)
        printf("%" PRIu64 " named by no file, or not yet; ", u->collect_waiting);
    printf("%" PRIu64 " removed (%s)\n", u->collected_blocks, admin_bytes(u->collected_bytes, bytes));
}

static int print_text(struct admin *a, const struct wire_admin_state *s)
{
    char bytes[32], available[32];
    struct totals t = totals_of(s);
    for (unsigned i = 0; i < s->block_server_count; i++) {
        const struct wire_admin_block_server *b = &s->block_servers[i];
        printf("%4u  %-22s ", b->id, admin_text(a, b->address));
        if (!b->reporting) {
            printf("NOT REPORTING\n");
            continue;
        }
        printf("about %" PRIu64 " blocks, %s; %s free; weight %" PRIu64, b->blocks, admin_bytes(b->block_bytes, bytes),
               admin_bytes(b->disk_free, available), b->weight);
        if (b->zone.size > 0)
            printf("; zone %s", admin_text(a, b->zone));
        printf("%s\n", b->draining ? "; DRAINED" : "");
        if (b->failed)
            printf("      FAILED: a write of the block store failed (its log says why), so no blocks are taken; start "
                   "the node anew,\n"
                   "      and if files are damaged, with --rebuild-blocks\n");
        if (b->full)
            printf("      FULL: no blocks are taken before more than %s are free\n", admin_bytes(b->disk_kept, bytes));
        print_walk(&b->upkeep);
        print_scrub(&b->upkeep);
        print_collection(&b->upkeep);
    }
    space_print(s);
    if (t.short_blocks == 0 && t.unsure_blocks == 0 && t.bad == 0)
        printf("%s\n",
               t.settled ? "every block has its copies" : "nothing is known to be missing, but not all is compared");
    else
        printf("%" PRIu64 " blocks lack a copy, %" PRIu64 " may, %" PRIu64 " copies are bad\n", t.short_blocks,
               t.unsure_blocks, t.bad);
    return EXIT_DONE;
}

/* 0: it is no number from 1 to most. */
static uint64_t number_in(const char *text, uint64_t most)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t value = digits > 0 && digits <= 15 && text[digits] == 0 ? strtoull(text, NULL, 10) : 0;
    return value <= most ? value : 0;
}

static bool parse_weight(struct admin *a, const char *text, uint64_t *ret)
{
    uint64_t value = number_in(text, META_WEIGHT_MAX);
    if (value == 0) {
        admin_usage(a, "\"%s\" is not a weight: a number of MiB, or of anything else that fits the other servers'",
                    text);
        return false;
    }
    *ret = value;
    return true;
}

static int change_server(struct admin *a, int argc, char **argv)
{
    static const struct {
        const char *word, *done;
        enum meta_server_change change;
    } words[] = {{"drain", "drained: its blocks go elsewhere", META_SERVER_DRAIN},
                 {"undrain", "not drained any more", META_SERVER_UNDRAIN},
                 {"weight", "of that weight now", META_SERVER_WEIGHT},
                 {"remove", "removed", META_SERVER_REMOVE}};
    struct wire_admin_server_change change = {.change = META_SERVER_REGISTER};
    size_t w = 0;
    while (w < ARRAY_SIZE(words) && strcmp(words[w].word, argv[0]) != 0)
        w++;
    if (w == ARRAY_SIZE(words))
        return admin_usage(a, "blocks %s: it is drain, undrain, weight, remove or replicas", argv[0]);
    change.change = words[w].change;
    if (change.change == META_SERVER_REMOVE && argc == 3 && strcmp(argv[1], "--lost") == 0) {
        change.lost = true;
        argc--, argv++;
    }
    bool weighs = change.change == META_SERVER_WEIGHT;
    if (argc != (weighs ? 3 : 2))
        return admin_usage(a, "the command is surfctl blocks %s ID%s", words[w].word, weighs ? " WEIGHT" : "");
    if (!admin_parse_node(a, argv[1], &change.id) || (weighs && !parse_weight(a, argv[2], &change.weight)))
        return EX_USAGE;
    struct err_text why = {""};
    enum err e = admin_ask_leader(a, METHOD_ADMIN_BLOCKS, wire_admin_server_change_encode(&change, &a->arena), &why);
    return e == ERR_OK ? admin_done(a, "block server %u is %s", change.id, words[w].done) : admin_fail(a, e, &why);
}

static int set_replicas(struct admin *a, int argc, char **argv)
{
    if (argc != 2)
        return admin_usage(a, "the command is surfctl blocks replicas N");
    struct wire_admin_replicas asked = {.count = (uint32_t)number_in(argv[1], LIMIT_REPLICAS)};
    if (asked.count == 0)
        return admin_usage(a, "\"%.80s\" copies of each block: it is a number from 1 to %u", argv[1], LIMIT_REPLICAS);
    struct err_text why = {""};
    enum err e = admin_ask_leader(a, METHOD_ADMIN_REPLICAS, wire_admin_replicas_encode(&asked, &a->arena), &why);
    return e == ERR_OK ? admin_done(a, "each block is to have %u cop%s", asked.count, asked.count == 1 ? "y" : "ies")
                       : admin_fail(a, e, &why);
}

static int run_blocks(struct admin *a, int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "replicas") == 0)
        return set_replicas(a, argc, argv);
    if (argc > 0)
        return change_server(a, argc, argv);
    struct survey s;
    struct err_text why = {""};
    enum err e = survey_take_with_leader(a, &s, &why);
    if (e != ERR_OK)
        return admin_fail(a, e, &why);
    return a->json ? print_json(&s.leader->state) : print_text(a, &s.leader->state);
}

const struct admin_command command_blocks = {"blocks",
                                             "[drain ID|undrain ID|weight ID W|remove [--lost] ID|replicas N]",
                                             "the block servers: copies, repair, scrub",
                                             0,
                                             3,
                                             run_blocks};
