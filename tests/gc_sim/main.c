/* main.c: which seeds (tests/support/seeds.h), and what is said about them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/gc_sim/world.h"

static struct world world;
static char directory[] = "/tmp/surf-gc-sim-XXXXXX";

static void remove_directory(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command) != 0)
        fprintf(stderr, "%s is left behind\n", directory);
}

static void run(uint64_t seed)
{
    world_run(&world, seed);
}

static void print_counts(void)
{
    printf("%" PRIu64 " steps, %" PRIu64 " commits, %" PRIu64 " rewrites, %" PRIu64 " stale, %" PRIu64
           " blocks removed, %" PRIu64 " strays, %" PRIu64 " restarts",
           world.steps, world.commits, world.rewrites, world.stale, world.removed, world.strays, world.restarts);
}

int main(int argc, char **argv)
{
    static const struct seeds_program program = {
        .name = "gc_sim", .gate = 3000, .run = run, .print_counts = print_counts, .leave = remove_directory};
    if (!mkdtemp(directory))
        return 71;
    world_open(&world, directory);
    int status = seeds_main(&program, argc, argv);
    world_close(&world);
    remove_directory();
    return status;
}
