#include "base/hash.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <string.h>
#include <xxhash.h>

#include "base/check.h"

/* Algorithms are fetched once (a fetch costs more than hashing a small input) and never released. */
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;
static EVP_MD *hash_sha256;
static EVP_MAC *hash_siphash;
static pthread_key_t hash_context_key;

static void hash_context_free(void *context)
{
    EVP_MD_CTX_free(context);
}

static void hash_fetch(void)
{
    hash_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hash_siphash = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    CHECK(hash_sha256 && hash_siphash);
    CHECK(pthread_key_create(&hash_context_key, hash_context_free) == 0);
}

static EVP_MD_CTX *hash_context(void)
{
    pthread_once(&hash_once, hash_fetch);
    EVP_MD_CTX *context = pthread_getspecific(hash_context_key);
    if (!context) {
        context = EVP_MD_CTX_new();
        CHECK(context && pthread_setspecific(hash_context_key, context) == 0);
    }
    return context;
}

void sha256_of2(struct slice a, struct slice b, struct sha256 *ret)
{
    EVP_MD_CTX *context = hash_context();
    CHECK(EVP_DigestInit_ex2(context, hash_sha256, NULL) == 1);
    CHECK(EVP_DigestUpdate(context, a.data, a.size) == 1);
    CHECK(b.size == 0 || EVP_DigestUpdate(context, b.data, b.size) == 1);
    CHECK(EVP_DigestFinal_ex(context, ret->bytes, NULL) == 1);
}

void sha256_of(struct slice s, struct sha256 *ret)
{
    sha256_of2(s, SLICE(NULL, 0), ret);
}

bool sha256_equal(const struct sha256 *a, const struct sha256 *b)
{
    return memcmp(a->bytes, b->bytes, SHA256_SIZE) == 0;
}

void sha256_hex(const struct sha256 *h, char text[65])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < SHA256_SIZE; i++) {
        text[2 * i] = digits[h->bytes[i] >> 4];
        text[2 * i + 1] = digits[h->bytes[i] & 15];
    }
    text[64] = 0;
}

uint64_t checksum64(struct slice s, uint64_t seed)
{
    return XXH3_64bits_withSeed(s.data, s.size, seed);
}

uint64_t siphash64(const uint8_t key[16], struct slice s)
{
    pthread_once(&hash_once, hash_fetch);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(hash_siphash);
    size_t size = 8;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end()};
    uint8_t out[8];
    CHECK(context && EVP_MAC_init(context, key, 16, params) == 1);
    CHECK(EVP_MAC_update(context, s.data, s.size) == 1);
    CHECK(EVP_MAC_final(context, out, &size, sizeof out) == 1 && size == 8);
    EVP_MAC_CTX_free(context);
    return get_u64be(out);
}
