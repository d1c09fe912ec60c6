#include "base/prng.h"

#include <errno.h>
#include <sys/random.h>

#include "base/check.h"

void prng_seed(struct prng *p, uint64_t seed)
{
    p->state = seed;
}

uint64_t prng_next(struct prng *p)
{
    p->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = p->state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t prng_below(struct prng *p, uint64_t bound)
{
    CHECK(bound > 0);
    /* Numbers of the incomplete last run of `bound` would favour small results. */
    uint64_t limit = UINT64_MAX - (UINT64_MAX % bound + 1) % bound;
    uint64_t v;
    do
        v = prng_next(p);
    while (v > limit);
    return v % bound;
}

uint64_t prng_between(struct prng *p, uint64_t low, uint64_t high)
{
    CHECK(low <= high);
    return high - low == UINT64_MAX ? prng_next(p) : low + prng_below(p, high - low + 1);
}

void random_bytes(void *to, size_t size)
{
    uint8_t *at = to;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        CHECK(got > 0 || errno == EINTR);
        if (got > 0)
            at += got, size -= (size_t)got;
    }
}
