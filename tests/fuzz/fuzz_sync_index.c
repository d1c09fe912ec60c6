/* Fuzzes index.txt, which anybody may have edited. What is taken is written as it was read but for the order of its
 * lines, and its paths lead nowhere else. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "fuzz.h"
#include "sync/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct sync_index index;
    struct bytes again = {0};
    struct err_text why = {""};
    uint8_t *input = mem_dup(data, size); /* of this size exactly */
    enum err e = sync_index_parse(SLICE(input, size), &arena, &index, &why);
    CHECK(e == ERR_OK ||
          (e == ERR_CORRUPT && strncmp(why.text, SYNC_INDEX_NAME ":", strlen(SYNC_INDEX_NAME) + 1) == 0));
    free(input);
    if (e == ERR_OK) {
        for (size_t i = 0; i < index.count; i++) {
            const struct sync_row *row = &index.rows[i];
            CHECK(sync_path_check(row->path, NULL) == ERR_OK && row->version > 0 && row->version <= INT64_MAX);
            CHECK(i == 0 || slice_compare(index.rows[i - 1].path, row->path) < 0);
            CHECK(sync_index_find(&index, row->path) == row);
        }
        sync_index_format(index.rows, index.count, &again);
        size_t rest = 0;
        for (size_t i = 0; i < index.directory_count; i++) {
            CHECK(sync_path_check(index.directories[i], NULL) == ERR_OK);
            rest += index.directories[i].size + strlen("/,1,-1 \n");
        }
        CHECK(again.size + rest == size);
        bytes_free(&again);
    }
    arena_free(&arena);
    return 0;
}
