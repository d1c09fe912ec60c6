/* Commands of the text protocol: what is taken out of bytes, however they come in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/prng.h"
#include "gateway/text_parse.h"

#define BUDGET 100000u

/* What came of it, as one line of text for each step. */
static void note(struct bytes *to, enum text_step step, const struct text_command *c)
{
    static const char *const verbs[] = {"", "get", "getm", "set", "cas", "delete"};
    char text[128];
    if (step == TEXT_COMMAND) {
        bytes_append(to, slice_str(verbs[c->verb]));
        bytes_append(to, slice_str(" "));
        bytes_append(to, bytes_slice(&c->key));
        snprintf(text, sizeof text, " %" PRIu64 " %" PRIu64 " [", c->expiry_s, c->version);
        bytes_append(to, slice_str(text));
        bytes_append(to, bytes_slice(&c->value));
        bytes_append(to, slice_str("]\n"));
    } else {
        bytes_append(to, slice_str(step == TEXT_BAD ? "bad\n" : step == TEXT_FULL ? "full\n" : "end\n"));
    }
}

/* In pieces of so many bytes; 0: of random sizes. */
static void parse(struct slice data, size_t piece, uint64_t seed, struct bytes *ret)
{
    struct text_budget budget = {BUDGET};
    struct text_parser p = {.budget = &budget};
    struct prng prng;
    bool over = false;
    prng_seed(&prng, seed);
    while (data.size > 0 && !over) {
        size_t size = piece ? piece : 1 + prng_below(&prng, 9);
        size = MIN(size, data.size);
        _cleanup_free_ uint8_t *copy = mem_dup(data.data, size); /* of this size exactly, for the sanitizer */
        struct slice part = SLICE(copy, size);
        data = slice_sub(data, size, data.size - size);
        while (part.size > 0 && !over) {
            enum text_step step = text_parser_take(&p, &part);
            if (step == TEXT_MORE) {
                assert_int_equal(part.size, 0);
                break;
            }
            note(ret, step, &p.command);
            over = step == TEXT_END;
            if (step == TEXT_COMMAND)
                text_command_free(&p.command, &budget);
        }
    }
    text_parser_free(&p);
    assert_int_equal(budget.left, BUDGET);
}

static void expect_slice(struct slice data, const char *want)
{
    for (size_t piece = 0; piece <= data.size; piece += piece > 20 ? data.size : 1) {
        struct bytes got = {0};
        parse(data, piece, piece + 1, &got);
        bytes_u8(&got, 0);
        assert_string_equal((char *)got.data, want);
        bytes_free(&got);
    }
}

static void expect(const char *data, const char *want)
{
    expect_slice(slice_str(data), want);
}

static void commands(void **state)
{
    (void)state;
    expect("get k\r\n", "get k 0 0 []\n");
    expect("getm k\ndelete k\r\n", "getm k 0 0 []\ndelete k 0 0 []\n");
    expect("set k 5 3\r\nabc\r\n", "set k 5 0 [abc]\n");
    expect("cas k 0 77 3\r\nabc\r\n", "cas k 0 77 [abc]\n");
    expect("set k 0 5\r\nabc\r\nget k\r\n", "set k 0 0 [abc\r\n]\nget k 0 0 []\n"); /* the line end was counted */
    expect("set k 0 3\r\nabcget k\r\n", "set k 0 0 [abc]\nget k 0 0 []\n");
    expect("\r\n\n\r\nget k\r\n\r\n", "get k 0 0 []\n");
    expect("set a 0 7\r\nget b\r\n\r\n", "set a 0 0 [get b\r\n]\n");
    expect("get k", "");
    expect("set k 0 3\r\nab", "");
}

static void what_is_none(void **state)
{
    (void)state;
    static const char *const lines[] = {"djsbkv",      "GET k",        "get",         "get ",          " get k",
                                        "get  k",      "get k ",       "getm b x",    "set k 10 a100", "set k 0 0",
                                        "set k 0",     "set k 0 3 x",  "set k 0 +3",  "set k 0 3.0",   "cas k 0 3",
                                        "cas k 0 1 0", "cas k 0 1 -1", "cas k 0 1 x", "delete",        "delete a b c",
                                        "get k\r",     "a b c d e f g"};
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        char text[128];
        snprintf(text, sizeof text, "%s\r\nget next\r\n", lines[i]);
        expect(text, "bad\nget next 0 0 []\n");
    }
}

static void values_of_what_is_refused_are_skipped(void **state)
{
    (void)state;
    expect("set k -1 7\r\nget b\r\n\r\nget c\r\n", "bad\nget c 0 0 []\n");
    expect("set k 99999999999 7\r\nget b\r\n\r\nget c\r\n", "bad\nget c 0 0 []\n");
    expect("cas k 0 9223372036854775808 7\r\nget b\r\n\r\nget c\r\n", "bad\nget c 0 0 []\n");
    expect("set k 0 100001\r\n", "full\n"); /* more than the budget has */
    expect("set k 0 1048577\r\n", "bad\n");
    expect("set k 0 2147483647\r\n", "bad\n");
    expect("set k 0 2147483648\r\n", "end\n");
    expect("set k 0 18446744073709551616\r\nget c\r\n", "bad\nget c 0 0 []\n");
}

static void requests_of_browsers_end_it(void **state)
{
    (void)state;
    expect("POST / HTTP/1.1\r\nHost: 127.0.0.1:7\r\n\r\ndelete k\r\n", "end\n");
    expect("get /k HTTP/1.0\r\ndelete k\r\n", "end\n");
    expect_slice(SLICE("\x16\x03\x01\0\n\r\ndelete k\r\n", 17), "end\n");
    expect("set a HTTP/1.1 3\r\nabc\r\nget k\r\n", "bad\nget k 0 0 []\n");
    expect("POST HTTP/1.1\r\nget k\r\n", "bad\nget k 0 0 []\n");
}

static void long_lines_end_it(void **state)
{
    (void)state;
    struct bytes line = {0};
    bytes_append(&line, slice_str("get "));
    memset(bytes_extend(&line, LIMIT_KV_KEY_BYTES + 1), 'k', LIMIT_KV_KEY_BYTES + 1);
    bytes_append(&line, slice_str("\r\nget c\r\n"));
    expect_slice(bytes_slice(&line), "bad\nget c 0 0 []\n");
    bytes_clear(&line);
    memset(bytes_extend(&line, TEXT_LINE_BYTES + 1), 'k', TEXT_LINE_BYTES + 1);
    expect_slice(bytes_slice(&line), "");
    bytes_append(&line, slice_str("k\r\nget c\r\n"));
    expect_slice(bytes_slice(&line), "end\n");
    bytes_free(&line);
}

static void keys_have_a_limit(void **state)
{
    (void)state;
    struct bytes line = {0};
    struct bytes got = {0};
    bytes_append(&line, slice_str("get "));
    memset(bytes_extend(&line, LIMIT_KV_KEY_BYTES), 'k', LIMIT_KV_KEY_BYTES);
    bytes_append(&line, slice_str("\r\n"));
    parse(bytes_slice(&line), 7, 1, &got);
    assert_int_equal(got.size, 4 + LIMIT_KV_KEY_BYTES + strlen(" 0 0 []\n"));
    bytes_free(&got);
    bytes_free(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(values_of_what_is_refused_are_skipped),
        cmocka_unit_test(requests_of_browsers_end_it),
        cmocka_unit_test(long_lines_end_it),
        cmocka_unit_test(keys_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
