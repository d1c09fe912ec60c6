/* cmd_chaos.c: nodes are killed, crashed, stopped and cut off from each other at random while clients change keys and
 * have every answer judged (chaos_check.h). By itself it makes a cluster of its own; with --this-cluster it is the one
 * of -m, whose nodes then only crash, are cut off and lose the lead: who runs them would have to start them again.
 *
 * A seed makes the same plan of faults and operations again, though not the same timing. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "admin/chaos.h"
#include "base/clock.h"
#include "base/mem.h"

#define SECONDS_DEFAULT 60u
#define NODES_DEFAULT 3u
#define NODES_MAX 7u
#define CLIENTS_DEFAULT 8u
#define FORM_NS (30 * NS_PER_S) /* until a cluster of our own serves */
#define END_NS (60 * NS_PER_S)  /* until, healed, all operations have ended and all nodes have the same state */
#define PAUSE_LOW_MS 150u       /* between two faults */
#define PAUSE_HIGH_MS 1500u
#define NO_MAJORITY_MS 2000u /* that a majority may be away at most, until something is healed */

enum node_state { NODE_UP, NODE_CRASHED, NODE_KILLED, NODE_STOPPED };
enum fault { FAULT_KILL, FAULT_CRASH, FAULT_STOP, FAULT_ISOLATE, FAULT_ONE_WAY, FAULT_SPLIT, FAULT_LEAD, FAULT_COUNT };
static const char *const fault_names[] = {"kills", "crashes", "stops", "isolations", "one_way", "splits", "transfers"};

struct chaos {
    struct admin *a;
    unsigned seconds, node_count, client_count;
    uint64_t seed;
    bool this_cluster, keep;
    const char *parent;
    struct prng prng;
    int64_t begun_ns;
    struct chaos_nodes nodes;
    enum node_state states[LIMIT_NODES];
    bool cut; /* some ignore others */
    struct chaos_work work;
    unsigned faults[FAULT_COUNT];
    struct err_text broken; /* a node ended by itself */
};

static volatile sig_atomic_t ended;
static void on_end(int number)
{
    (void)number;
    ended = 1;
}

static void wait_ms(uint64_t ms)
{
    if (!ended)
        nanosleep(&(struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * NS_PER_MS)}, NULL);
}

static void tell(struct chaos *c, const char *format, ...) PRINTF_LIKE(2, 3);
static void tell(struct chaos *c, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    double seconds = (double)(clock_boot_ns() - c->begun_ns) / 1e9;
    if (c->a->json)
        admin_print_json_line(json_pack("{s:f, s:s}", "seconds", seconds, "event", text));
    else
        printf("%8.2f s  %s\n", seconds, text);
    (void)fflush(stdout);
}

/* ---- what is done to nodes ---- */

/* False: it did not answer, or refused. */
static bool request(struct chaos *c, const struct chaos_node *node, unsigned method, struct slice message)
{
    struct err_text why;
    struct slice answer;
    return admin_ask(c->a, node->address.text, method, message, 2 * NS_PER_S, &answer, &why) == ERR_OK;
}

static bool ignore(struct chaos *c, unsigned who, uint32_t whom)
{
    uint32_t ids[LIMIT_NODES];
    struct wire_admin_nodes nodes = {.ids = ids};
    for (unsigned i = 0; i < c->nodes.count; i++)
        if (whom & (1u << i) & ~(1u << who))
            ids[nodes.count++] = c->nodes.list[i].id;
    return request(c, &c->nodes.list[who], METHOD_ADMIN_UNREACHABLE, wire_admin_nodes_encode(&nodes, &c->a->arena));
}

static unsigned up_count(const struct chaos *c)
{
    unsigned up = 0;
    for (unsigned i = 0; i < c->nodes.count; i++)
        up += c->states[i] == NODE_UP;
    return up;
}

static bool majority_is_up(const struct chaos *c)
{
    return up_count(c) >= c->nodes.count / 2 + 1;
}

