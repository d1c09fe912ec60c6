/* How blocks are stored: compressed where it pays, as they are otherwise, and what an older store has written. */
#include "tests/unit/blockstore/fixture.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/prng.h"
#include "blockstore/codec.h"

enum kind { ZEROS, TEXT, NOISE, NOISE_THEN_ZEROS };

static void fill(enum kind kind, uint8_t *to, size_t size)
{
    static const char words[8][9] = {"quickly ", "brown   ", "foxes   ", "jumping ",
                                     "over all", "lazy and", "sleepy  ", "dogs.\n  "};
    struct prng p;
    prng_seed(&p, size);
    uint64_t random = 0;
    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0)
            random = prng_next(&p);
        bool noise = kind == NOISE || (kind == NOISE_THEN_ZEROS && i <= size / 2);
        to[i] = noise ? (uint8_t)(random >> (i % 8 * 8)) : kind == TEXT ? (uint8_t)words[random % 8][i % 8] : 0;
    }
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 7, 511, 512, 513, 4096, 8192, 8193, 100000, LIMIT_BLOCK_BYTES};
    struct bytes stored = {0}, again = {0};
    uint8_t *data = mem_alloc(LIMIT_BLOCK_BYTES);
    for (enum kind kind = ZEROS; kind <= NOISE_THEN_ZEROS; kind++)
        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
            struct slice block = SLICE(data, sizes[i]);
            fill(kind, data, sizes[i]);
            enum codec codec = codec_encode(block, &stored);
            bool pays = kind != NOISE && sizes[i] >= 4096;
            assert_true(!pays || codec == CODEC_ZSTD);
            assert_true(kind != NOISE || codec == CODEC_NONE);
            if (codec == CODEC_ZSTD)
                assert_true(stored.size <= sizes[i] - sizes[i] / 8);
            struct slice kept = codec == CODEC_NONE ? block : bytes_slice(&stored);
            assert_int_equal(codec_decode(codec, kept, sizes[i], &again), ERR_OK);
            assert_true(slice_equal(bytes_slice(&again), block));
            assert_int_equal(codec_decode(codec, kept, sizes[i] + 1, &again), ERR_CORRUPT);
            if (codec == CODEC_ZSTD && sizes[i] > 1)
                assert_int_equal(codec_decode(codec, kept, sizes[i] - 1, &again), ERR_CORRUPT);
        }
    assert_int_equal(codec_decode(CODEC_ZSTD, SLICE("no frame", 8), 100, &again), ERR_CORRUPT);
    assert_int_equal(codec_decode(CODEC_NONE, SLICE(data, 10), LIMIT_BLOCK_BYTES + 1, &again), ERR_CORRUPT);
    free(data);
    bytes_free(&stored);
    bytes_free(&again);
}

static void make(enum kind kind, size_t size, struct block *b)
{
    *b = (struct block){0};
    fill(kind, bytes_extend(&b->data, size), size);
    sha256_of(bytes_slice(&b->data), &b->id);
}

static void assert_is_there(struct block_store *s, const struct block *b)
{
    struct bytes got = {0};
    assert_int_equal(block_store_get(s, &b->id, &got), ERR_OK);
    assert_true(slice_equal(bytes_slice(&got), bytes_slice(&b->data)));
    assert_int_equal(block_store_verify(s, &b->id), ERR_OK);
    bytes_free(&got);
}

static void the_store_compresses_and_counts(void **state)
{
    (void)state;
    char path[64];
    struct block text, noise;
    int64_t net_bytes, net_stored_bytes;
    uint64_t bytes, stored_bytes;
    directory_make(path);
    make(TEXT, 500000, &text);
    make(NOISE, 300000, &noise);
    for (unsigned round = 0; round < 2; round++) {
        struct block_store *s = must_open(path);
        assert_int_equal(block_store_put(s, &text.id, bytes_slice(&text.data), true), ERR_OK);
        assert_int_equal(block_store_put(s, &noise.id, bytes_slice(&noise.data), false), ERR_OK);
        assert_int_equal(block_store_replace(s, &text.id, bytes_slice(&text.data)), ERR_OK);
        assert_is_there(s, &text);
        assert_is_there(s, &noise);
        struct sha256 ids[] = {text.id, noise.id, {{0}}};
        block_store_measure(s, ids, 3, &bytes, &stored_bytes);
        assert_int_equal(bytes, 800000);
        assert_true(stored_bytes > 300000 && stored_bytes < 600000);
        block_store_net(s, &net_bytes, &net_stored_bytes);
        assert_int_equal(net_bytes, round == 0 ? 800000 : 0);
        assert_int_equal(net_stored_bytes, round == 0 ? stored_bytes : 0);
        if (round == 1) {
            assert_int_equal(delete_block(s, &text.id), ERR_OK);
            block_store_net(s, &net_bytes, &net_stored_bytes);
            assert_int_equal(net_bytes, -500000);
        }
        assert_int_equal(block_store_sync(s), ERR_OK);
        block_store_close(s);
    }
    block_free(&text);
    block_free(&noise);
    directory_remove(path);
}

/* Before there was compression a row had only the size. */
static void rows_without_a_codec_stay_readable(void **state)
{
    (void)state;
    char path[64], *message = NULL;
    struct block text;
    directory_make(path);
    make(TEXT, 500000, &text);
    block_store_close(must_open(path));
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_enable_blob_files(options, 1);
    rocksdb_writeoptions_t *write = rocksdb_writeoptions_create();
    rocksdb_t *db = rocksdb_open(options, path, &message);
    assert_null(message);
    uint8_t key[1 + SHA256_SIZE], size[4];
    put_u32be(size, 500000);
    memcpy(key + 1, text.id.bytes, SHA256_SIZE);
    key[0] = 'p';
    rocksdb_put(db, write, (const char *)key, sizeof key, (const char *)size, sizeof size, &message);
    assert_null(message);
    key[0] = 'b';
    rocksdb_put(db, write, (const char *)key, sizeof key, (const char *)text.data.data, text.data.size, &message);
    assert_null(message);
    rocksdb_close(db);
    rocksdb_writeoptions_destroy(write);
    rocksdb_options_destroy(options);
    struct block_store *s = must_open(path);
    assert_is_there(s, &text);
    assert_int_equal(block_store_put(s, &text.id, bytes_slice(&text.data), true), ERR_OK);
    assert_is_there(s, &text);
    block_store_close(s);
    block_free(&text);
    directory_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(the_store_compresses_and_counts),
        cmocka_unit_test(rows_without_a_codec_stay_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
