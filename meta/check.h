/* check.h: what the checks of the whole state share. Internal to meta/. */
#pragma once

#include "meta/store.h"

/* True: the check shall end. */
static inline bool check_row_read(struct meta_check *check)
{
    return check->on_row && check->on_row(check->context);
}

/* Rows of each table by its byte, and the hash of meta_state_hash. CANCELLED. */
enum err check_hash_rows(struct meta *m, struct meta_check *check, uint64_t counts[256], struct sha256 *ret) MUST_USE;

/* The rows of [lower, upper) in order, until the function gives an error. CANCELLED, and errors of the disk. */
typedef enum err (*check_row_function)(void *context, struct slice key, struct slice value);
enum err check_each_row(struct meta *m, struct meta_check *check, const struct schema_key *lower,
                        const struct schema_key *upper, check_row_function function, void *context) MUST_USE;

/* verify_tree.c: every directory that the root doesn't reach is told of. known_max: so many are held in memory. */
typedef enum err (*check_lost_function)(void *context, uint64_t ino);
enum err check_tree(struct meta *m, struct meta_check *check, uint64_t known_max, check_lost_function lost,
                    void *context) MUST_USE;
