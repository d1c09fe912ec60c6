/* What members say of their durability logs (durability/merge.h). */
#include "tests/fuzz/fuzz.h"

#include "base/check.h"
#include "durability/merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct bytes again = {0};
    struct durability_copy copy;
    if (durability_copy_decode(SLICE(data, size), &a, &copy) == ERR_OK) {
        durability_copy_encode(&copy, &again);
        CHECK(slice_equal(bytes_slice(&again), SLICE(data, size)));
        struct durability_put *order;
        const struct durability_copy twice[] = {copy, copy};
        CHECK(durability_merge(twice, 2, 2, &a, &order) <= copy.count);
    }
    bytes_free(&again);
    arena_free(&a);
    return 0;
}
