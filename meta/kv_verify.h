/* kv_verify.h: the part of meta_check that is about the key/value space. Internal to meta/. */
#pragma once

#include "meta/meta.h"

struct kv_counts {
    uint64_t keys, bytes; /* of keys and values */
    uint64_t unsound;     /* rows that can't be decoded, or contradict others */
};
/* CANCELLED, and errors of the disk. */
enum err kv_verify(struct meta *m, struct meta_check *check, struct kv_counts *ret) MUST_USE;