static unsigned pick(struct chaos *c, bool up)
{
    unsigned candidates[LIMIT_NODES], count = 0;
    for (unsigned i = 0; i < c->nodes.count; i++)
        if ((c->states[i] == NODE_UP) == up)
            candidates[count++] = i;
    return candidates[prng_below(&c->prng, count)];
}

static void bring_back(struct chaos *c, unsigned i)
{
    struct chaos_node *node = &c->nodes.list[i];
    struct err_text why;
    bool done = true;
    if (c->states[i] == NODE_KILLED)
        done = chaos_node_start(&c->nodes, node, &why) == ERR_OK;
    else if (c->states[i] == NODE_STOPPED)
        chaos_node_signal(node, SIGCONT);
    else
        done = request(c, node, METHOD_ADMIN_RESTORE, SLICE(NULL, 0));
    if (!done)
        return; /* it is tried again */
    tell(c, "node %u is back", node->id);
    c->states[i] = NODE_UP;
}

static void reconnect(struct chaos *c)
{
    bool done = true;
    for (unsigned i = 0; i < c->nodes.count; i++)
        done &= c->states[i] == NODE_KILLED || ignore(c, i, 0);
    c->cut = !done;
    if (done)
        tell(c, "all hear each other");
}

static void cut_groups(struct chaos *c, uint32_t first, uint32_t second, bool one_way)
{
    for (unsigned i = 0; i < c->nodes.count; i++) {
        if (second & (1u << i))
            (void)ignore(c, i, first);
        else if (!one_way && (first & (1u << i)))
            (void)ignore(c, i, second);
    }
    c->cut = true;
}

static void name_group(const struct chaos *c, uint32_t group, char text[64])
{
    size_t at = 0;
    for (unsigned i = 0; i < c->nodes.count; i++)
        if (group & (1u << i))
            at += (size_t)snprintf(text + at, 64 - at, "%s%u", at ? "," : "", c->nodes.list[i].id);
}

static void tell_split(struct chaos *c, uint32_t first, uint32_t second)
{
    char one[64] = "", other[64] = "";
    name_group(c, first, one);
    name_group(c, second, other);
    tell(c, "split: %s and %s do not hear each other", one, other);
}

static void take_down(struct chaos *c, enum fault fault)
{
    unsigned i = pick(c, true);
    struct chaos_node *node = &c->nodes.list[i];
    if (fault == FAULT_KILL) {
        chaos_node_kill(node);
        c->states[i] = NODE_KILLED;
        tell(c, "node %u is killed", node->id);
    } else if (fault == FAULT_STOP) {
        chaos_node_signal(node, SIGSTOP);
        c->states[i] = NODE_STOPPED;
        tell(c, "node %u is stopped", node->id);
    } else {
        struct wire_admin_crash crash = {.kill = false};
        if (request(c, node, METHOD_ADMIN_CRASH, wire_admin_crash_encode(&crash, &c->a->arena)))
            c->states[i] = NODE_CRASHED;
        tell(c, "node %u is crashed", node->id);
    }
}

static void do_fault(struct chaos *c, enum fault fault)
{
    uint32_t all = (1u << c->nodes.count) - 1, first;
    unsigned i = pick(c, true);
    switch (fault) {
    case FAULT_ISOLATE:
    case FAULT_ONE_WAY:
        first = 1u << i;
        cut_groups(c, all & ~first, first, fault == FAULT_ONE_WAY);
        tell(c, fault == FAULT_ISOLATE ? "node %u is cut off" : "node %u hears nobody", c->nodes.list[i].id);
        break;
    case FAULT_SPLIT:
        first = (uint32_t)prng_between(&c->prng, 1, all - 1);
        cut_groups(c, first, all & ~first, false);
        tell_split(c, first, all & ~first);
        break;
    case FAULT_LEAD:
        tell(c, "node %u shall lead%s", c->nodes.list[i].id,
             request(c, &c->nodes.list[i], METHOD_ADMIN_LEADER, SLICE(NULL, 0)) ? "" : ": not possible now");
        break;
    default:
        take_down(c, fault);
    }
    c->faults[fault]++;
}

