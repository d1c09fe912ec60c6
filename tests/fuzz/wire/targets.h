/* targets.h: every decoder of proto/ behind one signature, for fuzzing and for the damage tests.
 *
 * Input of most decoders is the message. raft: u32 message size, message, payload. block_put and block_sizes: u32 size
 * of the payload (whose bytes they don't see), message. */
#pragma once

#include "base/arena.h"
#include "base/prng.h"

struct wire_target {
    const char *name;
    /* Decodes. What is accepted must encode again, to something that decodes to the same: anything else aborts. False:
     * refused; then there was a reason in words. */
    bool (*run)(struct slice input);
    /* A valid input. */
    struct slice (*make)(struct prng *p, struct arena *a);
};
extern const struct wire_target wire_targets[];
extern const unsigned wire_target_count;
const struct wire_target *wire_target_named(const char *name); /* aborts when there is none */
