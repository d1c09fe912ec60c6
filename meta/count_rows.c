/* count_rows.c: rows that count. A change is merged into them blindly, so that a commit need not read the count of
 * every block that it names; RocksDB calls back from its own threads too. A count of zero is dropped by compaction, and
 * means the same as no row. */
#include "base/mem.h"
#include "meta/store.h"

static char *encode(int64_t count, size_t *ret_size)
{
    struct bytes value = {0};
    row_count_encode(count, &value);
    *ret_size = value.size;
    return (char *)value.data; /* freed by RocksDB's default, free() */
}

static char *merge(int64_t sum, const char *const *operands, const size_t *sizes, int number, unsigned char *ret_ok,
                   size_t *ret_size)
{
    *ret_ok = 0;
    *ret_size = 0;
    for (int i = 0; i < number; i++) {
        int64_t change;
        if (row_count_decode(SLICE(operands[i], sizes[i]), &change) != ERR_OK ||
            __builtin_add_overflow(sum, change, &sum))
            return NULL;
    }
    *ret_ok = 1;
    return encode(sum, ret_size);
}

static char *full_merge(void *state, const char *key, size_t key_size, const char *existing, size_t existing_size,
                        const char *const *operands, const size_t *sizes, int number, unsigned char *ret_ok,
                        size_t *ret_size)
{
    (void)state, (void)key, (void)key_size;
    int64_t sum = 0;
    if (existing && row_count_decode(SLICE(existing, existing_size), &sum) != ERR_OK) {
        *ret_ok = 0;
        *ret_size = 0; /* RocksDB copies as many bytes even then */
        return NULL;
    }
    return merge(sum, operands, sizes, number, ret_ok, ret_size);
}

static char *partial_merge(void *state, const char *key, size_t key_size, const char *const *operands,
                           const size_t *sizes, int number, unsigned char *ret_ok, size_t *ret_size)
{
    (void)state, (void)key, (void)key_size;
    return merge(0, operands, sizes, number, ret_ok, ret_size);
}

static unsigned char is_dropped(void *state, int level, const char *key, size_t key_size, const char *value,
                                size_t value_size, char **new_value, size_t *new_size, unsigned char *changed)
{
    (void)state, (void)level, (void)new_value, (void)new_size;
    int64_t count;
    *changed = 0;
    return key_size > 0 && key[0] == SCHEMA_TABLE_BLOCK_REF &&
           row_count_decode(SLICE(value, value_size), &count) == ERR_OK && count == 0;
}

static const char *name(void *state)
{
    (void)state;
    return "surf.count";
}

static void no_state(void *state)
{
    (void)state;
}

rocksdb_mergeoperator_t *count_rows_merge_operator(void)
{
    return rocksdb_mergeoperator_create(NULL, no_state, full_merge, partial_merge, NULL, name);
}

rocksdb_compactionfilter_t *count_rows_filter(void)
{
    return rocksdb_compactionfilter_create(NULL, no_state, is_dropped, name);
}
