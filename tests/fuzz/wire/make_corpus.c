/* Writes the first corpus of every wire decoder: make_wire_corpus DIRECTORY. Valid messages, small ones; run it again
 * when a message got new fields. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/wire/targets.h"

#define FILES 8u
#define FILES_OF_COMMANDS 32u /* so that every kind of command is there */
#define MAX_BYTES 1500u

static int write_file(const char *directory, unsigned number, struct slice s)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/valid-%02u", directory, number);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(s.data, 1, s.size, f) != s.size || fclose(f) != 0) {
        perror(path);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_wire_corpus DIRECTORY\n");
        return 64;
    }
    struct arena a = {0};
    for (unsigned i = 0; i < wire_target_count; i++) {
        const struct wire_target *target = &wire_targets[i];
        char directory[2048];
        snprintf(directory, sizeof directory, "%s/%s", argv[1], target->name);
        mkdir(directory, 0777);
        struct prng p;
        prng_seed(&p, i);
        unsigned count = strcmp(target->name, "meta_command") == 0 ? FILES_OF_COMMANDS : FILES;
        for (unsigned n = 0; n < count;) {
            struct slice s = target->make(&p, &a);
            if (s.size > 0 && s.size <= MAX_BYTES && write_file(directory, n++, s))
                return 1;
            arena_reset(&a);
        }
    }
    arena_free(&a);
    return 0;
}
