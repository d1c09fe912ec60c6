/* fixture.h: a store in a directory of its own, and blocks whose bytes follow from a number. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>

#include "base/limits.h"
#include "blockstore/store.h"

struct block {
    struct sha256 id;
    struct bytes data;
};
void block_make(struct block *b, uint64_t number, size_t size);
void block_free(struct block *b);

/* An empty directory, its name in path. */
void directory_make(char path[64]);
void directory_remove(const char *path);

struct block_store *must_open(const char *path);
void must_put(struct block_store *s, uint64_t number, size_t size, bool durable);
/* As garbage of an epoch that is long over. */
enum err delete_block(struct block_store *s, const struct sha256 *id);
bool must_have(struct block_store *s, uint64_t number, size_t size); /* by has; and by get, with the right bytes */

/* Work that is done in a process of its own, which ends without closing anything, as by kill -9. The process is this
 * program, started anew: RocksDB's threads don't survive a fork. */
struct killed_work {
    const char *name;
    void (*work)(const char *path);
};
void run_killed(const char *name, const char *path);
/* To be called first in main: does the work and ends when the program was started for it. */
void killed_main(int argc, char **argv, const struct killed_work *works, size_t count);
