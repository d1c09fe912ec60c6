/* What comes in the lines of HTTP requests: the input is a file's size, then a header's value. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "gateway/http_text.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct slice input = SLICE(data, size), decoded;
    struct bytes encoded = {0};
    struct http_range range;
    char name[HTTP_HOST_BYTES + 1];
    uint64_t file_size = size >= 8 ? get_u64be(data) >> (data[0] % 64) : size;
    char *text = arena_str(&a, input);
    const char *value = size >= 8 ? text + 8 : text;
    if (http_text_decode(input, &a, &decoded) == ERR_OK) {
        http_text_encode(&encoded, decoded, true);
        struct slice again;
        CHECK(http_text_decode(bytes_slice(&encoded), &a, &again) == ERR_OK && slice_equal(again, decoded));
        bytes_clear(&encoded);
    }
    http_text_escape(&encoded, input);
    CHECK(http_text_is_utf8(bytes_slice(&encoded)));
    if (http_text_range(value, file_size, &range) == ERR_OK)
        CHECK(range.size > 0 && range.from < file_size && range.size <= file_size - range.from);
    (void)http_text_has_tag(value, "\"1-2\"");
    (void)http_text_accepts(value, "application/json", "text/html");
    if (http_text_host(value, name))
        CHECK(strlen(name) <= HTTP_HOST_BYTES);
    bytes_free(&encoded);
    arena_free(&a);
    return 0;
}
