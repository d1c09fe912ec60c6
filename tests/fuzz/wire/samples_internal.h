/* samples_internal.h: what the files that make samples share. */
#pragma once

#include "tests/fuzz/wire/samples.h"

uint32_t sample_u32(struct prng *p);
uint64_t any_u64(struct prng *p);
int64_t any_i64(struct prng *p);
bool sample_bool(struct prng *p);
void fill(struct prng *p, void *to, size_t size);
