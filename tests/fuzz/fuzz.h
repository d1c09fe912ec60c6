/* fuzz.h: what each fuzz target defines: 0, or it does not return. Input that is refused is no failure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
