/* seeds.h: the command line of a simulator that runs one world after the other:
 *
 *   NAME                        as many seeds as the gate wants
 *   NAME --seeds FROM COUNT     many
 *   NAME --seed N               one, with a line per event
 *   NAME --must-fail COUNT      passes only when one of the first COUNT seeds fails: for planted bugs (--plant NAME
 *                               before it) */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct seeds_program {
    const char *name;
    uint64_t gate; /* seeds */
    void (*run)(uint64_t seed);
    void (*print_counts)(void); /* of all that was run, without a line feed */
    void (*leave)(void);        /* what a process must not leave behind; NULL: nothing */
};
/* The exit code. */
int seeds_main(const struct seeds_program *program, int argc, char **argv);
/* The seed that runs has failed: says so and ends the process. The world is left as it is. */
_Noreturn void seeds_fail(const char *format, ...) PRINTF_LIKE(1, 2);
/* A line, when one seed is run with a line per event. */
void seeds_trace(const char *format, ...) PRINTF_LIKE(1, 2);
