/* Fuzzes the text protocol: the same commands come of the same bytes in one piece and one by one, all within their
 * limits, and what values take is given back. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "fuzz.h"
#include "gateway/text_parse.h"

#define BUDGET 4096u

static void parse(const uint8_t *data, size_t size, size_t piece, struct bytes *ret)
{
    struct text_budget budget = {BUDGET};
    struct text_parser p = {.budget = &budget};
    enum text_step step = TEXT_MORE;
    for (size_t at = 0; at < size && step != TEXT_END; at += piece) {
        struct slice part = SLICE(data + at, MIN(piece, size - at));
        while (part.size > 0 && step != TEXT_END) {
            step = text_parser_take(&p, &part);
            CHECK(budget.left <= BUDGET && p.line.size <= TEXT_LINE_BYTES + 1);
            if (step == TEXT_MORE)
                continue;
            bytes_u8(ret, (uint8_t)step);
            if (step != TEXT_COMMAND)
                continue;
            CHECK(p.command.key.size > 0 && p.command.key.size <= LIMIT_KV_KEY_BYTES);
            CHECK(!memchr(p.command.key.data, ' ', p.command.key.size));
            CHECK(p.command.value.size <= LIMIT_KV_VALUE_BYTES && p.command.value.size == p.command.held);
            bytes_u8(ret, (uint8_t)p.command.verb);
            bytes_blob(ret, bytes_slice(&p.command.key));
            bytes_blob(ret, bytes_slice(&p.command.value));
            bytes_u64(ret, p.command.version);
            bytes_u64(ret, p.command.expiry_s);
            text_command_free(&p.command, &budget);
        }
    }
    text_parser_free(&p);
    CHECK(budget.left == BUDGET);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes whole = {0}, pieces = {0};
    uint8_t *input = mem_dup(data, size); /* of this size exactly */
    parse(input, size, size + 1, &whole);
    parse(input, size, 1, &pieces);
    CHECK(slice_equal(bytes_slice(&whole), bytes_slice(&pieces)));
    free(input);
    bytes_free(&whole);
    bytes_free(&pieces);
    return 0;
}
