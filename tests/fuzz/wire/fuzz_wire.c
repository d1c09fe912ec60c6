/* The libFuzzer target of the wire decoders; WIRE_TARGET in the environment names which (targets.c).
 *
 *     WIRE_TARGET=meta_command build/asan/tests/fuzz_wire -max_total_time=600 /tmp/found tests/fuzz/corpus/meta_command
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/wire/targets.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct wire_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    const char *name = getenv("WIRE_TARGET");
    if (!name) {
        fprintf(stderr, "fuzz_wire: WIRE_TARGET must name a decoder:");
        for (unsigned i = 0; i < wire_target_count; i++)
            fprintf(stderr, " %s", wire_targets[i].name);
        fprintf(stderr, "\n");
        exit(64);
    }
    target = wire_target_named(name);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target->run(SLICE(data, size));
    return 0;
}