/* One step: something is healed, or something new goes wrong. */
static void step(struct chaos *c)
{
    bool something = c->cut || up_count(c) < c->nodes.count, heals = prng_below(&c->prng, 100) < 50;
    enum fault fault = (enum fault)prng_below(&c->prng, FAULT_COUNT);
    bool takes_down = fault <= FAULT_STOP;
    if (c->this_cluster && (fault == FAULT_KILL || fault == FAULT_STOP))
        fault = FAULT_CRASH;
    /* One time in ten a majority may go too: then nothing is answered, and nothing may be lost either. */
    bool may_stop_all = prng_below(&c->prng, 10) == 0;
    bool at_the_limit = up_count(c) <= c->nodes.count / 2 + 1;
    if (something && (heals || !majority_is_up(c) || (takes_down && at_the_limit && !may_stop_all))) {
        if (c->cut && (up_count(c) == c->nodes.count || prng_below(&c->prng, 2) == 0))
            reconnect(c);
        else if (up_count(c) < c->nodes.count)
            bring_back(c, pick(c, false));
    } else if (up_count(c) > 0) {
        do_fault(c, fault);
    }
    arena_reset(&c->a->arena);
}

static void maltreat(struct chaos *c)
{
    int64_t end_ns = c->begun_ns + (int64_t)c->seconds * NS_PER_S;
    while (!ended && clock_boot_ns() < end_ns && c->broken.text[0] == 0 && chaos_check_violations(c->work.check) == 0) {
        step(c);
        wait_ms(majority_is_up(c) ? prng_between(&c->prng, PAUSE_LOW_MS, PAUSE_HIGH_MS)
                                  : prng_between(&c->prng, PAUSE_LOW_MS, NO_MAJORITY_MS));
        for (unsigned i = 0; i < c->nodes.count; i++)
            if (c->states[i] != NODE_KILLED && chaos_node_ended(&c->nodes.list[i], &c->broken))
                c->states[i] = NODE_KILLED;
    }
}

static bool heal_all(struct chaos *c)
{
    int64_t end_ns = clock_boot_ns() + END_NS;
    while ((c->cut || up_count(c) < c->nodes.count) && clock_boot_ns() < end_ns) {
        for (unsigned i = 0; i < c->nodes.count; i++)
            if (c->states[i] != NODE_UP)
                bring_back(c, i);
        if (c->cut)
            reconnect(c);
        nanosleep(&(struct timespec){.tv_nsec = 100 * NS_PER_MS}, NULL);
        arena_reset(&c->a->arena);
    }
    return !c->cut && up_count(c) == c->nodes.count;
}

/* ---- the verdict ---- */

/* Whether all members have applied the same, and to the same state. */
static bool same_states(struct chaos *c)
{
    struct survey s;
    struct err_text why;
    if (survey_take(c->a, &s, &why) != ERR_OK || !s.leader)
        return false;
    const struct wire_admin_state *leader = &s.leader->state;
    for (unsigned i = 0; i < s.count; i++) {
        const struct wire_admin_state *state = &s.nodes[i].state;
        if (!s.nodes[i].reachable || state->applied != leader->applied ||
            !slice_equal(state->chain_hash, leader->chain_hash))
            return false;
    }
    return s.count == c->nodes.count;
}

static bool states_become_same(struct chaos *c)
{
    int64_t end_ns = clock_boot_ns() + END_NS;
    bool same = false;
    while (!same && clock_boot_ns() < end_ns) {
        same = same_states(c);
        if (!same)
            nanosleep(&(struct timespec){.tv_nsec = 50 * NS_PER_MS}, NULL);
        arena_reset(&c->a->arena);
    }
    return same;
}

