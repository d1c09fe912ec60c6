/* main.c: which seeds (tests/support/seeds.h), and what is said about them. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/repair_sim/world.h"

static struct world world;

static void run(uint64_t seed)
{
    world_run(&world, seed);
}

static void print_counts(void)
{
    printf("%" PRIu64 " steps, %" PRIu64 " commits, %" PRIu64 " copies, %" PRIu64 " strays removed, %" PRIu64
           " healed, %" PRIu64 " collected, %" PRIu64 " crashes, %" PRIu64 " wiped, %" PRIu64 " gone bad, %" PRIu64
           " maps",
           world.steps, world.commits, world.copies, world.strays_removed, world.healed, world.collected, world.crashes,
           world.wiped, world.flipped, world.maps_made);
}

int main(int argc, char **argv)
{
    static const struct seeds_program program = {
        .name = "repair_sim", .gate = 1000, .run = run, .print_counts = print_counts};
    world_open(&world);
    int status = seeds_main(&program, argc, argv);
    world_close(&world);
    return status;
}
