/* steps.h: a fixed stream of commands, for tests of what survives and what is the same elsewhere: command `index` is a
 * function of the index alone. */
#pragma once

#include "tests/unit/meta/commands.h"

#define ROOT META_ROOT_INO
#define SEED 7u
#define STEPS 600u
#define DIRECTORIES 8u

struct step {
    struct meta_command c;
    char name[8], new_name[8];
    struct meta_extent extents[3];
};
void step_make(uint64_t index, struct step *s);
/* Applies up to the index; every tenth is an entry that changes nothing, or reaps. Aborts on errors: it may be in a
 * child process. */
void run_to(struct meta *m, uint64_t index);

struct hashes {
    struct sha256 state, chain;
};
struct hashes hashes_of(struct meta *m);
void assert_same(struct hashes a, struct hashes b);

/* A fresh directory where a sync costs nothing, if there is such a place. */
void directory_make(char path[64]);
void directory_remove(const char *path);
struct meta *must_open(const char *path);
