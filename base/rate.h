/* rate.h: bytes per second, as people write them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RATE_MAX (UINT64_C(1) << 40)

/* A number, with K, M or G behind it for its multiples, up to RATE_MAX. */
bool rate_parse(const char *text, uint64_t *ret);
