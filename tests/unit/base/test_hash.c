/* Hashes against published vectors, and from several threads at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

static void assert_sha256(struct slice s, const char *expected)
{
    struct sha256 h;
    char text[65];
    sha256_of(s, &h);
    sha256_hex(&h, text);
    assert_string_equal(text, expected);
}

/* FIPS 180-2, appendix B. */
static void test_sha256_vectors(void **state)
{
    (void)state;
    assert_sha256(SLICE(NULL, 0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_sha256(slice_str("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    char *million = mem_alloc(1000000);
    memset(million, 'a', 1000000);
    assert_sha256(SLICE(million, 1000000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void test_sha256_of_two_parts(void **state)
{
    (void)state;
    struct sha256 whole, parts;
    const char *text = "abcdefgh";
    sha256_of(slice_str(text), &whole);
    for (size_t cut = 0; cut <= 8; cut++) {
        sha256_of2(SLICE(text, cut), SLICE(text + cut, 8 - cut), &parts);
        assert_true(sha256_equal(&whole, &parts));
    }
    parts.bytes[31] ^= 1;
    assert_false(sha256_equal(&whole, &parts));
}

/* The vectors of the SipHash reference implementation: key 0, 1, ... 15, input 0, 1, ... n-1. */
static void test_siphash_vectors(void **state)
{
    (void)state;
    uint8_t key[16], input[15];
    for (uint8_t i = 0; i < 16; i++)
        key[i] = i;
    for (uint8_t i = 0; i < 15; i++)
        input[i] = i;
    assert_true(siphash64(key, SLICE(input, 0)) == UINT64_C(0x310e0edd47db6f72));
    assert_true(siphash64(key, SLICE(input, 15)) == UINT64_C(0xe545be4961ca29a1));
    key[0] = 1;
    assert_true(siphash64(key, SLICE(input, 15)) != UINT64_C(0xe545be4961ca29a1));
}

static void test_checksum64(void **state)
{
    (void)state;
    assert_true(checksum64(SLICE(NULL, 0), 0) == UINT64_C(0x2d06800538d394c2)); /* XXH3 of nothing */
    uint64_t one = checksum64(slice_str("frame"), 1);
    assert_true(one == checksum64(slice_str("frame"), 1));
    assert_true(one != checksum64(slice_str("frame"), 2));
    assert_true(one != checksum64(slice_str("framf"), 1));
}

static void *hash_many(void *result)
{
    uint8_t input[300];
    for (unsigned i = 0; i < sizeof input; i++)
        input[i] = (uint8_t)i;
    struct sha256 h;
    for (unsigned i = 0; i < 2000; i++) {
        sha256_of(SLICE(input, sizeof input), &h);
        memcpy(input, h.bytes, sizeof h.bytes);
        put_u64be(input + 40, siphash64(input, SLICE(input, sizeof input)));
    }
    memcpy(result, input, 48);
    return NULL;
}

static void test_threads_get_the_same(void **state)
{
    (void)state;
    pthread_t threads[4];
    uint8_t results[4][48];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_many, results[i]), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 1; i < 4; i++)
        assert_memory_equal(results[i], results[0], sizeof results[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_get_the_same), cmocka_unit_test(test_sha256_vectors),
        cmocka_unit_test(test_sha256_of_two_parts),  cmocka_unit_test(test_siphash_vectors),
        cmocka_unit_test(test_checksum64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