static void print_verdict(struct chaos *c, const char *wrong, unsigned violations)
{
    struct chaos_counts n;
    chaos_work_count(&c->work, &n);
    double seconds = (double)(clock_boot_ns() - c->begun_ns) / 1e9;
    if (c->a->json) {
        json_t *faults = json_object();
        for (unsigned i = 0; i < FAULT_COUNT; i++)
            json_object_set_new(faults, fault_names[i], json_integer(c->faults[i]));
        admin_print_json_line(json_pack(
            "{s:s, s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:f, s:o, s:I}", "verdict", wrong ? "wrong" : "right", "why",
            wrong ? wrong : "", "seed", (json_int_t)c->seed, "seconds", seconds, "reads", (json_int_t)n.reads, "writes",
            (json_int_t)n.writes, "refused", (json_int_t)n.refused, "unknown", (json_int_t)n.unknown, "longest_seconds",
            (double)n.longest_ns / 1e9, "faults", faults, "violations", (json_int_t)violations));
        return;
    }
    printf("%" PRIu64 " reads, %" PRIu64 " changes, %" PRIu64 " refused as they should, %" PRIu64
           " of unknown outcome; the longest took %.2f s\n",
           n.reads, n.writes, n.refused, n.unknown, (double)n.longest_ns / 1e9);
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        printf("%s%u %s", i ? ", " : "", c->faults[i], fault_names[i]);
    printf("\n");
    if (wrong)
        printf("WRONG (seed %" PRIu64 "): %s\n", c->seed, wrong);
    else
        printf("right: %u nodes, seed %" PRIu64 ", %.0f s, no violation\n", c->nodes.count, c->seed, seconds);
}

static int judge(struct chaos *c)
{
    struct err_text why = {""};
    const char *wrong = NULL;
    unsigned violations = chaos_check_violations(c->work.check);
    if (c->broken.text[0])
        wrong = c->broken.text;
    else if (!heal_all(c))
        wrong = "not all nodes came back";
    bool all_ended = chaos_work_stop(&c->work, wrong ? 0 : END_NS);
    if (!wrong && !all_ended)
        wrong = "some operations never ended, although all nodes were back";
    if (!wrong && chaos_work_judge(&c->work, &violations, &why) != ERR_OK)
        wrong = why.text;
    if (violations > 0)
        wrong = chaos_check_first(c->work.check);
    if (!wrong && c->this_cluster && chaos_work_tidy(&c->work) != ERR_OK)
        wrong = "the keys could not be removed";
    /* Others change a cluster that is not ours meanwhile. */
    if (!wrong && !c->this_cluster && !states_become_same(c))
        wrong = "the nodes have not come to the same state";
    print_verdict(c, wrong, violations);
    c->keep |= wrong != NULL;
    return wrong ? EXIT_FAILED : EXIT_DONE;
}

/* ---- the command ---- */

static enum err find_nodes(struct chaos *c, struct err_text *why)
{
    struct survey s;
    TRY(survey_take_with_leader(c->a, &s, why));
    const struct wire_admin_state *leader = &s.leader->state;
    if (leader->election_manual)
        return err_explain(why, ERR_INVAL, "this cluster has no elections (election=manual): nobody would take over");
    for (unsigned i = 0; i < leader->peer_count; i++)
        if (leader->peers[i].voter)
            chaos_nodes_add(&c->nodes, leader->peers[i].id, arena_str(&c->a->arena, leader->peers[i].address));
    return ERR_OK;
}

static enum err make_nodes(struct chaos *c, struct err_text *why)
{
    TRY(chaos_nodes_begin(&c->nodes, c->node_count, c->parent, why));
    c->a->server_count = c->nodes.count;
    for (unsigned i = 0; i < c->nodes.count; i++)
        c->a->servers[i] = c->nodes.list[i].address;
    tell(c, "%u nodes in %s", c->nodes.count, c->nodes.directory);
    return ERR_OK;
}

