/* main.c: which seeds, and what is said about them.
 *
 *   sim                        500 seeds, the gate
 *   sim --seeds FROM COUNT     many
 *   sim --seed N               one, with a line per event
 *   sim --must-fail COUNT      passes only when one of the first COUNT seeds fails on what the cluster did (not on what
 *                              a message promised too early): for the builds with a planted bug. --unrest before the
 * others draws the seeds as this does, without looking at messages */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "tests/raft_sim/sim.h"
#include "tests/support/plant_name.h"

static struct sim world;
static const char *program = "sim";
static bool must_fail, unrest;
static uint64_t first_seed;

static _Noreturn void failed(const char *text)
{
    if (must_fail) {
        printf("found with seed %" PRIu64 ", after %" PRIu64 " seeds: %s\n", world.seed, world.seed - first_seed + 1,
               text);
        fflush(NULL);
        _exit(0); /* the world is left as it is */
    }
    printf("seed %" PRIu64 " failed at %.3f ms: %s\nreplay: %s%s --seed %" PRIu64 "\n", world.seed,
           (double)world.now_ns / 1e6, text, program, unrest ? " --unrest" : "", world.seed);
    fflush(NULL);
    _exit(1);
}

void sim_fail(const struct sim *s, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    CHECK(s == &world);
    failed(text);
}

/* Instead of base/check.c's: a CHECK of the core that fails is a finding like any other. */
noreturn void check_failed(const char *file, int line, const char *expression)
{
    char text[512];
    snprintf(text, sizeof text, "%s:%d: CHECK(%s)", file, line, expression);
    failed(text);
}

void sim_trace(const struct sim *s, uint32_t node, const char *format, ...)
{
    if (!s->trace)
        return;
    va_list args;
    printf("%10.3f  ", (double)s->now_ns / 1e6);
    if (node != 0)
        printf("node %u ", node);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static void run_seeds(uint64_t from, uint64_t count)
{
    uint64_t steps = 0, commands = 0, reads = 0, elections = 0, crashes = 0, changes = 0, snapshots = 0, losses = 0;
    double simulated = 0;
    int64_t begun_ns = clock_boot_ns();
    first_seed = from;
    for (uint64_t seed = from; seed < from + count; seed++) {
        sim_run(&world, seed, false, !must_fail && !unrest);
        steps += world.steps;
        commands += world.commands;
        reads += world.reads_answered;
        elections += world.elections;
        crashes += world.crashes;
        changes += world.changes;
        snapshots += world.snapshots;
        losses += world.losses;
        simulated += (double)world.now_ns / 1e9;
    }
    double took = (double)(clock_boot_ns() - begun_ns) / (double)NS_PER_S;
    printf("%" PRIu64 " seeds from %" PRIu64 " hold: %" PRIu64 " steps, %" PRIu64 " commands, %" PRIu64
           " reads, %" PRIu64 " elections, %" PRIu64 " crashes, %" PRIu64 " changes of members, %" PRIu64
           " snapshots, %" PRIu64 " lost disks\n%.1f s, %.1f seeds/s, %.1f simulated hours per hour\n",
           count, from, steps, commands, reads, elections, crashes, changes, snapshots, losses, took,
           (double)count / took, simulated / took);
}

int main(int argc, char **argv)
{
    program = argv[0];
#ifdef SURF_PLANTS
    if (argc > 3 && strcmp(argv[1], "--plant") == 0) {
        if (!plant_find(argv[2], &plant_chosen)) {
            fprintf(stderr, "%s: no such planted bug\n", argv[2]);
            return 64;
        }
        argv += 2, argc -= 2;
    }
#endif
    if (argc > 1 && strcmp(argv[1], "--unrest") == 0) {
        unrest = true;
        argv++, argc--;
    }
    if (argc == 1) {
        run_seeds(1, 500);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "--seed") == 0) {
        sim_run(&world, strtoull(argv[2], NULL, 0), true, !unrest);
        printf("seed %" PRIu64 " holds\n", world.seed);
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "--seeds") == 0) {
        run_seeds(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "--must-fail") == 0) {
        must_fail = true;
        run_seeds(1, strtoull(argv[2], NULL, 0));
        printf("the planted bug was not found\n");
        return 1;
    }
    fprintf(stderr, "usage: sim [--unrest] [--seed N | --seeds FROM COUNT | --must-fail COUNT]\n");
    return 64;
}
