/* chaos_check.h: judges what clients of the key/value space were told while a cluster was maltreated. Pure; one mutex
 * inside, so any thread may call.
 *
 * Registers: every change of a key has a version of its own, so versions are the order of its operations, and these are
 * linearizable (Herlihy and Wing) when that order respects time and every version has one value: an operation that
 * begins after another has ended must not come before it. The floor of a key is the highest version that any ended
 * operation has seen or made; one takes it before an operation and gives it back with the answer.
 *
 * Lists: only appended to, so each is a prefix of whatever is read later, holds every element whose append was
 * acknowledged exactly once, and as many elements as its version has grown by.
 *
 * Tokens are the values: never 0, never used twice. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct chaos_check;

struct chaos_check *chaos_check_new(unsigned registers, unsigned lists);
void chaos_check_free(struct chaos_check *c);
unsigned chaos_check_violations(struct chaos_check *c);
/* The first one in words; empty: none. Valid until it is freed. */
const char *chaos_check_first(struct chaos_check *c);

/* Keys are 0..registers-1, then the lists. */
uint64_t chaos_check_floor(struct chaos_check *c, unsigned key);
/* A change that was acknowledged. Before: the version that a cas named, 0 for an unconditional one. */
void chaos_check_wrote(struct chaos_check *c, unsigned key, uint64_t floor, uint64_t before, uint64_t version,
                       uint64_t token);
/* A change that was refused: it must never be seen. */
void chaos_check_refused(struct chaos_check *c, uint64_t token);
/* Version 0: it was not there. */
void chaos_check_read(struct chaos_check *c, unsigned key, uint64_t floor, uint64_t version, uint64_t token);
void chaos_check_appended(struct chaos_check *c, unsigned list, uint64_t floor, uint64_t version, uint64_t token);
void chaos_check_read_list(struct chaos_check *c, unsigned list, uint64_t floor, uint64_t version,
                           const uint64_t *tokens, size_t count);
/* After a last read of every list: whether all that was acknowledged is there. How many violations there were in all.
 */
unsigned chaos_check_end(struct chaos_check *c);