static int run_plan(struct chaos *c)
{
    struct err_text why = {""};
    enum err e = c->this_cluster ? find_nodes(c, &why) : make_nodes(c, &why);
    if (e == ERR_OK && c->nodes.count < 2)
        e = err_explain(&why, ERR_INVAL, "a cluster of %u: nobody would take over", c->nodes.count);
    c->work.servers = c->a->servers;
    c->work.server_count = c->a->server_count;
    c->work.seed = c->seed;
    uint64_t run;
    random_bytes(&run, sizeof run);
    snprintf(c->work.prefix, sizeof c->work.prefix, "surfctl-chaos/%016" PRIx64 "/", run);
    if (e == ERR_OK)
        e = chaos_work_begin(&c->work, c->client_count, FORM_NS, &why);
    if (e != ERR_OK) {
        c->keep |= c->nodes.directory[0] != 0; /* their logs say why */
        return admin_fail(c->a, e, &why);
    }
    tell(c, "%u clients are at work, seed %" PRIu64, c->client_count, c->seed);
    c->begun_ns = clock_boot_ns();
    maltreat(c);
    return judge(c);
}

static bool parse(struct chaos *c, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        uint64_t number = 0, low = 1, high = 0;
        if (strcmp(option, "--this-cluster") == 0 || strcmp(option, "--keep") == 0) {
            *(strcmp(option, "--keep") == 0 ? &c->keep : &c->this_cluster) = true;
            continue;
        }
        i++;
        if (strcmp(option, "--dir") == 0 && value) {
            c->parent = value;
            continue;
        }
        if (strcmp(option, "--seconds") == 0)
            high = 7 * 24 * 3600;
        else if (strcmp(option, "--seed") == 0)
            low = 0, high = INT64_MAX;
        else if (strcmp(option, "--nodes") == 0)
            low = 2, high = NODES_MAX;
        else if (strcmp(option, "--clients") == 0)
            high = CHAOS_CLIENTS_MAX;
        if (high == 0) {
            (void)admin_usage(c->a, "chaos: %s: the command is surfctl chaos %s", option, command_chaos.arguments);
            return false;
        }
        if (!admin_parse_option(c->a, option, value, low, high, &number))
            return false;
        if (strcmp(option, "--seed") == 0)
            c->seed = number;
        else
            *(strcmp(option, "--seconds") == 0 ? &c->seconds
              : strcmp(option, "--nodes") == 0 ? &c->node_count
                                               : &c->client_count) = (unsigned)number;
    }
    return true;
}

static int run_chaos(struct admin *a, int argc, char **argv)
{
    struct chaos *c = MEM_NEW(struct chaos);
    const char *temporary = getenv("TMPDIR");
    *c = (struct chaos){.a = a,
                        .seconds = SECONDS_DEFAULT,
                        .node_count = NODES_DEFAULT,
                        .client_count = CLIENTS_DEFAULT,
                        .parent = temporary && temporary[0] ? temporary : "/tmp",
                        .begun_ns = clock_boot_ns()};
    random_bytes(&c->seed, sizeof c->seed);
    c->seed %= 1000000;
    int code = EX_USAGE;
    if (parse(c, argc, argv)) {
        struct sigaction end = {.sa_handler = on_end};
        sigaction(SIGINT, &end, NULL);
        sigaction(SIGTERM, &end, NULL);
        prng_seed(&c->prng, c->seed);
        code = run_plan(c);
        chaos_work_end(&c->work);
        chaos_nodes_end(&c->nodes, c->keep);
        if (c->keep && c->nodes.directory[0])
            fprintf(stderr, "surfctl: the nodes' data and logs are in %s\n", c->nodes.directory);
    }
    free(c);
    return code;
}

const struct admin_command command_chaos = {
    "chaos",
    "[--seconds N] [--seed S] [--nodes N] [--clients N] [--dir DIR] [--keep] [--this-cluster]",
    "nodes fail at random, answers are judged",
    0,
    14,
    run_chaos};
