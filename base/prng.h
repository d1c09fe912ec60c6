/* prng.h: a seeded pseudo-random stream (SplitMix64). Same seed, same stream, on every machine. Not for secrets. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct prng {
    uint64_t state;
};
void prng_seed(struct prng *p, uint64_t seed);
uint64_t prng_next(struct prng *p);
uint64_t prng_below(struct prng *p, uint64_t bound);                /* [0, bound); bound > 0 */
uint64_t prng_between(struct prng *p, uint64_t low, uint64_t high); /* [low, high] */
/* Bytes from the kernel for ids and keys; not part of any seeded stream. */
void random_bytes(void *to, size_t size);
