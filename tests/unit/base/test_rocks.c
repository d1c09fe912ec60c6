/* RocksDB's checksum with the processor's instructions: the same values, and RocksDB itself takes it. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/rocks.h"

#define EXTEND "_ZN7rocksdb6crc32c6ExtendEjPKcm"

typedef uint32_t (*extend_function)(uint32_t crc, const char *data, size_t size);

static void known_values(void **state)
{
    (void)state;
    static const char zeros[32]; /* RFC 3720, B.4 */
    assert_int_equal(rocks_crc32c_extend(0, zeros, sizeof zeros), 0x8a9136aa);
    assert_int_equal(rocks_crc32c_extend(0, "123456789", 9), 0xe3069283);
    assert_int_equal(rocks_crc32c_extend(rocks_crc32c_extend(0, "1234", 4), "56789", 5), 0xe3069283);
    assert_int_equal(rocks_crc32c_extend(7, "", 0), 7);
}

/* What was written with the one is read with the other. */
static void the_same_as_rocksdbs(void **state)
{
    (void)state;
    static char data[5000];
    struct prng prng;
    extend_function theirs;
    *(void **)&theirs = dlsym(RTLD_NEXT, EXTEND);
    if (!theirs)
        skip(); /* a RocksDB without it takes another way */
    prng_seed(&prng, 3);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)prng_next(&prng);
    for (unsigned n = 0; n < 2000; n++) {
        size_t from = (size_t)prng_below(&prng, sizeof data), size = (size_t)prng_below(&prng, sizeof data - from + 1);
        uint32_t begin = (uint32_t)prng_next(&prng);
        assert_int_equal(rocks_crc32c_extend(begin, data + from, size), theirs(begin, data + from, size));
    }
}

static void rocksdb_finds_it(void **state)
{
    (void)state;
    void *found = dlsym(RTLD_DEFAULT, EXTEND);
    extend_function ours = rocks_crc32c_extend;
    assert_ptr_equal(found, *(void **)&ours);
    rocksdb_free(NULL); /* so that this program is linked with RocksDB */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(the_same_as_rocksdbs),
        cmocka_unit_test(rocksdb_finds_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
