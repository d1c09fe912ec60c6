#include "tests/support/seeds.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/plant_name.h"

static const struct seeds_program *program;
static uint64_t seed; /* that runs */
static bool must_fail, trace;

void seeds_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf(must_fail ? "found with seed %" PRIu64 ": " : "seed %" PRIu64 " failed: ", seed);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    if (!must_fail)
        printf("replay: %s --seed %" PRIu64 "\n", program->name, seed);
    fflush(NULL);
    if (program->leave)
        program->leave();
    _exit(must_fail ? 0 : 1);
}

void seeds_trace(const char *format, ...)
{
    if (!trace)
        return;
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static void run_seeds(uint64_t from, uint64_t count)
{
    int64_t begun_ns = clock_boot_ns();
    for (seed = from; seed < from + count; seed++)
        program->run(seed);
    printf("%" PRIu64 " seeds from %" PRIu64 " hold: ", count, from);
    program->print_counts();
    printf("; %.1f s\n", (double)(clock_boot_ns() - begun_ns) / (double)NS_PER_S);
}

static int run(int argc, char **argv)
{
    if (argc == 1) {
        run_seeds(1, program->gate);
    } else if (argc == 3 && strcmp(argv[1], "--seed") == 0) {
        seed = strtoull(argv[2], NULL, 0);
        trace = true;
        program->run(seed);
        printf("seed %s holds\n", argv[2]);
    } else if (argc == 4 && strcmp(argv[1], "--seeds") == 0) {
        run_seeds(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
    } else if (argc == 3 && strcmp(argv[1], "--must-fail") == 0) {
        must_fail = true;
        run_seeds(1, strtoull(argv[2], NULL, 0));
        printf("the planted bug was not found\n");
        return 1;
    } else {
        fprintf(stderr, "usage: %s [--seed N | --seeds FROM COUNT | --must-fail COUNT]\n", program->name);
        return 64;
    }
    return 0;
}

int seeds_main(const struct seeds_program *p, int argc, char **argv)
{
    program = p;
#ifdef SURF_PLANTS
    if (argc > 3 && strcmp(argv[1], "--plant") == 0) {
        if (!plant_find(argv[2], &plant_chosen)) {
            fprintf(stderr, "%s: no such planted bug\n", argv[2]);
            return 64;
        }
        argv += 2, argc -= 2;
    }
#endif
    return run(argc, argv);
}
