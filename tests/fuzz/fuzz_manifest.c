/* Fuzzes the manifest of a snapshot, which another member sends and whose names become files. What is taken is written
 * as it was read, byte for byte, and its names lead nowhere else. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "fuzz.h"
#include "snapshot/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snapshot_manifest m;
    struct bytes again = {0};
    uint64_t total = 0;
    uint8_t *input = mem_dup(data, size); /* of this size exactly */
    enum err e = snapshot_manifest_decode(SLICE(input, size), &m);
    CHECK(e == ERR_OK || e == ERR_CORRUPT);
    if (e == ERR_OK) {
        CHECK(m.count <= SNAPSHOT_FILES_MAX);
        for (unsigned i = 0; i < m.count; i++) {
            const char *name = m.files[i].name;
            CHECK(name[0] && name[0] != '.' && strlen(name) <= SNAPSHOT_NAME_BYTES && !strchr(name, '/'));
            CHECK(i == 0 || strcmp(m.files[i - 1].name, name) < 0);
            CHECK(m.files[i].size <= UINT64_MAX / 2 - total);
            total += m.files[i].size;
        }
        CHECK(snapshot_manifest_bytes(&m) == total);
        snapshot_manifest_encode(&m, &again);
        CHECK(slice_equal(bytes_slice(&again), SLICE(input, size)));
        snapshot_manifest_free(&m);
    }
    bytes_free(&again);
    free(input);
    return 0;
}
