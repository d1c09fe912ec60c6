/* hash.h: the hashes that we use, all from libraries. Thread-safe.
 *
 * sha256      block ids and apply-chain hashes (OpenSSL).
 * checksum64  XXH3-64 (libxxhash) over frames and log entries: detects damage, not malice. Debian has no packaged
 *             CRC32C library for C; XXH3 is as fast and 64 bits wide.
 * siphash     SipHash-2-4, 64 bits (OpenSSL EVP_MAC): directory cookies under the cluster's key. */
#pragma once

#include "base/bytes.h"

#define SHA256_SIZE 32

struct sha256 {
    uint8_t bytes[SHA256_SIZE];
};

void sha256_of(struct slice s, struct sha256 *ret);
/* The hash of a followed by b. */
void sha256_of2(struct slice a, struct slice b, struct sha256 *ret);
bool sha256_equal(const struct sha256 *a, const struct sha256 *b);
void sha256_hex(const struct sha256 *h, char text[65]);

uint64_t checksum64(struct slice s, uint64_t seed);
uint64_t siphash64(const uint8_t key[16], struct slice s);
