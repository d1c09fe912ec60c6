/* main.c: which seeds, and what is said about them.
 *
 *   sim                              the gate: --seeds 1 300
 *   sim --seed N                     one, with a line per event
 *   sim --seeds FROM COUNT           many
 *   sim --seconds S [--from N]       as many as that time allows
 *   sim --same FROM COUNT            each of them twice: both times the same must happen
 *   ... --durability                 durability logs in each of them, not in every third
 *   ... --levels                     with members whose programs are of two levels (levels.h)
 *   ... --plant NAME --must-fail             in sim_planted: with that bug (base/plant.h); passes only when one
 * of the seeds fails
 *
 * A seed that fails is printed with the version of the code, since it replays only with that. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/faults.h"
#include "tests/sim/world.h"
#include "tests/support/plant_name.h"

#ifndef SURF_COMMIT
#define SURF_COMMIT "unknown"
#endif

static struct world world;
static const char *program;
static char base[48];
static bool must_fail, levels;
static uint64_t seeds_done;

static void remove_base(void)
{
    char command[80];
    snprintf(command, sizeof command, "rm -rf %s", base);
    if (system(command) != 0)
        fprintf(stderr, "%s is left\n", base);
}

void program_found(const struct world *w, const char *text)
{
    if (must_fail)
        printf("found with seed %" PRIu64 ", the %" PRIu64 "th: %s\n", w->seed, seeds_done + 1, text);
    else
        printf("seed %" PRIu64 " fails at %.3f ms: %s\ncommit %s, replay: %s%s --seed %" PRIu64 "\n", w->seed,
               (double)w->now_ns / 1e6, text, SURF_COMMIT, program, levels ? " --levels" : "", w->seed);
    fflush(NULL);
    remove_base();
    _exit(must_fail ? 0 : 1); /* the world is left as it is */
}

static double wall_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct totals {
    double begun, simulated;
    uint64_t steps, messages, commands, queries, elections, crashes, faults, changes, expired, unknown, undecided,
        rotten_bits, snapshots, fast_tried, fast_done, recovered, raised, next, too_old;
};

static uint64_t run_one(uint64_t seed, bool lines, struct totals *t)
{
    world_run(&world, seed, base, levels, lines);
    uint64_t hash = world.trace_hash;
    world_free(&world);
    t->steps += world.steps;
    t->simulated += (double)world.now_ns / 1e9;
    t->messages += world.counts.messages;
    t->commands += world.counts.commands;
    t->queries += world.counts.queries;
    t->elections += world.counts.elections;
    t->crashes += world.counts.crashes;
    t->faults += world.counts.faults;
    t->changes += world.counts.changes;
    t->expired += world.counts.expired;
    t->unknown += world.counts.unknown;
    t->undecided += world.counts.undecided;
    t->rotten_bits += world.counts.rotten_bits;
    t->snapshots += world.counts.snapshots;
    t->fast_tried += world.counts.fast_tried;
    t->fast_done += world.counts.fast_done;
    t->recovered += world.counts.recovered;
    t->raised += world.counts.raised;
    t->next += world.counts.next;
    t->too_old += world.counts.too_old;
    seeds_done++;
    return hash;
}

static void say(const struct totals *t)
{
    double took = wall_seconds() - t->begun;
    printf("%" PRIu64 " seeds hold: %" PRIu64 " steps, %" PRIu64 " messages, %" PRIu64 " commands, %" PRIu64
           " queries, %" PRIu64 " elections, %" PRIu64 " faults, %" PRIu64 " crashes, %" PRIu64
           " changes of members, %" PRIu64 " snapshots installed, %" PRIu64 " sessions expired, %" PRIu64
           " outcomes unknown, %" PRIu64 " histories undecided, %" PRIu64 " bits turned, %" PRIu64 " of %" PRIu64
           " fast puts were, %" PRIu64 " puts recovered\n%.1f s, %.1f seeds/s, %.1f simulated hours per hour\n",
           seeds_done, t->steps, t->messages, t->commands, t->queries, t->elections, t->faults, t->crashes, t->changes,
           t->snapshots, t->expired, t->unknown, t->undecided, t->rotten_bits, t->fast_done, t->fast_tried,
           t->recovered, took, (double)seeds_done / took, t->simulated / took);
    if (levels)
        printf("%" PRIu64 " rises of the level, %" PRIu64 " commands of the next level, %" PRIu64
               " members out of service since they were too old\n",
               t->raised, t->next, t->too_old);
}

static void run_seeds(uint64_t from, uint64_t count, double seconds, bool twice)
{
    struct totals t = {.begun = wall_seconds()};
    for (uint64_t seed = from; seed < from + count && wall_seconds() - t.begun < seconds; seed++) {
        uint64_t hash = run_one(seed, false, &t);
        if (!twice || hash == run_one(seed, false, &t))
            continue;
        printf("seed %" PRIu64 " does not give the same twice\n", seed);
        remove_base();
        exit(1);
    }
    say(&t);
}

static void make_base(void)
{
    struct stat s;
    const char *under = getenv("TMPDIR");
    if (!under || strlen(under) > 20)
        under = stat("/dev/shm", &s) == 0 ? "/dev/shm" : "/tmp";
    snprintf(base, sizeof base, "%s/surf-sim-XXXXXX", under);
    if (!mkdtemp(base)) {
        perror(base);
        exit(1);
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: sim [--seed N | --seeds FROM COUNT | --same FROM COUNT | --seconds S [--from N]]"
                    " [--durability] [--levels] [--plant NAME] [--must-fail]\n");
    return 64;
}

/* False: there is no such bug, or this build has none. */
static bool choose_plant(const char *name)
{
#ifdef SURF_PLANTS
    return plant_find(name, &plant_chosen);
#else
    (void)name;
    return false;
#endif
}

int main(int argc, char **argv)
{
    uint64_t from = 1, count = 300;
    double seconds = 1e9;
    bool lines = false, twice = false;
    program = argv[0];
    for (int i = 1; i < argc; i++) {
        int left = argc - 1 - i;
        if (strcmp(argv[i], "--seed") == 0 && left >= 1) {
            from = strtoull(argv[++i], NULL, 0), count = 1, lines = true;
        } else if ((strcmp(argv[i], "--seeds") == 0 || strcmp(argv[i], "--same") == 0) && left >= 2) {
            twice = argv[i][3] == 'a';
            from = strtoull(argv[++i], NULL, 0), count = strtoull(argv[++i], NULL, 0);
        } else if (strcmp(argv[i], "--seconds") == 0 && left >= 1) {
            seconds = strtod(argv[++i], NULL), count = UINT32_MAX;
        } else if (strcmp(argv[i], "--from") == 0 && left >= 1) {
            from = strtoull(argv[++i], NULL, 0);
        } else if (strcmp(argv[i], "--plant") == 0 && left >= 1 && choose_plant(argv[i + 1])) {
            i++;
        } else if (strcmp(argv[i], "--durability") == 0) {
            faults_durability = true;
        } else if (strcmp(argv[i], "--levels") == 0) {
            levels = true;
        } else if (strcmp(argv[i], "--must-fail") == 0) {
            must_fail = true;
        } else {
            return usage();
        }
    }
    make_base();
    if (lines) {
        struct totals t = {.begun = wall_seconds()};
        run_one(from, true, &t);
        say(&t);
    } else {
        run_seeds(from, count, seconds, twice);
    }
    remove_base();
    if (must_fail)
        printf("the planted bug was not found\n");
    return must_fail ? 1 : 0;
}
